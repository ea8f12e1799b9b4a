# SPDX-License-Identifier: Apache-2.0
"""Places and photographs: what they keep free, what cameras see of them, shadows, their light."""

from dataclasses import replace

import numpy as np
import pytest

from synth_shapes import look, mannequin
from vitruvian.errors import ImageError, InputError
from vitruvian.image import write
from vitruvian.synth import background, gathered, light, patterns, place, places
from vitruvian.synth.background import Photo
from vitruvian.synth.clearing import Clearing
from vitruvian.synth.light import Light
from vitruvian.synth.patterns import Plain
from vitruvian.synth.place import Finish, Place

pytest.importorskip("embreex")

SIZE = (96, 72)
CAMERA = look((0.5, 1.4, 3.2), (0, 0.9, 0), size=SIZE, field=50)
CLEARING = Clearing(
    low=np.array([-0.5, 0, -0.4]), high=np.array([0.5, 1.8, 0.4]), eyes=CAMERA.centre[None]
)
EVEN = Light(environment=np.ones((16, 32, 3), np.float32))


def invented(seed, kind=None, clearing=CLEARING):
    return places.make_place(np.random.default_rng(seed), clearing, kind=kind)


@pytest.mark.parametrize("kind", places.KINDS)
def test_invented_places_are_repeatable_and_not_dull(kind):
    pictures = []
    for seed in (1, 2, 3):
        lit = place.prepare(invented(seed, kind))
        seen = place.see_pixels(lit, CAMERA)
        again = place.see_pixels(place.prepare(invented(seed, kind)), CAMERA)
        assert np.array_equal(seen.radiance, again.radiance)
        assert np.isfinite(seen.radiance).all()
        assert seen.radiance.min() >= 0
        assert seen.radiance.mean() > 1e-4, "pitch dark"
        pictures.append(seen.radiance / seen.radiance.mean())
        if kind != "studio":
            assert pictures[-1].std() > 0.15, "nothing to see"
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.1, "two seeds look alike"


@pytest.mark.parametrize("kind", places.KINDS)
def test_nothing_stands_between_camera_and_people(kind):
    eyes = np.array([[0.5, 1.4, 3.2], [-2.5, 0.5, 1.0], [0.2, 2.4, -3.0]])
    clearing = replace(CLEARING, eyes=eyes)
    rng = np.random.default_rng(0)
    targets = rng.uniform(CLEARING.low + 0.05, CLEARING.high - 0.05, (60, 3))
    for seed in range(8):
        lit = place.prepare(invented(seed, kind, clearing))
        for eye in eyes:
            assert not background.hides(lit, eye, targets).any(), f"seed {seed} {eye}"


def test_cameras_agree_on_a_place():
    """The same world point is seen at the same depth and, being matt, in the same colour."""
    lit = place.prepare(invented(4, "room"))
    one = place.see_pixels(lit, CAMERA)
    other = look((-1.2, 1.1, 2.6), (0, 0.9, -0.5), size=SIZE, field=50)
    two = place.see_pixels(lit, other)
    y, x = np.divmod(np.arange(SIZE[0] * SIZE[1]), SIZE[1])
    world = CAMERA.lift(np.stack([x, y], 1), one.distance)
    xy, depth = other.project(world)
    with np.errstate(invalid="ignore"):
        inside = (xy > 1).all(1) & (xy[:, 0] < SIZE[1] - 2) & (xy[:, 1] < SIZE[0] - 2)
    pixel = np.rint(xy[inside]).astype(int)
    flat = pixel[:, 1] * SIZE[1] + pixel[:, 0]
    same = np.abs(two.distance[flat] - depth[inside]) < 0.02 * depth[inside]
    assert same.mean() > 0.7
    colours = one.radiance[:, inside][:, same], two.radiance[:, flat][:, same]
    assert np.median(np.abs(colours[0] - colours[1]) / colours[0].mean()) < 0.08


