# SPDX-License-Identifier: Apache-2.0
"""What a survey says about sets that are fine, and about sets that are not."""

from dataclasses import replace

import numpy as np
import pytest
from data_samples import COCO, PARTS, plain_sample, random_sample

from vitruvian import vocabulary
from vitruvian.data.mirrors import MirrorTally
from vitruvian.data.survey import Finding, Survey
from vitruvian.person import Person, Points, Raster, Sample

SIZE = (120, 100)


def figure(seed=0, behind=False, mirrored=False):
    """Points of somebody upright, seen from the front or from behind."""
    rng = np.random.default_rng(seed)
    xy = np.zeros((17, 2), np.float32)
    for row, (name, side) in enumerate(zip(COCO.names, COCO.sides, strict=True)):
        width = 4 if "eye" in name or "ear" in name else 15
        offset = {"left": width, "right": -width, "centre": 0}[side]
        xy[row] = 50 + offset * (-1 if behind else 1), 20 + 5 * row
    xy += rng.normal(0, 1, xy.shape)
    if mirrored:
        xy[:, 0] = 99 - xy[:, 0]
    return xy


def person_at(xy, words=COCO, **fields):
    points = Points(vocabulary=words, xy=xy, scores=np.ones(17))
    return Person(**{"box": [25, 15, 75, 110], "annotations": {"pose": points}, **fields})


def surveyed(people, size=SIZE):
    survey = Survey()
    for number, person in enumerate(people):
        picture = np.zeros((*size, 3), np.uint8)
        survey.add(Sample(image=picture, people=(person,), name=str(number)))
    return survey.findings()


def texts(findings, state):
    return [str(f) for f in findings if f.state == state]


def test_a_good_set():
    found = surveyed(person_at(figure(n, behind=n % 4 == 0)) for n in range(20))
    assert not texts(found, "odd")
    assert not texts(found, "bad")
    notes = "\n".join(texts(found, "note"))
    assert "20 samples, 20 people; pictures of 0.012 to 0.012 million pixels" in notes
    assert "points of coco17 (17), 17.0 present on average" in notes
    assert "left and right agree with each other; 75% of people face the camera" in notes


# --------------------------------------------------------------------------- left and right


def swapped(xy, *names):
    xy = xy.copy()
    for name in names:
        rows = [COCO.index(f"left_{name}"), COCO.index(f"right_{name}")]
        xy[rows] = xy[rows[::-1]]
    return xy


def test_pairs_with_swapped_names():
    people = [swapped(figure(n, behind=n % 2 == 0), "knee", "ankle") for n in range(25)]
    (text,) = texts(surveyed(map(person_at, people)), "bad")
    assert "left and right seem swapped for 2 (left_knee (0%), left_ankle (0%))" in text
    (text,) = texts(surveyed(map(person_at, people[:10])), "odd")  # too few to be sure
    assert "left_knee" in text
    assert not texts(surveyed(map(person_at, people[:5])), "odd")


def test_swapped_throughout():
    found = surveyed(person_at(figure(n, mirrored=True)) for n in range(12))
    (text,) = texts(found, "odd")
    assert "only 0% of 12 people have their left on the right" in text
    assert not texts(found, "bad")


def test_people_without_sides():
    tally = MirrorTally(COCO)
    for _ in range(10):
        tally.add(np.full((17, 2), np.nan))
        tally.add(np.full((17, 2), 3.0))
    assert tally.result().people == 0
    assert not tally.result().throughout
    words = vocabulary.make("mid", ["a_top", "a_tip"], mirror_pairs=[])
    assert MirrorTally(words).result().swapped == ()


def test_sides_of_parts():
    def body(wrong):
        labels = np.zeros(SIZE, np.uint8)
        names = ("Upper_Arm", "Lower_Arm", "Hand", "Upper_Leg")
        for row, name in enumerate(names):
            sides = ("Right", "Left") if name != wrong else ("Left", "Right")
            labels[20 * row : 20 * row + 15, 20:30] = PARTS.index(f"{sides[0]}_{name}")
            labels[20 * row : 20 * row + 15, 70:80] = PARTS.index(f"{sides[1]}_{name}")
        raster = Raster(law="label", values=labels, vocabulary=PARTS)
        return Person(box=[20, 0, 80, 80], annotations={"parts": raster})

    assert not texts(surveyed(body(None) for _ in range(20)), "bad")
    (text,) = texts(surveyed(body("Hand") for _ in range(20)), "bad")
    assert "parts: left and right seem swapped for Left_Hand (0%)" in text


