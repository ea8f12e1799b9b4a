# SPDX-License-Identifier: Apache-2.0
"""Things in front of people: labels end where they begin, and nowhere else."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torso import PARTS, SIZE, somebody

from vitruvian.data.augment import Clutter, Gloves, Occluders, PoseAugment
from vitruvian.data.augment.occluders import hidden
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import OCCLUDED, VISIBLE, Sample


@given(
    turn=st.floats(-180, 180),
    mirror=st.booleans(),
    origin=st.sampled_from([(0, 0), (7, 11)]),
    seed=st.integers(0, 50),
)
def test_labels_end_where_the_mask_begins(turn, mirror, origin, seed):
    """Whatever the window, maps seen through it are empty behind the mask and as before elsewhere.

    Both ways through an affine map end at the nearest pixel, so pixels at the mask's edge are free.
    """
    crop = Crop.from_box([10, 10, 60, 90], (64, 48), rotation=np.deg2rad(turn))
    crop = crop.mirrored() if mirror else crop
    mask = np.zeros(crop.size, bool)
    y, x = np.random.default_rng(seed).integers(4, 30, 2)
    mask[y : y + 20, x : x + 14] = True
    deep = np.zeros_like(mask)
    deep[y + 3 : y + 17, x + 3 : x + 11] = True
    far = np.ones_like(mask)
    far[y - 3 : y + 23, x - 3 : x + 17] = False
    person = somebody(origin)
    after, before = (p.warped(crop) for p in (hidden(person, mask, crop), person))
    assert (after.raster("parts").values[deep] == PARTS.background).all()
    assert not after.raster("depth").mask[deep].any()
    assert after.raster("mask").values[deep].max(initial=0) == 0
    for name in ("parts", "depth", "mask"):
        np.testing.assert_array_equal(
            after.raster(name).values[far], before.raster(name).values[far]
        )
        np.testing.assert_array_equal(after.raster(name).mask[far], before.raster(name).mask[far])
    places = np.rint(before.points().xy).astype(int)
    for (column, row), state in zip(places, after.points().visibility, strict=True):
        inside = 0 <= row < 64 and 0 <= column < 48 and mask[row, column]
        assert state == (OCCLUDED if inside else VISIBLE)
    np.testing.assert_array_equal(after.points().xy, before.points().xy)


@pytest.mark.parametrize("rods", [0.0, 1.0])
def test_pixels_change_where_labels_end_and_nowhere_else(rods):
    window = np.full((*SIZE, 3), 77, np.uint8)
    crop, person = Crop.whole(SIZE), somebody()
    occluders = Occluders(chance=1.0, rods=rods, look=Clutter(alike=0.0))
    lost_of_all = wrong_of_all = 0
    for seed in range(30):
        seen, behind = occluders(window, person, crop, SIZE, np.random.default_rng(seed))
        lost = person.raster("depth").mask & ~behind.raster("depth").mask
        changed = (seen != 77).any(axis=2)
        # Half of an antialiased edge keeps its label; what is laid there may be the same grey.
        inner = cv2.erode((behind.raster("depth").mask).astype(np.uint8), np.ones((5, 5))) > 0
        assert not (changed & inner).any()
        lost_of_all += lost.sum()
        wrong_of_all += (lost & ~changed).sum()
    assert lost_of_all > 500
    assert wrong_of_all < 0.02 * lost_of_all


def test_nothing_is_laid_beyond_the_photograph():
    crop = Crop.from_box([20, 20, 80, 120], SIZE)  # reaches below the photograph
    beyond = crop.to_image([[45, 99], [45, 0]])[:, 1] > 100
    assert list(beyond) == [True, False]
    window = np.full((*SIZE, 3), 77, np.uint8)
    many = Occluders(chance=1.0, count=(40, 40), rods=0.0)
    seen, _ = many(window, somebody(), crop, SIZE, np.random.default_rng(0))
    assert (seen[-8:] == 77).all()
    assert (seen[:70] != 77).mean() > 0.3


def test_windows_come_with_both_or_neither():
    picture = np.full((*SIZE, 3), 77, np.uint8)
    sample = Sample(image=picture, people=(somebody(),))
    for chance in (0.0, 1.0):
        augment = PoseAugment(
            size=SIZE,
            occluders=Occluders(chance=chance, count=(9, 9)),
            gloves=Gloves(chance=chance),
            fill=(77.0, 77.0, 77.0),
        )
        seen = augment(sample, np.random.default_rng(3))
        assert seen is not None
        assert (seen.image != 77).any() == bool(chance)
        same = seen.person.raster("depth").mask.sum() == somebody().raster("depth").mask.sum()
        assert same != bool(chance)


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="rods is a chance"):
        Occluders(rods=2)
    with pytest.raises(InputError, match="count go from a positive number"):
        Occluders(count=(0, 5))
    with pytest.raises(InputError, match="sizes go from a positive number"):
        Occluders(sizes=(0.5, 0.1))
