# SPDX-License-Identifier: Apache-2.0
"""Rooms: floors, walls, windows, furniture and clutter."""

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import light
from vitruvian.synth.clearing import DARK, UP, Builder, Clearing, leaves, wall_finish
from vitruvian.synth.patterns import (
    Blotches,
    Bricks,
    Colour,
    Pattern,
    Plain,
    Ramp,
)
from vitruvian.synth.place import Finish, Place

Floats = NDArray[np.floating]


def room(b: Builder, clearing: Clearing) -> Place:
    """Invent a room."""
    everyone = np.concatenate([clearing.eyes, clearing.low[None], clearing.high[None]])
    low, high = everyone.min(axis=0), everyone.max(axis=0)
    low, high = low - b.rng.uniform(0.5, 3.5, 3), high + b.rng.uniform(0.5, 3.5, 3)
    low[1] = 0.0
    high[1] = max(b.between(2.3, 3.4), float(everyone[:, 1].max()) + 0.25)
    span = high - low
    b.quad((low[0], 0, high[2]), (span[0], 0, 0), (0, 0, -span[2]), _floor(b))
    white = b.shade((0.8, 0.8, 0.78), b.between(0.8, 1.05))
    ceiling = Finish(pattern=Plain(colour=white))
    b.quad((low[0], high[1], low[2]), (span[0], 0, 0), (0, 0, span[2]), ceiling)
    base = b.paint(bright=(0.35, 0.95), vivid=0.3)
    for side in range(4):
        inward = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]][side])
        along = np.cross(UP, inward)
        length = float(abs(along @ span))
        start = np.where(inward + along < 0, high, low)
        start[1] = 0
        colour = base if b.chance(0.75) else b.paint(bright=(0.2, 0.9), vivid=0.6)
        _wall(b, start, along, inward, length, float(high[1]), colour)
    glow = b.between(0.6, 4.0)
    for _ in range(int(b.rng.integers(0, 5))):
        x, z = b.between(low[0] + 0.5, high[0] - 0.5), b.between(low[2] + 0.5, high[2] - 0.5)
        width, depth = b.between(0.2, 0.6), b.between(0.2, 1.2)
        tint = (glow * 6, glow * b.between(5.2, 6.2), glow * b.between(3.8, 6.2))
        panel = Finish(pattern=Plain(colour=(0.9, 0.9, 0.9)), emission=tint)
        corner = (x - width / 2, high[1] - 0.01, z - depth / 2)
        b.quad(corner, (width, 0, 0), (0, 0, depth), panel)
    for _ in range(int(b.rng.integers(3, 13))):
        _furnish(b, clearing, low, high)
    sky = light.sky(b.rng)
    return b.place(sky, sunlit=False)


def _floor(b: Builder) -> Finish:
    choice = int(b.rng.integers(5))
    tone = b.wood() if choice < 2 else b.paint(bright=(0.15, 0.85), vivid=0.25)
    other, joint = b.shade(tone, b.between(0.65, 0.95)), b.shade(tone, 0.35)
    if choice < 2:
        width, height = b.between(0.6, 1.8), b.between(0.07, 0.18)
        pattern: Pattern = Bricks(
            colours=(tone, other, joint), width=width, height=height, joint=0.003, offset=0.37,
            seed=b.seed(),
        )  # fmt: skip
    elif choice == 2:
        size = b.between(0.2, 0.8)
        pattern = Bricks(
            colours=(tone, b.shade(tone, 0.93), joint), width=size, height=size, joint=0.006,
            offset=0, seed=b.seed(),
        )  # fmt: skip
    elif choice == 3:
        pattern = Blotches(
            colours=(tone, other), size=b.between(0.05, 0.8), soft=b.between(0, 1), seed=b.seed()
        )
    else:
        pattern = Plain(colour=tone)
    return Finish(pattern=pattern)


def _wall(
    b: Builder, start: Floats, along: Floats, inward: Floats, length: float, height: float,
    colour: Colour,
) -> None:  # fmt: skip
    """Add a wall with a skirting board, windows, a door and pictures."""
    b.quad(start, along * length, UP * height, wall_finish(b, colour))
    trim = Finish(pattern=Plain(colour=b.shade((0.8, 0.8, 0.78), b.between(0.3, 1))))

    def patch(x: float, y: float, width: float, tall: float, off: float, finish: Finish) -> None:
        b.quad(start + along * x + UP * y + inward * off, along * width, UP * tall, finish)

    if b.chance(0.7):
        patch(0, 0, length, b.between(0.06, 0.14), 0.012, trim)
    x = b.between(0.1, 1.0)
    while x < length - 1.0:
        width = min(b.between(0.5, 2.2), length - x - 0.1)
        choice = b.rng.random()
        if choice < 0.25:
            sill, tall = b.between(0.4, 1.0), b.between(0.9, min(1.6, height - 1.2))
            day = b.between(1.0, 6.0)
            view = Ramp(
                colours=(b.pick((0.2, 0.3, 0.12), (0.35, 0.33, 0.3)), (0.75, 0.85, 0.95)),
                start=tall * 0.2, end=tall * 0.6,
            )  # fmt: skip
            patch(x, sill, width, tall, 0.008, trim)
            pane = Finish(pattern=view, emission=(day, day, day * b.between(0.9, 1.1)))
            panes = int(b.rng.integers(1, 4))
            for pane_index in range(panes):
                each = width / panes
                patch(
                    x + pane_index * each + 0.04, sill + 0.04, each - 0.08, tall - 0.08, 0.016, pane
                )
            if b.chance(0.4):
                cloth = Finish(pattern=b.print())
                for shift in (-0.15, width - 0.2):
                    patch(x + shift, 0.05, 0.35, sill + tall + 0.1, 0.06, cloth)
        elif choice < 0.35:
            width = min(0.9, width)
            patch(x - 0.05, 0, width + 0.1, 2.08, 0.01, trim)
            patch(x, 0, width, 2.03, 0.02, b.thing())
        elif choice < 0.75:
            tall = b.between(0.3, 1.0)
            y = b.between(1.0, max(height - tall - 0.3, 1.05))
            patch(x - 0.02, y - 0.02, width * 0.7 + 0.04, tall + 0.04, 0.015, b.thing())
            patch(x, y, width * 0.7, tall, 0.022, Finish(pattern=b.print()))
        x += width + b.between(0.2, 2.0)


