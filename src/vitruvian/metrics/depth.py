# SPDX-License-Identifier: Apache-2.0
"""How well depth agrees, after the alignment that the protocol allows."""

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, Average, blocks, dot, median, ratio
from vitruvian.metrics.checks import same_shape

Alignment = Literal["none", "median", "scale", "scale_shift"]
"""How a prediction is brought to the truth, over its valid pixels: not at all; by the
ratio of medians (Zhou et al., arXiv 1704.07813); by the least-squares scale; by the least-squares
scale and shift (Ranftl et al., arXiv 1907.01341; the Sapiens paper's protocol, in depth itself)."""

DELTA = 1.25
LOG_FLOOR = 1e-6
"""Aligned depths below this count as this in logarithms (the clamp of the published loss)."""

_NUMBERS = ("RMSE", "AbsRel", "delta1", "delta2", "delta3", "log10", "RMSE_log", "SILog")
_SUMS = ("square", "relative", "log10", "log", "log_square", "log_spread", "d1", "d2", "d3")


class DepthMetrics(Accumulator):
    """Depth errors over valid pixels: those of the mask whose true depth is finite and above 0.

    With d the aligned prediction and g the truth, in the truth's unit (Eigen et al., arXiv
    1406.2283): ``RMSE`` = √mean (d - g)², ``AbsRel`` = mean |d - g| / g, ``log10`` = mean
    |log10 d - log10 g|, ``RMSE_log`` = √mean (ln d - ln g)², ``SILog`` = standard deviation of
    ln d - ln g within an image, ``delta1`` … ``delta3`` = share with max(d / g, g / d) < 1.25,
    1.25², 1.25³.

    A pixel without a prediction (NaN or infinite) is left out of these; ``coverage`` is the share
    of valid pixels that had one. Images without valid pixels are left out; ``images`` counts the
    others.
    """

    def __init__(self, *, alignment: Alignment = "scale_shift", average: Average = "image") -> None:
        """Choose the alignment, and whether images or pixels weigh the same (``Average``)."""
        if alignment not in get_args(Alignment) or average not in get_args(Average):
            raise InputError(
                f"alignment {alignment!r}, average {average!r}; wanted one of "
                f"{', '.join(get_args(Alignment))} and one of {', '.join(get_args(Average))}"
            )
        self.alignment: Alignment = alignment
        self.average: Average = average
        super().__init__(
            settings={"alignment": alignment, "average": average},
            totals={"images": (), "measured": (), "valid": (), "covered": ()},
            sums=_SUMS if average == "pixel" else _NUMBERS,
        )

    def update(
        self,
        *,
        prediction: ArrayLike,
        truth: ArrayLike,
        mask: ArrayLike | None = None,
        views: ArrayLike | None = None,
    ) -> None:
        """Take in one image.

        Args:
            prediction: (H, W) depth, larger is farther; metric, or relative when it is aligned.
            truth: (H, W) depth, larger is farther; 0, NaN and infinity are not known.
            mask: (H, W) where a person is; None: everywhere.
            views: (H, W) numbers, the same where pixels were predicted together: they are aligned
                together. None: everywhere.

        Raises:
            InputError: Maps of different sizes.
        """
        guess, true = np.asarray(prediction), np.asarray(truth)
        inside = np.ones(true.shape, bool) if mask is None else np.asarray(mask, bool)
        apart = np.zeros(true.shape, np.uint8) if views is None else np.asarray(views)
        same_shape(prediction=guess, truth=true, mask=inside, views=apart)
        valid = np.flatnonzero(inside & (true > 0) & (true < np.inf))
        d, g = (v.ravel().take(valid, mode="clip").astype(np.float64) for v in (guess, true))
        seen = apart.ravel()[valid]
        given = np.isfinite(d)
        if not given.all():
            d, g, seen = d[given], g[given], seen[given]
        self._totals["valid"] += given.size
        self._totals["covered"] += d.size
        self._totals["images"] += given.size > 0
        if not d.size:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # absurd depths make NaN
            sums = _error_sums(aligned(d, g, seen, self.alignment), g)
        self._totals["measured"] += 1
        self._add(sums if self.average == "pixel" else _numbers(sums, d.size))

    @property
    def pixels(self) -> int:
        """How many pixels were compared so far."""
        return int(self._totals["covered"])

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        images, measured = int(self._totals["images"]), int(self._totals["measured"])
        sums = {name: self._sum(name) for name in self._sums}
        if self.average == "pixel":
            numbers = _numbers(sums, int(self._totals["covered"]))
        else:
            numbers = {name: ratio(value, measured) for name, value in sums.items()}
        coverage = ratio(int(self._totals["covered"]), int(self._totals["valid"]))
        return {**numbers, "coverage": coverage, "images": float(images)}


