# SPDX-License-Identifier: Apache-2.0
"""Arrays as a metric wants them, or an error that says so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

Groups = Mapping[str, Sequence[int]]
"""Name → indices of the points that are evaluated together; groups may overlap."""


def indices(name: str, group: Sequence[int], count: int) -> NDArray[np.intp]:
    """A group's indices as an array; ``InputError`` unless they are some of ``count`` points."""
    index = np.array(list(group), np.intp)
    if not index.size or index.min() < 0 or index.max() >= count or len(set(group)) != index.size:
        raise InputError(
            f"group {name!r} is {list(group)[:8]}; wanted different indices from 0 to {count - 1}"
        )
    return index


def shaped(
    name: str, values: ArrayLike, shape: tuple[int, ...], *, finite: bool = True
) -> NDArray[np.float64]:
    """``values`` as floats of ``shape`` (-1: any length), an empty list counting as none."""
    array = np.asarray(values, np.float64)
    if not array.size:
        array = array.reshape(0, *shape[1:])
    if array.shape[1:] != shape[1:] or array.ndim == 0 or shape[0] not in (-1, len(array)):
        wanted = ", ".join("any" if n == -1 else str(n) for n in shape)
        raise InputError(f"{name} has the shape {array.shape}; wanted ({wanted})")
    if finite and not all_finite(array):
        raise InputError(
            f"{name} holds {int((~np.isfinite(array)).sum())} numbers that are not finite; "
            "wanted pixels or scores: leave such detections out"
        )
    return array


def all_finite(array: NDArray[np.float64]) -> bool:
    """Whether no number is NaN or infinite."""
    # A finite sum of squares has finite terms, and BLAS neither copies nor warns; only otherwise
    # is it worth looking at each.
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def flags(name: str, values: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    """``values`` as (count,) bools, all false when not given."""
    array = np.zeros(count, bool) if values is None else np.asarray(values, bool).reshape(-1)
    if len(array) != count:
        raise InputError(f"{name} has {len(array)} entries; wanted one for each of {count} people")
    return array


def same_shape(**arrays: NDArray[Any]) -> None:
    """Raise ``InputError`` unless all arrays have the shape of the first."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(
            f"arrays of different shapes cannot be compared: {given}; "
            "bring the prediction to the size of the truth first"
        )
