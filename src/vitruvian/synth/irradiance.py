# SPDX-License-Identifier: Apache-2.0
"""How much light reaches each place: a few rays per pixel, interleaved and smoothed.

Neighbouring pixels of a tile send their rays in different, well-spread directions; averaging over
a tile, never across an edge, then gives each pixel the light of all the tile's rays (Keller &
Heidrich, "Interleaved Sampling", 2001; the averaging by steps of 1, 2, 4 … pixels follows the
à-trous filter of Dammertz et al., 2010).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import light
from vitruvian.synth.gathered import BLOCK
from vitruvian.synth.gbuffer import GBuffer, Hits
from vitruvian.synth.intersect import Intersector
from vitruvian.synth.light import Lamps

Floats = NDArray[np.floating]

_GOLDEN = 0.6180339887
_HAIR_DEPTH = np.float32(0.004)  # how deep light enters hair, metres
_BOUNCE = 0.35  # share of the mean light that an occluder sends back: the albedo of skin and cloth


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How many rays are spent.

    Attributes:
        rays: environment rays per pixel.
        tile: side of the tile over which pixels share their rays; 4 or 8.
    """

    rays: int = 2
    tile: int = 4


def quality_for(height: int) -> Quality:
    """Return what keeps noise below sight: larger pictures share over more pixels."""
    if height <= 320:
        return Quality(rays=3, tile=4)
    return Quality(rays=2 if height <= 640 else 1, tile=8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Received:
    """Light that n places receive.

    Attributes:
        sky: (3, n) irradiance from the environment divided by π: what a white place returns.
        open: (n,) share of the hemisphere that is not hidden by people, 0 … 1.
        sun: (n,) share of the sun that is seen, 0 … 1.
    """

    sky: NDArray[np.float32]
    open: NDArray[np.float32]
    sun: NDArray[np.float32]


def receive(
    intersector: Intersector,
    lamps: Lamps,
    position: Floats,
    normal: Floats,
    plane: Floats,
    clearance: Floats,
    tile: NDArray[np.integer],
    quality: Quality,
    jitter: tuple[float, float],
) -> Received:
    """Send rays from places into the light.

    Args:
        intersector: what may hide the light.
        lamps: the light.
        position: (3, n) relative to the intersector's centre.
        normal: (3, n) smooth normals: the hemisphere that is asked.
        plane: (3, n) true normals of the faces, on the same side.
        clearance: (n,) metres in front of each place at which its rays start, as
            :func:`clearances` says.
        tile: (n,) number of each place within its tile, from :func:`tile_numbers`.
        quality: rays per place and side of the tile.
        jitter: two numbers in 0 … 1 that move all directions; another picture, other noise.
    """
    count = position.shape[1]
    result = Received(
        sky=np.zeros((3, count), np.float32),
        open=np.zeros(count, np.float32),
        sun=np.zeros(count, np.float32),
    )
    shines = bool(lamps.sun_colour.any())
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        face = plane[:, part]
        start_at = position[:, part] + face * clearance[part]
        origin = np.ascontiguousarray(start_at.T, np.float32)
        number = tile[part].astype(np.float32)
        _sky(
            intersector, lamps, origin, normal[:, part], face, number, quality, jitter, result, part
        )
        if shines:
            way = _sun_directions(lamps, number, quality.tile, jitter)
            sees = (face * way).sum(axis=0) > 0
            asked = np.flatnonzero(sees)
            hidden = intersector.occluded(
                origin[asked], np.ascontiguousarray(way[:, asked].T, np.float32)
            )
            seen = result.sun[part]
            seen[asked] = ~hidden
    return result


def clearances(hits: Hits, hair: Sequence[int]) -> Floats:
    """Return (n,) how far before hits their rays into the light start, metres.

    Far places are known less exactly; light passes the outermost strands of hair.
    """
    clearance = np.float32(1.2e-3) + np.float32(2e-4) * hits.depth
    if len(hair):
        clearance[np.isin(hits.surface, hair)] += _HAIR_DEPTH
    return clearance


def _sky(
    intersector: Intersector,
    lamps: Lamps,
    origin: NDArray[np.float32],
    normal: Floats,
    plane: Floats,
    number: Floats,
    quality: Quality,
    jitter: tuple[float, float],
    result: Received,
    part: slice,
) -> None:
    """Send cosine-distributed rays; light arriving under the face's own plane counts as hidden."""
    side, up = _basis(normal)
    total = quality.rays * quality.tile**2
    bounce = (lamps.ambient * np.float32(_BOUNCE))[:, None]
    share = np.float32(1 / max(quality.rays, 1))
    one = np.float32(1)
    for ray in range(quality.rays):
        index = number * np.float32(quality.rays) + np.float32(ray)
        spread = (index + np.float32(0.5)) / np.float32(total) + np.float32(jitter[0])
        spread -= np.floor(spread)
        turn = index * np.float32(_GOLDEN) + np.float32(jitter[1])
        turn = (turn - np.floor(turn)) * np.float32(2 * np.pi)
        radius = np.sqrt(spread)
        way = side * (radius * np.cos(turn))
        way += up * (radius * np.sin(turn))
        way += normal * np.sqrt(np.maximum(one - spread, 0))
        hidden = intersector.occluded(origin, np.ascontiguousarray(way.T, np.float32))
        hidden |= (way * plane).sum(axis=0) <= 0
        result.sky[:, part] += np.where(hidden, bounce, light.sample(lamps.soft, way)) * share
        result.open[part] += ~hidden * share


def _sun_directions(lamps: Lamps, number: Floats, tile: int, jitter: tuple[float, float]) -> Floats:
    """Return (3, n) directions spread over the sun's disc."""
    side, up = _basis(lamps.sun[:, None])
    spread = (number + np.float32(0.5)) / np.float32(tile * tile) + np.float32(jitter[1])
    spread -= np.floor(spread)
    radius = np.sqrt(spread) * np.float32(np.tan(lamps.sun_radius))
    turn = number * np.float32(_GOLDEN) + np.float32(jitter[0])
    turn = (turn - np.floor(turn)) * np.float32(2 * np.pi)
    return lamps.sun[:, None] + side * (radius * np.cos(turn)) + up * (radius * np.sin(turn))


def _basis(normal: Floats) -> tuple[Floats, Floats]:
    """Return two (3, n) unit vectors across unit normals (Duff et al., JCGT 6(1), 2017)."""
    x, y, z = normal
    sign = np.copysign(np.float32(1), z)
    a = np.float32(-1) / (sign + z)
    b = x * y * a
    first = np.stack([np.float32(1) + sign * x * x * a, sign * b, -sign * x])
    return first, np.stack([b, sign + y * y * a, -y])


def tile_numbers(pixel: NDArray[np.integer], width: int, tile: int) -> NDArray[np.int64]:
    """Return the number of each pixel (flat index) within its tile, neighbours far apart."""
    size = 1
    order = np.zeros((1, 1), np.int64)
    while size < tile:  # Bayer's matrix: any block of it is well spread
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
        size *= 2
    return order[(pixel // width) % tile, pixel % width % tile]


def smooth(
    buffer: GBuffer, received: Received, tile: int, *, sun: bool, hair: Sequence[int] = ()
) -> Received:
    """Average light over tiles of pixels, never across an edge.

    Single strands of hair are no edges: light is scattered from one to the next.

    Args:
        buffer: whose hits received the light.
        received: by each hit.
        tile: side of the tile.
        sun: whether to average the sun too: not if it is a point, whose shadows are sharp; that on
            hair always is.
        hair: surface indices of hair.
    """
    hits, camera = buffer.hits, buffer.camera
    if not len(hits):
        return received
    width = camera.size[1]
    y, x = hits.ray // width, hits.ray % width
    y0, x0 = int(y.min()), int(x.min())
    shape = (int(y.max()) - y0 + 1, int(x.max()) - x0 + 1)
    flat = (y - y0) * shape[1] + (x - x0)

    def laid(values: Floats) -> NDArray[np.float32]:
        rows = np.zeros((len(values), shape[0] * shape[1]), np.float32)
        rows[:, flat] = values
        return rows.reshape(-1, *shape)

    key = np.zeros(shape[0] * shape[1], np.int32)
    key[flat] = hits.instance.astype(np.int32) * 65536 + hits.surface + 1
    key = key.reshape(shape)
    normal, position = laid(hits.normal), laid(hits.position)
    reach = laid(hits.depth[None])[0] * np.float32(tile / _pixels_per_unit(buffer))
    hairy = np.isin(hits.surface, hair)
    loose = laid(hairy[None].astype(np.float32))[0] > 0 if hairy.any() else None
    blend = sun or loose is not None
    lights = [*received.sky, received.open] + ([received.sun] if blend else [])
    values = laid(np.stack(lights))
    step = 1
    while step < tile:
        sign = 1 if step != 2 else -1  # steps of +1, -2, +4 keep the average near its pixel
        for axis in (1, 0):
            _average(values, key, normal, position, reach, loose, sign * step, axis)
        step *= 2
    averaged = values.reshape(len(values), -1)[:, flat]
    seen = averaged[4] if blend else received.sun
    if not sun and blend:
        seen = np.where(hairy, seen, received.sun)
    return Received(sky=averaged[:3], open=averaged[3], sun=seen)


def _pixels_per_unit(buffer: GBuffer) -> float:
    return float(abs(buffer.camera.matrix[1, 1]))


def _average(
    values: NDArray[np.float32],
    key: NDArray[np.int32],
    normal: NDArray[np.float32],
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    loose: NDArray[np.bool_] | None,
    step: int,
    axis: int,
) -> None:
    """Average each pixel, in place, with the one ``step`` further, as far as they are alike.

    Band by band, so that temporaries stay in a core's cache; in the direction in which no band
    reads what another has averaged already.
    """
    rows, columns = key.shape
    if abs(step) >= key.shape[axis]:
        return
    size = max(2 * BLOCK // columns, 1)
    bands = range(0, rows, size)
    for top in bands if step > 0 else reversed(bands):
        first = slice(top, min(top + size, rows))
        if axis == 0:
            first = slice(max(first.start, -step), min(first.stop, rows - step))
            if first.stop <= first.start:
                continue
            here, there = (first,), (slice(first.start + step, first.stop + step),)
        elif step > 0:
            here, there = (first, slice(0, columns - step)), (first, slice(step, columns))
        else:
            here, there = (first, slice(-step, columns)), (first, slice(0, columns + step))
        _blend(values, key, normal, position, reach, loose, here, there)


def _blend(
    values: NDArray[np.float32],
    key: NDArray[np.int32],
    normal: NDArray[np.float32],
    position: NDArray[np.float32],
    reach: NDArray[np.float32],
    loose: NDArray[np.bool_] | None,
    here: tuple[slice, ...],
    there: tuple[slice, ...],
) -> None:
    """Average the pixels of one window with those of another, in place."""
    first, second = (slice(None), *here), (slice(None), *there)
    normals = normal[first], normal[second]
    cosine = (normals[0] * normals[1]).sum(axis=0)
    # distance of the neighbour from this pixel's tangent plane
    lift = np.abs((normals[0] * (position[second] - position[first])).sum(axis=0))
    weight = np.clip(cosine * np.float32(2) - np.float32(1), 0, 1)
    weight *= np.clip(np.float32(1.5) - lift / np.maximum(reach[here], np.float32(1e-6)), 0, 1)
    if loose is not None:
        weight = np.where(loose[here], np.float32(1), weight)
    weight *= key[here] == key[there]
    share = weight / (np.float32(1) + weight)
    moved = values[second] - values[first]
    moved *= share
    # the source of the difference may overlap its target: add only once it is complete
    values[first] += moved
