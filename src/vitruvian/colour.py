# SPDX-License-Identifier: Apache-2.0
"""What values become which colours.

First what picture files hold, as sRGB uint8: profiles, 16 bits, floats, transparency. Then surface
normals as colours, in the conventions of the field.
"""

import io
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from vitruvian.errors import ImageError, unknown_name


def narrow(wide: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn 0 … 65535 into 0 … 255: division by 257, rounded."""
    table = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    return table[wide]


def from_floats(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn 0 … 1 into 0 … 255, rounded; anything outside is an error, not clipped."""
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ImageError(
            f"its floating-point values run from {values.min()} to {values.max()}, wanted 0 to 1: a"
            " measurement is no picture; scale it first"
        )
    return (values * 255 + 0.5).astype(np.uint8)


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Show straight-alpha RGBA (H, W, 4) on a white page: RGB (H, W, 3)."""
    alpha = pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    # 255 · 255 + 127 fits in 16 bits
    inverse = np.uint16(255) - alpha
    mixed = pixels[..., :3] * alpha.astype(np.uint16) + np.uint16(255) * inverse
    return ((mixed + np.uint16(127)) // np.uint16(255)).astype(np.uint8)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Turn (H, W) grey, (H, W, 3) RGB or (H, W, 4) CMYK into sRGB (H, W, 3) through a profile."""
    mode = "L" if pixels.ndim == 2 else {3: "RGB", 4: "CMYK"}[pixels.shape[2]]
    transform = _transform(profile, mode) if profile else None
    if transform is None:
        if mode == "RGB":
            return np.ascontiguousarray(pixels)
        if mode == "L":
            return np.repeat(pixels[..., None], 3, axis=2)
        return np.array(Image.fromarray(pixels, mode).convert("RGB"))
    picture = Image.fromarray(np.ascontiguousarray(pixels), mode)
    return np.array(ImageCms.applyTransform(picture, transform))


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from a profile to sRGB; None if it is sRGB, damaged, or for other colours.

    "Is sRGB" is measured, since profiles differ in bytes and names: no colour of a 17³ grid moves
    by more than one level.
    """
    space = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[mode]
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if cast("Any", source).profile.xcolor_space.strip() != space:
            return None
        transform = ImageCms.buildTransform(
            source,
            cast("Any", ImageCms).createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if mode == "RGB":
        steps = np.linspace(0, 255, 17).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(17, -1, 3)
        moved = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
        if np.abs(moved.astype(np.int16) - grid).max() <= 1:
            return None
    return transform


# -------------------------------------------------------------------------- normals as colours

NORMAL_AXES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "opengl": (1, -1, -1),
        "opencv": (1, 1, 1),
        "directx": (1, 1, -1),
        "dsine": (-1, -1, -1),
    }
)
"""Signs from camera space (x right, y down, z forward) to the axes of each convention.

=========  ======  ======  ==========  =============================
name       x       y       z           a wall facing the camera
=========  ======  ======  ==========  =============================
opengl     right   up      to viewer   (0, 0, 1), RGB (128, 128, 255)
opencv     right   down    forward     (0, 0, -1), RGB (128, 128, 0)
directx    right   down    to viewer   (0, 0, 1), green flipped
dsine      left    up      to viewer   (0, 0, 1), red flipped
=========  ======  ======  ==========  =============================
"""


def normal_signs(convention: str) -> NDArray[np.float32]:
    """Return the three signs of a convention.

    Raises:
        UnknownNameError: if it is none of ``NORMAL_AXES``.
    """
    if convention not in NORMAL_AXES:
        raise unknown_name("convention of normals", convention, NORMAL_AXES)
    return np.array(NORMAL_AXES[convention], dtype=np.float32)


def normals_to_colours(
    vectors: NDArray[np.float32], *, convention: str = "opengl", bits: Literal[8, 16] = 8
) -> NDArray[Any]:
    """Encode camera-space unit vectors (…, 3) as RGB: round((n + 1) / 2 · top), halves upwards.

    Returns uint8 (top 255) or uint16 (top 65535). No unit vector becomes (0, 0, 0).
    """
    top = 2**bits - 1
    levels = vectors.astype(np.float32) * normal_signs(convention)
    np.clip(levels, -1, 1, out=levels)
    levels += 1
    levels *= top / 2
    levels += 0.5
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


def colours_to_normals(colours: NDArray[Any], *, convention: str) -> NDArray[np.float32]:
    """Decode RGB (…, 3) of uint8 or uint16 into camera-space unit vectors."""
    top = 255 if colours.dtype == np.uint8 else 65535
    vectors = (colours.astype(np.float32) * np.float32(2 / top) - 1) * normal_signs(convention)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-6)
