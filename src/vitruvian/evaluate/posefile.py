# SPDX-License-Identifier: Apache-2.0
"""Keypoints predicted elsewhere: COCO results, instance files of other tools.

All of a file is held to the photographs before anything is counted. What does not fit (an id nobody
knows, another number of points, NaN, x and y exchanged) is refused, with what to do about it. What
stays in memory is where each person lies in the files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.data.sources.files import listed
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer, FoundPoses, ranked, sigmas_of
from vitruvian.evaluate.cases import ByName, Cases, Floats
from vitruvian.formats import coco, instances, stream
from vitruvian.formats.record import layout, vocabulary_of_count
from vitruvian.metrics import oks_matrix
from vitruvian.person import Person
from vitruvian.vocabulary import Vocabulary, available, load

_LISTS = ("annotations", "images", "instance_info", "frames")
_LOOKED_AT = 300  # photographs in which exchanged axes are looked for

Build = Callable[[Sequence[Any]], FoundPoses]
"""From the entries of a photograph, as in the file, to its people."""


class PoseFile:
    """Keypoints from a results file (or a folder of instance files)."""

    tasks = ("pose",)

    def __init__(self, path: str | Path, cases: Cases, target: Vocabulary) -> None:
        """Hold everything to the photographs, and note where it lies.

        Args:
            path: a COCO results list (scores are taken as they are), a file or folder of mmpose's
                ``instance_info``, Sapiens2's ``frames``, or a ``people.json`` of ours (people are
                scored and duplicates dropped as published).
            cases: the photographs.
            target: vocabulary to evaluate in.

        Raises:
            InputError: if it is none of these, or does not fit the photographs.
        """
        self._path, self._cases, self._target = Path(path), cases, target
        self._of: dict[int, tuple[stream.Places, Build]] = {}
        files = [self._path]
        if self._path.is_dir():
            files = sorted(self._path.rglob("*.json"))
            if not files:
                raise InputError(
                    f"{self._path}: no .json in it: wanted a results file or a folder of them"
                )
        finder: ByName | None = None
        unknown: list[str] = []
        for file in files:
            reader = _Results(file, cases, target)
            with layout(file, "keypoint results"):
                if not reader.read():
                    finder = finder or ByName(cases.names)
                    reader = _Instances(file, cases, target, finder)
                    reader.read()
                    unknown += reader.unknown
            found = reader.places, reader.build
            for place in reader.places.owners().tolist():
                if place in self._of:
                    raise InputError(f"{self._path}: {cases.names[place]} is in it twice")
                self._of[place] = found
        if unknown:
            raise InputError(
                f"{self._path}: {listed(unknown)} are photographs that are not in the truth, "
                f"which has {len(cases)}, such as {cases.names[0]}: name the files like the "
                "photographs, or give the truth they belong to"
            )
        self._check_axes()

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order."""
        for place in places:
            truth = self._cases.sample(place) if draw else None
            yield Answer(place=place, truth=truth, poses=self._found(place))

    def _found(self, place: int) -> FoundPoses:
        if place not in self._of:
            return nobody(self._target)
        entries, build = self._of[place]
        return build(entries.read(place))

    def _check_axes(self) -> None:
        """Refuse points that fit the truth far better with x and y exchanged."""
        straight, crossed = list[float](), list[float]()
        sigmas = sigmas_of(self._target)
        for place in self._of:
            if len(straight) > _LOOKED_AT:
                break
            truth, found = self._cases.poses(place), self._found(place)
            if truth is None or not len(truth.wanted) or not len(found.xy):
                continue
            wanted = truth.wanted
            fits = [
                oks_matrix(
                    xy, truth.xy[wanted], truth.labelled[wanted],
                    areas=truth.areas[wanted], sigmas=sigmas,
                ).max()
                for xy in (found.xy, found.xy[..., ::-1])
            ]  # fmt: skip
            straight.append(fits[0])
            crossed.append(fits[1])
        if crossed and np.mean(crossed) > max(0.5, 2 * np.mean(straight)):
            raise InputError(
                f"{self._path}: its points fit the truth only with x and y exchanged (OKS "
                f"{np.mean(crossed):.2f} instead of {np.mean(straight):.2f}): write x (to the "
                "right) before y (down)"
            )


