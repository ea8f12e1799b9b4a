# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from vitruvian.errors import InputError
from vitruvian.model import layers
from vitruvian.model.mae import MAE
from vitruvian.model.network import Network
from vitruvian.recipes import pose, pretrain
from vitruvian.recipes.estimate import (
    GIB,
    Estimate,
    Precision,
    estimate,
    options,
    spread,
    trace_step,
)
from vitruvian.recipes.objectives import MaskedObjective, TaskObjective
from vitruvian.recipes.run import Run

SIZE = (64, 64)


def run(kind: str) -> Run:
    """A run of a network of one block."""
    recipe = pretrain if kind == "pretrain" else pose
    made = recipe("nano", steps=10, input_size=SIZE)
    backbone = replace(made.network.backbone, depth=1)
    return replace(made, network=replace(made.network, backbone=backbone))


@cache
def estimated(kind: str, precision: Precision, checkpointing: bool = False) -> Estimate:
    return estimate(run(kind), precision=precision, checkpointing=checkpointing)


def real_step(given: Run, batch: int, **settings: Any) -> tuple[Any, float]:
    """Carry out a step with values; return its trace and what autograd says it keeps."""
    masked = given.masked
    network = MAE(given.network.backbone, masked) if masked else Network(given.network)
    tasks = {asked.name: asked.task() for asked in given.tasks}
    made = {"image": torch.zeros(batch, 3, *SIZE, dtype=torch.uint8)}
    made |= {"index": torch.arange(batch), "epoch": torch.zeros(batch).long()}
    count, side = given.network.heads["pose"].out if tasks else 0, SIZE[0] // 4
    made |= {"pose/xy": torch.rand(batch, count, 2) * side} if tasks else {}
    made |= {"pose/weights": torch.ones(batch, count)} if tasks else {}
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    own |= {t.untyped_storage().data_ptr() for t in made.values()}
    kept: dict[int, tuple[Tensor, int]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (tensor, storage.nbytes())  # held, so no address comes again
        return tensor

    objective = TaskObjective(tasks) if tasks else MaskedObjective()
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        trace = trace_step(network, objective, made, **settings)
    return trace, sum(size for _, size in kept.values())


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("pose", "bf16"),
        ("pretrain", "fp32"),
        pytest.param("pose", "fp32", marks=pytest.mark.slow),
        pytest.param("pretrain", "bf16", marks=pytest.mark.slow),
    ],
)
def test_without_values_it_is_as_with_them(
    kind: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate equals a real step, and what autograd keeps within a twentieth."""
    given = run(kind)
    low = torch.bfloat16 if precision == "bf16" else None
    found = estimated(kind, precision)
    # The estimate is that of a device with such arithmetic, whatever this CPU has.
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: True)
    first, _ = real_step(given, 2, low=low)
    trace, kept = real_step(given, 4, low=low)
    assert found.peaks[4] >= 0.98 * trace.kept
    per_sample = (trace.kept - first.kept) / 2
    assert found.encoder + found.heads == pytest.approx(per_sample, rel=0.02)
    copies = found.copies
    assert copies + 4 * (found.encoder + found.heads) == pytest.approx(kept, rel=0.05)


def test_measured_peak_of_the_profiler() -> None:
    """The peak of allocations that torch's profiler saw, another way to count."""
    from torch.profiler import ProfilerActivity, profile

    given = run("pretrain")
    found = estimated("pretrain", "fp32")
    network = MAE(given.network.backbone, given.masked)
    images = torch.rand(4, 3, *SIZE)
    network(images).loss.backward()
    network.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        network(images).loss.backward()
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    live = peak = 0
    for size in sizes:
        live += size
        peak = max(peak, live)
    if not sizes:
        pytest.skip("this torch reports no single allocations")
    assert peak == pytest.approx(found.peaks[4], rel=0.15)


def test_recomputing_freezing_and_sharing_save_what_they_should() -> None:
    given = replace(run("pose"), batch=64)
    plain, saving = estimated("pose", "bf16"), estimated("pose", "bf16", True)
    frozen = estimate(replace(given, frozen="backbone"), precision="bf16", checkpointing=False)
    assert saving.encoder < 0.7 * plain.encoder  # of one block; its input and output stay
    assert frozen.encoder < 0.2 * plain.encoder
    assert frozen.gradients + frozen.optimiser < 0.7 * (plain.gradients + plain.optimiser)
    assert frozen.flops.step < plain.flops.step
    shared = spread(given, plain, 4)
    assert shared.weights == plain.weights / 4
    for e in (plain, saving, frozen, shared):
        totals = [e.total(batch) for batch in range(1, 12)]
        assert totals == sorted(totals)
        memory = 1.2 * GIB
        batch = e.largest_batch(memory)
        assert e.total(batch) <= memory < e.total(batch + 1)
    assert plain.largest_batch(0.1 * GIB) == 0


def test_options_are_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(run("pose"), batch=64)

    def known(_: Run, *, precision: Precision, checkpointing: bool) -> Estimate:
        return estimated("pose", precision, checkpointing)  # the batch of a run changes nothing

    monkeypatch.setattr("vitruvian.recipes.estimate.estimate", known)
    roomy = options(given, 24 * GIB, precision="bf16", devices=2)
    assert len(roomy) == 4
    assert roomy[0].batch == 32
    assert not roomy[0].estimate.checkpointing
    assert roomy[0].estimate.devices == 1
    assert "--per-device 32" in roomy[0].words
    assert roomy[0].estimate.largest_batch(0.5 * GIB) == 0
    with pytest.raises(InputError, match="wanted more than none"):
        options(given, 0, precision="bf16")
    with pytest.raises(InputError, match="wanted fp32, bf16 or fp16"):
        estimate(given, precision="int8")  # pyright: ignore[reportArgumentType]
