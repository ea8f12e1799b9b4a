# SPDX-License-Identifier: Apache-2.0
"""Average precision of boxes: worked by hand, and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_laws import check_merging

from vitruvian.errors import InputError
from vitruvian.metrics import BoxAP
from vitruvian.metrics.boxes import EVEN

A, B, C = [0, 0, 10, 20], [50, 50, 60, 80], [100, 0, 140, 40]


def measured(**given) -> dict[str, float]:
    metric = BoxAP(sure=0.5)
    metric.update(**given)
    return metric.result()


def test_worked_by_hand() -> None:
    # Right, wrong, right, and one of three people missed: precision 1, then 2/3 at the second.
    found = measured(boxes=[A, [200, 200, 210, 210], B], scores=[0.9, 0.8, 0.6], truth=[A, B, C])
    assert found["AP"] == pytest.approx(1 / 3 + 2 / 3 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["false"] == 1


def test_a_second_box_on_a_person_is_wrong_unless_they_are_ignored() -> None:
    twice = measured(boxes=[A, A], scores=[0.9, 0.8], truth=[A])
    assert (twice["AP"], twice["precision"]) == (1.0, 0.5)
    spared = measured(boxes=[A, A, B], scores=[0.9, 0.8, 0.7], truth=[A, B], ignored=[True, False])
    assert (spared["AP"], spared["precision"], spared["recall"]) == (1.0, 1.0, 1.0)


def test_half_of_the_union_is_enough_and_less_is_not() -> None:
    wide = [0, 0, 20, 20]  # contains A, twice its area
    assert measured(boxes=[wide], scores=[1], truth=[A])["AP"] == 1
    assert measured(boxes=[[0, 0, 20.1, 20]], scores=[1], truth=[A])["AP"] == 0


def test_overlap_is_of_what_is_right_and_sure() -> None:
    half, low, beside = [0, 0, 20, 20], [50, 50, 60, 80], [100, 0, 110, 40]
    found = measured(boxes=[half, beside, low], scores=[0.9, 0.8, 0.4], truth=[A, B, C])
    assert found["IoU"] == pytest.approx(0.5)
    assert np.isnan(measured(boxes=[beside], scores=[0.9], truth=[C])["IoU"])


def test_low_scores_count_for_ap_alone() -> None:
    found = measured(boxes=[A], scores=[0.1], truth=[A])
    assert found["AP"] == 1
    assert found["recall"] == 0
    assert np.isnan(found["precision"])


def test_nobody_found_and_nobody_there() -> None:
    assert measured(boxes=[], scores=[], truth=[A])["AP"] == 0
    nothing = measured(boxes=[], scores=[], truth=[])
    assert np.isnan(nothing["AP"])
    assert nothing["false"] == 0
    assert measured(boxes=[A], scores=[0.9], truth=[])["false"] == 1
    with pytest.raises(InputError, match="scores"):
        measured(boxes=[A], scores=[], truth=[A])


def test_the_order_of_pictures_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    updates = []
    for _ in range(12):
        corners = rng.uniform(0, 50, (4, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (4, 2))], axis=1)
        scores = rng.integers(1, 5, 4) / 4
        truth = boxes[:3] + rng.normal(0, 2, (3, 4))
        updates.append({"boxes": boxes, "scores": scores, "truth": truth})
    check_merging(BoxAP, updates)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=12), st.integers(0, 3))
def test_the_best_limit_is_the_highest_of_about_the_highest_f1(
    rows: list[tuple[int, bool]], missed: int
) -> None:
    metric = BoxAP()
    for score, right in rows:
        metric.update(boxes=[A], scores=[score / 5], truth=[A if right else B])
    metric.update(boxes=np.zeros((0, 4)), scores=[], truth=[A] * missed)
    people = len(rows) + missed

    def f1(limit: float) -> float:
        said = [right for score, right in rows if score / 5 >= limit]
        return 2 * sum(said) / (len(said) + people)

    limit = metric.best_limit()
    if not any(right for _, right in rows):
        assert limit is None
    else:
        assert limit is not None
        wanted = max(f1(score / 5) for score, _ in rows) - EVEN
        good = [score / 5 for score, _ in rows if f1(score / 5) >= wanted - 1e-12]
        assert limit == pytest.approx(max(good))


def test_of_limits_about_as_good_the_one_with_fewer_false_boxes_is_best() -> None:
    metric = BoxAP()
    for score, right in [(0.9, True)] * 100 + [(0.5, False)] * 40 + [(0.4, True)] * 25:
        metric.update(boxes=[A], scores=[score], truth=[A if right else B])
    assert metric.best_limit() == 0.9  # F1 0.755 there, 0.758 from 0.4 on
