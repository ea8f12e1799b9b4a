# SPDX-License-Identifier: Apache-2.0
"""The meshes of a scene gathered into flat arrays for rays: built once, seen by many cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.synth.intersect import Engine, Intersector, make_intersector
from vitruvian.synth.mesh import Mesh

BLOCK = 1 << 14
"""Places worked on at once: their temporaries stay in a core's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """The meshes of a scene gathered for rays; built once, seen by many cameras.

    Attributes:
        centre: (3,) float64 world position that all other positions are relative to, so that
            float32 is exact enough wherever people stand.
        vertices: (V, 3) float32 relative positions.
        normals: (V, 3) float32.
        attributes: (V, 5) float32 canonical position and texture coordinates.
        faces: (F, 3) int32.
        planes: (F, 4) float64 unit normal n and offset d of each face: n · x = d.
        labels: (F,) uint8 "parts29".
        surfaces: (F,) int16 index into the scene's surfaces.
        instances: (F,) uint8 person, 0 for nobody.
        spans: (M, 2, 3) float64 lowest and highest relative corner of each mesh.
        uv_scale: texture coordinate per metre, typical of each surface index.
        intersector: answers rays in relative positions.
    """

    centre: NDArray[np.float64]
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    attributes: NDArray[np.float32]
    faces: NDArray[np.int32]
    planes: NDArray[np.float64]
    labels: NDArray[np.uint8]
    surfaces: NDArray[np.int16]
    instances: NDArray[np.uint8]
    spans: NDArray[np.float64]
    uv_scale: NDArray[np.float32]
    intersector: Intersector


def gather(
    meshes: Sequence[Mesh], *, engine: Engine | None = None, device: str = "cpu"
) -> Geometry:
    """Gather meshes for rays.

    Raises:
        InputError: for no faces at all, vertices that are not finite, or an instance above 255.
    """
    if not sum(len(mesh.faces) for mesh in meshes):
        raise InputError("a scene needs at least one mesh with a face")
    if max(mesh.instance for mesh in meshes) > 255:
        raise InputError("people of a scene are numbered from 1 to 255 at most")
    world = [np.asarray(mesh.vertices, np.float64) for mesh in meshes]
    if not all(np.isfinite(part).all() for part in world):
        raise InputError("mesh vertices need to be finite")
    used = [part for part in world if len(part)]
    corners = np.array([[part.min(axis=0), part.max(axis=0)] for part in used])
    centre = (corners[:, 0].min(axis=0) + corners[:, 1].max(axis=0)) / 2
    vertices = np.concatenate([part - centre for part in world]).astype(np.float32)
    starts = np.cumsum([0, *(len(part) for part in world)])[:-1]
    faces = np.concatenate(
        [mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts, strict=True)]
    )
    attributes = np.zeros((len(vertices), 5), np.float32)
    for mesh, start in zip(meshes, starts, strict=True):
        rows = attributes[start : start + len(mesh.vertices)]
        rows[:, :3] = mesh.canonical
        if mesh.uv is not None:
            rows[:, 3:] = mesh.uv
    surfaces = np.concatenate([mesh.surfaces for mesh in meshes])
    return Geometry(
        centre=centre,
        vertices=vertices,
        normals=np.concatenate([mesh.normals for mesh in meshes]).astype(np.float32, copy=False),
        attributes=attributes,
        faces=faces,
        planes=_planes(vertices, faces),
        labels=np.concatenate([mesh.labels for mesh in meshes]),
        surfaces=surfaces,
        instances=np.concatenate(
            [np.full(len(mesh.faces), mesh.instance, np.uint8) for mesh in meshes]
        ),
        spans=corners - centre,
        uv_scale=_uv_scale(vertices, attributes, faces, surfaces),
        intersector=make_intersector(vertices, faces, engine=engine, device=device),
    )


def cross(a: NDArray, b: NDArray) -> NDArray:
    """Return the cross products of vectors (3, n)."""
    return np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def _planes(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return (F, 4) unit normal and offset of each face; zero normals for faces without area."""
    planes = np.empty((len(faces), 4))
    for start in range(0, len(faces), BLOCK):
        part = slice(start, start + BLOCK)
        first, second, third = (
            vertices.take(row, axis=0).T.astype(np.float64) for row in faces[part].T
        )
        normal = cross(second - first, third - first)
        length = np.sqrt((normal * normal).sum(axis=0))
        normal /= np.where(length > 0, length, 1)
        planes[part, :3] = normal.T
        planes[part, 3] = (normal * first).sum(axis=0)
    return planes


def _uv_scale(
    vertices: NDArray[np.float32],
    attributes: NDArray[np.float32],
    faces: NDArray[np.int32],
    surfaces: NDArray[np.int16],
) -> NDArray[np.float32]:
    """Return the median over each surface's faces of √(area in texture space / area)."""
    scale = np.zeros(int(surfaces.max()) + 1, np.float32)
    for surface in np.unique(surfaces):
        which = np.flatnonzero(surfaces == surface)
        some = faces[which[:: max(len(which) // 500, 1)]].T
        corners = [vertices[row].T for row in some]
        uv = [attributes[row, 3:5].T for row in some]
        area = np.linalg.norm(cross(corners[1] - corners[0], corners[2] - corners[0]), axis=0)
        e1, e2 = uv[1] - uv[0], uv[2] - uv[0]
        flat = np.abs(e1[0] * e2[1] - e1[1] * e2[0])
        scale[surface] = np.median(np.sqrt(flat / np.maximum(area, 1e-20)))
    return scale
