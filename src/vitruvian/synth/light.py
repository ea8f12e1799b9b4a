# SPDX-License-Identifier: Apache-2.0
"""Light that falls on a scene: an environment all around, and one sun (or window, or lamp).

An environment is a lat-long map (H, W, 3) of linear radiance in the world's axes (y up): row 0 is
the zenith; column 0 begins at +z and columns turn towards +x. Its strongest spot is taken out and
becomes the sun, because a few rays per pixel would miss it and its shadows have edges.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.synth import noise
from vitruvian.synth.hdr import read_hdr

Floats = NDArray[np.floating]

_ROWS, _COLUMNS = 64, 128  # environments are kept at this size
_TABLE = 64  # side of the octahedral look-up tables
_SPREADS = (60.0, 12.0)  # concentrations of the two blurred tables: about 10° and 24° wide


@dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """What shines on a scene.

    Attributes:
        environment: (H, W, 3) float32 lat-long radiance, without the sun.
        sun: (3,) unit direction towards it, world.
        sun_colour: (3,) irradiance on a surface that faces it; zeros for none.
        sun_radius: half its angular width, radians: 0.005 outdoors, 0.3 for a window; edges of
            shadows are as soft as that.
    """

    environment: Floats
    sun: tuple[float, float, float] = (0.0, 1.0, 0.0)
    sun_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sun_radius: float = 0.01

    def __post_init__(self) -> None:
        shape = self.environment.shape
        if len(shape) != 3 or shape[2] != 3 or min(shape) < 2:
            raise InputError(f"an environment is a lat-long map (H, W, 3), got {shape}")
        if not np.isfinite(self.environment).all() or self.environment.min() < 0:
            raise InputError("an environment's radiance is finite and not negative")
        if abs(float(np.linalg.norm(self.sun)) - 1) > 1e-3:
            raise InputError(f"the direction to the sun has length 1, got {self.sun}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lamps:
    """A light made ready for many look-ups.

    Attributes:
        sharp: (3, 64²) radiance, for mirror-like highlights.
        glossy: the same blurred by about 10°, for semi-gloss.
        soft: the same blurred by about 24°, the share of one of some thirty rays.
        ambient: (3,) mean radiance.
        sun: (3,) direction.
        sun_colour: (3,) irradiance.
        sun_radius: radians.
    """

    sharp: NDArray[np.float32]
    glossy: NDArray[np.float32]
    soft: NDArray[np.float32]
    ambient: NDArray[np.float32]
    sun: NDArray[np.float32]
    sun_colour: NDArray[np.float32]
    sun_radius: float


def prepare(light: Light) -> Lamps:
    """Make the look-up tables of a light."""
    environment = resized(light.environment, (_ROWS, _COLUMNS))
    coarse = resized(environment, (_ROWS // 4, _COLUMNS // 4))
    directions = _table_directions()
    blurred = [look_up(_blur(coarse, spread), directions) for spread in _SPREADS]
    weight = np.sin((np.arange(_ROWS) + 0.5) / _ROWS * np.pi)[:, None, None]
    ambient = (environment * weight).sum(axis=(0, 1)) / (weight.sum() * _COLUMNS)
    return Lamps(
        sharp=look_up(environment, directions),
        glossy=blurred[0],
        soft=blurred[1],
        ambient=ambient.astype(np.float32),
        sun=np.array(light.sun, np.float32),
        sun_colour=np.array(light.sun_colour, np.float32),
        sun_radius=light.sun_radius,
    )


def from_environment(environment: Floats, *, turn: float = 0.0) -> Light:
    """Split measured or rendered radiance into a sun and the rest.

    Args:
        environment: (H, W, 3) lat-long radiance.
        turn: radians by which to turn it about the vertical.
    """
    small = resized(np.maximum(environment, 0).astype(np.float32), (_ROWS, _COLUMNS))
    small = np.roll(small, round(turn / (2 * np.pi) * _COLUMNS), axis=1)
    directions = map_directions(_ROWS, _COLUMNS)
    polar = (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
    solid = np.sin(polar)[:, None] * (2 * np.pi / _COLUMNS) * (np.pi / _ROWS)
    brightness = small.mean(axis=2)
    usual = float(np.quantile(brightness[_ROWS // 8 : -_ROWS // 8], 0.7))
    peak = np.unravel_index(int(brightness.argmax()), brightness.shape)
    cosine = np.tensordot(directions, directions[peak], axes=(-1, -1))
    spot = (cosine > np.cos(0.35)) & (brightness > 2.5 * usual)
    if not spot.any():
        return Light(environment=small)
    around = (cosine > np.cos(0.5)) & ~spot
    rest = np.minimum(np.median(small[around], axis=0), small[spot].mean(axis=0))
    excess = np.maximum(small[spot] - rest, 0) * np.broadcast_to(solid, spot.shape)[spot][:, None]
    weight = excess.sum(axis=1)
    sun = (directions[spot] * weight[:, None]).sum(axis=0)
    sun /= np.linalg.norm(sun)
    angle = np.arccos(np.clip(directions[spot] @ sun, -1, 1))
    spread = np.sqrt((weight * angle**2).sum() / weight.sum())
    small[spot] = rest
    red, green, blue = (float(part) for part in excess.sum(axis=0))
    return Light(
        environment=small,
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        sun_colour=(red, green, blue),
        sun_radius=float(np.clip(spread * 1.4, 0.005, 0.5)),
    )


def read_light(path: str | Path, *, turn: float = 0.0) -> Light:
    """Read an environment from a lat-long .hdr or .exr file; errors as in ``hdr.read_hdr``."""
    return from_environment(read_hdr(path), turn=turn)


def sky(rng: np.random.Generator, *, horizon: float = 0.0) -> Light:
    """Invent an outdoor light: clear to overcast, noon to dusk, over some ground.

    Args:
        rng: where chance comes from.
        horizon: height of hills or roofs around, radians.
    """
    rows, columns = 2 * _ROWS, 2 * _COLUMNS
    directions = map_directions(rows, columns)
    up = directions[..., 1]
    elevation = rng.uniform(0.12, 1.25)
    heading = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    sun = np.array([np.sin(heading) * flat, np.sin(elevation), np.cos(heading) * flat])
    low = float(np.clip(1 - elevation / 0.6, 0, 1))  # how close to dusk
    cover = float(rng.choice([0.0, 0.35, 0.7, 1.0], p=[0.3, 0.3, 0.2, 0.2]))
    zenith = np.array([0.16, 0.30, 0.62]) * rng.uniform(0.7, 1.2)
    edge = np.array([0.62, 0.72, 0.85]) * (1 - low) + np.array([0.95, 0.60, 0.38]) * low
    blend = np.clip(up - horizon, 0, 1)[..., None] ** 0.45
    colour = edge * (1 - blend) + zenith * blend
    toward = directions @ sun
    glow = np.array([1.0, 0.85 - 0.25 * low, 0.62 - 0.35 * low])
    colour = colour + glow * (0.9 * np.exp((toward - 1) * 14) + 0.25 * np.exp((toward - 1) * 3))[
        ..., None
    ] * (1 - 0.7 * cover)
    seed = int(rng.integers(1 << 30))
    plane = directions / np.maximum(up + 0.12, 0.12)[..., None]
    points = np.ascontiguousarray(plane.reshape(-1, 3).T.astype(np.float32))
    field = noise.fractal(points, rng.uniform(0.15, 0.45), seed=seed).reshape(rows, columns)
    cloud = np.clip((field - (1 - cover)) * 4, 0, 1) if cover < 1 else np.ones_like(field)
    white = (0.55 + 0.5 * field)[..., None] * (0.6 * edge + 0.4) * (1.1 - 0.35 * cover)
    colour = colour + (white - colour) * (0.9 * cloud * np.clip((up + 0.02) * 12, 0, 1))[..., None]
    ground = _ground_colour(rng) * (0.25 + 0.5 * max(float(np.sin(elevation)), 0.1))
    fall = np.clip((horizon - up) * 30 + 0.5, 0, 1)[..., None]
    colour = colour + (ground - colour) * fall
    strength = (1 - cover) ** 1.5 * rng.uniform(2.0, 4.0) * (1 - 0.6 * low)
    tint = np.array([1.0, 0.93 - 0.33 * low, 0.85 - 0.5 * low]) * strength
    return Light(
        environment=np.maximum(colour, 0).astype(np.float32),
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        sun_colour=(float(tint[0]), float(tint[1]), float(tint[2])),
        sun_radius=0.006 if cover < 0.3 else 0.05,
    )


def indoor(rng: np.random.Generator) -> Light:
    """Invent an indoor light: dim walls, a few windows and lamps."""
    directions = map_directions(_ROWS, _COLUMNS)
    wall = _warm(rng.normal(0.1, 0.2)) * rng.uniform(0.08, 0.35)
    colour = np.ones((_ROWS, _COLUMNS, 1)) * wall
    colour *= 0.75 + 0.35 * directions[..., 1:2]
    for _ in range(int(rng.integers(1, 5))):
        heading, height = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.9)
        flat = np.sqrt(1 - height**2)
        aim = np.array([np.sin(heading) * flat, height, np.cos(heading) * flat])
        _add_panel(colour, directions, aim, rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.6),
                   _warm(rng.normal(0.0, 0.3)) * rng.uniform(1.5, 8))  # fmt: skip
    return from_environment(colour.astype(np.float32))


def studio(rng: np.random.Generator) -> Light:
    """Invent a photographer's light: a key, perhaps a fill and a rim, in a grey room."""
    directions = map_directions(_ROWS, _COLUMNS)
    colour = np.full((_ROWS, _COLUMNS, 3), rng.uniform(0.03, 0.3))
    side = rng.choice([-1, 1])
    heading = side * rng.uniform(0.2, 1.2)
    for aim, height, size, strength in (
        (heading, rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.5), rng.uniform(4, 9)),
        (-heading, rng.uniform(-0.1, 0.5), rng.uniform(0.3, 0.7), rng.uniform(0, 2)),
        (np.pi - heading, rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.3), rng.choice([0, 5])),
    ):
        flat = np.sqrt(1 - height**2)
        where = np.array([np.sin(aim) * flat, height, np.cos(aim) * flat])
        _add_panel(colour, directions, where, size, size * 1.3, np.ones(3) * strength)
    return from_environment(colour.astype(np.float32))


