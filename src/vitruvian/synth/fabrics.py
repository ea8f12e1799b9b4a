# SPDX-License-Identifier: Apache-2.0
"""Fabrics and leathers as plain values, and the surfaces they become."""

import colorsys
from dataclasses import dataclass

import numpy as np

from vitruvian.errors import unknown_name
from vitruvian.synth.patterns import (
    Blotches,
    Checks,
    Colour,
    Dots,
    Pattern,
    Plain,
    Ramp,
    Stripes,
    Threads,
    to_linear,
)
from vitruvian.synth.surfaces import Cloth, Solid

# stuff → (roughness, sheen, wrinkles, weave in metres)
STUFFS: dict[str, tuple[float, float, float, float]] = {
    "cotton": (0.85, 0.08, 0.45, 0.0007),
    "wool": (0.95, 0.25, 0.25, 0.0014),
    "denim": (0.85, 0.05, 0.4, 0.0009),
    "satin": (0.4, 0.2, 0.6, 0.0),
    "knit": (0.95, 0.2, 0.2, 0.004),
    "leather": (0.45, 0.0, 0.3, 0.0),
    "rubber": (0.6, 0.0, 0.0, 0.0),
}
PATTERNS = ("plain", "stripes", "pinstripes", "checks", "dots", "blotches", "ramp", "threads")


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """What a garment is made of.

    Attributes:
        stuff: one of ``STUFFS``.
        pattern: one of ``PATTERNS``.
        colours: linear RGB; patterns use as many as they need.
        size: metres of the pattern's repeat.
        angle: radians the pattern is turned by; 0 gives horizontal stripes.
        seed: of its random fields.
    """

    stuff: str = "cotton"
    pattern: str = "plain"
    colours: tuple[Colour, ...] = ((0.5, 0.5, 0.5),)
    size: float = 0.04
    angle: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.stuff not in STUFFS:
            raise unknown_name("stuff", self.stuff, STUFFS)
        if self.pattern not in PATTERNS:
            raise unknown_name("pattern", self.pattern, PATTERNS)
        object.__setattr__(self, "colours", tuple(tuple(c) for c in self.colours))

    def surface(self) -> Cloth | Solid:
        """Return what light meets."""
        roughness, sheen, wrinkles, weave = STUFFS[self.stuff]
        if self.stuff in ("leather", "rubber"):
            grain = 0.6 if self.stuff == "leather" else 0.1
            return Solid(
                colour=self.colours[0], roughness=roughness, mottle=0.1, grain=grain, seed=self.seed
            )
        return Cloth(
            pattern=self._pattern(), roughness=roughness, sheen=sheen, wrinkles=wrinkles,
            weave=weave, seed=self.seed,
        )  # fmt: skip

    def _pattern(self) -> Pattern:
        first, second = self.colours[0], self.colours[-1]
        both = (first, second)
        match self.pattern:
            case "stripes":
                return Stripes(colours=both, period=self.size, angle=self.angle)
            case "pinstripes":
                return Stripes(colours=both, period=self.size, share=0.08, angle=np.pi / 2)
            case "checks":
                return Checks(colours=both, period=self.size, angle=self.angle)
            case "dots":
                return Dots(colours=both, spacing=self.size)
            case "blotches":
                return Blotches(colours=self.colours, size=self.size * 2, seed=self.seed)
            case "ramp":
                return Ramp(colours=both, start=0.7, end=1.5)
            case "threads":
                return Threads(colours=both, size=0.0008, seed=self.seed)
            case _:
                return Plain(colour=first)


def random_colour(rng: np.random.Generator, *, calm: bool = False) -> Colour:
    """Draw a dye: often black, white, grey, navy or beige, else any hue, paler if ``calm``."""
    if rng.random() < (0.6 if calm else 0.35):
        named = (
            (24, 24, 26), (245, 244, 240), (120, 122, 126), (28, 36, 66), (196, 176, 142),
            (72, 66, 58), (60, 66, 48), (92, 24, 32),
        )  # fmt: skip
        share = np.array([5, 4, 2.5, 3, 2, 1.5, 1.2, 1])
        base = np.array(named[int(rng.choice(len(named), p=share / share.sum()))]) / 255
        srgb = np.clip(base + rng.normal(0, 0.02, 3), 0.03, 0.97)
    else:
        hue, saturation, value = rng.random(), rng.beta(2, 2), rng.uniform(0.2, 0.95)
        saturation *= 0.6 if calm else 1.0
        srgb = np.array(colorsys.hsv_to_rgb(hue, float(saturation), float(value)))
    linear = to_linear(srgb)
    return float(linear[0]), float(linear[1]), float(linear[2])


def random_fabric(
    rng: np.random.Generator, stuff: str | None = None, *, calm: bool = False, plain: float = 0.45
) -> Fabric:
    """Draw a fabric; ``plain`` is how often it has one colour only."""
    if stuff is None:
        stuff = str(rng.choice(["cotton", "wool", "satin", "knit"], p=[0.62, 0.13, 0.1, 0.15]))
    pattern = "plain"
    if rng.random() > plain and stuff not in ("leather", "rubber"):
        kinds = PATTERNS[1:]
        pattern = str(rng.choice(kinds, p=[0.26, 0.06, 0.24, 0.12, 0.18, 0.06, 0.08]))
    colours = tuple(random_colour(rng, calm=calm) for _ in range(3))
    size = float(np.exp(rng.uniform(np.log(0.012), np.log(0.09))))
    angle = float(rng.choice([0.0, np.pi / 2, np.pi / 4, 0.0]))
    return Fabric(
        stuff=stuff, pattern=pattern, colours=colours if pattern != "plain" else colours[:1],
        size=size, angle=angle, seed=int(rng.integers(1 << 20)),
    )  # fmt: skip