def paired(*wrong):
    """The points of COCO, but with these as mirror partners."""
    right = dict(wrong)
    names = [name for name in COCO.names if name.startswith("left_")]
    pairs = [(name, right.get(name, f"right_{name[5:]}")) for name in names]
    return vocabulary.make("mine", COCO.names, mirror_pairs=pairs)


@pytest.mark.parametrize("behind", [False, True])
def test_wrong_mirror_partners(behind):
    wrong = ("left_elbow", "right_hip"), ("left_hip", "right_elbow")
    xy = [figure(n, behind=behind) for n in range(25)]
    says = "pose: mirror partners seem wrong for left_elbow and left_hip (100%): in that share"
    found = texts(surveyed(person_at(one, paired(*wrong)) for one in xy), "bad")
    assert sum(text.startswith(says) for text in found) == 1
    right = surveyed(person_at(one, paired()) for one in xy)
    for fine in (surveyed(person_at(one, paired(*wrong)) for one in xy[:19]), right):
        assert not any("partners" in text for text in texts(fine, "bad"))


def test_wrong_mirror_partners_of_hands_that_are_anywhere():
    rng = np.random.default_rng(0)
    people = [figure(n) for n in range(60)]
    for xy in people:
        xy[[5, 6], 1] = 45 + rng.normal(0, 1, 2)
        xy[[9, 10], 1] = rng.uniform(20, 100, 2)
    wrong = paired(("left_shoulder", "right_wrist"), ("left_wrist", "right_shoulder"))
    (text,) = texts(surveyed(person_at(xy, wrong) for xy in people), "bad")
    assert "mirror partners seem wrong for left_shoulder and left_wrist" in text
    assert not texts(surveyed(person_at(xy) for xy in people), "bad")


def test_left_without_its_right():
    words = vocabulary.make("mine", COCO.names, mirror_pairs=[])
    found = surveyed(person_at(figure(n), words) for n in range(3))
    assert any("no mirror partners: 8 (left_eye, left_ear" in text for text in texts(found, "odd"))
    for name in vocabulary.available():
        assert MirrorTally(vocabulary.load(name)).result().alone == ()


@pytest.mark.parametrize(("swapped", "lips"), [(False, True), (True, True), (True, False)])
def test_all_sides_of_parts_by_their_lips(swapped, lips):
    """Somebody whose lips are seen faces the camera; without them nobody can tell."""
    people = []
    for _ in range(25):
        labels = np.zeros(SIZE, np.uint8)
        for row, name in enumerate(("Upper_Arm", "Lower_Arm", "Hand")):
            sides = ("Left", "Right") if swapped else ("Right", "Left")
            labels[20 * row : 20 * row + 15, 20:30] = PARTS.index(f"{sides[0]}_{name}")
            labels[20 * row : 20 * row + 15, 70:80] = PARTS.index(f"{sides[1]}_{name}")
        if lips:
            labels[80, 40:60] = PARTS.index("Upper_Lip")
            labels[81, 40:60] = PARTS.index("Lower_Lip")
        people.append(with_map(Raster(law="label", values=labels, vocabulary=PARTS), "parts"))
    bad = texts(surveyed(people), "bad")
    assert len(bad) == (swapped and lips)
    if bad:
        assert "left and right are swapped: of 25 people whose face is visible only 0%" in bad[0]


# --------------------------------------------------------------------------- boxes and points


def test_boxes():
    boxes = [[5, 5, 5, 9], [200, 5, 220, 30], [5, 5, 15, 20], [5, 5, 90, 90]]
    found = surveyed(Person(box=box) for box in boxes)
    assert any("1 of 4 boxes have no width or no height" in text for text in texts(found, "bad"))
    assert any("1 of 4 boxes lie outside their picture" in text for text in texts(found, "bad"))
    assert any("1 of 4 people are below 32 pixels" in text for text in texts(found, "odd"))


def test_boxes_that_mean_something_else():
    """x, y, width, height taken for corners."""
    people = [replace(person_at(figure(n)), box=[60, 60, 90, 115]) for n in range(9)]
    (text,) = [t for t in texts(surveyed(people), "bad") if "box" in t]
    assert "most points of 9 of 9 people lie outside their box" in text


def test_points_outside_and_never_there():
    moved = [figure(n) + np.array([60, 0]) for n in range(9)]
    (text,) = [t for t in texts(surveyed(map(person_at, moved)), "bad") if "their picture" in t]
    assert "points lie outside their picture: the pictures were resized" in text
    few = [figure(n) for n in range(9)]
    for xy in few:
        xy[3] = np.nan
    few[0][5] = (-3, 4)
    odd = texts(surveyed(map(person_at, few)), "odd")
    assert any("never present: left_ear" in text for text in odd)
    assert any("1 of 144 points lie outside" in text for text in odd)


