# SPDX-License-Identifier: Apache-2.0
"""Inventing places: rooms, streets, parks and studios around people and the cameras that see them.

Everything is drawn from one generator, so a place is a pure function of its seed. The floor is
y = 0. Nothing is put between a camera and the people, nor into either.
"""

import colorsys
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.synth import light
from vitruvian.synth.patterns import (
    Blotches,
    Bricks,
    Checks,
    Colour,
    Dots,
    Pattern,
    Picture,
    Plain,
    Ramp,
    Stripes,
    Texture,
    Threads,
)
from vitruvian.synth.place import Finish, Place

Floats = NDArray[np.floating]
Kind = Literal["room", "street", "park", "studio"]
KINDS: tuple[Kind, ...] = ("room", "street", "park", "studio")

_UP = np.array([0.0, 1.0, 0.0])
_DARK = Finish(pattern=Plain(colour=(0.02, 0.02, 0.022)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Clearing:
    """What must stay free.

    Attributes:
        low: (3,) lowest corner of the box around all people, world.
        high: (3,) highest corner.
        eyes: (N, 3) where cameras are.
    """

    low: Floats
    high: Floats
    eyes: Floats

    @property
    def middle(self) -> Floats:
        """(2,) x and z of the people's middle."""
        return ((self.low + self.high) / 2)[[0, 2]]

    @property
    def radius(self) -> float:
        """Of the people's circle on the floor."""
        return float(np.linalg.norm((self.high - self.low)[[0, 2]])) / 2

    def distance(self, x: float, z: float) -> float:
        """Return how far a point of the floor is from the people and from what cameras see."""
        point = np.array([x, z])
        best = np.inf
        for eye in self.eyes[:, [0, 2]]:
            way = self.middle - eye
            share = np.clip((point - eye) @ way / max(float(way @ way), 1e-9), 0, 1)
            # the pyramid of sight is as wide as the people at their end
            width = self.radius * (0.3 + 0.7 * share)
            best = min(best, float(np.linalg.norm(point - eye - share * way)) - width)
        return best


@dataclass(kw_only=True)
class _Builder:
    """Collects faces and balls."""

    rng: np.random.Generator
    pictures: tuple[Texture, ...] = ()
    corners: list[Floats] = field(default_factory=list)
    edges: list[Floats] = field(default_factory=list)
    finish: list[int] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    balls: list[list[float]] = field(default_factory=list)
    ball_finish: list[int] = field(default_factory=list)

    def quad(self, corner: ArrayLike, first: ArrayLike, second: ArrayLike, finish: Finish) -> None:
        self.corners.append(np.asarray(corner, np.float64))
        self.edges.append(np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)]))
        self.finish.append(self.number(finish))

    def ball(self, centre: ArrayLike, radius: float, finish: Finish) -> None:
        self.balls.append([*np.asarray(centre, np.float64), radius])
        self.ball_finish.append(self.number(finish))

    def number(self, finish: Finish) -> int:
        for index, known in enumerate(self.finishes):
            if known is finish:
                return index
        self.finishes.append(finish)
        return len(self.finishes) - 1

    def box(
        self, base: ArrayLike, size: tuple[float, float, float], yaw: float, finish: Finish,
        top: Finish | None = None,
    ) -> None:  # fmt: skip
        """Add a box of (width, height, depth) standing on the middle of its base."""
        width, height, depth = size
        right = np.array([np.cos(yaw), 0, -np.sin(yaw)]) * width
        ahead = np.array([np.sin(yaw), 0, np.cos(yaw)]) * depth
        up = _UP * height
        low = np.asarray(base, np.float64) - (right + ahead) / 2
        self.quad(low + ahead, right, up, finish)
        self.quad(low + ahead + right, -ahead, up, finish)
        self.quad(low + right, -right, up, finish)
        self.quad(low, ahead, up, finish)
        self.quad(low + ahead + up, right, -ahead, top or finish)
        if low[1] > 0.05:
            self.quad(low, right, ahead, finish)

    def place(self, sky: light.Light, *, sunlit: bool) -> Place:
        return Place(
            corners=np.array(self.corners),
            edges=np.array(self.edges),
            finish=np.array(self.finish, np.int64),
            finishes=tuple(self.finishes),
            sky=sky,
            balls=np.array(self.balls, np.float64).reshape(-1, 4),
            ball_finish=np.array(self.ball_finish, np.int64),
            sunlit=sunlit,
        )

    # ------------------------------------------------------------------------------ chance

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, *choices: Colour) -> Colour:
        return choices[int(self.rng.integers(len(choices)))]

    def paint(self, *, vivid: float = 0.4, bright: tuple[float, float] = (0.1, 0.9)) -> Colour:
        """Return a colour as things are painted: mostly muted."""
        saturation = float(self.rng.beta(1.2, 3)) * 2 * vivid
        value = self.between(*bright)
        rgb = colorsys.hsv_to_rgb(self.rng.random(), min(saturation, 1), value)
        red, green, blue = (part**2.2 for part in rgb)
        return red, green, blue

    def shade(self, colour: Colour, factor: float) -> Colour:
        red, green, blue = (min(part * factor, 0.9) for part in colour)
        return red, green, blue

    def seed(self) -> int:
        return int(self.rng.integers(1 << 20))

    def wood(self) -> Colour:
        tone = self.pick((0.35, 0.22, 0.12), (0.2, 0.1, 0.05), (0.5, 0.38, 0.25), (0.1, 0.06, 0.04))
        return self.shade(tone, self.between(0.7, 1.3))

    def thing(self) -> Finish:
        """Return the finish of a piece of furniture or a small object."""
        if self.chance(0.4):
            tone = self.wood()
            dark = self.shade(tone, 0.6)
            return Finish(
                pattern=Threads(colours=(tone, dark), size=0.006, stretch=30, seed=self.seed())
            )
        return Finish(pattern=Plain(colour=self.paint(vivid=0.6)))

    def print(self) -> Pattern:
        """Return something colourful: a poster, a curtain, a rug."""
        colours = self.paint(vivid=0.9), self.paint(vivid=0.7)
        choice = int(self.rng.integers(6))
        if choice == 0 and self.pictures:
            texture = self.pictures[int(self.rng.integers(len(self.pictures)))]
            return Picture(texture=texture, width=self.between(0.5, 1.5))
        size = self.between(0.06, 0.4)
        patterns: tuple[Pattern, ...] = (
            Blotches(
                colours=(*colours, self.paint(vivid=0.9), self.paint()), size=size, seed=self.seed()
            ),
            Stripes(colours=colours, period=size, angle=float(self.rng.choice([0, np.pi / 2]))),
            Checks(colours=colours, period=size),
            Dots(colours=colours, spacing=size),
            Ramp(colours=colours, start=0, end=self.between(0.5, 2)),
            Threads(colours=colours, size=size / 6, stretch=5, seed=self.seed()),
        )
        return patterns[choice]


