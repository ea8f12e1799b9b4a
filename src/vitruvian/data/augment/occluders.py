# SPDX-License-Identifier: Apache-2.0
"""Invented things in front of people."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.clutter import ROD, Clutter, Picture, draw, radii
from vitruvian.data.augment.view import Range, check_chance, check_range
from vitruvian.geometry import Crop, Size
from vitruvian.person import OCCLUDED, VISIBLE, Annotation, Person, Points, Raster


@dataclass(frozen=True, kw_only=True)
class Occluders:
    """Lays invented things in front of a person, whose labels end where they begin.

    Attributes:
        chance: of doing so.
        count: range of their number.
        sizes: range of their radius, as a share of the window's longer side; small ones are more.
        rods: chance that all of them are as thin as poles and the legs of tripods.
        look: what they look like; some have colours of the window.
    """

    chance: float = 0.2
    count: tuple[int, int] = (1, 5)
    sizes: Range = (0.04, 0.25)
    rods: float = 0.5
    look: Clutter = field(default_factory=lambda: Clutter(shapes=(2, 20)))

    def __post_init__(self) -> None:
        check_chance("chance", self.chance)
        check_chance("rods", self.rods)
        check_range("count", self.count)
        check_range("sizes", self.sizes)

    def __call__(
        self,
        window: Picture,
        person: Person,
        crop: Crop,
        photograph: Size,
        rng: np.random.Generator,
    ) -> tuple[Picture, Person]:
        """Return the RGB window and the person behind those things, or both as they are.

        Nothing is laid beyond the photograph, whose (height, width) is given.
        """
        if rng.random() >= self.chance:
            return window, person
        mask = np.zeros(crop.size, np.uint8)
        kind = ROD if rng.random() < self.rods else None
        count = int(rng.integers(self.count[0], self.count[1] + 1))
        for radius in radii(crop.size, self.sizes, count, rng):
            draw(mask, radius, (255.0,), rng, kind)
        mask *= image.warp(np.ones(photograph, np.uint8), crop.matrix, crop.size, "nearest")
        alike = window.reshape(-1, 3) if rng.random() < self.look.alike else None
        front = self.look.picture(crop.size, rng, alike)
        seen = image.compose(window, front, mask / np.float32(255))
        return seen, hidden(person, mask > 127, crop)


def hidden(person: Person, mask: NDArray[np.bool_], crop: Crop) -> Person:
    """Return a person, in pixels of the photograph, part of whom is behind a mask of the window.

    There, points are occluded, labels background, opacities 0, and other maps say nothing.
    """

    def behind(annotation: Annotation) -> Annotation:
        if isinstance(annotation, Points):
            if annotation.visibility is None:
                return annotation
            x, y = np.nan_to_num(np.rint(crop.to_window(annotation.xy)), nan=-1).astype(int).T
            within = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
            lost = within & (annotation.visibility == VISIBLE)
            lost[lost] = mask[y[lost], x[lost]]
            visibility = np.where(lost, np.uint8(OCCLUDED), annotation.visibility)
            return replace(annotation, visibility=visibility)
        matrix = crop.inverse.copy()
        matrix[:, 2] -= annotation.origin
        lost = image.warp(mask, matrix, annotation.size, "nearest")
        return _emptied(annotation, lost)

    return replace(person, annotations={k: behind(a) for k, a in person.annotations.items()})


def _emptied(raster: Raster, lost: NDArray[np.bool_]) -> Raster:
    background = None if raster.vocabulary is None else raster.vocabulary.background
    if raster.kind in ("mask", "alpha"):
        background = 0
    if background is not None:
        return replace(raster, values=np.where(lost, background, raster.values))
    return replace(raster, valid=~lost if raster.valid is None else raster.valid & ~lost)
