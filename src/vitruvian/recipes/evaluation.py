# SPDX-License-Identifier: Apache-2.0
"""Evaluation and pictures in the middle of a training: the tasks' own metrics on whole photographs.

Boxes are the annotated ones, windows are upright, nothing is averaged over mirrored windows. The
photographs are spread over the processes; every process gets the numbers of all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from vitruvian import drawing, image
from vitruvian.data.augment import PoseAugment
from vitruvian.data.source import Source, gathered
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import Accumulator
from vitruvian.person import Annotation, Person, Sample
from vitruvian.recipes.objectives import MaskedObjective, mae_pictures, normalised
from vitruvian.recipes.run import Run
from vitruvian.recipes.samples import has_labels
from vitruvian.tasks import Task, View
from vitruvian.train.parallel import Parallel

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOOK_AT = 4  # samples in a picture


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A window of a photograph, and who is in it."""

    number: int
    person: Person
    view: View
    window: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Measures tasks on photographs; called by the loop with the network and the step.

    Attributes:
        run: what is trained.
        source: photographs with their people, in the vocabularies of the tasks.
        tasks: by head name.
        parallel: this process among others.
        batch: windows at once.
    """

    run: Run
    source: Source
    tasks: Mapping[str, Task]
    parallel: Parallel
    batch: int = 8

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Return the numbers of every task as ``TASK/NAME``."""
        del step
        metrics = {name: task.metric() for name, task in self.tasks.items()}
        waiting: dict[int, list[Person]] = {}
        for jobs in self._batches():
            outputs = self._forward(network, [job.window for job in jobs])
            found = decoded(self.tasks, outputs, [job.view for job in jobs])
            for job, annotations in zip(jobs, found, strict=True):
                person = Person(box=job.person.box, annotations=annotations)
                waiting.setdefault(job.number, []).append(person)
            last = jobs[-1].number if jobs else -1
            for number in [n for n in waiting if n != last]:
                self._measure(metrics, number, waiting.pop(number))
        for number in list(waiting):
            self._measure(metrics, number, waiting.pop(number))
        return {
            f"{name}/{key}": value
            for name, metric in metrics.items()
            for key, value in merged(metric, self.parallel).result().items()
        }

    def _truth(self, number: int) -> Sample:
        sample = self.source[number]
        return sample if isinstance(self.run.window, PoseAugment) else gathered(sample)

    def _jobs(self, rank: int) -> Iterator[_Job]:
        for number in range(rank, len(self.source), self.parallel.world):
            sample = self._truth(number)
            for person in sample.people:
                crop = upright(self.run, person, sample.size)
                window = image.warp(sample.image, crop.matrix, crop.size, fill=self.run.fill)
                view = View(crop, sample.size)
                yield _Job(number=number, person=person, view=view, window=window)

    def _batches(self) -> Iterator[list[_Job]]:
        """Yield this process's windows; as many batches as the busiest process has."""
        world = self.parallel.world
        counts = self.source.people()
        if not isinstance(self.run.window, PoseAugment):
            counts = np.ones_like(counts)
        most = max(int(counts[rank::world].sum()) for rank in range(world))
        jobs = self._jobs(self.parallel.rank)
        for _ in range(-(-most // self.batch)):
            yield list(islice(jobs, self.batch))

    def _forward(
        self, network: nn.Module, windows: Sequence[NDArray[np.uint8]]
    ) -> dict[str, Tensor]:
        # A process without windows left still takes part: others may gather its slices.
        blank = np.zeros((*self.run.size, 3), np.uint8)
        pixels = torch.from_numpy(np.stack(windows or [blank])).movedim(-1, 1)
        outputs = forward(network, self.run, pixels.to(self.parallel.device))
        return {name: output[: len(windows)] for name, output in outputs.items()}

    def _measure(self, metrics: Mapping[str, Any], number: int, people: list[Person]) -> None:
        sample = self._truth(number)
        for name, task in self.tasks.items():
            if any(has_labels(person, task) for person in sample.people):
                rows = [i for i, p in enumerate(sample.people) if name in p.annotations]
                truth = [sample.people[i] for i in rows]
                mine = [people[i] for i in rows]
                task.measure(metrics[name], mine, truth, sample.size, image=number)


def forward(network: nn.Module, run: Run, pixels: Tensor) -> dict[str, Tensor]:
    """Return float32 outputs for uint8 windows (B, 3, H, W), in the precision of the training."""
    low = _DTYPES[run.loop.precision]
    with torch.autocast(pixels.device.type, low, enabled=low is not None):
        outputs = network(normalised(pixels))
    return {name: output.float() for name, output in outputs.items()}


def decoded(
    tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], views: Sequence[View]
) -> list[dict[str, Annotation]]:
    """Return what every window says, by task."""
    found: list[dict[str, Annotation]] = [{} for _ in views]
    if views:
        for name, task in tasks.items():
            for place, annotation in zip(found, task.decode(outputs[name], views), strict=True):
                place[name] = annotation
    return found


def upright(run: Run, person: Person, size: Size) -> Crop:
    """Return the window of a person (or of the whole picture) as prediction cuts it."""
    if isinstance(run.window, PoseAugment):
        box = person.box.copy()
        box[2:] = np.maximum(box[2:], box[:2] + 1)
        return Crop.from_box(box, run.size)
    return Crop.pad(size, run.size) if run.framing == "pad" else Crop.stretch(size, run.size)


def merged(metric: Accumulator, parallel: Parallel) -> Accumulator:
    """Return the metric of all processes together."""
    if parallel.world == 1:
        return metric
    states: list[Any] = [None] * parallel.world
    dist.all_gather_object(states, metric.state_dict())
    total = metric.empty()
    for state in states:
        one = metric.empty()
        one.load_state_dict(state)
        total.merge(one)
    return total


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedEvaluation:
    """The loss of hidden patches of pictures that were not learned from, resized whole."""

    run: Run
    source: Source
    parallel: Parallel
    batch: int = 8

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Return {"val/pixels": mean over pictures}."""
        del step
        objective = MaskedObjective(seed=self.run.seed)
        share = -(-len(self.source) // self.parallel.world)
        first = min(self.parallel.rank * share, len(self.source) - share)
        total, count = 0.0, 0
        for begin in range(0, share, self.batch):
            numbers = list(range(first + begin, first + min(begin + self.batch, share)))
            batch = whole_pictures(self.run, self.source, numbers)
            batch = {key: value.to(self.parallel.device) for key, value in batch.items()}
            total += float(objective.losses(network, batch)["pixels"]) * len(numbers)
            count += len(numbers)
        mean = self.parallel.mean(torch.tensor(total / count, device=self.parallel.device))
        return {"val/pixels": float(mean)}


def whole_pictures(run: Run, source: Source, numbers: Sequence[int]) -> dict[str, Tensor]:
    """Return a batch of pictures resized to the input."""
    pictures = [image.resize(source[number].image, run.size, "area") for number in numbers]
    index = torch.tensor(list(numbers))
    pixels = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous()
    return {"image": pixels, "index": index, "epoch": torch.zeros_like(index)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Draws what a network says beside the truth, for the same few samples each time."""

    run: Run
    source: Source
    tasks: Mapping[str, Task]
    parallel: Parallel

    def __call__(self, network: nn.Module, step: int) -> dict[str, NDArray[np.uint8]]:
        """Return one picture: for tasks a sheet, for pretraining masks at 75 and 95 %."""
        del step
        count = min(_LOOK_AT, len(self.source))
        numbers = np.unique(np.linspace(0, len(self.source) - 1, count).astype(int)).tolist()
        if self.run.masked is not None:
            batch = whole_pictures(self.run, self.source, numbers)
            return {"masked": mae_pictures(network, batch["image"].to(self.parallel.device))}
        samples = [self._window(number) for number in numbers]
        samples = [sample for sample in samples if sample is not None]
        if not samples:
            return {}
        pixels = torch.from_numpy(np.stack([s.image for s in samples])).movedim(-1, 1)
        outputs = forward(network, self.run, pixels.to(self.parallel.device))
        views = [View(Crop.whole(self.run.size), self.run.size)] * len(samples)
        found = decoded(self.tasks, outputs, views)
        cells = [
            (f"{name}: truth, prediction", compared(sample, guess, name))
            for sample, guess in zip(samples, found, strict=True)
            for name in self.tasks
        ]
        return {"predictions": drawing.grid(cells, columns=max(2, len(self.tasks)))}

    def _window(self, number: int) -> Sample | None:
        sample = self.source[number]
        people = sample.people
        if not isinstance(self.run.window, PoseAugment):
            people = gathered(sample).people
        if not people:
            return None
        person = max(people, key=lambda p: float(np.prod(p.box[2:] - p.box[:2])))
        crop = upright(self.run, person, sample.size)
        pixels = image.warp(sample.image, crop.matrix, crop.size, fill=self.run.fill)
        return Sample(image=pixels, people=(person.warped(crop),))


def compared(truth: Sample, guess: Mapping[str, Annotation], task: str) -> NDArray[np.uint8]:
    """Draw truth and prediction of a task side by side on a window."""
    (person,) = truth.people
    guessed = Sample(image=truth.image, people=(Person(box=person.box, annotations=guess),))
    known = task in person.annotations
    left = drawing.overlay(truth, task=task, key=False, boxes=False) if known else truth.image
    right = drawing.overlay(guessed, task=task, key=False, boxes=False)
    return np.hstack([left, right])
