# SPDX-License-Identifier: Apache-2.0
"""Renders of scans by framing: ``ROOT/face``, ``ROOT/upper``, ``ROOT/full``, each packed shards.

``cameras.toml`` says what the renderer must have been told; renders through other cameras are
refused, because their numbers would be of another set.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vitruvian.data.reader import Shards
from vitruvian.data.shards import finished
from vitruvian.data.source import Joined, Source
from vitruvian.errors import InputError
from vitruvian.files import read_json

FRAMINGS = ("face", "upper", "full")
_MADE = "synth.json"  # the renderer's note of what it was told


@cache
def cameras(name: str) -> Mapping[str, Any]:
    """Return what the renderer must have been told for a protocol."""
    text = files("vitruvian.evaluate").joinpath("cameras.toml").read_text("utf-8")
    return tomllib.loads(text)[name]


def open_framings(root: str | Path, name: str) -> tuple[Source, list[str], tuple[str, ...]]:
    """Read renders of scans.

    Args:
        root: folder of the framings; it may lack some.
        name: of the protocol.

    Returns:
        The samples, their names (``face/KEY``), and each one's framing.

    Raises:
        InputError: if there is none, or they were rendered through other cameras.
    """
    base = Path(root)
    there = [one for one in FRAMINGS if (base / one).is_dir() and finished(base / one)]
    if not there:
        raise InputError(f"{base}: no finished shards in {', '.join(FRAMINGS)}")
    for framing in there:
        _check(base / framing, framing, cameras(name))
    parts = [Shards(base / framing) for framing in there]
    names = [
        f"{framing}/{shards.key(number)}"
        for framing, shards in zip(there, parts, strict=True)
        for number in range(len(shards))
    ]
    groups = tuple(one.partition("/")[0] for one in names)
    return Joined(parts), names, groups


def _check(folder: Path, framing: str, wanted: Mapping[str, Any]) -> None:
    made = read_json(folder / _MADE)
    if not isinstance(made, dict):
        raise InputError(f"{folder / _MADE}: no note of vitruvian synth")
    settings = {**wanted["settings"], "shares": {f: float(f == framing) for f in FRAMINGS}}
    told = made.get("settings", {})
    other = [f"{k} {made.get(k)!r}" for k in wanted if k != "settings" and made.get(k) != wanted[k]]
    other += [f"{k} {told.get(k)!r}" for k in settings if told.get(k) != settings[k]]
    if other:
        asked = {**{k: v for k, v in wanted.items() if k != "settings"}, **settings}
        raise InputError(
            f"{folder} was rendered with {', '.join(other)}: the protocol's cameras belong to "
            f"{', '.join(f'{k} {v}' for k, v in asked.items())}; "
            "render it anew, or evaluate it with --protocol folder"
        )
