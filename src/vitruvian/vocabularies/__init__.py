# SPDX-License-Identifier: Apache-2.0
"""The data files of the vocabularies, and how such a file is read.

A file is TOML; its tables are written as text, a header and then one row a line with ``-`` for
nothing, because 308 points are easier to check in columns (and read twice as fast).
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vitruvian.errors import InputError, unknown_name

Half = Literal["upper", "lower"]
Colour = tuple[int, int, int]

FOLDER = Path(__file__).parent
"""Where the files are; those of ``FOLDER / "correspondences"`` map one vocabulary onto another."""

IGNORE = "ignore"
"""Stands for "no class: leave this pixel out" in the label maps of a vocabulary of parts."""

DEFAULT_SIGMA = 0.05
"""OKS sigma of points that state none: between COCO's eyes (0.025) and hips (0.107)."""

_COLUMNS = {
    "points": ("name", "group", "side", "mirror", "sigma", "colour", "half", "mean", "fallback"),
    "parts": ("name", "group", "side", "mirror", "colour", "weight"),
}
_KEYS = {
    "points": ("name", "kind", "version", "about", "groups", "points", "links", "corrected"),
    "parts": ("name", "kind", "version", "about", "groups", "classes", "label_maps", "background",
              "ignore"),
}  # fmt: skip


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def read_vocabulary(table: dict[str, Any], stem: str) -> dict[str, Any]:
    """Turn the content of a vocabulary file into the arguments of ``vitruvian.vocabulary.make``.

    Without a ``mirror`` column the partners are left to be read from the names; without a ``name``
    the vocabulary is called ``stem``.

    Raises:
        InputError: There are keys, columns or values that a vocabulary has not.
    """
    kind = table.get("kind", "points")
    if kind not in _KEYS:
        raise InputError(f"kind {kind!r}; wanted 'points' or 'parts'")
    for key in table:
        if key not in _KEYS[kind]:
            raise unknown_name("key", key, _KEYS[kind])
    rows = read_rows(table.get("points" if kind == "points" else "classes", ""), _COLUMNS[kind])
    stated = any("mirror" in row for row in rows)
    pairs = [(row["name"], row["mirror"]) for row in rows if "mirror" in row]
    background = int(table.get("background", 0))
    return {
        "name": str(table.get("name", stem)),
        "names": [row["name"] for row in rows],
        "kind": kind,
        "version": str(table.get("version", "1")),
        "mirror_pairs": pairs if stated else None,
        "sides": [row.get("side", "centre") for row in rows] if stated else None,
        "groups": _groups(rows, table.get("groups", {})),
        "colours": [_colour(row.get("colour")) for row in rows],
        "links": [
            (row["from"], row["to"], _colour(row.get("colour")))
            for row in read_rows(table.get("links", ""), ("from", "to", "colour"), 2)
        ],
        "sigmas": [float(row.get("sigma", DEFAULT_SIGMA)) for row in rows],
        "halves": [row.get("half") for row in rows],
        "loss_weights": [float(row["weight"]) for row in rows if "weight" in row] or None,
        "background": None if background < 0 else background,
        "ignore": int(table.get("ignore", 255)),
        "about": str(table.get("about", "")).strip(),
        "corrected": table.get("corrected", {}),
        "means": {r["name"]: tuple(r["mean"].split("+")) for r in rows if "mean" in r},
        "fallbacks": {r["name"]: tuple(r["fallback"].split("+")) for r in rows if "fallback" in r},
        "label_maps": {
            key: tuple(
                (row["label"], row["class"]) for row in read_rows(text, ("label", "class"), 2)
            )
            for key, text in table.get("label_maps", {}).items()
        },
    }


def read_rows(text: str, columns: Sequence[str], required: int = 1) -> list[dict[str, str]]:
    """Read a table written as text: a header, then one row a line with ``-`` for nothing.

    Args:
        text: The table; empty for no rows.
        columns: The columns there may be.
        required: How many of them, from the first, must be there and filled in every row.

    Raises:
        InputError: A column that is not known or missing, or a row of another length.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    header, *rows = lines
    for column in header:
        if column not in columns:
            raise unknown_name("column", column, columns)
    table: list[dict[str, str]] = []
    for row in rows:
        if len(row) != len(header):
            raise InputError(f"the row {' '.join(row)!r} has {len(row)} of {len(header)} columns")
        table.append({k: v for k, v in zip(header, row, strict=True) if v != "-"})
        for column in columns[:required]:
            if column not in table[-1]:
                raise InputError(f"the row {' '.join(row)!r} says no {column!r}")
    return table


def _groups(rows: list[dict[str, str]], order: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {group: [] for group in order}
    for row in rows:
        found.setdefault(row.get("group", "all"), []).append(row["name"])
    return found | {group: members for group, members in order.items() if members}


def _colour(text: str | None) -> Colour | None:
    if text is None:
        return None
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise InputError(f"the colour {text!r}; wanted #rrggbb")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
