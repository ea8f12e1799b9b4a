# SPDX-License-Identifier: Apache-2.0
"""COCO keypoint files: the dataset layout and the results list, written and read.

In these files boxes are ``[x, y, width, height]`` with x + width our x1 (COCO); inside they are
x0, y0, x1, y1. Coordinates are taken over unchanged: pixel (0, 0) is the centre of the first pixel,
as the pose models of the field read COCO. Points are x, y, v triples: v = 0 not there, 1 occluded,
2 visible; scores stand beside them in ``keypoint_scores``.

The 133 points of COCO-WholeBody are split as its own files split them: ``keypoints`` holds the 17
of the body, ``foot_kpts``, ``face_kpts``, ``lefthand_kpts`` and ``righthand_kpts`` the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.formats.record import (
    CONVENTION,
    Record,
    box_around,
    describe_vocabulary,
    layout,
    make_points,
    rebuild_vocabulary,
    vocabulary_of_count,
)
from vitruvian.geometry import box_to_xywh, xywh_to_box
from vitruvian.person import VISIBLE, Person, Points
from vitruvian.vocabulary import Vocabulary, available, from_coco_category, load

_WHOLE = {
    "foot_kpts": ("foot", "foot_valid", None),
    "face_kpts": ("face", "face_valid", "face_box"),
    "lefthand_kpts": ("left_hand", "lefthand_valid", "lefthand_box"),
    "righthand_kpts": ("right_hand", "righthand_valid", "righthand_box"),
}
_SAPIENS = "goliath_wholebody_kpts"  # key of the published 308-point validation files
SCORE_FLOOR = 0.2
"""Points below this do not count in a result's ranking score (published code)."""


# ------------------------------------------------------------------------------------- writing


def write_keypoints(path: str | Path, records: Iterable[Record], *, task: str = "pose") -> None:
    """Write a COCO keypoints dataset: images, annotations, and one category per vocabulary.

    Every row of every person is written; points without a place are 0, 0, 0. Names, links (counted
    from 1), mirror partners and version of the vocabulary are in the category.

    Args:
        path: the .json file, replaced whole.
        records: the photographs; those without people are listed among the images.
        task: name of the points to write; people without them keep their box.
    """
    known = list(records)
    categories: list[Vocabulary | None] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in zip(_ids(known), known, strict=True):
        height, width = record.size or (None, None)
        images.append({"id": number, "file_name": record.name, "width": width, "height": height})
        for person in record.people:
            points = person.points(task) if task in person.annotations else None
            vocabulary = None if points is None else points.vocabulary
            if vocabulary not in categories:
                categories.append(vocabulary)
            entry = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
            entry["category_id"] = categories.index(vocabulary) + 1
            annotations.append(entry | _person_fields(person, points))
    content = {
        "info": {
            "description": "people found by Vitruvian, COCO keypoints layout",
            "coordinates": CONVENTION,
            "boxes": "x, y, width, height",
            "visibility": "0 not there, 1 occluded, 2 visible (or not told apart)",
            "vocabularies": [f"{v.name}@{v.version}" for v in categories if v is not None],
            "task": task,
        },
        "images": images,
        "annotations": annotations,
        "categories": [_category(i + 1, v) for i, v in enumerate(categories or [None])],
    }
    write_json(path, content)


def write_results(path: str | Path, records: Iterable[Record], *, task: str = "pose") -> None:
    """Write a COCO results list, as its evaluators read it: one entry per person with points.

    ``score`` ranks people for average precision: detection score × mean of the point scores above
    ``SCORE_FLOOR`` (published code); the detection score itself is ``box_score``. A photograph
    keeps its own number, or that of its name (000000000785.jpg is 785), if all have one; otherwise
    they are counted from 1. The third value of a point is its score.
    """
    known = list(records)
    entries: list[dict[str, Any]] = []
    for number, record in zip(_ids(known), known, strict=True):
        for person in record.people:
            if task not in person.annotations:
                continue
            points = person.points(task)
            sure = points.scores[points.scores > SCORE_FLOOR]
            rank = person.score * (float(sure.mean()) if len(sure) else 0.0)
            rows = np.column_stack([np.nan_to_num(points.xy), points.scores])
            entry = {
                "image_id": number,
                "file_name": record.name,
                "category_id": 1,
                **_split(points.vocabulary, rows),
                "bbox": _rounded(box_to_xywh(person.box)),
                "score": round(rank, 6),
                "box_score": round(person.score, 6),
                "vocabulary": f"{points.vocabulary.name}@{points.vocabulary.version}",
            }
            if person.identity is not None:
                entry["track_id"] = person.identity
            entries.append(entry)
    write_json(path, entries)


