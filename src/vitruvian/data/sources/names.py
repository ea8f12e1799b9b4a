# SPDX-License-Identifier: Apache-2.0
"""Keypoint sets with layouts of their own: MPII, CrowdPose, AI Challenger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.options import Missing
from vitruvian.data.sources.coco import Annotated, find_images, open_coco
from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.formats.record import Record, layout, make_points
from vitruvian.geometry import box_of_points
from vitruvian.person import ABSENT, OCCLUDED, VISIBLE, Person
from vitruvian.vocabulary import load

_MPII_UNIT = 200.0  # an MPII scale of 1 is a person 200 pixels high
_AIC_FLAGS = {1: VISIBLE, 2: OCCLUDED, 3: ABSENT}


def open_mpii(
    annotations: str | Path, images: str | Path | None = None, *, missing: Missing = "raise"
) -> Annotated:
    """Read MPII as the field shares it in JSON: a list of image, joints, joints_vis, center, scale.

    Coordinates in such files count pixels from 1 (they come from Matlab). The box is the square
    that centre and scale describe, lowered by 15 pixels per unit of scale, as the field does.

    Raises:
        InputError: if the file is another, or pictures are missing.
    """
    path = Path(annotations)
    words = load("mpii")
    people: dict[str, list[Person]] = {}
    with layout(path, "a list of MPII people (image, joints, joints_vis, center, scale)"):
        for entry in read_json(path):
            xy = np.array(entry["joints"], dtype=np.float64) - 1
            flags = np.array(entry["joints_vis"], dtype=np.float64).ravel() > 0
            flags &= (xy > -1).all(axis=1)
            scale = float(entry["scale"])
            centre = np.array(entry["center"], dtype=np.float64) - 1 + (0, 15 * scale)
            half = scale * _MPII_UNIT / 2
            person = _person(words, xy, flags, np.concatenate([centre - half, centre + half]))
            people.setdefault(str(entry["image"]), []).append(person)
    return _annotated(path, images, people, missing)


def open_aic(
    annotations: str | Path, images: str | Path | None = None, *, missing: Missing = "raise"
) -> Annotated:
    """Read AI Challenger: its own layout, or the COCO layout others converted it to.

    Raises:
        InputError: if the file is another, or pictures are missing.
    """
    path = Path(annotations)
    words = load("aic")
    content = read_json(path)
    if isinstance(content, Mapping):
        return open_coco(path, images, vocabulary=words, missing=missing)
    people: dict[str, list[Person]] = {}
    with layout(path, "a list of AI Challenger pictures (image_id, keypoint_annotations)"):
        for entry in content:
            name = str(entry["image_id"])
            found = people.setdefault(name if "." in name else f"{name}.jpg", [])
            boxes: dict[str, Any] = entry.get("human_annotations", {})
            for key, values in entry["keypoint_annotations"].items():
                rows = np.array(values, dtype=np.float64).reshape(-1, 3)
                flags = np.array([_AIC_FLAGS[int(flag)] for flag in rows[:, 2]], dtype=np.uint8)
                box = np.array(boxes[key], dtype=np.float64) if key in boxes else None
                found.append(_person(words, rows[:, :2], flags > 0, box, flags))
    return _annotated(path, images, people, missing)


def open_crowdpose(
    annotations: str | Path, images: str | Path | None = None, *, missing: Missing = "raise"
) -> Annotated:
    """Read CrowdPose: COCO's layout with 14 points of its own.

    Raises:
        InputError: if the file is another, or pictures are missing.
    """
    return open_coco(annotations, images, vocabulary=load("crowdpose"), missing=missing)


def _person(
    words: Any,
    xy: NDArray[np.float64],
    there: NDArray[np.bool_],
    box: NDArray[np.float64] | None,
    flags: NDArray[np.uint8] | None = None,
) -> Person:
    placed = np.where(there[:, None], xy, np.nan)
    points = make_points(words, placed, there.astype(np.float64), flags)
    if box is None or (box[2:] <= box[:2]).any():
        box = box_of_points(placed)
    return Person(box=np.zeros(4) if box is None else box, annotations={"pose": points})


def _annotated(
    path: Path, images: str | Path | None, people: Mapping[str, list[Person]], missing: Missing
) -> Annotated:
    if not people:
        raise InputError(f"{path}: nobody in it")
    folder = Path(images) if images is not None else find_images(path, list(people))
    records = [Record(name=name, people=tuple(found)) for name, found in people.items()]
    return Annotated(records, folder, what=str(path), missing=missing)
