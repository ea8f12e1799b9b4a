# SPDX-License-Identifier: Apache-2.0
"""Gloves and hats: what changes, what does not, and when nothing does."""

import numpy as np
import pytest
from torso import HAND, PARTS, SIZE, somebody

from vitruvian import vocabulary as vocabularies
from vitruvian.data.augment import Gloves, Hats, PoseAugment
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import Person, Points, Raster, Sample

HAIR, FACE, APPAREL = (PARTS.names.index(name) for name in ("Hair", "Face_Neck", "Apparel"))
POINTS = vocabularies.load("sapiens308")


def head(up=(0.0, -1.0), origin=(0, 0)):
    """A round head of 30 pixels' radius: hair above the middle, a face below; ``up`` is its top."""
    rows, columns = np.mgrid[: SIZE[0] - origin[1], : SIZE[1] - origin[0]]
    x, y = columns + origin[0] - 45, rows + origin[1] - 50
    height = x * up[0] + y * up[1]
    labels = np.where(height > 10, HAIR, FACE) * (np.hypot(x, y) < 30)
    xy = np.full((len(POINTS), 2), np.nan)
    xy[POINTS.index("center_of_glabella")] = 45, 50
    xy[POINTS.index("tip_of_chin")] = (45 - 25 * up[0], 50 - 25 * up[1])
    scores = np.isfinite(xy[:, 0]).astype(float)
    return Person(
        box=[15, 20, 75, 80],
        annotations={
            "pose": Points(vocabulary=POINTS, xy=xy, scores=scores),
            "parts": Raster(law="label", values=labels, vocabulary=PARTS, origin=origin),
            "depth": Raster(law="scalar", values=labels * 1.0, kind="metric", origin=origin),
        },
    ), height  # fmt: skip


def test_gloves_colour_hands_and_nothing_else():
    window = np.random.default_rng(1).integers(100, 156, (*SIZE, 3), np.uint8)
    person, crop = somebody(), Crop.whole(SIZE)
    hand = person.raster("parts").values == HAND
    colours = []
    for seed in range(20):
        gloved = Gloves(chance=1.0)(window, person, crop, np.random.default_rng(seed))
        np.testing.assert_array_equal(gloved[~hand], window[~hand])
        inside = gloved[hand].astype(float)
        colours.append(inside.mean(axis=0))
        light = window[hand].astype(float).mean(axis=1)
        strongest = inside[:, inside.mean(axis=0).argmax()]
        if 20 < strongest.mean() < 150:  # what is too dark is rounded, too light is cut
            assert np.corrcoef(strongest, light)[0, 1] > 0.9  # folds and shade stay
    assert np.std(colours, axis=0).min() > 20


def test_gloves_need_hands_in_the_window():
    window = np.full((*SIZE, 3), 77, np.uint8)
    elsewhere = Crop.from_box([60, 60, 85, 95], SIZE)
    bare = Person(box=[20, 20, 50, 80])
    for person, crop in ((bare, Crop.whole(SIZE)), (somebody(), elsewhere)):
        gloved = Gloves(chance=1.0)(window, person, crop, np.random.default_rng(0))
        np.testing.assert_array_equal(gloved, window)


@pytest.mark.parametrize("up", [(0.0, -1.0), (0.6, -0.8), (-1.0, 0.0)])
@pytest.mark.parametrize("origin", [(0, 0), (7, 11)])
def test_a_hat_is_cloth_above_a_line_and_nothing_else(up, origin):
    window = np.random.default_rng(1).integers(100, 156, (*SIZE, 3), np.uint8)
    person, height = head(up, origin)
    before = person.raster("parts").values
    # the line is 0.413 of 25 pixels above the glabella
    hats = Hats(chance=1.0, line=(0.413, 0.413), tilt=0.0, patterned=0.0, banded=0.0)
    for seed in range(8):
        worn, wearer = hats(window, person, Crop.whole(SIZE), np.random.default_rng(seed))
        labels = wearer.raster("parts").values
        hat = (height > 10.325) & (before > 0)
        np.testing.assert_array_equal(labels, np.where(hat, APPAREL, before))
        there = np.zeros(SIZE, bool)
        there[origin[1] :, origin[0] :] = hat
        np.testing.assert_array_equal(worn[~there], window[~there])
        assert worn[there].std(axis=0).max() < window[there].std(axis=0).min() / 2  # smooth
        assert wearer.raster("depth") is person.raster("depth")


def test_hats_are_of_many_looks():
    window = np.full((*SIZE, 3), 128, np.uint8)
    person, height = head()
    top, brim = height > 22, (height > 11) & (height < 13)
    inside = person.raster("parts").values > 0
    tops, differ = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hats = Hats(chance=1.0, line=(0.4, 0.4), tilt=0.0, banded=0.5, patterned=0.3)
        worn, _ = hats(window, person, Crop.whole(SIZE), rng)
        means = [worn[inside & where].mean(axis=0) for where in (top, brim)]
        tops.append(means[0])
        differ += np.abs(means[0] - means[1]).max() > 20
    assert np.std(tops, axis=0).min() > 30
    assert np.mean(np.max(tops, axis=1) < 80) > 0.25  # dark ones are as likely as coloured ones
    assert 10 < differ < 50


def test_hats_need_a_known_head():
    window = np.full((*SIZE, 3), 77, np.uint8)
    person, _ = head()
    unknown = Person(box=person.box, annotations={"parts": person.raster("parts")})
    from_above, _ = head(up=(0.01, 0.0))
    for nobody in (unknown, from_above, somebody(), Person(box=person.box)):
        worn, wearer = Hats(chance=1.0)(window, nobody, Crop.whole(SIZE), np.random.default_rng(0))
        np.testing.assert_array_equal(worn, window)
        assert wearer is nobody


def test_windows_come_with_hats_or_without():
    person, _ = head()
    sample = Sample(image=np.full((*SIZE, 3), 77, np.uint8), people=(person,))
    for chance in (0.0, 1.0):
        augment = PoseAugment(size=SIZE, hats=Hats(chance=chance), fill=(77.0, 77.0, 77.0))
        seen = augment(sample, np.random.default_rng(3))
        assert seen is not None
        assert (seen.image != 77).any() == bool(chance)
        assert (seen.person.raster("parts").values == APPAREL).any() == bool(chance)


def test_impossible_settings_are_refused():
    for kind in (Gloves, Hats):
        with pytest.raises(InputError, match="chance is a chance from 0 to 1"):
            kind(chance=-1)
    with pytest.raises(InputError, match="banded is a chance"):
        Hats(banded=2)
    with pytest.raises(InputError, match="bands go from a positive number"):
        Hats(bands=(0.5, 0.1))
