# SPDX-License-Identifier: Apache-2.0
"""The 300 pixel rule is one of the original picture, however it is turned, copied and searched."""

import numpy as np
import pytest
from corpus import oriented, packed
from stand_ins import Exact, Figures
from test_pool import finish

from synth_shapes import look, mannequin
from vitruvian import image
from vitruvian.curate.basics import Integrity
from vitruvian.curate.engines import Here
from vitruvian.curate.people import Person
from vitruvian.curate.policy import load_policy
from vitruvian.curate.raw import read_raw_index
from vitruvian.curate.records import read_columns
from vitruvian.curate.select import select
from vitruvian.curate.stage import fingerprint
from vitruvian.curate.view import view_rows

UNDO = {  # how a picture has to be stored for a viewer who obeys the tag to see it upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
WITHOUT = ("watermark", "text", "artistic", "unnatural")


def kept(tree, person):
    """Names of the pictures that the shipped policy keeps, by its rules readable and person."""
    assert finish(tree, [Integrity(), person], Here()).failed == []
    view = select(tree, load_policy("sapiens").changed({}, WITHOUT))
    rows = view_rows(tree.root / "views" / view.digest)
    names = {s.name: read_raw_index(s)["source"].to_pylist() for s in tree.shards()}
    places = zip(rows["shard"].to_pylist(), rows["row"].to_pylist(), strict=True)
    return {names[shard][row] for shard, row in places}


@pytest.fixture(scope="module")
def cutout():
    """A rendered person, cut out: colours, and where it covers the wall."""
    pytest.importorskip("embreex")
    from vitruvian.synth import render
    from vitruvian.synth.background import Photo
    from vitruvian.synth.surfaces import Solid

    colours = ((0.5, 0.3, 0.2), (0.6, 0.1, 0.1), (0.1, 0.1, 0.2), (0.05, 0.04, 0.03))
    stage = render.prepare(
        render.Scene(
            meshes=tuple(mannequin()), surfaces=tuple(Solid(colour=c) for c in colours), people=()
        )
    )
    camera = look((0.6, 1.2, 3.2), (0, 0.9, 0), size=(480, 400))
    wall = Photo(image=np.full((40, 30, 3), 128, np.uint8))
    made = render.render(stage, camera, wall, np.random.default_rng(0))
    mask = made.instances > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return made.sample.image[cut], mask[cut]


def pasted(cutout, wanted, size, place, rng):
    """A picture of the person at about this (width, height) before a green wall, and its box."""
    wall = np.full((*size, 3), (30, 190, 40), np.int16) + rng.integers(-9, 10, (*size, 1))
    picture = wall.astype(np.uint8)
    colours, mask = cutout
    small = image.resize(np.ascontiguousarray(colours), wanted[::-1], "linear")
    shape = image.resize(np.ascontiguousarray(mask), wanted[::-1], "linear")
    top, left = place
    part = picture[top : top + wanted[1], left : left + wanted[0]]
    part[shape] = small[shape]
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    box = left + columns[0], top + rows[0], left + columns[-1], top + rows[-1]
    return picture, np.array(box, float)


SIZES = [  # width and height, on both sides of 300 for each side
    (291, 640), (294, 420), (308, 640), (310, 310), (520, 292), (520, 309), (295, 295), (307, 640),
]  # fmt: skip


def test_rendered_people_around_the_limit_at_any_orientation(tmp_path, cutout):
    rng = np.random.default_rng(0)
    files, boxes = {}, {}
    for number, wanted in enumerate([*SIZES, *SIZES]):
        size = [(760, 2050), (760, 1060), (760, 900)][number % 3]  # the last is not reduced
        picture, box = pasted(cutout, wanted, size, (50, 90), rng)
        orientation = (number + number // 8 * 3) % 8 + 1
        name = f"{number:02d}_{orientation}.jpg"
        stored = np.ascontiguousarray(UNDO[orientation](picture))
        files[name], boxes[name] = oriented(stored, orientation), box
    assert {name[3] for name in files} == set("12345678")
    tree, person = packed(tmp_path, files), Person(make=Figures, key="figures")
    found = kept(tree, person)
    sides = {name: box[2:] - box[:2] + 1 for name, box in boxes.items()}
    expected = {name for name, side in sides.items() if side.min() > 300}
    assert 4 <= len(expected) <= 12
    assert found == expected
    for shard in tree.shards():
        table = read_columns(tree.record("person", fingerprint(person), shard))
        names = read_raw_index(shard)["source"].to_pylist()
        for name, row in zip(names, table.to_pylist(), strict=True):
            (one,) = row["boxes"]
            box = [one["x0"], one["y0"], one["x1"], one["y1"]]
            assert box == pytest.approx(boxes[name], abs=2.5), name


def test_the_limit_itself_is_exact(tmp_path):
    """Told where people are to the last digit, 300 pixels are not above 300, and 301 are."""
    rng = np.random.default_rng(1)
    files, boxes, sizes = {}, {}, {}
    for number in range(24):
        side, other = (299, 300, 301)[number % 3], int(rng.integers(300, 500))
        width, height = (side, other) if number % 2 else (other, side)
        size = int(rng.integers(600, 1500)), int(rng.integers(600, 1500))
        x, y = rng.integers(0, size[1] - width), rng.integers(0, size[0] - height)
        orientation = number % 8 + 1
        name = f"{number:02d}.jpg"
        blank = np.full((*size, 3), 90, np.uint8)
        files[name] = oriented(np.ascontiguousarray(UNDO[orientation](blank)), orientation)
        boxes[name], sizes[name] = (x, y, x + width - 1, y + height - 1), size
    exact = Exact(boxes, sizes)
    tree = packed(tmp_path, files, per_shard=24)
    found = kept(tree, Person(make=lambda: exact, key="exact"))
    measured = {n: min(b[2] - b[0], b[3] - b[1]) + 1 for n, b in boxes.items()}
    assert found == {name for name, side in measured.items() if side > 300}
    assert {299, 300, 301} <= set(measured.values())
