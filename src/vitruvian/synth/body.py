# SPDX-License-Identifier: Apache-2.0
"""The human body: a few sliders → a mesh with skin, eyes, teeth, tongue and clothing shells, posed.

The data (``assets/body.npz``, CC0) are MakeHuman's base mesh hm08, its macro targets as a basis of
shapes, its rig and its face units; ``tools/build_body_asset.py`` makes them. All is left-right
symmetric: ``reflect`` takes every vertex to its partner, and x becomes -x.

Conventions: metres, x to the subject's left, y up, z forwards (``vitruvian.synth.mesh``). A rest
body stands with its arms half raised, roughly about the origin in x and z; y has no fixed zero.
A pose turns each bone about its head by a rotation in *world axes at rest* (not in bone axes): the
identity is the rest pose, and a rotation about +x bends forwards, about +y to the left, about
+z to the right side, whatever the bone. Children follow their parents.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib import resources
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vitruvian.errors import InputError, unknown_name

_FLIP = np.array([-1, 1, 1], np.float32)
_NEUTRAL_STEP = 1e-7


@dataclass(frozen=True, kw_only=True)
class Phenotype:
    """What a person is like: MakeHuman's macro sliders, each from 0 to 1.

    Attributes:
        gender: 0 male, 1 female.
        age: 0 about one year, 1/3 about twelve, 2/3 about 25, 1 about ninety.
        muscle: 0 slack, 1 athletic.
        weight: 0 thin, 1 heavy.
        height: 0 short, 1 tall.
        proportions: 0 ideal, 1 uncommon.
        cupsize: 0 small, 1 large; female share only.
        firmness: 0 soft, 1 firm; female share only.
        african: share of this ancestry; the three are divided by their sum.
        asian: likewise.
        caucasian: likewise.
    """

    gender: float = 0.5
    age: float = 2 / 3
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cupsize: float = 0.5
    firmness: float = 0.5
    african: float = 1 / 3
    asian: float = 1 / 3
    caucasian: float = 1 / 3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise InputError(f"phenotype {field.name} is {value}; wanted 0 to 1")
        if self.african + self.asian + self.caucasian <= 0:
            raise InputError("the three ancestry shares are all 0; wanted one above 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class Bodies:
    """B bodies at rest.

    Attributes:
        vertices: (B, V, 3) float32, metres.
        heads: (B, J, 3) float32 where each bone turns.
        tails: (B, J, 3) float32 where each bone ends.
    """

    vertices: NDArray[np.float32]
    heads: NDArray[np.float32]
    tails: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vertices)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BodyModel:
    """The body data, ready to use; get it from ``load_body``.

    Attributes:
        header: What the file says about itself: source, licence, checksum, names.
        bones: J bone names, parents first; ``.L`` is the subject's left.
        parents: (J,) index of each bone's parent, -1 for the root.
        groups: Names of the parts of the mesh: skin, left_eye, upper_teeth, tights, …
        faces: (F, 3) triangles, counter-clockwise from outside; 2k and 2k + 1 share a quad.
        face_group: (F,) index into ``groups``.
        uv: (F, 3, 2) float32 texture coordinates of the corners; v grows upwards.
        reflect: (V,) the vertex on the other side.
        weights: (V, J) sparse skin weights; rows sum to 1.
        units: Names of the face units (ARKit's 52).
        changes: Names of the local changes, from -1 to 1 each; ``left-`` and ``right-`` apart.
        masks: Name to (box, (h, w) uint8): regions painted in texture space.
    """

    header: Mapping[str, Any]
    bones: tuple[str, ...]
    parents: NDArray[np.int64]
    groups: tuple[str, ...]
    faces: NDArray[np.int32]
    face_group: NDArray[np.uint8]
    uv: NDArray[np.float32]
    reflect: NDArray[np.int64]
    weights: sparse.csr_array
    units: tuple[str, ...]
    changes: tuple[str, ...]
    masks: Mapping[str, tuple[tuple[int, int, int, int], NDArray[np.uint8]]]
    _parts: Mapping[str, Any]

    @cached_property
    def bone_index(self) -> dict[str, int]:
        """Index of each bone name."""
        return {name: i for i, name in enumerate(self.bones)}

    @cached_property
    def canonical(self) -> Bodies:
        """One average young adult, feet on y = 0: textures and landmarks are laid out on it."""
        body = shape_bodies(self, [Phenotype()])
        skin = np.unique(self.faces[self.face_group == self.groups.index("skin")])
        floor = np.array([0, body.vertices[0, skin, 1].min(), 0], np.float32)
        return Bodies(
            vertices=body.vertices - floor, heads=body.heads - floor, tails=body.tails - floor
        )

    def group_faces(self, *names: str) -> NDArray[np.int64]:
        """Return the indices of the faces of some groups, in the order of the mesh."""
        for name in names:
            if name not in self.groups:
                raise unknown_name("body group", name, self.groups)
        return np.flatnonzero(np.isin(self.face_group, [self.groups.index(n) for n in names]))

    def group_vertices(self, *names: str) -> NDArray[np.int64]:
        """Return the indices of the vertices that some groups use, ascending."""
        return np.unique(self.faces[self.group_faces(*names)]).astype(np.int64)

    def mask(self, name: str, uv: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return how far (0 to 1) points with texture coordinates ``uv`` (…, 2) are in a region.

        The regions: lips, face, ears, eyelids, inside-mouth, fingernails, toenails.
        """
        if name not in self.masks:
            raise unknown_name("body mask", name, self.masks)
        (top, left, bottom, right), values = self.masks[name]
        height, width = self.header["mask_size"]
        row = np.floor((1 - uv[..., 1]) * height).astype(int)
        column = np.floor(uv[..., 0] * width).astype(int)
        inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        found = values[
            np.clip(row - top, 0, bottom - top - 1), np.clip(column - left, 0, right - left - 1)
        ]
        return np.where(inside, found / np.float32(255), np.float32(0)).astype(np.float32)


@cache
def load_body() -> BodyModel:
    """Read the body that ships with the package (once per process; under a second)."""
    data = resources.files("vitruvian.synth").joinpath("assets", "body.npz").read_bytes()
    with zipfile.ZipFile(BytesIO(data)) as archive:
        raw = {
            name.removesuffix(".npy"): np.load(BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }
    header = json.loads(raw["header"].tobytes())
    reflect, half = raw["reflect"].astype(np.int64), raw["half"].astype(np.int64)
    vertices, points = int(raw["vertices"][0]), len(reflect)
    # where in the stored half each point is found, and the sign of its x
    found = np.full(points, -1)
    found[reflect[half]] = np.arange(len(half))
    sign = np.tile(_FLIP, (points, 1))
    found[half] = np.arange(len(half))
    sign[half] = 1
    # three byte planes of signed 24-bit steps: shifting down from the top extends the sign
    planes = raw["basis"]  # (3, R, 3, H)
    wide = np.zeros((planes.shape[1], planes.shape[3], planes.shape[2], 4), np.uint8)
    for byte, plane in enumerate(planes):
        wide[..., byte + 1] = plane.transpose(0, 2, 1)
    steps = wide.view("<i4")[..., 0] >> 8
    basis = steps.reshape(len(steps), -1).astype(np.float32) * np.float32(header["step"])
    weights = sparse.csr_array(
        (raw["weight"].astype(np.float32), (raw["weight_vertex"], raw["weight_bone"])),
        shape=(vertices, len(header["bones"])),
    )
    weights = sparse.csr_array(sparse.diags_array(1 / weights.sum(1)) @ weights, dtype=np.float32)
    texture = raw["texture"].astype(np.float32) / 65535
    units, unit_shapes = _sparse_shapes(header["units"], raw, "unit", header["fine"], reflect)
    changes, change_shapes = _sparse_shapes(
        header["changes"], raw, "change", header["fine"], reflect
    )
    return BodyModel(
        header=header,
        bones=tuple(header["bones"]),
        parents=raw["parents"].astype(np.int64),
        groups=tuple(header["groups"]),
        faces=raw["faces"].astype(np.int32),
        face_group=raw["face_group"],
        uv=texture[raw["corners"].astype(np.int64)],
        reflect=reflect[:vertices],
        weights=weights,
        units=units,
        changes=tuple(sorted({name[:-1] for name in changes})),
        masks={name: (tuple(box), raw[f"mask_{name}"]) for name, box in header["masks"].items()},
        _parts={
            "vertices": vertices,
            "found": found,
            "sign": sign.astype(np.float32),
            "mean": raw["mean"],
            "basis": basis,
            "projection": raw["projection"],
            "centre": raw["centre"],
            "heads": raw["heads"].astype(np.int64),
            "tails": raw["tails"].astype(np.int64),
            "units": unit_shapes,
            "changes": change_shapes,
            "change_rows": {name: i for i, name in enumerate(changes)},
            "levels": _levels(raw["parents"].astype(np.int64)),
        },
    )


def _sparse_shapes(
    names: Sequence[str], raw: Mapping[str, Any], kind: str, fine: float, reflect: NDArray
) -> tuple[tuple[str, ...], sparse.csr_array]:
    """Return names and a (count, 3 P) matrix of sparse shapes, right partners added."""
    starts = raw[f"{kind}_starts"]
    where = raw[f"{kind}_points"].astype(np.int64)
    what = raw[f"{kind}_steps"].T.astype(np.float32) * np.float32(fine)
    out: dict[str, tuple[NDArray, NDArray]] = {}
    for i, name in enumerate(names):
        rows = slice(starts[i], starts[i + 1])
        out[name] = where[rows], what[rows]
        other = name.replace("Left", "Right")
        if name.startswith("left-"):
            other = name.replace("left-", "right-", 1)
        if other != name:
            out[other] = reflect[where[rows]], what[rows] * _FLIP
    order = sorted(out)
    columns = [(3 * out[name][0][:, None] + np.arange(3)).ravel() for name in order]
    return tuple(order), sparse.csr_array(
        (
            np.concatenate([out[name][1].ravel() for name in order]),
            np.concatenate(columns),
            np.cumsum([0, *(len(c) for c in columns)]),
        ),
        shape=(len(order), 3 * len(reflect)),
    )


def _levels(parents: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the bones by depth, so that each level needs only the one above."""
    depth = np.zeros(len(parents), int)
    for bone, parent in enumerate(parents):
        depth[bone] = 0 if parent < 0 else depth[parent] + 1
    return [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]


def macro_weights(model: BodyModel, people: Sequence[Phenotype]) -> NDArray[np.float64]:
    """Return (B, K) weights of MakeHuman's macro targets: products of hat functions and shares.

    Each slider is interpolated linearly between its named values (age: baby, child, young, old);
    a target's weight is the product over the words of its name.
    """
    values = {f.name: np.array([getattr(p, f.name) for p in people]) for f in fields(Phenotype)}
    weight: dict[str, NDArray] = {}
    for feature, words in model.header["variations"].items():
        if feature == "race":
            total = values["african"] + values["asian"] + values["caucasian"]
            weight.update({word: values[word] / total for word in words})
        else:
            at = values[feature] * (len(words) - 1)
            weight.update({w: np.clip(1 - np.abs(at - i), 0, 1) for i, w in enumerate(words)})
    return np.stack(
        [np.prod([weight[w] for w in name.split("-")], axis=0) for name in model.header["macros"]],
        axis=1,
    )


def shape_bodies(
    model: BodyModel,
    people: Sequence[Phenotype],
    *,
    changes: Sequence[Mapping[str, float]] | None = None,
    face: Sequence[Mapping[str, float]] | None = None,
) -> Bodies:
    """Shape bodies at rest.

    Args:
        model: The body.
        people: B phenotypes.
        changes: For each, local changes by name, -1 to 1; a name without ``left-`` or ``right-``
            that exists only with it means both sides.
        face: For each, face units by name, 0 to 1 (ARKit's meaning of the names).

    Raises:
        InputError: for unknown names, values out of range, or lists of different lengths.
    """
    parts = model._parts
    coefficients = macro_weights(model, people) @ parts["projection"] - parts["centre"]
    half = parts["mean"].reshape(-1) + coefficients.astype(np.float32) @ parts["basis"]
    points = half.reshape(len(people), -1, 3).take(parts["found"], axis=1)
    points *= parts["sign"]
    flat = points.reshape(len(people), -1)
    assert flat.base is points
    if changes is not None:
        _add_shapes(flat, parts["changes"], _change_weights(model, changes, len(people)))
    if face is not None:
        _add_shapes(flat, parts["units"], face_weights(model, face, len(people)))
    return Bodies(
        vertices=points[:, : parts["vertices"]],
        heads=points[:, parts["vertices"] + parts["heads"]],
        tails=points[:, parts["vertices"] + parts["tails"]],
    )


def _add_shapes(flat: NDArray, shapes: sparse.csr_array, weights: NDArray) -> None:
    """Add weighted sparse shapes to flattened points in place (most weights are zero)."""
    for row, values in zip(flat, weights, strict=True):
        for i in np.flatnonzero(values):
            part = slice(shapes.indptr[i], shapes.indptr[i + 1])
            row[shapes.indices[part]] += values[i] * shapes.data[part]


def face_weights(
    model: BodyModel, face: Sequence[Mapping[str, float]], count: int
) -> NDArray[np.float32]:
    """Return (B, 52) weights of the face units from names."""
    if len(face) != count:
        raise InputError(f"{len(face)} faces for {count} people; wanted one each")
    rows = np.zeros((count, len(model.units)), np.float32)
    for row, values in zip(rows, face, strict=True):
        for name, value in values.items():
            if name not in model.units:
                raise unknown_name("face unit", name, model.units)
            if not 0 <= value <= 1:
                raise InputError(f"face unit {name} is {value}; wanted 0 to 1")
            row[model.units.index(name)] = value
    return rows


def _change_weights(
    model: BodyModel, changes: Sequence[Mapping[str, float]], count: int
) -> NDArray[np.float32]:
    if len(changes) != count:
        raise InputError(f"{len(changes)} sets of changes for {count} people; wanted one each")
    table = model._parts["change_rows"]
    rows = np.zeros((count, len(table)), np.float32)
    for row, values in zip(rows, changes, strict=True):
        for name, value in values.items():
            both = name not in model.changes and f"left-{name}" in model.changes
            if not both and name not in model.changes:
                raise unknown_name("local change", name, model.changes)
            if not -1 <= value <= 1:
                raise InputError(f"local change {name} is {value}; wanted -1 to 1")
            for each in (f"left-{name}", f"right-{name}") if both else (name,):
                row[table[each + ("+" if value > 0 else "-")]] += abs(value)
    return rows


def bone_transforms(
    model: BodyModel,
    heads: NDArray[np.floating],
    rotations: NDArray[np.floating],
    translation: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Return (B, J, 3, 4) transforms that take points at rest to the pose.

    Args:
        model: The body.
        heads: (B, J, 3) heads of the bones at rest.
        rotations: (B, J, 3, 3) rotation of each bone about its head, in world axes at rest.
        translation: (B, 3) metres, added to everything.
    """
    count = len(heads)
    out = np.zeros((count, len(model.bones), 3, 4))
    heads = heads.astype(np.float64)
    turned = np.asarray(rotations, np.float64)
    moved = heads - (turned @ heads[..., None])[..., 0]
    own = np.concatenate([turned, moved[..., None]], axis=3)
    for depth, level in enumerate(model._parts["levels"]):
        out[:, level] = own[:, level]
        if depth:
            parent = out[:, model.parents[level]]
            out[:, level] = parent[..., :3] @ own[:, level]
            out[:, level, :, 3:] += parent[..., 3:]
        elif translation is not None:
            out[:, level, :, 3:] += np.asarray(translation)[:, None, :, None]
    return out.astype(np.float32)


def skin(
    weights: sparse.csr_array, vertices: NDArray[np.floating], transforms: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Linear blend skinning: move (B, V, 3) rest vertices by (B, J, 3, 4) bone transforms.

    ``weights`` is (V, J): the model's, or a finer mesh's (``operator @ model.weights``).
    """
    out = np.empty(vertices.shape, np.float32)
    for i in range(len(vertices)):
        flat = np.ascontiguousarray(transforms[i], np.float32).reshape(len(transforms[i]), 12)
        blend = (weights @ flat).reshape(-1, 3, 4)
        np.einsum("vij,vj->vi", blend[:, :, :3], vertices[i], out=out[i])
        out[i] += blend[:, :, 3]
    return out


def posed_points(
    points: NDArray[np.floating], transforms: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Move one point per bone, (B, J, 3), such as its head, with its bone."""
    moved = transforms[..., :3] @ np.asarray(points)[..., None]
    return (moved[..., 0] + transforms[..., 3]).astype(np.float32)
