# SPDX-License-Identifier: Apache-2.0
"""The one training loop, for pretraining and every task, on one process or many.

The loop knows nothing of tasks: an ``Objective`` turns a batch into named losses, their sum is
minimised. Every step draws its randomness (masks, dropout) from (seed, step, rank), and the loader
its from (seed, epoch, sample), so a training that was killed and goes on from its last checkpoint
computes the same numbers as one that was not.
"""

import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitruvian.data.loader import LoaderState
from vitruvian.errors import InputError, VitruvianError
from vitruvian.files import read_json, write_json
from vitruvian.model.block import Block
from vitruvian.model.heads import DenseHead
from vitruvian.train.average import Average
from vitruvian.train.config import Batches, Hooks, LoopConfig, Objective, Progress
from vitruvian.train.log import JsonLines, Log
from vitruvian.train.optim import build_optimiser, clip_gradients, set_lr
from vitruvian.train.parallel import Parallel, inner
from vitruvian.train.state import Checkpoints, contents, restore

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class NonFiniteLossError(VitruvianError):
    """A loss or gradient became NaN or infinite; no weight was changed by that step."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended.

    Attributes:
        step: optimiser steps done, those before a restart included.
        interrupted: whether it was asked to stop (Ctrl-C, SIGTERM) before its last step.
        checkpoint: the last one.
        best: the one of the best evaluation, if any was scored.
    """

    step: int
    interrupted: bool
    checkpoint: Path
    best: Path | None


def train(
    network: nn.Module,
    objective: Objective,
    loader: Batches,
    *,
    config: LoopConfig,
    folder: str | Path,
    run: Mapping[str, Any] | None = None,
    parallel: Parallel | None = None,
    hooks: Hooks | None = None,
    logs: Sequence[Log] = (),
) -> Outcome:
    """Train a network, going on from the last checkpoint in ``folder`` if there is one.

    Args:
        network: whole, not wrapped; afterwards it holds the trained weights.
        objective: what to minimise.
        loader: this rank's batches, see ``data.loader.Loader``.
        config: settings of the loop.
        folder: gets ``run.json``, ``metrics.jsonl``, ``pictures/`` and ``checkpoints/``.
        run: JSON values that describe the run; a folder goes on only with equal ones.
        parallel: this process among others, see ``parallel.joined``; alone by default.
        hooks: what to call now and then.
        logs: where numbers go besides ``metrics.jsonl``; closed by the caller.

    Raises:
        NonFiniteLossError: on every rank, before the optimiser moves.
        InputError: the folder holds another run, a checkpoint cannot be written or read, or the
            loader ends early.
    """
    return _Loop(network, objective, loader, config, Path(folder), parallel, hooks).run(
        dict(run or {}), logs
    )


