# SPDX-License-Identifier: Apache-2.0
"""``vitruvian compare``: numbers of choices of photographs, intervals, and what may be compared."""

import json
import shutil

import made_sets
import numpy as np
import pytest

from vitruvian.cli import main
from vitruvian.evaluate.compare import compare
from vitruvian.evaluate.resample import read_evidence
from vitruvian.metrics import KeypointAP

SAID = ["--parts", "parts28", "--depth-kind", "metric", "--normals", "opengl"]


def run(out, *arguments):
    assert main(["evaluate", "--out", str(out), "--worst", "0", *map(str, arguments)]) == 0
    return out


@pytest.fixture(scope="module")
def keypoints(tmp_path_factory):
    """Evaluations of a good and a bad prediction, and of both on half the photographs each."""
    root = tmp_path_factory.mktemp("keypoints")
    data, content = made_sets.coco_set(root, photos=40, points="wholebody133")
    made = {}
    for name, noise in (("good", 0.01), ("bad", 0.05), ("again", 0.01)):
        entries = made_sets.results(content, "wholebody133", noise=noise, seed=round(noise * 100))
        path = root / f"{name}.json"
        path.write_text(json.dumps(entries))
        made[name] = run(root / name, "--data", data, "--predictions", path)
    return made


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    made_sets.map_set(root / "set", photos=8)
    model = made_sets.weights(root / "w.safetensors", ("parts", "depth", "normals"))
    return run(root / "a", "--data", root / "set", *SAID, "--model", model)


def test_all_photographs_once_are_the_report(keypoints, dense):
    for folder in (keypoints["good"], dense):
        evidence = read_evidence(folder)
        once = np.ones(len(evidence.names))
        for task, numbers in evidence.tasks.items():
            found = numbers(once)
            reported = evidence.report["results"][task]
            assert len(found) > 4
            for name, value in found.items():
                if reported[name] is None:
                    assert np.isnan(value)
                else:
                    assert value == pytest.approx(reported[name], rel=1e-9, abs=1e-12), name


def test_a_choice_equals_evaluating_those_photographs():
    """Average precision of images repeated, against giving them again under other numbers."""
    from metric_laws import random_people

    images = random_people(np.random.default_rng(3), 12, 5, hard=False)
    times = np.random.default_rng(4).integers(0, 3, 12)
    metric, chosen = KeypointAP(np.full(5, 0.1)), KeypointAP(np.full(5, 0.1))
    for each, count in zip(images, times, strict=True):
        metric.update(**each)
        for copy in range(count):
            chosen.update(**{**each, "image": each["image"] * 10 + copy})
    ranking = metric.ranking()
    order = np.argsort([each["image"] for each in images])
    found, wanted = ranking.result(times[order]), chosen.result()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_the_same_twice_is_open_and_better_is_better(keypoints, capsys, tmp_path):
    same, count = compare(
        read_evidence(keypoints["good"]), read_evidence(keypoints["again"]), samples=20
    )
    assert count == 40
    assert all(one.verdict == "open" and not one.gap for one in same if one.gap == one.gap)
    path = tmp_path / "c.json"
    arguments = [str(keypoints["bad"]), str(keypoints["good"]), "--samples", "50"]
    assert main(["compare", *arguments, "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "pose whole/AP" in out
    assert "better" in out
    found = {one["name"]: one for one in json.loads(path.read_text())["differences"]}
    assert {"face/AP", "hand/AR", "left_hand/AP"} <= set(found)
    whole = found["whole/AP"]
    assert 0 < whole["low"] <= whole["gap"] <= whole["high"]
    assert main(["compare", *arguments[1::-1], "--samples", "50"]) == 0
    assert "worse" in capsys.readouterr().out


def test_intervals_cover_the_truth_and_repeat():
    """Of two models that are equally good the interval holds 0 about as often as it says."""
    from vitruvian.evaluate.resample import Evidence

    rng, covered = np.random.default_rng(0), 0
    for trial in range(60):
        sides = []
        for _ in range(2):
            values = rng.normal(0, 1, 80)
            tasks = {"depth": lambda t, v=values: {"RMSE": float(t @ v / t.sum())}}
            report = {
                "settings": {"settings": {"alignment": "none", "depth_average": "image"}},
                "vocabularies": {},
            }
            names = tuple(str(i) for i in range(80))
            sides.append(Evidence(report=report, names=names, tasks=tasks))
        (one,), _ = compare(*sides, samples=150, seed=trial)
        (again,), _ = compare(*sides, samples=150, seed=trial)
        assert one == again
        covered += one.low <= 0 <= one.high
    assert 50 <= covered <= 60


def test_errors_are_better_when_they_fall(dense, tmp_path):
    """A shift of the rows' own numbers: B is A with smaller errors."""
    better = tmp_path / "b"
    shutil.copytree(dense, better)
    lines = (dense / "photographs.csv").read_text().splitlines()
    head = lines[0].split(",")
    place = head.index("depth/RMSE")
    changed = [lines[0]]
    for line in lines[1:]:
        cells = line.split(",")
        cells[place] = repr(float(cells[place]) * 0.5)
        changed.append(",".join(cells))
    (better / "photographs.csv").write_text("\n".join(changed) + "\n")
    found, _ = compare(read_evidence(dense), read_evidence(better), samples=30)
    by_name = {(one.task, one.name): one for one in found}
    assert by_name["depth", "RMSE"].verdict == "better"
    assert by_name["depth", "RMSE"].gap < 0
    assert by_name["depth", "AbsRel"].verdict == "open"


def test_other_rules_other_data_and_strange_files_are_refused(keypoints, dense, tmp_path, capsys):
    def refused(a, b, words):
        assert main(["compare", str(a), str(b)]) == 2
        assert words in capsys.readouterr().err

    refused(keypoints["good"], dense, "nothing to compare")
    other = tmp_path / "other"
    shutil.copytree(dense, other)
    report = json.loads((other / "report.json").read_text())
    report["settings"]["settings"]["alignment"] = "median"
    (other / "report.json").write_text(json.dumps(report))
    refused(dense, other, "evaluate both alike")
    renamed = tmp_path / "renamed"
    shutil.copytree(dense, renamed)
    text = (dense / "photographs.csv").read_text()
    (renamed / "photographs.csv").write_text(
        "\n".join([text.splitlines()[0], *(f"x{line}" for line in text.splitlines()[1:])]) + "\n"
    )
    refused(dense, renamed, "share 0 photographs")
    evidence = (renamed / "evidence.npz").read_bytes()
    for damaged in (evidence[:-30], evidence[:60] + bytes(60) + evidence[120:], b""):
        (renamed / "evidence.npz").write_bytes(damaged)
        refused(dense, renamed, "belongs beside the report")
    (renamed / "evidence.npz").unlink()
    refused(dense, renamed, "belongs beside the report")
    (tmp_path / "x.json").write_text("{}")
    refused(tmp_path / "x.json", dense, "not laid out as a report")
    refused(tmp_path / "none", dense, "cannot be read")
