# SPDX-License-Identifier: Apache-2.0
"""Renders of scans by framing: ``ROOT/face``, ``ROOT/upper``, ``ROOT/full``, each packed shards.

A manifest (``cameras/NAME.json``) says through which camera every scan is seen in every framing;
``vitruvian synth NAME`` obeys it. Renders through other cameras are refused, because their numbers
would be of another set.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The fixed cameras of a protocol.

    Attributes:
        name: of the protocol.
        size: (height, width) of the pictures.
        views: per view its scan, framing, focal length (mm of 24 × 36), azimuth, elevation and
            roll in degrees, and the share of the picture that is filled.
        sha256: of all of it.
    """

    name: str
    size: tuple[int, int]
    views: tuple[Mapping[str, Any], ...]
    sha256: str

    def note(self, framing: str) -> dict[str, Any]:
        """Return what the renderer notes about a folder that was rendered through these."""
        told = {"name": self.name, "sha256": self.sha256}
        return {"kind": self.name, "seed": 0, "cameras": told, "framing": framing}


@cache
def manifest(name: str) -> Manifest:
    """Return the cameras of a protocol."""
    data = files("vitruvian.evaluate").joinpath("cameras", f"{name}.json").read_bytes()
    given = json.loads(data)
    views = tuple(dict(zip(given["columns"], row, strict=True)) for row in given["views"])
    height, width = given["size"]
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(name=name, size=(height, width), views=views, sha256=digest)


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
        raise InputError(
            f"{base}: no finished renders in {', '.join(FRAMINGS)}: make them of the scans with "
            f" vitruvian synth {name} SCANS --out RENDERS"
        )
    for framing in there:
        _check(base / framing, manifest(name).note(framing))
    parts = [Shards(base / framing) for framing in there]
    names = [
        f"{framing}/{shards.key(number)}"
        for framing, shards in zip(there, parts, strict=True)
        for number in range(len(shards))
    ]
    groups = tuple(one.partition("/")[0] for one in names)
    return Joined(parts), names, groups


def _check(folder: Path, wanted: Mapping[str, Any]) -> None:
    made = read_json(folder / _MADE)
    if not isinstance(made, dict):
        raise InputError(f"{folder / _MADE}: no note of vitruvian synth")
    other = [f"{key} {made.get(key)!r}" for key in wanted if made.get(key) != wanted[key]]
    if other:
        raise InputError(
            f"{folder} was rendered with {', '.join(other)}, the protocol's cameras are "
            f"{', '.join(f'{key} {value!r}' for key, value in wanted.items())}: render it anew "
            f"with  vitruvian synth {wanted['kind']} , or evaluate it with --protocol folder"
        )