def _ids(records: Sequence[Record]) -> list[int]:
    """Numbers of the photographs: their own or their names', if all have one; else 1 to N."""
    ids: list[int] = []
    for record in records:
        stem = Path(record.name).stem
        if record.id is None and not stem.isdecimal():
            break
        ids.append(int(stem) if record.id is None else record.id)
    return ids if len(set(ids)) == len(records) else list(range(1, len(records) + 1))


def _rounded(values: NDArray[Any], digits: int = 3) -> list[Any]:
    return np.round(values.astype(np.float64), digits).ravel().tolist()


def _person_fields(person: Person, points: Points | None) -> dict[str, Any]:
    box = box_to_xywh(person.box)
    fields: dict[str, Any] = {
        "bbox": _rounded(box),
        "area": round(float(box[2] * box[3]), 3),
        "score": round(person.score, 6),
    }
    if person.identity is not None:
        fields["track_id"] = person.identity
    if points is None:
        return fields
    placed = np.isfinite(points.xy.sum(axis=1))
    known = points.visibility is not None
    flags = np.where(placed, VISIBLE, 0) if points.visibility is None else points.visibility
    rows = np.column_stack([np.where(placed[:, None], points.xy, 0), flags])
    there: NDArray[np.bool_] = points.present
    fields |= _split(points.vocabulary, rows)
    fields["num_keypoints"] = int(there.sum())
    fields["keypoint_scores"] = _rounded(np.nan_to_num(points.scores), 5)
    fields["visibility_known"] = known
    if _is_wholebody(points.vocabulary):
        for group, valid, box_key in _WHOLE.values():
            members = list(points.vocabulary.groups[group])
            xy = points.xy[members][there[members]]
            fields[valid] = len(xy) > 0
            if box_key is not None:
                corners = [*xy.min(axis=0), *xy.max(axis=0)] if len(xy) else [0.0] * 4
                fields[box_key] = _rounded(box_to_xywh(np.array(corners)))
    if points.xyz is not None:
        fields["keypoints_3d_metres"] = _rounded(np.nan_to_num(points.xyz), 5)
    return fields


def _is_wholebody(vocabulary: Vocabulary) -> bool:
    return vocabulary.name == "wholebody133" and len(vocabulary) == 133


def _split(vocabulary: Vocabulary, rows: NDArray[Any]) -> dict[str, Any]:
    """Return the fields that hold (K, 3) rows, split as COCO-WholeBody wants for its 133."""
    if not _is_wholebody(vocabulary):
        return {"keypoints": _rounded(rows)}
    groups = vocabulary.groups
    fields = {key: _rounded(rows[list(groups[group])]) for key, (group, _, _) in _WHOLE.items()}
    return {"keypoints": _rounded(rows[list(groups["body"])]), **fields}


def _category(number: int, vocabulary: Vocabulary | None) -> dict[str, Any]:
    category: dict[str, Any] = {"id": number, "name": "person", "supercategory": "person"}
    if vocabulary is None:
        return category
    links = [[link.a + 1, link.b + 1] for link in vocabulary.links]
    category |= describe_vocabulary(vocabulary)
    if not _is_wholebody(vocabulary):
        return category | {"keypoints": list(vocabulary.names), "skeleton": links}
    # Tools for plain COCO expect as many names as `keypoints` has triples: 17.
    return category | {
        "keypoints": list(vocabulary.names[:17]),
        "skeleton": [link for link in links if max(link) <= 17],
        "wholebody_keypoints": list(vocabulary.names),
        "wholebody_skeleton": links,
    }


# ------------------------------------------------------------------------------------- reading


def read(
    path: str | Path, *, vocabulary: Vocabulary | None = None, task: str = "pose"
) -> list[Record]:
    """Read a COCO keypoints dataset or results list, ours or anybody's.

    Understood besides plain keypoints: COCO-WholeBody's extra fields (133 points) and the published
    308-point validation files. Crowd regions are left out: they are no person. Points with v = 0 at
    0, 0 have no place (NaN). Without ``keypoint_scores`` a point scores 1 where it has v > 0. The
    feet, face and hands of COCO-WholeBody only say labelled or not: labelled reads as visible.

    Args:
        path: the .json file.
        vocabulary: names of the points, where the file has none or should not be trusted.
        task: name to give the points.

    Raises:
        InputError: if the file is not one of these, or its points do not fit the vocabulary.
    """
    content = read_json(path)
    with layout(path, "a COCO keypoints dataset or results list"):
        if isinstance(content, list):
            return _read_results(content, vocabulary, task)
        if "annotations" not in content:
            raise InputError(
                f"{path} has no 'annotations' but {', '.join(list(content)[:6])}: wanted a COCO "
                "dataset or results list (formats.instances reads 'instance_info' and 'frames')"
            )
        return read_dataset(content, vocabulary, task)


