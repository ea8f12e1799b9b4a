# SPDX-License-Identifier: Apache-2.0
"""Light and shading against what can be computed by hand: white furnaces, known shadows, suns."""

from dataclasses import replace

import numpy as np
import pytest

from synth_shapes import label_of, look, mannequin, quad, sphere
from vitruvian.synth import gathered, gbuffer, irradiance, light, shade, surfaces
from vitruvian.synth.irradiance import Quality, Received
from vitruvian.synth.light import Light
from vitruvian.synth.patterns import Plain

pytest.importorskip("embreex")

WHITE = Light(environment=np.ones((16, 32, 3), np.float32))
DARK = Light(environment=np.zeros((16, 32, 3), np.float32), sun=(0, 1, 0), sun_colour=(np.pi,) * 3)
CAMERA = look((0.3, 1.0, 2.0), (0, 0, 0), size=(96, 128))


FEW = Quality(rays=4, tile=4)


def lit(meshes, lamp, camera=CAMERA, quality=FEW, *, smooth=True):
    geometry = gathered.gather(meshes)
    buffer = gbuffer.trace(geometry, camera)
    lamps = light.prepare(lamp)
    hits = buffer.hits
    tile = irradiance.tile_numbers(hits.ray, camera.size[1], quality.tile)
    received = irradiance.receive(
        geometry.intersector,
        lamps,
        hits.position,
        hits.normal,
        hits.plane,
        irradiance.clearances(hits, ()),
        tile,
        quality,
        (0.1, 0.7),
    )
    if smooth:
        received = irradiance.smooth(buffer, received, quality.tile, sun=lamp.sun_radius > 0.02)
    return geometry, buffer, lamps, received


FLOOR = quad((-5, 0, 5), (10, 0, 0), (0, 0, -10))


def test_an_open_place_under_an_even_sky_receives_all_of_it():
    _, buffer, _, received = lit([FLOOR], WHITE)
    np.testing.assert_allclose(received.sky, 1, atol=1e-3)
    np.testing.assert_allclose(received.open, 1, atol=1e-6)
    assert (received.sun == 0).all()
    assert len(buffer.hits) > 1000


def test_the_foot_of_a_wall_sees_half_the_sky():
    wall = quad((-5, 0, -0.5), (10, 0, 0), (0, 1, 0))
    _, buffer, _, received = lit([FLOOR, wall], WHITE, quality=Quality(rays=8, tile=8))
    x, y, z = buffer.hits.position + np.array([[0], [0.5], [0]])  # of the geometry's centre
    foot = (y < 0.01) & (z < -0.4) & (np.abs(x) < 2)
    assert foot.sum() > 50
    assert received.open[foot].mean() == pytest.approx(0.55, abs=0.06)
    far = (y < 0.01) & (z > 1.0)
    assert received.open[far].min() > 0.88


def test_the_sun_shines_where_nothing_is_in_its_way():
    ball = sphere(0.3, (0, 0.8, 0), rows=48)
    geometry, buffer, _, received = lit([FLOOR, ball], DARK)
    position = buffer.hits.position + geometry.centre[:, None]
    floor = position[1] < 1e-3
    distance = np.hypot(position[0], position[2])
    assert (received.sun[floor & (distance < 0.27)] == 0).all()
    assert (received.sun[floor & (distance > 0.33)] == 1).all()
    assert (received.sun[~floor & (position[1] < 0.75)] == 0).all(), "under the ball is night"
    soft = replace(DARK, sun_radius=0.3)
    _, _, _, blurred = lit([FLOOR, ball], soft, quality=Quality(rays=1, tile=8))
    edge = floor & (np.abs(distance - 0.3) < 0.05)
    assert 0.2 < blurred.sun[edge].mean() < 0.8
    assert (blurred.sun[floor & (distance > 1.1)] > 0.99).all()


