# SPDX-License-Identifier: Apache-2.0
"""Streets and parks, and the studio's paper backdrop."""

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import light
from vitruvian.synth.clearing import DARK, UP, Builder, Clearing, leaves, wall_finish
from vitruvian.synth.patterns import (
    Blotches,
    Bricks,
    Pattern,
    Plain,
    Ramp,
)
from vitruvian.synth.place import Finish, Place

Floats = NDArray[np.floating]


def _ground(b: Builder, clearing: Clearing, *, paved: bool) -> None:
    x, z = clearing.middle
    if paved:
        tone = b.shade((0.25, 0.24, 0.23), b.between(0.4, 1.6))
        size = b.between(0.2, 1.0)
        choices: tuple[Pattern, ...] = (
            Blotches(
                colours=(b.shade(tone, 0.8), tone, b.shade(tone, 1.15)),
                size=b.between(0.04, 0.3),
                soft=1.0,
                seed=b.seed(),
            ),
            Bricks(
                colours=(tone, b.shade(tone, 0.8), b.shade(tone, 0.4)), width=size,
                height=size * b.between(0.5, 1), joint=0.012, seed=b.seed(),
            ),
        )  # fmt: skip
        pattern = choices[int(b.rng.integers(2))]
    else:
        tone = b.shade(
            b.pick((0.1, 0.14, 0.04), (0.16, 0.17, 0.07), (0.35, 0.28, 0.18), (0.75, 0.77, 0.8)),
            b.between(0.7, 1.2),
        )
        pattern = Blotches(
            colours=tuple(b.shade(tone, part) for part in (0.6, 0.8, 1.0, 1.25)),
            size=b.between(0.1, 0.9), soft=b.between(0.3, 1), seed=b.seed(),
        )  # fmt: skip
    reach = 150.0
    corner = (x - reach, 0, z + reach)
    b.quad(corner, (2 * reach, 0, 0), (0, 0, -2 * reach), Finish(pattern=pattern))


def street(b: Builder, clearing: Clearing) -> Place:
    """Invent a street."""
    _ground(b, clearing, paved=True)
    yaw = b.between(0, np.pi)
    way = np.array([np.sin(yaw), 0, np.cos(yaw)])
    across = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    centre = np.array([clearing.middle[0], 0, clearing.middle[1]])
    offsets = (clearing.eyes - centre) @ across
    for side in (-1, 1):
        line = max(float((offsets * side).max()) + 1.5, clearing.radius + 1.5) + b.between(0.5, 9)
        if b.chance(0.75):
            kerb = Finish(pattern=Plain(colour=b.shade((0.4, 0.39, 0.37), b.between(0.6, 1.2))))
            b.box(centre + across * (side * line), (0.3, 0.12, 200), yaw, kerb)
        place = -60.0
        while place < 80:
            width = b.between(6, 25)
            if b.chance(0.85):
                depth, height = b.between(6, 15), b.between(4, 22)
                spot = centre + way * (place + width / 2) + across * (side * (line + 2 + depth / 2))
                _house(b, spot, (depth, height, width), yaw)
            place += width + (b.between(1, 8) if b.chance(0.3) else 0.0)
        for _ in range(int(b.rng.integers(0, 6))):
            spot = centre + way * b.between(-25, 40) + across * (side * (line + b.between(0, 1.5)))
            if clearing.distance(spot[0], spot[2]) < 1.5:
                continue
            if b.chance(0.5):
                _car(b, spot, yaw)
            elif b.chance(0.5):
                _tree(b, spot)
            else:
                b.box(spot, (0.12, b.between(3, 6), 0.12), yaw, DARK)
    if b.chance(0.6):
        end = centre + way * (b.between(50, 90) * (1 if b.chance(0.5) else -1))
        _house(b, end, (40, b.between(8, 20), 12), yaw)
    return b.place(light.sky(b.rng, horizon=b.between(0, 0.1)), sunlit=True)


def _house(b: Builder, base: Floats, size: tuple[float, float, float], yaw: float) -> None:
    wall = b.pick(b.paint(bright=(0.3, 0.95), vivid=0.3), (0.35, 0.14, 0.09), (0.55, 0.52, 0.48))
    floor = b.between(2.7, 3.6)
    bay = b.between(1.4, 4)
    joint = b.between(0.35, 0.7) * min(bay, floor)
    glass = b.pick((0.02, 0.03, 0.04), (0.1, 0.13, 0.16), (0.3, 0.36, 0.42))
    front = Finish(
        pattern=Bricks(
            colours=(glass, b.shade(glass, 2.2), wall), width=bay, height=floor, joint=joint,
            offset=0, seed=b.seed(),
        )
    )  # fmt: skip
    if b.chance(0.2):
        front = wall_finish(b, wall)
    b.box(base, size, yaw, front, top=DARK)
    if b.chance(0.5):  # shop fronts
        lower = Finish(pattern=Bricks(
            colours=(b.paint(vivid=0.9), (0.03, 0.03, 0.04), b.paint(vivid=0.6)),
            width=b.between(1.5, 4), height=3.0, joint=0.4, offset=0, seed=b.seed(),
        ))  # fmt: skip
        b.box(base, (size[0] + 0.2, 3.0, size[2] - 0.1), yaw, lower)


