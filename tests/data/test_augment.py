# SPDX-License-Identifier: Apache-2.0
"""Windows: picture and annotations move together, by published amounts."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from data_samples import COCO, PARTS, plain_sample
from PIL import Image

from vitruvian import image, vocabulary
from vitruvian.data.augment import (
    Backgrounds,
    DenseAugment,
    MaskedAugment,
    Photometric,
    PixelAugment,
    PoseAugment,
    foreground,
)
from vitruvian.data.augment.masked import resize_smoothly
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import Person, Points, Raster, Sample

SIZE = (96, 72)


def rng(seed=0):
    return np.random.default_rng(seed)


def many(augment, sample, count=200):
    return [augment(sample, rng(seed)) for seed in range(count)]


# ------------------------------------------------------------------------------ keypoints


def dotted(size=(300, 260), present=17):
    """A person whose every point is a dot of its own grey level."""
    places = np.array([[60 + 30 * (n % 5), 70 + 45 * (n // 5)] for n in range(17)], np.float32)
    picture = np.zeros((*size, 3), np.uint8)
    for number, (x, y) in enumerate(places):
        cv2.circle(picture, (int(x), int(y)), 9, (40 + 12 * number,) * 3, -1)
    xy = places.copy()
    xy[present:] = np.nan
    points = Points(vocabulary=COCO, xy=xy, scores=np.ones(17))
    person = Person(box=[40, 50, 200, 260], annotations={"pose": points})
    return Sample(image=picture, people=(person,), name="dots")


def test_points_stay_on_their_dots():
    augment = replace(PoseAugment.sapiens(least=0), size=(192, 144), pixels=PixelAugment())
    mirrored = 0
    for view in many(augment, dotted(), 60):
        moved = view.person.warped(view.crop).points()
        mirrored += view.crop.mirrors
        for row, (x, y) in enumerate(moved.xy):
            if 4 < x < 139 and 4 < y < 187:
                level = view.image[round(float(y)), round(float(x)), 0]
                name = COCO.mirror[row] if view.crop.mirrors else row
                assert abs(int(level) - (40 + 12 * name)) <= 1
    assert 15 < mirrored < 45


def test_without_augmentation_it_is_the_box():
    view = PoseAugment(size=SIZE)(dotted(), rng())
    wanted = Crop.from_box([40, 50, 200, 260], SIZE)
    np.testing.assert_allclose(view.crop.matrix, wanted.matrix)
    assert (view.image == image.warp(dotted().image, wanted.matrix, SIZE)).all()
    assert view.sample().people[0].points().present.all()
    assert view.sample().size == SIZE


def of(crop):
    """Return centre, width and angle of a window in the photograph."""
    centre = crop.to_image([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    corners = crop.to_image([[0, 0], [SIZE[1] - 1, 0]])
    side = corners[1] - corners[0]
    return centre, float(np.linalg.norm(side)), math.degrees(math.atan2(side[1], side[0]))


def test_jitter_stays_in_its_range():
    sample = dotted()
    base, width, _ = of(PoseAugment(size=SIZE)(sample, rng()).crop)
    scales = [of(v.crop)[1] / width for v in many(PoseAugment(size=SIZE, scale=1.0), sample)]
    assert 0.5 <= min(scales) < 0.6
    assert 1.4 < max(scales) <= 1.5
    moves = [of(v.crop)[0] - base for v in many(PoseAugment(size=SIZE, shift=1.0), sample)]
    most = np.abs(moves).max(axis=0) / (np.array([160, 210]) * 1.25)
    assert (most <= 0.16).all()
    assert (most > 0.14).all()
    turns = [of(v.crop)[2] for v in many(PoseAugment(size=SIZE, rotation=1.0), sample)]
    assert 70 < max(np.abs(turns)) <= 80
    often = [abs(of(v.crop)[2]) > 1e-9 for v in many(PoseAugment(size=SIZE, rotation=0.6), sample)]
    assert 0.5 < np.mean(often) < 0.7


def test_half_of_the_body():
    sample = dotted()
    xy = sample.people[0].points().xy
    halves = np.array(COCO.halves)
    augment = PoseAugment(size=SIZE, half_body=1.0)
    centres = [of(view.crop)[0] for view in many(augment, sample)]
    upper = np.array([np.allclose(c, xy[halves == "upper"].mean(axis=0)) for c in centres])
    lower = np.array([np.allclose(c, xy[halves == "lower"].mean(axis=0)) for c in centres])
    assert (upper | lower).all()
    assert 0.6 < upper.mean() < 0.8
    few = [of(view.crop)[0] for view in many(augment, dotted(present=8), 20)]
    assert np.allclose(few, [120, 155])  # fewer than nine points: the whole box
    only = replace(augment, half_body_least=(2, 99))
    found = [of(view.crop)[0] for view in many(only, sample, 20)]
    assert np.allclose(found, xy[halves == "upper"].mean(axis=0))
    none = replace(augment, half_body_least=(99, 99))
    assert np.allclose(of(none(sample, rng()).crop)[0], [120, 155])


def test_boxes_of_points():
    view = PoseAugment(size=SIZE, box="points", padding=1.0)(dotted(), rng())
    xy = dotted().people[0].points().xy
    wanted = Crop.from_box([*xy.min(axis=0), *xy.max(axis=0)], SIZE, padding=1.0)
    np.testing.assert_allclose(view.crop.matrix, wanted.matrix)


def test_too_few_points_in_the_window():
    assert PoseAugment(size=SIZE, least=17)(dotted(), rng()) is not None
    assert PoseAugment(size=SIZE, least=17)(dotted(present=16), rng()) is None
    bare = Sample(image=dotted().image, people=(Person(box=[1, 1, 50, 50]),))
    assert PoseAugment(size=SIZE)(bare, rng()) is not None
    assert PoseAugment(size=SIZE, least=1)(bare, rng()) is None


def test_what_a_pose_window_refuses():
    with pytest.raises(InputError, match="has 0: read it through PerPerson"):
        PoseAugment()(plain_sample(), rng())
    empty = Sample(image=dotted().image, people=(Person(box=[5, 5, 5, 5]),))
    with pytest.raises(InputError, match="box"):
        PoseAugment()(empty, rng())
    with pytest.raises(InputError, match="mirror is a chance"):
        PoseAugment(mirror=2)
    with pytest.raises(InputError, match="scale_by"):
        PoseAugment(scale_by=1)


def test_published_values_of_pose():
    first, second = PoseAugment.sapiens(), PoseAugment.sapiens2()
    assert (first.size, first.padding, first.mirror) == ((1024, 768), 1.25, 0.5)
    assert (first.half_body, first.half_body_points, first.half_body_least) == (0.3, 9, (2, 3))
    assert (first.half_body_upper, first.half_body_padding) == (0.7, 1.5)
    assert (first.shift, first.shift_by) == (0.3, 0.16)
    assert (first.scale, first.scale_by) == (1.0, 0.5)
    assert (first.rotation, first.rotation_by) == (0.6, 80)
    pixels = first.pixels
    assert (pixels.box, pixels.median, pixels.kernel) == (0.1, 0.1, (3, 7))
    assert (pixels.hole, pixels.hole_side) == (1.0, (0.2, 0.4))
    assert pixels.photometric == Photometric(chance=1.0, swap=0.5)
    assert PoseAugment.sapiens(paper=True).pixels.photometric.paper
    assert (first.least, second.least) == (8, 8)
    assert second.pixels.photometric == Photometric(chance=0.8)
    assert second.box == "points"


# -------------------------------------------------------------------------------- whole maps


def mapped(size=(120, 160)):
    """A person whose map of labels is also in the picture, as a grey level."""
    labels = np.zeros(size, np.uint8)
    labels[20:100, 40:80] = PARTS.index("Left_Upper_Arm")
    labels[20:100, 80:120] = PARTS.index("Right_Upper_Arm")
    parts = Raster(law="label", values=labels, vocabulary=PARTS)
    depth = Raster(law="scalar", values=labels + 1.0, kind="metric", valid=labels > 0)
    vectors = np.zeros((*size, 3), np.float32)
    vectors[..., 0], vectors[..., 2] = 0.6, -0.8
    normals = Raster(law="vector", values=vectors, valid=labels > 0)
    person = Person(
        box=[40, 20, 119, 99], annotations={"parts": parts, "depth": depth, "normals": normals}
    )
    picture = np.repeat(labels[..., None] * np.uint8(9), 3, axis=2)
    return Sample(image=picture, people=(person,), name="map")


@pytest.mark.parametrize(
    "augment",
    [
        DenseAugment.sapiens_parts(None),
        DenseAugment.sapiens_depth(None),
        DenseAugment.sapiens_normals(None, rotation=0.5),
        DenseAugment.sapiens2_parts(None),
        DenseAugment.sapiens2_normals(),
        DenseAugment.sapiens2_pointmap(),
        DenseAugment.sapiens2_albedo(),
        DenseAugment.sapiens_lip(),
    ],
)
def test_labels_stay_on_their_pixels(augment):
    augment = replace(augment, size=SIZE, pixels=PixelAugment())
    sides = {PARTS.index(f"{side}_Upper_Arm") for side in ("Left", "Right")}
    seen = 0
    for view in many(augment, mapped(), 40):
        if view is None:
            continue
        moved = view.person.warped(view.crop)
        labels, mask = moved.raster("parts").values, moved.raster("parts").mask
        if view.crop.mirrors:
            swapped = np.arange(256)
            swapped[:28] = PARTS.mirror
            labels = swapped[labels]
        same = np.abs(view.image[..., 0].astype(int) - 9 * labels) <= 1
        inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) > 0
        edges = cv2.morphologyEx(labels.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
        inner = np.s_[1:-1, 1:-1]
        assert same[inner][(inside & ~edges)[inner]].all()
        seen += bool(sides & set(np.unique(labels)))
        there = moved.raster("normals").mask
        if there.any():
            x = moved.raster("normals").values[there]
            turn = view.crop.turn @ np.array([0.6, 0])
            np.testing.assert_allclose(x[:, :2], np.tile(turn, (len(x), 1)), atol=1e-5)
    assert seen > 10


def test_fitting_without_augmentation():
    sample = mapped()
    view = DenseAugment(size=SIZE)(sample, rng())
    np.testing.assert_allclose(view.crop.matrix, Crop.stretch(sample.size, SIZE).matrix)
    view = DenseAugment(size=SIZE, fit="pad")(sample, rng())
    np.testing.assert_allclose(view.crop.matrix, Crop.pad(sample.size, SIZE).matrix)


def shares(views, size):
    """Return the share of the photograph's width and height that windows show."""
    boxes = [v.crop.to_image([[-0.5, -0.5], [SIZE[1] - 0.5, SIZE[0] - 0.5]]) for v in views]
    return np.abs(np.array([(box[1] - box[0]) / (size[1], size[0]) for box in boxes]))


