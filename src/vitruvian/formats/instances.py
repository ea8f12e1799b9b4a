# SPDX-License-Identifier: Apache-2.0
"""Readers of keypoint files that other tools write: ``instance_info`` and ``frames``.

The first comes from mmpose and the demos of the first Sapiens generation, the second from the
published code of Sapiens2. Their boxes are x0, y0, x1, y1. Neither holds visibility nor, as a rule,
names: without names the number of points decides (17, 133 and 308 are known).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.formats.record import (
    Record,
    box_around,
    layout,
    make_points,
    vocabulary_of_count,
)
from vitruvian.person import Person
from vitruvian.vocabulary import Vocabulary, from_coco_category


def read(
    path: str | Path, *, vocabulary: Vocabulary | None = None, task: str = "pose"
) -> list[Record]:
    """Read ``{"meta_info", "instance_info": […]}`` or ``{"frames": [{"instances": […]}]}``.

    A file of one photograph gives one record, named like the file without ".json". A file of a
    video gives one record per frame, named by its ``image_name`` or its number.

    Args:
        path: the .json file.
        vocabulary: names of the points, where the file has none or should not be trusted.
        task: name to give the points.

    Raises:
        InputError: if the file is neither, or its points do not fit the vocabulary.
    """
    content = read_json(path)
    with layout(path, "a file with 'instance_info' or 'frames'"):
        if isinstance(content, Mapping) and "instance_info" in content:
            meta = content.get("meta_info") or {}
            words = vocabulary or named(meta)
            entries = content["instance_info"]
            if entries and "instances" in entries[0]:  # a video
                return [
                    Record(
                        name=str(entry["frame_id"]),
                        people=people_of(entry["instances"], words, task),
                    )
                    for entry in entries
                ]
            return [Record(name=Path(path).stem, people=people_of(entries, words, task))]
        if isinstance(content, Mapping) and "frames" in content:
            size = content.get("image_size")
            return [
                Record(
                    name=str(frame.get("image_name", number)),
                    size=None if size is None else (int(size[0]), int(size[1])),
                    people=people_of(frame["instances"], vocabulary, task),
                )
                for number, frame in enumerate(content["frames"])
            ]
        raise InputError(
            f"{path} has neither 'instance_info' nor 'frames'; formats.coco reads COCO"
        )


def named(meta: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary that mmpose's ``meta_info`` describes, if it does."""
    table = meta.get("keypoint_id2name")
    if not table:
        return None
    names = [name for _, name in sorted((int(key), str(name)) for key, name in table.items())]
    links = [(int(a) + 1, int(b) + 1) for a, b in meta.get("skeleton_links", ())]
    name = str(meta.get("dataset_name", "points"))
    return from_coco_category({"name": name, "keypoints": names, "skeleton": links})


def people_of(
    entries: Sequence[Mapping[str, Any]], vocabulary: Vocabulary | None, task: str
) -> tuple[Person, ...]:
    """Read the people of one photograph, of either kind of file."""
    people: list[Person] = []
    for entry in entries:
        rows = np.array(entry["keypoints"], dtype=np.float64).reshape(len(entry["keypoints"]), -1)
        scores = np.array(entry["keypoint_scores"], dtype=np.float64).ravel()
        words = vocabulary or vocabulary_of_count(len(rows))
        points = make_points(words, rows[:, :2], scores)
        given = entry.get("bbox")
        box = box_around(points) if given is None else np.array(given, np.float64).ravel()[:4]
        score = np.array(entry.get("bbox_score", 1.0), np.float64).ravel()[0]
        identity = entry.get("track_id")
        people.append(
            Person(
                box=box,
                score=float(score),
                identity=None if identity is None else int(identity),
                annotations={task: points},
            )
        )
    return tuple(people)
