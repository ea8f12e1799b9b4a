# SPDX-License-Identifier: Apache-2.0
"""Decode picture files into upright sRGB pixels; `vitruvian.image` is the public door.

Names are ignored, the first bytes decide what a file is. The header is checked before anything is
allocated. JPEG is decoded by libjpeg-turbo with every warning an error; the rest by Pillow.
"""

import contextlib
import functools
import io
import os
import struct
import threading
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from PIL import Image

from vitruvian.colour import from_floats, narrow, on_white, to_srgb
from vitruvian.errors import ImageError

MAX_PIXELS = 178_956_970
"""Largest picture read, in pixels (Pillow's own hard limit)."""
MAX_SIDE = 30_000
"""Longest side read, in pixels (OpenCV warps no picture beyond 32,767)."""

Source = str | Path | bytes | NDArray[Any] | Image.Image
"""What `read` accepts: a path, the bytes of a file, an array, a Pillow picture."""

_FORMATS = ("PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM")
_WANTED = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, JPEG 2000 or PPM"
_BYTES = (bytes, bytearray, memoryview)
_open_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What the first bytes of a picture say; nothing is decoded.

    Attributes:
        width: pixels, after the orientation is applied.
        height: pixels, after the orientation is applied.
        format: "jpeg", "png", "webp", …, whatever the file is called.
        orientation: EXIF orientation 1-8 that `read` will undo (1 = upright; TIFF always says 1).
        animated: whether the file holds more than one frame; `read` returns the first.
    """

    width: int
    height: int
    format: str
    orientation: int = 1
    animated: bool = False


# ------------------------------------------------------------------------------------- reading


def read(source: Source) -> NDArray[np.uint8]:
    """Read a picture as RGB uint8 (H, W, 3), sRGB, upright.

    * The EXIF orientation is undone, so rows run down as a viewer shows them.
    * An embedded colour profile other than sRGB is converted (relative colorimetric, black point
      compensation); a profile or EXIF block that cannot be parsed is ignored, as viewers do.
    * Grey becomes three equal channels, a palette its colours, CMYK its sRGB equivalent.
    * 16 bits become 8 by dividing by 257 and rounding, so that 65535 is 255.
    * Floating point must lie in 0 … 1 and is multiplied by 255.
    * Transparency is shown on white, as on a page: hidden colours under it never appear.
    * Of an animation the first frame is read.

    Args:
        source: a path, the bytes of a picture file, a Pillow picture, or a uint8 array of shape
            (H, W), (H, W, 3) or (H, W, 4): such arrays are taken as RGB(A), never BGR.

    Raises:
        ImageError: if the file is missing, empty, truncated, corrupt, no picture, of a kind that
            cannot be read, or larger than ``MAX_PIXELS`` or ``MAX_SIDE`` (checked before memory
            is taken).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with _named_errors("the Pillow picture"):
            return _upright(_pixels(source), _orientation(source.info.get("exif", b"")))
    return read_reduced(source, 0)


def read_reduced(source: str | Path | bytes, enough: int) -> NDArray[np.uint8]:
    """Read a picture like `read`, perhaps smaller, to look at or score, never to train on.

    Args:
        source: a path, or the bytes of a picture file.
        enough: pixels that suffice along the longer side: libjpeg then decodes at a half, a quarter
            or an eighth if that still has as many (its other scales take longer than the whole
            picture); 0 and other formats than JPEG give the whole size.

    Raises:
        ImageError: as `read`, for the same files.
    """
    name, data = _load(source)
    if data[:3] == b"\xff\xd8\xff":
        return _read_jpeg(name, data, enough)
    with _open(name, data) as picture:
        _check_size(name, picture.width, picture.height)
        with _named_errors(name):
            picture.load()
            pixels = _sixteen_bit(data) if _colour_depth(picture, data) == 16 else None
            pixels = _pixels(picture, pixels)
        return _upright(pixels, _file_orientation(picture, data))


def probe(source: str | Path | bytes) -> ImageHeader:
    """Read the header of a picture: its size as `read` would return it, and its format.

    Raises:
        ImageError: if the file is missing, empty, no picture, or its header is damaged. A size
            beyond the limits of `read` is reported, not refused, where the format allows.
    """
    name, data = _load(source, first=1 << 16)
    if data[:3] == b"\xff\xd8\xff":
        try:
            jpeg = _jpeg_header(name, data)
        except ImageError:
            name, data = _load(source)
            jpeg = _jpeg_header(name, data)
        orientation = _orientation(jpeg.exif)
        width, height = jpeg.width, jpeg.height
        if orientation > 4:
            width, height = height, width
        return ImageHeader(width=width, height=height, format="jpeg", orientation=orientation)
    name, data = _load(source)
    with _open(name, data) as picture, _named_errors(name):
        orientation = _file_orientation(picture, data)
        width, height = picture.size[:: -1 if orientation > 4 else 1]
        return ImageHeader(
            width=width,
            height=height,
            format=(picture.format or "unknown").lower(),
            orientation=orientation,
            animated=bool(getattr(picture, "is_animated", False)),
        )


