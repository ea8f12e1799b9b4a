# SPDX-License-Identifier: Apache-2.0
"""How steady keypoints are from frame to frame."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, ratio
from vitruvian.metrics.checks import same_shape, shaped


class Jitter(Accumulator):
    """Mean norm of the acceleration of points over time, in pixels per frame².

    The acceleration at frame t is x(t+1) - 2 x(t) + x(t-1), of the same person and point in three
    frames without a gap. ``result`` has ``jitter`` and, when the true motion is known,
    ``acceleration_error``: the mean norm of predicted minus true acceleration (Kanazawa et al.,
    arXiv 1812.01601). Real motion accelerates too: of two smoothings, compare the error as well.
    """

    def __init__(self) -> None:
        super().__init__(
            settings={},
            totals={"jitter": (), "acceleration_error": ()},
            sums=["jitter", "acceleration_error"],
        )

    def update(
        self,
        *,
        points: ArrayLike,
        ids: ArrayLike,
        frames: ArrayLike,
        valid: ArrayLike | None = None,
        truth: ArrayLike | None = None,
    ) -> None:
        """Take in one whole clip; the rows may come in any order.

        Args:
            points: (N, K, 2) pixels; NaN where not seen.
            ids: (N,) whose points they are (integers).
            frames: (N,) frame numbers (integers).
            valid: (N, K) which points to use; None: all that are finite.
            truth: (N, K, 2) true points in pixels, NaN where not known.

        Raises:
            InputError: Shapes that do not fit, or somebody seen twice in one frame.
        """
        xy = np.asarray(points, np.float64)
        xy = shaped("points", xy, (-1, xy.shape[-2] if xy.ndim == 3 else 1, 2), finite=False)
        person, frame = np.asarray(ids).reshape(-1), np.asarray(frames, np.int64).reshape(-1)
        if not len(person) == len(frame) == len(xy):
            raise InputError(
                f"{len(xy)} rows of points with {len(person)} ids and {len(frame)} frames; "
                "wanted one id and one frame number for each row"
            )
        if valid is not None:
            use = np.asarray(valid, bool)
            same_shape(points=xy[..., 0], valid=use)
            xy = np.where(use[..., None], xy, np.nan)
        order = np.lexsort((frame, person))
        person, frame, xy = person[order], frame[order], xy[order]
        same, step = person[1:] == person[:-1], np.diff(frame)
        if (same & (step == 0)).any():
            first = int(np.flatnonzero(same & (step == 0))[0])
            raise InputError(
                f"person {person[first]} is in frame {frame[first]} twice; "
                "wanted each id at most once in a frame"
            )
        chained = same & (step == 1)
        middle = np.flatnonzero(chained[1:] & chained[:-1]) + 1
        moved = xy[middle + 1] - 2 * xy[middle] + xy[middle - 1]
        self._collect("jitter", moved)
        if truth is not None:
            true = shaped("truth", truth, xy.shape, finite=False)[order]
            expected = true[middle + 1] - 2 * true[middle] + true[middle - 1]
            self._collect("acceleration_error", moved - expected)

    def _collect(self, name: str, vectors: NDArray[np.float64]) -> None:
        norms = np.linalg.norm(vectors, axis=-1)
        norms = norms[np.isfinite(norms)]
        self._totals[name] += norms.size
        self._add({name: float(norms.sum())})

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        return {name: ratio(self._sum(name), int(n)) for name, n in self._totals.items()}


class Tracks(Accumulator):
    """`Jitter` of people who are told frame by frame, in any order and by any process.

    Keeps every person of every frame (16 bytes per point), since frames of a clip may come apart.
    """

    def __init__(self, count: int) -> None:
        """Choose the number of points."""
        number, points = (np.int64, ()), (np.float32, (count, 2))
        rows = {"clip": number, "frame": number, "person": number}
        super().__init__(
            settings={"count": count}, rows={**rows, "points": points, "truth": points}
        )

    def update(
        self, *, clip: int, frame: int, ids: ArrayLike, points: ArrayLike, truth: ArrayLike
    ) -> None:
        """Take in the people of one frame.

        Args:
            clip: number of the clip.
            frame: number in it.
            ids: (N,) who they are (integers).
            points: (N, K, 2) pixels; NaN where not seen.
            truth: (N, K, 2) true points in pixels, NaN where not known.

        Raises:
            InputError: Shapes that do not fit.
        """
        count = self._row_kinds["points"][1][0]
        who = np.asarray(ids, np.int64).reshape(-1)
        found = shaped("points", points, (len(who), count, 2), finite=False)
        true = shaped("truth", truth, (len(who), count, 2), finite=False)
        self._append(
            clip=np.full(len(who), clip, np.int64),
            frame=np.full(len(who), frame, np.int64),
            person=who,
            points=found.astype(np.float32),
            truth=true.astype(np.float32),
        )

    def result(self) -> dict[str, float]:
        """The numbers so far, see `Jitter`; NaN where nobody is in three frames in a row.

        Raises:
            InputError: Somebody was seen twice in one frame.
        """
        whose = np.stack([self._joined("clip"), self._joined("person")], axis=1)
        _, ids = np.unique(whose, axis=0, return_inverse=True)
        jitter, truth = Jitter(), self._joined("truth")
        seen = self._joined("points")
        if len(ids):
            jitter.update(
                points=np.where(np.isnan(truth), np.nan, seen),
                ids=ids.reshape(-1),
                frames=self._joined("frame"),
                truth=truth,
            )
        return jitter.result()
