# SPDX-License-Identifier: Apache-2.0
"""Maps as members of a shard, each by the law of its values.

==========  =========================================================  ============================
law         stored as                                                  kept to
==========  =========================================================  ============================
label       8-bit grey PNG, 255 = not known                            exactly
scalar      16-bit grey PNG: offset + step · stored, 0 = invalid       metric, inverse: 5e-5 of the
            (``metric``, ``inverse``, ``relative``, where that is      value; relative: 1e-5 of its
            exact enough); else float32 ``.npz``                       range; ``.npz``: exactly
vector      16-bit grey PNG of twice the height, octahedral:           0.005 degrees
            u above, v below, 0 = invalid
colour      8-bit RGB PNG, or 16-bit for floats                        exactly, floats to 1e-5
position    float32 ``.npz``                                           exactly
==========  =========================================================  ============================

Values of invalid pixels are not kept: they come back as 0 (labels: as the ignored value). Which
pixels are valid is kept exactly. What a reader has to know is in the entry that goes into the
sample's JSON, so that a few lines of any language can read the files.

Octahedral: a unit vector n, divided by |x| + |y| + |z|, gives a = (x, y); where it points away from
the viewer (z > 0), a is folded outwards to sign(a) (1 - |a| with x and y swapped). Stored is
32768 + round(32767 a), so a surface that faces the viewer is 32768 above and below.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.files import DAMAGED
from vitruvian.person import Raster
from vitruvian.vocabulary import Vocabulary

UNKNOWN = 255
"""Stored label of a pixel that says nothing."""
RELATIVE_ERROR = 5e-5
"""Largest relative error of a metric or inverse scalar in 16 bits; beyond it float32 is stored."""

_POSITIVE = ("metric", "inverse")  # kinds whose 0 means nothing
_STEPS = 65534  # between the stored values 1 and 65535
_HALF = 32767
_EPOCH = (1980, 1, 1, 0, 0, 0)
_Files = dict[str, bytes]
_Stored = tuple[dict[str, Any], _Files, NDArray[np.bool_]]  # JSON entry, files, valid pixels


def encode_raster(raster: Raster) -> tuple[dict[str, Any], _Files]:
    """Turn a map into what its sample's JSON says of it, and its files by suffix.

    Raises:
        InputError: if a label map has more than 255 classes.
    """
    coder = {"label": _label, "scalar": _scalar, "vector": _vector, "colour": _colour}
    stored, files, valid = coder.get(raster.law, _floats)(raster)
    entry: dict[str, Any] = {"law": raster.law, "size": list(raster.size), **stored}
    if raster.origin != (0, 0):
        entry["origin"] = [int(part) for part in raster.origin]
    if raster.kind is not None:
        entry["kind"] = raster.kind
    if raster.valid is None and bool(valid.all()):
        entry["everywhere"] = True
    return entry, files


def decode_raster(
    entry: Mapping[str, Any], files: Mapping[str, bytes], vocabulary: Vocabulary | None = None
) -> Raster:
    """Return the map that ``encode_raster`` stored.

    Args:
        entry: what the sample's JSON says of it.
        files: its files by suffix.
        vocabulary: of a label map.

    Raises:
        InputError: if a file is missing, damaged, or not as large as the entry says.
    """
    law, size = entry["law"], (int(entry["size"][0]), int(entry["size"][1]))
    if law == "label":
        values = _png(files, "png", np.uint8, size)
        valid = values != UNKNOWN
        ignore = None if vocabulary is None else vocabulary.ignore
        if ignore != UNKNOWN:
            values = np.where(valid, values, np.uint8(0 if ignore is None else ignore))
    elif "step" in entry:
        stored = _png(files, "png", np.uint16, size)
        valid = stored > 0
        full = entry["offset"] + entry["step"] * stored.astype(np.float64)
        values = np.where(valid, full, 0).astype(np.float32)
    elif law == "vector":
        stored = _png(files, "png", np.uint16, (2 * size[0], size[1]))
        values, valid = _from_octahedral(stored)
    elif law == "colour":
        deep = entry["bits"] == 16
        values = _png(files, "png", np.uint16 if deep else np.uint8, (*size, 3))
        if deep:
            values = values.astype(np.float32) * np.float32(1 / 65535)
        valid = np.ones(size, np.bool_)
        if "valid.png" in files:
            valid = _png(files, "valid.png", np.uint8, size) > 0
    else:
        values, valid = _from_npz(files, size)
    x, y = entry.get("origin", (0, 0))
    return Raster(
        law=law,
        values=values,
        valid=None if entry.get("everywhere") else valid,
        origin=(int(x), int(y)),
        vocabulary=vocabulary,
        kind=entry.get("kind"),
    )


def without_invalid(raster: Raster) -> Raster:
    """Return the map as storing will give it back: 0 (or the ignored label) where it is invalid."""
    mask = raster.mask
    ignore = 0 if raster.vocabulary is None else raster.vocabulary.ignore or 0
    where = mask if raster.values.ndim == 2 else mask[..., None]
    fill = np.asarray(ignore if raster.law == "label" else 0, raster.values.dtype)
    return replace(raster, values=np.where(where, raster.values, fill))


# -------------------------------------------------------------------------------- law by law


def _label(raster: Raster) -> _Stored:
    mask = raster.mask
    if bool((raster.values[mask] == UNKNOWN).any()):
        raise InputError(
            f"a label map with the value {UNKNOWN} as a class cannot be stored: that value means "
            "'not known' in files; use at most 255 classes"
        )
    return {}, {"png": _to_png(np.where(mask, raster.values, np.uint8(UNKNOWN)))}, mask


def _scalar(raster: Raster) -> _Stored:
    values = raster.values.astype(np.float64)
    valid = raster.mask & np.isfinite(values)
    if raster.kind in _POSITIVE:
        valid &= values > 0
    inside = values[valid]
    low, high = (float(inside.min()), float(inside.max())) if len(inside) else (0.0, 0.0)
    step = (high - low) / _STEPS if high > low else 1.0
    exact_enough = step / 2 <= RELATIVE_ERROR * low or high == low
    if raster.kind != "relative" and not (raster.kind in _POSITIVE and exact_enough):
        return _floats(replace(raster, valid=valid))
    stored = np.zeros(raster.size, np.uint16)
    offset = low - step
    stored[valid] = np.clip(np.rint((inside - offset) / step), 1, 65535)
    return {"offset": offset, "step": step}, {"png": _to_png(stored)}, valid


def _vector(raster: Raster) -> _Stored:
    length = np.linalg.norm(raster.values, axis=2)
    valid = raster.mask & np.isfinite(length) & (length > 1e-6)
    inside = raster.values[valid].astype(np.float64)
    inside /= np.abs(inside).sum(axis=1, keepdims=True)
    plane = inside[:, :2]
    folded = np.copysign(1 - np.abs(plane[:, ::-1]), plane)
    plane = np.where(inside[:, 2:] > 0, folded, plane)
    stored = np.zeros((2, *raster.size), np.uint16)
    stored[:, valid] = (32768 + np.rint(plane * _HALF)).T
    return {"encoding": "octahedral"}, {"png": _to_png(stored.reshape(-1, raster.size[1]))}, valid


def _from_octahedral(stored: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    height, width = stored.shape[0] // 2, stored.shape[1]
    valid = stored[:height] > 0
    scale = np.float32(1 / _HALF)
    x = (stored[:height][valid].astype(np.float32) - np.float32(32768)) * scale
    y = (stored[height:][valid].astype(np.float32) - np.float32(32768)) * scale
    z = np.abs(x) + np.abs(y) - np.float32(1)  # towards the viewer is negative
    beyond = np.maximum(z, 0)
    x -= np.copysign(beyond, x)
    y -= np.copysign(beyond, y)
    length = np.sqrt(x * x + y * y + z * z)
    values = np.zeros((height, width, 3), np.float32)
    values[valid] = np.stack([x / length, y / length, z / length], axis=-1)
    return values, valid


def _colour(raster: Raster) -> _Stored:
    mask, values = raster.mask, raster.values
    deep = values.dtype != np.uint8
    if deep:
        values = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 65535).astype(np.uint16)
    files = {"png": _to_png(np.where(mask[..., None], values, values.dtype.type(0)))}
    if not mask.all():
        files["valid.png"] = _to_png(mask.astype(np.uint8) * np.uint8(255))
    return {"bits": 16 if deep else 8}, files, mask


def _floats(raster: Raster) -> _Stored:
    """Exact values and mask as ``.npz``; numpy's own writer is slow and may stamp the time."""
    finite = np.isfinite(raster.values)
    valid = raster.mask & (finite if finite.ndim == 2 else finite.all(axis=2))
    kept = without_invalid(replace(raster, valid=valid))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in (("values", kept.values), ("valid", valid)):
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(info, part.getvalue(), compresslevel=1)
    return {}, {"npz": buffer.getvalue()}, valid


