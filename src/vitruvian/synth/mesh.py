# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes: what bodies, garments, hair and scans are, and what the renderer draws.

World convention: metres, right-handed, x to the subject's left, y up, z forwards out of the
subject's chest; the floor is y = 0. A person at rest stands at the origin and looks along +z, so a
camera in front of them looks along -z and sees their left on the picture's right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A labelled triangle mesh in the world.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32, counter-clockwise seen from outside.
        normals: (V, 3) float32 unit normals for smooth shading.
        labels: (F,) uint8 class of the vocabulary "parts29"; 255 where undefined.
        surfaces: (F,) int16 index into the scene's list of surfaces (what light does there).
        canonical: (V, 3) float32 position on the person at rest: textures stick to it.
        uv: (V, 2) float32 texture coordinates, or ``None``.
        instance: number of the person it belongs to, from 1; 0 for nobody.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    labels: NDArray[np.uint8]
    surfaces: NDArray[np.int16]
    canonical: NDArray[np.float32]
    uv: NDArray[np.float32] | None = None
    instance: int = 0

    def __post_init__(self) -> None:
        count, faces = len(self.vertices), len(self.faces)
        shapes = {
            "vertices": (count, 3),
            "faces": (faces, 3),
            "normals": (count, 3),
            "labels": (faces,),
            "surfaces": (faces,),
            "canonical": (count, 3),
        }
        if self.uv is not None:
            shapes["uv"] = (count, 2)
        for name, shape in shapes.items():
            given = getattr(self, name).shape
            if given != shape:
                raise InputError(f"mesh {name} needs shape {shape}, got {given}")
        if faces and (self.faces.min() < 0 or self.faces.max() >= count):
            raise InputError(f"mesh faces name vertices outside 0 … {count - 1}")


def vertex_normals(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return (V, 3) unit normals: face normals averaged by area; zero where no face touches."""
    rows = np.ascontiguousarray(vertices.T, np.float64)
    first, second, third = (rows.take(corner, axis=1) for corner in faces.T)
    second -= first
    third -= first
    total = np.zeros((3, len(vertices)))
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        area = second[i] * third[j] - second[j] * third[i]
        for corner in faces.T:
            total[axis] += np.bincount(corner, weights=area, minlength=len(vertices))
    length = np.sqrt((total * total).sum(axis=0))
    return np.ascontiguousarray((total / np.where(length > 0, length, 1)).T, np.float32)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Join meshes of one instance; texture coordinates are kept only if all have them.

    Raises:
        InputError: for none, or for meshes of different people.
    """
    if not meshes or len({mesh.instance for mesh in meshes}) != 1:
        raise InputError("meshes to join need to be at least one and of one instance")
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])[:-1]
    textured = [mesh.uv for mesh in meshes if mesh.uv is not None]
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate(
            [mesh.faces + np.int32(start) for mesh, start in zip(meshes, offsets, strict=True)]
        ),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        labels=np.concatenate([mesh.labels for mesh in meshes]),
        surfaces=np.concatenate([mesh.surfaces for mesh in meshes]),
        canonical=np.concatenate([mesh.canonical for mesh in meshes]),
        uv=np.concatenate(textured) if len(textured) == len(meshes) else None,
        instance=meshes[0].instance,
    )
