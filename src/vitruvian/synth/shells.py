# SPDX-License-Identifier: Apache-2.0
"""Shells of the body that garments, hats and hair are cut from, with coordinates along the limbs.

A ``Shell`` is a piece of the body with the scalars that garments are cut by: ``arm`` runs from 0 at
the shoulder over 1 at the elbow to 2 at the wrist, ``leg`` from 0 at the hip over 1 at the knee to
2 at the ankle; both are far below 0 away from the limb. All scalars live on the canonical body, so
shells are made once per process; a ``Fitted`` shell follows one person.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import KDTree

from vitruvian.synth.body import load_body, skin
from vitruvian.synth.cut import cut, rim
from vitruvian.synth.mesh import Mesh, vertex_normals
from vitruvian.synth.subdivide import Piece, bone_parts, piece
from vitruvian.synth.surfaces import Surface
from vitruvian.vocabulary import load

Floats = NDArray[np.floating]
UPPER_ARM = 0.29
"""Metres of one unit of ``arm`` on the canonical body."""
UPPER_LEG = 0.45
"""Metres of one unit of ``leg``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shell:
    """A piece of the body with scalars to cut by, all on the canonical body.

    Attributes:
        piece: the faces, and the operator from the body's vertices.
        arm: (n,) place along the nearer arm.
        leg: (n,) place along the nearer leg.
        head: (n,) share of skin weight of head and neck.
        trunk: (n,) share of skin weight of the torso.
        mean: (n, n) sparse: the mean of each vertex's neighbours.
    """

    piece: Piece
    arm: NDArray[np.float32]
    leg: NDArray[np.float32]
    head: NDArray[np.float32]
    trunk: NDArray[np.float32]
    mean: sparse.csr_array

    @property
    def canonical(self) -> NDArray[np.float32]:
        """(n, 3) places on the canonical body."""
        return self.piece.canonical

    def smoothed(self, values: Floats, times: int) -> NDArray[np.float32]:
        """Replace (n,) or (n, k) values by half themselves and half their neighbours', often."""
        out = np.asarray(values, np.float32)
        for _ in range(times):
            out = np.float32(0.5) * (out + self.mean @ out)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Wearer:
    """One shaped and posed person, as garments see them.

    Attributes:
        rest: (V, 3) the body's vertices at rest.
        heads: (J, 3) heads of bones at rest.
        vertices: (V, 3) the body's vertices in the pose.
        transforms: (J, 3, 4) bone transforms of the pose.
        detail: 0 coarse, 1 usual, 2 for close views.
        seed: of folds and other random fields.
    """

    rest: NDArray[np.float32]
    heads: NDArray[np.float32]
    vertices: NDArray[np.float32]
    transforms: NDArray[np.float32]
    detail: int
    seed: int

    def bone(self, name: str) -> NDArray[np.float64]:
        """Return the head of a bone at rest."""
        return self.heads[load_body().bone_index[name]].astype(np.float64)

    def transform(self, name: str) -> NDArray[np.float64]:
        """Return the (3, 4) transform of a bone."""
        return self.transforms[load_body().bone_index[name]].astype(np.float64)

    def posed_bone(self, name: str) -> NDArray[np.float64]:
        """Return the head of a bone in the pose."""
        transform = self.transform(name)
        return transform[:, :3] @ self.bone(name) + transform[:, 3]

    def skinned(self, weights: sparse.csr_array, places: Floats) -> NDArray[np.float32]:
        """Pose (n, 3) places at rest by (n, J) weights."""
        return skin(weights, places[None].astype(np.float32), self.transforms[None])[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A piece of a person that is ready to be drawn, made of one surface.

    Attributes:
        vertices: (V, 3) in the pose, world metres.
        faces: (F, 3).
        normals: (V, 3).
        canonical: (V, 3).
        labels: (F,) class of "parts29".
        surface: what light does there.
        uv: (V, 2) or ``None``.
        name: what it is, such as "trousers".
        soft: whether it yields to the floor: cloth and hair do, soles and skin do not.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    canonical: NDArray[np.float32]
    labels: NDArray[np.uint8]
    surface: Surface
    uv: NDArray[np.float32] | None = None
    name: str = ""
    soft: bool = True

    def mesh(self, surface: int, instance: int = 1) -> Mesh:
        """Return the mesh; ``surface`` is the number of its surface."""
        return Mesh(
            vertices=np.ascontiguousarray(self.vertices, np.float32),
            faces=np.ascontiguousarray(self.faces, np.int32),
            normals=np.ascontiguousarray(self.normals, np.float32),
            labels=np.ascontiguousarray(self.labels, np.uint8),
            surfaces=np.full(len(self.faces), surface, np.int16),
            canonical=np.ascontiguousarray(self.canonical, np.float32),
            uv=None if self.uv is None else np.ascontiguousarray(self.uv, np.float32),
            instance=instance,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A shell on one person, with the height of what they wear already.

    Attributes:
        shell: the shell.
        wearer: who.
        base: (n, 3) at rest, outside of the skin, smoothed.
        normals: (n, 3) at rest.
        worn: (n,) metres above ``base`` of the outermost layer so far; changed by garments.
    """

    shell: Shell
    wearer: Wearer
    base: NDArray[np.float32]
    normals: NDArray[np.float32]
    worn: NDArray[np.float32] = field(repr=False)

    def posed(self, height: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return posed (n, 3) vertices and normals of a layer ``height`` (n,) above the base."""
        places = self.base + self.normals * np.asarray(height, np.float32)[:, None]
        vertices = self.wearer.skinned(self.shell.piece.weights, places)
        return vertices, vertex_normals(vertices, self.shell.piece.faces)


def label(name: str) -> int:
    """Return the number of a class of "parts29"."""
    return load("parts29").index(name)


def labels_by_side(name: str) -> Callable[[Floats], NDArray[np.uint8]]:
    """Return what gives (F, 3) canonical places the class "Left_<name>" or "Right_<name>"."""
    left, right = label(f"Left_{name}"), label(f"Right_{name}")
    return lambda places: np.where(places[:, 0] > 0, left, right).astype(np.uint8)


def nearest(
    points: Floats, places: Floats, count: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return distances and numbers of the points nearest to (n, 3) places: (n,) or (n, count)."""
    tree: Any = KDTree(points)
    return tree.query(places, k=count, workers=1)


class Obstacles:
    """Posed surfaces that cloth and hair lie on: points with normals, all outside of the body."""

    def __init__(self, points: Floats, normals: Floats) -> None:
        """Prepare (m, 3) points and their (m, 3) normals."""
        self._points = np.asarray(points, np.float64)
        self._normals = np.asarray(normals, np.float64)
        tree: Any = KDTree(self._points, balanced_tree=False)
        self._tree = tree

    def outside(
        self, points: Floats, clearance: float | Floats, *, reach: float = 0.08
    ) -> NDArray[np.float64]:
        """Return (n, 3) points moved to at least ``clearance`` metres above the nearest surface.

        Points farther than ``reach`` from everything stay where they are.
        """
        near, height = self._above(points, reach)
        short = np.maximum(clearance - height, 0)
        return points + self._normals[near] * short[:, None]

    def onto(self, points: Floats, height: Floats, share: Floats) -> NDArray[np.float64]:
        """Return (n, 3) points moved towards (n,) heights above the surface by (n,) shares."""
        near, above = self._above(points, 0.08)
        short = np.where(np.isfinite(above), height - above, 0) * share
        return points + self._normals[near] * short[:, None]

    def _above(self, points: Floats, reach: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the nearest point of the surface, and how high above it; infinite if far."""
        distance, near = self._tree.query(points, workers=1)
        away = points - self._points[near]
        height = (away * self._normals[near]).sum(axis=1)
        return near, np.where(distance < reach, height, np.inf)


@cache
def shell(groups: tuple[str, ...], levels: int) -> Shell:
    """Return (made once) groups of the body, subdivided, with scalars along the limbs."""
    model = load_body()
    made = piece(groups, levels)
    share = _shares()
    places = model.canonical.vertices[0].astype(np.float64)
    heads = model.canonical.heads[0].astype(np.float64)
    out = {}
    for name, bones in (
        ("arm", ("upperarm01", "lowerarm01", "wrist")),
        ("leg", ("upperleg01", "lowerleg01", "foot")),
    ):
        # mirrored to the left: one side's bones serve both
        mirrored = places.copy()
        mirrored[:, 0] = np.abs(mirrored[:, 0])
        first, second, third = (heads[model.bone_index[f"{bone}.L"]] for bone in bones)
        near = np.clip(_along(mirrored, first, second), -1, 2)
        far = 1 + np.clip(_along(mirrored, second, third), -1, 1.5)
        blend = np.clip((near - 0.8) / 0.4, 0, 1)
        # where other bones pull the skin, the limb ends
        out[name] = near + (far - near) * blend + 3 * (share[name] - 1)
    operator = made.operator
    assert operator.shape is not None
    mean = neighbour_mean(made.faces, operator.shape[0])
    scalar = {name: (operator @ values).astype(np.float32) for name, values in out.items()}
    parts = {name: (operator @ share[name]).astype(np.float32) for name in ("head", "trunk")}
    return Shell(piece=made, mean=mean, **scalar, **parts)


def neighbour_mean(faces: NDArray[np.integer], count: int) -> sparse.csr_array:
    """Return the (n, n) matrix that takes values to the mean over each vertex's neighbours."""
    pairs = faces.astype(np.int64)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    pairs = np.sort(pairs, axis=1)
    low, high = np.divmod(np.unique(pairs[:, 0] * count + pairs[:, 1]), count)
    both = np.concatenate([low, high]), np.concatenate([high, low])
    degree = np.maximum(np.bincount(both[0], minlength=count), 1)
    return sparse.csr_array(((1 / degree[both[0]]).astype(np.float32), both), shape=(count, count))


def _along(points: NDArray, start: NDArray, end: NDArray) -> NDArray:
    way = end - start
    return (points - start) @ way / (way @ way)


@cache
def _shares() -> dict[str, NDArray[np.float64]]:
    """Return for each vertex of the body the skin weight of arms, legs, head and trunk."""
    model = load_body()
    parts = np.array(bone_parts(model))
    kinds = {
        "arm": ("Upper_Arm", "Lower_Arm", "Hand"),
        "leg": ("Upper_Leg", "Lower_Leg", "Foot"),
        "head": ("Face_Neck",),
        "trunk": ("Torso",),
    }
    out = {}
    for name, ends in kinds.items():
        member = np.array([part.endswith(ends) for part in parts]).astype(np.float64)
        out[name] = np.asarray(model.weights @ member, np.float64)
    return out


def fit(
    wearer: Wearer,
    groups: tuple[str, ...] = ("tights",),
    *,
    smooth: int = 1,
    levels: int | None = None,
) -> Fitted:
    """Put a shell on a person; how finely follows from the wearer's detail, unless given."""
    levels = max(wearer.detail, 1) if levels is None else levels
    own = shell(groups, levels)
    rest = own.piece.operator @ wearer.rest
    times = smooth * 4 ** (levels - 1)
    base = own.smoothed(rest, times)
    normals = vertex_normals(base, own.piece.faces)
    # smoothing must not pull cloth into the body
    back = np.maximum(((rest - base) * normals).sum(axis=1), 0)
    base = (base + normals * back[:, None]).astype(np.float32)
    return Fitted(
        shell=own,
        wearer=wearer,
        base=base,
        normals=normals,
        worn=np.zeros(len(base), np.float32),
    )


def sheet(
    fitted: Fitted,
    height: Floats,
    keep: Sequence[Floats],
    *,
    surface: Surface,
    labels: int | Callable[[Floats], NDArray[np.uint8]],
    thickness: float = 0.003,
    name: str = "",
) -> Part | None:
    """Make the part of a layer where all of ``keep`` are positive, with a hem around its borders.

    Args:
        fitted: the shell on a person.
        height: (n,) metres above the shell's base.
        keep: (n,) each; cut one after the other, so that corners between them are sharp.
        surface: of the part.
        labels: class of all faces, or what gives it for (F, 3) canonical middles of faces.
        thickness: of the hem, metres; 0 for none.
        name: of the part.

    Returns:
        The part, or ``None`` if nothing is kept.
    """
    vertices, normals = fitted.posed(height)
    places = np.concatenate([vertices, normals, fitted.shell.canonical], axis=1)
    faces, fields = fitted.shell.piece.faces, np.stack([*keep], axis=1).astype(np.float32)
    for k in range(fields.shape[1]):
        if (fields[:, k] > 0).all():
            continue
        kept = cut(faces, fields[:, k])
        faces, places, fields = kept.faces, kept.apply(places), kept.apply(fields)
    if not len(faces):
        return None
    canonical = places[:, 6:]
    classes = labels if isinstance(labels, int) else labels(canonical[faces].mean(axis=1))
    length = np.linalg.norm(places[:, 3:6], axis=1, keepdims=True)
    part = Part(
        vertices=places[:, :3],
        faces=faces,
        normals=(places[:, 3:6] / np.where(length > 0, length, 1)).astype(np.float32),
        canonical=canonical,
        labels=np.broadcast_to(np.asarray(classes, np.uint8), (len(faces),)),
        surface=surface,
        name=name,
    )
    return hemmed(part, thickness) if thickness > 0 else part


def hemmed(part: Part, thickness: float) -> Part:
    """Give the open borders of a part a thickness, inwards."""
    strip, parents, places = rim(part.faces, part.vertices, part.normals, thickness)
    if not len(strip):
        return part
    start = len(part.vertices)
    # the strip looks along the cloth: its own normals, from its own faces
    corner = np.concatenate([part.vertices[parents], places])
    renumber = np.full(start + len(places), -1)
    renumber[parents] = np.arange(len(parents))
    renumber[start:] = np.arange(len(places)) + len(parents)
    own = renumber[strip]
    owner = np.zeros(start, np.uint8)
    for column in range(3):
        owner[part.faces[:, column]] = part.labels
    return replace(
        part,
        vertices=np.concatenate([part.vertices, corner]),
        faces=np.concatenate([part.faces, (own + start).astype(np.int32)]),
        normals=np.concatenate([part.normals, vertex_normals(corner, own)]),
        canonical=np.concatenate([part.canonical, np.tile(part.canonical[parents], (2, 1))]),
        labels=np.concatenate([part.labels, owner[strip[:, 0]]]),
        uv=None
        if part.uv is None
        else np.concatenate([part.uv, np.tile(part.uv[parents], (2, 1))]),
    )
