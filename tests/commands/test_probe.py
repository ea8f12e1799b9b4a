# SPDX-License-Identifier: Apache-2.0
"""``vitruvian probe``, and the same in the middle of a pretraining, on people of capsules."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toy_people import toy_people
from vitruvian import image
from vitruvian.cli import main
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.model.card import Card
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.sizes import SIZES
from vitruvian.model.weights import save
from vitruvian.train.log import read_lines

PRETRAIN = ["train", "pretrain", "--size", "nano", "--input-size", "64", "48", "--batch", "4",
            "--no-preflight"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of every label, pictures in a folder per class, and a backbone of two blocks."""
    root = tmp_path_factory.mktemp("probe")
    people = toy_people(12)
    pack(Listed(people), root / "set")
    for number, sample in enumerate(people):
        dark = number % 2
        pixels = sample.image // 4 if dark else sample.image // 4 + 190
        image.write(root / "classes" / ("dark" if dark else "light") / f"{number}.png", pixels)
    torch.manual_seed(0)
    network = Network(NetworkConfig(backbone=replace(SIZES["nano"], depth=2)))
    card = Card(
        name="toy", generation="vitruvian", network=network.config, tasks={}, input_size=(64, 48),
        framing="person", licence="Apache-2.0", commercial="yes",
    )  # fmt: skip
    save(root / "toy.safetensors", network, card)
    return root


@pytest.mark.parametrize(
    ("task", "method", "number", "low", "high"),
    [
        ("parts", "knn", "aAcc", 0.6, 1),
        ("parts", "linear", "aAcc", 0.3, 1),
        ("pose", "decoder", "whole/AR50", 0, 1),
        ("depth", "linear", "RMSE", 0, 1),
        ("normals", "decoder", "mean", 0, 80),
        ("classify", "knn", "accuracy", 0.99, 1),
    ],
)
def test_every_task_is_probed(
    place: Path,
    task: str,
    method: str,
    number: str,
    low: float,
    high: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = place / ("classes" if task == "classify" else "set")
    command = ["probe", str(place / "toy.safetensors"), "--data", str(data), "--task", task]
    settings = ["--method", method, "--steps", "30", "--neighbours", "3", "--device", "cpu"]
    assert main([*command, *settings, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["taught"], found["measured"]) == ((10, 2) if task == "classify" else (9, 3))
    assert low <= found["result"][number] <= high
    said = capsys.readouterr().out
    assert number in said
    assert f"{found['result'][number]:.4f}" in said


def test_pretraining_is_probed_every_few_steps(place: Path, tmp_path: Path) -> None:
    probes = ["--probe", f"parts={place / 'set'}", f"classify={place / 'classes'}"]
    steps = ["--data", str(place / "set"), "--steps", "3", "--probe-every", "2"]
    faster = ["--set", "probes.0.steps=5", "probes.1.steps=5"]
    assert main([*PRETRAIN, *steps, *probes, *faster, "--out", str(tmp_path)]) == 0
    lines = read_lines(tmp_path / "metrics.jsonl")
    lines = [line for line in lines if "probe/parts/knn/mIoU" in line]
    assert [line["step"] for line in lines] == [2, 3]
    wanted = {"probe/parts/linear/mIoU", "probe/classify/knn/accuracy"}
    assert all(wanted | {"probe/classify/linear/chance"} <= line.keys() for line in lines)
    assert main(["train", "--out", str(tmp_path)]) == 0  # its probes are part of the run


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--probe-every", "2"], "nothing to probe"),
        (["--probe", "set"], "wanted TASK=DATA"),
        (["--probe", "part=set"], "did you mean parts"),
        (["--probe", "classify=nowhere", "--probe-every", "1"], "one folder per class"),
    ],
)
def test_mistakes(place: Path, more: list[str], words: str, tmp_path: Path, capsys) -> None:
    command = [*PRETRAIN, "--data", str(place / "set"), "--steps", "2", *more]
    assert main([*command, "--out", str(tmp_path / "o")]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "o" / "checkpoints").exists()


def test_only_pretraining_is_probed(place: Path, tmp_path: Path, capsys) -> None:
    command = ["train", "parts", "--data", str(place / "set"), "--steps", "2", "--size", "nano"]
    more = ["--probe", f"parts={place / 'set'}", "--out", str(tmp_path / "o")]
    assert main([*command, *more]) == 2
    assert "a finetuning is evaluated on val" in " ".join(capsys.readouterr().err.split())
