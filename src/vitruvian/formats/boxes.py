# SPDX-License-Identifier: Apache-2.0
"""Readers of people's boxes made elsewhere: COCO detections and MOTChallenge tracks.

Both files hold x, y, width, height; what is returned is x0, y0, x1 = x + width, y1 = y + height.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.formats.record import layout
from vitruvian.geometry import xywh_to_box


class Found(NamedTuple):
    """The boxes of one picture.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,), 1 where the file has none.
        identities: (N,) track numbers, or ``None``.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    identities: NDArray[np.int64] | None


class _Row(NamedTuple):
    xywh: list[float]
    score: float
    identity: int | None


def _check(where: str, xywh: list[float], **numbers: float) -> None:
    """Refuse a box that is none, and other numbers that are NaN, infinite or beyond any count."""
    if not all(math.isfinite(value) for value in xywh) or min(xywh[2:]) < 0:
        raise InputError(f"{where}: the box {xywh} is not x, y, width ≥ 0, height ≥ 0")
    for name, value in numbers.items():
        if not abs(value) < 2**63:  # also true of NaN; what fits in int64
            raise InputError(
                f"{where}: the {name} is {value} · wanted a finite number · correct it, or take "
                "the box out"
            )


def _gathered(rows: list[_Row]) -> Found:
    boxes = xywh_to_box(np.array([row.xywh for row in rows], np.float64).reshape(-1, 4))
    scores = np.array([row.score for row in rows], np.float64)
    known = [row.identity for row in rows if row.identity is not None]
    tracked = len(known) == len(rows) > 0
    return Found(boxes, scores, np.array(known, np.int64) if tracked else None)


def read_coco(path: str | Path) -> dict[str, Found]:
    """Read the people of a COCO detections list, or of a COCO dataset.

    Entries of other categories than "person" (1 where there is no list of categories) and crowd
    regions are left out. Keys are file names where the file knows them. A plain detections list
    knows only numbers: then each picture has two keys, "785" and, as COCO names its files,
    "000000000785".

    Raises:
        InputError: if the file is neither, or a box or score in it is NaN or infinite.
    """
    content = read_json(path)
    with layout(path, "a COCO detections list or dataset"):
        files: dict[Any, str] = {}
        person: set[Any] = {1}
        entries = content
        if isinstance(content, dict):
            entries = content["annotations"]
            files = {image["id"]: str(image["file_name"]) for image in content["images"]}
            categories = content.get("categories")
            if categories:
                person = {c["id"] for c in categories if str(c["name"]).lower() == "person"}
                if not person:
                    names = ", ".join(str(c["name"]) for c in categories[:8])
                    raise InputError(f"{path} has no category 'person' but {names}")
        rows: dict[tuple[str, ...], list[_Row]] = {(name,): [] for name in files.values()}
        for entry in entries:
            if entry.get("category_id", 1) not in person or entry.get("iscrowd"):
                continue
            number = entry["image_id"]
            name = files.get(number, entry.get("file_name"))
            keys = (str(name),) if name is not None else _names(number)
            xywh = [float(value) for value in entry["bbox"]]
            if len(xywh) != 4:
                raise InputError(f"{path}: a bbox has {len(xywh)} numbers, wanted x, y, w, h")
            score = float(entry.get("box_score", entry.get("score", 1.0)))
            _check(f"{path}, image {number}", xywh, score=score)
            rows.setdefault(keys, []).append(_Row(xywh, score, entry.get("track_id")))
        return {key: _gathered(found) for keys, found in rows.items() for key in keys}


def _names(number: Any) -> tuple[str, ...]:
    text = str(number)
    return (text, text.zfill(12)) if text.isdecimal() and len(text) < 12 else (text,)


def read_mot(path: str | Path, *, first_pixel: int = 0) -> dict[int, Found]:
    """Read MOTChallenge tracks: ``frame, id, left, top, width, height[, confidence, …]`` a line.

    Args:
        path: the .txt file; commas or blanks separate.
        first_pixel: the number of the first pixel in the file. MOTChallenge counts from 1, most
            trackers that write its layout from 0; the difference is one pixel.

    Returns:
        Frame number as in the file (MOTChallenge counts from 1) → boxes. A negative id is no track;
        ground-truth lines with confidence 0 ("ignore") are left out.

    Raises:
        InputError: if a line has fewer than six numbers, or one that is NaN or infinite, naming
            the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    rows: dict[int, list[_Row]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = [float(value) for value in line.replace(",", " ").split()]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if len(values) < 6:
            raise InputError(
                f"{path}, line {number}: {len(values)} numbers, wanted frame, id, left, top, "
                "width, height and, if known, confidence"
            )
        frame, track = values[:2]
        score = values[6] if len(values) > 6 else 1.0
        if score == 0:
            continue
        xywh = [values[2] - first_pixel, values[3] - first_pixel, values[4], values[5]]
        _check(f"{path}, line {number}", xywh, frame=frame, id=track, confidence=score)
        identity = int(track) if track >= 0 else None
        found = rows.setdefault(int(frame), [])
        found.append(_Row(xywh, 1.0 if score < 0 else score, identity))
    return {frame: _gathered(found) for frame, found in sorted(rows.items())}
