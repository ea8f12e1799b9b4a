# SPDX-License-Identifier: Apache-2.0
"""The recipe of the default weights: its commands, what it skips, and a run with the toy budget."""

import inspect
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from vitruvian import cli
from vitruvian.commands.train_default import _check
from vitruvian.default.recipe import (
    BUDGETS,
    DONE,
    HELDOUT_SEED,
    done,
    fingerprints,
    note,
    stages,
)
from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.model.opening import open_file, open_weights
from vitruvian.model.weights import load, save


@pytest.mark.parametrize("name", BUDGETS)
def test_each_training_begins_with_the_weights_of_the_one_before(name: str, tmp_path: Path) -> None:
    plan = stages(BUDGETS[name], tmp_path)
    trainings = [stage for stage in plan if stage.given in (("pretrain",), ("multi",))]
    assert "init" not in trainings[0].options
    for before, stage in pairwise(trainings):
        assert stage.options["init"] == str(before.out / "weights.safetensors")
    inputs = [stage.training.input for stage in trainings if stage.training]
    assert inputs == sorted(inputs), "inputs grow"
    assert len({stage.name for stage in plan}) == len(plan)


def test_improving_weights_does_the_last_finetuning_alone(tmp_path: Path) -> None:
    plan = stages(BUDGETS["cpu"], tmp_path, init="a.safetensors")
    assert [stage.given for stage in plan] == [(), (), ("multi",), ("people",)]
    assert plan[2].options["init"] == "a.safetensors"
    assert "size" not in plan[2].options


def test_held_out_pictures_are_never_learned_from(tmp_path: Path) -> None:
    seeds = {s.name: s.options["seed"] for s in stages(BUDGETS["toy"], tmp_path) if s.pictures}
    assert seeds["held-out"] == HELDOUT_SEED != seeds["train-set"]
    with pytest.raises(InputError, match="held-out"):
        stages(BUDGETS["toy"], tmp_path, seed=HELDOUT_SEED)


def test_what_is_shown_are_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "default", "--out", str(tmp_path), "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(line)
        verb = " ".join(words[1:3]) if " ".join(words[1:3]) in cli.VERBS else words[1]
        known = inspect.signature(cli.find(verb)).parameters
        for flag in (word for word in words if word.startswith("--")):
            assert flag.removeprefix("--").replace("-", "_") in known, line
    assert not list(tmp_path.iterdir())


def test_fingerprints_follow_the_settings_and_not_the_folder(tmp_path: Path) -> None:
    toy = BUDGETS["toy"]

    def marks(budget=toy, out: Path = tmp_path, generator: int = 1) -> dict[str, str]:
        return fingerprints(stages(budget, out), out, generator=generator)

    assert marks() == marks(out=tmp_path / "elsewhere")
    other = marks(replace(toy, masked=replace(toy.masked, steps=3)))
    assert [name for name in other if other[name] == marks()[name]] == ["train-set", "held-out"]
    assert not set(marks(generator=2).values()) & set(marks().values())


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    toy = BUDGETS["toy"]
    mine = fingerprints(stages(toy, tmp_path), tmp_path, generator=1)
    assert done(tmp_path, mine) == []
    note(tmp_path, "train-set", mine["train-set"])
    assert done(tmp_path, mine) == ["train-set"]
    other = fingerprints(stages(toy, tmp_path, seed=5), tmp_path, generator=1)
    with pytest.raises(InputError, match="another"):
        done(tmp_path, other)


def test_what_is_missing_at_the_end_is_said_at_the_beginning(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        _check([tmp_path / "photos.json"], None)
    network, card = load("default")
    save(tmp_path / "w.safetensors", network, replace(card, licence="CC-BY-NC-4.0"))
    with pytest.raises(InputError, match=r"--init .*CC-BY-NC-4\.0 · wanted weights that learned"):
        _check([], str(tmp_path / "w.safetensors"))


@pytest.mark.slow
def test_the_toy_budget_ends_with_weights_and_card(tmp_path: Path) -> None:
    out = tmp_path / "made"
    command = ["train", "default", "--out", str(out), "--budget", "toy", "--workers", "0"]
    assert cli.main(command) == 0
    rates = next(iter(read_json(out / "rates.json").values()))
    assert min(rates.values()) > 0
    card = open_weights(out / "default.safetensors").card
    assert (card.name, card.licence, tuple(card.tasks)) == (
        "default",
        "Apache-2.0",
        ("pose", "parts", "depth", "normals"),
    )
    assert set(open_weights(out / "people.safetensors").card.tasks) == {"people"}
    page = (out / "CARD.md").read_text(encoding="utf-8")
    assert open_file(out / "default.safetensors").metadata["vitruvian.model_card"] == page
    assert {r.dtype for r in open_file(out / "default.safetensors").records.values()} == {"float16"}
    assert (out / "default-failures.jpg").stat().st_size < 500_000
    # again: nothing is done twice, and the page is the same
    marks = read_json(out / DONE)
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/weights.safetensors")}
    assert cli.main(command) == 0
    assert read_json(out / DONE) == marks
    assert before == {p: p.stat().st_mtime_ns for p in out.glob("*/weights.safetensors")}
    assert (out / "CARD.md").read_text(encoding="utf-8") == page
    # improved: from those weights, with other pictures; what it came from is in the history
    better = tmp_path / "better"
    start = str(out / "default.safetensors")
    more = ["--out", str(better), "--budget", "toy", "--workers", "0", "--no-estimate"]
    assert cli.main(["train", "default", *more, "--init", start, "--seed", "2"]) == 0
    text = (better / "CARD.md").read_text(encoding="utf-8")
    assert "seed 1" in text


def test_photographs_are_laid_behind_people_by_every_finetuning(tmp_path: Path) -> None:
    plan = stages(BUDGETS["toy"], tmp_path, backgrounds="places")
    given = {stage.name: stage.options.get("backgrounds") for stage in plan}
    assert given == {
        "train-set": None,
        "held-out": None,
        "pretrain": None,
        "finetune-32x32": "places",
        "finetune-48x32": "places",
        "finder": "places",
    }
    with pytest.raises(InputError, match="backgrounds need a folder"):
        _check((), None, str(tmp_path / "places"))
