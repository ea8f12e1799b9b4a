# SPDX-License-Identifier: Apache-2.0
"""Annotations that know their law: what a picture says about the people in it.

Everything measured about a person is ``Points`` or a ``Raster`` and carries the law by which it
moves when the picture is cropped, turned, scaled or mirrored. Those laws are written here, once:

=========  ==========================================================================
law        when the picture moves
=========  ==========================================================================
points     affine; mirror partners swap
label      nearest pixel; mirror partners swap
scalar     interpolated among valid pixels
vector     interpolated, renormalised; turns with the picture; x changes sign in a mirror
colour     interpolated
position   interpolated; turns with the picture like a vector; not renormalised
=========  ==========================================================================

A prediction, a rendered truth and a hand-made label are the same types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.camera import Camera
from vitruvian.errors import InputError, unknown_name
from vitruvian.geometry import Crop, Size, box_of_points
from vitruvian.image import warp
from vitruvian.vocabulary import Vocabulary

RasterLaw = Literal["label", "scalar", "vector", "colour", "position"]
_CHANNELS: dict[str, int | None] = {
    "label": None,
    "scalar": None,
    "vector": 3,
    "colour": 3,
    "position": 3,
}
ABSENT, OCCLUDED, VISIBLE = 0, 1, 2
"""Visibility of a point, numbered as COCO numbers them."""


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Named points of one person, in picture pixels.

    Attributes:
        vocabulary: their names, mirror partners and links; K names.
        xy: (K, 2) float32; NaN where a point has no place.
        scores: (K,) float32, 0 for "nothing here", about 1 for certain; low ones keep their row.
        visibility: (K,) uint8, 0 absent, 1 occluded, 2 visible (COCO); ``None`` when unknown.
        xyz: (K, 3) float32 camera-space metres, or ``None``.
    """

    vocabulary: Vocabulary
    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    visibility: NDArray[np.uint8] | None = None
    xyz: NDArray[np.float32] | None = None

    law = "points"

    def __post_init__(self) -> None:
        if self.vocabulary.kind != "points":
            raise InputError(f"vocabulary {self.vocabulary.name!r} names parts, points need points")
        count = len(self.vocabulary)
        wanted = {"xy": (count, 2), "scores": (count,), "visibility": (count,), "xyz": (count, 3)}
        for name, shape in wanted.items():
            given = getattr(self, name)
            if given is None:
                continue
            value = np.asarray(given, dtype=np.uint8 if name == "visibility" else np.float32)
            if value.shape != shape:
                raise InputError(
                    f"{name} of {self.vocabulary.name!r} points needs shape {shape}, "
                    f"got {value.shape}"
                )
            object.__setattr__(self, name, _frozen(value))

    def __len__(self) -> int:
        return len(self.vocabulary)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(K,) whether a point has a place, and is not marked absent."""
        placed = np.asarray(np.isfinite(self.xy).all(axis=1), dtype=np.bool_)
        return placed if self.visibility is None else placed & (self.visibility > ABSENT)

    def warped(self, crop: Crop) -> "Points":
        """Return the points as seen in the window of ``crop``."""
        xy, scores, visibility, xyz = self.xy, self.scores, self.visibility, self.xyz
        if crop.mirrors:
            order = self.vocabulary.mirror
            xy, scores = xy[order], scores[order]
            visibility = None if visibility is None else visibility[order]
            xyz = None if xyz is None else xyz[order]
        if xyz is not None:
            xyz = _turned(xyz, crop)
        moved = crop.to_window(xy).astype(np.float32)
        return replace(self, xy=moved, scores=scores, visibility=visibility, xyz=xyz)

    def box(self, *, margin: float = 0.0) -> NDArray[np.float64] | None:
        """Return the tight box of the present points, grown by ``margin`` × size, or ``None``."""
        return box_of_points(self.xy[self.present], margin=margin)


@dataclass(frozen=True, kw_only=True, eq=False)
class Raster:
    """A map over (part of) a picture: part labels, depth, normals, colour or positions.

    Attributes:
        law: how it moves, see the module's table.
        values: (H, W) for label (uint8) and scalar (float32); (H, W, 3) for vector and position
            (float32) and colour (uint8 or float32 in 0 … 1).
        valid: (H, W) bool, or ``None`` when every pixel is valid.
        origin: (x, y) picture pixel under ``values[0, 0]``.
        vocabulary: the part names of a label raster.
        kind: what a scalar means: ``"metric"`` (metres, larger = farther), ``"relative"``
            (0 nearest … 1 farthest of the person), ``"inverse"`` (larger = nearer) or a free word.

    Vectors and positions are in camera space (x right, y down, z forward); normals point to the
    viewer.
    """

    law: RasterLaw
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    origin: tuple[int, int] = (0, 0)
    vocabulary: Vocabulary | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.law not in get_args(RasterLaw):
            raise unknown_name("law", self.law, get_args(RasterLaw))
        values = np.asarray(self.values)
        if self.law == "label":
            values = values.astype(np.uint8, copy=False)
            if self.vocabulary is None or self.vocabulary.kind != "parts":
                raise InputError("a label raster needs a vocabulary of parts")
        elif not (self.law == "colour" and values.dtype == np.uint8):
            values = values.astype(np.float32, copy=False)
        channels = _CHANNELS[self.law]
        shape = values.shape
        right = len(shape) == 2 if channels is None else len(shape) == 3 and shape[2] == channels
        if not right or 0 in shape:
            wanted = "(H, W)" if channels is None else f"(H, W, {channels})"
            raise InputError(f"a {self.law} raster needs values of shape {wanted}, got {shape}")
        if self.valid is not None:
            valid = np.asarray(self.valid, dtype=np.bool_)
            if valid.shape != shape[:2]:
                raise InputError(f"valid mask of shape {valid.shape} for values of shape {shape}")
            object.__setattr__(self, "valid", _frozen(valid))
        object.__setattr__(self, "values", _frozen(values))

    @property
    def size(self) -> Size:
        """(height, width) of the map."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) pixels that say something: valid, and not the ignored label."""
        mask = np.ones(self.size, dtype=np.bool_) if self.valid is None else self.valid
        if self.vocabulary is not None and self.vocabulary.ignore is not None:
            mask = mask & (self.values != self.vocabulary.ignore)
        return mask

    def warped(self, crop: Crop) -> "Raster":
        """Return the map as seen in the window of ``crop``; what lies outside becomes invalid."""
        # The map's own grid begins at `origin`, so crop coordinates are shifted by it first.
        matrix = crop.matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ np.array(self.origin, dtype=np.float64)
        size = crop.size
        if self.law == "label":
            inside = warp(self.mask.astype(np.uint8), matrix, size, interpolation="nearest") > 0
            values = warp(self.values, matrix, size, interpolation="nearest")
            if crop.mirrors and self.vocabulary is not None:
                values = _swapped(values, self.vocabulary)
            return replace(self, values=values, valid=inside, origin=(0, 0))
        # Invalid pixels must not bleed into their neighbours: interpolate value × weight, weight.
        # The map's edge pixels reach half a pixel beyond their centres, so they are repeated once.
        weight = np.pad(self.mask.astype(np.float32), 1, mode="edge")
        margins = ((1, 1), (1, 1), (0, 0))[: self.values.ndim]
        values = np.pad(self.values, margins, mode="edge").astype(np.float32)
        within = np.pad(np.ones(self.size, dtype=np.uint8), 1)
        matrix[:, 2] -= matrix[:, :2].sum(axis=1)
        plain = weight if values.ndim == 2 else weight[..., None]
        values = warp(np.where(plain > 0, values, 0), matrix, size, interpolation="linear")
        share = warp(weight, matrix, size, interpolation="linear")
        inside = (share > 0.5) & (warp(within, matrix, size, interpolation="nearest") > 0)
        divisor = np.where(share > 0, share, 1.0)
        values = values / (divisor if values.ndim == 2 else divisor[..., None])
        values[~inside] = 0
        if self.law in ("vector", "position"):
            values = _turned(values, crop)
        if self.law == "vector":
            length = np.linalg.norm(values, axis=-1, keepdims=True)
            values = values / np.where(length > 1e-6, length, 1.0)
        if self.values.dtype == np.uint8:
            values = np.clip(np.rint(values), 0, 255)
        values = values.astype(self.values.dtype)
        return replace(self, values=values, valid=inside, origin=(0, 0))

    def placed(self, size: Size) -> "Raster":
        """Return the map laid on a picture of ``size`` (invalid, or background, elsewhere)."""
        background = 0 if self.vocabulary is None else self.vocabulary.background or 0
        fill = background if self.law == "label" else 0
        values = np.full((*size, *self.values.shape[2:]), fill, dtype=self.values.dtype)
        valid = np.zeros(size, dtype=np.bool_)
        inner, outer = self.overlap(size)
        values[outer] = self.values[inner]
        valid[outer] = True if self.valid is None else self.valid[inner]
        return replace(self, values=values, valid=valid, origin=(0, 0))

    def overlap(self, size: Size) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return which of its pixels, and which of a picture of ``size``, lie on each other."""
        (x, y), (h, w) = self.origin, self.size
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = max(x0, min(x + w, size[1])), max(y0, min(y + h, size[0]))
        inner = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        return inner, (slice(y0, y1), slice(x0, x1))


Annotation = Points | Raster


def _turned(vectors: NDArray[Any], crop: Crop) -> NDArray[np.float32]:
    """Turn camera-space vectors (…, 3) with the picture plane."""
    turn = crop.turn
    if np.array_equal(turn, np.eye(2)):
        return vectors.astype(np.float32, copy=False)
    turned = np.array(vectors, dtype=np.float32)
    turned[..., :2] = turned[..., :2] @ turn.T.astype(np.float32)
    return turned


def _swapped(labels: NDArray[np.uint8], vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """Exchange the labels of mirror partners; values outside the vocabulary stay."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(vocabulary)] = vocabulary.mirror
    return table[labels]