def test_resizing_and_cutting_windows():
    sample = mapped((200, 100))
    augment = DenseAugment(size=SIZE, resize=(0.5, 2.0), crop=1.0)
    found = shares(many(augment, sample, 100), sample.size)
    # 200×100 fits into 96×72 at 0.48; enlarged twice, 96 of 192 rows and 72 of 96 columns are seen
    assert found.max() <= 1 + 1e-9
    assert np.isclose(found, 1).all(axis=1).mean() > 0.2
    assert 0.49 < found[:, 1].min() < 0.56
    assert 0.74 < found[:, 0].min() < 0.8


def test_cutting_areas():
    sample = mapped((200, 200))
    augment = DenseAugment(size=SIZE, crop=1.0, crop_kind="area")
    found = shares(many(augment, sample, 200), sample.size)
    area, aspect = found.prod(axis=1), found[:, 0] / found[:, 1]
    assert 0.39 < area.min() < 0.45
    assert area.max() <= 1 + 1e-9
    assert aspect.min() > 0.49
    assert aspect.max() < 2.02
    with pytest.raises(InputError, match="resize has no effect"):
        replace(augment, resize=(0.5, 2))


def test_windows_of_one_class_are_drawn_again():
    sample = mapped((300, 300))  # people in the upper left, the rest background
    arms = {PARTS.index(f"{side}_Upper_Arm") for side in ("Left", "Right")}

    def shown(most):
        augment = DenseAugment(size=SIZE, resize=(4, 4), crop=1.0, crop_most=most)
        views = many(augment, sample, 40)
        return np.mean([
            bool(arms & set(np.unique(v.person.warped(v.crop).raster("parts").values)))
            for v in views
        ])  # fmt: skip

    assert shown(0.75) > shown(1.0) + 0.1


