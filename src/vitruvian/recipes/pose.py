# SPDX-License-Identifier: Apache-2.0
"""Keypoints: 17, 133 and 308 as published, and any others."""

from typing import Literal

from vitruvian.data.augment import PoseAugment
from vitruvian.geometry import Size
from vitruvian.model.sizes import ViTConfig
from vitruvian.recipes.finetune import (
    BEST,
    OWN_INPUT,
    assembled,
    first_loop,
    is_first,
    is_second,
    named,
    own_run,
    resized,
    second_run,
    words,
)
from vitruvian.recipes.published import HARD_308, LAYER_DECAY_133, LAYER_DECAY_308, steps_for
from vitruvian.recipes.run import Run
from vitruvian.tasks import Pose
from vitruvian.train.schedule import pose_schedule
from vitruvian.vocabulary import Vocabulary

EPOCHS = 210
BATCH = 512
"""64 on each of 8 GPUs [1, configurations]; the launch scripts use 4 each, at the same rate."""
SECOND_BATCH = {"sapiens2-0.4b": 48, "sapiens2-0.8b": 96, "sapiens2-1b": 56, "sapiens2-5b": 16}
"""Batch per GPU of the launch scripts [2] on 8 GPUs [V]; the number of GPUs is not published."""
Target = Literal["heatmap", "hardest", "cross_entropy"]
_OBJECTIVES = {"heatmap": "mse", "hardest": "ohkm", "cross_entropy": "cross_entropy"}


def pose(
    size: str | ViTConfig = "tiny",
    *,
    vocabulary: str | Vocabulary = "coco17",
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
    target: Target | None = None,
    paper: bool = False,
) -> Run:
    """Return a finetuning for keypoints.

    First generation [1, code]: 1024×768, AdamW 5e-4 (308 points 5e-5), layer decay 0.85 (133
    points 0.75 for 0.3B and 0.6B; 308 points 0.95 for 1B), 210 epochs with 500 steps of warm-up
    and drops at 170 and 200, squared error, for 308 points of 0.3B and 1B on the 128 hardest.
    Second [2]: squared error × 10, rates and steps by size. Our own sizes [V]: 256×192, AdamW 1e-3,
    100 epochs, cosine, cross-entropy over each map's pixels, which learns faster in few steps.

    Args:
        size: a key of ``SIZES``, or the backbone of initial weights.
        vocabulary: the points; a name, a .toml file, or a ``Vocabulary``.
        samples: people in the training set, from which epochs become steps.
        steps: of the training, instead of epochs; the curve keeps its shape.
        epochs: instead of the published number.
        batch: people per step; the rate is not scaled with it (as published).
        input_size: (height, width); blobs keep their size relative to the window's width.
        target: "heatmap" (squared error), "hardest" (the same on the hardest points) or
            "cross_entropy"; by size if not given.
        paper: reproduce the two colour defects of the published augmentation.
    """
    name, points = named(size), words(vocabulary)
    window = input_size or ((1024, 768) if is_first(name) or is_second(name) else OWN_INPUT)
    hard = is_first(name) and len(points) == 308 and name in HARD_308
    standard = "heatmap" if is_first(name) or is_second(name) else "cross_entropy"
    chosen = target or ("hardest" if hard else standard)
    task = Pose(
        vocabulary=points,
        sigma=max(1.5, 6.0 * window[1] / 768),
        objective=_OBJECTIVES[chosen],  # pyright: ignore[reportArgumentType]
        hardest=min(128, len(points)),
    )
    least = 8 if len(points) in (133, 308) else min(3, len(points))
    if is_first(name):
        many = batch or BATCH
        augment = resized(PoseAugment.sapiens(least=least, paper=paper), input_size)
        if steps is None:
            count = epochs or EPOCHS
            epoch = steps_for(1, samples=samples, batch=many, steps=None)
            schedule = pose_schedule(epoch=epoch, epochs=count)
        else:
            schedule = pose_schedule(epoch=1, epochs=steps)
        decay = {133: LAYER_DECAY_133, 308: LAYER_DECAY_308}.get(len(points), {}).get(name, 0.85)
        lr = 5e-5 if len(points) == 308 else 5e-4
        loop = first_loop(schedule, lr=lr, layer_decay=decay, best=BEST["pose"])
        return assembled("pose", size, [(task, 1.0)], window=augment, batch=many, loop=loop)
    if is_second(name):
        augment = resized(PoseAugment.sapiens2(least=least), input_size)
        return second_run(
            "pose", size, [(task, 10.0)], window=augment, steps=steps, epochs=epochs,
            samples=samples, batch=batch or SECOND_BATCH[name], paper=paper,
        )  # fmt: skip
    return own_run(
        "pose", size, [(task, 1.0)], samples=samples, steps=steps, epochs=epochs, batch=batch,
        input_size=input_size,
    )  # fmt: skip
