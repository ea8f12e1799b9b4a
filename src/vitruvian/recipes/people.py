# SPDX-License-Identifier: Apache-2.0
"""Finding people on whole pictures: recipe, samples, losses, evaluation and pictures."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitruvian import drawing, image
from vitruvian.data.augment import Clutter, Photometric, PixelAugment, Scene, SceneAugment
from vitruvian.data.source import Source
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import BoxAP
from vitruvian.model.card import MEAN, STD
from vitruvian.model.network import NetworkConfig
from vitruvian.model.sizes import ViTConfig
from vitruvian.person import Person, Sample
from vitruvian.recipes.evaluation import forward, merged
from vitruvian.recipes.multi import optimiser_of, with_neck
from vitruvian.recipes.objectives import RGB, normalised
from vitruvian.recipes.published import at_input, backbone_for, own_loop, steps_for
from vitruvian.recipes.run import Run
from vitruvian.recipes.samples import with_backgrounds
from vitruvian.tasks.people import Found, People
from vitruvian.train.parallel import Parallel

INPUT: Size = (256, 256)
"""Window (height, width) [V]: a person a tenth as tall as the picture still covers 6 cells."""
EPOCHS = 20
BATCH = 16
EMA = 0.998
RATE = 4e-3  # of Muon [V]
_ALL = 0.02  # the evaluation ranks detections from this score on
_LOOK_AT = 6  # pictures in a picture


def people(
    size: str | ViTConfig = "nano",
    *,
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
) -> Run:
    """Return a training of the built-in person detector [V].

    Pictures of rendered scenes in windows of one to four, near and far, cut by the frame, grey,
    blurred, compressed, half of them with invented backgrounds. Numbers as of our own sizes in the
    other recipes, by Muon (published sizes: as published for their tasks), with a moving average of
    the weights. Upsampling is that of ``multi``, whose weights fill it whole.

    Args:
        size: a key of ``SIZES``, or the backbone of initial weights.
        samples: pictures in the training set, from which epochs become steps.
        steps: of the training, instead of epochs.
        epochs: 20 if not given.
        batch: windows per step, 16 if not given.
        input_size: (height, width), 256×256 if not given.
    """
    _, backbone = backbone_for(size)
    many = batch or BATCH
    total = steps_for(epochs or EPOCHS, samples=samples, batch=many, steps=steps)
    pixels = PixelAugment(
        photometric=Photometric(), down_up=0.1, down_up_scale=(0.4, 0.9), box=0.05, kernel=(3, 5),
        gaussian=0.15, noise=0.15, jpeg=0.2, hole=0.1, hole_side=(0.05, 0.2),
    )  # fmt: skip
    clutter = Clutter(chance=0.5)
    window = SceneAugment(size=input_size or INPUT, clutter=clutter, pixels=pixels)
    task, backbone = People(), at_input(backbone, window.size)
    network = NetworkConfig(backbone=backbone, heads={task.name: task.head(backbone.dim)})
    loop = replace(own_loop(total, lr=RATE, best="people/AP"), ema=EMA)
    return Run(
        recipe="people",
        network=with_neck(network),
        people=task,
        window=window,
        batch=many,
        loop=replace(loop, optimiser=optimiser_of(size, loop.optimiser)),
    )


def cells_of(run: Run) -> Size:
    """Return (rows, columns) of the output of a run's network."""
    neck, head = run.network.neck, run.network.heads[People.name]
    finer = (neck.upscale if neck else 1) * getattr(head, "upscale", 1)
    stride = run.network.backbone.stride
    return run.size[0] * finer // stride, run.size[1] * finer // stride


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparePeople:
    """Turns a sample, and others of its source, into a window and its targets.

    Attributes:
        window: how it is drawn.
        people: what is learned.
        cells: (rows, columns) of the output.
        others: where further pictures come from.
    """

    window: SceneAugment
    people: People
    cells: Size
    others: Source
    tasks = ()

    @classmethod
    def of(cls, run: Run, source: Source) -> "PreparePeople":
        """Prepare the samples of a run, with its backgrounds opened."""
        assert isinstance(run.window, SceneAugment)
        assert run.people is not None
        window = run.window
        if run.backgrounds is not None:
            window = with_backgrounds(window, run.backgrounds)
        return cls(window=window, people=run.people, cells=cells_of(run), others=source)

    def scene(self, sample: Sample, rng: np.random.Generator) -> Scene:
        """Return the window that the same randomness prepares."""
        return self.window(sample, self.others, rng)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Any]:
        """Return ``image`` (3, H, W) uint8 and ``people/…``, see ``People.encode``."""
        scene = self.scene(sample, rng)
        target = self.people.encode(scene.boxes, scene.ignored, self.window.size, self.cells)
        planes = np.ascontiguousarray(scene.image.transpose(2, 0, 1))
        return {"image": planes} | {f"people/{key}": value for key, value in target.items()}


