# SPDX-License-Identifier: Apache-2.0
"""Windows of a whole photograph, for maps: parts, depth, normals and their like."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.backgrounds import Backgrounds, foreground
from vitruvian.data.augment.pixels import Photometric, PixelAugment
from vitruvian.data.augment.view import Range, View, check_chance, only_person, shape_of_area
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.person import Person, Raster, Sample

_NO_CHANGE = PixelAugment()
_PHOTOMETRIC = Photometric()


@dataclass(frozen=True, kw_only=True)
class DenseAugment:
    """Windows of a whole photograph, for maps: parts, depth, normals and their like.

    Attributes:
        size: (height, width) of the window.
        backgrounds: pictures to lay behind the person, or ``None``,
        background: with this chance.
        resize: the photograph is first fitted into the window's size times a factor of this range
            (its longer side into the longer), or ``None`` to keep it,
        crop: then with this chance a part is cut out:
        crop_kind: a "window" of at most the window's size, wherever it falls; or an "area", a
            share of the photograph of any shape,
        crop_area: of this range
        crop_aspect: and this range of width by height.
        crop_tries: how often it is drawn again
        crop_most: while one class covers more than this share of its known labels.
        fit: "stretch" the part to the window, or "pad" it.
        rotation: chance of turning the window about its centre
        rotation_by: by up to this many degrees.
        mirror: chance of a mirror image.
        people: least and most share of the photograph that may be person; else another sample is
            drawn.
        pixels: what happens to the pixels.
    """

    size: Size = (1024, 768)
    backgrounds: Backgrounds | None = None
    background: float = 0.8
    resize: Range | None = None
    crop: float = 0.0
    crop_kind: Literal["window", "area"] = "window"
    crop_area: Range = (0.4, 1.0)
    crop_aspect: Range = (0.5, 2.0)
    crop_tries: int = 10
    crop_most: float = 1.0
    fit: Literal["stretch", "pad"] = "stretch"
    rotation: float = 0.0
    rotation_by: float = 45.0
    mirror: float = 0.0
    people: Range = (0.0, 1.0)
    pixels: PixelAugment = field(default=_NO_CHANGE)

    def __post_init__(self) -> None:
        for name in ("background", "crop", "rotation", "mirror"):
            check_chance(name, getattr(self, name))
        if self.crop_kind == "area" and self.resize is not None:
            raise InputError(
                "resize has no effect before a crop by area: its share of the photograph is the "
                "same; use pixels.down_up for unsharp pictures"
            )

    @classmethod
    def sapiens_parts(cls, backgrounds: Backgrounds | None) -> "DenseAugment":
        """First generation, 28 classes (published code)."""
        return cls(
            backgrounds=backgrounds,
            background=0.8,
            resize=(0.2, 2.0),
            crop=1.0,
            crop_most=0.75,
            rotation=0.5,
            rotation_by=45,
            mirror=0.5,
            pixels=PixelAugment(photometric=_PHOTOMETRIC),
        )

    @classmethod
    def sapiens_lip(cls) -> "DenseAugment":
        """First generation, LIP and CIHP (published code)."""
        return replace(cls.sapiens_parts(None), resize=(0.75, 1.25))

    @classmethod
    def sapiens_depth(cls, backgrounds: Backgrounds | None) -> "DenseAugment":
        """First generation, depth (published code; its "general" variant without backgrounds)."""
        parts = cls.sapiens_parts(backgrounds)
        return replace(parts, background=0.5, crop_most=1.0, rotation_by=60)

    @classmethod
    def sapiens_normals(
        cls, backgrounds: Backgrounds | None, *, rotation: float = 0.0
    ) -> "DenseAugment":
        """First generation, normals (published code, without rotation; vectors turn here)."""
        return replace(cls.sapiens_depth(backgrounds), rotation=rotation)

    @classmethod
    def sapiens2_parts(cls, backgrounds: Backgrounds | None) -> "DenseAugment":
        """Second generation, 29 classes (published code)."""
        pixels = PixelAugment(photometric=_PHOTOMETRIC, gaussian=0.3, noise=0.3)
        return replace(
            cls.sapiens_parts(backgrounds),
            resize=(0.4, 2.0),
            crop=0.3,
            rotation_by=60,
            people=(0.01, 1.0),
            pixels=pixels,
        )

    @classmethod
    def sapiens2_normals(cls) -> "DenseAugment":
        """Second generation, normals (published code)."""
        pixels = PixelAugment(
            photometric=_PHOTOMETRIC, down_up=0.2, gaussian=0.3, noise=0.3, solarise=0.3
        )
        return replace(cls.sapiens2_pointmap(), mirror=0.3, pixels=pixels)

    @classmethod
    def sapiens2_pointmap(cls) -> "DenseAugment":
        """Second generation, camera-space positions (published code)."""
        return cls(
            crop=0.3,
            crop_kind="area",
            crop_tries=8,
            fit="pad",
            mirror=0.3,
            people=(1e-4, 0.96),
            pixels=PixelAugment(photometric=_PHOTOMETRIC),
        )

    @classmethod
    def sapiens2_albedo(cls) -> "DenseAugment":
        """Second generation, albedo (published code): colours must stay as they are."""
        return replace(cls.sapiens2_pointmap(), pixels=PixelAugment(noise=0.2))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> View | None:
        """Return a view of the sample's one person; ``None`` if too little or much is person.

        Raises:
            InputError: if there is not one person, or backgrounds find no mask.
        """
        person = only_person(sample)
        if self.people != (0.0, 1.0):
            mask = foreground(person)
            share = 0.0 if mask is None else float(mask.values.sum()) / math.prod(sample.size)
            if not self.people[0] <= share <= self.people[1]:
                return None
        crop = self._framed(sample, person, rng)
        if rng.random() < self.rotation:
            height, width = self.size
            angle = rng.uniform(-self.rotation_by, self.rotation_by)
            middle = ((width - 1) / 2, (height - 1) / 2)
            turn = np.asarray(cv2.getRotationMatrix2D(middle, angle, 1.0), dtype=np.float64)
            crop = crop.then(turn, self.size)
        if rng.random() < self.mirror:
            crop = crop.mirrored()
        window = image.warp(sample.image, crop.matrix, crop.size)
        if rng.random() < self.background and self.backgrounds is not None:
            window = self.backgrounds(window, person, crop, sample.size, rng)
        return View(image=self.pixels(window, rng), person=person, crop=crop)

    def _framed(self, sample: Sample, person: Person, rng: np.random.Generator) -> Crop:
        """Return the window before it is turned and mirrored."""
        crop = Crop.whole(sample.size)
        if self.resize is not None:
            factor = rng.uniform(*self.resize)
            longer, shorter = max(self.size), min(self.size)
            height, width = sample.size
            scale = factor * min(longer / max(height, width), shorter / min(height, width))
            crop = crop.resized((max(1, round(height * scale)), max(1, round(width * scale))))
        if rng.random() < self.crop:
            crop = self._cut(crop, person, rng)
        if self.fit == "stretch":
            return crop.resized(self.size)
        return crop.then(Crop.pad(crop.size, self.size).matrix, self.size)

    def _cut(self, crop: Crop, person: Person, rng: np.random.Generator) -> Crop:
        """Return a part of the window ``crop``."""
        labels: Raster | None = None
        if self.crop_most < 1:
            rasters = [a for a in person.annotations.values() if isinstance(a, Raster)]
            labels = next((raster for raster in rasters if raster.law == "label"), None)
        part = crop
        for _ in range(self.crop_tries):
            if self.crop_kind == "window":
                height, width = (
                    min(have, most) for have, most in zip(crop.size, self.size, strict=True)
                )
            else:
                found = shape_of_area(crop.size, self.crop_area, self.crop_aspect, rng)
                if found is None:
                    continue
                height, width = found
            y = int(rng.integers(crop.size[0] - height + 1))
            x = int(rng.integers(crop.size[1] - width + 1))
            part = crop.then(np.array([[1.0, 0, -x], [0, 1, -y]]), (height, width))
            if labels is None:
                break
            known = _looked_up(labels, part)
            if not len(known) or np.bincount(known).max() <= self.crop_most * len(known):
                break
        return part


def _looked_up(labels: Raster, part: Crop) -> NDArray[np.uint8]:
    """Return the known labels at a grid of 64×64 places of a window."""
    steps = (np.arange(64) + 0.5) / 64
    y, x = np.meshgrid(steps * part.size[0] - 0.5, steps * part.size[1] - 0.5, indexing="ij")
    places = np.rint(part.to_image(np.stack([x, y], axis=-1))).astype(int) - labels.origin
    inside = ((places >= 0) & (places < labels.size[::-1])).all(axis=-1)
    columns, rows = places[inside].T
    values = labels.values[rows, columns]
    if labels.valid is not None:
        values = values[labels.valid[rows, columns]]
    ignore = None if labels.vocabulary is None else labels.vocabulary.ignore
    return values if ignore is None else values[values != ignore]
