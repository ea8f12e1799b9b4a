# SPDX-License-Identifier: Apache-2.0
"""Hi4D as it is distributed, with depth and normals rendered from its scans beside it.

::

    HI4D/pair28/dance28/images/4/000001.jpg            photograph of camera 4
                        seg/img_seg_mask/4/all/000001.png   both people
                        cameras/rgb_cameras.npz        ids, intrinsics, extrinsics
                        frames/mesh-f00001.obj         the scan of that moment, metres
                        depth/4/000001.npy             metres, made by vitruvian synth hi4d
                        normals/4/000001.npy           unit vectors, the same

Pairs may lie in folders of their own (``pair28/pair28_1/pair28/…``), as the archives unpack. The
two people of a photograph are one "person" here: the evaluation compares all person pixels
together (Yin et al., arXiv 2303.15380; the pairs 28, 32 and 37 and camera 4 are those of the
Sapiens paper).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitruvian.camera import Camera
from vitruvian.data.options import Missing
from vitruvian.data.sources.files import Entry, Known, list_pictures
from vitruvian.data.sources.folder import Paired
from vitruvian.data.sources.maps import SUFFIXES, MapSettings
from vitruvian.errors import InputError
from vitruvian.files import DAMAGED

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
    except (KeyError, *DAMAGED) as error:
        raise InputError(f"{path}: no cameras of Hi4D ({error})") from error
    if number not in ids:
        raise InputError(f"{path}: no camera {number}, only {', '.join(map(str, ids))}")
    place = ids.index(number)
    return np.asarray(inner[place], np.float64), np.asarray(outer[place], np.float64)[:3, :4]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One photograph of Hi4D, and where all that belongs to it lies.

    Attributes:
        name: path of the photograph in the set, without the folders of the camera.
        picture: its file.
        mask: of both people.
        mesh: the scan of the moment.
        cameras: file of the calibrations.
        depth: rendered from the scan, .npy unless there is another.
        normals: the same.
    """

    name: str
    picture: Path
    mask: Path
    mesh: Path
    cameras: Path
    depth: Path
    normals: Path


def frames(root: str | Path, *, pairs: Sequence[str] = PAIRS, camera: int = CAMERA) -> list[Frame]:
    """List the photographs of one camera.

    Args:
        root: folder that holds the pairs.
        pairs: their numbers.
        camera: whose photographs.

    Raises:
        InputError: if there is none.
    """
    base = Path(root)
    wanted = re.compile(rf"pair0*({'|'.join(pairs)})(_\d+)?$")
    found: list[Frame] = []
    for folder in sorted(base.rglob(f"images/{camera}")):
        action = folder.parents[1]
        inside = action.relative_to(base).parts
        if not any(wanted.fullmatch(part) for part in inside):
            continue
        for entry in list_pictures(folder):
            stem = entry.name.rpartition(".")[0]
            maps = {role: _map(action / role / str(camera), stem) for role in ("depth", "normals")}
            found.append(
                Frame(
                    name=f"{'/'.join(inside)}/{entry.name}",
                    picture=entry.path,
                    mask=action / "seg" / "img_seg_mask" / str(camera) / "all" / f"{stem}.png",
                    mesh=_mesh(action / "frames", stem),
                    cameras=action / "cameras" / "rgb_cameras.npz",
                    **maps,
                )
            )
    if not found:
        raise InputError(
            f"{base}: no pairNN/ACTION/images/{camera} with photographs for the pairs "
            f"{', '.join(pairs)}"
        )
    return found


def _map(folder: Path, stem: str) -> Path:
    there = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((path for path in there if path.is_file()), folder / f"{stem}.npy")


def _mesh(folder: Path, stem: str) -> Path:
    number = f"{int(stem):05d}" if stem.isdecimal() else stem
    return folder / f"mesh-f{number}.obj"


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
    every = frames(root, pairs=pairs, camera=camera)
    unmade = sum(not (one.depth.is_file() and one.normals.is_file()) for one in every)
    if unmade and missing == "raise":
        raise InputError(
            f"{root}: {unmade} of {len(every)} photographs have no depth or normals yet: make them "
            f"from the scans with  vitruvian synth hi4d {root}"
        )
    found = [
        (
            Entry(one.name, one.picture),
            {"mask": one.mask, "depth": one.depth, "normals": one.normals},
        )
        for one in every
    ]
    cameras = {one.name: (one.cameras, camera) for one in every}
    settings = MapSettings(depth_kind="metric", convention="opengl", holes="keep")
    return Hi4D(found, cameras, settings, what=str(root), missing=missing)
