# SPDX-License-Identifier: Apache-2.0
"""Share of correct keypoints, against any reference length."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vitruvian.metrics.accumulator import Accumulator, nan_mean, ratio
from vitruvian.metrics.checks import Groups, indices, shaped


class PCK(Accumulator):
    """Share of correct keypoints: within a fraction of a reference length of the truth.

    With the head's size as reference it is PCKh (MPII: 60 % of the head box's diagonal, threshold
    0.5); with the torso's or the box's it is PCK (Yang and Ramanan, TPAMI 2013). For people already
    paired with their truth, such as predictions in given boxes.

    ``result`` has, per threshold and group, ``PCK@0.5`` (pooled over points) and ``mPCK@0.5`` (mean
    over the points' own shares), in [0, 1]; keys of named groups read ``hand/PCK@0.5``.
    """

    def __init__(
        self, count: int, *, thresholds: Sequence[float] = (0.5,), groups: Groups | None = None
    ) -> None:
        """Choose thresholds (fractions of the reference) and groups of the ``count`` points."""
        named = groups if groups is not None else {"": range(count)}
        self.groups = {name: indices(name, group, count) for name, group in named.items()}
        self.thresholds = tuple(float(t) for t in thresholds)
        super().__init__(
            settings={
                "thresholds": self.thresholds,
                "groups": {name: group.tolist() for name, group in self.groups.items()},
            },
            totals={"right": (len(self.thresholds), count), "labelled": (count,)},
        )

    def update(
        self, *, points: ArrayLike, truth: ArrayLike, labelled: ArrayLike, reference: ArrayLike
    ) -> None:
        """Compare people with their truths.

        Args:
            points: (N, K, 2) pixels; a NaN point is a wrong one.
            truth: (N, K, 2) pixels, anything where not labelled.
            labelled: (N, K).
            reference: (N,) length in pixels; people with none (0 or NaN) are left out.

        Raises:
            InputError: Shapes that do not fit.
        """
        count = self._totals["labelled"].size
        xy = shaped("points", points, (-1, count, 2), finite=False)
        expected = shaped("truth", truth, (len(xy), count, 2), finite=False)
        length = shaped("reference", reference, (len(xy),), finite=False)
        usable = np.isfinite(length) & (length > 0)
        known = np.asarray(labelled, bool).reshape(len(xy), count) & usable[:, None]
        distance = np.linalg.norm(xy - expected, axis=-1)
        for row, threshold in zip(self._totals["right"], self.thresholds, strict=True):
            row += (known & (distance <= threshold * length[:, None])).sum(axis=0)
        self._totals["labelled"] += known.sum(axis=0)

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        result: dict[str, float] = {}
        for name, group in self.groups.items():
            prefix = f"{name}/" if name else ""
            labelled = self._totals["labelled"][group]
            for threshold, right in zip(self.thresholds, self._totals["right"], strict=True):
                key = f"PCK@{threshold:g}"
                result[f"{prefix}{key}"] = ratio(right[group].sum(), labelled.sum())
                result[f"{prefix}m{key}"] = nan_mean(
                    [ratio(r, n) for r, n in zip(right[group], labelled, strict=True)]
                )
        return result
