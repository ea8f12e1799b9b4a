# SPDX-License-Identifier: Apache-2.0
"""Who the people are: random adults (children only when asked for), each with their own face."""

import numpy as np

from vitruvian.errors import InputError
from vitruvian.synth.body import BodyModel, Phenotype

# Local changes that vary from person to person: beginning of the name → standard deviation.
_FACE = {
    "cheek": 0.28, "chin": 0.25, "ear": 0.22, "eye": 0.22, "eyebrows": 0.3, "forehead": 0.18,
    "head": 0.12, "mouth": 0.25, "nose": 0.28, "neck": 0.2,
}  # fmt: skip
_BODY = {
    "buttocks": 0.25, "torso-muscle": 0.25, "torso-vshape": 0.2, "stomach-tone": 0.25,
    "hip-scale": 0.15, "hip-waist": 0.2, "upperarm": 0.15, "lowerarm": 0.15, "upperleg": 0.12,
    "lowerleg": 0.12, "hand-fingers": 0.2, "hand-scale": 0.15, "foot-scale": 0.15,
}  # fmt: skip
# Changes of age and weight come with the sliders; turning eyes and ears away looks like a fault.
_NEVER = (
    "head-age",
    "neck-double",
    "eye-trans",
    "eye-push",
    "ear-rot",
    "ear-shape",
    "head-trans",
    "mouth-trans",
)
_SHARE = 0.5  # of these changes a person has
_MOST = 0.7


def sample_phenotype(rng: np.random.Generator, *, children: float = 0.0) -> Phenotype:
    """Draw a person: adults from about twenty to ninety years.

    Heights follow real ones (men 1.75 m, women 1.63 m on average, somewhat wider than a
    population), ancestry shares are independent of everything else.

    Args:
        rng: The only source of chance.
        children: Share of children from about five to seventeen years; none by default.

    Raises:
        InputError: for a share outside 0 to 1.
    """
    if not 0 <= children <= 1:
        raise InputError(f"the share of children is {children}; wanted 0 to 1")
    child = rng.random() < children
    female = rng.random() < 0.5
    age = rng.uniform(0.14, 0.48) if child else 0.6 + 0.37 * rng.beta(1.1, 1.7)
    tall = 0.375 if female else 0.405  # MakeHuman's middle, 0.5, is taller than people are
    height = np.interp(age, [1 / 3, 0.6], [0.5, tall]) + rng.normal(0, 0.08)
    ancestry = rng.dirichlet([0.6, 0.6, 0.6])
    return Phenotype(
        gender=float(rng.uniform(0.86, 1) if female else rng.uniform(0, 0.14)),
        age=float(age),
        muscle=float(np.clip(rng.normal(0.5, 0.17), 0.1, 0.95)),
        weight=float(np.clip(rng.normal(0.56, 0.26), 0.06, 1.0)),
        height=float(np.clip(height, 0.14, 0.68)),
        proportions=float(rng.uniform(0.1, 0.9)),
        cupsize=float(rng.uniform(0.15, 0.8)),
        firmness=float(rng.uniform(0.2, 0.85)),
        african=float(ancestry[0]),
        asian=float(ancestry[1]),
        caucasian=float(ancestry[2]),
    )


def sample_changes(rng: np.random.Generator, model: BodyModel) -> dict[str, float]:
    """Draw local changes of face and build; both sides nearly alike, as in real people."""
    out: dict[str, float] = {}
    for name in model.changes:
        if name.startswith("right-"):
            continue
        stem = name.removeprefix("left-")
        spread = next((s for word, s in (_FACE | _BODY).items() if stem.startswith(word)), 0.0)
        drawn, chosen = rng.normal(0, 1), rng.random()  # drawn for all: names stay independent
        if not spread or chosen > _SHARE or stem.startswith(_NEVER):
            continue
        value = spread * drawn
        if stem == name:
            out[name] = float(np.clip(value, -_MOST, _MOST))
        else:
            for side in ("left", "right"):
                own = value + rng.normal(0, 0.15 * spread)
                out[f"{side}-{stem}"] = float(np.clip(own, -_MOST, _MOST))
    return out
