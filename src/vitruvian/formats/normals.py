# SPDX-License-Identifier: Apache-2.0
"""Normal maps: 8- and 16-bit PNG and OpenEXR, with their convention inside.

Inside the program normals are in camera space (x right, y down, z forward) and point to the viewer.
Files use the axes of a convention, see ``vitruvian.colour.NORMAL_AXES``; "opengl" unless another is
asked for. PNG: value = 2 · stored / top - 1, and (0, 0, 0), which no unit vector gives, is invalid.
EXR: channels R, G, B are x, y, z themselves, channel A is 1 where they are valid.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.colour import colours_to_normals, normal_signs, normals_to_colours
from vitruvian.errors import InputError
from vitruvian.formats import exr, png
from vitruvian.formats.record import layout
from vitruvian.person import Raster

FACING_SHARE = 0.95
"""Share of normals that must face the viewer for a convention to be believed."""


def write_png(
    path: str | Path, raster: Raster, *, bits: Literal[8, 16] = 8, convention: str = "opengl"
) -> None:
    """Write a normal map as RGB PNG; 8 bits keep it to 0.4 degrees, 16 bits to 0.002.

    Raises:
        InputError: if the map is no vector map, or for other bits.
        UnknownNameError: for an unknown convention.
    """
    if bits not in (8, 16):
        raise InputError(f"normal maps have 8 or 16 bits, got {bits}")
    valid = _valid(raster)
    colours = np.zeros(raster.values.shape, np.uint8 if bits == 8 else np.uint16)
    seen = raster.values[valid]
    colours[valid] = normals_to_colours(seen, convention=convention, bits=bits)
    text = _text(raster, convention)
    text["formula"] = f"x, y, z = 2 * RGB / {2**bits - 1} - 1; RGB 0 0 0 is invalid"
    png.write(path, colours, text)


def read_png(path: str | Path, *, convention: str | None = None, check: bool = True) -> Raster:
    """Read a normal map from an 8- or 16-bit RGB PNG.

    Args:
        path: the .png file; with an alpha channel, 0 is invalid too.
        convention: its axes, where the file does not say.
        check: refuse a map of which less than ``FACING_SHARE`` faces the viewer, as visible
            surfaces do: its convention is another.

    Raises:
        InputError: if nothing says the convention, the file and the call disagree, or the check
            fails.
    """
    colours, text = png.read(path)
    if colours.ndim != 3:
        raise InputError(f"{path}: {colours.dtype} {colours.shape}, wanted an RGB PNG")
    with layout(path, "a normal map"):
        axes = _convention(path, text.get("convention"), convention)
        valid = colours[..., :3].max(axis=2) > 0
        if colours.shape[2] == 4:
            valid = valid & (colours[..., 3] > 0)
        vectors = colours_to_normals(colours[..., :3], convention=axes)
        return _raster(path, vectors, valid, axes, text, check)


def write_exr(path: str | Path, raster: Raster, *, convention: str = "opengl") -> None:
    """Write a normal map as float32 EXR.

    Raises:
        InputError: if the map is no vector map.
        UnknownNameError: for an unknown convention.
        MissingExtraError: if the package OpenEXR is not installed.
    """
    valid = _valid(raster)
    signed = np.where(valid[..., None], raster.values * normal_signs(convention), 0)
    planes = {name: signed[..., index] for index, name in enumerate("RGB")}
    exr.write(path, planes | {"A": valid.astype(np.float32)}, _text(raster, convention))


def read_exr(path: str | Path, *, convention: str | None = None, check: bool = True) -> Raster:
    """Read a normal map from the channels R, G, B or X, Y, Z of an EXR file.

    Without a channel A, vectors without length and NaN are invalid. Arguments and errors are those
    of `read_png`.
    """
    planes, text = exr.read(path)
    names = next((names for names in ("RGB", "XYZ") if set(names) <= set(planes)), None)
    if names is None:
        raise InputError(f"{path}: channels {', '.join(sorted(planes))}, wanted R, G, B or X, Y, Z")
    with layout(path, "a normal map"):
        axes = _convention(path, text.get("convention"), convention)
        vectors = np.stack([planes[name] for name in names], axis=-1) * normal_signs(axes)
        length = np.linalg.norm(vectors, axis=-1)
        valid = np.isfinite(length) & (length > 1e-6)
        if "A" in planes:
            valid = valid & (planes["A"] > 0.5)
        vectors = vectors / np.where(valid, length, 1)[..., None]
        return _raster(path, vectors, valid, axes, text, check)


def _valid(raster: Raster) -> NDArray[np.bool_]:
    if raster.law != "vector":
        raise InputError(f"a normal map is a vector map, this one is a {raster.law} map")
    return raster.mask & np.isfinite(raster.values.sum(axis=2))


def _text(raster: Raster, convention: str) -> dict[str, str]:
    return {
        "convention": convention,
        "content": "surface normals, unit vectors",
        "origin": f"{raster.origin[0]} {raster.origin[1]}",
        "software": "vitruvian",
    }


def _convention(path: str | Path, stated: str | None, given: str | None) -> str:
    if stated is None and given is None:
        raise InputError(
            f"{path} does not say its axes: give convention= opengl (a wall facing the camera is "
            "128, 128, 255), opencv, directx or dsine"
        )
    if stated is not None and given is not None and stated != given:
        raise InputError(f"{path} says convention {stated}, the call says {given}: leave one out")
    axes = str(given if stated is None else stated)
    normal_signs(axes)
    return axes


def _raster(
    path: str | Path,
    vectors: NDArray[Any],
    valid: NDArray[np.bool_],
    convention: str,
    text: dict[str, str],
    check: bool,
) -> Raster:
    facing = vectors[..., 2][valid] < 0.01  # grazing ones may be rounded away
    if check and len(facing) and facing.mean() < FACING_SHARE:
        raise InputError(
            f"{path}: read as {convention}, only {facing.mean():.0%} of its normals face the "
            "viewer, as visible surfaces do: give the right convention=, or check=False"
        )
    x, y = (int(part) for part in text.get("origin", "0 0").split())
    values = np.where(valid[..., None], vectors, 0).astype(np.float32)
    return Raster(law="vector", values=values, valid=valid, origin=(x, y))
