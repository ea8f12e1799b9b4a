# SPDX-License-Identifier: Apache-2.0
"""What is printed on, woven into or laid on a surface: a small closed set of patterns.

A pattern is a frozen value; :func:`evaluate` gives its linear colour at many places at once. Edges
are softened over one pixel's footprint and detail below it fades to its mean, because the renderer
takes one sample per pixel inside surfaces. Lengths are metres, colours linear RGB in 0 … 1.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.synth import noise

Floats = NDArray[np.floating]
Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Plain:
    """One colour."""

    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Stripes:
    """Parallel bands of two colours.

    Attributes:
        colours: of the ground and of the stripes.
        period: from one stripe to the next.
        share: of the period that is stripe, 0 … 1.
        angle: radians; 0 gives horizontal stripes, π/2 vertical ones.
    """

    colours: tuple[Colour, Colour]
    period: float
    share: float = 0.5
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Two sets of crossing bands, darker where they meet, as in tartan and gingham."""

    colours: tuple[Colour, Colour]
    period: float
    share: float = 0.5
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Discs on a staggered grid; ``radius`` as a share of ``spacing``."""

    colours: tuple[Colour, Colour]
    spacing: float
    radius: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Blotches:
    """Irregular patches of several colours: camouflage, flowers, leaves, marble, gravel.

    Attributes:
        colours: neighbours in this list are neighbours on the surface.
        size: of the patches, metres.
        soft: 0 for hard edges, 1 for colours that run into each other.
        seed: which patches.
    """

    colours: tuple[Colour, ...]
    size: float
    soft: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A change from one colour to another between two heights."""

    colours: tuple[Colour, Colour]
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Threads:
    """Two colours mixed along one direction: denim, tweed, brushed wood grain.

    Attributes:
        colours: of the two kinds of thread.
        size: thickness of a streak.
        stretch: how many times longer a streak is than thick.
        angle: radians; 0 gives horizontal streaks.
        seed: which streaks.
    """

    colours: tuple[Colour, Colour]
    size: float
    stretch: float = 8.0
    angle: float = np.pi / 2
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Bricks:
    """Rows of rectangles with joints: bricks, tiles, planks, parquet.

    Attributes:
        colours: the rectangles take shades between the first two; the third is the joint.
        width: of a rectangle.
        height: of a rectangle.
        joint: width of the joint.
        offset: shift of every other row, as a share of the width: 0.5 for bricks, 0 for tiles.
        seed: which shade each rectangle has.
    """

    colours: tuple[Colour, Colour, Colour]
    width: float
    height: float
    joint: float = 0.004
    offset: float = 0.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Texture:
    """A picture that surfaces look up, with its halves, quarters … for places seen from afar.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        levels: the picture and its successive halves, made from it.
    """

    image: NDArray[np.uint8]
    levels: tuple[NDArray[np.uint8], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"a texture needs an (H, W, 3) uint8 sRGB picture, got {image.dtype} {image.shape}"
            )
        levels = [np.ascontiguousarray(image)]
        while min(levels[-1].shape[:2]) > 1:
            size = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
            half = cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA)
            levels.append(half.astype(np.uint8, copy=False))
        object.__setattr__(self, "levels", tuple(levels))


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture repeated, every other copy mirrored so that no seam shows; ``width`` of a copy."""

    texture: Texture
    width: float


Pattern = Plain | Stripes | Checks | Dots | Blotches | Ramp | Threads | Bricks | Picture


def evaluate(pattern: Pattern, plane: Floats, points: Floats, footprint: float | Floats) -> Floats:
    """Return the (3, n) linear colour of a pattern.

    Args:
        pattern: which.
        plane: (2, n) place on the surface, metres, second axis upwards.
        points: (3, n) place in space, metres, for patterns that fill space.
        footprint: metres that one pixel covers, one number or (n,).
    """
    u, v = plane
    match pattern:
        case Plain():
            return np.repeat(_column(pattern.colour), u.size, axis=1)
        case Stripes():
            _, down = _turned(u, v, pattern.angle)
            return _mixed(pattern.colours, _bands(down, pattern.period, pattern.share, footprint))
        case Checks():
            across, down = _turned(u, v, pattern.angle)
            amount = _bands(across, pattern.period, pattern.share, footprint)
            amount += _bands(down, pattern.period, pattern.share, footprint)
            return _mixed(pattern.colours, amount * np.float32(0.5))
        case Dots():
            return _mixed(pattern.colours, _dots(u, v, pattern, footprint))
        case Blotches():
            return _blotches(pattern, points, footprint)
        case Ramp():
            length = pattern.end - pattern.start
            amount = np.clip((v - np.float32(pattern.start)) / np.float32(length or 1e-6), 0, 1)
            return _mixed(pattern.colours, amount)
        case Threads():
            return _threads(pattern, u, v, footprint)
        case Bricks():
            return _bricks(pattern, u, v, footprint)
        case Picture():
            size = np.float32(pattern.width)
            per_pixel = float(np.median(footprint)) / pattern.width
            return sample(pattern.texture, u / size, v / size, per_pixel, mirrored=True)


def mean(pattern: Pattern) -> NDArray[np.float32]:
    """Return (3,) linear colour of a pattern seen from afar."""
    match pattern:
        case Plain():
            return _column(pattern.colour)[:, 0]
        case Stripes() | Checks():
            share = pattern.share
        case Dots():
            share = min(2 * np.pi * pattern.radius**2, 1.0)
        case Blotches():
            return np.asarray(np.mean(pattern.colours, axis=0), np.float32)
        case Ramp() | Threads():
            share = 0.5
        case Bricks():
            inside = (1 - pattern.joint / pattern.width) * (1 - pattern.joint / pattern.height)
            colours = np.array(pattern.colours, np.float32)
            seen = inside * colours[:2].mean(axis=0) + (1 - inside) * colours[2]
            return seen.astype(np.float32)
        case Picture():
            levels = pattern.texture.levels
            return _LINEAR[levels[max(len(levels) - 6, 0)]].mean(axis=(0, 1))
    return _mixed(pattern.colours, np.full(1, share, np.float32))[:, 0]


def sample(
    texture: Texture, u: Floats, v: Floats, per_pixel: float, *, mirrored: bool = False
) -> Floats:
    """Look up (3, n) linear colours of a texture, interpolated between texels.

    Args:
        texture: the picture.
        u: (n,) 0 at the left edge, 1 at the right one; repeats beyond.
        v: (n,) 0 at the *bottom* edge, 1 at the top, as OBJ files count; repeats beyond.
        per_pixel: how much of u one pixel of the result covers; chooses the level.
        mirrored: every other repetition is mirrored.
    """
    shrink = max(per_pixel * texture.image.shape[1], 1e-9)
    level = int(np.clip(np.rint(np.log2(shrink)), 0, len(texture.levels) - 1))
    image = texture.levels[level]
    rows, columns = image.shape[:2]
    x = _wrapped(u, mirrored) * np.float32(columns) - np.float32(0.5)
    y = (np.float32(1) - _wrapped(v, mirrored)) * np.float32(rows) - np.float32(0.5)
    left, top = np.floor(x), np.floor(y)
    x -= left
    y -= top
    i0, j0 = left.astype(np.int32), top.astype(np.int32)
    i1, j1 = i0 + 1, j0 + 1
    if mirrored:
        i0, i1 = np.maximum(i0, 0), np.minimum(i1, columns - 1)
        j0, j1 = np.maximum(j0, 0), np.minimum(j1, rows - 1)
    else:
        i0, i1, j0, j1 = i0 % columns, i1 % columns, j0 % rows, j1 % rows
    texels = image.reshape(-1, 3)
    one = np.float32(1)
    weights = ((one - x) * (one - y), x * (one - y), (one - x) * y, x * y)
    corners = (j0 * columns + i0, j0 * columns + i1, j1 * columns + i0, j1 * columns + i1)
    total = np.zeros((3, u.size), np.float32)
    for weight, corner in zip(weights, corners, strict=True):
        total += _LINEAR[texels.take(corner, axis=0).T] * weight
    return total


def to_linear(srgb: NDArray[np.floating]) -> Floats:
    """Turn sRGB values 0 … 1 into linear light (IEC 61966-2-1)."""
    values = np.asarray(srgb, np.float32)
    dark = values / np.float32(12.92)
    bright = ((np.maximum(values, 0) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(values <= 0.04045, dark, bright)


_LINEAR = to_linear(np.arange(256, dtype=np.float32) / 255)
_LINEAR.setflags(write=False)


def _wrapped(value: Floats, mirrored: bool) -> Floats:
    if not mirrored:
        return value - np.floor(value)
    half = value * np.float32(0.5) + np.float32(0.5)
    return np.abs((half - np.floor(half)) * np.float32(2) - np.float32(1))


def _column(colour: Colour) -> Floats:
    return np.array(colour, np.float32)[:, None]


def _mixed(colours: tuple[Colour, ...], amount: Floats) -> Floats:
    ground = _column(colours[0])
    return ground + (_column(colours[1]) - ground) * amount


def _turned(u: Floats, v: Floats, angle: float) -> tuple[Floats, Floats]:
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return u * cosine - v * sine, u * sine + v * cosine


def _fade(size: float, footprint: float | Floats) -> Floats:
    """Return how much of a detail of ``size`` a pixel of ``footprint`` still shows, 0 … 1."""
    share = np.asarray(footprint, np.float32) * np.float32(1.5 / max(size, 1e-9))
    return np.clip(np.float32(1.5) - share, 0, 1)


def _width(footprint: float | Floats, size: float, least: float = 1e-4) -> Floats:
    """Return the footprint in units of ``size``, never nothing."""
    return np.maximum(np.asarray(footprint, np.float32) * np.float32(1 / size), np.float32(least))


def _bands(place: Floats, period: float, share: float, footprint: float | Floats) -> Floats:
    """Return 1 on bands and 0 between them, with edges one footprint wide."""
    phase = place * np.float32(1 / period)
    phase -= np.floor(phase)
    phase -= np.float32(0.5)
    amount = (np.float32(share / 2) - np.abs(phase)) / _width(footprint, period) + np.float32(0.5)
    amount = np.clip(amount, 0, 1)
    return (amount - np.float32(share)) * _fade(period / 2, footprint) + np.float32(share)


def _dots(u: Floats, v: Floats, pattern: Dots, footprint: float | Floats) -> Floats:
    row = v * np.float32(2 / pattern.spacing)
    number = np.floor(row)
    x = u * np.float32(1 / pattern.spacing) + number * np.float32(0.5)
    x -= np.floor(x)
    x -= np.float32(0.5)
    # rows are half a spacing apart: distances are in units of the spacing
    y = (row - number - np.float32(0.5)) * np.float32(0.5)
    gap = np.float32(pattern.radius) - np.sqrt(x * x + y * y)
    amount = np.clip(gap / _width(footprint, pattern.spacing) + np.float32(0.5), 0, 1)
    mean = np.float32(min(2 * np.pi * pattern.radius**2, 1.0))
    return (amount - mean) * _fade(pattern.spacing / 2, footprint) + mean


def _blotches(pattern: Blotches, points: Floats, footprint: float | Floats) -> Floats:
    field = noise.fractal(points, 0.5 / pattern.size, seed=pattern.seed)
    count = len(pattern.colours)
    level = field * np.float32(count)
    # the field crosses one level in about size / count: soften over the footprint's share of it
    width = np.minimum(
        _width(footprint, pattern.size / count, max(0.02, pattern.soft)), np.float32(1)
    )
    result = np.repeat(_column(pattern.colours[0]), field.size, axis=1)
    for i in range(1, count):
        amount = np.clip((level - np.float32(i)) / width + np.float32(0.5), 0, 1)
        result += (_column(pattern.colours[i]) - result) * amount
    return result


def _threads(pattern: Threads, u: Floats, v: Floats, footprint: float | Floats) -> Floats:
    along, across = _turned(u, v, pattern.angle)
    stretched = np.stack([along * np.float32(1 / pattern.stretch), across, along])
    stretched[2] = 0
    amount = noise.smooth(stretched, 0.5 / pattern.size, seed=pattern.seed)
    coarse = noise.fractal(stretched, 0.02 / pattern.size, seed=pattern.seed + 1)
    fade = _fade(pattern.size, footprint)
    amount = (amount - np.float32(0.5)) * fade + np.float32(0.5)
    return _mixed(pattern.colours, np.float32(0.6) * amount + np.float32(0.4) * coarse)


def _bricks(pattern: Bricks, u: Floats, v: Floats, footprint: float | Floats) -> Floats:
    y = v * np.float32(1 / pattern.height)
    row = np.floor(y)
    odd = row - np.float32(2) * np.floor(row * np.float32(0.5))
    x = u * np.float32(1 / pattern.width) + odd * np.float32(pattern.offset)
    column = np.floor(x)
    edge_x = np.float32(0.5) - np.abs(x - column - np.float32(0.5))
    edge_y = np.float32(0.5) - np.abs(y - row - np.float32(0.5))
    edge = np.minimum(edge_x * np.float32(pattern.width), edge_y * np.float32(pattern.height))
    width = _width(footprint, 1.0)
    joint = np.clip((np.float32(pattern.joint / 2) - edge) / width + np.float32(0.5), 0, 1)
    joint *= np.minimum(np.float32(pattern.joint) / width, np.float32(1))
    # a multiplicative hash of row and column: the shade of each rectangle
    shade = (row * np.float32(12.9898) + column * np.float32(78.233) + pattern.seed % 997) * 0.3183
    shade = np.sin(shade.astype(np.float32)) * np.float32(437.585)
    shade -= np.floor(shade)
    fade = _fade(min(pattern.width, pattern.height), footprint)
    shade = (shade - np.float32(0.5)) * fade + np.float32(0.5)
    result = _mixed(pattern.colours[:2], shade)
    result += (_column(pattern.colours[2]) - result) * joint
    return result


def as_colour(values: ArrayLike) -> Colour:
    """Return three numbers as a colour."""
    red, green, blue = (float(part) for part in np.asarray(values, np.float64))
    return red, green, blue
