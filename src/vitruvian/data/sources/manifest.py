# SPDX-License-Identifier: Apache-2.0
"""``train.json``: a list of samples, each naming its files.

::

    [{"image": "rgb/1.png", "mask": "mask/1.png", "depth": "depth/1.npy", "normal": "normal/1.npy",
      "intrinsics": "camera_intrinsics/1.txt", "id": "scan 1"}, …]

The list may also stand under "samples", "data" or "items". Paths are relative to the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitruvian.data.options import Missing
from vitruvian.data.sources.files import Entry
from vitruvian.data.sources.folder import Paired
from vitruvian.data.sources.maps import MapSettings
from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.formats.record import layout

_KEYS: Mapping[str, tuple[str, ...]] = {
    "images": ("image", "img", "rgb", "picture", "file_name", "image_path", "img_path", "rgb_path"),
    "mask": ("mask", "mask_path"),
    "parts": ("parts", "label", "labels", "seg", "segmentation", "seg_path", "label_path"),
    "depth": ("depth", "depth_path"),
    "normals": ("normals", "normal", "normal_path"),
    "albedo": ("albedo", "albedo_path"),
    "intrinsics": ("intrinsics", "camera_intrinsics", "K_path"),
    "extrinsics": ("extrinsics", "camera_extrinsics"),
}
_LISTS = ("samples", "data", "items")


def is_manifest(content: Any) -> bool:
    """Return whether JSON looks like such a list."""
    entries = _entries(content)
    return bool(entries) and isinstance(entries[0], dict) and bool(_pick(entries[0], "images"))


def _entries(content: Any) -> list[Any]:
    if isinstance(content, dict):
        found = next((content[key] for key in _LISTS if isinstance(content.get(key), list)), [])
        return list(found)
    return content if isinstance(content, list) else []


def _pick(entry: Mapping[str, Any], role: str) -> str | None:
    return next((entry[key] for key in _KEYS[role] if isinstance(entry.get(key), str)), None)


def open_manifest(
    path: str | Path, settings: MapSettings | None = None, *, missing: Missing = "raise"
) -> Paired:
    """Read a list of samples.

    Args:
        path: the .json file.
        settings: what the map files do not say.
        missing: whether a sample that lacks a file is an error or left out.

    Raises:
        InputError: if the file is no such list, a name occurs twice, or files are missing.
    """
    content = read_json(path)
    base = Path(path).parent
    pairs: list[tuple[Entry, dict[str, Path]]] = []
    with layout(path, "a list of samples"):
        if not is_manifest(content):
            raise InputError(
                f"{path}: wanted a list of samples, each with a path under 'image' (or "
                f"{', '.join(_KEYS['images'][1:4])}) and others under 'mask', 'depth', 'normal', …"
            )
        names: set[str] = set()
        for number, entry in enumerate(_entries(content)):
            picture = _pick(entry, "images")
            if picture is None:
                raise InputError(f"{path}: sample {number} names no picture, only {list(entry)}")
            name = str(entry.get("id", picture))
            if name in names:
                raise InputError(f"{path}: two samples are called {name!r}: give each its own 'id'")
            names.add(name)
            maps = {role: _pick(entry, role) for role in _KEYS if role != "images"}
            found = {role: base / one for role, one in maps.items() if one is not None}
            pairs.append((Entry(name, base / picture), found))
    return Paired(pairs, settings or MapSettings(), what=str(path), missing=missing)
