# SPDX-License-Identifier: Apache-2.0
"""In which order samples are seen: a seeded permutation computed from the position alone.

Nothing is stored, so a set may have any number of samples, and going on in the middle of an epoch
costs nothing. Neighbours in a shard stay near each other on purpose: blocks of consecutive samples
are permuted over the whole set, then the samples of ``window`` blocks among themselves. A reader
thus touches few shards at a time while a batch mixes blocks from everywhere.

Both permutations are Feistel networks (Luby and Rackoff, 1988) with a mixing function in the style
of SplitMix64, walked along their cycles until they fall inside the range (Black and Rogaway, 2002).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

_ROUNDS = 6
_Numbers = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Position within an epoch → number of a sample; each sample once per epoch.

    Attributes:
        length: samples in the set.
        seed: another seed, another order.
        shuffle: False reads the set from front to back.
        block: consecutive samples that stay near each other.
        window: blocks whose samples are mixed.
    """

    length: int
    seed: int = 0
    shuffle: bool = True
    block: int = 64
    window: int = 1024

    def __post_init__(self) -> None:
        if min(self.length, self.block, self.window) < 1:
            raise InputError(
                f"an order needs a length, block and window of 1 or more, got {self.length}, "
                f"{self.block}, {self.window}"
            )
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"a seed is a whole number from 0 to 2^63 - 1, got {self.seed}")

    def indices(self, epoch: int, positions: ArrayLike) -> NDArray[np.int64]:
        """Return the samples at positions 0 … length - 1 of an epoch; same shape.

        Raises:
            InputError: for a position outside.
        """
        wanted = np.asarray(positions, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.length):
            raise InputError(
                f"positions {wanted.min()} … {wanted.max()} of an epoch of {self.length} samples"
            )
        if not self.shuffle:
            return wanted.copy()
        at = wanted.ravel().astype(np.uint64)
        found = self._permuted(epoch, at)
        # The last block may be short: positions that fall behind the end walk on.
        beyond = found >= self.length
        while beyond.any():
            found[beyond] = self._permuted(epoch, found[beyond])
            beyond = found >= self.length
        return found.astype(np.int64).reshape(wanted.shape)

    def _permuted(self, epoch: int, positions: _Numbers) -> _Numbers:
        """Permute 0 … (whole blocks · block) - 1."""
        block = np.uint64(self.block)
        blocks = -(-self.length // self.block)
        span = np.uint64(self.block * self.window)
        window = positions // span
        first = window * np.uint64(self.window)
        size = np.minimum(np.uint64(self.window), np.uint64(blocks) - first) * block
        key = _mixed(np.array([self.seed, epoch], dtype=np.uint64))
        base = _mixed(key[:1] ^ (key[1:] << np.uint64(1)))
        inside = _feistel(positions - window * span, size, _mixed(base + window + np.uint64(1)))
        slot = first + inside // block
        where = _feistel(slot, np.full(len(slot), blocks, np.uint64), np.repeat(base, len(slot)))
        return where * block + inside % block


def _mixed(values: _Numbers) -> _Numbers:
    """Scatter 64 bits (the finaliser of SplitMix64, Steele and others, 2014)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _feistel(values: _Numbers, size: _Numbers, key: _Numbers) -> _Numbers:
    """Permute each value of 0 … size - 1 by its key; all three have the same length."""
    # frexp gives the bits of size - 1; both halves of the network get as many, and at least two
    bits = np.maximum(np.frexp((size - np.uint64(1)).astype(np.float64))[1], 3)
    half = ((bits + 1) // 2).astype(np.uint64)
    keys = [_mixed(key + np.uint64(number)) for number in range(_ROUNDS)]
    found = _once(values, half, keys)
    outside = np.flatnonzero(found >= size)
    while len(outside):
        again = _once(found[outside], half[outside], [one[outside] for one in keys])
        found[outside] = again
        outside = outside[again >= size[outside]]
    return found


def _once(values: _Numbers, half: _Numbers, keys: list[_Numbers]) -> _Numbers:
    low = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & low
    for key in keys:
        left, right = right, left ^ (_mixed(key ^ right) & low)
    return (left << half) | right
