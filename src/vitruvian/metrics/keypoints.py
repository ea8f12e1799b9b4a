# SPDX-License-Identifier: Apache-2.0
"""COCO average precision and recall of keypoints, for any vocabulary and its groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, nan_mean
from vitruvian.metrics.checks import Groups, all_finite, flags, indices, shaped
from vitruvian.metrics.matching import AREAS, BYTES, CELLS, OKS_THRESHOLDS, Image, match
from vitruvian.metrics.oks import GroupedPoints

MAX_DETECTIONS = 20
"""Detections of one image that count in a group, best first (the reference code's parameter)."""
_RECALLS = np.linspace(0, 1, 101)
_BATCH = 1 << 16  # coordinates of pairs that are compared at once: what fits a core's cache


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
        self._grouped = GroupedPoints.of(list(self.groups.values()), count)
        self._area_points = area
        self._waiting: list[Image] = []
        self._pairs = 0
        cells = (np.uint8, (len(self.groups), BYTES))
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
        point_scores: ArrayLike | None = None,
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
            point_scores: (D, K) a detection takes part only in groups with a point that scores
                above 0, as in the reference code for COCO-WholeBody; None: in all (COCO).

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
        if boxes is None:
            self._grouped.require_boxes(self._grouped.count(known))
        box = np.zeros((people, 4)) if boxes is None else shaped("boxes", boxes, (people, 4))
        many = flags("crowd", crowd, people)
        spared = flags("ignored", ignored, people) | many

        order = (-confidence).argsort(kind="stable")
        present = np.ones((len(order), len(self.groups)), bool)
        if point_scores is not None:
            each = shaped("point_scores", point_scores, (len(xy), count))
            present = self._grouped.count(each[order] > 0) > 0
        if len(order) > MAX_DETECTIONS:
            present &= present.cumsum(axis=0) <= MAX_DETECTIONS
        if not present.all():
            counting = present.any(axis=1)
            order, present = order[counting], present[counting]
        self._waiting.append(
            Image(
                number=image,
                points=xy[order].transpose(2, 0, 1),
                scores=confidence[order],
                present=present,
                truth=expected.transpose(2, 0, 1).copy(),
                labelled=known.copy(),
                areas=sizes.copy(),
                boxes=box.copy(),
                crowd=many.copy(),
                spared=spared,
            )
        )
        self._pairs += len(order) * people
        if self._pairs * count >= _BATCH or len(self._waiting) >= _BATCH // 64:
            self._settle()

    def _settle(self) -> None:
        """Match the images that wait for company."""
        images, self._waiting, self._pairs = self._waiting, [], 0
        if not images:
            return
        people, right, wrong = match(images, self.sigmas, self._grouped, self._area_points)
        numbers = np.array([each.number for each in images], np.int64)
        self._append(
            images=numbers,
            people=people,
            image=numbers.repeat([len(each.scores) for each in images]),
            score=np.concatenate([each.scores for each in images]),
            right=right,
            wrong=wrong,
        )

    def empty(self) -> Self:
        """Return an accumulator of the same settings that has seen nothing."""
        fresh = super().empty()
        fresh._waiting, fresh._pairs = [], 0
        return fresh

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything seen so far as plain arrays, for files and other processes."""
        self._settle()
        return super().state_dict()

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Replace everything seen so far by ``state``."""
        super().load_state_dict(state)
        self._waiting, self._pairs = [], 0

    def ranking(self) -> "Ranking":
        """Return all that was seen in order of rank, to be summed up over any choice of images.

        Raises:
            InputError: An image was given more than once.
        """
        self._settle()
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
        return Ranking(
            groups=tuple(self.groups),
            images=images,
            people=self._joined("people")[first].astype(np.int64),
            owner=np.searchsorted(images, self._joined("image")[order]),
            right=self._joined("right")[order],
            wrong=self._joined("wrong")[order],
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
        right: (D, N, bytes) whether it found somebody who counts, a bit for each cell.
        wrong: (D, N, bytes) whether it found nobody.
    """

    groups: tuple[str, ...]
    images: NDArray[np.int64]
    people: NDArray[np.int64]
    owner: NDArray[np.intp]
    right: NDArray[np.uint8]
    wrong: NDArray[np.uint8]

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
                right, wrong, weights = right[used], wrong[used], each[used]
            else:
                weights = None
            curves = _precision_recall(
                _unpacked(right, weights), _unpacked(wrong, weights), people[n]
            )
            for kind, values in zip(("AP", "AR"), curves, strict=True):
                table = dict(zip(AREAS, values.reshape(len(AREAS), -1), strict=True))
                result[f"{prefix}{kind}"] = nan_mean(table[""])
                result[f"{prefix}{kind}50"] = float(table[""][0])
                result[f"{prefix}{kind}75"] = float(table[""][5])
                result[f"{prefix}{kind}M"] = nan_mean(table["M"])
                result[f"{prefix}{kind}L"] = nan_mean(table["L"])
        return result


def _unpacked(cells: NDArray[np.uint8], weights: NDArray[np.float64] | None) -> NDArray[Any]:
    """(n, bytes) → (cells, n) whether, or how often, each counts."""
    bits = np.unpackbits(cells, axis=-1, count=CELLS).view(bool).T
    return bits.copy() if weights is None else bits * weights.T


def _precision_recall(
    right: NDArray[Any], wrong: NDArray[Any], people: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision (mean at 101 recalls) and final recall of (cells, n) ranked outcomes.

    One cell after the other, for the sake of memory; ``people`` (areas,) should have been found.
    """
    precision, recall = np.full(CELLS, math.nan), np.full(CELLS, math.nan)
    for cell, wanted in enumerate(np.repeat(people, len(OKS_THRESHOLDS))):
        if not wanted:
            continue
        hits = right[cell].cumsum(dtype=np.float64)
        shares = hits / np.maximum(hits + wrong[cell].cumsum(), 1)
        shares = np.maximum.accumulate(shares[::-1])[::-1]
        reached = hits / wanted
        recall[cell] = reached[-1] if len(reached) else 0.0
        at = np.searchsorted(reached, _RECALLS, side="left")
        precision[cell] = np.append(shares, 0.0)[at].mean()
    return precision, recall
