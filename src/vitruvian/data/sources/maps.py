# SPDX-License-Identifier: Apache-2.0
"""Maps of loose training sets: what a file holds, and what makes it unusable.

Understood are PNG (8 and 16 bits), .npy, .npz and .exr. What a file does not say (which classes,
which unit, which axes) has to be said; nothing is guessed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.colour import NORMAL_AXES, normal_signs
from vitruvian.correspondence import convert_labels
from vitruvian.data.options import Convention, DepthKind
from vitruvian.data.sources.files import check_size
from vitruvian.errors import InputError
from vitruvian.files import DAMAGED
from vitruvian.formats import depth as depth_files
from vitruvian.formats import maps as map_files
from vitruvian.formats import normals as normal_files
from vitruvian.formats import png
from vitruvian.person import Raster
from vitruvian.vocabulary import Vocabulary

SUFFIXES = (".png", ".npy", ".npz", ".exr", ".jpg", ".jpeg")
"""What a map may be; JPEG for masks and albedo only."""
_GRAZING = 0.01
_UNIT = 0.1  # largest departure of a normal's length from 1


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What map files do not say themselves.

    Attributes:
        parts: vocabulary of label maps.
        labels: label set their values are in, where that is another, see
            `vitruvian.correspondence.convert_labels`; such as "studio34".
        depth_kind: "metric" (metres, larger is farther), "relative" or "inverse".
        depth_scale: stored steps per unit (1000 for millimetres); 1 for floats.
        convention: axes of normals.
        facing: refuse normals of which less than 95 % face the viewer.
        holes: whether person pixels without depth or normal (NaN) are refused, or kept as
            not known.
    """

    parts: Vocabulary | None = None
    labels: str | None = None
    depth_kind: DepthKind | None = None
    depth_scale: float | None = None
    convention: Convention | None = None
    facing: bool = True
    holes: Literal["refuse", "keep"] = "refuse"


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read which pixels are the person: whatever is not 0.

    Raises:
        InputError: if nobody is there.
    """
    values = _values(path)
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    check_size(path, values.shape, size)
    # JPEG smears a few levels around every edge
    mask = np.asarray(values > (127 if path.suffix.lower() in (".jpg", ".jpeg") else 0))
    if not mask.any():
        raise InputError(
            f"{path}: the mask is empty, it marks nobody: remove the sample or mend the mask"
        )
    return mask


def read_labels(path: Path, size: tuple[int, int], settings: MapSettings) -> Raster:
    """Read a map of classes.

    Raises:
        InputError: if nothing says what the values mean, or a value is no class.
    """
    if path.suffix.lower() == ".png" and settings.labels is None:
        raster = map_files.read_labels(path, vocabulary=settings.parts)
        check_size(path, raster.size, size)
        return raster
    if settings.parts is None:
        raise InputError(f"{path}: nothing says what its values mean: name a vocabulary of parts")
    values = _values(path)
    check_size(path, values.shape, size)
    if values.ndim != 2 or values.min() < 0 or values.max() > 255 or (values % 1 != 0).any():
        raise InputError(
            f"{path}: {values.dtype} {values.shape} from {values.min()} to {values.max()}, wanted "
            f"one whole number per pixel from 0 to 255, the classes of {settings.parts.name!r}"
        )
    labels = values.astype(np.uint8)
    if settings.labels is not None:
        try:
            labels = convert_labels(labels, settings.labels, settings.parts)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return checked_labels(path, labels, settings.parts)


def checked_labels(path: Path, labels: NDArray[np.uint8], words: Vocabulary) -> Raster:
    """Return a label map, if every value is a class or "not known"."""
    ignore = 255 if words.ignore is None else words.ignore
    known = labels[labels != ignore]
    if len(known) and known.max() >= len(words):
        raise InputError(
            f"{path} has the value {known.max()}, {words.name} has {len(words)} classes from 0: "
            "name the vocabulary it was made with"
        )
    if words.ignore is None and len(known) < labels.size:
        return Raster(law="label", values=labels, valid=labels != ignore, vocabulary=words)
    return Raster(law="label", values=labels, vocabulary=words)


def read_depth(
    path: Path, size: tuple[int, int], settings: MapSettings, mask: NDArray[np.bool_] | None
) -> Raster:
    """Read a depth map; valid where the mask is and a depth is known.

    Raises:
        InputError: if nothing says the kind, or person pixels have no depth.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        raster = depth_files.read_png(path, kind=settings.depth_kind, scale=settings.depth_scale)
    elif suffix == ".exr":
        raster = depth_files.read_exr(path, kind=settings.depth_kind)
    else:
        values = _values(path)
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        if settings.depth_kind is None:
            raise InputError(
                f"{path} does not say what its depth means: give the kind (metric in metres, "
                "relative, inverse)"
            )
        floats = values.astype(np.float32) / np.float32(settings.depth_scale or 1)
        unknown = ~np.isfinite(floats)
        if settings.depth_kind != "relative":
            unknown |= floats <= 0
        clean = np.where(unknown, np.float32(0), floats)
        raster = Raster(law="scalar", values=clean, valid=~unknown, kind=settings.depth_kind)
        check_size(path, values.shape, size)
        _refuse_holes(path, np.isnan(floats), mask, settings, "depth")
    check_size(path, raster.size, size)
    return _within(raster, mask, path)


