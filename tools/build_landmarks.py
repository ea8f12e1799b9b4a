# SPDX-License-Identifier: Apache-2.0
"""Write ``src/vitruvian/synth/assets/landmarks.toml``: where the 308 keypoints sit on the body.

    python tools/build_landmarks.py

Below is what a person decided by looking at the mesh: edge loops of eyelids and lips, ridges of the
ear, curves of the brows, bones of the limbs, all on the subject's left or in the middle. The tool
turns them into points on triangles (of the canonical body) or joints. The right side is made by
reflection when the table is read. ``tools/landmark_posters.py`` draws the result.

Contours are named start, 3, 1, 4, centre, 5, 2, 6, end from the subject's right to the left, so on
the left eye from the inner corner outwards; of only three midpoints 1 is the middle, 2 and
3 are the quarters before and after it.
"""

from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from vitruvian.synth.body import load_body
from vitruvian.vocabulary import load

OUT = Path("src/vitruvian/synth/assets/landmarks.toml")
MODEL = load_body()
VERTICES = MODEL.canonical.vertices[0].astype(np.float64)
SKIN = MODEL.group_faces("skin")
EIGHTHS = {"midpoint_3": 1, "midpoint_1": 2, "midpoint_4": 3, "centerpoint": 4}
EIGHTHS |= {"midpoint_5": 5, "midpoint_2": 6, "midpoint_6": 7}

# Rings of the left eye, inner corner → outer corner. The lash line is the outer edge of the lid's
# margin, the eyelid line the edge that touches the eyeball, the crease the fold above the lid.
EYE = {
    "upper_lash_line": [
        11455,
        11454,
        11458,
        11453,
        11452,
        11451,
        11433,
        11434,
        11435,
        11436,
        11437,
        11438,
        11439,
        11440,
    ],
    "upper_eyelid_line": [
        6834,
        6831,
        6870,
        6828,
        6825,
        6822,
        6769,
        6768,
        6774,
        6777,
        6780,
        6783,
        6786,
        6789,
    ],
    "upper_crease_line": [6919, 6918, 6917, 6914, 6913, 6915, 6916, 6906, 6907],
    "lower_lash_line": [
        6837,
        6840,
        6821,
        11663,
        6818,
        6815,
        6812,
        6809,
        6804,
        6801,
        6798,
        11661,
        6795,
        6792,
    ],
    "lower_eyelid_line": [
        13328,
        13329,
        13330,
        13346,
        13335,
        13336,
        13338,
        13340,
        13341,
        13342,
        13334,
        13347,
        13343,
        13344,
    ],
}
EYE_ENDS = {
    "upper_lash_line": ("inner_end", "outer_end"),
    "upper_eyelid_line": (None, "outer_end"),
    "upper_crease_line": (None, None),
    "lower_lash_line": ("inner_end", "outer_end"),
    "lower_eyelid_line": (None, "outer_end"),
}
# Lips, middle → left corner.
LIPS = {
    "upper_outer": [455, 7198, 7194, 7199, 7153, 11924, 7154, 7155, 7152, 10372, 7166],
    "lower_outer": [492, 7225, 7219, 7150, 7149, 7148, 7166],
    "upper_inner": [520, 7251, 7252, 7245, 7246, 11930, 7247, 7165, 7164, 7180, 10367, 7178],
    "lower_inner": [523, 7248, 7249, 7250, 7190, 7189, 10344, 7179, 7178],
}
LIP_CENTRES = {
    "upper_outer": "center_of_cupid_bow",
    "lower_outer": "center_of_lower_outer_lip",
    "upper_inner": "center_of_upper_inner_lip",
    "lower_inner": "center_of_lower_inner_lip",
}
# Left brow: (x, y) in millimetres from the middle and from the centre of the eye, inner → outer.
BROW = {
    "upper": [(15, 24.5), (24, 27.5), (34, 29), (44, 26.5), (55, 16)],
    "lower": [(14.5, 16.5), (24, 19), (34, 21.5), (44, 21.5), (55, 15.5)],
}
# Single vertices, or several to be averaged.
SPOTS = {
    "center_of_glabella": [227],
    "center_of_nose_root": [132],
    "tip_of_nose_bridge": [201],
    "center_of_labiomental_groove": [724],
    "tip_of_chin": [5195],
    "tip_of_nose": [297, 5038],
    "nose": [297, 5038],
    "bottom_center_of_nose": [343],
    "l_outer_corner_of_nose": [7083],
    "inner_corner_of_l_nostril": [7076],
    "outer_corner_of_l_nostril": [7071],
    "upper_corner_of_l_nostril": [7073],
    "l_outer_corner_of_mouth": [7166],
    "l_inner_corner_of_mouth": [7178],
    "l_top_end_of_inferior_crus": [12101],
    "l_top_end_of_superior_crus": [12281],
    "l_midpoint_1_of_inferior_crus": [12068, 12143],
    "l_highest_point_of_antitragus": [12268],
    "l_bottom_point_of_tragus": [12076, 12238],
    "l_protruding_point_of_tragus": [12181],
    "l_top_point_of_tragus": [12044, 12067],
    "l_start_point_of_crus_of_helix": [12242],
    "l_deepest_point_of_concha": [12184],
    "l_tip_of_ear_lobe": [11987],
    "l_bottom_connecting_point_of_ear_lobe": [12296],
    "l_top_connecting_point_of_helix": [11992],
    "left_ear": [12262],
}
NOSE_BRIDGE = [132, 133, 134, 135, 131, 5047, 164, 201]
ANTIHELIX = [(12153, 12072), 12154, 12162, 12161, 12163, 12168, 12148, 12149]
INNER_HELIX = [12036, 12026, 12024, 12027, 12033, 12028, 12034, 12030, 12029, 12041, 12136]
LOBE_RIM = [
    12029,
    12041,
    12019,
    12134,
    12020,
    12021,
    12018,
    11987,
]  # inner helix 7 → tip of the lobe

