# SPDX-License-Identifier: Apache-2.0
"""Average precision and recall against the COCO reference code and hand-made cases."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.metric_laws import (
    assert_all_nan,
    assert_same,
    check_merging,
    coco_reference,
    random_people,
)
from vitruvian.errors import InputError
from vitruvian.metrics import KeypointAP

COCO_SIGMAS = np.array(
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64
) / 1000  # fmt: skip


def evaluated(images: list[dict[str, Any]], metric: KeypointAP) -> dict[str, float]:
    for each in images:
        metric.update(**each)
    return metric.result()


def person(x: float = 0.0, *, size: float = 100.0, count: int = 17) -> dict[str, Any]:
    """One annotated person of ``size`` pixels at ``x``, found exactly, with score 1."""
    steps = np.linspace(0, 1, count)
    truth = np.stack([x + size * steps, size * (steps * 7 % 1)], axis=-1)[None]
    return {
        "image": 0,
        "points": truth.copy(),
        "scores": np.ones(1),
        "truth": truth,
        "labelled": np.ones((1, count), bool),
        "areas": np.array([size**2]),
        "boxes": np.array([[x, 0, x + size, size]]),
        "crowd": np.zeros(1, bool),
    }


def joined(*people: dict[str, Any], image: int = 0) -> dict[str, Any]:
    keys = [key for key in people[0] if key != "image"]
    return {"image": image} | {k: np.concatenate([p[k] for p in people]) for k in keys}


@pytest.mark.parametrize(("points", "seed"), [(17, 0), (17, 1), (5, 2), (40, 3)])
def test_equals_the_reference_on_difficult_random_sets(points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sigmas = COCO_SIGMAS if points == 17 else rng.uniform(0.01, 0.1, points)
    images = random_people(rng, 60, points)
    ours = evaluated(images, KeypointAP(sigmas))
    assert ours == pytest.approx(coco_reference(images, sigmas, range(points)), abs=1e-9)
    assert 0.05 < ours["AP"] < 0.95


def test_groups_equal_the_reference_on_each_alone() -> None:
    rng = np.random.default_rng(5)
    sigmas = rng.uniform(0.01, 0.1, 30)
    images = random_people(rng, 60, 30)
    groups = {
        "body": range(12),
        "hand": [29, 12, 20, 13],
        "face": range(14, 20),
        "whole": range(30),
    }
    ours = evaluated(images, KeypointAP(sigmas, groups=groups))
    for name, group in groups.items():
        for key, value in coco_reference(images, sigmas, group).items():
            assert ours[f"{name}/{key}"] == pytest.approx(value, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_reference_where_nobody_or_little_is_to_be_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [each for each in random_people(rng, 40, 17) if len(each["areas"]) < 2]
    for each in images:
        each["areas"] = np.full(len(each["areas"]), 50.0**2)  # no large people
    ours = evaluated(images, KeypointAP(COCO_SIGMAS))
    expected = coco_reference(images, COCO_SIGMAS, range(17))
    assert ours == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert math.isnan(ours["APL"])


def test_truth_against_itself_is_perfect() -> None:
    result = evaluated(
        [joined(person(), person(300)), person() | {"image": 1}], KeypointAP(COCO_SIGMAS)
    )
    medium = {"APM", "ARM"}
    assert all(math.isnan(result[k]) if k in medium else result[k] == 1.0 for k in result)


def test_left_and_right_swapped_is_far_from_perfect() -> None:
    swapped = person()
    swapped["points"] = swapped["points"][:, ::-1]
    assert evaluated([swapped], KeypointAP(COCO_SIGMAS))["AP"] == 0


def test_a_shift_loses_the_stricter_thresholds() -> None:
    # OKS = exp(-d² / (2 A (2 sigma)²)) = 0.72 for every point: found at 0.50 to 0.70, 5 of 10.
    each, sigmas = person(), np.full(17, 0.05)
    each["points"] = each["points"] + [100 * 0.1 * math.sqrt(-2 * math.log(0.72)), 0]
    result = evaluated([each], KeypointAP(sigmas))
    assert result["AP"] == pytest.approx(0.5)
    assert result["AR"] == pytest.approx(0.5)
    assert (result["AP50"], result["AP75"]) == (1, 0)


def test_a_duplicate_is_a_false_positive_only_where_it_ranks_before_a_hit() -> None:
    # Ranked: hit, duplicate, hit. Precision 1 up to recall 0.5 (51 points), then 2/3 (50 points).
    each = joined(person(), person(), person(300))
    each["scores"] = np.array([0.9, 0.8, 0.7])
    for key in ("truth", "labelled", "areas", "boxes", "crowd"):
        each[key] = each[key][[0, 2]]
    result = evaluated([each], KeypointAP(COCO_SIGMAS))
    assert result["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result["AR"] == 1


def test_a_crowd_swallows_detections_and_an_ignored_person_one() -> None:
    each = joined(person(), person(300), person(300))
    for key in ("truth", "labelled", "areas", "boxes", "crowd"):
        each[key] = each[key][:2]
    each["scores"] = np.array([0.1, 0.8, 0.9])
    hidden = np.array([False, True])
    crowd = evaluated([each | {"crowd": hidden}], KeypointAP(COCO_SIGMAS))
    assert crowd["AP"] == 1  # both doubles at 300 belong to the crowd
    ignored = evaluated([each | {"ignored": hidden}], KeypointAP(COCO_SIGMAS))
    assert ignored["AP"] == pytest.approx(0.5)  # the second of them is false, and ranks first


def test_a_person_without_labelled_points_is_not_missed_and_forgives_detections_near_the_box() -> (
    None
):
    bare = person(300)
    bare["labelled"] = np.zeros((1, 17), bool)
    bare["truth"] = np.full((1, 17, 2), np.nan)
    each = joined(person(), bare)
    each["scores"] = np.array([0.5, 0.9])
    assert evaluated([each], KeypointAP(COCO_SIGMAS))["AP"] == 1
    each["points"][1] += 5000
    assert evaluated([each], KeypointAP(COCO_SIGMAS))["AP"] == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"1 annotated people have no labelled point and no box"):
        KeypointAP(COCO_SIGMAS).update(**(each | {"boxes": None}))


def test_detection_areas_can_come_from_the_body_in_every_group() -> None:
    # A false hand is as large as itself (tiny: not counted in L), or as its body (counted).
    good, false = person(size=300), person(5000, size=300)
    false["points"][0, 10:] = 5000 + np.linspace(0, 1, 7)[:, None]
    each = joined(good, false)
    each["scores"] = np.array([0.5, 0.9])
    for key in ("truth", "labelled", "areas", "boxes", "crowd"):
        each[key] = each[key][:1]
    groups = {"hand": range(10, 17)}
    own = evaluated([each], KeypointAP(COCO_SIGMAS, groups=groups))
    body = evaluated([each], KeypointAP(COCO_SIGMAS, groups=groups, area_points=range(10)))
    assert (own["hand/APL"], body["hand/APL"]) == (1, 0.5)


def test_nobody_gives_nan_without_a_warning() -> None:
    assert_all_nan(KeypointAP(COCO_SIGMAS).result())
    nothing = {"points": [], "scores": [], "truth": [], "labelled": [], "areas": []}
    assert_all_nan(evaluated([{"image": 3, **nothing}], KeypointAP(COCO_SIGMAS)))
    missed = person() | {"points": [], "scores": []}
    assert evaluated([missed], KeypointAP(COCO_SIGMAS))["AP"] == 0
    alone = person() | {k: [] for k in ("truth", "labelled", "areas", "boxes", "crowd")}
    assert_all_nan(evaluated([alone], KeypointAP(COCO_SIGMAS)))


@given(seed=st.integers(0, 2**32 - 1))
def test_merging_and_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = random_people(rng, 6, 5)
    groups = {"a": [0, 1], "all": range(5)}
    check_merging(lambda: KeypointAP(COCO_SIGMAS[:5], groups=groups), images)


def test_order_of_people_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    images = random_people(rng, 20, 17, hard=False)  # without ties
    turned = []
    for each in images:
        each["labelled"][:, 0] = True  # nor the ties between people known by their box only
        d, g = rng.permutation(len(each["scores"])), rng.permutation(len(each["areas"]))
        people = {k: each[k][g] for k in ("truth", "labelled", "areas", "boxes", "crowd")}
        turned.append({**each, "points": each["points"][d], "scores": each["scores"][d], **people})
    assert_same(
        evaluated(images, KeypointAP(COCO_SIGMAS)), evaluated(turned, KeypointAP(COCO_SIGMAS))
    )


def test_memory_is_a_few_bytes_per_detection() -> None:
    rng = np.random.default_rng(9)
    metric = KeypointAP(np.full(308, 0.05))
    evaluated(random_people(rng, 10, 308), metric)
    state = metric.state_dict()
    counted = len(state["rows.score"])
    assert (
        sum(v.nbytes for k, v in state.items() if k.startswith("rows"))
        == 24 * counted + (8 + 6) * 10
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"points": np.zeros((1, 16, 2))},
            r"points has the shape \(1, 16, 2\); wanted \(any, 17, 2\)",
        ),
        ({"points": np.full((1, 17, 2), np.nan)}, "points holds 34 numbers that are not finite"),
        ({"scores": np.ones(2)}, r"scores has the shape \(2,\); wanted \(1\)"),
        ({"scores": np.array([np.inf])}, "scores holds 1 numbers"),
        ({"labelled": np.ones((2, 17), bool)}, r"labelled \(2, 17\) does not fit"),
        ({"truth": np.full((1, 17, 2), np.nan)}, "labelled that are not finite"),
        ({"areas": np.ones(3)}, r"areas has the shape \(3,\)"),
        ({"boxes": np.ones((2, 4))}, r"boxes has the shape \(2, 4\)"),
        ({"crowd": np.ones(2)}, "crowd has 2 entries; wanted one for each of 1 people"),
    ],
)
def test_malformed_input_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KeypointAP(COCO_SIGMAS).update(**(person() | change))


def test_an_image_given_twice_is_refused() -> None:
    metric = KeypointAP(COCO_SIGMAS)
    metric.update(**person())
    metric.update(**person())
    with pytest.raises(InputError, match="1 images were evaluated more than once, such as 0"):
        metric.result()


def test_other_settings_do_not_merge() -> None:
    metric = KeypointAP(COCO_SIGMAS)
    with pytest.raises(InputError, match="different settings"):
        metric.merge(KeypointAP(COCO_SIGMAS * 2))
    with pytest.raises(InputError, match="lacks or adds"):
        metric.load_state_dict({})
    with pytest.raises(InputError, match="group 'hand' is"):
        KeypointAP(COCO_SIGMAS, groups={"hand": [17]})


def test_detections_without_a_scored_point_of_a_group_take_no_part_in_it() -> None:
    rng = np.random.default_rng(8)
    sigmas = rng.uniform(0.01, 0.1, 30)
    groups = {"body": range(12), "hand": [29, 12, 20, 13], "face": range(14, 20)}
    images = random_people(rng, 40, 30)
    for each in images:
        count = 3 if rng.random() < 0.8 else 25  # more than count in a group
        more = rng.uniform(0, 400, (count, 30, 2))
        each["points"] = np.concatenate([each["points"], more])
        each["scores"] = np.concatenate([each["scores"], rng.uniform(0, 1, count).round(1)])
        scores = rng.uniform(0.1, 1, each["points"].shape[:2])
        for members in groups.values():
            scores[np.ix_(rng.random(len(scores)) < 0.4, list(members))] = 0
        each["point_scores"] = scores
    ours = evaluated(images, KeypointAP(sigmas, groups=groups))
    for name, members in groups.items():
        kept = []
        for each in images:
            there = (each["point_scores"][:, list(members)] > 0).any(axis=1)
            rest = {k: v for k, v in each.items() if k != "point_scores"}
            rest |= {"points": each["points"][there], "scores": each["scores"][there]}
            kept.append(rest)
        for key, value in coco_reference(kept, sigmas, members).items():
            assert ours[f"{name}/{key}"] == pytest.approx(value, abs=1e-9, nan_ok=True)
    check_merging(lambda: KeypointAP(sigmas, groups=groups), images)
