# SPDX-License-Identifier: Apache-2.0
"""Object keypoint similarity, suppression of duplicates by it, and published rescoring.

The similarity of one point is exp(-d² / (2 A (2 sigma)²)), with d the distance in pixels, A the
area of the person in square pixels and sigma the point's spread; that of two poses is the mean over
points (COCO keypoint evaluation, cocodataset.org/#keypoints-eval).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TINY = np.spacing(1.0)  # the reference adds it to areas, so that an area of 0 divides
# Exponents below it count as it: e^-700 = 1e-304 changes no sum, and smaller results are slow.
_FARTHEST = -700.0
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
    np.maximum(dx, _FARTHEST, out=dx)
    return np.exp(dx, out=dx)


def box_similarity(
    points: ArrayLike, boxes: ArrayLike, areas: ArrayLike, sigmas: ArrayLike
) -> Floats:
    """(D, G, K) similarity to people of whom only a box is known.

    The distance is that to the box enlarged by its own size on every side (COCO reference code:
    the rule for ground truth without labelled points).

    Args:
        points: (D, K, 2) pixels.
        boxes: (G, 4) x0, y0, x1, y1.
        areas: (G,) square pixels.
        sigmas: (K,).
    """
    xy = np.asarray(points, np.float64)[:, None]
    low, high = np.split(np.asarray(boxes, np.float64).reshape(-1, 1, 4), 2, axis=-1)
    reach = high - low
    outside = np.maximum(0, low - reach - xy) + np.maximum(0, xy - (low + 2 * reach))
    return _decay(outside, np.asarray(areas, np.float64), sigmas)


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
    distance to his box (``box_similarity``).

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
    everything, start = slice(None), np.zeros(1, np.intp)
    return group_oks(found, clean, known, sizes, spread, boxes, everything, start)[0][:, 0]


def group_oks(
    points: Floats,
    truth: Floats,
    labelled: Bools,
    areas: Floats,
    sigmas: Floats,
    boxes: ArrayLike | None,
    columns: NDArray[np.intp] | slice,
    starts: NDArray[np.intp],
) -> tuple[Floats, NDArray[np.int64]]:
    """(D, N, G) similarity within each of N groups of points, and (N, G) labelled points of each.

    ``columns`` are the points of all groups in a row, and ``starts`` where each group begins. The
    similarity of a point does not depend on its group: it is computed once. See ``oks_matrix``;
    here ``truth`` must be finite also where not labelled.
    """
    counts = np.add.reduceat(labelled[:, columns], starts, axis=1, dtype=np.int64)
    similar = point_similarity(points[:, None], truth, areas, sigmas)
    similar *= labelled
    oks = np.add.reduceat(similar[..., columns], starts, axis=2)
    oks /= np.maximum(counts, 1)
    bare = counts == 0
    if bare.any() and len(points):
        who = np.flatnonzero(bare.any(axis=1))
        if boxes is None:
            raise InputError(
                f"{who.size} annotated people have no labelled point and no box; "
                "give boxes (G, 4), or leave those people out"
            )
        near = box_similarity(points, np.asarray(boxes)[who], areas[who], sigmas)[..., columns]
        mean = np.add.reduceat(near, starts, axis=2) / np.diff(starts, append=near.shape[2])
        oks[:, who] = np.where(bare[who], mean, oks[:, who])
    return oks.transpose(0, 2, 1), counts.T


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
