# SPDX-License-Identifier: Apache-2.0
"""The laws by which annotations move, each against an independent expectation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian import vocabulary
from vitruvian.camera import Camera
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.geometry import Crop
from vitruvian.person import Person, Points, Raster, Sample, composite

COCO = vocabulary.load("coco17")
PARTS = vocabulary.load("parts28")
SIZE = (24, 31)


def random_points(seed=0, xyz=True):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 20, (17, 2))
    xy[3] = np.nan
    return Points(
        vocabulary=COCO,
        xy=xy,
        scores=rng.uniform(size=17),
        visibility=rng.integers(0, 3, 17),
        xyz=rng.normal(size=(17, 3)) if xyz else None,
    )


def random_raster(law, seed=0, size=SIZE, **fields):
    rng = np.random.default_rng(seed)
    if law == "label":
        values, fields = rng.integers(0, 28, size), {"vocabulary": PARTS, **fields}
    elif law == "scalar":
        values, fields = rng.uniform(1, 2, size), {"kind": "metric", **fields}
    else:
        values = rng.normal(size=(*size, 3))
    if law == "vector":
        values = values / np.linalg.norm(values, axis=-1, keepdims=True)
    if law == "colour":
        values = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return Raster(law=law, values=values, valid=rng.uniform(size=size) > 0.2, **fields)


LAWS = ["label", "scalar", "vector", "colour", "position"]


def random_sample(seed=0):
    rng = np.random.default_rng(seed)
    annotations = {law: random_raster(law, seed) for law in LAWS}
    person = Person(box=[1, 2, 10, 20], annotations={"pose": random_points(seed), **annotations})
    return Sample(
        image=rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        people=(person,),
        camera=Camera.from_focal(40, SIZE),
        rasters={"parts": random_raster("label", seed + 1)},
    )


@given(st.integers(0, 1000))
def test_a_mirror_seen_twice_gives_the_sample_back(seed):
    sample = random_sample(seed)
    twice = sample.mirrored().mirrored()
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_allclose(twice.camera.matrix, sample.camera.matrix, atol=1e-9)
    before, after = sample.people[0], twice.people[0]
    np.testing.assert_allclose(after.box, before.box)
    for name in ("xy", "scores", "visibility", "xyz"):
        first, second = getattr(before.points(), name), getattr(after.points(), name)
        np.testing.assert_allclose(second, first, atol=1e-5)
    for law in LAWS:
        first, second = before.raster(law), after.raster(law)
        np.testing.assert_array_equal(second.mask, first.mask)
        np.testing.assert_allclose(second.values[first.mask], first.values[first.mask], atol=1e-5)


def test_a_mirror_swaps_sides():
    sample = random_sample()
    mirrored = sample.mirrored().people[0]
    left, right = COCO.index("left_wrist"), COCO.index("right_wrist")
    before = sample.people[0].points()
    expected = [SIZE[1] - 1 - before.xy[right, 0], before.xy[right, 1]]
    np.testing.assert_allclose(mirrored.points().xy[left], expected, atol=1e-5)
    foot, other = PARTS.index("Left_Foot"), PARTS.index("Right_Foot")
    labels, flipped = sample.people[0].raster("label"), mirrored.raster("label")
    was = (labels.values == foot) & labels.mask
    assert was.any()
    assert (flipped.values[was[:, ::-1]] == other).all()
    vectors = sample.people[0].raster("vector")
    seen = vectors.values[:, ::-1] * [-1, 1, 1]
    inside = vectors.mask[:, ::-1]
    np.testing.assert_allclose(mirrored.raster("vector").values[inside], seen[inside], atol=1e-6)


def test_vectors_turn_with_the_picture():
    """A quarter turn maps image x onto image y: the normal's x becomes its y."""
    raster = Raster(law="vector", values=np.broadcast_to([0.6, 0, -0.8], (20, 20, 3)))
    crop = Crop(np.array([[0, -1.0, 19], [1, 0, 0]]), (20, 20))
    turned = raster.warped(crop).values
    np.testing.assert_allclose(turned, np.broadcast_to([0, 0.6, -0.8], (20, 20, 3)), atol=1e-6)


