# SPDX-License-Identifier: Apache-2.0
"""``vitruvian evaluate`` on keypoints: equal to the reference code, and careful with files."""

import contextlib
import copy
import csv
import io
import json
import math

import made_sets
import numpy as np
import pytest
from metric_laws import COCO_NAMES

from vitruvian import vocabulary
from vitruvian.cli import main
from vitruvian.evaluate import answers
from vitruvian.evaluate.cases import Keypoints
from vitruvian.evaluate.plan import Plan, _boxes
from vitruvian.metrics import PCK
from vitruvian.predict.load import load


def run(out, *arguments):
    return main(["evaluate", "--out", str(out), "--worst", "0", *map(str, arguments)])


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def dump(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def reference(content, entries, points, group=None):
    """pycocotools on one group of points; detections' areas from the body, as for 133 points."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    words = vocabulary.load(points)
    chosen = list(range(len(words))) if group is None else list(group)
    truth, found = copy.deepcopy(content), copy.deepcopy(entries)
    areas = []
    for entry in truth["annotations"]:
        rows = made_sets.rows_of(words, entry)[chosen]
        entry["keypoints"] = rows.ravel().tolist()
        entry["num_keypoints"] = int((rows[:, 2] > 0).sum())
    for entry in found:
        rows = made_sets.rows_of(words, entry)
        body = rows[list(words.groups["body"]), :2] if group is not None else rows[:, :2]
        areas.append(float(np.prod(np.ptp(body, axis=0))))
        entry["keypoints"] = rows[chosen].ravel().tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {"info": {}, **truth}
        known.createIndex()
        guessed = known.loadRes(found)
        for number, area in enumerate(areas, 1):
            guessed.anns[number]["area"] = area
        evaluation = COCOeval(known, guessed, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(words.sigmas)[chosen]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_NAMES, evaluation.stats, strict=True))


def assert_equal(ours, theirs):
    for name, value in theirs.items():
        assert (ours[name] is None) == (value == -1), name
        assert value == -1 or abs(ours[name] - value) < 1e-6, name


def test_seventeen_points_equal_the_reference(tmp_path):
    data, content = made_sets.coco_set(tmp_path, photos=12)
    entries = made_sets.results(content, noise=0.08, false=2)
    path = dump(tmp_path / "results.json", entries)
    assert run(tmp_path / "out", "--data", data, "--predictions", path) == 0
    results = report(tmp_path / "out")["results"]["pose"]
    assert_equal(results, reference(content, entries, "coco17"))
    assert 0.05 < results["AP"] < 0.95


def test_133_points_equal_the_reference_in_every_group(tmp_path):
    data, content = made_sets.coco_set(tmp_path, photos=12, points="wholebody133")
    entries = made_sets.results(content, "wholebody133", noise=0.02, false=2)
    path = dump(tmp_path / "results.json", entries)
    arguments = ["--data", data, "--predictions", path, "--protocol", "wholebody"]
    assert run(tmp_path / "out", *arguments) == 0
    results = report(tmp_path / "out")["results"]["pose"]
    words = vocabulary.load("wholebody133")
    groups = {name: list(members) for name, members in words.groups.items()}
    groups |= {"whole": range(133), "hand": groups["left_hand"] + groups["right_hand"]}
    for group, members in groups.items():
        ours = {name: results[f"{group}/{name}"] for name in COCO_NAMES}
        assert_equal(ours, reference(content, entries, "wholebody133", members))


def test_308_points_have_six_groups_and_114_are_shared_with_133(tmp_path):
    data, content = made_sets.coco_set(tmp_path, points="sapiens308", crowd=False)
    entries = made_sets.results(content, "sapiens308")
    path = dump(tmp_path / "results.json", entries)
    assert run(tmp_path / "out", "--data", data, "--predictions", path) == 0
    results = report(tmp_path / "out")["results"]["pose"]
    groups = ("whole", "body", "foot", "face", "left_hand", "right_hand", "hand")
    assert all(results[f"{group}/AP"] == 1 for group in groups)
    # A file of 133 points on truth of 308, in the 114 that both have.
    _, other = made_sets.coco_set(tmp_path / "b", points="wholebody133", crowd=False)
    guess = made_sets.results(other, "wholebody133")
    path = dump(tmp_path / "133.json", guess)
    shared = ["--data", data, "--predictions", path, "--compare-points", "common114"]
    assert run(tmp_path / "shared", *shared) == 0
    found = report(tmp_path / "shared")
    assert found["vocabularies"]["points"].startswith("common114@")
    assert {"whole/AP", "face/AP", "hand/AR"} <= set(found["results"]["pose"])


def test_133_points_on_308_need_a_common_vocabulary(tmp_path, capsys):
    data, _ = made_sets.coco_set(tmp_path, points="sapiens308")
    model = made_sets.weights(tmp_path / "w.safetensors", points="wholebody133")
    assert run(tmp_path / "out", "--data", data, "--model", model) == 2
    assert "--compare-points common114" in capsys.readouterr().err
    arguments = ["--data", data, "--model", model, "--compare-points", "common114"]
    assert run(tmp_path / "out", *arguments) == 0


def test_truth_is_perfect_and_what_is_wrong_shows(tmp_path):
    data, content = made_sets.coco_set(tmp_path)
    words = vocabulary.load("coco17")
    perfect = made_sets.results(content)
    mirrored = copy.deepcopy(perfect)
    for entry in mirrored:
        rows = np.array(entry["keypoints"]).reshape(-1, 3)
        entry["keypoints"] = rows[words.mirror].ravel().tolist()
    cases = {"perfect": perfect, "mirrored": mirrored, "nobody": []}
    cases["twice"] = perfect + [{**entry, "score": entry["score"] - 0.001} for entry in perfect]
    found = {}
    for name, entries in cases.items():
        path = dump(tmp_path / f"{name}.json", entries)
        assert run(tmp_path / name, "--data", data, "--predictions", path) == 0
        found[name] = report(tmp_path / name)["results"]["pose"]
    assert found["perfect"]["AP"] == found["perfect"]["AR"] == 1
    assert found["perfect"]["PCK@0.05"] == 1
    assert found["mirrored"]["AP"] < 0.3
    assert found["twice"]["AR"] == 1
    assert found["twice"]["AP"] < 0.8
    assert found["nobody"]["AP"] == found["nobody"]["AR"] == found["nobody"]["PCK@0.2"] == 0


def test_a_row_says_who_was_missed_and_who_is_not_there(tmp_path):
    data, content = made_sets.coco_set(tmp_path, crowd=False)
    entries = made_sets.results(content)
    lost = entries.pop(0)
    path = dump(tmp_path / "r.json", entries)
    assert run(tmp_path / "out", "--data", data, "--predictions", path) == 0
    with (tmp_path / "out" / "photographs.csv").open() as file:
        rows = {int(row["number"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert float(rows[lost["image_id"]]["pose/missed"]) == 1
    assert rows[10]["pose/OKS"] == ""  # nobody in the photograph
    assert sum(float(row["pose/false"]) for row in rows.values()) == 0
    counted = sum(float(row["pose/people"]) for row in rows.values())
    assert report(tmp_path / "out")["data"]["people"] == counted == len(entries) + 1


def test_other_tools_files_are_ranked_and_freed_of_duplicates(tmp_path):
    data, content = made_sets.coco_set(tmp_path)
    names = {photo["id"]: photo["file_name"] for photo in content["images"]}
    people: dict[str, list[dict]] = {}
    for entry in made_sets.results(content):
        rows = np.array(entry["keypoints"]).reshape(-1, 3)
        x0, y0, x1, y1 = *rows[:, :2].min(axis=0), *rows[:, :2].max(axis=0)
        instance = {"keypoints": rows[:, :2].tolist(), "keypoint_scores": rows[:, 2].tolist()}
        instance |= {"bbox": [[x0, y0, x1, y1]], "bbox_score": 0.9}
        people.setdefault(names[entry["image_id"]], []).extend([instance, instance])
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name, instances in people.items():
        dump(folder / name.replace(".png", ".json"), {"instance_info": instances})
    assert run(tmp_path / "out", "--data", data, "--predictions", folder) == 0
    results = report(tmp_path / "out")["results"]["pose"]
    assert results["AP"] == results["AR"] == 1


def wrong(change):
    def changed(entries):
        entries = copy.deepcopy(entries)
        change(entries)
        return entries

    return changed


def swap(entries):
    for entry in entries:
        rows = np.array(entry["keypoints"]).reshape(-1, 3)
        entry["keypoints"] = rows[:, [1, 0, 2]].ravel().tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e[0].update(image_id=999), "of photographs nobody knows, such as image_id 999"),
        (lambda e: e[0].update(image_id="3"), "nobody knows, such as image_id '3'"),
        (lambda e: [x.update(keypoints=x["keypoints"][:48]) for x in e], "has 16 points for each"),
        (lambda e: e[1].update(keypoints=e[1]["keypoints"][:48]), "entry 1 has 16 points"),
        (lambda e: e[0].update(keypoints=e[0]["keypoints"][:50]), "x, y, score for each point"),
        (lambda e: [x.update(keypoints=[1.0] * 66) for x in e], "has 22 points, the truth is"),
        (lambda e: e[2]["keypoints"].__setitem__(4, math.nan), "NaN or infinite: write 0, 0"),
        (lambda e: e[2].update(score=math.nan), "its score is nan"),
        (lambda e: e[2].pop("score"), "its score is None"),
        (lambda e: e[0].pop("keypoints"), "has no 'keypoints'"),
        (swap, "only with x and y exchanged"),
    ],
)
def test_malformed_predictions_are_refused_with_what_to_do(tmp_path, capsys, change, words):
    data, content = made_sets.coco_set(tmp_path)
    path = dump(tmp_path / "r.json", wrong(change)(made_sets.results(content)))
    code = run(tmp_path / "out", "--data", data, "--predictions", path)
    text = capsys.readouterr().err
    assert code == 2, text
    assert words in text
    assert "Traceback" not in text


def test_a_model_looks_at_annotated_or_given_boxes(tmp_path):
    data, content = made_sets.coco_set(tmp_path)
    model = made_sets.weights(tmp_path / "w.safetensors")
    assert run(tmp_path / "true", "--data", data, "--model", model) == 0
    boxes = [
        {"image_id": e["image_id"], "category_id": 1, "bbox": e["bbox"], "score": 1.0}
        for e in content["annotations"]
        if e["num_keypoints"] and not e["iscrowd"]
    ]
    path = dump(tmp_path / "boxes.json", boxes)
    assert run(tmp_path / "given", "--data", data, "--model", model, "--boxes", path) == 0
    assert report(tmp_path / "true")["results"] == report(tmp_path / "given")["results"]
    none = dump(tmp_path / "none.json", [{**boxes[0], "image_id": 424242}])
    assert run(tmp_path / "x", "--data", data, "--model", model, "--boxes", none) == 2
    assert run(tmp_path / "whole", "--data", data, "--model", model, "--boxes", "whole") == 0
    assert report(tmp_path / "whole")["settings"]["boxes"] == "whole"


def test_tracks_that_fit_no_photograph_are_refused(tmp_path, capsys):
    data, _ = made_sets.coco_set(tmp_path, photos=2)
    arguments = ["--data", data, "--model", made_sets.weights(tmp_path / "w.safetensors")]
    tracks = tmp_path / "tracks.txt"
    tracks.write_text("77,1,2,2,40,50,1\n")
    assert run(tmp_path / "out", *arguments, "--boxes", tracks) == 2
    assert "boxes of other photographs (77, …)" in " ".join(capsys.readouterr().err.split())
    tracks.write_text("3,1,2,2,40,50,1\n")  # 000000000003.png
    assert run(tmp_path / "out", *arguments, "--boxes", tracks) == 0


def test_boxes_by_image_id_are_not_taken_for_names(tmp_path):
    """Photographs called 1.png, 2.png, … whose ids are others."""
    data, content = made_sets.coco_set(tmp_path, photos=4)
    numbers = dict(zip([3, 10, 17, 24], [2, 3, 1, 9], strict=True))
    for place, photo in enumerate(content["images"], 1):
        photo |= {"id": numbers[photo["id"]], "file_name": f"{place}.png"}
    for entry in content["annotations"]:
        entry["image_id"] = numbers[entry["image_id"]]
    cases = Keypoints(dump(data, content))

    def found(entries):
        plan = Plan(data=str(data), boxes=str(dump(tmp_path / "boxes.json", entries)))
        boxes = _boxes(plan, cases)
        return {place: one.boxes[:, 0].tolist() for place, one in boxes.items()}

    def entry(x, **names):
        return {"category_id": 1, "bbox": [x, 0, 9, 9], "score": 1.0, **names}

    by_id = [entry(number * 10, image_id=number) for number in (1, 2, 4)]
    assert found(by_id) == {0: [20], 2: [10]}  # 4.png, with the id 9, has none
    by_name = [entry(n * 10, image_id=n, file_name=f"{n}.png") for n in (1, 2, 4)]
    assert found(by_name) == {0: [10], 1: [20], 3: [40]}
    by_stem = [entry(n * 10, image_id=n, file_name=str(n)) for n in (1, 2, 4)]
    assert found(by_stem) == {0: [10], 1: [20], 3: [40]}
    elsewhere = [entry(40, image_id=4)]  # nobody's id: only the name can be meant
    assert found(elsewhere) == {3: [40]}


def test_duplicates_are_told_by_the_windows_of_who_answers_pose(tmp_path, monkeypatch):
    data, _ = made_sets.coco_set(tmp_path, photos=1)
    wide = made_sets.weights(tmp_path / "parts.safetensors", ("parts",), size=(48, 96))
    pose = made_sets.weights(tmp_path / "pose.safetensors")
    seen, ranked = [], answers.ranked
    monkeypatch.setattr(
        answers, "ranked", lambda *a, aspect, **k: seen.append(aspect) or ranked(*a, **k)
    )
    predictor = load(wide, pose, detector="whole", device="cpu", batch=1)
    found = answers.Seen(predictor, Keypoints(data), tasks=["pose"])
    assert len(list(found.stream([0]))) == 1
    assert seen == [0.75]


def test_predictions_written_by_predict_are_read_back(tmp_path):
    """The model judged here, and judged by the files it wrote."""
    data, _ = made_sets.coco_set(tmp_path, photos=4, crowd=False)
    model = made_sets.weights(tmp_path / "w.safetensors")
    assert run(tmp_path / "a", "--data", data, "--model", model, "--boxes", "whole") == 0
    seen = tmp_path / "seen"
    command = ["predict", str(tmp_path / "images"), "--model", str(model), "--out", str(seen)]
    assert main([*command, "--detector", "whole", "--write", "results", "json"]) == 0
    for name in ("results.json", "people.json"):
        assert run(tmp_path / name, "--data", data, "--predictions", seen / name) == 0
        ours, theirs = (report(tmp_path / p)["results"]["pose"] for p in ("a", name))
        for key in ("AP", "AR", "PCK@0.1"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-6)


def test_pck_takes_missed_people_as_wrong():
    metric = PCK(2, thresholds=(0.1,))
    truth = np.zeros((1, 2, 2))
    metric.update(
        points=np.full((1, 2, 2), np.nan), truth=truth, labelled=np.ones((1, 2), bool),
        reference=[10.0],
    )  # fmt: skip
    assert metric.result()["PCK@0.1"] == 0
