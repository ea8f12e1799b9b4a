# SPDX-License-Identifier: Apache-2.0
"""What surfaces and patterns give in bulk: shapes, ranges, determinism, and detail that fades."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.synth import noise, patterns, surfaces
from vitruvian.synth.patterns import Texture

RED, BLUE, GREY = (0.6, 0.1, 0.1), (0.1, 0.1, 0.6), (0.3, 0.3, 0.3)
COUNT = 4000
IMAGE = np.random.default_rng(3).integers(0, 256, (32, 48, 3), dtype=np.uint8)
MASK = np.zeros((64, 64), np.uint8)
MASK[16:32, 16:48] = 255
PATTERNS = (
    patterns.Plain(colour=RED),
    patterns.Stripes(colours=(RED, BLUE), period=0.05, share=0.3),
    patterns.Checks(colours=(RED, BLUE), period=0.05),
    patterns.Dots(colours=(RED, BLUE), spacing=0.05),
    patterns.Blotches(colours=(RED, BLUE, GREY), size=0.1),
    patterns.Ramp(colours=(RED, BLUE), start=0.2, end=0.8),
    patterns.Threads(colours=(RED, BLUE), size=0.002),
    patterns.Bricks(colours=(RED, BLUE, GREY), width=0.2, height=0.1),
    patterns.Picture(texture=Texture(image=IMAGE), width=0.3),
)
SURFACES = (
    surfaces.Skin(
        tone=(0.4, 0.25, 0.18), paints=(surfaces.Paint(mask=MASK, colour=RED, strand=1e-3),)
    ),
    *(surfaces.Cloth(pattern=pattern) for pattern in PATTERNS),
    surfaces.Cloth(pattern=PATTERNS[1], coordinates="uv", weave=0.003),
    surfaces.Hair(colour=(0.05, 0.03, 0.02)),
    surfaces.Eye(centre=(0.5, 0.5, 0.5), iris=BLUE),
    surfaces.Solid(colour=GREY, mottle=0.3, grain=1.0),
    surfaces.Solid(colour=GREY, metal=True, roughness=0.2),
    surfaces.Glass(),
    surfaces.Textured(texture=Texture(image=IMAGE)),
    surfaces.Painted(),
)


def places(seed=0, footprint=1e-4, count=COUNT):
    rng = np.random.default_rng(seed)
    facing = rng.normal(size=(3, count)).astype(np.float32)
    return surfaces.Places(
        canonical=rng.random((3, count), dtype=np.float32),
        facing=facing / np.linalg.norm(facing, axis=0),
        uv=rng.random((2, count), dtype=np.float32),
        footprint=footprint,
    )


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: type(surface).__name__)
def test_every_surface_answers_in_bulk_and_alike_each_time(surface):
    given_places = places()
    before = given_places.canonical.copy()
    material = surfaces.evaluate(surface, given_places)
    again = surfaces.evaluate(surface, given_places)
    assert material.albedo.shape == (3, COUNT)
    assert material.albedo.dtype == np.float32
    assert np.isfinite(material.albedo).all()
    assert material.albedo.min() >= 0
    assert material.albedo.max() <= 1
    assert np.array_equal(material.albedo, again.albedo)
    assert np.array_equal(given_places.canonical, before), "the places were changed"
    assert 0 < material.roughness <= 1
    if material.relief is not None:
        assert material.relief.shape == (3, COUNT)
        assert material.relief.dtype == np.float32


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: type(surface).__name__)
def test_places_do_not_depend_on_their_company(surface):
    whole = surfaces.evaluate(surface, places()).albedo
    some = places()
    part = surfaces.Places(
        canonical=np.ascontiguousarray(some.canonical[:, 100:200]),
        facing=np.ascontiguousarray(some.facing[:, 100:200]),
        uv=np.ascontiguousarray(some.uv[:, 100:200]),
        footprint=some.footprint,
    )
    np.testing.assert_allclose(
        surfaces.evaluate(surface, part).albedo, whole[:, 100:200], atol=2e-3
    )


@pytest.mark.parametrize("pattern", PATTERNS[1:4], ids=lambda pattern: type(pattern).__name__)
def test_detail_below_a_pixel_fades_to_its_mean(pattern):
    rng = np.random.default_rng(1)
    plane = rng.random((2, 50_000), dtype=np.float32)
    points = np.concatenate([plane, plane[:1] * 0])
    near = patterns.evaluate(pattern, plane, points, 1e-4)
    far = patterns.evaluate(pattern, plane, points, 0.2)
    assert far.std(axis=1).max() < 0.02 < near.std(axis=1).max()
    np.testing.assert_allclose(far.mean(axis=1), near.mean(axis=1), atol=0.01)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: type(pattern).__name__)
def test_the_mean_of_a_pattern_is_that_of_many_places(pattern):
    rng = np.random.default_rng(4)
    points = rng.random((3, 40_000), dtype=np.float32) * 3
    seen = patterns.evaluate(pattern, points[:2], points, 1e-4).mean(axis=1)
    if isinstance(pattern, patterns.Ramp):  # beyond its ends it goes on
        inside = (points[1] > pattern.start) & (points[1] < pattern.end)
        seen = patterns.evaluate(pattern, points[:2, inside], points[:, inside], 1e-4).mean(axis=1)
    np.testing.assert_allclose(patterns.mean(pattern), seen, atol=0.01)


def test_stripes_lie_as_their_angle_says():
    level = np.stack([np.linspace(0, 1, 500), np.full(500, 0.31)]).astype(np.float32)
    stripes = patterns.Stripes(colours=(RED, BLUE), period=0.1)
    turned = patterns.Stripes(colours=(RED, BLUE), period=0.1, angle=np.pi / 2)
    points = np.zeros((3, 500), np.float32)
    assert patterns.evaluate(stripes, level, points, 1e-4).std() == pytest.approx(
        patterns.evaluate(stripes, level[:, :1], points[:, :1], 1e-4).std(), abs=1e-6
    )
    assert patterns.evaluate(turned, level, points, 1e-4)[0].std() > 0.2


def test_texture_lookup_is_that_of_the_picture():
    rows, columns = IMAGE.shape[:2]
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    u = ((x + 0.5) / columns).astype(np.float32)
    v = (1 - (y + 0.5) / rows).astype(np.float32)
    seen = patterns.sample(Texture(image=IMAGE), u, v, 1 / columns)
    wanted = patterns.to_linear(IMAGE.reshape(-1, 3).T / 255.0)
    np.testing.assert_allclose(seen, wanted, atol=1e-3)
    again = patterns.sample(Texture(image=IMAGE), u + 3, v - 2, 1 / columns)
    np.testing.assert_allclose(again, wanted, atol=1e-2)
    coarse = patterns.sample(Texture(image=IMAGE), u, v, 1.0)
    assert coarse.std(axis=1).max() < 0.02


def test_a_picture_pattern_has_no_seam():
    texture = Texture(image=IMAGE)
    edge = np.array([1 - 1e-5, 1 + 1e-5, -1e-5, 1e-5], np.float32)
    seen = patterns.sample(texture, edge, edge * 0 + 0.4, 1e-3, mirrored=True)
    np.testing.assert_allclose(seen[:, 0], seen[:, 1], atol=1e-3)
    np.testing.assert_allclose(seen[:, 2], seen[:, 3], atol=1e-3)


def test_paint_lies_where_its_mask_is():
    bare = surfaces.Skin(tone=(0.4, 0.3, 0.2), mottle=0.0, pores=0.0)
    paint = surfaces.Paint(mask=MASK, colour=(0.0, 0.0, 0.0), opacity=0.5)
    lips = surfaces.Paint(mask=MASK, colour=(1.0, 0.5, 0.5), tints=True)
    spot = places()
    inside = (
        (spot.uv[0] > 18 / 64)
        & (spot.uv[0] < 46 / 64)
        & (spot.uv[1] < 1 - 18 / 64)
        & (spot.uv[1] > 1 - 30 / 64)
    )
    outside = (spot.uv[0] < 14 / 64) | (spot.uv[1] < 0.45)
    plain = surfaces.evaluate(bare, spot).albedo
    half = surfaces.evaluate(
        surfaces.Skin(tone=bare.tone, mottle=0.0, pores=0.0, paints=(paint,)), spot
    ).albedo
    np.testing.assert_allclose(half[:, inside], plain[:, inside] / 2, rtol=1e-5)
    np.testing.assert_allclose(half[:, outside], plain[:, outside])
    tinted = surfaces.evaluate(
        surfaces.Skin(tone=bare.tone, mottle=0.0, pores=0.0, paints=(lips,)), spot
    ).albedo
    np.testing.assert_allclose(tinted[0, inside], plain[0, inside], rtol=1e-5)
    np.testing.assert_allclose(tinted[1, inside], plain[1, inside] / 2, rtol=1e-5)


def test_a_window_is_the_same_as_a_larger_mask():
    whole = surfaces.Paint(mask=MASK, colour=(0.0, 0.0, 0.0))
    cut = surfaces.Paint(
        mask=np.ascontiguousarray(MASK[8:40, 8:56]),
        colour=(0.0, 0.0, 0.0),
        window=(8 / 64, 1 - 40 / 64, 56 / 64, 1 - 8 / 64),
    )
    both = [
        surfaces.evaluate(surfaces.Skin(tone=(0.4, 0.3, 0.2), paints=(paint,)), places()).albedo
        for paint in (whole, cut)
    ]
    np.testing.assert_allclose(*both, atol=1e-5)


def test_an_eye_has_pupil_iris_and_white():
    angles = np.array([0.0, 0.1, 0.2, 0.33, 0.8, 1.2])
    directions = np.stack([np.sin(angles), np.zeros(6), np.cos(angles)])
    spots = surfaces.Places(
        canonical=(directions * 0.012 + [[0.03], [1.6], [0.1]]).astype(np.float32),
        facing=directions.astype(np.float32),
        uv=np.zeros((2, 6), np.float32),
        footprint=1e-4,
    )
    eye = surfaces.Eye(centre=(0.03, 1.6, 0.1), iris=(0.05, 0.1, 0.4))
    albedo = surfaces.evaluate(eye, spots).albedo
    assert (albedo[:, :2] < 0.01).all()
    assert (albedo[2, 2:4] > 2 * albedo[0, 2:4]).all()
    assert (albedo[:, 4:] > 0.4).all()


def test_masks_and_textures_say_what_they_need():
    with pytest.raises(InputError, match="uint8 mask"):
        surfaces.Paint(mask=np.zeros((4, 4)), colour=RED)
    with pytest.raises(InputError, match="uint8 sRGB"):
        Texture(image=np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="window"):
        surfaces.Paint(mask=MASK, colour=RED, window=(0.5, 0, 0.5, 1))


@given(st.integers(0, 2**31), st.floats(0.1, 500))
def test_noise_is_uniform_smooth_and_repeatable(seed, frequency):
    points = np.random.default_rng(seed % 1000).random((3, 3000), dtype=np.float32) * 50
    for field in (noise.smooth, noise.fractal):
        values = field(points, frequency, seed=seed)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1
        assert np.array_equal(values, field(points, frequency, seed=seed))
        moved = field(points + np.float32(1e-3 / frequency), frequency, seed=seed)
        assert np.abs(moved - values).max() < 0.1
    wide = noise.fractal(points * np.float32(20 / frequency), frequency, seed=seed)
    assert abs(float((wide < 0.3).mean()) - 0.3) < 0.08
