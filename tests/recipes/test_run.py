# SPDX-License-Identifier: Apache-2.0
"""Runs survive JSON strictly; recipes have the published numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toy_people import PARTS, POINTS
from vitruvian import image
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.files import write_json
from vitruvian.model.lora import LoRAConfig
from vitruvian.model.sizes import SIZES, pretraining_form
from vitruvian.recipes import RECIPES, Part, Run, depth, multi, normals, parts, pose, pretrain
from vitruvian.recipes.people import people
from vitruvian.recipes.published import size_of
from vitruvian.recipes.samples import with_backgrounds
from vitruvian.tasks import Pose, make

SIZES_OF = {
    "pretrain": ("nano", "tiny", "small", "0.3b", "0.6b", "1b", "2b", "sapiens2-1b"),
    "pose": ("nano", "0.3b", "1b", "2b", "sapiens2-0.4b", "sapiens2-5b"),
    "parts": ("tiny", "0.6b", "2b", "sapiens2-0.8b"),
    "depth": ("small", "0.3b", "1b"),
    "normals": ("nano", "2b", "sapiens2-1b"),
    "multi": ("nano", "small", "0.3b"),
}


@pytest.mark.parametrize(("name", "size"), [(n, s) for n, ss in SIZES_OF.items() for s in ss])
def test_every_recipe_survives_json(name: str, size: str, tmp_path: Path) -> None:
    run = RECIPES[name](size, samples=5000)
    run = replace(run, data=(Part(path="a", repeat=2), Part(path="b", every=3)), init="x")
    write_json(tmp_path / "run.json", run.to_dict())
    again = Run.load(tmp_path / "run.json")
    assert again.to_dict() == run.to_dict() == json.loads(json.dumps(run.to_dict()))
    assert again.loop == run.loop
    assert again.network == run.network
    assert [asked.task() for asked in again.tasks] == [asked.task() for asked in run.tasks]


def test_names_of_ones_own_travel_with_the_run() -> None:
    run = pose("nano", vocabulary=POINTS, steps=10)
    (asked,) = Run.from_dict(json.loads(json.dumps(run.to_dict()))).tasks
    assert asked.task().vocabulary == POINTS  # pyright: ignore
    assert run.network.heads["pose"].out == 9  # pyright: ignore
    run = parts("nano", vocabulary=PARTS, steps=10)
    assert run.tasks[0].task() == make("parts", vocabulary=PARTS)


def test_backgrounds_are_laid_by_whatever_lays_something(tmp_path: Path) -> None:
    image.write(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    for made in (multi("nano", steps=10), people("nano", steps=10)):
        assert made.window.clutter.photographs is None  # pyright: ignore
        asked = replace(made, backgrounds=str(tmp_path))
        laid = with_backgrounds(asked.window, str(tmp_path))
        assert laid.clutter.photographs.paths == (tmp_path / "a.png",)  # pyright: ignore
        with pytest.raises(InputError, match="in backgrounds="):
            replace(made, window=laid)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"recipes": 1}, "did you mean recipe"),
        ({"batch": "8"}, "wanted int"),
        ({"batch": 0}, "wanted 1 or more samples"),
        ({"loop": {"optimiser": {"lrr": 1}}}, "did you mean lr"),
        ({"window": {"kind": "persn"}}, "did you mean person"),
        ({"window": {"kind": "part", "size": [64, 48]}}, "windows by MaskedAugment"),
        ({"tasks": []}, "0 tasks"),
        ({"parallel": "many"}, "parallel"),
        ({"backgrounds": "x"}, "no effect"),
        ({"lora": {"rank": 4}, "frozen": "backbone"}, "leave frozen"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, text: str) -> None:
    plain = pose("nano", vocabulary=POINTS, steps=10, input_size=(64, 48)).to_dict()
    if isinstance(change.get("loop"), dict):
        change = {"loop": {**plain["loop"], "optimiser": change["loop"]["optimiser"]}}
    with pytest.raises(InputError, match=text):
        Run.from_dict({**plain, **change})


@pytest.mark.parametrize("recipe", [multi, people])
def test_several_tasks_and_finding_people_are_learned_by_muon_or_as_published(recipe) -> None:
    ours, theirs = recipe("mini", steps=5), recipe("0.3b", steps=5)
    assert (ours.loop.optimiser.kind, ours.loop.optimiser.layer_decay) == ("muon", 1.0)
    known = theirs.loop.optimiser
    assert (known.kind, known.lr, known.layer_decay) == ("adamw", 5e-4, 0.85)


def test_settings_change_by_their_path() -> None:
    run = multi("nano", tasks=["pose", "depth"], points=POINTS, steps=10)
    changed = run.having(
        {
            "loop.optimiser.lr": 2e-3,
            "tasks.pose.weight": 3,
            "window.rotation": 0,
            "tasks.1.weight": 0.25,
        }
    )
    assert changed.loop.optimiser.lr == 2e-3
    assert [asked.weight for asked in changed.tasks] == [3.0, 0.25]
    assert run.loop.optimiser.lr != 2e-3
    for path, text in (
        ("loop.optimizer.lr", "did you mean optimiser"),
        ("tasks.parts.weight", "choose one of"),
        ("batch.size", "nothing is called"),
    ):
        with pytest.raises(InputError, match=text):
            run.having({path: 1})


def test_a_frozen_pretraining_is_refused() -> None:
    run = pretrain("nano", steps=10)
    with pytest.raises(InputError, match="leave out frozen and lora"):
        replace(run, frozen="backbone")
    with pytest.raises(InputError, match="leave out frozen and lora"):
        replace(run, lora=LoRAConfig())


# ------------------------------------------------------------------- the published numbers


@pytest.mark.parametrize(
    ("size", "batch", "lr"),
    [("0.3b", 98304, 0.0576), ("0.6b", 65536, 0.0384), ("1b", 40960, 0.024), ("2b", 20480, 0.012)],
)
def test_pretraining_of_the_first_generation(size: str, batch: int, lr: float) -> None:
    run = pretrain(size)
    assert (run.batch, run.size, run.loop.steps) == (batch, (1024, 1024), 160_000)
    optimiser = run.loop.optimiser
    assert optimiser.lr == pytest.approx(lr)
    assert (optimiser.betas, optimiser.weight_decay) == ((0.9, 0.95), 0.05)
    assert run.network.backbone == pretraining_form(size)
    assert run.masked is not None
    assert (run.masked.mask_ratio, run.masked.decoder_dim, run.masked.decoder_depth) == (
        0.75, 512, 8,
    )  # fmt: skip
    # warm-up to slice 40 of 1600, then a cosine: half-way down at slice 820
    factors = {0: 1e-4, 3_999: 1.0, 82_000: 0.5}
    for step, factor in factors.items():
        assert run.loop.schedule.factor(step) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("points", "size", "lr", "decay", "objective"),
    [
        ("coco17", "0.3b", 5e-4, 0.85, "mse"),
        ("coco17", "2b", 5e-4, 0.85, "mse"),
        ("wholebody133", "0.6b", 5e-4, 0.75, "mse"),
        ("wholebody133", "1b", 5e-4, 0.85, "mse"),
        ("sapiens308", "0.3b", 5e-5, 0.85, "ohkm"),
        ("sapiens308", "0.6b", 5e-5, 0.85, "mse"),
        ("sapiens308", "1b", 5e-5, 0.95, "ohkm"),
    ],
)
def test_pose_of_the_first_generation(
    points: str, size: str, lr: float, decay: float, objective: str
) -> None:
    run = pose(size, vocabulary=points, samples=512_000)
    assert run.loop.optimiser.lr == lr
    assert run.loop.optimiser.layer_decay == decay
    assert (run.loop.clip, run.loop.precision, run.batch) == (1.0, "fp32", 512)
    task = run.tasks[0].task()
    assert isinstance(task, Pose)
    assert (task.objective, task.sigma, task.hardest) == (objective, 6.0, min(128, task.channels))
    assert (run.size, run.network.backbone.patch_padding) == ((1024, 768), 2)
    # 1000 steps an epoch; drops at epochs 170 and 200 of 210
    assert run.loop.steps == 210_000
    curve = [run.loop.schedule.factor(s) for s in (0, 499, 169_999, 170_000, 200_000)]
    assert curve == pytest.approx([1e-3, 1, 1, 0.1, 0.01])


def test_shorter_trainings_keep_the_curve() -> None:
    schedule = pose("0.3b", steps=2100).loop.schedule
    assert [schedule.factor(s) for s in (1699, 1700, 1999, 2000)] == pytest.approx(
        [1, 0.1, 0.1, 0.01]
    )
    for run in (parts("0.3b", steps=1000), parts("0.3b", steps=77), depth("1b", steps=3)):
        schedule = run.loop.schedule
        assert schedule.factor(schedule.steps // 2) == pytest.approx(
            0.5, abs=0.02 + 1 / schedule.steps
        )


@pytest.mark.parametrize(("recipe", "padding"), [(parts, 0), (depth, 0), (normals, 2)])
def test_maps_of_the_first_generation(recipe, padding: int) -> None:
    run = recipe("1b", samples=16_000)
    optimiser = run.loop.optimiser
    assert (optimiser.lr, optimiser.layer_decay, optimiser.weight_decay) == (5e-4, 0.85, 0.1)
    assert run.network.backbone.patch_padding == padding
    assert (run.loop.steps, run.framing, run.size) == (200_000, "stretch", (1024, 768))
    curve = [run.loop.schedule.factor(s) for s in (0, 399, 1000, 199_999)]
    assert curve == pytest.approx([1e-3, 1, 1 - 1 / 200, 1 / 200])
    paper = recipe("1b", samples=16_000, paper=True).loop.schedule
    assert paper.factor(199_000) == 0  # the whole last epoch, as published
    assert paper.factor(1000) == pytest.approx(1 - 1 / 199)


def test_lip_learns_twice_as_long_along_a_cosine() -> None:
    run = parts("0.3b", vocabulary="lip20", samples=16_000)
    assert run.network.backbone.patch_padding == 2
    assert run.loop.steps == 400_000
    assert run.loop.schedule.factor(200_000) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("recipe", "size", "lr", "decay", "clip", "steps"),
    [
        (pose, "sapiens2-0.4b", 5e-4, 0.80, 2.0, 10_000),
        (pose, "sapiens2-5b", 1e-4, 0.94, 4.0, 20_000),
        (parts, "sapiens2-5b", 5e-4, 0.94, 4.0, 50_000),
        (parts, "sapiens2-0.8b", 5e-4, 0.85, 4.0, 30_000),
        (normals, "sapiens2-1b", 5e-4, 0.90, 4.0, 40_000),
    ],
)
def test_second_generation(recipe, size, lr, decay, clip, steps) -> None:
    run = recipe(size)
    optimiser = run.loop.optimiser
    assert (optimiser.lr, optimiser.layer_decay, run.loop.clip) == (lr, decay, clip)
    assert (run.loop.steps, run.loop.precision) == (steps, "bf16")
    curve = [run.loop.schedule.factor(s) for s in (0, 499, 500 + (steps - 500) // 2)]
    assert curve == pytest.approx([1e-3, 1, 0.5], abs=1e-3)


def test_what_was_not_published_is_said() -> None:
    with pytest.raises(InputError, match="the second generation published none"):
        depth("sapiens2-1b", steps=5)
    with pytest.raises(InputError, match="whole pictures"):
        parts("1b", steps=5, framing="person")
    with pytest.raises(InputError, match="epochs of how many samples"):
        pose("tiny")
    with pytest.raises(UnknownNameError, match="did you mean"):
        pose("0.4b", steps=5)
    with pytest.raises(InputError, match="each once"):
        multi("nano", tasks=["pose", "pose"], steps=5)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_known_by_their_shape(size: str) -> None:
    assert size_of(pretraining_form(size)) == size


def test_published_defects_only_by_name() -> None:
    assert not _photometric(pose("0.3b", steps=5)).paper
    assert _photometric(pose("0.3b", steps=5, paper=True)).paper
    assert normals("0.3b", steps=5).window.rotation == 0.5  # pyright: ignore
    assert normals("0.3b", steps=5, paper=True).window.rotation == 0  # pyright: ignore
    floor = depth("0.3b", steps=5).tasks[0].settings["floor"]
    assert floor == 0.03
    assert depth("0.3b", steps=5, paper=True).tasks[0].settings["floor"] == 1e-6
    assert math.isclose(pose("tiny", steps=5).tasks[0].settings["sigma"], 1.5)


def _photometric(run: Run):
    return run.window.pixels.photometric  # pyright: ignore
