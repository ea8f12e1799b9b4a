# SPDX-License-Identifier: Apache-2.0
"""Smooth pieces of the body: Loop subdivision as a sparse matrix, applied to any shape or pose.

A ``Piece`` is some groups of the body at a level of detail. Its ``operator`` takes the V vertices
of the body to the piece's own, so the same piece serves every person: positions at rest, skin
weights and canonical positions are all ``operator @`` something. Pieces are made once per process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vitruvian.synth.body import BodyModel, load_body
from vitruvian.vocabulary import load

# Prefix of bone → part of the body; what matches none belongs to face and neck.
_PARTS = {
    "upperarm": "Upper_Arm",
    "lowerarm": "Lower_Arm",
    "wrist": "Hand",
    "finger": "Hand",
    "metacarpal": "Hand",
    "upperleg": "Upper_Leg",
    "lowerleg": "Lower_Leg",
    "foot": "Foot",
    "toe": "Foot",
    "root": "Torso",
    "pelvis": "Torso",
    "spine": "Torso",
    "breast": "Torso",
    "clavicle": "Torso",
    "shoulder": "Torso",
}
_SIDED = ("Upper_Arm", "Lower_Arm", "Hand", "Upper_Leg", "Lower_Leg", "Foot")
_GROUP_PARTS = {
    "lower_teeth": "Lower_Teeth",
    "upper_teeth": "Upper_Teeth",
    "tongue": "Tongue",
    "hair_sheets": "Hair",
}
_HEAD_GROUPS = (
    *("left_eye", "right_eye", "left_lower_lashes", "left_upper_lashes"),
    *("right_lower_lashes", "right_upper_lashes"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Some groups of the body, subdivided.

    Attributes:
        groups: The groups of the body it is made of.
        faces: (F, 3) int32 into its own vertices.
        operator: (n, V) float32 sparse matrix from the body's vertices to its own.
        weights: (n, J) float32 sparse skin weights.
        uv: (F, 3, 2) float32 texture coordinates of corners.
        labels: (F,) uint8 class of "parts29" of bare skin, lips, teeth and tongue.
        base_face: (F,) face of the body each face came from.
        canonical: (n, 3) float32 positions on the canonical body.
    """

    groups: tuple[str, ...]
    faces: NDArray[np.int32]
    operator: sparse.csr_array
    weights: sparse.csr_array
    uv: NDArray[np.float32]
    labels: NDArray[np.uint8]
    base_face: NDArray[np.int64]
    canonical: NDArray[np.float32]


def loop_operator(
    faces: NDArray[np.integer], count: int
) -> tuple[NDArray[np.int64], sparse.csr_array]:
    """Subdivide once after Loop (1987), with Warren's vertex weights and crease rules on borders.

    Args:
        faces: (F, 3) triangles over ``count`` vertices.
        count: number of vertices.

    Returns:
        The (4 F, 3) new faces — of face f: 4 f + k the child at corner k, 4 f + 3 the middle — and
        the (n, count) sparse matrix of the new vertices: the old ones first, then one per edge.
    """
    pairs = np.sort(np.asarray(faces, np.int64)[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
    keys = pairs[..., 0] * count + pairs[..., 1]  # faster than unique rows
    edges, which, uses = np.unique(keys, return_inverse=True, return_counts=True)
    edges, which = np.stack(np.divmod(edges, count), axis=1), which.reshape(-1, 3)
    inner = uses == 2
    # Edge points: 3/8 of both ends and 1/8 of both opposite corners; the middle on a border.
    ends = np.where(inner, 3 / 8, 1 / 2)
    rows = [np.arange(len(edges))] * 2 + [which.ravel()]
    columns = [edges[:, 0], edges[:, 1], faces[:, [2, 0, 1]].ravel()]
    values = [ends, ends, np.where(inner, 1 / 8, 0)[which.ravel()]]
    edge_rows = sparse.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(edges), count),
    )
    # Old vertices: n neighbours weigh beta each; on a border 1/8 of both border neighbours.
    border = np.zeros(count, bool)
    border[edges[~inner].ravel()] = True
    both = np.concatenate([edges, edges[:, ::-1]])
    on_border = border[both[:, 0]]
    use = ~on_border | np.tile(~inner, 2)
    a, b = both[use].T
    valence = np.bincount(a, minlength=count)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    # a corner where several borders meet stays where it is
    beta = np.where(border, np.where(valence == 2, 1 / 8, 0), beta)
    rim = sparse.csr_array((beta[a], (a, b)), shape=(count, count))
    vertex_rows = rim + sparse.diags_array(1 - valence * beta)
    m = which + count
    f = np.asarray(faces, np.int64)
    children = np.stack(
        [
            np.stack([f[:, 0], m[:, 0], m[:, 2]], 1),
            np.stack([m[:, 0], f[:, 1], m[:, 1]], 1),
            np.stack([m[:, 2], m[:, 1], f[:, 2]], 1),
            np.stack([m[:, 0], m[:, 1], m[:, 2]], 1),
        ],
        axis=1,
    )
    return children.reshape(-1, 3), sparse.csr_array(sparse.vstack([vertex_rows, edge_rows]))


