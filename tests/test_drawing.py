# SPDX-License-Identifier: Apache-2.0
"""Drawings: always a picture, never a warning, and what the colours mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitruvian import drawing, image, vocabulary
from vitruvian.drawing import legend, painters
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.person import Annotation, Person, Points, Raster, Sample

COCO = vocabulary.load("coco17")
PARTS = vocabulary.load("parts28")
SIZE = (90, 120)
GREY = np.full((*SIZE, 3), 128, np.uint8)
BOX = np.array([30.0, 10, 80, 85])


def pose(score: float = 0.9, words: vocabulary.Vocabulary = COCO) -> Points:
    rng = np.random.default_rng(1)
    xy = rng.uniform(BOX[:2], BOX[2:], (len(words), 2))
    return Points(vocabulary=words, xy=xy, scores=np.full(len(words), score))


def depth(kind: str | None = "metric", low: float = 1, high: float = 3) -> Raster:
    values = np.tile(np.linspace(low, high, SIZE[1], dtype=np.float32), (SIZE[0], 1))
    return Raster(law="scalar", values=values, kind=kind)


def person(**annotations: Annotation) -> Person:
    return Person(box=BOX, score=0.87, annotations=annotations)


def normals(vector: tuple[float, float, float] = (0, 0, -1)) -> Raster:
    values = np.broadcast_to(np.array(vector, np.float32), (*SIZE, 3))
    valid = np.zeros(SIZE, bool)
    valid[20:60, 40:70] = True
    return Raster(law="vector", values=values, valid=valid)


def labels() -> Raster:
    values = np.zeros((40, 30), np.uint8)
    values[5:20], values[20:35] = PARTS.index("Hair"), PARTS.index("Torso")
    return Raster(law="label", values=values, vocabulary=PARTS, origin=(40, 20))


EVERYTHING = {
    "pose": pose(), "parts": labels(), "depth": depth("relative", 0, 1), "normals": normals(),
    "albedo": Raster(law="colour", values=np.full((*SIZE, 3), 0.25, np.float32)),
    "points": Raster(law="position", values=np.ones((*SIZE, 3), np.float32)),
}  # fmt: skip


# -------------------------------------------------------------------------- always a picture


def empty(raster: Raster) -> Raster:
    return replace(raster, valid=np.zeros(raster.size, bool))


@pytest.mark.parametrize(
    "people",
    [
        [],
        [person()],
        [person(), person(pose=pose())],
        [person(pose=Points(vocabulary=COCO, xy=np.full((17, 2), np.nan), scores=np.zeros(17)))],
        [person(pose=Points(vocabulary=COCO, xy=np.full((17, 2), 1e30), scores=np.ones(17)))],
        [person(pose=replace(pose(), xy=np.zeros((17, 2))))],
        [person(depth=replace(depth(), values=np.full(SIZE, np.nan)))],
        [person(depth=replace(depth(None), values=np.full(SIZE, np.inf)))],
        [person(depth=depth("metric", 0, 0))],
        [person(depth=depth("relative", 2, 2))],
        [person(depth=empty(depth("inverse")), normals=empty(normals()), parts=empty(labels()))],
        [person(normals=replace(normals(), values=np.full((*SIZE, 3), np.nan)))],
        [person(parts=replace(labels(), values=np.full((40, 30), 200, np.uint8)))],
        [person(parts=replace(labels(), origin=(500, -500)))],
        [Person(box=np.zeros(4)), Person(box=np.array([-1e9, -1e9, 1e9, 1e9]), identity=10**9)],
        [person(**EVERYTHING), person(**EVERYTHING)],
    ],
)
@pytest.mark.parametrize("shape", [SIZE, (1, 1), (1, 300), (300, 1)])
def test_every_person_on_every_picture(people: list[Person], shape: tuple[int, int]) -> None:
    photo = np.full((*shape, 3), 99, np.uint8)
    tasks = {task for one in people for task in one.annotations}
    for task in tasks or {None}:
        picture = drawing.overlay(photo, people, task)
        assert picture.dtype == np.uint8
        assert picture.shape[1] >= shape[1]
        bare = drawing.overlay(photo, people, task, key=False)
        assert bare.shape == photo.shape
    assert drawing.sheet(photo, people).ndim == 3
    assert drawing.draw(photo, people).size[0] > 0
    assert (photo == 99).all()


def test_nobody_leaves_the_photograph_alone() -> None:
    np.testing.assert_array_equal(drawing.overlay(GREY), GREY)
    np.testing.assert_array_equal(drawing.overlay(GREY, task="pose"), GREY)


def test_draw_takes_files_and_gives_a_pillow_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    image.write(path, GREY)
    drawing.draw(path, [person(pose=pose())]).save(tmp_path / "seen.png")
    assert image.probe(tmp_path / "seen.png").width == SIZE[1]
    several = drawing.draw(str(path), [person(**EVERYTHING)])
    assert several.width > 5 * SIZE[1]
    alone = drawing.draw(path, [person(**EVERYTHING)], "normals")
    assert alone.width >= SIZE[1]


def test_wrong_tasks_are_errors() -> None:
    with pytest.raises(UnknownNameError, match="did you mean pose"):
        drawing.overlay(GREY, [person(pose=pose())], "poses")
    with pytest.raises(UnknownNameError, match="'pse': they have none"):
        drawing.draw(GREY, [person()], task="pse")
    with pytest.raises(UnknownNameError, match="they have none"):
        drawing.sheet(GREY, [person()], tasks=["pose"])
    assert drawing.draw(GREY, [person()]).size[0] == SIZE[1]
    with pytest.raises(InputError, match="give task= one of pose, parts, depth"):
        drawing.overlay(GREY, [person(**EVERYTHING)])
    with pytest.raises(UnknownNameError, match="task of these people"):
        drawing.sheet(GREY, [person(pose=pose())], tasks=["hands"])
    with pytest.raises(UnknownNameError, match="did you mean sheet"):
        drawing.write_drawing("sheets", Sample(image=GREY), "a")
    with pytest.raises(InputError, match="one or the other"):
        drawing.draw(Sample(image=GREY), [person()])
    with pytest.raises(InputError, match="at least one"):
        drawing.grid([])


@pytest.mark.parametrize("name", ["overlay", "sheet"])
def test_drawings_of_a_sample_are_written(tmp_path: Path, name: str) -> None:
    sample = Sample(image=GREY, people=(person(**EVERYTHING),), rasters={"scene": depth()})
    written = drawing.write_drawing(name, sample, tmp_path / "sub" / "a.b")
    wanted = [*EVERYTHING, "scene"] if name == "overlay" else ["sheet"]
    assert sorted(path.name for path in written) == sorted(f"a.b_{task}.jpg" for task in wanted)
    for path in written:
        assert image.read(path).shape[1] >= SIZE[1]
    (alone,) = drawing.write_drawing(name, Sample(image=GREY), tmp_path / "b")
    assert alone.name == ("b_boxes.jpg" if name == "overlay" else "b_sheet.jpg")


# -------------------------------------------------------------------------------------- points


def changed(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - 128).sum(axis=2)


def test_low_scores_are_faint_and_next_to_nothing_is_not_drawn() -> None:
    drawn = [
        changed(drawing.overlay(GREY, [person(pose=pose(score))], key=False, boxes=False))
        for score in (0.9, 0.31, 0.29, 0.11, 0.09)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    sums = [one.sum() for one in drawn[1:]]
    assert sums == sorted(set(sums), reverse=True), "the less they score, the fainter"
    assert sums[1] < 0.6 * sums[0]
    xy = pose().xy.round().astype(int)
    near = [drawn[3][y - 2 : y + 3, x - 2 : x + 3].max() for x, y in xy]
    assert min(near) > 0
    assert not drawn[4].any()
    half = pose().scores.copy()
    half[5] = 0.0
    partly = drawing.overlay(
        GREY, [person(pose=replace(pose(), scores=half))], key=False, boxes=False
    )
    gone = pose().xy.copy()
    gone[5] = np.nan
    without = drawing.overlay(GREY, [person(pose=replace(pose(), xy=gone))], key=False, boxes=False)
    np.testing.assert_array_equal(partly, without)
    unknown = drawing.overlay(GREY, [person(pose=pose(np.nan))], key=False, boxes=False)
    np.testing.assert_array_equal(changed(unknown), drawn[3])
    occluded = replace(pose(), visibility=np.ones(17))
    faint = drawing.overlay(GREY, [person(pose=occluded)], key=False, boxes=False)
    np.testing.assert_array_equal(changed(faint), drawn[2])
    strict = drawing.overlay(GREY, [person(pose=pose(0.9))], key=False, boxes=False, sure=0.95)
    np.testing.assert_array_equal(changed(strict), drawn[2])


def test_absent_points_are_not_drawn_and_the_rest_of_the_photograph_stays() -> None:
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    absent = replace(pose(), visibility=np.zeros(17))
    drawn = drawing.overlay(photo, [person(pose=absent)], key=False, boxes=False)
    np.testing.assert_array_equal(drawn, photo)
    drawn = drawing.overlay(photo, [person(pose=pose())], key=False, boxes=False)
    np.testing.assert_array_equal(drawn[:, :25], photo[:, :25])
    assert (drawn != photo).any()


def test_a_dot_sits_on_its_point() -> None:
    xy = np.full((17, 2), np.nan)
    xy[0] = (60.3, 40.8)
    one = Points(vocabulary=COCO, xy=xy, scores=np.ones(17))
    weight = changed(drawing.overlay(GREY, [person(pose=one)], key=False, boxes=False))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(centre, xy[0], atol=0.15)


def test_widths_follow_people_and_dots_shrink_in_a_crowd() -> None:
    assert painters.stroke(Person(box=np.array([0, 0, 9, 9])), (4000, 4000)) == 1
    wide = painters.stroke(Person(box=np.array([0, 0, 1000, 2000])), (4000, 4000))
    assert 12 < wide < 24
    words = vocabulary.load("sapiens308")
    for vocab in (words, COCO):
        drawn = drawing.overlay(GREY, [person(pose=pose(words=vocab))], key=False, boxes=False)
        share = (changed(drawn)[12:83, 32:78] > 0).mean()
        assert 0.02 < share < 0.95


def test_boxes_show_identity_by_colour() -> None:
    first, second = (
        drawing.overlay(GREY, [replace(person(), identity=number)]) for number in (3, 4)
    )
    assert (first != second).any()
    again = drawing.overlay(GREY, [replace(person(), identity=3 + len(painters.TRACK_COLOURS))])
    edge = np.s_[40:70, 28:33]
    np.testing.assert_array_equal(first[edge], again[edge])


# ---------------------------------------------------------------------------------------- maps


def test_parts_are_tinted_and_background_is_not() -> None:
    drawn = drawing.overlay(GREY, [person(parts=labels())], key=False)
    hair = PARTS.colours[PARTS.index("Hair")].astype(float)
    np.testing.assert_allclose(drawn[32, 50], 0.6 * hair + 0.4 * 128, atol=1)
    assert (drawn[:24] == 128).all()
    assert (drawn[60:] == 128).all()
    key = drawing.overlay(GREY, [person(parts=labels())])
    assert key.shape[0] > SIZE[0]
    assert legend.label_entries(labels(), PARTS) == [
        ("Hair", tuple(PARTS.colours[PARTS.index("Hair")])),
        ("Torso", tuple(PARTS.colours[PARTS.index("Torso")])),
    ]


@pytest.mark.parametrize(
    ("kind", "bright_left"),
    [("metric", True), ("relative", True), ("inverse", False), (None, False)],
)
def test_near_is_bright_and_invalid_is_grey(kind: str | None, bright_left: bool) -> None:
    raster = depth(kind)  # grows to the right
    valid = np.ones(SIZE, bool)
    valid[:10] = False
    drawn = drawing.overlay(GREY, [person(depth=replace(raster, valid=valid))], key=False)
    assert (drawn[:10] == painters.INVALID_GREY).all()
    light = drawn[50].astype(int).sum(axis=1)
    assert (light[5] > light[-5]) == bright_left
    steps = np.diff(light[5:-5])
    assert (steps <= 3).all() if bright_left else (steps >= -3).all()


def test_relative_depth_is_scaled_for_each_person() -> None:
    left = replace(depth("relative", 0.0, 0.2), valid=np.arange(120)[None] < np.full((90, 1), 60))
    right = replace(depth("relative", 5, 9), valid=np.arange(120)[None] >= np.full((90, 1), 60))
    both = drawing.overlay(GREY, [person(depth=left), person(depth=right)], key=False)
    one = drawing.overlay(GREY, [person(depth=left)], key=False)
    np.testing.assert_array_equal(both[:, :60], one[:, :60])
    assert both[:, 60:].astype(int).sum(axis=2).max() > 600


def test_normals_have_opengl_colours_over_the_photograph() -> None:
    drawn = drawing.overlay(GREY, [person(normals=normals())], key=False)
    assert (drawn[20:60, 40:70] == (128, 128, 255)).all()
    assert (drawn[:20] == 128).all()
    up = drawing.overlay(GREY, [person(normals=normals((0, -1, 0)))], key=False)
    assert (up[20:60, 40:70] == (128, 255, 128)).all()


def test_maps_of_the_whole_picture_are_drawn_too() -> None:
    sample = Sample(image=GREY, people=(person(),), rasters={"depth": depth(), "albedo": Raster(
        law="colour", values=np.full((*SIZE, 3), 7, np.uint8))})  # fmt: skip
    assert (drawing.overlay(sample, task="albedo", key=False) == 7).all()
    assert drawing.overlay(sample, task="depth").shape[0] > SIZE[0]


# -------------------------------------------------------------------------------------- layout


def test_grid_and_sheet_keep_every_picture() -> None:
    tiles = [(f"tile {i}", np.full((30 + i, 50, 3), 40 * i + 40, np.uint8)) for i in range(5)]
    page = drawing.grid(tiles, columns=2)
    for _, tile in tiles:
        assert (page == tile[0, 0]).all(axis=2).sum() >= tile.shape[0] * tile.shape[1]
    sheet = drawing.sheet(GREY, [person(**EVERYTHING)], tasks=["depth", "pose"])
    whole = drawing.sheet(GREY, [person(**EVERYTHING)])
    assert whole.shape[0] * whole.shape[1] > 1.5 * sheet.shape[0] * sheet.shape[1]
    photo = np.full((400, 300, 3), 7, np.uint8)
    assert (drawing.sheet(photo) == 7).all(axis=2).sum() == 900 * 675


def test_legends_are_never_wider_than_asked_for_long() -> None:
    for width in (1, 40, 400):
        for strip in (
            legend.point_key(width, 0.3, 12),
            legend.scale_bar(width, "far", "near", 12),
            legend.caption(width, "title", 12, "note"),
            legend.swatches(width, [("a long name", (1, 2, 3))] * 9, 12),
        ):
            assert strip.shape[1] == width
    assert legend.swatches(50, [], 12).shape == (0, 50, 3)
