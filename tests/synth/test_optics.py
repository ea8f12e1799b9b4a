# SPDX-License-Identifier: Apache-2.0
"""Film, blur, noise and compression: each does what it says and nothing when left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.synth import optics
from vitruvian.synth.optics import Optics
from vitruvian.synth.patterns import to_linear


def scene(size=(60, 80), seed=0):
    rng = np.random.default_rng(seed)
    smooth = np.linspace(0.01, 0.6, size[1])[None, :, None] * np.ones((*size, 3))
    return (smooth * rng.uniform(0.7, 1.3, (*size, 3))).astype(np.float32)


def grey(value, size=(40, 50)):
    return np.full((*size, 3), value, np.float32)


def test_film_keeps_grey_and_order_and_never_clips_early():
    levels = [
        int(optics.expose(grey(v), 1.0, Optics())[0, 0, 0]) for v in (0, 0.05, 0.18, 0.5, 1, 2, 4)
    ]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] == 255
    assert 108 < levels[2] < 135, "metered grey is shown as middle grey"
    assert levels[4] < 240 < levels[5]


def test_exposure_and_stops_are_factors():
    one = optics.expose(grey(0.2), 1.0, Optics(exposure=1.0))
    two = optics.expose(grey(0.1), 4.0, Optics())
    assert np.array_equal(one, two)


@given(st.floats(0.0, 0.99))
def test_displayed_values_come_back_through_the_film(value):
    light = optics.display_to_scene(np.full((4, 4, 3), value, np.float32))
    shown = optics.expose(np.ascontiguousarray(light), 1.0, Optics())
    assert np.abs(to_linear(shown / 255.0) - value).max() < 0.012


def test_vignette_darkens_corners_only():
    seen = optics.expose(grey(0.3), 1.0, Optics(vignette=0.6)).astype(int)
    plain = optics.expose(grey(0.3), 1.0, Optics()).astype(int)
    assert abs(seen[20, 25, 0] - plain[20, 25, 0]) <= 1
    assert plain[0, 0, 0] - seen[0, 0, 0] > 20


def test_tint_and_contrast():
    seen = optics.expose(grey(0.2), 1.0, Optics(tint=(1.2, 1.0, 0.8)))[0, 0].astype(int)
    assert seen[0] > seen[1] > seen[2]
    dark, bright = (
        [int(optics.expose(grey(v), 1.0, Optics(contrast=c))[0, 0, 0]) for c in (0.7, 1.3)]
        for v in (0.05, 0.5)
    )
    assert dark[0] > dark[1]
    assert bright[0] < bright[1]


@pytest.mark.parametrize("radius", [0.5, 1.5, 4.0, 12.0])
def test_blur_keeps_light_and_spreads_it_by_its_radius(radius):
    point = np.zeros((121, 121, 3), np.float32)
    point[60, 60] = 1000
    seen = optics.blurred(point, radius)
    np.testing.assert_allclose(seen.sum(axis=(0, 1)), 1000, rtol=0.02)
    y, x = np.mgrid[:121, :121] - 60
    spread = np.sqrt((seen[..., 0] * (x * x + y * y)).sum() / seen[..., 0].sum())
    wanted = radius * np.sqrt(2) if radius < 0.8 else radius / np.sqrt(2)
    assert spread == pytest.approx(wanted, rel=0.45, abs=0.35)
    np.testing.assert_allclose(optics.blurred(grey(0.3), radius), 0.3, rtol=1e-4)


def test_motion_blurs_along_its_direction():
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 3
    seen = optics.expose(point, 1.0, Optics(motion=9, motion_angle=0.0))[..., 0]
    assert (seen[20] > 0).sum() >= 9
    assert (seen[:, 20] > 0).sum() <= 3


def test_defocus_softens_the_picture():
    sharp = optics.expose(scene(), 1.0, Optics()).astype(float)
    soft = optics.expose(scene(), 1.0, Optics(defocus=2.0)).astype(float)
    assert np.abs(np.diff(soft, axis=0)).mean() < 0.4 * np.abs(np.diff(sharp, axis=0)).mean()


def test_noise_has_its_deviation_and_grows_with_light():
    picture = np.full((200, 200, 3), 118, np.uint8)
    rng = np.random.default_rng(0)
    seen = optics.finish(picture, Optics(noise=6.0), rng).astype(float)
    assert seen.mean() == pytest.approx(118, abs=0.5)
    assert seen.std() == pytest.approx(6, rel=0.25)
    dark = optics.finish(picture // 4, Optics(noise=6.0), rng).astype(float)
    assert dark.std() < 0.7 * seen.std()
    night = optics.finish(picture * 0, Optics(noise=6.0), rng)
    assert night.max() == 0
    again = optics.finish(picture, Optics(noise=6.0), np.random.default_rng(0))
    assert np.array_equal(again, seen.astype(np.uint8))


def test_grey_fringes_and_compression():
    picture = optics.expose(scene(), 1.0, Optics())
    rng = np.random.default_rng(0)
    seen = optics.finish(picture, Optics(grey=True), rng)
    assert (seen[..., 0] == seen[..., 1]).all()
    assert (seen[..., 1] == seen[..., 2]).all()
    fringed = optics.finish(picture, Optics(fringe=2.0), rng)
    assert np.array_equal(fringed[..., 1], picture[..., 1])
    assert not np.array_equal(fringed[..., 0], picture[..., 0])
    errors = [
        np.abs(optics.finish(picture, Optics(jpeg=q), rng).astype(int) - picture).mean()
        for q in (20, 60, 98)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert np.array_equal(optics.finish(picture, Optics(), rng), picture)


def test_impossible_optics_are_refused():
    for wrong, text in (
        ({"noise": -1}, "noise"),
        ({"jpeg": 101}, "JPEG"),
        ({"tint": (0, 1, 1)}, "positive"),
    ):
        with pytest.raises(InputError, match=text):
            Optics(**wrong)