def aligned(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    views: NDArray[np.integer],
    alignment: Alignment,
) -> NDArray[np.float64]:
    """Return given pixels (n,), those of each view brought to the truth by themselves.

    Args:
        prediction: finite depths.
        truth: finite depths above 0.
        views: pixels of the same number were predicted together.
        alignment: how.
    """
    result = np.empty(prediction.size)
    for view in np.unique(views):
        here = views == view
        d = prediction[here]
        scale, shift = align(d, truth[here], alignment)
        result[here] = d * scale + shift
    return result


def align(
    prediction: NDArray[np.float64], truth: NDArray[np.float64], alignment: Alignment
) -> tuple[float, float]:
    """(scale, shift) such that scale · prediction + shift fits ``truth``, over given pixels (n,).

    A prediction that cannot be scaled (all equal, all zero) gets the scale 0 or 1 that fits best.
    """
    if alignment == "none":
        return 1.0, 0.0
    if alignment == "median":
        middle = median(prediction)
        return (median(truth) / middle if middle else 1.0), 0.0
    if alignment == "scale":
        power = dot(prediction, prediction)
        return (dot(prediction, truth) / power if power else 1.0), 0.0
    mean_d, mean_g = float(prediction.mean()), float(truth.mean())
    spread = product = 0.0
    for block in blocks(prediction.size):
        centred = prediction[block] - mean_d
        spread += dot(centred, centred)
        product += dot(centred, truth[block] - mean_g)
    # A constant has a spread of rounding errors only: its best fit is the mean of the truth.
    flat = spread <= prediction.size * (1e-12 * mean_d) ** 2
    scale = 0.0 if flat else product / spread
    return scale, mean_g - scale * mean_d


def _error_sums(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    """Sums over the pixels (n,) of one image."""
    sums = np.zeros(len(_SUMS))
    for block in blocks(truth.size):
        d, g = prediction[block], truth[block]
        error = d - g
        log = np.log(np.maximum(d, LOG_FLOOR) / g)
        size = np.abs(log)
        # max(d / g, g / d) < 1.25^k, in logarithms that exist already; d ≤ 0 is far outside.
        within = [np.count_nonzero(size < k * math.log(DELTA)) for k in (1, 2, 3)]
        relative = (np.abs(error) / g).sum()
        sums += [dot(error, error), relative, size.sum(), log.sum(), dot(log, log), 0, *within]
    named = dict(zip(_SUMS, sums.tolist(), strict=True))
    spread = named["log_square"] - named["log"] ** 2 / truth.size
    return {**named, "log10": named["log10"] / math.log(10), "log_spread": max(0.0, spread)}


def _numbers(sums: dict[str, float], pixels: int) -> dict[str, float]:
    """The published numbers from sums over ``pixels``."""
    mean = {name: ratio(value, pixels) for name, value in sums.items()}
    roots = {name: math.sqrt(mean[name]) for name in ("square", "log_square", "log_spread")}
    deltas = (mean["d1"], mean["d2"], mean["d3"])
    values = (roots["square"], mean["relative"], *deltas)
    values += (mean["log10"], roots["log_square"], roots["log_spread"])
    return dict(zip(_NUMBERS, values, strict=True))
