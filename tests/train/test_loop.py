# SPDX-License-Identifier: Apache-2.0
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import SAMPLES, Batches, Squares, Toy, run, settings, toy

from vitruvian.errors import InputError
from vitruvian.model.block import Block
from vitruvian.model.heads import DenseHead, DenseHeadConfig
from vitruvian.train.config import Hooks, Progress
from vitruvian.train.log import read_lines
from vitruvian.train.loop import NonFiniteLossError, train
from vitruvian.train.state import read_state


def same(a: Toy, b: Toy) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


class Crash(Exception):
    pass


def crash_at(step: int) -> Hooks:
    def progress(p: Progress) -> None:
        if p.step == step:
            raise Crash

    return Hooks(progress=progress)


def test_the_loss_falls_and_every_sample_is_seen_once_an_epoch(tmp_path: Path) -> None:
    batches = Batches()
    _, outcome = run(tmp_path, steps=60, batches=batches, network=toy(dropout=0))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[0]["loss"] == pytest.approx(lines[0]["sum"] + lines[0]["product"])
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert outcome.step == 60
    assert not outcome.interrupted
    for epoch in range(12):
        assert sorted(batches.seen[epoch * SAMPLES :][:SAMPLES]) == list(range(SAMPLES))


def test_crashes_leave_no_trace(tmp_path: Path) -> None:
    """Stopped at many steps, then finished: the same weights as undisturbed, to the bit."""
    straight, _ = run(tmp_path / "straight", ema=0.9)
    for step in (1, 6, 7):
        with pytest.raises(Crash):
            run(tmp_path / "crashed", ema=0.9, hooks=crash_at(step))
    broken, outcome = run(tmp_path / "crashed", ema=0.9)
    assert same(straight, broken)
    assert outcome.step == 12
    for part in ("network", "optimiser", "average"):
        files = [
            (tmp_path / n / f"checkpoints/step-00000012/{part}.safetensors").read_bytes()
            for n in ("straight", "crashed")
        ]
        assert files[0] == files[1], part
    steps, losses = zip(
        *((x["step"], x["loss"]) for x in read_lines(tmp_path / "crashed/metrics.jsonl")),
        strict=True,
    )
    assert steps == tuple(range(1, 13))
    assert losses == tuple(x["loss"] for x in read_lines(tmp_path / "straight/metrics.jsonl"))


def test_accumulated_batches_equal_a_large_one(tmp_path: Path) -> None:
    run(tmp_path / "one", network=toy(dropout=0), batches=Batches(batch=4))
    run(tmp_path / "two", network=toy(dropout=0), batches=Batches(batch=2), accumulate=2)
    one, two = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)


def test_a_loss_that_is_no_number_moves_nothing(tmp_path: Path) -> None:
    network, first = toy(), toy()
    poison = int(next(iter(Batches()))["index"][0])
    with pytest.raises(NonFiniteLossError, match=rf"step 1: .*nan.*{poison}.*none yet"):
        run(tmp_path, network=network, objective=Squares(poison))
    assert same(network, first)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_and_ends(tmp_path: Path, number: int) -> None:
    def progress(p: Progress) -> None:
        if p.step == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    _, outcome = run(tmp_path, hooks=Hooks(progress=progress), save_every=None)
    assert outcome.interrupted
    assert outcome.step == 5
    assert read_state(outcome.checkpoint)["step"] == 5
    assert signal.getsignal(number) == before
    network, outcome = run(tmp_path, save_every=None)
    assert not outcome.interrupted
    straight, _ = run(tmp_path / "straight")
    assert same(network, straight)


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16"}, {"precision": "fp16"}, {"clip": None}, {"ema": 0.9}],
    ids=str,
)
def test_settings_run_and_go_on(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Crash):
        run(tmp_path, hooks=crash_at(8), **changes)
    run(tmp_path, **changes)
    assert all(math.isfinite(x["loss"]) for x in read_lines(tmp_path / "metrics.jsonl"))


def test_evaluation_sees_the_average_and_the_best_stays(tmp_path: Path) -> None:
    weights: list[torch.Tensor] = []

    def evaluate(network: torch.nn.Module, step: int) -> dict[str, float]:
        assert not network.training
        assert not torch.is_grad_enabled()
        weights.append(network.predict.weight.clone())  # pyright: ignore
        return {"error": abs(step - 4)}

    def pictures(network: torch.nn.Module, step: int) -> dict[str, np.ndarray]:
        return {"seen": np.zeros((2, 2, 3), np.uint8)}

    hooks = Hooks(evaluate=evaluate, pictures=pictures)
    every = {"evaluate_every": 2, "pictures_every": 6, "save_every": None, "keep": 1}
    network, outcome = run(tmp_path, hooks=hooks, ema=0.5, best="-error", **every)
    assert network.training
    assert not torch.equal(network.predict.weight, weights[-1])
    assert outcome.best is not None
    assert outcome.best.name == "step-00000004"
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert sorted(names) == ["step-00000004", "step-00000012"]
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    plain, _ = run(tmp_path / "plain", ema=0.5)
    assert same(plain, network), "looking changes nothing"
    with pytest.raises(InputError, match="wanted one of error"):
        run(tmp_path / "other", hooks=hooks, best="AP", evaluate_every=1)


def test_a_folder_keeps_to_its_run(tmp_path: Path) -> None:
    def start(**run: Any) -> None:
        train(toy(), Squares(), Batches(), config=settings(3), folder=tmp_path, run=run)

    start(task="pose")
    start(task="pose")
    with pytest.raises(InputError, match="another run: task differ"):
        start(task="parts")


def test_a_loader_that_ends_is_named(tmp_path: Path) -> None:
    class Short(Batches):
        def __iter__(self):
            yield next(super().__iter__())

    with pytest.raises(InputError, match="ended after step 1"):
        run(tmp_path, batches=Short())


def test_checkpointing_is_switched(tmp_path: Path) -> None:
    network = toy()
    network.checkpointing = False  # pyright: ignore[reportArgumentType]
    run(tmp_path, network=network, steps=3, checkpointing=True)
    assert network.checkpointing is True


def test_utilisation_is_told(tmp_path: Path) -> None:
    told: list[Progress] = []
    hooks = Hooks(progress=told.append)
    run(tmp_path, steps=3, hooks=hooks, sample_flops=2e6, peak_flops=1e9)
    for line in read_lines(tmp_path / "metrics.jsonl"):
        assert line["mfu"] == pytest.approx(line["samples_per_second"] * 2e-3)
    assert all(p.mfu == pytest.approx(p.samples_per_second * 2e-3) for p in told)


class Tokens(nn.Module):
    """A dense head on tokens that are four pixels of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.head = DenseHead(DenseHeadConfig(in_dim=8, out=2, widths=(), refine=(8,)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mT.unflatten(2, (2, 2))).flatten(2).mT


def headed() -> Toy:
    network = toy(dropout=0)
    network.predict = Tokens()
    return network


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler's own modules
def test_compiled_blocks_and_heads_learn_the_same(tmp_path: Path) -> None:
    run(tmp_path / "plain", steps=4, network=headed())
    network, _ = run(tmp_path / "compiled", steps=4, network=headed(), compile=True)
    compiled = [m for m in network.modules() if m._compiled_call_impl is not None]
    assert [type(m) for m in compiled] == [Block, Block, DenseHead]
    plain, compiled = (read_lines(tmp_path / n / "metrics.jsonl") for n in ("plain", "compiled"))
    wanted = [line["loss"] for line in plain]
    assert [line["loss"] for line in compiled] == pytest.approx(wanted, rel=1e-4)
