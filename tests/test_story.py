# SPDX-License-Identifier: Apache-2.0
"""The whole life of a small model: pack, pretrain, finetune four tasks, evaluate, predict.

A few hundred people made of capsules; every loss must fall, and every metric must be far from that
of the untrained network.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import vitruvian as vi
from toy_people import PARTS, POINTS, toy_people, write_layouts
from vitruvian import image
from vitruvian.cli import main
from vitruvian.recipes.evaluation import Evaluation
from vitruvian.recipes.run import Run
from vitruvian.recipes.training import prepared
from vitruvian.train.log import read_lines
from vitruvian.train.parallel import Parallel

STEPS = {"pretrain": 40, "pose": 110, "parts": 140, "depth": 130, "normals": 60}
RATES = {"pretrain": "2e-3", "pose": "2e-3", "parts": "4e-3", "depth": "2e-3", "normals": "2e-3"}
SMALL = ("--size", "nano", "--input-size", "96", "64", "--batch", "8")

# metric, and what it must be: at least, or at most
WANTED = {
    "pose": ("pose/whole/AP50", 0.25, None),
    "parts": ("parts/mIoU", 0.25, None),
    "depth": ("depth/RMSE", None, 0.75),  # times that of the untrained network
    "normals": ("normals/mean", None, 0.5),
}


def untrained(folder: Path) -> dict[str, float]:
    """Return the metrics of the network as a training began."""
    run = Run.load(folder / "run.json")
    made = prepared(run)
    assert made.val is not None
    evaluate = Evaluation(run=run, source=made.val, tasks=made.tasks, parallel=Parallel())
    with torch.no_grad():
        return evaluate(made.network.eval(), 0)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl") if "loss" in line]


@pytest.mark.slow
def test_the_story(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    tell_the_story(tmp_path)


def tell_the_story(place: Path) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for name, count, seed in (("train", 240, 0), ("val", 40, 1)):
        write_layouts(toy_people(count, seed=seed), place / name)
        for layout, options in (
            ("points", ()),
            ("maps", ("--parts", str(place / name / "toy6.toml"), "--depth-kind", "metric",
                      "--normals", "opencv")),
        ):  # fmt: skip
            source = place / name / layout
            command = ["data", "pack", str(source), "--out", f"{place}/{name}-{layout}"]
            assert main([*command, *options]) == 0
    common = ("--no-preflight", *SMALL)
    pretrained = place / "pretrain"
    command = ["train", "pretrain", "--data", f"{place}/train-points", "--out", str(pretrained)]
    steps, rate = str(STEPS["pretrain"]), ("--lr", RATES["pretrain"])
    assert main([*command, "--steps", steps, *rate, *common]) == 0
    course = losses(pretrained)
    assert np.mean(course[-5:]) < 0.9 * np.mean(course[:3]), course
    for task, (metric, least, most) in WANTED.items():
        out, sets = place / task, "points" if task == "pose" else "maps"
        command = ["train", task, "--data", f"{place}/train-{sets}", "--val", f"{place}/val-{sets}"]
        command += ["--init", str(pretrained / "weights.safetensors"), "--out", str(out)]
        steps = str(STEPS[task])
        rate = ("--lr", RATES[task])
        assert main([*command, "--steps", steps, "--evaluate-every", steps, *rate, *common[:1],
                     *common[3:]]) == 0  # fmt: skip
        course = losses(out)
        assert np.mean(course[-5:]) < 0.8 * np.mean(course[:3]), (task, course)
        before, after = untrained(out)[metric], read_lines(out / "metrics.jsonl")[-1][metric]
        found[task] = (before, after)
        print(task, metric, before, after)
        assert least is None or after > least > 2 * before, (task, before, after)
        assert most is None or after < most * before, (task, before, after)
    predict(place)
    return found


def predict(place: Path) -> None:
    """Every weights file opens by itself, with the names it was trained on."""
    (sample,) = toy_people(1, seed=2)
    truth = sample.people[0]
    (person,) = vi.load(place / "pose" / "weights.safetensors", detector="whole")(sample.image)
    assert person.points("pose").vocabulary == POINTS
    away = np.linalg.norm(person.points("pose").xy - truth.points("pose").xy, axis=1)
    assert np.median(away) < 8, away
    image.write(place / "photo.png", sample.image)
    see = vi.load(
        *(place / task / "weights.safetensors" for task in ("parts", "depth", "normals")),
        detector="whole",
        mask="none",
    )
    (person,) = see(place / "photo.png")
    labels = person.raster("parts")
    assert labels.vocabulary == PARTS
    there = truth.raster("depth").mask
    same = labels.placed(sample.size).values == truth.raster("parts").values
    assert same.mean() > 0.85
    assert np.isfinite(person.raster("depth").values).all()
    up = person.raster("normals").placed(sample.size).values[there]
    cosines = (up * truth.raster("normals").values[there]).sum(-1)
    assert np.median(cosines) > 0.8
