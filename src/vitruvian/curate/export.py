# SPDX-License-Identifier: Apache-2.0
"""From a view to training shards in an order that has forgotten where pictures came from.

Rows are sorted by a hash of (seed, uid), and every training shard gathers its stretch of them from
all raw shards. Without that, neighbours of a crawl (one site, one video) stay neighbours in every
batch. Files are kept as they were found unless they are no JPEG, PNG or WebP, or larger than asked.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.curate.columns import halves
from vitruvian.curate.raw import open_raw
from vitruvian.curate.scale import at_original_size
from vitruvian.curate.stage import shrunk
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.curate.view import read_view, view_rows
from vitruvian.data.reader import PlacedFile
from vitruvian.data.shards import ShardWriter, finished, make_uid, read_index
from vitruvian.data.workers import worker_context
from vitruvian.errors import InputError
from vitruvian.files import write_json
from vitruvian.person import Person, Sample

_KEPT = ("jpeg", "png", "webp")
_QUALITY = 92  # of pictures that have to be written anew


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How a view becomes training shards.

    Attributes:
        view: digest of the view.
        seed: of the order.
        per_shard: pictures in a shard.
        max_side: longer side above which pictures are made smaller; 0 for never.
    """

    view: str
    seed: int = 0
    per_shard: int = 4096
    max_side: int = 0


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One training shard to write: plain values, for another process."""

    settings: ExportSettings
    number: int
    root: str
    out: str
    prefix: str
    rows: pa.Table


@dataclass(kw_only=True)
class ExportReport:
    """What an export did.

    Attributes:
        pictures: in all shards.
        shards: of the set.
        new: of these, written by this call.
        licences: licence → pictures.
    """

    pictures: int
    shards: int
    new: int = 0
    licences: Mapping[str, int]


def export(
    tree: Tree,
    out: Path,
    settings: ExportSettings,
    *,
    prefix: str = "train",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write training shards; called again, it writes those that are missing.

    Args:
        tree: the curation.
        out: folder for the shards.
        settings: which view, and how.
        prefix: beginning of their names.
        workers: processes.
        progress: told how many shards of how many are done.

    Raises:
        InputError: if the view is empty, the folder holds other shards, or a tar is damaged.
    """
    if settings.per_shard < 1 or workers < 1 or settings.max_side < 0:
        raise InputError("shards, processes and sides are 1 or more (0 for no limit of the side)")
    view = read_view(tree.root / "views" / settings.view)
    rows = view_rows(tree.root / "views" / settings.view)
    if not len(rows):
        raise InputError(f"the view {settings.view} keeps no picture: loosen its policy")
    rows = rows.take(pa.array(shuffled(halves(rows["uid"]), settings.seed)))
    count = -(-len(rows) // settings.per_shard)
    done = _done(out, prefix, settings)
    if len(done) > count:
        raise InputError(f"{out} holds {len(done)} shards, the view gives {count}: give another")
    licences = rows["licence"].value_counts().to_pylist()
    report = ExportReport(
        pictures=len(rows),
        shards=count,
        licences={one["values"]: one["counts"] for one in licences},
    )
    parts = [
        _Part(
            settings=settings,
            number=number,
            root=str(tree.root),
            out=str(out),
            prefix=prefix,
            rows=rows.slice(number * settings.per_shard, settings.per_shard).combine_chunks(),
        )
        for number in range(count)
        if number not in done
    ]
    for _ in _written(parts, workers):
        report.new += 1
        if progress is not None:
            progress(count - len(parts) + report.new, count)
    about = {"settings": asdict(settings), "policy": view.about["policy"], **asdict(report)}
    del about["new"]
    write_json(out / "export.json", about, indent=1)
    return report


def shuffled(uids: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Return the order of rows by a hash of (seed, uid); uids are (N, 2) halves of a SHA-256."""
    rng = np.random.default_rng([seed, 0x5EED])
    mask, factor = rng.integers(0, 1 << 63, 2, dtype=np.uint64)
    with np.errstate(over="ignore"):
        keys = (uids[:, 0] ^ mask) * (factor | np.uint64(1))
        keys ^= keys >> np.uint64(32)
        keys *= factor | np.uint64(1)
    return np.lexsort((uids[:, 1], keys))


def _done(out: Path, prefix: str, settings: ExportSettings) -> set[int]:
    found: set[int] = set()
    for index in finished(out, prefix):
        note = read_index(index)[1]["provenance"]
        if note.get("export") != asdict(settings):
            raise InputError(
                f"{index}: from another view or with other settings: give another --out or --prefix"
            )
        found.add(note["number"])
    return found


def _written(parts: list[_Part], workers: int) -> Any:
    if workers == 1 or len(parts) < 2:
        for part in parts:
            yield _write(part)
        return
    with ProcessPoolExecutor(workers, mp_context=worker_context(__name__)) as pool:
        try:
            for future in as_completed([pool.submit(_write, part) for part in parts]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a process that wrote shards was killed: the same command goes on"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write(part: _Part) -> int:
    """Write one training shard; returns its number."""
    provenance = {"export": asdict(part.settings), "number": part.number}
    files: dict[str, PlacedFile] = {}
    everything = 1 << 62
    with ShardWriter(
        part.out, prefix=part.prefix, max_samples=everything, max_bytes=everything,
        provenance=provenance, first=part.number,
    ) as writer:  # fmt: skip
        first = part.number * part.settings.per_shard
        for position, row in enumerate(part.rows.to_pylist(), first):
            name = row["shard"]
            if name not in files:
                files[name] = open_raw(ShardRef(name, part.root))
            data = files[name].read(row["offset"], row["length"])
            if make_uid(data) != row["uid"]:
                raise InputError(
                    f"{name}, row {row['row']}: not the picture that was scored: the tar changed, "
                    "copy it again"
                )
            sample, picture = as_sample(data, row, part.settings.max_side)
            writer.add(
                sample, key=row["uid"].hex(), picture=picture, quality=_QUALITY, uid=row["uid"],
                position=position,
            )  # fmt: skip
    return part.number


def as_sample(data: bytes, row: Mapping[str, Any], max_side: int) -> tuple[Sample, bytes | None]:
    """Return a picture as a sample, and its file where that can be kept.

    A file that is kept is not decoded: the sample then has its size and no pixels.
    """
    header = image.probe(data)
    size = header.height, header.width
    small = max_side and max(size) > max_side
    keep = header.format in _KEPT and not header.animated and not small
    if keep:
        pixels = np.broadcast_to(np.zeros(3, np.uint8), (*size, 3))
    else:
        pixels = shrunk(image.read(data), max_side) if small else image.read(data)
    boxes = np.array([[b["x0"], b["y0"], b["x1"], b["y1"]] for b in row.get("boxes") or []])
    boxes = at_original_size(boxes.reshape(-1, 4).astype(np.float64), size, pixels.shape[:2])
    scores = [b["score"] for b in row.get("boxes") or []]
    people = tuple(Person(box=box, score=score) for box, score in zip(boxes, scores, strict=True))
    name = f"{row['shard']}/{row['row']:06d}"
    return Sample(image=pixels, people=people, name=name), data if keep else None
