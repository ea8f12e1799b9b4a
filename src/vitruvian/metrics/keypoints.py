# SPDX-License-Identifier: Apache-2.0
"""COCO average precision and recall of keypoints, for any vocabulary and its groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, nan_mean
from vitruvian.metrics.checks import Groups, all_finite, flags, indices, shaped
from vitruvian.metrics.oks import Bools, group_oks

# COCO keypoint evaluation (cocodataset.org/#keypoints-eval; the reference code's parameters).
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""OKS from which a detection counts as found; AP and AR are means over these."""
MAX_DETECTIONS = 20
"""Detections of one image that count, best first."""
AREAS = {"": (0.0, 1e10), "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e10)}
"""Ranges of a person's area in square pixels: all, medium, large."""
_RECALLS = np.linspace(0, 1, 101)
_LIMITS = np.array(list(AREAS.values()))
_CELLS = len(AREAS) * len(OKS_THRESHOLDS)  # a detection is right, or wrong, in each of them
_BYTES = (_CELLS + 7) // 8


class KeypointAP(Accumulator):
    """COCO average precision and recall of keypoints, for any number of groups in one pass.

    ``result`` has, per group, ``AP`` and ``AR`` (means over OKS 0.50:0.05:0.95), ``AP50``,
    ``AP75``, ``AR50``, ``AR75``, and ``APM``, ``APL``, ``ARM``, ``ARL`` for medium and large
    people, in [0, 1]; NaN where nobody could be found (the reference prints -1). With named groups
    the keys read ``hand/AP``; without, ``AP``. Each group is evaluated as if it were all the points
    there are: a person without labelled points of the group need not be found, and a detection
    matched to such a person does not count.

    Equal to the COCO reference code, including ties, crowds, area ranges and the limit of 20
    detections. Memory: 16 bytes and 8 per group for each counted detection, 8 and 6 per group for
    each image.
    """

    def __init__(
        self,
        sigmas: ArrayLike,
        *,
        groups: Groups | None = None,
        area_points: Sequence[int] | None = None,
    ) -> None:
        """Choose points and groups.

        Args:
            sigmas: (K,) spread of each point as COCO defines it.
            groups: What to evaluate; None: all points, without a name.
            area_points: A detection's area, which decides whether a false one counts as medium or
                large, is that of the box around these of its points. None: around the points of
                the group (COCO); for COCO-WholeBody its reference code takes the 17 body points in
                every group.

        Raises:
            InputError: A group is empty or names a point that does not exist.
        """
        self.sigmas = np.array(sigmas, np.float64)
        count = len(self.sigmas)
        named = groups if groups is not None else {"": range(count)}
        self.groups = {name: indices(name, group, count) for name, group in named.items()}
        area = None if area_points is None else indices("area_points", area_points, count)
        self._columns: NDArray[np.intp] | slice = np.concatenate(list(self.groups.values()))
        if np.array_equal(self._columns, np.arange(count)):
            self._columns = slice(None)  # spares a copy
        self._starts = np.cumsum([0, *(len(g) for g in self.groups.values())])[:-1]
        self._area_points = area
        cells = (np.uint8, (len(self.groups), _BYTES))
        super().__init__(
            settings={
                "sigmas": self.sigmas.tolist(),
                "groups": {name: group.tolist() for name, group in self.groups.items()},
                "area_points": None if area is None else area.tolist(),
            },
            rows={
                "images": (np.int64, ()),
                "people": (np.uint16, (len(self.groups), len(AREAS))),
                "image": (np.int64, ()),
                "score": (np.float64, ()),
                "right": cells,
                "wrong": cells,
            },
        )

    def update(
        self,
        *,
        image: int,
        points: ArrayLike,
        scores: ArrayLike,
        truth: ArrayLike,
        labelled: ArrayLike,
        areas: ArrayLike,
        boxes: ArrayLike | None = None,
        crowd: ArrayLike | None = None,
        ignored: ArrayLike | None = None,
    ) -> None:
        """Match the detections of one image to its annotated people.

        Args:
            image: Number of the image; each may be given once, over all processes.
            points: (D, K, 2) detected points in pixels.
            scores: (D,) confidence of each person, see ``rescore``.
            truth: (G, K, 2) annotated points in pixels, anything where not labelled.
            labelled: (G, K) whether a point is annotated (COCO's v > 0).
            areas: (G,) annotated areas in square pixels.
            boxes: (G, 4) x0, y0, x1, y1 of the annotations; needed only for people without
                labelled points (of a group).
            crowd: (G,) annotations that stand for many people: any number of detections may match
                one, and none of them counts.
            ignored: (G,) people that need not be found; a detection matched to one does not count.

        Raises:
            InputError: Shapes that do not fit, or numbers that are not finite.
        """
        count = len(self.sigmas)
        xy = shaped("points", points, (-1, count, 2))
        confidence = shaped("scores", scores, (len(xy),))
        expected = shaped("truth", truth, (-1, count, 2), finite=False)
        people = len(expected)
        known = np.asarray(labelled, bool).reshape(-1, count)
        fits = len(known) == people
        if fits and not all_finite(expected):
            expected = np.where(known[..., None], expected, 0)
            fits = all_finite(expected)
        if not fits:
            raise InputError(
                f"labelled {known.shape} does not fit truth {expected.shape}, or calls points "
                f"labelled that are not finite; wanted ({people}, {count}), true where truth is"
            )
        sizes = shaped("areas", areas, (people,))
        box = None if boxes is None else shaped("boxes", boxes, (people, 4))
        many = flags("crowd", crowd, people)
        spared = flags("ignored", ignored, people) | many

        order = np.argsort(-confidence, kind="stable")[:MAX_DETECTIONS]
        xy, confidence = xy.take(order, axis=0), confidence.take(order)
        oks, counts = group_oks(
            xy, expected, known, sizes, self.sigmas, box, self._columns, self._starts
        )
        skip = (spared | (counts == 0))[:, None] | _out_of_range(sizes).T
        right, wrong = _match(oks, skip, many, _out_of_range(self._extents(xy)))

        self._append(
            images=np.array([image], np.int64),
            people=(~skip).sum(axis=2, dtype=np.uint16)[None],
            image=np.full(len(xy), image, np.int64),
            score=confidence,
            right=right,
            wrong=wrong,
        )

    def _extents(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(D, N or 1) area of the box around each detection's points, per group."""
        if self._area_points is None:
            columns, starts = self._columns, self._starts
        else:
            columns, starts = self._area_points, np.zeros(1, np.intp)
        chosen = points.transpose(2, 0, 1)[..., columns]
        sides = np.maximum.reduceat(chosen, starts, axis=2)
        sides -= np.minimum.reduceat(chosen, starts, axis=2)
        return sides[0] * sides[1]

    def ranking(self) -> "Ranking":
        """Return all that was seen in order of rank, to be summed up over any choice of images.

        Raises:
            InputError: An image was given more than once.
        """
        images, first, times = np.unique(
            self._joined("images"), return_index=True, return_counts=True
        )
        if (times > 1).any():
            twice = images[times > 1]
            raise InputError(
                f"{twice.size} images were evaluated more than once, such as {twice[0]}; "
                "give each image to one process only (a sampler may pad its last batch)"
            )
        # Images in the order of their numbers, then by score: what the reference does with ties.
        by_image = np.argsort(self._joined("image"), kind="stable")
        order = by_image[np.argsort(-self._joined("score")[by_image], kind="stable")]
        right, wrong = (
            np.unpackbits(self._joined(name)[order], axis=-1, count=_CELLS).view(bool)
            for name in ("right", "wrong")
        )
        return Ranking(
            groups=tuple(self.groups),
            images=images,
            people=self._joined("people")[first].astype(np.int64),
            owner=np.searchsorted(images, self._joined("image")[order]),
            right=right,
            wrong=wrong,
        )

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class.

        Raises:
            InputError: An image was given more than once.
        """
        return self.ranking().result()


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Detections of I images by falling score, and in which cells each was right or wrong.

    Attributes:
        groups: the N names.
        images: (I,) their numbers, rising.
        people: (I, N, areas) annotated people who count.
        owner: (D,) place in ``images`` of each detection's image.
        right: (D, N, cells) whether it found somebody who counts.
        wrong: (D, N, cells) whether it found nobody.
    """

    groups: tuple[str, ...]
    images: NDArray[np.int64]
    people: NDArray[np.int64]
    owner: NDArray[np.intp]
    right: Bools
    wrong: Bools

    def result(self, times: ArrayLike | None = None) -> dict[str, float]:
        """Return the numbers of `KeypointAP`.

        Args:
            times: (I,) how often each image counts, as in a bootstrap sample; None: once each.
        """
        count = np.ones(len(self.images)) if times is None else np.asarray(times, np.float64)
        each = count[self.owner][:, None]
        used = None if times is None else np.flatnonzero(each[:, 0])
        people = np.tensordot(count, self.people, axes=1)
        result: dict[str, float] = {}
        for n, name in enumerate(self.groups):
            prefix = f"{name}/" if name else ""
            right, wrong = self.right[:, n], self.wrong[:, n]
            if used is not None:
                right, wrong = right[used] * each[used], wrong[used] * each[used]
            wanted = np.repeat(people[n], len(OKS_THRESHOLDS))
            curves = _precision_recall(right, wrong, wanted)
            for kind, values in zip(("AP", "AR"), curves, strict=True):
                table = dict(zip(AREAS, values.reshape(len(AREAS), -1), strict=True))
                result[f"{prefix}{kind}"] = nan_mean(table[""])
                result[f"{prefix}{kind}50"] = float(table[""][0])
                result[f"{prefix}{kind}75"] = float(table[""][5])
                result[f"{prefix}{kind}M"] = nan_mean(table["M"])
                result[f"{prefix}{kind}L"] = nan_mean(table["L"])
        return result


def _match(
    oks: NDArray[np.float64], skip: Bools, crowd: Bools, outside: Bools
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pair detections, best first, with people, for all groups, area ranges and thresholds at once.

    Each takes the most similar person left who counts, if similar enough; failing that, the most
    similar one who does not count. Of equals, the last in the list (as the reference).

    Args:
        oks: (D, N, G), detections by falling score.
        skip: (N, A, G) people who do not count.
        crowd: (G,) people who may be taken any number of times.
        outside: (D, N or 1, A) detections that do not count when they are false.

    Returns:
        (D, N, bytes) each: for which areas and thresholds a detection is right, and is wrong.
    """
    limits = np.minimum(OKS_THRESHOLDS, 1 - 1e-10)
    rivals = np.add.reduce(oks >= limits[0], axis=0, dtype=np.int64)
    if (rivals <= 1).all():
        # Nobody is wanted by two, so who comes first does not matter.
        counted = np.where(skip, -1.0, oks[:, :, None])
        right = np.maximum.reduce(counted, axis=3, initial=-1.0)[..., None] >= limits
        nobody = np.maximum.reduce(oks, axis=2, initial=-1.0)[..., None, None] < limits
    else:
        right, nobody = _match_in_turn(oks, skip, crowd, limits)
    return _packed(right), _packed(nobody & ~outside[..., None])


def _match_in_turn(
    oks: NDArray[np.float64], skip: Bools, crowd: Bools, limits: NDArray[np.float64]
) -> tuple[Bools, Bools]:
    """(D, N, A, T) which detections match somebody who counts, and which match nobody."""
    detections, groups, people = oks.shape
    shape = (detections, groups, len(AREAS), len(limits))
    right, nobody = np.empty(shape, bool), np.empty(shape, bool)
    # Reversed, so that argmax, which returns the first of equals, finds the last.
    oks, skip, crowd = oks[..., ::-1], skip[..., None, ::-1], crowd[::-1]
    free, everybody = np.ones((*shape[1:], people), bool), np.arange(people)
    for d in range(detections):
        similar = oks[d, :, None, None]
        fits = (similar >= limits[:, None]) & free
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
    return np.packbits(cells.reshape(*cells.shape[:2], _CELLS), axis=-1)


def _out_of_range(areas: NDArray[np.float64]) -> Bools:
    """(…, A): which area ranges each of (…) areas is outside of."""
    each = areas[..., None]
    return (each < _LIMITS[:, 0]) | (each > _LIMITS[:, 1])


def _precision_recall(
    right: NDArray[Any], wrong: NDArray[Any], people: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision (mean at 101 recalls) and final recall of (n, cells) ranked outcomes.

    Outcomes are whether, or how often, each counts.
    """
    precision, recall = np.full(_CELLS, math.nan), np.full(_CELLS, math.nan)
    hits = right.cumsum(axis=0, dtype=np.float64)
    shares = hits / np.maximum(hits + wrong.cumsum(axis=0), 1)
    shares = np.maximum.accumulate(shares[::-1], axis=0)[::-1]
    for cell in np.flatnonzero(people):
        reached = hits[:, cell] / people[cell]
        recall[cell] = reached[-1] if len(reached) else 0.0
        at = np.searchsorted(reached, _RECALLS, side="left")
        precision[cell] = np.append(shares[:, cell], 0.0)[at].mean()
    return precision, recall
