# SPDX-License-Identifier: Apache-2.0
"""Small training sets in the layouts of the field."""

import json
import tarfile

import numpy as np

from vitruvian import image

SIZE = (20, 30)


def photo(path, seed=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    image.write(path, pixels)
    return pixels


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, array)
    else:
        image.write(path, array)
    return path


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def silhouette(size=SIZE):
    mask = np.zeros(size, np.uint8)
    mask[4:16, 10:22] = 255
    return mask


def sphere(size=SIZE):
    """Normals of a ball, OpenGL axes (x right, y up, z to the viewer)."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    x, y = (x - 15.5) / 10, -(y - 9.5) / 10
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0.01))
    vectors = np.dstack([x, y, z])
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def dense(root, names=("b/2", "a"), **maps):
    """Pictures and maps with equal stems; ``maps`` is folder → (suffix, array)."""
    for number, name in enumerate(names):
        photo(root / "images" / f"{name}.jpg", number)
        for folder, (suffix, array) in maps.items():
            save(root / folder / f"{name}{suffix}", array)
    return root


def person(image_id, count=17, seed=0, **fields):
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.uniform(1, 18, (count, 2)).round(2), np.full(count, 2)])
    entry = {"id": seed + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0}
    return entry | {"bbox": [2, 3, 10, 12], "keypoints": rows.ravel().tolist()} | fields


def coco_set(root, names=("b.jpg", "a.jpg"), count=17, **category):
    for number, name in enumerate(names):
        photo(root / "images" / name, number)
    content = {
        "images": [
            {"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for n, name in enumerate(names)
        ],
        "annotations": [person(0, count), person(0, count, 1), person(1, count, 2)],
        "categories": [{"id": 1, "name": "person", **category}],
    }
    return dump(root / "annotations" / "people.json", content)


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            place = path.with_suffix(".part")
            place.write_bytes(data)
            with place.open("rb") as file:
                tar.addfile(info, file)
            place.unlink()
    return path