def nobody(words: Vocabulary) -> FoundPoses:
    """Return that nobody was found."""
    count = len(words)
    return FoundPoses(
        vocabulary=words, xy=np.zeros((0, count, 2)), scores=np.zeros((0, count)), ranks=np.zeros(0)
    )


class _Results:
    """A COCO results list."""

    def __init__(self, path: Path, cases: Cases, target: Vocabulary) -> None:
        self._path, self._cases, self._target = path, cases, target
        self.places = stream.Places(path)
        self._words: Vocabulary | None = None

    def read(self) -> bool:
        """Go through the file; ``False`` if it is no list."""
        place = {number: place for place, number in enumerate(self._cases.numbers)}
        unknown, count = list[Any](), 0
        for number, entry in enumerate(stream.entries(self._path, _LISTS)):
            if entry.key or not entry.listed:
                return False
            count += 1
            if not isinstance(entry.value, dict):
                raise InputError(
                    f"{self._path}, entry {number} is {str(entry.value)[:40]!r}: wanted an object "
                    "with image_id, keypoints and score for each person"
                )
            owner = entry.value.get("image_id")
            if owner not in place:
                unknown.append(owner)
                continue
            self._check(entry.value, f"{self._path}, entry {number}")
            self.places.add(place[owner], entry)
        if unknown:
            known = listed(map(str, self._cases.numbers[:3]))
            raise InputError(
                f"{self._path}: {len(unknown)} of {count} results are of photographs nobody "
                f"knows, such as image_id {unknown[0]!r}; the truth has {len(place)}, such as "
                f"{known}: give the truth these results belong to, or leave those entries out"
            )
        if self._words is not None:
            self._within(nobody(self._words))
        return True

    def _check(self, entry: Mapping[str, Any], where: str) -> None:
        rows = self._rows(entry, where)
        if not np.isfinite(rows).all():
            raise InputError(
                f"{where}: {int((~np.isfinite(rows)).sum())} of its numbers are NaN or infinite: "
                "write 0, 0 with score 0 for a point that was not found"
            )
        self._words = self._words or self._vocabulary(entry, len(rows), where)
        if len(rows) != len(self._words):
            raise InputError(
                f"{where} has {len(rows)} points, entries before it {len(self._words)}: evaluate "
                "files of one kind of points at a time"
            )
        score = entry.get("score")
        if not isinstance(score, int | float) or not np.isfinite(score):
            raise InputError(
                f"{where}: its score is {score!r}: write a number for each person, precision is "
                "averaged over it"
            )

    def _rows(self, entry: Mapping[str, Any], where: str) -> Floats:
        try:
            rows = coco.rows_of(entry)
        except ValueError as error:
            count = len(entry["keypoints"])
            raise InputError(
                f"{where}: its keypoints are {count} numbers: wanted x, y, score for each point"
            ) from error
        if rows is None:
            raise InputError(
                f"{where} has no 'keypoints' but {', '.join(list(entry)[:6])}: these are no "
                "keypoint results (boxes are given with --boxes)"
            )
        return rows

    def _vocabulary(self, entry: Mapping[str, Any], count: int, where: str) -> Vocabulary:
        stated = str(entry.get("vocabulary", "")).partition("@")[0]
        if stated and stated in available():
            return load(stated)
        if count == len(self._target):
            return self._target
        try:
            return vocabulary_of_count(count)
        except InputError as error:
            raise InputError(
                f"{where} has {count} points, the truth is {self._target.name!r} with "
                f"{len(self._target)}: give the file that belongs to it"
            ) from error

    def build(self, entries: Sequence[Any]) -> FoundPoses:
        """Return the people of a photograph."""
        assert self._words is not None
        rows = np.array([self._rows(entry, str(self._path)) for entry in entries])
        return self._within(
            FoundPoses(
                vocabulary=self._words,
                xy=rows[..., :2],
                scores=rows[..., 2],
                ranks=np.array([float(entry["score"]) for entry in entries]),
            )
        )

    def _within(self, found: FoundPoses) -> FoundPoses:
        try:
            return found.within(self._target)
        except InputError as error:
            raise InputError(
                f"{self._path} has {len(found.vocabulary)} points for each person, the truth is in "
                f"{self._target.name!r} with {len(self._target)}: {error}"
            ) from error


