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
    assert "pose/whole/AP" in read_lines(out / "metrics.jsonl")[-1]
    assert load(out / "weights.safetensors")[1].tasks.keys() == {"pose"}
    for path in sorted((out / "checkpoints").iterdir())[1:]:
        path.rename(tmp_path / path.name)  # as if it had been stopped after the first
    assert main([*command, "--parallel", "single"]) == 0
    assert [line["step"] for line in read_lines(out / "metrics.jsonl")][-1] == 4
