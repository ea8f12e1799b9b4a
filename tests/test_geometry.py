# SPDX-License-Identifier: Apache-2.0
"""Boxes, crops, rotations and fits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.geometry import (
    Crop,
    box_of_mask,
    box_of_points,
    box_to_xywh,
    boxes_iou,
    clip_box,
    fit_similarity,
    padded_box,
    rotation_about,
    suppress,
    xywh_to_box,
)

GOLDEN = Path(__file__).parent / "golden"
coordinate = st.floats(-2000, 2000, allow_nan=False, width=32)
extent = st.floats(1, 3000, allow_nan=False, width=32)


@st.composite
def crops(draw):
    x, y = draw(coordinate), draw(coordinate)
    box = (x, y, x + draw(extent), y + draw(extent))
    crop = Crop.from_box(box, (256, 192), rotation=draw(st.floats(-3.1, 3.1)))
    return crop.mirrored() if draw(st.booleans()) else crop


@given(crops(), st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5))
def test_a_crop_followed_by_its_inverse_is_nothing(crop, points):
    back = crop.to_image(crop.to_window(points))
    np.testing.assert_allclose(back, points, atol=1e-6 * (1 + np.abs(points).max()))


@given(crops())
def test_a_mirror_seen_twice_is_the_window(crop):
    twice = crop.mirrored().mirrored()
    np.testing.assert_allclose(twice.matrix, crop.matrix, atol=1e-9)
    assert crop.mirrored().mirrors is not crop.mirrors


@given(crops())
def test_turn_is_orthogonal_and_says_whether_it_mirrors(crop):
    np.testing.assert_allclose(crop.turn @ crop.turn.T, np.eye(2), atol=1e-9)
    assert (np.linalg.det(crop.turn) < 0) == crop.mirrors


def test_published_person_crops():
    """Boxes, 1.25 padding, 3:4 aspect and UDP matrices equal the original's."""
    golden = np.load(GOLDEN / "topdown_affine.npz")
    for box, degrees, matrix, fixed, centre in zip(
        golden["boxes"],
        golden["rotation_deg"],
        golden["matrix"],
        golden["scale_fixed"],
        golden["center"],
        strict=True,
    ):
        crop = Crop.from_box(box, (1024, 768), rotation=np.deg2rad(degrees))
        np.testing.assert_allclose(crop.matrix, matrix, rtol=1e-6, atol=5e-5)
        np.testing.assert_allclose(padded_box(box, (1024, 768)), (centre, fixed), rtol=1e-6)


def test_udp_corners_of_the_padded_box_are_the_corner_pixels():
    crop = Crop.from_box((10, 20, 85, 120), (128, 96), padding=1.0)
    centre, extent = padded_box((10, 20, 85, 120), (128, 96), 1.0)
    corners = crop.to_window([centre - extent / 2, centre + extent / 2])
    np.testing.assert_allclose(corners, [[0, 0], [95, 127]], atol=1e-9)


def test_stretch_and_pad_map_edges_to_edges():
    stretch = Crop.stretch((100, 200), (50, 60))
    np.testing.assert_allclose(
        stretch.to_window([[-0.5, -0.5], [199.5, 99.5]]), [[-0.5, -0.5], [59.5, 49.5]]
    )
    pad = Crop.pad((100, 200), (64, 64))  # scale 0.32: 32 rows, margins of 16
    np.testing.assert_allclose(
        pad.to_window([[-0.5, -0.5], [199.5, 99.5]]), [[-0.5, 15.5], [63.5, 47.5]]
    )


@pytest.mark.parametrize(
    ("box", "word"),
    [((0, 0, 0, 5), "no area"), ((5, 5, 1, 9), "no area"), ((0, 0, np.nan, 1), "finite")],
)
def test_useless_boxes_are_refused(box, word):
    with pytest.raises(InputError, match=word):
        Crop.from_box(box, (8, 8))


def test_useless_crops_are_refused():
    with pytest.raises(InputError, match="invertible"):
        Crop(np.zeros((2, 3)), (8, 8))
    with pytest.raises(InputError, match="at least 1×1"):
        Crop.whole((0, 4))


def test_boxes_overlap_and_suppress():
    boxes = [[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 0, 0]]
    iou = boxes_iou(boxes, boxes)
    assert iou[0, 1] == pytest.approx(81 / 119)
    assert iou[0, 2] == 0
    assert iou[3, 3] == 0
    assert suppress(boxes, [0.5, 0.9, 0.1, 0.2], 0.5).tolist() == [1, 3, 2]
    assert suppress(np.zeros((0, 4)), [], 0.5).tolist() == []


@given(st.tuples(coordinate, coordinate, extent, extent))
def test_xywh_and_back(xywh):
    np.testing.assert_allclose(box_to_xywh(xywh_to_box(xywh)), xywh, atol=1e-3)


def test_boxes_of_points_and_masks():
    assert box_of_points([[np.nan, 1], [np.nan, np.nan]]) is None
    np.testing.assert_allclose(box_of_points([[0, 0], [10, 20]], margin=0.1), [-1, -2, 11, 22])
    mask = np.zeros((5, 6), bool)
    assert box_of_mask(mask) is None
    mask[1:3, 2:5] = True
    np.testing.assert_allclose(box_of_mask(mask), [2, 1, 4, 2])
    np.testing.assert_allclose(clip_box([-5, 2, 9, 90], (5, 6)), [0, 2, 5, 4])


@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_similarity_fits_recover_what_was_done(seed, dimensions):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(8, dimensions))
    basis = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    basis[:, 0] *= np.sign(np.linalg.det(basis))
    moved = 1.7 * points @ basis.T + rng.normal(size=dimensions)
    fit = fit_similarity(points, moved, weights=rng.uniform(0.1, 1, 8))
    assert fit.scale == pytest.approx(1.7)
    np.testing.assert_allclose(fit(points), moved, atol=1e-9)
    assert np.linalg.det(fit.rotation) == pytest.approx(1)


def test_a_fit_never_mirrors_and_needs_points():
    points = np.array([[0, 0], [1, 0], [0, 2.0]])
    assert np.linalg.det(fit_similarity(points, points * [-1, 1]).rotation) == pytest.approx(1)
    with pytest.raises(InputError, match="two equal"):
        fit_similarity(points[:1], points[:1])


def test_rotation_about_an_axis_turns_right_handed():
    np.testing.assert_allclose(
        rotation_about([0, 0, 2], np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12
    )
    many = rotation_about(np.eye(3), np.array([0.1, 0.2, 0.3]))
    assert many.shape == (3, 3, 3)
