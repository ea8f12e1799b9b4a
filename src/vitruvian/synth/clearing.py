# SPDX-License-Identifier: Apache-2.0
"""What must stay free of a place, and the collector of its faces and balls."""

import colorsys
from dataclasses import dataclass, field

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

UP = np.array([0.0, 1.0, 0.0])
DARK = Finish(pattern=Plain(colour=(0.02, 0.02, 0.022)))


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
class Builder:
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
        """Add a parallelogram: a corner and two edges, seen from their cross product's side."""
        self.corners.append(np.asarray(corner, np.float64))
        self.edges.append(np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)]))
        self.finish.append(self.number(finish))

    def ball(self, centre: ArrayLike, radius: float, finish: Finish) -> None:
        """Add a sphere."""
        self.balls.append([*np.asarray(centre, np.float64), radius])
        self.ball_finish.append(self.number(finish))

    def number(self, finish: Finish) -> int:
        """Return the index of a finish, adding it when new."""
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
        up = UP * height
        low = np.asarray(base, np.float64) - (right + ahead) / 2
        self.quad(low + ahead, right, up, finish)
        self.quad(low + ahead + right, -ahead, up, finish)
        self.quad(low + right, -right, up, finish)
        self.quad(low, ahead, up, finish)
        self.quad(low + ahead + up, right, -ahead, top or finish)
        if low[1] > 0.05:
            self.quad(low, right, ahead, finish)

    def place(self, sky: light.Light, *, sunlit: bool) -> Place:
        """Return the place collected so far."""
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
        """Draw evenly between two numbers."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """Return true with this probability."""
        return bool(self.rng.random() < share)

    def pick(self, *choices: Colour) -> Colour:
        """Draw one of some colours."""
        return choices[int(self.rng.integers(len(choices)))]

    def paint(self, *, vivid: float = 0.4, bright: tuple[float, float] = (0.1, 0.9)) -> Colour:
        """Return a colour as things are painted: mostly muted."""
        saturation = float(self.rng.beta(1.2, 3)) * 2 * vivid
        value = self.between(*bright)
        rgb = colorsys.hsv_to_rgb(self.rng.random(), min(saturation, 1), value)
        red, green, blue = (part**2.2 for part in rgb)
        return red, green, blue

    def shade(self, colour: Colour, factor: float) -> Colour:
        """Return a colour made lighter or darker."""
        red, green, blue = (min(part * factor, 0.9) for part in colour)
        return red, green, blue

    def seed(self) -> int:
        """Draw the seed of a pattern."""
        return int(self.rng.integers(1 << 20))

    def wood(self) -> Colour:
        """Draw a colour of wood."""
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


def wall_finish(b: Builder, colour: Colour) -> Finish:
    """Draw what a wall of this colour is made of."""
    choice = b.rng.random()
    soft = b.shade(colour, 0.93)
    if choice < 0.45:
        pattern: Pattern = Plain(colour=colour)
    elif choice < 0.65:
        pattern = Blotches(colours=(colour, soft), size=b.between(0.1, 1), soft=1.0, seed=b.seed())
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


def leaves(b: Builder) -> Finish:
    """Draw the look of foliage."""
    green = b.shade(
        b.pick((0.06, 0.13, 0.03), (0.12, 0.18, 0.05), (0.25, 0.14, 0.03), (0.04, 0.09, 0.04)),
        b.between(0.6, 1.5),
    )
    return Finish(
        pattern=Blotches(
            colours=tuple(b.shade(green, part) for part in (0.25, 0.5, 0.8, 1.1, 1.7)),
            size=b.between(0.08, 0.3),
            soft=0.5,
            seed=b.seed(),
        )
    )
