# SPDX-License-Identifier: Apache-2.0
"""People made of capsules, drawn in closed form: pictures with exact labels of every task.

Seen from the front in parallel projection. A capsule of radius r whose axis lies in a plane z = z0
covers the pixels at a distance d < r from its axis; there its surface has the depth
z0 - sqrt(r² - d²), and its normal is the offset from the axis and that height, over r.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from vitruvian import image, vocabulary
from vitruvian.files import write_json
from vitruvian.person import Person, Points, Raster, Sample

SIZE = (88, 72)
POINTS = vocabulary.make(
    "toy9",
    ["nose", "left_shoulder", "right_shoulder", "left_hand", "right_hand",
     "left_hip", "right_hip", "left_foot", "right_foot"],
    links=[("left_shoulder", "left_hand"), ("right_shoulder", "right_hand"),
           ("left_hip", "left_foot"), ("right_hip", "right_foot")],
)  # fmt: skip
PARTS = vocabulary.make(
    "toy6",
    ["background", "head", "torso", "left_arm", "right_arm", "legs"],
    kind="parts",
)
UNIT = 20.0  # pixels of a metre, roughly


def toy_person(rng: np.random.Generator, *, size: tuple[int, int] = SIZE, name: str = "") -> Sample:
    """One person of random pose, size, place and colours on a random background."""
    height, width = size
    tall = rng.uniform(0.62, 0.8) * height
    centre = np.array([width / 2 + rng.uniform(-6, 6), height / 2 + rng.uniform(-4, 4)])

    def at(x: float, y: float) -> np.ndarray:
        """A place in units of the person's height; x to the picture's right."""
        return centre + tall * np.array([x, y])

    def swung(start: np.ndarray, length: float, angle: float) -> np.ndarray:
        return start + tall * length * np.array([np.sin(angle), np.cos(angle)])

    left, right = at(0.13, -0.28), at(-0.13, -0.28)  # facing us, the left is on our right
    lhip, rhip = at(0.07, 0.05), at(-0.07, 0.05)
    lhand = swung(left, 0.33, rng.uniform(0.1, 2.6))
    rhand = swung(right, 0.33, -rng.uniform(0.1, 2.6))
    lfoot, rfoot = swung(lhip, 0.42, rng.uniform(0, 0.6)), swung(rhip, 0.42, -rng.uniform(0, 0.6))
    nose = at(rng.uniform(-0.03, 0.03), -0.42)
    skin, shirt, trousers = rng.uniform(60, 255, (3, 3))
    limbs = [  # from, to, radius, how far in front of the torso's axis, label, colour
        (nose, nose, 0.085, 0.02, 1, skin),
        (at(0, -0.25), at(0, 0.02), 0.12, 0.0, 2, shirt),
        (left, lhand, 0.045, 0.1, 3, shirt * 0.7),
        (right, rhand, 0.045, 0.1, 4, shirt * 0.7),
        (lhip, lfoot, 0.06, 0.03, 5, trousers),
        (rhip, rfoot, 0.06, 0.03, 5, trousers),
    ]
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(float)
    depth = np.full(size, np.inf)
    labels = np.zeros(size, np.uint8)
    normals = np.zeros((*size, 3))
    picture = np.empty((*size, 3))
    picture[:] = rng.uniform(0, 255, 3)
    picture += rng.normal(0, 8, (height // 4, width // 4, 3)).repeat(4, 0).repeat(4, 1)
    for a, b, radius, front, label, colour in limbs:
        r, axis = radius * tall, b - a
        share = ((pixels - a) @ axis) / max(axis @ axis, 1e-9)
        offset = pixels - (a + np.clip(share, 0, 1)[..., None] * axis)
        square = r * r - (offset**2).sum(-1)
        up = np.sqrt(np.maximum(square, 0))
        z = 3.0 - (front * tall + up) / UNIT
        nearer = (square > 0) & (z < depth)
        depth[nearer], labels[nearer] = z[nearer], label
        vector = np.concatenate([offset, -up[..., None]], axis=-1) / r
        normals[nearer] = vector[nearer]
        shade = 0.45 + 0.55 * up / r
        picture[nearer] = (colour * shade[..., None])[nearer]
    there = np.isfinite(depth)
    ys, xs = np.nonzero(there)
    xy = np.stack([nose, left, right, lhand, rhand, lhip, rhip, lfoot, rfoot])
    annotations = {
        "pose": Points(vocabulary=POINTS, xy=xy, scores=np.ones(9), visibility=np.full(9, 2)),
        "parts": Raster(law="label", values=labels, vocabulary=PARTS),
        "depth": Raster(law="scalar", values=np.where(there, depth, 0), valid=there, kind="metric"),
        "normals": Raster(law="vector", values=normals, valid=there),
    }
    box = np.array([xs.min(), ys.min(), xs.max(), ys.max()], dtype=float)
    drawn = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Sample(image=drawn, people=(Person(box=box, annotations=annotations),), name=name)


def toy_people(count: int, *, seed: int = 0) -> list[Sample]:
    """So many of them, named."""
    rng = np.random.default_rng(seed)
    return [toy_person(rng, name=f"toy{seed}-{number}") for number in range(count)]


def write_layouts(samples: list[Sample], folder: Path) -> None:
    """Write samples as files people have: a COCO json, and folders of maps with equal stems.

    ``points/annotations.json`` with ``points/images/``; ``maps/images/``, ``parts/``, ``depths/``
    (metres, 0 nobody) and ``normals/`` (OpenCV axes); ``toy6.toml``, the names of the parts.
    """
    images: list[dict] = []
    people: list[dict] = []
    for number, sample in enumerate(samples, 1):
        (person,) = sample.people
        name = f"{sample.name}.png"
        for place in ("points", "maps"):
            image.write(folder / place / "images" / name, sample.image)
        height, width = sample.size
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        points = np.column_stack([person.points("pose").xy, np.full(9, 2)])
        x0, y0, x1, y1 = person.box.tolist()
        box = [x0, y0, x1 - x0, y1 - y0]
        people.append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0,
             "area": box[2] * box[3], "num_keypoints": 9,
             "keypoints": points.astype(float).flatten().tolist()}
        )  # fmt: skip
        for kind, values in (
            ("depths", person.raster("depth").values),
            ("normals", person.raster("normals").values),
        ):
            place = folder / "maps" / kind / f"{sample.name}.npy"
            place.parent.mkdir(exist_ok=True)
            np.save(place, values)
        labels = person.raster("parts").values
        place = folder / "maps" / "parts" / name
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(labels).save(place)
        mask = folder / "maps" / "masks" / name
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(((labels > 0) * 255).astype(np.uint8)).save(mask)
    skeleton = [[link.a + 1, link.b + 1] for link in POINTS.links]
    category = {"id": 1, "name": "toy9", "keypoints": list(POINTS.names), "skeleton": skeleton}
    content = {"images": images, "annotations": people, "categories": [category]}
    write_json(folder / "points" / "annotations.json", content)
    rows = "\n".join(PARTS.names)
    text = f'kind = "parts"\nclasses = """\nname\n{rows}\n"""\n'
    (folder / "toy6.toml").write_text(text, encoding="utf-8")
