# SPDX-License-Identifier: Apache-2.0
"""Mending the small damages of scanned meshes: broken faces, shells inside out, seams."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vitruvian.synth.mesh import vertex_normals


def cleaned(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.intp]]:
    """Return vertices that are used, sound faces, and the numbers the vertices had before.

    Faces with vertices that are not finite, without area, or given twice are left out.
    """
    vertices = np.asarray(vertices, np.float64)
    faces = np.asarray(faces, np.int64)
    finite = np.asarray(np.isfinite(vertices).all(axis=-1), np.bool_)
    faces = faces[finite[faces].all(axis=1)]
    distinct = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    )
    faces = faces[distinct]
    corner = vertices[faces]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    span = float(np.ptp(vertices[finite], axis=0).max()) if finite.any() else 0.0
    faces = faces[area > 1e-14 * span * span]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    used = np.unique(faces)
    renumbered = np.zeros(len(vertices), np.int32)
    renumbered[used] = np.arange(len(used), dtype=np.int32)
    return vertices[used], renumbered[faces].astype(np.int32).reshape(-1, 3), used


def outwards(
    vertices: NDArray[np.float64], faces: NDArray[np.int32]
) -> tuple[NDArray[np.int32], int]:
    """Return the faces with whole shells that are inside out turned, and how many were turned.

    A shell is what hangs together; it is inside out when its signed volume is clearly negative.
    If most of the surface is, all is turned; otherwise large shells only: the inside of a mouth is
    left as it is.
    """
    _, welded = np.unique(np.round(vertices, 5), axis=0, return_inverse=True)
    same = welded.reshape(-1)[faces]
    count = int(same.max()) + 1
    ends = np.concatenate([same[:, :2], same[:, 1:]])
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    shells, shell_of_vertex = connected_components(graph, directed=False)
    shell = shell_of_vertex[same[:, 0]]
    corner = vertices[faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1) / 2
    areas = np.bincount(shell, weights=area, minlength=shells)
    middle = corner.mean(axis=1)
    centre = (
        np.stack(
            [np.bincount(shell, weights=middle[:, k] * area, minlength=shells) for k in range(3)], 1
        )
        / np.maximum(areas, 1e-12)[:, None]
    )
    height = ((corner[:, 0] - centre[shell]) * cross).sum(axis=1) / 6
    volume = np.bincount(shell, weights=height, minlength=shells)
    inverted = volume < -0.01 * areas**1.5
    if areas[inverted].sum() > 0.5 * areas.sum():  # the file is wrong as a whole
        turned = np.ones(len(faces), np.bool_)
    else:
        turned = (inverted & (areas > 0.05 * areas.sum()))[shell]
    faces = faces.copy()
    faces[turned] = faces[turned][:, ::-1]
    return faces, int(turned.sum())


def welded_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return smooth normals across the seams at which textures split vertices."""
    _, first, welded = np.unique(
        np.round(vertices, 6), axis=0, return_index=True, return_inverse=True
    )
    welded = welded.reshape(-1)
    return vertex_normals(vertices[first], welded[faces])[welded]
