# SPDX-License-Identifier: Apache-2.0
"""Poses: anatomical angles within joint limits → rotations of the bones, with feet on the floor.

A ``Posture`` names its angles as an anatomist would, in degrees. All zero is a person standing
upright, arms hanging with the thumbs forwards, fingers as in the rest mesh. Signs:

* spine_bend, head_nod: forwards; spine_lean, head_tilt: to the subject's right;
  spine_twist, head_turn, gaze_turn: to the subject's left; gaze_nod, tongue_down: down;
* shoulder_elevation: how far the upper arm is from hanging; shoulder_plane: where to, 0 sideways,
  90 forwards, -90 backwards; shoulder_rotation: inwards; elbow: bent; forearm: pronated;
  wrist_bend: towards the palm; wrist_side: towards the little finger;
* hip_bend: knee up; hip_spread: apart; hip_turn: toes outwards; knee: bent; ankle: toes up;
  toes: bent up;
* fingers: base, middle, tip bend towards the palm; spread: away from the middle finger;
  thumb_oppose: in front of the palm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vitruvian.errors import InputError, unknown_name
from vitruvian.synth.body import Bodies, BodyModel, bone_transforms, posed_points, skin

Support = Literal["feet", "seat", "floor"]
FINGERS = ("forefinger", "middle_finger", "ring_finger", "pinky_finger")
_CENTRAL = {
    "spine_bend": (-25, 70),
    "spine_lean": (-30, 30),
    "spine_twist": (-40, 40),
    "head_nod": (-50, 45),
    "head_tilt": (-35, 35),
    "head_turn": (-70, 70),
    "gaze_turn": (-35, 35),
    "gaze_nod": (-25, 25),
    "tongue_down": (-8, 25),
}
_PAIRED = {
    "shoulder_elevation": (0, 165),
    "shoulder_plane": (-80, 130),
    "shoulder_rotation": (-60, 95),
    "elbow": (0, 145),
    "forearm": (-80, 85),
    "wrist_bend": (-65, 70),
    "wrist_side": (-20, 30),
    "hip_bend": (-25, 125),
    "hip_spread": (-25, 55),
    "hip_turn": (-40, 50),
    "knee": (0, 150),
    "ankle": (-50, 30),
    "toes": (-35, 60),
    "thumb_oppose": (-15, 65),
    "thumb_base": (-20, 45),
    "thumb_middle": (-15, 60),
    "thumb_tip": (-15, 80),
    **{f"{finger}_base": (-25, 90) for finger in FINGERS},
    **{f"{finger}_middle": (-5, 110) for finger in FINGERS},
    **{f"{finger}_tip": (-5, 80) for finger in FINGERS},
    **{f"{finger}_spread": (-15, 15) for finger in FINGERS},
}
# Angle name → (lowest, highest) degrees: common clinical ranges of motion of adults.
LIMITS: Mapping[str, tuple[float, float]] = {
    **_CENTRAL,
    **{f"{side}_{name}": span for side in ("left", "right") for name, span in _PAIRED.items()},
}
_SPINE = ("spine04", "spine03", "spine02", "spine01")
_NECK = ("neck01", "neck02", "neck03", "head")
_DOWN = np.array([0.0, -1.0, 0.0])
_LETTERS = {"left": "L", "right": "R"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Seat:
    """Where a sitting person rests: the stage may draw anything with its top there.

    Attributes:
        height: metres above the floor.
        centre: (x, z) metres under the hips.
    """

    height: float
    centre: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """A pose of the rig: what ``apply_pose`` needs.

    Attributes:
        rotations: (J, 3, 3) rotation of each bone in world axes at rest.
        translation: (3,) metres.
        family: Name of the kind of pose it was drawn from; "bvh" for recorded motion.
        support: What carries the person: feet, a seat, or the floor (lying).
        seat: The seat of a sitting person.
        angles: The angles it was made from, where it was (degrees).
    """

    rotations: NDArray[np.float64]
    translation: NDArray[np.float64]
    family: str = "rest"
    support: Support = "feet"
    seat: Seat | None = None
    angles: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedBody:
    """One body in a pose.

    Attributes:
        vertices: (V, 3) float32 posed vertices.
        joints: (J, 3) float32 posed heads of bones.
        transforms: (J, 3, 4) float32, for skinning finer pieces with ``body.skin``.
    """

    vertices: NDArray[np.float32]
    joints: NDArray[np.float32]
    transforms: NDArray[np.float32]


def apply_pose(model: BodyModel, rest: Bodies, pose: Pose, index: int = 0) -> PosedBody:
    """Pose body ``index`` of ``rest``."""
    heads = rest.heads[index : index + 1]
    transforms = bone_transforms(model, heads, pose.rotations[None], pose.translation[None])
    return PosedBody(
        vertices=skin(model.weights, rest.vertices[index : index + 1], transforms)[0],
        joints=posed_points(heads, transforms)[0],
        transforms=transforms[0],
    )


def check_angles(angles: Mapping[str, float]) -> None:
    """Refuse angles that are not known or outside the joint limits.

    Raises:
        InputError: naming the angle.
    """
    for name, value in angles.items():
        if name not in LIMITS:
            raise unknown_name("angle", name, LIMITS)
        low, high = LIMITS[name]
        if not low - 1e-9 <= value <= high + 1e-9:
            raise InputError(f"{name} is {value:g} degrees; wanted {low:g} to {high:g}")


def within_limits(angles: Mapping[str, float]) -> dict[str, float]:
    """Return the angles, each moved into its limits; arms rise less behind the back."""
    out = {name: float(np.clip(value, *LIMITS[name])) for name, value in angles.items()}
    for side in ("left", "right"):
        plane = out.get(f"{side}_shoulder_plane", 0.0)
        most = float(np.interp(plane, [-60, -10], [50, 165]))
        key = f"{side}_shoulder_elevation"
        if out.get(key, 0.0) > most:
            out[key] = most
    return out


# ------------------------------------------------------------------------- angles → rotations


def _turn(axis: NDArray, degrees: float) -> NDArray[np.float64]:
    unit = np.asarray(axis, np.float64)
    return Rotation.from_rotvec(np.radians(degrees) * unit / np.linalg.norm(unit)).as_matrix()


def _angle(a: NDArray, b: NDArray) -> float:
    """Return the angle between two directions, degrees."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def swing_between(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Return the smallest rotation that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-9:
        return np.eye(3) if a @ b > 0 else _turn(np.cross(a, [1.0, 0.0, 0.1]), 180)
    return _turn(axis, _angle(a, b))


