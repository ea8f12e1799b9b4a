# SPDX-License-Identifier: Apache-2.0
"""Does a posed body pass through itself? Closed limbs, points just under the skin, ray crossings.

The skin is cut into fourteen limbs, each closed by lids over its open ends. Points a few
millimetres under the skin are tested against the limbs they do not belong to: a ray from a point
crosses a closed surface outwards once more than inwards exactly if the point is inside. Where two
limbs touch at rest (armpit, groin, crook of the arm) skin may press on skin, so those pairs of
point and limb are left out. No ray library is needed: rays are parallel, and a grid across them
finds the few triangles that each may meet.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import KDTree

from vitruvian.synth.body import BodyModel, load_body
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.subdivide import bone_parts

# Limbs that are told apart: every class of bone_parts is one, Face_Neck and Torso included.
_TOUCHING = 0.08  # metres at rest between a point and a limb that may press on each other
_SOFT = {("Torso", "Upper_Leg"): 0.16, ("Upper_Leg", "Lower_Leg"): 0.2}  # belly, calf and thigh
_UNDER = {"Hand": 0.004, "Foot": 0.006}  # metres under the skin; fingers are thin
_UNDER_ELSEWHERE = 0.008
_CELLS = 200  # squared below 65536
# A fixed rotation, so that no ray runs along an edge of a body that stands straight.
_TILT = np.linalg.qr(np.array([[0.93, 0.21, -0.29], [-0.17, 0.95, 0.26], [0.33, -0.19, 0.92]]))[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Limbs:
    """The skin as closed limbs, and the points to test.

    Attributes:
        names: L names of limbs.
        faces: (F, 3) triangles over the vertices and, after them, the middles of lids.
        limb: (F,) limb of each triangle.
        lids: (lids, V) sparse: the middle of each lid from the vertices.
        points: (P,) vertices to test.
        weights: (P, J) sparse skin weights of the points.
        under: (P, 3) vectors from the skin to the test points at rest.
        test: (P, L) whether a point is tested against a limb.
    """

    names: tuple[str, ...]
    faces: NDArray[np.int64]
    limb: NDArray[np.int64]
    lids: sparse.csr_array
    points: NDArray[np.int64]
    weights: sparse.csr_array
    under: NDArray[np.float64]
    test: NDArray[np.bool_]


def penetration(
    vertices: NDArray[np.floating], transforms: NDArray[np.floating]
) -> NDArray[np.intp]:
    """Return the vertices whose skin is inside another limb of the same posed body.

    Args:
        vertices: (V, 3) posed vertices.
        transforms: (J, 3, 4) the bone transforms that posed them.
    """
    limbs = closed_limbs()
    turned = (limbs.weights @ transforms[:, :, :3].reshape(len(transforms), 9)).reshape(-1, 3, 3)
    points = vertices[limbs.points] + (turned @ limbs.under[:, :, None])[..., 0]
    corners = np.concatenate([vertices, limbs.lids @ vertices])
    inside = _crossings(points @ _TILT, corners @ _TILT, limbs.faces, limbs.limb, len(limbs.names))
    return limbs.points[((inside != 0) & limbs.test).any(1)]


def _crossings(
    points: NDArray, corners: NDArray, faces: NDArray, limb: NDArray, limbs: int
) -> NDArray[np.int64]:
    """Return (P, L) winding numbers of points in closed limbs, by rays along the last axis."""
    low = points[:, :2].min(0) - 1e-6
    size = (points[:, :2].max(0) - low + 2e-6).max() / _CELLS
    a, b, c = (corners[faces[:, k]] for k in range(3))  # three calls beat one reduction
    lowest, highest = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    first = np.floor((lowest[:, :2] - low) / size).astype(int)
    last = np.floor((highest[:, :2] - low) / size).astype(int)
    top = highest[:, 2]
    near = (last >= 0).all(1) & (first < _CELLS).all(1) & (top > points[:, 2].min())
    first, last = np.clip(first[near], 0, _CELLS - 1), np.clip(last[near], 0, _CELLS - 1)
    which = np.flatnonzero(near)
    span = last - first + 1
    # every (triangle, cell) pair, sorted by cell
    count = span.prod(1)
    pair = np.repeat(np.arange(len(which)), count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row = first[pair, 0] + step // span[pair, 1]
    column = first[pair, 1] + step % span[pair, 1]
    cell = (row * _CELLS + column).astype(np.uint16)  # 16 bits sort fastest
    order = np.argsort(cell, kind="stable")
    cell, triangle = cell[order], which[pair[order]]
    start = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=_CELLS * _CELLS))])
    # every (point, triangle) pair of the same cell
    home = np.clip(np.floor((points[:, :2] - low) / size).astype(int), 0, _CELLS - 1)
    home = home[:, 0] * _CELLS + home[:, 1]
    many = start[home + 1] - start[home]
    point = np.repeat(np.arange(len(points)), many)
    offset = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    face = triangle[start[home][point] + offset]
    # does the ray of the point pass through the triangle, and above it?
    a, b, c = (corners[faces[face, k]] for k in range(3))
    p = points[point]

    def area(u: NDArray, v: NDArray) -> NDArray:
        return (u[:, 0] - p[:, 0]) * (v[:, 1] - p[:, 1]) - (u[:, 1] - p[:, 1]) * (v[:, 0] - p[:, 0])

    wa, wb, wc = area(b, c), area(c, a), area(a, b)
    total = wa + wb + wc
    hit = ((wa > 0) & (wb > 0) & (wc > 0)) | ((wa < 0) & (wb < 0) & (wc < 0))
    height = (wa * a[:, 2] + wb * b[:, 2] + wc * c[:, 2]) / np.where(hit, total, 1)
    hit &= height > p[:, 2]
    key = point[hit] * limbs + limb[face[hit]]
    signs = np.sign(total[hit])
    out = np.bincount(key, weights=signs, minlength=len(points) * limbs)
    return np.round(out).astype(np.int64).reshape(len(points), limbs)


@cache
def closed_limbs() -> Limbs:
    """Cut the canonical skin into closed limbs (made once per process)."""
    model = load_body()
    parts = bone_parts(model)
    names = tuple(sorted(set(parts)))
    member = np.zeros((len(parts), len(names)), np.float32)
    member[np.arange(len(parts)), [names.index(part) for part in parts]] = 1
    share = model.weights @ member
    base = model.faces[model.group_faces("skin")].astype(np.int64)
    limb = share[base].sum(1).argmax(1)
    faces, owner, rows = [base], [limb], []
    for number in range(len(names)):
        for loop in _open_ends(base[limb == number]):
            middle = len(model.reflect) + len(rows)
            rows.append(np.unique(loop))
            faces.append(np.stack([loop[:, 1], loop[:, 0], np.full(len(loop), middle)], 1))
            owner.append(np.full(len(loop), number))
    lids = sparse.csr_array(
        (
            np.concatenate([np.full(len(row), 1 / len(row)) for row in rows]),
            np.concatenate(rows),
            np.cumsum([0, *map(len, rows)]),
        ),
        shape=(len(rows), len(model.reflect)),
    )
    points, test, under = _test_points(model, names, share, base, limb)
    return Limbs(
        names=names,
        faces=np.concatenate(faces),
        limb=np.concatenate(owner),
        lids=lids,
        points=points,
        weights=sparse.csr_array(model.weights[points]),
        under=under,
        test=test,
    )


def _open_ends(faces: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the (E, 2) border edges of triangles, one array per connected ring."""
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    top = int(faces.max()) + 1
    keys, back = edges[:, 0] * top + edges[:, 1], edges[:, 1] * top + edges[:, 0]
    border = edges[~np.isin(keys, back)]
    if not len(border):
        return []
    graph = sparse.coo_array((np.ones(len(border)), border.T), shape=(top, top))
    label = sparse.csgraph.connected_components(graph, directed=False)[1][border[:, 0]]
    return [border[label == k] for k in np.unique(label)]


