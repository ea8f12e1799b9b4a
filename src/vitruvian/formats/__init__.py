# SPDX-License-Identifier: Apache-2.0
"""Files that hold results: one table of their names, and one function that writes each.

``json``, ``results``, ``csv`` and ``parquet`` gather a whole run in one file, the others are files
per photograph. Every file says its conventions inside and has a reader in the module named here;
all appear whole or not at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from vitruvian.errors import InputError, missing_extra, unknown_name
from vitruvian.formats.record import Record
from vitruvian.person import Raster, Sample, composite

__all__ = [
    "FORMATS",
    "Format",
    "Record",
    "check_extra",
    "find",
    "picture_raster",
    "write_photo",
    "write_run",
]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write results.

    Attributes:
        name: as in ``vitruvian predict --write``.
        about: what it is, in a line.
        suffix: how its files end; for maps after the name of the task.
        scope: one file for a "run", or files for each "photo"; "drawing" is for looking only and
            made by `vitruvian.draw`.
        law: which annotations it holds.
        reader: the function that reads it back, or "" for drawings.
        extra: the optional dependency it needs, see `check_extra`.
        shared: a file that all photographs of one folder have in common, put beside theirs.
    """

    name: str
    about: str
    suffix: str
    scope: Literal["run", "photo", "drawing"]
    law: Literal["points", "label", "scalar", "vector", "raster", "any"]
    reader: str = ""
    extra: str | None = None
    shared: str = ""


_TABLE = (
    Format(
        name="json",
        about="COCO keypoints: boxes, points, names, links; one file for all",
        suffix="people.json",
        scope="run",
        law="points",
        reader="formats.coco.read",
    ),
    Format(
        name="results",
        about="COCO results list, for its evaluators",
        suffix="results.json",
        scope="run",
        law="points",
        reader="formats.coco.read",
    ),
    Format(
        name="csv",
        about="table with one row per keypoint",
        suffix="keypoints.csv",
        scope="run",
        law="points",
        reader="formats.tables.read_points",
    ),
    Format(
        name="parquet",
        about="table with one row per keypoint",
        suffix="keypoints.parquet",
        scope="run",
        law="points",
        reader="formats.tables.read_points",
    ),
    Format(
        name="openpose",
        about="OpenPose JSON (BODY_25, face, hands)",
        suffix="_keypoints.json",
        scope="photo",
        law="points",
        reader="formats.openpose.read",
    ),
    Format(
        name="labels-png",
        about="part labels as palette PNG, 255 not known, with classes.json",
        suffix=".png",
        scope="photo",
        law="label",
        reader="formats.maps.read_labels",
        shared="classes.json",
    ),
    Format(
        name="npz",
        about="every map as float arrays for numpy",
        suffix=".npz",
        scope="photo",
        law="raster",
        reader="formats.maps.read_npz",
    ),
    Format(
        name="depth-png",
        about="depth as 16-bit PNG, 0 invalid (metric: millimetres)",
        suffix=".png",
        scope="photo",
        law="scalar",
        reader="formats.depth.read_png",
    ),
    Format(
        name="depth-exr",
        about="depth as float EXR, channels Z and A",
        suffix=".exr",
        scope="photo",
        law="scalar",
        reader="formats.depth.read_exr",
        extra="exr",
    ),
    Format(
        name="normals-png",
        about="normals as 8-bit PNG",
        suffix=".png",
        scope="photo",
        law="vector",
        reader="formats.normals.read_png",
    ),
    Format(
        name="normals-png16",
        about="normals as 16-bit PNG",
        suffix="-16.png",
        scope="photo",
        law="vector",
        reader="formats.normals.read_png",
    ),
    Format(
        name="normals-exr",
        about="normals as float EXR, channels R, G, B and A",
        suffix=".exr",
        scope="photo",
        law="vector",
        reader="formats.normals.read_exr",
        extra="exr",
    ),
    Format(
        name="overlay",
        about="a picture per task, drawn over the photograph",
        suffix=".jpg",
        scope="drawing",
        law="any",
    ),
    Format(
        name="sheet",
        about="the photograph and all tasks side by side",
        suffix="_sheet.jpg",
        scope="drawing",
        law="any",
    ),
)
FORMATS: Mapping[str, Format] = MappingProxyType({entry.name: entry for entry in _TABLE})
"""Name → format, in the order to show them."""
_PACKAGES = {"exr": "OpenEXR"}  # extra → what it brings


