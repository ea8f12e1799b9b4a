# SPDX-License-Identifier: Apache-2.0
"""Turn any source into shards: in order, in parallel, and going on after an interruption."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2

from vitruvian.data.codec import encode
from vitruvian.data.shards import ShardWriter, finished, read_index
from vitruvian.data.source import Source
from vitruvian.data.workers import worker_context
from vitruvian.errors import InputError, VitruvianError

_Made = tuple[int, dict[str, bytes] | str]


@dataclass(kw_only=True)
class PackReport:
    """What packing did.

    Attributes:
        folder: where the shards are.
        samples: how many they hold.
        new: how many of them this call added.
        shards: tars written by this call.
        failed: (where, why) of samples left out by this call.
    """

    folder: Path
    samples: int = 0
    new: int = 0
    shards: list[Path] = field(default_factory=list[Path])
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def pack(
    source: Source,
    folder: str | Path,
    *,
    prefix: str = "shard",
    quality: int | None = None,
    max_samples: int = 4096,
    max_bytes: int = 512 << 20,
    workers: int = 0,
    on_bad: Literal["raise", "skip"] = "raise",
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> PackReport:
    """Write the samples of a source into shards, in its order.

    Called again after an interruption with the same arguments, it goes on after the last finished
    shard. Picture files are kept as they are (JPEG, PNG, WebP).

    Args:
        source: what to pack.
        folder: where the shards go.
        prefix: beginning of their names.
        quality: JPEG quality for pictures without a file that can be kept; ``None`` is PNG.
        max_samples: most samples in a shard.
        max_bytes: most bytes in a shard.
        workers: processes that read and encode; 0 does it here.
        on_bad: raise at a sample that cannot be read, or leave it out and report it.
        settings: how the source was understood; kept in the shards, and compared when going on.
        progress: told the number of each sample that is done.

    Raises:
        InputError: for a sample that cannot be read, or if the folder holds shards that were packed
            from something else or with other settings.
    """
    provenance = {
        "settings": dict(settings or {}),
        "quality": quality,
        "samples": len(source),
        "source": _digest(source),
    }
    writer = ShardWriter(
        folder,
        prefix=prefix,
        max_samples=max_samples,
        max_bytes=max_bytes,
        provenance=provenance,
    )
    for index in finished(folder, prefix):
        before = read_index(index)[1]["provenance"]
        if before != provenance:
            changed = [key for key in provenance if before.get(key) != provenance[key]]
            raise InputError(
                f"{index}: packed from something else or otherwise ({', '.join(changed)} "
                "differ): give another folder or prefix, or delete these shards first"
            )
    report = PackReport(folder=Path(folder), samples=writer.count)
    numbers = range(writer.position, len(source))
    with writer:
        for number, made in _encoded(source, numbers, quality, workers):
            if isinstance(made, str):
                if on_bad == "raise":
                    raise InputError(made)
                report.failed.append((source.where(number), made))
            else:
                writer.add_members(made, position=number)
                report.new += 1
            if progress is not None:
                progress(number)
    report.samples, report.shards = writer.count, writer.paths
    return report


def _digest(source: Source) -> str:
    places = hashlib.sha256()
    for number in range(len(source)):
        places.update(source.where(number).encode())
    return places.hexdigest()[:16]


def _encoded(source: Source, numbers: range, quality: int | None, workers: int) -> Iterator[_Made]:
    if workers < 1 or len(numbers) < 2:
        for number in numbers:
            yield _encode(source, number, quality)
        return
    context = worker_context(__name__)
    with context.Pool(workers, _begin, (source, quality)) as pool:
        yield from pool.imap(_encode_one, numbers, chunksize=4)


def _encode(source: Source, number: int, quality: int | None) -> _Made:
    try:
        return number, encode(source[number], picture=source.picture(number), quality=quality)
    except VitruvianError as error:
        where, text = source.where(number), str(error)
        return number, text if where in text else f"{where}: {text}"


_work: tuple[Source, int | None] | None = None


def _begin(source: Source, quality: int | None) -> None:
    global _work
    _work = source, quality
    cv2.setNumThreads(0)


def _encode_one(number: int) -> _Made:
    assert _work is not None
    source, quality = _work
    return _encode(source, number, quality)
