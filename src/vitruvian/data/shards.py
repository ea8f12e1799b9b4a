# SPDX-License-Identifier: Apache-2.0
"""Shards: plain USTAR tars with a Parquet index beside each, written whole or not at all.

::

    train-000000.tar              members in the order of the samples: KEY.json, KEY.jpg, …
    train-000000.index.parquet    one row per sample: uid, key, shard, offset, length, members, …

Any tool opens the tar (tar, webdataset, DALI); the index gives every sample in one read at a known
place. A shard exists when its index does: the tar is renamed into place first, then the index, and
both are on the disk before. Equal samples give byte-identical tars, whoever writes them.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from vitruvian.data.codec import encode, read_json_member
from vitruvian.data.tars import BLOCK, RECORD, tar_header
from vitruvian.errors import InputError
from vitruvian.person import Sample

FORMAT = "vitruvian shard 1"
INDEX = ".index.parquet"
"""What the index's name has in place of ".tar"."""
MEMBER = pa.struct([("suffix", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
COLUMNS = pa.schema(
    [
        ("uid", pa.binary(16)),
        ("key", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("people", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("position", pa.int64()),
        ("members", pa.list_(MEMBER)),
    ]
)
"""Columns of an index.

``offset`` and ``length`` are the bytes of the tar from the sample's first header to the end of its
last member; ``members`` the places of the contents alone. ``uid`` is the first 16 bytes of the
SHA-256 of the picture file (or of what the writer was given). ``position`` is the sample's number
in the source it was packed from.
"""
_LONGEST_KEY = 80


def make_uid(content: bytes | str) -> bytes:
    """Return the 16 bytes that stand for a picture file, or for any other identity in words."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).digest()[:16]


def make_key(name: str) -> str:
    """Turn a name into a key: what is no letter, digit, - _ or / becomes %XX; long ones are cut.

    Keys have no dots, since tools for webdataset tars take what follows the first dot as suffix.
    """
    parts = [quote(part, safe="-_").replace(".", "%2E") for part in name.split("/")]
    key = "/".join(part for part in parts if part)
    if len(key) > _LONGEST_KEY:
        key = f"{key[:40].rstrip('/%')}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"
    return key


# ------------------------------------------------------------------------------------ writing


class _Shard:
    """One shard being written under temporary names."""

    def __init__(self, path: Path, provenance: Mapping[str, Any] | None) -> None:
        self.path = path
        self.size = 0
        self.rows: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._provenance = dict(provenance or {})
        self._hash = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        self._file: BinaryIO = self._temporary.open("wb")

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def add(
        self, members: Mapping[str, bytes], key: str | None, uid: bytes | None, position: int
    ) -> str:
        content = read_json_member(members)
        if content is None:
            raise InputError("members without our .json: make them with vitruvian.data.codec")
        uid = make_uid(members[content["picture"]]) if uid is None else uid
        if len(uid) != 16:
            raise InputError(f"a uid has 16 bytes, got {len(uid)}: make_uid makes them")
        key = make_key(content["name"]) if key is None else key
        if not key or "." in key:
            raise InputError(
                f"a key is a word without dots, got {key!r}: name the sample, or use make_key"
            )
        if key in self._keys:
            raise InputError(f"{self.path}: the key {key!r} was added before: keys are unique")
        self._keys.add(key)
        first = end = self.size
        places: list[dict[str, Any]] = []
        for suffix, data in members.items():
            self._write(tar_header(f"{key}.{suffix}", len(data)))
            places.append({"suffix": suffix, "offset": self.size, "length": len(data)})
            self._write(data)
            end = self.size
            self._write(bytes(-len(data) % BLOCK))
        row = {
            "uid": uid,
            "key": key,
            "shard": self.path.name,
            "offset": first,
            "length": end - first,
            "people": len(content["people"]),
            "height": content["size"][0],
            "width": content["size"][1],
            "position": position,
            "members": places,
        }
        self.rows.append(row)
        return key

    def commit(self) -> None:
        end = bytes(2 * BLOCK)
        self._write(end + bytes(-(self.size + len(end)) % RECORD))
        _sync(self._file)
        self._file.close()
        note = {
            "format": FORMAT,
            "tar": self.path.name,
            "size": self.size,
            "sha256": self._hash.hexdigest(),
            "provenance": self._provenance,
        }
        schema = COLUMNS.with_metadata({"vitruvian": json.dumps(note, sort_keys=True)})
        index = index_path(self.path)
        temporary = index.with_name(f".{index.name}.{secrets.token_hex(4)}")
        try:
            table = pa.Table.from_pylist(self.rows, schema=schema)
            pq.write_table(table, temporary, compression="zstd")
            with temporary.open("rb+") as file:
                _sync(file)
            # An index never stands beside a tar it does not describe: first away with the old.
            index.unlink(missing_ok=True)
            self._temporary.replace(self.path)
            temporary.replace(index)
        finally:
            temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # Windows cannot open folders
            folder = os.open(index.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def index_path(tar: Path) -> Path:
    """Return the path of the index that belongs to a tar."""
    return tar.with_name(tar.name.removesuffix(".tar") + INDEX)


class ShardWriter:
    """Writes samples into shards of limited size: ``PREFIX-000000.tar``, ``PREFIX-000001.tar``, ….

    Use it in a ``with`` block: when that ends well the last shard is committed too, after an error
    the unfinished one is thrown away and the finished ones stay. Opened on a folder that holds
    finished shards of the same prefix it goes on after them; ``count`` says how many samples they
    hold and ``position`` where in the source to go on.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        prefix: str = "shard",
        max_samples: int = 4096,
        max_bytes: int = 512 << 20,
        provenance: Mapping[str, Any] | None = None,
        first: int | None = None,
    ) -> None:
        """Prepare to write; nothing is created before the first sample.

        Args:
            folder: where the shards go.
            prefix: beginning of their names.
            max_samples: a shard is full with so many samples,
            max_bytes: or when the next one would make its tar larger than this.
            provenance: what to remember of the origin (recipe, seed, versions), as JSON.
            first: number of the first shard; ``None`` goes on after the finished ones. Give it when
                several processes write one folder, each its own numbers.

        Raises:
            InputError: for limits below 1, or a prefix that is no plain word.
        """
        if max_samples < 1 or max_bytes < 1:
            raise InputError(f"shards need limits of 1 or more, got {max_samples}, {max_bytes}")
        if not prefix or not prefix.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"a shard prefix is letters, digits, - and _, got {prefix!r}")
        self.folder, self.prefix = Path(folder), prefix
        self.paths: list[Path] = []
        """Tars committed by this writer."""
        self.count, self.position = 0, 0
        self._limits = max_samples, max_bytes
        self._provenance = dict(provenance or {})
        self._shard: _Shard | None = None
        if first is None:
            done = finished(self.folder, prefix)
            self._number = int(done[-1].name.removesuffix(INDEX)[-6:]) + 1 if done else 0
            for index in done:
                positions = read_index(index)[0]["position"].to_numpy()
                self.count += len(positions)
                self.position = max(self.position, int(positions.max()) + 1)
        else:
            self._number = first

    def add(
        self,
        sample: Sample,
        *,
        key: str | None = None,
        picture: bytes | None = None,
        quality: int | None = None,
        uid: bytes | None = None,
        position: int | None = None,
    ) -> str:
        """Store a sample.

        Args:
            sample: what to store.
            key: its name in the shard, by default made from ``sample.name``.
            picture: the file its pixels were read from, see `vitruvian.data.codec.encode`.
            quality: JPEG quality for pixels without a file; ``None`` is PNG.
            uid: 16 bytes of identity, by default those of the picture file.
            position: its number in the source, by default one more than the last.

        Returns:
            The key.
        """
        members = encode(sample, picture=picture, quality=quality)
        return self.add_members(members, key=key, uid=uid, position=position)

    def add_members(
        self,
        members: Mapping[str, bytes],
        *,
        key: str | None = None,
        uid: bytes | None = None,
        position: int | None = None,
    ) -> str:
        """Store members made by `vitruvian.data.codec.encode`, perhaps by another process."""
        size = sum(len(data) + 2 * BLOCK for data in members.values())
        full, large = self._limits
        shard = self._shard
        if shard is not None and (len(shard.rows) >= full or shard.size + size > large):
            self.flush()
            shard = None
        if shard is None:
            path = self.folder / f"{self.prefix}-{self._number:06d}.tar"
            shard = self._shard = _Shard(path, self._provenance)
        position = self.position if position is None else position
        key = shard.add(members, key, uid, position)
        self.count += 1
        self.position = position + 1
        return key

    def flush(self) -> None:
        """Commit the shard that is being written, if any; the next sample begins another."""
        if self._shard is not None:
            self._shard.commit()
            self.paths.append(self._shard.path)
            self._shard = None
            self._number += 1

    def discard(self) -> None:
        """Throw away the shard that is being written, if any."""
        if self._shard is not None:
            self._shard.discard()
            self._shard = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.discard()


def write_shard(
    path: str | Path,
    samples: Iterable[Sample],
    *,
    quality: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write one shard, whole or not at all: the unit of work of a renderer.

    Args:
        path: the .tar; its index gets the name beside it. An existing one is replaced.
        samples: what to store, with names that are unique in the shard.
        quality: JPEG quality of the pictures; ``None`` is PNG.
        provenance: what to remember of the origin, as JSON.

    Raises:
        InputError: if the path does not end in .tar, or there is no sample.
    """
    target = Path(path)
    if target.suffix != ".tar":
        raise InputError(f"{target}: a shard's name ends in .tar")
    shard = _Shard(target, provenance)
    try:
        for position, sample in enumerate(samples):
            shard.add(encode(sample, quality=quality), None, None, position)
        if not shard.rows:
            raise InputError(f"{target}: no samples to write")
        shard.commit()
    finally:
        shard.discard()
    return target


def finished(folder: str | Path, prefix: str | None = None) -> list[Path]:
    """Return the indices of the finished shards in a folder, in the order of their names."""
    pattern = f"{prefix}-[0-9]*{INDEX}" if prefix else f"*{INDEX}"
    return sorted(p for p in Path(folder).glob(pattern) if not p.name.startswith("."))


# ------------------------------------------------------------------------------------ reading


def read_index(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Read an index and its note (format, tar, size, sha256, provenance).

    Raises:
        InputError: if it is no index of ours.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: no intact index ({error}): pack the shard again") from error
    return table, read_note(path, table.schema.metadata)


def read_note(path: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """Return the note in a Parquet file's metadata, or say that it is not an index."""
    note = json.loads((metadata or {}).get(b"vitruvian", b"{}"))
    if note.get("format") != FORMAT:
        raise InputError(
            f"{path}: a Parquet file, but no index of a shard ({note.get('format', 'no note')}); "
            f"wanted {FORMAT!r}"
        )
    return note
