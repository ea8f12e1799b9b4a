# SPDX-License-Identifier: Apache-2.0
"""Similarity, suppression of duplicates and rescoring against hand-made cases and a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.metrics import candidate_areas, oks_matrix, oks_nms, point_similarity, rescore


def test_one_sigma_of_a_unit_person_is_known() -> None:
    # d = 2 sigma sqrt(A): exp(-1/2)
    similar = point_similarity([[3.0, 4.0]], [[0.0, 0.0]], 100.0, [0.25])
    assert similar == pytest.approx(np.exp([-0.5]))


@given(seed=st.integers(0, 2**32 - 1))
def test_matrix_equals_a_loop_over_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, truth = rng.uniform(0, 50, (3, 4, 2)), rng.uniform(0, 50, (2, 4, 2))
    labelled, areas = rng.uniform(size=(2, 4)) < 0.6, rng.uniform(100, 4000, 2)
    boxes, sigmas = np.array([[5, 5, 15, 25], [20, 0, 60, 9]]), rng.uniform(0.05, 0.2, 4)
    expected = np.empty((3, 2))
    for d in range(3):
        for g in range(2):
            terms = []
            for k in range(4):
                offset = points[d, k] - truth[g, k]
                if not labelled[g].any():
                    low, high = boxes[g, :2], boxes[g, 2:]
                    nearest = np.clip(points[d, k], 2 * low - high, 2 * high - low)
                    offset = points[d, k] - nearest
                elif not labelled[g, k]:
                    continue
                terms.append(math.exp(-(offset @ offset) / (2 * areas[g] * (2 * sigmas[k]) ** 2)))
            expected[d, g] = sum(terms) / len(terms)
    truth[~labelled] = np.nan
    oks = oks_matrix(points, truth, labelled, areas=areas, sigmas=sigmas, boxes=boxes)
    np.testing.assert_allclose(oks, expected, rtol=1e-12, atol=1e-300)


def test_matrix_of_nobody_is_empty_and_other_vocabularies_are_refused() -> None:
    none = np.empty((0, 4, 2))
    assert oks_matrix(none, none, none[..., 0], areas=[], sigmas=np.ones(4)).shape == (0, 0)
    with pytest.raises(InputError, match=r"wanted \(D, 3, 2\)"):
        oks_matrix(np.ones((1, 4, 2)), none, none[..., 0], areas=[], sigmas=np.ones(3))


def test_nms_keeps_the_better_of_two_alike() -> None:
    pose = np.random.default_rng(0).uniform(0, 100, (5, 2))
    points = np.stack([pose, pose + 300, pose + 0.5, pose + 300])
    scores, areas, sigmas = [0.2, 0.9, 0.8, 0.9], np.full(4, 1e4), np.full(5, 0.05)
    assert oks_nms(points, scores, areas=areas, sigmas=sigmas).tolist() == [1, 2]
    assert oks_nms(points, scores, areas=areas, sigmas=sigmas, threshold=1).tolist() == [1, 3, 2, 0]
    assert oks_nms(points[:0], [], areas=[], sigmas=sigmas).tolist() == []


def test_nms_compares_with_the_mean_of_both_areas() -> None:
    # mean area 2500: exp(-d² / (2 · 2500 · 0.1²)) = exp(-0.08) = 0.923; with 1000: 0.819
    points = np.array([[[0.0, 0.0]], [[2.0, 0.0]]])
    keep = oks_nms(points, [1, 0], areas=[1000, 4000], sigmas=[0.05])
    assert keep.tolist() == [0]
    assert oks_nms(points, [1, 0], areas=[1000, 1000], sigmas=[0.05]).tolist() == [0, 1]


def test_points_filled_in_equally_make_people_alike_unless_left_out() -> None:
    points = np.zeros((2, 40, 2))
    points[1, :2] = 500  # only two points of the model are real
    real = np.zeros((2, 40), bool)
    real[:, :2] = True
    common = {"areas": [1e4, 1e4], "sigmas": np.full(40, 0.05)}
    assert oks_nms(points, [0.9, 0.8], **common).tolist() == [0]
    assert oks_nms(points, [0.9, 0.8], counted=real, **common).tolist() == [0, 1]


def test_areas_of_candidates() -> None:
    boxes = [[0, 0, 30, 100], [10, 10, 100, 40]]
    assert candidate_areas(boxes, rule="box").tolist() == [3000, 2700]
    # widened to 75 × 100, heightened to 90 × 120; each side × 1.25
    assert candidate_areas(boxes).tolist() == [7500 * 1.5625, 10800 * 1.5625]
    assert candidate_areas([]).tolist() == []


def test_rescoring_counts_points_above_the_floor() -> None:
    scores = rescore([0.5, 1.0, 1.0], [[0.1, 0.2, 0.6], [0.4, 0.8, 0.9], [0.0, 0.1, 0.2]])
    assert scores == pytest.approx([0.3, 0.7, 0.0])
