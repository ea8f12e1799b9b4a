# SPDX-License-Identifier: Apache-2.0
"""Surroundings as crowded as photographs are: shapes of all sizes hiding one another, or photos.

Shapes make a "dead leaves" picture: opaque, they fall on each other, their sizes drawn from a power
law, which gives the edges and scales of natural pictures (Lee, Mumford and Huang, IJCV 2001); what
networks learn from such pictures carries over to photographs (arXiv 2106.05963).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.backgrounds import Backgrounds, foreground, person_alpha
from vitruvian.data.augment.view import Range, check_chance, check_range
from vitruvian.geometry import Crop, Size
from vitruvian.person import Person

Picture = NDArray[np.uint8]
Colour = NDArray[np.float64]
DISC, SLAB, SHARD, ROD, FRAME = range(5)
_LARGE = 0.06  # share of the longer side from which a shape's radius has room for stripes


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """Lays another picture behind people; others in the window go with the background.

    Attributes:
        chance: of doing so.
        shapes: range of their number; few and very many are as likely as each other.
        sizes: range of a shape's radius, as a share of the window's longer side; small ones are
            more.
        striped: chance of stripes on a shape that is large enough, with folds as flags and curtains
            have.
        alike: chance that some of it has the people's own colours, so that outlines, not colours,
            tell a coat from what is behind it.
        photographs: pictures without people, or ``None``,
        photographed: a part of which is laid there, in other light, with this chance instead.
    """

    chance: float = 0.5
    shapes: tuple[int, int] = (10, 150)
    sizes: Range = (0.01, 0.5)
    striped: float = 0.3
    alike: float = 0.5
    photographs: Backgrounds | None = None
    photographed: float = 0.5

    def __post_init__(self) -> None:
        for name in ("chance", "striped", "alike", "photographed"):
            check_chance(name, getattr(self, name))
        check_range("shapes", self.shapes)
        check_range("sizes", self.sizes)

    def __call__(
        self,
        window: Picture,
        people: Sequence[Person],
        crop: Crop,
        photograph: Size,
        rng: np.random.Generator,
    ) -> Picture:
        """Return the RGB window with another background, or as it is.

        It stays as it is where nothing says which pixels are somebody's, and beyond the photograph,
        whose (height, width) is given.
        """
        if rng.random() >= self.chance:
            return window
        alpha = np.zeros(crop.size, np.float32)
        for person in people:
            mask = foreground(person)
            if mask is None:
                return window
            alpha = np.maximum(alpha, person_alpha(mask, crop))
        own = window[alpha > 0.5]
        behind = self.picture(crop.size, rng, own if rng.random() < self.alike else None)
        inside = image.warp(np.ones(photograph, np.float32), crop.matrix, crop.size)
        return image.compose(behind, window, np.maximum(alpha, 1 - inside))

    def picture(
        self, size: Size, rng: np.random.Generator, alike: Picture | None = None
    ) -> Picture:
        """Draw one, RGB uint8 of (height, width), some of its colours among those given, (N, 3)."""
        if self.photographs is not None and rng.random() < self.photographed:
            return _soft(_lit(self.photographs.part(size, rng), rng, alike), rng)
        palette = rng.uniform(0, 255, (int(rng.integers(2, 7)), 3))
        # photographs are mostly dull: some palettes keep their colours, others lose nearly all
        palette += (palette.mean(axis=1, keepdims=True) - palette) * rng.uniform(0.3, 1)
        if alike is not None and len(alike):
            known = rng.integers(len(alike), size=int(rng.integers(1, len(palette) + 1)))
            palette[: len(known)] = alike[known]
        canvas = _field(size, palette, rng)
        count = round(float(np.exp(rng.uniform(*np.log(self.shapes)))))
        for radius in radii(size, self.sizes, count, rng):
            if radius > _LARGE * max(size) and rng.random() < self.striped:
                _hang(canvas, radius, palette, rng)
            else:
                draw(canvas, radius, _shade(palette, rng), rng)
        return _soft(_textured(canvas, rng), rng)


def _soft(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return one picture of two out of focus, as what is behind people often is."""
    if rng.random() < 0.5:
        return picture
    blur = rng.uniform(0.5, max(0.5, max(picture.shape[:2]) / 40))
    return cast("Picture", cv2.GaussianBlur(picture, (0, 0), blur))


