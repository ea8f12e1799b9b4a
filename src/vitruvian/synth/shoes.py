# SPDX-License-Identifier: Apache-2.0
"""Shoes: an upper cut from the shell of the foot, a sole extruded from its outline, laces, straps.

Soles are flat below; the person is lifted by their thickness. Labels are Left_Shoe and Right_Shoe.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vitruvian.errors import unknown_name
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import merged, tube
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import (
    UPPER_LEG,
    Fitted,
    Part,
    Shell,
    label,
    labels_by_side,
    nearest,
    sheet,
)

Floats = NDArray[np.floating]
# kind → (height of the shaft in ``leg`` or None for below the ankle, sole at the toes, at the heel)
KINDS: dict[str, tuple[float | None, float, float]] = {
    "sneakers": (None, 0.022, 0.028),
    "high tops": (1.80, 0.022, 0.027),
    "leather shoes": (None, 0.012, 0.024),
    "boots": (1.62, 0.022, 0.034),
    "tall boots": (1.18, 0.016, 0.03),
    "pumps": (None, 0.012, 0.02),
    "sandals": (None, 0.016, 0.02),
}


@dataclass(frozen=True, kw_only=True)
class Shoes:
    """A pair of shoes as chosen, JSON-able.

    Attributes:
        kind: one of ``KINDS``.
        upper: what the upper is made of.
        sole: what the sole is made of.
        laces: what laces or buckles are made of.
    """

    kind: str
    upper: Fabric
    sole: Fabric = field(default_factory=lambda: Fabric(stuff="rubber", colours=((0.8, 0.8, 0.8),)))
    laces: Fabric = field(default_factory=Fabric)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("shoe", self.kind, KINDS)


def reach(shoes: Shoes, shell: Shell) -> list[Floats]:
    """Return how many metres places of a shell lie inside the borders of the uppers."""
    shaft = KINDS[shoes.kind][0]
    _, y, z = shell.canonical.T
    foot = (shell.leg - 1.5) * UPPER_LEG
    if shaft is not None:
        # the front is a little higher than the back
        return [(shell.leg - shaft) * UPPER_LEG + 0.15 * np.clip(z - 0.02, -0.05, 0.05)]
    if shoes.kind == "pumps":  # open over the instep
        line = 0.052 - 0.1 * np.clip(z + 0.02, 0, 0.05) + 1.1 * np.clip(z - 0.135, 0, 0.06)
        return [line - y, foot]
    line = 0.088 + 0.35 * np.clip(z - 0.005, -0.05, 0.055)
    return [line - y, foot]


def _straps(shell: Shell) -> list[list[Floats]]:
    """Return the reaches of a sandal's three straps."""
    _, y, z = shell.canonical.T
    foot = (shell.leg - 1.5) * UPPER_LEG
    slanted, level = z - 0.075 + 0.3 * (y - 0.05), y - 0.085 - 0.15 * z
    return [
        [foot, y - 0.004, 0.164 - z, z - 0.136],
        [foot, y - 0.004, 0.09 - y, 0.011 - slanted, slanted + 0.011],
        [foot, 0.009 - level, level + 0.009],
    ]


def covered(shoes: Shoes, shell: Shell) -> list[Floats]:
    """Return how many metres places are hidden inside shoes: nothing through straps."""
    if shoes.kind == "sandals":
        return [np.full(len(shell.leg), -1.0)]
    return reach(shoes, shell)


def wear(fitted: Fitted, shoes: Shoes, hem: float | None = None) -> list[Part]:
    """Put on a pair of shoes; shafts end inside of trousers that reach down to ``hem``."""
    shell = fitted.shell
    shaft, front, back = KINDS[shoes.kind]
    y, z = shell.canonical[:, 1], shell.canonical[:, 2]
    foot = np.clip((shell.leg - 1.7) / 0.2, 0, 1)
    # room for toes above, and a rounder, blunter tip than the foot's
    toes = np.clip((z - 0.12) / 0.1, 0, 1) * foot
    height = 0.006 + 0.004 * foot + 0.006 * toes
    if shoes.kind == "sandals":
        height = np.full(len(y), 0.004)
    if shaft is not None:
        height = height + 0.006 * np.clip((1.95 - shell.leg) / 0.3, 0, 1)
    worn = fitted.worn if hem is None else np.minimum(fitted.worn, 0.004)
    height = np.maximum(height, worn * np.clip((1.99 - shell.leg) / 0.05, 0, 1) + 0.003)
    height = shell.smoothed(height.astype(np.float32), 3)
    borders = _straps(shell) if shoes.kind == "sandals" else [reach(shoes, shell)]
    if hem is not None:
        borders[0].append((shell.leg - hem + 0.06) * UPPER_LEG)
    surface = shoes.upper.surface()
    uppers = [
        sheet(
            fitted,
            height,
            keep,
            surface=surface,
            labels=labels_by_side("Shoe"),
            thickness=0.004,
            name=shoes.kind,
        )
        for keep in borders
    ]
    parts = [replace(part, soft=False) for part in uppers if part is not None]
    places = (fitted.base + fitted.normals * height[:, None]).astype(np.float32)
    for side, mine in (("Left", shell.canonical[:, 0] > 0), ("Right", shell.canonical[:, 0] <= 0)):
        own = np.flatnonzero(mine & (shell.leg > 1.9))
        parts.append(_sole(fitted, shoes, places, own, side, front, back))
        if shoes.kind in ("sneakers", "high tops", "boots", "leather shoes"):
            parts.append(_laces(fitted, shoes, places, own, side))
    return parts


