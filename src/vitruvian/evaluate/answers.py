# SPDX-License-Identifier: Apache-2.0
"""What is answered about photographs: by a predictor here, or by files made elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vitruvian.correspondence import convert_points, correspond
from vitruvian.errors import InputError
from vitruvian.evaluate.cases import Cases, Floats
from vitruvian.metrics import candidate_areas, oks_nms, rescore
from vitruvian.person import Sample
from vitruvian.predict.detect import Boxes, Detector, GivenBoxes
from vitruvian.predict.predictor import Model, Predictor
from vitruvian.vocabulary import Vocabulary

OKS_NMS = 0.9
"""Similarity above which the lesser of two detections is a duplicate (published code)."""
_SIGMA = 0.05  # where a vocabulary documents none


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPoses:
    """The keypoints found in one photograph.

    Attributes:
        vocabulary: of the K points.
        xy: (D, K, 2) pixels.
        scores: (D, K) of each point.
        ranks: (D,) score of each person, by which precision is averaged.
    """

    vocabulary: Vocabulary
    xy: Floats
    scores: Floats
    ranks: Floats

    def within(self, target: Vocabulary) -> "FoundPoses":
        """Return the same people with the points of another vocabulary.

        Raises:
            InputError: if it has points that cannot be made from these.
        """
        if target == self.vocabulary:
            return self
        way = correspond(self.vocabulary, target)
        lacking = [name for name, rows in zip(target.names, way.parts, strict=True) if not rows]
        if lacking:
            raise InputError(
                f"{len(lacking)} of the {len(target)} points of {target.name!r} (such as "
                f"{lacking[0]}) cannot be made from {self.vocabulary.name!r}: compare in points "
                "that both have, with --compare-points common114 or coco17"
            )
        xy, scores = convert_points(self.xy, self.scores, way)
        return replace(self, vocabulary=target, xy=xy, scores=scores)

    def chosen(self, kept: NDArray[np.intp]) -> "FoundPoses":
        """Return some of the people."""
        return replace(self, xy=self.xy[kept], scores=self.scores[kept], ranks=self.ranks[kept])


def sigmas_of(vocabulary: Vocabulary) -> Floats:
    """Return the spread of each point; 0.05 for all where the vocabulary documents none."""
    known = vocabulary.sigmas
    return np.full(len(vocabulary), _SIGMA) if known is None else np.asarray(known, np.float64)


def ranked(
    vocabulary: Vocabulary,
    xy: Floats,
    scores: Floats,
    box_scores: Floats,
    boxes: Floats,
    *,
    target: Vocabulary,
    aspect: float = 0.75,
) -> FoundPoses:
    """Score people as published, and drop duplicates.

    A person's score is the box's times the mean of the point scores above 0.2; of two people with
    an OKS above ``OKS_NMS`` the better stays.

    Args:
        vocabulary: of the points.
        xy: (D, K, 2) pixels.
        scores: (D, K).
        box_scores: (D,).
        boxes: (D, 4) x0, y0, x1, y1.
        target: vocabulary to evaluate in.
        aspect: width / height of the network's window.
    """
    bare = FoundPoses(vocabulary=vocabulary, xy=xy, scores=scores, ranks=box_scores).within(target)
    found = replace(bare, ranks=rescore(box_scores, bare.scores))
    if len(xy) < 2:
        return found
    kept = oks_nms(
        found.xy,
        found.ranks,
        areas=candidate_areas(boxes, aspect=aspect),
        sigmas=sigmas_of(target),
        threshold=OKS_NMS,
    )
    return found.chosen(np.sort(kept))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What is known about one photograph: the truth as read, and what was found.

    Attributes:
        place: of the photograph.
        truth: the photograph with its truth; ``None`` if nothing of it had to be read.
        poses: keypoints found, where they are answered.
        sample: the photograph with the maps found, where any are answered.
    """

    place: int
    truth: Sample | None = None
    poses: FoundPoses | None = None
    sample: Sample | None = None