def test_too_much_or_little_person():
    sample = mapped()  # a third is person
    assert DenseAugment(size=SIZE, people=(0.3, 0.4))(sample, rng()) is not None
    assert DenseAugment(size=SIZE, people=(0.4, 1.0))(sample, rng()) is None
    assert DenseAugment(size=SIZE, people=(0.0, 0.3))(sample, rng()) is None


def test_published_values_of_maps(tmp_path):
    image.write(tmp_path / "a.png", plain_sample().image)
    behind = Backgrounds(tmp_path)
    parts = DenseAugment.sapiens_parts(behind)
    assert (parts.background, parts.resize, parts.crop, parts.crop_most) == (
        0.8,
        (0.2, 2.0),
        1,
        0.75,
    )
    assert (parts.crop_tries, parts.rotation, parts.rotation_by, parts.mirror) == (10, 0.5, 45, 0.5)
    assert parts.pixels == PixelAugment(photometric=Photometric())
    depth = DenseAugment.sapiens_depth(behind)
    assert (depth.background, depth.rotation_by, depth.crop_most) == (0.5, 60, 1.0)
    assert DenseAugment.sapiens_normals(behind).rotation == 0
    second = DenseAugment.sapiens2_parts(behind)
    assert (second.resize, second.crop, second.rotation_by) == ((0.4, 2.0), 0.3, 60)
    assert (second.pixels.gaussian, second.pixels.noise) == (0.3, 0.3)
    assert second.pixels.noise_variance == (5, 20)
    normals = DenseAugment.sapiens2_normals()
    assert (normals.crop, normals.crop_area, normals.crop_aspect) == (0.3, (0.4, 1), (0.5, 2))
    assert (normals.pixels.down_up, normals.pixels.down_up_scale) == (0.2, (0.1, 0.7))
    assert (normals.crop_tries, normals.fit, normals.mirror) == (8, "pad", 0.3)
    assert (normals.pixels.solarise, normals.pixels.solarise_from) == (0.3, 128)
    assert DenseAugment.sapiens2_albedo().pixels == PixelAugment(noise=0.2)


