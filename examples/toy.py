# SPDX-License-Identifier: Apache-2.0
"""Draw stick people with 9 points and 3 classes, as the files a labelling tool would write."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ["nose", "left_shoulder", "right_shoulder", "left_hand", "right_hand", "left_hip",
         "right_hip", "left_foot", "right_foot"]  # fmt: skip
LINES = [(1, 2, 1), (5, 6, 1), (1, 5, 1), (2, 6, 1), (1, 3, 1), (2, 4, 1), (5, 7, 2), (6, 8, 2)]
# from point, to point, class: 0 background, 1 top, 2 trousers

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("toy"))
out, rng = parser.parse_args().out, np.random.default_rng(0)
for split, count in (("train", 300), ("val", 40)):
    images, people = out / split / "images", []
    labels = out / split / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        x, y, tall = rng.uniform(60, 100), rng.uniform(80, 100), rng.uniform(90, 110)
        body = np.array([[0, -40], [13, -26], [-13, -26], [0, 0], [0, 0], [8, 6], [-8, 6],
                         [8, 45], [-8, 45]], float)  # fmt: skip
        for hand, side in ((3, 1), (4, -1)):  # facing us: their left is on our right
            angle = side * rng.uniform(0.2, 2.6)
            body[hand] = body[hand - 2] + 30 * np.array([np.sin(angle), np.cos(angle)])
        body[7:, 0] += (1, -1) * rng.uniform(0, 16, 2)
        points = body * tall / 100 + (x, y)
        shirt, trousers, ground = rng.integers(0, 256, (3, 3)).tolist()
        photo, label = np.full((180, 160, 3), ground, np.uint8), np.zeros((180, 160), np.uint8)
        for a, b, part in LINES:
            ends = [tuple(map(int, points[i])) for i in (a, b)]
            cv2.line(photo, *ends, shirt if part == 1 else trousers, 9)
            cv2.line(label, *ends, part, 9)
        cv2.circle(photo, tuple(map(int, points[0])), 9, (140, 170, 220), -1)
        photo = np.clip(photo + rng.normal(0, 12, photo.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(images / f"{number:04}.jpg"), photo)
        cv2.imwrite(str(labels / f"{number:04}.png"), label)
        low, size = points.min(0) - 12, np.ptp(points, axis=0) + 24
        people.append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": [*low, *size],
             "keypoints": np.column_stack([points, np.full(9, 2)]).ravel().tolist()}
        )  # fmt: skip
    content = {
        "images": [{"id": p["id"], "file_name": f"{p['id']:04}.jpg"} for p in people],
        "categories": [{"id": 1, "name": "stick", "keypoints": NAMES,
                        "skeleton": [[a + 1, b + 1] for a, b, _ in LINES]}],
        "annotations": people,
    }  # fmt: skip
    (out / split / "points.json").write_text(json.dumps(content))
rows = "name\nbackground\ntop\ntrousers"
(out / "clothes.toml").write_text(f'kind = "parts"\nclasses = """\n{rows}\n"""\n')
cv2.imwrite(str(out / "first.jpg"), cv2.imread(str(out / "train" / "images" / "0001.jpg")))