def _no_annotations() -> Mapping[str, Annotation]:
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One person: where, how sure, and everything said about them.

    Attributes:
        box: (4,) float64 x0, y0, x1, y1 in picture pixels.
        score: detection score, 1 when given by hand.
        identity: track or instance number, or ``None``.
        annotations: task name ("pose", "parts", "depth", "normals", …) → annotation.
    """

    box: NDArray[np.float64]
    score: float = 1.0
    identity: int | None = None
    annotations: Mapping[str, Annotation] = field(default_factory=_no_annotations)

    def __post_init__(self) -> None:
        box = np.array(self.box, dtype=np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < box[:2]).any():
            raise InputError(f"a box is finite x0, y0, x1 ≥ x0, y1 ≥ y0, got {box.tolist()}")
        object.__setattr__(self, "box", _frozen(box))
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))

    def _find(self, name: str) -> Annotation:
        if name not in self.annotations:
            raise unknown_name("annotation of this person", name, self.annotations)
        return self.annotations[name]

    def points(self, name: str = "pose") -> Points:
        """Return the points called ``name``.

        Raises:
            UnknownNameError: if the person has none of that name.
            InputError: if it is a raster.
        """
        found = self._find(name)
        if not isinstance(found, Points):
            raise InputError(f"{name!r} is a {found.law} raster, not points: use raster({name!r})")
        return found

    def raster(self, name: str) -> Raster:
        """Return the raster called ``name``; raises like :meth:`points`."""
        found = self._find(name)
        if not isinstance(found, Raster):
            raise InputError(f"{name!r} are points, not a raster: use points({name!r})")
        return found

    def having(self, **annotations: Annotation) -> "Person":
        """Return the person with more (or replaced) annotations."""
        return replace(self, annotations={**self.annotations, **annotations})

    def warped(self, crop: Crop) -> "Person":
        """Return the person as seen in the window of ``crop``; the box bounds the moved corners."""
        x0, y0, x1, y1 = self.box
        corners = crop.to_window([[x0, y0], [x1, y0], [x0, y1], [x1, y1]])
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        moved = {name: value.warped(crop) for name, value in self.annotations.items()}
        return replace(self, box=box, annotations=moved)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture, its people, and the camera that took it: what sources and shards exchange.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        people: everyone annotated.
        camera: calibration of this picture, or ``None``.
        rasters: maps of the whole picture that belong to nobody in particular.
        name: identifier, unique within its source.
    """

    image: NDArray[np.uint8]
    people: tuple[Person, ...] = ()
    camera: Camera | None = None
    rasters: Mapping[str, Raster] = field(default_factory=dict[str, Raster])
    name: str = ""

    def __post_init__(self) -> None:
        image = np.asarray(self.image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"a sample's image is (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}"
            )
        if self.camera is not None and self.camera.size != image.shape[:2]:
            raise InputError(f"camera of {self.camera.size} for an image of {image.shape[:2]}")
        object.__setattr__(self, "image", _frozen(image))
        object.__setattr__(self, "people", tuple(self.people))
        object.__setattr__(self, "rasters", MappingProxyType(dict(self.rasters)))

    @property
    def size(self) -> Size:
        """(height, width) of the picture."""
        return self.image.shape[0], self.image.shape[1]

    def warped(self, crop: Crop, *, fill: ArrayLike = 0) -> "Sample":
        """Return the sample as seen in the window of ``crop``; outside is ``fill``."""
        colour = tuple(float(part) for part in np.broadcast_to(np.asarray(fill), (3,)))
        return replace(
            self,
            image=warp(self.image, crop.matrix, crop.size, interpolation="linear", fill=colour),
            people=tuple(person.warped(crop) for person in self.people),
            camera=None if self.camera is None else self.camera.cropped(crop.matrix, crop.size),
            rasters={name: raster.warped(crop) for name, raster in self.rasters.items()},
        )

    def mirrored(self) -> "Sample":
        """Return the sample seen in a mirror; twice gives the sample back."""
        return self.warped(Crop.whole(self.size).mirrored())


def layers_of(people: Sequence[Person], name: str) -> list[Person]:
    """Return who has a raster called ``name``, larger people first: in pictures they lie behind."""
    layers = [person for person in people if name in person.annotations]
    return sorted(layers, key=lambda person: -float(np.prod(person.box[2:] - person.box[:2])))


def composite(people: Sequence[Person], name: str, size: Size) -> Raster | None:
    """Paste everyone's raster called ``name`` on one picture of ``size``.

    Larger people first, so that smaller ones stay whole; background labels never cover a part.
    Returns ``None`` when nobody has that raster.
    """
    layers = layers_of(people, name)
    if not layers:
        return None
    result = layers[0].raster(name).placed(size)
    values, valid = result.values.copy(), result.mask.copy()
    for person in layers[1:]:
        layer = person.raster(name)
        inner, outer = layer.overlap(size)
        cover = layer.mask[inner]
        if layer.vocabulary is not None:
            background = layer.values[inner] == layer.vocabulary.background
            cover = cover & ~(background & valid[outer])
        values[outer][cover] = layer.values[inner][cover]
        valid[outer] |= cover
    return replace(result, values=values, valid=valid)