# ------------------------------------------------------------------------------ backgrounds


def test_another_background(tmp_path):
    (tmp_path / "sub").mkdir()
    image.write(tmp_path / "sub" / "b.jpg", np.full((50, 40, 3), (30, 200, 90), np.uint8))
    image.write(tmp_path / "a.png", np.full((600, 400, 3), (30, 200, 90), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    behind = Backgrounds(tmp_path, transfer=False)
    assert len(behind) == 2
    assert behind.fingerprint() == Backgrounds(tmp_path).fingerprint()
    sample = mapped()
    view = DenseAugment(size=SIZE, backgrounds=behind, background=1.0)(sample, rng())
    plain = DenseAugment(size=SIZE)(sample, rng())
    labels = plain.person.warped(plain.crop).raster("parts").values > 0
    sure = cv2.erode(labels.astype(np.uint8), np.ones((3, 3))) > 0
    assert (view.image[sure] == plain.image[sure]).all()
    away = cv2.dilate(labels.astype(np.uint8), np.ones((5, 5))) == 0
    assert np.abs(view.image[away].astype(int) - (30, 200, 90)).max() <= 2
    coloured = Backgrounds(tmp_path)
    view = DenseAugment(size=SIZE, backgrounds=coloured, background=1.0)(sample, rng())
    assert np.abs(view.image[sure].mean(axis=0) - (30, 200, 90)).max() < 40
    often = many(DenseAugment(size=SIZE, backgrounds=behind, background=0.8), sample, 100)
    assert 0.7 < np.mean([view.image[0, 0, 1] > 100 for view in often]) < 0.9


def test_backgrounds_cover_and_move_with_the_photograph(tmp_path):
    wide = np.zeros((30, 90, 3), np.uint8)
    wide[:, 30:60, 0] = np.arange(30) * 8
    image.write(tmp_path / "a.png", wide)
    sample = mapped((60, 60))
    crop = Crop.whole((60, 60)).mirrored()
    behind = Backgrounds(tmp_path, transfer=False)
    nobody = Person(
        box=[0, 0, 1, 1],
        annotations={"parts": Raster(law="label", values=np.zeros((60, 60)), vocabulary=PARTS)},
    )
    found = behind(sample.image, nobody, crop, (60, 60), rng())
    scale = 60 / 29  # the outer rows of pixel centres reach the edges of the photograph
    expected = 8 * (44.5 + (np.arange(60)[::-1] - 29.5) / scale - 30)
    assert np.abs(found[:, 2:-2, 0] - expected[2:-2]).max() <= 2


def test_backgrounds_are_never_silently_off(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Backgrounds(tmp_path / "none")
    with pytest.raises(InputError, match="holds no picture"):
        Backgrounds(tmp_path)
    image.write(tmp_path / "a.png", plain_sample().image)
    augment = DenseAugment(size=SIZE, backgrounds=Backgrounds(tmp_path), background=1.0)
    with pytest.raises(InputError, match="which pixels are the person"):
        augment(dotted(), rng())


def test_what_is_person():
    person = mapped().people[0]
    labels = person.raster("parts").values > 0
    assert (foreground(person).values == labels).all()
    normals = Person(box=person.box, annotations={"normals": person.raster("normals")})
    assert (foreground(normals).values == labels).all()
    alpha = Raster(law="scalar", values=np.full((4, 5), 0.25), origin=(2, 3), kind="alpha")
    assert foreground(person.having(alpha=alpha)).values[0, 0] == 0.25
    assert foreground(person.having(alpha=alpha)).origin == (2, 3)
    assert foreground(dotted().people[0]) is None


# -------------------------------------------------------------------------------- pretraining


def test_random_parts():
    augment, size = MaskedAugment(), (1280, 1920)
    assert (augment.size, augment.area, augment.mirror) == ((1024, 1024), (0.2, 1.0), 0.5)
    parts = np.array([augment.part(size, rng(seed)) for seed in range(500)])
    y, x, height, width = parts.T
    assert (parts >= 0).all()
    assert (y + height <= 1280).all()
    assert (x + width <= 1920).all()
    share, aspect = height * width / (1280 * 1920), width / height
    assert 0.19 < share.min() < 0.22
    assert share.max() <= 1
    assert 0.74 < aspect.min() < 0.77
    assert 1.3 < aspect.max() < 1.34
    assert abs(np.log(aspect).mean()) < 0.05


def test_a_picture_too_narrow_for_any_part():
    y, x, height, width = MaskedAugment().part((1000, 100), rng())
    assert (y, x) == ((1000 - height) // 2, 0)
    assert (height, width) == (133, 100)
    assert MaskedAugment().part((100, 1000), rng())[2:] == (100, 133)


def test_parts_are_resampled_like_pillow():
    noise = np.random.default_rng(0).normal(0, 1, (150, 200, 3)).astype(np.float32)
    soft = np.clip(128 + 150 * cv2.GaussianBlur(noise, (0, 0), 2), 0, 255).astype(np.uint8)
    soft.flags.writeable = False
    for size, most, mean in (((64, 64), 2, 0.3), ((120, 160), 3, 0.5), ((256, 300), 3, 0.5)):
        wanted = Image.fromarray(soft).resize(size[::-1], Image.Resampling.BICUBIC)
        error = np.abs(resize_smoothly(soft, size).astype(int) - np.asarray(wanted))
        assert error.max() <= most
        assert error.mean() < mean


def test_windows_for_pretraining():
    sample = plain_sample(size=(60, 80))
    augment = MaskedAugment(size=(32, 32))
    found = many(augment, sample, 40)
    assert all(one.shape == (32, 32, 3) and one.dtype == np.uint8 for one in found)
    assert (found[3] == augment(sample, rng(3))).all()
    plain = replace(augment, mirror=0.0)
    mirrored = [
        (a[:, ::-1] == b).all() for a, b in zip(found, many(plain, sample, 40), strict=True)
    ]
    assert 10 < sum(mirrored) < 30
    second = MaskedAugment.sapiens2()
    assert (second.size, second.area) == ((1024, 768), (0.5, 1.0))


def test_vocabularies_without_halves_are_not_halved():
    words = vocabulary.make("tool", [f"corner_{n}" for n in "abcdefghi"])
    points = Points(vocabulary=words, xy=rng().uniform(20, 80, (9, 2)), scores=np.ones(9))
    person = Person(box=[10, 10, 90, 90], annotations={"pose": points})
    sample = Sample(image=np.zeros((100, 100, 3), np.uint8), people=(person,))
    view = PoseAugment(size=SIZE, half_body=1.0)(sample, rng())
    np.testing.assert_allclose(of(view.crop)[0], [50, 50])