class _Instances:
    """Files of ``instance_info`` or ``frames``, or a COCO dataset of people that we wrote."""

    def __init__(self, path: Path, cases: Cases, target: Vocabulary, finder: ByName) -> None:
        self._path, self._cases, self._target, self._finder = path, cases, target, finder
        self.places = stream.Places(path)
        self.unknown: list[str] = []
        self._head: dict[str, Any] = {}  # what stands beside the lists
        self._seen: set[int] = set()

    def read(self) -> None:
        """Go through the file: first for what is said once, then for the people."""
        names: dict[Any, str] = {}
        lists: set[str] = set()
        for entry in stream.entries(self._path, _LISTS):
            if not entry.listed:
                self._head[entry.key] = entry.value
            elif entry.key == "images":
                names[entry.value["id"]] = str(entry.value.get("file_name", entry.value["id"]))
            else:
                lists.add(entry.key)
        if not (lists | set(self._head)) & {"annotations", "instance_info", "frames"}:
            raise InputError(
                f"{self._path} holds {', '.join(list(self._head)[:6]) or 'no keypoints'}: wanted a "
                "COCO results list, 'instance_info', 'frames', or 'images' and 'annotations'"
            )
        frames = 0
        for entry in stream.entries(self._path, lists):
            if not entry.listed:
                continue
            if entry.key == "annotations":
                if not entry.value.get("iscrowd"):
                    self._add(names[entry.value["image_id"]], entry, whole=False)
            elif entry.key == "frames":
                self._add(str(entry.value.get("image_name", frames)), entry)
                frames += 1
            elif "instances" in entry.value:
                self._add(str(entry.value["frame_id"]), entry)
            else:
                self._add(self._path.stem, entry, whole=False)
        self._seen.clear()

    def _add(self, name: str, entry: stream.Entry, *, whole: bool = True) -> None:
        place = self._finder.find(name)
        if place is None:
            if name not in self.unknown:
                self.unknown.append(name)
            return
        if whole and place in self._seen:
            raise InputError(f"{self._path}: {self._cases.names[place]} is in it twice")
        self._seen.add(place)
        people = self._people([entry.value])
        for person in people:
            points = person.points()
            # Our own files leave the place of unfound points open; tools of others write NaN.
            if not np.isfinite(np.where(points.scores[:, None] > 0, points.xy, 0)).all():
                raise InputError(
                    f"{self._path}, {name}: points with a score have NaN for a place: write 0, 0 "
                    "with score 0 for a point that was not found"
                )
        if people:
            self.places.add(place, entry)

    def _people(self, entries: Sequence[Any]) -> list[Person]:
        if "image_id" in entries[0]:
            head = {"images": [{"id": entries[0]["image_id"]}], "annotations": entries}
            known = head | {"categories": self._head.get("categories", ())}
            people = coco.read_dataset(known)[0].people
        else:
            words = instances.named(self._head.get("meta_info") or {})
            inner = [person for entry in entries for person in entry.get("instances", [entry])]
            people = instances.people_of(inner, words, "pose")
        return [person for person in people if "pose" in person.annotations]

    def build(self, entries: Sequence[Any]) -> FoundPoses:
        """Return the people of a photograph."""
        people = self._people(entries)
        points = [person.points() for person in people]
        return ranked(
            points[0].vocabulary,
            np.nan_to_num(np.array([one.xy for one in points], np.float64)),
            np.array([one.scores for one in points], np.float64),
            np.array([person.score for person in people]),
            np.array([person.box for person in people]),
            target=self._target,
        )
