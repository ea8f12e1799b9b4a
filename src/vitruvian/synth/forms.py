# SPDX-License-Identifier: Apache-2.0
"""Small solids that shoes and accessories are made of: tubes, slabs, rounded boxes, domes."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Solid = tuple[NDArray[np.float32], NDArray[np.int32]]
"""(V, 3) vertices in metres and (F, 3) faces, counter-clockwise from outside."""


def tube(path: Floats, radius: float | Floats, *, sides: int = 6, closed: bool = False) -> Solid:
    """Return a tube along an (n, 3) path; open tubes have closed ends."""
    path = np.asarray(path, np.float64)
    if closed:
        way = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        way = np.gradient(path, axis=0)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12)
    # a direction that is never along the path, carried on without twisting
    side = np.zeros_like(way)
    start = np.eye(3)[np.abs(way[0]).argmin()]
    for k, forwards in enumerate(way):
        start = start - forwards * (start @ forwards)
        start /= np.linalg.norm(start)
        side[k] = start
    other = np.cross(way, side)
    angle = np.arange(sides) * (2 * np.pi / sides)
    wide = np.broadcast_to(np.asarray(radius, np.float64), (len(path),))[:, None, None]
    ring = np.cos(angle)[None, :, None] * side[:, None]
    ring = ring + np.sin(angle)[None, :, None] * other[:, None]
    vertices = (path[:, None] + wide * ring).reshape(-1, 3)
    rows = np.arange(len(path) if closed else len(path) - 1)
    quads = _ring_quads(rows, (rows + 1) % len(path), sides)
    faces = [quads]
    if not closed:
        fan = np.arange(1, sides - 1)
        zero = np.zeros_like(fan)
        end = (len(path) - 1) * sides
        faces += [np.stack([zero, fan + 1, fan], axis=1)]
        faces += [end + np.stack([zero, fan, fan + 1], axis=1)]
    return vertices.astype(np.float32), np.concatenate(faces).astype(np.int32)


def _ring_quads(
    rows: NDArray[np.int64], following: NDArray[np.int64], sides: int
) -> NDArray[np.int64]:
    """Return the triangles between rings of vertices."""
    step = np.arange(sides)
    a, b = (rows[:, None] * sides + s for s in (step, (step + 1) % sides))
    c, d = (following[:, None] * sides + s for s in (step, (step + 1) % sides))
    return np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([b, d, c], axis=-1).reshape(-1, 3)]
    )


def slab(top: Floats, thickness: float, *, closed: bool = False) -> Solid:
    """Return a plate with rounded-off sides from a grid of places on its upper side.

    Args:
        top: (m, n, 3): m rows outwards, n places along each row, counter-clockwise from above.
        thickness: metres, downwards along y.
        closed: whether the last place of a row is next to the first.
    """
    top = np.asarray(top, np.float64)
    rows, count = top.shape[:2]
    bottom = top - [0.0, thickness, 0.0]
    columns = np.arange(count if closed else count - 1)
    following = (columns + 1) % count
    row = np.arange(rows - 1)[:, None]
    a, b = row * count + columns, row * count + following
    c, d = a + count, b + count
    upper = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    lower = upper[:, ::-1] + rows * count
    rim = [(rows - 1) * count + columns, (rows - 1) * count + following]
    border = [np.stack([rim[0], rim[1]], axis=1)]
    if not closed:
        steps = np.arange(rows - 1)
        first, last = steps * count, steps * count + count - 1
        border += [np.stack([first, first + count], 1), np.stack([last + count, last], 1)]
    e, f = np.concatenate(border).T
    deep = rows * count
    sides = np.concatenate([np.stack([e, e + deep, f], 1), np.stack([f, e + deep, f + deep], 1)])
    vertices = np.concatenate([top.reshape(-1, 3), bottom.reshape(-1, 3)])
    return vertices.astype(np.float32), np.concatenate([upper, lower, sides]).astype(np.int32)


def rounded(size: tuple[float, float, float], *, power: float = 4.0, rings: int = 12) -> Solid:
    """Return a superellipsoid about the origin: a ball for power 2, nearly a box for 8.

    Args:
        size: half its extent along x, y, z, metres.
        power: how square it is.
        rings: of latitude.
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings)
    longitude = np.arange(2 * rings) * (np.pi / rings)

    def shaped(values: Floats) -> Floats:
        return np.sign(values) * np.abs(values) ** (2 / power)

    flat, high = shaped(np.cos(latitude))[:, None], shaped(np.sin(latitude))[:, None]
    x = flat * shaped(np.sin(longitude)) * size[0]
    z = flat * shaped(np.cos(longitude)) * size[2]
    y = np.broadcast_to(high * size[1], x.shape)
    rows = np.arange(rings - 1)
    faces = _ring_quads(rows, rows + 1, 2 * rings)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32), faces.astype(np.int32)


def merged(pieces: list[Solid]) -> Solid:
    """Put several solids into one."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in pieces[:-1])])
    return (
        np.concatenate([vertices for vertices, _ in pieces]),
        np.concatenate([f + s for (_, f), s in zip(pieces, starts, strict=True)]).astype(np.int32),
    )
