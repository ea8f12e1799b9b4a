# SPDX-License-Identifier: Apache-2.0
"""How an evaluation goes: parts and processes, interruption, reports, pages, protocols."""

import json
import os
import re
from dataclasses import replace

import made_sets
import numpy as np
import pytest

from vitruvian import vocabulary
from vitruvian.cli import main
from vitruvian.data.sources.maps import MapSettings
from vitruvian.evaluate import run as loop
from vitruvian.evaluate.inputs import checksums
from vitruvian.evaluate.plan import Plan
from vitruvian.evaluate.protocols import PROTOCOLS

SAID = ["--parts", "parts28", "--depth-kind", "metric", "--normals", "opengl"]


def run(out, *arguments, worst=0):
    return main(["evaluate", "--out", str(out), "--worst", str(worst), *map(str, arguments)])


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def left(out):
    """Everything an evaluation leaves that must not depend on how it was done."""
    with np.load(out / "evidence.npz") as archive:
        evidence = {name: archive[name].tolist() for name in archive.files}
    return report(out)["results"], (out / "photographs.csv").read_text(), evidence


@pytest.fixture(scope="module")
def keypoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("keypoints")
    data, _ = made_sets.coco_set(root, photos=40)
    return ["--data", data, "--model", made_sets.weights(root / "w.safetensors"), "--flip", "True"]


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    made_sets.map_set(root / "set", photos=20)
    model = made_sets.weights(root / "w.safetensors", ("parts", "depth", "normals"))
    return ["--data", root / "set", *SAID, "--model", model]


@pytest.mark.parametrize("kind", ["keypoints", "dense"])
def test_three_parts_give_the_same_as_one(kind, tmp_path, request, capsys, monkeypatch):
    arguments = request.getfixturevalue(kind)
    assert run(tmp_path / "one", *arguments) == 0
    for part in ("3/3", "1/3", "2/3"):
        assert not (tmp_path / "three" / "report.json").exists()
        assert run(tmp_path / "three", *arguments, "--part", part) == 0
    assert "left to other parts" in capsys.readouterr().out
    assert left(tmp_path / "one") == left(tmp_path / "three")
    monkeypatch.setattr(loop, "CHUNK", 7)  # other company on the way through
    assert run(tmp_path / "seven", *arguments) == 0
    assert report(tmp_path / "one")["results"] == report(tmp_path / "seven")["results"]


@pytest.mark.slow
def test_three_processes_give_the_same_as_one(keypoints, tmp_path):
    assert run(tmp_path / "one", *keypoints) == 0
    assert run(tmp_path / "three", *keypoints, "--processes", "3") == 0
    assert left(tmp_path / "one") == left(tmp_path / "three")
    bad = [*keypoints, "--processes", "2", "--boxes", tmp_path / "one" / "report.json"]
    assert run(tmp_path / "bad", *bad) == 2


def test_it_goes_on_where_it_stopped(keypoints, tmp_path, monkeypatch, capsys):
    save, count = loop._save, iter(range(9))

    def stop_at_the_second(*arguments):
        if next(count) == 1:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(loop, "_save", stop_at_the_second)
    assert run(tmp_path / "out", *keypoints) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    monkeypatch.undo()
    scored = []
    score = loop._score
    monkeypatch.setattr(loop, "_score", lambda e, places: scored.append(places) or score(e, places))
    assert run(tmp_path / "out", *keypoints) == 0
    assert scored == [range(16, 32), range(32, 40)]
    assert run(tmp_path / "whole", *keypoints) == 0
    assert left(tmp_path / "out") == left(tmp_path / "whole")
    assert run(tmp_path / "out", *keypoints, "--exact") == 2
    assert "other settings (exact)" in capsys.readouterr().err
    assert run(tmp_path / "out", *keypoints, "--exact", "--overwrite") == 0
    assert report(tmp_path / "out")["settings"]["exact"] is True


