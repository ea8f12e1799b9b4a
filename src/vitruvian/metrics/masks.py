# SPDX-License-Identifier: Apache-2.0
"""How well label maps agree: IoU, accuracy, Dice and boundary IoU, from pixel counts of a set."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.metrics.accumulator import Accumulator, nan_mean, ratio
from vitruvian.metrics.checks import same_shape

Labels = NDArray[np.integer[Any]]


class MaskMetrics(Accumulator):
    """Segmentation accuracy from the areas and overlaps of each class, accumulated over all images.

    With I the pixels right, P those predicted and T those true of a class: ``IoU`` =
    I / (P + T - I), ``Acc`` = I / T, ``Dice`` = 2 I / (P + T), ``BoundaryIoU`` = IoU of the
    boundary regions (see ``boundary``). ``result`` has each per class (``IoU/face``), the means
    over all classes including background (``mIoU`` …), and ``aAcc``, the share of all pixels that
    are right; all in [0, 1], NaN without any pixel. The published Sapiens numbers are these × 100.
    """

    def __init__(
        self,
        classes: int | Sequence[str],
        *,
        ignore: int | None = 255,
        absent: Literal["skip", "zero"] = "skip",
        boundary: float | None = None,
    ) -> None:
        """Choose classes and rules.

        Args:
            classes: Names of the label values 0, 1, …, or how many there are.
            ignore: Label of the truth that leaves a pixel out; None: every pixel counts.
            absent: A class with nothing to divide by (in neither map for IoU, not in the truth for
                Acc) is NaN and left out of the mean (``skip``: first Sapiens), or counts as 0
                (``zero``: Sapiens2).
            boundary: Also count boundary IoU, of regions this share of the image's diagonal wide
                (Cheng et al., arXiv 2103.16562: 0.02). The maps must then be single images (H, W).
        """
        names = range(classes) if isinstance(classes, int) else classes
        self.names = tuple(str(name) for name in names)
        self.ignore, self.absent, self.boundary = ignore, absent, boundary
        if not self.names or len(set(self.names)) < len(self.names) or absent not in _ABSENT:
            raise InputError(
                f"{len(self.names)} classes, absent {absent!r}; "
                "wanted at least one class, different names, and 'skip' or 'zero'"
            )
        regions = 1 if boundary is None else 4
        super().__init__(
            settings={
                "classes": self.names,
                "ignore": ignore,
                "absent": absent,
                "boundary": boundary,
            },
            totals={"counts": (regions, len(self.names), len(self.names))},
        )

    def update(self, *, prediction: ArrayLike, truth: ArrayLike) -> None:
        """Take in the label maps of one image.

        Args:
            prediction: (H, W) integers, values 0 … classes - 1 wherever the truth is not ignored.
            truth: (H, W) integers, those values or ``ignore``.

        Raises:
            InputError: Maps of different sizes, or other values.
        """
        width = None if self.boundary is None else boundary_width(np.shape(truth), self.boundary)
        self._totals["counts"] += _count(prediction, truth, len(self.names), self.ignore, width)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes) pixels so far, true class × predicted class."""
        return self._totals["counts"].sum(axis=0)

    def result(self) -> dict[str, float]:
        """The numbers so far; see the class."""
        counts = self.confusion.astype(np.float64)
        both, true, guessed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        tables = {
            "IoU": self._shares(both, true + guessed - both),
            "Acc": self._shares(both, true),
            "Dice": self._shares(2 * both, true + guessed),
        }
        if self.boundary is not None:
            _, near_true, near_guess, near_both = self._totals["counts"].astype(np.float64)
            shared = near_both.diagonal()
            true = (near_true + near_both).sum(axis=1)
            guessed = (near_guess + near_both).sum(axis=0)
            tables["BoundaryIoU"] = self._shares(shared, true + guessed - shared)
        result = {f"m{kind}": nan_mean(table) for kind, table in tables.items()}
        result["aAcc"] = ratio(both.sum(), counts.sum())
        for kind, table in tables.items():
            result |= {f"{kind}/{n}": float(v) for n, v in zip(self.names, table, strict=True)}
        return result

    def _shares(self, part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        empty = not self._totals["counts"].any()
        missing = math.nan if self.absent == "skip" or empty else 0.0
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1), missing)


