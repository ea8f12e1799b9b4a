# SPDX-License-Identifier: Apache-2.0
"""``vitruvian evaluate`` on parts, depth and normals, of models and of folders of maps."""

import csv
import json
import shutil
from dataclasses import replace

import made_sets
import numpy as np
import pytest

from vitruvian import image
from vitruvian.cli import main
from vitruvian.correspondence import convert_labels
from vitruvian.data.options import SourceOptions
from vitruvian.data.source import Listed
from vitruvian.data.sources.maps import MapSettings
from vitruvian.evaluate import run as loop
from vitruvian.evaluate.cases import Sampled
from vitruvian.evaluate.page import worst_cases
from vitruvian.evaluate.plan import Plan, prepare
from vitruvian.evaluate.scoring import Settings, label_pair
from vitruvian.formats import png
from vitruvian.person import Person, Raster, Sample
from vitruvian.vocabulary import load, make

SAID = ["--parts", "parts28", "--depth-kind", "metric", "--normals", "opengl"]


def run(out, *arguments):
    return main(["evaluate", "--out", str(out), "--worst", "0", *map(str, arguments)])


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def predictions(root, folder, depth=lambda d: d, normals=lambda n: n):
    """A folder of maps from the truth, changed."""
    for name in ("parts", "depths", "normals"):
        shutil.copytree(root / name, folder / name)
    for change, name in ((depth, "depths"), (normals, "normals")):
        for path in (folder / name).iterdir():
            np.save(path, change(np.load(path)))
    return folder


def test_truth_is_perfect_up_to_scale_and_shift(tmp_path):
    root = made_sets.map_set(tmp_path / "set")
    folder = predictions(root, tmp_path / "p", depth=lambda d: 0.3 * d + 7)
    arguments = ["--data", root, *SAID, "--predictions", folder, "--predicted-normals", "opengl"]
    assert run(tmp_path / "out", *arguments) == 0
    results = report(tmp_path / "out")["results"]
    assert results["parts"]["mIoU"] == results["parts"]["mBoundaryIoU"] == 1
    assert results["parts"]["IoU/Hair"] == 1
    assert results["parts"]["IoU/Torso"] is None
    assert results["depth"]["RMSE"] < 1e-6
    assert results["depth"]["delta1"] == 1
    assert results["normals"]["mean"] < 1e-3
    assert run(tmp_path / "raw", *arguments, "--alignment", "none", "--tasks", "depth") == 0
    raw = report(tmp_path / "raw")["results"]["depth"]
    assert raw["RMSE"] == pytest.approx(np.abs(0.7 * 1.8 - 7), rel=0.1)


def test_opposite_and_turned_normals_are_known(tmp_path, capsys):
    root = made_sets.map_set(tmp_path / "set")
    turn = np.array([[np.cos(0.35), -np.sin(0.35), 0], [np.sin(0.35), np.cos(0.35), 0], [0, 0, 1]])
    folder = predictions(root, tmp_path / "p", normals=lambda n: (n @ turn.T).astype(np.float32))
    arguments = ["--data", root, *SAID, "--tasks", "normals", "--predicted-normals"]
    assert run(tmp_path / "out", *arguments, "opengl", "--predictions", folder) == 0
    found = report(tmp_path / "out")["results"]["normals"]
    assert 0 < found["mean"] < np.degrees(0.35)
    assert run(tmp_path / "b", *arguments, "opencv", "--predictions", folder) == 2
    assert "0% of its normals on people face the viewer" in capsys.readouterr().err


def test_constant_depth_has_the_spread_of_the_truth(tmp_path):
    root = made_sets.map_set(tmp_path / "set", photos=1)
    folder = predictions(root, tmp_path / "p", depth=np.ones_like)
    arguments = ["--data", root, *SAID, "--tasks", "depth", "--predictions", folder]
    assert run(tmp_path / "out", *arguments) == 0
    mask, _, depth = made_sets.ball(centre=(36, 30))
    found = report(tmp_path / "out")["results"]["depth"]
    assert found["RMSE"] == pytest.approx(depth[mask].std(), rel=1e-5)


def test_only_person_pixels_count(tmp_path):
    root = made_sets.map_set(tmp_path / "set")
    mask, _, _ = made_sets.ball(centre=(36, 30))

    def spoil(depth):
        spoilt = depth.copy()
        spoilt[:5] = 99  # far from every ball
        return spoilt

    folder = predictions(root, tmp_path / "p", depth=spoil)
    arguments = ["--data", root, *SAID, "--tasks", "depth", "--predictions", folder]
    assert run(tmp_path / "out", *arguments) == 0
    assert report(tmp_path / "out")["results"]["depth"]["RMSE"] < 1e-6
    assert not mask[:5].any()


