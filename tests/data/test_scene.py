# SPDX-License-Identifier: Apache-2.0
"""Windows of whole scenes: boxes follow the pixels, and nobody is shown without a box."""

from dataclasses import replace

import numpy as np
import pytest

from toy_people import toy_people
from vitruvian.data.augment import Clutter, SceneAugment
from vitruvian.data.augment.scene import without_people
from vitruvian.data.source import Listed
from vitruvian.errors import InputError
from vitruvian.geometry import box_of_mask
from vitruvian.person import Person, Raster, Sample
from vitruvian.vocabulary import make

PARTS = make("body", ["background", "body"], kind="parts")


def block(number: int, box: tuple[int, int, int, int] = (40, 30, 79, 109)) -> Sample:
    """A picture of one person: a bright block of its own level of red on dark green."""
    image = np.zeros((160, 120, 3), np.uint8)
    image[..., 1] = 60
    x0, y0, x1, y1 = box
    image[y0 : y1 + 1, x0 : x1 + 1] = (255, 0, 10 * number)
    labels = (image[..., 0] > 0).astype(np.uint8)
    parts = Raster(law="label", values=labels, vocabulary=PARTS)
    person = Person(box=np.array(box, float), annotations={"parts": parts})
    return Sample(image=image, people=(person,), name=f"block{number}")


BLOCKS = Listed([block(n, (30 + n, 20, 70 + 2 * n, 100 + n)) for n in range(12)])
PLAIN = SceneAugment(
    size=(128, 128), several=0.0, pasted=0, scraps=0, grey=0.0, rotation=0.0, smallest=1.0
)


def red(image: np.ndarray) -> np.ndarray:
    return (image[..., 0].astype(int) - image[..., 1]) > 120


@pytest.mark.parametrize("seed", range(30))
def test_a_box_is_where_the_person_is_seen(seed: int) -> None:
    scene = replace(PLAIN, margin=(0, 60, 0))(
        BLOCKS[seed % 12], BLOCKS, np.random.default_rng(seed)
    )
    seen = box_of_mask(red(scene.image))
    if seen is None:
        assert not len(scene.boxes) or scene.ignored.all()
        return
    assert np.abs(scene.boxes[0] - seen).max() < 2.0


@pytest.mark.parametrize("seed", range(10))
def test_invented_backgrounds_leave_people_and_their_boxes(seed: int) -> None:
    before = PLAIN(BLOCKS[seed], BLOCKS, np.random.default_rng(seed))
    behind = replace(PLAIN, clutter=Clutter(chance=1.0))
    scene = behind(BLOCKS[seed], BLOCKS, np.random.default_rng(seed))
    np.testing.assert_array_equal(scene.boxes, before.boxes)
    x0, y0, x1, y1 = np.rint(scene.boxes[0]).astype(int)
    inside = np.s_[y0 + 2 : y1 - 1, x0 + 2 : x1 - 1]
    np.testing.assert_allclose(scene.image[inside], before.image[inside], atol=1)
    changed = (scene.image != before.image).any(axis=2)
    outside = np.ones_like(changed)
    outside[max(0, y0 - 2) : y1 + 3, max(0, x0 - 2) : x1 + 3] = False
    within = outside & (before.image == (0, 60, 0)).all(axis=2)  # the picture, not its margin
    assert changed[within].mean() > 0.9


@pytest.mark.parametrize("seed", range(10))
def test_everybody_in_several_pictures_has_a_box(seed: int) -> None:
    augment = replace(PLAIN, several=1.0, pasted=3, scraps=3, rotation=1.0, rotation_by=2)
    scene = augment(BLOCKS[0], BLOCKS, np.random.default_rng(seed))
    there = np.zeros((128, 128), bool)
    for x0, y0, x1, y1 in np.rint(scene.boxes).astype(int):
        there[max(0, y0 - 3) : y1 + 4, max(0, x0 - 3) : x1 + 4] = True
    blocks = red(scene.image) & (scene.image[..., 1] == 0) & (scene.image[..., 2] % 10 == 0)
    assert not (blocks & ~there).any()  # plain colours between people may be red as well
    assert len(scene.ignored) == len(scene.boxes)
    assert (scene.boxes >= 0).all()
    assert (scene.boxes <= 127).all()
    assert scene.sample().size == (128, 128)


def test_a_person_is_cut_out_along_the_mask_and_may_hide_others() -> None:
    big = replace(PLAIN, pasted=1, pasted_height=(0.9, 0.9), zoom=(0.6, 0.6), stretch=1.0)
    counts, hidden = set(), 0
    for seed in range(40):
        scene = big(BLOCKS[0], BLOCKS, np.random.default_rng(seed))
        counts.add(len(scene.boxes))
        hidden += int(scene.ignored[0])
        tight = box_of_mask(red(scene.image))
        if len(scene.boxes) == 2 and tight is not None:
            assert tight[2] <= scene.boxes[:, 2].max() + 2  # no margins of the mask's map
    assert counts == {1, 2}
    assert 0 < hidden < 20


def test_the_same_randomness_draws_the_same_scene_and_grey_is_grey() -> None:
    augment = SceneAugment(size=(96, 96), grey=1.0)
    people = Listed(toy_people(4))
    first, again = (augment(people[0], people, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes, again.boxes)
    assert (np.ptp(first.image.astype(int), axis=2) == 0).all()


def test_small_and_cut_people_are_ignored() -> None:
    augment = replace(PLAIN, smallest=1000.0)
    scene = augment(BLOCKS[0], BLOCKS, np.random.default_rng(0))
    assert scene.ignored.all()
    assert scene.sample().people == ()


def test_pictures_without_anybody_make_scenes_too() -> None:
    empty = Listed([replace(block(0), people=())])
    scene = SceneAugment(size=(64, 64))(empty[0], empty, np.random.default_rng(0))
    assert scene.boxes.shape == (0, 4)


def test_what_shows_nobody_shows_nobody() -> None:
    part = without_people(block(0))
    assert part is not None
    assert not red(part).any()
    assert without_people(block(0, (2, 2, 117, 157))) is None


def test_a_zoom_needs_a_range() -> None:
    with pytest.raises(InputError, match="wanted above 0"):
        SceneAugment(zoom=(0.0, 1.0))
    with pytest.raises(InputError, match="chance"):
        SceneAugment(several=2.0)
