# SPDX-License-Identifier: Apache-2.0
"""Skin, eyes and hair colours of people, and what is painted on their faces.

Skin tones run in ten steps from very light to very dark, evenly drawn, as the ten-step scales in
use for fairness studies do. A step is an amount of melanin; blood varies on top:

    albedo = lightest · exp(-melanin · m) · exp(-blood · b)

with absorption falling from blue to red for melanin and green and blue only for blood. The lightest
tone and the absorptions are ours, set so that step 1 is about sRGB (225, 190, 170) and step 10
about sRGB (64, 42, 32).
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.body import Phenotype, load_body
from vitruvian.synth.fabrics import random_colour
from vitruvian.synth.hairstyles import HairChoice
from vitruvian.synth.landmarks import eye, landmark_table
from vitruvian.synth.patterns import Colour, as_colour, to_linear
from vitruvian.synth.scalp import beard, brow, face_window, paint_mask
from vitruvian.synth.surfaces import Eye, Paint, Skin

STEPS = 10
_LIGHTEST = np.array([0.74, 0.50, 0.39])
_MELANIN = np.array([2.65, 3.0, 3.25])
_BLOOD = np.array([0.0, 0.16, 0.13])

# name → (sRGB, shares by lightness of skin: light, middle, dark)
EYES: dict[str, tuple[tuple[int, int, int], tuple[float, float, float]]] = {
    "dark brown": ((58, 36, 22), (0.12, 0.6, 0.85)),
    "brown": ((98, 62, 32), (0.2, 0.3, 0.13)),
    "hazel": ((118, 94, 48), (0.16, 0.05, 0.01)),
    "green": ((98, 116, 76), (0.12, 0.02, 0.005)),
    "blue": ((96, 128, 158), (0.3, 0.02, 0.003)),
    "grey": ((122, 134, 140), (0.1, 0.01, 0.002)),
}
HAIR: dict[str, tuple[tuple[int, int, int], tuple[float, float, float]]] = {
    "black": ((22, 18, 17), (0.1, 0.55, 0.78)),
    "dark brown": ((50, 34, 26), (0.27, 0.32, 0.18)),
    "brown": ((88, 60, 40), (0.26, 0.08, 0.02)),
    "light brown": ((128, 94, 62), (0.14, 0.02, 0.01)),
    "blond": ((186, 150, 98), (0.13, 0.01, 0.005)),
    "light blond": ((214, 188, 140), (0.04, 0.005, 0.001)),
    "red": ((142, 66, 34), (0.06, 0.015, 0.004)),
}
_GREYS = ((120, 116, 112), (176, 174, 172), (222, 220, 218))


@dataclass(frozen=True, kw_only=True)
class Complexion:
    """Colours of a person, JSON-able.

    Attributes:
        step: 1 lightest … 10 darkest.
        melanin: 0 … 1, within the step.
        blood: about -1 … 1.
        eyes: one of ``EYES``.
        mottle: contrast of the skin.
        lips: 0 none, 1 full lipstick.
        lipstick: its colour.
        blush: 0 … 1.
        brows: times the usual thickness.
        brow_opacity: 0 … 1.
        wet: shine of the skin, 0 … 1.
    """

    step: int = 4
    melanin: float = 0.35
    blood: float = 0.0
    eyes: str = "brown"
    mottle: float = 0.2
    lips: float = 0.0
    lipstick: Colour = field(default=(0.4, 0.05, 0.06))
    blush: float = 0.0
    brows: float = 1.0
    brow_opacity: float = 0.85
    wet: float = 0.4

    def __post_init__(self) -> None:
        object.__setattr__(self, "lipstick", tuple(self.lipstick))

    @property
    def tone(self) -> Colour:
        """Mean albedo of the skin, linear."""
        r, g, b = _LIGHTEST * np.exp(-_MELANIN * self.melanin - _BLOOD * self.blood)
        return float(r), float(g), float(b)


def sample_complexion(
    rng: np.random.Generator, *, feminine: bool, child: bool = False
) -> Complexion:
    """Draw colours: every step of skin tone equally often; no make-up on children."""
    step = int(rng.integers(1, STEPS + 1))
    melanin = (step - 1 + rng.random()) / STEPS
    made_up = feminine and not child and rng.random() < 0.45
    return Complexion(
        step=step,
        melanin=float(melanin),
        blood=float(np.clip(rng.normal(0, 0.6), -1.5, 1.5)),
        eyes=_drawn(rng, EYES, melanin),
        mottle=float(rng.uniform(0.1, 0.35)),
        lips=float(rng.uniform(0.3, 1)) if made_up else 0.0,
        lipstick=_lipstick(rng),
        blush=float(rng.uniform(0, 0.5) if made_up else rng.uniform(0, 0.2)),
        brows=float(rng.uniform(0.6, 1.0) if feminine else rng.uniform(0.8, 1.35)),
        brow_opacity=float(rng.uniform(0.75, 1.0)),
        wet=float(rng.uniform(0.2, 0.7)),
    )


def _lipstick(rng: np.random.Generator) -> Colour:
    base = ((150, 40, 48), (176, 70, 80), (120, 30, 50), (196, 110, 104))[int(rng.integers(4))]
    r, g, b = to_linear(np.array(base) / 255)
    return float(r), float(g), float(b)


def _drawn(rng: np.random.Generator, table: dict, melanin: float) -> str:
    """Draw a name by the shares of its table for an amount of melanin."""
    names = list(table)
    shares = np.array([np.interp(melanin, [0.15, 0.45, 0.75], table[name][1]) for name in names])
    return str(rng.choice(names, p=shares / shares.sum()))


def sample_hair_colour(
    rng: np.random.Generator, melanin: float, age: float
) -> tuple[str, Colour, Colour]:
    """Draw a hair colour: its name, linear RGB, and that of beard and brows.

    Args:
        rng: chance.
        melanin: of the skin.
        age: the phenotype's, 2/3 for 25 years, 1 for ninety.
    """
    name = _drawn(rng, HAIR, melanin)
    base = np.array(HAIR[name][0], np.float64)
    grey = np.clip((age - 0.74) / 0.16, 0, 1)
    own = np.clip(base * rng.uniform(0.85, 1.15), 4, 250)
    if rng.random() < grey:
        name = "grey"
        own = np.array(_GREYS[int(rng.choice(3, p=[0.4, 0.35, 0.25]))], np.float64)
    natural = to_linear(own / 255)
    brows = natural * (0.85 if name not in ("grey", "light blond", "blond") else 0.6)
    colour = natural
    if rng.random() < 0.07:
        name = "dyed"
        colour = np.array(random_colour(rng))
        while colour.max() - colour.min() < 0.08:
            colour = np.array(random_colour(rng))
    return name, as_colour(colour), as_colour(brows)


def sample_hair(
    rng: np.random.Generator,
    phenotype: Phenotype,
    colour: tuple[float, float, float],
    brows: tuple[float, float, float],
) -> HairChoice:
    """Draw a style and a beard that go with sex, age and ancestry."""
    feminine, child = phenotype.gender > 0.5, phenotype.age < 0.55
    masculine = {
        "bald": 0.06, "buzz": 0.15, "short back": 0.15, "short side": 0.22, "short messy": 0.15,
        "crop fringe": 0.09, "short curly": 0.06, "long straight": 0.02, "long wavy": 0.02,
        "low ponytail": 0.015, "bun": 0.015, "curly": 0.02,
    }  # fmt: skip
    female = {
        "bald": 0.005, "buzz": 0.015, "short side": 0.05, "short messy": 0.05, "bob": 0.11,
        "bob fringe": 0.09, "long straight": 0.16, "long wavy": 0.15, "curly": 0.1,
        "ponytail": 0.08, "low ponytail": 0.05, "bun": 0.08, "pigtails": 0.025,
    }  # fmt: skip
    curly = {"afro": 0.35, "short afro": 0.35, "braids": 0.3 if feminine else 0.1}
    table = dict(female if feminine else masculine)
    for name, share in curly.items():
        table[name] = table.get(name, 0) + share * (0.05 + 0.75 * phenotype.african)
    names = list(table)
    shares = np.array([table[name] for name in names])
    old = float(np.clip((phenotype.age - 0.68) / 0.25, 0, 1)) if not feminine else 0.0
    beard = ""
    if not feminine and not child:
        kinds = ["", "shadow", "full", "goatee", "moustache"]
        beard = str(rng.choice(kinds, p=[0.48, 0.2, 0.2, 0.07, 0.05]))
    bald = rng.uniform(0.5, 1) if rng.random() < 0.35 * old else 0.0
    return HairChoice(
        style=str(rng.choice(names, p=shares / shares.sum())),
        colour=colour,
        tip=float(rng.uniform(0.95, 1.5)),
        length=float(rng.uniform(0.75, 1.3)),
        volume=float(rng.uniform(0.6, 1.4)),
        side=float(rng.choice([-1, 1]) * rng.uniform(0.2, 1)),
        receding=float(rng.uniform(0, 0.9) * old),
        balding=float(bald),
        beard=beard,
        beard_length=float(np.exp(rng.uniform(np.log(0.005), np.log(0.05)))),
        beard_colour=brows,
    )


def skin_surface(own: Complexion, hair: HairChoice, seed: int) -> Skin:
    """Return the skin with brows, lips, cheeks, nails and the shadow of a beard painted on it."""
    tone = np.array(own.tone)
    masks = _face_masks()
    window = face_window()[0]
    paints = [
        # the inside of the mouth: red and dark
        _painted("inside-mouth", (0.42, 0.13, 0.12), 1.0, tints=True),
        _painted("lips", _lip_tint(own), 0.75, tints=True),
    ]
    if own.lips > 0:
        paints.append(_painted("lips", own.lipstick, 0.75 * own.lips))
    if own.blush > 0.02:
        colour = (1.0, 0.62, 0.62)
        paints.append(
            Paint(mask=masks["blush"], window=window, colour=colour, opacity=own.blush, tints=True)
        )
    thick = round(float(np.clip(own.brows, 0.5, 1.4)), 1)
    paints.append(
        Paint(
            mask=_brow_mask(thick),
            window=window,
            colour=hair.beard_colour,
            opacity=own.brow_opacity,
            strand=0.0005,
        )
    )
    if hair.beard:
        shadow = 0.75 if hair.beard == "shadow" else 1.2  # below strands, nearly closed
        kind = hair.beard if hair.beard in ("goatee", "moustache") else "shadow"
        colour = as_colour(0.6 * np.array(hair.beard_colour) + 0.15 * tone)
        paints.append(
            Paint(
                mask=masks[kind], window=window, colour=colour, opacity=shadow * 0.6, strand=0.0007
            )
        )
    paints.append(_painted("fingernails", (1.08, 0.95, 0.92), 0.5, tints=True))
    return Skin(
        tone=own.tone,
        paints=tuple(paints),
        mottle=own.mottle,
        roughness=0.6 - 0.25 * own.wet,
        seed=seed % 1000,
    )


def _lip_tint(own: Complexion) -> Colour:
    """Return by what lips differ from skin: redder in light skin, darker in dark skin."""
    return 0.95 - 0.1 * own.melanin, 0.58 + 0.2 * own.melanin, 0.62 + 0.22 * own.melanin


def _painted(name: str, colour: Colour, opacity: float, *, tints: bool = False) -> Paint:
    """Paint one of the body's own regions."""
    model = load_body()
    (top, left, bottom, right), mask = model.masks[name]
    height, width = model.header["mask_size"]
    window = (left / width, 1 - bottom / height, right / width, 1 - top / height)
    return Paint(mask=mask, window=window, colour=colour, opacity=opacity, tints=tints)


