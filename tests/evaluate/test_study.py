# SPDX-License-Identifier: Apache-2.0
"""Studies: what they run, what they refuse, and what they draw."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import made_sets
import pytest

from vitruvian.cli import main
from vitruvian.evaluate import study as studies
from vitruvian.model.sizes import SIZES
from vitruvian.recipes import RECIPES

TEXT = """
title = "Larger is <better>"
x = "steps"
measure = ["pose:AP", "pose:PCK@0.2"]
evaluate = ["--data", "{data}"]
seeds = [0, 1]
[[stage]]
name = "pretrain"
train = ["pretrain", "--data", "{data}", "--steps", "{x}"]
[[stage]]
name = "pose"
train = ["pose", "--init", "{stage.pretrain}"]
[[variant]]
series = "ours"
x = 10
data = "some/"
[[variant]]
series = "ours"
x = 100
data = "some/"
[[variant]]
series = "theirs"
x = 10
data = "more/"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TEXT)
    return path


def test_jobs_follow_each_other(file, tmp_path, capsys):
    study = studies.read_study(file)
    made = list(studies.jobs(study, tmp_path))
    assert len(made) == 3 * 2 * 3
    first, second, third = (list(job.arguments) for job in made[:3])
    assert first[:6] == ["train", "pretrain", "--data", "some/", "--steps", "10"]
    assert first[-4:-2] == ["--seed", "0"]
    assert second[3] == str(made[0].done)
    assert third[:3] == ["evaluate", "--data", "some/"]
    assert str(made[1].done) in third
    assert main(["study", str(file), "--out", str(tmp_path / "o"), "--show"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 18
    assert not (tmp_path / "o").exists()


def stand_in(calls):
    """Commands that only leave what they would leave."""

    def run(command, **options):
        arguments = command[3:]
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True)
        calls.append(arguments)
        if arguments[0] == "train":
            (out / "weights.safetensors").write_bytes(b"")
        else:
            value = 0.1 * len(calls)
            numbers = {"pose": {"AP": value, "PCK@0.2": 1 - value / 10}}
            (out / "report.json").write_text(json.dumps({"results": numbers}))
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    return run


def test_a_study_goes_on_and_leaves_tables_and_plots(file, tmp_path, monkeypatch, capsys):
    calls: list = []
    stop, out = stand_in(calls), tmp_path / "out"

    def interrupted(command, **options):
        if len(calls) == 4:
            raise KeyboardInterrupt
        return stop(command, **options)

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert main(["study", str(file), "--out", str(out)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    monkeypatch.setattr(subprocess, "run", stop)
    assert main(["study", str(file), "--out", str(out)]) == 0
    assert len(calls) == 18  # nothing twice
    found = json.loads((out / "study.json").read_text())
    assert [point["x"] for point in found["results"]["pose:AP"]] == [10, 100, 10]
    assert len((out / "study.csv").read_text().splitlines()) == 1 + 2 * 3
    svg = (out / "pose-AP.svg").read_text()
    tree = ElementTree.fromstring(svg)
    texts = [node.text for node in tree.iter() if node.tag.endswith("text")]
    assert {"Larger is <better>", "ours", "theirs", "steps"} <= set(texts)
    assert sum(node.tag.endswith("polyline") for node in tree.iter()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("{data}", "{dta}"), "{dta} is nothing that the variant has"),
        (("{stage.pretrain}", "{stage.pose}"), "{stage.pose} is nothing"),
        (('x = "steps"', 'xx = "steps"'), "xx means nothing"),
        (("x = 100", "x = 10"), "two variants have the same"),
        (("seeds = [0, 1]", "seeds = []"), "needs a stage, a variant, a seed"),
        (("title", "= ="), "no study can be read"),
    ],
)
def test_what_makes_no_study_is_refused(file, tmp_path, capsys, change, words):
    file.write_text(TEXT.replace(*change))
    assert main(["study", str(file), "--out", str(tmp_path / "o")]) == 2
    assert words in capsys.readouterr().err


def test_a_command_that_fails_is_shown(file, tmp_path, monkeypatch, capsys):
    broken = SimpleNamespace(returncode=2, stdout="", stderr="error: no such folder\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: broken)
    assert main(["study", str(file), "--out", str(tmp_path / "o")]) == 2
    assert "ended with 2: error: no such folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_study_of_two_tiny_trainings(tmp_path):
    data, _ = made_sets.coco_set(tmp_path / "set", photos=8, crowd=False)
    shards = tmp_path / "shards"
    assert main(["data", "pack", str(data), "--out", str(shards)]) == 0
    (tmp_path / "study.toml").write_text(
        f"""
title = "Steps"
x = "steps"
measure = ["pose:PCK@0.2"]
evaluate = ["--data", "{data}", "--worst", "0", "--device", "cpu"]
[[stage]]
name = "pose"
train = ["pose", "--data", "{shards}", "--size", "nano", "--steps", "{{x}}", "--batch", "2",
  "--input-size", "64", "48", "--no-preflight", "--trust-sides", "--device", "cpu"]
[[variant]]
x = 2
[[variant]]
x = 4
"""
    )
    out = tmp_path / "out"
    assert main(["study", str(tmp_path / "study.toml"), "--out", str(out)]) == 0
    found = json.loads((out / "study.json").read_text())["results"]["pose:PCK@0.2"]
    assert [point["x"] for point in found] == [2, 4]
    assert all(0 <= point["mean"] <= 1 for point in found)


STUDIES = sorted((Path(__file__).parents[2] / "examples" / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_are_understood(path, tmp_path):
    study = studies.read_study(path)
    assert {name for _, train in study.stages for name in train[:1]} <= set(RECIPES)
    assert {train[train.index("--size") + 1] for _, train in study.stages if "--size" in train} <= {
        *SIZES, "{size}"
    }  # fmt: skip
    assert {v.get("size", "tiny") for _, _, v in study.variants} <= set(SIZES)
    assert len({job.done for job in studies.jobs(study, tmp_path)}) == len(
        list(studies.jobs(study, tmp_path))
    )


def test_every_claim_of_the_paper_has_a_study():
    names = {path.stem for path in STUDIES}
    assert {"humans-vs-general", "more-pictures", "size", "resolution", "mask-ratio"} <= names