def floor_place(colour=(0.5, 0.5, 0.5), sky=EVEN, **properties):
    return Place(
        corners=np.array([[-20.0, 0, 20]]),
        edges=np.array([[[40.0, 0, 0], [0, 0, -40]]]),
        finish=np.array([0]),
        finishes=(Finish(pattern=Plain(colour=colour)),),
        sky=sky,
        balls=np.zeros((0, 4)),
        ball_finish=np.zeros(0, np.int64),
        **properties,
    )


def test_light_of_a_bare_floor_is_the_sky_times_its_colour():
    camera = look((0, 2, 3), (0, 0, 0), size=SIZE, field=30)
    seen = place.see_pixels(place.prepare(floor_place()), camera)
    np.testing.assert_allclose(seen.radiance, 0.5, rtol=0.02)
    sunny = replace(EVEN, sun=(0.0, 0.8, 0.6), sun_colour=(np.pi, 0.0, 0.0))
    seen = place.see_pixels(place.prepare(floor_place(sky=sunny)), camera)
    np.testing.assert_allclose(seen.radiance[0], 0.5 * 1.8, rtol=0.02)
    np.testing.assert_allclose(seen.radiance[1:], 0.5, rtol=0.02)


def test_a_lamp_lights_what_it_faces_by_the_square_of_the_distance():
    """A small bright ceiling panel: irradiance under it falls as the closed form says."""
    base = floor_place(sky=Light(environment=np.zeros((4, 8, 3), np.float32)))
    lamp = replace(
        base,
        corners=np.array([[-1.0, 0, 1.0], [-0.1, 2, -0.1]]),
        edges=np.array([[[2.0, 0, 0], [0, 0, -2.0]], [[0.2, 0, 0], [0, 0, 0.2]]]),
        finish=np.array([0, 1]),
        finishes=(
            Finish(pattern=Plain(colour=(1, 1, 1))),
            Finish(pattern=Plain(colour=(1, 1, 1)), emission=(100, 100, 100)),
        ),
    )
    lit = place.prepare(lamp)
    ways = np.array([[0.0, -1, 0], [0.7, -1.0, 0.7]], np.float32).T
    below, aside = place.see(lit, np.array([0.0, 1, 0.0]), ways, 1e-3).radiance[0]
    # E / π of a panel of area A and radiance L at height h: A L cos⁴ / (π h²), smoothed by texels
    assert below == pytest.approx(0.04 * 100 / np.pi / 4, rel=0.15)
    assert aside == pytest.approx(below * (4 / 4.98) ** 2, rel=0.15)


def test_light_at_a_point_comes_from_the_place():
    red = place.prepare(floor_place(colour=(0.9, 0.1, 0.1)))
    around = background.light_of(red, CAMERA, np.array([0, 1.0, 0])).environment
    half = around.shape[0] // 2
    assert around[half + 4 :, :, 0].mean() > 5 * around[half + 4 :, :, 1].mean()
    np.testing.assert_allclose(around[: half - 1], 1, rtol=0.05)
    sunny = floor_place(sky=replace(EVEN, sun_colour=(2.0, 2.0, 2.0)))
    assert background.light_of(place.prepare(sunny), CAMERA, np.array([0, 1.0, 0])).sun_colour == (
        2.0, 2.0, 2.0,
    )  # fmt: skip


def backdrop_of(what, lamp, shrink=1):
    geometry = gathered.gather(mannequin(rows=12))
    lamps = light.prepare(lamp)
    plain = background.view(what, CAMERA, shrink=shrink)
    return plain, background.shadowed(plain, geometry, lamps, (0.2, 0.3))


