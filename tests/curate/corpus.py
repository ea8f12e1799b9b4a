# SPDX-License-Identifier: Apache-2.0
"""Small picture files, whole and broken, and a curation of them."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vitruvian import image
from vitruvian.curate.pack import pack
from vitruvian.curate.tree import Tree


def pixels(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A soft picture of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(seed: int = 0, height: int = 48, width: int = 64, quality: int = 90) -> bytes:
    return image.encode(pixels(seed, height, width), ".jpg", quality=quality)


def save(array: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(array: np.ndarray, orientation: int) -> bytes:
    """A JPEG whose EXIF tag asks a viewer to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(array, "JPEG", exif=exif, quality=95)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def packed(folder: Path, files: dict[str, bytes], *, per_shard: int = 8) -> Tree:
    """A curation of these files, in the order of their names."""
    tree = Tree(folder / "tree")
    pack(write_files(folder / "in", files), tree, max_pictures=per_shard)
    return tree


def many(count: int) -> dict[str, bytes]:
    return {f"{n:04d}.jpg": jpeg(n) for n in range(count)}
