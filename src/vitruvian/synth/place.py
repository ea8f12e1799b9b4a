# SPDX-License-Identifier: Apache-2.0
"""Places to stand in: flat faces and leafy balls with patterns, lit once, seen by many cameras.

A place is coarse geometry. Its diffuse light is gathered once into a small map per face (lamps and
windows directly, the rest by a few rays and the mean of what they meet); the sun is asked per
pixel. That is some hundred nanoseconds a pixel, and several cameras see one and the same place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.synth import light, patterns
from vitruvian.synth.gathered import BLOCK
from vitruvian.synth.gbuffer import directions, focal, grid, grouped
from vitruvian.synth.intersect import Engine, Intersector, Nearest, make_intersector
from vitruvian.synth.light import Lamps, Light
from vitruvian.synth.patterns import Colour, Pattern, Plain

Floats = NDArray[np.floating]

_FINE, _COARSE = 8, 2  # side of the light map of large and small faces
_LARGE = 3.0  # square metres
_RAYS = 8  # asked per texel


@dataclass(frozen=True, kw_only=True, eq=False)
class Finish:
    """What a face of a place looks like: a pattern, and the light it sends out itself."""

    pattern: Pattern
    emission: Colour = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A room, street or field: parallelograms and balls with finishes, under a sky.

    Attributes:
        corners: (Q, 3) one corner of each parallelogram, metres.
        edges: (Q, 2, 3) its two edges; their cross product points to the side that is seen.
        finish: (Q,) index into ``finishes``.
        balls: (B, 4) centre and radius of crumpled balls, such as tree tops.
        ball_finish: (B,) index into ``finishes``.
        finishes: what faces look like.
        sky: what is seen and shines where nothing else is.
        sunlit: whether the sky's sun reaches the faces.
    """

    corners: Floats
    edges: Floats
    finish: NDArray[np.integer]
    finishes: tuple[Finish, ...]
    sky: Light
    balls: Floats
    ball_finish: NDArray[np.integer]
    sunlit: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class LitPlace:
    """A place with its light gathered, ready to be seen.

    Attributes:
        place: what it is made of.
        intersector: rays in world metres; faces 2q and 2q + 1 are parallelogram q, then balls.
        faces: number of parallelograms.
        lengths: (Q, 2) lengths of their edges.
        normals: (F, 3) float32 unit normals of all triangles.
        triangle_finish: (F,) finish of all triangles.
        colours: (3, K) mean colour of each finish.
        emission: (3, K) light it sends out itself, over π.
        sides: (Q,) texels along each side of a face's light map.
        firsts: (Q,) index of its first texel.
        maps: (3, T) light that each texel receives over π.
        lamps: the sky's tables.
    """

    place: Place
    intersector: Intersector
    faces: int
    lengths: NDArray[np.float32]
    normals: NDArray[np.float32]
    triangle_finish: NDArray[np.int16]
    colours: NDArray[np.float32]
    emission: NDArray[np.float32]
    sides: NDArray[np.int32]
    firsts: NDArray[np.int32]
    maps: NDArray[np.float32]
    lamps: Lamps


