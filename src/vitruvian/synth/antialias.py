# SPDX-License-Identifier: Apache-2.0
"""Smooth edges in pictures: more rays through the pixels where something ends, within a budget.

Labels are never smoothed; only colours are. Light is not gathered again where the pixel or a
neighbour already knows it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import irradiance, shade
from vitruvian.synth.gathered import Geometry
from vitruvian.synth.gbuffer import GBuffer, Hits, cast
from vitruvian.synth.irradiance import Quality, Received
from vitruvian.synth.light import Lamps
from vitruvian.synth.surfaces import Surface

Floats = NDArray[np.floating]

_OFFSETS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
_LARGEST = 400_000  # rays per picture, so that a head full of hair does not take forever


def edges(
    buffer: GBuffer, materials: Sequence[Surface], *, budget: int = _LARGEST
) -> tuple[NDArray[np.intp], int]:
    """Return the pixels (flat) to smooth and how many rays each gets, at most four.

    Pixels where person, surface, label, depth or normal jump, and all of hair: strands are thinner
    than pixels. If that is more than the budget allows, each gets fewer rays.
    """
    height, width = buffer.camera.size
    hits = buffer.hits
    kind = np.zeros(height * width, np.int32)
    kind[hits.ray] = (hits.instance.astype(np.int32) << 24) + (hits.surface + 1 << 8) + hits.label
    depth = np.zeros(height * width, np.float32)
    depth[hits.ray] = hits.depth
    normal = np.zeros((3, height * width), np.float32)
    normal[:, hits.ray] = hits.normal
    kind, depth = kind.reshape(height, width), depth.reshape(height, width)
    normal = normal.reshape(3, height, width)
    edge = np.zeros((height, width), np.bool_)
    for axis in (0, 1):
        one, two = [slice(None)] * 2, [slice(None)] * 2
        one[axis], two[axis] = slice(0, -1), slice(1, None)
        a, b = tuple(one), tuple(two)
        jump = kind[a] != kind[b]
        gap = np.abs(depth[a] - depth[b])
        jump |= gap > np.float32(0.012) * np.minimum(depth[a], depth[b]) + np.float32(1e-3)
        cosine = (normal[:, *a] * normal[:, *b]).sum(axis=0)
        jump |= (cosine < 0.6) & (kind[a] != 0) & (kind[b] != 0)
        edge[a] |= jump
        edge[b] |= jump
    hairy = shade.hair(materials)
    flat = edge.ravel()
    if hairy:
        flat[hits.ray[np.isin(hits.surface, hairy)]] = True
    pixels = np.flatnonzero(flat)
    rays = int(np.clip(budget // max(len(pixels), 1), 1, len(_OFFSETS)))
    return pixels, rays if rays != 3 else 2


def resolve(
    picture: NDArray[np.float32],
    behind: NDArray[np.float32],
    behind_depth: NDArray[np.float32],
    geometry: Geometry,
    materials: Sequence[Surface],
    buffer: GBuffer,
    received: Received,
    lamps: Lamps,
    quality: Quality,
    jitter: tuple[float, float],
    brightest: float,
) -> None:
    """Replace edge pixels by the mean of rays through several of their places, in place.

    Args:
        picture: (3, n) radiance of all pixels.
        behind: (3, n) radiance of the background alone.
        behind_depth: (n,) its depth; what lies further is hidden by it.
        geometry: what rays meet.
        materials: surfaces of the scene.
        buffer: what pixel centres met.
        received: light of its hits.
        lamps: the light.
        quality: rays into the light where it is not known.
        jitter: of their directions.
        brightest: radiance at which one ray is cut, so that a spark does not leave a jagged edge.
    """
    pixels, rays = edges(buffer, materials)
    if not len(pixels):
        return
    camera = buffer.camera
    height, width = camera.size
    known = np.full(height * width, -1, np.int64)
    known[buffer.hits.ray] = np.arange(len(buffer.hits))
    y, x = np.divmod(pixels, width)
    count, offsets = len(pixels), np.array(_OFFSETS[:: len(_OFFSETS) // rays][:rays])
    hits = cast(geometry, camera, (x + offsets[:, :1]).ravel(), (y + offsets[:, 1:]).ravel())
    hits = select(hits, np.flatnonzero(hits.depth < behind_depth[pixels[hits.ray % count]]))
    colour = np.tile(behind[:, pixels], rays)
    if len(hits):
        pixel = pixels[hits.ray % count]
        lit = _known_light(
            geometry, materials, hits, pixel, buffer, received, known, lamps, quality, jitter
        )
        shone = shade.shade(geometry, materials, hits, lit, lamps, camera).radiance
        panes = shade.glass(materials, hits)
        # what is behind glass is taken from the pixel's centre
        shone[:, panes] = picture[:, pixel[panes]]
        colour[:, hits.ray] = shone
    np.minimum(colour, np.float32(brightest), out=colour)
    total = np.minimum(picture[:, pixels], np.float32(brightest))
    for number in range(rays):
        total += colour[:, number * count : (number + 1) * count]
    picture[:, pixels] = total / np.float32(rays + 1)


def select(hits: Hits, which: NDArray[np.intp]) -> Hits:
    """Return some of the hits."""
    if len(which) == len(hits):
        return hits
    return Hits(**{
        name: getattr(hits, name)[..., which]
        for name in (
            "ray", "face", "weights", "depth", "position", "view", "normal", "plane", "label",
            "surface", "instance",
        )
    })  # fmt: skip


def _known_light(
    geometry: Geometry,
    materials: Sequence[Surface],
    hits: Hits,
    pixel: NDArray[np.intp],
    buffer: GBuffer,
    received: Received,
    known: NDArray[np.int64],
    lamps: Lamps,
    quality: Quality,
    jitter: tuple[float, float],
) -> Received:
    """Return the light of hits: from the pixel or a neighbour on the same surface, else asked."""
    height, width = buffer.camera.size
    source = np.full(len(hits), -1, np.int64)
    missing = np.arange(len(hits))
    y, x = pixel // width, pixel % width
    for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
        row, column = y[missing] + dy, x[missing] + dx
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        near = known[np.where(inside, row * width + column, 0)]
        alike = inside & (near >= 0)
        near = np.maximum(near, 0)
        if len(buffer.hits):
            alike &= buffer.hits.surface[near] == hits.surface[missing]
            alike &= buffer.hits.instance[near] == hits.instance[missing]
            gap = np.abs(buffer.hits.depth[near] - hits.depth[missing])
            alike &= gap < 0.05 * hits.depth[missing]
        source[missing[alike]] = near[alike]
        missing = missing[~alike]
    index = np.maximum(source, 0)
    if not len(buffer.hits):
        index = np.zeros(0, np.int64)
    lit = Received(
        sky=np.ascontiguousarray(received.sky[:, index]),
        open=received.open[index],
        sun=received.sun[index],
    )
    if len(missing):
        new = select(hits, missing)
        fresh = irradiance.receive(
            geometry.intersector,
            lamps,
            new.position,
            new.normal,
            new.plane,
            irradiance.clearances(new, shade.hair(materials)),
            irradiance.tile_numbers(pixel[missing], width, quality.tile),
            replace(quality, rays=max(quality.rays, 2)),
            jitter,
        )
        lit.sky[:, missing] = fresh.sky
        lit.open[missing] = fresh.open
        lit.sun[missing] = fresh.sun
    return lit
