# SPDX-License-Identifier: Apache-2.0
"""What samples are read from, and views that combine, select and translate such sources.

A source is a sequence: it has a length and gives the sample of a number, always the same one.
Packed shards are one, every reader in `vitruvian.data.sources` is one, and so is each view here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vitruvian.correspondence import convert_labels, convert_points, correspond
from vitruvian.errors import InputError
from vitruvian.person import Annotation, Person, Points, Sample, composite
from vitruvian.vocabulary import Vocabulary


class Source(Protocol):
    """Samples by number; see the module text."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return a sample, or raise an InputError that names it."""
        ...

    def where(self, index: int) -> str:
        """Return where a sample comes from, for messages: a file, or shard and key."""
        ...

    def picture(self, index: int) -> bytes | None:
        """Return the file the sample's pixels come from, or ``None`` if there is none."""
        ...

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has."""
        ...


@runtime_checkable
class OnePersonSource(Source, Protocol):
    """A source that decodes the maps of one person without those of the others."""

    def of_person(self, index: int, person: int) -> Sample:
        """Return the sample with that person alone.

        Raises:
            IndexError: if it has fewer people.
        """
        ...


def of_person(source: Source, index: int, person: int) -> Sample:
    """Return a sample with one of its people, see ``OnePersonSource``; any source will do."""
    if isinstance(source, OnePersonSource):
        return source.of_person(index, person)
    sample = source[index]
    return replace(sample, people=(sample.people[person],))


@dataclass(frozen=True, eq=False)
class Listed:
    """Samples that are already in memory."""

    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def where(self, index: int) -> str:
        """Return the sample's name."""
        return self.samples[index].name or f"sample {index}"

    def picture(self, index: int) -> bytes | None:
        """There is no file."""
        del index

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has."""
        return np.array([len(sample.people) for sample in self.samples], dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some samples of a source, in the order given; one may be chosen more than once."""

    source: Source
    numbers: NDArray[np.int64]

    def __post_init__(self) -> None:
        numbers = np.asarray(self.numbers, dtype=np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(self.source)):
            raise InputError(
                f"samples {numbers.min()} … {numbers.max()} of a source of {len(self.source)}"
            )
        object.__setattr__(self, "numbers", numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        return self.source[int(self.numbers[index])]

    def of_person(self, index: int, person: int) -> Sample:
        """Return a sample with one of its people."""
        return of_person(self.source, int(self.numbers[index]), person)

    def where(self, index: int) -> str:
        """Return where a sample comes from."""
        return self.source.where(int(self.numbers[index]))

    def picture(self, index: int) -> bytes | None:
        """Return the file of a sample's pixels."""
        return self.source.picture(int(self.numbers[index]))

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has."""
        return self.source.people()[self.numbers]


def every(source: Source, step: int) -> Chosen:
    """Return every ``step``-th sample, to thin out a set."""
    return Chosen(source, np.arange(0, len(source), step))


class Joined:
    """Several sources one after the other, each repeated a whole number of times.

    Repeats of a sample are different samples of the union, so they are augmented differently.
    """

    def __init__(self, sources: Sequence[Source], times: Sequence[int] | None = None) -> None:
        """Join sources.

        Raises:
            InputError: for no source, or repeats that do not fit.
        """
        self.sources = tuple(sources)
        self.times = (1,) * len(self.sources) if times is None else tuple(times)
        if not self.sources or len(self.times) != len(self.sources) or min(self.times) < 1:
            raise InputError(
                f"{len(self.sources)} sources repeated {self.times} times: give one number from 1 "
                "on for each (to thin a source out, use every)"
            )
        sizes = [len(s) * count for s, count in zip(self.sources, self.times, strict=True)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        source = self.sources[number]
        return source, (index - int(self._starts[number])) % len(source)

    def __getitem__(self, index: int) -> Sample:
        source, number = self._find(index)
        return source[number]

    def of_person(self, index: int, person: int) -> Sample:
        """Return a sample with one of its people."""
        source, number = self._find(index)
        return of_person(source, number, person)

    def where(self, index: int) -> str:
        """Return where a sample comes from."""
        source, number = self._find(index)
        return source.where(number)

    def picture(self, index: int) -> bytes | None:
        """Return the file of a sample's pixels."""
        source, number = self._find(index)
        return source.picture(number)

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has."""
        pairs = zip(self.sources, self.times, strict=True)
        return np.concatenate([np.tile(source.people(), count) for source, count in pairs])


class PerPerson:
    """Each person of a source as a sample of their own: the picture, and that person alone."""

    def __init__(self, source: Source) -> None:
        """Count the people.

        Raises:
            InputError: if there is nobody.
        """
        self.source = source
        self._ends = np.cumsum(source.people(), dtype=np.int64)
        if not len(self._ends) or not self._ends[-1]:
            raise InputError(f"nobody is annotated in any of {len(source)} samples")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"person {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[number - 1]) if number else 0
        return number, index - before

    def __getitem__(self, index: int) -> Sample:
        number, person = self._find(index)
        try:
            return of_person(self.source, number, person)
        except IndexError as error:
            raise InputError(
                f"{self.where(index)}: {person} people or fewer, more were counted: the set "
                "changed, read it anew"
            ) from error

    def where(self, index: int) -> str:
        """Return where a person comes from."""
        number, person = self._find(index)
        return f"{self.source.where(number)}, person {person}"

    def picture(self, index: int) -> bytes | None:
        """Return the file of the picture the person is in."""
        return self.source.picture(self._find(index)[0])

    def people(self) -> NDArray[np.int32]:
        """One each."""
        return np.ones(len(self), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Converted:
    """A source in the words of other vocabularies.

    Points without a counterpart become absent, classes without one the ignored label.

    Attributes:
        source: what is read.
        points: vocabulary all points are converted to, or ``None``.
        parts: vocabulary all label maps are converted to, or ``None``.
        table: which correspondences of points to trust, see `vitruvian.correspondence`; "names" is
            what the published mixed training does.
    """

    source: Source
    points: Vocabulary | None = None
    parts: Vocabulary | None = None
    table: str = "best"

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self._converted(self.source[index])

    def of_person(self, index: int, person: int) -> Sample:
        """Return a sample with one of its people."""
        return self._converted(of_person(self.source, index, person))

    def _converted(self, sample: Sample) -> Sample:
        people = tuple(
            replace(person, annotations={k: self._moved(v) for k, v in person.annotations.items()})
            for person in sample.people
        )
        rasters = {name: self._moved(raster) for name, raster in sample.rasters.items()}
        return replace(sample, people=people, rasters=rasters)

    def _moved(self, annotation: Annotation) -> Annotation:
        words = annotation.vocabulary
        if isinstance(annotation, Points):
            if self.points is None or words == self.points:
                return annotation
            return move_points(annotation, self.points, table=self.table)
        if annotation.law != "label" or self.parts is None or words == self.parts:
            return annotation
        assert words is not None
        values = convert_labels(annotation.values, words, self.parts)
        return replace(annotation, values=values, vocabulary=self.parts)

    def where(self, index: int) -> str:
        """Return where a sample comes from."""
        return self.source.where(index)

    def picture(self, index: int) -> bytes | None:
        """Return the file of a sample's pixels."""
        return self.source.picture(index)

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has."""
        return self.source.people()


def move_points(points: Points, target: Vocabulary, *, table: str = "best") -> Points:
    """Return points in the rows of another vocabulary; what has no counterpart is absent."""
    way = correspond(points.vocabulary, target, table=table)
    xy, scores = convert_points(points.xy, points.scores, way)
    placed = np.isfinite(xy).all(axis=1)
    visibility = None
    if points.visibility is not None:
        known = points.visibility
        lowest = [min((int(known[row]) for row in rows), default=0) for rows in way.parts]
        visibility = np.where(placed, np.array(lowest), 0).astype(np.uint8)
    xyz = None
    if points.xyz is not None:
        xyz = convert_points(points.xyz, points.scores, way)[0]
    return Points(vocabulary=target, xy=xy, scores=scores, visibility=visibility, xyz=xyz)


def gathered(sample: Sample) -> Sample:
    """Return the sample with one person who stands for everybody, for tasks on whole pictures.

    The box is the picture; each map is everyone's, pasted together, or else the sample's own.
    Points belong to somebody in particular and are left out.
    """
    height, width = sample.size
    annotations: dict[str, Annotation] = dict(sample.rasters)
    names = {
        name: None
        for person in sample.people
        for name, annotation in person.annotations.items()
        if not isinstance(annotation, Points)
    }
    for name in names:
        merged = composite(sample.people, name, sample.size)
        assert merged is not None
        annotations[name] = merged
    box = np.array([0, 0, width - 1, height - 1], dtype=np.float64)
    everybody = Person(box=box, annotations=annotations)
    return replace(sample, people=(everybody,))


@dataclass(frozen=True, eq=False)
class Gathered:
    """A source whose samples have everybody as one person, see ``gathered``."""

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return gathered(self.source[index])

    def where(self, index: int) -> str:
        """Return where a sample comes from."""
        return self.source.where(index)

    def picture(self, index: int) -> bytes | None:
        """Return the file of a sample's pixels."""
        return self.source.picture(index)

    def people(self) -> NDArray[np.int32]:
        """One each."""
        return np.ones(len(self), dtype=np.int32)
