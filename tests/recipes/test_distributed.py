# SPDX-License-Identifier: Apache-2.0
"""The command under ``torchrun``: two processes, then one goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toy_people import toy_people
from vitruvian.cli import main
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.model.weights import load
from vitruvian.train.log import read_lines


def two_processes(command: list[str], mode: str) -> None:
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*start, "vitruvian", *command, "--parallel", mode],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_and_then_one(mode: str, tmp_path: Path) -> None:
    pack(Listed(toy_people(8)), tmp_path / "set")
    out = tmp_path / "out"
    command = [
        "train", "pose", "--data", str(tmp_path / "set"), "--val", str(tmp_path / "set"),
        "--out", str(out), "--size", "nano", "--input-size", "64", "48", "--batch", "4",
        "--steps", "4", "--evaluate-every", "2", "--save-every", "2", "--no-preflight",
    ]  # fmt: skip
    two_processes(command, mode)
    assert "pose/whole/AP" in read_lines(out / "metrics.jsonl")[-1]
    assert load(out / "weights.safetensors")[1].tasks.keys() == {"pose"}
    for path in sorted((out / "checkpoints").iterdir())[1:]:
        path.rename(tmp_path / path.name)  # as if it had been stopped after the first
    assert main([*command, "--parallel", "single"]) == 0
    assert [line["step"] for line in read_lines(out / "metrics.jsonl")][-1] == 4


@pytest.mark.slow
def test_two_processes_probe_as_one_does(tmp_path: Path) -> None:
    """Every second step; the training itself is that of one process too."""
    pack(Listed(toy_people(16)), tmp_path / "set")
    command = [
        "train", "pretrain", "--data", str(tmp_path / "set"), "--size", "nano",
        "--input-size", "64", "48", "--batch", "4", "--steps", "4", "--no-preflight",
        "--probe", f"parts={tmp_path / 'set'}", f"depth={tmp_path / 'set'}", "--probe-every", "2",
        "--set", "probes.0.steps=20", "probes.1.steps=20", "loop.log_every=1",
    ]  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {}
    for mode in ("single", "ddp", "fsdp"):
        out = tmp_path / mode
        if mode == "single":
            assert main([*command, "--out", str(out)]) == 0
        else:
            two_processes([*command, "--out", str(out)], mode)
        found[mode] = read_lines(out / "metrics.jsonl")
    alone = found["single"]
    probed = [line["step"] for line in alone if "probe/parts/knn/mIoU" in line]
    assert probed == [2, 4]
    for mode in ("ddp", "fsdp"):
        assert len(found[mode]) == len(alone)
        for one, two in zip(alone, found[mode], strict=True):
            names = [name for name in one if name.startswith("probe/") or name == "loss"]
            assert names
            for name in names:
                expected = pytest.approx(one[name], rel=1e-3, abs=1e-3, nan_ok=True)
                assert two[name] == expected, (mode, one["step"], name)
