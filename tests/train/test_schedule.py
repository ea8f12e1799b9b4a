# SPDX-License-Identifier: Apache-2.0
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.train.schedule import (
    Schedule,
    dense_schedule,
    pose_schedule,
    pretraining_schedule,
    second_pretraining_schedule,
    second_schedule,
)

POSE = pose_schedule(epoch=1000)
DENSE = dense_schedule(epoch=1000)
PAPER = dense_schedule(epoch=1000, paper=True)
MASKED = pretraining_schedule(epoch=100)
SECOND = second_schedule(steps=10_000)
SECOND_PAPER = second_schedule(steps=10_000, paper=True)
SECOND_MASKED = second_pretraining_schedule()


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        (POSE, 0, 0.001),
        (POSE, 250, 0.001 + 0.999 * 250 / 499),
        (POSE, 499, 1),
        (POSE, 169_999, 1),
        (POSE, 170_000, 0.1),
        (POSE, 199_999, 0.1),
        (POSE, 200_000, 0.01),
        (POSE, 209_999, 0.01),
        (PAPER, 0, 0.001),
        (PAPER, 200, 0.001 + 0.999 * 200 / 399),
        (PAPER, 399, 1),
        (PAPER, 999, 1),
        (PAPER, 1000, 1 - 1 / 199),
        (PAPER, 100_500, 1 - 100 / 199),
        (PAPER, 199_000, 0),
        (PAPER, 199_999, 0),
        (DENSE, 399, 1),
        (DENSE, 1000, 1 - 1 / 200),
        (DENSE, 199_999, 1 / 200),
        (MASKED, 0, 1e-4),
        (MASKED, 2000, 1e-4 + (1 - 1e-4) * 2000 / 3999),
        (MASKED, 3999, 1),
        (MASKED, 4000, 1),
        (MASKED, 82_000, 0.5),
        (MASKED, 43_000, (1 + math.cos(math.pi / 4)) / 2),
        (MASKED, 159_999, (1 + math.cos(math.pi * 155_999 / 156_000)) / 2),
        (SECOND, 0, 1e-3),
        (SECOND, 499, 1),
        (SECOND, 500, 1),
        (SECOND, 5250, 0.5),
        (SECOND, 9999, 1 / 9500),
        (SECOND_PAPER, 9999, 0),
        (SECOND_PAPER, 500, 1),
        (SECOND_MASKED, 999, 1),
        (SECOND_MASKED, 250_500, (1 + 1e-3) / 2),
        (SECOND_MASKED, 499_999, 1e-3),
    ],
)
def test_published_curves(schedule: Schedule, step: int, factor: float) -> None:
    assert schedule.factor(step) == pytest.approx(factor, rel=1e-6, abs=1e-9)


@given(st.sampled_from([POSE, DENSE, MASKED, SECOND, SECOND_MASKED]), st.integers(0, 600_000))
def test_a_corrected_curve_never_wastes_a_step(schedule: Schedule, step: int) -> None:
    assert 0 < schedule.factor(step) <= 1


@given(st.integers(1, 40), st.integers(1, 60))
def test_short_trainings_have_a_curve_too(epoch: int, epochs: int) -> None:
    for schedule in (
        pose_schedule(epoch=epoch, epochs=epochs),
        dense_schedule(epoch=epoch, epochs=epochs),
        second_schedule(steps=epoch * epochs),
    ):
        factors = [schedule.factor(i) for i in range(schedule.steps)]
        assert all(0 < f <= 1 for f in factors)
        behind = factors[max(0, schedule.warmup - 1) :]
        assert behind == sorted(behind, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 5, "warmup": 6},
        {"steps": 5, "shape": "step"},
        {"steps": 5, "milestones": (3,)},
        {"steps": 5, "shape": "step", "milestones": (3, 2)},
        {"steps": 5, "shape": "cosine", "paper": True},
        {"steps": 5, "floor": 2},
    ],
)
def test_wrong_settings(wrong: dict) -> None:
    with pytest.raises(InputError, match=r"wanted|leave it out"):
        Schedule(**wrong)