def _sole(
    fitted: Fitted,
    shoes: Shoes,
    places: NDArray[np.float32],
    own: NDArray[np.int64],
    side: str,
    front: float,
    back: float,
) -> Part:
    """Extrude a sole from the outline of a shod foot at rest."""
    points = places[own]
    floor = float(points[:, 1].min())
    low = points[points[:, 1] < floor + 0.035]
    outline = _outline(low[:, [0, 2]], 56)
    middle = outline.mean(axis=0)
    ground = floor - max(front, back)
    heel, toe = low[:, 2].min(), low[:, 2].max()
    along = np.clip((outline[:, 1] - heel) / (toe - heel), 0, 1)
    blend = np.clip((along - 0.38) / 0.12, 0, 1)
    lifted = (back - front) * blend * (shoes.kind not in ("sneakers", "high tops", "sandals"))
    out = outline - middle
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    welt = 0.018 if shoes.kind in ("sneakers", "high tops", "boots") else 0.009
    spring = 0.010 * np.clip((along - 0.8) / 0.2, 0, 1) ** 2
    # rings from the inside of the top over the edge to the middle of the bottom
    rings = [
        (-0.012, np.full(len(outline), floor + welt)),
        (-0.001, np.full(len(outline), floor + welt)),
        (0.001, np.full(len(outline), floor + welt - 0.003)),
        (0.003, np.full(len(outline), floor - 0.004) + spring * 0.3),
        (0.001, ground + 0.003 + spring + lifted),
        (-0.003, ground + spring + lifted),
    ]
    vertices = [
        np.stack([outline[:, 0] + out[:, 0] * w, y, outline[:, 1] + out[:, 1] * w], axis=1)
        for w, y in rings
    ]
    last = vertices[-1]
    for share in (0.6, 0.15):
        inner = last.copy()
        inner[:, [0, 2]] = middle + (outline - middle) * share
        vertices.append(inner)
    count, rows = len(outline), len(vertices)
    everything = np.concatenate(vertices).astype(np.float32)
    grid = np.arange(rows * count).reshape(rows, count)
    a, b = grid[:-1], np.roll(grid[:-1], -1, axis=1)
    c, d = grid[1:], np.roll(grid[1:], -1, axis=1)
    faces = np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([b, d, c], axis=-1).reshape(-1, 3)]
    ).astype(np.int32)
    return _bound(fitted, everything, faces, own, shoes.sole, side, "sole")


def _outline(points: Floats, count: int) -> NDArray[np.float64]:
    """Return (count, 2) places along the smoothed convex outline, clockwise from above."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    closed = np.concatenate([hull, hull[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(count) / count * length[-1]
    ring = np.stack([np.interp(at, length, closed[:, k]) for k in range(2)], axis=1)
    for _ in range(2):
        ring = 0.5 * ring + 0.25 * (np.roll(ring, 1, axis=0) + np.roll(ring, -1, axis=0))
    area = np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - ring[:, 1] * np.roll(ring[:, 0], -1))
    start = int(ring[:, 1].argmin())
    ring = np.roll(ring, -start, axis=0)
    return ring if area > 0 else ring[::-1]  # x to z turns clockwise as seen from +y


def _bound(
    fitted: Fitted,
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
    own: NDArray[np.int64],
    fabric: Fabric,
    side: str,
    name: str,
) -> Part:
    """Pose something that is stuck to a foot: it moves with the nearest places of the shell."""
    base = fitted.base[own]
    near = nearest(base, vertices, 6)[1]
    pick = sparse.csr_array(
        (
            np.full(near.size, 1 / 6, np.float32),
            (np.repeat(np.arange(len(near)), 6), own[near].ravel()),
        ),
        shape=(len(vertices), len(fitted.base)),
    )
    weights = sparse.csr_array(pick @ fitted.shell.piece.weights)
    posed = fitted.wearer.skinned(weights, vertices)
    moved = fitted.shell.canonical - fitted.base
    return Part(
        vertices=posed,
        faces=faces,
        normals=vertex_normals(posed, faces),
        canonical=vertices + pick @ moved,
        labels=np.full(len(faces), label(f"{side}_Shoe"), np.uint8),
        surface=fabric.surface(),
        name=name,
        soft=False,
    )


def _laces(
    fitted: Fitted, shoes: Shoes, places: NDArray[np.float32], own: NDArray[np.int64], side: str
) -> Part:
    """Lay up to five laces across the instep, as far up as the upper reaches."""
    heel, toe = places[own, 2].min(), places[own, 2].max()
    points = places[own[np.min(reach(shoes, fitted.shell), axis=0)[own] > 0.008]]
    tubes = []
    for share in np.linspace(0.42, 0.60, 5):
        z = heel + share * (toe - heel)
        ridge = points[np.abs(points[:, 2] - z) < 0.012]
        if not len(ridge) or ridge[:, 2].min() > z - 0.004:
            continue
        top = ridge[ridge[:, 1] > np.quantile(ridge[:, 1], 0.6)]
        middle = float(top[:, 0].min() + top[:, 0].max()) / 2
        x = middle + np.linspace(-0.018, 0.018, 7)
        tilt = 0.004 * np.linspace(-1, 1, 7)
        flat = np.stack([x, z + tilt], axis=1)
        # the height of the upper there: its highest places nearby
        distance, near = nearest(top[:, [0, 2]], flat, 4)
        weight = 1 / (distance + 1e-3)
        y = (top[near, 1] * weight).sum(axis=1) / weight.sum(axis=1) + 0.003
        tubes.append(tube(np.stack([flat[:, 0], y, flat[:, 1]], axis=1), 0.0022, sides=5))
    vertices, faces = merged(tubes)
    return _bound(fitted, vertices, faces, own, shoes.laces, side, "laces")