def prepare(place: Place, *, engine: Engine | None = None) -> LitPlace:
    """Build a place's triangles and gather its light."""
    count = len(place.corners)
    start, first, second = place.corners, place.edges[:, 0], place.edges[:, 1]
    ring = np.stack([start, start + first, start + first + second, start + second], axis=1)
    vertices = [ring.reshape(-1, 3)]
    pair = np.array([[0, 1, 2], [0, 2, 3]])
    triangles = [(np.arange(count)[:, None, None] * 4 + pair).reshape(-1, 3)]
    finish = [np.repeat(place.finish, 2)]
    total = 4 * count
    for number, (ball, own) in enumerate(zip(place.balls, place.ball_finish, strict=True)):
        points, faces = _ball(number % 8)
        vertices.append(points * ball[3] + ball[:3])
        triangles.append(faces + total)
        finish.append(np.full(len(faces), own))
        total += len(points)
    everything = np.concatenate(vertices).astype(np.float32)
    mesh = np.concatenate(triangles).astype(np.int32)
    corner = everything[mesh]
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    lengths = np.linalg.norm(place.edges, axis=2).astype(np.float32)
    sides = np.where(lengths.prod(axis=1) > _LARGE, _FINE, _COARSE).astype(np.int32)
    ends = np.cumsum(sides * sides)
    lit = LitPlace(
        place=place,
        intersector=make_intersector(everything, mesh, engine=engine),
        faces=count,
        lengths=lengths,
        normals=normals.astype(np.float32),
        triangle_finish=np.concatenate(finish).astype(np.int16),
        colours=np.stack([patterns.mean(one.pattern) for one in place.finishes], axis=1),
        emission=np.array([one.emission for one in place.finishes], np.float32).T.copy(),
        sides=sides,
        firsts=(ends - sides * sides).astype(np.int32),
        maps=np.zeros((3, int(ends[-1])), np.float32),
        lamps=light.prepare(place.sky),
    )
    return replace(lit, maps=_gathered(lit))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What rays see of a place: (3, n) radiance, (n,) distance in directions, (n,) triangle."""

    radiance: NDArray[np.float32]
    distance: NDArray[np.float32]
    face: NDArray[np.int32]


def see(
    lit: LitPlace,
    origin: Floats,
    ways: NDArray[np.float32],
    spread: float,
    *,
    wanted: NDArray[np.bool_] | None = None,
) -> Seen:
    """Return what rays from one point meet.

    Args:
        lit: the place.
        origin: (3,) world.
        ways: (3, n) directions of any length.
        spread: footprint of a ray per unit of distance along it; 0 for mean colours only.
        wanted: (n,) which are asked; others meet nothing and are black. All by default.
    """
    count = ways.shape[1]
    asked = np.arange(count) if wanted is None else np.flatnonzero(wanted)
    distance = np.full(count, np.inf, np.float32)
    face = np.full(count, -1, np.int32)
    u, v = np.zeros(count, np.float32), np.zeros(count, np.float32)
    start = np.asarray(origin, np.float32)
    for first in range(0, len(asked), BLOCK):
        part = asked[first : first + BLOCK]
        met = lit.intersector.nearest(start, ways[:, part].T)
        face[part], distance[part], u[part], v[part] = met.face, met.distance, met.u, met.v
    radiance = np.zeros((3, count), np.float32)
    lost = asked[face[asked] < 0]
    if len(lost):
        way = ways[:, lost]
        way /= np.sqrt((way * way).sum(axis=0))
        radiance[:, lost] = light.look_up(lit.place.sky.environment, way)
    found = asked[face[asked] >= 0]
    # sorted by finish: a block then has few patterns, each many places at once
    found = found[np.argsort(lit.triangle_finish.take(face[found]), kind="stable")]
    for first in range(0, len(found), BLOCK):
        part = found[first : first + BLOCK]
        met = Nearest(face=face[part], u=u[part], v=v[part], distance=distance[part])
        radiance[:, part] = _shade(lit, start, ways[:, part], met, spread)
    return Seen(radiance=radiance, distance=distance, face=face)


def see_pixels(lit: LitPlace, camera: Camera, wanted: NDArray[np.bool_] | None = None) -> Seen:
    """Return what a camera sees of a place through all its pixels; the distance is depth."""
    ways = directions(camera, *grid((0, 0, camera.size[1], camera.size[0])))
    spread = 1 / focal(camera)
    return see(lit, camera.centre, ways.astype(np.float32), spread, wanted=wanted)


def light_at(lit: LitPlace, point: Floats) -> Light:
    """Return the light that arrives at a point of a place (the place seen all around it)."""
    rows, columns = 32, 64
    around = light.map_directions(rows, columns).reshape(-1, 3).T.astype(np.float32)
    seen = see(lit, point, around, 0.0).radiance.T.reshape(rows, columns, 3)
    sky = lit.place.sky
    if not lit.place.sunlit:
        return light.from_environment(seen)
    toward = np.array([sky.sun], np.float32)
    hidden = lit.intersector.occluded(np.asarray(point, np.float32), toward)[0]
    colour = (0.0, 0.0, 0.0) if hidden else sky.sun_colour
    return replace(sky, environment=seen, sun_colour=colour)


def _shade(
    lit: LitPlace,
    origin: NDArray[np.float32],
    way: NDArray[np.float32],
    met: Nearest,
    spread: float,
) -> NDArray[np.float32]:
    """Return (3, n) radiance along rays that all meet something: light for all, then patterns."""
    point = way * met.distance
    point += origin[:, None]
    plane, received = _flat(lit, met.face, met.u, met.v, point)
    normal = lit.normals.take(met.face, axis=0).T
    slant = (normal * way).sum(axis=0)
    received += _sunshine(lit, point, lit.lamps.sun @ normal, slant, way)
    finish = lit.triangle_finish.take(met.face)
    received += lit.emission.take(finish, axis=1)
    albedo = lit.colours.take(finish, axis=1)
    if spread > 0:
        # a pixel's footprint is drawn out where a face is seen at a slant
        drawn = np.abs(slant) / np.sqrt((way * way).sum(axis=0))
        footprint = met.distance * np.float32(spread)
        footprint /= np.sqrt(np.maximum(drawn, np.float32(0.05)))
        for own, order in grouped(finish):
            pattern = lit.place.finishes[own].pattern
            if not isinstance(pattern, Plain):
                albedo[:, order] = patterns.evaluate(
                    pattern, plane[:, order], point[:, order], footprint[order]
                )
    received *= albedo
    return received


def _flat(
    lit: LitPlace,
    face: NDArray[np.int32],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    point: Floats,
) -> tuple[Floats, Floats]:
    """Return (2, n) metres on each face and (3, n) the light of its map there."""
    own = face >> 1
    is_ball = own >= lit.faces
    own = np.where(is_ball, 0, own)
    odd = (face & 1).astype(bool)
    # triangles are corners 0 1 2 and 0 2 3 of the parallelogram
    s, t = np.where(odd, u, u + v), np.where(odd, u + v, v)
    lengths = lit.lengths.take(own, axis=0).T
    plane = np.stack([s * lengths[0], t * lengths[1]])
    received = _map_light(lit, own, s, t)
    if is_ball.any():
        where = np.flatnonzero(is_ball)
        normal = np.ascontiguousarray(lit.normals.take(face[where], axis=0).T)
        received[:, where] = light.sample(lit.lamps.soft, normal) * np.float32(0.7)
        plane[:, where] = point[:2, where]
    return plane, received


def _map_light(lit: LitPlace, own: NDArray[np.integer], s: Floats, t: Floats) -> Floats:
    """Interpolate the light maps linearly."""
    side = lit.sides.take(own)
    half, top = np.float32(0.5), side - np.float32(1.001)
    x = np.clip(s * side - half, 0, top).astype(np.float32)
    y = np.clip(t * side - half, 0, top).astype(np.float32)
    i, j = x.astype(np.int32), y.astype(np.int32)
    x -= i
    y -= j
    index = lit.firsts.take(own) + j * side + i
    above = index + side
    rows: list[Floats] = []
    for channel in lit.maps:
        low, high = channel.take(index), channel.take(above)
        low += (channel.take(index + 1) - low) * x
        high += (channel.take(above + 1) - high) * x
        low += (high - low) * y
        rows.append(low)
    return np.stack(rows)


def _sunshine(lit: LitPlace, point: Floats, toward: Floats, slant: Floats, way: Floats) -> Floats:
    """Return (3, n) the sun's light over π at points.

    Args:
        lit: the place.
        point: (3, n) places on it.
        toward: (n,) cosine between the normal and the sun.
        slant: (n,) product of the normal and the direction the point is seen along.
        way: (3, n) that direction.
    """
    colour = lit.lamps.sun_colour[:, None] * np.float32(1 / np.pi)
    if not lit.place.sunlit or not colour.any():
        return np.zeros((3, 1), np.float32)
    cosine = np.maximum(np.where(slant > 0, -toward, toward), 0)
    asked = np.flatnonzero(cosine > 0)
    start = point[:, asked] + lit.lamps.sun[:, None] * np.float32(0.01)
    start -= way[:, asked] * np.float32(0.002)
    sun = np.broadcast_to(lit.lamps.sun, (len(asked), 3))
    hidden = lit.intersector.occluded(start.astype(np.float32, copy=False).T, sun)
    cosine[asked[hidden]] = 0
    return colour * cosine


def _gathered(lit: LitPlace) -> NDArray[np.float32]:
    """Return the light maps: lamps directly, then the mean light of what a few rays meet."""
    place = lit.place
    quads = np.repeat(np.arange(lit.faces), lit.sides**2)
    number = np.arange(len(quads)) - lit.firsts[quads]
    side = lit.sides[quads]
    s, t = (number % side + 0.5) / side, (number // side + 0.5) / side
    points = place.corners[quads] + place.edges[quads, 0] * s[:, None]
    points += place.edges[quads, 1] * t[:, None]
    facing = lit.normals[2 * quads]
    origin = (points + facing * 0.01).astype(np.float32)
    emission, albedo = lit.emission.T, lit.colours.T
    direct = _from_lamps(lit, origin, facing, emission * albedo)
    sums = np.zeros((len(origin), 3), np.float32)
    met = np.empty((_RAYS, len(origin)), np.int32)
    for ray, ball in enumerate(_scattered(len(origin))):
        way = (facing + ball * np.float32(0.999)).astype(np.float32)  # cosine-distributed
        met[ray] = lit.intersector.nearest(origin, way).face
        lost = np.flatnonzero(met[ray] < 0)
        sums[lost] += light.sample(lit.lamps.soft, np.ascontiguousarray(way[lost].T)).T
    # balls count as the quad after the last; nothing sends nothing back
    quad = np.where(met < 2 * lit.faces, met >> 1, lit.faces)
    tint = albedo.take(lit.triangle_finish.take(np.maximum(met, 0)), axis=0)
    tint[met < 0] = 0
    received = direct + sums / _RAYS
    for _ in range(3):  # light that has bounced once, twice, three times
        mean = np.add.reduceat(received, lit.firsts) / (lit.sides**2)[:, None]
        mean = np.concatenate([mean, lit.lamps.ambient[None] * 0.5]).astype(np.float32)
        bounced = np.einsum("rtc,rtc->tc", tint, mean.take(quad, axis=0))
        received = direct + (sums + bounced) / _RAYS
    fine = side == _FINE
    grid = received[fine].reshape(-1, _FINE, _FINE, 3)
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    spans = [slice(shift, shift + _FINE) for shift in range(3)]
    smooth = np.mean([padded[:, rows, columns] for rows in spans for columns in spans], axis=0)
    received[fine] = smooth.reshape(-1, 3)
    return np.ascontiguousarray(received.T, np.float32)


@lru_cache(maxsize=1)
def _directions() -> NDArray[np.float32]:
    """Return (8191, 3) unit vectors, the same in all places: blotches would move with chance."""
    ball = np.random.default_rng(7).normal(size=(8191, 3)).astype(np.float32)
    return ball / np.linalg.norm(ball, axis=1, keepdims=True)


def _scattered(count: int) -> Iterator[NDArray[np.float32]]:
    """Yield a direction for each of ``count`` texels, ``_RAYS`` times, all of them different."""
    table = _directions()
    number = np.arange(count)
    for ray in range(_RAYS):
        yield table.take((number + ray * (len(table) // _RAYS)) % len(table), axis=0)


def _from_lamps(
    lit: LitPlace, origin: NDArray[np.float32], facing: Floats, emission: Floats
) -> NDArray[np.float32]:
    """Return (n, 3) light over π that shining faces send straight to texels."""
    received = np.zeros((len(origin), 3), np.float32)
    place = lit.place
    shining = np.flatnonzero(emission[place.finish].max(axis=1) > 0)
    for own in shining:
        normal = lit.normals[2 * own]
        area = float(np.prod(lit.lengths[own])) / 2
        for s, t in ((0.27, 0.3), (0.73, 0.7)):
            spot = place.corners[own] + place.edges[own, 0] * s + place.edges[own, 1] * t
            way = (spot + normal * 0.02).astype(np.float32) - origin
            square = (way * way).sum(axis=1)
            way_length = np.sqrt(square)
            leaving = -(way @ normal) / way_length
            arriving = (way * facing).sum(axis=1) / way_length
            amount = np.maximum(leaving, 0) * np.maximum(arriving, 0)
            amount *= area / (np.pi * np.maximum(square, 0.05))
            asked = np.flatnonzero(amount > 1e-4)
            reach = np.full(len(asked), 0.99, np.float32)
            hidden = lit.intersector.occluded(origin[asked], way[asked], reach)
            amount[asked[hidden]] = 0
            received += amount[:, None] * emission[place.finish[own]]
    return received


@lru_cache(maxsize=8)
def _ball(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a crumpled unit ball, like the outline of leaves."""
    rows, columns = 9, 14
    rng = np.random.default_rng([9, seed])
    theta = np.linspace(0, np.pi, rows + 1)[:, None]
    phi = np.arange(columns)[None] / columns * 2 * np.pi
    flat = np.sin(theta)
    points = np.stack(
        [flat * np.sin(phi), np.cos(theta) + 0 * phi, flat * np.cos(phi)], axis=-1
    ).reshape(-1, 3)
    lumps = rng.normal(size=(12, 3))
    lumps /= np.linalg.norm(lumps, axis=1, keepdims=True)
    radius = 0.8 + 0.3 * np.exp((points @ lumps.T - 1) * 8).max(axis=1)
    radius *= rng.uniform(0.88, 1.12, len(points))
    radius[:columns], radius[-columns:] = radius[0], radius[-1]
    j, i = np.mgrid[:rows, :columns]
    a, b = j * columns + i, j * columns + (i + 1) % columns
    c, d = b + columns, a + columns
    faces = np.stack([a, d, c, a, c, b], axis=-1).reshape(-1, 3)
    return points * radius[:, None], faces
