# SPDX-License-Identifier: Apache-2.0
"""Other surroundings for people: random pictures pasted behind them, with their light."""

import hashlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.pixels import match_colours
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.person import Person, Raster

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
_FAINT = 0.02  # spread of an alpha below which nobody is there


class Backgrounds:
    """Pictures without people, one of which is laid behind a person at random.

    The picture is scaled to cover the photograph, centred, and moves with it; the person is pasted
    with soft edges and takes on the mean and spread of its colours in CIELAB (published: BG-20k, a
    hard paste and a Reinhard-style transfer).
    """

    def __init__(self, folder: str | Path, *, transfer: bool = True) -> None:
        """List the pictures of a folder and the folders in it.

        Args:
            folder: pictures that show nobody.
            transfer: change the person's colours.

        Raises:
            InputError: if there is no picture.
        """
        self.folder, self.transfer = Path(folder), transfer
        found = (p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.paths = tuple(sorted(p for p in found if p.is_file()))
        if not self.paths:
            what = "holds no picture" if self.folder.is_dir() else "does not exist"
            raise InputError(
                f"{self.folder} {what}: random backgrounds need a folder of pictures without "
                "people (.jpg, .png, .webp); turn them off by leaving backgrounds out"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def fingerprint(self) -> str:
        """Return a digest of the names, to notice that a set changed."""
        text = "\n".join(path.relative_to(self.folder).as_posix() for path in self.paths)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def part(self, size: Size, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a part of any picture, RGB uint8 of (height, width), or its mirror image."""
        picture = image.read(self.paths[int(rng.integers(len(self.paths)))])
        zoom = _covering(picture.shape[:2], size) * rng.uniform(1, 2)  # more would be a blur
        if zoom < 1:  # shrinking needs averaging
            height, width = (math.ceil(side * zoom) for side in picture.shape[:2])
            picture, zoom = image.resize(picture, (height, width), "area"), 1.0
        height, width = picture.shape[:2]
        room = np.array([zoom * (width - 1) - (size[1] - 1), zoom * (height - 1) - (size[0] - 1)])
        matrix = np.column_stack([np.eye(2) * zoom, -room * rng.random(2)])
        part = image.warp(picture, matrix, size)
        return part[:, ::-1] if rng.random() < 0.5 else part

    def __call__(
        self,
        window: NDArray[np.uint8],
        person: Person,
        crop: Crop,
        photograph: Size,
        rng: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """Return the window with another background.

        Args:
            window: RGB uint8, cut from the photograph by ``crop``.
            person: who stays in front; see `foreground`.
            crop: photograph → window.
            photograph: (height, width) of the photograph.
            rng: randomness.

        Raises:
            InputError: if nothing says which pixels are the person.
        """
        mask = foreground(person)
        if mask is None:
            raise InputError(
                "random backgrounds need to know which pixels are the person, this sample has no "
                f"map that says so (it has {', '.join(person.annotations) or 'none'}): add a mask, "
                "or leave backgrounds out"
            )
        alpha = person_alpha(mask, crop)
        behind = image.read(self.paths[int(rng.integers(len(self.paths)))])
        scene = _cover(behind, photograph, crop)
        if self.transfer and alpha.max() > _FAINT:
            window = match_colours(window, alpha > 0.5, scene)
        return image.compose(scene, window, alpha)


def foreground(person: Person) -> Raster | None:
    """Return a map of 1 where the person is and 0 elsewhere, from the best that is known.

    That is an opacity ("mask" or "alpha"), else parts that are not background, else the valid
    pixels of depth, normals or whatever map there is; ``None`` if there is none.
    """
    rasters = {k: a for k, a in person.annotations.items() if isinstance(a, Raster)}
    for name in ("mask", "alpha"):
        if name in rasters and rasters[name].law == "scalar":
            raster = rasters[name]
            values = np.where(raster.mask, raster.values, 0)
            return Raster(law="scalar", values=values, origin=raster.origin, kind="mask")
    for raster in rasters.values():
        if raster.vocabulary is not None:
            there = raster.mask & (raster.values != raster.vocabulary.background)
            return Raster(law="scalar", values=there, origin=raster.origin, kind="mask")
    for raster in rasters.values():
        return Raster(law="scalar", values=raster.mask, origin=raster.origin, kind="mask")
    return None


def person_alpha(mask: Raster, crop: Crop) -> NDArray[np.float32]:
    """Return a mask of a photograph's pixels as the window of ``crop`` shows it, 0 … 1."""
    matrix = crop.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array(mask.origin, dtype=np.float64)
    return image.warp(mask.values, matrix, crop.size)


def _cover(behind: NDArray[np.uint8], photograph: Size, crop: Crop) -> NDArray[np.uint8]:
    """Return what the window shows of a picture that covers the photograph."""
    scale = _covering(behind.shape[:2], photograph)
    height, width = behind.shape[:2]
    zoom = scale * abs(np.linalg.det(crop.matrix[:, :2])) ** 0.5
    if zoom < 0.5:  # shrinking a lot needs averaging
        factor = max(zoom * 1.5, 2 / min(height, width))
        smaller = (max(1, round(height * factor)), max(1, round(width * factor)))
        behind = image.resize(behind, smaller, "area")
        height, width = smaller
        scale = _covering(smaller, photograph)
    place = np.array(
        [
            [scale, 0, (photograph[1] - 1) / 2 - scale * (width - 1) / 2],
            [0, scale, (photograph[0] - 1) / 2 - scale * (height - 1) / 2],
        ]
    )
    matrix = crop.matrix[:, :2] @ place
    matrix[:, 2] += crop.matrix[:, 2]
    return image.warp(behind, matrix, crop.size)


def _covering(size: Size, photograph: Size) -> float:
    """Return how much larger a picture must be for its outer pixel centres to cover another."""
    return max(photograph[0] / max(size[0] - 1, 1), photograph[1] / max(size[1] - 1, 1))
