# SPDX-License-Identifier: Apache-2.0
"""Records at rest: one Parquet file per stage and shard, whole or absent, that says what it is of.

The note in a file's footer names stage, fingerprint, the shard and its checksum, so a resumed run
knows what is left to do from the files alone. ``digest`` covers everything but timings: equal
digests are equal answers.
"""

import contextlib
import hashlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitruvian import __version__
from vitruvian.curate.parquet import read_footer, write_table
from vitruvian.curate.raw import read_raw_note
from vitruvian.curate.stage import COMMON, TIMING, Stage, fingerprint
from vitruvian.curate.tree import ShardRef, Tree, committed
from vitruvian.errors import InputError

FORMAT = "vitruvian record 1"


def schema_of(stage: Stage) -> pa.Schema:
    """Return all columns of a stage's records."""
    return pa.schema([*COMMON, *stage.schema])


def digest(table: pa.Table) -> str:
    """Return a SHA-256 of a table's content, timings left out."""
    kept = table.drop_columns([TIMING]) if TIMING in table.column_names else table
    sink = pa.BufferOutputStream()
    bare = kept.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, bare.schema) as stream:
        stream.write_table(bare)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def write_record(
    path: Path, stage: Stage, shard: ShardRef, rows: Sequence[Mapping[str, Any]], started: float
) -> None:
    """Commit what a stage says of a shard.

    Args:
        path: where it goes.
        stage: who says it.
        shard: of what.
        rows: one per row of the shard, in order.
        started: when the work began, in seconds of the epoch.
    """
    table = pa.Table.from_pylist(list(rows), schema=schema_of(stage))
    note = {
        "format": FORMAT,
        "stage": stage.name,
        "fingerprint": fingerprint(stage),
        "identity": dict(stage.identity()),
        "shard": shard.name,
        "shard_sha256": read_raw_note(shard)["sha256"],
        "rows": len(rows),
        "digest": digest(table),
        "gated": Counter(row["gated_by"] for row in rows if row["gated_by"]),
        "transient": sum(row["status"].startswith("transient") for row in rows),
        "code": __version__,
        "started": started,
        "finished": time.time(),
        "host": socket.gethostname(),
    }
    named = table.replace_schema_metadata({"vitruvian": json.dumps(note, sort_keys=True)})
    with committed(path) as temporary:
        write_table(named, temporary)


def read_record_note(path: Path) -> dict[str, Any] | None:
    """Return the note of a record; ``None`` if it is missing, empty, cut or something else."""
    try:
        footer = read_footer(path)
    except (OSError, pa.ArrowException):
        return None
    with contextlib.suppress(ValueError):
        note = json.loads((footer.metadata or {}).get(b"vitruvian", b"{}"))
        if note.get("format") == FORMAT and note.get("rows") == footer.num_rows:
            return note
    return None


def is_done(tree: Tree, stage: Stage, shard: ShardRef, *, retry: bool = False) -> bool:
    """Whether a stage's record of a shard is in place and belongs to the shard as it is now.

    Args:
        tree: the curation.
        stage: which.
        shard: which.
        retry: count records with transient failures as missing.
    """
    note = read_record_note(tree.record(stage.name, fingerprint(stage), shard))
    if note is None or note["shard_sha256"] != read_raw_note(shard)["sha256"]:
        return False
    return not (retry and note["transient"])


def read_columns(path: Path, columns: Iterable[str] | None = None) -> pa.Table:
    """Read (some columns of) a record.

    Raises:
        InputError: if it is no record.
    """
    if read_record_note(path) is None:
        raise InputError(f"{path}: no intact record: run  vitruvian curate score  again")
    return pq.read_table(path, columns=None if columns is None else list(columns))


def find_fingerprint(tree: Tree, stage: str, wanted: str | None = None) -> str:
    """Return the fingerprint of a stage's records, if there is no doubt which.

    Args:
        tree: the curation.
        stage: name.
        wanted: beginning of the fingerprint, where there are several.

    Raises:
        InputError: if there is none, or more than one fits.
    """
    folder = tree.root / "records" / stage
    found = sorted(p.name for p in folder.glob("*") if p.is_dir()) if folder.is_dir() else []
    fitting = [name for name in found if name.startswith(wanted or "")]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        have = f"; there are {', '.join(found)}" if found else ""
        which = f" {wanted}" if wanted else ""
        raise InputError(
            f"no records{which} of the stage {stage} in {tree.root}{have}: run  "
            f"vitruvian curate score {tree.root} --stages {stage}"
        )
    raise InputError(
        f"the stage {stage} was run {len(fitting)} times with other settings or weights "
        f"({', '.join(fitting)}): choose with  --use {stage}={fitting[0]}"
    )
