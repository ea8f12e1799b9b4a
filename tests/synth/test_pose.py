# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.synth.arms import hand, hand_shapes
from vitruvian.synth.body import Bodies, BodyModel, Phenotype, load_body, shape_bodies
from vitruvian.synth.collide import closed_limbs, penetration
from vitruvian.synth.expression import (
    EXPRESSIONS,
    lids_for_gaze,
    sample_expression,
    sample_face_angles,
)
from vitruvian.synth.families import FAMILIES, sample_pose
from vitruvian.synth.pose import (
    LIMITS,
    Pose,
    PosedBody,
    apply_pose,
    bone_rotations,
    within_limits,
)
from vitruvian.synth.stance import Stance, foot_gaps, settle


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body()


@pytest.fixture(scope="module")
def rest(model: BodyModel) -> Bodies:
    return model.canonical


def posed(model: BodyModel, rest: Bodies, **angles: float) -> PosedBody:
    rotations = bone_rotations(model, rest, angles)
    return apply_pose(model, rest, Pose(rotations=rotations, translation=np.zeros(3)))


def bone(model: BodyModel, body: PosedBody, a: str, b: str) -> np.ndarray:
    """Return the direction from the head of one bone to that of another."""
    way = body.joints[model.bone_index[b]] - body.joints[model.bone_index[a]]
    return way / np.linalg.norm(way)


# ------------------------------------------------------------------------- angles


def test_zero_is_upright_with_hanging_arms_and_thumbs_in_front(
    model: BodyModel, rest: Bodies
) -> None:
    body = posed(model, rest)
    for side in "LR":
        assert bone(model, body, f"upperarm01.{side}", f"lowerarm01.{side}")[1] < -0.999
        assert bone(model, body, f"lowerarm01.{side}", f"wrist.{side}")[1] < -0.99
        assert bone(model, body, f"upperleg01.{side}", f"foot.{side}")[1] < -0.999
        assert bone(model, body, f"finger5-1.{side}", f"finger2-1.{side}")[2] > 0.8


@pytest.mark.parametrize(
    ("angles", "chain", "direction"),
    [
        ({"left_shoulder_elevation": 90}, "upperarm01.L lowerarm01.L", (1, 0, 0)),
        ({"right_shoulder_elevation": 90}, "upperarm01.R lowerarm01.R", (-1, 0, 0)),
        (
            {"left_shoulder_elevation": 90, "left_shoulder_plane": 90},
            "upperarm01.L lowerarm01.L",
            (0, 0, 1),
        ),
        ({"left_elbow": 90}, "lowerarm01.L wrist.L", (0, 0, 1)),
        ({"left_elbow": 90, "left_shoulder_rotation": 90}, "lowerarm01.L wrist.L", (-1, 0, 0)),
        ({"right_elbow": 90, "right_shoulder_rotation": 90}, "lowerarm01.R wrist.R", (1, 0, 0)),
        ({"right_hip_bend": 90}, "upperleg01.R foot.R", (0, 0, 1)),
        ({"left_hip_spread": 40}, "upperleg01.L foot.L", (0.64, -0.77, 0)),
        ({"right_knee": 90}, "lowerleg01.R foot.R", (0, 0, -1)),
        ({"spine_bend": 60}, "spine01 neck01", (0, 0.5, 0.87)),
        ({"spine_lean": 30}, "spine01 neck01", (-0.5, 0.87, 0)),
        ({"head_turn": 70}, "neck01 eye.L", None),
    ],
)
def test_angles_mean_what_they_say(
    model: BodyModel, rest: Bodies, angles: dict[str, float], chain: str, direction
) -> None:
    body = posed(model, rest, **angles)
    a, b = chain.split()
    if direction is None:  # the face turns to the left
        nose = body.joints[[model.bone_index[e] for e in ("eye.L", "eye.R")]].mean(0)
        assert (nose - body.joints[model.bone_index["head"]])[0] > 0.05
        return
    assert bone(model, body, a, b) @ (np.array(direction) / np.linalg.norm(direction)) > 0.96