@dataclass(frozen=True)
class PeopleObjective:
    """The losses of finding people, for a ``Network`` (or what is wrapped around one)."""

    people: People
    mean: RGB = MEAN
    std: RGB = STD

    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {"people/heat", "people/boxes"} of what ``PreparePeople`` made."""
        output = network(normalised(batch["image"], self.mean, self.std))["people"]
        target = {k.removeprefix("people/"): v for k, v in batch.items() if k.startswith("people/")}
        size = (batch["image"].shape[2], batch["image"].shape[3])
        return {f"people/{k}": v for k, v in self.people.loss(output, target, size).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleEvaluation:
    """Measures finding people on whole photographs; called by the loop, like ``Evaluation``."""

    run: Run
    source: Source
    parallel: Parallel
    batch: int = 8

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Return ``people/AP`` at IoU 0.5, and recall and precision of those that are reported."""
        del step
        assert self.run.people is not None
        metric = BoxAP(sure=self.run.people.min_score)
        for numbers in self._batches():
            samples = [self.source[number] for number in numbers]
            for sample, (boxes, scores) in zip(
                samples, found(network, self.run, samples, self.parallel), strict=True
            ):
                truth = np.array([person.box for person in sample.people]).reshape(-1, 4)
                sides = (truth[:, 2:] - truth[:, :2]).max(axis=1, initial=0)
                small = sides < 0.04 * max(sample.size)  # 10 pixels of the window
                metric.update(boxes=boxes, scores=scores, truth=truth, ignored=small)
        numbers = merged(metric, self.parallel).result()
        return {f"people/{name}": value for name, value in numbers.items()}

    def _batches(self) -> Iterator[list[int]]:
        """Yield this process's pictures; as many batches as any process has."""
        world, count = self.parallel.world, len(self.source)
        mine = list(range(self.parallel.rank, count, world))
        most = math.ceil(count / world)
        for place in range(0, most, self.batch):
            yield mine[place : place + self.batch]


def found(network: nn.Module, run: Run, samples: list[Sample], parallel: Parallel) -> list[Found]:
    """Return who is found on photographs, down to low scores."""
    assert run.people is not None
    crops = [Crop.pad(sample.size, run.size) for sample in samples]
    windows = [
        image.warp(sample.image, crop.matrix, crop.size, fill=run.fill)
        for sample, crop in zip(samples, crops, strict=True)
    ]
    # A process without pictures left still takes part: others may gather its slices.
    blank = np.zeros((*run.size, 3), np.uint8)
    pixels = torch.from_numpy(np.stack(windows or [blank])).movedim(-1, 1)
    output = forward(network, run, pixels.to(parallel.device))["people"][: len(samples)]
    sizes = [sample.size for sample in samples]
    return run.people.decode(output, crops, sizes, min_score=_ALL)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeoplePictures:
    """Draws who is found on the same few photographs each time."""

    run: Run
    source: Source
    parallel: Parallel

    def __call__(self, network: nn.Module, step: int) -> dict[str, NDArray[np.uint8]]:
        """Return one sheet."""
        del step
        assert self.run.people is not None
        count = min(_LOOK_AT, len(self.source))
        numbers = np.unique(np.linspace(0, len(self.source) - 1, count).astype(int)).tolist()
        samples = [self.source[number] for number in numbers]
        cells: list[tuple[str, NDArray[np.uint8]]] = []
        for sample, (boxes, scores) in zip(
            samples, found(network, self.run, samples, self.parallel), strict=True
        ):
            sure = scores >= self.run.people.min_score
            people = [
                Person(box=box, score=float(score))
                for box, score in zip(boxes[sure], scores[sure], strict=True)
            ]
            cells.append((sample.name, drawn(replace(sample, people=tuple(people)))))
        return {"people": drawing.grid(cells, columns=3)}


def drawn(sample: Sample) -> NDArray[np.uint8]:
    """Draw everybody's box on a picture."""
    return drawing.overlay(sample, key=False)


def need_people(source: Source) -> None:
    """Refuse a set without anybody.

    Raises:
        InputError: nobody is annotated.
    """
    if not source.people().any():
        raise InputError(
            f"nobody is annotated in any of {len(source)} samples · give pictures with people, "
            "such as those of  vitruvian synth people"
        )