def _test_points(
    model: BodyModel, names: tuple[str, ...], share: NDArray, base: NDArray, limb: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Choose points of the skin about evenly, and which limbs each is tested against."""
    vertices = model.canonical.vertices[0].astype(np.float64)
    normals = vertex_normals(vertices, model.faces[model.group_faces("skin")])
    candidates = model.group_vertices("skin")
    own = share[candidates].argmax(1)
    # one point per cell of a grid: fine on the hands, coarse elsewhere; few on the head
    head, hands = names.index("Face_Neck"), [i for i, n in enumerate(names) if n.endswith("Hand")]
    size = np.where(np.isin(own, hands), 0.014, np.where(own == head, 0.04, 0.026))
    grid = np.floor(vertices[candidates] / size[:, None]).astype(int)
    chosen = np.unique(np.concatenate([grid, own[:, None]], 1), axis=0, return_index=True)[1]
    chosen = np.sort(chosen)
    points, own = candidates[chosen], own[chosen]
    test = np.zeros((len(points), len(names)), bool)
    reach = np.full((len(names), len(names)), _TOUCHING)
    for (a, b), distance in _SOFT.items():
        for i, j in np.ndindex(reach.shape):
            if {names[i].split("_", 1)[-1], names[j].split("_", 1)[-1]} == {a, b}:
                reach[i, j] = distance
    for number in range(len(names)):
        tree = KDTree(vertices[np.unique(base[limb == number])])
        test[:, number] = tree.query(vertices[points])[0] > reach[own, number]
    test[np.arange(len(points)), own] = False
    keep = test.any(1)
    deep = [
        next((v for w, v in _UNDER.items() if names[o].endswith(w)), _UNDER_ELSEWHERE) for o in own
    ]
    under = -normals[points] * np.array(deep)[:, None]
    return points[keep], test[keep], under[keep].astype(np.float64)