JOINTS = {
    "left_shoulder": "upperarm01.L",
    "left_elbow": "lowerarm01.L",
    "left_wrist": "wrist.L",
    "left_hip": "upperleg01.L",
    "left_knee": "lowerleg01.L",
    "left_ankle": "foot.L",
}
NECK = [1522, 1467]  # the notch above the breastbone and the nape behind it
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def on_skin(point: np.ndarray) -> tuple[list[int], list[float]]:
    """Return the corners and barycentric weights of the point of the skin closest to ``point``."""
    near = TREE.query(point, 12)[1]
    faces = MODEL.faces[SKIN[np.isin(MODEL.faces[SKIN], NEAR[near]).any(1)]]
    best = None
    for face in faces:
        a, b, c = VERTICES[face]
        weights = _closest(point, a, b, c)
        distance = np.linalg.norm(weights @ np.stack([a, b, c]) - point)
        if best is None or distance < best[0] - 1e-12:
            best = (distance, [int(v) for v in face], weights)
    assert best is not None
    return best[1], [float(w) for w in best[2]]


def _closest(p, a, b, c) -> np.ndarray:
    """Return barycentric weights of the point of triangle abc closest to p."""
    ab, ac = b - a, c - a
    u, v = np.linalg.lstsq(np.stack([ab, ac], 1), p - a, rcond=None)[0]
    if u >= 0 and v >= 0 and u + v <= 1:
        return np.array([1 - u - v, u, v])
    best = None
    for i, (s, t) in enumerate(((a, b), (b, c), (c, a))):
        k = np.clip((p - s) @ (t - s) / ((t - s) @ (t - s)), 0, 1)
        distance = np.linalg.norm(s + k * (t - s) - p)
        if best is None or distance < best[0]:
            weights = np.zeros(3)
            weights[i], weights[(i + 1) % 3] = 1 - k, k
            best = (distance, weights)
    return best[1]


def place(vertices) -> np.ndarray:
    return VERTICES[list(vertices)].mean(0)


def polyline(chain) -> np.ndarray:
    return np.array([place(v if isinstance(v, tuple) else (v,)) for v in chain])


