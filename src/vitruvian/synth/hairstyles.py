# SPDX-License-Identifier: Apache-2.0
"""Families of hair as values, and someone's hair as chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from vitruvian.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a family of hair grows.

    Attributes:
        length: metres, of most strands.
        steps: segments of a guide.
        lift: how steeply strands leave the scalp, 0 along it, 1 upright.
        stiff: how much a strand keeps its direction, 0 … 1; the rest follows gravity.
        comb: direction that hair is combed in, at rest (x to the left, y up, z forwards).
        parted: whether hair falls to both sides of a parting instead.
        volume: metres that hair stands off the head.
        wave: metres of waves, with ``period`` metres between them.
        curl: metres of the radius of curls.
        period: metres of one wave or turn.
        clumps: strands that stick together per lock; 0 for none.
        tie: where strands are gathered: "", "high", "low", "bun", "sides".
        fringe: whether the front is cut above the eyes and combed forwards.
        fade: shortening towards the sides and the neck, 0 … 1.
    """

    length: float
    steps: int = 8
    lift: float = 0.4
    stiff: float = 0.7
    comb: tuple[float, float, float] = (0.0, -0.3, -1.0)
    parted: bool = False
    volume: float = 0.012
    wave: float = 0.0
    curl: float = 0.0
    period: float = 0.06
    clumps: int = 0
    tie: str = ""
    fringe: bool = False
    fade: float = 0.0


STYLES: Mapping[str, Style] = {
    "buzz": Style(length=0.008, steps=2, lift=0.95, stiff=1.0, volume=0.003),
    "short back": Style(length=0.05, steps=5, lift=0.5, comb=(0.0, 0.2, -1.0), fade=0.7),
    "short side": Style(length=0.06, steps=5, lift=0.45, comb=(1.0, -0.1, -0.2), fade=0.7),
    "short messy": Style(
        length=0.065,
        steps=5,
        lift=0.75,
        comb=(0.3, 0.0, 0.5),
        fade=0.5,
        wave=0.004,
        period=0.05,
        clumps=40,
    ),
    "crop fringe": Style(
        length=0.06, steps=5, lift=0.3, comb=(0.0, -0.3, 1.0), fade=0.6, fringe=True
    ),
    "bob": Style(
        length=0.24, steps=10, lift=0.15, stiff=0.5, parted=True, volume=0.02, fringe=False
    ),
    "bob fringe": Style(
        length=0.23, steps=10, lift=0.15, stiff=0.5, parted=True, volume=0.02, fringe=True
    ),
    "long straight": Style(length=0.46, steps=12, lift=0.1, stiff=0.5, parted=True, volume=0.016),
    "long wavy": Style(
        length=0.44,
        steps=16,
        lift=0.12,
        stiff=0.5,
        parted=True,
        volume=0.022,
        wave=0.011,
        period=0.11,
        clumps=30,
    ),
    "curly": Style(
        length=0.22,
        steps=14,
        lift=0.25,
        stiff=0.6,
        parted=True,
        volume=0.03,
        curl=0.009,
        period=0.05,
        clumps=18,
    ),
    "short curly": Style(
        length=0.07, steps=8, lift=0.9, stiff=0.95, volume=0.02, curl=0.005, period=0.016
    ),
    "afro": Style(
        length=0.085, steps=9, lift=1.0, stiff=1.0, volume=0.05, curl=0.004, period=0.011
    ),
    "short afro": Style(
        length=0.028, steps=5, lift=1.0, stiff=1.0, volume=0.016, curl=0.003, period=0.009
    ),
    "ponytail": Style(length=0.38, steps=16, lift=0.05, tie="high", volume=0.006),
    "low ponytail": Style(length=0.34, steps=16, lift=0.05, tie="low", volume=0.006, parted=True),
    "bun": Style(length=0.3, steps=18, lift=0.05, tie="bun", volume=0.006),
    "braids": Style(
        length=0.40,
        steps=18,
        lift=0.12,
        stiff=0.45,
        parted=True,
        volume=0.014,
        clumps=160,
        curl=0.0035,
        period=0.022,
    ),
    "pigtails": Style(
        length=0.32, steps=18, lift=0.05, tie="sides", volume=0.006, curl=0.004, period=0.03
    ),
}


@dataclass(frozen=True, kw_only=True)
class HairChoice:
    """Someone's hair as chosen, JSON-able.

    Attributes:
        style: one of ``STYLES``, or "bald".
        colour: linear RGB.
        tip: brightness of tips against roots.
        length: times the style's.
        volume: times the style's.
        side: -1 … 1: where the parting is, and which side hair is combed to.
        receding: 0 … 1.
        balding: 0 … 1; from 0.5 on only a wreath is left.
        beard: "", "shadow" (painted), "full", "goatee", "moustache".
        beard_length: metres.
        beard_colour: linear RGB.
    """

    style: str = "short side"
    colour: tuple[float, float, float] = (0.03, 0.018, 0.01)
    tip: float = 1.2
    length: float = 1.0
    volume: float = 1.0
    side: float = 0.5
    receding: float = 0.0
    balding: float = 0.0
    beard: str = ""
    beard_length: float = 0.012
    beard_colour: tuple[float, float, float] = (0.03, 0.018, 0.01)

    def __post_init__(self) -> None:
        if self.style != "bald" and self.style not in STYLES:
            raise unknown_name("hair style", self.style, ("bald", *STYLES))
        if self.beard not in ("", "shadow", "full", "goatee", "moustache"):
            raise unknown_name("beard", self.beard, ("shadow", "full", "goatee", "moustache"))
        object.__setattr__(self, "colour", tuple(self.colour))
        object.__setattr__(self, "beard_colour", tuple(self.beard_colour))
