# SPDX-License-Identifier: Apache-2.0
"""Invented backgrounds: the person stays, all else goes, and equal randomness gives equal ones."""

import numpy as np
import pytest

from vitruvian.data.augment import Clutter, PoseAugment
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import Person, Raster, Sample

SIZE = (96, 72)


def somebody(box=(20, 20, 50, 80)):
    mask = np.zeros((100, 90), np.float32)
    mask[20:81, 20:51] = 1
    return Person(box=box, annotations={"mask": Raster(law="scalar", values=mask, kind="mask")})


def test_the_person_stays_and_the_rest_goes():
    window = np.full((100, 90, 3), 77, np.uint8)
    crop = Crop.whole((100, 90))
    found = Clutter(chance=1.0)(window, somebody(), crop, np.random.default_rng(0))
    inside = np.s_[22:79, 22:49]
    assert (found[inside] == 77).all()
    outside = np.ones((100, 90), bool)
    outside[18:83, 18:53] = False
    assert (found[outside] != 77).any(axis=1).mean() > 0.9
    assert (window == 77).all()


def test_chance_and_unknown_outlines_leave_the_window():
    window = np.full((100, 90, 3), 77, np.uint8)
    crop = Crop.whole((100, 90))
    nobody = Person(box=[20, 20, 50, 80])
    for clutter, person in ((Clutter(chance=0.0), somebody()), (Clutter(chance=1.0), nobody)):
        found = clutter(window, person, crop, np.random.default_rng(0))
        np.testing.assert_array_equal(found, window)


def test_pictures_depend_on_the_randomness_alone_and_have_edges_of_all_scales():
    clutter = Clutter(shapes=(100, 150))
    first, again, other = (clutter.picture(SIZE, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (*SIZE, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    spread = [clutter.picture(SIZE, np.random.default_rng(s)).std() for s in range(20)]
    assert np.median(spread) > 15


def test_windows_of_people_too_small_are_drawn_again():
    picture = np.zeros((100, 90, 3), np.uint8)
    augment = PoseAugment(size=SIZE, smallest=24.0, clutter=Clutter(chance=1.0))
    seen = augment(Sample(image=picture, people=(somebody(),)), np.random.default_rng(0))
    assert seen is not None
    assert seen.image.std() > 0
    for box in ((20, 20, 40, 40), (0, 10, 0, 90)):
        sliver = Sample(image=picture, people=(somebody(box),))
        assert augment(sliver, np.random.default_rng(0)) is None


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="chance from 0 to 1"):
        Clutter(chance=2)
    with pytest.raises(InputError, match="shapes go from a positive number"):
        Clutter(shapes=(0, 5))
