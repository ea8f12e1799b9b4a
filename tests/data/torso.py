# SPDX-License-Identifier: Apache-2.0
"""A torso with a hand and a head, whose maps are known."""

import numpy as np

from vitruvian import vocabulary as vocabularies
from vitruvian.person import VISIBLE, Person, Points, Raster

SIZE = (100, 90)
PARTS = vocabularies.load("parts28")
HAND = PARTS.names.index("Left_Hand")
TORSO = PARTS.names.index("Torso")
COCO = vocabularies.load("coco17")


def somebody(origin=(0, 0)):
    """A torso with a hand, all maps beginning at ``origin`` of the photograph."""
    size = (SIZE[0] - origin[1], SIZE[1] - origin[0])
    rows, columns = np.mgrid[: size[0], : size[1]] + np.array(origin[::-1])[:, None, None]
    labels = np.zeros(size, np.uint8)
    labels[(rows >= 20) & (rows <= 80) & (columns >= 20) & (columns <= 50)] = TORSO
    labels[(rows >= 40) & (rows <= 55) & (columns >= 20) & (columns <= 32)] = HAND
    there = labels > 0
    places = {"origin": origin}
    points = np.stack([np.linspace(1, 88, 17), np.linspace(2, 97, 17)], axis=1)
    return Person(
        box=[20, 20, 50, 80],
        annotations={
            "pose": Points(
                vocabulary=COCO, xy=points, scores=np.ones(17), visibility=np.full(17, VISIBLE)
            ),
            "parts": Raster(law="label", values=labels, vocabulary=PARTS, **places),
            "depth": Raster(law="scalar", values=there * 2.0, valid=there, kind="metric", **places),
            "mask": Raster(law="scalar", values=there, kind="mask", **places),
        },
    )
