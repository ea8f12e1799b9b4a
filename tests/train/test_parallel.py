# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vitruvian.errors import InputError
from vitruvian.train.log import read_lines
from vitruvian.train.parallel import Parallel, inner, joined
from vitruvian.train.state import Checkpoints, read_tensors

HELPER = Path(__file__).with_name("toy_training.py")


def test_one_process_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined(device="cpu") as parallel:
        assert parallel == Parallel()
        assert parallel.first
        assert parallel.any([True, False]) == [True, False]
        network = torch.nn.Linear(1, 1)
        assert inner(parallel.spread(network)) is network
    with pytest.raises(InputError, match="torchrun"), joined("fsdp"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="under torchrun"), joined("single"):
        pass


def together(folder: Path, mode: str, steps: int, trouble: str = "none") -> list[str]:
    """Train the toy with two processes, set up as ``torchrun`` does; return what they print."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HELPER), str(folder), mode, str(steps), trouble]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(
        errors for _, errors in said
    )
    return [out for out, _ in said]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl")]


def alone(folder: Path, steps: int, trouble: str = "none") -> None:
    command = [sys.executable, str(HELPER), str(folder), "single", str(steps), trouble]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=180)


def cut(folder: Path, steps: int) -> None:
    """Forget all checkpoints behind a step, as if the training had been killed there."""
    for path in (folder / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > steps:
            path.rename(path.with_name(f".{path.name}.part"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "optimiser"), [("ddp", "none"), ("fsdp", "none"), ("ddp", "muon")]
)
def test_two_processes_equal_one_and_exchange_checkpoints(
    tmp_path: Path, mode: str, optimiser: str
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone(one, 6, optimiser)
    together(two, mode, 6, optimiser)
    wanted = losses(one)
    assert len(wanted) == 6
    assert losses(two) == pytest.approx(wanted, rel=1e-5)
    last = "checkpoints/step-00000006"
    assert (two / last / "network").is_dir() == (mode == "fsdp")
    for part in ("network", "optimiser"):
        wanted_tensors, found = (read_tensors(folder / last, part) for folder in (one, two))
        assert found.keys() == wanted_tensors.keys()
        for name, value in found.items():
            assert value.shape == wanted_tensors[name].shape
            # Keys have no use for a bias: its gradient is rounding, which AdamW blows up.
            if part == "network" and not name.endswith("qkv.bias"):
                assert torch.allclose(value, wanted_tensors[name], atol=1e-4), name
    cut(one, 3)
    cut(two, 3)
    together(one, mode, 6, optimiser)
    alone(two, 6, optimiser)
    assert losses(one) == pytest.approx(wanted, rel=1e-5)
    assert losses(two) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_loss_that_is_no_number_on_one_process_stops_both(tmp_path: Path, mode: str) -> None:
    said = together(tmp_path, mode, 6, "poison")
    for rank, text in enumerate(said):
        assert text.startswith(f"rank {rank} NonFiniteLossError True"), text
        assert "step 4" in text
    assert Checkpoints(tmp_path / "checkpoints").steps() == [1, 2, 3]


@pytest.mark.slow
def test_a_full_disk_of_one_process_stops_both(tmp_path: Path) -> None:
    said = together(tmp_path, "fsdp", 4, "full")
    for rank, text in enumerate(said):
        assert text.startswith(f"rank {rank} InputError"), text
        assert "process 1" in text
        assert "No space left on device" in text
        assert "step-00000004 is intact" in text
    assert Checkpoints(tmp_path / "checkpoints").steps() == [1, 2, 3, 4]
    assert not list((tmp_path / "checkpoints").glob(".step-*"))
