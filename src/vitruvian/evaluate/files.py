# SPDX-License-Identifier: Apache-2.0
"""Predictions made elsewhere: COCO results, instance files of other tools, folders of maps.

They are held to the photographs before anything is counted. What does not fit (an id nobody knows,
another number of points, NaN, x and y exchanged, a map of another size) is refused, with what to
do about it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.data.sources.files import files_by_stem, listed
from vitruvian.data.sources.folder import ROLES
from vitruvian.data.sources.maps import (
    SUFFIXES,
    MapSettings,
    read_depth,
    read_labels,
    read_normals,
)
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer, FoundPoses, ranked, sigmas_of
from vitruvian.evaluate.cases import ByName, Cases, Floats, whole_raster
from vitruvian.files import read_json
from vitruvian.formats import coco, instances, png
from vitruvian.formats.maps import CLASSES
from vitruvian.formats.record import Record, layout, vocabulary_of_count
from vitruvian.metrics import oks_matrix
from vitruvian.person import Raster, Sample
from vitruvian.vocabulary import Vocabulary, available, load

_LOOKED_AT = 300  # photographs in which exchanged axes are looked for


class PoseFile:
    """Keypoints from a results file (or a folder of instance files)."""

    tasks = ("pose",)

    def __init__(self, path: str | Path, cases: Cases, target: Vocabulary) -> None:
        """Read everything and hold it to the photographs.

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
        self._found = self._read()
        self._check_axes()

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order."""
        for place in places:
            truth = self._cases.sample(place) if draw else None
            poses = self._found.get(place) or nobody(self._target)
            yield Answer(place=place, truth=truth, poses=poses)

    def _read(self) -> dict[int, FoundPoses]:
        if self._path.is_dir():
            files = sorted(self._path.rglob("*.json"))
            if not files:
                raise InputError(
                    f"{self._path}: no .json in it: wanted a results file or a folder of them"
                )
            return self._from_records([r for file in files for r in instances.read(file)])
        content = read_json(self._path)
        with layout(self._path, "keypoint results"):
            if isinstance(content, list):
                return self._from_results(content)
            if isinstance(content, Mapping) and "annotations" in content:
                return self._from_records(coco.read(self._path))
        return self._from_records(instances.read(self._path))

    # ----------------------------------------------------------------------- COCO results

    def _from_results(self, entries: Sequence[Mapping[str, Any]]) -> dict[int, FoundPoses]:
        places = {number: place for place, number in enumerate(self._cases.numbers)}
        unknown = [e.get("image_id") for e in entries if e.get("image_id") not in places]
        if unknown:
            known = listed(map(str, self._cases.numbers[:3]))
            raise InputError(
                f"{self._path}: {len(unknown)} of {len(entries)} results are of photographs "
                f"nobody knows, such as image_id {unknown[0]!r}; the truth has {len(places)}, such "
                f"as {known}: give the truth these results belong to, or leave those entries out"
            )
        rows: dict[int, list[tuple[Floats, float]]] = {}
        words: Vocabulary | None = None
        for number, entry in enumerate(entries):
            where = f"{self._path}, entry {number}"
            given = self._points_of(entry, where)
            words = words or self._vocabulary(entry, len(given), where)
            if len(given) != len(words):
                raise InputError(
                    f"{where} has {len(given)} points, entries before it {len(words)}: evaluate "
                    "files of one kind of points at a time"
                )
            score = entry.get("score")
            if not isinstance(score, int | float) or not np.isfinite(score):
                raise InputError(
                    f"{where}: its score is {score!r}: write a number for each person, precision "
                    "is averaged over it"
                )
            rows.setdefault(places[entry["image_id"]], []).append((given, float(score)))
        if words is None:
            return {}
        given_words = words

        def gathered(found: Sequence[tuple[Floats, float]]) -> FoundPoses:
            poses = FoundPoses(
                vocabulary=given_words,
                xy=np.array([row[:, :2] for row, _ in found]),
                scores=np.array([row[:, 2] for row, _ in found]),
                ranks=np.array([score for _, score in found]),
            )
            return poses.within(self._target)

        try:
            return {place: gathered(found) for place, found in rows.items()}
        except InputError as error:
            raise InputError(
                f"{self._path} has {len(words)} points for each person, the truth is in "
                f"{self._target.name!r} with {len(self._target)}: {error}"
            ) from error

    def _points_of(self, entry: Mapping[str, Any], where: str) -> Floats:
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
        if not np.isfinite(rows).all():
            raise InputError(
                f"{where}: {int((~np.isfinite(rows)).sum())} of its numbers are NaN or infinite: "
                "write 0, 0 with score 0 for a point that was not found"
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

    # -------------------------------------------------------------------- instance files

    def _from_records(self, records: Sequence[Record]) -> dict[int, FoundPoses]:
        finder, found = ByName(self._cases.names), dict[int, FoundPoses]()
        unknown = [record.name for record in records if finder.find(record.name) is None]
        if unknown:
            raise InputError(
                f"{self._path}: {listed(unknown)} of {len(records)} photographs are not in the "
                f"truth, which has {len(self._cases)}, such as {self._cases.names[0]}: name the "
                "files like the photographs, or give the truth they belong to"
            )
        for record in records:
            place = finder.find(record.name)
            people = [person for person in record.people if "pose" in person.annotations]
            if place is None or not people:
                continue
            if place in found:
                raise InputError(f"{self._path}: {self._cases.names[place]} is in it twice")
            points = [person.points() for person in people]
            xy = np.array([one.xy for one in points], np.float64)
            scores = np.array([one.scores for one in points], np.float64)
            # Our own files leave the place of unfound points open; tools of others write NaN.
            if not np.isfinite(np.where(scores[..., None] > 0, xy, 0)).all():
                raise InputError(
                    f"{self._path}, {record.name}: points with a score have NaN for a place: "
                    "write 0, 0 with score 0 for a point that was not found"
                )
            found[place] = ranked(
                points[0].vocabulary,
                np.nan_to_num(xy),
                scores,
                np.array([person.score for person in people]),
                np.array([person.box for person in people]),
                target=self._target,
            )
        return found

    # --------------------------------------------------------------------- x, y exchanged

    def _check_axes(self) -> None:
        """Refuse points that fit the truth far better with x and y exchanged."""
        straight, crossed = list[float](), list[float]()
        sigmas = sigmas_of(self._target)
        for place, found in self._found.items():
            if len(straight) > _LOOKED_AT:
                break
            truth = self._cases.poses(place)
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


class MapFolder:
    """Maps of photographs from a folder: ``STEM.png``, ``STEM_TASK.png`` or ``TASK/STEM.png``.

    PNG, .npy, .npz and .exr are read, at the size of the photographs. Depth that does not say what
    it is counts as relative, larger = farther.
    """

    def __init__(
        self,
        folder: str | Path,
        cases: Cases,
        tasks: Sequence[str],
        settings: MapSettings,
        *,
        parts: Vocabulary | None = None,
    ) -> None:
        """Find the files.

        Args:
            folder: that holds them.
            cases: the photographs.
            tasks: which maps are wanted: parts, depth, normals.
            settings: what the files do not say.
            parts: what label maps are in that do not say so.

        Raises:
            InputError: if photographs have none, or more than one.
        """
        self.tasks = list(tasks)
        self._folder, self._cases = Path(folder), cases
        self._settings = replace(settings, depth_kind=settings.depth_kind or "relative")
        self._parts = parts
        if not self._folder.is_dir():
            raise InputError(f"{folder}: no such folder of predicted maps")
        self._files = {task: self._find(task) for task in self.tasks}

    def _find(self, task: str) -> dict[int, Path]:
        inner = [self._folder / name for name in ROLES[task] if (self._folder / name).is_dir()]
        finder = ByName(self._cases.names)
        found: dict[int, Path] = {}
        for stem, path in files_by_stem(inner[0] if inner else self._folder, SUFFIXES).items():
            name = stem
            if not inner and stem.endswith(f"_{task}"):
                name = stem.removesuffix(f"_{task}")
            elif not inner and any(stem.endswith(f"_{other}") for other in ROLES):
                continue
            place = finder.find(name)
            if place is not None:
                found[place] = path
        lost = [name for place, name in enumerate(self._cases.names) if place not in found]
        if lost:
            raise InputError(
                f"{self._folder}: no {task} for {listed(lost)} of {len(self._cases)} photographs: "
                f"wanted NAME.png (.npy, .npz, .exr) for each, or NAME_{task}.png, or a folder "
                f"{task}/ of them, called like the photographs"
            )
        return found

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order."""
        del draw
        for place in places:
            truth = self._cases.sample(place)
            rasters = {task: self._read(task, place, truth) for task in self.tasks}
            sample = Sample(image=truth.image, rasters=rasters, name=truth.name)
            yield Answer(place=place, truth=truth, sample=sample)

    def _read(self, task: str, place: int, truth: Sample) -> Raster:
        path, settings = self._files[task][place], self._settings
        if task == "depth":
            return read_depth(path, truth.size, settings, None)
        if task == "normals":
            raster = read_normals(path, truth.size, replace(settings, facing=False), None)
            _check_facing(path, raster, truth)
            return raster
        if settings.parts is None and not _says_what(path):
            settings = replace(settings, parts=self._parts)
        return read_labels(path, truth.size, settings)


def _check_facing(path: Path, raster: Raster, truth: Sample) -> None:
    """Refuse normals that mostly look away from the viewer: their axes are others."""
    true = whole_raster(truth, "normals")
    where = raster.mask if true is None else raster.mask & true.mask
    if not where.any():
        return
    share = float(np.mean(raster.values[where][:, 2] < 0))
    if share < 0.5:
        raise InputError(
            f"{path}: only {share:.0%} of its normals on people face the viewer, as visible "
            "surfaces do: name their axes with --predicted-normals opengl, opencv, directx or dsine"
        )


def _says_what(path: Path) -> bool:
    """Return whether a label map, or classes.json beside it, names its vocabulary."""
    if (path.parent / CLASSES).is_file():
        return True
    return path.suffix.lower() == ".png" and "vocabulary" in png.read(path)[1]
