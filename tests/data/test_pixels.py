# SPDX-License-Identifier: Apache-2.0
"""Changes of pixels: each within its published range, and the published defects on demand only."""

import cv2
import numpy as np
import pytest

from vitruvian.data.augment import Photometric, PixelAugment
from vitruvian.data.augment.pixels import match_colours
from vitruvian.errors import InputError

STILL = {"brightness": 0, "contrast": (1, 1), "saturation": (1, 1), "hue": 0}


def photo(seed=0, size=(40, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def flat(*colour, size=(40, 30)):
    return np.full((*size, 3), colour, np.uint8)


def outcomes(change, picture, count=300):
    return [change(picture, np.random.default_rng(seed)) for seed in range(count)]


def hue(picture):
    return int(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[0, 0, 0])


def test_nothing_asked_nothing_done():
    picture = photo()
    assert PixelAugment()(picture, np.random.default_rng(0)) is picture
    assert Photometric(chance=0)(picture, np.random.default_rng(0)) is picture


def test_everything_keeps_shape_and_type_and_the_original():
    change = PixelAugment(
        photometric=Photometric(swap=0.5),
        down_up=0.5, box=0.5, median=0.5, gaussian=0.5, noise=0.5, jpeg=0.5, solarise=0.5, hole=0.5,
    )  # fmt: skip
    picture = photo()
    picture.flags.writeable = False
    found = outcomes(change, picture, 60)
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in found)
    again = outcomes(change, picture, 60)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))
    assert sum((one == picture).all() for one in found) < 5


def test_brightness():
    levels = [int(p[0, 0, 0]) for p in outcomes(
        Photometric(**STILL | {"brightness": 32}), flat(128, 128, 128)
    )]  # fmt: skip
    assert 0.4 < np.mean(np.array(levels) == 128) < 0.6
    assert min(levels) >= 96
    assert max(levels) <= 160
    assert len(set(levels)) > 30


def test_contrast_is_applied_once_or_as_published():
    doubled = STILL | {"contrast": (2, 2)}
    found = [int(p[0, 0, 0]) for p in outcomes(Photometric(**doubled), flat(10, 10, 10))]
    assert set(found) == {10, 20}
    assert 0.4 < np.mean(np.array(found) == 20) < 0.6
    paper = Photometric(**doubled, paper=True)
    found = [int(p[0, 0, 0]) for p in outcomes(paper, flat(10, 10, 10))]
    assert set(found) == {10, 40}
    assert 0.15 < np.mean(np.array(found) == 40) < 0.35


def test_hue_wraps_at_a_full_turn_or_as_published():
    red = flat(255, 20, 20)  # hue 0
    turns = [hue(p) for p in outcomes(Photometric(**STILL | {"hue": 18}), red)]
    away = [min(turn, 180 - turn) for turn in turns]
    assert max(away) <= 18
    assert sum(turn > 90 for turn in turns) > 40  # turned below 0
    wrong = [hue(p) for p in outcomes(Photometric(**STILL | {"hue": 18}, paper=True), red)]
    assert sum(50 < turn < 80 for turn in wrong) > 40  # 256 - 18 … 256, less 180
    assert {turn for turn in wrong if turn <= 18} == {turn for turn in turns if turn <= 18}


def test_saturation():
    found = outcomes(Photometric(**STILL | {"saturation": (0, 0)}), flat(200, 100, 50))
    greys = sum(np.ptp(p) == 0 for p in found)
    assert 100 < greys < 200


def test_channels_may_change_places():
    found = outcomes(Photometric(**STILL, swap=1.0), flat(1, 2, 3))
    assert {tuple(p[0, 0]) for p in found} == {
        (1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)
    }  # fmt: skip


def test_hole():
    for found in outcomes(PixelAugment(hole=1.0), flat(9, 9, 9, size=(100, 50)), 40):
        rows, columns = np.nonzero((found == 0).all(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 20 <= height <= 40
        assert 10 <= width <= 20
        assert len(rows) == height * width


def test_noise_has_the_stated_variance():
    (found,) = outcomes(
        PixelAugment(noise=1.0, noise_variance=(20, 20)), flat(128, 128, 128, size=(200, 200)), 1
    )
    assert abs(found.astype(float).var() - 20 - 1 / 12) < 0.5
    assert abs(found.mean() - 128) < 0.1


@pytest.mark.parametrize("part", ["box", "median", "gaussian", "down_up"])
def test_less_sharp(part):
    def detail(picture):
        return np.abs(np.diff(picture.astype(float), axis=1)).mean()

    (found,) = outcomes(PixelAugment(**{part: 1.0}), photo(), 1)
    assert detail(found) < detail(photo())


def test_compression():
    soft = cv2.GaussianBlur(photo(), (0, 0), 2)
    found = outcomes(PixelAugment(jpeg=1.0), soft, 5)
    errors = [np.abs(one.astype(float) - soft).mean() for one in found]
    assert min(errors) > 0.1
    assert max(errors) < 8
    assert len(set(errors)) > 1


def test_kernels_are_odd_and_in_range():
    rng = np.random.default_rng(0)
    sides = {PixelAugment()._kernel(rng) for _ in range(100)}
    assert sides == {3, 5, 7}


def test_solarise():
    (found,) = outcomes(PixelAugment(solarise=1.0), photo(), 1)
    picture = photo()
    assert (found == np.where(picture < 128, picture, 255 - picture)).all()


@pytest.mark.parametrize("wrong", [{"noise": 1.5}, {"kernel": (2, 5)}, {"hole": -1}])
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match=r"chance from 0 to 1|odd number"):
        PixelAugment(**wrong)


def test_colours_are_taken_over():
    rng = np.random.default_rng(0)
    person = np.clip(rng.normal((90, 110, 130), 12, (60, 50, 3)), 0, 255).astype(np.uint8)
    evening = np.clip(rng.normal((170, 120, 80), 20, (40, 70, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((60, 50), bool)
    mask[10:50, 5:40] = True
    found = match_colours(person, mask, evening)
    assert (found[~mask] == person[~mask]).all()

    def lab(pixels):
        return cv2.cvtColor(pixels.reshape(1, -1, 3), cv2.COLOR_RGB2LAB)[0].astype(float)

    inside, wanted = lab(found[mask]), lab(evening)
    np.testing.assert_allclose(inside.mean(axis=0), wanted.mean(axis=0), atol=1.5)
    np.testing.assert_allclose(inside.std(axis=0), wanted.std(axis=0), rtol=0.15)
    assert match_colours(person, np.zeros((60, 50), bool), evening) is person
