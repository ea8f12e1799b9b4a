# SPDX-License-Identifier: Apache-2.0
"""Small labelled sets whose truth is known, weights to evaluate, and predictions of any quality."""

import json
from dataclasses import replace

import numpy as np
import torch

from vitruvian import image, vocabulary
from vitruvian.model.card import Card, TaskCard
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.model.weights import save

TINY = ViTConfig(dim=32, depth=1, heads=2, mlp_hidden=64, grid=(4, 3))
SIZE = (60, 80)
OUTPUTS = {"parts": (28, 3), "depth": (1, 4), "normals": (3, 3)}


def weights(path, tasks=("pose",), points="coco17", size=(64, 48)):
    """A self-describing file of a tiny random network."""
    torch.manual_seed(0)
    outputs = OUTPUTS | {"pose": (len(vocabulary.load(points)), 2)}
    heads = {
        task: DenseHeadConfig(
            in_dim=32, out=outputs[task][0], widths=(8,) * outputs[task][1], refine=(8,)
        )
        for task in tasks
    }
    backbone = replace(TINY, grid=(size[0] // 16, size[1] // 16))
    network = Network(NetworkConfig(backbone=backbone, heads=heads))
    network.reset_parameters()
    names = {"pose": points, "parts": "parts28"}
    card = Card(
        name=path.stem,
        generation="vitruvian",
        network=network.config,
        tasks={task: TaskCard(vocabulary=names.get(task)) for task in tasks},
        input_size=size,
        framing="person",
        licence="Apache-2.0",
        commercial="yes",
    )
    save(path, network, card)
    return path


def coco_set(root, photos=6, points="coco17", seed=0, crowd=True):
    """Photographs with people of random points, crowds, unlabelled people, and empty ones."""
    rng = np.random.default_rng(seed)
    words = vocabulary.load(points)
    images, annotations = [], []
    for number in range(photos):
        name = f"{number * 7 + 3:012d}.png"
        (root / "images").mkdir(parents=True, exist_ok=True)
        image.write(root / "images" / name, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        images.append(
            {"id": number * 7 + 3, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        )
        for person in range(0 if number == 1 else int(rng.integers(1, 4))):
            low = rng.uniform(2, 25, 2)
            extent = rng.uniform(20, 50, 2) * (0.6, 1) + 15
            xy = low + rng.uniform(0, 1, (len(words), 2)) * extent
            flags = np.where(rng.uniform(size=len(words)) < 0.8, 2, 0)
            if number == 2 and person == 0:
                flags[:] = 0  # nobody labelled any point
            rows = np.column_stack([xy.round(2), flags])
            rows[flags == 0] = 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number * 7 + 3,
                    "category_id": 1,
                    "bbox": [*low.round(2).tolist(), *extent.round(2).tolist()],
                    "area": round(float(extent.prod() * 0.6), 3),
                    "iscrowd": int(crowd and number == 3 and person == 0),
                    **split(words, rows),
                    "num_keypoints": int((flags > 0).sum()),
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    path = root / "annotations" / "people.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path, content


def split(words, rows):
    """The fields of an annotation or result that hold (K, 3) rows."""
    if words.name == "sapiens308":
        return {"goliath_wholebody_kpts": rows.ravel().tolist(), "keypoints": [0.0] * 51}
    if words.name != "wholebody133":
        return {"keypoints": rows.ravel().tolist()}
    fields = {"keypoints": rows[:17].ravel().tolist()}
    keys = {"foot": "foot_kpts", "face": "face_kpts"}
    keys |= {"left_hand": "lefthand_kpts", "right_hand": "righthand_kpts"}
    for group, key in keys.items():
        part = rows[list(words.groups[group])]
        fields[key] = part.ravel().tolist()
        fields[key.replace("_kpts", "_valid")] = bool(part[:, 2].any())
    return fields


def rows_of(words, entry):
    if words.name == "sapiens308":
        return np.array(entry["goliath_wholebody_kpts"]).reshape(-1, 3)
    keys = ["keypoints"]
    if words.name == "wholebody133":
        keys += ["foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"]
    return np.concatenate([np.array(entry[key]).reshape(-1, 3) for key in keys])


def results(content, points="coco17", noise=0.0, seed=0, false=0):
    """A COCO results list: the truth, off by ``noise`` of a person's size, and false detections."""
    rng = np.random.default_rng(seed)
    words = vocabulary.load(points)
    entries = []
    for entry in content["annotations"]:
        rows = rows_of(words, entry).astype(float)
        if entry["iscrowd"] or not rows[:, 2].any():
            continue
        rows[:, :2] += rng.normal(0, 1, (len(rows), 2)) * noise * np.sqrt(entry["area"])
        rows[:, 2] = rng.uniform(0.3, 1, len(rows))
        found = {"image_id": entry["image_id"], "category_id": 1, **split(words, rows)}
        entries.append(found | {"score": round(float(rng.uniform(0.4, 1)), 2)})
    for photo in content["images"][: 3 if false else 0]:
        for _ in range(false):
            rows = np.column_stack([rng.uniform(0, 70, (len(words), 2)), np.ones(len(words))])
            found = {"image_id": photo["id"], "category_id": 1, **split(words, rows)}
            entries.append(found | {"score": round(float(rng.uniform(0, 1)), 2)})
    return entries


def ball(size=SIZE, centre=(40, 30), radius=22.0):
    """Mask, normals (OpenGL axes) and depth in metres of a ball."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    u, v = (x - centre[0]) / radius, -(y - centre[1]) / radius
    mask = u * u + v * v < 0.95
    w = np.sqrt(np.maximum(1 - u * u - v * v, 0.02))
    normals = np.dstack([u, v, w])
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return mask, normals.astype(np.float32), (2.0 - 0.3 * w).astype(np.float32)


def map_set(root, photos=4):
    """Photographs of balls with masks, parts, depth and normals in folders."""
    for number in range(photos):
        mask, normals, depth = ball(centre=(36 + 2 * number, 30))
        rng = np.random.default_rng(number)
        pixels = np.where(mask[..., None], (normals + 1) * 127, rng.uniform(60, 90, (*SIZE, 3)))
        parts = np.where(mask, np.where(normals[..., 1] > 0.2, 3, 22), 0)
        parts[:2, :2] = 255  # not known
        files = {"images": pixels.astype(np.uint8), "masks": mask.astype(np.uint8) * 255}
        files["parts"] = parts.astype(np.uint8)
        for folder, array in files.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.write(root / folder / f"n{number}.png", array)
        for folder, array in (("depths", depth), ("normals", normals)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            np.save(root / folder / f"n{number}.npy", array)
    return root
