# SPDX-License-Identifier: Apache-2.0
"""Kinds of poses, written by hand with variation, and sampling that refuses impossible ones.

``sample_pose`` draws a posture of a family, settles it on the ground and accepts it if it keeps to
the joint limits, stands on its feet and does not pass through itself. It is a function of its
arguments and the generator alone.
"""

from collections.abc import Callable, Mapping

import numpy as np

from vitruvian.errors import unknown_name
from vitruvian.synth.arms import Angles, arm, gestures, hand, raised_arm
from vitruvian.synth.body import Bodies, BodyModel
from vitruvian.synth.collide import penetration
from vitruvian.synth.pose import LIMITS, Pose, PosedBody, apply_pose, within_limits
from vitruvian.synth.stance import Stance, foot_gaps, lying_gaps, settle

SIDES = ("left", "right")
_ATTEMPTS = 24
_FLOATING = 0.025  # metres a planted foot may be above the floor
_RAISED = 0.05  # metres trunk and legs of who lies may be above the floor, as on an arm


def _trunk(rng: np.random.Generator, *, bend: float = 2.0) -> Angles:
    """Draw spine and head: the head looks about level whatever the spine does."""
    spine = bend + rng.normal(0, 5)
    return {
        "spine_bend": spine, "spine_lean": rng.normal(0, 4), "spine_twist": rng.normal(0, 8),
        "head_nod": rng.normal(4, 10) - 0.5 * spine, "head_tilt": rng.normal(0, 6),
        "head_turn": rng.normal(0, 20),
    }  # fmt: skip


def _relaxed_arms(rng: np.random.Generator) -> Angles:
    out: Angles = {}
    for side in SIDES:
        out |= arm(rng, side, forwards=rng.normal(2, 8), outwards=rng.uniform(8, 18),
                   elbow=rng.uniform(6, 34), inwards=rng.normal(8, 12),
                   pronation=rng.normal(12, 16)) | hand(rng, side)  # fmt: skip
    return out


def _stand_legs(rng: np.random.Generator) -> Angles:
    """Draw legs that stand: apart, often with the weight on one of them."""
    out: Angles = {}
    width, relaxed = rng.uniform(0, 11), rng.choice(SIDES)
    step = rng.normal(0, 4)
    for side in SIDES:
        soft = side == relaxed and rng.random() < 0.5
        sign = 1 if side == "left" else -1
        out |= {
            f"{side}_hip_bend": sign * step + (rng.uniform(4, 18) if soft else 2),
            f"{side}_hip_spread": width + rng.normal(0, 1.5),
            f"{side}_hip_turn": rng.normal(8, 7),
            f"{side}_knee": rng.uniform(8, 35) if soft else abs(rng.normal(0, 4)),
        }
    return out


