# SPDX-License-Identifier: Apache-2.0
"""What the loop is told: its settings, and what it calls."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor, nn

from vitruvian.data.loader import LoaderState
from vitruvian.errors import InputError
from vitruvian.train.log import Picture
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.schedule import Schedule


class Objective(Protocol):
    """What is minimised."""

    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return named scalars of a batch; their sum is minimised.

        Each is a mean over the samples, so that equal shares on several processes average to the
        same number. Call ``network(…)`` itself, not its methods: it may be spread over processes.
        """
        ...


class Batches(Protocol):
    """Endless batches that know where they are, such as ``data.loader.Loader``."""

    state: LoaderState

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield tensors by name, of equal first axis; ``state`` counts what was yielded."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Settings of the loop.

    Args:
        optimiser: see there.
        schedule: of the learning rate; its ``steps`` are those of the training.
        clip: largest L2 norm of the gradient of all parameters; ``None`` does not clip.
        accumulate: batches per optimiser step.
        precision: of the computation ("bf16", "fp16": autocast); weights stay float32.
        checkpointing: recompute blocks in the backward pass instead of storing activations.
        compile: compile every transformer block and dense head with ``torch.compile``, which on a
            CPU needs a C++ compiler.
        ema: decay of a moving average of the weights, used for evaluation; ``None`` for none.
        seed: of masks and dropout.
        log_every, evaluate_every, pictures_every, probe_every, save_every: in steps; ``None`` only
            at the end.
        keep: how many of the last checkpoints stay.
        best: number of the evaluation whose best checkpoint stays too; "-name" if lower is better.
        sample_flops: floating-point operations of a training step per sample, for ``mfu``.
        peak_flops: operations per second one device can do, for ``mfu``.
    """

    optimiser: OptimiserConfig
    schedule: Schedule
    clip: float | None = 1.0
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    checkpointing: bool = False
    compile: bool = False
    ema: float | None = None
    seed: int = 0
    log_every: int | None = 10
    evaluate_every: int | None = None
    pictures_every: int | None = None
    probe_every: int | None = None
    save_every: int | None = 1000
    keep: int = 3
    best: str | None = None
    sample_flops: float | None = None
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        every = (
            *(self.log_every, self.evaluate_every, self.pictures_every),
            *(self.probe_every, self.save_every),
        )
        if any(count is not None and count < 1 for count in every) or self.accumulate < 1:
            raise InputError(
                f"every {every} steps, {self.accumulate} batches a step · wanted counts from 1"
            )
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip {self.clip} · wanted above 0, or None for no clipping")
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise InputError(f"precision {self.precision!r} · wanted fp32, bf16 or fp16")

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.schedule.steps


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is, after each step.

    ``mfu`` is the share of the devices' peak that the operations of the model took, where both are
    known (``LoopConfig.sample_flops`` and ``peak_flops``).
    """

    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    lr: float
    gradient_norm: float
    samples_per_second: float
    mfu: float | None = None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the loop calls now and then; all may be left out.

    ``evaluate``, ``pictures`` and ``probe`` get the network in evaluation mode (with the average
    weights, if there are) and the step, on every rank; numbers and pictures of rank 0 are logged.
    ``progress`` is called on rank 0 after every step.
    """

    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None
    pictures: Callable[[nn.Module, int], Mapping[str, Picture]] | None = None
    probe: Callable[[nn.Module, int], Mapping[str, float]] | None = None
    progress: Callable[[Progress], None] | None = None