@cache
def _brow_mask(thick: float) -> NDArray[np.uint8]:
    places = face_window()[1]
    return paint_mask(brow(places.reshape(-1, 3), thick).reshape(places.shape[:2]))


@cache
def _face_masks() -> dict[str, NDArray[np.uint8]]:
    places = face_window()[1]
    flat = places.reshape(-1, 3)
    shape = places.shape[:2]
    out = {
        kind: paint_mask(np.clip(beard(flat, kind) / 0.008, 0, 1).reshape(shape))
        for kind in ("shadow", "goatee", "moustache")
    }
    x, y, z = np.abs(flat[:, 0]), flat[:, 1], flat[:, 2]
    cheek = np.exp(-(((x - 0.045) / 0.016) ** 2) - ((y - 1.688) / 0.014) ** 2) * (z > 0.05)
    out["blush"] = paint_mask(cheek.reshape(shape))
    return out


def eye_surface(own: Complexion, side: str, seed: int) -> Eye:
    """Return the surface of the ``"left"`` or ``"right"`` eyeball."""
    ball = eye(side)
    iris = to_linear(np.array(EYES[own.eyes][0]) / 255)
    table = landmark_table(1)
    centre, axis = (tuple(float(c) for c in v) for v in (ball.centre, ball.forwards))
    return Eye(
        centre=(centre[0], centre[1], centre[2]),
        iris=(float(iris[0]), float(iris[1]), float(iris[2])),
        axis=(axis[0], axis[1], axis[2]),
        iris_angle=table.iris,
        pupil_angle=table.pupil,
        seed=seed % 1000,
    )