def test_fingers_bend_towards_the_palm(model: BodyModel, rest: Bodies) -> None:
    flat = posed(model, rest)
    fist = within_limits(hand(np.random.default_rng(0), "left", "fist"))
    closed = posed(model, rest, **fist)
    for finger in range(2, 6):
        tip, base = model.bone_index[f"finger{finger}-3.L"], model.bone_index["wrist.L"]
        reach = [np.linalg.norm(b.joints[tip] - b.joints[base]) for b in (flat, closed)]
        assert reach[1] < 0.9 * reach[0]
    # hanging, the left palm looks to the right
    middle = [model.bone_index[f"finger{finger}-2.L"] for finger in range(2, 6)]
    assert (closed.joints[middle] - flat.joints[middle])[:, 0].mean() < -0.01


def test_gaze_turns_only_the_eyes(model: BodyModel, rest: Bodies) -> None:
    a, b = posed(model, rest), posed(model, rest, gaze_turn=30)
    moved = np.linalg.norm(a.vertices - b.vertices, axis=1) > 2.5e-3  # lids give way by less
    eyes = model.group_vertices("left_eye", "right_eye")
    assert moved[eyes].mean() > 0.9
    moved[eyes] = False
    assert not moved.any()


def test_limits_are_kept(model: BodyModel, rest: Bodies) -> None:
    with pytest.raises(InputError, match="left_elbow is 170 degrees; wanted 0 to 145"):
        bone_rotations(model, rest, {"left_elbow": 170})
    with pytest.raises(UnknownNameError, match="left_elbow"):
        bone_rotations(model, rest, {"left_elbows": 10})
    clipped = within_limits({"left_shoulder_elevation": 150, "left_shoulder_plane": -60})
    assert clipped["left_shoulder_elevation"] == 50
    for name, (low, high) in LIMITS.items():
        assert low < high
        other = name.replace("left_", "right_")
        assert LIMITS[other] == (low, high)


def test_hand_shapes_stay_within_limits() -> None:
    for shape in hand_shapes():
        for side in ("left", "right"):
            drawn = hand(np.random.default_rng(1), side, shape)
            for name, value in drawn.items():
                low, high = LIMITS[name]
                assert low - 15 < value < high + 15, (shape, name)
    with pytest.raises(UnknownNameError, match="fist"):
        hand(np.random.default_rng(0), "left", "fits")


# ------------------------------------------------------------------------- ground


def test_bent_legs_are_brought_to_one_ground(model: BodyModel, rest: Bodies) -> None:
    angles = {"left_hip_bend": 30.0, "left_knee": 50.0, "spine_bend": 30.0}
    pose = settle(model, rest, angles, Stance())
    body = apply_pose(model, rest, pose)
    gaps = foot_gaps(model, body.vertices, ("left", "right"))
    assert max(gaps.values()) < 0.01
    assert min(gaps.values()) == pytest.approx(0, abs=1e-5)
    assert np.allclose(pose.rotations @ pose.rotations.transpose(0, 2, 1), np.eye(3), atol=1e-9)


def test_weight_is_over_the_feet(model: BodyModel, rest: Bodies) -> None:
    def lean(balanced: bool) -> float:
        pose = settle(model, rest, {"spine_bend": 60.0}, Stance(balanced=balanced))
        joints = apply_pose(model, rest, pose).joints
        ankles = joints[[model.bone_index[f"foot.{s}"] for s in "LR"]].mean(0)
        return float(joints[model.bone_index["spine05"], 2] - ankles[2])

    assert lean(True) < lean(False) - 0.03  # the hips move back when the trunk bends forwards


def test_seat_is_under_the_thighs(model: BodyModel, rest: Bodies) -> None:
    angles = {f"{s}_{k}": 90.0 for s in ("left", "right") for k in ("hip_bend", "knee")}
    pose = settle(model, rest, angles, Stance(support="seat", balanced=False))
    assert pose.seat is not None
    assert 0.3 < pose.seat.height < 0.55
    body = apply_pose(model, rest, pose)
    hips = body.joints[model.bone_index["upperleg01.L"]]
    assert 0.03 < hips[1] - pose.seat.height < 0.15
    skin = body.vertices[model.group_vertices("skin")]
    assert skin[:, 1].min() == pytest.approx(0, abs=1e-5)
    high = settle(
        model, rest, angles, Stance(support="seat", planted=(), balanced=False, feet_below=0.2)
    )
    assert high.seat is not None
    assert high.seat.height > pose.seat.height + 0.15


