# SPDX-License-Identifier: Apache-2.0
"""Masked pretraining on pictures without labels."""

from dataclasses import replace

from vitruvian.data.augment import MaskedAugment
from vitruvian.geometry import Size
from vitruvian.model.mae import MAEConfig
from vitruvian.model.network import NetworkConfig
from vitruvian.model.sizes import ViTConfig
from vitruvian.recipes.finetune import is_first
from vitruvian.recipes.published import (
    PRETRAINING_BATCH,
    PRETRAINING_EPOCHS,
    PRETRAINING_SLICE,
    at_input,
    backbone_for,
    cadence,
    own_schedule,
    steps_for,
)
from vitruvian.recipes.run import Run
from vitruvian.train.config import LoopConfig
from vitruvian.train.optim import OptimiserConfig, scaled_lr
from vitruvian.train.schedule import pretraining_schedule, second_pretraining_schedule

OWN_INPUT: Size = (256, 192)
OWN_BATCH = 64
OWN_EPOCHS = 200
SECOND_BATCH = 4096
"""Not published; our choice."""
_DECODERS = {"nano": (64, 2, 4), "mini": (96, 2, 3), "tiny": (128, 2, 4), "small": (192, 4, 6)}
"""Width, depth and heads of the decoders of our own sizes [V]."""


def pretrain(
    size: str | ViTConfig = "tiny",
    *,
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
) -> Run:
    """Return a masked pretraining.

    First generation [1]: 1024×1024 in patches of 16, three quarters hidden, a decoder of 8 blocks
    of width 512, pixels normalised by patch, AdamW 1.5e-4 per 256 samples (linear in the batch),
    betas 0.9 and 0.95, decay 0.05, 1600 slices of 100 steps along a cosine, the first 40 warming
    up. Second [2]: its reconstruction alone (its contrastive terms are not published completely):
    1024×768, AdamW 1e-4, 500 000 steps, clip 5, bf16. Our own sizes [V]: 256×192, a small decoder,
    1.5e-3 per 256 samples, 200 epochs.

    Args:
        size: a key of ``SIZES``, or the encoder of initial weights.
        samples: pictures in the set; only used where the length is in epochs (our own sizes).
        steps: of the training; the curve keeps its shape.
        epochs: passes over the set, instead of the published length; needs ``samples``.
        batch: pictures per step; the rate follows it.
        input_size: (height, width).
    """
    name, encoder = backbone_for(size, masked=True)
    if is_first(name):
        many = batch or PRETRAINING_BATCH[name]
        total = steps
        if epochs is not None:
            total = steps_for(epochs, samples=samples, batch=many, steps=steps)
        if total is None:
            schedule = pretraining_schedule(epoch=PRETRAINING_SLICE, epochs=PRETRAINING_EPOCHS)
        else:
            warm = round(total * 40 / PRETRAINING_EPOCHS)
            schedule = pretraining_schedule(epoch=1, epochs=total, warmup=warm)
        loop = LoopConfig(
            optimiser=_optimiser(scaled_lr(1.5e-4, many)),
            schedule=schedule,
            **cadence(schedule.steps),
        )
        window, masked = MaskedAugment(), MAEConfig()
    elif encoder.prefix > 1:
        many = batch or SECOND_BATCH
        total = steps or 500_000
        if epochs is not None:
            total = steps_for(epochs, samples=samples, batch=many, steps=steps)
        schedule = second_pretraining_schedule(steps=total)
        loop = LoopConfig(
            optimiser=_optimiser(1e-4), schedule=schedule, clip=5.0, precision="bf16",
            **cadence(total),
        )  # fmt: skip
        window, masked = MaskedAugment.sapiens2(), MAEConfig()
    else:
        many = batch or OWN_BATCH
        total = steps_for(epochs or OWN_EPOCHS, samples=samples, batch=many, steps=steps)
        loop = LoopConfig(
            optimiser=_optimiser(scaled_lr(1.5e-3, many)),
            schedule=own_schedule(total),
            **cadence(total),
        )
        window = MaskedAugment(size=OWN_INPUT)
        dim, depth, heads = _DECODERS.get(name, (512, 8, 16))
        masked = MAEConfig(decoder_dim=dim, decoder_depth=depth, decoder_heads=heads)
    if input_size is not None:
        window = replace(window, size=input_size)
    return Run(
        recipe="pretrain",
        network=NetworkConfig(backbone=at_input(encoder, window.size)),
        masked=masked,
        window=window,
        batch=many,
        loop=loop,
    )


def _optimiser(lr: float) -> OptimiserConfig:
    return OptimiserConfig(lr=lr, betas=(0.9, 0.95), weight_decay=0.05, decay_tokens=False)
