# SPDX-License-Identifier: Apache-2.0
"""The 308 keypoints of vocabulary "sapiens308" on a posed body, by name.

Every point is a fixed weighted mean of vertices and joints, so it follows shape, face and pose:
points of the skin lie on the surface that is drawn (the body subdivided ``levels`` times), those of
iris and pupil on the eyeball (they turn with the gaze), joints inside the limbs. The table is
``assets/landmarks.toml``; it holds the left side and the middle, the right side is its reflection.

Sides are the subject's. Clock positions on the eye are those an upright head shows to a camera in
front of it: 3 is towards the subject's left on both eyes.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vitruvian.errors import InputError
from vitruvian.synth.body import BodyModel, load_body
from vitruvian.synth.subdivide import locate, piece
from vitruvian.vocabulary import Vocabulary, load

# Hours of the clock; midpoint 1 is half past one and so on.
_HOURS = {"3": 3.0, "12": 12.0, "9": 9.0, "6": 6.0}
_HOURS |= {"midpoint_1": 1.5, "midpoint_2": 4.5, "midpoint_3": 7.5, "midpoint_4": 10.5}


@dataclass(frozen=True, kw_only=True, eq=False)
class LandmarkTable:
    """Where the keypoints are, as weights.

    Attributes:
        vocabulary: "sapiens308".
        vertices: (308, V) sparse weights of the body's vertices.
        joints: (308, J) sparse weights of the heads of its bones.
        tolerance: (308,) metres by which something may lie in front of a point that still counts
            as visible: limbs around their joints, fingers around theirs, cloth over bones.
        iris: half-angle of the iris seen from the centre of the eyeball, radians.
        pupil: likewise of the pupil.
    """

    vocabulary: Vocabulary
    vertices: sparse.csr_array
    joints: sparse.csr_array
    tolerance: NDArray[np.float32]
    iris: float
    pupil: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Eye:
    """An eyeball of the canonical body, for painting and for keypoints.

    Attributes:
        centre: (3,) metres.
        radius: metres.
        forwards: (3,) unit vector through the pupil; ``up`` and ``left`` complete it.
        up: (3,) unit vector.
        left: (3,) unit vector to the subject's left.
    """

    centre: NDArray[np.float64]
    radius: float
    forwards: NDArray[np.float64]
    up: NDArray[np.float64]
    left: NDArray[np.float64]


def landmarks(
    vertices: NDArray[np.floating], joints: NDArray[np.floating], *, levels: int = 1
) -> NDArray[np.float32]:
    """Return the (308, 3) keypoints of one posed body.

    Args:
        vertices: (V, 3) posed vertices of the body (not of a subdivided piece).
        joints: (J, 3) posed heads of its bones (``posed_points``).
        levels: how often the skin that is drawn is subdivided; points lie on that surface.

    Raises:
        InputError: for arrays of another body.
    """
    table, model = landmark_table(levels), load_body()
    wanted = (len(model.reflect), 3), (len(model.bones), 3)
    if (vertices.shape, joints.shape) != wanted:
        raise InputError(
            f"landmarks of {vertices.shape} vertices and {joints.shape} joints; wanted "
            f"{wanted[0]} and {wanted[1]}, those of the body model"
        )
    vertices = np.asarray(vertices, np.float64)
    return (table.vertices @ vertices + table.joints @ np.asarray(joints, np.float64)).astype(
        np.float32
    )


@cache
def landmark_table(levels: int = 1) -> LandmarkTable:
    """Return the weights of all keypoints for a level of subdivision (made once per process)."""
    raw = _read()
    model = load_body()
    vocabulary = load(raw["vocabulary"])
    count, bones = len(model.reflect), len(model.bones)
    angles = {ring: float(np.radians(raw["eye"][ring])) for ring in ("iris", "pupil")}

    names = list(raw["surface"])
    rows = _surface_rows(model, raw["surface"], names, levels)
    vertices = dict(zip(names, rows, strict=True))
    vertices |= _eye_rows(model, angles, levels)
    for name, ids in raw["mean_vertices"].items():
        row = np.full(len(ids), 1 / len(ids))
        vertices[name] = sparse.csr_array((row, ([0] * len(ids), ids)), shape=(1, count))
    for name, others in raw["mean"].items():
        vertices[name] = sum(vertices[other] for other in others) / len(others)  # pyright: ignore
    joints = {
        name: sparse.csr_array(([1.0], ([0], [model.bone_index[bone]])), shape=(1, bones))
        for name, bone in raw["joint"].items()
    }

    swap = [
        model.bone_index[bone.translate(str.maketrans("LR", "RL"))]
        if bone[-2:] in (".L", ".R")
        else i
        for i, bone in enumerate(model.bones)
    ]
    all_vertices, all_joints = [], []
    for i, name in enumerate(vocabulary.names):
        partner = vocabulary.names[vocabulary.mirror[i]]
        if name in vertices or name in joints:
            v, j = vertices.get(name), joints.get(name)
        else:  # the right side: reflect the left
            v, j = vertices.get(partner), joints.get(partner)
            assert v is not None or j is not None, f"no place for {name}"
            v = None if v is None else v[:, model.reflect]
            j = None if j is None else j[:, swap]
        if v is not None and partner == name:  # in the middle: exactly symmetric
            v = (v + v[:, model.reflect]) / 2
        all_vertices.append(sparse.csr_array((1, count)) if v is None else v)
        all_joints.append(sparse.csr_array((1, bones)) if j is None else j)
    return LandmarkTable(
        vocabulary=vocabulary,
        vertices=sparse.csr_array(sparse.vstack(all_vertices)),
        joints=sparse.csr_array(sparse.vstack(all_joints)),
        tolerance=np.array([raw["tolerance"][name] for name in vocabulary.names], np.float32),
        iris=angles["iris"],
        pupil=angles["pupil"],
    )


def eye(side: str) -> Eye:
    """Return the ``"left"`` or ``"right"`` eyeball of the canonical body at rest.

    The axis of an eye at rest points a little outwards and down, as the bone of the rig does (and
    as real eyes do, whose line of sight is not their axis of symmetry).

    Whoever paints an iris on the eyeball does it about ``forwards``, within
    ``landmark_table().iris``, in canonical coordinates: then the keypoints lie on its border.
    """
    model = load_body()
    points = model.canonical.vertices[0, model.group_vertices(f"{side}_eye")].astype(np.float64)
    # the sphere through the points: |p|² = 2 c·p + (r² - |c|²)
    system = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    bone = model.bone_index[f"eye.{side[0].upper()}"]
    axis = (model.canonical.tails[0, bone] - model.canonical.heads[0, bone]).astype(np.float64)
    forwards = axis / np.linalg.norm(axis)
    left = np.cross((0, 1, 0), forwards)
    left /= np.linalg.norm(left)
    return Eye(
        centre=centre,
        radius=float(np.sqrt(solution[3] + centre @ centre)),
        forwards=forwards,
        up=np.cross(forwards, left).astype(np.float64),
        left=left,
    )


@cache
def _read() -> dict[str, Any]:
    file = resources.files("vitruvian.synth").joinpath("assets", "landmarks.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _surface_rows(
    model: BodyModel, table: Mapping[str, Any], names: list[str], levels: int
) -> list[sparse.csr_array]:
    """Return for each name a (1, V) row: its point of a face, on the subdivided skin."""
    skin = piece(("skin",), levels)
    base = model.faces[model.group_faces("skin")]
    corner_sets = {frozenset(map(int, face)): i for i, face in enumerate(base)}
    face = np.array([corner_sets[frozenset(table[name][0])] for name in names])
    weight = np.zeros((len(names), 3))
    for i, name in enumerate(names):
        corners = base[face[i]].tolist()
        for vertex, value in zip(*table[name], strict=True):
            weight[i, corners.index(vertex)] = value
    weight /= weight.sum(1, keepdims=True)
    return _rows(skin.operator, skin.faces, *locate(face, weight, levels))


def _rows(
    operator: sparse.csr_array, faces: NDArray, face: NDArray, weight: NDArray
) -> list[sparse.csr_array]:
    corners = faces[face]
    pick = sparse.csr_array(
        (weight.ravel(), (np.repeat(np.arange(len(face)), 3), corners.ravel())),
        shape=(len(face), int(faces.max()) + 1),
    )
    whole = sparse.csr_array(pick @ operator.astype(np.float64))
    return [whole[[i]] for i in range(len(face))]


def _eye_rows(
    model: BodyModel, angles: Mapping[str, float], levels: int
) -> dict[str, sparse.csr_array]:
    """Return rows for iris and pupil of the left eye: rays from its centre meet the eyeball."""
    ball, shape = eye("left"), piece(("left_eye",), levels)
    names, directions = [], []
    for ring, angle in angles.items():
        names.append(f"l_center_of_{ring}")
        directions.append(ball.forwards)
        for hour, clock in _HOURS.items():
            turn = np.radians(30 * clock)
            # seen from the front, the hand turns clockwise and 3 o'clock is the subject's left
            side = np.cos(turn) * ball.up + np.sin(turn) * ball.left
            names.append(f"l_border_of_{ring}_{hour}")
            directions.append(np.cos(angle) * ball.forwards + np.sin(angle) * side)
    triangles = (shape.operator @ model.canonical.vertices[0].astype(np.float64))[shape.faces]
    # solve t·direction + centre = barycentric mean of the corners, for every ray and face
    systems = triangles.transpose(0, 2, 1) - ball.centre[None, :, None]
    solved = np.linalg.solve(systems[None], np.array(directions)[:, None, :, None])[..., 0]
    hit = (solved > -1e-9).all(-1)
    assert hit.any(1).all(), "a ray misses the eyeball"
    face = hit.argmax(1)
    weight = solved[np.arange(len(face)), face]
    weight = np.clip(weight, 0, None) / np.clip(weight, 0, None).sum(1, keepdims=True)
    return dict(zip(names, _rows(shape.operator, shape.faces, face, weight), strict=True))
