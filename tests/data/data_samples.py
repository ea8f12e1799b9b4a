# SPDX-License-Identifier: Apache-2.0
"""Small samples with every kind of annotation, for the tests of this folder."""

import numpy as np

from vitruvian import vocabulary
from vitruvian.camera import Camera
from vitruvian.person import Person, Points, Raster, Sample

COCO = vocabulary.load("coco17")
PARTS = vocabulary.load("parts28")
SIZE = (24, 31)
LAWS = ("label", "scalar", "vector", "colour", "position")


def random_points(rng, words=COCO, size=SIZE):
    count = len(words)
    xy = rng.uniform(0, min(size), (count, 2)).astype(np.float32)
    xy[rng.uniform(size=count) < 0.2] = np.nan
    return Points(
        vocabulary=words,
        xy=xy,
        scores=rng.uniform(size=count),
        visibility=rng.integers(0, 3, count),
        xyz=rng.normal(size=(count, 3)),
    )


def random_raster(rng, law, size=SIZE, **fields):
    if law == "label":
        values, fields = rng.integers(0, 28, size), {"vocabulary": PARTS, **fields}
    elif law == "scalar":
        values, fields = rng.uniform(1, 2, size), {"kind": "metric", **fields}
    else:
        values = rng.normal(size=(*size, 3))
    if law == "vector":
        values = values / np.linalg.norm(values, axis=-1, keepdims=True)
    if law == "colour":
        values = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return Raster(law=law, values=values, valid=rng.uniform(size=size) > 0.2, **fields)


def random_sample(seed=0, name="a", size=SIZE):
    rng = np.random.default_rng(seed)
    annotations = {law: random_raster(rng, law, size) for law in LAWS}
    person = Person(
        box=[1, 2, 10.125, 20],
        score=0.75,
        identity=7,
        annotations={"pose": random_points(rng, size=size), **annotations},
    )
    return Sample(
        image=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        people=(person, Person(box=[0, 0, 5, 5])),
        camera=Camera.from_focal(40, size),
        rasters={"parts": random_raster(rng, "label", size)},
        name=name,
    )


def plain_sample(seed=0, name="a", size=SIZE):
    rng = np.random.default_rng(seed)
    return Sample(image=rng.integers(0, 256, (*size, 3), dtype=np.uint8), name=name)
