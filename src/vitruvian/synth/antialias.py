# SPDX-License-Identifier: Apache-2.0
"""Smooth edges in pictures: more rays through the pixels where something ends, within a budget.

Labels are never smoothed; only colours are. Light is not gathered again where the pixel or a
neighbour already knows it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import gbuffer, irradiance, shade
from vitruvian.synth.gathered import Geometry
from vitruvian.synth.gbuffer import GBuffer, Hits
from vitruvian.synth.intersect import Nearest
from vitruvian.synth.irradiance import Quality, Received
from vitruvian.synth.light import Lamps
from vitruvian.synth.surfaces import Eye, Hair, Surface

Floats = NDArray[np.floating]

_OFFSETS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
_CONTRAST = np.float32(0.025)  # steps of six levels of 255 and less need no smoothing
_LARGEST = 240_000  # rays per picture, so that a head full of hair does not take forever


def edges(
    buffer: GBuffer,
    materials: Sequence[Surface],
    *,
    shown: Floats | None = None,
    budget: int | None = None,
) -> tuple[NDArray[np.intp], int]:
    """Return the pixels (flat) to smooth and how many rays each gets, at most four.

    Pixels where person, surface, label, depth or normal jump, and all of hair: strands are thinner
    than pixels. Of these only the ones that differ visibly from a neighbour, if it is said what is
    shown. If that is more than the budget allows, each gets fewer rays.

    Args:
        buffer: what pixel centres met.
        materials: surfaces of the scene.
        shown: (3, n) brightness of all pixels as an eye takes it, 0 … 1.
        budget: rays for the whole picture; as many as it has pixels by default, and never more
            than 240,000.
    """
    height, width = buffer.camera.size
    budget = min(height * width, _LARGEST) if budget is None else budget
    hits = buffer.hits
    kind = np.zeros(height * width, np.int32)
    kind[hits.ray] = (hits.instance.astype(np.int32) << 24) + (hits.surface + 1 << 8) + hits.label
    depth = np.zeros(height * width, np.float32)
    depth[hits.ray] = hits.depth
    normal = np.zeros((3, height * width), np.float32)
    normal[:, hits.ray] = hits.normal
    hairy = np.zeros(height * width, np.bool_)
    strands = shade.hair(materials)
    if strands:
        hairy[hits.ray[np.isin(hits.surface, strands)]] = True
    kind, depth = kind.reshape(height, width), depth.reshape(height, width)
    normal, hairy = normal.reshape(3, height, width), hairy.reshape(height, width)
    seen = None if shown is None else shown.reshape(-1, height, width)
    edge = np.zeros((height, width), np.bool_) if seen is not None else hairy.copy()
    for axis in (0, 1):
        one, two = [slice(None)] * 2, [slice(None)] * 2
        one[axis], two[axis] = slice(0, -1), slice(1, None)
        a, b = tuple(one), tuple(two)
        jump = (kind[a] != kind[b]) | hairy[a]
        gap = np.abs(depth[a] - depth[b])
        jump |= gap > np.float32(0.012) * np.minimum(depth[a], depth[b]) + np.float32(1e-3)
        cosine = (normal[:, *a] * normal[:, *b]).sum(axis=0)
        jump |= (cosine < 0.6) & (kind[a] != 0) & (kind[b] != 0)
        if seen is not None:
            jump &= (np.abs(seen[:, *a] - seen[:, *b]) > _CONTRAST).any(axis=0)
        edge[a] |= jump
        edge[b] |= jump
    pixels = np.flatnonzero(edge)
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
    exposure: float,
) -> None:
    """Replace edge pixels by the mean of rays through several of their places, in place.

    Where a ray meets what the pixel or a neighbour shows, its colour is theirs; hair, eyes and what
    no centre of a pixel has met are shaded.

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
        exposure: what radiance is multiplied with before it is shown.
    """
    shown = picture * np.float32(exposure)
    np.sqrt(np.clip(shown, 0, 1, out=shown), out=shown)  # about as films and eyes do
    pixels, rays = edges(buffer, materials, shown=shown)
    if not len(pixels):
        return
    brightest = 3.0 / exposure  # one ray is cut there: a spark must not leave a jagged edge
    camera = buffer.camera
    width = camera.size[1]
    known = np.full(picture.shape[1], -1, np.int32)
    known[buffer.hits.ray] = np.arange(len(buffer.hits), dtype=np.int32)
    y, x = np.divmod(pixels, width)
    count, offsets = len(pixels), np.array(_OFFSETS[:: len(_OFFSETS) // rays][:rays])
    ways = gbuffer.directions(camera, (x + offsets[:, :1]).ravel(), (y + offsets[:, 1:]).ravel())
    nearest = gbuffer.meet(geometry, camera, ways)
    colour = np.tile(behind[:, pixels], rays)
    met = np.flatnonzero(
        (nearest.face >= 0) & (nearest.distance < np.tile(behind_depth[pixels], rays))
    )
    pixel = pixels[met % count]
    hair = shade.hair(materials)
    source = _alike(geometry, nearest.face[met], nearest.distance[met], pixel, buffer, known, hair)
    single = [k for k, one in enumerate(materials) if isinstance(one, Hair | Eye)]
    fresh = (source < 0) | np.isin(geometry.surfaces[nearest.face[met]], single)
    same = np.flatnonzero(~fresh)
    colour[:, met[same]] = picture[:, buffer.hits.ray[source[same]]]
    asked = np.flatnonzero(fresh)
    if len(asked):
        only = Nearest(
            **{name: getattr(nearest, name)[met[asked]] for name in ("face", "u", "v", "distance")}
        )
        hits = gbuffer.filled(geometry, camera, only, ways[:, met[asked]])
        where = pixel[asked]
        lit = _known_light(
            geometry, materials, hits, where, source[asked], width, received, lamps, quality, jitter
        )
        shone = shade.shade(geometry, materials, hits, lit, lamps, camera).radiance
        panes = shade.glass(materials, hits)
        # what is behind glass is taken from the pixel's centre
        shone[:, panes] = picture[:, where[panes]]
        colour[:, met[asked]] = shone
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


def _alike(
    geometry: Geometry,
    face: NDArray[np.int32],
    depth: Floats,
    pixel: NDArray[np.intp],
    buffer: GBuffer,
    known: NDArray[np.int32],
    hair: Sequence[int],
) -> NDArray[np.int32]:
    """Return the hit of the pixel or a neighbour that shows the same as each ray met, or -1.

    The same: surface and person, about the depth, and about the direction of the face, which hair
    has not.
    """
    height, width = buffer.camera.size
    hits = buffer.hits
    source = np.full(len(face), -1, np.int32)
    if not len(hits):
        return source
    kinds = geometry.instances.astype(np.int32) << 16 | geometry.surfaces
    theirs = hits.instance.astype(np.int32) << 16 | hits.surface
    kind = kinds[face]
    plane = geometry.planes.take(face, axis=0)[:, :3].T.astype(np.float32)
    any_way = np.isin(geometry.surfaces[face], hair)
    missing = np.arange(len(face))
    y, x = pixel // width, pixel % width
    for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
        row, column = y[missing] + dy, x[missing] + dx
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        near = known[np.where(inside, row * width + column, 0)]
        alike = inside & (near >= 0)
        near = np.maximum(near, 0)
        alike &= theirs[near] == kind[missing]
        alike &= np.abs(hits.depth[near] - depth[missing]) < 0.05 * depth[missing]
        cosine = (hits.plane[:, near] * plane[:, missing]).sum(axis=0)
        alike &= (np.abs(cosine) > 0.8) | any_way[missing]
        source[missing[alike]] = near[alike]
        missing = missing[~alike]
    return source


def _known_light(
    geometry: Geometry,
    materials: Sequence[Surface],
    hits: Hits,
    pixel: NDArray[np.intp],
    source: NDArray[np.int32],
    width: int,
    received: Received,
    lamps: Lamps,
    quality: Quality,
    jitter: tuple[float, float],
) -> Received:
    """Return the light of hits: that of the hits they are like, else asked with rays."""
    count = len(hits)
    lit = Received(
        sky=np.zeros((3, count), np.float32),
        open=np.zeros(count, np.float32),
        sun=np.zeros(count, np.float32),
    )
    have = np.flatnonzero(source >= 0)
    lit.sky[:, have] = received.sky[:, source[have]]
    lit.open[have] = received.open[source[have]]
    lit.sun[have] = received.sun[source[have]]
    missing = np.flatnonzero(source < 0)
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
