# SPDX-License-Identifier: Apache-2.0
"""Put a posture on the ground: feet planted flat, weight over them, seats, and people lying down.

``settle`` takes the angles of a posture and what carries it, and returns a ``Pose`` whose lowest
point is at y = 0. Planted feet stand flat as far as the ankle allows (beyond that the heel lifts
and the toes bend); legs are adjusted by two-bone inverse kinematics so that both reach the ground
and the weight is above them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vitruvian.synth.body import (
    Bodies,
    BodyModel,
    bone_transforms,
    load_body,
    posed_points,
    skin,
)
from vitruvian.synth.pose import LIMITS, Pose, Seat, Support, bone_rotations, swing_between

_LETTERS = {"left": "L", "right": "R"}
# Share of the weight at the middle between two joints (Dempster's segments, rounded).
_MASSES = (
    ("head", "head", 0.08),
    ("spine05", "neck01", 0.50),
    *((f"upperarm01.{s}", f"lowerarm01.{s}", 0.028) for s in "LR"),
    *((f"lowerarm01.{s}", f"wrist.{s}", 0.022) for s in "LR"),
    *((f"upperleg01.{s}", f"lowerleg01.{s}", 0.10) for s in "LR"),
    *((f"lowerleg01.{s}", f"foot.{s}", 0.046) for s in "LR"),
    *((f"foot.{s}", f"foot.{s}", 0.014) for s in "LR"),
)
_STRETCH = 0.998  # of the leg's length: a leg that stands is never quite straight
_KNEE_PAD, _ANKLE_HEIGHT = 0.055, 0.08  # metres from the joints to the ground below them
_FOOT_FORWARDS = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Stance:
    """What a posture stands, sits or lies on.

    Attributes:
        support: What carries the weight.
        planted: Sides whose foot stands on the ground.
        root: Rotation vector (radians) of the whole body: zero upright, about x to lie down.
        kneeling: Sides whose knee is on the ground.
        balanced: Whether the weight is moved over the planted feet.
        feet_below: For sitting: how far the hips are above the ankles is left to the posture when
            ``None``; otherwise the feet hang this much above the floor.
    """

    support: Support = "feet"
    planted: tuple[str, ...] = ("left", "right")
    kneeling: tuple[str, ...] = ()
    root: tuple[float, float, float] = (0.0, 0.0, 0.0)
    balanced: bool = True
    feet_below: float | None = None


def settle(
    model: BodyModel,
    rest: Bodies,
    angles: Mapping[str, float],
    stance: Stance,
    *,
    family: str = "posture",
    index: int = 0,
) -> Pose:
    """Return the pose of body ``index`` of ``rest`` in a posture, resting on the ground.

    Raises:
        InputError: for angles that are unknown or outside the joint limits.
    """
    angles = dict(angles)
    rotations = bone_rotations(model, rest, angles, index)
    rotations[0] = Rotation.from_rotvec(stance.root).as_matrix()
    heads = rest.heads[index : index + 1].astype(np.float64)
    if stance.planted:
        _stand(model, heads, rotations, angles, stance)
    for _ in range(2 if stance.support == "floor" else 0):
        _level(model, rest.vertices[index : index + 1], heads, rotations)
    transforms = bone_transforms(model, heads, rotations[None])
    vertices = skin(model.weights, rest.vertices[index : index + 1], transforms)[0]
    body = vertices[_region(model, "")]
    joints = posed_points(heads, transforms)[0]
    hips = joints[[model.bone_index[f"upperleg01.{s}"] for s in "LR"]].mean(0)
    lift = -float(body[:, 1].min())
    seat = None
    if stance.support == "seat":
        lift += stance.feet_below or 0.0
        bottom = vertices[_region(model, "root pelvis upperleg01 spine05")]
        seat = Seat(height=float(bottom[:, 1].min()) + lift, centre=(0.0, 0.0))
    return Pose(
        rotations=rotations,
        translation=np.array([-hips[0], lift, -hips[2]]),
        family=family,
        support=stance.support,
        seat=seat,
        angles=angles,
    )


@cache
def _regions(words: str, suffix: str) -> NDArray[np.int64]:
    model = load_body()
    chosen = [
        i
        for i, bone in enumerate(model.bones)
        if bone.startswith(tuple(words.split()) or "") and bone.endswith(suffix)
    ]
    share = model.weights[:, chosen].sum(1)
    vertices = model.group_vertices("skin")
    return vertices[share[vertices] > 0.6]


def _region(model: BodyModel, words: str, suffix: str = "") -> NDArray[np.int64]:
    """Return the vertices of the skin moved by bones whose names begin with one of some words."""
    assert model is load_body(), "regions are kept for the one body that ships"
    return _regions(words, suffix)


def _level(model: BodyModel, vertices: NDArray, heads: NDArray, rotations: NDArray) -> None:
    """Tilt somebody lying so that trunk and feet both come down to the ground."""
    transforms = bone_transforms(model, heads, rotations[None])
    posed = skin(model.weights, vertices, transforms)[0]
    trunk = posed[_region(model, "head neck spine clavicle")]
    feet = posed[_region(model, "foot toe")]
    a, b = trunk[trunk[:, 1].argmin()], feet[feet[:, 1].argmin()]
    along = (b - a).astype(np.float64)
    rotations[0] = swing_between(along, along * [1, 0, 1]) @ rotations[0]


def _joints(model: BodyModel, heads: NDArray, rotations: NDArray) -> tuple[NDArray, NDArray]:
    """Return posed (J, 3) joints and (J, 3, 3) orientations of bones."""
    transforms = bone_transforms(model, heads, rotations[None]).astype(np.float64)
    return posed_points(heads, transforms)[0].astype(np.float64), transforms[0, :, :, :3]


def _stand(
    model: BodyModel,
    heads: NDArray,
    rotations: NDArray,
    angles: dict[str, float],
    stance: Stance,
) -> None:
    """Bring planted ankles to one height and under the weight, then set the feet flat."""
    joints, _ = _joints(model, heads, rotations)
    ankle = {s: model.bone_index[f"foot.{c}"] for s, c in _LETTERS.items()}
    goals = {side: joints[ankle[side]].copy() for side in stance.planted}
    ground = min(goal[1] for goal in goals.values())
    for side in stance.kneeling:
        knee = joints[model.bone_index[f"lowerleg01.{_LETTERS[side]}"]]
        ground = knee[1] - _KNEE_PAD + _ANKLE_HEIGHT
    for _ in range(2):
        if stance.balanced:
            joints, _ = _joints(model, heads, rotations)
            weight = _centre_of_mass(model, joints)
            # the middle of a foot lies about 5 cm in front of the ankle
            middle = np.mean(list(goals.values()), axis=0) + np.array([0, 0, 0.05])
            shift = np.clip(0.8 * (weight - middle), -0.15, 0.15)
            for goal in goals.values():
                goal[[0, 2]] += shift[[0, 2]]
        # the height that every planted leg can reach
        for side in stance.planted:
            letter = _LETTERS[side]
            hip = joints[model.bone_index[f"upperleg01.{letter}"]]
            reach = _STRETCH * _leg_length(model, heads, letter)
            flat = np.hypot(*(goals[side] - hip)[[0, 2]])
            ground = max(ground, hip[1] - np.sqrt(max(reach**2 - flat**2, 0.01)))
        for side in stance.planted:
            goals[side][1] = ground
            _reach(model, heads, rotations, angles, side, goals[side])
    for side in stance.planted:
        _flatten_foot(model, heads, rotations, angles, side)


def _centre_of_mass(model: BodyModel, joints: NDArray) -> NDArray:
    ends = np.array([[model.bone_index[a], model.bone_index[b]] for a, b, _ in _MASSES])
    masses = np.array([mass for _, _, mass in _MASSES])
    return (joints[ends].mean(1) * masses[:, None]).sum(0) / masses.sum()


def _leg_length(model: BodyModel, heads: NDArray, letter: str) -> float:
    hip, knee, ankle = (
        heads[0, model.bone_index[f"{bone}.{letter}"]]
        for bone in ("upperleg01", "lowerleg01", "foot")
    )
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def _reach(
    model: BodyModel,
    heads: NDArray,
    rotations: NDArray,
    angles: dict[str, float],
    side: str,
    goal: NDArray,
) -> None:
    """Bend a knee and turn a hip so that the ankle comes to ``goal``."""
    letter = _LETTERS[side]
    hip, knee, ankle = (
        model.bone_index[f"{b}.{letter}"] for b in ("upperleg01", "lowerleg01", "foot")
    )
    name = f"{side}_knee"
    for _ in range(2):
        joints, turned = _joints(model, heads, rotations)
        upper, lower = joints[knee] - joints[hip], joints[ankle] - joints[knee]
        a, b = np.linalg.norm(upper), np.linalg.norm(lower)
        distance = np.clip(np.linalg.norm(goal - joints[hip]), abs(a - b) + 0.05, a + b - 1e-4)
        wanted = np.degrees(np.arccos(np.clip((a * a + b * b - distance**2) / (2 * a * b), -1, 1)))
        now = np.degrees(np.arccos(np.clip(-(upper @ lower) / (a * b), -1, 1)))
        bend = float(np.clip(angles.get(name, 0.0) + now - wanted, *LIMITS[name]))
        change = bend - angles.get(name, 0.0)
        angles[name] = bend
        rotations[knee] = rotations[knee] @ _about_x(change)
        joints, turned = _joints(model, heads, rotations)
        swing = swing_between(joints[ankle] - joints[hip], goal - joints[hip])
        parent = turned[model.parents[hip]]
        rotations[hip] = parent.T @ swing @ parent @ rotations[hip]
    _record_hip(model, rotations, angles, side)


def _record_hip(model: BodyModel, rotations: NDArray, angles: dict[str, float], side: str) -> None:
    """Write back what the hip's bend and spread have become."""
    letter, sign = _LETTERS[side], 1.0 if side == "left" else -1.0
    hip, ankle = (model.bone_index[f"{b}.{letter}"] for b in ("upperleg01", "foot"))
    rest = _leg_direction(model, hip, ankle)
    direction = rotations[hip] @ rest
    angles[f"{side}_hip_spread"] = float(np.degrees(np.arcsin(np.clip(sign * direction[0], -1, 1))))
    angles[f"{side}_hip_bend"] = float(np.degrees(np.arctan2(direction[2], -direction[1])))


