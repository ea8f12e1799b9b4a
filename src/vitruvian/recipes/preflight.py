# SPDX-License-Identifier: Apache-2.0
"""Looks at everything a training is about to use, before its first step.

Labels as the network will see them, on a sheet; what the set holds and what looks wrong with it;
which weights are there and which start anew; and whether the network can learn one batch by heart.
A finding is a sentence with a remedy. What is bad stops the training.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

from vitruvian import drawing, image
from vitruvian.data.augment import MaskedAugment
from vitruvian.data.source import Source
from vitruvian.data.survey import Finding, Survey
from vitruvian.errors import InputError, VitruvianError
from vitruvian.files import write_json
from vitruvian.model.layers import cpu_computes
from vitruvian.person import Sample
from vitruvian.recipes.dense import LIFTED
from vitruvian.recipes.objectives import TaskObjective
from vitruvian.recipes.people import PreparePeople, drawn
from vitruvian.recipes.run import Run
from vitruvian.recipes.samples import Prepare, has_labels
from vitruvian.recipes.weights import Start
from vitruvian.tasks import Depth, Parts, Task
from vitruvian.train.config import Objective

LOOK = 300
"""Samples looked at, spread over the set."""
SHEET = 12
"""Augmented samples on the sheet."""
FALL = 0.9
"""Share by which the loss of the batch must fall."""
STEPS = 400
_BATCH = 4
_TALL = 256  # pixels; smaller cells of the sheet are enlarged
_SMALL = 64  # pixels; masked pictures are cut to four patches each way before they are memorised
_RATES = (3e-3, 1e-3, 3e-4)


@dataclass(frozen=True, kw_only=True)
class Memorised:
    """How well one batch was learned by heart."""

    first: float
    last: float
    steps: int

    @property
    def fall(self) -> float:
        """Share by which the loss fell."""
        return 1 - self.last / self.first if self.first > 0 else 1.0


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found.

    Attributes:
        findings: sentences; notes first, what is bad last.
        classes: share of each class among known pixels after augmentation, for label maps.
        memorised: of one batch, ``None`` where bad findings made it pointless.
        folder: where sheet and report are.
    """

    findings: tuple[Finding, ...]
    classes: Mapping[str, float]
    memorised: Memorised | None
    folder: Path

    @property
    def bad(self) -> tuple[Finding, ...]:
        """The findings that stop a training."""
        return tuple(finding for finding in self.findings if finding.state == "bad")

    def stop_if_bad(self) -> None:
        """Raise if something is bad.

        Raises:
            InputError: with every bad finding.
        """
        if self.bad:
            raise InputError(
                f"the data cannot be trained on ({len(self.bad)} findings, more in {self.folder}): "
                + "; ".join(str(finding) for finding in self.bad)
            )


