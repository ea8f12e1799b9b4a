# SPDX-License-Identifier: Apache-2.0
"""Tables of keypoints and people, and the table of formats itself."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest

from vitruvian import files, formats, vocabulary
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.formats import Record, tables
from vitruvian.person import Person, Points, Raster, Sample

RNG = np.random.default_rng(5)
COCO = vocabulary.load("coco17")
PARTS = vocabulary.load("parts28")


def some_points(words: vocabulary.Vocabulary, **more: object) -> Points:
    xy = RNG.uniform(0, 99, (len(words), 2)).astype(np.float32)
    xy[0] = np.nan
    return Points(vocabulary=words, xy=xy, scores=RNG.random(len(words)), **more)  # type: ignore[arg-type]


def records() -> list[Record]:
    one = Person(
        box=np.array([1.5, 2, 30, 40]),
        score=0.25,
        identity=4,
        annotations={
            "pose": some_points(COCO, visibility=RNG.integers(0, 3, 17)),
            "face": some_points(vocabulary.load("sapiens308"), xyz=RNG.normal(size=(308, 3))),
        },
    )
    two = Person(box=np.array([0, 0, 3.0, 4]))
    return [
        Record(name='odd, "name".jpg', size=(50, 60), people=(one, two)),
        Record(
            name="b.png", people=(Person(box=np.zeros(4), annotations={"pose": some_points(COCO)}),)
        ),
    ]


def assert_same_people(ours: list[Record], theirs: list[Record]) -> None:
    assert [(r.name, r.size) for r in ours] == [(r.name, r.size) for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for one, other in zip(a.people, b.people, strict=True):
            np.testing.assert_allclose(one.box, other.box)
            assert (one.score, one.identity) == (other.score, other.identity)
            assert one.annotations.keys() == other.annotations.keys()
            for task in one.annotations:
                left, right = one.points(task), other.points(task)
                assert left.vocabulary == right.vocabulary
                for name in ("xy", "scores", "visibility", "xyz"):
                    wanted = getattr(right, name)
                    assert (getattr(left, name) is None) == (wanted is None)
                    if wanted is not None:
                        np.testing.assert_allclose(getattr(left, name), wanted, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_keypoints_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"k{suffix}"
    given = records()
    tables.write_points(path, given)
    assert_same_people(tables.read_points(path), given)
    tables.write_points(path, [])
    assert tables.read_points(path) == []


def test_a_spreadsheet_sees_names(tmp_path: Path) -> None:
    tables.write_points(tmp_path / "k.csv", records())
    with (tmp_path / "k.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17 + 308 + 1 + 17
    assert rows[1]["keypoint"] == "left_eye"
    assert rows[0]["x"] == rows[0]["y"] == ""
    assert rows[0]["image"] == 'odd, "name".jpg'
    assert float(rows[1]["box_x0"]) == 1.5


def test_vocabularies_of_ones_own(tmp_path: Path) -> None:
    own = vocabulary.make("robot", ["left_grip", "right_grip"], links=[("left_grip", "right_grip")])
    given = [
        Record(name="a", people=(Person(box=np.ones(4), annotations={"p": some_points(own)}),))
    ]
    tables.write_points(tmp_path / "k.parquet", given)
    read = tables.read_points(tmp_path / "k.parquet")[0].people[0].points("p").vocabulary
    assert read == own
    assert len(read.links) == 1
    tables.write_points(tmp_path / "k.csv", given)
    with pytest.raises(InputError, match="give vocabularies="):
        tables.read_points(tmp_path / "k.csv")
    assert tables.read_points(tmp_path / "k.csv", vocabularies={"robot": own})[0].name == "a"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_index_of_a_run(tmp_path: Path, suffix: str) -> None:
    given = [*records(), Record(name="nobody.jpg", size=(3, 4))]
    kept = {"b.png": {"depth-png": "out/b_depth.png", "sheet": "out/b_sheet.jpg"}}
    path = tmp_path / f"index{suffix}"
    tables.write_people(path, given, kept)
    read, found = tables.read_people(path)
    assert [(r.name, r.size, len(r.people)) for r in read] == [
        ('odd, "name".jpg', (50, 60), 2), ("b.png", None, 1), ("nobody.jpg", (3, 4), 0),
    ]  # fmt: skip
    assert read[0].people[0].identity == 4
    assert found == {'odd, "name".jpg': {}, "nobody.jpg": {}, **kept}


def test_tables_that_are_not_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        tables.write_points(tmp_path / "k.xlsx", [])
    (tmp_path / "k.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column image"):
        tables.read_points(tmp_path / "k.csv")
    (tmp_path / "k.parquet").write_bytes(b"PAR1")
    for name in ("k.parquet", "none.parquet", "none.csv"):
        with pytest.raises(InputError, match="no intact table"):
            tables.read_points(tmp_path / name)


# ------------------------------------------------------------------------------ the list of formats


def full_sample(people: int = 2) -> Sample:
    vector = np.zeros((20, 30, 3), np.float32)
    vector[..., 2] = -1
    made = tuple(
        Person(
            box=np.array([2 + i, 2, 20, 18]),
            annotations={
                "pose": Points(vocabulary=COCO, xy=np.ones((17, 2)), scores=np.ones(17)),
                "parts": Raster(law="label", values=np.ones((20, 30)), vocabulary=PARTS),
                "depth": Raster(law="scalar", values=np.full((20, 30), 0.5), kind="relative"),
                "normals": Raster(law="vector", values=vector),
            },
        )
        for i in range(people)
    )
    return Sample(image=np.zeros((24, 32, 3), np.uint8), people=made, name="a.jpg")


def test_every_format_writes_what_its_reader_reads(tmp_path: Path) -> None:
    sample = full_sample()
    for name, entry in formats.FORMATS.items():
        if entry.scope == "drawing":
            assert not entry.reader
            continue
        if entry.scope == "photo":
            written = formats.write_photo(name, sample, tmp_path / name / "a")
            wrong = "no file of a whole run"
            with pytest.raises(InputError, match=wrong):
                formats.write_run(name, [], tmp_path)
        else:
            written = [formats.write_run(name, [Record.of(sample)], tmp_path / name)]
            with pytest.raises(InputError, match="no file per photograph"):
                formats.write_photo(name, sample, tmp_path / "a")
        assert len(written) == (3 if name == "npz" else 1)
        module, _, function = entry.reader.rpartition(".")
        read = getattr(importlib.import_module(f"vitruvian.{module}"), function)
        for path in written:
            assert path.name.endswith(entry.suffix)
            result = read(path)
            if isinstance(result, Raster):
                assert result.size == sample.size
                assert entry.law in ("raster", result.law)
            elif isinstance(result, list):
                assert len(result[0].people) == 2
            else:
                assert len(result.people) == 2


def test_nobody_gives_no_maps_and_empty_lists(tmp_path: Path) -> None:
    sample = full_sample(0)
    for name, entry in formats.FORMATS.items():
        if entry.scope == "photo":
            written = formats.write_photo(name, sample, tmp_path / "a")
            assert len(written) == (1 if name == "openpose" else 0)
        elif entry.scope == "run":
            assert formats.write_run(name, [Record.of(sample)], tmp_path).exists()


def test_maps_of_the_whole_picture_come_first() -> None:
    whole = Raster(law="scalar", values=np.full((24, 32), 7.0), kind="metric")
    sample = full_sample()
    sample = Sample(image=sample.image, people=sample.people, rasters={"depth": whole})
    raster = formats.picture_raster(sample, "depth")
    assert raster is not None
    assert (raster.values == 7).all()
    assert formats.picture_raster(sample, "albedo") is None


def test_unknown_formats_get_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*normals-png"):
        formats.find("normal-png")


# ------------------------------------------------------------------------------------ whole files


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.json"
    files.write_json(path, {"x": "é"})
    assert files.read_json(path) == {"x": "é"}

    def full_disk() -> None:
        with files.atomic(path) as temporary:
            assert temporary.suffix == ".json"
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        full_disk()
    assert files.read_json(path) == {"x": "é"}
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, float("nan"))
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]
