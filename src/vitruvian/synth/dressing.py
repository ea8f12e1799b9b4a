# SPDX-License-Identifier: Apache-2.0
"""Putting garments on a person: cut from shells of the body along iso-lines, hung and layered.

Inner layers are cut away under outer ones and heights above the body only grow outwards, so nothing
pokes through. Labels are those of "parts29"; a dress is Upper_Clothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.draping import folds, hung, quilted
from vitruvian.synth.garments import (
    BOTTOMS,
    TOPS,
    WIDE,
    Garment,
    Reach,
    neckline,
    opening,
    reach_of,
)
from vitruvian.synth.shells import (
    Fitted,
    Obstacles,
    Part,
    Wearer,
    fit,
    label,
    labels_by_side,
    sheet,
)
from vitruvian.synth.skirts import skirt_of

Floats = NDArray[np.floating]
_HIDDEN = 0.022  # metres inside a garment where what is below it ends
_LAYER = 0.0035  # metres between two layers
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
    layers: list[list[Part]] = [[] for _ in ordered]
    hanging: list[tuple[int, NDArray[np.float32]]] = []
    for i, garment in enumerate(ordered):
        if garment.kind != "skirt":
            own = reaches[i](shell)
            height = _height(fitted, garment, belt, np.min(own, axis=0))
            below_shoes = garment.kind not in BOTTOMS or garment.loose < WIDE or boots is None
            if boots is not None and not below_shoes:
                room = 0.024 * np.clip((shell.leg - boots + 0.2) / 0.2, 0, 1)
                height = np.maximum(height, room)
            seen = [
                hidden[k] - np.min(reaches[k](shell), axis=0)
                for k in range(i + 1, len(ordered))
                if ordered[k].kind != "skirt" or garment.tucked
            ]
            if below_shoes:
                seen += [2 * _HIDDEN - np.min(other(shell), axis=0) for other in over]
            found = _cloth(fitted, garment, height, own, seen)
            layers[i] = [part for part in found if part is not None]
            near = np.clip((np.min(own, axis=0) + 0.03) / 0.03, 0, 1)
            fitted.worn[:] = np.maximum(fitted.worn, height * near)
        if garment.skirted:
            hanging.append((i, fitted.worn.copy()))
    for i, worn in hanging:
        outer = [k for k in range(i + 1, len(ordered)) if ordered[k].kind != "skirt"]
        under = [(reaches[k], hidden[k]) for k in outer]
        made = skirt_of(wearer, ordered[i], Obstacles(*fitted.posed(worn)), under)
        layers[i].append(made)
        wide = Obstacles(made.vertices, made.normals)
        for k in outer:  # a short jacket makes room for a wide skirt
            layers[k] = [
                replace(part, vertices=wide.outside(part.vertices, 0.005, reach=0.04))
                for part in layers[k]
            ]
    covers = [
        (reach, depth)
        for garment, reach, depth in zip(ordered, reaches, hidden, strict=True)
        if garment.kind != "skirt"
    ]
    return [part for layer in layers for part in layer], covers, fitted


def _height(fitted: Fitted, garment: Garment, belt: float, reach: Floats) -> NDArray[np.float32]:
    """Return (n,) metres that a garment, of which ``reach`` (n,) is left, is above the shell."""
    height = np.full(len(fitted.base), _GAP.get(garment.kind, 0.006), np.float32)
    if garment.loose > 0.05:
        height = height + hung(fitted, garment)
    height = np.maximum(height, fitted.worn + np.float32(_LAYER))
    if garment.padded:
        height = height + quilted(fitted, garment, reach)
    if garment.tucked:  # flat where it goes into the bottoms
        above = fitted.shell.canonical[:, 1] - belt
        height = np.minimum(height, 0.006 + 0.35 * np.maximum(above, 0))
    if garment.kind not in ("socks", "slip"):
        crease = folds(fitted, garment)
        height = height + np.maximum(crease, -0.5 * (height - fitted.worn))
    return height


def _cloth(
    fitted: Fitted, garment: Garment, height: Floats, own: list[Floats], seen: list[Floats]
) -> list[Part | None]:
    """Cut a garment within its ``own`` borders where it is ``seen``: not under outer layers."""
    surface = garment.fabric.surface()
    upper = garment.kind in TOPS or garment.kind == "dress"
    plain = label("Upper_Clothing" if upper else "Lower_Clothing")
    labels = labels_by_side("Sock") if garment.kind == "socks" else plain
    thickness = 0.002 if garment.kind in ("socks", "slip", "leggings") else 0.005
    out = [
        sheet(
            fitted,
            height,
            [*own, *seen],
            surface=surface,
            labels=labels,
            thickness=thickness,
            name=garment.kind,
        )
    ]
    if garment.neck == "collar" and garment.kind in TOPS:
        out.append(_collar(fitted, garment, height, seen))
    if garment.neck == "turtle" and garment.kind in TOPS:
        places = fitted.shell.canonical
        band = [0.012 - neckline(places, "crew"), neckline(places, "turtle"), *seen]
        out.append(
            sheet(fitted, height + 0.006, band, surface=surface, labels=plain, name="turtle neck")
        )
    if garment.kind in ("shirt", "jacket"):
        out += _front_line(fitted, garment, height, [*own, *seen])
    return out


def _collar(fitted: Fitted, garment: Garment, height: Floats, seen: list[Floats]) -> Part | None:
    """Make a turned-down collar: a band around the neck that stands off below."""
    shell = fitted.shell
    below = neckline(shell.canonical, "collar")
    x, z = np.abs(shell.canonical[:, 0]), shell.canonical[:, 2]
    points = 0.035 + 0.03 * np.clip(1 - np.abs(x - 0.05) / 0.035, 0, 1) * (z > 0.03)
    neck = np.where((shell.canonical[:, 1] > 1.4) & (shell.arm < 0), 1.0, -1.0)
    gap = np.where(z > 0.0, x - (0.012 if not garment.open else 0.03), 1.0)
    band = [neck, below + 0.03, points - below, gap, *seen]
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
    if garment.neck == "collar":  # it begins below the collar's points
        front = np.minimum(front, neckline(shell.canonical, "collar") - 0.05)
    surface = (garment.detail if garment.kind == "jacket" else garment.fabric).surface()
    if garment.open:
        strips = [[0.012 - opening(shell.canonical)]]
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
