# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vitruvian.errors import InputError
from vitruvian.synth.body import (
    Phenotype,
    bone_transforms,
    load_body,
    posed_points,
    shape_bodies,
    skin,
)
from vitruvian.synth.landmarks import eye, landmark_table, landmarks
from vitruvian.synth.subdivide import piece
from vitruvian.vocabulary import load

NAMES = load("sapiens308")
FLIP = np.array([-1, 1, 1])


def at(points: np.ndarray, name: str) -> np.ndarray:
    return points[NAMES.index(name)]


def posed_person(seed: int = 0, bend: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Return posed vertices and joints of somebody with a face."""
    from scipy.spatial.transform import Rotation

    model, rng = load_body(), np.random.default_rng(seed)
    person = Phenotype(gender=rng.random(), age=rng.uniform(0.6, 1), weight=rng.random())
    body = shape_bodies(
        model,
        [person],
        changes=[{"nose-hump": 0.5, "left-ear-scale": 0.3}],
        face=[{"jawOpen": 0.4, "eyeBlinkLeft": 0.3, "mouthSmileRight": 0.8}],
    )
    turns = Rotation.from_rotvec(rng.normal(0, bend, (len(model.bones), 3))).as_matrix()
    transforms = bone_transforms(model, body.heads, turns[None])
    return skin(model.weights, body.vertices, transforms)[0], posed_points(body.heads, transforms)[
        0
    ]


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    body = load_body().canonical
    return landmarks(body.vertices[0], body.heads[0])


@pytest.mark.parametrize("levels", [0, 1])
def test_mirrored_body_has_mirrored_landmarks(levels: int) -> None:
    model = load_body()
    swap = [
        model.bone_index[b[:-1] + {"L": "R", "R": "L"}[b[-1]]] if b[-2:] in (".L", ".R") else i
        for i, b in enumerate(model.bones)
    ]
    vertices, joints = posed_person()
    points = landmarks(vertices, joints, levels=levels)
    mirrored = landmarks(vertices[model.reflect] * FLIP, joints[swap] * FLIP, levels=levels)
    np.testing.assert_allclose(mirrored, points[NAMES.mirror] * FLIP, atol=1e-6)


def test_weights_are_affine_and_move_rigidly() -> None:
    table = landmark_table(1)
    np.testing.assert_allclose(table.vertices.sum(1) + table.joints.sum(1), 1, atol=1e-6)
    vertices, joints = posed_person(1)
    shift = np.array([1.0, 2, 3])
    moved = landmarks(vertices + shift, joints + shift)
    np.testing.assert_allclose(moved, landmarks(vertices, joints) + shift, atol=1e-5)


def test_sides(rest: np.ndarray) -> None:
    for name, side, point in zip(NAMES.names, NAMES.sides, rest, strict=True):
        if side == "centre":
            assert abs(point[0]) < 1e-6, name
        else:
            assert point[0] * (1 if side == "left" else -1) > 0.001, name


def contour(start: str, end: str, stem: str, centre: str) -> list[str]:
    order = (
        [stem.format(f"midpoint_{k}") for k in (3, 1, 4)],
        [stem.format(f"midpoint_{k}") for k in (5, 2, 6)],
    )
    return [n for n in (start, *order[0], centre, *order[1], end) if n]


CONTOURS = [
    contour(
        f"{a}_of_{line}" if ends[0] else "",
        f"{b}_of_{line}" if ends[1] else "",
        side + "_{}_of_" + line,
        f"{side}_centerpoint_of_{line}",
    )
    for side, (a, b) in {
        "l": ("l_inner_end", "l_outer_end"),
        "r": ("r_outer_end", "r_inner_end"),
    }.items()
    for line, ends in {
        "upper_lash_line": (1, 1),
        "lower_lash_line": (1, 1),
        "upper_eyelid_line": (side == "r", side == "l"),
        "lower_eyelid_line": (side == "r", side == "l"),
        "upper_crease_line": (0, 0),
    }.items()
] + [
    contour(
        f"r_{ring}_corner_of_mouth",
        f"l_{ring}_corner_of_mouth",
        "{}_of_" + f"{part}_{ring}_lip",
        centre,
    )
    for part, ring, centre in (
        ("upper", "outer", "center_of_cupid_bow"),
        ("lower", "outer", "center_of_lower_outer_lip"),
        ("upper", "inner", "center_of_upper_inner_lip"),
        ("lower", "inner", "center_of_lower_inner_lip"),
    )
]


@pytest.mark.parametrize("names", CONTOURS, ids=lambda names: names[len(names) // 2])
def test_contours_run_from_the_subjects_right_to_the_left(
    rest: np.ndarray, names: list[str]
) -> None:
    line = np.array([at(rest, name) for name in names])
    assert (np.diff(line[:, 0]) > 0).all()
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert steps.max() < 2.5 * steps.min()


def test_three_midpoints_count_from_the_middle(rest: np.ndarray) -> None:
    for side in "lr":
        for edge in ("upper", "lower"):
            x = [at(rest, f"{edge}_midpoint_{k}_of_{side}_eyebrow")[0] for k in (2, 1, 3)]
            assert x == sorted(x)
        heights = [at(rest, f"{side}_midpoint_{k}_of_antihelix")[1] for k in (2, 1, 3)]
        assert heights == sorted(heights, reverse=True)
    nose = ["center_of_glabella", "center_of_nose_root", "midpoint_2_of_nose_bridge"]
    nose += ["midpoint_1_of_nose_bridge", "midpoint_3_of_nose_bridge", "tip_of_nose_bridge"]
    nose += ["tip_of_nose", "bottom_center_of_nose", "center_of_cupid_bow"]
    nose += ["center_of_upper_inner_lip", "center_of_lower_inner_lip", "center_of_lower_outer_lip"]
    nose += ["center_of_labiomental_groove", "tip_of_chin"]
    assert (np.diff([at(rest, name)[1] for name in nose]) < 0).all()


def test_lids_brow_and_crease_are_stacked(rest: np.ndarray) -> None:
    for side in "lr":
        order = [f"upper_midpoint_1_of_{side}_eyebrow", f"lower_midpoint_1_of_{side}_eyebrow"]
        order += [
            f"{side}_centerpoint_of_{line}" for line in ("upper_crease_line", "upper_lash_line")
        ]
        order += [f"{side}_centerpoint_of_upper_eyelid_line", f"{side}_center_of_pupil"]
        order += [
            f"{side}_centerpoint_of_{line}" for line in ("lower_eyelid_line", "lower_lash_line")
        ]
        assert (np.diff([at(rest, name)[1] for name in order]) < 0).all()


def test_clock_positions_of_iris_and_pupil(rest: np.ndarray) -> None:
    hours = ["12", "midpoint_1", "3", "midpoint_2", "6", "midpoint_3", "9", "midpoint_4"]
    ball, table = eye("left"), landmark_table()
    for side in "lr":
        for ring, angle in (("iris", table.iris), ("pupil", table.pupil)):
            centre = at(rest, f"{side}_center_of_{ring}")
            border = np.array([at(rest, f"{side}_border_of_{ring}_{hour}") for hour in hours])
            # seen from the front the subject's left is on the right: clockwise from the top
            clock = np.degrees(np.arctan2(border[:, 0] - centre[0], border[:, 1] - centre[1])) % 360
            np.testing.assert_allclose((clock - 45 * np.arange(8) + 180) % 360 - 180, 0, atol=6)
            radius = np.linalg.norm(border - border.mean(0), axis=1)
            np.testing.assert_allclose(radius, ball.radius * np.sin(angle), rtol=0.06)


def test_iris_lies_on_the_eyeball_that_is_drawn_and_follows_the_gaze() -> None:
    model = load_body()
    body = model.canonical
    turns = np.tile(np.eye(3), (1, len(model.bones), 1, 1))
    quarter = np.radians(25)
    turns[0, model.bone_index["eye.L"]] = [
        [np.cos(quarter), 0, np.sin(quarter)],
        [0, 1, 0],
        [-np.sin(quarter), 0, np.cos(quarter)],
    ]
    transforms = bone_transforms(model, body.heads, turns)
    vertices = skin(model.weights, body.vertices, transforms)[0]
    points = landmarks(vertices, posed_points(body.heads, transforms)[0])
    before = landmarks(body.vertices[0], body.heads[0])
    move = at(points, "l_center_of_pupil") - at(before, "l_center_of_pupil")
    assert move[0] == pytest.approx(eye("left").radius * np.sin(quarter), rel=0.1)
    assert np.allclose(at(points, "r_center_of_pupil"), at(before, "r_center_of_pupil"), atol=1e-6)
    drawn = piece(("left_eye",), 1)
    surface = (drawn.operator @ vertices)[drawn.faces].mean(1)
    for hour in ("12", "3", "6", "9"):
        gap = np.linalg.norm(surface - at(points, f"l_border_of_iris_{hour}"), axis=1).min()
        assert gap < 0.0015


def test_skin_points_lie_on_the_skin_that_is_drawn() -> None:
    vertices, joints = posed_person(2, bend=0.15)
    drawn = piece(("skin",), 1)
    surface = drawn.operator @ vertices
    points = landmarks(vertices, joints, levels=1)
    face = [
        i
        for i in NAMES.groups["face"]
        if "iris" not in NAMES.names[i] and "pupil" not in NAMES.names[i]
    ]
    corners = surface[drawn.faces]
    for i in face[::7]:
        near = np.argsort(np.linalg.norm(corners.mean(1) - points[i], axis=1))[:12]
        normal = np.cross(corners[near, 1] - corners[near, 0], corners[near, 2] - corners[near, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        gap = np.abs(((points[i] - corners[near, 0]) * normal).sum(1)).min()
        assert gap < 1e-4, NAMES.names[i]


def test_distances_are_those_of_people(rest: np.ndarray) -> None:
    """Adult ranges in metres, wide enough for the average body (male and female)."""
    ranges = {
        ("l_center_of_pupil", "r_center_of_pupil"): (0.055, 0.072),
        ("l_inner_end_of_upper_lash_line", "l_outer_end_of_upper_lash_line"): (0.024, 0.035),
        ("r_outer_corner_of_mouth", "l_outer_corner_of_mouth"): (0.04, 0.06),
        ("l_border_of_iris_3", "l_border_of_iris_9"): (0.0105, 0.0125),
        ("r_outer_corner_of_nose", "l_outer_corner_of_nose"): (0.028, 0.045),
        ("l_top_connecting_point_of_helix", "l_tip_of_ear_lobe"): (0.045, 0.07),
        ("left_shoulder", "right_shoulder"): (0.3, 0.42),
        ("left_shoulder", "left_elbow"): (0.24, 0.36),
        ("left_elbow", "left_wrist"): (0.2, 0.3),
        ("left_hip", "left_knee"): (0.38, 0.52),
        ("left_knee", "left_ankle"): (0.36, 0.5),
        ("left_heel", "left_big_toe"): (0.21, 0.29),
        ("left_wrist", "left_middle_finger4"): (0.15, 0.21),
        ("left_acromion", "left_shoulder"): (0.02, 0.07),
        ("left_olecranon", "left_cubital_fossa"): (0.05, 0.11),
        ("neck", "tip_of_chin"): (0.08, 0.2),
    }  # fmt: skip
    for (a, b), (low, high) in ranges.items():
        distance = np.linalg.norm(at(rest, a) - at(rest, b))
        assert low < distance < high, (a, b, distance)


def test_fingers_run_from_tip_to_base(rest: np.ndarray) -> None:
    for side in ("left", "right"):
        wrist = at(rest, f"{side}_wrist")
        for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger"):
            chain = [at(rest, f"{side}_{finger}{k}") for k in ("4", "3", "2", "_third_joint")]
            reach = [np.linalg.norm(point - wrist) for point in chain]
            assert reach == sorted(reach, reverse=True)


def test_joints_are_the_bones(rest: np.ndarray) -> None:
    model = load_body()
    heads = model.canonical.heads[0]
    for name, bone in (("left_knee", "lowerleg01.L"), ("right_wrist", "wrist.R")):
        np.testing.assert_allclose(at(rest, name), heads[model.bone_index[bone]], atol=1e-6)


def test_every_point_has_a_tolerance() -> None:
    tolerance = landmark_table().tolerance
    assert tolerance.shape == (308,)
    assert (tolerance > 0).all()
    assert np.array_equal(tolerance, tolerance[NAMES.mirror])
    assert tolerance[NAMES.index("left_hip")] > 0.1 > tolerance[NAMES.index("tip_of_nose")]


def test_another_body_is_refused() -> None:
    with pytest.raises(InputError, match="wanted"):
        landmarks(np.zeros((10, 3)), np.zeros((5, 3)))
