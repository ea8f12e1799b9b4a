# SPDX-License-Identifier: Apache-2.0
"""COCO keypoints datasets as evaluators need them, photograph by photograph.

The file may be of any size: it is gone through once, entry by entry, and what stays in memory is
the photographs' names, numbers and sizes, and where their annotations lie.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.formats import stream
from vitruvian.formats.coco import named_by_layout, read_dataset, rows_of
from vitruvian.formats.record import Record, layout
from vitruvian.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth(Record):
    """A photograph as evaluators need it: crowds too, coordinates as precise as in the file.

    Attributes:
        vocabulary: of the points.
        xy: (G, K, 2) float64 pixels of everyone in ``people``, in their order.
        labelled: (G, K) whether a point is annotated (v > 0).
        areas: (G,) square pixels, as annotated; of the box where the file has none, or null.
        crowd: (G,) whether somebody stands for many.
    """

    vocabulary: Vocabulary
    xy: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


class TruthFile:
    """The photographs of a COCO keypoints dataset with all that decides an evaluation.

    Unlike `coco.read` it keeps crowd regions, people without points, and the annotated areas (that
    of the box where a file has none, or null).

    Attributes:
        names: of the photographs, in the order of the file.
        numbers: their ids.
        vocabulary: of the points.
    """

    def __init__(self, path: str | Path, *, vocabulary: Vocabulary | None = None) -> None:
        """Go through the file once.

        Args:
            path: the .json file.
            vocabulary: names of the points, where the file has none or should not be trusted.

        Raises:
            InputError: if the file is no such dataset, or people have points of different
                vocabularies.
        """
        self.path = Path(path)
        self.names: list[str] = []
        self.numbers: list[Any] = []
        self._sizes = array("l")
        self._places = stream.Places(path)
        self._categories: Sequence[Any] = ()
        self._given = vocabulary
        with layout(path, "a COCO keypoints dataset"):
            self.vocabulary = self._index()

    def _index(self) -> Vocabulary:
        place: dict[Any, int] = {}
        waiting: list[tuple[Any, stream.Entry]] = []  # annotations that precede their photographs
        examples: dict[Any, Mapping[str, Any]] = {}
        keys: set[str] = set()
        for entry in stream.entries(self.path, ("images", "annotations")):
            keys.add(entry.key)
            if not entry.key:
                raise InputError(
                    f"{self.path} is a list, so a file of results: wanted a dataset with truth"
                )
            if entry.key == "categories":
                self._categories = entry.value
            elif entry.key == "images" and entry.listed:
                place[entry.value["id"]] = len(self.names)
                self._add_photograph(entry.value)
            elif entry.key == "annotations" and entry.listed:
                owner = entry.value["image_id"]
                self._note(entry.value, examples)
                if owner in place:
                    self._places.add(place[owner], entry)
                else:
                    waiting.append((owner, entry._replace(value=None)))
        if not {"images", "annotations"} <= keys:
            raise InputError(
                f"{self.path} has {', '.join(sorted(keys)[:6])}: wanted a dataset with 'images' "
                "and 'annotations'"
            )
        lost = [owner for owner, _ in waiting if owner not in place]
        if lost:
            raise InputError(
                f"{self.path}: {len(lost)} annotations belong to photographs it does not list, "
                f"such as image_id {lost[0]!r}: give the whole dataset"
            )
        for owner, entry in waiting:
            self._places.add(place[owner], entry)
        return self._one_vocabulary(examples)

    def _add_photograph(self, image: Mapping[str, Any]) -> None:
        self.names.append(str(image.get("file_name", image["id"])))
        self.numbers.append(image["id"])
        known = image.get("height") is not None and image.get("width") is not None
        self._sizes.extend((int(image["height"]), int(image["width"])) if known else (-1, -1))

    def _note(self, entry: Mapping[str, Any], examples: dict[Any, Any]) -> None:
        """Keep one person of every kind of points there is."""
        rows = rows_of(entry)
        if rows is None:
            return
        if not np.isfinite(rows).all():
            raise InputError(
                f"{self.path}, annotation {entry.get('id')}: coordinates that are NaN or "
                "infinite: write 0, 0, 0 for a point that is not annotated"
            )
        key = named_by_layout(entry) or entry.get("category_id"), len(rows)
        examples.setdefault(key, entry)

    def _one_vocabulary(self, examples: Mapping[Any, Mapping[str, Any]]) -> Vocabulary:
        records = [self._record({"id": one["image_id"]}, [one]) for one in examples.values()]
        found = [record.people[0].points().vocabulary for record in records]
        if not found or any(one != found[0] for one in found):
            raise InputError(
                f"{self.path}: "
                f"{'points of different vocabularies' if found else 'nobody has points'}: an "
                "evaluation needs keypoints of one vocabulary"
            )
        return found[0]

    def _record(self, image: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> Record:
        everyone = [{**entry, "iscrowd": 0} for entry in people]
        content = {"images": [image], "annotations": everyone, "categories": self._categories}
        return read_dataset(content, self._given)[0]

    def __len__(self) -> int:
        return len(self.names)

    def size(self, place: int) -> tuple[int, int] | None:
        """Return (height, width) of a photograph, if the file says."""
        height, width = self._sizes[2 * place : 2 * place + 2]
        return None if height < 0 else (height, width)

    def read(self, place: int) -> Truth:
        """Return a photograph by its place in the file.

        Raises:
            InputError: if its annotations are not laid out as they should be, or an area is NaN
                or infinite.
        """
        with layout(self.path, "a COCO keypoints dataset"):
            entries = self._places.read(place)
            image = {"id": self.numbers[place], "file_name": self.names[place]}
            record = self._record(image, entries)
            return self._truth(entries, record, self.size(place))

    def _truth(
        self, entries: Sequence[Mapping[str, Any]], record: Record, size: tuple[int, int] | None
    ) -> Truth:
        nothing = np.zeros((len(self.vocabulary), 3))
        given = [rows_of(entry) for entry in entries]
        rows = np.array([nothing if found is None else found for found in given])
        rows = rows.reshape(-1, *nothing.shape)
        boxes = np.array([person.box for person in record.people]).reshape(-1, 4)
        sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        areas = np.array(
            [
                size if entry.get("area") is None else entry["area"]
                for entry, size in zip(entries, sizes, strict=True)
            ],
            np.float64,
        )
        if not np.isfinite(areas).all():
            bad = int(np.argmin(np.isfinite(areas)))
            raise InputError(
                f"{self.path}, annotation {entries[bad].get('id')}: the area is {areas[bad]} · "
                "wanted square pixels · correct it, or write null to take that of the box"
            )
        return Truth(
            name=record.name,
            size=size,
            people=record.people,
            id=record.id,
            vocabulary=self.vocabulary,
            xy=rows[..., :2],
            labelled=rows[..., 2] > 0,
            areas=areas,
            crowd=np.array([bool(entry.get("iscrowd")) for entry in entries], bool),
        )
