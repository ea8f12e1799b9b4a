# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vitruvian.errors import InputError
from vitruvian.synth.body import load_body, shape_bodies
from vitruvian.synth.phenotype import sample_changes, sample_phenotype


def test_adults_unless_children_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    people = [sample_phenotype(rng) for _ in range(500)]
    assert min(person.age for person in people) >= 0.6
    assert 0.4 < np.mean([person.gender > 0.5 for person in people]) < 0.6
    some = [sample_phenotype(rng, children=0.3) for _ in range(500)]
    young = [person.age for person in some if person.age < 0.5]
    assert 0.2 < len(young) / 500 < 0.4
    assert max(young) < 0.5
    with pytest.raises(InputError, match="share of children is 2"):
        sample_phenotype(rng, children=2)


def test_heights_are_those_of_people() -> None:
    model, rng = load_body(), np.random.default_rng(1)
    people = [sample_phenotype(rng) for _ in range(160)]
    skin = model.group_vertices("skin")
    heights = np.ptp(shape_bodies(model, people).vertices[:, skin, 1], axis=1)
    men = np.array([person.gender < 0.5 for person in people])
    assert heights[men].mean() == pytest.approx(1.76, abs=0.04)
    assert heights[~men].mean() == pytest.approx(1.63, abs=0.04)
    assert 1.35 < heights.min() < heights.max() < 2.1


def test_changes_are_known_mild_and_nearly_the_same_on_both_sides() -> None:
    model = load_body()
    drawn = sample_changes(np.random.default_rng(2), model)
    assert len(drawn) > 30
    assert set(drawn) <= set(model.changes)
    assert max(map(abs, drawn.values())) <= 0.7
    sides = [k.removeprefix("left-") for k in drawn if k.startswith("left-")]
    assert sides
    for stem in sides:
        assert abs(drawn[f"left-{stem}"] - drawn[f"right-{stem}"]) < 0.4
    assert drawn == sample_changes(np.random.default_rng(2), model)
