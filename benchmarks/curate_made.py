# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/curate.py` measures on: made photographs, made records, small pictures."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from vitruvian import image
from vitruvian.curate.pack import pack
from vitruvian.curate.parquet import write_table
from vitruvian.curate.records import FORMAT, digest
from vitruvian.curate.stage import COMMON
from vitruvian.curate.tree import Tree

UNLIKE = 20  # pictures that differ in more than their last bytes


def photograph(seed: int) -> bytes:
    """A JPEG of 1936×1296 with noise at many scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((1296, 1936, 3), np.float32)
    for level in range(9):
        size = max(2, 1936 >> level), max(2, 1296 >> level)
        noise = rng.normal(0, 1, (size[1], size[0], 3)).astype(np.float32)
        total += cv2.resize(noise, (1936, 1296), interpolation=cv2.INTER_CUBIC) * 1.5**level
    total = 128 + 50 * (total - total.mean()) / total.std()
    made = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    kind = seed % UNLIKE
    made.save(
        buffer, "JPEG", quality=88, progressive=kind < 3, subsampling=0 if kind >= UNLIKE - 4 else 2
    )
    return buffer.getvalue()


def made_records(root: Path, rows: int, per_shard: int = 4096) -> Tree:
    """A curation without tars: indices and records as stages would write them."""
    from vitruvian.curate.people import BOX  # loads torch, which workers need not

    tree, rng = Tree(root), np.random.default_rng(0)
    common = {
        "row": np.arange(per_shard, dtype=np.int32), "status": ["ok"] * per_shard,
        "error": [None] * per_shard, "gated_by": [None] * per_shard,
        "ms": np.ones(per_shard, np.float32),
    }  # fmt: skip

    def content() -> dict[str, tuple[pa.Table, str]]:
        counts = rng.integers(0, 5, per_shard)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        corners = rng.uniform(0, 900, (ends[-1], 2))
        sides = rng.uniform(50, 900, (ends[-1], 2))
        values = np.column_stack([corners, corners + sides, rng.uniform(0, 1, ends[-1])])
        flat = pa.StructArray.from_arrays(
            [pa.array(column.astype(np.float32)) for column in values.T], fields=list(BOX)
        )
        columns = {
            "integrity": {}, "text": {"area": rng.uniform(0, 0.2, per_shard).astype(np.float32)},
            "person": {
                "boxes": pa.ListArray.from_arrays(ends, flat),
                "score_kind": ["softmax"] * per_shard,
            },
        }  # fmt: skip
        tables = {name: pa.table({**common, **one}) for name, one in columns.items()}
        for name, table in tables.items():
            schema = pa.schema([*COMMON, *list(table.schema)[len(COMMON) :]])
            tables[name] = table.cast(schema)
        return {name: (table, digest(table)) for name, table in tables.items()}

    contents = [content() for _ in range(48)]  # all identities differ, scores repeat
    for number in range(-(-rows // per_shard)):
        shard = tree.shard("main", number)
        uids = pa.py_buffer(rng.bytes(16 * per_shard))
        index = pa.table(
            {
                "row": common["row"],
                "uid": pa.Array.from_buffers(pa.binary(16), per_shard, [None, uids]),
                "offset": np.arange(per_shard) * 1000, "length": np.full(per_shard, 1000),
                "source": ["x"] * per_shard, "licence": ["CC0"] * per_shard,
                "fault": [""] * per_shard,
            }
        )  # fmt: skip
        note = {"format": "vitruvian raw 1", "size": 0, "sha256": str(number), "provenance": {}}
        write(shard.index, index, note)
        for stage, (table, mark) in contents[number % len(contents)].items():
            note = {
                "format": FORMAT, "stage": stage, "shard_sha256": str(number), "rows": per_shard,
                "digest": mark, "transient": 0, "gated": {}, "identity": {},
            }  # fmt: skip
            write(tree.record(stage, "0" * 12, shard), table, note)
    return tree


def write(path: Path, table: pa.Table, note: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = table.replace_schema_metadata({"vitruvian": json.dumps(note)})
    write_table(named, path)


def small_pictures(folder: Path, count: int) -> Tree:
    """A curation of pictures of many sizes up to 484×324, one in fifty a PNG."""
    (folder / "in").mkdir(parents=True)
    rng = np.random.default_rng(0)
    unlike = [image.resize(image.read(photograph(n)), (324, 484), "area") for n in range(4)]
    for number in range(count):
        height, width = int(rng.integers(160, 324)), int(rng.integers(160, 484))
        cut = np.ascontiguousarray(unlike[number % 4][:height, :width])
        data = image.encode(cut, ".png" if number % 50 == 0 else ".jpg", quality=80)
        (folder / "in" / f"{number:06d}.jpg").write_bytes(data)
    tree = Tree(folder / "tree")
    pack(folder / "in", tree, max_pictures=max(1, count // 50))
    return tree


def headers_only(folder: Path, files: list[bytes]) -> Tree:
    """A curation of one full shard of pictures of which only the beginning is there."""
    (folder / "in").mkdir(parents=True)
    for number in range(4096):
        data = files[number % len(files)][:40_000] + number.to_bytes(4, "big")
        (folder / "in" / f"{number:06d}.jpg").write_bytes(data)
    tree = Tree(folder / "tree")
    pack(folder / "in", tree)
    return tree