def test_positions_project_to_where_the_crop_shows_them():
    camera = Camera.from_focal(60, (40, 40))
    xyz = np.array([[0.1, -0.2, 2.0]] * 17, np.float32)
    points = Points(vocabulary=COCO, xy=camera.project(xyz)[0], scores=np.ones(17), xyz=xyz)
    crop = Crop.from_box((5, 5, 30, 35), (64, 48), rotation=0.7).mirrored()
    window = camera.cropped(crop.matrix, crop.size)
    moved = points.warped(crop)
    projected = moved.xyz @ window.matrix.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], moved.xy, atol=1e-3)


def test_invalid_pixels_do_not_bleed():
    values = np.full((8, 8), 5.0, np.float32)
    values[:, 4:] = np.nan
    valid = np.isfinite(values)
    raster = Raster(law="scalar", values=values, valid=valid, kind="metric")
    larger = raster.warped(Crop.whole((8, 8)).resized((24, 24)))
    assert larger.mask[:, :11].all()
    assert not larger.mask[:, 13:].any()
    np.testing.assert_allclose(larger.values[larger.mask], 5.0, rtol=1e-6)


def test_windows_of_a_picture_move_like_the_picture():
    """A raster that covers part of the picture gives the same window as one that covers it all."""
    whole = random_raster("scalar", size=(40, 50))
    part = Raster(
        law="scalar",
        kind="metric",
        values=whole.values[5:35, 8:44],
        valid=whole.valid[5:35, 8:44],
        origin=(8, 5),
    )
    crop = Crop.from_box((15, 10, 35, 30), (32, 24), padding=1.0)
    np.testing.assert_allclose(part.warped(crop).values, whole.warped(crop).values, atol=1e-5)
    placed = part.placed((40, 50))
    np.testing.assert_array_equal(placed.values[5:35, 8:44], part.values)
    assert placed.mask.sum() == part.mask.sum()
    assert not part.placed((3, 3)).mask.any()


def test_the_ignored_label_says_nothing():
    values = np.full((4, 4), 255)
    values[0] = 3
    raster = Raster(law="label", values=values, vocabulary=PARTS)
    assert raster.mask.sum() == 4
    assert raster.warped(Crop.whole((4, 4))).mask.sum() == 4


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Points(vocabulary=COCO, xy=np.zeros((5, 2)), scores=np.zeros(5)), r"\(17, 2\)"),
        (lambda: Points(vocabulary=PARTS, xy=np.zeros((28, 2)), scores=np.zeros(28)), "parts"),
        (lambda: Raster(law="label", values=np.zeros((4, 4))), "vocabulary"),
        (lambda: Raster(law="vector", values=np.zeros((4, 4))), r"\(H, W, 3\)"),
        (lambda: Raster(law="wind", values=np.zeros((4, 4))), "unknown law"),
        (
            lambda: Raster(law="scalar", values=np.zeros((4, 4)), valid=np.ones((2, 2))),
            "valid mask",
        ),
        (lambda: Person(box=[0, 0, -1, 5]), "box"),
        (lambda: Sample(image=np.zeros((4, 4))), "uint8 RGB"),
        (
            lambda: Sample(
                image=np.zeros((4, 4, 3), np.uint8), camera=Camera.from_focal(4, (5, 5))
            ),
            "camera",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, word):
    with pytest.raises(InputError, match=word):
        make()


def test_asking_a_person_for_what_it_has_not():
    person = random_sample().people[0]
    with pytest.raises(UnknownNameError, match="did you mean pose"):
        person.points("poses")
    with pytest.raises(InputError, match="raster"):
        person.points("label")
    with pytest.raises(InputError, match="points"):
        person.raster("pose")


def test_annotations_are_frozen():
    points = random_points()
    with pytest.raises(ValueError, match="read-only"):
        points.xy[0] = 0
    with pytest.raises(TypeError):
        random_sample().people[0].annotations["pose"] = points


def test_people_are_pasted_large_first_and_background_covers_nobody():
    def someone(box, value, origin):
        values = np.full((6, 6), value)
        values[:, 3:] = 0
        raster = Raster(law="label", values=values, vocabulary=PARTS, origin=origin)
        return Person(box=box, annotations={"parts": raster})

    small, large = someone([4, 4, 6, 6], 7, (2, 0)), someone([0, 0, 9, 9], 3, (0, 0))
    label = composite([small, large], "parts", (8, 10))
    assert label.values[0].tolist() == [3, 3, 7, 7, 7, 0, 0, 0, 0, 0]
    assert label.mask[0].tolist() == [True] * 8 + [False] * 2
    assert composite([small], "depth", (8, 10)) is None
