# SPDX-License-Identifier: Apache-2.0
"""Clothes: cut from shells of the body along iso-lines, hung, folded, and layered.

Every garment is a *reach* — how many metres a place of the body lies inside of it, negative
outside — and a height above the shell. Inner layers are cut away under outer ones and heights only
grow outwards, so nothing pokes through. Labels are those of "parts29"; a dress is Upper_Clothing.
Garments on one person are worked on from the skin outwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from vitruvian.errors import unknown_name
from vitruvian.synth import noise
from vitruvian.synth.body import load_body
from vitruvian.synth.cut import cut
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import (
    UPPER_ARM,
    UPPER_LEG,
    Fitted,
    Obstacles,
    Part,
    Shell,
    Wearer,
    fit,
    hemmed,
    label,
    labels_by_side,
    neighbour_mean,
    sheet,
    shell,
)

Floats = NDArray[np.floating]
Reach = Callable[[Shell], list[Floats]]
"""Metres inside of a garment's several borders; a place is inside where all are positive."""

_MODES: Any = ("nearest", "wrap")  # one per axis: rows end, columns go round
TOPS = ("t-shirt", "long sleeve", "tank", "shirt", "sweater", "jacket")
BOTTOMS = ("trousers", "jeans", "shorts", "leggings", "slip")
ROUND = ("skirt", "dress")
KINDS = (*TOPS, *BOTTOMS, *ROUND, "socks")
NECKS = ("crew", "v", "scoop", "turtle", "collar")
_HIDDEN = 0.022  # metres inside a garment where what is below it ends
_LAYER = 0.0035  # metres between two layers
WIDE = 0.2
"""How loose trousers have to be to hang over boots."""
_LOWEST = 0.93  # where what follows the trunk ends: below, cloth hangs around both legs


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
    detail: Fabric = field(default_factory=Fabric)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("garment", self.kind, KINDS)
        if self.neck not in NECKS:
            raise unknown_name("neckline", self.neck, NECKS)

    @property
    def order(self) -> float:
        """Place among layers, from the skin outwards."""
        if self.kind in TOPS:
            return 5 if self.kind == "jacket" else 2 if self.tucked else 4
        return {"socks": 0, "slip": 1, "dress": 4.5}.get(self.kind, 3)


# ------------------------------------------------------------------------------------- reaches


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
        reach.append(_opening(places))
    return reach


def _opening(places: Floats) -> Floats:
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
        low = _LOWEST if garment.tucked else max(garment.low, _LOWEST)
        return lambda shell: _top_reach(garment, shell, low)
    if garment.kind == "dress":
        return lambda shell: _top_reach(garment, shell, _LOWEST)
    if garment.kind == "skirt":
        return lambda shell: [garment.high - shell.canonical[:, 1]]
    if garment.kind == "socks":
        return lambda shell: [(shell.leg - garment.low) * UPPER_LEG]
    return lambda shell: _leg_reach(garment, shell)


# ----------------------------------------------------------------------------- hanging, folding


def hang(
    along: Floats, angle: Floats, radius: Floats, member: NDArray[np.bool_], slope: float
) -> NDArray[np.float32]:
    """Return how far cloth that hangs around a limb is from what it hangs on, metres.

    Going down, cloth comes back to the body by at most ``slope`` metres per metre: 0 hangs
    straight from the widest place above, 2 and more lies close.

    Args:
        along: (n,) metres downwards along the limb.
        angle: (n,) radians around it.
        radius: (n,) metres from its axis.
        member: (n,) who takes part.
        slope: metres per metre.
    """
    out = np.zeros(len(along), np.float32)
    if not member.any():
        return out
    rows, columns = 56, 40
    start, end = along[member].min(), along[member].max() + 1e-6
    row = (along[member] - start) / (end - start) * (rows - 1)
    column = (angle[member] / (2 * np.pi) + 0.5) * columns
    table = np.zeros((rows, columns))
    spot = np.rint(row).astype(int), np.rint(column).astype(int) % columns
    np.maximum.at(table, spot, radius[member])
    table = np.maximum(table, ndimage.grey_closing(table, (5, 5), mode=_MODES))
    fall = slope * (end - start) / (rows - 1)
    for k in range(1, rows):
        table[k] = np.maximum(table[k], table[k - 1] - fall)
    table = ndimage.gaussian_filter(table, (1.5, 1.5), mode=_MODES)
    found = ndimage.map_coordinates(
        np.concatenate([table, table[:, :1]], axis=1), [row, column], order=1, mode="nearest"
    )
    out[member] = np.clip(found - radius[member], 0, 0.14)
    return out


