# SPDX-License-Identifier: Apache-2.0
"""Several tasks on one backbone: what the default weights are trained with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from vitruvian.data.augment import Clutter, Gloves, Hats, Occluders, PoseAugment
from vitruvian.errors import InputError, unknown_name
from vitruvian.geometry import Size
from vitruvian.model.heads import DenseHeadConfig, HeadConfig
from vitruvian.model.network import NetworkConfig
from vitruvian.model.sizes import ViTConfig
from vitruvian.recipes.finetune import OWN_INPUT, is_first, is_second, named, own_run, words
from vitruvian.recipes.run import Run
from vitruvian.tasks import TASKS, Depth, Normals, Parts, Pose, Task
from vitruvian.train.optim import OptimiserConfig
from vitruvian.vocabulary import Vocabulary

WEIGHTS = {"pose": 1.0, "parts": 1.0, "depth": 4.0, "normals": 1.0}
"""Factors of the tasks' losses [V]: about equal after the first tenth of a training."""
EMPHASIS = {"body": 4.0}
"""Factors of groups of points [V]: of six equals the body is a sixth, the hands a third."""
OUTSIDE = 0.25
"""Weight of points out of the window [V]: portraits are to have no knees (docs/log.md)."""
LABEL_STRIDE = 3
"""Of the parts' loss [V]: a window in full makes a small network's step 6 % dearer."""
EMA = 0.999
RATE = 5e-3
"""Learning rate of our own sizes [V], by Muon: it needs about two thirds of the samples that AdamW
does at 3e-3, and that fewer than at 1e-3 (docs/log.md)."""
SMALLEST = 24.0
"""Side of a square as large as a person worth learning from [V]; slivers behind others are less."""


def multi(
    size: str | ViTConfig = "tiny",
    *,
    tasks: Sequence[str] = ("pose", "parts", "depth", "normals"),
    points: str | Vocabulary = "sapiens308",
    parts: str | Vocabulary = "parts28",
    around: Literal["ignored", "background"] = "background",
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
) -> Run:
    """Return a training of several tasks that share a backbone and people's windows [V].

    A sample may lack labels of some tasks: it then counts for the others. Numbers as of our own
    sizes in the other recipes, by Muon (published sizes: AdamW as published), with a moving average
    of the weights; go on at a larger input with ``init`` and ``input_size=(512, 384)``.

    Args:
        size: a key of ``SIZES``, or the backbone of initial weights.
        tasks: which.
        points: vocabulary of the keypoints.
        parts: vocabulary of the parts. Classes weigh the same: the published weights (background
            0.1, small parts up to 10) made outlines too wide for maps to be cut out by them.
        around: what pixels outside of a person's label map are, see ``Parts``.
        samples: people in the training set, from which epochs become steps.
        steps: of the training, instead of epochs.
        epochs: 100 if not given.
        batch: people per step, 32 if not given.
        input_size: (height, width), 256×192 if not given.
    """
    for name in tasks:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    if not tasks or len(set(tasks)) != len(tasks):
        raise InputError(f"tasks {', '.join(tasks) or 'none'} · wanted one or more, each once")
    width = (input_size or OWN_INPUT)[1]
    sigma = max(1.5, 6.0 * width / 768)
    built: dict[str, Task] = {}
    for name in tasks:
        if name == "pose":
            named_points = words(points)
            built[name] = Pose(
                vocabulary=named_points, sigma=sigma, objective="cross_entropy", balanced=True,
                emphasis={k: v for k, v in EMPHASIS.items() if k in named_points.groups},
                outside=OUTSIDE,
            )  # fmt: skip
        elif name == "parts":
            built[name] = Parts(
                vocabulary=words(parts), weighted=False, around=around, stride=LABEL_STRIDE
            )
        else:
            built[name] = Depth(objective="absolute") if name == "depth" else Normals()
    asking = [(task, WEIGHTS[name]) for name, task in built.items()]
    run = own_run(
        "multi", size, asking, samples=samples, steps=steps, epochs=epochs, batch=batch,
        input_size=input_size, lr=RATE,
    )  # fmt: skip
    loop = replace(run.loop, ema=EMA)
    assert isinstance(run.window, PoseAugment)
    run = replace(
        run,
        window=replace(
            run.window,
            smallest=SMALLEST,
            clutter=Clutter(chance=0.6),
            occluders=Occluders(),
            gloves=Gloves(),
            hats=Hats(),
        ),
        loop=replace(loop, optimiser=optimiser_of(size, loop.optimiser)),
    )
    # Published sizes have the heads of their single tasks.
    return run if _is_published(size) else replace(run, network=with_neck(run.network))


def optimiser_of(size: str | ViTConfig, own: OptimiserConfig) -> OptimiserConfig:
    """Return ours by Muon, or what published backbones are finetuned with [1, code]."""
    if _is_published(size):
        return OptimiserConfig(lr=5e-4, layer_decay=0.85)
    return replace(own, kind="muon")


def _is_published(size: str | ViTConfig) -> bool:
    name = named(size)
    return is_first(name) or is_second(name)


def with_neck(network: NetworkConfig) -> NetworkConfig:
    """Return a network whose heads share their upsampling to a quarter of the input's size [V].

    Four heads of their own cost a small backbone's training three times its own work. What the
    stem saw at an eighth and a quarter of the size joins on the way: points are learned sooner
    so (docs/log.md).
    """
    c = network.backbone
    wide, thin = max(64, c.dim // 2), max(32, c.dim // 3)
    neck = DenseHeadConfig(
        in_dim=c.dim, out=thin, widths=(wide, thin), skips=c.finer[:2], refine=(thin,),
        refine_kernel=3, init="kaiming",
    )  # fmt: skip
    heads: dict[str, HeadConfig] = {}
    for name, head in network.heads.items():
        assert isinstance(head, DenseHeadConfig)
        heads[name] = replace(head, in_dim=thin, widths=(), refine=(thin,))
    return NetworkConfig(backbone=c, neck=neck, heads=heads)
