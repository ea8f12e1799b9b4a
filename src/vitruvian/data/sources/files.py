# SPDX-License-Identifier: Apache-2.0
"""What sources of loose files share: finding pictures and their maps, saying what lacks."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.camera import Camera
from vitruvian.data.options import Missing
from vitruvian.errors import InputError
from vitruvian.person import Person, Raster, Sample

PICTURES = frozenset(
    f".{name}" for name in ("jpg", "jpeg", "jpe", "png", "webp", "bmp", "tif", "tiff", "avif")
)
"""What counts as a picture in a folder."""


@dataclass(frozen=True)
class Entry:
    """A picture by its name in the source and its path."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What a source knows of a picture besides its pixels."""

    people: tuple[Person, ...] = ()
    rasters: Mapping[str, Raster] | None = None
    camera: Camera | None = None


class Files:
    """Pictures in files, sorted by name; subclasses say what is known of each."""

    def __init__(
        self, entries: Iterable[Entry], *, what: str, missing: Missing = "raise", exist: bool = True
    ) -> None:
        """Sort the pictures and see that they are there.

        Args:
            entries: the pictures.
            what: the source, for messages.
            missing: whether a picture that is not there is an error or left out.
            exist: look whether they are there.

        Raises:
            InputError: if there is none, or some are missing.
        """
        found = sorted(entries, key=lambda entry: entry.name)
        if exist:
            lost = [entry for entry in found if not entry.path.is_file()]
            if lost and missing == "raise":
                raise InputError(
                    f"{what}: {listed(str(e.path) for e in lost)} of {len(found)} pictures "
                    f"{'is' if len(lost) == 1 else 'are'} missing: check the folder of the "
                    "pictures, or leave them out with missing='skip'"
                )
            absent = {entry.name for entry in lost}
            found = [entry for entry in found if entry.name not in absent]
        if not found:
            raise InputError(f"{what}: no picture in it ({', '.join(sorted(PICTURES))})")
        self.what, self.entries = what, found

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """Read a picture with what is known of it.

        Raises:
            InputError: if it, or a map of it, cannot be read, naming the file.
        """
        entry = self.entries[index]
        pixels = image.read(entry.path)
        known = self.known(index, (pixels.shape[0], pixels.shape[1]))
        return Sample(
            image=pixels,
            people=known.people,
            rasters=known.rasters or {},
            camera=known.camera,
            name=entry.name,
        )

    def known(self, index: int, size: tuple[int, int]) -> Known:
        """Return what is known of picture ``index``, whose (height, width) is ``size``."""
        del index, size
        return Known()

    def where(self, index: int) -> str:
        """Return the path of a picture."""
        return str(self.entries[index].path)

    def picture(self, index: int) -> bytes | None:
        """Return the file of a picture."""
        return self.entries[index].path.read_bytes()

    def people(self) -> NDArray[np.int32]:
        """Return how many people each picture has; nobody where nothing is annotated."""
        return np.zeros(len(self), dtype=np.int32)


def list_pictures(folder: str | Path) -> list[Entry]:
    """Return the pictures of a folder and the folders in it, named by their path relative to it."""
    root = Path(folder)
    found: list[Entry] = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in PICTURES and not name.startswith("."):
                path = Path(place) / name
                found.append(Entry(path.relative_to(root).as_posix(), path))
    return found


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return relative path without suffix → file, of the files with one of the suffixes.

    Raises:
        InputError: if two files have the same stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise InputError(
                f"{found[stem]} and {path} belong to the same picture: keep one of them"
            )
        found[stem] = path
    return found


def listed(names: Iterable[str], most: int = 3) -> str:
    """Return a count and the first few names."""
    every = list(names)
    first = ", ".join(every[:most])
    if len(every) == 1:
        return first
    return f"{len(every)} ({first}{', …' if len(every) > most else ''})"


def nearest_folder(root: Path, name: str) -> Path | None:
    """Return the folder in ``root`` of that name, whatever its case, or ``None``."""
    if not root.is_dir():
        return None
    wanted = name.lower()
    return next(
        (p for p in sorted(root.iterdir()) if p.is_dir() and p.name.lower() == wanted), None
    )


def check_size(path: Path, found: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuse a map that does not lie on its picture."""
    if found[:2] != size:
        raise InputError(
            f"{path} is {found[0]}×{found[1]} (height × width), its picture {size[0]}×{size[1]}: "
            "maps and pictures must have the same size"
        )
