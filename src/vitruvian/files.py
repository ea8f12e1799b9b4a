# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, and JSON that says which file was wrong."""

import contextlib
import hashlib
import json
import secrets
import tokenize
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from vitruvian.errors import InputError

DAMAGED = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # a flipped bit asks for a password or an unknown compression
    tokenize.TokenError,  # numpy reads headers of its first format as Python literals
)
"""What reading a damaged .npy or .npz raises, or one that is none."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Generator[Path, None, None]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    A reader never meets a half-written file: after an exception, a kill or a full disk ``path`` is
    what it was before. The temporary name keeps the suffix, since many writers choose by it.
    Missing folders are made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem[:80]}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path``, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any, *, indent: int | None = None) -> None:
    """Write ``value`` as UTF-8 JSON, atomically; NaN and infinity are refused, JSON has none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: if the file is missing or is not JSON, naming the file and the place.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # broken JSON and broken UTF-8
        raise InputError(f"{path}: not a JSON file ({error})") from error


def sha256(path: str | Path) -> str:
    """Return the checksum of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