def _car(b: Builder, base: Floats, yaw: float) -> None:
    body = Finish(pattern=Plain(colour=b.paint(vivid=0.9)))
    glass = Finish(pattern=Plain(colour=(0.03, 0.035, 0.04)))
    b.box(base + UP * 0.3, (1.75, 0.6, 4.2), yaw, body)
    b.box(base + UP * 0.9, (1.5, 0.5, 2.2), yaw, glass, top=body)
    way = np.array([np.sin(yaw), 0, np.cos(yaw)])
    across = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    for i in (-1.3, 1.3):
        for j in (-0.8, 0.8):
            b.box(base + way * i + across * j, (0.2, 0.6, 0.6), yaw, DARK)


def _tree(b: Builder, base: Floats) -> None:
    height = b.between(1.5, 4)
    bark = Finish(pattern=Plain(colour=b.shade((0.12, 0.08, 0.05), b.between(0.5, 1.5))))
    b.box(base, (0.25, height, 0.25), b.between(0, 3), bark)
    foliage = leaves(b)
    for _ in range(int(b.rng.integers(2, 5))):
        shift = b.rng.normal(0, 0.7, 3) + UP * (height + b.between(0.3, 1.6))
        b.ball(base + shift, b.between(0.8, 1.7), foliage)


def park(b: Builder, clearing: Clearing) -> Place:
    """Invent a park."""
    _ground(b, clearing, paved=b.chance(0.2))
    centre = np.array([clearing.middle[0], 0, clearing.middle[1]])
    if b.chance(0.5):
        yaw = b.between(0, np.pi)
        path = Finish(pattern=Blotches(
            colours=((0.4, 0.36, 0.3), (0.33, 0.3, 0.25)), size=0.1, soft=1.0, seed=b.seed(),
        ))  # fmt: skip
        way = np.array([np.sin(yaw), 0, np.cos(yaw)])
        across = np.array([np.cos(yaw), 0, -np.sin(yaw)]) * b.between(1, 3)
        start = centre - way * 60 + UP * 0.01 - across / 2
        b.quad(start + across * b.between(-2, 2), way * 120, across, path)
    for _ in range(int(b.rng.integers(4, 22))):
        heading, far = b.between(0, 2 * np.pi), b.between(3, 45)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        if clearing.distance(spot[0], spot[2]) > 2.5:
            _tree(b, spot)
    for _ in range(int(b.rng.integers(0, 4))):  # hedges, fences, walls
        heading, far = b.between(0, 2 * np.pi), b.between(5, 30)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        length = b.between(3, 25)
        if clearing.distance(spot[0], spot[2]) > length / 2 + 1.5:
            finish = leaves(b) if b.chance(0.5) else wall_finish(b, b.paint())
            b.box(spot, (length, b.between(0.5, 2), b.between(0.1, 0.8)), heading, finish)
    for _ in range(int(b.rng.integers(0, 5))):  # bushes and stones
        heading, far = b.between(0, 2 * np.pi), b.between(2, 15)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        if clearing.distance(spot[0], spot[2]) > 1.2:
            b.ball(spot, b.between(0.2, 0.9), leaves(b))
    if b.chance(0.4):
        heading, far = b.between(0, 2 * np.pi), b.between(25, 60)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        if clearing.distance(spot[0], spot[2]) > 20:
            _house(b, spot, (b.between(8, 25), b.between(4, 10), b.between(8, 12)), heading)
    return b.place(light.sky(b.rng, horizon=b.between(0, 0.18)), sunlit=True)


def studio(b: Builder, clearing: Clearing) -> Place:
    """Invent a studio with a paper backdrop."""
    colour = b.paint(bright=(0.05, 0.95), vivid=0.5)
    paper = Finish(pattern=Plain(colour=colour))
    x, z = clearing.middle
    far = max(float(np.abs(clearing.eyes[:, [0, 2]] - clearing.middle).max()), clearing.radius) + 1
    far += b.between(0.5, 3)
    b.quad((x - far, 0, z + far), (2 * far, 0, 0), (0, 0, -2 * far), paper)
    height = max(float(clearing.eyes[:, 1].max()), float(clearing.high[1]), 2.5) + 1.5
    wall = Finish(pattern=Ramp(
        colours=(colour, b.shade(colour, b.between(0.4, 1.4))), start=0.2, end=height,
    ))  # fmt: skip
    for side in range(4):
        inward = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]][side])
        along = np.cross(UP, inward)
        start = np.array([x, 0, z]) - (inward + along) * far
        b.quad(start, along * (2 * far), UP * height, wall)
    grey = b.between(0.02, 0.4)
    ceiling = Finish(pattern=Plain(colour=(grey, grey, grey)))
    b.quad((x - far, height, z - far), (2 * far, 0, 0), (0, 0, 2 * far), ceiling)
    for _ in range(int(b.rng.integers(1, 4))):  # softboxes, above what cameras mostly show
        heading, away = b.between(0, 2 * np.pi), far * b.between(0.5, 0.9)
        spot = np.array([x + np.sin(heading) * away, 0.0, z + np.cos(heading) * away])
        spot[1] = b.between(2.4, height - 0.9)
        toward = np.array([x, 1.2, z]) - spot
        toward /= np.linalg.norm(toward)
        side = np.cross(UP, toward)
        side /= np.linalg.norm(side)
        half = side * b.between(0.3, 0.8), np.cross(toward, side) * b.between(0.3, 0.8)
        power = b.between(5, 40)
        shine = Finish(pattern=Plain(colour=(0.9, 0.9, 0.9)), emission=(power, power, power))
        b.quad(spot - half[0] - half[1], 2 * half[0], 2 * half[1], shine)
    return b.place(light.studio(b.rng), sunlit=False)
