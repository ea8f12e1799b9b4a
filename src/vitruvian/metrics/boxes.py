# SPDX-License-Identifier: Apache-2.0
"""Whether people are found: average precision and recall of boxes."""

import math

import numpy as np
from numpy.typing import ArrayLike

from vitruvian.metrics.accumulator import Accumulator, ratio
from vitruvian.metrics.checks import flags, shaped

EVEN = 0.005
"""Differences of F1 that are chance [V]: of 200 people the standard error of a share of 0.75
is about 0.03."""


class BoxAP(Accumulator):
    """Average precision and recall of boxes at one IoU.

    As in PASCAL VOC (Everingham and others, 2010): detections, best first, each take the free
    person they overlap most; the area under the precision envelope is exact (every recall counts).
    A detection whose best overlap is somebody ignored counts neither way.

    ``result`` has ``AP`` over all detections; of those scored ``sure`` or more ``recall``,
    ``precision``, ``false`` (wrong boxes a picture), and ``IoU``, the mean of the right ones; all
    but ``false`` in [0, 1].
    """

    def __init__(self, *, overlap: float = 0.5, sure: float = 0.3) -> None:
        """Choose the IoU from which somebody is found, and the score of the second group."""
        self.overlap, self.sure = overlap, sure
        super().__init__(
            settings={"overlap": overlap, "sure": sure},
            totals={"people": (), "pictures": ()},
            rows={"score": (np.float64, ()), "right": (np.bool_, ()), "iou": (np.float64, ())},
        )

    def update(
        self,
        *,
        boxes: ArrayLike,
        scores: ArrayLike,
        truth: ArrayLike,
        ignored: ArrayLike | None = None,
    ) -> None:
        """Compare the people found on a picture with those who are there.

        Args:
            boxes: (D, 4) x0, y0, x1, y1.
            scores: (D,).
            truth: (G, 4).
            ignored: (G,) who need not be found.

        Raises:
            InputError: shapes that do not fit.
        """
        found, there = shaped("boxes", boxes, (-1, 4)), shaped("truth", truth, (-1, 4))
        score = shaped("scores", scores, (len(found),))
        spared = flags("ignored", ignored, len(there))
        overlaps = _iou(found, there)
        free = np.ones(len(there), bool)
        for number in np.argsort(-score, kind="stable"):
            row = np.where((free | spared), overlaps[number], 0)
            wanted = np.where(spared, 0, row)
            best = int(wanted.argmax()) if len(there) else -1
            right = len(there) > 0 and wanted[best] >= self.overlap
            if right:
                free[best] = False
            elif len(there) and row.max() >= self.overlap:
                continue
            self._append(
                score=score[number : number + 1],
                right=np.array([right]),
                iou=np.array([wanted[best] if right else 0.0]),
            )
        self._totals["people"] += (~spared).sum()
        self._totals["pictures"] += 1

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        score, right, iou = self._ranked()
        people, pictures = int(self._totals["people"]), int(self._totals["pictures"])
        sure = score >= self.sure
        return {
            "AP": _area(right, people),
            "recall": ratio(int(right[sure].sum()), people),
            "precision": ratio(int(right[sure].sum()), int(sure.sum())),
            "false": ratio(int((~right[sure]).sum()), pictures),
            "IoU": ratio(float(iou[sure & right].sum()), int(right[sure].sum())),
        }

    def best_limit(self) -> float | None:
        """Return the score from which on detections are best; ``None`` if none is right.

        Best is the highest F1, the harmonic mean of recall and precision (van Rijsbergen, 1979).
        Its curve is flat on top: of limits up to ``EVEN`` below, which is chance, the highest is
        taken, since it reports the fewest false boxes.
        """
        score, right, _ = self._ranked()
        if not right.any():
            return None
        # 2 hits / (detections + people); a limit takes all detections of its score
        f1 = 2 * np.cumsum(right) / (np.arange(1, len(right) + 1) + int(self._totals["people"]))
        last = np.append(score[1:] != score[:-1], True)
        good = last & (f1 >= f1[last].max() - EVEN)
        return float(score[np.argmax(good)])

    def _ranked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all scores, decreasing, whether each detection is right, and its overlap."""
        score, right, iou = (self._joined(name) for name in ("score", "right", "iou"))
        # Rights come last among equals, so that the order of pictures does not matter.
        order = np.lexsort((iou, right, -score))
        return score[order], right[order], iou[order]


def _area(right: np.ndarray, people: int) -> float:
    """Return the area under the envelope of precision over recall."""
    if not people:
        return math.nan
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[right].sum() / people)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=-1) for box in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
