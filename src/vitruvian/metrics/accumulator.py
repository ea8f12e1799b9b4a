# SPDX-License-Identifier: Apache-2.0
"""What every metric is: an accumulator that takes images, merges with others, and gives numbers.

A metric is updated with one image at a time (``update``, whose arguments are the metric's own),
merged with accumulators of other processes (``merge``, or ``state_dict`` and ``load_state_dict``
where they cannot share objects), and answers with flat named numbers (``result``).

Results do not depend on the order of the images or on how they were spread over processes, to the
last bit: counts are integers, floating-point sums are kept exactly, and rows carry the number of
their image. Nothing to measure (no people, no valid pixel) gives NaN, never a warning or an error.
"""

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

Average = Literal["image", "pixel"]
"""How the numbers of many images become one: ``image``, the mean of the images' own numbers;
``pixel``, one number from the pooled pixels of all images."""

_FRACTION_BITS = 1074  # 2^-1074 is the smallest float64: every finite float is a multiple of it
_SUM_BYTES = 280  # 1074 + 1024 bits of one float64, and room for 2^140 of them


class Accumulator(ABC):
    """Base of all metrics; keeps ``totals`` (added), ``sums`` (added exactly), ``rows`` (appended).

    A subclass names what it keeps, and its settings, when it calls ``super().__init__``.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, Any],
        totals: Mapping[str, tuple[int, ...]] | None = None,
        sums: Sequence[str] = (),
        rows: Mapping[str, tuple[Any, tuple[int, ...]]] | None = None,
    ) -> None:
        """Declare the state.

        Args:
            settings: What two accumulators must share to be merged; JSON values.
            totals: Name to shape of int64 counts.
            sums: Names of exact sums of floats.
            rows: Name to (dtype, shape of one row) of arrays that grow.
        """
        self._settings = json.dumps({"metric": type(self).__name__, **settings}, sort_keys=True)
        self._row_kinds = dict(rows or {})
        self._totals = {name: np.zeros(shape, np.int64) for name, shape in (totals or {}).items()}
        self._sums = dict.fromkeys(sums, 0)
        self._broken = dict.fromkeys(sums, 0)
        self._rows: dict[str, list[NDArray[Any]]] = {name: [] for name in self._row_kinds}

    @abstractmethod
    def result(self) -> dict[str, float]:
        """The numbers so far, by name; NaN where there was nothing to measure."""

    def empty(self) -> Self:
        """Return an accumulator of the same settings that has seen nothing."""
        fresh = copy.copy(self)
        fresh._totals = {name: np.zeros_like(total) for name, total in self._totals.items()}
        fresh._sums, fresh._broken = dict.fromkeys(self._sums, 0), dict.fromkeys(self._broken, 0)
        fresh._rows = {name: [] for name in self._rows}
        return fresh

    def merge(self, other: Self) -> None:
        """Take in everything ``other`` has seen, as if its updates had been made here.

        Raises:
            InputError: ``other`` is another metric or has other settings.
        """
        self._absorb(other.state_dict())

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything seen so far as plain arrays, for files and other processes."""
        state: dict[str, NDArray[Any]] = {
            "settings": np.frombuffer(self._settings.encode(), np.uint8).copy()
        }
        state |= {f"totals.{name}": total.copy() for name, total in self._totals.items()}
        for name, exact in self._sums.items():
            raw = exact.to_bytes(_SUM_BYTES, "little", signed=True)
            state[f"sums.{name}"] = np.frombuffer(raw, np.uint8).copy()
            state[f"broken.{name}"] = np.array(self._broken[name], np.int64)
        for name in self._rows:
            state[f"rows.{name}"] = self._joined(name).copy()
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Replace everything seen so far by ``state``.

        Raises:
            InputError: The state is of another metric, of other settings, or incomplete.
        """
        self._check(state)
        for total in self._totals.values():
            total[...] = 0
        self._sums = dict.fromkeys(self._sums, 0)
        self._broken = dict.fromkeys(self._sums, 0)
        self._rows = {name: [] for name in self._rows}
        self._absorb(state)

    # ------------------------------------------------------------------ for subclasses

    def _add(self, values: Mapping[str, float]) -> None:
        """Add each value to the exact sum of its name; one that is not finite makes it NaN."""
        for name, value in values.items():
            if math.isfinite(value):
                numerator, denominator = float(value).as_integer_ratio()
                self._sums[name] += numerator << (_FRACTION_BITS + 1 - denominator.bit_length())
            else:
                self._broken[name] += 1

    def _sum(self, name: str) -> float:
        """The sum of all values given under ``name``, rounded once."""
        if self._broken[name]:
            return math.nan
        return self._sums[name] / (1 << _FRACTION_BITS)  # whole numbers divide with one rounding

    def _append(self, **arrays: NDArray[Any]) -> None:
        """Append rows (n, …) to each named array."""
        for name, array in arrays.items():
            self._rows[name].append(array)

    def _joined(self, name: str) -> NDArray[Any]:
        """All rows given under ``name``."""
        dtype, shape = self._row_kinds[name]
        empty = np.empty((0, *shape), dtype)
        self._rows[name] = [np.concatenate([empty, *self._rows[name]], dtype=dtype)]
        return self._rows[name][0]

    # ------------------------------------------------------------------------- inside

    def _check(self, state: Mapping[str, ArrayLike]) -> None:
        names = {"settings"} | {f"totals.{name}" for name in self._totals}
        names |= {f"{kind}.{name}" for kind in ("sums", "broken") for name in self._sums}
        names |= {f"rows.{name}" for name in self._rows}
        if set(state) != names:
            odd = sorted(set(state) ^ names)
            raise InputError(
                f"a metric state that lacks or adds {', '.join(odd[:4])} does not fit "
                f"{type(self).__name__}; wanted what its own state_dict() gives"
            )
        theirs = np.asarray(state["settings"], np.uint8).tobytes().decode(errors="replace")
        if theirs != self._settings:
            raise InputError(
                f"metrics of different settings cannot be merged: {theirs} into {self._settings}; "
                "build both alike"
            )

    def _absorb(self, state: Mapping[str, ArrayLike]) -> None:
        self._check(state)
        for name, total in self._totals.items():
            total += np.asarray(state[f"totals.{name}"], np.int64)
        for name in self._sums:
            raw = np.asarray(state[f"sums.{name}"], np.uint8).tobytes()
            self._sums[name] += int.from_bytes(raw, "little", signed=True)
            self._broken[name] += int(np.asarray(state[f"broken.{name}"]))
        for name, (dtype, shape) in self._row_kinds.items():
            rows = np.asarray(state[f"rows.{name}"], dtype)
            self._rows[name].append(rows.reshape(len(rows), *shape))


def ratio(part: float, whole: float) -> float:
    """``part / whole``, NaN when there is nothing to divide by."""
    return float(part) / float(whole) if whole else math.nan


def nan_mean(values: ArrayLike) -> float:
    """Mean over what is not NaN; NaN without a warning when nothing is left."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if array.size else math.nan


def blocks(count: int, size: int = 1 << 15) -> Iterator[slice]:
    """Slices that cover ``count`` pixels; temporaries of this size stay in cache."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def dot(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Sum of products of (n,) arrays in float64.

    Unlike that of ``@`` the result does not depend on the number of BLAS threads.
    """
    return sum(
        float(np.multiply(a[block], b[block], dtype=np.float64).sum()) for block in blocks(a.size)
    )


def median(values: NDArray[np.floating]) -> float:
    """Median of at least one number, none NaN; a single partition, several times numpy's speed."""
    half = values.size // 2
    parted = np.partition(values, half)
    upper = float(parted[half])
    return upper if values.size % 2 else (float(parted[:half].max()) + upper) / 2
