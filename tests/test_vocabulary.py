# SPDX-License-Identifier: Apache-2.0
"""The shipped lists are what they claim to be, and a list of one's own is read or refused."""

import copy
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian import vocabulary
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.vocabularies import DEFAULT_SIGMA
from vitruvian.vocabulary import Vocabulary, available, from_coco_category, load, make

SIZES = {
    "coco17": {"body": 17},
    "wholebody133": {"body": 17, "foot": 6, "face": 68, "left_hand": 21, "right_hand": 21},
    "sapiens308": {
        "body": 17, "foot": 6, "left_hand": 20, "right_hand": 20, "extra": 7, "face": 238,
    },
    "common114": {"body": 17, "foot": 6, "face": 51, "left_hand": 20, "right_hand": 20},
    "openpose18": {"body": 18},
    "body25": {"body": 25},
    "openpose137": {"body": 25, "left_hand": 21, "right_hand": 21, "face": 70},
    "halpe26": {"body": 26},
    "mpii": {"body": 16},
    "crowdpose": {"body": 14},
    "aic": {"body": 14},
    "mediapipe33": {"body": 33},
    "parts28": 28,
    "parts29": 29,
    "lip20": 20,
    "face19": 19,
}  # fmt: skip
LINKS = {"coco17": 19, "wholebody133": 65, "sapiens308": 65, "openpose18": 17, "body25": 24}
POINTS = [name for name, size in SIZES.items() if isinstance(size, dict)]
PARTS = [name for name in SIZES if name not in POINTS]


def test_everything_that_ships_is_tested_here():
    assert set(available()) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_shipped(name):
    v = load(name)
    assert v is load(name)
    assert v.name == name
    assert len(set(v.names)) == len(v) == len(v.sides) == len(v.halves)
    assert v.about
    assert (v.mirror[v.mirror] == np.arange(len(v))).all()
    for i, j in enumerate(v.mirror):
        sides = {v.sides[i], v.sides[j]}
        assert sides == ({"centre"} if i == j else {"left", "right"})
    assert sorted(i for group in v.groups.values() for i in group) == list(range(len(v)))
    assert v.colours.shape == (len(v), 3)
    for array in (v.mirror, v.colours, v.sigmas, v.loss_weights):
        assert array is None or not array.flags.writeable


@pytest.mark.parametrize("name", POINTS)
def test_points(name):
    v = load(name)
    assert v.kind == "points"
    assert {group: len(rows) for group, rows in v.groups.items()} == SIZES[name]
    assert v.background is None
    assert v.sigmas is not None
    assert ((v.sigmas > 0) & (v.sigmas < 0.2)).all()
    links = {frozenset((link.a, link.b)) for link in v.links}
    assert len(links) == len(v.links) == LINKS.get(name, len(v.links))
    assert {frozenset(v.mirror[list(link)].tolist()) for link in links} == links
    # a group mirrors onto the group of the other side
    group_of = {i: group for group, rows in v.groups.items() for i in rows}
    for i, j in enumerate(v.mirror):
        assert group_of[i].split("_")[-1] == group_of[j].split("_")[-1]


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    v = load(name)
    assert v.kind == "parts"
    assert len(v) == SIZES[name]
    assert (v.background, v.ignore, v.index("Background")) == (0, 255, 0)
    assert v.sigmas is None
    assert v.links == ()


def test_the_308_points_are_in_the_published_order():
    v = load("sapiens308")
    for index, name in {
        0: "nose", 9: "left_hip", 20: "right_heel", 21: "right_thumb4", 41: "right_wrist",
        42: "left_thumb4", 62: "left_wrist", 69: "neck", 70: "center_of_glabella",
        178: "tip_of_nose", 219: "midpoint_6_of_lower_inner_lip", 272: "l_center_of_iris",
        307: "r_border_of_pupil_midpoint_2",
    }.items():  # fmt: skip
        assert v.index(name) == index
    coco = load("coco17")
    assert [v.names[i] for i in v.groups["body"]] == list(coco.names)
    assert v.mirror[83] == 92 + 1  # the quarters of a brow change their number
    assert v.mirror[273] == 286  # three o'clock of one iris is nine o'clock of the other
    assert v.halves[41] == "upper"
    assert v.halves[20] == "lower"
    assert v.halves[69] is None
    assert v.halves[100] is None


def test_the_quirk_of_the_ears_is_kept_and_its_correction_offered():
    v = load("sapiens308")
    assert v.names[229] == "l_point_2_of_inner_helix"
    assert v.names[255] == "r_point_8_of_inner_helix"
    assert v.mirror[229] == 255
    assert v.mirror[245] == 271
    fixed = v.corrected_names
    assert fixed[255] == "r_point_2_of_inner_helix"
    assert fixed[271] == "r_point_8_of_inner_helix"
    assert sum(a != b for a, b in zip(v.names, fixed, strict=True)) == 2
    for i in range(220, 246):  # with corrected names the ears agree word for word
        assert fixed[i].removeprefix("l_") == fixed[v.mirror[i]].removeprefix("r_")


