# SPDX-License-Identifier: Apache-2.0
"""Raw shards: tars of picture files exactly as they were found, with an index.

Members are called by their row and never by what they were called outside, so that no foreign name
matters; that name is in the index, with licence and origin.
"""

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vitruvian.curate.parquet import read_footer, write_table
from vitruvian.curate.tree import ShardRef, committed, flush_folder
from vitruvian.data.reader import PlacedFile
from vitruvian.data.shards import make_uid
from vitruvian.data.tars import BLOCK, RECORD, tar_header
from vitruvian.errors import InputError

FORMAT = "vitruvian raw 1"
COLUMNS = pa.schema(
    [
        ("row", pa.int32()),
        ("uid", pa.binary(16)),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("fault", pa.string()),
    ]
)
"""Columns of a raw index.

``uid`` is the first 16 bytes of the SHA-256 of the file; ``offset`` and ``length`` the place of the
file in the tar; ``source`` a path or address; ``licence`` as stated where it was found;
``fault`` why there is no whole file ("tar_tail": the tar it came from was cut in it).
"""
_FORGOTTEN = 3600.0  # seconds after which nobody writes to a temporary file any more
_SUFFIXES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)


def sniff(data: bytes) -> str:
    """Return the suffix that the first bytes of a file ask for; "bin" for what is no picture."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "bin")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that may be a picture.

    Attributes:
        data: its bytes; empty with a fault.
        source: path or address.
        licence: as stated where it was found, or "".
        fault: why there is no whole file, or "".
    """

    data: bytes
    source: str
    licence: str = ""
    fault: str = ""


class RawShard:
    """A raw shard being written; it appears with `commit`, index last, or not at all."""

    def __init__(self, shard: ShardRef) -> None:
        """Begin under a temporary name."""
        self.size = 0
        self.rows: list[dict[str, Any]] = []
        self._shard = shard
        self._hash = hashlib.sha256()
        shard.tar.parent.mkdir(parents=True, exist_ok=True)
        for left in shard.tar.parent.glob(f".{shard.tar.stem}.*.tar"):  # by a killed run
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _FORGOTTEN:
                    left.unlink()
        self._temporary = shard.tar.with_name(f".{shard.tar.stem}.{secrets.token_hex(4)}.tar")
        self._file: BinaryIO = self._temporary.open("wb")

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def add(self, found: Found) -> None:
        """Append a file."""
        row = len(self.rows)
        self._write(tar_header(f"{row:06d}.{sniff(found.data)}", len(found.data)))
        self.rows.append(
            {
                "row": row,
                "uid": make_uid(found.data or f"{found.source} {found.fault}"),
                "offset": self.size,
                "length": len(found.data),
                "source": found.source,
                "licence": found.licence,
                "fault": found.fault,
            }
        )
        self._write(found.data)
        self._write(bytes(-len(found.data) % BLOCK))

    def commit(self, provenance: Mapping[str, Any]) -> None:
        """Put tar and index in place; ``provenance`` is kept in the index, as JSON."""
        end = bytes(2 * BLOCK)
        self._write(end + bytes(-(self.size + len(end)) % RECORD))
        self._file.close()
        with committed(self._shard.tar) as target:
            self._temporary.replace(target)
        note = {
            "format": FORMAT,
            "size": self.size,
            "sha256": self._hash.hexdigest(),
            "provenance": dict(provenance),
        }
        table = pa.Table.from_pylist(self.rows, schema=COLUMNS)
        table = table.replace_schema_metadata({"vitruvian": json.dumps(note, sort_keys=True)})
        with committed(self._shard.index) as target:
            write_table(table, target)
        flush_folder(self._shard.tar.parent)

    def discard(self) -> None:
        """Remove what was written under the temporary name, if it is still there."""
        with contextlib.suppress(OSError):  # of a full disk, what is still to be written
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def read_raw_note(shard: ShardRef) -> dict[str, Any]:
    """Return the note of a raw index: format, size, sha256, provenance, and its number of rows.

    Raises:
        InputError: if it is no raw index.
    """
    try:
        footer = read_footer(shard.index)
        note = json.loads((footer.metadata or {}).get(b"vitruvian", b"{}"))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{shard.index}: no intact index ({error}): pack it again") from error
    if note.get("format") != FORMAT:
        raise InputError(
            f"{shard.index}: not the index of a raw shard: wanted one that  vitruvian curate pack  "
            "wrote"
        )
    return {**note, "rows": footer.num_rows}


def read_raw_index(shard: ShardRef, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a raw shard."""
    read_raw_note(shard)
    return pq.read_table(shard.index, columns=None if columns is None else list(columns))


def open_raw(shard: ShardRef) -> PlacedFile:
    """Open the tar of a shard, to be read at places of its index.

    Raises:
        InputError: if it is missing, or not the one the index describes.
    """
    size = read_raw_note(shard)["size"]
    try:
        found = Path(shard.tar).stat().st_size
    except OSError as error:
        raise InputError(f"{shard.tar} is missing, its index is here: copy it too") from error
    if found != size:
        raise InputError(
            f"{shard.tar} has {found} bytes, its index describes {size}: copy or pack it again"
        )
    return PlacedFile(shard.tar)