def _from_npz(
    files: Mapping[str, bytes], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    try:
        with np.load(io.BytesIO(_file(files, "npz")), allow_pickle=False) as archive:
            values, valid = archive["values"], archive["valid"]
    except (KeyError, *DAMAGED) as error:
        raise InputError(f"its .npz is damaged ({error})") from error
    if values.shape[:2] != size or valid.shape != size:
        raise InputError(f"its .npz is {values.shape[:2]}, the sample says {size}")
    return values, valid


# --------------------------------------------------------------------------------------- PNG


def _to_png(values: NDArray[Any]) -> bytes:
    order = values if values.ndim == 2 else values[..., ::-1]
    done, data = cv2.imencode(".png", np.ascontiguousarray(order), [cv2.IMWRITE_PNG_COMPRESSION, 2])
    assert done
    return data.tobytes()


def _file(files: Mapping[str, bytes], suffix: str) -> bytes:
    if suffix not in files:
        raise InputError(f"its .{suffix} is missing, there are {sorted(files) or 'no files'}")
    return files[suffix]


def _png(
    files: Mapping[str, bytes], suffix: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    data = np.frombuffer(_file(files, suffix), np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if values is None:
        raise InputError(f"its .{suffix} is damaged")
    if values.dtype != dtype or values.shape != shape:
        raise InputError(
            f"its .{suffix} holds {values.dtype} {values.shape}, the sample says "
            f"{np.dtype(dtype)} {shape}"
        )
    if values.ndim == 3:
        values = cv2.cvtColor(values, cv2.COLOR_BGR2RGB)
    return cast("NDArray[Any]", values)
