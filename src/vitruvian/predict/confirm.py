# SPDX-License-Identifier: Apache-2.0
"""Looking twice at a detector's boxes: is anybody in them, and how far does the body reach?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.geometry import Crop, Size
from vitruvian.metrics import candidate_areas, oks_nms
from vitruvian.person import Person, Raster
from vitruvian.predict.detect import Boxes, ScoreKind, WholeImage
from vitruvian.predict.people import PeopleFinder
from vitruvian.predict.predictor import Model, Predictor
from vitruvian.predict.windows import solid

_CLEAR = 0.75
"""Mean keypoint score from which on somebody is as sure as their box [V] (docs/log.md)."""
_SEEN = 0.3
"""Score from which on keypoints are compared between boxes [V]: others are guesses."""
_TWICE = 0.7
"""Similarity (OKS) of keypoints from which on two boxes hold the same person [V] (docs/log.md)."""
_STRAY = 0.001
"""Share of a body's pixels beyond each side of its box [V]: specks elsewhere are no part of it."""


class ConfirmedFinder:
    """Finds people, and lowers the scores of those whose keypoints are unclear: so is nobody's.

    Of boxes in which the same keypoints are found, the best is kept, and drawn anew around its
    person (``body_box``). Scores are ``confidence``.
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
            model: knows keypoints; and parts, if boxes are to be drawn anew.
            min_score: people scored lower are left out; ``finder.confirm`` if not given.
            device: of the model.
        """
        self.finder = finder
        self.min_score = finder.confirm if min_score is None else min_score
        finder.min_score = self.min_score  # nobody is surer than their box
        tasks = [name for name in ("pose", "parts") if name in model.tasks]
        self._look = Predictor(
            [replace(model, flip=False, zooms=())],
            WholeImage(),
            tasks=tasks,
            pixels="window",
            device=device,
        )
        self._window = model.input_size

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
        crops = [Crop.from_box(solid(box), self._window) for box in boxes.boxes]
        points = [people[i].points() for i in chosen]
        words = points[0].vocabulary
        body = list(words.groups.get("body", range(len(words))))  # faces agree too strictly
        sigmas = np.full(len(words), 0.05) if words.sigmas is None else words.sigmas
        once = oks_nms(
            np.stack([crops[i].to_image(people[i].points().xy[body]) for i in chosen]),
            scores[chosen],
            areas=candidate_areas(boxes.boxes[chosen], rule="box"),
            sigmas=sigmas[body],
            threshold=_TWICE,
            counted=np.stack([p.scores[body] >= _SEEN for p in points]),
        )
        order = chosen[once]
        drawn = [body_box(people[i], crops[i], image.shape[:2]) for i in order]
        return Boxes(np.stack(drawn), scores[order])


def confidence(person: Person) -> float:
    """Return a person's box score, lowered as far as the mean score of their keypoints is unclear.

    At most the box's score, so whose box scores lower than a limit need not be looked at.
    """
    return person.score * min(1.0, float(person.points().scores.mean()) / _CLEAR)


def body_box(person: Person, crop: Crop, photograph: Size) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 around the pixels that parts call the person's, and their clear points.

    The person's box, if no parts are known or none is seen. A thousandth of the pixels may lie
    beyond each side.

    Args:
        person: with annotations in pixels of the window.
        crop: photograph → window.
        photograph: (height, width), which the box does not leave.
    """
    parts = person.annotations.get("parts")
    if not isinstance(parts, Raster) or parts.vocabulary is None:
        return person.box
    body = parts.mask & (parts.values != parts.vocabulary.background)
    if not body.any():
        return person.box
    sides = []
    for axis in (0, 1):
        share = np.cumsum(body.sum(axis=axis)) / body.sum()
        sides.append(np.searchsorted(share, (_STRAY, 1 - _STRAY)) + parts.origin[axis])
    points = person.points()
    corners = crop.to_image(
        np.concatenate([np.transpose(sides), points.xy[points.scores >= _SEEN]])
    )
    corners = np.clip(corners, 0, np.array(photograph[::-1]) - 1)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
