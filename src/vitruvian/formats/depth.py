# SPDX-License-Identifier: Apache-2.0
"""Depth files: 16-bit PNG and OpenEXR, with kind, unit and scale inside.

PNG: depth = offset + stored / scale, and stored 0 is invalid. Metric depth is written in
millimetres (offset 0, scale 1000), which other tools read without asking; other kinds spread their
own range over 1 … 65535.
EXR: channel Z is the value itself, channel A is 1 where it is valid, 0 elsewhere.
Colour pictures of depth are no data: `vitruvian.draw` makes them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.formats import exr, png
from vitruvian.formats.record import layout
from vitruvian.person import Raster

MILLIMETRES = 1000.0
_TOP = 65535
_LARGER = {"metric": "farther", "relative": "farther", "inverse": "nearer"}
_POSITIVE = ("metric", "inverse")  # kinds whose 0 means nothing


def write_png(path: str | Path, raster: Raster, *, scale: float | None = None) -> None:
    """Write a scalar map as 16-bit grey PNG.

    Args:
        path: the .png file.
        raster: law "scalar".
        scale: steps per unit; for metric depth 1000 (millimetres, up to 65.535 m) unless given
            (KITTI uses 256, up to 255.99 m), for other kinds what fills the range.

    Raises:
        InputError: if the map is no scalar, or does not fit the scale.
    """
    values, valid = _values(raster)
    inside = values[valid]
    low, high = (float(inside.min()), float(inside.max())) if len(inside) else (0.0, 1.0)
    offset = 0.0
    if raster.kind == "metric":
        scale = MILLIMETRES if scale is None else scale
    else:
        low, high = (min(low, 0.0), max(high, 1.0)) if raster.kind == "relative" else (low, high)
        if scale is None:
            scale = (_TOP - 1) / (high - low) if high > low else 1.0
        offset = low - 1 / scale
    if scale <= 0 or (high - offset) * scale >= _TOP + 0.5:
        raise InputError(
            f"{path}: a value of {high:g} does not fit 16 bits at {scale:g} steps per unit: give a "
            f"scale up to {_TOP / max(high - offset, 1e-9):.4g}, or write EXR"
        )
    steps = np.rint((values.astype(np.float64) - offset) * scale)
    stored = np.where(valid, np.clip(steps, 1, _TOP), 0).astype(np.uint16)
    text = _text(raster) | {
        "scale": repr(float(scale)),
        "offset": repr(float(offset)),
        "formula": "value = offset + stored / scale; stored 0 is invalid",
    }
    png.write(path, stored, text)


def read_png(path: str | Path, *, kind: str | None = None, scale: float | None = None) -> Raster:
    """Read a 16-bit depth PNG.

    Args:
        path: the .png file.
        kind: what it holds ("metric", "relative", "inverse"), where the file does not say.
        scale: stored steps per unit, where the file does not say.

    Raises:
        InputError: if neither the file nor the arguments say kind and scale, or they disagree.
    """
    stored, text = png.read(path)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise InputError(f"{path}: {stored.dtype} {stored.shape}, wanted a 16-bit grey PNG")
    with layout(path, "a depth PNG"):
        kind = _agreed(path, "kind", text.get("kind"), kind)
        given = None if scale is None else repr(float(scale))
        steps = float(_agreed(path, "scale", text.get("scale"), given))
        offset = float(text.get("offset", "0"))
        values = np.where(stored > 0, offset + stored / steps, 0).astype(np.float32)
        return _raster(values, stored > 0, kind, text)


def write_exr(path: str | Path, raster: Raster) -> None:
    """Write a scalar map as float32 EXR, channels Z (0 where invalid) and A (1 where valid).

    Raises:
        InputError: if the map is no scalar.
        MissingExtraError: if the package OpenEXR is not installed.
    """
    values, valid = _values(raster)
    planes = {"Z": np.where(valid, values, 0), "A": valid.astype(np.float32)}
    exr.write(path, planes, _text(raster))


def read_exr(path: str | Path, *, kind: str | None = None) -> Raster:
    """Read depth from the channel Z of an EXR file.

    Invalid is what channel A says, or without one: 0, infinite and NaN.

    Raises:
        InputError: if there is no channel Z, or nothing says the kind.
        MissingExtraError: if the package OpenEXR is not installed.
    """
    planes, text = exr.read(path)
    if "Z" not in planes:
        raise InputError(f"{path}: channels {', '.join(sorted(planes))}, wanted Z")
    with layout(path, "a depth EXR"):
        values = planes["Z"]
        valid = np.isfinite(values) & (planes["A"] > 0.5 if "A" in planes else values != 0)
        kind = _agreed(path, "kind", text.get("kind"), kind)
        return _raster(np.where(valid, values, np.float32(0)), valid, kind, text)


def _values(raster: Raster) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if raster.law != "scalar":
        raise InputError(f"a depth file holds a scalar map, this one is a {raster.law} map")
    valid = raster.mask & np.isfinite(raster.values)
    if raster.kind in _POSITIVE:
        valid = valid & (raster.values > 0)
    return np.where(valid, raster.values, 0), valid


def _text(raster: Raster) -> dict[str, str]:
    kind = raster.kind or ""
    return {
        "kind": kind,
        "unit": "metre" if kind == "metric" else "none",
        "larger_is": _LARGER.get(kind, "not stated"),
        "origin": f"{raster.origin[0]} {raster.origin[1]}",
        "software": "vitruvian",
    }


def _agreed(path: str | Path, what: str, stated: str | None, given: str | None) -> str:
    """Return what the file or the caller says; a contradiction or silence is an error."""
    if stated is None and given is None:
        raise InputError(f"{path} does not say its {what}: give {what}=")
    if stated is not None and given is not None and stated != given:
        raise InputError(f"{path} says {what} {stated}, the call says {given}: leave one out")
    return str(given if stated is None else stated)


def _raster(
    values: NDArray[np.float32], valid: NDArray[np.bool_], kind: str, text: dict[str, Any]
) -> Raster:
    x, y = (int(part) for part in text.get("origin", "0 0").split())
    return Raster(law="scalar", values=values, valid=valid, kind=kind or None, origin=(x, y))
