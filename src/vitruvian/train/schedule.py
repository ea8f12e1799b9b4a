# SPDX-License-Identifier: Apache-2.0
"""Learning-rate curves as pure functions: step → factor of the base rate.

Steps count from 0 and are optimiser steps. A curve is warm-up × main curve. Sources: the recipes
published for Sapiens (arXiv 2408.12569 and its code) and Sapiens2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vitruvian.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning-rate curve; ``factor(step)`` evaluates it.

    Args:
        steps: optimiser steps of the whole training.
        shape: "constant", "step" (times ``gamma`` at each milestone), "linear" (1 to ``floor``) or
            "cosine" (1 to ``floor`` along half a cosine).
        warmup: steps of the linear warm-up: factor ``start`` at step 0, 1 at ``warmup - 1``.
        start: factor at step 0.
        after_warmup: the main curve begins behind the warm-up; otherwise it begins at step 0 and
            both are multiplied.
        every: the main curve moves only every so many steps: an epoch of the published recipes.
        floor: factor at the end of "linear" and "cosine".
        milestones: steps at which "step" drops.
        gamma: factor of a drop.
        paper: "linear" as published: it reaches ``floor`` at the *last* of its stretches, so the
            last epoch trains at rate 0. By default it would reach it one later.
    """

    steps: int
    shape: Literal["constant", "step", "linear", "cosine"] = "constant"
    warmup: int = 0
    start: float = 0.001
    after_warmup: bool = False
    every: int = 1
    floor: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    paper: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.every < 1 or not 0 <= self.warmup <= self.steps:
            raise InputError(
                f"a schedule of {self.steps} steps, {self.warmup} of them warm-up, moving every "
                f"{self.every} · wanted at least 1 step, and no more warm-up than steps"
            )
        if not (0 <= self.start <= 1 and 0 <= self.floor <= 1 and self.gamma > 0):
            raise InputError(
                f"factors start {self.start}, floor {self.floor}, gamma {self.gamma} · wanted 0 to "
                "1, and a gamma above 0"
            )
        if bool(self.milestones) != (self.shape == "step"):
            raise InputError(
                f"shape {self.shape!r} with milestones {self.milestones} · wanted milestones for "
                "'step' and only there"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise InputError(f"milestones {self.milestones} · wanted increasing steps")
        if self.paper and self.shape != "linear":
            raise InputError(
                f"paper=True with shape {self.shape!r} · it changes only 'linear', leave it out"
            )

    def factor(self, step: int) -> float:
        """Return the factor for an optimiser step 0 … steps - 1; later ones get the last."""
        step = min(max(step, 0), self.steps - 1)
        begin = self.warmup if self.after_warmup else 0
        return warm_up(step, self.warmup, self.start) * self._main(max(0, step - begin), begin)

    def _main(self, step: int, begin: int) -> float:
        if self.shape == "step":
            return step_decay(step + begin, self.milestones, self.gamma)
        count = -(-(self.steps - begin) // self.every)
        place = step // self.every
        if self.shape == "linear":
            return linear(place, count - 1 if self.paper else count, self.floor)
        if self.shape == "cosine":
            return cosine(place, count, self.floor)
        return 1.0


def warm_up(step: int, steps: int, start: float) -> float:
    """Return ``start + (1 - start) * step / (steps - 1)``, and 1 from step ``steps - 1`` on."""
    if step >= steps - 1:
        return 1.0
    return start + (1 - start) * step / (steps - 1)


def step_decay(step: int, milestones: Sequence[int], gamma: float = 0.1) -> float:
    """Return ``gamma`` to the number of milestones reached."""
    return gamma ** sum(step >= milestone for milestone in milestones)


def linear(place: int, count: int, floor: float = 0.0) -> float:
    """Return the line from 1 at place 0 to ``floor`` at place ``count``."""
    return 1 - (1 - floor) * min(1.0, place / count) if count else 1.0


def cosine(place: int, count: int, floor: float = 0.0) -> float:
    """Return half a cosine from 1 at place 0 to ``floor`` at place ``count``."""
    share = min(1.0, place / count) if count else 0.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2


def pose_schedule(*, epoch: int, epochs: int = 210) -> Schedule:
    """Return the published curve of pose: 500 steps of warm-up, ×0.1 at epochs 170 and 200 of 210.

    ``epoch`` is steps per epoch; another number of epochs moves the drops in proportion. Short
    trainings warm up over at most a tenth of their steps.
    """
    drops = tuple(epoch * max(1, round(epochs * part / 210)) for part in (170, 200))
    if drops[0] == drops[1]:
        drops = drops[:1]
    steps = epoch * epochs
    return Schedule(steps=steps, shape="step", warmup=min(500, steps // 10), milestones=drops)


def dense_schedule(*, epoch: int, epochs: int = 200, paper: bool = False) -> Schedule:
    """Return the published curve of parts, depth, normals: warm-up of 400 steps, linear per epoch.

    ``epoch`` is steps per epoch. ``paper=True`` ends with a whole epoch at rate 0, as published.
    """
    steps = epoch * epochs
    warmup = min(400, steps // 10)
    return Schedule(steps=steps, shape="linear", warmup=warmup, every=epoch, paper=paper)


def pretraining_schedule(*, epoch: int, epochs: int = 1600, warmup: int = 40) -> Schedule:
    """Return the published curve of masked pretraining: linear warm-up from 1e-4, cosine to 0.

    An "epoch" here is a slice of about 100 steps, not a pass over the data: ``epoch`` is its
    steps, ``warmup`` is in such epochs. The curve moves every step.
    """
    steps, first = epoch * epochs, epoch * warmup
    return Schedule(steps=steps, shape="cosine", warmup=first, start=1e-4, after_warmup=True)


def second_schedule(*, steps: int, paper: bool = False) -> Schedule:
    """Return the curve of finetuning Sapiens2: 500 steps from 1e-3, then linear to 0.

    ``paper=True`` runs the very last step at rate 0.
    """
    warmup = min(500, steps // 10)
    return Schedule(steps=steps, shape="linear", warmup=warmup, after_warmup=True, paper=paper)


def second_pretraining_schedule(*, steps: int = 500_000) -> Schedule:
    """Return the curve of pretraining Sapiens2: 1000 steps, then cosine from 1e-4 to 1e-7."""
    warmup = min(1000, steps // 10)
    return Schedule(steps=steps, shape="cosine", warmup=warmup, after_warmup=True, floor=1e-3)
