# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures and maps with equal stems, and lists of such files.

::

    SET/images/0001.jpg  SET/masks/0001.png  SET/depths/0001.npy  SET/normals/0001.npy
    SET/parts/0001.png   SET/albedo/0001.png SET/camera_intrinsics/0001.txt

Each picture shows one person, who has all its maps; the mask, or else what the maps mark, is where
they are. The names of the folders are those of the published layouts and their usual variants.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.data.options import Missing
from vitruvian.data.sources.files import (
    PICTURES,
    Entry,
    Files,
    Known,
    files_by_stem,
    list_pictures,
    listed,
    nearest_folder,
)
from vitruvian.data.sources.maps import (
    SUFFIXES,
    MapSettings,
    read_colour,
    read_depth,
    read_labels,
    read_mask,
    read_normals,
)
from vitruvian.errors import InputError
from vitruvian.geometry import box_of_mask
from vitruvian.person import Annotation, Person, Raster
from vitruvian.vocabulary import Vocabulary, make

ROLES: Mapping[str, tuple[str, ...]] = {
    "images": ("images", "image", "rgb", "rgbs", "imgs", "img", "photos", "JPEGImages"),
    "mask": ("masks", "mask", "silhouettes", "alpha"),
    "parts": (
        *("parts", "labels", "label", "segmentations", "segmentation", "segs", "seg"),
        *("annotations", "Category_ids", "SegmentationClassAug", "SegmentationClass"),
    ),
    "depth": ("depths", "depth"),
    "normals": ("normals", "normal"),
    "albedo": ("albedos", "albedo"),
    "intrinsics": ("camera_intrinsics", "intrinsics"),
    "extrinsics": ("camera_extrinsics", "extrinsics"),
}
"""What a folder may hold → the names it goes by."""
_MATRICES = ("intrinsics", "extrinsics")


def silhouette() -> Vocabulary:
    """Return the vocabulary of plain masks: background and person."""
    return make("silhouette", ["background", "person"], kind="parts", mirror_pairs=[])


class Paired(Files):
    """Pictures with maps, each in a file of its own; one person a picture."""

    def __init__(
        self,
        pairs: Sequence[tuple[Entry, Mapping[str, Path]]],
        settings: MapSettings,
        *,
        what: str,
        missing: Missing = "raise",
    ) -> None:
        """Take pictures with their maps by role, see ``ROLES``.

        Raises:
            InputError: if there is none, or files are missing.
        """
        lost = [path for _, maps in pairs for path in maps.values() if not path.is_file()]
        if lost and missing == "raise":
            raise InputError(
                f"{what}: {listed(map(str, lost))} missing: complete the set, or leave such "
                "samples out with missing='skip'"
            )
        whole = [(e, maps) for e, maps in pairs if all(p.is_file() for p in maps.values())]
        super().__init__((entry for entry, _ in whole), what=what, missing=missing)
        self.settings = settings
        self._maps = {entry.name: dict(maps) for entry, maps in whole}

    def people(self) -> NDArray[np.int32]:
        """One each."""
        return np.ones(len(self), dtype=np.int32)

    def known(self, index: int, size: tuple[int, int]) -> Known:
        """Read the maps of a picture."""
        maps = self._maps[self.entries[index].name]
        annotations: dict[str, Annotation] = {}
        mask = read_mask(maps["mask"], size) if "mask" in maps else None
        if "parts" in maps:
            annotations["parts"] = read_labels(maps["parts"], size, self.settings)
        if "depth" in maps:
            annotations["depth"] = read_depth(maps["depth"], size, self.settings, mask)
        if "normals" in maps:
            annotations["normals"] = read_normals(maps["normals"], size, self.settings, mask)
        if "albedo" in maps:
            annotations["albedo"] = read_colour(maps["albedo"], size, mask)
        if mask is not None and not annotations:
            labels = mask.astype(np.uint8)
            annotations["mask"] = Raster(law="label", values=labels, vocabulary=silhouette())
        box = _box(size, mask, annotations)
        return Known(people=(Person(box=box, annotations=annotations),), camera=_camera(maps, size))


def _box(
    size: tuple[int, int], mask: NDArray[np.bool_] | None, annotations: Mapping[str, Annotation]
) -> NDArray[np.float64]:
    """Return where the person is: by the mask, else by parts, else by what is valid."""
    there = mask
    for raster in annotations.values():
        if there is None and isinstance(raster, Raster):
            there = raster.mask
            if raster.vocabulary is not None:
                there = there & (raster.values != raster.vocabulary.background)
    box = None if there is None else box_of_mask(there)
    whole = np.array([0, 0, size[1] - 1, size[0] - 1], dtype=np.float64)
    return whole if box is None else box