def _split_corners(values: NDArray) -> NDArray:
    """Give (F, 3, k) values of corners to the children's corners, linearly."""
    a, b, c = values[:, 0], values[:, 1], values[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    rows = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return np.stack([np.stack(row, 1) for row in rows], 1).reshape(-1, 3, values.shape[-1])


def locate(
    face: NDArray[np.integer], barycentric: NDArray[np.floating], levels: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Follow points, given by face and (n, 3) barycentric weights, through ``levels`` of it."""
    face, weight = np.asarray(face, np.int64), np.asarray(barycentric, np.float64)
    for _ in range(levels):
        corner = weight.argmax(1)
        at_corner = weight.max(1) > 0.5
        grown = 2 * weight
        grown[np.arange(len(weight)), corner] -= 1
        # the middle child's corners are the edge points 01, 12, 20
        middle = 1 - 2 * weight[:, [2, 0, 1]]
        face = 4 * face + np.where(at_corner, corner, 3)
        weight = np.where(at_corner[:, None], grown, middle)
    return face, weight


@cache
def piece(groups: tuple[str, ...], levels: int) -> Piece:
    """Return (made once) some groups of the body, subdivided ``levels`` times.

    Raises:
        InputError: for an unknown group.
    """
    return make_piece(load_body(), groups, levels)


def make_piece(model: BodyModel, groups: Sequence[str], levels: int) -> Piece:
    """Make a piece of a body model; see ``piece``."""
    base = model.group_faces(*groups)
    used, faces = np.unique(model.faces[base], return_inverse=True)
    faces = faces.reshape(-1, 3).astype(np.int64)
    operator = sparse.csr_array(
        (np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), len(model.reflect))
    )
    uv = model.uv[base]
    for _ in range(levels):
        faces, step = loop_operator(faces, int(faces.max()) + 1)
        operator = step @ operator
        uv = _split_corners(uv)
        base = np.repeat(base, 4)
    operator = sparse.csr_array(operator, dtype=np.float32)
    weights = sparse.csr_array(operator @ model.weights)
    canonical = (operator @ model.canonical.vertices[0]).astype(np.float32)
    return Piece(
        groups=tuple(groups),
        faces=faces.astype(np.int32),
        operator=operator,
        weights=weights,
        uv=uv,
        labels=_labels(model, base, faces, uv, weights, canonical),
        base_face=base,
        canonical=canonical,
    )


def bone_parts(model: BodyModel) -> list[str]:
    """Return for each bone the class of "parts29" whose skin it moves."""
    out: list[str] = []
    for bone in model.bones:
        part = next((p for word, p in _PARTS.items() if bone.startswith(word)), "Face_Neck")
        side = {"L": "Left_", "R": "Right_"}[bone[-1]] if part in _SIDED else ""
        out.append(side + part)
    return out


def _labels(
    model: BodyModel,
    base: NDArray[np.int64],
    faces: NDArray[np.int64],
    uv: NDArray[np.float32],
    weights: sparse.csr_array,
    canonical: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Return the class of each face: by skin weight, then lips by mask and what groups are."""
    vocabulary = load("parts29")
    parts = bone_parts(model)
    names = sorted(set(parts))
    gather = np.zeros((len(parts), len(names)), np.float32)
    gather[np.arange(len(parts)), [names.index(part) for part in parts]] = 1
    share = (weights @ gather)[faces].sum(1)
    labels = np.array([vocabulary.index(name) for name in names], np.uint8)[share.argmax(1)]
    group = np.array(model.groups)[model.face_group[base]]
    centre = canonical[faces].mean(1)
    lips = (group == "skin") & (model.mask("lips", uv.mean(1)) > 0.5)
    if lips.any():
        wide = np.abs(centre[lips, 0]) > 0.97 * np.abs(centre[lips, 0]).max()
        corner = centre[lips, 1][wide].mean()
        upper = lips & (centre[:, 1] > corner)
        labels[lips] = vocabulary.index("Lower_Lip")
        labels[upper] = vocabulary.index("Upper_Lip")
    for name, part in _GROUP_PARTS.items():
        labels[group == name] = vocabulary.index(part)
    labels[np.isin(group, _HEAD_GROUPS)] = vocabulary.index("Face_Neck")
    return labels
