# SPDX-License-Identifier: Apache-2.0
"""Samples of packed shards by number, from any thread or process."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitruvian.data.codec import decode
from vitruvian.data.shards import finished, index_path, read_index, read_note
from vitruvian.data.tars import split_members
from vitruvian.errors import InputError
from vitruvian.person import Sample

_OPEN_FILES = 64
_INDICES = 4096


class Shards:
    """The samples of one or many shards as a sequence, in the order of shards and rows.

    Only row counts are read when it is made; an index is read when a sample of its shard is first
    wanted. Every read is one ``pread`` of a known place, so threads share an object freely; a copy
    in another process opens its own files.
    """

    def __init__(
        self, path: str | Path | Sequence[str | Path], *, annotations: Collection[str] | None = None
    ) -> None:
        """Find the shards.

        Args:
            path: a folder of shards, one .tar, or several of either.
            annotations: names of the annotations to decode; ``None`` is all.

        Raises:
            InputError: if there is none, or a tar is not the one its index describes (missing, cut,
                another).
        """
        given = [path] if isinstance(path, str | Path) else list(path)
        self.annotations = None if annotations is None else frozenset(annotations)
        self.indices = [index for one in given for index in _find(Path(one))]
        counts: list[int] = []
        self.tars: list[Path] = []
        for index in self.indices:
            try:
                footer = pq.read_metadata(index)
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{index}: no intact index ({error}): pack it again") from error
            self.tars.append(_checked_tar(index, read_note(index, footer.metadata)))
            counts.append(footer.num_rows)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._prepare()

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._tables: OrderedDict[int, _Rows] = OrderedDict()
        self._files: OrderedDict[int, PlacedFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files and the lock behind: another process makes its own."""
        private = ("_lock", "_tables", "_files")
        return {key: value for key, value in self.__dict__.items() if key not in private}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Raises:
            InputError: if it cannot be read, naming shard and key.
        """
        return self._decoded(index, None)

    def of_person(self, index: int, person: int) -> Sample:
        """Return a sample with one of its people; maps of the others are not decoded.

        Raises:
            InputError: if it cannot be read, naming shard and key.
            IndexError: if it has fewer people.
        """
        return self._decoded(index, person)

    def _decoded(self, index: int, person: int | None) -> Sample:
        members = self.members(index)
        try:
            return decode(members, only=self.annotations, person=person, name=self.key(index))
        except InputError as error:
            raise InputError(f"{self.where(index)}: {error}") from error

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])

    def _rows(self, shard: int) -> "_Rows":
        with self._lock:
            rows = self._tables.get(shard)
            if rows is not None:
                self._tables.move_to_end(shard)
                return rows
        rows = _Rows(read_index(self.indices[shard])[0])
        with self._lock:
            self._tables[shard] = rows
            if len(self._tables) > _INDICES:
                self._tables.popitem(last=False)
        return rows

    def _read(self, shard: int, offset: int, length: int) -> bytes:
        with self._lock:
            file = self._files.get(shard)
            if file is None:
                file = self._files[shard] = PlacedFile(self.tars[shard])
                if len(self._files) > _OPEN_FILES:
                    # Closed by its last user: another thread may be reading from it right now.
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(shard)
        return file.read(offset, length)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        shard, row = self._place(index)
        return self._rows(shard).table["key"][row].as_py()

    def uid(self, index: int) -> bytes:
        """Return the 16 bytes that identify a sample's picture."""
        shard, row = self._place(index)
        return self._rows(shard).table["uid"][row].as_py()

    def where(self, index: int) -> str:
        """Return shard and key of a sample, for messages."""
        return f"{self.tars[self._place(index)[0]]}, {self.key(index)}"

    def members(self, index: int) -> dict[str, bytes]:
        """Return suffix → bytes of a sample.

        Raises:
            InputError: if the tar has something else at that place.
        """
        shard, row = self._place(index)
        rows = self._rows(shard)
        data = self._read(shard, int(rows.offset[row]), int(rows.length[row]))
        start = f"{rows.table['key'][row].as_py()}."
        try:
            if len(data) != rows.length[row]:
                raise InputError("the file ends before it")
            found = split_members(data)
            for name, _ in found:
                if not name.startswith(start):
                    raise InputError(f"the tar has {name!r} there")
        except InputError as error:
            raise InputError(
                f"{self.where(index)}: {error}: the tar is truncated, or its index belongs to "
                "another shard; pack or copy both again"
            ) from error
        return {name.removeprefix(start): content for name, content in found}

    def picture(self, index: int) -> bytes:
        """Return the picture file of a sample, reading nothing else."""
        shard, row = self._place(index)
        for member in self._rows(shard).table["members"][row].as_py():
            if member["suffix"] in ("jpg", "png", "webp"):
                return self._read(shard, member["offset"], member["length"])
        raise InputError(f"{self.where(index)}: no picture")

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has; reads all indices."""
        columns = [pq.read_table(index, columns=["people"])["people"] for index in self.indices]
        return np.concatenate([column.to_numpy() for column in columns]).astype(np.int32)

    def find(self, key: str) -> int:
        """Return the number of the sample with a key, or with a uid in hexadecimal.

        Raises:
            InputError: if there is none.
        """
        for shard in range(len(self.indices)):
            table = self._rows(shard).table
            for row, (one, uid) in enumerate(
                zip(table["key"].to_pylist(), table["uid"].to_pylist(), strict=True)
            ):
                if key in (one, uid.hex()):
                    return int(self._starts[shard]) + row
        raise InputError(f"no sample with the key {key!r} among {len(self)}")

    def provenance(self) -> list[dict[str, Any]]:
        """Return what the writer of each shard left on its origin."""
        return [read_index(index)[1]["provenance"] for index in self.indices]

    def verify(self) -> None:
        """Compare every tar with the SHA-256 in its index.

        Raises:
            InputError: for the first that differs.
        """
        for index, tar in zip(self.indices, self.tars, strict=True):
            with tar.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != read_index(index)[1]["sha256"]:
                raise InputError(f"{tar}: its content changed since it was packed: copy it again")


class _Rows:
    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.offset = table["offset"].to_numpy()
        self.length = table["length"].to_numpy()


class PlacedFile:
    """A file read at given places, by any number of threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at a place; fewer where the file ends before."""
        if not hasattr(os, "pread"):  # Windows
            with self._lock:
                self._file.seek(offset)
                return self._file.read(length)
        parts: list[bytes] = []
        while length:
            part = os.pread(self._file.fileno(), length, offset)
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()


def _find(path: Path) -> list[Path]:
    if path.suffix == ".tar":
        if not index_path(path).is_file():
            raise InputError(
                f"{path} has no index {index_path(path).name}: a tar from elsewhere, or one whose "
                "writing was interrupted; pack it with  vitruvian data pack"
            )
        return [index_path(path)]
    found = finished(path)
    if not found:
        what = "no finished shard in it" if path.is_dir() else "no such folder"
        raise InputError(f"{path}: {what}; pack one with  vitruvian data pack SOURCE --out {path}")
    return found


def _checked_tar(index: Path, note: dict[str, Any]) -> Path:
    """Return the tar of an index, if it is there and as long as the index says."""
    tar = index.with_name(index.name.removesuffix(".index.parquet") + ".tar")
    if note["tar"] != tar.name:
        raise InputError(
            f"{index} is the index of another shard ({note['tar']}), not of {tar.name}: give each "
            "tar the index it was written with"
        )
    try:
        size = tar.stat().st_size
    except OSError as error:
        raise InputError(f"{tar} is missing, its index is here: copy it too") from error
    if size < note["size"]:
        raise InputError(
            f"{tar} is truncated: {size} of {note['size']} bytes; copy or pack it again"
        )
    if size != note["size"]:
        raise InputError(
            f"{tar} has {size} bytes, its index describes another tar of {note['size']}: give each "
            "tar the index it was written with"
        )
    return tar
