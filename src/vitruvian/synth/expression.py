# SPDX-License-Identifier: Apache-2.0
"""Faces: expressions from face units, mouths that show teeth and tongue, and where people look."""

from collections.abc import Mapping

import numpy as np

from vitruvian.synth.pose import within_limits

_MOUTH_LIMITS = {"jawOpen": 0.9}


def _both(name: str, value: float) -> dict[str, float]:
    return {f"{name}Left": value, f"{name}Right": value}


# Kind → (share of faces, units at full strength). Strength, asymmetry and noise are drawn on top.
EXPRESSIONS: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "neutral": (0.24, {}),
    "faint smile": (0.13, {**_both("mouthSmile", 0.45), **_both("cheekSquint", 0.25)}),
    "smile": (
        0.12,
        {
            **_both("mouthSmile", 0.8), **_both("cheekSquint", 0.5), **_both("mouthUpperUp", 0.9),
            **_both("mouthLowerDown", 0.5), "jawOpen": 0.12,
        },
    ),
    "laugh": (
        0.08,
        {
            **_both("mouthSmile", 0.8), **_both("cheekSquint", 0.7), **_both("eyeSquint", 0.6),
            **_both("mouthUpperUp", 1.0), **_both("mouthLowerDown", 0.8), "jawOpen": 0.4,
        },
    ),
    "talk": (
        0.14,
        {
            "jawOpen": 0.28, "mouthFunnel": 0.2, **_both("mouthLowerDown", 0.8),
            **_both("mouthUpperUp", 0.6), **_both("mouthStretch", 0.2),
        },
    ),
    "shout": (
        0.04,
        {
            "jawOpen": 0.8, **_both("mouthStretch", 0.4), **_both("browDown", 0.5),
            **_both("mouthLowerDown", 0.9), **_both("mouthUpperUp", 0.9), **_both("eyeSquint", 0.3),
        },
    ),
    "yawn": (
        0.02,
        {"jawOpen": 0.9, **_both("eyeBlink", 0.8), **_both("browDown", 0.3), "mouthFunnel": 0.2},
    ),
    "surprise": (
        0.04,
        {
            "jawOpen": 0.4, "browInnerUp": 0.9,
            **_both("browOuterUp", 0.8), **_both("eyeWide", 0.8),
        },
    ),
    "anger": (
        0.03,
        {
            **_both("browDown", 0.9), **_both("eyeSquint", 0.4), **_both("mouthPress", 0.5),
            **_both("noseSneer", 0.4), **_both("mouthFrown", 0.3),
        },
    ),
    "sadness": (
        0.03,
        {"browInnerUp": 0.8, **_both("mouthFrown", 0.6), "mouthShrugLower": 0.4,
         **_both("eyeSquint", 0.2)},
    ),
    "disgust": (
        0.02,
        {**_both("noseSneer", 0.8), **_both("mouthUpperUp", 0.5), **_both("browDown", 0.5)},
    ),
    "fear": (
        0.02,
        {
            "jawOpen": 0.25, "browInnerUp": 0.9,
            **_both("eyeWide", 0.7), **_both("mouthStretch", 0.6),
        },
    ),
    "pucker": (0.03, {"mouthPucker": 0.8, "mouthFunnel": 0.2}),
    "puffed cheeks": (0.01, {"cheekPuff": 0.8, **_both("mouthPress", 0.4)}),
    "tongue out": (0.05, {"jawOpen": 0.5, "tongueOut": 1.0, **_both("mouthLowerDown", 0.3)}),
}  # fmt: skip


def sample_expression(
    rng: np.random.Generator, *, kind: str | None = None
) -> tuple[str, dict[str, float]]:
    """Draw an expression: its kind and face units from 0 to 1.

    About half of the mouths are open, one in twenty shows the tongue. On top of the kind come
    blinking or winking eyes, small movements of single units, and a little lopsidedness.
    """
    kinds = list(EXPRESSIONS)
    shares = np.array([EXPRESSIONS[k][0] for k in kinds])
    drawn = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    kind = drawn if kind is None else kind
    strength = rng.uniform(0.45, 1.15)
    lopsided = rng.normal(0, 0.12)
    out: dict[str, float] = {}
    for unit, value in EXPRESSIONS[kind][1].items():
        side = lopsided * (unit.endswith("Left") - unit.endswith("Right"))
        out[unit] = value * strength * (1 + side) * rng.uniform(0.8, 1.2)
    if "tongueOut" in out:
        out["tongueOut"] = float(rng.uniform(0.75, 1))
        out["jawOpen"] = max(out["jawOpen"], 0.3)  # or it would come through the lips
    extra = rng.choice(_SINGLE, 3, replace=False)
    for unit, value in zip(extra, np.abs(rng.normal(0, 0.12, 3)), strict=True):
        out[str(unit)] = out.get(str(unit), 0.0) + float(value)
    lids = rng.random()
    amounts = rng.uniform([0, 0], [0.15, 0.15])  # lids are seldom alike and never quite open
    if lids < 0.05:
        amounts[:] = rng.uniform(0.85, 1)  # closed
    elif lids < 0.07:
        amounts[int(rng.integers(2))] = 1.0  # a wink
    for unit, value in zip(("eyeBlinkLeft", "eyeBlinkRight"), amounts, strict=True):
        out[unit] = max(out.get(unit, 0.0), float(value))
    if rng.random() < 0.05:
        out["jawLeft" if rng.random() < 0.5 else "jawRight"] = float(rng.uniform(0.1, 0.5))
    return kind, {
        unit: float(np.clip(value, 0, _MOUTH_LIMITS.get(unit, 1))) for unit, value in out.items()
    }


_SINGLE = (
    *("browInnerUp", "browDownLeft", "browDownRight", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight", "mouthPressLeft"),
    *("mouthPressRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthRollLower", "mouthRollUpper"),
    *("mouthFrownLeft", "mouthFrownRight", "mouthShrugUpper", "noseSneerLeft", "noseSneerRight"),
)


def sample_face_angles(rng: np.random.Generator, face: Mapping[str, float]) -> dict[str, float]:
    """Draw the angles of a posture that belong to the face: gaze and tongue.

    Most people look about straight ahead of their head; a tongue that is out hangs down.
    """
    wide = 16 if rng.random() < 0.25 else 6
    out = float(face.get("tongueOut", 0.0))
    return within_limits({
        "gaze_turn": rng.normal(0, wide),
        "gaze_nod": rng.normal(2, wide / 2),
        "tongue_down": out * rng.uniform(10, 20) + rng.normal(0, 2),
    })  # fmt: skip


def lids_for_gaze(face: Mapping[str, float], angles: Mapping[str, float]) -> dict[str, float]:
    """Return the face with lids that follow the gaze: they sink when people look down.

    Args:
        face: Face units.
        angles: The posture, whose gaze_nod (down) and gaze_turn (left) are used; 30 degrees are
            the full strength of the units.
    """
    out = dict(face)
    down, left = angles.get("gaze_nod", 0.0) / 30, angles.get("gaze_turn", 0.0) / 30
    units = {
        **_both("eyeLookDown", down), **_both("eyeLookUp", -down),
        "eyeLookOutLeft": left, "eyeLookInRight": left,
        "eyeLookInLeft": -left, "eyeLookOutRight": -left,
    }  # fmt: skip
    for unit, value in units.items():
        if value > 0:
            out[unit] = float(min(out.get(unit, 0.0) + value, 1))
    return out
