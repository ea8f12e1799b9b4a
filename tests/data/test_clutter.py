# SPDX-License-Identifier: Apache-2.0
"""Other backgrounds: the person stays, all else goes, and equal randomness gives equal ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian import image
from vitruvian.data.augment import Backgrounds, Clutter, PoseAugment
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
    found = Clutter(chance=1.0)(window, (somebody(),), crop, (100, 90), np.random.default_rng(0))
    inside = np.s_[22:79, 22:49]
    assert (found[inside] == 77).all()
    outside = np.ones((100, 90), bool)
    outside[18:83, 18:53] = False
    assert (found[outside] != 77).any(axis=1).mean() > 0.9
    assert (window == 77).all()


def test_everybody_given_stays():
    window = np.full((100, 90, 3), 77, np.uint8)
    crop, lay = Crop.whole((100, 90)), Clutter(chance=1.0)
    other = np.zeros((100, 90), np.float32)
    other[5:95, 60:80] = 1
    raster = Raster(law="scalar", values=other, kind="mask")
    beside = Person(box=(60, 5, 79, 94), annotations={"mask": raster})
    both = lay(window, (somebody(), beside), crop, (100, 90), np.random.default_rng(0))
    assert (both[22:79, 22:49] == 77).all()
    assert (both[7:93, 62:78] == 77).all()
    nobody = lay(window, (), crop, (100, 90), np.random.default_rng(0))
    assert (nobody != 77).any(axis=2).mean() > 0.9
    unknown = Person(box=(0, 0, 9, 9))
    kept = lay(window, (somebody(), unknown), crop, (100, 90), np.random.default_rng(0))
    assert kept is window


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two photographs: red grows to the right, green downwards, nothing is dark."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, (height, width) in (("a.png", (60, 90)), ("b.png", (400, 300))):
        picture = np.full((height, width, 3), 60, np.uint8)
        picture[..., 0] = np.linspace(60, 250, width)
        picture[..., 1] = np.linspace(60, 250, height)[:, None]
        image.write(folder / name, picture)
    return Backgrounds(folder)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(2, 150), width=st.integers(2, 150), seed=st.integers(0, 2**32 - 1))
def test_a_part_of_a_photograph_fills_the_window(photographs, height, width, seed):
    rng = np.random.default_rng(seed)
    part = photographs.part((height, width), rng)
    assert part.shape == (height, width, 3)
    assert part.min() >= 59  # nothing from beyond the photograph
    assert abs(int(part[0, 0, 2]) - 60) <= 1
    red, green = part[0, :, 0].astype(int), part[:, 0, 1].astype(int)
    assert (np.diff(green) >= -1).all()  # upright
    assert (np.diff(red) >= -1).all() or (np.diff(red) <= 1).all()
    # as much of the photograph in either direction as its shape and the window's allow
    shown = (abs(int(red[-1]) - red[0]) / 190, abs(int(green[-1]) - green[0]) / 190)
    assert max(shown) >= 0.5 - 4 / min(height, width) - 0.03


def test_photographs_are_laid_as_often_as_asked(photographs):
    window = np.full((100, 90, 3), 77, np.uint8)
    crop = Crop.whole((100, 90))
    lay = Clutter(chance=1.0, alike=0.0, photographs=photographs, photographed=1.0)
    smooth = Clutter(chance=1.0, alike=0.0, photographs=photographs, photographed=0.5)
    found = [
        lay(window, (somebody(),), crop, (100, 90), np.random.default_rng(i)) for i in range(9)
    ]
    for picture in found:
        assert (picture[22:79, 22:49] == 77).all()
        rough = np.abs(np.diff(picture[:, 60:].astype(int), axis=0)).max()
        assert rough < 25, "a photograph without edges gives a background without them"
    assert len({picture.tobytes() for picture in found}) == 9
    edges = [
        np.abs(
            np.diff(smooth.picture((100, 90), np.random.default_rng(i)).astype(int), axis=0)
        ).max()
        for i in range(100)
    ]
    assert 30 < np.sum(np.array(edges) < 25) < 80


def test_a_photograph_may_take_the_persons_colours(photographs):
    lay = Clutter(photographs=photographs, photographed=1.0)
    own = np.full((5, 3), (20, 40, 200), np.uint8)
    for seed in range(10):
        picture = lay.picture((80, 60), np.random.default_rng(seed), own)
        assert np.abs(picture.mean(axis=(0, 1)) - (20, 40, 200)).max() < 25


@pytest.mark.parametrize("size", [(2, 2), (3, 15), (19, 6)])
def test_small_pieces_can_be_drawn(size):
    for seed in range(20):
        assert Clutter().picture(size, np.random.default_rng(seed)).shape == (*size, 3)


def test_nothing_is_laid_beyond_the_photograph():
    crop = Crop.from_box([20, 20, 80, 120], (100, 90))  # reaches below the photograph
    augment = PoseAugment(size=(100, 90), clutter=Clutter(chance=1.0), fill=(10.0, 200.0, 30.0))
    picture = np.full((100, 90, 3), 77, np.uint8)
    seen = augment(
        Sample(image=picture, people=(somebody((20, 20, 80, 120)),)), np.random.default_rng(0)
    )
    beyond = crop.to_image([[45, 99], [45, 0]])[:, 1] > 100
    assert list(beyond) == [True, False]
    assert (seen.image[-8:] == (10, 200, 30)).all()
    assert (seen.image[:8] != (10, 200, 30)).any()


def test_some_clutter_has_the_persons_own_colours():
    """Else a network could tell a coat from what is behind it by the coat's colour alone."""
    red = np.full((50, 3), (250, 0, 0), np.uint8)
    clutter = Clutter(shapes=(5, 10))

    def reddish(alike):
        shares = []
        for seed in range(30):
            pixels = clutter.picture(SIZE, np.random.default_rng(seed), alike).astype(int)
            shares.append((pixels[..., 0] - pixels[..., 1:].max(axis=-1) > 60).mean())
        return np.mean(shares)

    assert reddish(red) > reddish(None) + 0.2
    window = np.full((100, 90, 3), (250, 0, 0), np.uint8)
    crop, outside = Crop.whole((100, 90)), np.s_[:15]
    mixed = [
        Clutter(chance=1.0, alike=alike)(
            window, (somebody(),), crop, (100, 90), np.random.default_rng(seed)
        )[outside].astype(int)
        for alike in (0.0, 1.0)
        for seed in range(30)
    ]
    shares = [(m[..., 0] - m[..., 1:].max(axis=-1) > 60).mean() for m in mixed]
    assert np.mean(shares[30:]) > np.mean(shares[:30]) + 0.2


def test_chance_and_unknown_outlines_leave_the_window():
    window = np.full((100, 90, 3), 77, np.uint8)
    crop = Crop.whole((100, 90))
    nobody = Person(box=[20, 20, 50, 80])
    for clutter, person in ((Clutter(chance=0.0), somebody()), (Clutter(chance=1.0), nobody)):
        found = clutter(window, (person,), crop, (100, 90), np.random.default_rng(0))
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
    with pytest.raises(InputError, match="alike is a chance"):
        Clutter(alike=-1)
    with pytest.raises(InputError, match="shapes go from a positive number"):
        Clutter(shapes=(0, 5))


def test_stripes_are_drawn_where_asked_for():
    """A striped shape has more edges than a plain one of the same size."""

    def edges(striped):
        clutter = Clutter(shapes=(6, 6), sizes=(0.4, 0.5), striped=striped)
        pictures = [clutter.picture(SIZE, np.random.default_rng(s)) for s in range(30)]
        return np.mean([np.abs(np.diff(p.astype(int), axis=1)).mean() for p in pictures])

    assert edges(1.0) > edges(0.0) * 1.2
