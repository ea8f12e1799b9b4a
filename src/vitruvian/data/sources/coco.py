# SPDX-License-Identifier: Apache-2.0
"""Keypoints in COCO's layout: 17 points, COCO-WholeBody's 133, the published 308, or your own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.options import Missing
from vitruvian.data.sources.files import Entry, Files, Known
from vitruvian.errors import InputError
from vitruvian.formats import coco
from vitruvian.formats.record import Record
from vitruvian.geometry import box_of_points
from vitruvian.person import Person
from vitruvian.vocabulary import Vocabulary


class Annotated(Files):
    """Pictures in files with the people of their records."""

    def __init__(
        self,
        records: Sequence[Record],
        images: Path,
        *,
        what: str,
        task: str = "pose",
        least_points: int = 1,
        missing: Missing = "raise",
    ) -> None:
        """Keep the people with points, and the pictures that show some.

        Raises:
            InputError: if nobody is left, pictures are missing, or a name occurs twice.
        """
        kept: dict[str, tuple[Person, ...]] = {}
        for record in records:
            if record.name in kept:
                raise InputError(f"{what}: two pictures are called {record.name!r}")
            people = tuple(p for p in record.people if _count(p, task) >= least_points)
            if people:
                kept[record.name] = people
        if not kept:
            raise InputError(
                f"{what}: nobody in {len(records)} pictures has {least_points} or more points"
            )
        entries = [Entry(name, images / name) for name in kept]
        super().__init__(entries, what=what, missing=missing)
        self._people = kept
        self._sizes = {record.name: record.size for record in records}

    def known(self, index: int, size: tuple[int, int]) -> Known:
        """Return the people of a picture.

        Raises:
            InputError: if the picture has another size than the annotation says.
        """
        name = self.entries[index].name
        stated = self._sizes[name]
        if stated is not None and stated != size:
            turned = stated == size[::-1]
            hint = "turned by its EXIF orientation after it was annotated" if turned else "resized"
            raise InputError(
                f"{self.where(index)} is {size[0]}×{size[1]} (height × width), {self.what} was "
                f"made for {stated[0]}×{stated[1]}: it was {hint}; use the original pictures"
            )
        return Known(people=self._people[name])

    def people(self) -> NDArray[np.int32]:
        """Return how many people each picture has."""
        return np.array([len(self._people[e.name]) for e in self.entries], dtype=np.int32)


def _count(person: Person, task: str) -> int:
    return int(person.points(task).present.sum()) if task in person.annotations else 0


def find_images(annotations: Path, names: Sequence[str]) -> Path:
    """Return the folder that holds the pictures of an annotation file, looking around it.

    Raises:
        InputError: if it is not found.
    """
    stem = annotations.stem.lower()
    around = [annotations.parent, annotations.parent.parent]
    usual = ["images", "train2017", "val2017", "train", "val", "image", "rgb", "."]
    # person_keypoints_train2017.json belongs to train2017
    usual.sort(key=lambda name: name not in stem)
    nested = [f"images/{name}" for name in usual if name != "."]
    for place in around:
        for name in (*usual, *nested):
            if names and (place / name / names[0]).is_file():
                return place / name
    raise InputError(
        f"{annotations}: its pictures ({', '.join(names[:2])}, …) are not beside it: name their "
        "folder with images="
    )


def open_coco(
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    least_points: int = 1,
    missing: Missing = "raise",
) -> Annotated:
    """Read a COCO keypoints dataset with its pictures.

    Args:
        annotations: the .json; see `vitruvian.formats.coco.read`.
        images: folder of the pictures; by default looked for around the file.
        vocabulary: names of the points, where the file has none of its own.
        least_points: people with fewer points are left out, and pictures without people.
        missing: whether a picture that is not there is an error or left out.

    Raises:
        InputError: if the file is no such dataset, nobody is left, or pictures are missing.
    """
    path = Path(annotations)
    records = coco.read(path, vocabulary=vocabulary)
    folder = Path(images) if images is not None else find_images(path, [r.name for r in records])
    boxed = [
        replace(record, people=tuple(_boxed(person) for person in record.people))
        for record in records
    ]
    return Annotated(boxed, folder, what=str(path), least_points=least_points, missing=missing)


def _boxed(person: Person, task: str = "pose") -> Person:
    """Give a person without a real box that of their points."""
    if (person.box[2:] - person.box[:2]).min() > 0 or task not in person.annotations:
        return person
    points = person.points(task)
    box = box_of_points(points.xy[points.present])
    return person if box is None else replace(person, box=box)
