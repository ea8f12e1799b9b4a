# SPDX-License-Identifier: Apache-2.0
"""``vitruvian predict`` and ``bench`` as a person would run them, with small random weights."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import vitruvian as vi
from vitruvian.cli import main
from vitruvian.commands.results import ENDS, SUFFIXES, ResultFolder, list_photos
from vitruvian.errors import InputError
from vitruvian.formats import FORMATS, coco, depth, maps, normals, openpose
from vitruvian.image import probe
from vitruvian.model.card import Card, TaskCard
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.model.weights import load, save

WHOLE = ["--detector", "whole"]
TINY = ViTConfig(dim=32, depth=1, heads=2, mlp_hidden=64, grid=(4, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Two self-describing files: pose of 17 points, and all dense tasks."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    files = {}
    groups = {"pose": ("pose",), "dense": ("parts", "depth", "normals")}
    shapes = {"pose": (17, 2), "parts": (28, 3), "depth": (1, 4), "normals": (3, 3)}
    names = {"pose": "coco17", "parts": "parts28"}
    for name, tasks in groups.items():
        heads = {
            task: DenseHeadConfig(
                in_dim=32, out=shapes[task][0], widths=(8,) * shapes[task][1], refine=(8,)
            )
            for task in tasks
        }
        network = Network(NetworkConfig(backbone=TINY, heads=heads))
        network.reset_parameters()
        card = Card(
            name=name,
            generation="vitruvian",
            network=network.config,
            tasks={task: TaskCard(vocabulary=names.get(task)) for task in tasks},
            input_size=(64, 48),
            framing="person",
            licence="Apache-2.0",
            commercial="yes",
        )
        files[name] = folder / f"{name}.safetensors"
        save(files[name], network, card)
    return files


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "inner/a.jpg"):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def run(weights, photos, out, *more, models=("pose", "dense")):
    names = [str(weights[name]) for name in models]
    given = ["predict", str(photos), "--out", str(out), "--model", *names]
    return main([*given, "--detector", "whole", *more])


def test_a_folder_becomes_files_that_read_back(weights, photos, tmp_path, capsys):
    out = tmp_path / "out"
    everything = [name for name, entry in FORMATS.items() if entry.extra is None]
    assert run(weights, photos, out, "--write", *everything) == 0
    assert "3 people in 3 photographs" in capsys.readouterr().out
    records = coco.read(out / "people.json")
    assert [record.name for record in records] == ["a.jpg", "b.png", "inner/a.jpg"]
    people = vi.load(weights["pose"], weights["dense"], detector="whole")(photos / "b.png")
    np.testing.assert_allclose(records[1].people[0].points().xy, people[0].points().xy, atol=2e-3)
    assert maps.read_labels(out / "b_parts.png").size == (60, 80)
    assert depth.read_png(out / "inner" / "a_depth.png").kind == "relative"
    assert normals.read_png(out / "b_normals.png", check=False).law == "vector"
    assert len(openpose.read(out / "a_keypoints.json").people) == 1
    assert probe(out / "a_sheet.jpg").width > 300
    assert probe(out / "b_parts.jpg").format == "jpeg"


def test_interrupted_runs_go_on_where_they_stopped(weights, photos, tmp_path, capsys, monkeypatch):
    from vitruvian.formats import coco as module

    out = tmp_path / "out"
    original = module.write_keypoints
    count = iter(range(9))

    def stop_at_the_second(path, records, **fields):
        if next(count) == 1:
            raise KeyboardInterrupt
        original(path, records, **fields)

    monkeypatch.setattr(module, "write_keypoints", stop_at_the_second)
    assert run(weights, photos, out, "--write", "json", models=["pose"]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(weights, photos, out, "--write", "json", models=["pose"]) == 0
    assert "2 new" in capsys.readouterr().out
    assert len(coco.read(out / "people.json")) == 3
    assert run(weights, photos, out, "--write", "json", models=["pose"]) == 0
    assert "all done before" in capsys.readouterr().out
    assert run(weights, photos, out, "--write", "json", "--flip", "True", models=["pose"]) == 2
    assert "other settings (flip)" in capsys.readouterr().err
    assert run(weights, photos, out, "--write", "json", "--overwrite", models=["pose"]) == 0
    assert "3 new" in capsys.readouterr().out


def test_one_bad_file_stops_nothing(weights, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes((photos / "a.jpg").read_bytes()[:200])
    (photos / "empty.png").write_bytes(b"")
    assert run(weights, photos, tmp_path / "out", "--write", "json", models=["pose"]) == 1
    error = capsys.readouterr().err
    assert "failed: bad.jpg" in error
    assert "failed: empty.png" in error
    assert "2 of 5 photographs failed" in error
    assert len(coco.read(tmp_path / "out" / "people.json")) == 3


def test_results_belong_to_the_file_they_were_made_from(weights, tmp_path):
    """Photographs of one name in other folders, beside each other, and replaced ones."""
    rng = np.random.default_rng(1)

    def photo(name, height):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, 80, 3), dtype=np.uint8)).save(path)

    def sizes(folder):
        assert run(weights, folder, tmp_path / "out", "--write", "json", models=["pose"]) == 0
        records = coco.read(tmp_path / "out" / "people.json")
        return {record.name: record.size[0] for record in records}

    photo("one/x.png", 60)
    photo("two/x.png", 70)
    assert sizes(tmp_path / "one") == {"x.png": 60}
    assert sizes(tmp_path / "two") == {"x.png": 60, "x-2.png": 70}
    photo("one/x.jpg", 50)
    assert sizes(tmp_path / "one") == {"x.png": 60, "x-2.png": 70, "x.jpg": 50}
    photo("one/x.png", 90)
    assert sizes(tmp_path / "one") == {"x.png": 90, "x-2.png": 70, "x.jpg": 50}


def test_starting_again_forgets_the_files_of_before(weights, photos, tmp_path):
    out = tmp_path / "out"
    assert run(weights, photos, out, "--write", "depth-png", models=["dense"]) == 0
    assert (out / "a_depth.png").exists()
    assert run(weights, photos, out, "--write", "labels-png", "--overwrite", models=["dense"]) == 0
    assert not (out / "a_depth.png").exists()
    assert (out / "a_parts.png").exists()


def test_replaced_weights_and_boxes_are_other_settings(weights, photos, tmp_path, capsys):
    own = {"pose": tmp_path / "own.safetensors"}
    own["pose"].write_bytes(weights["pose"].read_bytes())
    boxes = tmp_path / "boxes.json"
    entry = {"file_name": "b.png", "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 40]}
    boxes.write_text(json.dumps([entry]))
    given = [str(photos), "--write", "json", "--model", str(own["pose"])]
    given += ["--detector", str(boxes), "--out", str(tmp_path / "out")]
    assert main(["predict", *given]) == 0
    assert main(["predict", *given]) == 0
    assert "all done before" in capsys.readouterr().out
    boxes.write_text(json.dumps([entry | {"bbox": [6, 6, 30, 40]}]))
    assert main(["predict", *given]) == 2
    assert "settings (what the file of --detector holds)" in capsys.readouterr().err
    boxes.write_text(json.dumps([entry]))
    network, card = load(own["pose"])
    with torch.no_grad():
        next(network.parameters()).add_(1)
    save(own["pose"], network, card)
    assert main(["predict", *given]) == 2
    assert "settings (what the files of --model hold)" in capsys.readouterr().err


def test_files_that_a_changed_photograph_no_longer_gives_go(weights, photos, tmp_path):
    out, boxes = tmp_path / "out", tmp_path / "boxes.json"
    entries = [
        {"file_name": name, "image_id": n, "category_id": 1, "bbox": [30, 30, 40, 25]}
        for n, name in enumerate(("a.jpg", "b.png"))
    ]
    boxes.write_text(json.dumps(entries))
    given = [str(photos), "--write", "depth-png", "labels-png", "--model", str(weights["dense"])]
    given += ["--detector", str(boxes), "--out", str(out)]
    assert main(["predict", *given]) == 0
    assert (out / "a_depth.png").exists()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(photos / "a.jpg")  # the box is outside
    assert main(["predict", *given]) == 0
    assert not (out / "a_depth.png").exists()
    assert not (out / "a_parts.png").exists()
    assert (out / "b_depth.png").exists()
    assert (out / "classes.json").exists()


def test_people_of_a_photograph_that_became_unreadable_go(weights, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(weights, photos, out, "--write", "json", "labels-png") == 0
    (photos / "a.jpg").write_bytes(b"no picture")
    for _ in range(2):
        assert run(weights, photos, out, "--write", "json", "labels-png") == 1
        assert "failed: a.jpg" in capsys.readouterr().err
        assert [record.name for record in coco.read(out / "people.json")] == [
            "b.png",
            "inner/a.jpg",
        ]
        left = {p.name for p in out.rglob("*") if p.is_file() and p.name.startswith("a")}
        assert left == {"a_parts.png", "a.jpg.json", "a.jpg.done.json"}  # of inner/a.jpg
        assert not (out / "a_parts.png").exists()


def test_starting_again_removes_what_was_written_and_nothing_else(weights, photos, tmp_path):
    out = tmp_path / "out"
    everything = ["json", "results", "csv", "parquet"]
    assert run(weights, photos, out, "--write", "labels-png", *everything) == 0
    (out / "inner" / "mine.txt").write_text("kept")
    (out / "mine.json").write_text("{}")
    written = {"people.json", "results.json", "keypoints.csv", "keypoints.parquet", "classes.json"}
    assert written <= {path.name for path in out.iterdir()}
    assert run(weights, photos, out, "--write", "depth-png", "--overwrite", models=["dense"]) == 0
    (out / "people.json").write_text("{}")  # mine: no run with these settings writes it
    (out / "inner" / "classes.json").write_text("{}")
    assert run(weights, photos, out, "--write", "csv", "--overwrite", models=["pose"]) == 0
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    left = {name for name in left if not name.startswith(".vitruvian/")}
    own = {"inner/mine.txt", "mine.json", "people.json", "inner/classes.json"}
    assert left == {"keypoints.csv", *own}


def test_a_missing_package_is_said_before_anything_is_done(
    weights, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    out = tmp_path / "out"
    assert run(weights, photos, out, "--write", "json", "depth-exr") == 2
    assert "pip install 'vitruvian[exr]'" in capsys.readouterr().err
    assert not out.exists()


def test_photographs_named_in_the_folder_of_results(weights, photos, capsys):
    """As a shell names them, the results of before among them."""
    one = photos / "a.jpg"
    given = ["--out", str(photos), "--model", str(weights["dense"]), "--detector", "whole"]
    given += ["--write", "overlay", "depth-png", "labels-png"]

    def predict():
        named = map(str, sorted(path for path in photos.iterdir() if path.suffix in SUFFIXES))
        return main(["predict", *named, str(photos / "a.jpg"), *given])

    assert main(["predict", str(one), *given]) == 0
    assert (photos / "a_depth.png").exists()
    assert predict() == 0
    assert "(1 new" in capsys.readouterr().out
    assert predict() == 0
    assert "in 2 photographs" in capsys.readouterr().out
    assert main(["predict", str(photos / "classes.json"), *given]) == 2
    assert main(["predict", str(photos), *given]) == 2
    assert f"what lies in {photos} counts as results" in capsys.readouterr().err
    ends = {p.stem.removeprefix("a_") for p in photos.glob("a_*")}
    assert {"parts", "depth", "normals"} <= ends <= {*ENDS}
    (photos / "c.jpg").write_bytes(one.read_bytes())
    (photos / "c_depth.png").write_bytes((photos / "b.png").read_bytes())
    before = (photos / "c_depth.png").read_bytes()
    assert predict() == 2
    assert "c_depth.png is called like a result of 'c.jpg'" in capsys.readouterr().err
    assert (photos / "c_depth.png").read_bytes() == before


def test_what_fits_is_written_by_default(weights, photos, tmp_path):
    assert run(weights, photos, tmp_path / "out", models=["pose"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert names == {"people.json", "a_sheet.jpg", "b_sheet.jpg"}


def test_boxes_of_pictures_in_folders(weights, photos, tmp_path):
    """Our own people.json, fed back as boxes, finds the same people in the same pictures."""
    boxes = tmp_path / "boxes.json"
    entries = [
        {"file_name": "a.jpg", "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 40]},
        {"file_name": "inner/a.jpg", "image_id": 2, "category_id": 1, "bbox": [8, 8, 20, 20]},
        {"file_name": "b.png", "image_id": 3, "category_id": 1, "bbox": [-1e9, -1e9, 3e9, 3e9]},
    ]
    boxes.write_text(json.dumps(entries))
    given = ["predict", str(photos), "--model", str(weights["pose"]), "--write", "json"]
    assert main([*given, "--detector", str(boxes), "--out", str(tmp_path / "first")]) == 1
    first = coco.read(tmp_path / "first" / "people.json")
    assert [(r.name, r.people[0].box[0]) for r in first] == [("a.jpg", 5), ("inner/a.jpg", 8)]
    again = str(tmp_path / "first" / "people.json")
    assert main([*given, "--detector", again, "--out", str(tmp_path / "second")]) == 0
    second = coco.read(tmp_path / "second" / "people.json")
    assert [len(record.people) for record in second] == [1, 0, 1]


def test_boxes_made_elsewhere(weights, photos, tmp_path):
    boxes = tmp_path / "boxes.json"
    entries = [
        {
            "file_name": "b.png",
            "image_id": 1,
            "category_id": 1,
            "bbox": [5, 5, 30, 40],
            "score": 0.9,
        },
        {
            "file_name": "b.png",
            "image_id": 1,
            "category_id": 1,
            "bbox": [40, 5, 30, 40],
            "score": 0.4,
        },
    ]
    boxes.write_text(json.dumps(entries))
    given = ["predict", str(photos), "--model", str(weights["pose"]), "--write", "json"]
    out = tmp_path / "out"
    assert main([*given, "--detector", str(boxes), "--min-score", "0.5", "--out", str(out)]) == 0
    records = coco.read(out / "people.json")
    assert [len(record.people) for record in records] == [0, 1, 0]
    np.testing.assert_allclose(records[1].people[0].box, [5, 5, 35, 45])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.jpg", "--model", "pose"], "no file, folder or match called 'nowhere.jpg'"),
        (["{photos}", "--model", "sapiens-pose-308-1b"], "vitruvian weights fetch"),
        (["{photos}", "--model", "{pose}", "--write", "jsn"], "did you mean json"),
        (["{photos}", "--model", "{pose}", "--tasks", "parts"], "not a parts model"),
        (["{photos}", "--model", "{pose}", "{dense}", "--tasks", "poze"], "did you mean pose"),
        (["{photos}", "--model", "{pose}", *WHOLE, "--write", "depth-png"], "nothing to write"),
        (
            ["{photos}", "--model", "{pose}", *WHOLE, "--framing", "pad"],
            "--framing pad has no effect",
        ),
        (
            ["{photos}", "--model", "{pose}", *WHOLE, "--normal-signs", "1", "1", "1"],
            "--normal-signs has no effect",
        ),
        (
            ["{photos}", "--model", "{pose}", *WHOLE, "--min-score", "0.5"],
            "min_score has no effect",
        ),
        (
            ["{photos}", "--model", "{pose}", "--detector", "{boxes}"],
            "name none of these photographs",
        ),
        (["{photos}", "--model", "{pose}"], "no person detector on this machine"),
        (["{photos}/notes.txt", "--model", "{pose}", "--out", "{photos}/notes.txt"], "is a file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments, word, weights, photos, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr("vitruvian.predict.load.BUILT_IN", tmp_path / "none.safetensors")
    monkeypatch.chdir(tmp_path)
    boxes = tmp_path / "boxes.json"
    boxes.write_text('[{"image_id": 3, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 1}]')
    values = {"photos": str(photos), "boxes": str(boxes)}
    values |= {name: str(path) for name, path in weights.items()}
    assert main(["predict", *(text.format(**values) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()  # so the corrected command is not held to this one


def test_names_and_paths(tmp_path):
    for name in ("one/a.jpg", "two/a.jpg", "two/a.png", "two/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = list_photos([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "two/c.jpg")])
    assert [photo.name for photo in found] == ["a.jpg", "a.jpg", "a.png", "c.jpg"]
    named = ResultFolder(tmp_path / "out", {}, overwrite=False).named(found)
    assert [photo.name for photo in named] == ["a.jpg", "a-2.jpg", "a.png", "c.jpg"]
    assert len({photo.stem for photo in named}) == 4
    pattern = str(tmp_path / "t*" / "*.jpg")
    assert [photo.name for photo in list_photos([pattern])] == ["a.jpg", "c.jpg"]
    inside = list_photos([str(tmp_path)], leave_out=tmp_path / "two")
    assert [photo.name for photo in inside] == ["one/a.jpg"]
    with pytest.raises(InputError, match="no photograph found"):
        list_photos([str(tmp_path / "*.gif")])
    alone = list_photos([str(tmp_path / "two/a.jpg")], leave_out=tmp_path / "two")
    assert [photo.name for photo in alone] == ["a.jpg"]
    deep = [photo.name for photo in list_photos([str(tmp_path / "**" / "*.jpg")])]
    assert sorted(deep) == ["a.jpg", "a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("given", "wanted"), [("photos/**.jpg", "photos/**/*.jpg"), ("/x/a**/*.png", "/x/**/a*/*.png")]
)
def test_two_stars_stand_for_folders(given, wanted):
    with pytest.raises(InputError, match=re.escape(f"write '{wanted}'")):
        list_photos([given])


def test_python_in_three_lines(weights, photos, tmp_path):
    people = vi.load(weights["pose"], detector="whole")(photos / "a.jpg")
    vi.draw(photos / "a.jpg", people).save(tmp_path / "seen.png")
    assert probe(tmp_path / "seen.png").width >= 80


def test_bench_says_where_the_time_goes(weights, tmp_path, capsys):
    figures = tmp_path / "bench.json"
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(photo)
    given = ["--image", str(photo), "--people", "2", "--repeat", "1", "--json", str(figures)]
    assert main(["bench", "--model", str(weights["dense"]), *given]) == 0
    assert "forward" in capsys.readouterr().out
    content = json.loads(figures.read_text())
    stages = ["read", "detect", "crop", "forward", "decode", "draw", "write"]
    assert list(content["milliseconds"]) == stages
    assert content["people"] == 2
    assert main(["bench", "--people", "0"]) == 2
