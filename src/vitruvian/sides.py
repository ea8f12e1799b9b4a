# SPDX-License-Identifier: Apache-2.0
"""Left and right, read from names: the mirror partner of ``left_eye`` is ``right_eye``."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from vitruvian.errors import InputError

Side = Literal["left", "right", "centre"]
"""Side of the body, always the subject's own."""

_OTHER: Mapping[Side, Side] = {"left": "right", "right": "left"}
_WORDS: Mapping[str, Side] = {"left": "left", "l": "left", "right": "right", "r": "right"}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NUMBERED = re.compile(r"[a-z]{0,9}[ _\-.]?\d+")


def read_side(name: str) -> Side:
    """Return the side that a name speaks of as a word: left, l, right or r; else the centre."""
    return _split(name)[0]


def derive_mirror(vocabulary: str, names: Sequence[str]) -> list[int]:
    """Return the index of each name's mirror partner, itself when central.

    Names are partners when they differ only in the words left and right (``left_eye``,
    ``Left-arm``, ``eye.R``, ``LShoulder``).

    Raises:
        InputError: A side without partner, two names that read the same, or names such as
            ``lknee`` or ``point7`` that may or may not speak of a side.
    """
    split = [_split(name) for name in names]
    found: dict[tuple[Side, tuple[str, ...]], int] = {}
    for i, key in enumerate(split):
        if key[0] != "centre" and found.setdefault(key, i) != i:
            raise _refusal(vocabulary, f"{names[found[key]]} and {names[i]} read the same")
    mirror = list(range(len(names)))
    lowered = {name.lower() for name in names}
    for i, (side, words) in enumerate(split):
        if side == "centre":
            _check_central(vocabulary, names[i], words, lowered)
            continue
        partner = found.get((_OTHER[side], words))
        if partner is None:
            raise _refusal(vocabulary, f"{names[i]} has no partner on the {_OTHER[side]}")
        mirror[i] = partner
    return mirror


def _split(name: str) -> tuple[Side, tuple[str, ...]]:
    words = [word for word in re.split(r"[^a-z0-9]+", _CAMEL.sub(" ", name).lower()) if word]
    sides: set[Side] = {_WORDS[word] for word in words if word in _WORDS}
    side = sides.pop() if len(sides) == 1 else "centre"
    return side, tuple("<side>" if word in _WORDS else word for word in words)


def _check_central(vocabulary: str, name: str, words: tuple[str, ...], lowered: set[str]) -> None:
    """Refuse a name that was read as central but may not be."""
    low = name.lower()
    swap = {"l": "r", "r": "l"}
    twins = {swap.get(low[:1], low[:1]) + low[1:], low[:-1] + swap.get(low[-1:], low[-1:])}
    glued = "left" in low or "right" in low
    if "<side>" in words or glued or (twins - {low}) & lowered:
        raise _refusal(vocabulary, f"{name} may or may not speak of a side")
    if len(lowered) > 1 and _NUMBERED.fullmatch(low):
        raise _refusal(vocabulary, f"{name} is little more than a number")


def _refusal(vocabulary: str, why: str) -> InputError:
    return InputError(
        f"vocabulary {vocabulary!r}: {why}, so left and right cannot be told from the names; name "
        "the partners left_… and right_…, or give mirror_pairs (a 'mirror' column in a .toml "
        "file), an empty list if nothing swaps"
    )