def _lit(photograph: Picture, rng: np.random.Generator, alike: Picture | None) -> Picture:
    """Return a photograph in other light, or with its mean moved to one of the colours given."""
    pixels = photograph.astype(np.float32)
    mean = pixels.mean(axis=(0, 1))
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * rng.uniform(0.2, 1.2)  # of its colours
    if alike is not None and len(alike):
        wanted = alike[rng.integers(len(alike))].astype(np.float32)
    else:
        wanted = mean * rng.uniform(0.5, 1.5) * rng.uniform(0.9, 1.1, 3)
    pixels = (pixels - pixels.mean(axis=(0, 1))) * rng.uniform(0.6, 1.2) + wanted
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _shade(palette: Colour, rng: np.random.Generator) -> tuple[float, ...]:
    colour = palette[rng.integers(len(palette))] * rng.uniform(0.5, 1.3) + rng.normal(0, 12, 3)
    return tuple(np.clip(colour, 0, 255).tolist())


def _field(size: Size, palette: Colour, rng: np.random.Generator) -> Picture:
    """Return a smooth field between a few colours."""
    grid = rng.integers(2, 6, 2)
    knots = palette[rng.integers(len(palette), size=grid)] * rng.uniform(0.6, 1.2, (*grid, 1))
    field = cv2.resize(knots.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(field, 0, 255).astype(np.uint8)


def radii(size: Size, shares: Range, count: int, rng: np.random.Generator) -> list[int]:
    """Draw radii in pixels, at least 1; densities fall with the square, as in dead leaves."""
    low, high = (share * max(size) for share in shares)
    return [max(1, round(radius)) for radius in 1 / rng.uniform(1 / high, 1 / low, count)]


def draw(
    canvas: Picture,
    radius: int,
    colour: tuple[float, ...],
    rng: np.random.Generator,
    kind: int | None = None,
) -> None:
    """Let one shape of a kind, else of any, fall on the canvas, (H, W) or (H, W, 3)."""
    height, width = canvas.shape[:2]
    x, y = int(rng.integers(width)), int(rng.integers(height))
    drawn = int(rng.integers(5))
    kind = drawn if kind is None else kind
    angle, flat = float(rng.uniform(0, 180)), rng.uniform(0.15, 1.0)
    if rng.random() < 0.5:
        angle = float(rng.normal(0, 4)) + 90 * float(rng.integers(2))  # people's things stand
    if kind == DISC:
        axes = (radius, max(1, round(radius * flat)))
        cv2.ellipse(canvas, (x, y), axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
        return
    if kind in (SLAB, FRAME):
        corners: Any = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * flat), angle))
    elif kind == SHARD:
        turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        reach = radius * rng.uniform(0.4, 1.2, len(turns))
        corners = np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], axis=1)
    else:
        corners = cv2.boxPoints(((x, y), (4 * radius, max(1.0, 0.15 * radius)), angle))
    outline = np.rint(corners).astype(np.int32)
    if kind == FRAME:
        thick = max(1, radius // 8)
        cv2.polylines(canvas, [outline], True, colour, thick, cv2.LINE_AA)
    else:
        cv2.fillPoly(canvas, [outline], colour, cv2.LINE_AA)


def _hang(canvas: Picture, radius: int, palette: Colour, rng: np.random.Generator) -> None:
    """Let a striped shape fall on the canvas."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    draw(mask, radius, (255.0,), rng)
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return
    down, across = np.mgrid[:height, :width].astype(np.float32)
    turn, waves = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    along = across * np.cos(turn) + down * np.sin(turn)
    beside = down * np.cos(turn) - across * np.sin(turn)
    fold = np.sin(beside / (radius * rng.uniform(0.1, 0.5)) + waves[0])
    period = max(2.0, radius * rng.uniform(0.05, 0.5))
    bands = (along + fold * period * rng.uniform(0, 1)) / period + waves[1]
    two = np.array([_shade(palette, rng), _shade(palette, rng)], np.float32)
    cloth = two[(bands % 1 < rng.uniform(0.2, 0.8)).astype(np.uint8)]
    cloth = cloth * (1 + rng.uniform(0, 0.4) * fold)[..., None]
    place = np.s_[y : y + height, x : x + width]
    striped = np.clip(cloth, 0, 255).astype(np.uint8)
    canvas[place] = image.compose(canvas[place], striped, mask[place] / np.float32(255))


def _textured(canvas: Picture, rng: np.random.Generator) -> Picture:
    """Add noise of several scales, and light that falls off to one side."""
    height, width = canvas.shape[:2]
    change = np.zeros((height, width), np.float32)
    strength = rng.uniform(0, 25)
    for octave in range(int(rng.integers(1, 5))):
        cells = (max(2, height >> (octave + 1)), max(2, width >> (octave + 1)))
        noise = rng.standard_normal(cells, dtype=np.float32)
        change += cv2.resize(noise, (width, height)) * strength / 2
    ramp = np.linspace(-1, 1, width, dtype=np.float32) * rng.normal(0, 0.25)
    ramp = ramp + np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.normal(0, 0.25)
    lit = canvas * (1 + ramp)[..., None] + change[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)