def _load(source: str | Path | bytes, first: int = -1) -> tuple[str, bytes]:
    """Return a name for messages and the (``first``) bytes of a file."""
    if isinstance(source, _BYTES):
        name, data = "the given bytes", bytes(source)
    elif not isinstance(source, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ImageError(
            f"a {type(source).__name__} is no picture: wanted a path, the bytes of a file, a "
            "Pillow picture or a uint8 array (H, W, 3)"
        )
    else:
        name = str(source)
        if name.startswith(("http://", "https://")):
            raise ImageError(f"{name} is an address, wanted a file: download it first")
        try:
            with Path(source).open("rb") as file:
                data = file.read(first)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageError(f"{name} cannot be read: {reason}") from error
    if not data:
        raise ImageError(f"{name} is empty (0 bytes), wanted a picture: fetch it again")
    return name, data


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{name} is too large: its header claims {width}×{height} pixels, the limits are "
            f"{MAX_PIXELS / 1e6:.0f} million and {MAX_SIDE} per side: make a smaller copy"
        )
    if width < 1 or height < 1:
        raise ImageError(f"{name} is corrupt: its header claims {width}×{height} pixels")


@contextlib.contextmanager
def _named_errors(name: str) -> Generator[None, None, None]:
    """Turn whatever a decoder raises on damaged data into an ImageError naming the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name} cannot be used: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, …
        text = str(error) or type(error).__name__
        cut = any(word in text.lower() for word in ("truncated", "premature", "not enough", "eof"))
        kind = "truncated" if cut else "corrupt"
        raise ImageError(f"{name} is {kind} ({text}): fetch it again") from error


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    shape = array.shape
    if array.dtype != np.uint8 or array.size == 0 or shape[2:] not in ((), (1,), (3,), (4,)):
        raise ImageError(
            f"an array of {array.dtype} {shape} is no picture: wanted uint8 (H, W), (H, W, 3) RGB "
            "or (H, W, 4) RGBA with at least one pixel; multiply floats of 0 … 1 by 255 and convert"
        )
    pixels: NDArray[np.uint8] = array
    if pixels.ndim == 2 or shape[2] == 1:
        return np.repeat(pixels.reshape(shape[0], shape[1], 1), 3, axis=2)
    return on_white(pixels) if shape[2] == 4 else np.ascontiguousarray(pixels)


# ---------------------------------------------------------------------------------------- JPEG


_marker = struct.Struct(">BBH").unpack_from  # 0xFF, the kind of segment, its length
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TELLING = _SIZES | {0xD9, 0xDA, 0xE1, 0xE2, 0xFF}  # all others are skipped


class _Jpeg(NamedTuple):
    height: int
    width: int
    components: int
    progressive: bool
    exif: bytes
    profile: bytes


def _jpeg_header(name: str, data: bytes) -> _Jpeg:
    """Walk the segments of a JPEG up to its first scan (ITU T.81, annex B)."""
    at, exif, last = 2, b"", len(data) - 4
    size: tuple[int, int, int, bool] | None = None
    profile: dict[int, bytes] = {}
    while at <= last:
        begin, marker, length = _marker(data, at)
        if begin != 0xFF:
            break
        if marker not in _TELLING:
            at += 2 + length
            continue
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            if size is None:
                break
            icc = b"".join(profile[key] for key in sorted(profile))
            return _Jpeg(*size, exif, icc)
        body = data[at + 4 : at + 2 + length]
        if marker in _SIZES and len(body) >= 6:
            height, width = struct.unpack_from(">HH", body, 1)
            size = height, width, body[5], marker in (0xC2, 0xC6, 0xCA, 0xCE)
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        at += 2 + length
    kind = "truncated" if at + 4 > len(data) else "corrupt"
    raise ImageError(f"{name} is {kind}: its JPEG header is incomplete: fetch it again")


def _read_jpeg(name: str, data: bytes, enough: int = 0) -> NDArray[np.uint8]:
    header = _jpeg_header(name, data)
    _check_size(name, header.width, header.height)
    if header.components == 4:  # CMYK: libjpeg-turbo leaves its colours to the caller
        with _open(name, data, ("JPEG",)) as picture, _named_errors(name):
            picture.load()
            pixels = _pixels(picture)
    else:
        with _named_errors(name):
            pixels = to_srgb(_decode_jpeg(data, header, enough), header.profile)
    return _upright(pixels, _orientation(header.exif))


def _decode_jpeg(data: bytes, header: _Jpeg, enough: int) -> NDArray[np.uint8]:
    """Decode strictly; RGB, or one channel of shape (H, W) for a grey picture with a profile."""
    grey = header.components == 1 and bool(header.profile)
    colours = "GRAY" if grey else "RGB"
    decode: Any = functools.partial(cast("Any", simplejpeg).decode_jpeg, strict=True)
    longer = max(header.width, header.height)
    if 0 < enough < longer:  # what is averaged down afterwards needs no smooth colours
        factor = next((f for f in (8, 4, 2) if longer >= enough * f), 1)
        side = "min_width" if header.width >= header.height else "min_height"
        decode = functools.partial(decode, fastupsample=True, **{side: -(-longer // factor)})
    try:
        pixels = decode(data, colours)
    except ValueError:
        # A missing end marker alone does no harm: with it put back, strict decoding succeeds
        # exactly when every row is there. A progressive file may lack whole scans: refused.
        if header.progressive:
            raise
        try:
            pixels = decode(data + b"\xff\xd9", colours)
        except ValueError as error:
            raise error from None
    return pixels[..., 0] if grey else pixels


# ------------------------------------------------------------------------------ everything else


def _open(name: str, data: bytes, formats: Sequence[str] = _FORMATS) -> Image.Image:
    """Open with Pillow (header only), or say what the bytes are instead of a picture."""
    known = [entry for entry in formats if entry != "HEIF" or "HEIF" in Image.OPEN]
    try:
        # Pillow warns from half of its limit on; ours is checked by the caller. The lock keeps two
        # threads from restoring each other's warning filters.
        with _open_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=known)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large: its header claims more than {MAX_PIXELS / 1e6:.0f} million"
            " pixels: make a smaller copy"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # unknown formats and broken headers
        raise ImageError(f"{name} is {_describe(data)}") from error


def _describe(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer, wanted the picture it stands for: run  git lfs pull"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, wanted a picture: the download answered with a page, fetch it again"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return (
            "an HEIC picture, which Pillow reads only with help: pip install pillow-heif and call"
            " pillow_heif.register_heif_opener() first, or convert it to JPEG"
        )
    return f"no picture: it begins with {data[:12]!r}, wanted an intact {_WANTED} file"


def _colour_depth(picture: Image.Image, data: bytes) -> int:
    """Bits per channel of a picture that Pillow would cut down to 8; 8 for all others."""
    if picture.mode in ("RGB", "RGBA", "LA") and picture.format == "PNG":
        return data[24]
    if picture.mode in ("RGB", "RGBA") and picture.format == "TIFF":
        bits = cast("Any", picture).tag_v2.get(258, (8,))
        return int(bits[0])
    return 8


def _sixteen_bit(data: bytes) -> NDArray[np.uint8]:
    """Decode the 16-bit colours that Pillow would truncate, rounded to 8 bits: (H, W, 3 or 4)."""
    wide = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if wide is None or wide.dtype != np.uint16 or wide.ndim != 3 or wide.shape[2] not in (3, 4):
        raise ImageError("its 16-bit colours are stored in a way OpenCV cannot read: convert it")
    order = cv2.COLOR_BGR2RGB if wide.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return narrow(cv2.cvtColor(wide, order))


def _pixels(picture: Image.Image, colours: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return RGB uint8 of a loaded Pillow picture; ``colours`` replaces pixels it cut to 8 bits."""
    profile: bytes = picture.info.get("icc_profile") or b""
    mode = picture.mode
    if colours is not None:
        pass
    elif mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"it holds whole numbers from {values.min()} to {values.max()}, wanted 8 or 16 bits"
            )
        colours = narrow(values)
    elif mode == "F":
        colours = from_floats(np.asarray(picture))
    elif mode == "CMYK":
        return to_srgb(np.asarray(picture), profile)
    elif mode in ("RGB", "L"):
        colours = np.asarray(picture)
    elif mode in ("LA", "PA", "RGBA", "RGBa", "La", "P") or "transparency" in picture.info:
        colours = np.asarray(picture.convert("RGBA"))
    elif mode in ("1", "YCbCr", "HSV"):
        colours = np.asarray(picture.convert("RGB"))
    else:
        raise ImageError(f"its colour mode is {mode!r}, wanted grey, RGB(A), CMYK or a palette")
    if colours.ndim == 3 and colours.shape[2] == 4:
        alpha = colours[..., 3]
        colours = to_srgb(np.ascontiguousarray(colours[..., :3]), profile)
        return on_white(np.dstack([colours, alpha]))
    return to_srgb(colours, profile)


# --------------------------------------------------------------------------------- orientation


def _file_orientation(picture: Image.Image, data: bytes) -> int:
    """EXIF orientation still to be undone (Pillow and OpenCV undo TIFF's themselves)."""
    if picture.format == "TIFF":
        return 1
    exif: bytes = picture.info.get("exif") or b""
    if picture.format == "PNG" and not exif:
        exif = _png_chunk(data, b"eXIf")
    return _orientation(exif)


def _png_chunk(data: bytes, wanted: bytes) -> bytes:
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == wanted:
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return b""


def _orientation(exif: bytes) -> int:
    """Read tag 0x0112 of an EXIF block; 1 when it is absent or the block is damaged."""
    if not exif:
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, first)
        for entry in range(min(count, 512)):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, first + 2 + 12 * entry)
            if tag == 0x0112 and kind == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (table in EXIF 2.32, section 4.6.4)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
