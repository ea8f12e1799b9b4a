# SPDX-License-Identifier: Apache-2.0
"""What is true: photographs with their annotations, as evaluations go through them.

Photographs have numbers that are the same in every process and in files of others: a COCO file's
own, else their place in the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.correspondence import convert_points, correspond
from vitruvian.data.reader import Shards
from vitruvian.data.source import Converted, Source
from vitruvian.data.sources.coco import find_images
from vitruvian.data.sources.files import Files
from vitruvian.data.sources.parts import InSapiens
from vitruvian.errors import InputError
from vitruvian.formats.coco_truth import Truth, TruthFile
from vitruvian.person import Person, Points, Raster, Sample, composite
from vitruvian.vocabulary import Vocabulary

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePoses:
    """The annotated keypoints of one photograph, crowds included.

    Attributes:
        vocabulary: of the K points.
        xy: (G, K, 2) pixels; anything where not labelled.
        labelled: (G, K) whether a point is annotated.
        areas: (G,) square pixels.
        boxes: (G, 4) x0, y0, x1, y1.
        crowd: (G,) whether one stands for many.
        identities: (G,) who somebody is from frame to frame, -1 for unknown; ``None``: nobody is.
    """

    vocabulary: Vocabulary
    xy: Floats
    labelled: NDArray[np.bool_]
    areas: Floats
    boxes: Floats
    crowd: NDArray[np.bool_]
    identities: NDArray[np.int64] | None = None

    def within(self, target: Vocabulary) -> "TruePoses":
        """Return the same people with the points of another vocabulary."""
        if target == self.vocabulary:
            return self
        way = correspond(self.vocabulary, target)
        placed = np.where(self.labelled[..., None], self.xy, np.nan)
        xy, known = convert_points(placed, self.labelled.astype(np.float64), way)
        labelled = (known > 0) & np.isfinite(xy).all(axis=-1)
        clean = np.where(labelled[..., None], xy, 0.0)
        return replace(self, vocabulary=target, xy=clean, labelled=labelled)

    @property
    def wanted(self) -> NDArray[np.intp]:
        """Who should be found: those with labelled points who are no crowd."""
        return np.flatnonzero(self.labelled.any(axis=1) & ~self.crowd)


class Cases(Protocol):
    """Photographs with their truth, by place (0 … len - 1)."""

    @property
    def numbers(self) -> Sequence[int]:
        """What other files call the photographs, by place."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """What people call them, by place."""
        ...

    def __len__(self) -> int:
        """How many photographs there are."""
        ...

    def sample(self, place: int) -> Sample:
        """Read a photograph with its truth (people who are no crowd)."""
        ...

    def poses(self, place: int, sample: Sample | None = None) -> TruePoses | None:
        """Return the annotated keypoints; ``sample`` spares a second reading where one is needed.

        ``None`` if the photograph has none of the kind.
        """
        ...

    def boxes(self, place: int) -> Floats | None:
        """Return the (N, 4) boxes of people to be found, if they are known without reading."""
        ...

    def size(self, place: int) -> tuple[int, int] | None:
        """Return (height, width), if it is known without reading."""
        ...


class Keypoints:
    """A COCO keypoints dataset: its file is read photograph by photograph."""

    def __init__(
        self,
        path: str | Path,
        images: str | Path | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        target: Vocabulary | None = None,
    ) -> None:
        """Read the annotations; pictures are looked for when they are wanted.

        Args:
            path: the .json file.
            images: folder of the pictures, if not beside it.
            vocabulary: names of the points, where the file has none.
            target: vocabulary to evaluate in.

        Raises:
            InputError: if the file is no such dataset, or a photograph occurs twice.
        """
        self.path, self._images = Path(path), None if images is None else Path(images)
        self._truths = TruthFile(path, vocabulary=vocabulary)
        self._target = target
        self._last: tuple[int, Truth] | None = None
        self.names, known = self._truths.names, self._truths.numbers
        whole = all(isinstance(number, int) for number in known)
        self.numbers: Sequence[int] = known if whole else range(len(known))
        unique("photographs called", self.names)
        unique("photographs with the id", known)

    def __len__(self) -> int:
        return len(self._truths)

    def _truth(self, place: int) -> Truth:
        if self._last is None or self._last[0] != place:  # asked for in a row, for several things
            self._last = place, self._truths.read(place)
        return self._last[1]

    @property
    def vocabulary(self) -> Vocabulary:
        """What keypoints are evaluated in."""
        return self._target or self._truths.vocabulary

    @property
    def images(self) -> Path:
        """The folder of the pictures.

        Raises:
            InputError: if they are not found.
        """
        if self._images is None:
            self._images = find_images(self.path, self.names)
        return self._images

    def sample(self, place: int) -> Sample:
        """Read a photograph with its people."""
        truth = self._truth(place)
        pixels = image.read(self.images / truth.name)
        if truth.size is not None and truth.size != pixels.shape[:2]:
            raise InputError(
                f"{self.images / truth.name} is {pixels.shape[0]}×{pixels.shape[1]} (height × "
                f"width), {self.path} was made for {truth.size[0]}×{truth.size[1]}: use the "
                "original pictures"
            )
        poses = self.poses(place)
        people = [
            Person(box=person.box, annotations={"pose": _points(poses, row)})
            for row, person in enumerate(truth.people)
            if poses.labelled[row].any() and not poses.crowd[row]
        ]
        return Sample(image=pixels, people=tuple(people), name=truth.name)

    def poses(self, place: int, sample: Sample | None = None) -> TruePoses:
        """Return the annotated keypoints."""
        del sample
        truth = self._truth(place)
        boxes = np.array([person.box for person in truth.people]).reshape(-1, 4)
        poses = TruePoses(
            vocabulary=truth.vocabulary,
            xy=truth.xy,
            labelled=truth.labelled,
            areas=truth.areas,
            boxes=boxes,
            crowd=truth.crowd,
            identities=_identities(truth.people),
        )
        return poses if self._target is None else poses.within(self._target)

    def boxes(self, place: int) -> Floats:
        """Return the boxes of people with points."""
        poses = self.poses(place)
        return poses.boxes[poses.wanted]

    def size(self, place: int) -> tuple[int, int] | None:
        """Return (height, width) as the file says."""
        return self._truths.size(place)


class Sampled:
    """Any source of labelled samples."""

    def __init__(
        self,
        source: Source,
        names: Sequence[str],
        *,
        points: Vocabulary | None = None,
        parts: Vocabulary | None = None,
    ) -> None:
        """Take a source.

        Args:
            source: labelled samples.
            names: what to call them.
            points: vocabulary to evaluate keypoints in.
            parts: vocabulary to evaluate part labels in.
        """
        self._source = Converted(source, points=points, parts=parts)
        self.names = list(names)
        self.numbers = range(len(self.names))
        unique("samples called", self.names)

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, place: int) -> Sample:
        """Read a sample."""
        return self._source[place]

    def poses(self, place: int, sample: Sample | None = None) -> TruePoses | None:
        """Return the annotated keypoints; areas are those of the boxes."""
        found = self.sample(place) if sample is None else sample
        people = [person for person in found.people if "pose" in person.annotations]
        if not people:
            return None
        points = [person.points() for person in people]
        words = points[0].vocabulary
        if any(one.vocabulary != words for one in points):
            raise InputError(
                f"{self.names[place]}: people with points of different vocabularies; name one to "
                "evaluate in with --compare-points"
            )
        boxes = np.array([person.box for person in people])
        labelled = np.array([one.present for one in points])
        xy = np.array([one.xy for one in points], np.float64)
        return TruePoses(
            vocabulary=words,
            xy=np.where(labelled[..., None], xy, 0.0),
            labelled=labelled,
            areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
            boxes=boxes,
            crowd=np.zeros(len(people), bool),
            identities=_identities(people),
        )

    def boxes(self, place: int) -> None:
        """Only reading the sample tells."""
        del place

    def size(self, place: int) -> None:
        """Only reading the sample tells."""
        del place


def _identities(people: Sequence[Person]) -> NDArray[np.int64] | None:
    known = [person.identity for person in people]
    if all(one is None for one in known):
        return None
    return np.array([-1 if one is None else one for one in known], np.int64)


def _points(poses: TruePoses, row: int) -> Points:
    labelled = poses.labelled[row]
    return Points(
        vocabulary=poses.vocabulary,
        xy=np.where(labelled[:, None], poses.xy[row], np.nan).astype(np.float32),
        scores=labelled.astype(np.float32),
    )


def unique(what: str, values: Sequence[Any]) -> None:
    """Raise an InputError unless every value occurs once."""
    if len(set(values)) == len(values):
        return
    seen: set[Any] = set()
    twice = next(value for value in values if value in seen or seen.add(value))
    raise InputError(f"two {what} {twice!r}: each needs its own, to pair predictions with truth")


def names_of(source: Source) -> list[str]:
    """Return a name for each sample of a source, without reading their pixels.

    Pictures are called by their path in the set, packed samples by their key.
    """
    if isinstance(source, InSapiens):
        return names_of(source.source)
    if isinstance(source, Files):
        return [entry.name for entry in source.entries]
    if isinstance(source, Shards):
        return [source.key(number) for number in range(len(source))]
    return [source.where(number) for number in range(len(source))]


class ByName:
    """Finds the place of a photograph by what other files call it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact = {name: place for place, name in enumerate(names)}
        self._loose: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            path = PurePosixPath(name)
            for key in {path.name, path.stem, path.with_suffix("").as_posix()}:
                self._loose.setdefault(key, []).append(place)

    def find(self, name: str) -> int | None:
        """Return the place of a photograph by path, file name or stem, if exactly one fits."""
        if name in self._exact:
            return self._exact[name]
        path = PurePosixPath(name)
        for key in (path.with_suffix("").as_posix(), path.name, path.stem, name):
            found = self._loose.get(key, [])
            if len(found) == 1:
                return found[0]
        return None


def whole_raster(sample: Sample, task: str) -> Raster | None:
    """Return everyone's map of a task on the whole photograph, or ``None``."""
    whole = sample.rasters.get(task)
    return (
        composite(sample.people, task, sample.size) if whole is None else whole.placed(sample.size)
    )