def _frame(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Return a rotation whose columns are first, second made perpendicular, and their product."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def bone_rotations(
    model: BodyModel, rest: Bodies, angles: Mapping[str, float], index: int = 0
) -> NDArray[np.float64]:
    """Return (J, 3, 3) rotations for the angles of a posture, for one body's proportions.

    Raises:
        InputError: for an unknown angle or one outside the joint limits.
    """
    check_angles(angles)
    out = np.tile(np.eye(3), (len(model.bones), 1, 1))
    for bone in _SPINE:
        out[model.bone_index[bone]] = _bend(angles, "spine", ("bend", "twist", "lean"), 1 / 4)
    for bone in _NECK:
        out[model.bone_index[bone]] = _bend(angles, "head", ("nod", "turn", "tilt"), 1 / 4)
    out[model.bone_index["tongue00"]] = _turn(np.eye(3)[0], angles.get("tongue_down", 0.0))
    for side, letter in _LETTERS.items():
        own = {name: angles.get(f"{side}_{name}", 0.0) for name in _PAIRED}
        bones = {
            bone[:-2]: (i, rest.heads[index, i].astype(np.float64))
            for bone, i in model.bone_index.items()
            if bone.endswith("." + letter)
        }
        tips = {
            f"finger{k}": _tail(model, rest, f"finger{k}-3.{letter}", index) for k in range(1, 6)
        }
        sign = 1.0 if side == "left" else -1.0
        _arm(out, bones, own, sign)
        _hand(out, bones, tips, own, sign)
        _leg(out, bones, own, sign)
        eye = _turn(np.array([0, 1, 0]), angles.get("gaze_turn", 0.0))
        out[bones["eye"][0]] = eye @ _turn(np.array([1, 0, 0]), angles.get("gaze_nod", 0.0))
    return out


def _tail(model: BodyModel, rest: Bodies, bone: str, index: int) -> NDArray[np.float64]:
    return rest.tails[index, model.bone_index[bone]].astype(np.float64)


def _bend(
    angles: Mapping[str, float], part: str, names: tuple[str, str, str], share: float
) -> NDArray:
    bend, twist, lean = (share * angles.get(f"{part}_{name}", 0.0) for name in names)
    x, y, z = np.eye(3)
    return _turn(y, twist) @ _turn(x, bend) @ _turn(z, lean)