def find(name: str) -> Format:
    """Return the format called ``name``.

    Raises:
        UnknownNameError: with close matches.
    """
    if name not in FORMATS:
        raise unknown_name("output format", name, FORMATS)
    return FORMATS[name]


def check_extra(entry: Format) -> None:
    """Return if the package that a format needs, if any, can be imported.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    if entry.extra is None:
        return
    package = _PACKAGES[entry.extra]
    try:
        import_module(package)
    except ImportError as error:
        raise missing_extra(package, entry.extra, f"writing {entry.name}") from error


def picture_raster(sample: Sample, task: str) -> Raster | None:
    """Return the map ``task`` of the whole picture: the sample's own, or everyone's pasted."""
    if task in sample.rasters:
        return sample.rasters[task].placed(sample.size)
    return composite(sample.people, task, sample.size)


def write_photo(
    name: str, sample: Sample, stem: str | Path, *, convention: str = "opengl"
) -> list[Path]:
    """Write the files of one photograph.

    Args:
        name: a format of scope "photo".
        sample: the photograph with its people.
        stem: path of the files without suffix; maps add "_" and their task: ``out/a`` gives
            ``out/a_depth.png``.
        convention: axes of normals in files.

    Returns:
        The files written, without the shared one; none where the sample has nothing of that kind.
    """
    entry = find(name)
    if entry.scope != "photo":
        raise InputError(f"{name!r} is no file per photograph: it is a {entry.scope}")
    base = Path(stem)
    if entry.law == "points":
        from vitruvian.formats import openpose

        tasks = _tasks(sample, "points")
        if not tasks and sample.people:
            return []
        path = base.with_name(base.name + entry.suffix)
        openpose.write(path, Record.of(sample), task=(tasks or ["pose"])[0])
        return [path]
    written: list[Path] = []
    for task in _tasks(sample, entry.law):
        raster = picture_raster(sample, task)
        if raster is not None:
            path = base.with_name(f"{base.name}_{task}{entry.suffix}")
            _write_map(name, path, raster, convention)
            written.append(path)
    return written


def write_run(
    name: str, records: Iterable[Record], folder: str | Path, *, task: str = "pose"
) -> Path:
    """Write the one file of a run.

    Args:
        name: a format of scope "run".
        records: all photographs.
        folder: where to put it.
        task: the points that json and results hold; tables hold those of every task.

    Returns:
        The file written.
    """
    entry = find(name)
    path = Path(folder) / entry.suffix
    if name in ("json", "results"):
        from vitruvian.formats import coco

        (coco.write_keypoints if name == "json" else coco.write_results)(path, records, task=task)
    elif name in ("csv", "parquet"):
        from vitruvian.formats import tables

        tables.write_points(path, records)
    else:
        raise InputError(f"{name!r} is no file of a whole run: it is a {entry.scope}")
    return path


def _tasks(sample: Sample, law: str) -> list[str]:
    """Names of the annotations of a law in a sample, in the order met."""
    names: dict[str, None] = {}
    for person in sample.people:
        for task, annotation in person.annotations.items():
            if annotation.law == law or (law == "raster" and annotation.law != "points"):
                names[task] = None
    for task, raster in sample.rasters.items():
        if raster.law == law or law == "raster":
            names[task] = None
    return list(names)


def _write_map(name: str, path: Path, raster: Raster, convention: str) -> None:
    from vitruvian.formats import depth, maps, normals

    if name == "labels-png":
        maps.write_labels(path, raster)
    elif name == "npz":
        maps.write_npz(path, raster)
    elif name == "depth-png":
        depth.write_png(path, raster)
    elif name == "depth-exr":
        depth.write_exr(path, raster)
    elif name == "normals-exr":
        normals.write_exr(path, raster, convention=convention)
    else:
        bits: Literal[8, 16] = 16 if name == "normals-png16" else 8
        normals.write_png(path, raster, bits=bits, convention=convention)
