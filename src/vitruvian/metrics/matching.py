# SPDX-License-Identifier: Apache-2.0
"""Which detections find whom, as COCO evaluates keypoints, for many images at once.

Everything that can be is done for all pairs of a batch together: an image by itself has so few that
most of its time would go into calling numpy. Nothing of an image depends on its company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from vitruvian.metrics.oks import Bools, Floats, GroupedPoints, pair_oks

# COCO keypoint evaluation (cocodataset.org/#keypoints-eval; the reference code's parameters).
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""OKS from which a detection counts as found; AP and AR are means over these."""
AREAS = {"": (0.0, 1e10), "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e10)}
"""Ranges of a person's area in square pixels: all, medium, large."""
CELLS = len(AREAS) * len(OKS_THRESHOLDS)
"""A detection is right, or wrong, in each of these."""
BYTES = (CELLS + 7) // 8
_LIMITS = np.array(list(AREAS.values()))
_REACHED = np.minimum(OKS_THRESHOLDS, 1 - 1e-10)


@dataclass(slots=True)
class Image:
    """D detections, best first, and G annotated people of one image.

    Attributes:
        number: of the image.
        points: (2, D, K) x and y in pixels.
        scores: (D,) falling.
        present: (D, N) groups of points in which a detection takes part.
        truth: (2, G, K), finite.
        labelled: (G, K).
        areas: (G,) square pixels.
        boxes: (G, 4) x0, y0, x1, y1; anything where every group has labelled points.
        crowd: (G,) people who may be found any number of times.
        spared: (G,) people who need not be found.
    """

    number: int
    points: Floats
    scores: Floats
    present: Bools
    truth: Floats
    labelled: Bools
    areas: Floats
    boxes: Floats
    crowd: Bools
    spared: Bools


def match(
    images: Sequence[Image],
    sigmas: Floats,
    groups: GroupedPoints,
    area_points: NDArray[np.intp] | None,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
    """Match the detections of images to their people, for all groups, area ranges and thresholds.

    Each detection, best first, takes the most similar person left who counts, if similar enough;
    failing that, the most similar one who does not count. Of equals, the last in the list (as the
    reference).

    Args:
        images: at least one.
        sigmas: (K,).
        groups: N groups of points.
        area_points: see `KeypointAP`.

    Returns:
        (I, N, A) people who count; (D, N, bytes) for which areas and thresholds each of all
        detections is right; and the same for wrong.
    """
    points = np.concatenate([image.points for image in images], axis=1)
    truth = np.concatenate([image.truth for image in images], axis=1)
    labelled = np.concatenate([image.labelled for image in images])
    areas = np.concatenate([image.areas for image in images])
    boxes = np.concatenate([image.boxes for image in images])
    found = np.fromiter((image.points.shape[1] for image in images), np.intp, len(images))
    there = np.fromiter((image.truth.shape[1] for image in images), np.intp, len(images))
    ends = there.cumsum()
    first, second, starts, partners = _pairs(found, there)

    known = groups.count(labelled)
    oks = pair_oks(
        points, truth, labelled, known, areas, sigmas, boxes, groups, first, second, halves=True
    )
    present = np.concatenate([image.present for image in images])
    oks *= present[first]
    spared = np.fromiter(chain.from_iterable(i.spared for i in images), bool, len(areas))
    skip = (spared[:, None] | (known == 0))[..., None] | _out_of_range(areas)[:, None]
    counted = np.zeros((len(areas) + 1, *skip.shape[1:]), np.int64)
    np.cumsum(~skip, axis=0, out=counted[1:])
    people = (counted[ends] - counted[ends - there]).astype(np.uint16)

    shape = (points.shape[1], known.shape[1], *_LIMITS.shape[:1], len(_REACHED))
    right, nobody = np.zeros(shape, bool), np.ones(shape, bool)
    some = partners > 0
    if some.any():
        # As if nobody was wanted by two, so that who comes first does not matter.
        best = np.where(skip[second], -1.0, oks[..., None])
        right[some] = np.maximum.reduceat(best, starts[some])[..., None] >= _REACHED
        best = np.maximum.reduceat(oks, starts[some])
        nobody[some] = best[..., None, None] < _REACHED
    for i in _contested(oks, second, there):
        mine = slice(int(found[:i].sum()), int(found[: i + 1].sum()))
        ours = slice(int(ends[i] - there[i]), int(ends[i]))
        pairs = slice(int(starts[mine.start]), int(starts[mine.start] + found[i] * there[i]))
        table = oks[pairs].reshape(found[i], there[i], -1).transpose(0, 2, 1)
        turn = _in_turn(table, skip[ours].transpose(1, 2, 0), images[i].crowd)
        right[mine], nobody[mine] = turn
    outside = _out_of_range(_extents(points, groups, area_points))
    wrong = nobody & ~outside[..., None] & present[..., None, None]
    return people, _packed(right), _packed(wrong)


def _pairs(
    found: NDArray[np.intp], there: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of a detection and a person of one image, detection by detection.

    Returns:
        (P,) detections and (P,) people; (D,) where each detection's pairs begin, and how many.
    """
    partners = np.repeat(there, found)
    starts = partners.cumsum() - partners
    first = np.repeat(np.arange(len(partners)), partners)
    offsets = np.repeat(there.cumsum() - there, found) - starts
    return first, np.arange(len(first)) + offsets[first], starts, partners


def _contested(oks: Floats, second: NDArray[np.intp], there: NDArray[np.intp]) -> NDArray[np.intp]:
    """Images in which two detections are similar enough to the same person."""
    pair, group = np.nonzero(oks >= _REACHED[0])
    wanted = np.bincount(second[pair] * oks.shape[1] + group, minlength=1)
    owner = np.repeat(np.arange(len(there)), there)
    return np.unique(owner[np.flatnonzero(wanted > 1) // oks.shape[1]])


def _extents(points: Floats, groups: GroupedPoints, area_points: NDArray[np.intp] | None) -> Floats:
    """(D, N or 1) area of the box around each detection's points, per group."""
    columns, starts = groups.columns, groups.starts
    if area_points is not None:
        columns, starts = area_points, np.zeros(1, np.intp)
    chosen = points[..., columns]
    sides = np.maximum.reduceat(chosen, starts, axis=2)
    sides -= np.minimum.reduceat(chosen, starts, axis=2)
    return sides[0] * sides[1]


def _in_turn(oks: Floats, skip: Bools, crowd: Bools) -> tuple[Bools, Bools]:
    """(D, N, A, T) which detections match somebody who counts, and which match nobody.

    Args:
        oks: (D, N, G), detections by falling score.
        skip: (N, A, G) people who do not count.
        crowd: (G,) people who may be taken any number of times.
    """
    detections, groups, people = oks.shape
    shape = (detections, groups, len(AREAS), len(_REACHED))
    right, nobody = np.empty(shape, bool), np.empty(shape, bool)
    # Reversed, so that argmax, which returns the first of equals, finds the last.
    oks, skip, crowd = oks[..., ::-1], skip[..., None, ::-1], crowd[::-1]
    free, everybody = np.ones((*shape[1:], people), bool), np.arange(people)
    for d in range(detections):
        similar = oks[d, :, None, None]
        fits = (similar >= _REACHED[:, None]) & free
        real = fits & ~skip
        counts = np.any(real, axis=-1, keepdims=True)
        fits = np.where(counts, real, fits)
        best = np.where(fits, similar, -1.0).argmax(axis=-1)[..., None]
        taken = fits & (best == everybody)
        free &= ~taken | crowd
        right[d] = counts[..., 0]
        nobody[d] = ~taken.any(axis=-1)
    return right, nobody


def _packed(cells: Bools) -> NDArray[np.uint8]:
    """(D, N, A, T) → (D, N, bytes)."""
    return np.packbits(cells.reshape(*cells.shape[:2], CELLS), axis=-1)


def _out_of_range(areas: Floats) -> Bools:
    """(…, A): which area ranges each of (…) areas is outside of."""
    each = areas[..., None]
    return (each < _LIMITS[:, 0]) | (each > _LIMITS[:, 1])