def read_dataset(
    content: Mapping[str, Any], vocabulary: Vocabulary | None = None, task: str = "pose"
) -> list[Record]:
    """Read the content of a COCO keypoints dataset, see `read`."""
    categories = {entry["id"]: entry for entry in content.get("categories", ())}
    names: dict[Any, Vocabulary] = {}
    people: dict[Any, list[Person]] = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        if entry.get("iscrowd"):
            continue
        rows = rows_of(entry)
        points = None
        if rows is not None:
            whole = named_by_layout(entry)
            if whole == "wholebody133" and "visibility_known" not in entry:
                rows[17:, 2] = np.where(rows[17:, 2] > 0, VISIBLE, 0)  # these flags mean labelled
            key = whole or entry.get("category_id")
            if vocabulary is None and key not in names:
                category = categories.get(entry.get("category_id"), {})
                names[key] = _vocabulary(whole, category, len(rows))
            points = _points(entry, rows, vocabulary or names[key])
        person = _person(entry, points, task, entry.get("score", 1.0))
        people[entry["image_id"]].append(person)
    records: list[Record] = []
    for image in content["images"]:
        size = None
        if image.get("height") is not None and image.get("width") is not None:
            size = (int(image["height"]), int(image["width"]))
        name = str(image.get("file_name", image["id"]))
        number = image["id"] if isinstance(image["id"], int) else None
        found = tuple(people[image["id"]])
        records.append(Record(name=name, size=size, people=found, id=number))
    return records


def _read_results(
    entries: Sequence[Mapping[str, Any]], vocabulary: Vocabulary | None, task: str
) -> list[Record]:
    people: dict[tuple[str, int], list[Person]] = {}
    for entry in entries:
        number = int(entry["image_id"])
        name = str(entry.get("file_name", f"{number:012d}.jpg"))
        found = people.setdefault((name, number), [])
        rows = rows_of(entry)
        if rows is None:
            raise InputError("a results entry has no 'keypoints': for boxes use formats.boxes")
        stated = str(entry.get("vocabulary", "")).partition("@")[0]
        if vocabulary is None and stated and stated not in available():
            raise InputError(f"the points are of {stated!r}, which does not ship: give vocabulary=")
        words = vocabulary or (load(stated) if stated else vocabulary_of_count(len(rows)))
        nowhere = (rows == 0).all(axis=1)
        xy = np.where(nowhere[:, None], np.nan, rows[:, :2])
        points = make_points(words, xy, rows[:, 2])
        score = entry.get("box_score", entry.get("score", 1.0))
        found.append(_person(entry, points, task, score))
    return [
        Record(name=name, people=tuple(found), id=number)
        for (name, number), found in people.items()
    ]


def named_by_layout(entry: Mapping[str, Any]) -> str | None:
    """Return the vocabulary that the fields of an annotation or result stand for, if they do."""
    if _SAPIENS in entry:
        return "sapiens308"
    return "wholebody133" if "foot_kpts" in entry else None


def rows_of(entry: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return the (K, 3) rows of an annotation or result, whatever fields they are spread over."""
    if _SAPIENS in entry:
        return np.array(entry[_SAPIENS], dtype=np.float64).reshape(-1, 3)
    if not entry.get("keypoints"):
        return None
    rows = np.array(entry["keypoints"], dtype=np.float64).reshape(-1, 3)
    if "foot_kpts" not in entry:
        return rows
    parts = [rows]
    for key, (_, valid, _) in _WHOLE.items():
        part = np.array(entry[key], dtype=np.float64).reshape(-1, 3)
        parts.append(part if entry.get(valid, True) else np.zeros_like(part))
    return np.concatenate(parts)


def _vocabulary(whole: str | None, category: Mapping[str, Any], count: int) -> Vocabulary:
    if whole is not None:
        return load(whole)
    if "mirror" in category and "vocabulary" in category:
        links = [(int(a) - 1, int(b) - 1) for a, b in category.get("skeleton", ())]
        return rebuild_vocabulary(category, list(category["keypoints"]), links)
    if category.get("keypoints"):
        return from_coco_category(category)
    return vocabulary_of_count(count)


def _points(entry: Mapping[str, Any], rows: NDArray[np.float64], vocabulary: Vocabulary) -> Points:
    nowhere = (rows == 0).all(axis=1)
    xy = np.where(nowhere[:, None], np.nan, rows[:, :2])
    flags = rows[:, 2]
    scores = np.array(entry.get("keypoint_scores", flags > 0), dtype=np.float64)
    xyz = entry.get("keypoints_3d_metres")
    return make_points(
        vocabulary,
        xy,
        scores,
        flags if entry.get("visibility_known", True) else None,
        None if xyz is None else np.array(xyz, dtype=np.float64).reshape(-1, 3),
    )


def _person(entry: Mapping[str, Any], points: Points | None, task: str, score: float) -> Person:
    identity = entry.get("track_id")
    return Person(
        box=xywh_to_box(entry["bbox"]) if "bbox" in entry else box_around(points),
        score=float(score),
        identity=None if identity is None else int(identity),
        annotations={} if points is None else {task: points},
    )
