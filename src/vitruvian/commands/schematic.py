# SPDX-License-Identifier: Apache-2.0
"""Where on the body each named point is: a person drawn flat, for posters and for checking names.

The person stands in front of you with the palms to the front, so the subject's left is on your
right; the ears are folded out flat. Units are hundredths of the height of the head, x to your
right from the middle of the body, y down from the top of the head. Only the subject's left half
is written down; the right half is its mirror.

The order of points along a contour (start, 3, 1, 4, centre, 5, 2, 6, end) is documented with the
vocabulary. Where nothing is documented the place is a guess from the name: whether the rim of a
lid (eyelid line) lies inside the lash line, the quarters 2 and 3 of nose bridge and antihelix, and
point 8 of the inner helix.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vitruvian.correspondence import correspond
from vitruvian.errors import InputError
from vitruvian.vocabulary import Vocabulary, load

Place = tuple[float, float]

EYE: Place = (17, 50)
WRIST: Place = (104, 330)
_HAND = 80.0  # length of the hand
_EAR = (34.0, 42.0, 20.0, 30.0)  # x0, y0, width, height of the left ear

_BODY: dict[str, Place] = {
    "nose": (0, 65.5),
    "left_eye": EYE,
    "left_ear": (35.5, 54.5),
    "neck": (0, 120),
    "left_shoulder": (62, 152),
    "left_acromion": (73, 142),
    "left_elbow": (88, 245),
    "left_cubital_fossa": (76, 243),
    "left_olecranon": (100, 249),
    "left_wrist": WRIST,
    "left_hip": (34, 400),
    "left_knee": (38, 545),
    "left_ankle": (38, 690),
    "left_heel": (32, 710),
    "left_big_toe": (45, 734),
    "left_small_toe": (68, 724),
}

# From the wrist in hand lengths, x towards the thumb: the joints of each finger from base to tip.
_FINGERS: dict[str, tuple[Place, ...]] = {
    "thumb": ((0.26, 0.16), (0.42, 0.32), (0.53, 0.46), (0.61, 0.59)),
    "forefinger": ((0.23, 0.48), (0.28, 0.68), (0.31, 0.82), (0.33, 0.94)),
    "middle_finger": ((0.06, 0.50), (0.07, 0.73), (0.08, 0.88), (0.08, 1.02)),
    "ring_finger": ((-0.11, 0.48), (-0.14, 0.69), (-0.16, 0.83), (-0.17, 0.96)),
    "pinky_finger": ((-0.26, 0.44), (-0.34, 0.59), (-0.39, 0.70), (-0.42, 0.80)),
}

_FACE: dict[str, Place] = {
    "center_of_glabella": (0, 39),
    "center_of_nose_root": (0, 44),
    "midpoint_2_of_nose_bridge": (0, 48.2),
    "midpoint_1_of_nose_bridge": (0, 52.4),
    "midpoint_3_of_nose_bridge": (0, 56.6),
    "tip_of_nose_bridge": (0, 60.8),
    "tip_of_nose": (0, 65.5),
    "bottom_center_of_nose": (0, 71.5),
    "l_outer_corner_of_nose": (9, 67.5),
    "inner_corner_of_l_nostril": (2.6, 70.8),
    "outer_corner_of_l_nostril": (6.6, 70),
    "upper_corner_of_l_nostril": (4.6, 67.6),
    "center_of_labiomental_groove": (0, 92),
    "tip_of_chin": (0, 99.5),
    "upper_startpoint_of_l_eyebrow": (6, 34.5),
    "upper_midpoint_2_of_l_eyebrow": (12, 32),
    "upper_midpoint_1_of_l_eyebrow": (18, 30.5),
    "upper_midpoint_3_of_l_eyebrow": (24.5, 31.5),
    "end_of_l_eyebrow": (31, 36.5),
    "lower_midpoint_3_of_l_eyebrow": (24.5, 35.2),
    "lower_midpoint_1_of_l_eyebrow": (18, 35),
    "lower_midpoint_2_of_l_eyebrow": (12, 36.6),
    "lower_startpoint_of_l_eyebrow": (6, 38.5),
}

# In the box of the ear: x from the cheek to the back, y from top to bottom.
_EAR_POINTS: dict[str, Place] = {
    "l_top_connecting_point_of_helix": (0.10, 0.27),
    "l_point_8_of_inner_helix": (0.22, 0.27),
    "l_point_1_of_inner_helix": (0.28, 0.15),
    "l_point_2_of_inner_helix": (0.42, 0.09),
    "l_point_3_of_inner_helix": (0.58, 0.09),
    "l_point_4_of_inner_helix": (0.74, 0.17),
    "l_point_5_of_inner_helix": (0.83, 0.32),
    "l_point_6_of_inner_helix": (0.83, 0.48),
    "l_point_7_of_inner_helix": (0.77, 0.64),
    "l_midpoint_between_22_15": (0.68, 0.82),  # of the annotators' points 22, lobe, and 15, point 7
    "l_tip_of_ear_lobe": (0.42, 0.97),
    "l_bottom_connecting_point_of_ear_lobe": (0.12, 0.88),
    "l_top_end_of_superior_crus": (0.56, 0.20),
    "l_top_end_of_inferior_crus": (0.34, 0.31),
    "l_midpoint_1_of_inferior_crus": (0.45, 0.36),
    "l_start_of_antihelix": (0.57, 0.38),
    "l_midpoint_2_of_antihelix": (0.64, 0.47),
    "l_midpoint_1_of_antihelix": (0.66, 0.56),
    "l_midpoint_3_of_antihelix": (0.62, 0.66),
    "l_end_of_antihelix": (0.53, 0.73),
    "l_highest_point_of_antitragus": (0.40, 0.76),
    "l_bottom_point_of_tragus": (0.19, 0.68),
    "l_protruding_point_of_tragus": (0.27, 0.59),
    "l_top_point_of_tragus": (0.19, 0.50),
    "l_start_point_of_crus_of_helix": (0.38, 0.47),
    "l_deepest_point_of_concha": (0.44, 0.59),
}

_ALONG = ("start", "3", "1", "4", "centre", "5", "2", "6", "end")

# Lines of the left eye around its middle: y at both corners and how far the arc bulges upwards.
_LIDS: dict[str, tuple[float, float, float]] = {
    "upper_eyelid_line": (0.9, 0.0, 3.9),
    "upper_lash_line": (0.5, -1.0, 5.2),
    "upper_crease_line": (-1.6, -3.4, 5.4),
    "lower_eyelid_line": (0.9, 0.9, -2.6),
    "lower_lash_line": (1.4, 1.6, -3.8),
}
_CLOCK = {
    "3": 0, "midpoint_1": 45, "12": 90, "midpoint_4": 135,
    "9": 180, "midpoint_3": 225, "6": 270, "midpoint_2": 315,
}  # fmt: skip
_RADII = {"iris": 2.5, "pupil": 1.2}

# y of the lips along each contour, from the corner to the middle (both halves are alike).
_LIPS: dict[str, tuple[float, tuple[float, ...]]] = {
    "upper_outer_lip": (13, (81, 78.6, 76.6, 75.2, 76.0)),
    "lower_outer_lip": (13, (81, 84.0, 86.6, 88.2, 88.8)),
    "upper_inner_lip": (10.6, (81.2, 80.3, 79.6, 79.2, 79.3)),
    "lower_inner_lip": (10.6, (81.2, 82.4, 83.4, 84.0, 84.2)),
}
_LIP_CENTRES = {"upper_outer_lip": "center_of_cupid_bow"}


def _hand(x: float, y: float) -> Place:
    return WRIST[0] + _HAND * x, WRIST[1] + _HAND * y


def _ear(x: float, y: float) -> Place:
    return _EAR[0] + _EAR[2] * x, _EAR[1] + _EAR[3] * y


@cache
def _points() -> dict[str, Place]:
    """Return the places of the left and middle points of sapiens308, by name."""
    places = _BODY | _FACE
    for finger, joints in _FINGERS.items():
        for joint, place in zip(("_third_joint", "2", "3", "4"), joints, strict=True):
            places[f"left_{finger}{joint}"] = _hand(*place)
    places |= {name: _ear(*place) for name, place in _EAR_POINTS.items()}
    for line, (inner, outer, bulge) in _LIDS.items():
        reach = 8.6 if "crease" in line or "lash" in line else 7.6
        for i, label in enumerate(_ALONG):
            t = i / 8
            name = {
                "start": f"l_inner_end_of_{line}",
                "centre": f"l_centerpoint_of_{line}",
                "end": f"l_outer_end_of_{line}",
            }.get(label, f"l_midpoint_{label}_of_{line}")
            x = EYE[0] - 8 + (8 + reach) * t
            places[name] = x, EYE[1] + inner + (outer - inner) * t - 4 * bulge * t * (1 - t)
    for ring, radius in _RADII.items():
        places[f"l_center_of_{ring}"] = EYE
        for label, degrees in _CLOCK.items():
            angle = np.deg2rad(degrees)
            x, y = EYE[0] + radius * np.cos(angle), EYE[1] - radius * np.sin(angle)
            places[f"l_border_of_{ring}_{label}"] = float(x), float(y)
    for lip, (width, heights) in _LIPS.items():
        for i, label in enumerate(_ALONG):
            name = f"midpoint_{label}_of_{lip}"
            if label == "centre":
                name = _LIP_CENTRES.get(lip, f"center_of_{lip}")
            elif label == "end":
                name = f"l_{lip.split('_')[1]}_corner_of_mouth"
            places[name] = width * (i / 4 - 1), heights[4 - abs(4 - i)]
    return places


@cache
def _extras() -> dict[str, Place]:
    """Return the places of points that sapiens308 does not have."""
    places: dict[str, Place] = {"upper_neck": (0, 106)}
    places |= dict.fromkeys(("head_top", "top_head", "head"), (0.0, 2.0))
    for i in range(17):  # the jaw, from the subject's right ear to the left
        angle = np.pi * i / 16
        places[f"face-{i}"] = float(-34 * np.cos(angle)), float(50 + 51.5 * np.sin(angle))
    for sign, side in ((1, "left"), (-1, "right")):
        x, y = _hand(0.0, 0.06)
        places[f"{side}_hand_root"] = sign * x, y
    return places


def places(vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Return where each point of a vocabulary is on the schematic person.

    Returns:
        (K, 2) x and y in hundredths of a head, NaN for points that correspond to none of ours.
    """
    ours = load("sapiens308")
    known = _points()
    where = np.full((len(ours), 2), np.nan)
    for i, name in enumerate(ours.names):
        if ours.sides[i] != "right":
            where[i] = known[name]
            where[ours.mirror[i]] = where[i] * (1 if ours.sides[i] == "centre" else -1, 1)
    found = np.full((len(vocabulary), 2), np.nan)
    try:
        rows = correspond(ours, vocabulary).parts
    except InputError:
        return found
    for i, name in enumerate(vocabulary.names):
        if name in _extras():
            found[i] = _extras()[name]
        elif rows[i]:
            found[i] = where[list(rows[i])].mean(axis=0)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """A line of the figure: (N, 2) places, its width (0 for a contour), and if it is filled."""

    points: NDArray[np.float64]
    width: float = 0
    filled: bool = False