def test_sigmas_as_documented():
    coco = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    for name in ("coco17", "wholebody133"):
        np.testing.assert_allclose(load(name).sigmas[:17], np.array(coco) / 1000)
    v, w = load("sapiens308"), load("wholebody133")
    for name in w.names:
        if name in v:
            assert v.sigmas[v.index(name)] == w.sigmas[w.index(name)]
    assert set(v.sigmas[list(v.groups["face"])]) == {0.010}
    for finger, sigma in zip(
        ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger"),
        (0.022, 0.026, 0.018, 0.017, 0.020),
        strict=True,
    ):
        for side in ("left", "right"):
            assert v.sigmas[v.index(f"{side}_{finger}_third_joint")] == sigma
    assert v.sigmas[[67, 68, 69]].tolist() == [0.079] * 3
    assert v.sigmas[[63, 64, 65, 66]].tolist() == [0.072] * 4


def test_parts_as_published():
    v = load("parts28")
    weights = [0.1, 10, 3, 2, 4, 4, 2, 2, 6, 10, 3, 3, 1, 4, 4, 2, 2, 6, 10, 3, 3, 1, 1]
    assert v.loss_weights.tolist() == weights + [10] * 5
    assert [(i, j) for i, j in enumerate(v.mirror) if i < j] == [(i, i + 9) for i in range(4, 12)]
    newer = load("parts29")
    assert newer.names == (*v.names[:2], "Eyeglass", *v.names[2:])
    assert newer.loss_weights.tolist() == [0.1, 10, 10, *v.loss_weights[2:]]
    pairs = [(i, j) for i, j in enumerate(load("lip20").mirror) if i < j]
    assert pairs == [(14, 15), (16, 17), (18, 19)]
    assert load("face19").loss_weights is None


def test_loading_is_quick():
    times = []
    for _ in range(5):
        vocabulary._load.cache_clear()
        start = time.perf_counter()
        load("sapiens308")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.06  # about 10 ms where nothing else runs


def test_names_are_looked_up_or_suggested():
    v = load("coco17")
    assert "left_wrist" in v
    assert "tail" not in v
    assert repr(v) == "Vocabulary('coco17', version 1, 17 points)"
    with pytest.raises(UnknownNameError, match="did you mean left_wrist"):
        v.index("left_wrst")
    with pytest.raises(UnknownNameError, match="did you mean coco17"):
        load("coco")
    with pytest.raises(InputError, match="no vocabulary file"):
        load("missing.toml")


@pytest.mark.parametrize("name", ["coco17", "parts29", "sapiens308"])
def test_copies_are_equal(name):
    v = load(name)
    assert copy.deepcopy(v) is v
    other = pickle.loads(pickle.dumps(v))
    assert other == v
    assert hash(other) == hash(v)
    assert {v: 1}[other] == 1
    assert v != load("mpii")
    assert v != name


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("nose", "left_eye", "right_eye"), (0, 2, 1)),
        (("l_eye", "r_eye"), (1, 0)),
        (("Left-arm", "Right-arm", "Torso"), (1, 0, 2)),
        (("RShoulder", "Neck", "LShoulder"), (2, 1, 0)),
        (("eye.L", "eye.R", "l lower lip", "r lower lip"), (1, 0, 3, 2)),
        (("HandLeft", "HandRight", "Head"), (1, 0, 2)),
        (("head", "thorax", "pelvis"), (0, 1, 2)),
    ],
)
def test_mirror_is_read_from_names(names, mirror):
    v = make("own", names)
    assert tuple(v.mirror) == mirror
    assert v.groups == {"all": tuple(range(len(names)))}
    assert (v.sigmas == DEFAULT_SIGMA).all()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("nose", "left_eye"), "left_eye has no partner on the right"),
        (("left_eye", "LeftEye", "right_eye"), "left_eye and LeftEye read the same"),
        (("lknee", "rknee"), "lknee may or may not speak of a side"),
        (("leftknee", "rightknee"), "leftknee may or may not"),
        (("eyel", "eyer"), "eyel may or may not"),
        (("left_to_right", "nose"), "left_to_right may or may not"),
        (("kp_0", "kp_1"), "kp_0 is little more than a number"),
        (("nose", "7"), "7 is little more than a number"),
    ],
)
def test_doubt_about_sides_is_refused(names, why):
    with pytest.raises(InputError, match=why) as caught:
        make("own", names)
    assert "mirror_pairs" in str(caught.value)


def test_pairs_settle_the_doubt():
    v = make("own", ["rknee", "lknee"], mirror_pairs=[("lknee", "rknee")], sides=["right", "left"])
    assert v.mirror.tolist() == [1, 0]
    assert v.sides == ("right", "left")
    assert make("own", ["p0", "p1"], mirror_pairs=[]).mirror.tolist() == [0, 1]
    with pytest.raises(UnknownNameError, match="did you mean lknee"):
        make("own", ["rknee", "lknee"], mirror_pairs=[("lkne", "rknee")])
    with pytest.raises(InputError, match="opposite sides"):
        make("own", ["rknee", "lknee"], mirror_pairs=[("lknee", "rknee")])


