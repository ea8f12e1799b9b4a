# SPDX-License-Identifier: Apache-2.0
"""A view: which pictures a policy keeps, and the funnel that the others left by."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitruvian.curate.parquet import write_table
from vitruvian.curate.stage import COMMON
from vitruvian.curate.tree import committed
from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json

FORMAT = "vitruvian view 1"


@dataclass(kw_only=True)
class RuleTally:
    """Where one rule stands in the funnel.

    Attributes:
        name: of the rule, or "exact", "near", "similar", "cluster" of duplicates.
        reason: in words.
        reached: pictures that all rules before it kept.
        dropped: of those, how many it drops.
        alone: how many it would drop of all pictures; ``None`` of duplicates.
        unknown: pictures it is null for, of all; ``None`` of duplicates.
    """

    name: str
    reason: str
    reached: int = 0
    dropped: int = 0
    alone: int | None = 0
    unknown: int | None = 0


@dataclass(kw_only=True)
class View:
    """What a policy keeps, and how it came about.

    Attributes:
        digest: name of the view.
        policy: digest of the policy.
        rows: pictures looked at.
        kept: pictures kept.
        funnel: rule by rule.
        people: number of people → kept pictures that have so many.
        about: policy, values, fingerprints.
        shown: rule → "kept" or "dropped" → (shard, row) of some pictures, drawn by their uid.
        histograms: column → edges and counts over all and over kept pictures, of a sample.
    """

    digest: str
    policy: str
    rows: int = 0
    kept: int = 0
    funnel: list[RuleTally] = field(default_factory=list[RuleTally])
    people: dict[int, int] = field(default_factory=dict[int, int])
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    shown: dict[str, dict[str, list[tuple[str, int]]]] = field(default_factory=dict)
    histograms: dict[str, Any] = field(default_factory=dict[str, Any])


def read_view(folder: Path) -> View:
    """Read the summary of a view.

    Raises:
        InputError: if it is none.
    """
    content = read_json(folder / "view.json")
    if content.pop("format", "") != FORMAT:
        raise InputError(f"{folder}: no view: make one with  vitruvian curate select")
    content["funnel"] = [RuleTally(**one) for one in content["funnel"]]
    content["people"] = {int(key): count for key, count in content["people"].items()}
    return View(**content)


def view_rows(folder: Path) -> pa.Table:
    """Return the kept pictures in order.

    Columns: uid, shard, row, offset, length, licence, people, and boxes where the policy counts
    people by their score.
    """
    read_view(folder)
    return pq.read_table(folder / "rows.parquet")


def write_view(folder: Path, table: pa.Table, view: View) -> None:
    """Write rows and summary of a view; it exists when the summary does."""
    note = {"format": FORMAT, "view": view.digest, "policy": view.policy}
    table = table.set_column(
        table.column_names.index("shard"), "shard", table["shard"].cast(pa.string())
    ).replace_schema_metadata({"vitruvian": json.dumps(note, sort_keys=True)})
    with committed(folder / "rows.parquet") as target:
        write_table(table, target)
    write_json(folder / "view.json", {"format": FORMAT, **asdict(view)}, indent=1)


def histograms(sample: pa.Table) -> dict[str, Any]:
    """Return, for each column of numbers, 20 bins between its 1st and 99th hundredth."""
    found: dict[str, Any] = {}
    kept = sample["kept"].to_numpy(zero_copy_only=False)
    skip = {"row", "offset", "length", "kept", "hashes_phash", *COMMON.names}
    for name in sample.column_names:
        kind = sample.schema.field(name).type
        if name in skip or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            continue
        values = sample[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        known = np.isfinite(values)
        if not known.any():
            continue
        low, high = np.quantile(values[known], [0.01, 0.99])
        edges = np.linspace(low, high if high > low else low + 1, 21)
        clipped = np.clip(values, edges[0], edges[-1])
        found[name] = {
            "edges": edges.tolist(),
            "all": np.histogram(clipped[known], edges)[0].tolist(),
            "kept": np.histogram(clipped[known & kept], edges)[0].tolist(),
        }
    return found