@pytest.mark.parametrize("shrink", [1, 2])
def test_people_darken_the_floor_they_stand_on(shrink):
    lamp = replace(EVEN, sun=(-0.4, 0.9165, 0.0), sun_colour=(4.0, 4.0, 4.0))
    plain, dark = backdrop_of(place.prepare(floor_place(sky=lamp)), lamp, shrink)
    ratio = (dark.radiance / plain.radiance)[0]
    y, x = np.divmod(np.arange(len(ratio)), plain.camera.size[1])
    with np.errstate(invalid="ignore"):
        world = plain.camera.lift(np.stack([x, y], 1), plain.floor)
    on_floor = np.isfinite(plain.floor)
    feet = on_floor & (np.hypot(world[:, 0], world[:, 2]) < 0.12)
    far = on_floor & (world[:, 0] < -1.0) & (world[:, 2] < 1)
    shade = on_floor & (np.abs(world[:, 2]) < 0.1) & (np.abs(world[:, 0] - 0.5) < 0.1)
    assert ratio[feet].mean() < 0.75
    assert ratio[far].min() > 0.9
    assert ratio[shade].mean() < 0.6, "the shadow of the chest, thrown by the sun"
    assert ratio.min() > 0
    assert ratio.max() <= 1 + 1e-6


def photo(**properties):
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (150, 200, 3), dtype=np.uint8)
    image[:50] = (120, 180, 250)
    return Photo(image=image, **properties)


def test_photographs_fill_the_picture():
    whole = photo().cut((150, 200))
    assert np.array_equal(whole, photo().image)
    tall = photo(shift=(0.0, 0.0)).cut((300, 100))
    assert tall.shape == (300, 100, 3)
    mirrored = photo(mirrored=True).cut((150, 200))
    assert np.array_equal(mirrored[:, ::-1], whole)
    zoomed = photo(zoom=2.0, shift=(1.0, 1.0)).cut((150, 200))
    assert np.abs(zoomed[-1, -1].astype(int) - whole[-1, -1]).max() <= 2
    seen = background.view(photo(), CAMERA)
    assert seen.displayed
    assert np.isinf(seen.depth).all()
    wanted = patterns.to_linear(photo().cut(SIZE).reshape(-1, 3).T / 255.0)
    np.testing.assert_allclose(seen.radiance, wanted, atol=1e-6)
    with pytest.raises(InputError, match="zoom"):
        photo(zoom=0.5)
    with pytest.raises(InputError, match="uint8"):
        Photo(image=np.zeros((4, 4), np.uint8))


def test_people_throw_shadows_on_photographs_with_a_floor():
    for floor in (True, False):
        plain, dark = backdrop_of(photo(floor=floor), EVEN)
        darker = (dark.radiance < plain.radiance * 0.95).any(axis=0)
        assert darker.any() == floor
        assert darker.mean() < 0.3


def test_light_is_guessed_from_photographs():
    bright_left = np.full((100, 100, 3), 60, np.uint8)
    bright_left[:, :30] = 255
    lamp = background.light_of(Photo(image=bright_left), CAMERA, np.zeros(3))
    toward = CAMERA.rotation @ np.array(lamp.sun)
    assert toward[0] < -0.3, "the sun is on the camera's left"
    assert lamp.sun[1] > 0.2, "and above"
    warm = Photo(image=np.full((50, 50, 3), (220, 150, 80), np.uint8))
    colour = background.light_of(warm, CAMERA, np.zeros(3)).environment.mean(axis=(0, 1))
    assert colour[0] > 1.5 * colour[1] > 2 * colour[2]


def test_folders_of_photographs(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        background.photographs(tmp_path / "none")
    with pytest.raises(InputError, match="no photograph"):
        background.photographs(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "b").mkdir()
    for name in ("z.png", "b/a.jpg"):
        write(tmp_path / name, photo().image)
    found = background.photographs(tmp_path)
    assert [file.name for file in found] == ["a.jpg", "z.png"]
    one = background.read_photo(found[1], np.random.default_rng(0))
    two = background.read_photo(found[1], np.random.default_rng(0))
    assert np.array_equal(one.cut(SIZE), two.cut(SIZE))
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError):
        background.read_photo(tmp_path / "broken.jpg", np.random.default_rng(0))
