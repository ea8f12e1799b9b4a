# SPDX-License-Identifier: Apache-2.0
"""PNG as a container of measurements: exact 8- and 16-bit values, and text that says what they are.

Picture libraries cut 16-bit colours or drop the text; here values come back as they went in.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitruvian.errors import InputError
from vitruvian.files import write_bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33  # signature and IHDR


def write(
    path: str | Path,
    values: NDArray[Any],
    text: Mapping[str, str],
    palette: NDArray[np.uint8] | None = None,
) -> None:
    """Write values as they are, atomically.

    Args:
        path: the .png file.
        values: uint8 or uint16, (H, W) or RGB (H, W, 3).
        text: keyword → text, stored as tEXt; both in Latin-1, keywords up to 79 letters.
        palette: (256, 3) uint8 RGB: values (H, W) uint8 are then indices into it.
    """
    if palette is not None:
        picture = Image.fromarray(np.ascontiguousarray(values))
        picture.putpalette(palette.tobytes())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data = buffer.getvalue()
    else:
        order = values if values.ndim == 2 else values[..., ::-1]
        done, encoded = cv2.imencode(".png", np.ascontiguousarray(order))
        if not done:
            raise InputError(f"OpenCV cannot write {values.dtype} {values.shape} as PNG")
        data = encoded.tobytes()
    chunks = b"".join(
        _chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1"))
        for key, value in text.items()
    )
    write_bytes(path, data[:_HEADER_END] + chunks + data[_HEADER_END:])


def read(path: str | Path) -> tuple[NDArray[Any], dict[str, str]]:
    """Read the stored values and the text of a PNG file.

    Returns:
        uint8 or uint16 values, (H, W) (grey or palette indices) or (H, W, 3 or 4) RGB(A); and its
        tEXt entries.

    Raises:
        InputError: if the file is missing, no PNG, or damaged (every checksum is verified).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    text: dict[str, str] = {}
    for kind, body in _chunks(data, path):
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            text[key.decode("latin-1")] = value.decode("latin-1")
    if data[25] == 3:  # colour type "palette": OpenCV would return its colours
        with Image.open(io.BytesIO(data)) as picture:
            return np.array(picture), text
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"{path}: a damaged PNG file")
    if values.ndim == 3:
        order = cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        values = cv2.cvtColor(values, order)
    return values, text


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def _chunks(data: bytes, path: str | Path) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise InputError(f"{path}: no PNG file, it begins with {data[:8]!r}")
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if check != struct.pack(">I", zlib.crc32(kind + body)):
            break
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length
    raise InputError(f"{path}: a damaged or truncated PNG file")
