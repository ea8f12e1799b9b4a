# SPDX-License-Identifier: Apache-2.0
"""At which score one detector is as precise as another is at 0.9.

Scores of detectors do not compare: softmax ones reach 0.99 where focal-loss ones stay at 0.5. So a
policy names a confidence, and the curation keeps which score of each detector means it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian.curate.people import Person
from vitruvian.curate.shardwork import examine
from vitruvian.curate.stage import Picture, fingerprint
from vitruvian.curate.tree import Tree
from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.geometry import boxes_iou, xywh_to_box

_OVERLAP = 0.5  # IoU from which on a box is the labelled one
_Boxes = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found.

    Attributes:
        score: the score.
        precision: of boxes scored at least that.
        aim: the precision that was wanted.
        recall: share of labelled people found at that score.
        people: labelled people.
        pictures: labelled pictures.
    """

    score: float
    precision: float
    aim: float
    recall: float
    people: int
    pictures: int


def calibrate(
    tree: Tree,
    stage: Person,
    labels: Path,
    images: Path,
    *,
    conf: float = 0.9,
    precision: float | None = None,
    reference: Person | None = None,
) -> Calibration:
    """Find the score and keep it in the curation.

    Args:
        tree: the curation.
        stage: whose detector.
        labels: COCO JSON with boxes of people.
        images: folder of its pictures.
        conf: what policies call the confidence.
        precision: the aim, 0 … 1,
        reference: or the detector whose precision at ``conf`` is the aim.

    Raises:
        InputError: if there are no labels, or the aim is never reached.
    """
    truth = read_people(labels)
    aim = precision
    if reference is not None:
        hits, scores = judged(reference, truth, images)[:2]
        chosen = scores > conf
        if not chosen.any():
            raise InputError(f"the reference finds nobody above {conf}: give another, or an aim")
        aim = float(hits[chosen].mean())
    assert aim is not None
    hits, scores, people = judged(stage, truth, images)
    score = lowest_score(hits, scores, aim)
    chosen = scores >= score
    found = Calibration(
        score=score,
        precision=float(hits[chosen].mean()),
        aim=aim,
        recall=float(hits[chosen].sum() / max(people, 1)),
        people=people,
        pictures=len(truth),
    )
    path = tree.root / "calibrations" / f"{fingerprint(stage)}.json"
    before = read_json(path) if path.exists() else {"scores": {}}
    write_json(path, {"scores": {**before["scores"], str(conf): score}, "aim": aim}, indent=1)
    return found


def read_people(path: Path) -> dict[str, _Boxes]:
    """Return file name → boxes (N, 4) of the people in a COCO JSON; crowds are left out.

    Raises:
        InputError: if it is no such file, or has nobody.
    """
    content = read_json(path)
    try:
        names = {one["id"]: one["file_name"] for one in content["images"]}
        person = {one["id"] for one in content["categories"] if one["name"] == "person"}
        boxes: dict[str, list[_Boxes]] = {name: [] for name in names.values()}
        for one in content["annotations"]:
            if one["category_id"] in person and not one.get("iscrowd"):
                # COCO's boxes are edges from 0 on; ours are the centres of the outer pixels
                box = xywh_to_box(one["bbox"])
                boxes[names[one["image_id"]]].append(box - [0, 0, 1, 1])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no COCO JSON with boxes of people ({error})") from error
    if not any(boxes.values()):
        raise InputError(f"{path}: no person is labelled in it")
    return {name: np.array(found).reshape(-1, 4) for name, found in boxes.items()}


def judged(
    stage: Person, truth: Mapping[str, _Boxes], images: Path
) -> tuple[NDArray[np.bool_], _Boxes, int]:
    """Run a detector; return whether each box is a labelled person, its score, and the people."""
    scorer = stage.open()
    hits: list[bool] = []
    scores: list[float] = []
    for row, (name, labelled) in enumerate(truth.items()):
        picture = Picture(row=row, data=_read(images / name), source=name)
        examine(picture, pixels=True)
        boxes = scorer([picture])[0]["boxes"]
        places = np.array([[b["x0"], b["y0"], b["x1"], b["y1"]] for b in boxes]).reshape(-1, 4)
        hits += matched(places, labelled)
        scores += [b["score"] for b in boxes]
    people = sum(len(labelled) for labelled in truth.values())
    return np.array(hits, bool), np.array(scores, np.float64), people


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: labelled, and cannot be read ({error.strerror})") from error


def matched(boxes: _Boxes, labelled: _Boxes) -> list[bool]:
    """Return for each box, best first, whether it is a labelled one that no better box took."""
    free = np.ones(len(labelled), bool)
    found: list[bool] = []
    overlaps = boxes_iou(boxes, labelled) if len(boxes) and len(labelled) else None
    for number in range(len(boxes)):
        best = -1
        if overlaps is not None:
            row = np.where(free, overlaps[number], -1.0)
            best = int(row.argmax()) if row.max() >= _OVERLAP else -1
        if best >= 0:
            free[best] = False
        found.append(best >= 0)
    return found


def lowest_score(hits: Sequence[bool] | NDArray[np.bool_], scores: _Boxes, aim: float) -> float:
    """Return the lowest score with at least the wanted precision from there on.

    Raises:
        InputError: if no score reaches it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    shares = np.cumsum(np.asarray(hits, float)[order]) / np.arange(1, len(order) + 1)
    ends = np.ones(len(order), bool)
    ends[:-1] = ranked[1:] < ranked[:-1]  # equal scores stand or fall together
    good = np.flatnonzero(ends & (shares >= aim - 1e-12))
    if not len(good):
        best = f"{shares[ends].max():.3f}" if len(order) else "nothing, no box was found"
        raise InputError(f"the detector never reaches a precision of {aim:.3f}: its best is {best}")
    return float(ranked[good[-1]])