def test_own_classes():
    v = make("hats", ["background", "hat", "left_glove", "right_glove"], kind="parts", ignore=9)
    assert (v.ignore, v.background, v.sigmas) == (9, 0, None)
    assert len({tuple(c) for c in v.colours}) == 4
    assert v.mirror.tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "no names"),
        ({"names": ("a", "a", "b")}, "a given more than once"),
        ({"mirror": [1, 2, 0]}, "involution"),
        ({"mirror": [0, 1]}, r"mirror has the shape \(2,\)"),
        ({"sides": ("left", "left", "right")}, "opposite sides"),
        ({"sides": ("centre",)}, "1 sides"),
        ({"groups": {"x": (0, 1)}}, "groups overlap or leave names out"),
        ({"links": (vocabulary.Link(a=0, b=3, colour=(0, 0, 0)),)}, "link from 0 to 3"),
        ({"sigmas": [0.1, 0, 0.1]}, "sigma that is not positive"),
        ({"halves": ("upper", "middle", None)}, "half 'middle'"),
        ({"means": {"a": ("c",)}}, "unknown point of own 'c'"),
    ],
)
def test_what_is_no_vocabulary_is_refused(change, message):
    values = {
        "name": "own",
        "kind": "points",
        "names": ("a", "b", "d"),
        "mirror": [0, 2, 1],
        "sides": ("centre", "left", "right"),
        "groups": {"x": (0,), "y": (2, 1)},
        "colours": np.zeros((3, 3)),
    }
    Vocabulary(**values)
    with pytest.raises(InputError, match=message):
        Vocabulary(**(values | change))


OWN = '''
name = "hand5"
version = "2"
points = """
name       sigma group
left_tip   0.04  hand
right_tip  0.04  hand
palm       -     rest
"""
links = """
from     to
left_tip palm
right_tip palm
"""
'''


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "hand.toml"
    path.write_text(OWN)
    v = load(path)
    assert v is load(str(path))
    assert (v.name, v.version, v.names) == ("hand5", "2", ("left_tip", "right_tip", "palm"))
    assert v.mirror.tolist() == [1, 0, 2]
    assert v.sigmas.tolist() == [0.04, 0.04, DEFAULT_SIGMA]
    assert v.groups == {"hand": (0, 1), "rest": (2,)}
    assert [(link.a, link.b) for link in v.links] == [(0, 2), (1, 2)]
    path.write_text(OWN.replace("0.04 ", "0.03 "))
    assert load(path).sigmas[0] == 0.03  # a changed file is read again


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version", "verzion", "unknown key 'verzion': did you mean version"),
        ("sigma", "sigmas", "unknown column 'sigmas': did you mean sigma"),
        ("palm       -     rest", "palm       -", "has 2 of 3 columns"),
        ("palm       -     rest", "-          -  rest", "says no 'name'"),
        ("0.04  hand", "wide  hand", "could not convert"),
        ("left_tip palm", "left_tip plam", "did you mean palm"),
        ("right_tip  0.04", "ring_tip  0.04", "left_tip has no partner"),
        ('"2"', "2\n[", "is not TOML"),
        ('"2"', '"2"\nkind = "lines"', "kind 'lines'"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path, old, new, message):
    path = tmp_path / "hand.toml"
    path.write_text(OWN.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_coco_categories():
    category = {
        "name": "robot",
        "keypoints": ["head", "left_hand", "right_hand"],
        "skeleton": [[1, 2], [1, 3]],
    }
    v = from_coco_category(category)
    assert v.name == "robot"
    assert [(link.a, link.b) for link in v.links] == [(0, 1), (0, 2)]
    assert from_coco_category({"name": "person", "keypoints": list(load("coco17").names)}) is load(
        "coco17"
    )
    whole = {"keypoints": list(load("wholebody133").names)}  # its face points have only numbers
    assert from_coco_category(whole) is load("wholebody133")
    with pytest.raises(InputError, match="links 1 to 4; wanted 1 to 3"):
        from_coco_category(category | {"skeleton": [[1, 4]]})
    with pytest.raises(InputError, match="no 'keypoints'"):
        from_coco_category({"name": "cat"})


@given(
    st.lists(st.sampled_from(["eye", "ear", "knee", "big_toe", "tip3"]), unique=True, min_size=1),
    st.randoms(use_true_random=False),
)
def test_derived_mirrors_are_involutions(words, random):
    names = [f"{side}_{word}" for word in words for side in ("left", "right")] + ["nose"]
    random.shuffle(names)
    v = make("own", names)
    for i, name in enumerate(names):
        swap = name.replace("left", "~").replace("right", "left").replace("~", "right")
        assert names[v.mirror[i]] == swap