_ABSENT = ("skip", "zero")


def confusion(
    prediction: ArrayLike, truth: ArrayLike, classes: int, *, ignore: int | None = 255
) -> NDArray[np.int64]:
    """(classes, classes) pixel counts, true class × predicted class, of integer maps (…).

    Raises:
        InputError: Maps of different sizes, or a label that is no class (and not ignored).
    """
    return _count(prediction, truth, classes, ignore, None)[0]


def _count(
    prediction: ArrayLike, truth: ArrayLike, classes: int, ignore: int | None, width: int | None
) -> NDArray[np.int64]:
    """(R, classes, classes) pixels by region, true and predicted class, in one histogram.

    With a boundary ``width`` there are R = 4 regions: 0 inside of both maps' classes, 1 near the
    true boundaries, 2 near the predicted ones, 3 near both. Without, one.
    """
    true = _code("truth", truth, classes, ignore)
    guess = _code("prediction", prediction, classes, None)
    same_shape(prediction=guess, truth=true)
    side = classes + 2  # after the classes: what is none of them, then what is ignored
    pairs = np.multiply(true, side, dtype=np.intp)
    pairs += guess
    regions = 1
    if width is not None:
        regions = 4
        # Ignored pixels bound their neighbours in both maps alike.
        bounded = np.where(true == classes + 1, true, guess)
        near = boundary(true, width) + 2 * boundary(bounded, width).view(np.uint8)
        pairs += np.multiply(near, side**2, dtype=np.intp)
    counts = np.bincount(pairs.ravel(), minlength=regions * side**2).reshape(regions, side, side)
    strays = {"truth": counts[:, classes], "prediction": counts[:, :classes, classes]}
    for name, stray in strays.items():
        if stray.any():
            other = f" (or {ignore} in the truth, to ignore a pixel)" if ignore is not None else ""
            raise InputError(
                f"{int(stray.sum())} pixels of the {name} are labelled as none of the {classes} "
                f"classes; wanted 0 to {classes - 1}{other}"
            )
    return counts[:, :classes, :classes]


def _code(name: str, values: ArrayLike, classes: int, ignore: int | None) -> Labels:
    """Class values as they are, anything else as ``classes``, ignored as ``classes + 1``."""
    labels = np.asarray(values)
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name} is a map of {labels.dtype}; wanted whole numbers, one class each")
    limit = min(classes, int(np.iinfo(labels.dtype).max))
    code = np.minimum(labels, limit).astype(np.uint8 if classes < 255 else np.uint16)
    if labels.dtype.kind == "i":
        code[labels < 0] = classes
    if ignore is not None:
        np.copyto(code, classes + 1, where=labels == ignore)
    return code


def boundary(labels: Labels, width: int) -> NDArray[np.bool_]:
    """(H, W) whether a pixel is within ``width`` of a pixel of another label, or of the outside.

    Distances are Chebyshev's: the region is what erosion by a 3 × 3 square, ``width`` times, takes
    from each class (Cheng et al., arXiv 2103.16562, and their code, where the outside is another
    label). All classes are done at once: a pixel survives if its square window has one label only.
    """
    result = np.ones(labels.shape, bool)
    height, across = (n - 2 * width for n in labels.shape)
    if height > 0 and across > 0:
        low, high = (
            _slide(_slide(labels, width, extreme).T, width, extreme).T
            for extreme in (np.minimum, np.maximum)
        )
        result[width : width + height, width : width + across] = low != high
    return result


def _slide(array: Labels, width: int, extreme: np.ufunc) -> Labels:
    """Minimum or maximum over windows of 2 · width + 1 rows, by doubling; (H - 2 · width, W)."""
    span, window = 1, 2 * width + 1
    while span < window:
        step = min(span, window - span)
        array = extreme(array[:-step], array[step:])
        span += step
    return array


def boundary_width(shape: tuple[int, ...], share: float = 0.02) -> int:
    """Width in pixels of boundary regions: ``share`` of the diagonal, rounded, at least 1.

    Raises:
        InputError: The shape is not that of one image (H, W).
    """
    if len(shape) != 2:
        raise InputError(f"boundary IoU of maps {shape}; wanted one image at a time, (H, W)")
    return max(1, round(share * math.hypot(*shape)))