def _furnish(b: Builder, clearing: Clearing, low: Floats, high: Floats) -> None:
    """Try to put one piece of furniture somewhere free, mostly along walls."""
    for _ in range(6):
        x, z = b.between(low[0] + 0.4, high[0] - 0.4), b.between(low[2] + 0.4, high[2] - 0.4)
        yaw = b.between(0, 2 * np.pi)
        if b.chance(0.75):
            side = int(b.rng.integers(4))
            yaw = [np.pi / 2, -np.pi / 2, 0, np.pi][side]
            x, z = ((low[0] + 0.4, z), (high[0] - 0.4, z), (x, low[2] + 0.4), (x, high[2] - 0.4))[
                side
            ]
        reach = 0.9
        if clearing.distance(x, z) > reach:
            break
    else:
        return
    base = np.array([x, 0.0, z])
    finish, other = b.thing(), b.thing()
    choice = int(b.rng.integers(6))
    if choice == 0:  # table
        width, depth, height = b.between(0.6, 1.5), b.between(0.5, 0.9), b.between(0.4, 0.78)
        b.box(base + UP * height, (width, 0.04, depth), yaw, finish)
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        for i in (-1, 1):
            for j in (-1, 1):
                leg = turn @ np.array([i * (width / 2 - 0.05), 0, j * (depth / 2 - 0.05)])
                b.box(base + leg, (0.05, height, 0.05), yaw, finish)
        _clutter(b, base + UP * (height + 0.04), min(width, depth) / 2)
    elif choice == 1:  # sofa or armchair
        width, cloth = b.between(0.7, 1.7), Finish(pattern=b.print())
        ahead = np.array([np.sin(yaw), 0, np.cos(yaw)])
        right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
        b.box(base, (width, 0.42, 0.75), yaw, cloth)
        b.box(base - ahead * 0.3, (width, 0.85, 0.18), yaw, cloth)
        for side in (-1, 1):
            b.box(base + right * (side * width / 2), (0.16, 0.6, 0.8), yaw, cloth)
    elif choice == 2:  # shelf with books
        width, height = b.between(0.6, 1.4), b.between(1.0, 2.1)
        ahead = np.array([np.sin(yaw), 0, np.cos(yaw)])
        right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
        b.box(base - ahead * 0.13, (width, height, 0.06), yaw, finish)
        shelf = 0.1
        while shelf < height - 0.3:
            b.box(base + UP * shelf, (width, 0.025, 0.28), yaw, finish)
            place = -width / 2 + 0.05
            while place < width / 2 - 0.12:
                thick = b.between(0.03, 0.14)
                book = Finish(pattern=Plain(colour=b.paint(vivid=0.8)))
                spot = base + UP * (shelf + 0.025) + right * (place + thick / 2)
                b.box(spot, (thick * 0.95, b.between(0.15, 0.27), 0.2), yaw, book)
                place += thick + (b.between(0.1, 0.3) if b.chance(0.25) else 0)
            shelf += b.between(0.3, 0.4)
    elif choice == 3:  # cabinet, fridge, chest
        size = (b.between(0.4, 1.4), b.between(0.5, 2.0), b.between(0.4, 0.6))
        b.box(base, size, yaw, finish, top=other)
        _clutter(b, base + UP * size[1], 0.2)
    elif choice == 4:  # potted plant
        height = b.between(0.25, 0.5)
        b.box(base, (0.35, height, 0.35), yaw, finish)
        foliage = leaves(b)
        for _ in range(int(b.rng.integers(1, 4))):
            shift = b.rng.normal(0, 0.12, 3) + UP * (height + b.between(0.2, 0.7))
            b.ball(base + shift, b.between(0.15, 0.35), foliage)
    else:  # floor lamp
        shine = b.between(1, 5)
        b.box(base, (0.04, 1.5, 0.04), yaw, DARK)
        shade = Finish(
            pattern=Plain(colour=b.paint(bright=(0.6, 0.95))),
            emission=(shine, shine * 0.85, shine * 0.6),
        )
        b.box(base + UP * 1.45, (0.35, 0.3, 0.35), yaw, shade)


def _clutter(b: Builder, base: Floats, reach: float) -> None:
    for _ in range(int(b.rng.integers(0, 5))):
        spot = base + np.array([b.between(-reach, reach), 0, b.between(-reach, reach)])
        size = (b.between(0.05, 0.25), b.between(0.03, 0.3), b.between(0.05, 0.25))
        b.box(spot, size, b.between(0, np.pi), Finish(pattern=Plain(colour=b.paint(vivid=0.9))))
