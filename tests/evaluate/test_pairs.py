# SPDX-License-Identifier: Apache-2.0
"""Everyone's own map answers for their own pixels."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.data.source import Listed
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer
from vitruvian.evaluate.cases import Sampled
from vitruvian.evaluate.pairs import map_pair, paired
from vitruvian.evaluate.scoring import Settings, make_scorers
from vitruvian.person import Person, Raster, Sample
from vitruvian.vocabulary import load

PARTS = load("parts28")
SIZE = (40, 60)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
LEFT, RIGHT = (5, 25), (25, 50)


def two(change=lambda d, row: d):
    """Two people side by side, at 2 and 5 m."""
    people = []
    for row, (first, last) in enumerate((LEFT, RIGHT)):
        here = np.zeros(SIZE, bool)
        here[5:35, first:last] = True
        depth = (2 + 3 * row + np.linspace(0, 1, SIZE[1])[None]) * np.ones((SIZE[0], 1))
        people.append(
            Person(
                box=[first, 5, last - 1, 34],
                annotations={
                    "parts": Raster(law="label", values=here * 3, vocabulary=PARTS),
                    "depth": Raster(
                        law="scalar", values=change(depth, row), valid=here, kind="metric"
                    ),
                },
            )
        )
    return Sample(image=IMAGE, people=tuple(people), name="a")


def answered(change):
    """What a network says that looks at one person at a time, at every pixel of the picture."""
    people = [
        person.having(
            depth=replace(person.raster("depth"), valid=None),
            parts=person.raster("parts"),
        )
        for person in two(change).people
    ]
    return Sample(image=IMAGE, people=tuple(people), name="a")


def scored(seen, truth=None, task="depth"):
    cases = Sampled(Listed([two() if truth is None else truth]), ["a"])
    (scorer,) = make_scorers([task], Settings(), parts=PARTS)
    return scorer.update(cases, Answer(place=0, truth=cases.sample(0), sample=seen))


def test_each_answer_has_its_own_scale_and_shift():
    """Relative depth of one window says nothing about that of another."""
    row = scored(answered(lambda d, row: d * (0.2 + row) - 7 * row))
    assert row["RMSE"] < 1e-5
    assert row["coverage"] == 1
    assert row["pixels"] == 30 * (20 + 25)


def test_a_map_of_the_whole_photograph_has_one():
    whole = Sample(
        image=IMAGE,
        rasters={
            "depth": Raster(
                law="scalar",
                values=np.where(np.arange(SIZE[1]) < 25, 2.0, -3.0) * np.ones((SIZE[0], 1)),
                kind="metric",
            )
        },
        name="a",
    )
    pair = map_pair(two(), whole, "depth")
    assert pair is not None
    assert (pair.views == 0).all()
    assert scored(whole)["RMSE"] > 0.1


def test_what_is_said_of_neighbours_does_not_count():
    """Who comes last in a composite covered the others."""

    def spoilt(depth, row):
        first, last = (LEFT, RIGHT)[row]
        said = np.full(SIZE, 99.0)
        said[:, first:last] = depth[:, first:last]
        return said

    assert scored(answered(spoilt))["RMSE"] < 1e-5


def test_answers_find_their_people_in_any_order():
    seen = answered(lambda d, row: 2 * d + row)
    turned = replace(seen, people=seen.people[::-1])
    assert scored(turned) == scored(seen)


def test_who_was_not_found_is_not_covered():
    seen = answered(lambda d, row: d)
    alone = replace(seen, people=seen.people[1:])
    row = scored(alone)
    assert row["RMSE"] < 1e-5
    assert row["coverage"] == pytest.approx(25 / 45)


def test_maps_of_other_sizes_are_refused():
    seen = Sample(image=np.zeros((10, 10, 3), np.uint8), people=two().people[:1], name="a")
    with pytest.raises(InputError, match=r"a: depth of \(10, 10\), the truth is \(40, 60\)"):
        scored(seen)


def test_the_most_similar_go_together_first():
    similarity = np.array([[0.9, 0.8, 0.0], [0.7, 0.0, 0.0]])
    assert paired(similarity).tolist() == [0, -1, -1]
    assert paired(np.array([[0.6, 0.8], [0.7, 0.0]])).tolist() == [1, 0]
    assert paired(np.zeros((0, 2))).tolist() == [-1, -1]
