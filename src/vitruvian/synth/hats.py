# SPDX-License-Identifier: Apache-2.0
"""Caps, beanies, brimmed hats and headscarves: shells of the head, with brims."""

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import noise
from vitruvian.synth.carried import rigid
from vitruvian.synth.cut import cut
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import slab
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.scalp import hat_line
from vitruvian.synth.shells import Fitted, Part, Shell, Wearer, label, sheet, shell
from vitruvian.synth.surfaces import Surface

Floats = NDArray[np.floating]
HATS = ("cap", "beanie", "hat", "headscarf")


def _face_opening(places: Floats) -> Floats:
    """Return metres outside of the oval that a headscarf leaves free."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    oval = (np.hypot(x / 0.068, (y - 1.69) / 0.088) - 1) * 0.07
    return np.where(z > 0.055, oval, 0.05)


def veiled(own: Shell) -> list[Floats]:
    """Return the reach of a headscarf."""
    head = np.where(own.head > 0.2, 0.1, -1.0)
    return [head, own.canonical[:, 1] - 1.5, _face_opening(own.canonical) - 0.008]


def hat_of(fitted: Fitted, kind: str, fabric: Fabric) -> list[Part]:
    """Put on a hat of a kind."""
    wearer = fitted.wearer
    own = shell(("skin",), 0)
    rest = own.piece.operator @ wearer.rest
    base = own.smoothed(rest, 40 if kind == "headscarf" else 10)
    normals = vertex_normals(base, own.piece.faces)
    places = own.smoothed(own.canonical, 40 if kind == "headscarf" else 10)
    above = hat_line(kind, places)
    height = np.full(len(base), 0.013)
    if kind == "cap":
        height += 0.014 * np.clip(above / 0.05, 0, 1)
    elif kind == "beanie":
        slack = noise.smooth(np.ascontiguousarray(places.T), 14, seed=wearer.seed)
        height += 0.006 + 0.012 * np.clip((above - 0.05) / 0.05, 0, 1) * (0.5 + slack)
    elif kind == "hat":
        height += 0.03 * np.clip(above / 0.07, 0, 1)
    else:
        slack = noise.smooth(np.ascontiguousarray(places.T), 20, seed=wearer.seed)
        height += 0.012 * slack + 0.012
    on_head = Fitted(
        shell=own, wearer=wearer, base=base, normals=normals, worn=np.zeros(len(base), np.float32)
    )
    surface = fabric.surface()
    mine = np.where(own.head > 0.75, 1.0, -1.0)
    apparel = label("Apparel")
    keep = [np.where(own.head > 0.3, 1.0, -1.0), above, _face_opening(places)]
    if kind != "headscarf":
        keep = [mine, above]
    parts = [
        sheet(on_head, height, keep, surface=surface, labels=apparel, thickness=0.006, name=kind)
    ]
    if kind == "beanie":
        band = [mine, above, 0.042 - above]
        parts.append(
            sheet(on_head, height + 0.007, band, surface=surface, labels=apparel, name="cuff")
        )
    if kind == "headscarf":
        chest = fitted.shell.canonical
        x, y = np.abs(chest[:, 0]), chest[:, 1]
        wrap = [np.where(fitted.shell.arm < -0.2, 1.0, -1.0), y - 1.43 - 0.5 * x]
        high = fitted.worn + 0.016 + 0.2 * np.clip(y - 1.5, 0, 0.1)
        parts.append(sheet(fitted, high, wrap, surface=surface, labels=apparel, name="wrap"))
    if kind in ("cap", "hat"):
        parts.append(_brim(wearer, own, base + normals * height[:, None], above, kind, surface))
    return [part for part in parts if part is not None]


def _brim(
    wearer: Wearer, own: Shell, places: Floats, above: Floats, kind: str, surface: Surface
) -> Part:
    """Make the peak of a cap, or the brim around a hat, from the hat's lower border."""
    kept = cut(own.piece.faces, np.where(own.head > 0.75, above, -1.0))
    ring = kept.apply(places)[kept.border]
    middle = ring.mean(axis=0)
    angle = np.arctan2(ring[:, 0] - middle[0], ring[:, 2] - middle[2])
    order = np.argsort(angle)
    angle, ring = angle[order], ring[order]
    whole = kind == "hat"
    count = 72 if whole else 33
    at = (
        np.linspace(-np.pi, np.pi, count, endpoint=False)
        if whole
        else np.linspace(-1.05, 1.05, count)
    )
    start = np.stack([np.interp(at, angle, ring[:, k], period=2 * np.pi) for k in range(3)], axis=1)
    out = np.stack([np.sin(at), np.zeros(count), np.cos(at)], axis=1)
    rng = np.random.default_rng([wearer.seed, 3])
    if whole:
        reach = np.full(count, rng.uniform(0.04, 0.085))
        drop = rng.uniform(-0.1, 0.35) + 0.25 * np.cos(2 * at) * rng.uniform(0, 1)
    else:
        # a little at the ends, too: faces without area have no normals
        reach = rng.uniform(0.06, 0.075) * np.clip(np.cos(at / 1.05 * np.pi / 2), 1e-3, 1) ** 0.5
        drop = 0.15 + 0.35 * (at / 1.05) ** 2
    steps = np.linspace(-0.08, 1, 6)[:, None]
    grid = start[None] + out[None] * (reach * steps)[..., None]
    grid[..., 1] -= reach * drop * np.clip(steps, 0, 1) ** 1.3
    solid = slab(grid, 0.003, closed=whole)
    return rigid(wearer, solid, "head", surface, "brim")
