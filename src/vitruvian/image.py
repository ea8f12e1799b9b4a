# SPDX-License-Identifier: Apache-2.0
"""Pictures: read, write, resize, warp, compose. RGB uint8 (height, width, 3), sRGB, upright.

Pixel (0, 0) is the centre of the first pixel and sizes are (height, width), as everywhere.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import cv2
import numpy as np
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vitruvian.decode import MAX_PIXELS, MAX_SIDE, ImageHeader, Source, probe, read
from vitruvian.errors import InputError
from vitruvian.files import write_bytes

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageHeader",
    "Interpolation",
    "Source",
    "compose",
    "encode",
    "probe",
    "read",
    "resize",
    "to_planes",
    "warp",
    "write",
]

Interpolation = Literal["nearest", "linear", "cubic", "area"]

_Scalar = TypeVar("_Scalar", bound=np.generic)
_RESIZE = {
    # the plain nearest of OpenCV does not sample at pixel centres
    "nearest": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
_WARP = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_TYPES = ("bool", "uint8", "uint16", "float32")


# ------------------------------------------------------------------------------------- writing


def write(path: str | Path, image: NDArray[np.uint8], *, quality: int = 95) -> None:
    """Write a picture as PNG, JPEG or WebP, by the suffix of ``path``; whole or not at all.

    Args:
        path: ends in .png, .jpg, .jpeg or .webp.
        image: uint8 grey (H, W), RGB (H, W, 3), or straight RGBA (H, W, 4) (not for JPEG).
        quality: 1 … 100 for JPEG (colours at full resolution) and WebP; PNG has no loss.

    Raises:
        InputError: for another suffix, type or shape.
    """
    write_bytes(path, encode(image, Path(path).suffix, quality=quality))


def encode(image: NDArray[np.uint8], suffix: str, *, quality: int = 95) -> bytes:
    """Return the bytes that `write` puts into a file ending in ``suffix``."""
    if image.dtype != np.uint8 or image.size == 0 or image.shape[2:] not in ((), (3,), (4,)):
        raise InputError(
            f"cannot write {image.dtype} {image.shape} as a picture: wanted uint8 (H, W), (H, W, 3)"
            " or (H, W, 4) with at least one pixel"
        )
    kind = suffix.lower()
    if kind not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"cannot write a picture as {suffix!r}: use .png, .jpg or .webp")
    pixels = np.ascontiguousarray(image)
    if kind in (".jpg", ".jpeg"):
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            raise InputError("JPEG has no transparency: write .png or .webp, or compose it first")
        grey = pixels.ndim == 2
        return cast("Any", simplejpeg).encode_jpeg(
            pixels[..., None] if grey else pixels,
            quality=quality,
            colorspace="GRAY" if grey else "RGB",
            colorsubsampling="Gray" if grey else "444",
            fastdct=False,
        )
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    if kind == ".png":
        picture.save(buffer, "PNG", compress_level=4)  # 6 takes twice as long for 2 % less
    else:
        picture.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------ geometry


def resize(
    image: NDArray[_Scalar], size: tuple[int, int], interpolation: Interpolation = "linear"
) -> NDArray[_Scalar]:
    """Resample a picture or map (H, W) or (H, W, C) to ``size`` (height, width).

    Convention: the outer edges of the pixels stay edges (half-pixel centres), so target pixel i
    samples source position (i + 0.5) · source / target - 0.5; for "nearest" too (exact ties may
    fall either way). Beyond the first and last centre the border is repeated. Only "area" averages
    what falls into a target pixel: use it to shrink, the others alias. Truth values are
    interpolated as 0 and 1 and cut at a half.

    Raises:
        InputError: for types other than bool, uint8, uint16, float32, or an empty map.
    """
    if interpolation not in _RESIZE:
        raise InputError(f"cannot resize by {interpolation!r}: choose from {', '.join(_RESIZE)}")
    work = _workable(image, size)
    if image.shape[:2] == tuple(size):
        return image.copy()
    method = _RESIZE[interpolation]
    return _in_fours(
        image, work, lambda part, _: cv2.resize(part, size[::-1], interpolation=method)
    )


def warp(
    image: NDArray[_Scalar],
    matrix: ArrayLike,
    size: tuple[int, int],
    interpolation: Interpolation = "linear",
    fill: float | Sequence[float] = 0,
) -> NDArray[_Scalar]:
    """Resample a picture or map through an affine map, as `vitruvian.geometry.Crop` states it.

    Args:
        image: (H, W) or (H, W, C) of bool, uint8, uint16 or float32, any number of channels.
        matrix: (2, 3), from source to target coordinates, pixel centres at whole numbers.
        size: (height, width) of the target.
        interpolation: "nearest", "linear" or "cubic", without antialiasing: to shrink a lot without
            aliasing, `resize` with "area" first.
        fill: value outside the source, one or one per channel; linear sampling mixes it in along
            the border.

    Raises:
        InputError: for other types, an empty map, or a matrix that is not 2×3.
    """
    work = _workable(image, size)
    forward = np.asarray(matrix, dtype=np.float64)
    if forward.shape != (2, 3):
        raise InputError(f"a warp needs a 2×3 matrix from source to target, got {forward.shape}")
    if interpolation not in _WARP:
        raise InputError(f"a warp cannot use {interpolation!r}: choose nearest, linear or cubic")
    fills = np.broadcast_to(np.asarray(fill, dtype=np.float64), (image[0, 0].size,))

    def warped(part: NDArray[Any], first: int) -> NDArray[Any]:
        return cv2.warpAffine(
            part,
            forward,
            size[::-1],
            flags=_WARP[interpolation],
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=[float(value) for value in fills[first : first + 4]],
        )

    return _in_fours(image, work, warped)


def _workable(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the map as OpenCV takes it (truth values as 0 and 1), or say what is wrong with it."""
    if image.dtype.name not in _TYPES or image.ndim not in (2, 3) or image.size == 0:
        raise InputError(
            f"cannot resample {image.dtype} {image.shape}: wanted bool, uint8, uint16 or float32 of"
            " shape (H, W) or (H, W, C) with at least one pixel"
        )
    if min(size) < 1 or max(size) > MAX_SIDE:
        raise InputError(f"a size is (height, width) of 1 to {MAX_SIDE} pixels, got {tuple(size)}")
    # a half of 0 and 255 rounds to 128, above which a truth value is true again
    return image * np.uint8(255) if image.dtype == np.bool_ else image


