# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

import pytest

from vitruvian.cli import main
from vitruvian.files import write_json
from vitruvian.recipes import depth


def test_a_plan_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = depth("nano", steps=5, input_size=(64, 48)), tmp_path / "plan.json"
    small = replace(run.network, backbone=replace(run.network.backbone, depth=1))
    write_json(tmp_path / "run.json", replace(run, network=small).to_dict())
    command = ["plan", "--run", str(tmp_path / "run.json")]
    assert main([*command, "--gpu-memory", "2", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "train with  --precision bf16" in text
    said = json.loads(out.read_text())
    assert said["flags"] in " ".join(text.split())
    assert said["options"][0]["batch_per_gpu"] >= 1
    assert said["options"][0]["flops_step"] > 2 * sum(
        said["options"][0]["flops_forward"].values()
    )  # fmt: skip


@pytest.mark.slow
def test_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--model", "nano", "--task", "pose", "--input-size", "64", "48"]
    assert main([*command, "--gpu-memory", "0.5", "--frozen", "--gpus", "2"]) == 1
    assert "nothing fits" in capsys.readouterr().out


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--task", "pretrain", "pose"]) == 2
    assert "pretrain alone" in capsys.readouterr().err
