# SPDX-License-Identifier: Apache-2.0
"""A stage: one kind of question asked of every picture, knowing nothing of shards and thresholds.

A stage is a frozen value that says what it needs and which columns it adds; ``open`` does the heavy
set-up once per process and returns a function of a batch of pictures. Answers depend on the picture
and the stage alone, not on which other stages run beside it: copies of a picture are always made
the same way, from one decoded base of at most `BASE` pixels.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian.decode import ImageHeader, read_reduced
from vitruvian.files import sha256
from vitruvian.image import resize

BASE = 1024
"""Longer side of the decoded copy that all smaller ones are made from, in pixels."""
COPIES = f"{BASE}, 2"
"""How copies are made: their largest side and a number that changes with their making; part of the
identity of every stage that looks at one."""

COMMON = pa.schema(
    [
        ("row", pa.int32()), ("status", pa.string()), ("error", pa.string()),
        ("gated_by", pa.string()), ("ms", pa.float32()),
    ]
)  # fmt: skip
"""Columns of every record: row of the shard, how it went, why not, what kept it from being asked in
a cascade, milliseconds it took.

``status`` is "ok" (perhaps "ok:…", with a remark), "bad:…" of a picture that is no good,
"skipped" of a stage that was not asked because of that, "gated" of one that a cascade did not ask,
"error" of a stage that failed on the picture, "crash" or "timeout" where its process died or hung
over it, and "transient:…" of what may go better another time.
"""
TIMING = "ms"
"""The one column that differs between equal runs."""


@dataclass
class Picture:
    """One row of a shard as stages see it.

    Attributes:
        row: of the shard.
        data: the file; where nobody wants pixels perhaps only its beginning.
        source: where it was found, a path or an address.
        header: what its first bytes say; ``None`` if they say nothing.
        status: as in the record of the stage integrity.
        error: why it is no good.
        base: RGB uint8 copy, upright, its longer side at most `BASE`; ``None`` if not decoded.
        decode_ms: milliseconds that took.
        before: what the stage upstream said of it.
    """

    row: int
    data: bytes
    source: str = ""
    header: ImageHeader | None = None
    status: str = "ok"
    error: str | None = None
    base: NDArray[np.uint8] | None = None
    decode_ms: float = 0.0
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _copies: dict[int, NDArray[np.uint8]] = field(default_factory=dict[int, Any])

    @property
    def sound(self) -> bool:
        """Whether it can be looked at."""
        return self.status.startswith("ok")

    def pixels(self, side: int) -> NDArray[np.uint8]:
        """Return an RGB uint8 copy whose longer side is at most ``side`` pixels, upright.

        Smaller pictures stay as they are. Beyond `BASE` the file is decoded again, in whole.
        """
        if side not in self._copies:
            assert self.base is not None
            start = self.base if side <= BASE else read_reduced(self.data, side)
            self._copies[side] = copied(start, side)
        return self._copies[side]


def copied(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a copy to look at, ``side`` pixels along its longer side; never enlarged.

    Down to a half the two nearest pixels are mixed, where averaging by area costs five times as
    much and shows no more; in whole numbers, so that the copy is the same on every machine.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= side or longer > 2 * side:
        return shrunk(pixels, side)
    size = max(1, round(width * side / longer)), max(1, round(height * side / longer))
    return cast("NDArray[np.uint8]", cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR_EXACT))


def shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a picture averaged down to ``side`` pixels along its longer side, never enlarged."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return pixels
    size = max(1, round(height * side / longer)), max(1, round(width * side / longer))
    return resize(pixels, size, "area")


Row = Mapping[str, Any]
Scorer = Callable[[Sequence[Picture]], Sequence[Row]]
"""Answers for a batch of sound pictures: as many rows as pictures, with the stage's columns."""


class Stage(Protocol):
    """One scorer; see the module text."""

    @property
    def name(self) -> str:
        """What it is called on the command line and in paths; prefix of its columns."""
        ...

    @property
    def decodes(self) -> bool:
        """Whether it looks at pixels."""
        ...

    @property
    def upstream(self) -> "Stage | None":
        """The stage whose answers it builds on."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The columns it adds to `COMMON`."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on, as JSON: version, parameters, weights, libraries."""
        ...

    def open(self) -> Scorer:
        """Do the heavy set-up, once per process."""
        ...


def one_at_a_time(stage: Stage) -> bool:
    """Tell whether a stage takes seconds for a picture and gains nothing from batches.

    Such a stage says so by an attribute ``one_at_a_time``: every picture then has a breadcrumb of
    its own, so that a slow machine is not taken for a hung process.
    """
    return getattr(getattr(stage, "inner", stage), "one_at_a_time", False)


def fingerprint(stage: Stage) -> str:
    """Return 12 hexadecimal digits that change whenever a stage's answers may."""
    text = json.dumps({"name": stage.name, **stage.identity()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, such as weights; read once while it stays as it is."""
    about = path.stat()
    return _file_digest(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed: int) -> str:
    del size, changed
    return sha256(path)
