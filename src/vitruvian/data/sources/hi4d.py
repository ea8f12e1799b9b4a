# SPDX-License-Identifier: Apache-2.0
"""Hi4D as it is distributed, with depth and normals rendered from its scans beside it.

::

    HI4D/pair28/dance28/images/4/000001.jpg            photograph of camera 4
                        seg/img_seg_mask/4/all/000001.png   both people
                        cameras/rgb_cameras.npz        ids, intrinsics, extrinsics
                        depth/4/000001.npy             metres, rendered from frames/mesh-f00001.obj
                        normals/4/000001.npy           unit vectors

Pairs may lie in folders of their own (``pair28/pair28_1/pair28/…``), as the archives unpack. The
two people of a photograph are one "person" here: the evaluation compares all person pixels
together (Yin et al., arXiv 2303.15380; the pairs 28, 32 and 37 and camera 4 are those of the
Sapiens paper).
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vitruvian.camera import Camera
from vitruvian.data.options import Missing
from vitruvian.data.sources.files import Entry, Known, list_pictures
from vitruvian.data.sources.folder import Paired
from vitruvian.data.sources.maps import SUFFIXES, MapSettings
from vitruvian.errors import InputError

PAIRS = ("28", "32", "37")
CAMERA = 4


class Hi4D(Paired):
    """Photographs of one camera with masks, rendered maps and calibration."""

    def __init__(
        self,
        pairs: Sequence[tuple[Entry, Mapping[str, Path]]],
        cameras: Mapping[str, tuple[Path, int]],
        settings: MapSettings,
        *,
        what: str,
        missing: Missing = "raise",
    ) -> None:
        """Take pictures with their maps, and picture → (file of cameras, number of the camera)."""
        super().__init__(pairs, settings, what=what, missing=missing)
        self._cameras = dict(cameras)
        self._read: dict[tuple[Path, int], tuple[np.ndarray, np.ndarray]] = {}

    def known(self, index: int, size: tuple[int, int]) -> Known:
        """Read the maps and the calibration of a picture."""
        known = super().known(index, size)
        key = self._cameras[self.entries[index].name]
        if key not in self._read:
            self._read[key] = read_camera(*key)
        matrix, outer = self._read[key]
        camera = Camera(matrix=matrix, size=size, rotation=outer[:, :3], translation=outer[:, 3])
        return Known(people=known.people, rasters=known.rasters, camera=camera)


def read_camera(path: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one camera of ``rgb_cameras.npz``.

    Returns:
        Its matrix (3, 3) and world-to-camera [R | t] (3, 4).

    Raises:
        InputError: if the file is another, or has no such camera.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            ids = [int(one) for one in np.asarray(archive["ids"]).ravel()]
            inner, outer = archive["intrinsics"], archive["extrinsics"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no cameras of Hi4D ({error})") from error
    if number not in ids:
        raise InputError(f"{path}: no camera {number}, only {', '.join(map(str, ids))}")
    place = ids.index(number)
    return np.asarray(inner[place], np.float64), np.asarray(outer[place], np.float64)[:3, :4]


def open_hi4d(
    root: str | Path,
    *,
    pairs: Sequence[str] = PAIRS,
    camera: int = CAMERA,
    missing: Missing = "raise",
) -> Hi4D:
    """Read Hi4D where it was unpacked.

    Args:
        root: folder that holds the pairs.
        pairs: their numbers.
        camera: whose photographs.
        missing: whether a photograph without mask or maps is an error or left out.

    Raises:
        InputError: if there is none, or files are missing.
    """
    base = Path(root)
    wanted = re.compile(rf"pair0*({'|'.join(pairs)})(_\d+)?$")
    found: list[tuple[Entry, dict[str, Path]]] = []
    cameras: dict[str, tuple[Path, int]] = {}
    for folder in sorted(base.rglob(f"images/{camera}")):
        action = folder.parents[1]
        inside = action.relative_to(base).parts
        if not any(wanted.fullmatch(part) for part in inside):
            continue
        for picture in list_pictures(folder):
            stem = picture.name.rpartition(".")[0]
            name = f"{'/'.join(inside)}/{picture.name}"
            maps = {"mask": action / "seg" / "img_seg_mask" / str(camera) / "all" / f"{stem}.png"}
            for role in ("depth", "normals"):
                place = action / role / str(camera)
                there = [place / f"{stem}{suffix}" for suffix in SUFFIXES]
                maps[role] = next((path for path in there if path.is_file()), place / f"{stem}.npy")
            found.append((Entry(name, picture.path), maps))
            cameras[name] = (action / "cameras" / "rgb_cameras.npz", camera)
    if not found:
        raise InputError(
            f"{base}: no pairNN/ACTION/images/{camera} with photographs for the pairs "
            f"{', '.join(pairs)}"
        )
    settings = MapSettings(depth_kind="metric", convention="opengl", holes="keep")
    return Hi4D(found, cameras, settings, what=str(base), missing=missing)
