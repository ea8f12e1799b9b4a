# SPDX-License-Identifier: Apache-2.0
"""Glasses and sunglasses, made for a face: frames of tubes, temples over the ears, lenses."""

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.body import load_body
from vitruvian.synth.carried import metal, rigid
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import merged, tube
from vitruvian.synth.shells import Part, Wearer
from vitruvian.synth.surfaces import Glass, Surface
from vitruvian.synth.surfaces import Solid as SolidSurface

Floats = NDArray[np.floating]


def spectacles(wearer: Wearer, fabric: Fabric, *, dark: bool) -> list[Part]:
    """Put on glasses; ``dark`` for sunglasses."""
    model = load_body()
    rng = np.random.default_rng([wearer.seed, 11])
    eyes = [wearer.rest[model.group_vertices(f"{side}_eye")] for side in ("left", "right")]
    centres = [points.mean(axis=0).astype(np.float64) for points in eyes]
    lashes = wearer.rest[model.group_vertices("left_upper_lashes", "right_upper_lashes")]
    plane = float(max(points[:, 2].max() for points in eyes))
    plane = max(plane + 0.014, float(lashes[:, 2].max()) + 0.004)
    wide = float(rng.uniform(0.021, 0.026)) * (1.12 if dark else 1)
    high = float(rng.uniform(0.75, 1.0)) * wide * (1.0 if dark else 0.9)
    power, rim = float(rng.choice([2.0, 2.6, 3.4])), float(rng.uniform(0.0008, 0.0022))
    angle = np.arange(36) * (2 * np.pi / 36)

    def square(values: Floats) -> Floats:
        return np.sign(values) * np.abs(values) ** (2 / power)

    frame, lenses = [], []
    for centre in centres:
        sign = np.sign(centre[0])
        x = centre[0] + sign * 0.001 + wide * square(np.cos(angle))
        y = centre[1] - 0.003 + high * square(np.sin(angle))
        # the frame bows around the face
        z = plane - 1.6 * np.clip(np.abs(x) - 0.02, 0, 1) ** 2
        ring = np.stack([x, y, z], axis=1)
        frame.append(tube(ring, rim, sides=6, closed=True))
        middle = ring.mean(axis=0)
        rings = [middle + (ring - middle) * share for share in (0.999, 0.66, 0.33)]
        rings = [
            each + np.array([0, 0, 0.0016 * (1 - share * share)])
            for each, share in zip(rings, (1, 0.66, 0.33), strict=True)
        ]
        vertices = np.concatenate([*rings, (middle + np.array([0, 0, 0.0016]))[None]])
        quads = [
            [k * 36 + i, k * 36 + (i + 1) % 36, (k + 1) * 36 + (i + 1) % 36]
            for k in range(2) for i in range(36)
        ]  # fmt: skip
        quads += [
            [k * 36 + i, (k + 1) * 36 + (i + 1) % 36, (k + 1) * 36 + i]
            for k in range(2) for i in range(36)
        ]  # fmt: skip
        quads += [[72 + i, 72 + (i + 1) % 36, 108] for i in range(36)]
        lenses.append((vertices.astype(np.float32), np.array(quads, np.int32)))
    left, right = centres
    x = np.linspace(right[0] + wide - 0.001, left[0] - wide + 0.001, 7)
    arch = 0.004 * (1 - (2 * (x - x[0]) / (x[-1] - x[0]) - 1) ** 2)
    level = 0.5 * (left[1] + right[1]) + 0.002
    frame.append(tube(np.stack([x, level + arch, np.full(7, plane)], axis=1), rim))
    ears = wearer.bone("head")
    for centre in centres:
        sign = np.sign(centre[0])
        start = np.array([
            centre[0] + sign * wide, centre[1] + 0.004,
            plane - 1.6 * max(abs(centre[0]) + wide - 0.02, 0) ** 2,
        ])  # fmt: skip
        side = sign * _head_width(wearer)
        over = np.array([side, centre[1] + 0.008, ears[2] + 0.008])
        behind = np.array([side * 0.98, centre[1] - 0.022, ears[2] - 0.014])
        hinge = np.array([side * 0.99, start[1] + 0.002, start[2] - 0.012])
        legs = ((start, hinge, 3), (hinge, over, 6), (over, behind, 4))
        path = np.concatenate([start[None], *(np.linspace(a, b, n)[1:] for a, b, n in legs)])
        frame.append(tube(path, max(rim, 0.0012)))
    colour = fabric.colours[0]
    surface: Surface = SolidSurface(colour=colour, roughness=0.25)
    if rim < 0.0012:
        surface = metal(fabric)
    glass: Surface = Glass()
    if dark:
        glass = SolidSurface(colour=(0.012, 0.011, 0.01), roughness=0.06)
    return [
        rigid(wearer, merged(frame), "head", surface, "frame", "Eyeglass"),
        rigid(wearer, merged(lenses), "head", glass, "lenses", "Eyeglass"),
    ]


def _head_width(wearer: Wearer) -> float:
    """Return half the width of the head between the ears and the temples."""
    model = load_body()
    canonical = model.canonical.vertices[0]
    skin = model.group_vertices("skin")
    places = canonical[skin]
    near = (np.abs(places[:, 1] - 1.728) < 0.012) & (np.abs(places[:, 2] - 0.075) < 0.02)
    return float(np.abs(wearer.rest[skin[near], 0]).max()) + 0.0015