def preflight(
    run: Run,
    network: nn.Module,
    start: Start,
    objective: Objective,
    source: Source,
    prepare: Prepare | PreparePeople,
    folder: Path,
    *,
    device: torch.device | None = None,
    trust_sides: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Preflight:
    """Look at data, labels and weights, learn one batch by heart, and write what was found.

    Args:
        run: what is to be trained.
        network: with its first weights; a copy of it is trained.
        start: where those come from.
        objective: of the training.
        source: what the loader reads.
        prepare: of the loader.
        folder: gets ``sheet.jpg`` and ``report.json``.
        device: where to compute.
        trust_sides: take refusals about left and right as warnings.
        progress: told what is being done.
    """
    progress("looking at the data")
    findings = [Finding(state="note", text=text) for text in start.sentences()]
    findings += _about_precision(run, device or next(network.parameters()).device)
    findings += _surveyed(source)
    if trust_sides:
        findings = [
            replace(f, state="odd") if f.about == "sides" and f.state == "bad" else f
            for f in findings
        ]
    batch: dict[str, Tensor] = {}
    progress("drawing augmented samples")
    try:
        sheet, batch = _drawn(run, source, prepare)
        image.write(folder / "sheet.jpg", sheet)
    except VitruvianError as error:
        findings.append(Finding(state="bad", text=str(error)))
    classes = _class_shares(prepare.tasks, batch)
    memorised = None
    if not any(finding.state == "bad" for finding in findings):
        progress("learning one batch by heart")
        memorised = memorise(network, _learnable(objective), _first(batch, run), device=device)
        findings.append(_about_memory(memorised))
    order = {"note": 0, "odd": 1, "bad": 2}
    findings.sort(key=lambda finding: order[finding.state])
    found = Preflight(findings=tuple(findings), classes=classes, memorised=memorised, folder=folder)
    report = {
        "findings": [vars(finding) for finding in findings],
        "classes": dict(classes),
        "memorised": None if memorised is None else vars(memorised),
    }
    write_json(folder / "report.json", report, indent=1)
    return found


def _about_precision(run: Run, device: torch.device) -> list[Finding]:
    precision = run.loop.precision
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if low is None or device.type != "cpu" or cpu_computes(low):
        return []
    text = f"this CPU has no arithmetic for {precision}, so it computes in fp32 and rounds"
    remedy = "train with --precision fp32, which is as fast and more exact"
    return [Finding(state="odd", text=text, remedy=remedy)]


def _surveyed(source: Source) -> list[Finding]:
    survey = Survey()
    numbers = np.unique(np.linspace(0, len(source) - 1, min(LOOK, len(source))).astype(int))
    for number in numbers.tolist():
        try:
            survey.add(source[number])
        except VitruvianError as error:
            survey.fail(source.where(number), str(error))
    # A picture stands for as many samples as people: its name is no repeat.
    return [f for f in survey.findings() if not f.text.startswith("the same name for several")]


def _drawn(
    run: Run, source: Source, prepare: Prepare | PreparePeople
) -> tuple[NDArray[np.uint8], dict[str, Tensor]]:
    """Draw a sheet of augmented samples; return them as a batch too."""
    cells: list[tuple[str, NDArray[np.uint8]]] = []
    rows: list[dict[str, Any]] = []
    spread = np.linspace(0, len(source) - 1, 4 * SHEET).round().astype(int)
    # Several times as many as wanted, in case the augmentation refuses some.
    for number in dict.fromkeys([*spread[::4].tolist(), *spread.tolist()]):
        sample = source[number]
        made = prepare(sample, np.random.default_rng([run.seed, number]))
        if made is None:
            continue
        rows.append(made | {"index": number, "epoch": 0})
        cell = _cell(sample, prepare, run.seed, number, made)
        times = max(1, round(_TALL / cell.shape[0]))
        cells.append((sample.name, cell.repeat(times, axis=0).repeat(times, axis=1)))
        if len(cells) == SHEET:
            break
    if not cells:
        raise InputError(
            f"none of {4 * SHEET} samples could be used: too few points or labels are left in "
            "their windows · look at the set with  vitruvian data check"
        )
    return drawing.grid(cells, columns=3), default_collate(rows)


def _cell(
    sample: Sample,
    prepare: Prepare | PreparePeople,
    seed: int,
    number: int,
    made: Mapping[str, Any],
) -> NDArray[np.uint8]:
    """Draw a sample with its targets, in the window that ``prepare`` drew."""
    pixels = np.ascontiguousarray(made["image"].transpose(1, 2, 0))
    if isinstance(prepare, PreparePeople):
        return drawn(prepare.scene(sample, np.random.default_rng([seed, number])).sample())
    if isinstance(prepare.window, MaskedAugment):
        return pixels
    view = prepare.window(sample, np.random.default_rng([seed, number]))
    assert view is not None, "the same randomness draws the same window"
    shown = Sample(image=pixels, people=(view.person.warped(view.crop),))
    names = [task.name for task in prepare.tasks if has_labels(view.person, task)]
    return np.hstack([drawing.overlay(shown, task=n, key=False, boxes=False) for n in names])


def _class_shares(tasks: tuple[Task, ...], batch: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the share of every class in the augmented labels of a batch."""
    shares: dict[str, float] = {}
    for task in tasks:
        labels = batch.get(f"{task.name}/labels")
        if isinstance(task, Parts) and labels is not None:
            known = labels[labels < task.channels]
            counts = torch.bincount(known.flatten(), minlength=task.channels).tolist()
            total = max(sum(counts), 1)
            shares |= {n: c / total for n, c in zip(task.vocabulary.names, counts, strict=True)}
            shares["(not known)"] = 1 - known.numel() / max(labels.numel(), 1)
    return shares


def _first(batch: Mapping[str, Tensor], run: Run) -> dict[str, Tensor]:
    """Return a few samples of a batch; masked pictures cut to a few patches."""
    small = {key: value[:_BATCH] for key, value in batch.items()}
    if run.masked is not None:
        side = max(_SMALL, 4 * run.network.backbone.stride)
        small = {key: value[:2] for key, value in small.items()}
        height, width = (min(side, length) for length in run.size)
        y, x = (run.size[0] - height) // 2, (run.size[1] - width) // 2
        small["image"] = small["image"][:, :, y : y + height, x : x + width].contiguous()
    return small


def _learnable(objective: Objective) -> Objective:
    """Return the objective with a depth loss that has a slope everywhere, as published none has."""
    if not isinstance(objective, TaskObjective):
        return objective
    tasks = {n: LIFTED if isinstance(t, Depth) else t for n, t in objective.tasks.items()}
    return replace(objective, tasks=tasks)


def memorise(
    network: nn.Module,
    objective: Objective,
    batch: Mapping[str, Tensor],
    *,
    steps: int = STEPS,
    device: torch.device | None = None,
) -> Memorised:
    """Train a copy of a network on one batch until its loss has fallen by ``FALL``.

    Dropout is off, masks stay the same, and every weight that learns has the same rate. Should it
    not fall enough, lower rates are tried.

    Args:
        network: stays as it is.
        objective: what is minimised.
        batch: a few samples.
        steps: most steps for each rate.
        device: where to compute; where the network is, if not given.
    """
    best: Memorised | None = None
    place = device or next(network.parameters()).device
    batch = {key: value.to(place) for key, value in batch.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for rate in _RATES:
            found = _memorise(network, objective, batch, steps=steps, lr=rate, device=place)
            if best is None or found.fall > best.fall or not np.isfinite(best.last):
                best = found
            if best.fall >= FALL:
                break
    assert best is not None
    return best


def _memorise(
    network: nn.Module,
    objective: Objective,
    batch: Mapping[str, Tensor],
    *,
    steps: int,
    lr: float,
    device: torch.device,
) -> Memorised:
    model = copy.deepcopy(network).to(device).eval()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=lr, weight_decay=0.0, betas=(0.9, 0.95))
    first = last = float("nan")
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10)
        loss = torch.stack([v.float() for v in objective.losses(model, batch).values()]).sum()
        last = float(loss.detach())
        first = last if step == 0 else first
        if not np.isfinite(last) or last <= (1 - FALL) * first:
            return Memorised(first=first, last=last, steps=step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
    return Memorised(first=first, last=last, steps=steps)


def _about_memory(found: Memorised) -> Finding:
    text = (
        f"one batch learned by heart: the loss fell from {found.first:.3g} to {found.last:.3g} "
        f"({found.fall:.0%}) in {found.steps} steps"
    )
    if not np.isfinite(found.last):
        return Finding(
            state="bad",
            text=f"the loss of one batch is {found.last}",
            remedy="look at the samples on the sheet for values that are not finite",
        )
    if found.fall >= FALL:
        return Finding(state="note", text=text)
    return Finding(
        state="bad",
        text=f"{text}, wanted {FALL:.0%}",
        remedy="labels and pictures may not belong together, or too little learns (frozen, LoRA); "
        "look at the sheet",
    )