def test_smoothing_stops_at_edges():
    people = mannequin(rows=24)
    camera = look((0.4, 1.3, 3.0), (0, 0.9, 0), size=(128, 96))
    _, buffer, _, _ = lit(people, WHITE, camera)
    hits = buffer.hits
    # light that differs by limb: after smoothing no limb has taken from another
    number = (hits.surface * 7 + hits.instance).astype(np.float32)
    received = Received(sky=np.stack([number] * 3), open=number, sun=number)
    for sun in (True, False):
        smoothed = irradiance.smooth(buffer, received, 8, sun=sun)
        np.testing.assert_allclose(smoothed.sky, received.sky, rtol=1e-5)
        np.testing.assert_allclose(smoothed.sun, received.sun, rtol=1e-5)


def test_light_is_scattered_between_strands_but_not_beyond_hair():
    rng = np.random.default_rng(0)
    sheets = [
        quad((x, -0.5, rng.uniform(-0.02, 0.02)), (0.01, 0, 0), (0, 1, 0), surface=1)
        for x in np.arange(-0.4, 0, 0.01)
    ]
    wall = quad((0, -0.5, 0), (0.4, 0, 0), (0, 1, 0))
    camera = look((0, 0, 2), (0, 0, 0), size=(96, 96))
    _, buffer, _, _ = lit([*sheets, wall], WHITE, camera, smooth=False)
    hits = buffer.hits
    sun = rng.integers(0, 2, len(hits)).astype(np.float32)
    received = Received(sky=np.stack([sun] * 3), open=sun, sun=sun)
    seen = irradiance.smooth(buffer, received, 4, sun=False, hair=[1])
    hair = hits.surface == 1
    assert seen.sun[hair].std() < 0.3 < sun[hair].std()
    assert np.array_equal(seen.sun[~hair], sun[~hair]), "a sharp sun stays sharp elsewhere"
    kept = irradiance.smooth(buffer, received, 4, sun=True)
    assert kept.sun[hair].std() > seen.sun[hair].std()
    deeper = irradiance.clearances(hits, [1])
    assert deeper[hair].min() > deeper[~hair].max()


def test_smoothing_removes_the_noise_of_few_rays():
    half = Light(environment=np.ones((16, 32, 3), np.float32))
    half.environment[:, :16] = 0
    ball = sphere(0.5, rows=48)
    camera = look((0, 0.5, 2.0), (0, 0, 0), size=(128, 128))
    noisy = lit([ball], half, camera, smooth=False)[3]
    smoothed = lit([ball], half, camera)[3]
    exact = lit([ball], half, camera, Quality(rays=64, tile=4))[3]
    error = [float(np.abs(one.sky - exact.sky).mean()) for one in (noisy, smoothed)]
    assert error[1] < 0.03 < error[0]


def test_tiles_number_each_direction_once():
    for tile in (4, 8):
        pixels = np.arange(64 * 40)
        numbers = irradiance.tile_numbers(pixels, 40, tile).reshape(64, 40)
        for shift in (0, 3):
            block = numbers[shift : shift + tile, shift : shift + tile]
            assert sorted(block.ravel()) == list(range(tile * tile))


def shaded(surface, lamp, *, camera=CAMERA, meshes=None):
    geometry, buffer, lamps, received = lit(meshes or [sphere(0.5, rows=64)], lamp, camera)
    return shade.shade(geometry, [surface], buffer.hits, received, lamps, camera), buffer, lamps


SURFACES = {
    "skin": surfaces.Skin(tone=(0.5, 0.3, 0.2)),
    "cloth": surfaces.Cloth(pattern=Plain(colour=(0.3, 0.4, 0.5)), sheen=0.5, weave=0.003),
    "hair": surfaces.Hair(colour=(0.1, 0.06, 0.03)),
    "eye": surfaces.Eye(centre=(0, 0, 0), iris=(0.1, 0.2, 0.3)),
    "teeth": surfaces.Solid(colour=(0.7, 0.65, 0.6), roughness=0.1),
    "metal": surfaces.Solid(colour=(0.9, 0.8, 0.5), roughness=0.2, metal=True),
    "glass": surfaces.Glass(),
    "painted": surfaces.Painted(),
}