@cache
def outlines() -> tuple[Stroke, ...]:
    """Return the figure itself: the limbs as wide strokes, then contours of head, ears and face."""
    known = _points() | _extras()
    limbs: list[tuple[list[Place], float]] = [
        ([known[f"left_{joint}"] for joint in ("shoulder", "elbow", "wrist")], 24),
        ([known[f"left_{joint}"] for joint in ("hip", "knee", "ankle")], 34),
        ([(44, 704), (53, 721)], 40),
        ([known["left_shoulder"], (52, 270), known["left_hip"]], 40),
        ([(0, 150), (0, 390)], 80),
        ([(0, 100), (0, 150)], 38),
        ([known["left_shoulder"], (0, 150)], 24),
        ([WRIST, _hand(0.05, 0.30)], 26),
    ]
    for finger in _FINGERS:
        joints = [known[f"left_{finger}{joint}"] for joint in ("_third_joint", "2", "3", "4")]
        limbs.append(([_hand(0.02, 0.25), *joints], 10))
    turn = np.linspace(0, np.pi / 2, 13)
    top = [(float(34 * np.cos(a)), float(50 - 49 * np.sin(a))) for a in turn]
    half_head = [*(known[f"face-{i}"] for i in range(8, 16)), *top]
    helix = ((0, 0.22), (0.1, 0.08), (0.4, 0), (0.7, 0.03), (0.94, 0.2), (0.98, 0.45), (0.88, 0.7))
    ear = [_ear(*p) for p in (*helix, (0.68, 0.9), (0.42, 1), (0.12, 0.93), (0, 0.8))]
    strokes = [Stroke(points=np.array(line), width=width) for line, width in limbs]
    strokes += [Stroke(points=np.array(line), filled=True) for line in (half_head, ear)]
    strokes += [Stroke(points=np.array(line)) for line in _contours()]
    mirrored = [Stroke(points=s.points * (-1, 1), width=s.width, filled=s.filled) for s in strokes]
    return tuple(strokes + mirrored)


