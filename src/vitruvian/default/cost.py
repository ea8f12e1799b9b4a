# SPDX-License-Identifier: Apache-2.0
"""What the recipe will cost on this machine, from a short measurement of every kind of work."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import default_collate

from vitruvian import __version__
from vitruvian.data.shards import write_shard
from vitruvian.default.recipe import Budget, Stage
from vitruvian.predict.device import pick_device
from vitruvian.recipes import RECIPES, Part
from vitruvian.recipes.run import Run
from vitruvian.recipes.training import prepared
from vitruvian.synth import production
from vitruvian.synth.recipe import Settings
from vitruvian.synth.writer import Job
from vitruvian.train.optim import build_optimiser

_SEED = 700_001  # of the few pictures that are rendered to measure with
_PICTURES = 8  # two groups of four views; the first picture warms up


def measured(plan: Sequence[Stage], budget: Budget, *, device: str) -> dict[str, float]:
    """Return seconds per picture or sample of each stage, by its name.

    Of a rendering: of one core. Of a training: ``NAME`` for one sample of a step, of one core or
    of the GPU, and ``NAME/prepare`` of one core to prepare it. Seconds of cores are processor
    time, which other programs hardly change.
    """
    place = pick_device(device)
    with tempfile.TemporaryDirectory() as folder:
        per_picture = _render(budget, Path(folder))
        rates = {stage.name: per_picture for stage in plan if stage.pictures}
        for stage in plan:
            if stage.training is not None:
                run = _run(stage, folder, budget)
                rates[stage.name], rates[f"{stage.name}/prepare"] = _train(run, place)
    return {name: float(f"{value:.3g}") for name, value in rates.items()}


def seconds(stage: Stage, rates: Mapping[str, float], *, cores: int, cuda: bool) -> float:
    """Return how long a stage takes in all if nothing else runs, about.

    A GPU works while the cores prepare; a CPU does one and the other.
    """
    if stage.pictures:
        return stage.pictures * rates[stage.name] / cores
    assert stage.training is not None
    step, prepare = rates[stage.name], rates[f"{stage.name}/prepare"] / cores
    return stage.training.samples * (max(step, prepare) if cuda else step / cores + prepare)


def _render(budget: Budget, folder: Path) -> float:
    """Render a few pictures into a shard; return seconds per picture."""
    settings = Settings(size=budget.picture)
    job = Job(
        number=0, first=0, last=_PICTURES, path="", seed=_SEED, settings=settings.to_dict(),
        code=__version__,
    )  # fmt: skip
    samples, times = [], []
    for sample, _ in production.people(job):
        samples.append(sample)
        times.append(time.process_time())
    write_shard(folder / "people-000000.tar", samples, quality=92)
    return (times[-1] - times[0]) / (len(times) - 1)


def _run(stage: Stage, data: str, budget: Budget) -> Run:
    """Return the run of a stage on other data, from fresh weights, which cost the same."""
    assert stage.training is not None
    what, recipe = stage.training, stage.given[0]
    run = RECIPES[recipe](budget.size, steps=1, batch=what.batch, input_size=what.input)
    precision = stage.options.get("precision")
    if precision is not None:
        run = run.having({"loop.precision": precision})
    return replace(run, data=(Part(path=data),))


def _train(run: Run, device: torch.device) -> tuple[float, float]:
    """Return seconds per sample of the step, and of preparing it."""
    made = prepared(run)
    rng = np.random.default_rng(0)
    many = min(run.batch, 64 if device.type == "cuda" else 4)
    rows, start, tries = [], 0.0, 0
    while len(rows) < many + 1 and tries < 20 * many:
        row = made.prepare(made.source[tries % len(made.source)], rng)
        tries += 1
        if row is not None:
            rows.append(row)
            start = start or time.process_time()  # the first one opens the data
    prepare = (time.process_time() - start) / max(1, len(rows) - 1)
    batch = {k: v.to(device) for k, v in default_collate(rows[:many]).items()}
    batch |= {"index": torch.arange(many), "epoch": torch.zeros(many, dtype=torch.int64)}
    made.network.to(device).train()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(run.loop.precision)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(2):  # the first pass warms up
        start = clock()
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            losses = made.objective.losses(made.network, batch)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    step = (clock() - start) / many
    optimiser = build_optimiser(made.network, run.loop.optimiser)
    start = clock()
    optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return step + (clock() - start) / run.batch, prepare
