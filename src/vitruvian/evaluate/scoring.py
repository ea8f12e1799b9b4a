# SPDX-License-Identifier: Apache-2.0
"""Scorers: one task's answers held against the truth, for the set and for every photograph.

A scorer's numbers do not depend on the order of photographs, nor on how they were spread over
processes. Besides them it keeps, per photograph, a row of numbers to sort by, and the evidence
from which the numbers of any selection of photographs follow (see ``vitruvian.evaluate.resample``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.correspondence import convert_labels
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer
from vitruvian.evaluate.cases import Cases
from vitruvian.evaluate.pairs import MapPair, map_pair
from vitruvian.evaluate.scoring_pose import Arrays, Kept, PoseScorer
from vitruvian.metrics import Alignment, Average, DepthMetrics, MaskMetrics, NormalMetrics
from vitruvian.person import Raster
from vitruvian.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the tasks' numbers depend on.

    Attributes:
        alignment: of depth to the truth, by itself for each map that was answered: a photograph's,
            or a person's.
        depth_average: whether photographs or pixels weigh the same, for depth.
        normals_average: the same for normals.
        median: exact for pooled pixels ("fine"), or the centre of half-degree bins ("published").
        absent: whether classes that do not occur are left out ("skip"), or count as 0 ("zero").
        boundary: width of boundary regions as share of the diagonal, for boundary IoU; 0: none.
    """

    alignment: Alignment = "scale_shift"
    depth_average: Average = "image"
    normals_average: Average = "pixel"
    median: Any = "fine"
    absent: Any = "skip"
    boundary: float = 0.02


class Scorer(Protocol):
    """One task's numbers; see the module text.

    Attributes:
        task: its name.
        sort: the number of a photograph's row to sort by.
        worst: whether the worst photographs have the lowest or the highest.
    """

    task: str
    sort: str
    worst: str

    def update(self, cases: Cases, answer: Answer) -> dict[str, float]:
        """Take in one photograph; return its row."""
        ...

    def result(self) -> dict[str, float]:
        """The numbers of the set so far."""
        ...

    def state_dict(self) -> Arrays:
        """Everything seen so far."""
        ...

    def merge(self, state: Mapping[str, ArrayLike]) -> None:
        """Take in what another scorer of the same settings has seen."""
        ...

    def evidence(self) -> Arrays:
        """Arrays from which numbers of a selection follow, see ``vitruvian.evaluate.resample``."""
        ...


# ----------------------------------------------------------------------------------------- maps


def in_words(raster: Raster, words: Vocabulary) -> NDArray[np.uint8]:
    """Return the values of a label map in another vocabulary; 255 for what has no counterpart.

    Raises:
        InputError: if no map between the two is documented.
    """
    own = raster.vocabulary
    assert own is not None
    return raster.values if own == words else convert_labels(raster.values, own, words)