def _contours() -> list[list[Place]]:
    """Return the contours inside the left half of the face and the left ear."""
    known = _points()
    turn = np.linspace(0, 2 * np.pi, 33)
    chains: list[list[Place]] = [
        [known[f"l_point_{i}_of_inner_helix"] for i in (8, 1, 2, 3, 4, 5, 6, 7)],
        [known[n] for n in _EAR_POINTS if "superior" in n or "antihelix" in n],
        [known[n] for n in _EAR_POINTS if "inferior" in n] + [known["l_start_of_antihelix"]],
        [known[f"l_{n}_point_of_tragus"] for n in ("top", "protruding", "bottom")],
        [known[n] for n in _FACE if "eyebrow" in n] + [known["upper_startpoint_of_l_eyebrow"]],
        [known[n] for n in _FACE if "nose" in n and known[n][0] == 0],
        [(4, 62), (8.4, 65), known["l_outer_corner_of_nose"], known["outer_corner_of_l_nostril"]],
        [known[f"{n}_corner_of_l_nostril"] for n in ("inner", "upper", "outer", "inner")],
    ]
    for line in _LIDS:
        names = [
            f"l_centerpoint_of_{line}" if label == "centre" else f"l_midpoint_{label}_of_{line}"
            for label in _ALONG[1:-1]
        ]
        if "crease" not in line:
            names = ["l_inner_end_of_upper_lash_line", *names, f"l_outer_end_of_{line}"]
        chains.append([known[name] for name in names])
    for radius in _RADII.values():
        x, y = EYE[0] + radius * np.cos(turn), EYE[1] - radius * np.sin(turn)
        chains.append([(float(a), float(b)) for a, b in zip(x, y, strict=True)])
    for width, heights in _LIPS.values():
        chains.append([(width * (i / 4 - 1), heights[i]) for i in range(5)])
    return chains