def _limb_polar(fitted: Fitted, kind: str) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return along, angle, radius and membership of the legs or arms of a fitted shell."""
    scalar = fitted.shell.leg if kind == "leg" else fitted.shell.arm
    names = {
        "leg": ("upperleg01", "lowerleg01", "foot"),
        "arm": ("upperarm01", "lowerarm01", "wrist"),
    }[kind]
    base = fitted.base.astype(np.float64)
    axis = np.zeros_like(base)
    direction = np.zeros_like(base)
    for letter, side in (("L", base[:, 0] > 0), ("R", base[:, 0] <= 0)):
        points = np.stack([fitted.wearer.bone(f"{name}.{letter}") for name in names])
        t = np.clip(scalar[side], 0, 2.0)
        for column in range(3):
            axis[side, column] = np.interp(t, [0, 1, 2], points[:, column])
        way = points[2] - points[0]
        direction[side] = way / np.linalg.norm(way)
    offset = base - axis
    offset -= direction * (offset * direction).sum(axis=1, keepdims=True)
    out = np.where(base[:, :1] > 0, np.array([[1.0, 0, 0]]), np.array([[-1.0, 0, 0]]))
    out = out - direction * (out * direction).sum(axis=1, keepdims=True)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    other = np.cross(direction, out)
    angle = np.arctan2((offset * other).sum(axis=1), (offset * out).sum(axis=1))
    # left and right side by side in one table: half a turn each would mix, so they are separate
    length = UPPER_LEG if kind == "leg" else UPPER_ARM
    member = scalar > (0.25 if kind == "leg" else 0.1)
    return scalar * length, angle, np.linalg.norm(offset, axis=1), member


def _hung(fitted: Fitted, garment: Garment) -> NDArray[np.float32]:
    """Return (n,) metres a garment stands off because it hangs."""
    base, shell = fitted.base, fitted.shell
    out = np.zeros(len(base), np.float32)
    slope = 0.04 + 1.6 * (1 - garment.loose) ** 2
    if garment.kind in TOPS or garment.kind == "dress":
        trunk = (shell.arm < -1.6) & (shell.head < 0.3) & (shell.canonical[:, 1] < 1.44)
        trunk &= shell.canonical[:, 1] > 0.75
        axis = base[trunk, 2].mean() if trunk.any() else 0.0
        x, z = base[:, 0], base[:, 2] - axis
        reach = hang(-base[:, 1], np.arctan2(x, z), np.hypot(x, z), trunk, slope)
        out = np.maximum(out, reach)
        limbs = ("arm",) if garment.sleeve > 0.15 else ()
    else:
        limbs = ("leg",)
    for limb in limbs:
        along, angle, radius, member = _limb_polar(fitted, limb)
        for side in (base[:, 0] > 0, base[:, 0] <= 0):
            reach = hang(along, angle, radius, member & side, slope * 0.6)
            if limb == "leg":  # the inner sides must not meet
                inner = np.abs(base[:, 0]) < 0.1
                reach = np.where(inner, reach * 0.5, reach)
            out = np.maximum(out, reach)
    most = 0.03 + 0.06 * garment.loose
    return shell.smoothed(np.minimum(out, most), 4 * max(fitted.wearer.detail, 1) ** 2)


def folds(fitted: Fitted, garment: Garment) -> NDArray[np.float32]:
    """Return (n,) metres of folds, mean about zero."""
    places = np.ascontiguousarray(fitted.shell.canonical.T)
    seed = fitted.wearer.seed + 7 * KINDS.index(garment.kind)
    upright = places * np.array([[1.0], [0.45], [1.0]], np.float32)
    wide = noise.smooth(upright, 9, seed=seed) - np.float32(0.5)
    lying = places * np.array([[0.6], [1.5], [0.6]], np.float32)
    fine = noise.smooth(lying, 16, seed=seed + 1) - np.float32(0.5)
    size = 0.002 + 0.02 * garment.loose
    joints = np.exp(-(((fitted.shell.leg - 1) / 0.2) ** 2))
    joints = joints + np.exp(-(((fitted.shell.arm - 1) / 0.25) ** 2))
    joints = joints + 0.7 * np.exp(-(((fitted.shell.leg - 1.9) / 0.15) ** 2))
    return (size * (wide + (0.35 + 0.5 * joints) * fine)).astype(np.float32)


# ------------------------------------------------------------------------------------- wearing


_GAP = {
    "socks": 0.002, "slip": 0.003, "leggings": 0.003, "tank": 0.005, "sweater": 0.012,
    "jacket": 0.014, "jeans": 0.007,
}  # fmt: skip


def dress(
    wearer: Wearer,
    garments: Sequence[Garment],
    over: Sequence[Reach] = (),
    *,
    boots: float | None = None,
) -> tuple[list[Part], list[tuple[Reach, float]], Fitted]:
    """Put garments on a person.

    Args:
        wearer: who.
        garments: in any order.
        over: reaches of what is worn above everything, such as shoes.
        boots: where shafts of boots begin that wide trousers hang over, in ``leg``.

    Returns:
        Their parts; what they cover, as reaches with the metres inside of them at which the skin
        ends; and the shell with the height of the outermost layer.
    """
    fitted = fit(wearer, smooth=2)
    shell = fitted.shell
    ordered = sorted(garments, key=lambda one: one.order)
    reaches = [reach_of(one) for one in ordered]
    hidden = [_HIDDEN + 0.03 * one.loose * (one.kind not in ("socks", "slip")) for one in ordered]
    belt = max((one.high for one in ordered if one.kind in (*BOTTOMS, "skirt")), default=1.06)
    parts: list[Part | None] = []
    hanging: list[Garment] = []
    for i, garment in enumerate(ordered):
        own = reaches[i](shell)
        if garment.kind == "skirt":
            hanging.append(garment)
            continue
        height = _height(fitted, garment, belt)
        if boots is not None and garment.kind in BOTTOMS and garment.loose >= WIDE:
            room = 0.024 * np.clip((shell.leg - boots + 0.2) / 0.2, 0, 1)
            height = np.maximum(height, room)
        keep = list(own)
        for k in range(i + 1, len(ordered)):
            if ordered[k].kind != "skirt" or garment.tucked:
                keep.append(hidden[k] - np.min(reaches[k](shell), axis=0))
        if boots is None or garment.kind not in BOTTOMS or garment.loose < WIDE:
            keep += [2 * _HIDDEN - np.min(other(shell), axis=0) for other in over]
        parts += _cloth(fitted, garment, height, keep)
        near = np.clip((np.min(own, axis=0) + 0.03) / 0.03, 0, 1)
        fitted.worn[:] = np.maximum(fitted.worn, height * near)
        if garment.kind == "dress" or (garment.kind in TOPS and garment.low < _LOWEST):
            hanging.append(garment)
    if hanging:
        below = Obstacles(*fitted.posed(fitted.worn))
        parts += [_skirt(wearer, garment, below) for garment in hanging]
    covers = [
        (reach, depth)
        for garment, reach, depth in zip(ordered, reaches, hidden, strict=True)
        if garment.kind != "skirt"
    ]
    return [part for part in parts if part is not None], covers, fitted


def _height(fitted: Fitted, garment: Garment, belt: float) -> NDArray[np.float32]:
    """Return (n,) metres that a garment is above the shell."""
    height = np.full(len(fitted.base), _GAP.get(garment.kind, 0.006), np.float32)
    if garment.loose > 0.05:
        height = height + _hung(fitted, garment)
    height = np.maximum(height, fitted.worn + np.float32(_LAYER))
    if garment.tucked:  # flat where it goes into the bottoms
        above = fitted.shell.canonical[:, 1] - belt
        height = np.minimum(height, 0.006 + 0.35 * np.maximum(above, 0))
    if garment.kind not in ("socks", "slip"):
        crease = folds(fitted, garment)
        height = height + np.maximum(crease, -0.5 * (height - fitted.worn))
    return height


def _cloth(
    fitted: Fitted, garment: Garment, height: Floats, keep: list[Floats]
) -> list[Part | None]:
    surface = garment.fabric.surface()
    upper = garment.kind in TOPS or garment.kind == "dress"
    plain = label("Upper_Clothing" if upper else "Lower_Clothing")
    labels = labels_by_side("Sock") if garment.kind == "socks" else plain
    thickness = 0.002 if garment.kind in ("socks", "slip", "leggings") else 0.005
    out = [
        sheet(
            fitted,
            height,
            keep,
            surface=surface,
            labels=labels,
            thickness=thickness,
            name=garment.kind,
        )
    ]
    if garment.neck == "collar" and garment.kind in TOPS:
        out.append(_collar(fitted, garment, height))
    if garment.neck == "turtle" and garment.kind in TOPS:
        places = fitted.shell.canonical
        band = [0.012 - neckline(places, "crew"), neckline(places, "turtle")]
        out.append(
            sheet(fitted, height + 0.006, band, surface=surface, labels=plain, name="turtle neck")
        )
    if garment.kind in ("shirt", "jacket"):
        out += _front_line(fitted, garment, height, keep)
    return out


def _collar(fitted: Fitted, garment: Garment, height: Floats) -> Part | None:
    """Make a turned-down collar: a band around the neck that stands off below."""
    shell = fitted.shell
    below = neckline(shell.canonical, "collar")
    x, z = np.abs(shell.canonical[:, 0]), shell.canonical[:, 2]
    points = 0.035 + 0.03 * np.clip(1 - np.abs(x - 0.05) / 0.035, 0, 1) * (z > 0.03)
    neck = np.where((shell.canonical[:, 1] > 1.4) & (shell.arm < 0), 1.0, -1.0)
    gap = np.where(z > 0.0, x - (0.012 if not garment.open else 0.03), 1.0)
    band = [neck, below + 0.03, points - below, gap]
    lift = height + 0.005 + 0.22 * np.clip(below + 0.02, 0, 0.06)
    return sheet(
        fitted, lift, band, surface=garment.fabric.surface(), labels=label("Upper_Clothing"),
        thickness=0.004, name="collar",
    )  # fmt: skip


def _front_line(
    fitted: Fitted, garment: Garment, height: Floats, keep: list[Floats]
) -> list[Part | None]:
    """Make the placket of a shirt or the zip of a jacket: raised strips down the front."""
    shell = fitted.shell
    x, z = shell.canonical[:, 0], shell.canonical[:, 2]
    front = np.where(z > 0.03, 1.0, -1.0)
    surface = (garment.detail if garment.kind == "jacket" else garment.fabric).surface()
    if garment.open:
        strips = [[0.012 - _opening(shell.canonical)]]
    else:
        half = 0.006 if garment.kind == "jacket" else 0.016
        strips = [[half - x, x + half]]
    return [
        sheet(
            fitted,
            height + 0.002,
            [front, *keep, *strip],
            surface=surface,
            labels=label("Upper_Clothing"),
            thickness=0.0025,
            name="front",
        )
        for strip in strips
    ]


def _skirt(wearer: Wearer, garment: Garment, below: Obstacles) -> Part:
    """Make what hangs around both legs, from the body's own skirt shell, and lay it over them."""
    fitted = fit(wearer, ("skirt",), smooth=0, levels=1)
    own = fitted.shell
    places = own.canonical
    top, bottom = places[:, 1].max(), places[:, 1].min()
    angle = np.arctan2(places[:, 0], places[:, 2] - 0.02)
    pleats = 7 + wearer.seed % 9
    wander = noise.smooth(np.ascontiguousarray(places.T), 3, seed=wearer.seed)
    wave = np.sin(angle * pleats + 4 * wander)
    fall = np.clip((top - 0.08 - places[:, 1]) / 0.5, 0, 1.2)
    height = 0.012 + (0.004 + 0.022 * garment.loose) * wave * fall
    height += 0.05 * garment.loose * fall
    if garment.kind in TOPS:
        height += 0.01
        low, high = garment.low, _LOWEST + 0.13
    else:
        low = float(np.interp(garment.low, [0, 1, 2], [0.977, 0.532, 0.081]))
        high = garment.high if garment.kind == "skirt" else top
    keep = [places[:, 1] - max(low, bottom + 0.01), high - places[:, 1]]
    if garment.open:
        keep.append(_opening(places))
    rest = fitted.base + fitted.normals * height[:, None]
    everything = np.concatenate([wearer.skinned(_skirt_weights(), rest), rest, places], axis=1)
    faces, fields = own.piece.faces, np.stack(keep, axis=1)
    for k in range(len(keep)):
        kept = cut(faces, fields[:, k])
        faces, everything, fields = kept.faces, kept.apply(everything), kept.apply(fields)
    vertices = _around_legs(wearer, everything[:, :3], everything[:, 3:6], faces)
    vertices = below.outside(vertices, 0.005, reach=0.05).astype(np.float32)
    name = "Lower_Clothing" if garment.kind == "skirt" else "Upper_Clothing"
    part = Part(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        canonical=everything[:, 6:],
        labels=np.full(len(faces), label(name), np.uint8),
        surface=garment.fabric.surface(),
        name=garment.kind,
    )
    return hemmed(part, 0.004)


