# SPDX-License-Identifier: Apache-2.0
"""How well surface normals agree: angles between them, in degrees."""

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, Average, blocks, dot, median, ratio
from vitruvian.metrics.checks import same_shape

WITHIN = (5.0, 11.25, 22.5, 30.0)
"""Degrees below which an angle counts as good (published protocols)."""

_STEP = 2.0**-10
_PUBLISHED_STEP = 0.5


class NormalMetrics(Accumulator):
    """Angular errors over valid pixels: those of the mask whose true normal is finite and not zero.

    ``result`` has ``mean``, ``median`` and ``RMSE`` in degrees and ``within_5``, ``within_11.25``,
    ``within_22.5``, ``within_30``, the shares of pixels below so many degrees, in [0, 1]. Vectors
    are normalised before they are compared; both maps must be in the same axes.

    A pixel without a prediction (NaN, infinite, or the zero vector) is left out of these;
    ``coverage`` is the share of valid pixels that had one. Images without valid pixels are left
    out; ``images`` counts the others.
    """

    def __init__(
        self, *, average: Average = "pixel", median: Literal["fine", "published"] = "fine"
    ) -> None:
        """Choose how images are put together, and the kind of median.

        Args:
            average: ``pixel`` pools all pixels of all images (published); ``image`` takes each
                image's own numbers, with its exact median, and averages those.
            median: Of pooled pixels. ``fine``: exact for angles rounded to 1/1024 degree, in 1.4 MB
                for any number of images. ``published``: the centre of the half-degree bin that
                holds it (Sapiens2's evaluator takes it from such a histogram).
        """
        if average not in get_args(Average) or median not in ("fine", "published"):
            raise InputError(
                f"average {average!r}, median {median!r}; wanted image or pixel, fine or published"
            )
        self.average: Average = average
        self._step = _STEP if median == "fine" else _PUBLISHED_STEP
        self._centre = 0.0 if median == "fine" else 0.5  # of a bin, in bins from its first angle
        bins = int(180 / self._step) + 1 if average == "pixel" else 0
        within = [f"within_{limit:g}" for limit in WITHIN]
        super().__init__(
            settings={"average": average, "median": median},
            totals={"images": (), "measured": (), "valid": (), "covered": (), "angles": (bins,)},
            sums=["mean", "square", *within]
            if average == "pixel"
            else ["mean", "median", "RMSE", *within],
        )

    def update(
        self, *, prediction: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None
    ) -> None:
        """Take in one image.

        Args:
            prediction: (H, W, 3) normals, of any length but 0.
            truth: (H, W, 3) normals; zero or NaN is not known.
            mask: (H, W) where a person is; None: everywhere.

        Raises:
            InputError: Maps of different sizes.
        """
        guess, true = np.asarray(prediction), np.asarray(truth)
        inside = np.ones(true.shape[:-1], bool) if mask is None else np.asarray(mask, bool)
        same_shape(prediction=guess, truth=true)
        if guess.shape != (*inside.shape, 3):
            raise InputError(
                f"normals {guess.shape} with a mask {inside.shape}; wanted (H, W, 3) and (H, W)"
            )
        where = np.flatnonzero(inside)
        valid, degrees = angles(guess.reshape(-1, 3), true.reshape(-1, 3), where)
        covered = degrees.size
        self._totals["valid"] += valid
        self._totals["covered"] += covered
        self._totals["images"] += valid > 0
        if not covered:
            return
        self._totals["measured"] += 1
        within = {f"within_{t:g}": float(np.count_nonzero(degrees < t)) for t in WITHIN}
        mean, square = float(degrees.sum(dtype=np.float64)), dot(degrees, degrees)
        if self.average == "pixel":
            self._add({"mean": mean, "square": square, **within})
            places = degrees * np.float32(1 / self._step) + np.float32(0.5 - self._centre)
            counts = np.bincount(places.astype(np.intp))
            self._totals["angles"][: counts.size] += counts
        else:
            self._add({name: count / covered for name, count in within.items()})
            root = math.sqrt(square / covered)
            self._add({"mean": mean / covered, "median": median(degrees), "RMSE": root})

    @property
    def pixels(self) -> int:
        """How many pixels were compared so far."""
        return int(self._totals["covered"])

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        covered, measured = int(self._totals["covered"]), int(self._totals["measured"])
        weight = covered if self.average == "pixel" else measured
        mean = {name: ratio(self._sum(name), weight) for name in self._sums}
        if self.average == "pixel":
            mean["RMSE"] = math.sqrt(mean.pop("square"))
            mean["median"] = self._median(covered)
        order = ("mean", "median", "RMSE", *(f"within_{t:g}" for t in WITHIN))
        return {
            **{name: mean[name] for name in order},
            "coverage": ratio(covered, int(self._totals["valid"])),
            "images": float(self._totals["images"]),
        }

    def _median(self, count: int) -> float:
        if not count:
            return math.nan
        upto = self._totals["angles"].cumsum()
        middle = np.searchsorted(upto, [(count - 1) // 2, count // 2], side="right")
        return float((middle + self._centre).mean() * self._step)


def angles(
    prediction: NDArray[Any], truth: NDArray[Any], where: NDArray[np.intp]
) -> tuple[int, NDArray[np.floating]]:
    """Angles between vectors (n, 3), at the indices ``where``.

    The angle is atan(|a × b| / a · b), which is exactly 0 for parallel vectors and 180 for opposite
    ones, and accurate in between; the arc cosine loses half of its digits near both.

    Returns:
        How many truths are known there, and the degrees (m,) of those that are also predicted.
    """
    precision = np.result_type(prediction, truth, np.float32)
    degrees = np.empty(where.size, precision)
    to_degrees, half_turn = precision.type(180 / math.pi), precision.type(180)
    with np.errstate(all="ignore"):  # zero, NaN and infinite vectors give NaN
        for block in blocks(where.size):
            # "clip" spares take the check of indices that are known to be inside
            ax, ay, az = np.ascontiguousarray(
                prediction.take(where[block], axis=0, mode="clip").T, precision
            )
            bx, by, bz = np.ascontiguousarray(
                truth.take(where[block], axis=0, mode="clip").T, precision
            )
            cross = (ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2
            angle = np.arctan(np.sqrt(cross) / (ax * bx + ay * by + az * bz))
            # Beyond 90 degrees the quotient is negative; at 180 it is -0, hence the sign bit.
            part = np.multiply(angle, to_degrees, out=degrees[block])
            part += np.signbit(angle) * half_turn
    measured = ~np.isnan(degrees)
    if measured.all():
        return where.size, degrees
    true = truth[where]
    known = np.isfinite(true).all(axis=-1) & (true != 0).any(axis=-1)
    return int(known.sum()), degrees[measured]