def make_place(
    rng: np.random.Generator,
    clearing: Clearing,
    *,
    kind: Kind | None = None,
    pictures: tuple[Texture, ...] = (),
) -> Place:
    """Invent a place.

    Args:
        rng: where chance comes from.
        clearing: what must stay free.
        kind: which sort; by chance if not given.
        pictures: may hang on walls and cover things.
    """
    chosen = kind or KINDS[int(rng.choice(4, p=[0.45, 0.25, 0.2, 0.1]))]
    builder = _Builder(rng=rng, pictures=pictures)
    makers = {"room": _room, "street": _street, "park": _park, "studio": _studio}
    return makers[chosen](builder, clearing)


# ------------------------------------------------------------------------------------- indoors


def _room(b: _Builder, clearing: Clearing) -> Place:
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
        along = np.cross(_UP, inward)
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
    for _ in range(int(b.rng.integers(2, 10))):
        _furnish(b, clearing, low, high)
    sky = light.sky(b.rng)
    return b.place(sky, sunlit=False)


def _floor(b: _Builder) -> Finish:
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
        pattern = Blotches(colours=(tone, other, tone), size=b.between(0.05, 0.8), seed=b.seed())
    else:
        pattern = Plain(colour=tone)
    return Finish(pattern=pattern)


def _wall_finish(b: _Builder, colour: Colour) -> Finish:
    choice = b.rng.random()
    soft = b.shade(colour, 0.93)
    if choice < 0.45:
        pattern: Pattern = Plain(colour=colour)
    elif choice < 0.65:
        pattern = Blotches(colours=(colour, soft, colour), size=b.between(0.2, 1), seed=b.seed())
    elif choice < 0.75:
        pattern = Stripes(
            colours=(colour, b.shade(colour, 0.8)), period=b.between(0.05, 0.4), angle=np.pi / 2
        )
    elif choice < 0.85:
        joint = b.shade((0.5, 0.48, 0.45), b.between(0.5, 1.2))
        tone = b.pick(colour, (0.35, 0.13, 0.08), (0.6, 0.58, 0.55))
        pattern = Bricks(
            colours=(tone, b.shade(tone, 0.6), joint), width=0.24, height=0.08, joint=0.01,
            seed=b.seed(),
        )  # fmt: skip
    elif choice < 0.93:
        size = b.between(0.1, 0.4)
        pattern = Bricks(
            colours=(colour, soft, b.shade(colour, 0.6)), width=size, height=size, joint=0.005,
            offset=0, seed=b.seed(),
        )  # fmt: skip
    else:
        pattern = b.print()
    return Finish(pattern=pattern)


