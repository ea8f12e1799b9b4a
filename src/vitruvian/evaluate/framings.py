# SPDX-License-Identifier: Apache-2.0
"""Renders of scans by framing: ``ROOT/face``, ``ROOT/upper``, ``ROOT/full``, each packed shards."""

from pathlib import Path

from vitruvian.data.reader import Shards
from vitruvian.data.shards import finished
from vitruvian.data.source import Joined, Source
from vitruvian.errors import InputError

FRAMINGS = ("face", "upper", "full")


def open_framings(root: str | Path) -> tuple[Source, list[str], tuple[str, ...]]:
    """Read renders of scans.

    Args:
        root: folder of the framings; it may lack some.

    Returns:
        The samples, their names (``face/KEY``), and each one's framing.

    Raises:
        InputError: if there is none.
    """
    base = Path(root)
    there = [name for name in FRAMINGS if (base / name).is_dir() and finished(base / name)]
    if not there:
        raise InputError(f"{base}: no finished shards in {', '.join(FRAMINGS)}")
    parts = [Shards(base / name) for name in there]
    names = [
        f"{framing}/{shards.key(number)}"
        for framing, shards in zip(there, parts, strict=True)
        for number in range(len(shards))
    ]
    groups = tuple(name.partition("/")[0] for name in names)
    return Joined(parts), names, groups
