# SPDX-License-Identifier: Apache-2.0
"""One shard, from its tar to one record per stage: the pure function that every engine runs."""

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitruvian.curate.cascade import GATED, gated_by
from vitruvian.curate.raw import open_raw, read_raw_index
from vitruvian.curate.records import read_columns, schema_of, write_record
from vitruvian.curate.stage import (
    BASE,
    Picture,
    Row,
    Scorer,
    Stage,
    copied,
    fingerprint,
    one_at_a_time,
)
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.data.reader import PlacedFile
from vitruvian.decode import MAX_PIXELS, probe, read_reduced
from vitruvian.errors import ImageError

CHUNK = 32
"""Pictures that stages are given at a time; fixed, so that batches are the same in every run."""
MAX_SIDE = 16_384
"""Longest side taken, in pixels; more is a map or a decompression bomb, no photograph of people."""
DECODE = "decode"
"""What a breadcrumb says while a picture is read and decoded."""
OPENING = "opening"
"""What a breadcrumb says while stages are set up."""

Beat = Callable[[str, int, int], None]
"""(what, first row, last row + 1): dropped before every step that could kill or hang a process."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard to score.

    Attributes:
        shard: which.
        stages: names of the stages whose records are wanted.
        poison: (what, row) → "crash" or "timeout": not to be tried again.
        careful: (what, first row) of batches to take one picture at a time.
    """

    shard: ShardRef
    stages: tuple[str, ...]
    poison: Mapping[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    careful: frozenset[tuple[str, int]] = frozenset()


def score_shard(
    task: Task, stages: Sequence[Stage], scorers: Mapping[str, Scorer], beat: Beat
) -> int:
    """Write the records of a shard; returns how many rows it has.

    Args:
        task: which shard, and which stages.
        stages: all stages of the run, upstream ones first.
        scorers: what ``open`` returned, by the name of the stage.
        beat: drops a breadcrumb.

    Raises:
        InputError: if the shard is damaged.
        OSError: if a record cannot be written.
    """
    started, shard = time.time(), task.shard
    wanted = [stage for stage in stages if stage.name in task.stages]
    index = read_raw_index(shard).to_pylist()
    tar = open_raw(shard)
    before = {stage.name: _upstream(stage, task) for stage in wanted}
    rows: dict[str, list[Row]] = {stage.name: [] for stage in wanted}
    pixels = any(stage.decodes for stage in wanted)
    for first in range(0, len(index), CHUNK):
        chunk = [
            _look(_file(tar, one, pixels), one, pixels, task, beat)
            for one in index[first : first + CHUNK]
        ]
        for stage in wanted:
            known = before[stage.name]
            if stage.upstream is not None:
                answers = rows[stage.upstream.name] if known is None else known
                for picture in chunk:
                    picture.before = answers[picture.row]
            rows[stage.name] += _score(stage, scorers[stage.name], chunk, task, beat)
    beat("commit", len(index), len(index))
    tree = Tree(Path(shard.root))
    for stage in wanted:
        path = tree.record(stage.name, fingerprint(stage), shard)
        write_record(path, stage, shard, rows[stage.name], started)
    return len(index)


def _upstream(stage: Stage, task: Task) -> list[dict[str, Any]] | None:
    """Return what is on the disk of the stage upstream; ``None`` if it runs in this pass."""
    upper = stage.upstream
    if upper is None or upper.name in task.stages:
        return None
    tree = Tree(Path(task.shard.root))
    return read_columns(tree.record(upper.name, fingerprint(upper), task.shard)).to_pylist()


# ---------------------------------------------------------------------------------- pictures


def _file(tar: PlacedFile, entry: Mapping[str, Any], pixels: bool) -> bytes:
    """Read a file; of a JPEG only its header, where that is enough."""
    offset, length = entry["offset"], entry["length"]
    if not pixels and length > _HEAD:
        head = tar.read(offset, _HEAD)
        with contextlib.suppress(ImageError):
            if head.startswith(b"\xff\xd8\xff") and probe(head):
                return head
    return tar.read(offset, length)


def _look(data: bytes, entry: Mapping[str, Any], pixels: bool, task: Task, beat: Beat) -> Picture:
    """Read the header of a file, and decode it if somebody wants pixels."""
    row = int(entry["row"])
    picture = Picture(row=row, data=data, source=entry["source"])
    verdict = task.poison.get((DECODE, row))
    if entry["fault"] or verdict:
        status = f"bad:{entry['fault'] or verdict}"
        return replace(picture, status=status, error=None if verdict else entry["source"])
    beat(DECODE, row, row + 1)
    start = time.perf_counter()
    try:
        examine(picture, pixels=pixels)
    except ImageError as error:
        picture.status, picture.error = f"bad:{fault_of(str(error), data)}", str(error)
    except MemoryError:
        picture.status, picture.error = "transient:memory", "not enough memory to decode it"
    picture.decode_ms = (time.perf_counter() - start) * 1000
    return picture


def examine(picture: Picture, *, pixels: bool) -> None:
    """Fill in what the file says: header, remarks, and its base copy if ``pixels``.

    Raises:
        ImageError: if it is no good.
    """
    header = probe(picture.data)
    if max(header.width, header.height) > MAX_SIDE or header.width * header.height > MAX_PIXELS:
        raise ImageError(
            f"the picture is too large: {header.width}×{header.height}, the limits are {MAX_SIDE} "
            f"per side and {MAX_PIXELS} pixels"
        )
    picture.header = header
    if pixels:
        picture.base = copied(read_reduced(picture.data, BASE), BASE)
        if header.format == "jpeg" and _endless(picture.data):
            picture.status = "ok:missing_eoi"
    if header.animated:
        picture.status = "ok:animated"


def _endless(jpeg: bytes) -> bool:
    """Whether the end marker of a JPEG is missing.

    Entropy-coded data never holds a marker (ITU T.81, B.1.1.5), so the last end of a whole file
    comes after its last start of a scan.
    """
    return jpeg.rfind(b"\xff\xd9") < jpeg.rfind(b"\xff\xda")


_HEAD = 1 << 14  # bytes that hold the header of most JPEGs
_FAULTS = ("too large", "truncated", "corrupt")
_ZEROS = 64  # zero bytes at the end of a file that was only reserved, never filled


def fault_of(text: str, data: bytes = b"") -> str:
    """Return the class of a decoder's complaint: too_large, truncated, corrupt, or format."""
    found = re.search(rf"\bis ({'|'.join(_FAULTS)})", text)
    if found is None:
        return "format"
    # libjpeg-turbo says "Corrupt JPEG data: premature end of data segment" of both
    if "Corrupt JPEG data" in text:
        return "truncated" if data.endswith(bytes(_ZEROS)) or _endless(data) else "corrupt"
    return found[1].replace(" ", "_")


# ------------------------------------------------------------------------------------ scores


def _score(
    stage: Stage, scorer: Scorer, chunk: Sequence[Picture], task: Task, beat: Beat
) -> list[Row]:
    """Return one row per picture of a chunk, whatever happens."""
    answers: dict[int, Row] = {}
    asked: list[Picture] = []
    for picture in chunk:
        verdict = task.poison.get((stage.name, picture.row))
        if stage.name == "integrity":
            asked.append(picture)
        elif not (picture.sound if stage.decodes else picture.header):
            status = picture.status if picture.status.startswith("transient") else "skipped"
            answers[picture.row] = {"status": status}
        elif gate := gated_by(stage, picture):
            answers[picture.row] = {"status": GATED, "gated_by": gate}
        elif verdict:
            answers[picture.row] = {"status": verdict}
        else:
            asked.append(picture)
    alone = one_at_a_time(stage) or (stage.name, chunk[0].row) in task.careful
    groups = [[picture] for picture in asked] if alone else [asked] if asked else []
    for group in groups:
        first, last = (group[0].row, group[-1].row + 1) if alone else _span(chunk)
        beat(stage.name, first, last)
        answers |= _asked(stage, scorer, group, beat)
    empty = dict.fromkeys(schema_of(stage).names)
    return [{**empty, **answers[p.row], "row": p.row} for p in chunk]


def _span(chunk: Sequence[Picture]) -> tuple[int, int]:
    return chunk[0].row, chunk[-1].row + 1


def _asked(stage: Stage, scorer: Scorer, group: Sequence[Picture], beat: Beat) -> dict[int, Row]:
    """Ask a stage about a group; if that fails, about each picture alone."""
    start = time.perf_counter()
    try:
        found = scorer(group)
    except Exception as error:
        if len(group) > 1:
            alone: dict[int, Row] = {}
            for picture in group:
                beat(stage.name, *_span(group))
                alone |= _asked(stage, scorer, [picture], beat)
            return alone
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            row = {"status": "transient:memory", "error": str(error)[:300]}
        else:
            row = {"status": "error", "error": f"{type(error).__name__}: {error}"[:300]}
        return {group[0].row: row}
    each = (time.perf_counter() - start) * 1000 / len(group)
    if len(found) != len(group):
        raise AssertionError(f"{stage.name}: {len(found)} rows for {len(group)} pictures")
    return {
        picture.row: {"status": "ok", "ms": each, **answer}
        for picture, answer in zip(group, found, strict=True)
    }