class _Loop:
    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        loader: Batches,
        config: LoopConfig,
        folder: Path,
        parallel: Parallel | None,
        hooks: Hooks | None,
    ) -> None:
        self.config, self.objective, self.loader, self.folder = config, objective, loader, folder
        self.parallel, self.hooks = parallel or Parallel(), hooks or Hooks()
        self.dtype = _DTYPES[config.precision]
        for module in network.modules():
            if isinstance(getattr(module, "checkpointing", None), bool):
                module.checkpointing = config.checkpointing  # pyright: ignore[reportArgumentType]
            if config.compile and isinstance(module, Block | DenseHead):
                module.compile()
        self.network = self.parallel.spread(network, low=self.dtype)
        self.inner = inner(self.network)
        self.optimiser = build_optimiser(self.inner, config.optimiser)
        self.average = Average(self.inner, config.ema) if config.ema is not None else None
        fp16 = config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.parallel.device.type, enabled=fp16)
        self.shelf = Checkpoints(folder / "checkpoints", keep=config.keep)
        self.step, self.saved, self.score = 0, -1, None
        self.window: list[tuple[dict[str, float], float]] = []

    def run(self, run: dict[str, Any], logs: Sequence[Log]) -> Outcome:
        self._resume(run)
        first = self.parallel.first
        own = [JsonLines(self.folder, after=self.step)] if first else []
        self.logs: list[Log] = [*own, *logs] if first else []
        batches = iter(self.loader)
        self.network.train()
        self.clock = time.perf_counter()
        with _stop_requests() as asked:
            while self.step < self.config.steps:
                stop = self._advance(batches, asked)
                self._report()
                self._look()
                if _due(self.step, self.config.save_every) or stop:
                    self._save()
                if stop:
                    break
        if self.saved != self.step:
            self._save()
        return Outcome(
            step=self.step,
            interrupted=self.step < self.config.steps,
            checkpoint=self.shelf.path(self.saved),
            best=self.shelf.best(),
        )

    def _resume(self, run: dict[str, Any]) -> None:
        """Write ``run.json``, or check it and go on from the last checkpoint."""
        latest, place = self.shelf.latest(), self.folder / "run.json"
        if latest is None:
            if self.parallel.first:
                write_json(place, run, indent=1)
            return
        before = read_json(place)
        changed = sorted(k for k in before.keys() | run.keys() if before.get(k) != run.get(k))
        if changed:
            key = changed[0]
            raise InputError(
                f"{self.folder} holds another run: {', '.join(changed)} differ ({key} was "
                f"{before.get(key)!r}, is {run.get(key)!r}) · train in another folder, or with the "
                f"settings in {place}"
            )
        average = self.average.tensors if self.average else None
        state = restore(latest, self.inner, self.optimiser, average)
        position = LoaderState(**state["loader"])
        if position.seed != self.loader.state.seed:
            raise InputError(
                f"{latest}: data in the order of seed {position.seed} · wanted the same seed, "
                f"given {self.loader.state.seed}"
            )
        self.loader.state = position
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved = state["step"]

    def _advance(self, batches: Iterator[Mapping[str, Tensor]], asked: threading.Event) -> bool:
        """Do one optimiser step; return whether a stop was asked for on any rank."""
        c, p = self.config, self.parallel
        torch.manual_seed(_seed(c.seed, self.step, p.rank))
        lr = c.optimiser.lr * c.schedule.factor(self.step)
        set_lr(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        seen: list[Any] = []
        self.samples = 0
        for part in range(c.accumulate):
            batch = self._next(batches)
            seen += batch["index"].tolist() if "index" in batch else []
            self.samples += len(next(iter(batch.values()))) * p.world
            with p.gathering(self.network, last=part == c.accumulate - 1):
                with torch.autocast(p.device.type, self.dtype, enabled=self.dtype is not None):
                    losses = dict(self.objective.losses(self.network, batch))
                total = torch.stack([loss.float() for loss in losses.values()]).sum()
                self.scaler.scale(total / c.accumulate).backward()
            for name, loss in (*losses.items(), ("loss", total)):
                value = loss.detach().float() / c.accumulate
                sums[name] = sums[name] + value if name in sums else value
        self.scaler.unscale_(self.optimiser)
        norm = clip_gradients(self.inner.parameters(), c.clip)
        # fp16 gradients overflow now and then; the scaler leaves such a step out by itself.
        judged = [*sums.values()] if self.scaler.is_enabled() else [*sums.values(), norm]
        bad = not torch.isfinite(torch.stack([v.to(p.device) for v in judged])).all().item()
        bad_anywhere, stop = p.any([bad, asked.is_set()])
        if bad_anywhere:
            raise self._not_finite(sums, norm, seen, here=bad)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        if self.average:
            self.average.update(self.step)
        means = p.mean(torch.stack([*sums.values()])).tolist()
        self.losses = dict(zip(sums, means, strict=True))
        self.norm, self.lr = float(norm), lr
        return stop

    def _next(self, batches: Iterator[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        batch = next(batches, None)
        if batch is None:
            raise InputError(
                f"the loader ended after step {self.step} · wanted batches for "
                f"{self.config.steps} steps · give it epochs=None"
            )
        return {k: v.to(self.parallel.device, non_blocking=True) for k, v in batch.items()}

    def _not_finite(
        self, sums: Mapping[str, Tensor], norm: Tensor, seen: list[Any], *, here: bool
    ) -> NonFiniteLossError:
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in sums.items())
        where = "" if here else " on another process; here"
        last = f"step {self.saved}" if self.saved >= 0 else "none yet"
        return NonFiniteLossError(
            f"not finite in step {self.step + 1}{where}: {values}, gradient norm {float(norm):.4g}"
            f" (samples {seen[:16] or 'unknown'}); no weight was changed, last checkpoint: {last} "
            "· look at these samples, lower the learning rate, or use bf16 or fp32"
        )

    def _report(self) -> None:
        """Collect the step; every so often write the mean of what was collected."""
        now = time.perf_counter()
        self.window.append((self.losses, now - self.clock))
        self.clock = now
        c = self.config
        rate = self.samples / max(self.window[-1][1], 1e-9)
        if self.hooks.progress and self.parallel.first:
            self.hooks.progress(
                Progress(
                    step=self.step,
                    steps=c.steps,
                    losses=self.losses,
                    lr=self.lr,
                    gradient_norm=self.norm,
                    samples_per_second=rate,
                    mfu=self._mfu(rate),
                )
            )
        if not _due(self.step, c.log_every) and self.step < c.steps:
            return
        seconds = sum(s for _, s in self.window) / len(self.window)
        count = len(self.window)
        values = {n: sum(w[n] for w, _ in self.window) / count for n in self.losses}
        values |= {"lr": self.lr, "gradient_norm": self.norm, "step_seconds": seconds}
        values["samples_per_second"] = self.samples / max(seconds, 1e-9)
        mfu = self._mfu(values["samples_per_second"])
        if mfu is not None:
            values["mfu"] = mfu
        if self.parallel.device.type == "cuda":
            values["memory_gib"] = torch.cuda.max_memory_allocated(self.parallel.device) / 2**30
        for log in self.logs:
            log.numbers(self.step, values)
        self.window.clear()

    def _mfu(self, samples_per_second: float) -> float | None:
        c = self.config
        if c.sample_flops is None or c.peak_flops is None:
            return None
        return samples_per_second * c.sample_flops / (c.peak_flops * self.parallel.world)

    def _look(self) -> None:
        """Evaluate, draw and probe when it is time, with the average weights if there are."""
        c, h = self.config, self.hooks
        last = self.step == c.steps
        evaluate = h.evaluate if last or _due(self.step, c.evaluate_every) else None
        pictures = h.pictures if last or _due(self.step, c.pictures_every) else None
        probe = h.probe if last or _due(self.step, c.probe_every) else None
        self.score = None
        if not evaluate and not pictures and not probe:
            return
        scored = False
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.average:
                stack.enter_context(self.average.in_place())
            self.network.eval()
            if evaluate:
                values = dict(evaluate(self.network, self.step))
                for log in self.logs:
                    log.numbers(self.step, values)
                if c.best is not None:
                    self.score = self._score(values, c.best)
                    scored = True
            if pictures:
                drawn = pictures(self.network, self.step)
                for log in self.logs:
                    log.pictures(self.step, drawn)
            if probe:
                found = probe(self.network, self.step)
                for log in self.logs:
                    log.numbers(self.step, found)
            self.network.train()
        self.parallel.settle(self.network)
        if scored:
            self._save()
        self.clock = time.perf_counter()

    def _score(self, values: Mapping[str, float], best: str) -> float | None:
        """Return the number checkpoints are compared by, higher is better."""
        name = best.removeprefix("-")
        if name not in values:
            raise InputError(f"best={best!r} · wanted one of {', '.join(sorted(values))}")
        value = float(values[name])
        return (-value if best.startswith("-") else value) if np.isfinite(value) else None

    def _save(self) -> None:
        if self.saved == self.step:
            return
        average = self.average.tensors if self.average else None
        state = {
            "loader": self.loader.state.to_dict(),
            "seed": self.config.seed,
            "lr": self.lr,
            "scaler": self.scaler.state_dict(),
            "world": self.parallel.world,
        }
        files = contents(self.inner, self.optimiser, average)
        self.shelf.save(self.step, files, state, score=self.score)
        self.saved = self.step
        self.clock = time.perf_counter()


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _stop_requests() -> Generator[threading.Event, None, None]:
    """Turn the first Ctrl-C or SIGTERM into an event; a second Ctrl-C interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
