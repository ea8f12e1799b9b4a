# SPDX-License-Identifier: Apache-2.0
import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_training import run, toy

from vitruvian.errors import InputError
from vitruvian.train import state as state_module
from vitruvian.train.log import read_lines
from vitruvian.train.optim import OptimiserConfig, build_optimiser
from vitruvian.train.state import Checkpoints, contents, read_state, restore

HELPER = Path(__file__).with_name("toy_training.py")


def small(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"network": {"w": torch.full((3,), value)}}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path, keep=2)
    assert shelf.latest() is None
    assert shelf.best() is None
    for step, score in ((1, 0.1), (2, 0.9), (3, None), (4, 0.5), (5, 0.9)):
        shelf.save(step, small(step), {}, score=score)
        if step == 4:
            assert shelf.steps() == [2, 3, 4]
    best = shelf.best()
    assert best is not None
    assert best.name == "step-00000005"
    assert shelf.steps() == [4, 5]
    shelf.save(5, small(50), {"again": True})
    assert read_state(shelf.path(5))["again"]
    assert load_file(shelf.path(5) / "network.safetensors")["w"][0] == 50


@pytest.mark.parametrize("where", ["write_safetensors", "write_json", "_flush"])
def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Checkpoints(tmp_path / "checkpoints", keep=1)
    shelf.save(1, small(1), {})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_module, where, full)
    with pytest.raises(InputError, match=r"No space left on device.*step-00000001 is intact"):
        shelf.save(2, small(2), {})
    monkeypatch.undo()
    assert names(shelf.folder) == ["step-00000001"]
    assert load_file(shelf.path(1) / "network.safetensors")["w"][0] == 1
    shelf.save(2, small(2), {})
    assert names(shelf.folder) == ["step-00000002"]


def test_what_a_kill_left_is_no_checkpoint(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path)
    shelf.save(1, small(1), {})
    (tmp_path / ".step-00000002.part").mkdir()
    (tmp_path / ".step-00000002.part" / "network.safetensors").write_bytes(b"half")
    assert shelf.steps() == [1]
    shelf.save(3, small(3), {})
    assert names(tmp_path) == ["step-00000001", "step-00000003"]


def test_damage_and_strangers_are_named(tmp_path: Path) -> None:
    run(tmp_path, steps=3)
    path = tmp_path / "checkpoints" / "step-00000003"
    network = toy()
    optimiser = build_optimiser(network, OptimiserConfig(lr=1))
    restore(path, network, optimiser, None)
    with pytest.raises(InputError, match="no moving average"):
        restore(path, network, optimiser, {})
    network.embed = torch.nn.Linear(5, 8)
    with pytest.raises(InputError, match=r"another network: embed\.weight"):
        restore(path, network, optimiser, None)
    frozen = toy()
    frozen.embed.requires_grad_(False)
    with pytest.raises(InputError, match="was trained then"):
        restore(path, frozen, build_optimiser(frozen, OptimiserConfig(lr=1)), None)
    weights = path / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"damaged.*delete the folder step-00000003"):
        restore(path, toy(), optimiser, None)
    (path / "state.json").write_text("{}")
    with pytest.raises(InputError, match="not a checkpoint"):
        read_state(path)


def test_the_optimiser_is_stored_by_name(tmp_path: Path) -> None:
    network, _ = run(tmp_path, steps=3)
    stored = load_file(tmp_path / "checkpoints/step-00000003/optimiser.safetensors")
    parameters = dict(network.named_parameters())
    kinds = ("step", "exp_avg", "exp_avg_sq")
    assert stored.keys() == {f"{kind}/{name}" for kind in kinds for name in parameters}
    optimiser = build_optimiser(network, OptimiserConfig(lr=1))
    assert contents(network, optimiser, None)["optimiser"] == {}, "before the first step"
    assert stored["step/embed.weight"] == 3


def start(folder: Path, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(HELPER), str(folder), "single", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    """``kill -9`` at random moments, ten times in a row, then finishing."""
    kills, steps = 10, 60
    straight, _ = run(tmp_path / "straight", network=toy(dropout=0), steps=steps)
    rng = random.Random(4)
    for _ in range(kills):
        process = start(tmp_path / "killed", steps)
        assert process.stdout is not None
        for _ in range(rng.randint(1, max(2, steps // (kills + 2)))):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(tmp_path / "killed", steps)
    assert process.communicate(timeout=60)
    assert process.returncode == 0
    last = f"checkpoints/step-{steps:08d}/network.safetensors"
    found = load_file(tmp_path / "killed" / last)
    assert all(torch.equal(found[n], v) for n, v in straight.state_dict().items())
    lines = [read_lines(tmp_path / n / "metrics.jsonl") for n in ("straight", "killed")]
    losses = [[(line["step"], line["loss"]) for line in part] for part in lines]
    assert losses[0] == losses[1]
