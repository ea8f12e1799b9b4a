# SPDX-License-Identifier: Apache-2.0
"""Read light measured all around: Radiance .hdr files by our own reader, .exr through OpenEXR."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import ImageError, InputError, missing_extra

_MAX_SIDE = 32768


def read_hdr(path: str | Path) -> NDArray[np.float32]:
    """Read a high-dynamic-range picture, rows from the top.

    Args:
        path: ends in .hdr or .pic (Radiance RGBE, run-length encoded or flat) or .exr.

    Returns:
        (H, W, 3) float32 linear RGB, never negative.

    Raises:
        InputError: for another suffix.
        ImageError: for a file that is damaged or holds something else.
        MissingExtraError: if OpenEXR is not installed and an .exr is given.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return _read_exr(path)
    if suffix not in (".hdr", ".pic"):
        raise InputError(f"{path}: light is read from .hdr, .pic or .exr files")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _decode(data)
    except (ValueError, IndexError) as error:
        raise ImageError(f"{path} is no whole Radiance picture: {error}") from error


def _decode(data: bytes) -> NDArray[np.float32]:
    """Decode a Radiance picture (G. Ward, "Real Pixels", Graphics Gems II, 1991)."""
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError("it does not begin with #?RADIANCE")
    header = re.search(rb"\n\n([+-][XY]) (\d+) ([+-][XY]) (\d+)\n", data)
    if header is None:
        raise ValueError("it states no resolution")
    if b"FORMAT=32-bit_rle_xyze" in data[: header.start()]:
        raise ValueError("its colours are XYZ, wanted RGB")
    if header[1] != b"-Y" or header[3] != b"+X":
        raise ValueError("its rows do not run from top to bottom and left to right")
    height, width = int(header[2]), int(header[4])
    if not 0 < height <= _MAX_SIDE or not 0 < width <= _MAX_SIDE:
        raise ValueError(f"it claims {height} x {width} pixels")
    values = np.frombuffer(data, np.uint8, offset=header.end())
    encoded = 8 <= width < 32768 and len(values) >= 4 and bytes(values[:2]) == b"\x02\x02"
    if encoded:
        pixels = _run_lengths(values, height, width)
    else:
        if len(values) < height * width * 4:
            raise ValueError("it ends early")
        pixels = values[: height * width * 4].reshape(height, width, 4)
    exponent = pixels[..., 3:].astype(np.int32)
    # a mantissa of 8 bits under a shared exponent; 0 stands for black
    scale = np.where(exponent > 0, np.ldexp(np.float32(1), exponent - (128 + 8)), np.float32(0))
    return (pixels[..., :3].astype(np.float32) * scale).astype(np.float32)


def _run_lengths(values: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Expand scan lines whose four components are run-length encoded one after the other."""
    pixels = np.empty((height, 4, width), np.uint8)
    place = 0
    for row in pixels:
        marker = bytes(values[place : place + 4])
        if marker != bytes((2, 2, width >> 8, width & 255)):
            raise ValueError("a row has another length than the picture")
        place += 4
        for component in row:
            column = 0
            while column < width:
                count = int(values[place])
                run = count > 128
                count -= 128 if run else 0
                if count == 0 or column + count > width:
                    raise ValueError("a row runs over")
                piece = values[place + 1 : place + 2 if run else place + 1 + count]
                if len(piece) != (1 if run else count):
                    raise ValueError("it ends early")
                component[column : column + count] = piece
                place += 2 if run else 1 + count
                column += count
    return np.ascontiguousarray(pixels.transpose(0, 2, 1))


def _read_exr(path: Path) -> NDArray[np.float32]:
    try:
        import OpenEXR
    except ImportError as error:
        raise missing_extra("OpenEXR", "exr", f"reading {path.name}") from error
    if not path.exists():
        raise ImageError(f"cannot read {path}: no such file")
    try:
        with OpenEXR.File(str(path)) as file:
            channels = file.channels()
            if "RGB" in channels or "RGBA" in channels:
                pixels = channels.get("RGB", channels.get("RGBA")).pixels[..., :3]
            else:
                pixels = np.stack([channels[name].pixels for name in "RGB"], axis=-1)
    except KeyError as error:
        raise ImageError(f"{path} has no channel {error}: wanted R, G and B") from error
    except Exception as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    return np.maximum(np.nan_to_num(pixels.astype(np.float32), posinf=6e4), 0)
