# SPDX-License-Identifier: Apache-2.0
"""Things that worker processes import."""

import numpy as np

from vitruvian.errors import InputError
from vitruvian.person import Sample


class Counting:
    """A source of tiny pictures that hold their own number."""

    def __init__(self, length, bad=()):
        self.length, self.bad = length, bad

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index in self.bad:
            raise InputError(f"{self.where(index)}: broken")
        return Sample(image=np.full((2, 3, 3), index % 256, np.uint8), name=str(index))

    def where(self, index):
        return f"number {index}"

    def picture(self, index):
        return None

    def people(self):
        return np.zeros(self.length, np.int32)


def noisy(sample, rng):
    """Return the number and random pixels."""
    pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return {"image": pixels + sample.image[0, 0], "number": int(sample.name)}


def fussy(sample, rng):
    """Refuse odd numbers."""
    return None if int(sample.name) % 2 else noisy(sample, rng)


def never(sample, rng):
    """Refuse everything."""
