# SPDX-License-Identifier: Apache-2.0
"""Angles between normals on cases with known answers."""

import math
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.metric_laws import assert_all_nan, check_merging
from vitruvian.errors import InputError
from vitruvian.metrics import Average, NormalMetrics

AVERAGES: tuple[Average, ...] = get_args(Average)
SHARES = ("within_5", "within_11.25", "within_22.5", "within_30")


def scored(prediction: Any, truth: Any, mask: Any = None, **settings: Any) -> dict[str, float]:
    metric = NormalMetrics(**settings)
    metric.update(prediction=np.asarray(prediction), truth=np.asarray(truth), mask=mask)
    return metric.result()


def turned(degrees: Any) -> tuple[np.ndarray, np.ndarray]:
    """(1, n, 3) normals, and the same turned by (n,) degrees."""
    angle = np.radians(np.asarray(degrees, np.float64))
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(angle.size, 3, 3)))[0]
    truth = basis[:, :, 0]
    other = np.cos(angle)[:, None] * truth + np.sin(angle)[:, None] * basis[:, :, 1]
    return truth[None], other[None]


def random_normals(rng: np.random.Generator) -> dict[str, Any]:
    truth = rng.normal(size=(5, 6, 3))
    prediction = truth + rng.normal(0, 0.5, truth.shape)
    truth[rng.uniform(size=(5, 6)) < 0.1] = rng.choice([0, np.nan])
    prediction[rng.uniform(size=(5, 6)) < 0.1] = rng.choice([0, np.nan, np.inf])
    mask = rng.uniform(size=(5, 6)) < rng.choice([0, 0.8])
    return {"prediction": prediction, "truth": truth, "mask": mask}


@pytest.mark.parametrize("average", AVERAGES)
def test_known_angles(average: Average) -> None:
    truth, prediction = turned([0, 4, 8, 20, 28, 90, 135, 180])
    result = scored(prediction, truth, average=average)
    angles = np.array([0, 4, 8, 20, 28, 90, 135, 180])
    assert result["mean"] == pytest.approx(angles.mean())
    assert result["median"] == pytest.approx(24, abs=1e-9)
    assert result["RMSE"] == pytest.approx(math.sqrt((angles**2).mean()))
    assert [result[k] for k in SHARES] == [2 / 8, 3 / 8, 4 / 8, 5 / 8]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("average", AVERAGES)
def test_truth_is_perfect_and_the_opposite_is_180_degrees(average: Average, dtype: type) -> None:
    truth = np.random.default_rng(0).normal(size=(20, 30, 3)).astype(dtype)
    same = scored(2 * truth, truth, average=average)
    assert [same[k] for k in ("mean", "median", "RMSE")] == [0, 0, 0]
    assert [same[k] for k in SHARES] == [1, 1, 1, 1]
    opposite = scored(-truth, truth, average=average)
    assert [opposite[k] for k in ("mean", "median", "RMSE")] == pytest.approx([180, 180, 180])
    assert [opposite[k] for k in SHARES] == [0, 0, 0, 0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-10)])
def test_tiny_and_blunt_angles_are_accurate(dtype: type, tolerance: float) -> None:
    for angle in (1e-3, 0.05, 89.9999, 90, 90.0001, 179.95, 179.999):
        truth, prediction = turned([angle] * 5)
        mean = scored(prediction.astype(dtype), truth.astype(dtype))["mean"]
        assert mean == pytest.approx(angle, abs=tolerance)


@given(
    angles=st.lists(st.floats(0, 180, width=32), min_size=1, max_size=40),
)
def test_median_of_pooled_pixels_is_within_half_a_step(angles: list[float]) -> None:
    truth, prediction = turned(angles)
    median = float(np.median(angles))
    assert scored(prediction, truth)["median"] == pytest.approx(median, abs=1 / 2048 + 1e-9)
    published = scored(prediction, truth, median="published")["median"]
    assert published == pytest.approx(median, abs=0.25 + 1e-9)


def test_published_median_is_the_centre_of_a_half_degree_bin() -> None:
    truth, prediction = turned([3.1, 7.3, 7.4, 7.45, 40])
    assert scored(prediction, truth, median="published")["median"] == 7.25


def test_pixels_or_images_weigh_the_same() -> None:
    small, large = turned([30]), turned([10, 10, 10])
    for average, expected in (("image", 20), ("pixel", 15)):
        metric = NormalMetrics(average=average)
        for truth, prediction in (small, large):
            metric.update(prediction=prediction, truth=truth)
        assert metric.result()["mean"] == pytest.approx(expected)


def test_only_known_and_predicted_pixels_of_the_person_count() -> None:
    truth, prediction = turned([10, 10, 10, 10, 10, 10])
    truth[0, 1], truth[0, 2] = 0, np.nan
    prediction[0, 3], prediction[0, 4] = 0, np.inf
    mask = np.array([[1, 1, 1, 1, 1, 0]], bool)
    prediction[0, 5] = -truth[0, 5]
    result = scored(prediction, truth, mask)
    assert result["mean"] == pytest.approx(10)
    assert result["coverage"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("average", AVERAGES)
def test_nothing_to_measure_is_nan_without_a_warning(average: Average) -> None:
    zero, up = np.zeros((2, 2, 3)), np.ones((2, 2, 3))
    nobody = np.zeros((2, 2), bool)
    assert_all_nan(NormalMetrics(average=average).result(), but={"images": 0})
    assert_all_nan(scored(up, up, nobody, average=average), but={"images": 0})
    assert_all_nan(scored(up, zero, average=average), but={"images": 0})
    assert_all_nan(scored(zero, up, average=average), but={"images": 1, "coverage": 0})
    assert_all_nan(scored(up * np.nan, up, average=average), but={"images": 1, "coverage": 0})


@given(seed=st.integers(0, 2**32 - 1))
def test_merging_and_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [random_normals(rng) for _ in range(7)]
    for average in AVERAGES:
        # The published median has the same code and a smaller histogram to copy.
        make = partial(NormalMetrics, average=average, median="published")
        check_merging(make, maps)


@given(seed=st.integers(0, 2**32 - 1))
def test_turning_both_maps_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.normal(size=(2, 6, 5, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    a, b = scored(prediction, truth), scored(prediction @ turn, truth @ turn)
    assert a == pytest.approx(b, abs=1 / 1024)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"prediction \(2, 2, 3\), truth \(2, 3, 3\)"):
        scored(np.ones((2, 2, 3)), np.ones((2, 3, 3)))
    with pytest.raises(InputError, match=r"wanted \(H, W, 3\) and \(H, W\)"):
        scored(np.ones((3, 2, 2)), np.ones((3, 2, 2)))
    with pytest.raises(InputError, match="wanted image or pixel, fine or published"):
        NormalMetrics(median="exact")  # pyright: ignore[reportArgumentType]
