# SPDX-License-Identifier: Apache-2.0
"""What augmentation does to pixels alone: colours, sharpness, noise, compression, holes.

Every function takes and returns RGB uint8 (H, W, 3) of equal size; annotations stay as they are.
Hue is counted in OpenCV's half degrees, 0 … 179.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image as pictures
from vitruvian.data.augment.view import Range, check_chance
from vitruvian.errors import InputError

Picture = NDArray[np.uint8]
_RESAMPLINGS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


def _table(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.uint8]:
    levels = np.arange(256, dtype=np.float64)
    return np.clip(np.rint(function(levels)), 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Photometric:
    """Random brightness, contrast, saturation and hue, each with a chance of one half.

    The defaults are those of both Sapiens generations (published code).

    Attributes:
        chance: of doing anything at all (0.8 for Sapiens2 pose).
        brightness: largest shift, in levels.
        contrast: range of the factor on all levels; applied before or after the change of
            saturation and hue, at random.
        saturation: range of the factor.
        hue: largest turn, in half degrees.
        swap: chance of permuting the colour channels (0.5 in the first generation's pose training).
        paper: reproduce two defects of the published pose training: contrast is applied twice, by
            two factors, when it was to come first and never otherwise; a hue below 0 wraps at 256
            instead of 180, which turns it by 76 half degrees too many.
    """

    chance: float = 1.0
    brightness: float = 32
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.5, 1.5)
    hue: float = 18
    swap: float = 0.0
    paper: bool = False

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Return the picture in other colours."""
        if rng.random() >= self.chance:
            return picture
        bright, contrast, first, saturate, turn = rng.random(5) < 0.5
        levels = np.arange(256, dtype=np.uint8)
        if bright:
            shift = rng.uniform(-self.brightness, self.brightness)
            levels = _table(lambda v: v + shift)
        if contrast and first:
            levels = self._contrast(rng)[levels]
        if bright or (contrast and first):
            picture = cast("Picture", cv2.LUT(picture, levels))
        if saturate or turn:
            factor = rng.uniform(*self.saturation) if saturate else 1.0
            by = round(rng.uniform(-self.hue, self.hue)) if turn else 0
            picture = self._tinted(picture, factor, by)
        if contrast and first == self.paper:
            picture = cast("Picture", cv2.LUT(picture, self._contrast(rng)))
        if rng.random() < self.swap:
            planes = cv2.split(picture)
            picture = cast("Picture", cv2.merge([planes[i] for i in rng.permutation(3)]))
        return picture

    def _contrast(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        factor = rng.uniform(*self.contrast)
        return _table(lambda v: v * factor)

    def _tinted(self, picture: Picture, factor: float, turn: int) -> Picture:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
        hue = np.arange(256) + turn
        hue = hue % 256 if self.paper else hue % 180
        tables = [
            hue.astype(np.uint8),
            _table(lambda v: v * factor),
            np.arange(256, dtype=np.uint8),
        ]
        hsv = cv2.LUT(hsv, np.stack(tables, axis=-1)[None])
        return cast("Picture", cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


@dataclass(frozen=True, kw_only=True)
class PixelAugment:
    """Everything that happens to the pixels of a window, in the order of the attributes.

    Each part has a chance, 0 for never, and the range its strength is drawn from.

    Attributes:
        photometric: colours.
        down_up: chance of shrinking and enlarging again, each by a random interpolation,
        down_up_scale: to this share of the size.
        box: chance of a box blur,
        median: and of a median blur,
        kernel: of odd sizes in this range (3 to 7 pixels published).
        gaussian: chance of a 3×3 Gaussian blur,
        gaussian_sigma: of this width in pixels.
        noise: chance of Gaussian noise, independent in every value,
        noise_variance: of this variance.
        jpeg: chance of compressing,
        jpeg_quality: with this quality.
        solarise: chance of inverting levels from ``solarise_from`` on.
        solarise_from: see there.
        hole: chance of one rectangle of black,
        hole_side: of this share of height and width.
    """

    photometric: Photometric | None = None
    down_up: float = 0.0
    down_up_scale: Range = (0.1, 0.7)
    box: float = 0.0
    median: float = 0.0
    kernel: tuple[int, int] = (3, 7)
    gaussian: float = 0.0
    gaussian_sigma: Range = (0.1, 2.0)
    noise: float = 0.0
    noise_variance: Range = (5.0, 20.0)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 60)
    solarise: float = 0.0
    solarise_from: int = 128
    hole: float = 0.0
    hole_side: Range = (0.2, 0.4)

    def __post_init__(self) -> None:
        for name in ("down_up", "box", "median", "gaussian", "noise", "jpeg", "solarise", "hole"):
            check_chance(name, getattr(self, name))
        if self.kernel[0] % 2 == 0 or self.kernel[1] % 2 == 0 or self.kernel[0] > self.kernel[1]:
            raise InputError(f"kernel goes from an odd to an odd number of pixels: {self.kernel}")

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Return the picture with random changes; the given one stays as it is."""
        if self.photometric is not None:
            picture = self.photometric(picture, rng)
        if rng.random() < self.down_up:
            picture = _down_up(picture, rng.uniform(*self.down_up_scale), rng)
        if rng.random() < self.box:
            side = self._kernel(rng)
            picture = cast("Picture", cv2.blur(picture, (side, side)))
        if rng.random() < self.median:
            picture = cast("Picture", cv2.medianBlur(picture, self._kernel(rng)))
        if rng.random() < self.gaussian:
            sigma = rng.uniform(*self.gaussian_sigma)
            picture = cast("Picture", cv2.GaussianBlur(picture, (3, 3), sigma))
        if rng.random() < self.noise:
            picture = _noisy(picture, rng.uniform(*self.noise_variance), rng)
        if rng.random() < self.jpeg:
            quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
            picture = pictures.read(pictures.encode(picture, ".jpg", quality=quality))
        if rng.random() < self.solarise:
            levels = np.arange(256)
            table = np.where(levels < self.solarise_from, levels, 255 - levels).astype(np.uint8)
            picture = cast("Picture", cv2.LUT(picture, table))
        if rng.random() < self.hole:
            picture = _holed(picture, rng.uniform(*self.hole_side, size=2), rng)
        return picture

    def _kernel(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.kernel[0] // 2, self.kernel[1] // 2 + 1)) * 2 + 1


def _down_up(picture: Picture, scale: float, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    down, up = rng.integers(len(_RESAMPLINGS), size=2)
    shrunk = cv2.resize(picture, small, interpolation=_RESAMPLINGS[down])
    return cast("Picture", cv2.resize(shrunk, (width, height), interpolation=_RESAMPLINGS[up]))


def _noisy(picture: Picture, variance: float, rng: np.random.Generator) -> Picture:
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise *= np.float32(variance**0.5)
    noise += picture
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)


def _holed(picture: Picture, sides: NDArray[np.float64], rng: np.random.Generator) -> Picture:
    size = np.array(picture.shape[:2])
    hole = np.maximum(1, np.rint(sides * size)).astype(int)
    y, x = rng.integers(0, size - hole + 1)
    holed = picture.copy()
    holed[y : y + hole[0], x : x + hole[1]] = 0
    return holed


# --------------------------------------------------------------------------- colour transfer


def match_colours(
    picture: Picture, mask: NDArray[np.bool_], target: Picture, *, space: Literal["lab"] = "lab"
) -> Picture:
    """Give the masked pixels the mean and spread of colour of another picture.

    Mean and standard deviation per channel in CIELAB (after Reinhard and others, 2001).

    Args:
        picture: RGB uint8 (H, W, 3).
        mask: (H, W), the pixels to change; the others come back as they were.
        target: RGB uint8 of any size.
        space: the colour space; only "lab".
    """
    del space
    inside = picture[mask]
    if not len(inside):
        return picture
    own = _to_lab(inside)
    wanted = _to_lab(target.reshape(-1, 3))
    mean, spread = own.mean(axis=0), own.std(axis=0)
    factor = wanted.std(axis=0) / np.maximum(spread, 1e-3)
    moved = np.clip((own - mean) * factor + wanted.mean(axis=0), (0, -128, -128), (100, 127, 127))
    colours: NDArray[Any] = cv2.cvtColor(moved[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0]
    changed = picture.copy()
    changed[mask] = np.clip(np.rint(colours * 255), 0, 255)
    return changed


def _to_lab(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return CIELAB floats (N, 3) of RGB pixels (N, 3)."""
    floats = pixels[None].astype(np.float32) * np.float32(1 / 255)
    return cast("NDArray[np.float32]", cv2.cvtColor(floats, cv2.COLOR_RGB2LAB)[0])
