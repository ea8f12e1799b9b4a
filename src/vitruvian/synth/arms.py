# SPDX-License-Identifier: Apache-2.0
"""Arms and hands: angles of arms that hang or rise, named shapes of hands, named gestures."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from vitruvian.errors import unknown_name
from vitruvian.synth.pose import FINGERS

Angles = dict[str, float]


@cache
def hand_shapes() -> Mapping[str, Any]:
    """Return the named shapes of hands (``assets/poses.toml``)."""
    return _read()["hands"]


@cache
def gestures() -> Mapping[str, Any]:
    """Return the named gestures of arms (``assets/poses.toml``)."""
    return _read()["gestures"]


def _read() -> dict[str, Any]:
    file = resources.files("vitruvian.synth").joinpath("assets", "poses.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def hand(rng: np.random.Generator, side: str, shape: str | None = None) -> Angles:
    """Draw the fingers of a hand in a named shape, or in any."""
    shapes = hand_shapes()
    names = list(shapes)
    shares = np.array([shapes[name]["share"] for name in names])
    drawn = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    shape = drawn if shape is None else shape
    if shape not in shapes:
        raise unknown_name("hand shape", shape, names)
    thumb, fingers = shapes[shape]["thumb"], shapes[shape]["fingers"]
    closing, loose = rng.normal(0, 4), 3.0
    out = {
        f"{side}_thumb_{k}": v + rng.normal(0, loose)
        for k, v in zip(("oppose", "base", "middle", "tip"), thumb, strict=True)
    }
    wide = rng.uniform(2, 11) if shape in ("open", "victory", "claw") else rng.normal(0, 1.5)
    for finger, bends in zip(FINGERS, fingers, strict=True):
        for k, bend in zip(("base", "middle", "tip"), bends, strict=True):
            out[f"{side}_{finger}_{k}"] = bend + closing + rng.normal(0, loose)
        out[f"{side}_{finger}_spread"] = wide + rng.normal(0, 1)
    return out


def arm(
    rng: np.random.Generator,
    side: str,
    *,
    forwards: float,
    outwards: float,
    elbow: float,
    inwards: float = 0.0,
    pronation: float = 10.0,
    noise: float = 1.0,
) -> Angles:
    """Return an arm that hangs, swung forwards and outwards by degrees below 80 each."""
    x = np.tan(np.radians(np.clip(outwards + rng.normal(0, 2 * noise), 1, 80)))
    z = np.tan(np.radians(np.clip(forwards + rng.normal(0, 4 * noise), -60, 80)))
    return {
        f"{side}_shoulder_elevation": float(np.degrees(np.arctan(np.hypot(x, z)))),
        f"{side}_shoulder_plane": float(np.degrees(np.arctan2(z, x))),
        **_lower_arm(rng, side, elbow, inwards, pronation, noise),
    }


def raised_arm(
    rng: np.random.Generator,
    side: str,
    *,
    elevation: float,
    plane: float,
    elbow: float,
    inwards: float = 0.0,
    pronation: float = 0.0,
    noise: float = 1.0,
) -> Angles:
    """Return an arm at an elevation (0 hanging, 90 level) in a plane (0 sideways, 90 forwards)."""
    return {
        f"{side}_shoulder_elevation": elevation + rng.normal(0, 4 * noise),
        f"{side}_shoulder_plane": plane + rng.normal(0, 5 * noise),
        **_lower_arm(rng, side, elbow, inwards, pronation, noise),
    }


def _lower_arm(
    rng: np.random.Generator,
    side: str,
    elbow: float,
    inwards: float,
    pronation: float,
    noise: float,
) -> Angles:
    return {
        f"{side}_shoulder_rotation": inwards + rng.normal(0, 6 * noise),
        f"{side}_elbow": elbow + rng.normal(0, 5 * noise),
        f"{side}_forearm": pronation + rng.normal(0, 12 * noise),
        f"{side}_wrist_bend": rng.normal(0, 10 * noise),
        f"{side}_wrist_side": rng.normal(4, 6 * noise),
    }