def _wall(
    b: _Builder, start: Floats, along: Floats, inward: Floats, length: float, height: float,
    colour: Colour,
) -> None:  # fmt: skip
    """Add a wall with a skirting board, windows, a door and pictures."""
    b.quad(start, along * length, _UP * height, _wall_finish(b, colour))
    trim = Finish(pattern=Plain(colour=b.shade((0.8, 0.8, 0.78), b.between(0.3, 1))))

    def patch(x: float, y: float, width: float, tall: float, off: float, finish: Finish) -> None:
        b.quad(start + along * x + _UP * y + inward * off, along * width, _UP * tall, finish)

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


def _furnish(b: _Builder, clearing: Clearing, low: Floats, high: Floats) -> None:
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
        b.box(base + _UP * height, (width, 0.04, depth), yaw, finish)
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        for i in (-1, 1):
            for j in (-1, 1):
                leg = turn @ np.array([i * (width / 2 - 0.05), 0, j * (depth / 2 - 0.05)])
                b.box(base + leg, (0.05, height, 0.05), yaw, finish)
        _clutter(b, base + _UP * (height + 0.04), min(width, depth) / 2)
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
            b.box(base + _UP * shelf, (width, 0.025, 0.28), yaw, finish)
            place = -width / 2 + 0.05
            while place < width / 2 - 0.12:
                thick = b.between(0.03, 0.14)
                book = Finish(pattern=Plain(colour=b.paint(vivid=0.8)))
                spot = base + _UP * (shelf + 0.025) + right * (place + thick / 2)
                b.box(spot, (thick * 0.95, b.between(0.15, 0.27), 0.2), yaw, book)
                place += thick + (b.between(0.1, 0.3) if b.chance(0.25) else 0)
            shelf += b.between(0.3, 0.4)
    elif choice == 3:  # cabinet, fridge, chest
        size = (b.between(0.4, 1.4), b.between(0.5, 2.0), b.between(0.4, 0.6))
        b.box(base, size, yaw, finish, top=other)
        _clutter(b, base + _UP * size[1], 0.2)
    elif choice == 4:  # potted plant
        height = b.between(0.25, 0.5)
        b.box(base, (0.35, height, 0.35), yaw, finish)
        leaves = _leaves(b)
        for _ in range(int(b.rng.integers(1, 4))):
            shift = b.rng.normal(0, 0.12, 3) + _UP * (height + b.between(0.2, 0.7))
            b.ball(base + shift, b.between(0.15, 0.35), leaves)
    else:  # floor lamp
        shine = b.between(1, 5)
        b.box(base, (0.04, 1.5, 0.04), yaw, _DARK)
        shade = Finish(
            pattern=Plain(colour=b.paint(bright=(0.6, 0.95))),
            emission=(shine, shine * 0.85, shine * 0.6),
        )
        b.box(base + _UP * 1.45, (0.35, 0.3, 0.35), yaw, shade)


def _clutter(b: _Builder, base: Floats, reach: float) -> None:
    for _ in range(int(b.rng.integers(0, 5))):
        spot = base + np.array([b.between(-reach, reach), 0, b.between(-reach, reach)])
        size = (b.between(0.05, 0.25), b.between(0.03, 0.3), b.between(0.05, 0.25))
        b.box(spot, size, b.between(0, np.pi), Finish(pattern=Plain(colour=b.paint(vivid=0.9))))


def _leaves(b: _Builder) -> Finish:
    green = b.shade(
        b.pick((0.06, 0.13, 0.03), (0.12, 0.18, 0.05), (0.25, 0.14, 0.03), (0.04, 0.09, 0.04)),
        b.between(0.6, 1.5),
    )
    return Finish(
        pattern=Blotches(
            colours=(b.shade(green, 0.35), green, b.shade(green, 1.7), b.shade(green, 0.6)),
            size=b.between(0.08, 0.3),
            seed=b.seed(),
        )
    )


# ------------------------------------------------------------------------------------ outdoors


