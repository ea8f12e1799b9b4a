# SPDX-License-Identifier: Apache-2.0
"""Columns of many records side by side, as rules see them."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitruvian.curate.parquet import read_some
from vitruvian.curate.policy import PARAMETER, Policy
from vitruvian.curate.records import find_fingerprint
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.errors import InputError, unknown_name

STAGES = (
    "integrity", "geometry", "hashes", "blur", "text", "person", "embedding", "zero_shot",
)  # fmt: skip
"""Names of the stages that policies may speak of, beside ``probe_NAME``."""
RANKED = ("hashes_phash", "geometry_width", "geometry_height")
"""Columns that decide between duplicates."""
_WORDS = ("status", "licence", "format", "score_kind")  # few different ones: read as numbers
_BLOCK_ROWS = 1 << 19


@dataclass(frozen=True)
class Columns:
    """What has to be read: stage → fingerprint and columns, and columns of the index."""

    stages: dict[str, tuple[str, tuple[str, ...]]]
    raw: tuple[str, ...]


def needed(tree: Tree, policy: Policy, first: ShardRef, use: dict[str, str]) -> Columns:
    """Find the columns that expressions name, among the records there are.

    Args:
        tree: the curation.
        policy: whose expressions.
        first: a shard, to see which columns a stage has.
        use: stage → fingerprint, where there are several.

    Raises:
        InputError: if a stage has no records, or several settings and none is chosen.
    """
    texts = [PARAMETER.sub("", text) for text in policy.expressions()]
    words = {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}
    if policy.duplicates.near_bits >= 0:
        words |= set(RANKED)
    if policy.duplicates.needs_vectors:
        words.add("embedding_status")
    folder = tree.root / "records"
    there = {path.name for path in folder.glob("*") if path.is_dir()}
    for name in use:
        if name not in there:
            raise unknown_name("stage with records", name, there)
    stages: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in sorted(there | set(STAGES), key=len, reverse=True):  # zero_shot before zero
        wanted = {word for word in words if word.startswith(f"{name}_")}
        words -= wanted
        if wanted:
            mark = find_fingerprint(tree, name, use.get(name))
            path = tree.record(name, mark, first)
            have = set(pq.read_schema(path).names) if path.exists() else set[str]()
            bare = {word.removeprefix(f"{name}_") for word in wanted}
            stages[name] = mark, tuple(sorted(bare & have))
    return Columns(stages, ("source",) if "source" in words else ())


def read_blocks(
    tree: Tree, columns: Columns, shards: Sequence[ShardRef], rows: Sequence[int]
) -> Iterator[tuple[int, pa.Table]]:
    """Yield tables of some hundred thousand rows, and how many shards they are up to.

    While one is worked on the next is read.

    Args:
        tree: the curation.
        columns: what to read.
        shards: all of them.
        rows: how many each has.
    """
    ends: list[int] = []
    count = 0
    for end, number in enumerate(rows, 1):
        count += number
        if count >= _BLOCK_ROWS or end == len(shards):
            ends.append(end)
            count = 0
    with ThreadPoolExecutor(1) as pool:
        parts = [shards[start:end] for start, end in pairwise([0, *ends])]
        reading = pool.submit(read_block, tree, columns, parts[0])
        for part, end in zip([*parts[1:], None], ends, strict=True):
            table = reading.result()
            if part is not None:
                reading = pool.submit(read_block, tree, columns, part)
            yield end, table


def read_block(tree: Tree, columns: Columns, shards: Sequence[ShardRef]) -> pa.Table:
    """Read the wanted columns of some shards side by side, in the order of shards and rows.

    Raises:
        InputError: if a record has not as many rows as its shard.
    """
    base = ["uid", "offset", "length", "licence", *columns.raw]
    with ThreadPoolExecutor(2) as pool:
        indices = list(pool.map(lambda shard: _columns_of(shard.index, base), shards))
        table = pa.concat_tables(indices)
        counts = np.array([len(one) for one in indices])
        numbers = pa.array(np.repeat(np.arange(len(shards), dtype=np.int32), counts))
        names = pa.DictionaryArray.from_arrays(numbers, [shard.name for shard in shards])
        table = table.append_column("shard", names)
        rows = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
        table = table.append_column("row", pa.array(rows))
        for stage, (mark, wanted) in columns.stages.items():
            paths = [tree.record(stage, mark, shard) for shard in shards]
            found = list(pool.map(lambda path: _columns_of(path, wanted), paths))  # noqa: B023
            for path, one, count in zip(paths, found, counts, strict=True):
                if len(one) != count:
                    raise InputError(f"{path}: {len(one)} rows of a shard of {count}: score again")
            joined = pa.concat_tables(found)
            for column in wanted:
                table = table.append_column(f"{stage}_{column}", joined[column])
    return table.unify_dictionaries()


def _columns_of(path: Path, columns: Sequence[str]) -> pa.Table:
    # without any column there would be no rows either
    return read_some(path, columns or ["row"], [name for name in columns if name in _WORDS])


def vectors_of(tree: Tree, mark: str, table: pa.Table) -> NDArray[np.float32]:
    """Return the embeddings of rows that are in the order of their shards."""
    shards = table["shard"].to_pylist()
    rows = table["row"].to_numpy()
    found: list[NDArray[np.float32]] = []
    start = 0
    while start < len(shards):
        end = start
        while end < len(shards) and shards[end] == shards[start]:
            end += 1
        path = tree.record("embedding", mark, ShardRef(shards[start], str(tree.root)))
        column = pq.read_table(path, columns=["vector"])["vector"].take(pa.array(rows[start:end]))
        if column.null_count:
            raise InputError(
                f"{path}: no embedding of some pictures the rules keep: add a rule such as "
                "integrity_status LIKE 'ok%'"
            )
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found.append(flat.astype(np.float32).reshape(end - start, -1))
        start = end
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def halves(uids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return uids of 16 bytes as (N, 2) numbers."""
    array = uids.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], uids.type)
    if not len(array):
        return np.zeros((0, 2), np.uint64)
    data = np.frombuffer(array.buffers()[1], np.uint8)
    data = data[16 * array.offset : 16 * (array.offset + len(array))]
    return data.view(">u8").reshape(-1, 2).astype(np.uint64)