@pytest.mark.parametrize("name", SURFACES)
def test_in_a_white_furnace_nothing_shines_brighter_than_the_furnace(name):
    """Conservation of energy: under an even sky of radiance 1 nothing returns more than 1."""
    seen, _, _ = shaded(SURFACES[name], WHITE)
    assert np.isfinite(seen.radiance).all()
    assert seen.radiance.min() >= 0
    assert seen.radiance.max() < 1.06
    assert seen.albedo.max() <= 1


def test_a_matt_ball_follows_lamberts_law():
    surface = surfaces.Solid(colour=(0.5, 0.5, 0.5), roughness=1.0)
    seen, buffer, lamps = shaded(surface, DARK)
    wanted = 0.5 * np.maximum(lamps.sun @ buffer.hits.normal, 0)
    lowered = np.abs(seen.radiance[0] - wanted)
    bright = wanted > 0.1
    assert np.quantile(lowered[bright], 0.9) < 0.06  # the rest is a faint gloss
    night = lamps.sun @ buffer.hits.plane < -0.05
    assert seen.radiance[:, night].max() < 1e-3


def test_skin_carries_red_light_around_the_edge():
    seen, buffer, lamps = shaded(surfaces.Skin(tone=(0.4, 0.4, 0.4), mottle=0.0, pores=0), DARK)
    height = lamps.sun @ buffer.hits.normal
    dusk = (height > -0.12) & (height < 0.02)
    red, green, blue = seen.radiance[:, dusk].mean(axis=1)
    assert red > 1.5 * green > 1.5 * blue


def test_smoother_things_have_smaller_brighter_highlights():
    sizes, peaks = [], []
    for roughness in (0.15, 0.4):
        black = surfaces.Solid(colour=(0.0, 0.0, 0.0), roughness=roughness)
        seen, _, _ = shaded(black, replace(DARK, sun=(0.0, 0.6, 0.8)))
        peak = seen.radiance[0].max()
        peaks.append(peak)
        sizes.append((seen.radiance[0] > peak / 2).mean())
    assert peaks[0] > 4 * peaks[1]
    assert sizes[0] < sizes[1] / 3


def test_hair_shines_across_its_strands():
    camera = look((0, 0, 3), (0, 0, 0), size=(64, 64))
    uv = np.array([[0, 0], [0.9, 0], [0.9, 1], [0, 1]], np.float32)
    strand = quad((-1, -1, 0), (2, 0, 0), (0, 2, 0), uv=uv)
    hair = surfaces.Hair(colour=(0.05, 0.03, 0.02), spread=0)
    level, along = (
        shaded(hair, replace(DARK, sun=sun), camera=camera, meshes=[strand])[0].radiance.max()
        for sun in ((0.0, 0.0, 1.0), (0.0, 0.9986, 0.0523))
    )
    assert level > 5 * along


def test_glass_lets_light_through_by_its_tint():
    pane = quad((-1, -1, 0), (2, 0, 0), (0, 2, 0), labels=label_of("Eyeglass"))
    glass = surfaces.Glass(tint=(0.5, 0.25, 0.125))
    camera = look((0, 0, 3), (0, 0, 0), size=(32, 32))
    _, buffer, _ = shaded(glass, WHITE, camera=camera, meshes=[pane])
    which = shade.glass([glass], buffer.hits)
    assert len(which) == len(buffer.hits)
    passed = shade.transmitted([glass], buffer.hits, which)
    np.testing.assert_allclose(passed.mean(axis=1), np.array([0.5, 0.25, 0.125]) * 0.96, rtol=0.02)
    assert len(shade.glass([SURFACES["skin"]], buffer.hits)) == 0
