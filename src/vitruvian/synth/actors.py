# SPDX-License-Identifier: Apache-2.0
"""Actors from posed, dressed people: what a picture of their face or upper body has to show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import vocabulary
from vitruvian.synth.mesh import Mesh, vertex_normals
from vitruvian.synth.patterns import Plain
from vitruvian.synth.pose import Seat
from vitruvian.synth.render import Landmarks
from vitruvian.synth.stage import Actor
from vitruvian.synth.surfaces import Cloth, Solid, Surface

_HEAD = 0.21  # metres from between the ears within which vertices belong to the head
_SHOWN = 2500  # points that stand for a region when a camera is aimed
_PARTS = "parts29"
_LOWER = ("Left_Hand", "Right_Hand", "Left_Lower_Arm", "Right_Lower_Arm", "Lower_Clothing")


def person_actor(
    meshes: Sequence[Mesh],
    surfaces: Sequence[Surface],
    landmarks: Landmarks,
    *,
    facts: Mapping[str, Any],
    seat: Seat | None = None,
) -> Actor:
    """Turn one dressed and posed person at the origin into an actor.

    Args:
        meshes: of body, clothes and hair.
        surfaces: what their faces name.
        landmarks: keypoints that include eyes, ears, shoulders and hips by COCO's names.
        facts: for the recipe.
        seat: what the person sits on, if anything; a block is put there.
    """
    points = {
        name: np.asarray(landmarks.xyz[landmarks.vocabulary.index(name)], np.float64)
        for side in ("left", "right")
        for name in (f"{side}_eye", f"{side}_ear", f"{side}_shoulder", f"{side}_hip")
    }
    everything = list(meshes)
    materials = list(surfaces)
    if seat is not None and seat.height > 0.05:
        everything.append(_block(seat, len(materials)))
        materials.append(_seat_surface(seat))
    own = [mesh for mesh in meshes if len(mesh.faces)]
    return Actor(
        meshes=tuple(everything),
        surfaces=tuple(materials),
        points=landmarks.xyz,
        regions=_regions(own, points),
        fronts=_fronts(points),
        facts=dict(facts),
        keep=landmarks,
    )


def _middle(points: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    return (points[f"left_{name}"] + points[f"right_{name}"]) / 2


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _fronts(points: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return where chest and face look: left × up."""
    left = points["left_shoulder"] - points["right_shoulder"]
    chest = _unit(np.cross(left, _middle(points, "shoulder") - _middle(points, "hip")))
    face = _unit(_middle(points, "eye") - _middle(points, "ear"))
    return {"face": face, "upper": chest, "full": chest}


def _regions(
    meshes: Sequence[Mesh], points: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    names = vocabulary.load(_PARTS)
    low = [names.index(name) for name in _LOWER]
    ears, hips = _middle(points, "ear"), _middle(points, "hip")
    axis = _unit(_middle(points, "shoulder") - hips)
    everything: list[NDArray[np.float64]] = []
    upper: list[NDArray[np.float64]] = []
    for mesh in meshes:
        vertices = mesh.vertices.astype(np.float64)
        everything.append(vertices)
        above = np.zeros(len(vertices), np.bool_)
        above[mesh.faces[~np.isin(mesh.labels, low)]] = True
        chosen = vertices[above]
        upper.append(chosen[(chosen - hips) @ axis > 0.05])
    whole = np.concatenate(everything)
    head = whole[np.linalg.norm(whole - ears, axis=1) < _HEAD]
    shown = {"full": whole, "upper": np.concatenate(upper), "face": head}
    return {name: found[:: max(len(found) // _SHOWN, 1)] for name, found in shown.items()}


def _block(seat: Seat, surface: int) -> Mesh:
    """Return a block whose top is the seat: it has no person's number and no part."""
    x, z = seat.centre
    half, front = 0.24, 0.16  # legs hang before it
    low = np.array([x - half, 0.0, z - half])
    high = np.array([x + half, seat.height - 0.012, z + front])
    corner = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    points = low + corner * (high - low)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    vertices = np.concatenate([points[list(quad)] for quad in quads]).astype(np.float32)
    base = np.arange(len(quads))[:, None, None] * 4
    faces = (base + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3).astype(np.int32)
    return Mesh(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        labels=np.zeros(len(faces), np.uint8),
        surfaces=np.full(len(faces), surface, np.int16),
        canonical=vertices,
        instance=0,
    )


def _seat_surface(seat: Seat) -> Surface:
    """Return wood, cloth or plastic, by the height of the seat: chance without a generator."""
    number = int(seat.height * 10_000)
    shade = 0.08 + 0.5 * ((number * 37) % 101) / 101
    if number % 2:
        return Cloth(pattern=Plain(colour=(shade, shade * 0.9, shade * 0.85)), seed=number)
    return Solid(colour=(shade, shade * 0.7, shade * 0.45), roughness=0.5, mottle=0.2, seed=number)
