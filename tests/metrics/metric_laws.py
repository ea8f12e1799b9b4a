# SPDX-License-Identifier: Apache-2.0
"""What holds for every accumulator, and the COCO reference code as an oracle."""

import contextlib
import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from vitruvian.metrics import Accumulator


def assert_same(a: Mapping[str, float], b: Mapping[str, float]) -> None:
    """Equal to the last bit, NaN equal to NaN."""
    assert list(a) == list(b)
    differing = {k: (a[k], b[k]) for k in a if a[k] != b[k] and not (a[k] != a[k] and b[k] != b[k])}
    assert not differing


def check_merging(make: Callable[[], Accumulator], updates: Sequence[Mapping[str, Any]]) -> None:
    """However images are ordered and spread over processes, the result is the same."""
    whole = make()
    for update in updates:
        whole.update(**update)
    shuffled = list(updates)
    random.Random(len(updates)).shuffle(shuffled)
    parts = [make(), make(), make()]
    for i, update in enumerate(shuffled):
        parts[i % 3].update(**update)
    first, second, third = parts
    first.merge(second)
    sent = make()
    sent.load_state_dict(third.state_dict())
    first.merge(sent)
    assert_same(whole.result(), first.result())
    assert_same(second.result(), _rebuilt(make, second).result())
    assert all(isinstance(v, float) for v in whole.result().values())


def _rebuilt(make: Callable[[], Accumulator], source: Accumulator) -> Accumulator:
    copy = make()
    copy.merge(source)
    copy.load_state_dict(source.state_dict())  # replaces, does not add
    return copy


def assert_all_nan(result: Mapping[str, float], *, but: Mapping[str, float] | None = None) -> None:
    expected = dict(but or {})
    for key, value in result.items():
        if key in expected:
            assert value == expected[key], key
        else:
            assert math.isnan(value), (key, value)


COCO_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def coco_reference(
    images: Sequence[Mapping[str, Any]], sigmas: np.ndarray, points: Sequence[int]
) -> dict[str, float]:
    """What pycocotools says about these images (arguments of ``update``) and these points."""
    pytest.importorskip("pycocotools")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = coco_evaluation(images, sigmas, points)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: math.nan if value == -1 else float(value)
        for name, value in zip(COCO_NAMES, evaluation.stats, strict=True)
    }


def coco_evaluation(
    images: Sequence[Mapping[str, Any]], sigmas: np.ndarray, points: Sequence[int]
) -> Any:
    """A COCOeval that has read everything and evaluated nothing yet."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    chosen = list(points)
    annotations, detections = [], []
    for each in images:
        for g in range(len(each["areas"])):
            xy, known = each["truth"][g][chosen], each["labelled"][g][chosen]
            x0, y0, x1, y1 = each["boxes"][g]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": each["image"],
                    "category_id": 1,
                    "keypoints": np.c_[np.nan_to_num(xy), 2 * known].ravel().tolist(),
                    "num_keypoints": int(known.sum()),
                    "area": float(each["areas"][g]),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": int(each["crowd"][g]),
                }
            )
        for d in range(len(each["scores"])):
            xy = each["points"][d][chosen]
            detections.append(
                {
                    "image_id": each["image"],
                    "category_id": 1,
                    "keypoints": np.c_[xy, np.ones(len(xy))].ravel().tolist(),
                    "score": float(each["scores"][d]),
                }
            )
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": each["image"]} for each in images],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(detections), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.asarray(sigmas)[chosen]
    return evaluation


def random_people(
    rng: np.random.Generator, images: int, points: int, *, hard: bool = True
) -> list[dict[str, Any]]:
    """Images with everything that makes keypoint evaluation tricky, as arguments of ``update``."""
    result = []
    for i in range(images):
        people = int(rng.integers(0, 6))
        size = rng.choice([20.0, 60.0, 150.0, 400.0], people)  # side of a person: also too small
        corner = rng.uniform(0, 600, (people, 2))
        truth = corner[:, None] + rng.uniform(0, 1, (people, points, 2)) * size[:, None, None]
        labelled = rng.uniform(size=(people, points)) < rng.choice([0, 0.2, 0.9], (people, 1))
        if hard and people > 1 and rng.uniform() < 0.3:  # two annotations of the same person
            truth[1], labelled[1], size[1], corner[1] = truth[0], labelled[0], size[0], corner[0]
        count = int(rng.integers(0, 4)) + people if people else int(rng.integers(0, 3))
        if hard and rng.uniform() < 0.15:
            count = 25  # more than count
        found = rng.uniform(0, 800, (count, points, 2))
        for d in range(count):
            if people and rng.uniform() < 0.85:
                g = int(rng.integers(people))
                noise = rng.choice([0, 0.02, 0.06, 0.15]) * size[g]
                found[d] = truth[g] + rng.normal(0, 1, (points, 2)) * noise
        truth[~labelled] = np.nan if hard else 0
        result.append(
            {
                "image": i * 7 % 1000 + 1 if hard else i,  # not in the order of evaluation
                "points": found,
                "scores": np.round(rng.uniform(0, 1, count), 1 if hard else 6),  # many ties
                "truth": truth,
                "labelled": labelled,
                "areas": size**2 * rng.uniform(0.3, 0.9, people),
                "boxes": np.c_[corner, corner + size[:, None]],
                "crowd": rng.uniform(size=people) < (0.15 if hard else 0),
            }
        )
    return result
