# SPDX-License-Identifier: Apache-2.0
"""Posters: every point has its place and its number, and no number covers another."""

import numpy as np
import pytest

from vitruvian.commands import poster
from vitruvian.commands.schematic import outlines, places
from vitruvian.vocabulary import available, load, make

POINTS = [name for name in available() if load(name).kind == "points"]


@pytest.mark.parametrize("name", POINTS)
def test_every_point_has_a_place_on_its_side(name):
    v = load(name)
    where = places(v)
    assert np.isfinite(where).all()
    np.testing.assert_allclose(where[v.mirror], where * (-1, 1), atol=1e-9)
    signs = {"left": 1, "right": -1, "centre": 0}
    np.testing.assert_array_equal(np.sign(where[:, 0].round(6)), [signs[side] for side in v.sides])


def test_places_follow_the_documented_order_of_contours():
    v = load("sapiens308")
    where = places(v)

    def x(name):
        return where[v.index(name), 0]

    along = ("3", "1", "4", "5", "2", "6")  # the subject's right to left is image left to right
    for side in "lr":
        for line in ("upper_lash_line", "lower_eyelid_line", "upper_crease_line"):
            xs = [x(f"{side}_midpoint_{i}_of_{line}") for i in along]
            assert xs == sorted(xs)
        for ring in ("iris", "pupil"):
            three, nine = x(f"{side}_border_of_{ring}_3"), x(f"{side}_border_of_{ring}_9")
            assert three > x(f"{side}_center_of_{ring}") > nine
            assert x(f"{side}_border_of_{ring}_midpoint_2") > x(f"{side}_center_of_{ring}")
        brow = [x(f"upper_midpoint_{i}_of_{side}_eyebrow") for i in "213"]
        assert brow == sorted(brow)
    for lip in ("upper_outer_lip", "lower_outer_lip", "upper_inner_lip", "lower_inner_lip"):
        xs = [x(f"midpoint_{i}_of_{lip}") for i in along]
        assert xs == sorted(xs)
    assert x("r_outer_corner_of_mouth") < x("r_inner_corner_of_mouth") < 0


def test_few_places_are_shared():
    where = places(load("sapiens308"))
    distance = np.linalg.norm(where[:, None] - where[None], axis=2)
    close = (distance < 0.3).sum(axis=1) - 1
    # eye, iris and pupil share a centre; the nose is its tip
    assert sorted(close[close > 0].tolist()) == [1, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("name", POINTS)
def test_every_point_is_numbered_in_one_window(name):
    where = places(load(name))
    owner = poster._owners(where)
    panels = poster._panels()
    assert (owner >= 0).all()
    for i, number in enumerate(owner):
        assert poster._inside(where[i : i + 1], panels[number].view).all()


def test_labels_do_not_overlap():
    v = load("sapiens308")
    where, panels = places(v), poster._panels()
    owner = poster._owners(where)
    for number, panel in enumerate(panels):
        x0, y0, x1, y1 = panel.view
        scale = poster._COLUMN / (x1 - x0)
        at = (where - (x0, y0)) * scale
        mine = np.flatnonzero(owner == number)
        shape = (round((y1 - y0) * scale), poster._COLUMN, 3)
        boxes = np.array(poster._place_labels(at[mine], [str(i) for i in mine], at[mine], shape))
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= shape[1::-1]).all()
        low, high = boxes[:, None, :2], boxes[None, :, 2:]
        over = ((low < high).all(axis=2) & (low < high).all(axis=2).T).sum() - len(mine)
        assert over == 0, panel.title


@pytest.mark.parametrize("name", ["coco17", "openpose137", "parts29", "face19"])
def test_posters(name):
    page = poster.draw_poster(load(name))
    assert page.dtype == np.uint8
    assert page.ndim == 3
    code = np.array([65536, 256, 1])
    assert np.isin(load(name).colours @ code, page[::2, ::2] @ code).all()


def test_points_without_a_place_are_listed():
    mixed = make("mixed", ["nose", "left_horn", "right_horn"])
    page = poster.draw_poster(mixed)
    alone = poster.draw_poster(make("horns", ["left_horn", "right_horn"]))
    assert page.shape[0] > alone.shape[0] > 0


def test_the_figure_is_symmetric():
    strokes = outlines()
    half = len(strokes) // 2
    for a, b in zip(strokes[:half], strokes[half:], strict=True):
        np.testing.assert_array_equal(a.points * (-1, 1), b.points)
