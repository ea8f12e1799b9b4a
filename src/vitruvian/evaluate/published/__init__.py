# SPDX-License-Identifier: Apache-2.0
"""Published results as data: one TOML file per table, each cell with the mark of its evidence.

=============  =====================================================================
mark           the number was
=============  =====================================================================
documented     read in the documentation of released models
paper          read in the paper
second-hand    confirmed by another publication that quotes it
unconfirmed    only remembered or quoted once: a target to check, never printed
(empty)        not published
=============  =====================================================================
"""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from vitruvian.errors import InputError

FACTS = ("documented", "paper", "second-hand")
"""Marks of cells that may be printed."""
MARKS = (*FACTS, "unconfirmed", "")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's line.

    Attributes:
        model: as printed.
        weights: catalogue names of the weights it was.
        values: one per column, NaN where not published.
        evidence: mark of each value.
    """

    model: str
    weights: tuple[str, ...]
    values: tuple[float, ...]
    evidence: tuple[str, ...]

    def facts(self, columns: Sequence[str]) -> dict[str, tuple[float, str]]:
        """Return column → (value, mark) of the cells that may be printed."""
        cells = zip(columns, self.values, self.evidence, strict=True)
        return {column: (value, mark) for column, value, mark in cells if mark in FACTS}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One published table.

    Attributes:
        name: of its file.
        protocol: it was made with; "" where there is none here.
        task: measured.
        title: of the table.
        source: where it was published.
        photographs: how many the numbers are of.
        note: what else to know.
        columns: names of our numbers.
        scales: published value = our number × scale.
        rows: the models.
    """

    name: str
    protocol: str
    task: str
    title: str
    source: str
    photographs: int
    note: str
    columns: tuple[str, ...]
    scales: tuple[float, ...]
    rows: tuple[Row, ...]


@cache
def tables() -> tuple[Table, ...]:
    """Return all published tables, by name."""
    folder = files("vitruvian.evaluate.published")
    paths = sorted((p for p in folder.iterdir() if p.name.endswith(".toml")), key=lambda p: p.name)
    return tuple(_table(p.name.removesuffix(".toml"), tomllib.loads(p.read_text())) for p in paths)


def _table(name: str, content: Mapping[str, Any]) -> Table:
    columns = tuple(content["columns"])
    rows = tuple(
        Row(
            model=row["model"],
            weights=tuple(row.get("weights", ())),
            values=tuple(float(value) for value in row["values"]),
            evidence=tuple(row["evidence"]),
        )
        for row in content["row"]
    )
    for row in rows:
        if not len(row.values) == len(row.evidence) == len(columns) == len(content["scales"]):
            raise InputError(f"published table {name}, {row.model}: not {len(columns)} cells")
        for value, mark in zip(row.values, row.evidence, strict=True):
            if mark not in MARKS or math.isnan(value) != (mark == ""):
                raise InputError(f"published table {name}, {row.model}: {value} is {mark!r}")
    return Table(
        name=name,
        protocol=content["protocol"],
        task=content["task"],
        title=content["title"],
        source=content["source"],
        photographs=content["photographs"],
        note=content["note"],
        columns=columns,
        scales=tuple(float(scale) for scale in content["scales"]),
        rows=rows,
    )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A published number that ours can be held against.

    Attributes:
        task: measured.
        number: name of ours, such as "whole/AP".
        published: in our scale.
        evidence: its mark.
        source: where it was published.
    """

    task: str
    number: str
    published: float
    evidence: str
    source: str


def published_for(
    protocol: str, models: Iterable[str], *, photographs: int, task: str
) -> list[Beside]:
    """Return the published numbers of these weights under this protocol, without unconfirmed ones.

    Args:
        protocol: name.
        models: catalogue names of the weights.
        photographs: how many were evaluated; another number is another set.
        task: measured.
    """
    known = set(models)
    found: list[Beside] = []
    for table in tables():
        if (table.protocol, table.task, table.photographs) != (protocol, task, photographs):
            continue
        scale = dict(zip(table.columns, table.scales, strict=True))
        for row in table.rows:
            if not known & set(row.weights):
                continue
            found += [
                Beside(
                    task=task,
                    number=column,
                    published=value / scale[column],
                    evidence=mark,
                    source=table.source,
                )
                for column, (value, mark) in row.facts(table.columns).items()
            ]
    return found


def as_markdown() -> str:
    """Return all tables as the text of a page; unconfirmed cells show a question mark."""
    parts: list[str] = []
    for table in tables():
        head = "| model | " + " | ".join(table.columns) + " |"
        lines = [
            f"## {table.title}",
            "",
            f"Source: {table.source}. {table.note}".rstrip(),
            "",
            head,
        ]
        lines.append("|" + "---|" * (len(table.columns) + 1))
        for row in table.rows:
            facts = row.facts(table.columns)
            cells = [
                _cell(facts[c]) if c in facts else ("?" if mark else "")
                for c, mark in zip(table.columns, row.evidence, strict=True)
            ]
            lines.append(f"| {row.model} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(fact: tuple[float, str]) -> str:
    value, mark = fact
    return f"{value:g}" + {"documented": "", "paper": " ᵖ", "second-hand": " ²"}[mark]