def _leg_direction(model: BodyModel, hip: int, ankle: int) -> NDArray:
    """Return the direction of a leg at rest (of the canonical body: all are nearly alike)."""
    heads = model.canonical.heads[0].astype(np.float64)
    leg = heads[ankle] - heads[hip]
    return leg / np.linalg.norm(leg)


def _flatten_foot(
    model: BodyModel, heads: NDArray, rotations: NDArray, angles: dict[str, float], side: str
) -> None:
    """Turn an ankle so that the sole is level; beyond its limits the heel lifts, the toes bend."""
    letter = _LETTERS[side]
    foot = model.bone_index[f"foot.{letter}"]
    _, turned = _joints(model, heads, rotations)
    parent = turned[model.parents[foot]]
    forwards = turned[foot] @ _FOOT_FORWARDS
    level = Rotation.from_rotvec([0, np.arctan2(forwards[0], forwards[2]), 0]).as_matrix()
    vector = np.degrees(Rotation.from_matrix(parent.T @ level).as_rotvec())
    low, high = LIMITS[f"{side}_ankle"]
    up = float(np.clip(-vector[0], low, high))
    limited = np.array([-up, *np.clip(vector[1:], -25, 25)])
    rotations[foot] = Rotation.from_rotvec(np.radians(limited)).as_matrix()
    angles[f"{side}_ankle"] = up
    tilt = float(np.clip(-vector[0] - up, 0, LIMITS[f"{side}_toes"][1]))
    if tilt > 1:
        angles[f"{side}_toes"] = tilt
        for toe in range(1, 6):
            rotations[model.bone_index[f"toe{toe}-1.{letter}"]] = _about_x(-tilt)


def foot_gaps(
    model: BodyModel, vertices: NDArray[np.floating], sides: Sequence[str]
) -> dict[str, float]:
    """Return for each side how far its foot is above the floor, metres."""
    return {
        side: float(vertices[_region(model, "foot toe", f".{_LETTERS[side]}"), 1].min())
        for side in sides
    }


def lying_gaps(model: BodyModel, vertices: NDArray[np.floating]) -> tuple[float, float]:
    """Return how far the trunk and the legs are above the floor, metres."""
    trunk = vertices[_region(model, "root pelvis spine breast"), 1].min()
    legs = vertices[_region(model, "upperleg lowerleg foot toe"), 1].min()
    return float(trunk), float(legs)


def _about_x(degrees: float) -> NDArray[np.float64]:
    return Rotation.from_rotvec([np.radians(degrees), 0, 0]).as_matrix()
