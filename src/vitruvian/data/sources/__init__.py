# SPDX-License-Identifier: Apache-2.0
"""Readers of the layouts that training data comes in, and how to tell them apart.

Each gives a `vitruvian.data.source.Source`: samples by number, in sorted order, read when wanted.
"""

import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vitruvian.data.options import SourceOptions
from vitruvian.data.reader import Shards
from vitruvian.data.shards import finished
from vitruvian.data.source import Source
from vitruvian.data.sources.coco import open_coco
from vitruvian.data.sources.files import list_pictures, listed, nearest_folder
from vitruvian.data.sources.folder import find_roles, open_folder
from vitruvian.data.sources.hi4d import open_hi4d
from vitruvian.data.sources.images import open_images
from vitruvian.data.sources.manifest import is_manifest, open_manifest
from vitruvian.data.sources.maps import MapSettings
from vitruvian.data.sources.names import open_aic, open_crowdpose, open_mpii
from vitruvian.data.sources.parts import open_parts
from vitruvian.data.sources.webdataset import Tars
from vitruvian.errors import InputError, unknown_name
from vitruvian.vocabulary import Vocabulary, load

__all__ = ["LAYOUTS", "Layout", "SourceOptions", "detect", "open_source"]

_HEAD = 1 << 20  # bytes in which the first entry of a list is looked for


def map_settings(options: SourceOptions) -> MapSettings:
    """Return what the readers of maps need of the options."""
    return MapSettings(
        parts=_words(options.parts),
        labels=options.labels,
        depth_kind=options.depth_kind,
        depth_scale=options.depth_scale,
        convention=options.normals,
        facing=options.facing,
        holes="keep" if options.holes else "refuse",
    )


def _words(name: str | None) -> Vocabulary | None:
    return None if name is None else load(name)


_MAPS = ("parts", "labels", "depth_kind", "depth_scale", "normals", "facing", "holes", "missing")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way training data is laid out.

    Attributes:
        name: as in ``vitruvian data pack --layout``.
        about: what it is, in a line.
        options: what `SourceOptions` it uses.
        open: reads it.
    """

    name: str
    about: str
    options: tuple[str, ...]
    open: Callable[[Path, SourceOptions], Source]


def _coco(path: Path, options: SourceOptions) -> Source:
    words = _words(options.points)
    return open_coco(path, options.images, vocabulary=words, missing=options.missing)


def _public(name: Any) -> Callable[[Path, SourceOptions], Source]:
    def read(path: Path, options: SourceOptions) -> Source:
        target, split = _words(options.parts), options.split or "train"
        return open_parts(path, name, target=target, missing=options.missing, split=split)

    return read


def _tars(path: Path, options: SourceOptions) -> Source:
    paths = [path] if path.is_file() else list(path.glob("*.tar"))
    return Tars(paths, missing=options.missing)


_ANNOTATED = ("images", "missing")
_PARSING = ("parts", "split", "missing")
_TABLE = (
    Layout(
        name="coco",
        about="keypoints JSON: COCO, COCO-WholeBody, the published 308 points, or your own",
        options=("images", "points", "missing"),
        open=_coco,
    ),
    Layout(
        name="mpii",
        about="MPII keypoints as JSON list",
        options=_ANNOTATED,
        open=lambda path, o: open_mpii(path, o.images, missing=o.missing),
    ),
    Layout(
        name="crowdpose",
        about="CrowdPose keypoints JSON",
        options=_ANNOTATED,
        open=lambda path, o: open_crowdpose(path, o.images, missing=o.missing),
    ),
    Layout(
        name="aic",
        about="AI Challenger keypoints JSON",
        options=_ANNOTATED,
        open=lambda path, o: open_aic(path, o.images, missing=o.missing),
    ),
    Layout(
        name="folder",
        about="folders of pictures, masks, parts, depths, normals, albedo with equal stems",
        options=_MAPS,
        open=lambda path, o: open_folder(path, map_settings(o), missing=o.missing),
    ),
    Layout(
        name="manifest",
        about="train.json: a list of samples, each naming its files",
        options=_MAPS,
        open=lambda path, o: open_manifest(path, map_settings(o), missing=o.missing),
    ),
    Layout(name="lip", about="LIP parsing", options=_PARSING, open=_public("lip")),
    Layout(name="cihp", about="CIHP parsing", options=_PARSING, open=_public("cihp")),
    Layout(name="atr", about="ATR parsing", options=("parts", "missing"), open=_public("atr")),
    Layout(
        name="hi4d",
        about="Hi4D, its test pairs seen by camera 4, with depth and normals made from its scans",
        options=("missing",),
        open=lambda path, o: open_hi4d(path, missing=o.missing),
    ),
    Layout(
        name="face",
        about="FaceSynthetics: 000001.png beside 000001_seg.png",
        options=("missing",),
        open=_public("face"),
    ),
    Layout(
        name="images",
        about="a folder of pictures, for pretraining",
        options=(),
        open=lambda path, _: open_images(path),
    ),
    Layout(
        name="webdataset",
        about="tars of pictures, one or a folder of them",
        options=("missing",),
        open=_tars,
    ),
    Layout(name="shards", about="packed shards", options=(), open=lambda path, _: Shards(path)),
)
LAYOUTS: Mapping[str, Layout] = MappingProxyType({entry.name: entry for entry in _TABLE})
"""Name → layout, in the order to show them."""


def open_source(
    path: str | Path, layout: str = "auto", options: SourceOptions | None = None
) -> tuple[Source, Layout]:
    """Read training data of any layout.

    Args:
        path: a folder, an annotation file, or a tar.
        layout: one of ``LAYOUTS``, or "auto" to tell from the files.
        options: what the files do not say.

    Returns:
        The samples, and the layout they were understood as.

    Raises:
        UnknownNameError: for another layout.
        InputError: if the files are not laid out so, or an option has no effect.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f"{place}: no such file or folder")
    name = detect(place) if layout == "auto" else layout
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    chosen, given = LAYOUTS[name], options or SourceOptions()
    idle = [
        field.name
        for field in fields(given)
        if getattr(given, field.name) != field.default and field.name not in chosen.options
    ]
    if idle:
        raise InputError(
            f"{', '.join(idle)} has no effect on {name} ({chosen.about}): leave it out, or name "
            "another layout"
        )
    if place.is_dir() and name in ("coco", "mpii", "crowdpose", "aic", "manifest"):
        inside = annotation_file(place)
        if name != "manifest" and given.images is None and (place / "images").is_dir():
            given = replace(given, images=place / "images")
        place = inside
    return chosen.open(place, given), chosen