def test_a_model_answers_all_dense_tasks(tmp_path):
    root = made_sets.map_set(tmp_path / "set")
    model = made_sets.weights(tmp_path / "w.safetensors", ("parts", "depth", "normals"))
    for framing in ("person", "stretch"):
        out = tmp_path / framing
        assert run(out, "--data", root, *SAID, "--model", model, "--framing", framing) == 0
        found = report(out)
        assert set(found["results"]) == {"parts", "depth", "normals"}
        assert found["results"]["depth"]["coverage"] > 0.9
        with (out / "photographs.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 4
        mean = np.mean([float(row["depth/RMSE"]) for row in rows])
        assert found["results"]["depth"]["RMSE"] == pytest.approx(mean, rel=1e-9)


def test_what_predict_writes_is_read_back(tmp_path):
    """One folder with several maps per photograph, as 16-bit PNG, against the model itself."""
    root = made_sets.map_set(tmp_path / "set")
    model = made_sets.weights(tmp_path / "w.safetensors", ("parts", "depth"))
    seen, common = tmp_path / "seen", ["--mask", "none", "--detector", "whole"]
    formats = ["--write", "labels-png", "depth-png", "--framing", "stretch"]
    command = ["predict", str(root / "images"), "--model", str(model), "--out", str(seen)]
    assert main([*command, *common, *formats]) == 0
    data = ["--data", root, *SAID, "--tasks", "parts", "depth"]
    assert run(tmp_path / "files", *data, "--predictions", seen) == 0
    assert run(tmp_path / "model", *data, "--model", model, "--framing", "stretch") == 0
    ours, theirs = (report(tmp_path / name)["results"] for name in ("files", "model"))
    assert ours["parts"] == theirs["parts"]
    assert ours["depth"]["RMSE"] == pytest.approx(theirs["depth"]["RMSE"], rel=1e-3)


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        (
            "parts",
            lambda p: image.write(p, np.zeros((30, 40), np.uint8)),
            "must have the same size",
        ),
        ("parts", lambda p: image.write(p, np.zeros((80, 60), np.uint8)), "is 80×60"),
        ("parts", lambda p: image.write(p, np.full((60, 80), 99, np.uint8)), "has the value 99"),
        ("depths", lambda p: np.save(p, np.full((60, 80), np.nan)), "NaN"),
        ("depths", lambda p: np.save(p, np.ones((80, 60))), "must have the same size"),
        ("normals", lambda p: np.save(p, np.ones((60, 80, 2))), "wanted (height, width, 3)"),
        ("normals", lambda p: p.unlink(), "no normals for n0.png of 4 photographs"),
        ("normals", lambda p: p.write_bytes(b"no"), "no intact"),
    ],
)
def test_malformed_maps_are_refused_with_what_to_do(tmp_path, capsys, task, change, words):
    root = made_sets.map_set(tmp_path / "set")
    folder = predictions(root, tmp_path / "p")
    change(next(p for p in sorted((folder / task).iterdir()) if p.stem == "n0"))
    arguments = ["--data", root, *SAID, "--predictions", folder, "--predicted-normals", "opengl"]
    assert run(tmp_path / "out", *arguments) == 2
    text = capsys.readouterr().err
    assert words in text
    assert "n0" in text


def test_inverse_depth_is_refused(tmp_path, capsys):
    root = made_sets.map_set(tmp_path / "set")
    folder = predictions(root, tmp_path / "p")
    arguments = ["--data", root, *SAID, "--tasks", "depth", "--predictions", folder]
    assert run(tmp_path / "out", *arguments, "--predicted-depth", "inverse") == 2
    assert "store 1 / it as relative depth" in capsys.readouterr().err


def test_labels_of_public_sets_are_translated(tmp_path, capsys):
    """ATR's folders, in the 28 classes of Sapiens, and in its own."""
    root, model = tmp_path / "atr", made_sets.weights(tmp_path / "w.safetensors", ("parts",))
    labels = np.zeros(made_sets.SIZE, np.uint8)
    labels[10:40, 20:50] = 4  # UpperClothes
    labels[40:50, 20:50] = 17  # Scarf, no class of Sapiens
    for folder, pixels in (
        ("JPEGImages", np.zeros((*made_sets.SIZE, 3), np.uint8)),
        ("SegmentationClassAug", labels),
    ):
        (root / folder).mkdir(parents=True)
        image.write(root / folder / "a.png", pixels)
    assert run(tmp_path / "out", "--data", root, "--parts", "parts28", "--model", model) == 0
    found = report(tmp_path / "out")
    assert found["data"]["layout"] == "atr"
    assert found["results"]["parts"]["Acc/Upper_Clothing"] is not None
    assert found["results"]["parts"]["Acc/Hair"] is None
    assert run(tmp_path / "own", "--data", root, "--model", model) == 2
    assert "atr18" in capsys.readouterr().err


def case_of(plan, out):
    """What is measured of a plan's one task, and the pictures of its first photograph."""
    evaluation, folder = prepare(plan), loop.Folder(out)
    folder.claim(plan)
    loop.work(evaluation, folder)
    measured = loop.gather(evaluation, folder)
    (scorer,) = evaluation.scorers()
    (case,) = worst_cases(evaluation, measured, scorer, [0])
    return measured.results[scorer.task], dict(case.pictures)