def read_normals(
    path: Path, size: tuple[int, int], settings: MapSettings, mask: NDArray[np.bool_] | None
) -> Raster:
    """Read a normal map into camera space; valid where the mask is and a normal is known.

    Raises:
        InputError: if nothing says its axes, its vectors have no unit length, or do not face the
            viewer.
    """
    suffix = path.suffix.lower()
    if suffix in (".png", ".exr"):
        read = normal_files.read_png if suffix == ".png" else normal_files.read_exr
        raster = read(path, convention=settings.convention, check=settings.facing and mask is None)
        check_size(path, raster.size, size)
        raster = _within(raster, mask, path)
        if mask is not None:
            _check_facing(path, raster.values[raster.mask], settings)
        return raster
    values = _values(path)
    check_size(path, values.shape, size)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InputError(f"{path}: {values.dtype} {values.shape}, wanted (height, width, 3) floats")
    if settings.convention is None:
        raise InputError(
            f"{path} does not say its axes: give the convention of the normals, opengl (a wall "
            "facing the camera is 0, 0, 1; x right, y up), opencv, directx or dsine"
        )
    vectors = values.astype(np.float32) * normal_signs(settings.convention)
    length = np.linalg.norm(vectors, axis=2)
    _refuse_holes(path, np.isnan(length), mask, settings, "normal")
    valid = np.isfinite(length) & (length > 1e-6)
    if mask is not None:
        valid &= mask
    inside = length[valid]
    if len(inside) and np.mean(np.abs(inside - 1) > _UNIT) > 0.05:
        raise InputError(
            f"{path}: its vectors are {np.median(inside):.3g} long in the middle, wanted 1: store "
            "unit normals from -1 to 1, not colours from 0 to 1 or 255"
        )
    safe = np.where(valid, length, 1)[..., None]
    unit = np.where(valid[..., None], vectors / safe, np.float32(0))
    _check_facing(path, unit[valid], settings)
    return Raster(law="vector", values=unit, valid=valid)


def read_colour(path: Path, size: tuple[int, int], mask: NDArray[np.bool_] | None) -> Raster:
    """Read a map of colours, such as albedo: sRGB."""
    pixels = image.read(path)
    check_size(path, pixels.shape, size)
    return Raster(law="colour", values=pixels, valid=mask)


def _check_facing(path: Path, normals: NDArray[np.float32], settings: MapSettings) -> None:
    if not settings.facing or not len(normals):
        return
    share = float(np.mean(normals[:, 2] < _GRAZING))
    if share >= normal_files.FACING_SHARE:
        return
    raw = normals * normal_signs(str(settings.convention or "opencv"))
    fitting = [
        name
        for name, signs in NORMAL_AXES.items()
        if np.mean(raw[:, 2] * signs[2] < _GRAZING) >= normal_files.FACING_SHARE
    ]
    hint = f"it would fit {' or '.join(fitting)}" if fitting else "no convention fits"
    raise InputError(
        f"{path}: read as {settings.convention or 'it says'}, only {share:.0%} of its normals face "
        f"the viewer, as visible surfaces do ({hint}): give the right convention, or facing=False"
    )


def _refuse_holes(
    path: Path,
    missing: NDArray[np.bool_],
    mask: NDArray[np.bool_] | None,
    settings: MapSettings,
    what: str,
) -> None:
    inside = missing if mask is None else missing & mask
    if settings.holes == "keep" or not inside.any():
        return
    of = inside.size if mask is None else int(mask.sum())
    raise InputError(
        f"{path}: {int(inside.sum())} of {of} {'' if mask is None else 'person '}pixels have no "
        f"{what} (NaN): write 0 where it is not known on purpose, or accept such holes with "
        "holes='keep'"
    )


def _within(raster: Raster, mask: NDArray[np.bool_] | None, path: Path) -> Raster:
    if mask is None:
        return raster
    check_size(path, raster.size, mask.shape)
    valid = raster.mask & mask
    where = valid if raster.values.ndim == 2 else valid[..., None]
    values = np.where(where, raster.values, np.float32(0))
    return Raster(law=raster.law, values=values, valid=valid, kind=raster.kind)


def _values(path: Path) -> NDArray[Any]:
    """Return the numbers of a PNG, JPEG, .npy or .npz file as they are."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        return png.read(path)[0]
    if suffix in (".jpg", ".jpeg"):
        return image.read(path)
    try:
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if suffix == ".npy":
                return loaded
            names = loaded.files
            chosen = "values" if "values" in names else names[0] if len(names) == 1 else None
            if chosen is None:
                raise InputError(f"{path} holds {', '.join(names)}: wanted one array")
            return loaded[chosen]
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path}: no intact {suffix} file ({error})") from error
