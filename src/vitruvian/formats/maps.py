# SPDX-License-Identifier: Apache-2.0
"""Part labels as palette PNG with ``classes.json``, and any map as float ``.npz``."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.files import DAMAGED, atomic, read_json, write_json
from vitruvian.formats import png
from vitruvian.formats.record import (
    CONVENTION,
    describe_vocabulary,
    layout,
    rebuild_vocabulary,
)
from vitruvian.person import Raster
from vitruvian.vocabulary import Vocabulary, available, load

CLASSES = "classes.json"
"""Name of the file beside label maps that says what their values mean."""
IGNORE = 255
_UNKNOWN_COLOUR = (224, 224, 192)

# -------------------------------------------------------------------------------------- labels


def write_labels(path: str | Path, raster: Raster, *, classes: bool = True) -> None:
    """Write part labels as a palette PNG: the value is the class, 255 is "not known".

    The name and version of the vocabulary are in the PNG; ``classes.json`` beside it lists names
    and colours.

    Args:
        path: the .png file.
        raster: law "label"; invalid pixels become 255.
        classes: write ``classes.json`` too (False when one folder gets many maps).
    """
    vocabulary = raster.vocabulary
    if raster.law != "label" or vocabulary is None:
        raise InputError(f"a label file holds a label map, this one is a {raster.law} map")
    palette = np.tile(np.array(_UNKNOWN_COLOUR, np.uint8), (256, 1))
    palette[: len(vocabulary)] = vocabulary.colours
    text = {
        "vocabulary": vocabulary.name,
        "vocabulary_version": vocabulary.version,
        "ignore": str(IGNORE),
        "origin": f"{raster.origin[0]} {raster.origin[1]}",
        "software": "vitruvian",
    }
    values = np.where(raster.mask, raster.values, np.uint8(IGNORE))
    png.write(path, values, text, palette)
    if classes:
        write_classes(Path(path).parent / CLASSES, vocabulary)


def write_classes(path: str | Path, vocabulary: Vocabulary) -> None:
    """Write what label values mean: value, name, RGB colour, mirror partner."""
    entries = [
        {
            "value": value,
            "name": name,
            "colour": vocabulary.colours[value].tolist(),
            "mirror": vocabulary.names[vocabulary.mirror[value]],
        }
        for value, name in enumerate(vocabulary.names)
    ]
    described = describe_vocabulary(vocabulary)
    fields = {"background": vocabulary.background, "ignore": IGNORE, "classes": entries}
    write_json(path, described | fields, indent=1)


def read_classes(path: str | Path) -> Vocabulary:
    """Read the vocabulary of a ``classes.json``."""
    content = read_json(path)
    with layout(path, "a classes.json"):
        names = [str(entry["name"]) for entry in content["classes"]]
        colours = [entry["colour"] for entry in content["classes"]]
        return rebuild_vocabulary(content, names, [], colours, kind="parts")


def read_labels(path: str | Path, *, vocabulary: Vocabulary | None = None) -> Raster:
    """Read part labels from a palette or grey 8-bit PNG.

    Args:
        path: the .png file.
        vocabulary: what its values mean. Otherwise ``classes.json`` beside it says so, or the PNG
            names a shipped vocabulary.

    Raises:
        InputError: if nothing says what the values mean, or a value is no class.
    """
    values, text = png.read(path)
    if values.dtype != np.uint8 or values.ndim != 2:
        raise InputError(
            f"{path}: {values.dtype} {values.shape}, values up to {values.max()}, wanted an 8-bit "
            "grey or palette PNG: one class below 256 a pixel"
        )
    if vocabulary is None:
        beside = Path(path).parent / CLASSES
        name = text.get("vocabulary", "")
        if beside.is_file():
            vocabulary = read_classes(beside)
        elif name in available():
            vocabulary = load(name)
        else:
            raise InputError(f"{path}: nothing says what its values mean: give vocabulary=")
    known = values[values != IGNORE]
    if len(known) and known.max() >= len(vocabulary):
        raise InputError(
            f"{path} has the value {known.max()}, {vocabulary.name} has {len(vocabulary)} classes "
            "from 0: give the vocabulary= it was made with"
        )
    x, y = (int(part) for part in text.get("origin", "0 0").split())
    valid = values != IGNORE
    values = np.where(valid, values, vocabulary.ignore if vocabulary.ignore is not None else 0)
    return Raster(law="label", values=values, valid=valid, vocabulary=vocabulary, origin=(x, y))


# ----------------------------------------------------------------------------------- any map


def write_npz(path: str | Path, raster: Raster) -> None:
    """Write any map with all it knows, lightly compressed; `numpy.load` reads it.

    Entries: ``values`` and ``valid`` (H, W) as they are inside the program; ``law``, ``kind``,
    ``origin`` (x, y), ``convention`` in words; for labels ``vocabulary``, ``vocabulary_version``
    and ``names``.
    """
    entries: dict[str, NDArray[Any]] = {
        "format": np.array("vitruvian raster 1"),
        "values": raster.values,
        "valid": raster.mask,
        "law": np.array(raster.law),
        "kind": np.array(raster.kind or ""),
        "origin": np.array(raster.origin),
        "convention": np.array(_words(raster)),
    }
    if raster.vocabulary is not None:
        entries["vocabulary"] = np.array(raster.vocabulary.name)
        entries["vocabulary_version"] = np.array(raster.vocabulary.version)
        entries["names"] = np.array(raster.vocabulary.names)
        entries["colours"] = raster.vocabulary.colours
        entries["described"] = np.array(json.dumps(describe_vocabulary(raster.vocabulary)))
    # numpy's own compressed writer knows only zlib's slow default level
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, array in entries.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                contiguous = np.asarray(array, order="C")  # keeps scalars scalar
                np.lib.format.write_array(file, contiguous, allow_pickle=False)


def _words(raster: Raster) -> str:
    words = {
        "label": "value = class index, 255 = not known",
        "scalar": {
            "metric": "depth z in metres, larger = farther",
            "relative": "depth, 0 nearest to 1 farthest of the person",
            "inverse": "inverse depth, larger = nearer",
        }.get(raster.kind or "", "see kind"),
        "vector": "unit vectors in camera space: x right, y down, z forward, towards the viewer",
        "colour": "sRGB",
        "position": "metres in camera space: x right, y down, z forward",
    }[raster.law]
    return f"{words}; {CONVENTION}; origin is the picture pixel x, y under values[0, 0]"


def read_npz(path: str | Path) -> Raster:
    """Read what `write_npz` wrote; nothing in the file is executed.

    Raises:
        InputError: if the file is missing, damaged, or another .npz.
    """
    entries = read_arrays(path)
    with layout(path, "a map written by Vitruvian"):
        vocabulary = None
        if "described" in entries:
            names = [str(name) for name in entries["names"]]
            described = json.loads(str(entries["described"]))
            vocabulary = rebuild_vocabulary(
                described, names, [], entries["colours"].tolist(), kind="parts"
            )
        law: Any = str(entries["law"])
        x, y = (int(part) for part in entries["origin"])
        return Raster(
            law=law,
            values=entries["values"],
            valid=entries["valid"],
            kind=str(entries["kind"]) or None,
            origin=(x, y),
            vocabulary=vocabulary,
        )


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of any .npz by name; nothing in the file is executed.

    Raises:
        InputError: if the file is missing, damaged, or no .npz.
    """
    try:
        with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}
    except DAMAGED as error:
        raise InputError(f"{path}: no intact .npz file ({error})") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
