# SPDX-License-Identifier: Apache-2.0
"""Who is found: average precision, recall and false alarms of a detector on labelled pictures.

    python benchmarks/people.py --data heldout --first 100
    python benchmarks/people.py --data keypoints17.json --images photos --weights w.safetensors

``--data`` is anything ``vitruvian data pack`` reads; pictures without people count. People whose
box is shorter and narrower than 4 % of the picture's longer side need not be found.
"""

import argparse
import time

import numpy as np
import torch

from vitruvian.data.options import SourceOptions
from vitruvian.data.reader import Shards
from vitruvian.data.sources import open_source
from vitruvian.metrics import BoxAP
from vitruvian.predict.people import BUILT_IN, PeopleFinder

LEAST = 0.02  # detections are ranked from this score on
SMALL = 0.04


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", default=None)
    parser.add_argument("--weights", default=BUILT_IN)
    parser.add_argument("--first", type=int, default=None)
    parser.add_argument("--sure", type=float, nargs="+", default=[0.3, 0.35, 0.4])
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source(given.data, options=SourceOptions(images=given.images))[0]
    if isinstance(source, Shards):
        source.annotations = frozenset()
    finder = PeopleFinder(given.weights, min_score=LEAST)
    metrics = {sure: BoxAP(sure=sure) for sure in given.sure}
    count, seconds = min(len(source), given.first or len(source)), 0.0
    for number in range(count):
        sample = source[number]
        start = time.process_time()
        (found,) = finder.detect([sample.image], [sample.name])
        seconds += time.process_time() - start
        truth = np.array([person.box for person in sample.people]).reshape(-1, 4)
        sides = (truth[:, 2:] - truth[:, :2]).max(axis=1, initial=0)
        small = sides < SMALL * max(sample.size)
        for metric in metrics.values():
            metric.update(boxes=found.boxes, scores=found.scores, truth=truth, ignored=small)
    print(f"{count} pictures, {1000 * seconds / count:.0f} CPU ms each")
    for sure, metric in metrics.items():
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in metric.result().items())
        print(f"from a score of {sure}: {numbers}")


if __name__ == "__main__":
    main()
