# SPDX-License-Identifier: Apache-2.0
"""Views of sources: people, repeats, choices, other vocabularies, everybody together."""

from dataclasses import replace

import numpy as np
import pytest
from data_samples import COCO, PARTS, plain_sample, random_points, random_sample

from vitruvian import vocabulary
from vitruvian.data import codec
from vitruvian.data.reader import Shards
from vitruvian.data.shards import write_shard
from vitruvian.data.source import (
    Chosen,
    Converted,
    Gathered,
    Joined,
    Listed,
    PerPerson,
    every,
    gathered,
    move_points,
)
from vitruvian.errors import InputError
from vitruvian.person import Person, Points, Raster, Sample


@pytest.fixture
def two():
    return Listed([random_sample(0, "a"), plain_sample(1, "b"), random_sample(2, "c")])


def test_each_person_of_their_own(two, tmp_path):
    write_shard(tmp_path / "s.tar", two.samples)
    for source in (two, Shards(tmp_path)):
        single = PerPerson(source)
        assert len(single) == 4
        assert [single[n].name for n in range(4)] == list("aacc")
        assert [len(single[n].people[0].annotations) for n in range(4)] == [6, 0, 6, 0]
        assert single.people().tolist() == [1] * 4
        assert single.where(3).endswith("c, person 1")
        with pytest.raises(IndexError):
            single[4]
    assert single.picture(2) == Shards(tmp_path).picture(2)
    assert PerPerson(two).picture(0) is None
    with pytest.raises(InputError, match="nobody is annotated in any of 1"):
        PerPerson(Listed([plain_sample()]))


def test_maps_of_others_are_not_decoded(tmp_path, monkeypatch):
    first, second = random_sample(0, "a"), random_sample(1, "a")
    both = replace(first, people=(first.people[0], second.people[0]))
    write_shard(tmp_path / "s.tar", [plain_sample(1, "b"), both])
    stored = Shards(tmp_path)
    source = Converted(
        Joined([Chosen(stored, np.array([1])), stored], [2, 1]), parts=vocabulary.load("parts29")
    )
    wanted = [person for n in range(len(source)) for person in source[n].people]
    decoded = []
    decode = codec.decode_raster
    monkeypatch.setattr(codec, "decode_raster", lambda *a: decoded.append(a) or decode(*a))
    single = PerPerson(source)
    assert len(single) == len(wanted) == 6
    for number, person in enumerate(wanted):
        decoded.clear()
        (found,) = single[number].people
        # five maps of that person, one of the whole picture
        assert len(decoded) == 6
        np.testing.assert_array_equal(found.box, person.box)
        for name, annotation in person.annotations.items():
            other = found.annotations[name]
            assert other.vocabulary == annotation.vocabulary
            if isinstance(annotation, Raster):
                np.testing.assert_array_equal(other.values, annotation.values)
                np.testing.assert_array_equal(other.mask, annotation.mask)
            else:
                np.testing.assert_array_equal(other.xy, annotation.xy)


def test_a_set_that_changed(two, tmp_path):
    write_shard(tmp_path / "s.tar", two.samples)
    for source in (two, Shards(tmp_path)):
        single = PerPerson(source)
        single._ends = single._ends + np.arange(1, 4)  # as if more people had been counted
        with pytest.raises(InputError, match=r"person 2: 2 people or fewer, more were counted"):
            single[2]
        with pytest.raises(InputError, match=r"person 0: 0 people or fewer, more were counted"):
            single[3]


def test_joined_and_chosen(two):
    joined = Joined([two, Chosen(two, np.array([1]))], [2, 3])
    assert [joined[n].name for n in range(len(joined))] == list("abcabcbbb")
    assert joined.where(8) == "b"
    assert joined.picture(0) is None
    assert joined.people().tolist() == [2, 0, 2, 2, 0, 2, 0, 0, 0]
    assert [every(two, 2)[n].name for n in range(2)] == ["a", "c"]
    assert every(two, 2).where(1) == "c"
    assert every(two, 2).picture(1) is None
    assert len(PerPerson(every(joined, 2))) == 4
    with pytest.raises(InputError, match="one number from 1"):
        Joined([two], [0])
    with pytest.raises(InputError, match="source of 3"):
        Chosen(two, np.array([3]))
    with pytest.raises(IndexError):
        joined[9]


def test_converted(two):
    whole = vocabulary.load("wholebody133")
    newer = vocabulary.load("parts29")
    source = Converted(two, points=whole, parts=newer)
    sample, before = source[0], two[0]
    points = sample.people[0].points()
    assert points.vocabulary is whole
    np.testing.assert_array_equal(points.xy[:17], before.people[0].points().xy)
    assert not points.present[17:].any()
    placed = np.isfinite(points.xy).all(axis=1)
    wanted = np.where(placed[:17], before.people[0].points().visibility, 0)
    assert (points.visibility[:17] == wanted).all()
    label = sample.people[0].raster("label")
    old = before.people[0].raster("label")
    names = [newer.names[value] for value in label.values.ravel()]
    assert names == [PARTS.names[value] for value in old.values.ravel()]
    assert sample.rasters["parts"].vocabulary is newer
    assert (source.where(0), source.picture(0)) == ("a", None)
    assert source.people().tolist() == [2, 0, 2]
    assert Converted(two)[0].people[0].points().vocabulary is COCO


def test_points_that_are_means_are_as_visible_as_the_worst():
    points = random_points(np.random.default_rng(0))
    points = Points(
        vocabulary=COCO,
        xy=np.ones((17, 2)),
        scores=np.ones(17),
        visibility=np.arange(17) % 3,
        xyz=points.xyz,
    )
    openpose = vocabulary.load("openpose18")
    moved = move_points(points, openpose)
    left, right = COCO.index("left_shoulder"), COCO.index("right_shoulder")
    neck = openpose.index("neck")
    assert moved.visibility[neck] == min(points.visibility[[left, right]])
    np.testing.assert_allclose(moved.xyz[neck], points.xyz[[left, right]].mean(axis=0), rtol=1e-5)


def test_everybody_together():
    size = (10, 20)

    def person(x, label):
        raster = Raster(law="label", values=np.full((4, 5), label), vocabulary=PARTS, origin=(x, 2))
        return Person(
            box=[x, 2, x + 4, 5],
            annotations={"parts": raster, "pose": random_points(np.random.default_rng(0))},
        )

    depth = Raster(law="scalar", values=np.ones(size), kind="metric")
    sample = Sample(
        image=np.zeros((*size, 3), np.uint8),
        people=(person(1, 3), person(12, 4)),
        rasters={"depth": depth},
    )
    (all_,) = gathered(sample).people
    assert set(all_.annotations) == {"parts", "depth"}
    parts = all_.raster("parts")
    assert parts.values[3, 2] == 3
    assert parts.values[3, 13] == 4
    assert parts.mask.sum() == 40
    assert all_.box.tolist() == [0, 0, 19, 9]
    view = Gathered(Listed([sample]))
    assert set(view[0].people[0].annotations) == {"parts", "depth"}
    assert (len(view), view.people().tolist(), view.picture(0)) == (1, [1], None)
    assert view.where(0) == "sample 0"