def test_lying_comes_down_at_both_ends(model: BodyModel, rest: Bodies) -> None:
    angles = {f"{s}_shoulder_elevation": 30.0 for s in ("left", "right")}
    stance = Stance(support="floor", planted=(), root=(-np.pi / 2, 0, 0))
    body = apply_pose(model, rest, settle(model, rest, angles, stance))
    assert body.vertices[model.group_vertices("skin"), 1].max() < 0.5
    assert foot_gaps(model, body.vertices, ("left",))["left"] < 0.02
    assert bone(model, body, "spine01", "head")[2] < -0.9  # head backwards, face up


# ------------------------------------------------------------------------- self-penetration


def test_limbs_are_closed() -> None:
    limbs = closed_limbs()
    assert len(limbs.names) == 14
    for number in range(14):
        faces = limbs.faces[limbs.limb == number]
        edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        there = {(a, b) for a, b in edges.tolist()}
        assert there == {(b, a) for a, b in edges.tolist()}, limbs.names[number]


@pytest.mark.parametrize(
    ("angles", "clear"),
    [
        ({"left_shoulder_elevation": 20, "right_shoulder_elevation": 20}, True),
        ({"left_shoulder_elevation": 90, "right_shoulder_elevation": 60, "right_elbow": 100}, True),
        ({"left_elbow": 110, "left_shoulder_rotation": 85, "right_shoulder_elevation": 20}, False),
        ({"left_hip_spread": -25, "right_hip_spread": -25, "left_shoulder_elevation": 20,
          "right_shoulder_elevation": 20}, False),
    ],
)  # fmt: skip
def test_penetration_is_found(
    model: BodyModel, rest: Bodies, angles: dict[str, float], clear: bool
) -> None:
    body = posed(model, rest, **angles)
    inside = penetration(body.vertices, body.transforms)
    assert len(inside) == 0 if clear else len(inside) > 20