def _in_fours(
    image: NDArray[_Scalar],
    work: NDArray[Any],
    resample: Callable[[NDArray[Any], int], NDArray[Any]],
) -> NDArray[_Scalar]:
    """Resample at most four channels at a time, OpenCV's limit; give back the rank and type.

    Never two at a time: OpenCV 5 warps 1, 3 and 4 channels exactly, but 2 on a grid of 1/32 pixel.
    """
    channels = image[0, 0].size
    parts: list[NDArray[Any]] = []
    first = 0
    while first < channels:
        count = 1 if channels - first == 2 else min(4, channels - first)
        part = work if channels == count else np.ascontiguousarray(work[..., first : first + count])
        parts.append(np.atleast_3d(resample(part, first)))
        first += count
    result = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    if image.ndim == 2:
        result = result[..., 0]
    return cast("NDArray[_Scalar]", result >= 128 if image.dtype == np.bool_ else result)


# -------------------------------------------------------------------------------------- pixels


def compose(
    background: NDArray[np.uint8], foreground: NDArray[np.uint8], alpha: NDArray[Any]
) -> NDArray[np.uint8]:
    """Lay a picture over another: background · (1 - alpha) + foreground · alpha, rounded.

    Args:
        background: uint8 (H, W, 3).
        foreground: uint8 (H, W, 3) with straight colours, or anything that broadcasts to it, such
            as one colour (3,).
        alpha: bool, or float 0 … 1, of shape (H, W) or (H, W, 1); sRGB values are mixed as they
            are.
    """
    if alpha.shape[:2] != background.shape[:2]:
        raise InputError(
            f"alpha {alpha.shape} does not cover the picture {background.shape}: wanted one value"
            " per pixel"
        )
    if alpha.dtype == np.bool_:
        return np.where(alpha.reshape(*alpha.shape[:2], 1), foreground, background)
    weight = np.clip(alpha.reshape(*alpha.shape[:2], 1).astype(np.float32), 0, 1)
    base = background.astype(np.float32)
    return (base + (foreground - base) * weight + 0.5).astype(np.uint8)


def to_planes(
    image: NDArray[np.uint8],
    mean: Sequence[float],
    std: Sequence[float],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Normalise a crop for a network on the CPU: (H, W, 3) uint8 → (3, H, W) (value - mean) / std.

    One table look-up per value does the conversion, the arithmetic and the change of layout. For an
    accelerator send the uint8 crop and normalise there: that is a quarter of the bytes.

    Args:
        image: RGB uint8.
        mean: three values on the 0 … 255 scale, RGB.
        std: three values on the 0 … 255 scale, RGB.
        out: (3, H, W) float32 to write into, such as one row of a batch.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"wanted a uint8 (H, W, 3) picture, got {image.dtype} {image.shape}")
    planes = np.empty((3, *image.shape[:2]), np.float32) if out is None else out
    values = np.arange(256, dtype=np.float64)
    for index, plane in enumerate(cv2.split(image)):
        table = ((values - mean[index]) / std[index]).astype(np.float32)
        cv2.LUT(plane, table, dst=planes[index])
    return planes
