# SPDX-License-Identifier: Apache-2.0
"""From the sets of a run to batches: sources in its vocabularies and framing, and what is made.

A batch holds ``image`` (B, 3, H, W) uint8 and, per task, what its ``encode`` returns as
``TASK/KEY``, with ``TASK/valid`` (B,): 1 where the sample has labels of the task, else 0.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.augment import (
    Backgrounds,
    DenseAugment,
    MaskedAugment,
    PoseAugment,
    SceneAugment,
)
from vitruvian.data.reader import Shards
from vitruvian.data.source import Converted, Gathered, Joined, PerPerson, Source, every
from vitruvian.data.sources import open_source
from vitruvian.errors import InputError
from vitruvian.person import Person, Points, Raster, Sample
from vitruvian.recipes.objectives import blank_targets
from vitruvian.recipes.run import Part, Run, Window
from vitruvian.tasks import Task
from vitruvian.vocabulary import Vocabulary


def open_parts(parts: Sequence[Part], annotations: Collection[str] | None = None) -> Source:
    """Open sets and join them, each repeated and thinned out as it says.

    Args:
        parts: the sets.
        annotations: what of packed shards to decode, see ``Shards``; boxes always come.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    if not parts:
        raise InputError("no data given · name a folder of shards, see  vitruvian data pack")
    sources: list[Source] = []
    for part in parts:
        found = open_source(part.path)[0]
        if annotations is not None and isinstance(found, Shards):
            found.annotations = frozenset(annotations)
        sources.append(found if part.every == 1 else every(found, part.every))
    if len(sources) == 1 and parts[0].repeat == 1:
        return sources[0]
    return Joined(sources, [part.repeat for part in parts])


def framed(source: Source, window: Window) -> Source:
    """Return the samples a kind of window looks at: pictures, single people, or everybody at once.

    Raises:
        InputError: nobody is annotated, where windows are people's.
    """
    if isinstance(window, MaskedAugment | SceneAugment):
        return source
    return PerPerson(source) if isinstance(window, PoseAugment) else Gathered(source)


def vocabularies_of(source: Source, *, look: int = 64) -> dict[str, Vocabulary]:
    """Return the vocabulary of each named annotation, from a look at some samples of a set.

    Raises:
        InputError: samples disagree, so that one has to be chosen.
    """
    found: dict[str, Vocabulary] = {}
    for number in np.unique(np.linspace(0, len(source) - 1, look).astype(int)).tolist():
        sample = source[number]
        named = [pair for person in sample.people for pair in person.annotations.items()]
        for name, annotation in [*named, *sample.rasters.items()]:
            words = annotation.vocabulary
            if words is None:
                continue
            if found.setdefault(name, words) != words:
                raise InputError(
                    f"{name} is annotated with {found[name].name} and with {words.name} · say "
                    "which to learn with --vocabulary; the other is translated by name"
                )
    return found


def in_words(source: Source, tasks: Sequence[Task]) -> Source:
    """Return a source in the vocabularies of the tasks."""
    points: Vocabulary | None = None
    parts: Vocabulary | None = None
    for task in tasks:
        words: Vocabulary | None = getattr(task, "vocabulary", None)
        if words is not None and words.kind == "points":
            points = words
        elif words is not None:
            parts = words
    if points is None and parts is None:
        return source
    return Converted(source, points=points, parts=parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepare:
    """Turns a sample into a picture and the targets of tasks; see the module text.

    Attributes:
        window: how a window is drawn.
        tasks: what is learned.
    """

    window: PoseAugment | DenseAugment | MaskedAugment
    tasks: tuple[Task, ...] = ()
    _blank: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Any] | None:
        """Return the arrays of a sample, ``None`` to draw another one."""
        if isinstance(self.window, MaskedAugment):
            return {"image": _planes(self.window(sample, rng))}
        view = self.window(sample, rng)
        if view is None:
            return None
        if not any(has_labels(view.person, task) for task in self.tasks):
            return None
        made: dict[str, Any] = {"image": _planes(view.image)}
        for task in self.tasks:
            known = has_labels(view.person, task)
            targets = task.encode(view.person, view.crop) if known else self._blank[task.name]
            made |= {f"{task.name}/{key}": value for key, value in targets.items()}
            made[f"{task.name}/valid"] = np.float32(known)
        return made


def preparer(run: Run, tasks: Mapping[str, Task]) -> Prepare:
    """Return what prepares the samples of a run, with its backgrounds opened."""
    window = run.window
    assert not isinstance(window, SceneAugment), "PreparePeople does that"
    if run.backgrounds is not None:
        window = with_backgrounds(window, run.backgrounds)
    blank = {name: blank_targets(task, run.size) for name, task in tasks.items()}
    return Prepare(window=window, tasks=tuple(tasks.values()), _blank=blank)


_Window = TypeVar("_Window", bound=Window)


def with_backgrounds(window: _Window, folder: str) -> _Window:
    """Return a window that lays the pictures of a folder behind people, as `Run` lets it."""
    behind = Backgrounds(folder)
    if isinstance(window, DenseAugment):
        return replace(window, backgrounds=behind)
    assert not isinstance(window, MaskedAugment)
    assert window.clutter is not None
    return replace(window, clutter=replace(window.clutter, photographs=behind))


def has_labels(person: Person, task: Task) -> bool:
    """Whether a person has labels that a task learns: any point, any pixel that says something."""
    found = person.annotations.get(task.name)
    if isinstance(found, Points):
        return bool(found.present.any())
    if not isinstance(found, Raster):
        return False
    return bool(found.mask.any())


def _planes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def fitting(source: Source, tasks: Sequence[Task], *, look: int = 64) -> None:
    """Refuse a set that has no labels of some task.

    Raises:
        InputError: naming what it has.
    """
    seen: set[str] = set()
    for number in np.unique(np.linspace(0, len(source) - 1, look).astype(int)).tolist():
        for person in source[number].people:
            seen |= set(person.annotations)
    for task in tasks:
        if task.name not in seen:
            raise InputError(
                f"no {task.name} in {source.where(0)} nor in others that were looked at; "
                f"there is {', '.join(sorted(seen)) or 'no annotation'} · give data with "
                f"{task.name}, or another recipe"
            )
