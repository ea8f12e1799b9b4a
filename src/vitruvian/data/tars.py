# SPDX-License-Identifier: Apache-2.0
"""The few things we need of the tar format: headers to write, members to find."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from vitruvian.errors import InputError

BLOCK = 512
"""Headers and contents fill whole blocks."""
RECORD = 20 * BLOCK
"""The length of a tar is a multiple of this."""


def tar_header(name: str, length: int) -> bytes:
    """Return the USTAR header of a file, the same for everybody at any time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = length, 0o644
    try:
        return info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        raise InputError(f"{name!r} cannot be the name of a tar member ({error})") from error


def split_members(data: bytes) -> list[tuple[str, bytes]]:
    """Split a stretch of a tar that we wrote into (member name, content) pairs.

    Raises:
        InputError: if it is not made of whole USTAR members.
    """
    found: list[tuple[str, bytes]] = []
    at = 0
    while at < len(data):
        header = data[at : at + BLOCK]
        if header[257:263] != b"ustar\0":
            raise InputError("there is no tar member where the index has one")
        name = header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape")
        prefix = header[345:500].rstrip(b"\0").decode("utf-8", "surrogateescape")
        start = at + BLOCK
        end = start + int(header[124:135], 8)
        name = f"{prefix}/{name}" if prefix else name
        if end > len(data):
            raise InputError(f"{name} is cut")
        found.append((name, data[start:end]))
        at = start + -(-(end - start) // BLOCK) * BLOCK
    return found


def iterate_tar(path: str | Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset of the content, length) of a foreign tar's files, in order.

    Raises:
        InputError: if the tar is missing, no tar, or cut in the middle of a member.
    """
    try:
        size = Path(path).stat().st_size
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                if info.offset_data + info.size > size:
                    raise InputError(f"{path} is truncated: {info.name} is cut: fetch it again")
                yield info.name, info.offset_data, info.size
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: no intact tar ({error}): fetch or pack it again") from error
