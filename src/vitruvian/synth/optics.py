# SPDX-License-Identifier: Apache-2.0
"""What a camera does to light: exposure and film, blur, noise, colour casts, compression.

Radiance is linear; the film's curve and the sRGB encoding make bytes of it in one table look-up.
Blurs act on linear light, before the film; casts, noise and compression on the picture.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from vitruvian.errors import InputError

Floats = NDArray[np.floating]

_ENTRIES = 4096
_TOP = 4.0  # radiance times exposure at the end of the film's table, on a square-root scale
_DENSITY = 1.35  # how fast the film saturates
_TOE = 0.5  # how much it darkens shadows and brightens lights


@dataclass(frozen=True, kw_only=True)
class Optics:
    """How a picture is taken; by default ideally.

    Attributes:
        exposure: stops above or below what is metered.
        background_blur: radius of the blur of the background, in pictures' heights.
        defocus: radius of the blur of everything, in pixels.
        motion: length of the blur by a moving camera, in pixels.
        motion_angle: its direction, radians.
        vignette: darkening of the corners, 0 … 1.
        tint: factors of red, green and blue: a wrong white balance.
        noise: standard deviation of shot noise at middle grey, in levels of 255.
        read_noise: standard deviation of the noise that is there in the dark, in levels.
        fringe: pixels by which red and blue are drawn apart at the picture's corners.
        grey: whether the picture has no colour.
        contrast: 1 for none added, 0.7 for flat, 1.3 for harsh.
        jpeg: quality 1 … 100 of one compression, 0 for none.
    """

    exposure: float = 0.0
    background_blur: float = 0.0
    defocus: float = 0.0
    motion: float = 0.0
    motion_angle: float = 0.0
    vignette: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 0.0
    read_noise: float = 0.0
    fringe: float = 0.0
    grey: bool = False
    contrast: float = 1.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        lengths = ("background_blur", "defocus", "motion", "vignette", "noise", "read_noise")
        for name in lengths:
            if getattr(self, name) < 0:
                raise InputError(f"optics {name} is not negative, got {getattr(self, name)}")
        if not 0 <= self.jpeg <= 100:
            raise InputError(f"JPEG quality is 1 … 100, or 0 for none, got {self.jpeg}")
        if min(self.tint) <= 0 or self.contrast <= 0:
            raise InputError("optics tint and contrast are positive")


def expose(radiance: NDArray[np.float32], exposure: float, optics: Optics) -> NDArray[np.uint8]:
    """Turn linear radiance (H, W, 3) into an sRGB picture.

    Args:
        radiance: linear; changed in place where the optics blur or tint it.
        exposure: factor that makes metered grey 0.18.
        optics: how the picture is taken.
    """
    if optics.motion > 0.5:
        kernel = _streak(optics.motion, optics.motion_angle)
        radiance = _filtered(radiance, kernel)
    if optics.defocus > 0.3:
        radiance = blurred(radiance, optics.defocus)
    factors = np.array(optics.tint, np.float32) * np.float32(exposure * 2**optics.exposure)
    table = _film_table(optics.contrast)
    scale = np.float32((_ENTRIES - 1) / np.sqrt(_TOP))
    picture = np.empty(radiance.shape, np.uint8)
    fall = _fall(radiance.shape[:2], optics.vignette)
    step = max(1, (1 << 16) // (radiance.shape[1] * 3))
    for first in range(0, radiance.shape[0], step):
        rows = slice(first, first + step)
        light = radiance[rows] * factors
        if fall is not None:
            light *= fall[rows, :, None]
        np.clip(light, 0, _TOP, out=light)
        np.sqrt(light, out=light)
        light *= scale
        picture[rows] = table.take(light.astype(np.int16))
    return picture


def finish(
    picture: NDArray[np.uint8], optics: Optics, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add what sensors and files add: fringes, noise, greyness, compression."""
    if optics.fringe:
        picture = _fringed(picture, optics.fringe)
    if optics.noise > 0 or optics.read_noise > 0:
        picture = _noisy(picture, optics, rng)
    if optics.grey:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        picture = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)
    if optics.jpeg:
        half = "420" if optics.jpeg < 90 else "444"
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(picture), quality=optics.jpeg, colorsubsampling=half
        )
        picture = simplejpeg.decode_jpeg(data)
    return picture


