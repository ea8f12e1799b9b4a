# SPDX-License-Identifier: Apache-2.0
"""Looking twice: whether keypoints are found in the boxes that a detector of our own reports."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.metrics import candidate_areas, oks_nms
from vitruvian.person import Person
from vitruvian.predict.detect import Boxes, ScoreKind, WholeImage
from vitruvian.predict.people import PeopleFinder
from vitruvian.predict.predictor import Model, Predictor

_CLEAR = 0.75
"""Mean keypoint score from which on somebody is as sure as their box [V] (docs/log.md)."""
_SEEN = 0.3
"""Score from which on keypoints are compared between boxes [V]: others are guesses."""
_TWICE = 0.7
"""Similarity (OKS) of keypoints from which on two boxes hold the same person [V] (docs/log.md)."""


class ConfirmedFinder:
    """Finds people, and lowers the scores of those whose keypoints are unclear: so is nobody's.

    Of boxes in which the same keypoints are found, the best is kept. Scores are ``confidence``.
    Windows are looked at as they are, not mirrored too: the answer is only whether somebody is
    there.
    """

    score_kind: ScoreKind = "sigmoid"

    def __init__(
        self, finder: PeopleFinder, model: Model, *, min_score: float | None = None, device: str
    ) -> None:
        """Put both together.

        Args:
            finder: reports boxes; its own ``min_score`` is replaced.
            model: knows keypoints.
            min_score: people scored lower are left out; ``finder.confirm`` if not given.
            device: of the model.
        """
        self.finder = finder
        self.min_score = finder.confirm if min_score is None else min_score
        finder.min_score = self.min_score  # nobody is surer than their box
        self._look = Predictor(
            [replace(model, flip=False)], WholeImage(), tasks=["pose"], device=device
        )

    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return the people in each RGB picture (H, W, 3), best first."""
        found = self.finder.detect(images, names)
        return [self._confirmed(image, boxes) for image, boxes in zip(images, found, strict=True)]

    def _confirmed(self, image: NDArray[np.uint8], boxes: Boxes) -> Boxes:
        people = self._look(image, boxes)
        scores = np.array([confidence(person) for person in people])
        chosen = np.flatnonzero(scores >= self.min_score)
        if not len(chosen):
            return Boxes()
        points = [people[i].points() for i in chosen]
        words = points[0].vocabulary
        body = list(words.groups.get("body", range(len(words))))  # faces agree too strictly
        sigmas = np.full(len(words), 0.05) if words.sigmas is None else words.sigmas
        once = oks_nms(
            np.stack([p.xy[body] for p in points]),
            scores[chosen],
            areas=candidate_areas(boxes.boxes[chosen], rule="box"),
            sigmas=sigmas[body],
            threshold=_TWICE,
            counted=np.stack([p.scores[body] >= _SEEN for p in points]),
        )
        order = chosen[once]
        return Boxes(boxes.boxes[order], scores[order])


def confidence(person: Person) -> float:
    """Return a person's box score, lowered as far as the mean score of their keypoints is unclear.

    At most the box's score, so whose box scores lower than a limit need not be looked at.
    """
    return person.score * min(1.0, float(person.points().scores.mean()) / _CLEAR)
