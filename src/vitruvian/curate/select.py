# SPDX-License-Identifier: Apache-2.0
"""From records and a policy to a view: which pictures are kept, and where the others went.

Shards are taken a few hundred at a time: the columns that the rules name are read side by side and
DuckDB evaluates all rules over them. No tar is opened. The view's name is a hash of the policy, its
values and the digests of all records it saw, so equal records and an equal policy give the same
view anywhere.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitruvian.curate.cascade import gates_of
from vitruvian.curate.columns import (
    RANKED,
    Columns,
    halves,
    needed,
    read_blocks,
    vectors_of,
)
from vitruvian.curate.duplicates import capped, clusters_of, equal_files, near_hashes, near_vectors
from vitruvian.curate.policy import PARAMETER, Policy
from vitruvian.curate.raw import read_raw_note
from vitruvian.curate.records import find_fingerprint, read_record_note
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.curate.view import RuleTally, View, histograms, read_view, write_view
from vitruvian.errors import InputError, missing_extra
from vitruvian.files import read_json

_SHOWN = 24  # pictures per rule that the report may show, kept and dropped
_SAMPLE = 40_000  # rows whose scores the report's histograms are made of
_MACROS = """
CREATE MACRO box_width(b) AS b.x1 - b.x0 + 1;
CREATE MACRO box_height(b) AS b.y1 - b.y0 + 1;
CREATE MACRO box_short(b) AS least(b.x1 - b.x0, b.y1 - b.y0) + 1;
CREATE MACRO box_long(b) AS greatest(b.x1 - b.x0, b.y1 - b.y0) + 1;
"""


def select(
    tree: Tree,
    policy: Policy,
    *,
    use: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> View:
    """Evaluate a policy and write its view; one that is there already is read.

    Args:
        tree: the curation.
        policy: what to keep.
        use: stage → fingerprint, where there are records of several settings.
        progress: told how many shards of how many are done.

    Raises:
        MissingExtraError: without DuckDB.
        InputError: if records are missing, or a rule cannot be evaluated.
    """
    try:
        import duckdb
    except ImportError as error:
        raise missing_extra("duckdb", "curate", "selecting pictures") from error
    shards = tree.shards()
    chosen = dict(use or {})
    columns = needed(tree, policy, shards[0], chosen)
    values = _values(tree, policy, columns, shards)
    digest, rows, cascade = _digest(tree, policy, values, columns, shards)
    folder = tree.root / "views" / digest
    if (folder / "view.json").exists():
        return read_view(folder)
    connection = duckdb.connect()
    connection.execute(_MACROS)
    # a policy is a file from somewhere: its expressions see the records and nothing else
    connection.execute(
        "SET preserve_insertion_order = true; SET enable_external_access = false; "
        "SET lock_configuration = true"
    )
    about = {
        "policy": asdict(policy), "values": values, "shards": len(shards),
        "fingerprints": {name: mark for name, (mark, _) in columns.stages.items()},
        "cascade": cascade,
    }  # fmt: skip
    view = View(digest=digest, policy=policy.digest(), about=about)
    view.funnel = [RuleTally(name=rule.name, reason=rule.reason) for rule in policy.rules]
    kept = _Kept(policy, view)
    ask = _Asker(connection, values)
    for done, table in read_blocks(tree, columns, shards, rows):
        try:
            kept.add(table, ask, sum(rows))
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            raise InputError(
                f"policy {policy.name}: {text}: columns are {', '.join(table.column_names)}"
            ) from error
        if progress is not None:
            progress(done, len(shards))
    kept.finish(tree, columns)
    write_view(folder, kept.table, view)
    return read_view(folder)


# ------------------------------------------------------------------------------ what to read


def _values(
    tree: Tree, policy: Policy, columns: Columns, shards: Sequence[ShardRef]
) -> dict[str, Any]:
    """Return what every ``$name`` stands for; scores of a detector by its calibration."""
    asked = policy.parameters()
    values: dict[str, Any] = {name: v for name, v in policy.values.items() if name in asked}
    if "person_score" in asked and "person_score" not in values:
        values["person_score"] = _person_score(tree, policy, columns, shards)
    if "count_score" in asked and "count_score" not in values:
        values["count_score"] = values.get("person_score", 0.5)
    missing = sorted(asked - values.keys())
    if missing:
        raise InputError(
            f"policy {policy.name}: no value for ${', $'.join(missing)}: give it in [values], or "
            f"with  --set {missing[0]}=…"
        )
    return values


def _person_score(
    tree: Tree, policy: Policy, columns: Columns, shards: Sequence[ShardRef]
) -> float:
    """Return the score of this detector that means what ``person_conf`` means."""
    if "person" not in columns.stages:
        find_fingerprint(tree, "person")
    mark = columns.stages["person"][0]
    wanted = float(policy.values.get("person_conf", 0.9))
    path = tree.root / "calibrations" / f"{mark}.json"
    if path.exists():
        found = read_json(path)["scores"]
        if str(wanted) in found:
            return float(found[str(wanted)])
    kinds: set[str] = set()
    for shard in shards:
        record = tree.record("person", mark, shard)
        if record.exists():
            kinds = set(pq.read_table(record, columns=["score_kind"])["score_kind"].to_pylist())
            kinds.discard(None)  # pyright: ignore[reportArgumentType]
            if kinds:
                break
    if kinds <= {"softmax", "given"}:
        return wanted
    raise InputError(
        f"the detector of the records person/{mark} scores by sigmoid, where {wanted} means "
        "something else than it does for a softmax: find its score with  vitruvian curate "
        "calibrate-detector, or state one with  --set person_score=0.5"
    )


def _digest(
    tree: Tree,
    policy: Policy,
    values: Mapping[str, Any],
    columns: Columns,
    shards: Sequence[ShardRef],
) -> tuple[str, list[int], dict[str, Any]]:
    """Return the name of the view, how many rows each shard has, and what gates kept from stages.

    Raises:
        InputError: if a record is missing or belongs to another state of its shard.
    """
    content = hashlib.sha256(f"{policy.digest()} {json.dumps(values, sort_keys=True)}".encode())
    missing: Counter[str] = Counter()
    rows: list[int] = []
    cascade: dict[str, Any] = {}

    def look(shard: ShardRef) -> tuple[int, str, list[str], dict[str, dict[str, Any]]]:
        about = read_raw_note(shard)
        parts, absent = [f"{shard.name} {about['sha256']}"], list[str]()
        found: dict[str, dict[str, Any]] = {}
        for stage, (mark, _) in columns.stages.items():
            note = read_record_note(tree.record(stage, mark, shard))
            if note is None or note["shard_sha256"] != about["sha256"]:
                absent.append(stage)
            else:
                parts.append(f"{stage} {note['digest']}")
                found[stage] = note
        return about["rows"], "".join(parts), absent, found

    with ThreadPoolExecutor(2) as pool:
        for count, text, absent, notes in pool.map(look, shards):
            rows.append(count)
            content.update(text.encode())
            missing.update(absent)
            for stage, note in notes.items():
                if gates := gates_of(note["identity"]):
                    one = cascade.setdefault(stage, {"gates": gates, "rows": 0})
                    one["rows"] += sum(note["gated"].values())
    if missing:
        counts = ", ".join(f"{stage} of {count}" for stage, count in missing.items())
        raise InputError(
            f"records are missing: {counts} of {len(shards)} shards: go on with  vitruvian curate "
            f"score {tree.root} --stages {' '.join(missing)}"
        )
    return content.hexdigest()[:16], rows, cascade


# ------------------------------------------------------------------------------------- rules


class _Asker:
    """Evaluates expressions over the rows of a table."""

    def __init__(self, connection: Any, values: Mapping[str, Any]) -> None:
        self._connection, self.values = connection, dict(values)

    def __call__(self, table: pa.Table, texts: Sequence[str]) -> list[pa.ChunkedArray]:
        if not texts:
            return []
        asked = {n for text in texts for n in PARAMETER.findall(text)}
        values = {name: value for name, value in self.values.items() if name in asked}
        parts = [f"({text}) AS r{number}" for number, text in enumerate(texts)]
        numbered = table.append_column("n_", pa.array(np.arange(len(table))))
        self._connection.register("rows_", numbered)
        # the expressions are the policy's point; the connection sees nothing but these rows
        query = f"SELECT n_, {', '.join(parts)} FROM rows_"  # noqa: S608
        found = self._connection.sql(query, params=values).to_arrow_table()
        self._connection.unregister("rows_")
        order = found["n_"].to_numpy()
        if (np.diff(order) < 0).any():  # it keeps the order of rows; this costs nothing
            found = found.take(pa.array(np.argsort(order)))
        return [found[f"r{number}"] for number in range(len(texts))]


class _Kept:
    """The rows that are kept so far, and the sums of the funnel."""

    def __init__(self, policy: Policy, view: View) -> None:
        self.policy, self.view = policy, view
        self._tables: list[pa.Table] = []
        self._samples: list[pa.Table] = []
        self._shown: dict[tuple[str, str], list[tuple[int, str, int]]] = {}

    def add(self, table: pa.Table, ask: _Asker, total: int) -> None:
        """Evaluate the rules over a block, and what is asked of pictures that are kept."""
        policy, view = self.policy, self.view
        uids = halves(table["uid"])
        keep = np.ones(len(table), bool)
        answers = ask(table, [rule.keep for rule in policy.rules])
        funnel = view.funnel[: len(policy.rules)]  # what follows them is counted elsewhere
        for rule, tally, answer in zip(policy.rules, funnel, answers, strict=True):
            unknown = np.asarray(answer.is_null())
            good = np.asarray(answer.fill_null(False)).astype(bool)
            good |= unknown & ((rule.unknown or policy.unknown) == "keep")
            assert tally.alone is not None
            assert tally.unknown is not None
            tally.alone += int((~good).sum())
            tally.unknown += int(unknown.sum())
            tally.reached += int(keep.sum())
            tally.dropped += int((keep & ~good).sum())
            self._show(table, uids, keep & ~good, rule.name, "dropped")
            self._show(table, uids, keep & good, rule.name, "kept")
            keep &= good
        view.rows += len(table)
        limit = np.uint64(min(1.0, _SAMPLE / max(total, 1)) * (2**64 - 1025))
        sample = uids[:, 0] <= limit
        chosen = table.append_column("kept", pa.array(keep)).filter(pa.array(keep | sample))
        chosen = self._counted(chosen, ask)
        drop = [c for c in chosen.column_names if pa.types.is_nested(chosen.schema.field(c).type)]
        self._samples.append(chosen.drop_columns(drop).filter(pa.array(sample[keep | sample])))
        wanted = ["uid", "shard", "row", "offset", "length", "licence", "people"]
        wanted += [c for c in chosen.column_names if c in (*RANKED, "boxes")]
        self._tables.append(chosen.select(wanted).filter(chosen["kept"]))

    def _counted(self, table: pa.Table, ask: _Asker) -> pa.Table:
        """Return rows with the number of people, and their boxes if the policy counts by score."""
        policy = self.policy
        texts = [policy.people] if policy.people else []
        boxes = "count_score" in ask.values and "person_boxes" in table.column_names
        if boxes:
            texts.append("list_filter(person_boxes, lambda b: b.score > $count_score)")
        answers = ask(table, texts)
        if boxes:
            table = table.append_column("boxes", answers[-1])
        people = pa.array(np.zeros(len(table), np.int32))
        if policy.people:
            people = answers[0].fill_null(0).cast(pa.int32())
        return table.append_column("people", people)

    def _show(
        self,
        table: pa.Table,
        uids: NDArray[np.uint64],
        which: NDArray[np.bool_],
        rule: str,
        how: str,
    ) -> None:
        """Remember the pictures with the lowest uids, as good as drawn at random."""
        heap = self._shown.setdefault((rule, how), [])
        if len(heap) == _SHOWN:
            which = which & (uids[:, 1] < np.uint64(-heap[0][0]))
        rows = np.flatnonzero(which)
        if len(rows) > _SHOWN:
            rows = rows[np.argpartition(uids[rows, 1], _SHOWN)[:_SHOWN]]
        for row in rows.tolist():
            entry = (-int(uids[row, 1]), table["shard"][row].as_py(), table["row"][row].as_py())
            if len(heap) < _SHOWN:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)

    def finish(self, tree: Tree, columns: Columns) -> None:
        """Remove duplicates and add everything up."""
        table = pa.concat_tables(self._tables).unify_dictionaries().combine_chunks()
        for name, reason, keep in self._duplicates(tree, columns, table):
            mask = keep(table)
            tally = RuleTally(name=name, reason=reason, alone=None, unknown=None)
            tally.reached, tally.dropped = len(table), int((~mask).sum())
            self.view.funnel.append(tally)
            uids = halves(table["uid"])
            self._show(table, uids, ~mask, name, "dropped")
            self._show(table, uids, mask, name, "kept")
            table = table.filter(pa.array(mask))
        self.table = table.drop_columns([c for c in table.column_names if c in RANKED])
        view = self.view
        view.kept = len(table)
        counts = np.bincount(table["people"].to_numpy()) if len(table) else np.zeros(0, int)
        view.people = {number: int(n) for number, n in enumerate(counts) if n}
        for (rule, how), heap in self._shown.items():
            chosen = [(shard, row) for _, shard, row in sorted(heap, reverse=True)]
            view.shown.setdefault(rule, {})[how] = chosen
        view.histograms = histograms(pa.concat_tables(self._samples))

    def _duplicates(
        self, tree: Tree, columns: Columns, table: pa.Table
    ) -> Iterator[tuple[str, str, Callable[[pa.Table], NDArray[np.bool_]]]]:
        rules = self.policy.duplicates
        if rules.exact:
            yield "exact", "no equal files", lambda t: equal_files(halves(t["uid"]))
        if rules.near_bits >= 0:
            text = f"no perceptual hashes within {rules.near_bits} bits"
            yield (
                "near",
                text,
                lambda t: near_hashes(
                    t["hashes_phash"].fill_null(0).to_numpy(), rules.near_bits, _rank(t)
                ),
            )
        if rules.needs_vectors:
            mark = columns.stages["embedding"][0]
            groups: list[NDArray[np.int64]] = []

            def similar(t: pa.Table) -> NDArray[np.bool_]:
                vectors = vectors_of(tree, mark, t)
                near = clusters_of(vectors, rules.clusters or len(vectors) // 2000 or 1)
                keep = np.ones(len(t), bool)
                if rules.similar > 0:
                    keep = near_vectors(vectors, near, rules.similar, _rank(t))
                groups.append(near[keep])
                return keep

            yield "similar", f"no embeddings with a cosine from {rules.similar} on", similar
            if rules.clusters and rules.cluster_most:
                text = f"at most {rules.cluster_most} of a cluster"
                yield (
                    "cluster",
                    text,
                    lambda t: capped(groups[0], rules.cluster_most, halves(t["uid"])[:, 0]),
                )


def _rank(table: pa.Table) -> NDArray[np.int64]:
    """Return a distinct number per row: larger pictures first, then earlier ones."""
    rows = np.arange(len(table))
    if "geometry_width" in table.column_names:
        sides = [table[c].fill_null(0).to_numpy() for c in ("geometry_width", "geometry_height")]
        order = np.lexsort((rows, -(sides[0].astype(np.int64) * sides[1])))
    else:
        order = rows
    rank = np.empty(len(table), np.int64)
    rank[order] = rows
    return rank