def stand(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Standing, arms hanging."""
    return _trunk(rng) | _relaxed_arms(rng) | _stand_legs(rng), Stance()


def walk(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Walking: a moment between one foot's landing and the other's."""
    front, back = _shuffled(rng)
    stride, phase = rng.uniform(0.6, 1.2), rng.random()
    out = _trunk(rng, bend=4 * stride) | {"spine_twist": (1 if front == "left" else -1) * -5.0}
    swing = 26 * stride * (1 - 1.2 * phase)  # the standing leg moves backwards under the body
    out |= {
        f"{front}_hip_bend": swing, f"{front}_knee": 6 + 8 * phase,
        f"{back}_hip_bend": -18 * stride + 46 * stride * phase,
        f"{back}_knee": 18 + 34 * stride * np.sin(np.pi * min(phase + 0.1, 1)),
        f"{back}_ankle": -18 * (1 - phase), f"{back}_toes": 28 * (1 - phase),
        **{f"{s}_hip_spread": rng.normal(1.5, 1.5) for s in SIDES},
        **{f"{s}_hip_turn": rng.normal(6, 4) for s in SIDES},
    }  # fmt: skip
    for side, sign in ((front, -1), (back, 1)):
        out |= arm(rng, side, forwards=sign * 24 * stride * (1 - 1.4 * phase),
                   outwards=rng.uniform(9, 15), elbow=rng.uniform(10, 35), inwards=8)  # fmt: skip
        out |= hand(rng, side)
    return out, Stance(planted=(front,), balanced=False)


def run(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Running: pushing off with one leg, the other knee in front."""
    front, back = _shuffled(rng)
    pace = rng.uniform(0.6, 1.1)
    out = _trunk(rng, bend=14 * pace) | {"spine_twist": rng.normal(0, 6)}
    out |= {
        f"{front}_hip_bend": 62 * pace + rng.normal(0, 6), f"{front}_knee": rng.uniform(50, 100),
        f"{front}_ankle": rng.normal(0, 6),
        f"{back}_hip_bend": -16 * pace + rng.normal(0, 4), f"{back}_knee": rng.uniform(8, 30),
        f"{back}_ankle": -rng.uniform(10, 30), f"{back}_toes": rng.uniform(10, 35),
    }  # fmt: skip
    for side, sign in ((front, -1), (back, 1)):
        out |= arm(rng, side, forwards=sign * 42 * pace, outwards=rng.uniform(14, 22),
                   elbow=rng.uniform(70, 105), inwards=rng.uniform(0, 20), pronation=0)  # fmt: skip
        out |= hand(rng, side, rng.choice(["fist", "relaxed", "grip", "flat"]))
    lean = float(rng.uniform(0.02, 0.14))
    return out, Stance(planted=(), root=(lean, 0, 0))


def sit(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Sitting on something: a chair, a bench, a high stool, hands on the thighs or talking."""
    lean = rng.uniform(-6, 22)
    out = _trunk(rng, bend=lean)
    knees, spread = rng.uniform(70, 100), rng.uniform(3, 20)
    for side in SIDES:
        out |= {
            f"{side}_hip_bend": 86 + rng.normal(0, 4), f"{side}_knee": knees + rng.normal(0, 10),
            f"{side}_hip_spread": spread + rng.normal(0, 3), f"{side}_hip_turn": rng.normal(2, 6),
        }  # fmt: skip
        if rng.random() < 0.6:  # hand towards the thigh or knee
            out |= arm(
                rng,
                side,
                forwards=rng.uniform(18, 38),
                outwards=rng.uniform(12, 20),
                elbow=rng.uniform(40, 70),
                inwards=rng.uniform(5, 30),
                pronation=55,
            )
        else:
            out |= arm(
                rng,
                side,
                forwards=rng.uniform(10, 40),
                outwards=rng.uniform(12, 25),
                elbow=rng.uniform(70, 110),
                inwards=rng.uniform(0, 40),
                pronation=20,
            )
        out |= hand(rng, side)
    back = float(-np.radians(rng.uniform(0, 14)))
    stool = rng.random() < 0.15
    return out, Stance(
        support="seat", planted=() if stool else SIDES, balanced=False, root=(back, 0, 0),
        feet_below=float(rng.uniform(0.05, 0.25)) if stool else None,
    )  # fmt: skip


def crouch(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Squatting, bowing, or kneeling on one knee or both."""
    kind = rng.choice(["squat", "bow", "kneel one", "kneel both"], p=[0.4, 0.25, 0.2, 0.15])
    out: Angles = {}
    for side in SIDES:
        out |= arm(rng, side, forwards=rng.uniform(25, 60), outwards=rng.uniform(14, 30),
                   elbow=rng.uniform(10, 80), inwards=rng.uniform(0, 25), pronation=30)  # fmt: skip
        out |= hand(rng, side)
    if kind == "squat":
        deep = rng.uniform(0.5, 1)
        out |= _trunk(rng, bend=22 * deep)
        for side in SIDES:
            out |= {
                f"{side}_hip_bend": 104 * deep + rng.normal(0, 4), f"{side}_knee": 126 * deep,
                f"{side}_hip_spread": rng.uniform(9, 22), f"{side}_hip_turn": rng.uniform(5, 22),
            }  # fmt: skip
        return out, Stance(root=(float(np.radians(14 * deep)), 0, 0))
    if kind == "bow":
        out |= _trunk(rng, bend=rng.uniform(25, 60)) | _stand_legs(rng)
        tilt = rng.uniform(5, 30)
        for side in SIDES:
            out[f"{side}_hip_bend"] = tilt + rng.uniform(0, 15)
            out[f"{side}_knee"] = rng.uniform(5, 35)
        return out, Stance(root=(float(np.radians(tilt)), 0, 0))
    out |= _trunk(rng, bend=rng.uniform(0, 18))
    down, up = _shuffled(rng)
    for side in SIDES:
        low = side == down or kind == "kneel both"
        out |= {
            f"{side}_hip_bend": rng.uniform(-6, 12) if low else rng.uniform(78, 96),
            f"{side}_knee": rng.uniform(88, 112) if low else rng.uniform(80, 100),
            f"{side}_hip_spread": rng.uniform(3, 10), f"{side}_hip_turn": rng.normal(2, 4),
            f"{side}_ankle": -rng.uniform(30, 48) if low else 0.0,
            f"{side}_toes": 0.0,
        }  # fmt: skip
    if kind == "kneel both":
        return out, Stance(planted=(), kneeling=SIDES)
    return out, Stance(planted=(up,), kneeling=(down,), balanced=False)


def lie(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Lying on the back, the front or a side."""
    kind = rng.choice(["back", "front", "side"], p=[0.5, 0.25, 0.25])
    out = _trunk(rng) | {"spine_bend": rng.uniform(-3, 6), "head_nod": rng.normal(0, 6)}
    up = rng.uniform(0, 45) if rng.random() < 0.5 else 0.0
    for side in SIDES:
        bent = up * rng.uniform(0.5, 1.2) if kind == "back" else 0.0
        out |= {
            f"{side}_hip_bend": bent, f"{side}_knee": 2 * bent + abs(rng.normal(0, 4)),
            f"{side}_hip_spread": rng.uniform(1, 16), f"{side}_hip_turn": rng.normal(15, 8),
            f"{side}_ankle": rng.uniform(-40, -15),
        }  # fmt: skip
        if kind == "back" and rng.random() < 0.35:  # a hand on the belly
            out |= raised_arm(
                rng,
                side,
                elevation=rng.uniform(14, 22),
                plane=20,
                noise=0.5,
                elbow=rng.uniform(88, 112),
                inwards=rng.uniform(58, 74),
                pronation=40,
            )
        else:
            out |= raised_arm(
                rng,
                side,
                elevation=rng.uniform(15, 130),
                plane=rng.normal(4, 3),
                noise=0.5,
                elbow=rng.uniform(3, 22),
                inwards=rng.uniform(-30, 10),
            )
        out |= hand(rng, side)
    if kind == "back":
        return out, Stance(support="floor", planted=(), root=(-np.pi / 2, 0, 0))
    if kind == "front":
        out["head_turn"] = float(rng.choice([-1, 1]) * rng.uniform(40, 65))
        for side in SIDES:
            out[f"{side}_elbow"] = rng.uniform(0, 8)
            out[f"{side}_shoulder_plane"] = rng.normal(-4, 2)
        return out, Stance(support="floor", planted=(), root=(np.pi / 2, 0, 0))
    low, high = _shuffled(rng)
    for side, bend in ((low, rng.uniform(20, 70)), (high, rng.uniform(20, 80))):
        out |= {
            f"{side}_hip_bend": bend, f"{side}_knee": bend + rng.uniform(0, 40),
            f"{side}_hip_spread": -2.0 if side == low else rng.uniform(-2, 8),
            f"{side}_hip_turn": 0.0,
        }  # fmt: skip
        out |= raised_arm(
            rng,
            side,
            elevation=rng.uniform(50, 110),
            plane=92,
            elbow=rng.uniform(20, 90),
            inwards=0 if side == high else 15,
            noise=0.6,
        )
    roll = -np.pi / 2 if low == "left" else np.pi / 2
    return out, Stance(support="floor", planted=(), root=(0, 0, roll))


def reach(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Reaching for something in front, above, beside or below, with one arm or both."""
    out = _trunk(rng) | _relaxed_arms(rng) | _stand_legs(rng)
    first, second = _shuffled(rng)
    height, plane = rng.uniform(35, 155), rng.uniform(20, 105)
    both = rng.random() < 0.35
    for side in (first, second) if both else (first,):
        out |= raised_arm(
            rng,
            side,
            elevation=height,
            plane=plane + rng.normal(0, 6),
            elbow=rng.uniform(0, 50),
            inwards=rng.normal(0, 12),
            pronation=20,
        )
        out |= hand(rng, side, rng.choice(["open", "grip", "pinch", "relaxed", "point"]))
    out["spine_bend"] += 18 * np.cos(np.radians(height))
    out["spine_lean"] += (
        (0 if both else 8) * (-1 if first == "left" else 1) * np.sin(np.radians(height))
    )
    out["head_nod"] = 30 * np.cos(np.radians(height)) + rng.normal(0, 8)
    return out, Stance()


def gesture(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Standing (or sitting) and saying something with the arms."""
    out, stance = (stand if rng.random() < 0.8 else sit)(rng)
    known = gestures()
    chosen = dict(known[str(rng.choice(list(known)))])
    one, other = _shuffled(rng)
    shape, both = chosen.pop("hand"), chosen.pop("both")
    for side in (one, other) if both else (one,):
        spans = {key: float(rng.uniform(*span)) for key, span in chosen.items()}
        out |= raised_arm(rng, side, **spans, noise=0.8) | hand(rng, side, shape)
    return out, stance


def free(rng: np.random.Generator) -> tuple[Angles, Stance]:
    """Anything a standing person can do: wide, independent angles."""
    out = _trunk(rng, bend=rng.uniform(-8, 30)) | _stand_legs(rng)
    out["spine_twist"], out["head_turn"] = rng.uniform(-30, 30), rng.uniform(-55, 55)
    for side in SIDES:
        out |= raised_arm(rng, side, elevation=rng.uniform(10, 140), plane=rng.uniform(-30, 110),
                          elbow=rng.uniform(0, 130), inwards=rng.uniform(-50, 60),
                          pronation=rng.uniform(-60, 70)) | hand(rng, side)  # fmt: skip
        out[f"{side}_hip_spread"] = rng.uniform(0, 24)
        out[f"{side}_knee"] = rng.uniform(0, 60)
        out[f"{side}_hip_bend"] = out[f"{side}_knee"] / 2 + rng.normal(0, 8)
    return out, Stance()


def _shuffled(rng: np.random.Generator) -> tuple[str, str]:
    return ("left", "right") if rng.random() < 0.5 else ("right", "left")


Family = Callable[[np.random.Generator], tuple[Angles, Stance]]
FAMILIES: Mapping[str, tuple[float, Family]] = {
    "stand": (0.22, stand),
    "walk": (0.13, walk),
    "run": (0.05, run),
    "sit": (0.15, sit),
    "crouch": (0.07, crouch),
    "lie": (0.04, lie),
    "reach": (0.09, reach),
    "gesture": (0.2, gesture),
    "free": (0.05, free),
}


def sample_pose(
    model: BodyModel,
    rest: Bodies,
    rng: np.random.Generator,
    *,
    family: str | None = None,
    face: Mapping[str, float] | None = None,
    index: int = 0,
) -> tuple[Pose, PosedBody]:
    """Draw a pose that body ``index`` of ``rest`` can take, and the body in it.

    Args:
        model: The body model.
        rest: Bodies at rest (their proportions and weight decide what is possible).
        rng: The only source of chance.
        family: One of ``FAMILIES``; drawn by their shares when ``None``.
        face: Angles of the face (``sample_face_angles``); drawn before the body is shaped, since
            its lids follow them (``lids_for_gaze``). Straight ahead when ``None``.
        index: Which of the bodies.

    Raises:
        UnknownNameError: for an unknown family.
    """
    if family is not None and family not in FAMILIES:
        raise unknown_name("family of poses", family, FAMILIES)
    names = list(FAMILIES)
    shares = np.array([FAMILIES[name][0] for name in names])
    name = family or names[int(rng.choice(len(names), p=shares / shares.sum()))]
    attempt = 0
    while True:
        safe = attempt >= _ATTEMPTS  # give up: stand with the arms well away
        angles, stance = (stand if safe else FAMILIES[name][1])(rng)
        for side in SIDES:  # heavier people need more room, attempt by attempt
            key = f"{side}_shoulder_elevation"
            if angles[key] < 40 or safe:
                angles[key] += (2.0 if not safe else 6.0) * attempt
        pose = settle(
            model, rest, within_limits(angles | dict(face or {})), stance,
            family="stand" if safe else name, index=index,
        )  # fmt: skip
        posed = apply_pose(model, rest, pose, index)
        attempt += 1
        if _possible(model, pose, posed, stance) or attempt == _ATTEMPTS + 6:
            return pose, posed


def _possible(model: BodyModel, pose: Pose, posed: PosedBody, stance: Stance) -> bool:
    """Whether a settled posture keeps its limits, stands on its feet and is clear of itself."""
    for key, value in pose.angles.items():
        low, high = LIMITS[key]
        if not low - 1e-6 <= value <= high + 1e-6:
            return False
    if stance.feet_below is None:
        gaps = foot_gaps(model, posed.vertices, stance.planted)
        if any(gap > _FLOATING for gap in gaps.values()):
            return False
    for side in stance.kneeling:
        knee = posed.joints[model.bone_index[f"lowerleg01.{'L' if side == 'left' else 'R'}"]]
        if knee[1] > 0.1:
            return False
    if stance.support == "floor" and max(lying_gaps(model, posed.vertices)) > _RAISED:
        return False
    return not len(penetration(posed.vertices, posed.transforms))
