# SPDX-License-Identifier: Apache-2.0
"""Whether scores mean what they say: expected calibration error."""

import numpy as np
from numpy.typing import ArrayLike

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, ratio
from vitruvian.metrics.checks import same_shape


class Calibration(Accumulator):
    """Expected calibration error of scores (Guo et al., arXiv 1706.04599, equations 3 and 5).

    Scores fall into equal bins of [0, 1]. In each, the mean score is compared with how right its
    members were; ``ECE`` is the mean absolute difference, weighted by members, ``MCE`` the largest,
    ``bias`` the mean score minus the mean correctness (positive: overconfident). 0 is perfect.

    For keypoints, correctness is either whether a point counts for PCK, or its ``point_similarity``
    to the truth, which makes a score the expected similarity.
    """

    def __init__(self, *, bins: int = 15) -> None:
        """Choose the number of equal bins (15 in the paper)."""
        self.bins = bins
        names = [f"{kind}{b}" for kind in ("score", "right") for b in range(bins)]
        super().__init__(settings={"bins": bins}, totals={"members": (bins,)}, sums=names)

    def update(
        self, *, scores: ArrayLike, correct: ArrayLike, valid: ArrayLike | None = None
    ) -> None:
        """Take in scored things, of one image or many.

        Args:
            scores: (…) confidence; outside of [0, 1] counts as the nearer end.
            correct: (…) bool, or a degree of correctness in [0, 1].
            valid: (…) which of them can be judged; None: all.

        Raises:
            InputError: Shapes that differ, or numbers that are not finite where valid.
        """
        score, right = np.asarray(scores, np.float64), np.asarray(correct, np.float64)
        use = np.ones(score.shape, bool) if valid is None else np.asarray(valid, bool)
        same_shape(scores=score, correct=right, valid=use)
        score, right = np.clip(score[use], 0, 1), right[use]
        if not (np.isfinite(score).all() and np.isfinite(right).all()):
            raise InputError(
                "scores or their correctness are not finite; wanted numbers from 0 to 1: "
                "leave out what cannot be judged with valid"
            )
        bin_of = np.minimum((score * self.bins).astype(np.intp), self.bins - 1)
        members = np.bincount(bin_of, minlength=self.bins)
        self._totals["members"] += members
        for kind, values in (("score", score), ("right", right)):
            binned = np.bincount(bin_of, weights=values, minlength=self.bins)
            self._add({f"{kind}{b}": float(binned[b]) for b in np.flatnonzero(members)})

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        members = self._totals["members"]
        scores = np.array([self._sum(f"score{b}") for b in range(self.bins)])
        rights = np.array([self._sum(f"right{b}") for b in range(self.bins)])
        gaps, used = np.abs(scores - rights), members > 0
        worst = (gaps[used] / members[used]).max() if used.any() else np.nan
        return {
            "ECE": ratio(gaps.sum(), members.sum()),
            "MCE": float(worst),
            "bias": ratio(scores.sum() - rights.sum(), members.sum()),
        }