@cache
def _skirt_weights() -> sparse.csr_array:
    """Return the skirt's skin weights; around the hips, those of the trunk's own shell."""
    skirt, trunk = shell(("skirt",), 1), shell(("tights",), 1)
    high = skirt.canonical[:, 1]
    near = cKDTree(trunk.canonical).query(skirt.canonical)[1]
    own = np.clip((0.99 - high) / 0.09, 0, 1)
    mixed = sparse.diags_array(1 - own) @ trunk.piece.weights[near]
    mixed = mixed + sparse.diags_array(own) @ skirt.piece.weights
    return sparse.csr_array(mixed, dtype=np.float32)


def _around_legs(
    wearer: Wearer, vertices: Floats, rest: Floats, faces: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Push cloth out of the thighs and shins, which it met where they are bent."""
    limbs = []
    for letter in "LR":
        names = [f"{name}.{letter}" for name in _LEG]
        still, posed = ([place(n) for n in names] for place in (wearer.bone, wearer.posed_bone))
        for k, bone in enumerate(("upperleg01", "lowerleg01")):
            start, end = posed[k], posed[k + 1]
            radii = _thickness(wearer, f"{bone}.{letter}", start, end)
            t, offset = _from_axis(rest.astype(np.float64), still[k], still[k + 1])
            # no nearer than now, nor than at rest: there it fits already
            wanted = np.interp(t, np.linspace(0, 1, len(radii)), radii) + 0.008
            limbs.append((start, end, np.minimum(wanted, np.linalg.norm(offset, axis=1))))
    out = vertices.astype(np.float64)
    mean = neighbour_mean(faces, len(out))
    for _ in range(6):
        for start, end, wanted in limbs:
            _, offset = _from_axis(out, start, end)
            distance = np.linalg.norm(offset, axis=1)
            push = np.maximum(wanted / np.maximum(distance, 1e-4) - 1, 0)
            out += offset * np.minimum(push, 3.0)[:, None]
        moved = np.abs(out - vertices).max(axis=1) > 1e-3
        out = np.where(moved[:, None], 0.5 * (out + mean @ out), out)
    return out.astype(np.float32)


def _from_axis(points: Floats, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Return how far along a bone points are, 0 … 1, and their vectors from it."""
    way = end - start
    t = np.clip((points - start) @ way / (way @ way), 0, 1)
    return t, points - (start + t[:, None] * way)


_LEG = ("upperleg01", "lowerleg01", "foot")


def _thickness(
    wearer: Wearer, bone: str, start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how thick a posed leg is at nine places from start to end."""
    vertices = wearer.vertices[_leg_vertices(bone)].astype(np.float64)
    way = end - start
    t = (vertices - start) @ way / (way @ way)
    offset = np.linalg.norm(vertices - (start + t[:, None] * way), axis=1)
    radii = np.zeros(9)
    np.maximum.at(radii, np.clip(np.rint(t * 8), 0, 8).astype(int), offset)
    return np.where(radii > 0, radii, np.median(radii[radii > 0]))


@cache
def _leg_vertices(bone: str) -> NDArray[np.int64]:
    """Return the vertices of the skin that one leg bone (and its twist bone) moves most."""
    model = load_body()
    bones = [model.bone_index[bone], model.bone_index[bone.replace("01", "02")]]
    share = np.asarray(model.weights[:, bones].sum(axis=1)).ravel()
    of_skin = np.zeros(len(share), bool)
    of_skin[model.group_vertices("skin")] = True
    return np.flatnonzero((share > 0.6) & of_skin)
