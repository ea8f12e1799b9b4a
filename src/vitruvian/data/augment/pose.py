# SPDX-License-Identifier: Apache-2.0
"""Windows around a person, for keypoints."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.clutter import Clutter
from vitruvian.data.augment.occluders import Occluders
from vitruvian.data.augment.pixels import Photometric, PixelAugment
from vitruvian.data.augment.view import View, check_chance, only_person
from vitruvian.data.augment.worn import Gloves, Hats
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.person import Person, Sample

_NO_CHANGE = PixelAugment()


@dataclass(frozen=True, kw_only=True)
class PoseAugment:
    """Windows around a person's box, for keypoints.

    Attributes:
        size: (height, width) of the window.
        points: name of the keypoints; persons without them can still be framed.
        box: use the "given" box, or that of the present "points" (Sapiens2).
        padding: factor on the box.
        mirror: chance of a mirror image.
        half_body: chance of a window around the upper or lower half of the body,
        half_body_points: for persons with so many present points (sides by the vocabulary's
            ``halves``),
        half_body_least: with at least so many of the (upper, lower) half,
        half_body_upper: choosing the upper half, where both qualify, with this chance,
        half_body_padding: and this factor on its extent.
        shift: chance of moving the window,
        shift_by: by up to this share of its size.
        scale: chance of scaling it,
        scale_by: by 1 ± up to this.
        rotation: chance of turning it,
        rotation_by: by up to this many degrees.
        least: fewest points that must be in the window; else another sample is drawn.
        smallest: people whose box covers less than a square of this side (pixels) are left out;
            another sample is drawn.
        clutter: another, invented background; ``None`` for never.
        occluders: invented things in front; ``None`` for never.
        gloves: coloured hands; ``None`` for never.
        hats: cloth in place of hair; ``None`` for never.
        fill: RGB of what lies outside of the photograph; black as published, which dark clothes at
            its edge melt into.
        pixels: what happens to the pixels.
    """

    size: Size = (1024, 768)
    points: str = "pose"
    box: Literal["given", "points"] = "given"
    padding: float = 1.25
    mirror: float = 0.0
    half_body: float = 0.0
    half_body_points: int = 9
    half_body_least: tuple[int, int] = (2, 3)
    half_body_upper: float = 0.7
    half_body_padding: float = 1.5
    shift: float = 0.0
    shift_by: float = 0.16
    scale: float = 0.0
    scale_by: float = 0.5
    rotation: float = 0.0
    rotation_by: float = 80.0
    least: int = 0
    smallest: float = 0.0
    clutter: Clutter | None = None
    occluders: Occluders | None = None
    gloves: Gloves | None = None
    hats: Hats | None = None
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixels: PixelAugment = _NO_CHANGE

    def __post_init__(self) -> None:
        for name in ("mirror", "half_body", "half_body_upper", "shift", "scale", "rotation"):
            check_chance(name, getattr(self, name))
        if not 0 <= self.scale_by < 1:
            raise InputError(f"scale_by is a share from 0 to below 1, got {self.scale_by}")

    @classmethod
    def sapiens(cls, *, least: int = 8, paper: bool = False) -> "PoseAugment":
        """First generation (published code, arXiv 2408.12569).

        Args:
            least: 8 for the 308- and 133-point sets, 4 for others mixed into 308-point training, 3
                otherwise.
            paper: reproduce the colour defects, see `Photometric`.
        """
        colours = Photometric(swap=0.5, paper=paper)
        return cls(
            mirror=0.5,
            half_body=0.3,
            shift=0.3,
            scale=1.0,
            rotation=0.6,
            least=least,
            pixels=PixelAugment(photometric=colours, box=0.1, median=0.1, hole=1.0),
        )

    @classmethod
    def sapiens2(cls, *, least: int = 8) -> "PoseAugment":
        """Second generation (published code): colours change with chance 0.8, boxes from points."""
        first = cls.sapiens(least=least)
        pixels = replace(first.pixels, photometric=Photometric(chance=0.8))
        return replace(first, box="points", pixels=pixels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> View | None:
        """Return a view of the sample's one person; ``None`` if too small, or with too few points.

        Raises:
            InputError: if there is not one person, or the box has no area.
        """
        person = only_person(sample)
        if self.smallest and np.prod(person.box[2:] - person.box[:2]) < self.smallest**2:
            return None
        points = person.annotations.get(self.points)
        xy = np.zeros((0, 2))
        if points is not None:
            known = person.points(self.points)
            xy = known.xy[known.present].astype(np.float64)
        box = person.box
        if self.box == "points" and len(xy):
            box = np.concatenate([xy.min(axis=0), xy.max(axis=0)])
        centre, extent = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * self.padding
        mirror = rng.random() < self.mirror
        if rng.random() < self.half_body and len(xy) >= self.half_body_points:
            centre, extent = self._half(person, rng) or (centre, extent)
        if rng.random() < self.shift:
            centre = centre + self.shift_by * _truncated(rng, 2) * extent
        if rng.random() < self.scale:
            extent = extent * (1 + self.scale_by * _truncated(rng, 1))
        angle = 0.0
        if rng.random() < self.rotation:
            angle = math.radians(self.rotation_by * float(_truncated(rng, 1)[0]))
        window = np.concatenate([centre - extent / 2, centre + extent / 2])
        crop = Crop.from_box(window, self.size, padding=1.0, rotation=angle)
        if mirror:
            crop = crop.mirrored()
        if self.least:
            inside = crop.to_window(xy)
            limits = np.array([self.size[1] - 1, self.size[0] - 1])
            if ((inside >= 0) & (inside <= limits)).all(axis=1).sum() < self.least:
                return None
        pixels = image.warp(sample.image, crop.matrix, crop.size, fill=self.fill)
        if self.gloves is not None:
            pixels = self.gloves(pixels, person, crop, rng)
        if self.hats is not None:
            pixels, person = self.hats(pixels, person, crop, rng)
        if self.clutter is not None:
            pixels = self.clutter(pixels, (person,), crop, sample.size, rng)
        if self.occluders is not None:
            pixels, person = self.occluders(pixels, person, crop, sample.size, rng)
        return View(image=self.pixels(pixels, rng), person=person, crop=crop)

    def _half(
        self, person: Person, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return centre and extent of the upper or lower half of the body, if enough is present."""
        points = person.points(self.points)
        halves = np.array([half or "" for half in points.vocabulary.halves])
        present = points.present
        chosen: dict[str, NDArray[np.bool_]] = {}
        for half, least in zip(("upper", "lower"), self.half_body_least, strict=True):
            rows = present & (halves == half)
            if rows.sum() >= least:
                chosen[half] = rows
        if not chosen:
            return None
        upper = rng.random() < self.half_body_upper
        if len(chosen) == 1:
            (rows,) = chosen.values()
        else:
            rows = chosen["upper" if upper else "lower"]
        xy = points.xy[rows].astype(np.float64)
        extent = np.ptp(xy, axis=0) * self.half_body_padding
        # two points above each other have no width: the window's aspect will give it one
        return (xy.mean(axis=0), extent) if extent.max() > 1 else None


def _truncated(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw from the normal distribution between -1 and 1."""
    drawn = rng.standard_normal(count)
    while (outside := np.abs(drawn) > 1).any():
        drawn[outside] = rng.standard_normal(int(outside.sum()))
    return drawn