def detect(path: Path) -> str:
    """Return the layout that files look like.

    Raises:
        InputError: if they look like none.
    """
    if path.is_file():
        if path.suffix == ".tar":
            return "webdataset"
        if path.suffix == ".json":
            return _detect_json(path)
        raise InputError(
            f"{path}: wanted a folder, a .json of annotations or a .tar; layouts are "
            f"{', '.join(LAYOUTS)}"
        )
    if finished(path):
        return "shards"
    if next(path.glob("*.tar"), None) is not None:
        return "webdataset"
    for name, folder in (
        ("lip", "TrainVal_parsing_annotations"),
        ("cihp", "Category_ids"),
        ("atr", "SegmentationClassAug"),
    ):
        splits = ("Training", "training", "Validation", "validation")
        inside = [path, *(p for p in map(path.joinpath, splits) if p.is_dir())]
        if any(nearest_folder(place, folder) is not None for place in inside):
            return name
    if any(next(path.glob(f"{'pair*/' * deep}*/cameras/rgb_cameras.npz"), None) for deep in (1, 3)):
        return "hi4d"
    roles = find_roles(path)
    if "images" in roles and len(roles) > 1 and not _json_in(roles.get("parts")):
        return "folder"
    if _json_in(path) or _json_in(path / "annotations"):
        return _detect_json(annotation_file(path))
    if list_pictures(path):
        return "images"
    raise InputError(
        f"{path}: no layout that is known, it holds "
        f"{listed((p.name for p in sorted(path.iterdir())), 6) or 'nothing'}: name one of "
        f"{', '.join(LAYOUTS)}"
    )


def _json_in(folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("*.json") if p.name != "classes.json")


def annotation_file(folder: Path) -> Path:
    """Return the one annotation file of a folder."""
    found = _json_in(folder) or _json_in(folder / "annotations")
    if len(found) != 1:
        raise InputError(
            f"{folder}: {listed(p.name for p in found) or 'no .json'}: name the annotation file "
            "itself"
        )
    return found[0]


def _detect_json(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
            if head.startswith("{"):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if content.find(b'"annotations"') >= 0 and content.find(b'"images"') >= 0:
                        return "coco"
                if is_manifest(json.loads(path.read_bytes())):
                    return "manifest"
            elif head.startswith("["):
                return _detect_list(path, head[1:].lstrip())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no annotations can be read from it ({error})") from error
    raise InputError(f"{path}: no layout that is known; name one of {', '.join(LAYOUTS)}")


def _detect_list(path: Path, text: str) -> str:
    first: Any = json.JSONDecoder().raw_decode(text)[0]
    if isinstance(first, dict):
        if "joints" in first and "joints_vis" in first:
            return "mpii"
        if "keypoint_annotations" in first:
            return "aic"
        if is_manifest([first]):
            return "manifest"
    raise InputError(
        f"{path}: a list of {list(first)[:6] if isinstance(first, dict) else type(first).__name__}"
        f", no layout that is known; name one of {', '.join(LAYOUTS)}"
    )