def _camera(maps: Mapping[str, Path], size: tuple[int, int]) -> Camera | None:
    if "intrinsics" not in maps:
        return None
    matrix = _matrix(maps["intrinsics"], ((3, 3),))
    placed: dict[str, Any] = {}
    if "extrinsics" in maps:
        outer = _matrix(maps["extrinsics"], ((4, 4), (3, 4)))
        placed = {"rotation": outer[:3, :3], "translation": outer[:3, 3]}
    try:
        return Camera(matrix=matrix, size=size, **placed)
    except InputError as error:
        raise InputError(f"{maps['intrinsics']}: {error}") from error


def _matrix(path: Path, shapes: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    try:
        if path.suffix.lower() == ".npy":
            matrix = np.load(path, allow_pickle=False).astype(np.float64)
        else:
            text = path.read_text(encoding="utf-8").replace(",", " ")
            matrix = np.array(
                [[float(v) for v in r.split()] for r in text.splitlines() if r.split()]
            )
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no matrix in it ({error})") from error
    if matrix.shape not in shapes:
        wanted = " or ".join(f"{a}×{b}" for a, b in shapes)
        raise InputError(f"{path}: a matrix of shape {matrix.shape}, wanted {wanted}")
    return matrix


def find_roles(root: Path) -> dict[str, Path]:
    """Return the folders in ``root`` by what they hold."""
    found: dict[str, Path] = {}
    for role, names in ROLES.items():
        folders = [f for f in (nearest_folder(root, name) for name in names) if f is not None]
        if len(set(folders)) > 1:
            raise InputError(
                f"{root}: {' and '.join(f.name for f in folders)} both look like {role}: say which "
                "with folders="
            )
        if folders:
            found[role] = folders[0]
    return found


def open_folder(
    root: str | Path,
    settings: MapSettings | None = None,
    *,
    folders: Mapping[str, str | Path] | None = None,
    missing: Missing = "raise",
) -> Paired:
    """Read folders of pictures and maps with equal stems.

    Args:
        root: the folder that holds them.
        settings: what the files do not say.
        folders: role → folder (in ``root``, or anywhere), where names are not the usual ones;
            ``ROLES`` lists the roles.
        missing: whether a picture without one of the maps is an error or left out; of the usual
            folders, also a map without its picture.

    Raises:
        InputError: if there are no pictures or no maps, or some of them lack.
    """
    base = Path(root)
    if folders is None:
        found = find_roles(base)
    else:
        unknown = set(folders) - set(ROLES)
        if unknown:
            raise InputError(f"no role {', '.join(unknown)}: wanted {', '.join(ROLES)}")
        found = {role: base / folder for role, folder in folders.items()}
    if "images" not in found or len(found) == 1:
        here = (
            ", ".join(p.name for p in sorted(base.iterdir()) if p.is_dir()) if base.is_dir() else ""
        )
        raise InputError(
            f"{base}: wanted a folder of pictures ({', '.join(ROLES['images'][:4])}, …) and others "
            f"of maps (masks, parts, depths, normals, …), found {here or 'no folders'}"
        )
    maps = {
        role: files_by_stem(folder, (".txt", ".npy") if role in _MATRICES else SUFFIXES)
        for role, folder in found.items()
        if role != "images"
    }
    pairs: list[tuple[Entry, dict[str, Path]]] = []
    for entry in list_pictures(found["images"]):
        stem = entry.name.rpartition(".")[0]
        # a path that does not exist says what is missing
        lost = {role: found[role] / f"{stem}.*" for role in maps}
        pairs.append((entry, {role: maps[role].get(stem, lost[role]) for role in maps}))
    seen: dict[str, str] = {}
    for entry, _ in pairs:
        stem = entry.name.rpartition(".")[0]
        if stem in seen:
            raise InputError(
                f"{found['images']}: {seen[stem]} and {entry.name} would share their maps: keep "
                f"one of them (pictures are {', '.join(sorted(PICTURES))})"
            )
        seen[stem] = entry.name
    if folders is None and missing == "raise":
        _no_orphans(found, maps, seen.keys())
    return Paired(pairs, settings or MapSettings(), what=str(base), missing=missing)


def _no_orphans(
    found: Mapping[str, Path], maps: Mapping[str, Mapping[str, Path]], stems: Collection[str]
) -> None:
    """Refuse maps that belong to no picture: a picture was lost, or has another name."""
    for role, files in maps.items():
        orphans = sorted(path.name for stem, path in files.items() if stem not in stems)
        if orphans:
            raise InputError(
                f"{found[role]}: of {len(files)} files these belong to no picture in "
                f"{found['images']}: {listed(orphans)} · wanted a picture of the same stem for "
                "each · bring the pictures back, or leave these out with --missing skip"
            )