def _arm(out: NDArray, bones: Mapping, own: Mapping[str, float], sign: float) -> None:
    shoulder, elbow, wrist = (bones[n][1] for n in ("upperarm01", "lowerarm01", "wrist"))
    upper, lower = elbow - shoulder, wrist - elbow
    hinge = np.cross(upper, lower)  # bending turns the upper arm's direction to the lower's
    bent = _angle(upper, lower)
    # hanging: the upper arm down, the elbow bending forwards
    hang = _frame(_DOWN, np.array([-1.0, 0.0, 0.0])) @ _frame(upper, hinge).T
    rise, plane = np.radians(own["shoulder_elevation"]), np.radians(own["shoulder_plane"])
    goal = np.array(
        [sign * np.sin(rise) * np.cos(plane), -np.cos(rise), np.sin(rise) * np.sin(plane)]
    )
    twist = _turn(np.array([0, 1, 0]), -sign * own["shoulder_rotation"])
    whole = swing_between(_DOWN, goal) @ twist @ hang
    # the shoulder blade and collar bone take part in lifting the arm
    lift = 0.28 * max(own["shoulder_elevation"] - 25, 0)
    collar = _turn(np.array([0, 0, 1]), sign * lift) @ _turn(
        np.array([0, 1, 0]), -sign * 0.3 * lift * np.sin(plane)
    )
    out[bones["clavicle"][0]] = collar
    half = _turn(upper, sign * own["shoulder_rotation"] / 2)
    out[bones["upperarm01"][0]] = collar.T @ whole @ half.T
    out[bones["upperarm02"][0]] = half
    out[bones["lowerarm01"][0]] = _turn(hinge, own["elbow"] - bent)
    # neutral forearm: with the arm hanging straight, the index side of the hand is in front
    straight = _turn(hinge, -bent)
    across = hang @ straight @ (bones["finger2-1"][1] - bones["finger5-1"][1])
    rest = np.degrees(np.arctan2(-sign * across[0], across[2]))  # how far it is pronated at rest
    pronation = _turn(lower, sign * (own["forearm"] - rest) / 2)
    out[bones["lowerarm01"][0]] = out[bones["lowerarm01"][0]] @ pronation
    out[bones["lowerarm02"][0]] = pronation


def _hand(
    out: NDArray, bones: Mapping, tips: Mapping, own: Mapping[str, float], sign: float
) -> None:
    wrist = bones["wrist"][1]
    along = bones["finger3-1"][1] - wrist
    across = bones["finger2-1"][1] - bones["finger5-1"][1]  # little finger → index
    palm = np.cross(along, across) * sign
    palm /= np.linalg.norm(palm)  # out of the palm
    out[bones["wrist"][0]] = _turn(np.cross(along, palm), own["wrist_bend"]) @ _turn(
        np.cross(along, -across), own["wrist_side"]
    )
    for number, finger in enumerate(FINGERS, 2):
        joints = [bones[f"finger{number}-{k}"] for k in (1, 2, 3)]
        points = [*(joint[1] for joint in joints), tips[f"finger{number}"]]
        outwards = {2: 1.0, 3: 0.0, 4: -1.0, 5: -1.0}[number]
        spread = _turn(np.cross(along, across), outwards * own[f"{finger}_spread"])
        for k, name in enumerate(("base", "middle", "tip")):
            bend = _turn(np.cross(points[k + 1] - points[k], palm), own[f"{finger}_{name}"])
            out[joints[k][0]] = spread @ bend if k == 0 else bend
    thumb = [bones[f"finger1-{k}"] for k in (1, 2, 3)]
    points = [*(joint[1] for joint in thumb), tips["finger1"]]
    inwards = bones["finger5-1"][1] - points[1]
    oppose = _turn(np.cross(across, palm), own["thumb_oppose"])
    for k, name in enumerate(("base", "middle", "tip")):
        hinge = np.cross(points[k + 1] - points[k], inwards / np.linalg.norm(inwards) + 0.3 * palm)
        bend = _turn(hinge, own[f"thumb_{name}"])
        out[thumb[k][0]] = oppose @ bend if k == 0 else bend


def _leg(out: NDArray, bones: Mapping, own: Mapping[str, float], sign: float) -> None:
    hip, ankle = bones["upperleg01"][1], bones["foot"][1]
    upright = swing_between(ankle - hip, _DOWN)
    x, y, z = np.eye(3)
    swing = _turn(x, -own["hip_bend"]) @ _turn(z, sign * own["hip_spread"])
    half = _turn(ankle - hip, -sign * own["hip_turn"] / 2)
    out[bones["upperleg01"][0]] = swing @ _turn(y, sign * own["hip_turn"] / 2) @ upright
    out[bones["upperleg02"][0]] = half
    out[bones["lowerleg01"][0]] = _turn(x, own["knee"])
    out[bones["foot"][0]] = _turn(x, -own["ankle"]) @ upright.T
    for toe in range(1, 6):
        out[bones[f"toe{toe}-1"][0]] = _turn(x, -own["toes"])
