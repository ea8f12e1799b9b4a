# SPDX-License-Identifier: Apache-2.0
"""Simple labelled meshes for the tests of the renderer, and cameras that look at them."""

from dataclasses import replace

import numpy as np

from vitruvian import vocabulary
from vitruvian.camera import Camera
from vitruvian.synth.mesh import Mesh, vertex_normals

PARTS = vocabulary.load("parts29")


def label_of(name):
    return PARTS.index(name)


def mesh(vertices, faces, *, normals=None, labels=0, surface=0, instance=1, uv=None):
    vertices = np.asarray(vertices, np.float32)
    faces = np.asarray(faces, np.int32)
    return Mesh(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces) if normals is None else normals.astype(np.float32),
        labels=np.broadcast_to(np.uint8(labels), len(faces)).copy(),
        surfaces=np.full(len(faces), surface, np.int16),
        canonical=vertices,
        uv=uv,
        instance=instance,
    )


def sphere(radius=0.5, centre=(0, 0, 0), rows=64, **properties):
    columns = 2 * rows
    theta = np.linspace(0, np.pi, rows + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, columns + 1)[None]
    up = np.cos(theta) * np.ones_like(phi)
    normals = np.stack([np.sin(theta) * np.sin(phi), up, np.sin(theta) * np.cos(phi)], axis=-1)
    normals = normals.reshape(-1, 3)
    j, i = np.mgrid[:rows, :columns]
    a = (j * (columns + 1) + i).ravel()
    b, c, d = a + columns + 1, a + columns + 2, a + 1
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    uv = np.stack([(phi + 0 * theta) / (2 * np.pi), 1 - (theta + 0 * phi) / np.pi], axis=-1)
    return mesh(
        normals * radius + np.asarray(centre),
        faces,
        normals=normals,
        uv=uv.reshape(-1, 2).astype(np.float32),
        **properties,
    )


def quad(corner, first, second, **properties):
    """A parallelogram; its normal is first × second."""
    corner, first, second = (np.asarray(part, np.float64) for part in (corner, first, second))
    vertices = np.stack([corner, corner + first, corner + first + second, corner + second])
    return mesh(vertices, [[0, 1, 2], [0, 2, 3]], **properties)


def box(low, high, labels=(1, 2, 3, 4, 5, 6), **properties):
    """An axis-parallel box; its sides -x, +x, -y, +y, -z, +z have different labels."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    sides = []
    for axis in range(3):
        first, second = np.zeros(3), np.zeros(3)
        first[(axis + 1) % 3] = (high - low)[(axis + 1) % 3]
        second[(axis + 2) % 3] = (high - low)[(axis + 2) % 3]
        start = low.copy()
        sides.append(quad(start, second, first, labels=labels[2 * axis], **properties))
        start = low.copy()
        start[axis] = high[axis]
        sides.append(quad(start, first, second, labels=labels[2 * axis + 1], **properties))
    return sides


def capsule(start, end, radius, rows=24, **properties):
    """A cylinder with round ends between two points."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = end - start
    length = np.linalg.norm(axis)
    up = axis / length
    side = np.cross(up, [0.3, 0.2, 1.0])
    side /= np.linalg.norm(side)
    ball = sphere(1.0, rows=rows, **properties)
    vertices = ball.vertices.astype(np.float64)
    frame = np.stack([side, up, np.cross(side, up)])
    turned = vertices @ frame
    shift = np.where(vertices[:, 1:2] > 0, 1.0, 0.0) * axis
    placed = (turned * radius + start + shift).astype(np.float32)
    return replace(ball, vertices=placed, normals=turned.astype(np.float32), canonical=placed)


LIMBS = (  # part, start, end, radius, surface: skin 0, shirt 1, trousers 2, shoes 3
    ("Face_Neck", (0, 1.5, 0), (0, 1.62, 0.01), 0.1, 0),
    ("Face_Neck", (0, 1.36, 0), (0, 1.5, 0), 0.055, 0),
    ("Upper_Clothing", (0, 1.0, 0), (0, 1.3, 0), 0.16, 1),
    ("Lower_Clothing", (0, 0.85, 0), (0, 0.95, 0), 0.155, 2),
    ("Left_Upper_Arm", (0.19, 1.32, 0), (0.32, 1.1, 0.02), 0.05, 0),
    ("Left_Lower_Arm", (0.32, 1.1, 0.02), (0.36, 0.88, 0.14), 0.04, 0),
    ("Left_Hand", (0.36, 0.85, 0.15), (0.36, 0.78, 0.2), 0.04, 0),
    ("Right_Upper_Arm", (-0.19, 1.32, 0), (-0.34, 1.15, 0.05), 0.05, 0),
    ("Right_Lower_Arm", (-0.34, 1.15, 0.05), (-0.2, 1.2, 0.25), 0.04, 0),
    ("Right_Hand", (-0.18, 1.21, 0.27), (-0.12, 1.24, 0.3), 0.04, 0),
    ("Lower_Clothing", (0.09, 0.85, 0), (0.11, 0.1, 0.02), 0.075, 2),
    ("Lower_Clothing", (-0.09, 0.85, 0), (-0.14, 0.1, -0.05), 0.075, 2),
    ("Left_Shoe", (0.11, 0.045, 0), (0.12, 0.045, 0.15), 0.045, 3),
    ("Right_Shoe", (-0.14, 0.045, -0.06), (-0.16, 0.045, 0.09), 0.045, 3),
)


def mannequin(instance=1, shift=(0, 0, 0), rows=16):
    """A standing figure of capsules, one mesh per limb."""
    shift = np.asarray(shift, np.float64)
    return [
        capsule(
            np.add(start, shift),
            np.add(end, shift),
            radius,
            rows=rows,
            labels=label_of(name),
            surface=surface,
            instance=instance,
        )
        for name, start, end, radius, surface in LIMBS
    ]


def mirrored(body):
    """The mesh seen in the mirror x = 0: sides, winding and left and right exchange."""
    flip = np.array([-1, 1, 1], np.float32)
    return replace(
        body,
        vertices=body.vertices * flip,
        normals=body.normals * flip,
        canonical=body.canonical * flip,
        faces=np.ascontiguousarray(body.faces[:, ::-1]),
        labels=np.asarray(PARTS.mirror, np.uint8)[body.labels],
    )


def look(eye, target, *, size=(256, 192), field=40.0, roll=0.0):
    """A camera at ``eye`` looking at ``target``, y up, with a vertical field of view in degrees."""
    eye, target = np.asarray(eye, np.float64), np.asarray(target, np.float64)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation = turn @ rotation
    focal = size[0] / 2 / np.tan(np.radians(field) / 2)
    matrix = [[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]]
    return Camera(
        matrix=np.array(matrix), size=size, rotation=rotation, translation=-rotation @ eye
    )
