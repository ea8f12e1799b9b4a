# SPDX-License-Identifier: Apache-2.0
"""Where everything of a curation lies, and how a file gets there whole or not at all.

::

    raw/BATCH/00/000123.tar                        pictures as they were found
    raw/BATCH/00/000123.index.parquet              one row per picture: place, identity, origin
    records/STAGE/FINGERPRINT/BATCH/00/000123.parquet   what a stage says of each row
    banks/  calibrations/  probes/                 small things that stages and policies are given
    views/HASH/                                    what a policy keeps: rows, funnel, the policy

A shard is named ``BATCH/00/000123``; 1,000 shards share a folder. Nothing is ever deleted here: a
changed setting has another fingerprint, thus another folder.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitruvian.errors import InputError
from vitruvian.files import atomic

INDEX = ".index.parquet"
_PER_FOLDER = 1000
_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, order=True)
class ShardRef:
    """A raw shard: its name, and where it lies.

    Attributes:
        name: ``BATCH/00/000123``.
        root: folder of the curation.
    """

    name: str
    root: str

    @property
    def tar(self) -> Path:
        """The pictures."""
        return Path(self.root) / "raw" / f"{self.name}.tar"

    @property
    def index(self) -> Path:
        """The rows; the shard exists when this does."""
        return Path(self.root) / "raw" / f"{self.name}{INDEX}"


@dataclass(frozen=True)
class Tree:
    """The folder of a curation."""

    root: Path

    def shard(self, batch: str, number: int) -> ShardRef:
        """Return the shard of a number in a batch.

        Raises:
            InputError: if the batch's name cannot be that of a folder.
        """
        if not _BATCH.fullmatch(batch):
            raise InputError(f"a batch is called by letters, digits, - and _, got {batch!r}")
        return ShardRef(f"{batch}/{number // _PER_FOLDER:02d}/{number:06d}", str(self.root))

    def shards(self, part: tuple[int, int] = (0, 1)) -> list[ShardRef]:
        """Return the finished shards in the order of their names, or one of ``n`` shares of them.

        Args:
            part: (i, n): every n-th shard from the i-th on, counted from 0.

        Raises:
            InputError: if there is none at all.
        """
        raw = self.root / "raw"
        found = sorted(
            path.relative_to(raw).as_posix().removesuffix(INDEX)
            for path in raw.glob(f"*/*/*{INDEX}")
            if not path.name.startswith(".")
        )
        if not found:
            raise InputError(
                f"no raw shard in {self.root}: make some with  vitruvian curate pack SOURCE "
                f"--out {self.root}"
            )
        return [ShardRef(name, str(self.root)) for name in found[part[0] :: part[1]]]

    def records(self, stage: str, fingerprint: str) -> Path:
        """Return the folder of a stage's records."""
        return self.root / "records" / stage / fingerprint

    def record(self, stage: str, fingerprint: str, shard: ShardRef) -> Path:
        """Return the path of what a stage says of a shard."""
        return self.records(stage, fingerprint) / f"{shard.name}.parquet"


def parse_part(text: str) -> tuple[int, int]:
    """Read ``i/n``: the i-th of n shares, counted from 0.

    Raises:
        InputError: if it is not of that form, or i is not below n.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(f"--part {text}: wanted i/n with i from 0 to n - 1, such as 0/4")
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def committed(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary name; when the block succeeds the file is on the disk, then renamed.

    As `vitruvian.files.atomic`, and it also outlives a power cut: file and folder are flushed.
    """
    with atomic(path) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    flush_folder(path.parent)


@contextlib.contextmanager
def naming_full_disk(folder: Path) -> Generator[None, None, None]:
    """Turn a system's complaint about a full disk into an error that says what to do.

    Raises:
        InputError: then.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
        raise FullDiskError(
            f"the disk of {folder} is full ({free / 1e9:.1f} GB left): make room, then the same "
            "command goes on where it stopped"
        ) from error


class FullDiskError(InputError):
    """Nothing more can be written."""


def flush_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut; nothing where the system cannot."""
    with contextlib.suppress(OSError):  # Windows cannot open folders
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def listing(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
