# SPDX-License-Identifier: Apache-2.0
"""OpenPose JSON: one ``*_keypoints.json`` per picture, as ControlNet tools and Pose2Sim read it.

Points are flat x, y, score triples in picture pixels, 0, 0, 0 where there is none. The body is
BODY_25 or the 18 points of COCO-OpenPose (neck in the middle of the shoulders), faces have 70
points, hands 21. A part of which the source vocabulary knows less than half is an empty
list. ``canvas_width`` and ``canvas_height`` are those that ComfyUI wants.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.correspondence import Correspondence, convert_points, correspond
from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.formats.record import CONVENTION, Record, box_around, layout, make_points
from vitruvian.person import Person, Points
from vitruvian.vocabulary import Vocabulary, load

Body = Literal["body25", "openpose18"]
SUFFIX = "_keypoints.json"

# body → (vocabulary, rows of it); BODY_25 as the beginning of the whole, so that its own neck and
# mid-hip pass unchanged
_BODIES: dict[str, tuple[str, Sequence[int]]] = {
    "body25": ("openpose137", range(25)),
    "openpose18": ("openpose18", range(18)),
}
_PARTS = {
    "face_keypoints_2d": "face",
    "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
}


def write(path: str | Path, record: Record, *, task: str = "pose", body: Body = "body25") -> None:
    """Write the people of one picture who have points.

    Args:
        path: by OpenPose's custom ends in ``_keypoints.json``.
        record: the picture; its size fills the canvas.
        task: name of the points to write; any vocabulary that corresponds to OpenPose's.
        body: "body25" or "openpose18".

    Raises:
        InputError: if the vocabulary has no body point in common with OpenPose.
    """
    if body not in ("body25", "openpose18"):
        raise InputError(f"OpenPose bodies are 'body25' and 'openpose18', got {body!r}")
    people: list[dict[str, Any]] = []
    sources: set[str] = set()
    for person in record.people:
        if task in person.annotations:
            points = person.points(task)
            sources.add(f"{points.vocabulary.name}@{points.vocabulary.version}")
            people.append(_entry(points, person.identity, body))
    height, width = record.size or (None, None)
    content = {
        "version": 1.3,
        "people": people,
        "canvas_width": width,
        "canvas_height": height,
        "body": "BODY_25" if body == "body25" else "COCO_18",
        "converted_from": sorted(sources),
        "coordinates": CONVENTION,
        "image": record.name,
    }
    write_json(path, content)


def _entry(points: Points, identity: int | None, body: Body) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "person_id": [-1 if identity is None else identity],
        "pose_keypoints_2d": _triples(points, *_BODIES[body]),
    }
    whole = load("openpose137")
    for key, group in _PARTS.items():
        entry[key] = _triples(points, "openpose137", whole.groups[group])
    for key in ("pose", "face", "hand_left", "hand_right"):
        entry[f"{key}_keypoints_3d"] = []
    return entry


@cache
def _route(source: Vocabulary, target: str) -> Correspondence:
    return correspond(source, target)


def _triples(points: Points, target: str, rows: Sequence[int]) -> list[float]:
    found = _route(points.vocabulary, target)
    # a wrist alone is no hand, an eye no face
    if 2 * sum(bool(found.parts[row]) for row in rows) < len(rows):
        return []
    xy, scores = convert_points(points.xy, points.scores, found)
    there = np.isfinite(xy.sum(axis=1))
    table = np.column_stack([xy, scores])[list(rows)]
    table[~there[list(rows)]] = 0
    return np.round(table.astype(np.float64), 4).ravel().tolist()


def read(path: str | Path, *, task: str = "pose") -> Record:
    """Read one OpenPose file, ours or anybody's.

    A person with nothing but 18 body points has the vocabulary ``openpose18``; any other has
    ``openpose137`` (BODY_25, hands and face), where points the file lacks have no place. Boxes are
    those of the points, scores their mean; people without a single point are left out.

    Raises:
        InputError: if the file is no OpenPose file.
    """
    content = read_json(path)
    with layout(path, "an OpenPose file"):
        if not isinstance(content, Mapping) or "people" not in content:
            raise InputError(f"{path} has no 'people': wanted an OpenPose file")
        people: list[Person] = []
        for entry in content["people"]:
            points = _read_points(entry)
            if not points.present.any():
                continue
            number = (entry.get("person_id") or [-1])[0]
            people.append(
                Person(
                    box=box_around(points),
                    score=float(points.scores[points.present].mean()),
                    identity=int(number) if number >= 0 else None,
                    annotations={task: points},
                )
            )
        width, height = content.get("canvas_width"), content.get("canvas_height")
        name = content.get("image") or Path(path).name.removesuffix(SUFFIX)
        size = None if not width or not height else (int(height), int(width))
        return Record(name=str(name), size=size, people=tuple(people))


def _read_points(entry: Mapping[str, Any]) -> Points:
    body = _table(entry, "pose_keypoints_2d")
    parts = {group: _table(entry, key) for key, group in _PARTS.items()}
    if len(body) not in (0, 18, 25):
        raise InputError(f"a body of {len(body)} points, wanted 25 (BODY_25) or 18")
    if len(body) == 18 and not any(len(part) for part in parts.values()):
        return _as_points("openpose18", body)
    whole = load("openpose137")
    table = np.zeros((len(whole), 3))
    if len(body) == 25:
        table[:25] = body
    elif len(body) == 18:
        for row, name in zip(body, load("openpose18").names, strict=True):
            table[whole.index(name)] = row
    for group, part in parts.items():
        if len(part):
            table[list(whole.groups[group])] = part
    return _as_points("openpose137", table)


def _table(entry: Mapping[str, Any], key: str) -> NDArray[np.float64]:
    return np.array(entry.get(key) or [], dtype=np.float64).reshape(-1, 3)


def _as_points(name: str, table: NDArray[np.float64]) -> Points:
    nowhere = table[:, 2] <= 0
    xy = np.where(nowhere[:, None], np.nan, table[:, :2])
    return make_points(load(name), xy, table[:, 2])