def _ground(b: _Builder, clearing: Clearing, *, paved: bool) -> None:
    x, z = clearing.middle
    if paved:
        tone = b.shade((0.25, 0.24, 0.23), b.between(0.4, 1.6))
        size = b.between(0.2, 1.0)
        choices: tuple[Pattern, ...] = (
            Blotches(
                colours=(tone, b.shade(tone, 0.85), b.shade(tone, 1.1)), size=0.05, seed=b.seed()
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
            colours=(b.shade(tone, 0.7), tone, b.shade(tone, 1.25), b.shade(tone, 0.85)),
            size=b.between(0.1, 0.6), seed=b.seed(),
        )  # fmt: skip
    reach = 150.0
    corner = (x - reach, 0, z + reach)
    b.quad(corner, (2 * reach, 0, 0), (0, 0, -2 * reach), Finish(pattern=pattern))


def _street(b: _Builder, clearing: Clearing) -> Place:
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
                b.box(spot, (0.12, b.between(3, 6), 0.12), yaw, _DARK)
    if b.chance(0.6):
        end = centre + way * (b.between(50, 90) * (1 if b.chance(0.5) else -1))
        _house(b, end, (40, b.between(8, 20), 12), yaw)
    return b.place(light.sky(b.rng, horizon=b.between(0, 0.1)), sunlit=True)


def _house(b: _Builder, base: Floats, size: tuple[float, float, float], yaw: float) -> None:
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
        front = _wall_finish(b, wall)
    b.box(base, size, yaw, front, top=_DARK)
    if b.chance(0.5):  # shop fronts
        lower = Finish(pattern=Bricks(
            colours=(b.paint(vivid=0.9), (0.03, 0.03, 0.04), b.paint(vivid=0.6)),
            width=b.between(1.5, 4), height=3.0, joint=0.4, offset=0, seed=b.seed(),
        ))  # fmt: skip
        b.box(base, (size[0] + 0.2, 3.0, size[2] - 0.1), yaw, lower)


def _car(b: _Builder, base: Floats, yaw: float) -> None:
    body = Finish(pattern=Plain(colour=b.paint(vivid=0.9)))
    glass = Finish(pattern=Plain(colour=(0.03, 0.035, 0.04)))
    b.box(base + _UP * 0.3, (1.75, 0.6, 4.2), yaw, body)
    b.box(base + _UP * 0.9, (1.5, 0.5, 2.2), yaw, glass, top=body)
    way = np.array([np.sin(yaw), 0, np.cos(yaw)])
    across = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    for i in (-1.3, 1.3):
        for j in (-0.8, 0.8):
            b.box(base + way * i + across * j, (0.2, 0.6, 0.6), yaw, _DARK)


def _tree(b: _Builder, base: Floats) -> None:
    height = b.between(1.5, 4)
    bark = Finish(pattern=Plain(colour=b.shade((0.12, 0.08, 0.05), b.between(0.5, 1.5))))
    b.box(base, (0.25, height, 0.25), b.between(0, 3), bark)
    leaves = _leaves(b)
    for _ in range(int(b.rng.integers(2, 5))):
        shift = b.rng.normal(0, 0.7, 3) + _UP * (height + b.between(0.3, 1.6))
        b.ball(base + shift, b.between(0.8, 1.7), leaves)


def _park(b: _Builder, clearing: Clearing) -> Place:
    _ground(b, clearing, paved=b.chance(0.2))
    centre = np.array([clearing.middle[0], 0, clearing.middle[1]])
    if b.chance(0.5):
        yaw = b.between(0, np.pi)
        path = Finish(pattern=Blotches(
            colours=((0.4, 0.36, 0.3), (0.33, 0.3, 0.25)), size=0.1, seed=b.seed(),
        ))  # fmt: skip
        way = np.array([np.sin(yaw), 0, np.cos(yaw)])
        across = np.array([np.cos(yaw), 0, -np.sin(yaw)]) * b.between(1, 3)
        start = centre - way * 60 + _UP * 0.01 - across / 2
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
            finish = _leaves(b) if b.chance(0.5) else _wall_finish(b, b.paint())
            b.box(spot, (length, b.between(0.5, 2), b.between(0.1, 0.8)), heading, finish)
    for _ in range(int(b.rng.integers(0, 5))):  # bushes and stones
        heading, far = b.between(0, 2 * np.pi), b.between(2, 15)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        if clearing.distance(spot[0], spot[2]) > 1.2:
            b.ball(spot, b.between(0.2, 0.9), _leaves(b))
    if b.chance(0.4):
        heading, far = b.between(0, 2 * np.pi), b.between(25, 60)
        spot = centre + np.array([np.sin(heading) * far, 0, np.cos(heading) * far])
        if clearing.distance(spot[0], spot[2]) > 20:
            _house(b, spot, (b.between(8, 25), b.between(4, 10), b.between(8, 12)), heading)
    return b.place(light.sky(b.rng, horizon=b.between(0, 0.18)), sunlit=True)


def _studio(b: _Builder, clearing: Clearing) -> Place:
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
        along = np.cross(_UP, inward)
        start = np.array([x, 0, z]) - (inward + along) * far
        b.quad(start, along * (2 * far), _UP * height, wall)
    return b.place(light.studio(b.rng), sunlit=False)