# ---------------------------------------------------------------------------------- maps


def with_map(raster, name="map"):
    return Person(box=[0, 0, 99, 99], annotations={name: raster})


def test_classes():
    labels = np.zeros(SIZE, np.uint8)
    good = Raster(law="label", values=labels + np.uint8(3), vocabulary=PARTS)
    empty = Raster(law="label", values=labels, vocabulary=PARTS)
    beyond = Raster(law="label", values=labels + np.uint8(40), vocabulary=PARTS)
    found = surveyed([with_map(good), with_map(empty), with_map(beyond)])
    assert any("label values 40, but parts28 has 28 classes" in t for t in texts(found, "bad"))
    assert any("1 of 3 label maps are background alone" in t for t in texts(found, "odd"))
    assert any("never seen: 26 (Apparel, Face_Neck, Left_Foot" in t for t in texts(found, "odd"))
    assert any("Background 33.3%, Hair 33.3%" in t for t in texts(found, "note"))


def test_depth():
    def depth(kind, low=1.0, valid=True):
        values = np.linspace(low, 2, SIZE[0] * SIZE[1]).reshape(SIZE)
        return with_map(Raster(law="scalar", values=values, kind=kind, valid=np.full(SIZE, valid)))

    found = surveyed([depth("metric"), depth("relative"), depth("metric", valid=False)])
    assert any("maps of several kinds: metric and relative" in t for t in texts(found, "bad"))
    assert any("1 of 3 maps have no valid pixel" in t for t in texts(found, "bad"))
    found = surveyed([depth("metric"), depth("metric", low=2.0)])
    assert any("1 of 2 maps have one and the same value" in t for t in texts(found, "odd"))
    (note,) = [t for t in texts(found, "note") if t.startswith("map")]
    assert note == "map: 2 scalar maps, metric, from 1 to 2; 100% of pixels known"


def test_normals():
    values = np.zeros((*SIZE, 3), np.float32)
    values[..., 2] = -1
    facing, away = (Raster(law="vector", values=v) for v in (values, -values))
    assert not texts(surveyed([with_map(facing)]), "bad")
    found = surveyed([with_map(facing), with_map(away)])
    (text,) = texts(found, "bad")
    assert "50% of all normals face the viewer, and in 1 of 2 maps fewer than half do" in text


def test_a_sliver_that_turns_away_is_no_finding():
    """At the edge of a wide view a few pixels of somebody may face the camera, not its axis."""
    values = np.zeros((*SIZE, 3), np.float32)
    values[..., 2] = -1
    sliver = values.copy()
    sliver[..., 2] = 1
    valid = np.zeros(SIZE, bool)
    valid[:3, :10] = True
    maps = [Raster(law="vector", values=values), Raster(law="vector", values=sliver, valid=valid)]
    assert not texts(surveyed([with_map(one) for one in maps]), "bad")


def test_several_vocabularies_under_one_name():
    words = vocabulary.make("one", ["tip"])
    points = Points(vocabulary=words, xy=[[5, 5]], scores=[1])
    other = Person(box=[0, 0, 50, 50], annotations={"pose": points})
    notes = texts(surveyed([person_at(figure()), other]), "note")
    assert any(t.startswith("pose (one): 1 people with points of one (1)") for t in notes)


def test_names_failures_and_nothing():
    survey = Survey()
    survey.add(plain_sample(name="x"))
    survey.add(random_sample(name="x"))
    for number in range(12):
        survey.fail(f"file {number}", f"file {number}: broken" if number else "broken")
    found = survey.findings()
    assert any("same name for several samples: x" in t for t in texts(found, "odd"))
    assert "file 0: broken" in texts(found, "bad")
    assert "2 more samples cannot be read" in texts(found, "bad")
    assert found[-1].state == "bad"
    assert found[0].state == "note"
    assert texts(Survey().findings(), "bad") == ["no sample could be read"]
    assert str(Finding(state="odd", text="a", remedy="b")) == "a: b"


@pytest.mark.parametrize("count", [0, 3])
def test_cameras_are_told(count):
    survey = Survey()
    for number in range(3):
        sample = random_sample(number, str(number))
        survey.add(sample if number < count else replace(sample, camera=None))
    assert ("3 with a camera" in texts(survey.findings(), "note")[0]) == (count == 3)
