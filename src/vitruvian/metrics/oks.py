# SPDX-License-Identifier: Apache-2.0
"""Object keypoint similarity, suppression of duplicates by it, and published rescoring.

The similarity of one point is exp(-d² / (2 A (2 sigma)²)), with d the distance in pixels, A the
area of the person in square pixels and sigma the point's spread; that of two poses is the mean over
points (COCO keypoint evaluation, cocodataset.org/#keypoints-eval).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TINY = np.spacing(1.0)  # the reference adds it to areas, so that an area of 0 divides
# Exponents beyond it count as it: e^-700 = 1e-304 changes no sum, and smaller results are slow.
_FARTHEST = 700.0
_QUARTER = math.log(4)
_SCORE_FLOOR = 0.2  # published code: points scored up to this do not count for a person's score


def point_similarity(
    points: ArrayLike, truth: ArrayLike, areas: ArrayLike, sigmas: ArrayLike
) -> Floats:
    """Similarity of each point to its truth, in [0, 1]; NaN stays NaN.

    Args:
        points: (…, K, 2) pixels.
        truth: (…, K, 2) pixels; broadcasts against ``points``.
        areas: (…) square pixels, of the shapes' leading part.
        sigmas: (K,).
    """
    found, expected = np.asarray(points, np.float64), np.asarray(truth, np.float64)
    return _decay(found - expected, np.asarray(areas, np.float64), sigmas)


def _decay(offsets: Floats, areas: Floats, sigmas: ArrayLike) -> Floats:
    """Similarity at offsets (…, K, 2) in pixels, which are overwritten."""
    # The reference's order of operations, so that equal inputs tie as they do there.
    offsets *= offsets
    dx = offsets[..., 0] + offsets[..., 1]
    dx /= (np.asarray(sigmas, np.float64) * 2) ** 2
    dx /= areas[..., None] + _TINY
    dx *= -0.5
    np.maximum(dx, -_FARTHEST, out=dx)
    return np.exp(dx, out=dx)


def oks_matrix(
    points: ArrayLike,
    truth: ArrayLike,
    labelled: ArrayLike,
    *,
    areas: ArrayLike,
    sigmas: ArrayLike,
    boxes: ArrayLike | None = None,
) -> Floats:
    """(D, G) similarity of every detection to every annotated person, as COCO evaluates it.

    The mean is over the labelled points of the annotation. A person without any is compared by the
    distance to his box, enlarged by its own size on every side.

    Args:
        points: (D, K, 2) detected points in pixels.
        truth: (G, K, 2) annotated points in pixels; anything, also NaN, where not labelled.
        labelled: (G, K) whether a point is annotated (COCO's v > 0).
        areas: (G,) annotated areas in square pixels.
        sigmas: (K,).
        boxes: (G, 4) x0, y0, x1, y1; needed only when somebody has no labelled point.

    Raises:
        InputError: Shapes that do not fit, or no boxes where they are needed.
    """
    found = np.asarray(points, np.float64)
    count = np.asarray(sigmas).shape[-1]
    known = np.asarray(labelled, bool).reshape(-1, count)
    expected = np.asarray(truth, np.float64).reshape(-1, count, 2)
    if found.shape[1:] != (count, 2) or len(known) != len(expected):
        raise InputError(
            f"points {found.shape}, truth {expected.shape}, labelled {known.shape} do not fit; "
            f"wanted (D, {count}, 2), (G, {count}, 2), (G, {count}) for {count} sigmas"
        )
    clean = np.where(known[..., None], expected, 0)
    sizes, spread = np.asarray(areas, np.float64).reshape(-1), np.asarray(sigmas, np.float64)
    everything = GroupedPoints.of([np.arange(count)], count)
    counts = everything.count(known)
    if boxes is None and len(found):
        everything.require_boxes(counts)
    first, second = np.divmod(np.arange(len(found) * len(known)), max(len(known), 1))
    box = np.zeros((len(known), 4)) if boxes is None else np.asarray(boxes, np.float64)
    oks = pair_oks(
        found.transpose(2, 0, 1), clean.transpose(2, 0, 1), known, counts, sizes, spread,
        box.reshape(-1, 4), everything, first, second,
    )  # fmt: skip
    return oks.reshape(len(found), len(known))


@dataclass(frozen=True, eq=False)
class GroupedPoints:
    """N groups of K points, as similarities are summed over them.

    Attributes:
        columns: the points of all groups in a row.
        starts: (N,) where each group begins in them.
        members: (K, N) 1 where a point belongs to a group.
    """

    columns: NDArray[np.intp] | slice
    starts: NDArray[np.intp]
    members: NDArray[np.float32]

    @classmethod
    def of(cls, groups: Sequence[NDArray[np.intp]], count: int) -> "GroupedPoints":
        """Lay out groups of ``count`` points."""
        columns: NDArray[np.intp] | slice = np.concatenate(groups)
        if np.array_equal(columns, np.arange(count)):
            columns = slice(None)  # spares a copy
        members = np.zeros((count, len(groups)), np.float32)
        for n, group in enumerate(groups):
            members[group, n] = 1
        return cls(columns, np.cumsum([0, *(len(g) for g in groups)])[:-1], members)

    def count(self, points: Bools) -> NDArray[np.float32]:
        """(…, N) how many points of each group are among (…, K); whole numbers."""
        return points.astype(np.float32) @ self.members  # exact below 2^24

    def require_boxes(self, counts: NDArray[np.float32]) -> None:
        """Raise ``InputError`` if somebody of (G, N) counts has no labelled point in a group."""
        bare = int((counts == 0).any(axis=1).sum())
        if bare:
            raise InputError(
                f"{bare} annotated people have no labelled point and no box; "
                "give boxes (G, 4), or leave those people out"
            )


def pair_oks(
    points: Floats,
    truth: Floats,
    labelled: Bools,
    counts: NDArray[np.float32],
    areas: Floats,
    sigmas: Floats,
    boxes: Floats,
    groups: GroupedPoints,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    *,
    halves: bool = False,
) -> Floats:
    """(P, N) similarity of pairs of a detection and a person within each of N groups of points.

    The similarity of a point does not depend on its group: it is computed once. See ``oks_matrix``.

    Args:
        points: (2, D, K) x and y of the detections.
        truth: (2, G, K) of the people; finite also where not labelled.
        labelled: (G, K).
        counts: (G, N) labelled points in each group.
        areas: (G,).
        sigmas: (K,).
        boxes: (G, 4); anything for those who have labelled points in every group.
        groups: of the points.
        first: (P,) the pairs' detections.
        second: (P,) and their people.
        halves: give pairs that are less than half similar in every group as 0. So most pairs of
            different people are told apart without an exponential.
    """
    far = points[0].take(first, axis=0)
    far -= truth[0].take(second, axis=0)
    far *= far
    across = points[1].take(first, axis=0)
    across -= truth[1].take(second, axis=0)
    across *= across
    far += across
    far /= (areas[second, None] + _TINY) * (2 * (sigmas * 2) ** 2)
    known, wanted = labelled[second], counts[second]
    if halves:
        # From an exponent of ln 4 on a point is at most a quarter similar; unless a third of the
        # points is nearer, the mean of all stays below 1/3 + 2/3 * 1/4 = 1/2.
        near = groups.count((far < _QUARTER) & known)
        used = np.flatnonzero(((3 * near >= wanted) & (wanted > 0)).any(axis=1))
        far, known = far[used], known[used]
    else:
        used = np.arange(len(far))
    np.minimum(far, _FARTHEST, out=far)
    np.exp(np.negative(far, out=far), out=far)
    far *= known
    sums = np.add.reduceat(far[:, groups.columns], groups.starts, axis=1)
    oks = np.zeros(wanted.shape)
    oks[used] = sums / np.maximum(wanted[used], 1)
    bare = wanted == 0
    who = np.flatnonzero(bare.any(axis=1))
    if len(who):
        near = _box_pairs(points[:, first[who]], boxes[second[who]], areas[second[who]], sigmas)
        sums = np.add.reduceat(near[:, groups.columns], groups.starts, axis=1)
        oks[who] = np.where(bare[who], sums / groups.members.sum(axis=0), oks[who])
    return oks


def _box_pairs(points: Floats, boxes: Floats, areas: Floats, sigmas: Floats) -> Floats:
    """(P, K) similarity to people of whom only a box is known.

    The distance is that to the box enlarged by its own size on every side (COCO reference code:
    the rule for ground truth without labelled points).
    """
    low, high = boxes.T[:2, :, None], boxes.T[2:, :, None]
    reach = high - low
    outside = np.maximum(0, low - reach - points) + np.maximum(0, points - (low + 2 * reach))
    return _decay(outside.transpose(1, 2, 0).copy(), areas, sigmas)


def oks_nms(
    points: ArrayLike,
    scores: ArrayLike,
    *,
    areas: ArrayLike,
    sigmas: ArrayLike,
    threshold: float = 0.9,
    counted: ArrayLike | None = None,
) -> NDArray[np.intp]:
    """Indices of the detections to keep, best first: duplicates of a better one are dropped.

    Two detections are compared with the mean of their two areas, over all points (published code,
    with 0.9). Points that a model does not have and that were filled in equally everywhere make all
    people alike: exclude them with ``counted``.

    Args:
        points: (D, K, 2) pixels.
        scores: (D,) rank of each; the earlier of two equal ones wins.
        areas: (D,) square pixels, see ``candidate_areas``.
        sigmas: (K,).
        threshold: Similarity above which the lesser of two is a duplicate.
        counted: (D, K) points to compare, where both detections have it; None: all.
    """
    xy, sizes = np.asarray(points, np.float64), np.asarray(areas, np.float64)
    use = np.ones(xy.shape[:2], bool) if counted is None else np.asarray(counted, bool)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        similar = point_similarity(xy[order], xy[best], (sizes[order] + sizes[best]) / 2, sigmas)
        both = use[order] & use[best]
        oks = np.where(both, similar, 0).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        order = order[oks <= threshold]
    return np.array(kept, np.intp)


def candidate_areas(
    boxes: ArrayLike,
    *,
    rule: Literal["padded", "box"] = "padded",
    aspect: float = 0.75,
    padding: float = 1.25,
) -> Floats:
    """(D,) areas of detections for ``oks_nms``, in square pixels.

    Args:
        boxes: (D, 4) x0, y0, x1, y1 of the detections.
        rule: ``padded``, the published one: the box widened or heightened to the network's aspect,
            then enlarged; ``box``: width × height as detected.
        aspect: Width / height of the network's input.
        padding: Factor on both sides of the box.
    """
    box = np.asarray(boxes, np.float64).reshape(-1, 4)
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    if rule == "box":
        return width * height
    wide = np.maximum(width, height * aspect)
    return wide * (wide / aspect) * padding**2


def rescore(
    box_scores: ArrayLike, point_scores: ArrayLike, *, floor: float = _SCORE_FLOOR
) -> Floats:
    """(D,) scores of people: box score × mean of the point scores above ``floor``, 0 without any.

    Args:
        box_scores: (D,).
        point_scores: (D, K).
        floor: Published code: 0.2.
    """
    each = np.asarray(point_scores, np.float64)
    good = each > floor
    mean = np.where(good, each, 0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)
    return np.asarray(box_scores, np.float64) * mean
