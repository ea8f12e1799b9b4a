# SPDX-License-Identifier: Apache-2.0
"""Share of correct keypoints, calibration and jitter on cases with known answers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.metric_laws import assert_all_nan, check_merging
from vitruvian.errors import InputError
from vitruvian.metrics import PCK, Calibration, Jitter, Tracks


def poses(rng: np.random.Generator) -> dict[str, Any]:
    n = int(rng.integers(0, 4))
    truth = rng.uniform(0, 100, (n, 6, 2))
    return {
        "points": truth + rng.normal(0, 5, truth.shape),
        "truth": truth,
        "labelled": rng.uniform(size=(n, 6)) < 0.8,
        "reference": rng.uniform(10, 30, n),
    }


class TestPCK:
    def test_counts_points_within_the_fraction_of_the_reference(self) -> None:
        metric = PCK(4, thresholds=(0.2, 0.5), groups={"all": range(4), "pair": [0, 3]})
        truth = np.zeros((2, 4, 2))
        points = truth.copy()
        points[0, :, 0] = [2, 3, 5, 6]  # of a reference of 10: within 0.2 is 1, within 0.5 are 3
        points[1, 0] = np.nan
        labelled = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], bool)
        metric.update(points=points, truth=truth, labelled=labelled, reference=[10, 10])
        assert metric.result() == pytest.approx(
            {
                "all/PCK@0.2": 1 / 5,
                "all/mPCK@0.2": 1 / 8,
                "all/PCK@0.5": 3 / 5,
                "all/mPCK@0.5": 2.5 / 4,
                "pair/PCK@0.2": 1 / 3,
                "pair/mPCK@0.2": 1 / 4,
                "pair/PCK@0.5": 1 / 3,
                "pair/mPCK@0.5": 1 / 4,
            }
        )

    def test_people_without_a_reference_are_left_out(self) -> None:
        metric = PCK(1)
        both = {"points": np.ones((3, 1, 2)), "truth": np.ones((3, 1, 2))}
        metric.update(**both, labelled=np.ones((3, 1)), reference=[0, np.nan, 1])
        assert metric.state_dict()["totals.labelled"].tolist() == [1]
        assert metric.result() == {"PCK@0.5": 1, "mPCK@0.5": 1}

    def test_nobody_is_nan(self) -> None:
        metric = PCK(3, thresholds=(0.1, 0.5))
        metric.update(points=[], truth=[], labelled=[], reference=[])
        assert_all_nan(metric.result())

    @given(seed=st.integers(0, 2**32 - 1))
    def test_merging_and_order_change_nothing(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        check_merging(lambda: PCK(6, thresholds=(0.1, 0.5)), [poses(rng) for _ in range(7)])

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"truth has the shape \(1, 3, 2\)"):
            PCK(3).update(
                points=np.ones((2, 3, 2)),
                truth=np.ones((1, 3, 2)),
                labelled=np.ones((2, 3)),
                reference=np.ones(2),
            )


class TestCalibration:
    def test_scores_that_mean_what_they_say_have_no_error(self) -> None:
        scores = np.repeat([0.25, 0.5, 1.0], 100)
        correct = np.concatenate([np.arange(100) < 25, np.arange(100) < 50, np.ones(100, bool)])
        metric = Calibration(bins=10)
        metric.update(scores=scores, correct=correct)
        assert metric.result() == pytest.approx({"ECE": 0, "MCE": 0, "bias": 0})

    def test_overconfidence_is_measured_and_signed(self) -> None:
        metric = Calibration()
        metric.update(scores=[0.9] * 10 + [0.1] * 30, correct=[1, 0] * 5 + [0, 0, 1] * 10)
        gaps = (0.4, 1 / 3 - 0.1)
        expected = {"ECE": (10 * gaps[0] + 30 * gaps[1]) / 40, "MCE": gaps[0]}
        assert metric.result() == pytest.approx({**expected, "bias": (4 - 30 * gaps[1]) / 40})

    def test_scores_beyond_the_ends_and_graded_correctness(self) -> None:
        metric = Calibration(bins=4)
        metric.update(scores=[1.2, -0.3], correct=[0.75, 0.25])
        assert metric.result() == pytest.approx({"ECE": 0.25, "MCE": 0.25, "bias": 0})

    def test_what_cannot_be_judged_may_be_left_out_but_not_be_nan(self) -> None:
        metric = Calibration()
        values = {"scores": [0.5, np.nan], "correct": [1.0, np.nan]}
        metric.update(**values, valid=[True, False])
        assert metric.result()["ECE"] == 0.5
        with pytest.raises(InputError, match="not finite"):
            metric.update(**values)
        with pytest.raises(InputError, match=r"scores \(2,\), correct \(3,\)"):
            metric.update(scores=[1, 1], correct=[1, 1, 1])

    def test_nothing_is_nan(self) -> None:
        assert_all_nan(Calibration().result())

    @given(seed=st.integers(0, 2**32 - 1))
    def test_merging_and_order_change_nothing(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        updates = [
            {"scores": rng.uniform(size=n), "correct": rng.uniform(size=n) < 0.5}
            for n in rng.integers(0, 30, 6)
        ]
        check_merging(Calibration, updates)


class TestJitter:
    def test_constant_speed_is_steady_and_a_parabola_is_known(self) -> None:
        t = np.arange(8.0)
        straight = np.stack([3 * t, -t], axis=-1)[:, None]
        curved = np.stack([1.5 * t**2, 2 * t**2], axis=-1)[:, None]
        metric = Jitter()
        metric.update(points=straight, ids=np.zeros(8), frames=t)
        assert metric.result()["jitter"] == 0
        metric = Jitter()
        metric.update(points=curved, ids=np.zeros(8), frames=t, truth=straight)
        assert metric.result() == pytest.approx({"jitter": 5, "acceleration_error": 5})

    def test_people_gaps_and_unseen_points_do_not_mix(self) -> None:
        # Two people in mixed order, each straight; person 7 is missing in frame 3.
        frames = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6])
        ids = np.array([7, 8, 7, 8, 7, 8, 8, 8, 7, 7, 8, 7, 8])
        points = np.where(ids == 7, 10.0 * frames, 500 - frames)[:, None, None] * np.ones((1, 2, 2))
        points[(ids == 7) & (frames > 2)] += 40  # a jump across the gap
        points[0, 1] = np.nan
        order = np.random.default_rng(0).permutation(len(ids))
        metric = Jitter()
        metric.update(points=points[order], ids=ids[order], frames=frames[order])
        assert metric.result()["jitter"] == 0
        # 7: frames 0-2 and 4-6, of the first only point 0; 8: five triples of two points
        assert metric.state_dict()["totals.jitter"] == 1 + 2 + 5 * 2

    def test_valid_leaves_points_out(self) -> None:
        points = np.zeros((4, 1, 2))
        points[3] = 100
        clip = {"points": points, "ids": np.zeros(4), "frames": np.arange(4)}
        metric = Jitter()
        metric.update(**clip, valid=np.array([[1], [1], [1], [0]], bool))
        assert metric.result()["jitter"] == 0
        metric.update(**clip)
        assert metric.result()["jitter"] == pytest.approx(100 * np.sqrt(2) / 3)

    def test_short_clips_and_nobody_are_nan(self) -> None:
        metric = Jitter()
        metric.update(points=np.zeros((2, 3, 2)), ids=[1, 1], frames=[0, 1])
        metric.update(points=np.zeros((0, 3, 2)), ids=[], frames=[])
        assert_all_nan(metric.result())

    def test_somebody_twice_in_a_frame_is_refused(self) -> None:
        with pytest.raises(InputError, match="person 1 is in frame 4 twice"):
            Jitter().update(points=np.zeros((2, 1, 2)), ids=[1, 1], frames=[4, 4])
        with pytest.raises(InputError, match="2 rows of points with 1 ids and 2 frames"):
            Jitter().update(points=np.zeros((2, 1, 2)), ids=[1], frames=[4, 4])

    @given(seed=st.integers(0, 2**32 - 1))
    def test_merging_and_order_change_nothing(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        updates = [
            {"points": rng.normal(size=(n, 2, 2)), "ids": np.zeros(n), "frames": np.arange(n)}
            for n in rng.integers(0, 9, 5)
        ]
        check_merging(Jitter, updates)


def test_tracks_are_jitter_however_their_frames_come():
    rng = np.random.default_rng(4)
    truth = np.cumsum(rng.normal(0, 5, (2, 9, 3, 2)), axis=1)  # clips, frames, points
    found = truth + rng.normal(0, 1, truth.shape)
    found[0, 4, 1] = np.nan
    updates = [
        {"clip": 7 + c, "frame": f, "ids": [3], "points": found[c, f][None],
         "truth": truth[c, f][None]}
        for c in range(2) for f in range(9) if (c, f) != (1, 5)
    ]  # fmt: skip
    check_merging(lambda: Tracks(3), updates)
    tracks, jitter = Tracks(3), Jitter()
    for update in updates:
        tracks.update(**update)
    for c in range(2):
        frames = [f for f in range(9) if (c, f) != (1, 5)]
        jitter.update(points=found[c, frames], ids=[3] * len(frames), frames=frames,
                      truth=truth[c, frames])  # fmt: skip
    assert tracks.result() == pytest.approx(jitter.result(), rel=1e-5)
    assert_all_nan(Tracks(3).result())