def along(line: np.ndarray, fraction: float) -> np.ndarray:
    """Return the point at a fraction of a polyline's length."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(steps)])
    return np.stack([np.interp(fraction * at[-1], at, line[:, i]) for i in range(3)])


def cast(origin, direction) -> np.ndarray:
    """Return where a ray first meets the skin from inside (or outside)."""
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    a, b, c = (VERTICES[MODEL.faces[SKIN][:, i]] for i in range(3))
    e1, e2 = b - a, c - a
    h = np.cross(direction, e2)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = 1 / (e1 * h).sum(1)
        s = origin - a
        u = f * (s * h).sum(1)
        q = np.cross(s, e1)
        v, t = f * (q @ direction), f * (e2 * q).sum(1)
    hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-6)
    return origin + direction * t[hit].min()


def head(bone: str) -> np.ndarray:
    return MODEL.canonical.heads[0, MODEL.bone_index[bone]].astype(float)


def tail(bone: str) -> np.ndarray:
    return MODEL.canonical.tails[0, MODEL.bone_index[bone]].astype(float)


def extreme(bone: str, direction) -> np.ndarray:
    """Return the middle of the skin vertices of a bone that lie farthest in a direction."""
    weight = MODEL.weights[:, [MODEL.bone_index[bone]]].toarray().ravel()
    own = NEAR[weight[NEAR] > 0.6]
    reach = VERTICES[own] @ np.asarray(direction, float)
    return VERTICES[own[np.argsort(reach)[-5:]]].mean(0)


def surface_points() -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {name: place(ids) for name, ids in SPOTS.items()}
    for line, chain in EYE.items():
        curve = polyline(chain)
        out |= {f"l_{k}_of_{line}": along(curve, i / 8) for k, i in EIGHTHS.items()}
        for end, at in zip(EYE_ENDS[line], (0, 1), strict=True):
            if end:
                out[f"l_{end}_of_{line}"] = along(curve, at)
    for lip, chain in LIPS.items():
        curve = polyline(chain)
        out[LIP_CENTRES[lip]] = curve[0]
        for number, quarter in ((5, 1), (2, 2), (6, 3)):
            out[f"midpoint_{number}_of_{lip}_lip"] = along(curve, quarter / 4)
    eye = VERTICES[MODEL.group_vertices("left_eye")].mean(0)
    for edge, points in BROW.items():
        curve = np.array(
            [cast(np.array([x / 1e3, eye[1] + y / 1e3, 0.3]), (0, 0, -1)) for x, y in points]
        )
        dense = _smooth(curve)
        out[f"{edge}_startpoint_of_l_eyebrow"] = dense[0]
        for number, quarter in ((2, 1), (1, 2), (3, 3)):
            out[f"{edge}_midpoint_{number}_of_l_eyebrow"] = along(dense, quarter / 4)
        out["end_of_l_eyebrow"] = dense[-1]
    bridge = polyline(NOSE_BRIDGE)
    ridge = polyline(ANTIHELIX)
    for number, quarter in ((2, 1), (1, 2), (3, 3)):
        out[f"midpoint_{number}_of_nose_bridge"] = along(bridge, quarter / 4)
        out[f"l_midpoint_{number}_of_antihelix"] = along(ridge, quarter / 4)
    out["l_start_of_antihelix"], out["l_end_of_antihelix"] = ridge[0], ridge[-1]
    helix = polyline(INNER_HELIX)
    out |= {f"l_point_{i + 1}_of_inner_helix": along(helix, i / 7) for i in range(8)}
    out["l_midpoint_between_22_15"] = along(polyline(LOBE_RIM), 0.5)
    for i, finger in enumerate(FINGERS, 1):
        bone = f"finger{i}-3.L"
        out[f"left_{finger}4"] = extreme(bone, tail(bone) - head(bone))
    out["left_big_toe"] = extreme("toe1-2.L", (0, 0, 1))
    out["left_small_toe"] = extreme("toe5-3.L", (0.3, 0, 1))
    out["left_heel"] = extreme("foot.L", (0, -0.4, -1))
    # the arm is bent at rest: the hollow lies between upper and lower arm, the point opposite
    elbow = head("lowerarm01.L")
    up, down = head("upperarm01.L") - elbow, head("wrist.L") - elbow
    up, down = up / np.linalg.norm(up), down / np.linalg.norm(down)
    out["left_cubital_fossa"] = cast(elbow, up + down)
    out["left_olecranon"] = cast(elbow, -up - 1.6 * down)
    shoulder = head("upperarm01.L")
    out["left_acromion"] = cast(shoulder + np.array([-0.008, 0, -0.005]), (0, 1, 0))
    return out


def _smooth(points: np.ndarray) -> np.ndarray:
    """Return a fine curve through points (Catmull-Rom)."""
    p = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    out = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        for t in np.linspace(0, 1, 12, endpoint=False):
            out.append(
                0.5
                * (
                    2 * b
                    + (c - a) * t
                    + (2 * a - 5 * b + 4 * c - d) * t**2
                    + (3 * b - a - 3 * c + d) * t**3
                )
            )
    return np.array([*out, points[-1]])


def tolerance(name: str) -> float:
    """Return how far in front of a point a surface may lie that does not hide it, in metres."""
    inside = {
        "shoulder": 0.1,
        "elbow": 0.07,
        "wrist": 0.05,
        "hip": 0.16,
        "knee": 0.1,
        "ankle": 0.07,
    }
    for word, value in inside.items():
        if name.endswith(word):
            return value
    if name == "neck":
        return 0.1
    if any(word in name for word in ("olecranon", "cubital", "acromion")):
        return 0.06
    if any(word in name for word in ("toe", "heel")):
        return 0.04
    if "finger" in name or "thumb" in name:
        return 0.012 if name.endswith("4") else 0.022
    if "iris" in name or "pupil" in name:
        return 0.0015
    if name in ("left_eye", "right_eye", "left_ear", "right_ear", "nose"):
        return 0.015
    return 0.004


NEAR = MODEL.group_vertices("skin")
TREE = cKDTree(VERTICES[NEAR])


def main() -> None:
    names = load("sapiens308").names
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        '# The points of vocabulary "sapiens308" on the body; written by tools/build_landmarks.py.',
        "# Left and middle only; the right side is the reflection.",
        'vocabulary = "sapiens308"',
        "",
        "# How the eye is painted: half-angles seen from the centre of the eyeball, degrees.",
        "[eye]",
        "iris = 20.5",
        "pupil = 7.5",
        "",
        "# Three vertices of a face and their weights.",
        "[surface]",
    ]
    points = surface_points()
    for name in names:
        if name in points:
            corners, weights = on_skin(points[name])
            centre = abs(points[name][0]) < 1e-6
            assert not centre or "l_" not in name[:2], name
            values = ", ".join(f"{w:.5f}" for w in weights)
            lines.append(f"{name} = [[{', '.join(map(str, corners))}], [{values}]]")
    lines += ["", "# Heads of bones: joints inside the limbs.", "[joint]"]
    table = dict(JOINTS)
    for i, finger in enumerate(FINGERS, 1):
        table |= {
            f"left_{finger}3": f"finger{i}-3.L",
            f"left_{finger}2": f"finger{i}-2.L",
            f"left_{finger}_third_joint": f"finger{i}-1.L",
        }
    lines += [f'{name} = "{table[name]}"' for name in names if name in table]
    lines += [
        "",
        "# Means of other points, or of vertices of the skin.",
        "[mean]",
        'left_eye = ["l_centerpoint_of_upper_eyelid_line", "l_centerpoint_of_lower_eyelid_line"]',
        "",
        "[mean_vertices]",
        f"neck = {NECK}",
        "",
        "# Metres by which something may lie in front of a point that still counts as visible.",
        "[tolerance]",
    ]
    lines += [f"{name} = {tolerance(name)}" for name in names]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{OUT}: {len(points)} on the surface, {len(table)} joints")


if __name__ == "__main__":
    main()