def display_to_scene(linear: Floats) -> Floats:
    """Return the radiance times exposure that film turns into a displayed linear value 0 … 1."""
    light = np.linspace(0, np.sqrt(_TOP), _ENTRIES) ** 2
    shown = _film(light)
    return np.interp(linear, shown, light).astype(np.float32)


def blurred(radiance: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Blur by a disc, as an open aperture does; radius in pixels."""
    height, width = radiance.shape[:2]
    if radius < 0.8:
        return np.asarray(cv2.GaussianBlur(radiance, (0, 0), max(radius, 0.3)), np.float32)
    shrink = 1
    while radius / shrink > 4:
        shrink *= 2
    small = radiance
    if shrink > 1:
        size = (max(width // shrink, 1), max(height // shrink, 1))
        small = cv2.resize(radiance, size, interpolation=cv2.INTER_AREA)
    small = _filtered(np.asarray(small, np.float32), _disc(round(radius / shrink, 2)))
    if shrink > 1:
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32)


def _filtered(radiance: NDArray[np.float32], kernel: Floats) -> NDArray[np.float32]:
    result = cv2.filter2D(radiance, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(result, np.float32)


def _disc(radius: float) -> NDArray[np.float32]:
    reach = int(np.ceil(radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.sqrt(x * x + y * y), 0, 1)
    return (disc / disc.sum()).astype(np.float32)


def _streak(length: float, angle: float) -> NDArray[np.float32]:
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, max(int(4 * length), 2)):
        x, y = reach + share * length * np.cos(angle), reach + share * length * np.sin(angle)
        i, j = int(x), int(y)
        fx, fy = x - i, y - j
        for dj, wy in ((0, 1 - fy), (1, fy)):
            for di, wx in ((0, 1 - fx), (1, fx)):
                kernel[j + dj, i + di] += wx * wy
    return kernel / kernel.sum()


def _film(light: Floats) -> Floats:
    """Return what film shows of light as linear 0 … 1: a toe, a straight middle and a shoulder."""
    encoded = _encoded(1 - np.exp(-_DENSITY * light))
    bent = encoded + _TOE * (encoded * encoded * (3 - 2 * encoded) - encoded)
    dark, bright = bent / 12.92, ((bent + 0.055) / 1.055) ** 2.4
    return np.where(bent <= 0.04045, dark, bright)


def _encoded(linear: Floats) -> Floats:
    """Return sRGB values of linear ones (IEC 61966-2-1)."""
    dark, bright = linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, dark, bright)


@lru_cache(maxsize=64)
def _film_table(contrast: float) -> NDArray[np.uint8]:
    """Return the sRGB bytes of the film's table of radiances."""
    encoded = _encoded(_film(np.linspace(0, np.sqrt(_TOP), _ENTRIES) ** 2))
    if contrast != 1.0:
        middle = 0.46
        encoded = np.clip(middle + (encoded - middle) * contrast, 0, 1)
    table = (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)
    table.setflags(write=False)
    return table


def _fall(size: tuple[int, int], vignette: float) -> NDArray[np.float32] | None:
    """Return the share of light that reaches each pixel: a cos⁴-like fall, or None for all."""
    if vignette <= 0:
        return None
    y, x = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None]
    square = (x * x + y * y) / 2
    return (1 - vignette * square * square).astype(np.float32)


def _fringed(picture: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    grow = pixels / max(float(np.hypot(*centre)), 1.0)
    channels = list(cv2.split(picture))
    for index, factor in ((0, 1 + grow), (2, 1 - grow)):
        matrix = np.array([[factor, 0, 0], [0, factor, 0]], np.float64)
        matrix[:, 2] = centre * (1 - factor)
        channels[index] = cv2.warpAffine(
            channels[index], matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    return np.asarray(cv2.merge(channels), np.uint8)


def _noisy(
    picture: NDArray[np.uint8], optics: Optics, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add noise whose variance grows with brightness, softened as demosaicking softens it."""
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (3, 3), 0.6) * np.float32(1.9)
    levels = np.arange(256, dtype=np.float32)
    deviation = np.sqrt(optics.noise**2 * levels / 118 + optics.read_noise**2)
    noisy = picture + np.asarray(grain, np.float32) * deviation.astype(np.float32)[picture]
    return np.clip(noisy + np.float32(0.5), 0, 255).astype(np.uint8)
