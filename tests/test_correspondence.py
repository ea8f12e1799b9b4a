# SPDX-License-Identifier: Apache-2.0
"""Converting between vocabularies loses only what the target has no word for."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitruvian.correspondence import (
    convert_labels,
    convert_points,
    correspond,
    tables,
)
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.vocabularies import FOLDER, read_rows, read_toml
from vitruvian.vocabulary import available, load, make

POINTS = [name for name in available() if load(name).kind == "points"]
PARTS = [name for name in available() if load(name).kind == "parts"]
FINITE = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize(("source", "target"), list(product(POINTS, POINTS)))
def test_every_pair_of_points_converts_and_mirrors(source, target):
    found = correspond(source, target)
    a, b = found.source, found.target
    assert len(found.parts) == len(found.confidence) == len(found.basis) == len(b)
    for i, rows in enumerate(found.parts):
        assert (found.confidence[i] == "none") == (not rows)
        # what holds for one side holds for the other
        partner = found.parts[b.mirror[i]]
        assert {int(a.mirror[row]) for row in rows} == set(partner)
        assert found.confidence[b.mirror[i]] == found.confidence[i]
        if len(rows) == 1:
            assert a.sides[rows[0]] == b.sides[i]
    assert len(found.mapped) + len(found.unmapped) == len(b)


@pytest.mark.parametrize("name", POINTS)
def test_a_vocabulary_converts_to_itself(name):
    found = correspond(name, name)
    assert found.parts == tuple((i,) for i in range(len(found.target)))
    assert set(found.confidence) == {"exact"}


def test_308_to_17_rows_are_those_published():
    found = correspond("sapiens308", "coco17")
    rows = [0, 1, 2, 3, 4, 5, 6, 7, 8, 62, 41, 9, 10, 11, 12, 13, 14]
    assert found.parts == tuple((row,) for row in rows)


def test_other_body_sets_map_as_published():
    none = None
    published = {
        "mpii": [14, 12, 10, 9, 11, 13, none, none, none, none, 41, 8, 6, 5, 7, 62],
        "crowdpose": [5, 6, 7, 8, 62, 41, 9, 10, 11, 12, 13, 14, none, 69],
        "aic": [6, 8, 41, 5, 7, 62, 10, 12, 14, 9, 11, 13, none, 69],
    }
    for name, rows in published.items():
        found = correspond(name, "sapiens308")
        expected = {row: i for i, row in enumerate(rows) if row is not None}
        assert {i: p[0] for i, p in enumerate(found.parts) if p} == expected
    assert correspond("aic", "sapiens308").confidence[69] == "low"  # another neck, by equal name


def test_published53_is_every_equal_name():
    found = correspond("sapiens308", "wholebody133", table="published53")
    assert len(found.mapped) == 53
    assert found.parts == correspond("sapiens308", "wholebody133", table="names").parts
    assert set(found.confidence) == {"exact", "none"}
    assert not set(found.target.groups["face"]) & set(found.mapped)


def test_reconstructed114():
    found = correspond("sapiens308", "wholebody133", table="reconstructed114")
    w = found.target
    assert len(found.mapped) == 114
    assert found.parts == correspond("sapiens308", "wholebody133").parts  # it is the best there is
    mapped = set(found.mapped.tolist())
    assert {g: len(mapped & set(rows)) for g, rows in w.groups.items()} == {
        "body": 17, "foot": 6, "face": 51, "left_hand": 20, "right_hand": 20,
    }  # fmt: skip
    jaw = {f"face-{i}" for i in range(17)}
    assert set(found.unmapped) == jaw | {"left_hand_root", "right_hand_root"}
    assert Counter(found.confidence) == {
        "exact": 53, "high": 31, "medium": 28, "low": 2, "none": 19,
    }  # fmt: skip
    for name133, name308 in {
        "face-17": "end_of_r_eyebrow", "face-30": "tip_of_nose", "face-33": "bottom_center_of_nose",
        "face-36": "r_outer_end_of_upper_lash_line", "face-43": "l_midpoint_4_of_upper_lash_line",
        "face-48": "r_outer_corner_of_mouth", "face-66": "center_of_lower_inner_lip",
        "left_thumb1": "left_thumb_third_joint",
    }.items():  # fmt: skip
        assert found.parts[w.index(name133)] == (found.source.index(name308),)
    shared = load("common114")
    assert shared.names == tuple(w.names[i] for i in found.mapped)
    np.testing.assert_array_equal(shared.sigmas, w.sigmas[found.mapped])
    rows = correspond("sapiens308", "common114").parts
    assert rows == tuple(found.parts[i] for i in found.mapped)


def test_tables_speak_of_points_that_exist():
    assert set(tables()) == {"published53", "reconstructed114", "synonyms"}
    for table in ("published53", "reconstructed114"):
        content = read_toml(FOLDER / "correspondences" / f"{table}.toml")
        columns = ("first", "second", "confidence", "basis", "alternatives")
        rows = read_rows(content["pairs"], columns, required=4)
        first, second = (load(name) for name in content["between"])
        for row in rows:
            assert row["first"] in first
            assert row["second"] in second
            assert all(name in first for name in row.get("alternatives", "nose").split("+"))
            assert row["basis"] in content["basis"]
        assert len({row["first"] for row in rows}) == len({row["second"] for row in rows})
    names = {name for v in map(load, POINTS) for name in v.names}
    content = read_toml(FOLDER / "correspondences" / "synonyms.toml")
    for row in read_rows(content["pairs"], ("first", "second", "confidence", "basis"), required=4):
        assert {row["first"], row["second"]} <= names


@pytest.mark.parametrize("source", ["coco17", "wholebody133", "sapiens308", "halpe26"])
@pytest.mark.parametrize("target", ["openpose18", "body25", "openpose137"])
def test_openpose_necks_are_the_middle_of_the_shoulders(source, target):
    found = correspond(source, target)
    rng = np.random.default_rng(0)
    xy, scores = rng.normal(size=(3, len(found.source), 2)), rng.random((3, len(found.source)))
    new_xy, new_scores = convert_points(xy, scores, found)
    left, right = found.source.index("left_shoulder"), found.source.index("right_shoulder")
    neck = found.target.index("neck")
    np.testing.assert_allclose(new_xy[:, neck], (xy[:, left] + xy[:, right]) / 2)
    np.testing.assert_array_equal(new_scores[:, neck], scores[:, [left, right]].min(axis=1))
    scores[1, left] = 0
    new_xy, new_scores = convert_points(xy, scores, found)
    assert np.isnan(new_xy[1, neck]).all()
    assert new_scores[1, neck] == 0


def test_openpose_hands_start_at_the_wrist():
    for source, name in (("wholebody133", "left_hand_root"), ("sapiens308", "left_wrist")):
        found = correspond(source, "openpose137")
        assert found.parts[found.target.index("left_hand_root")] == (found.source.index(name),)
    pupil = found.parts[found.target.index("right_pupil")]
    assert pupil == (found.source.index("r_center_of_pupil"),)


@given(
    xy=arrays(np.float32, (2, 17, 3), elements=FINITE),
    scores=arrays(np.float32, (2, 17), elements=st.floats(0, 1, width=32)),
    through=st.sampled_from(["wholebody133", "sapiens308", "common114", "halpe26", "openpose18"]),
)
@settings(max_examples=40, deadline=None)
def test_there_and_back(xy, scores, through):
    there = convert_points(xy, scores, correspond("coco17", through))
    assert there[0].shape == (2, len(load(through)), 3)
    assert there[0].dtype == np.float32
    back_xy, back_scores = convert_points(*there, correspond(through, "coco17"))
    np.testing.assert_array_equal(back_xy, xy)
    np.testing.assert_array_equal(back_scores, scores)


@given(scores=arrays(np.float64, 133, elements=st.floats(0, 1)))
@settings(max_examples=20, deadline=None)
def test_rows_are_never_dropped(scores):
    found = correspond("wholebody133", "sapiens308")
    xy, new = convert_points(np.ones((133, 2)), scores, found)
    assert xy.shape == (308, 2)
    empty = np.setdiff1d(np.arange(308), found.mapped)
    assert np.isnan(xy[empty]).all()
    assert (new[empty] == 0).all()
    assert np.isfinite(xy[found.mapped]).all()
    back, _ = convert_points(xy, new, correspond("sapiens308", "wholebody133"))
    assert int(np.isfinite(back[:, 0]).sum()) == 114


def test_integer_points_become_float_and_wrong_shapes_are_refused():
    found = correspond("coco17", "openpose18")
    xy, _ = convert_points(np.ones((17, 2), np.int64), np.ones(17), found)
    assert xy.dtype == np.float64
    with pytest.raises(InputError, match=r"coco17 wants \(…, 17, 2\)"):
        convert_points(np.ones((18, 2)), np.ones(18), found)
    with pytest.raises(InputError, match="with scores"):
        convert_points(np.ones((2, 17, 2)), np.ones(17), found)


def test_own_points_convert_by_name():
    own = make("own", ["nose", "left_wrist", "right_wrist", "left_horn", "right_horn"])
    found = correspond("sapiens308", own)
    assert found.parts == ((0,), (62,), (41,), (), ())
    assert found.unmapped == ("left_horn", "right_horn")


def test_what_cannot_convert_explains():
    with pytest.raises(InputError, match="no point of coco17 corresponds to one of own"):
        correspond("coco17", make("own", ["left_horn", "right_horn"]))
    with pytest.raises(InputError, match="parts28 names parts"):
        correspond("coco17", "parts28")
    with pytest.raises(InputError, match="published53 is between sapiens308 and wholebody133"):
        correspond("coco17", "openpose18", table="published53")
    with pytest.raises(UnknownNameError, match="did you mean best"):
        correspond("coco17", "openpose18", table="bets")


SETS = [*PARTS, "studio34", "detailed52", "internal33"]


@pytest.mark.parametrize(("source", "target"), list(product(SETS, PARTS)))
def test_every_pair_of_parts_converts_or_explains(source, target):
    count = len(load(source)) if source in PARTS else int(source[-2:])
    labels = np.append(np.arange(count), 255).astype(np.uint8)
    if target == "face19" and source != "face19":
        with pytest.raises(InputError, match=r"documented .*write one as"):
            convert_labels(labels, source, target)
        return
    new = convert_labels(labels, source, target)
    t = load(target)
    assert new.dtype == np.uint8
    assert new[0] == 0
    assert new[-1] == 255
    assert set(new.tolist()) <= {*range(len(t)), 255}
    if source in PARTS:  # a mirrored picture converts to the mirrored labels
        swap = np.append(t.mirror, np.zeros(256 - len(t), np.intp)).astype(np.uint8)
        swap[255] = 255
        mirrored = np.append(load(source).mirror, 255).astype(np.uint8)
        np.testing.assert_array_equal(convert_labels(mirrored, source, target), swap[new])


def test_label_maps_as_published():
    rows = np.arange(28, dtype=np.uint8)
    newer = convert_labels(rows, "parts28", "parts29")
    np.testing.assert_array_equal(newer, [0, 1, *range(3, 29)])
    np.testing.assert_array_equal(convert_labels(newer, "parts29", "parts28"), rows)
    assert convert_labels(np.uint8([[2]]), "parts29", "parts28").tolist() == [[255]]  # Eyeglass
    studio = np.arange(34, dtype=np.uint8)
    dropped = np.flatnonzero(convert_labels(studio, "studio34", "parts28") == 255)
    assert dropped.tolist() == [2, 3, 4, 7, 17, 28]
    newer = convert_labels(studio, "studio34", "parts29")
    assert newer[[2, 3, 4, 7, 17, 28]].tolist() == [0, 2, 2, 255, 13, 255]
    lip = convert_labels(np.arange(20, dtype=np.uint8), "lip20", "parts28")
    ignored = [1, 3, 4, 6, 8, 10, 11, 14, 15, 16, 17]
    assert np.flatnonzero(lip == 255).tolist() == ignored
    assert lip[[2, 5, 7, 9, 12, 13, 18, 19]].tolist() == [3, 22, 22, 12, 22, 2, 8, 17]
    detailed = convert_labels(np.arange(52, dtype=np.uint8), "detailed52", "parts29")
    assert detailed[[0, 1, 9, 25, 40, 41, 46, 51]].tolist() == [0, 1, 255, 2, 0, 15, 6, 0]
    coarse = convert_labels(np.arange(33, dtype=np.uint8), "internal33", "parts29")
    assert coarse[[17, 18, 26, 29, 32]].tolist() == [255, 255, 255, 2, 0]


def test_own_classes_convert_by_equal_names_or_by_their_map(tmp_path):
    few = make("few", ["Background", "Hair", "Torso"], kind="parts")
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    assert convert_labels(labels, few, "parts28").tolist() == [[0, 3], [21, 255]]
    path = tmp_path / "own.toml"
    path.write_text(
        'kind = "parts"\nclasses = """\nname\nBackground\nSkin\n"""\n[label_maps]\n'
        'parts28 = """\nlabel class\nBackground Background\nApparel ignore\nFace_Neck Skin\n"""'
    )
    own = load(path)
    assert convert_labels(np.uint8([0, 1, 2]), "parts28", own).tolist() == [0, 255, 1]
    with pytest.raises(InputError, match="label values 3, 27 are no class of parts28"):
        convert_labels(np.uint8([0, 3, 27]), "parts28", own)


def test_wrong_labels_explain():
    with pytest.raises(InputError, match="label values 40, 77 are no class of parts28"):
        convert_labels(np.uint8([[40, 1], [77, 255]]), "parts28", "parts29")
    with pytest.raises(UnknownNameError, match="did you mean studio34"):
        convert_labels(np.uint8([0]), "studio", "parts28")
    with pytest.raises(InputError, match="vocabularies of parts"):
        convert_labels(np.uint8([0]), "coco17", "parts28")
    strict = make("strict", ["Background", "Hair"], kind="parts", ignore=None)
    assert convert_labels(np.uint8([1]), strict, "parts28").tolist() == [3]
