# SPDX-License-Identifier: Apache-2.0
"""Label-map metrics against the original's numbers, OpenCV's erosion and hand-made cases."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.metric_laws import assert_all_nan, check_merging
from vitruvian.errors import InputError
from vitruvian.metrics import MaskMetrics
from vitruvian.metrics.masks import boundary, boundary_width, confusion

GOLDEN = Path(__file__).parents[1] / "golden" / "seg_metric.npz"


def blobs(rng: np.random.Generator, size: tuple[int, int], classes: int) -> np.ndarray:
    """A label map of a few rectangles."""
    labels = np.zeros(size, np.uint8)
    for _ in range(8):
        y, x = (int(rng.integers(0, n)) for n in size)
        h, w = (int(rng.integers(1, n)) for n in size)
        labels[y : y + h, x : x + w] = rng.integers(classes)
    return labels


def scored(prediction: Any, truth: Any, **settings: Any) -> dict[str, float]:
    metric = MaskMetrics(settings.pop("classes", 3), **settings)
    metric.update(prediction=np.asarray(prediction), truth=np.asarray(truth))
    return metric.result()


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16])
def test_equals_the_original(dtype: type) -> None:
    golden = np.load(GOLDEN)
    metric = MaskMetrics(5)
    for prediction, truth in zip(golden["pred"], golden["gt"], strict=True):
        metric.update(prediction=prediction.astype(dtype), truth=truth.astype(dtype))
    result = metric.result()
    assert result["aAcc"] == pytest.approx(float(golden["aAcc"]), abs=1e-6)
    for key in ("IoU", "Acc"):
        ours = [result[f"{key}/{c}"] for c in range(5)]
        assert ours == pytest.approx(golden[key].tolist(), abs=1e-6)
        assert result[f"m{key}"] == pytest.approx(float(golden[key].mean()), abs=1e-6)


def test_known_overlap() -> None:
    # class 1: I 1, P 2, T 3; class 0: I 2, P 4, T 3; class 2: absent; one pixel ignored
    result = scored([1, 1, 0, 0, 0, 0, 2], [1, 0, 1, 1, 0, 0, 255])
    assert result["IoU/1"] == 1 / 4
    assert result["Acc/1"] == 1 / 3
    assert result["Dice/1"] == 2 / 5
    assert result["IoU/0"] == 2 / 5
    assert result["mIoU"] == pytest.approx((1 / 4 + 2 / 5) / 2)
    assert result["aAcc"] == 3 / 6
    assert np.isnan(result["IoU/2"])


def test_absent_classes_by_both_rules() -> None:
    # class 1 only predicted: IoU 0 by either rule, Acc has no truth; class 2 in neither
    skip = scored([0, 1, 0, 0], [0, 0, 0, 0])
    zero = scored([0, 1, 0, 0], [0, 0, 0, 0], absent="zero")
    assert (skip["IoU/1"], skip["mIoU"], skip["mAcc"]) == (0, 0.75 / 2, 0.75)
    assert (zero["IoU/2"], zero["mIoU"], zero["mAcc"]) == (0, 0.75 / 3, 0.75 / 3)


def test_names_and_bools() -> None:
    result = scored([True, False], [True, True], classes=("nobody", "person"))
    assert (result["IoU/person"], result["IoU/nobody"]) == (0.5, 0)


@pytest.mark.parametrize("absent", ["skip", "zero"])
def test_no_pixels_are_nan(absent: Any) -> None:
    metric = MaskMetrics(3, absent=absent, boundary=0.02)
    assert_all_nan(metric.result())
    metric.update(prediction=np.zeros((4, 4), int), truth=np.full((4, 4), 255))
    assert_all_nan(metric.result())


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 9))
def test_boundary_is_what_erosion_takes_from_every_class(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = blobs(rng, (23, 17), 4)
    expected = np.zeros(labels.shape, bool)
    for c in range(4):
        mask = cv2.copyMakeBorder((labels == c).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        eroded = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
        expected |= (labels == c) & (eroded == 0)
    np.testing.assert_array_equal(boundary(labels, width), expected)


@given(seed=st.integers(0, 2**32 - 1))
def test_boundary_iou_counts_pixels_near_both_boundaries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guess, truth = blobs(rng, (40, 30), 3), blobs(rng, (40, 30), 3)
    near_guess, near_truth = boundary(guess, 3), boundary(truth, 3)
    result = scored(guess, truth, boundary=3 / 50)  # 50: the diagonal
    for c in range(3):
        a, b = near_guess & (guess == c), near_truth & (truth == c)
        union = (a | b).sum()
        expected = (a & b).sum() / union if union else np.nan
        assert result[f"BoundaryIoU/{c}"] == pytest.approx(expected, nan_ok=True)


def test_boundary_iou_sees_what_iou_hides() -> None:
    truth = np.zeros((200, 200), np.uint8)
    truth[20:180, 20:180] = 1
    guess = np.zeros_like(truth)
    guess[23:183, 20:180] = 1
    result = scored(guess, truth, classes=2, boundary=0.02)
    assert result["IoU/1"] > 0.96
    assert result["BoundaryIoU/1"] < 0.7
    assert boundary_width((1024, 768)) == 26
    assert boundary_width((3, 3)) == 1


@given(seed=st.integers(0, 2**32 - 1))
def test_truth_against_itself_is_perfect_and_merging_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [blobs(rng, (12, 9), 4) for _ in range(6)]
    maps[0][2:5] = 255
    same = MaskMetrics(4, boundary=0.1)
    for truth in maps:
        same.update(prediction=np.where(truth == 255, 200, truth), truth=truth)
    assert {v for v in same.result().values() if not np.isnan(v)} == {1.0}
    pairs = [{"prediction": np.roll(np.where(m == 255, 0, m), 1, axis=0), "truth": m} for m in maps]
    check_merging(lambda: MaskMetrics(4, boundary=0.1), pairs)


def test_many_classes() -> None:
    truth = np.arange(400).reshape(20, 20)
    counts = confusion(truth, truth, 400, ignore=None)
    np.testing.assert_array_equal(counts, np.eye(400))
    np.testing.assert_array_equal(confusion([[0, 255]], [[0, 255]], 256, ignore=None).sum(), 2)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"prediction \(2, 3\), truth \(3, 2\)"),
        ([0, 3], [0, 0], "1 pixels of the prediction are labelled as none of the 3 classes"),
        ([0, 0], [7, -1], "2 pixels of the truth .* wanted 0 to 2 .or 255 in the truth"),
        ([0.0, 1.0], [0, 1], "prediction is a map of float64; wanted whole numbers"),
    ],
)
def test_malformed_maps_are_refused(prediction: Any, truth: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scored(prediction, truth)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="different names"):
        MaskMetrics(["a", "a"])
    with pytest.raises(InputError, match="'skip' or 'zero'"):
        MaskMetrics(3, absent="nan")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="one image at a time"):
        scored(np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int), boundary=0.02)
