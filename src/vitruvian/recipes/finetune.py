# SPDX-License-Identifier: Apache-2.0
"""What the recipes of tasks have in common: from a size, tasks and numbers to a ``Run``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from vitruvian import vocabulary as vocabularies
from vitruvian.data.augment import DenseAugment, Photometric, PixelAugment, PoseAugment
from vitruvian.errors import InputError
from vitruvian.geometry import Size
from vitruvian.model.card import MEAN
from vitruvian.model.network import NetworkConfig
from vitruvian.model.published import FIRST, SECOND
from vitruvian.model.sizes import ViTConfig
from vitruvian.recipes.published import (
    at_input,
    backbone_for,
    cadence,
    head_for,
    own_loop,
    second_loop,
    steps_for,
    with_padding,
)
from vitruvian.recipes.run import Asked, Run, Window
from vitruvian.tasks import Task
from vitruvian.train.config import LoopConfig
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.schedule import Schedule, second_schedule
from vitruvian.vocabulary import Vocabulary

OWN_INPUT: Size = (256, 192)
"""Input of our own sizes (height, width) [V]."""
OWN_EPOCHS = 100
OWN_BATCH = 32
BEST = {
    "pose": "pose/whole/AP",
    "parts": "parts/mIoU",
    "depth": "-depth/RMSE",
    "normals": "-normals/mean",
}
"""What decides the best checkpoint: published for points and parts; our choice for the others."""
Asking = Sequence[tuple[Task, float]]


def words(vocabulary: str | Vocabulary) -> Vocabulary:
    """Return a vocabulary by name, path of a .toml file, or itself."""
    return vocabulary if isinstance(vocabulary, Vocabulary) else vocabularies.load(vocabulary)


def is_first(name: str) -> bool:
    """Whether a size is one of the published first generation."""
    return name in FIRST


def is_second(name: str) -> bool:
    """Whether a size is one of the second generation with published finetuning."""
    return name in SECOND


def named(size: str | ViTConfig) -> str:
    """Return the name of a size."""
    return backbone_for(size)[0]


def own_window(
    size: Size = OWN_INPUT, *, framing: Literal["person", "picture"] = "person"
) -> Window:
    """Return the windows of our own sizes [V]: milder than published, for short trainings."""
    pixels = PixelAugment(
        photometric=Photometric(saturation=(0.0, 1.5)), down_up=0.1, down_up_scale=(0.3, 0.9),
        box=0.1, gaussian=0.1, noise=0.2, noise_variance=(5.0, 200.0), jpeg=0.2, hole=0.3,
    )  # fmt: skip
    if framing == "picture":
        return DenseAugment(
            size=size, resize=(0.75, 1.5), crop=0.5, rotation=0.5, rotation_by=30, mirror=0.5,
            pixels=pixels,
        )  # fmt: skip
    return PoseAugment(
        size=size, mirror=0.5, shift=0.5, shift_by=0.1, scale=1.0, scale_by=0.3, rotation=0.5,
        rotation_by=40, fill=MEAN, pixels=pixels,
    )  # fmt: skip


def assembled(
    recipe: str,
    size: str | ViTConfig,
    asking: Asking,
    *,
    window: Window,
    batch: int,
    loop: LoopConfig,
) -> Run:
    """Put a network with a head per task and the numbers together."""
    name, backbone = backbone_for(size)
    if backbone.window is not None:
        raise InputError("the 4K size has no published finetuning · choose another")
    backbone = at_input(backbone, window.size)
    if is_first(name) and len(asking) == 1:
        task = asking[0][0]
        backbone = with_padding(backbone, task.name, name, task.channels)
    heads = {t.name: head_for(t.name, name, backbone, t.channels) for t, _ in asking}
    return Run(
        recipe=recipe,
        network=NetworkConfig(backbone=backbone, heads=heads),
        tasks=tuple(Asked.of(task, weight) for task, weight in asking),
        window=window,
        batch=batch,
        loop=loop,
    )


def first_loop(
    schedule: Schedule, *, lr: float, layer_decay: float, best: str | None
) -> LoopConfig:
    """Return the loop of the first generation's finetuning: fp32, decay 0.1, clip 1 [1, code]."""
    return LoopConfig(
        optimiser=OptimiserConfig(lr=lr, layer_decay=layer_decay),
        schedule=schedule,
        best=best,
        **cadence(schedule.steps),
    )


def own_run(
    recipe: str,
    size: str | ViTConfig,
    asking: Asking,
    *,
    samples: int | None,
    steps: int | None,
    epochs: int | None,
    batch: int | None,
    input_size: Size | None,
    framing: Literal["person", "picture"] = "person",
    lr: float = 1e-3,
) -> Run:
    """Return a finetuning of one of our own sizes [V]."""
    many = batch or OWN_BATCH
    total = steps_for(epochs or OWN_EPOCHS, samples=samples, batch=many, steps=steps)
    window = own_window(input_size or OWN_INPUT, framing=framing)
    best = BEST[asking[0][0].name]
    loop = own_loop(total, lr=lr, best=best)
    return assembled(recipe, size, asking, window=window, batch=many, loop=loop)


def second_run(
    recipe: str,
    size: str | ViTConfig,
    asking: Asking,
    *,
    window: Window,
    steps: int | None,
    epochs: int | None,
    samples: int | None,
    batch: int,
    paper: bool,
) -> Run:
    """Return a finetuning of the second generation [2]; its lengths are steps, not epochs."""
    from vitruvian.recipes.published import SECOND_TABLE

    name, task = named(size), asking[0][0].name
    total = SECOND_TABLE[name].steps[task] if steps is None else steps
    if epochs is not None:
        total = steps_for(epochs, samples=samples, batch=batch, steps=steps)
    schedule = second_schedule(steps=total, paper=paper)
    loop = second_loop(task, name, schedule, BEST[task])
    return assembled(recipe, size, asking, window=window, batch=batch, loop=loop)


def resized(window: Window, size: Size | None) -> Window:
    """Return a way of drawing windows for another input size."""
    return window if size is None else replace(window, size=size)
