# SPDX-License-Identifier: Apache-2.0
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_training import SAMPLES, full_disk, run, settings, toy, train_and_tell

from vitruvian.errors import InputError
from vitruvian.train import sharded
from vitruvian.train import state as state_module
from vitruvian.train.log import read_lines
from vitruvian.train.optim import OptimiserConfig, build_optimiser
from vitruvian.train.state import Checkpoints, contents, read_state, read_tensors, restore


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

    monkeypatch.setattr(state_module, where, full_disk)
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


def test_shards_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, made to write as the processes of FSDP2 do."""
    straight, _ = run(tmp_path / "whole", ema=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(sharded, "is_spread", lambda tensors: True)
        run(tmp_path / "shards", ema=0.9, steps=6, schedule=settings(12).schedule)
    last = tmp_path / "shards" / "checkpoints" / "step-00000006"
    assert names(last) == ["average", "network", "optimiser", "state.json"]
    shard = next((last / "network").iterdir())
    assert load_file(shard).keys() == straight.state_dict().keys()
    # goes on from shards, and whole again
    run(tmp_path / "shards", ema=0.9)
    for part in ("network", "optimiser", "average"):
        paths = [tmp_path / n / "checkpoints/step-00000012" for n in ("whole", "shards")]
        one, two = (read_tensors(path, part) for path in paths)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    for path in (tmp_path / "shards/checkpoints").glob("step-*"):
        if path != last:
            shutil.rmtree(path)
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"damaged.*delete the folder step-00000006"):
        run(tmp_path / "shards", ema=0.9)
    shard.unlink()
    with pytest.raises(InputError, match=r"1 of its files are gone, network/shard"):
        run(tmp_path / "shards", ema=0.9)


def test_a_full_disk_keeps_what_was_there_in_shards_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded, "is_spread", lambda tensors: True)
    shelf = Checkpoints(tmp_path, keep=1)
    shelf.save(1, small(1), {})
    with monkeypatch.context() as patch:
        patch.setattr(sharded.HuggingFaceStorageWriter, "write_data", full_disk)
        with pytest.raises(InputError, match=r"No space left on device.*step-00000001 is intact"):
            shelf.save(2, small(2), {})
    assert names(tmp_path) == ["step-00000001"]
    shelf.save(2, small(2), {})
    assert read_tensors(shelf.path(2), "network")["w"][0] == 2
    with pytest.raises(InputError, match=r"no average · wanted one of network"):
        read_tensors(shelf.path(2), "average")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_leave_no_trace(tmp_path: Path, kills: int) -> None:
    """``kill -9`` at random moments, several times in a row, then finishing."""
    steps = 6 * kills
    straight, _ = run(tmp_path / "straight", network=toy(dropout=0), steps=steps)
    context = multiprocessing.get_context("forkserver")  # imports once, then forks in no time
    context.set_forkserver_preload(["vitruvian.train.loop", "vitruvian.model.weights"])
    rng, seen, killed = random.Random(kills), dict[int, list[int]](), 0
    while True:
        mine, other = context.Pipe(duplex=False)
        arguments = (str(tmp_path / "killed"), steps, other)
        process = context.Process(target=train_and_tell, args=arguments)
        process.start()
        other.close()
        left = rng.randint(1, 8) if killed < kills else steps + 1
        while left and (told := mine.recv()) is not None:
            step, samples = told
            seen[step] = samples  # of the last time the step was done
            left -= 1
        time.sleep(rng.random() * 0.02)
        if left:
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    process.join()
    assert process.exitcode == 0
    assert killed == kills
    last = Checkpoints(tmp_path / "killed" / "checkpoints").path(steps)
    found = read_tensors(last, "network")
    assert all(torch.equal(found[n], v) for n, v in straight.state_dict().items())
    lines = [read_lines(tmp_path / n / "metrics.jsonl") for n in ("straight", "killed")]
    losses = [[(line["step"], line["loss"]) for line in part] for part in lines]
    assert losses[0] == losses[1]
    order = [sample for step in range(1, steps + 1) for sample in seen[step]]
    for epoch in range(len(order) // SAMPLES):
        assert sorted(order[epoch * SAMPLES :][:SAMPLES]) == list(range(SAMPLES))