def _add_panel(
    colour: Floats, directions: Floats, aim: Floats, half_width: float, half_height: float,
    radiance: Floats,
) -> None:  # fmt: skip
    """Add a rectangular light to a map, in place; half sizes in radians."""
    side = np.cross([0.0, 1.0, 0.0], aim)
    side /= np.linalg.norm(side)
    up = np.cross(aim, side)
    ahead = directions @ aim
    x, y = directions @ side, directions @ up
    soft = 0.04
    inside = np.clip((half_width - np.abs(x)) / soft + 0.5, 0, 1)
    inside *= np.clip((half_height - np.abs(y)) / soft + 0.5, 0, 1) * (ahead > 0)
    colour += inside[..., None] * radiance


def _warm(amount: float) -> Floats:
    return np.array([1 + 0.35 * amount, 1.0, max(1 - 0.45 * amount, 0.2)])


def _ground_colour(rng: np.random.Generator) -> Floats:
    choices = ((0.16, 0.20, 0.08), (0.25, 0.24, 0.22), (0.38, 0.32, 0.24), (0.7, 0.72, 0.76))
    return np.array(choices[int(rng.choice(4, p=[0.35, 0.35, 0.2, 0.1]))])


def map_directions(rows: int, columns: int) -> Floats:
    """Return (rows, columns, 3) world directions of the pixels of a lat-long map."""
    polar = ((np.arange(rows) + 0.5) / rows * np.pi)[:, None]
    turn = ((np.arange(columns) + 0.5) / columns * 2 * np.pi)[None]
    flat = np.sin(polar)
    up = np.cos(polar) * np.ones_like(turn)
    return np.stack([flat * np.sin(turn), up, flat * np.cos(turn)], axis=-1)