def label_pair(
    true: Raster, guess: Raster | None, words: Vocabulary
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return true and found values as they are compared, in the classes of ``words``.

    255 is not known in the truth. Where nothing was found, and where a class was found that
    ``words`` does not have, is background.
    """
    background = words.background or 0
    known = np.where(true.mask, in_words(true, words), np.uint8(255))
    values = np.full(true.size, background, np.uint8)
    if guess is not None:
        values = np.where(guess.mask, in_words(guess, words), np.uint8(background))
        values[(values == 255) & (known != 255)] = background
    return known, values


_Total = TypeVar("_Total", bound=MaskMetrics | DepthMetrics | NormalMetrics)


class _Dense(Kept, Generic[_Total]):
    """What scorers of maps share."""

    task = ""

    def __init__(self, total: _Total) -> None:
        super().__init__({"total": total})
        self._total = total

    def _pair(self, cases: Cases, answer: Answer) -> MapPair | None:
        """Return true and found map on the whole photograph; ``None`` without truth."""
        name = cases.names[answer.place]
        if answer.truth is None:
            raise InputError(f"{name}: its truth was not read")
        try:
            return map_pair(answer.truth, answer.sample, self.task)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def _own(self, **maps: Any) -> _Total:
        """Measure one photograph by itself, and add it to the set."""
        one = self._total.empty()
        one.update(**maps)
        self._parts["total"].merge(one)
        return one

    def evidence(self) -> Arrays:
        return {}


class PartsScorer(_Dense[MaskMetrics]):
    """Part labels: IoU, accuracy, Dice and boundary IoU, of the set and per class.

    Outside of what was predicted there is background. A photograph's row has its mIoU over the
    classes in it, and aAcc.
    """

    task, sort, worst = "parts", "mIoU", "low"

    def __init__(self, words: Vocabulary, settings: Settings) -> None:
        """Choose the vocabulary to evaluate in."""
        self.words = words
        width = settings.boundary or None
        super().__init__(MaskMetrics(words.names, absent=settings.absent, boundary=width))
        self._areas: list[NDArray[np.int64]] = []

    def update(self, cases: Cases, answer: Answer) -> dict[str, float]:
        """Take in one photograph."""
        pair = self._pair(cases, answer)
        if pair is None:
            return {"mIoU": math.nan, "aAcc": math.nan}
        known, values = label_pair(pair.true, pair.guess, self.words)
        one = self._own(prediction=values, truth=known)
        counts = one.confusion
        areas = np.stack([counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)])
        self._areas.append(areas)
        here = areas[1] > 0
        union = areas[1] + areas[2] - areas[0]
        own = areas[0][here] / union[here]
        total = counts.sum()
        return {
            "mIoU": float(own.mean()) if here.any() else math.nan,
            "aAcc": float(areas[0].sum() / total) if total else math.nan,
            "pixels": float(total),
        }

    def evidence(self) -> Arrays:
        """Return (N, 3, classes) pixels right, true and predicted of each class."""
        empty = np.zeros((0, 3, len(self.words)), np.int64)
        return {"areas": np.concatenate([empty, *(a[None] for a in self._areas)])}


class DepthScorer(_Dense[DepthMetrics]):
    """Depth over person pixels, after alignment; a row has the photograph's own numbers."""

    task, sort, worst = "depth", "AbsRel", "high"

    def __init__(self, settings: Settings) -> None:
        """Choose alignment and average."""
        super().__init__(DepthMetrics(alignment=settings.alignment, average=settings.depth_average))

    def update(self, cases: Cases, answer: Answer) -> dict[str, float]:
        """Take in one photograph."""
        pair = self._pair(cases, answer)
        if pair is None:
            return {"RMSE": math.nan, "AbsRel": math.nan, "delta1": math.nan}
        true, guess = pair.true, pair.guess
        for raster, whose in ((true, "truth"), (guess, "prediction")):
            if raster is not None and raster.kind == "inverse":
                raise InputError(
                    f"{cases.names[answer.place]}: the {whose} is inverse depth (larger = nearer), "
                    "which no scale and shift turns into depth: store 1 / it as relative depth"
                )
        values = np.full(true.size, np.nan, np.float32)
        if guess is not None:
            values = np.where(guess.mask, guess.values, np.float32(np.nan))
        one = self._own(prediction=values, truth=true.values, mask=pair.mask, views=pair.views)
        return {**_without(one.result(), "images"), "pixels": float(one.pixels)}


class NormalsScorer(_Dense[NormalMetrics]):
    """Angles between normals over person pixels; a row has the photograph's own numbers."""

    task, sort, worst = "normals", "mean", "high"

    def __init__(self, settings: Settings) -> None:
        """Choose the average and the kind of median."""
        super().__init__(NormalMetrics(average=settings.normals_average, median=settings.median))

    def update(self, cases: Cases, answer: Answer) -> dict[str, float]:
        """Take in one photograph."""
        pair = self._pair(cases, answer)
        if pair is None:
            return {"mean": math.nan, "median": math.nan}
        true, guess = pair.true, pair.guess
        values = np.full((*true.size, 3), np.nan, np.float32)
        if guess is not None:
            values = np.where(guess.mask[..., None], guess.values, np.float32(np.nan))
        one = self._own(prediction=values, truth=true.values, mask=pair.mask)
        return {**_without(one.result(), "images"), "pixels": float(one.pixels)}


def _without(numbers: dict[str, float], key: str) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if name != key}


def make_scorers(
    tasks: Sequence[str],
    settings: Settings,
    *,
    points: Vocabulary | None = None,
    parts: Vocabulary | None = None,
) -> list[Scorer]:
    """Return a scorer per task.

    Args:
        tasks: pose, parts, depth, normals.
        settings: see ``Settings``.
        points: vocabulary to evaluate keypoints in.
        parts: vocabulary to evaluate labels in.
    """
    made: list[Scorer] = []
    for task in tasks:
        if task == "pose":
            assert points is not None
            made.append(PoseScorer(points))
        elif task == "parts":
            assert parts is not None
            made.append(PartsScorer(parts, settings))
        else:
            made.append((DepthScorer if task == "depth" else NormalsScorer)(settings))
    return made