def winding_number(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return how often a closed surface winds round points (solid angles; van Oosterom 1983)."""
    out = np.zeros(len(points))
    for k, point in enumerate(points):
        a, b, c = (triangles[:, i] - point for i in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        top = (a * np.cross(b, c)).sum(1)
        bottom = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        out[k] = np.arctan2(top, bottom).sum() / (2 * np.pi)
    return out


def test_crossings_agree_with_solid_angles(model: BodyModel, rest: Bodies) -> None:
    """A hand in the belly, judged by an independent formula."""
    angles = {"left_elbow": 110, "left_shoulder_rotation": 85, "left_shoulder_elevation": 5}
    body = posed(model, rest, **angles, right_shoulder_elevation=25)
    limbs = closed_limbs()
    ours = np.isin(limbs.points, penetration(body.vertices, body.transforms))
    corners = np.concatenate([body.vertices, limbs.lids @ body.vertices]).astype(np.float64)
    arm = ("lowerarm", "wrist", "finger")
    bones = [i for i, b in enumerate(model.bones) if b.startswith(arm) and b.endswith(".L")]
    own = model.weights[:, bones].sum(1)[limbs.points] > 0.99
    chosen = np.flatnonzero(own)[::6]
    turned = limbs.weights @ body.transforms[:, :, :3].reshape(-1, 9)
    under = (turned.reshape(-1, 3, 3) @ limbs.under[:, :, None])[..., 0]
    points = (body.vertices[limbs.points] + under)[chosen].astype(np.float64)
    inside = np.zeros(len(chosen), bool)
    for number in range(len(limbs.names)):
        wound = winding_number(points, corners[limbs.faces[limbs.limb == number]]) > 0.5
        inside |= wound & limbs.test[chosen, number]
    assert 0.1 < inside.mean() < 1
    assert np.array_equal(ours[chosen], inside)


# ------------------------------------------------------------------------- families


def person(seed: int) -> Bodies:
    rng = np.random.default_rng([9, seed])
    kind = Phenotype(
        gender=rng.integers(2), age=rng.uniform(0.6, 0.97), muscle=rng.random(),
        weight=rng.uniform(0.1, 0.95), height=rng.uniform(0.2, 0.8),
    )  # fmt: skip
    return shape_bodies(load_body(), [kind])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_families_stand_on_the_floor_within_limits(model: BodyModel, family: str) -> None:
    for seed in range(2):
        rest = person(seed)
        pose, body = sample_pose(model, rest, np.random.default_rng(seed), family=family)
        assert pose.family == family
        skin = body.vertices[model.group_vertices("skin")]
        lowest = skin[:, 1].min()
        if pose.support == "seat":
            assert pose.seat is not None
            assert -1e-5 < lowest < 0.3
        else:
            assert lowest == pytest.approx(0, abs=1e-5)
        for name, value in pose.angles.items():
            low, high = LIMITS[name]
            assert low - 1e-6 <= value <= high + 1e-6, name
        assert len(penetration(body.vertices, body.transforms)) <= 2


def test_a_sample_is_a_function_of_the_generator(model: BodyModel) -> None:
    rest = person(3)
    a, b, c = (sample_pose(model, rest, np.random.default_rng(s))[1].vertices for s in (4, 4, 5))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_unknown_family(model: BodyModel, rest: Bodies) -> None:
    with pytest.raises(UnknownNameError, match="sit"):
        sample_pose(model, rest, np.random.default_rng(0), family="sits")


def test_independent_rays_find_no_arm_inside(model: BodyModel) -> None:
    """Accepted poses judged by Embree: hands and lower arms in trunk, head and legs."""
    scenes = pytest.importorskip("embreex.rtcore_scene")
    meshes = pytest.importorskip("embreex.mesh_construction")
    bones = np.array(model.bones)
    arms = np.logical_or.reduce(
        [np.char.startswith(bones, word) for word in ("lowerarm", "wrist", "finger", "metacarpal")]
    )
    upper = np.char.startswith(bones, "upperarm")
    share = model.weights @ np.stack([arms, arms | upper], 1).astype(np.float32)
    skin = model.group_vertices("skin")
    core = model.faces[model.group_faces("skin")]
    core = core[share[core][:, :, 1].max(1) < 0.5]
    points = skin[share[skin, 0] > 0.95][::5]
    bad = 0
    for seed in range(16):
        body = sample_pose(model, person(seed), np.random.default_rng([1, seed]))[1]
        scene = scenes.EmbreeScene()
        meshes.TriangleMesh(scene, body.vertices[core])
        votes = np.zeros(len(points))
        for way in ((0, 0, -1), (1, 0.1, 0), (0.1, 0, 1)):
            votes += _odd_crossings(scene, body.vertices[points], np.array(way, np.float32))
        bad += (votes >= 2).mean() > 0.04
    assert bad == 0


def _odd_crossings(scene, points: np.ndarray, way: np.ndarray) -> np.ndarray:
    start, alive = points.copy(), np.arange(len(points))
    count = np.zeros(len(points), int)
    for _ in range(8):
        rays = np.tile(way, (len(alive), 1))
        found = scene.run(start[alive], rays, query="INTERSECT", output=True)
        hit = found["primID"] >= 0
        alive = alive[hit]
        if not len(alive):
            break
        count[alive] += 1
        start[alive] += way * (found["tfar"][hit][:, None] + 1e-4)
    return count % 2


# ------------------------------------------------------------------------- faces


def test_expressions_are_units_and_often_open_mouths(model: BodyModel) -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_expression(rng) for _ in range(1500)]
    kinds = {kind for kind, _ in drawn}
    assert kinds == set(EXPRESSIONS)
    for _, face in drawn:
        assert set(face) <= set(model.units)
        assert all(0 <= value <= 1 for value in face.values())
    assert np.mean([face.get("jawOpen", 0) > 0.08 for _, face in drawn]) > 0.4
    assert 0.03 < np.mean([face.get("tongueOut", 0) > 0 for _, face in drawn]) < 0.1
    assert sample_expression(np.random.default_rng(2), kind="laugh")[0] == "laugh"


def test_lids_and_tongue_follow(model: BodyModel) -> None:
    down = lids_for_gaze({"jawOpen": 0.2}, {"gaze_nod": 15.0, "gaze_turn": -30.0})
    assert down["eyeLookDownLeft"] == pytest.approx(0.5)
    assert down["eyeLookOutRight"] == pytest.approx(1.0)
    assert "eyeLookUpLeft" not in down
    angles = sample_face_angles(np.random.default_rng(0), {"tongueOut": 1.0})
    assert angles["tongue_down"] > 5
    for name, value in angles.items():
        assert LIMITS[name][0] <= value <= LIMITS[name][1]
