# SPDX-License-Identifier: Apache-2.0
"""The published numbers of pretraining and finetuning by size, and what recipes share.

Sources: [1] Sapiens, arXiv 2408.12569, and its published code; [2] Sapiens2, arXiv 2604.21681, and
its published code; [V] our own choice, for sizes nobody published (or numbers nobody said).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vitruvian.errors import InputError, unknown_name
from vitruvian.geometry import Size
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.published import FIRST, SECOND, published_heads, published_patch_padding
from vitruvian.model.sizes import SIZES, ViTConfig, pretraining_form
from vitruvian.train.config import LoopConfig
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.schedule import Schedule

OWN = tuple(size for size in SIZES if size not in (*FIRST, *SECOND) and "-" not in size)
"""Our own sizes, for one machine."""

PRETRAINING_BATCH: Mapping[str, int] = {
    "0.3b": 98_304,
    "0.6b": 65_536,
    "1b": 40_960,
    "2b": 20_480,
}
"""Global batch of masked pretraining [1, table 1]."""
PRETRAINING_EPOCHS = 1600
"""Slices of about 100 steps each, of which 40 warm up [1, code]."""
PRETRAINING_SLICE = 100

LAYER_DECAY_133: Mapping[str, float] = {"0.3b": 0.75, "0.6b": 0.75, "1b": 0.85, "2b": 0.85}
LAYER_DECAY_308: Mapping[str, float] = {"0.3b": 0.85, "0.6b": 0.85, "1b": 0.95, "2b": 0.85}
HARD_308 = ("0.3b", "1b")
"""Sizes whose 308 points were trained on the 128 hardest points of each sample [1, code]."""


@dataclass(frozen=True, kw_only=True)
class Second:
    """What the second generation varies by size: layer decay, clip, rates, steps by task [2]."""

    layer_decay: float
    clip: float
    lr: float
    steps: Mapping[str, int]


SECOND_TABLE: Mapping[str, Second] = {
    "sapiens2-0.4b": Second(
        layer_decay=0.80,
        clip=2.0,
        lr=5e-4,
        steps={"pose": 10_000, "parts": 20_000, "normals": 20_000},
    ),
    "sapiens2-0.8b": Second(
        layer_decay=0.85,
        clip=4.0,
        lr=5e-4,
        steps={"pose": 10_000, "parts": 30_000, "normals": 10_000},
    ),
    "sapiens2-1b": Second(
        layer_decay=0.90,
        clip=4.0,
        lr=5e-4,
        steps={"pose": 20_000, "parts": 20_000, "normals": 40_000},
    ),
    "sapiens2-5b": Second(
        layer_decay=0.94,
        clip=4.0,
        lr=1e-4,
        steps={"pose": 20_000, "parts": 50_000, "normals": 40_000},
    ),
}
"""Finetuning of the second generation [2, code]; parts of 5B keep the rate 5e-4."""


def size_of(backbone: ViTConfig) -> str:
    """Return the size a backbone has, "own" for none in the table.

    Positions, patch padding and class token differ by purpose, so width, depth and kind decide.
    """
    kind = (backbone.dim, backbone.depth, backbone.heads, backbone.mlp, backbone.window)
    found = (
        name
        for name, known in SIZES.items()
        if kind == (known.dim, known.depth, known.heads, known.mlp, known.window)
    )
    return next(found, "own")


def backbone_for(size: str | ViTConfig, *, masked: bool = False) -> tuple[str, ViTConfig]:
    """Return a size's name and its backbone, as pretrained or as finetuned.

    A backbone that is given, as of initial weights, loses the class token of the published first
    generation for finetuning, as published, and gets it for pretraining.

    Raises:
        UnknownNameError: no such size.
    """
    if isinstance(size, str):
        if size not in SIZES:
            raise unknown_name("size", size, SIZES)
        return size, pretraining_form(size) if masked else SIZES[size]
    name = size_of(size)
    if name in FIRST:
        form = pretraining_form(name) if masked else SIZES[name]
        size = replace(size, class_token=form.class_token, grid=form.grid, patch_padding=0)
    return name, size


def at_input(backbone: ViTConfig, size: Size) -> ViTConfig:
    """Return the backbone with the grid of an input size (rows and columns of tokens)."""
    stride = backbone.stride
    return replace(backbone, grid=(size[0] // stride, size[1] // stride))


def head_for(task: str, name: str, backbone: ViTConfig, out: int) -> DenseHeadConfig:
    """Return the published head of a task for a published size, else a smaller one [V].

    Ours have the published stages (two deconvolutions for points, three for maps) of half the
    backbone's width, so that head and backbone cost about the same.
    """
    if name in FIRST or (name in SECOND and task != "depth"):
        head = published_heads(task, name, out)[task]
        assert isinstance(head, DenseHeadConfig)
        return head
    width = max(32, backbone.dim // 2)
    widths = (width, width) if task == "pose" else (width, width, width // 2)
    return DenseHeadConfig(
        in_dim=backbone.dim,
        out=out,
        widths=widths,
        refine=(widths[-1],),
        # Outputs near the bias at first: a depth below 0 would have no slope, see `weights`.
        init="library" if task == "depth" else "kaiming",
    )


def with_padding(backbone: ViTConfig, task: str, name: str, out: int) -> ViTConfig:
    """Return the backbone with the patch padding a published size was finetuned with."""
    return replace(backbone, patch_padding=published_patch_padding(task, name, out))


def steps_for(epochs: int, *, samples: int | None, batch: int, steps: int | None) -> int:
    """Return optimiser steps: those given, or of so many epochs.

    Raises:
        InputError: neither is known.
    """
    if steps is not None:
        return steps
    if samples is None:
        raise InputError(f"{epochs} epochs of how many samples? · pass samples=, or steps=")
    return max(1, round(epochs * samples / batch))


def own_schedule(steps: int) -> Schedule:
    """Return the curve of our own sizes: a twentieth of warm-up, at most 500, then a cosine [V]."""
    warmup = min(500, steps // 20)
    return Schedule(steps=steps, shape="cosine", warmup=warmup, after_warmup=True, floor=0.01)


def own_loop(steps: int, *, lr: float = 1e-3, best: str | None = None) -> LoopConfig:
    """Return the loop of our own sizes: AdamW, decay 0.05, clip 1 [V]."""
    return LoopConfig(
        optimiser=OptimiserConfig(lr=lr, weight_decay=0.05),
        schedule=own_schedule(steps),
        best=best,
        **cadence(steps),
    )


def cadence(steps: int) -> dict[str, Any]:
    """Return how often to look, draw and save: some twenty times a training [V]."""
    often = max(1, steps // 20)
    return {
        "log_every": max(1, min(50, steps // 100)),
        "evaluate_every": often,
        "pictures_every": often,
        "save_every": min(1000, often),
    }


def second_loop(task: str, name: str, schedule: Schedule, best: str | None) -> LoopConfig:
    """Return the loop of the second generation: bf16, rates, decay and clip by size [2]."""
    known = SECOND_TABLE[name]
    lr = 5e-4 if task == "parts" else known.lr
    return LoopConfig(
        optimiser=OptimiserConfig(lr=lr, layer_decay=known.layer_decay),
        schedule=schedule,
        clip=known.clip,
        precision="bf16",
        best=best,
        **cadence(schedule.steps),
    )