def test_the_page_compares_labels_as_they_are_scored(tmp_path):
    root = made_sets.map_set(tmp_path / "set", photos=1)
    folder = predictions(root, tmp_path / "p")
    path = root / "parts" / "n0.png"
    image.write(path, convert_labels(png.read(path)[0], "parts28", "parts29"))
    plan = Plan(
        data=str(root),
        predictions=str(folder),
        tasks=("parts",),
        options=SourceOptions(parts="parts29", depth_kind="metric", normals="opengl"),
        predicted=MapSettings(parts=load("parts28")),
    )
    found, pictures = case_of(plan, tmp_path / "out")
    assert found["mIoU"] == 1
    wrong = pictures["where it is wrong"].astype(int)
    assert (wrong[..., 0] - wrong[..., 1] < 40).all()  # nothing is red
    assert (pictures["truth"] == pictures["answer"]).mean() > 0.95


def test_the_page_aligns_depth_as_it_is_scored(tmp_path):
    root = made_sets.map_set(tmp_path / "set", photos=1)
    folder = predictions(root, tmp_path / "p", depth=lambda d: d + 7)
    plan = Plan(
        data=str(root),
        predictions=str(folder),
        tasks=("depth",),
        options=SourceOptions(parts="parts28", depth_kind="metric", normals="opengl"),
    )
    for alignment, bright in (("scale_shift", False), ("none", True)):
        asked = replace(plan, settings=Settings(alignment=alignment))
        _, pictures = case_of(asked, tmp_path / alignment)
        middle = pictures["where it is wrong"][200:220, 250:280]
        assert (middle.mean() > 100) == bright


def test_what_was_not_found_is_the_background_of_the_vocabulary():
    words = make("mine", ["person", "nobody"], kind="parts", background=1)
    true = Raster(law="label", values=np.ones((2, 2), np.uint8), vocabulary=words)
    guess = replace(true, values=np.zeros((2, 2), np.uint8), valid=np.zeros((2, 2), bool))
    for found in (guess, None):
        known, values = label_pair(true, found, words)
        assert (known == values).all()


def test_nobody_predicted_is_background_and_not_covered(tmp_path):
    words = load("parts28")
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = words.index("Hair")
    person = Person(
        box=np.array([5, 5, 14, 14]),
        annotations={"parts": Raster(law="label", values=labels, vocabulary=words)},
    )
    cases = Sampled(
        Listed([Sample(image=np.zeros((20, 20, 3), np.uint8), people=(person,), name="a")]), ["a"]
    )
    from vitruvian.evaluate.answers import Answer
    from vitruvian.evaluate.scoring import Settings, make_scorers

    (scorer,) = make_scorers(["parts"], Settings(boundary=0), parts=words)
    truth = cases.sample(0)
    bare = Sample(image=truth.image, name="a")
    row = scorer.update(cases, Answer(place=0, truth=truth, sample=bare))
    assert row["mIoU"] == pytest.approx((300 / 400 + 0) / 2)
    assert scorer.result()["Acc/Hair"] == 0


def test_parsing_sets_are_evaluated_on_their_validation_part(tmp_path, capsys):
    for split, value in (("train", 5), ("val", 13)):
        images, maps = tmp_path / "lip", tmp_path / "lip" / "TrainVal_parsing_annotations"
        for folder in (images / f"{split}_images", maps / f"{split}_segmentations"):
            folder.mkdir(parents=True)
        pixels = np.zeros((*made_sets.SIZE, 3), np.uint8)
        image.write(images / f"{split}_images" / f"{split}.jpg", pixels)
        labels = np.full(made_sets.SIZE, value, np.uint8)
        image.write(maps / f"{split}_segmentations" / f"{split}.png", labels)
    (tmp_path / "answers").mkdir()
    face = load("parts28").index("Face_Neck")
    for name in ("train", "val"):
        answer = np.full(made_sets.SIZE, face, np.uint8)
        image.write(tmp_path / "answers" / f"{name}.png", answer)
    arguments = ["--data", tmp_path / "lip", "--parts", "parts28"]
    arguments += ["--predictions", tmp_path / "answers"]
    assert run(tmp_path / "o", *arguments) == 0
    assert (tmp_path / "o" / "photographs.csv").read_text().splitlines()[1].startswith("val.jpg")
    assert report(tmp_path / "o")["results"]["parts"]["mIoU"] == 1
    assert run(tmp_path / "p", *arguments, "--split", "train") == 0
    assert report(tmp_path / "p")["results"]["parts"]["mIoU"] == 0
    image.write(tmp_path / "answers" / "val.png", np.full(made_sets.SIZE, 77, np.uint8))
    assert run(tmp_path / "q", *arguments) == 2
    assert "--predicted-parts" in capsys.readouterr().err
