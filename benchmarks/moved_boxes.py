# SPDX-License-Identifier: Apache-2.0
"""Mean OKS on a few labelled photographs, over true boxes that are moved a little.

    python benchmarks/moved_boxes.py examples/photos/examples17.json --model default my.safetensors

A handful of people cannot tell two weights apart by one box each: a pixel more or less moves their
OKS by several hundredths. So each side of every box is moved at random, by normal deviates of 3 %
of the box's width or height, equally for all weights, and the mean over all moves is told, by
person and of all. Points are compared by name, those with v > 0.
"""

import argparse
from pathlib import Path

import numpy as np

import vitruvian as vi
from vitruvian.formats.coco_truth import TruthFile
from vitruvian.metrics.oks import point_similarity

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("labels", nargs="+", type=Path, help="COCO JSON files beside their photographs")
parser.add_argument("--model", nargs="+", default=["default"])
parser.add_argument("--moves", type=int, default=20)
given = parser.parse_args()

for model in given.model:
    see = vi.load(model, detector="whole")
    people: list[tuple[str, float, float]] = []
    for labels in given.labels:
        truths = TruthFile(labels)
        for place in range(len(truths.names)):
            truth = truths.read(place)
            photo = vi.read_image(labels.parent / truth.name)
            for n in np.flatnonzero(truth.labelled.any(axis=1)):
                box = truth.people[n].box
                sides = np.tile(box[2:] - box[:2], 2)
                moves = np.random.default_rng(0).normal(0, 0.03, (given.moves, 4)) * sides
                found = [p.points() for p in see(photo, boxes=np.vstack([box, box + moves]))]
                rows = [found[0].vocabulary.index(name) for name in truth.vocabulary.names]
                there = truth.labelled[n]
                scores = [
                    point_similarity(
                        points.xy[rows], truth.xy[n], truth.areas[n], truth.vocabulary.sigmas
                    )[there].mean()
                    for points in found
                ]
                people.append((truth.name, scores[0], float(np.mean(scores[1:]))))
    print(model)
    for name, true, moved in people:
        print(f"  {name:24} true box {true:.3f}, moved {moved:.3f}")
    means = np.mean([row[1:] for row in people], axis=0)
    print(f"  {'all':24} true box {means[0]:.3f}, moved {means[1]:.3f}")
