# SPDX-License-Identifier: Apache-2.0
"""Depth errors and alignments against their definitions and cases with known answers."""

import math
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.metric_laws import assert_all_nan, check_merging
from vitruvian.errors import InputError
from vitruvian.metrics import Alignment, Average, DepthMetrics

ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)
AVERAGES: tuple[Average, ...] = get_args(Average)


def scored(prediction: Any, truth: Any, mask: Any = None, **settings: Any) -> dict[str, float]:
    metric = DepthMetrics(**settings)
    metric.update(prediction=np.asarray(prediction), truth=np.asarray(truth), mask=mask)
    return metric.result()


def scene(rng: np.random.Generator) -> dict[str, Any]:
    truth = rng.uniform(1, 5, (6, 7))
    truth[rng.uniform(size=truth.shape) < 0.1] = rng.choice([0, np.nan, np.inf, -1])
    return {
        "prediction": rng.uniform(0.5, 6, truth.shape),
        "truth": truth,
        "mask": rng.uniform(size=truth.shape) < rng.choice([0, 0.7]),
    }


def test_equals_the_definitions() -> None:
    rng = np.random.default_rng(0)
    g = rng.uniform(1, 5, 300_00)
    d = g * np.exp(rng.normal(0, 0.3, g.shape))
    result = scored(d, g, alignment="none")
    ratio, log = np.maximum(d / g, g / d), np.log(d) - np.log(g)
    assert result == pytest.approx(
        {
            "RMSE": math.sqrt(((d - g) ** 2).mean()),
            "AbsRel": (abs(d - g) / g).mean(),
            "delta1": (ratio < 1.25).mean(),
            "delta2": (ratio < 1.25**2).mean(),
            "delta3": (ratio < 1.25**3).mean(),
            "log10": abs(np.log10(d) - np.log10(g)).mean(),
            "RMSE_log": math.sqrt((log**2).mean()),
            "SILog": log.std(),
            "coverage": 1,
            "images": 1,
        },
        rel=1e-9,
    )


def test_only_valid_pixels_of_the_person_count() -> None:
    truth = np.array([[2.0, 2.0, 0.0, np.nan], [2.0, -1.0, np.inf, 2.0]])
    prediction = np.array([[2.0, 99.0, 99.0, 99.0], [3.0, 99.0, 99.0, np.nan]])
    mask = np.array([[1, 0, 1, 1], [1, 1, 1, 1]], bool)
    result = scored(prediction, truth, mask, alignment="none")
    assert result["RMSE"] == pytest.approx(math.sqrt(1 / 2))
    assert result["coverage"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    ("alignment", "change"),
    [
        ("none", lambda d: d),
        ("median", lambda d: 7.3 * d),
        ("scale", lambda d: 0.04 * d),
        ("scale_shift", lambda d: 1.9 * d - 0.7),
    ],
)
def test_truth_is_perfect_up_to_what_is_aligned(
    alignment: Alignment, change: Any, average: Average
) -> None:
    truth = np.random.default_rng(1).uniform(1, 4, (50, 40)).astype(np.float32)
    truth[0] = 0
    result = scored(change(truth.astype(np.float64)), truth, alignment=alignment, average=average)
    perfect = dict.fromkeys(("RMSE", "AbsRel", "log10", "RMSE_log", "SILog"), 0.0)
    shares = dict.fromkeys(("delta1", "delta2", "delta3", "coverage", "images"), 1.0)
    assert result == pytest.approx(perfect | shares, abs=1e-7)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_what_is_aligned_does_not_matter(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.uniform(1, 5, (2, 9, 8))
    for alignment in ALIGNMENTS[1:]:
        other = scale * prediction + (shift if alignment == "scale_shift" else 0)
        a, b = (scored(p, truth, alignment=alignment) for p in (prediction, other))
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
def test_least_squares_finds_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.uniform(1, 5, (2, 60))
    for alignment, columns in (
        ("scale", [prediction]),
        ("scale_shift", [prediction, np.ones(60)]),
    ):
        basis = np.stack(columns, axis=1)
        fitted = basis @ np.linalg.lstsq(basis, truth)[0]
        expected = math.sqrt(((fitted - truth) ** 2).mean())
        assert scored(prediction, truth, alignment=alignment)["RMSE"] == pytest.approx(expected)


def test_images_or_pixels_weigh_the_same() -> None:
    truth = [np.ones((1, 1)), np.ones((1, 3))]
    for average, expected in (("image", (2 + 0) / 2), ("pixel", math.sqrt(4 / 4))):
        metric = DepthMetrics(alignment="none", average=average)
        metric.update(prediction=[[3.0]], truth=truth[0])
        metric.update(prediction=truth[1], truth=truth[1])
        assert metric.result()["RMSE"] == pytest.approx(expected)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_constant_predictions_are_measured(alignment: Alignment, value: float) -> None:
    truth = np.linspace(1, 3, 101)
    result = scored(np.full(101, value), truth, alignment=alignment)
    assert all(math.isfinite(v) for v in result.values())
    if alignment == "scale_shift":
        assert result["RMSE"] == pytest.approx(truth.std())


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("average", AVERAGES)
def test_nothing_to_measure_is_nan_without_a_warning(
    alignment: Alignment, average: Average
) -> None:
    settings: dict[str, Any] = {"alignment": alignment, "average": average}
    assert_all_nan(DepthMetrics(**settings).result(), but={"images": 0})
    empty = np.zeros((2, 2))
    assert_all_nan(scored(empty, empty, **settings), but={"images": 0})
    nobody = np.zeros((2, 2), bool)
    assert_all_nan(scored(empty + 1, empty + 1, nobody, **settings), but={"images": 0})
    lost = scored(empty + np.nan, empty + 1, **settings)
    assert_all_nan(lost, but={"images": 1, "coverage": 0})
    absurd = scored([[1e300, -1e300]], [[1.0, 2.0]], **settings)
    assert absurd["coverage"] == 1


def test_an_image_without_people_changes_nothing() -> None:
    truth = np.linspace(1, 3, 50)
    metric = DepthMetrics()
    metric.update(prediction=truth**2, truth=truth)
    alone = metric.result()
    metric.update(prediction=truth, truth=truth, mask=truth < 0)
    assert metric.result() == alone


@given(seed=st.integers(0, 2**32 - 1))
def test_merging_and_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [scene(rng) for _ in range(7)]
    for average in AVERAGES:
        check_merging(partial(DepthMetrics, average=average), scenes)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"prediction \(2,\), truth \(3,\)"):
        scored([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="wanted one of none, median, scale, scale_shift"):
        DepthMetrics(alignment="affine")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="different settings"):
        DepthMetrics().merge(DepthMetrics(alignment="none"))
