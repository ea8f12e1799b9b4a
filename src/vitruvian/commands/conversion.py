# SPDX-License-Identifier: Apache-2.0
"""The content of a COCO keypoints file in another vocabulary, with everything else untouched."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.correspondence import Correspondence, convert_points, correspond
from vitruvian.formats import coco
from vitruvian.vocabulary import Vocabulary, load

# What spells out the points of an annotation, besides "keypoints".
_SPELT = {coco._SAPIENS, *coco._WHOLE, *(valid for _, valid, _ in coco._WHOLE.values())}


def convert_coco(
    content: Any, target: Vocabulary, given: Vocabulary | None = None, table: str = "best"
) -> tuple[Any, list[tuple[Correspondence, int]]]:
    """Convert a COCO keypoints dataset, or results list, to another vocabulary.

    Args:
        content: The JSON content of the file; it is not changed.
        target: Vocabulary wanted.
        given: Vocabulary of the file; None reads it from the file.
        table: As for ``correspond``.

    Returns:
        The new content, and for each vocabulary met its correspondence and how many people had it.

    Raises:
        InputError: The points fit no vocabulary, or not ``given``, or none of them corresponds.
    """
    results = isinstance(content, list)
    entries: list[dict[str, Any]] = content if results else content["annotations"]
    categories = {} if results else {entry["id"]: entry for entry in content.get("categories", ())}
    named: dict[Any, Vocabulary] = {}
    found: dict[Vocabulary, Correspondence] = {}
    counts: dict[Vocabulary, int] = {}
    touched: set[Any] = set()
    converted: list[dict[str, Any]] = []
    for entry in entries:
        rows = coco.rows_of(entry)
        if rows is None:
            converted.append(entry)
            continue
        source = given
        if source is None:
            key = (
                coco.named_by_layout(entry), entry.get("vocabulary"), entry.get("category_id"),
                len(rows),
            )  # fmt: skip
            if key not in named:
                named[key] = _vocabulary(entry, categories, len(rows))
            source = named[key]
        if source not in found:
            found[source] = correspond(source, target, table=table)
        counts[source] = counts.get(source, 0) + 1
        touched.add(entry.get("category_id"))
        converted.append(_convert_entry(entry, rows, found[source], results=results))
    done = [(found[source], count) for source, count in counts.items()]
    if results:
        return converted, done
    described = coco._category(0, target)
    for key in ("id", "name", "supercategory"):
        del described[key]
    renamed = [
        {k: v for k, v in entry.items() if not k.startswith("wholebody_")} | described
        if entry["id"] in touched
        else entry
        for entry in categories.values()
    ]
    return {**content, "annotations": converted, "categories": renamed}, done


def _vocabulary(entry: dict[str, Any], categories: dict[Any, Any], count: int) -> Vocabulary:
    stated = str(entry.get("vocabulary", "")).partition("@")[0]
    if stated:
        return load(stated)
    category = categories.get(entry.get("category_id"), {})
    return coco._vocabulary(coco.named_by_layout(entry), category, count)


def _convert_entry(
    entry: dict[str, Any], rows: NDArray[np.float64], found: Correspondence, *, results: bool
) -> dict[str, Any]:
    """Return one annotation (or result) with its points in the rows of the target."""
    nowhere = (rows == 0).all(axis=1)
    xy = np.where(nowhere[:, None], np.nan, rows[:, :2])
    xy, flags = convert_points(xy, rows[:, 2], found)
    placed = ~np.isnan(xy[:, 0])
    flags = np.where(placed, flags, 0)
    rows = np.column_stack([np.where(placed[:, None], xy, 0), flags])
    new = {k: v for k, v in entry.items() if k not in _SPELT}
    new |= coco._split(found.target, rows)
    if coco._is_wholebody(found.target):
        for group, valid, _ in coco._WHOLE.values():
            new[valid] = bool((flags[list(found.target.groups[group])] > 0).any())
    if "num_keypoints" in entry or not results:
        new["num_keypoints"] = int((flags > 0).sum())
    if "vocabulary" in entry:
        new["vocabulary"] = f"{found.target.name}@{found.target.version}"
    count = len(found.source)
    ones = np.ones(count)
    if "keypoint_scores" in entry:
        given = np.array(entry["keypoint_scores"], np.float64)
        _, scores = convert_points(np.zeros((count, 2)), given, found)
        new["keypoint_scores"] = scores.tolist()
    if "keypoints_3d_metres" in entry:
        places = np.array(entry["keypoints_3d_metres"], np.float64).reshape(-1, 3)
        places, _ = convert_points(places, ones, found)
        new["keypoints_3d_metres"] = np.nan_to_num(places).ravel().tolist()
    return new
