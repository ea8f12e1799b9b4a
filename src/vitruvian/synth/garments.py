# SPDX-License-Identifier: Apache-2.0
"""Garments as values, and what of the body each one covers.

A garment's *reach* is how many metres a place of the body lies inside of each of its borders (hem,
sleeve, neck …), on the canonical body; where one is negative there is no cloth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import unknown_name
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.shells import UPPER_ARM, UPPER_LEG, Shell

Floats = NDArray[np.floating]
Reach = Callable[[Shell], list[Floats]]
"""Metres inside of a garment's several borders; a place is inside where all are positive."""
TOPS = ("t-shirt", "long sleeve", "tank", "shirt", "sweater", "jacket")
BOTTOMS = ("trousers", "jeans", "shorts", "leggings", "slip")
ROUND = ("skirt", "dress")
KINDS = (*TOPS, *BOTTOMS, *ROUND, "socks")
NECKS = ("crew", "v", "scoop", "turtle", "collar")
WIDE = 0.2
"""How loose trousers have to be to hang over boots."""
LOWEST = 0.93  # where what follows the trunk ends: below, cloth hangs around both legs


@dataclass(frozen=True, kw_only=True)
class Garment:
    """One garment as chosen, JSON-able.

    Attributes:
        kind: one of ``KINDS``.
        fabric: what it is made of.
        low: where it ends below: for tops the height of the hem on the canonical body, metres
            (the waist is at 1.07); for what has legs and for skirts the ``leg`` coordinate;
            for socks where they begin.
        high: height of a waist on the canonical body, metres.
        sleeve: where sleeves end, in ``arm``; below 0.05 there are none.
        neck: one of ``NECKS``.
        loose: 0 close to the skin, 1 hanging.
        open: whether a jacket is open in front.
        tucked: whether a top goes into the bottoms.
        padded: metres of filling of a quilted jacket.
        detail: second fabric: buttons, collars, zips.
    """

    kind: str
    fabric: Fabric
    low: float = 0.95
    high: float = 1.06
    sleeve: float = 0.6
    neck: str = "crew"
    loose: float = 0.4
    open: bool = False
    tucked: bool = False
    padded: float = 0.0
    detail: Fabric = field(default_factory=Fabric)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("garment", self.kind, KINDS)
        if self.neck not in NECKS:
            raise unknown_name("neckline", self.neck, NECKS)

    @property
    def skirted(self) -> bool:
        """Whether its lower end hangs around both legs at once."""
        long = self.kind in TOPS and not self.tucked and self.low < LOWEST
        return long or self.kind in ROUND

    @property
    def order(self) -> float:
        """Place among layers, from the skin outwards."""
        if self.kind in TOPS:
            return 5 if self.kind == "jacket" else 2 if self.tucked else 4
        return {"socks": 0, "slip": 1, "skirt": 3.5, "dress": 4.5}.get(self.kind, 3)


def neckline(places: Floats, neck: str) -> Floats:
    """Return how far (n, 3) canonical places lie below the line of a neck opening, metres."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    front = np.clip((z - 0.0) / 0.09, -0.6, 1)
    depth, width = {
        "crew": (0.035, 0.0), "v": (0.05, 0.09), "scoop": (0.075, 0.03),
        "turtle": (-0.04, 0.0), "collar": (0.03, 0.03),
    }[neck]  # fmt: skip
    line = 1.545 - depth * front + 0.32 * np.minimum(x, 0.1)
    if neck == "v":
        line = line - width * np.clip(1 - x / 0.075, 0, 1) * np.clip(front, 0, 1)
    elif width:
        line = line - width * np.clip(1 - x / 0.09, 0, 1) ** 2 * np.clip(front, 0, 1)
    if neck == "scoop":  # a wide U with straps beside it
        line = line - 0.03 + 0.9 * np.clip(x - 0.06, 0, 0.1)
    return np.where(x < 0.2, line - y, 1.0)


def _top_reach(garment: Garment, shell: Shell, low: float) -> list[Floats]:
    places = shell.canonical
    x, y = np.abs(places[:, 0]), places[:, 1]
    hem = y - low
    if garment.kind == "shirt" and not garment.tucked:  # hems of shirts rise at the sides
        hem = hem - 0.03 * np.clip((x - 0.08) / 0.1, 0, 1)
    sleeve = (max(garment.sleeve, -0.2) - shell.arm) * UPPER_ARM
    reach = [hem, sleeve, neckline(places, garment.neck)]
    if garment.kind == "tank":  # armholes reach into the torso, straps stay on the shoulder
        hole = 0.135 + 0.05 * np.clip((1.40 - y) / 0.08, 0, 1) ** 0.5 - x
        reach.append(np.where(y > 1.3, hole, np.maximum(hole, 0.05)))
    if garment.open:
        reach.append(opening(places))
    return reach


def opening(places: Floats) -> Floats:
    """Return metres from the edge of an open jacket, which widens downwards."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    gap = x - (0.03 + 0.12 * np.clip(1.5 - y, 0, 0.6))
    return np.where(z > 0.02, gap, 1.0)


def _leg_reach(garment: Garment, shell: Shell) -> list[Floats]:
    _, y, z = shell.canonical.T
    waist = garment.high - y - 0.12 * np.minimum(z, 0)
    hem = (garment.low - shell.leg) * UPPER_LEG
    return [np.where(shell.arm > -0.3, -1.0, waist), hem]


def reach_of(garment: Garment) -> Reach:
    """Return the reach of a garment on shells of the body (not the skirt's own shell)."""
    if garment.kind in TOPS:
        low = LOWEST if garment.tucked else max(garment.low, LOWEST)
        return lambda shell: _top_reach(garment, shell, low)
    if garment.kind == "dress":
        return lambda shell: _top_reach(garment, shell, LOWEST)
    if garment.kind == "skirt":
        return lambda shell: [garment.high - shell.canonical[:, 1]]
    if garment.kind == "socks":
        return lambda shell: [(shell.leg - garment.low) * UPPER_LEG]
    return lambda shell: _leg_reach(garment, shell)