def test_a_report_says_how_to_repeat_it(keypoints, tmp_path):
    assert run(tmp_path / "out", *keypoints) == 0
    found = report(tmp_path / "out")
    (model,) = found["models"]
    assert re.fullmatch(r"[0-9a-f]{64}", model["sha256"])
    assert re.fullmatch(r"[0-9a-f]{64}", found["data"]["sha256"])
    assert found["command"][0] == "vitruvian"
    assert found["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", found["commit"])
    assert found["machine"]["device"] == "cpu"
    assert found["machine"]["threads"] >= 1
    assert found["settings"]["flip"] is True
    assert found["published"] == []
    assert found["protocol"]["name"] == "folder"


def test_the_page_shows_the_worst_first_truth_beside_answer(keypoints, dense, tmp_path):
    for arguments, tasks, pictures in ((keypoints, ["pose"], 3), (dense, None, 4)):
        out = tmp_path / str(pictures)
        assert run(out, *arguments, worst=5) == 0
        text = (out / "worst.html").read_text(encoding="utf-8")
        for section in text.split("<h2>")[1:]:
            task = section.partition(":")[0]
            assert tasks is None or task in tasks
            cards = section.split("<article>")[1:]
            assert len(cards) == 5
            assert all(card.count("<img") == pictures for card in cards)
            key = {"pose": "OKS", "parts": "mIoU", "depth": "AbsRel", "normals": "mean"}[task]
            shown = [float(re.search(rf"{key} <b>([\d.]+)", card)[1]) for card in cards]
            order = sorted(shown, reverse=task in ("depth", "normals"))
            assert shown == order
            assert "truth" in section
        assert "http" not in text  # it loads nothing


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "folder"])
def test_data_that_is_not_there_says_where_it_comes_from(name, tmp_path, capsys):
    model = made_sets.weights(tmp_path / "w.safetensors")
    nowhere = tmp_path / "nowhere"
    arguments = ["--data", nowhere, "--model", model, "--protocol", name]
    assert run(tmp_path / "out", *arguments) == 2
    text = capsys.readouterr().err
    for line in ("no such file or folder", "source:", "licence:", "expected:"):
        assert line in text
    nowhere.mkdir()
    assert run(tmp_path / "out", *arguments) == 2
    assert "expected:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--protocol", "wholebody"], "the protocol is for wholebody133, the data has coco17"),
        (["--tasks", "depth"], "not a depth model"),
        (["--tasks", "deph"], "did you mean depth"),
        (["--framing", "pad"], "--framing has no effect on keypoints"),
        (["--normal-signs", "1", "1", "1"], "--normal-signs has no effect"),
        (["--alignment", "none"], "--alignment has no effect"),
        (["--compare-parts", "parts29"], "--compare-parts parts29 has no effect"),
        (["--predicted-depth", "metric"], "no effect without --predictions"),
        (["--part", "4/3"], "wanted I/N"),
        (["--part", "1/3", "--processes", "2"], "give one of them"),
        (["--predictions", "x.json"], "give what to evaluate"),
        (["--boxes", "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_cannot_be_meant_is_refused(keypoints, tmp_path, capsys, extra, words):
    assert run(tmp_path / "out", *keypoints, *extra) == 2
    assert words in capsys.readouterr().err


def test_options_of_models_have_no_effect_on_files(keypoints, tmp_path, capsys):
    data = keypoints[:2]
    path = tmp_path / "r.json"
    path.write_text("[]")
    assert run(tmp_path / "out", *data, "--predictions", path, "--flip", "True") == 2
    assert "--flip has no effect on predictions made elsewhere" in capsys.readouterr().err
    assert run(tmp_path / "out", *data, "--predictions", path, "--zooms", "0.9") == 2
    assert "--zooms has no effect on predictions made elsewhere" in capsys.readouterr().err
    assert run(tmp_path / "out", *data, "--predictions", tmp_path / "none.json") == 2
    assert "no such file or folder of predictions" in capsys.readouterr().err


def test_a_damaged_chunk_is_named(keypoints, tmp_path, capsys):
    assert run(tmp_path / "out", *keypoints) == 0
    chunk = next((tmp_path / "out" / ".vitruvian").glob("chunk-*.npz"))
    chunk.write_bytes(chunk.read_bytes()[:50])
    assert run(tmp_path / "out", *keypoints) == 2
    assert "remove it and run again" in capsys.readouterr().err
    intact = bytearray((tmp_path / "out" / "evidence.npz").read_bytes())
    intact[60:120] = bytes(60)  # whole, with a stream that does not unpack
    chunk.write_bytes(intact)
    assert run(tmp_path / "out", *keypoints) == 2
    assert "remove it and run again" in capsys.readouterr().err


def test_other_contents_under_the_same_name_are_refused(tmp_path, capsys):
    data, content = made_sets.coco_set(tmp_path, photos=3)
    model = made_sets.weights(tmp_path / "w.safetensors")
    last = content["images"][-1]["id"]
    entries = [one for one in made_sets.results(content) if one["image_id"] != last]
    files = {name: tmp_path / f"{name}.json" for name in ("found", "boxes")}
    files["found"].write_text(json.dumps(entries))
    boxes = [{"image_id": 3, "category_id": 1, "bbox": [4, 4, 30, 40], "score": 1.0}]
    files["boxes"].write_text(json.dumps(boxes))
    ways = {
        "a": ["--data", data, "--predictions", files["found"]],
        "b": ["--data", data, "--model", model, "--boxes", files["boxes"], "--flip", "True"],
    }
    for name, way in ways.items():
        assert run(tmp_path / name, *way) == 0
        assert run(tmp_path / name, *way) == 0  # nothing changed
    content["images"].pop()
    content["annotations"] = [e for e in content["annotations"] if e["image_id"] != last]
    changes = {
        ("a", files["found"]): lambda p: p.write_text(json.dumps(entries[1:])),
        ("b", files["boxes"]): lambda p: p.write_text(json.dumps(boxes * 2)),
        ("b", model): lambda p: made_sets.weights(p, size=(48, 64)),
        ("a", data): lambda p: p.write_text(json.dumps(content)),
    }
    for (name, path), change in changes.items():
        before = path.read_bytes()
        change(path)
        assert run(tmp_path / name, *ways[name]) == 2
        assert f"from before {path} changed" in " ".join(capsys.readouterr().err.split())
        path.write_bytes(before)
    changes["a", data](data)
    assert run(tmp_path / "a", *ways["a"], "--overwrite") == 0
    assert report(tmp_path / "a")["data"]["photographs"] == 2
    marker = tmp_path / "a" / ".vitruvian" / "plan.json"
    kept = json.loads(marker.read_text())
    marker.write_text(json.dumps({**kept, "photographs": 3}))
    assert run(tmp_path / "a", *ways["a"]) == 2
    assert "of 3 photographs, now there are 2" in " ".join(capsys.readouterr().err.split())
    marker.write_text(json.dumps({key: kept[key] for key in kept if key != "files"}))
    assert run(tmp_path / "a", *ways["a"]) == 2
    assert "kept no checksums" in " ".join(capsys.readouterr().err.split())


def test_folders_and_vocabularies_count_with_what_is_in_them(tmp_path):
    folder = tmp_path / "maps" / "depth"
    folder.mkdir(parents=True)
    (folder / "around").symlink_to(tmp_path / "maps")
    np.save(folder / "a.npy", np.zeros(3))
    (tmp_path / "data.json").write_text("{}")
    plan = Plan(data=str(tmp_path / "data.json"), predictions=str(tmp_path / "maps"))
    out = tmp_path / "maps" / "out"

    def told(words=None):
        predicted = MapSettings(parts=words)
        return checksums(replace(plan, predicted=predicted), leave_out=out)

    first = told()
    out.mkdir()
    (out / "report.json").write_text("{}")
    (folder / ".hidden").write_text("")
    assert told() == first
    np.save(folder / "a.npy", np.ones(3))  # of the same size
    os.utime(folder / "a.npy", ns=(0, 5))
    second = told()
    assert {name for name in first if first[name] != second[name]} == {plan.predictions}
    (folder / "b.npy").touch()
    assert told() != second
    one, other = (vocabulary.make("mine", names, kind="parts") for names in (["a"], ["b"]))
    assert told(one) != told(other)
    assert replace(plan, predicted=MapSettings(parts=one)).described() != plan.described()