class Answers(Protocol):
    """Something to evaluate."""

    @property
    def tasks(self) -> Sequence[str]:
        """What is answered."""
        ...

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order; ``draw``: with pictures in any case."""
        ...


@dataclass(eq=False)
class _Queue:
    """Boxes for the photographs that are on their way, by name; each is asked for once."""

    score_kind: str = "given"
    waiting: dict[str, Boxes] = field(default_factory=dict)

    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        del images
        return [self.waiting.pop(name) for name in names]


class Seen:
    """Answers of a predictor, who looks at annotated, given or detected boxes."""

    def __init__(
        self,
        predictor: Predictor,
        cases: Cases,
        *,
        tasks: Sequence[str],
        boxes: Mapping[int, Boxes] | Detector | None = None,
        points: Vocabulary | None = None,
    ) -> None:
        """Put predictor and photographs together.

        Args:
            predictor: its detector is replaced.
            cases: the photographs.
            tasks: which to answer.
            boxes: by place, those of a file; or a detector; ``None``: the annotated ones.
            points: vocabulary to evaluate keypoints in.
        """
        self.tasks = list(tasks)
        self._predictor, self._cases, self._boxes = predictor, cases, boxes
        self._points = points
        self._queue = _Queue()
        self._asks = isinstance(boxes, GivenBoxes) or hasattr(boxes, "detect")
        if not self._asks:
            predictor.detector = self._queue  # pyright: ignore[reportAttributeAccessIssue]
        else:
            predictor.detector = boxes  # pyright: ignore[reportAttributeAccessIssue]

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order; memory stays flat.

        Where only keypoints are asked for and nobody is in the boxes, the picture is not read.
        """
        looked = [place for place in places if draw or not self._nobody(place)]
        truths: dict[int, Sample] = {}

        def pictures() -> Iterator[NDArray[np.uint8]]:
            for place in looked:
                truth = truths[place] = self._cases.sample(place)
                if not self._asks:
                    self._queue.waiting[str(place)] = self._boxes_of(place, truth)
                yield truth.image

        names = self._cases.names
        shown = [names[place] if self._asks else str(place) for place in looked]
        outcomes = self._predictor.stream(pictures(), names=shown)  # pyright: ignore[reportArgumentType]
        for place in places:
            if place not in truths and place not in looked:
                yield Answer(place=place, poses=self._nothing())
                continue
            outcome = next(outcomes)
            if outcome.error is not None:
                raise InputError(f"{names[place]}: {outcome.error}") from outcome.error
            assert outcome.sample is not None
            yield self._answer(place, truths.pop(place), outcome.sample)

    def _nobody(self, place: int) -> bool:
        if self._asks or self.tasks != ["pose"]:
            return False
        if self._boxes is None:
            known = self._cases.boxes(place)
            return known is not None and not len(known)
        assert isinstance(self._boxes, Mapping)
        return not len(self._boxes.get(place, ()))

    def _boxes_of(self, place: int, truth: Sample) -> Boxes:
        if isinstance(self._boxes, Mapping):
            return self._boxes.get(place, Boxes())
        known = self._cases.boxes(place)
        if known is None:
            known = np.array([person.box for person in truth.people]).reshape(-1, 4)
        return Boxes(known, np.ones(len(known)))

    def _nothing(self) -> FoundPoses | None:
        if "pose" not in self.tasks:
            return None
        words = self._vocabulary()
        count = len(words)
        bare = FoundPoses(
            vocabulary=words, xy=np.zeros((0, count, 2)), scores=np.zeros((0, count)),
            ranks=np.zeros(0),
        )  # fmt: skip
        return bare.within(self._points or words)

    def _vocabulary(self) -> Vocabulary:
        return self._posing().tasks["pose"].vocabulary  # pyright: ignore[reportAttributeAccessIssue]

    def _posing(self) -> Model:
        for model in self._predictor.models:
            if "pose" in model.tasks:
                return model
        raise InputError("these weights answer no keypoints")

    def _answer(self, place: int, truth: Sample, seen: Sample) -> Answer:
        poses = self._nothing()
        people = [person for person in seen.people if "pose" in person.annotations]
        if poses is not None and people:
            points = [person.points() for person in people]
            size = self._posing().input_size
            poses = ranked(
                points[0].vocabulary,
                np.array([one.xy for one in points], np.float64),
                np.array([one.scores for one in points], np.float64),
                np.array([person.score for person in people]),
                np.array([person.box for person in people]),
                target=poses.vocabulary,
                aspect=size[1] / size[0],
            )
        return Answer(place=place, truth=truth, poses=poses, sample=seen)
