# SPDX-License-Identifier: Apache-2.0
"""What an augmentation returns, and what several of them need."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.person import Person, Sample

Range = tuple[float, float]
"""(least, most) of what is drawn evenly."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A person as training sees them.

    Attributes:
        image: RGB uint8 window.
        person: annotations in pixels of the photograph.
        crop: photograph → window, mirrored and turned as it may be.
    """

    image: NDArray[np.uint8]
    person: Person
    crop: Crop

    def sample(self) -> Sample:
        """Return window and annotations in the window's pixels, to look at."""
        return Sample(image=self.image, people=(self.person.warped(self.crop),))


def only_person(sample: Sample) -> Person:
    """Return the one person of a sample, or say how to read single ones."""
    if len(sample.people) != 1:
        raise InputError(
            f"an augmentation looks at one person, the sample {sample.name!r} has "
            f"{len(sample.people)}: read it through PerPerson or Gathered"
        )
    return sample.people[0]


def check_chance(name: str, value: float) -> None:
    """Refuse what is no probability."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is a chance from 0 to 1, got {value}")


def check_range(name: str, limits: tuple[float, float]) -> None:
    """Refuse limits that are not positive or not in order."""
    if not 0 < limits[0] <= limits[1]:
        raise InputError(
            f"{name} go from a positive number to one as large: {limits[0]}, {limits[1]}"
        )


def shape_of_area(size: Size, area: Range, aspect: Range, rng: np.random.Generator) -> Size | None:
    """Draw (height, width) of a part by its share of the area and its aspect, if it fits."""
    pixels = size[0] * size[1] * rng.uniform(*area)
    ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
    height, width = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
    fits = 0 < height <= size[0] and 0 < width <= size[1]
    return (height, width) if fits else None
