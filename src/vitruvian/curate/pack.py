# SPDX-License-Identifier: Apache-2.0
"""Pack pictures from anywhere into raw shards; interrupted, the same call goes on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitruvian import __version__
from vitruvian.curate.raw import Found, RawShard, read_raw_note
from vitruvian.curate.sources import Place, download_failures, open_place, read_piece
from vitruvian.curate.tree import Tree
from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json


@dataclass(kw_only=True)
class PackReport:
    """What packing did.

    Attributes:
        kind: what the place was understood as.
        shards: written by this call.
        pictures: in them.
        before: shards of the batch and share that were there already.
        faults: files that could not be read, by fault.
        failed: addresses that were not downloaded, by img2dataset's status.
    """

    kind: str
    shards: int = 0
    pictures: int = 0
    before: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    failed: dict[str, int] = field(default_factory=dict[str, int])


def pack(
    source: Path,
    tree: Tree,
    *,
    batch: str = "main",
    licence: str = "",
    max_pictures: int = 4096,
    max_bytes: int = 2 << 30,
    part: tuple[int, int] = (0, 1),
    progress: Callable[[int], None] | None = None,
) -> PackReport:
    """Write the pictures of a place into the raw shards of a batch.

    The i-th of n shares takes every n-th piece (a tar, or 4,096 files) and writes shards i, i + n,
    …, so shares never meet. Called again it goes on after the last finished shard.

    Args:
        source: a folder, tar or parquet, see `vitruvian.curate.sources`.
        tree: the curation.
        batch: name of what comes from this place.
        licence: of pictures that do not bring their own.
        max_pictures: most files in a shard.
        max_bytes: most bytes in a shard.
        part: (i, n).
        progress: told how many files of the share are done.

    Raises:
        InputError: if the batch was packed from something else or with other limits.
    """
    if max_pictures < 1 or max_bytes < 1:
        raise InputError(f"shards need limits of 1 or more, got {max_pictures}, {max_bytes}")
    place = open_place(source)
    about: dict[str, Any] = {
        "kind": place.kind, "digest": place.digest, "licence": licence,
        "max_pictures": max_pictures, "max_bytes": max_bytes, "parts": part[1],
    }  # fmt: skip
    tree.shard(batch, 0)  # a batch's name is checked before anything is written
    _claim(tree.root / "raw" / batch / "batch.json", about, source)
    report = PackReport(kind=place.kind, failed=download_failures(place))
    number, done = part[0], 0
    while tree.shard(batch, number).index.exists():
        done = read_raw_note(tree.shard(batch, number))["provenance"]["next"]
        report.before += 1
        number += part[1]
    writer = _Writer(tree, batch, part, number, done, report)
    try:
        for found in _files(place, part, done):
            if writer.full(len(found.data), max_pictures, max_bytes):
                writer.commit()
            writer.add(found if found.licence else replace(found, licence=licence))
            if progress is not None:
                progress(writer.done)
        writer.commit()
    finally:
        writer.discard()
    return report


def _claim(marker: Path, about: dict[str, Any], source: Path) -> None:
    if marker.exists():
        before = read_json(marker)
        changed = sorted(key for key, value in about.items() if before.get(key) != value)
        if changed:
            raise InputError(
                f"{marker.parent} was packed from something else or otherwise "
                f"({', '.join(changed)} differ): give another --batch"
            )
        return
    write_json(marker, {**about, "source": str(source), "code": __version__}, indent=1)


def _files(place: Place, part: tuple[int, int], skip: int) -> Iterator[Found]:
    """Yield the files of a share, without the first ``skip``."""
    for piece in place.pieces[part[0] :: part[1]]:
        if piece.kind in ("folder", "paths") and skip >= len(piece.paths):
            skip -= len(piece.paths)
            continue
        for found in read_piece(piece):
            if skip:
                skip -= 1
            else:
                yield found


class _Writer:
    """The shards of one share, one after the other."""

    def __init__(
        self,
        tree: Tree,
        batch: str,
        part: tuple[int, int],
        number: int,
        done: int,
        report: PackReport,
    ) -> None:
        self.done = done
        self._tree, self._batch, self._part, self._number = tree, batch, part, number
        self._report = report
        self._shard: RawShard | None = None

    def full(self, size: int, most: int, limit: int) -> bool:
        shard = self._shard
        return shard is not None and (len(shard.rows) >= most or shard.size + size > limit)

    def add(self, found: Found) -> None:
        if self._shard is None:
            self._shard = RawShard(self._tree.shard(self._batch, self._number))
        self._shard.add(found)
        self.done += 1
        if found.fault:
            faults = self._report.faults
            faults[found.fault] = faults.get(found.fault, 0) + 1

    def commit(self) -> None:
        if self._shard is None:
            return
        self._shard.commit(
            {
                "batch": self._batch,
                "part": list(self._part),
                "next": self.done,
                "code": __version__,
            }
        )
        self._report.shards += 1
        self._report.pictures += len(self._shard.rows)
        self._shard = None
        self._number += self._part[1]

    def discard(self) -> None:
        if self._shard is not None:
            self._shard.discard()