def look_up(environment: Floats, directions: Floats) -> NDArray[np.float32]:
    """Return (3, n) radiance of a lat-long map from unit directions (3, n), interpolated."""
    rows, columns = environment.shape[:2]
    x, y, z = directions
    u = np.arctan2(x, z) * (columns / (2 * np.pi)) - 0.5
    u = np.where(u < 0, u + columns, u)
    v = np.arccos(np.clip(y, -1, 1)) * (rows / np.pi) - 0.5
    padded = cv2.copyMakeBorder(environment.astype(np.float32), 0, 0, 0, 1, cv2.BORDER_WRAP)
    result = np.empty((3, directions.shape[1]), np.float32)
    # OpenCV samples at most 32767 places of a row
    for start in range(0, result.shape[1], 1 << 14):
        part = slice(start, start + (1 << 14))
        place = u[None, part].astype(np.float32), v[None, part].astype(np.float32)
        seen = cv2.remap(padded, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        result[:, part] = seen[0].T
    return result


def sample(table: NDArray[np.float32], directions: Floats) -> NDArray[np.float32]:
    """Return (3, n) values of an octahedral table of :class:`Lamps`; directions of any length."""
    x, y, z = directions
    scale = np.float32(1) / (np.abs(x) + np.abs(y) + np.abs(z))
    x, z = x * scale, z * scale
    below = y < 0
    one = np.float32(1)
    folded_x = np.where(below, np.copysign(one - np.abs(z), x), x)
    folded_z = np.where(below, np.copysign(one - np.abs(x), z), z)
    half = np.float32(_TABLE / 2)
    column = np.minimum((folded_x * half + half).astype(np.int32), _TABLE - 1)
    row = np.minimum((folded_z * half + half).astype(np.int32), _TABLE - 1)
    index = row * _TABLE + column
    return np.stack([channel.take(index) for channel in table])


@lru_cache(maxsize=1)
def _table_directions() -> NDArray[np.float32]:
    """Return (3, 64²) directions of the cells of an octahedral table."""
    place = (np.arange(_TABLE) + 0.5) / _TABLE * 2 - 1
    x, z = (part.ravel() for part in np.meshgrid(place, place))
    y = 1 - np.abs(x) - np.abs(z)
    fold = np.maximum(-y, 0)
    x, z = x - np.copysign(fold, x), z - np.copysign(fold, z)
    directions = np.stack([x, y, z])
    return (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)


def resized(environment: Floats, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a lat-long map at another size; cells are averaged when it shrinks."""
    given = np.asarray(environment, np.float32)
    if given.shape[:2] == size:
        return given.copy()
    shrinks = size[0] < given.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(given, size[::-1], interpolation=method), np.float32)


@lru_cache(maxsize=8)
def _kernel(rows: int, columns: int, spread: float) -> NDArray[np.float32]:
    directions = map_directions(rows, columns).reshape(-1, 3)
    solid = np.repeat(np.sin((np.arange(rows) + 0.5) / rows * np.pi), columns)
    weight = np.exp((directions @ directions.T - 1) * spread) * solid
    weight[weight < 1e-9 * weight.max()] = 0  # numbers too small for float32 are slow
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _blur(environment: NDArray[np.float32], spread: float) -> NDArray[np.float32]:
    """Blur a lat-long map on the sphere by a von Mises-Fisher lobe."""
    rows, columns = environment.shape[:2]
    flat = _kernel(rows, columns, spread) @ environment.reshape(-1, 3)
    return flat.reshape(rows, columns, 3)
