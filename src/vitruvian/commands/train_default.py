# SPDX-License-Identifier: Apache-2.0
"""``vitruvian train default``: the weights that ship, from nothing, by the package's commands."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from vitruvian.errors import InputError

if TYPE_CHECKING:
    from vitruvian.default.recipe import Budget, Stage

Flag = tyro.conf.FlagCreatePairsOff[bool]
_RATES = "rates.json"


def default(
    *,
    out: Path,
    budget: Literal["toy", "cpu", "gpu"] = "cpu",
    init: str | None = None,
    photos: tuple[Path, ...] = (),
    backgrounds: Path | None = None,
    seed: int = 1,
    precision: Literal["fp32", "bf16", "fp16"] | None = None,
    workers: int | None = None,
    device: str = "auto",
    show: Flag = False,
    no_estimate: Flag = False,
    ship: Flag = False,
) -> int:
    """Make the default weights from nothing: render people, pretrain, finetune, measure.

    Every stage is a command of this package with a folder under --out; those that are done are
    skipped, and the one that was stopped goes on. At first a few pictures are rendered and a few
    steps done, and what each stage will cost on this machine is printed.

    Of the weights of every finetuning, of --init and of the package those with the highest mean
    OKS on --photos (or else on held-out renders) become OUT/default.safetensors; the finder of
    people becomes OUT/people.safetensors. OUT/CARD.md says what was measured.

    Args:
        out: folder for everything.
        budget: toy (seconds), cpu (about a day on two cores) or gpu (about an hour on one GPU with
            16 cores).
        init: weights to improve instead of starting from nothing: default, or a file. Only the last
            finetuning is done then, and the finder's training; on new pictures if --seed is
            another.
        photos: COCO JSON files of labelled photographs to choose and measure by.
        backgrounds: folder of photographs without people, laid behind people in training (so are
            invented pictures, in any case); photographs teach better than what is invented.
        seed: of pictures and trainings.
        precision: of the trainings; bf16 is faster where a CPU or GPU computes it.
        workers: processes that render and prepare samples; by default by the number of cores.
        device: auto, cpu, mps or cuda:N.
        show: print the commands and stop.
        no_estimate: do not measure and print what it will cost.
        ship: put weights, finder and card into the package (of a checkout) if the weights are
            better than those there; finders are not compared.
    """
    from vitruvian.default.recipe import BUDGETS, done, fingerprints, note, stages

    chosen = BUDGETS[budget]
    behind = None if backgrounds is None else str(backgrounds)
    plan = stages(chosen, out, init=init, seed=seed, precision=precision, backgrounds=behind)
    if show:
        sys.stdout.write("".join(f"{stage.command()}\n" for stage in plan))
        return 0
    from vitruvian.synth.recipe import VERSION

    _check(photos, init, behind)
    marks = fingerprints(plan, out, generator=VERSION)
    finished = done(out, marks)
    if not no_estimate and len(finished) < len(plan):
        _tell_cost(plan, chosen, finished, out, budget, device)
    for stage in plan:
        if stage.name in finished:
            continue
        sys.stderr.write(f"\n{stage.name}:  {stage.command()}\n")
        code = _carry_out(stage, workers, device)
        if code:
            return code
        note(out, stage.name, marks[stage.name])
    return _publish(plan, out, init, photos, device, ship=ship)


def _check(photos: Sequence[Path], init: str | None, backgrounds: str | None = None) -> None:
    """See before hours of work that what is needed at the end is there."""
    from vitruvian.data.augment import Backgrounds
    from vitruvian.default.publish import need_own
    from vitruvian.model.opening import open_weights

    for path in photos:
        if not path.is_file():
            raise InputError(f"--photos {path}: no such file · wanted a COCO JSON of keypoints")
    if backgrounds is not None:
        Backgrounds(backgrounds)
    if init is None:
        return
    card = open_weights(init).card
    if not card.tasks:
        raise InputError(f"--init {init}: an encoder · wanted finetuned weights to improve")
    need_own(card, f"--init {init}")


def _carry_out(stage: "Stage", workers: int | None, device: str) -> int:
    """Run a stage's command; return its exit code."""
    from vitruvian.commands import synth, train

    options: dict[str, Any] = dict(stage.options)
    cores = synth.cores()
    if stage.verb == "synth people":
        return synth.people(**options, workers=workers or 0)
    # On a CPU the step itself takes all cores; one process prepares beside it.
    gpu = device != "cpu" and _has_gpu()
    loaders = workers if workers is not None else max(1, cores - 1) if gpu else 1
    return train.train(stage.given[0], **options, workers=loaders, device=device)  # pyright: ignore


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


# ------------------------------------------------------------------------------------- the cost


def _tell_cost(
    plan: "Sequence[Stage]", budget: "Budget", finished: Sequence[str], out: Path, name: str,
    device: str,
) -> None:  # fmt: skip
    """Print what each stage takes on this machine, from a measurement that is kept in ``out``."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vitruvian.commands.synth import cores
    from vitruvian.default.cost import measured, seconds
    from vitruvian.files import read_json, write_json
    from vitruvian.predict.device import pick_device

    place, count = pick_device(device), cores()
    console = Console(stderr=True)
    path, key = out / _RATES, f"{name} {place} {count}"
    known: dict[str, Mapping[str, float]] = read_json(path) if path.is_file() else {}
    if not {stage.name for stage in plan} <= set(known.get(key, ())):
        with console.status("measuring this machine: a few pictures and steps of every kind"):
            known[key] = measured(plan, budget, device=device)
        write_json(path, known, indent=1)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left",
        title=f"budget {name}, {place.type}, {count} cores; measured now, if nothing else runs",
    )  # fmt: skip
    for column in ("stage", "pictures or samples", "input", "time", ""):
        table.add_column(column, justify="left" if column in ("stage", "") else "right")
    total = 0.0
    for stage in plan:
        spent = seconds(stage, known[key], cores=count, cuda=place.type == "cuda")
        state = "done" if stage.name in finished else ""
        total += 0 if state else spent
        what = stage.training
        size = f"{what.input[0]}×{what.input[1]}" if what else "×".join(map(str, budget.picture))
        amount = what.samples if what else stage.pictures
        table.add_row(stage.name, f"{amount:,}", size, _span(spent), state)
    table.add_row("what is left", "", "", _span(total), "")
    console.print(table)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# ------------------------------------------------------------------------------------- the end


def _publish(
    plan: "Sequence[Stage]", out: Path, init: str | None, photos: Sequence[Path], device: str,
    *, ship: bool,
) -> int:  # fmt: skip
    """Choose the best weights, measure them, write file and card, and ship what is better."""
    from vitruvian.commands.model_card import telling
    from vitruvian.default import publish
    from vitruvian.default.recipe import FINDER, WEIGHTS
    from vitruvian.model.catalogue import DEFAULT, SHIPPED

    heldout = out / "held-out"
    shipped = SHIPPED / f"{DEFAULT}.safetensors"
    candidates = [str(shipped)] if shipped.is_file() else []
    candidates += [init] if init not in (None, DEFAULT) else []
    candidates += [str(s.out / WEIGHTS) for s in plan if s.given == ("multi",)]
    data = list(photos) or [heldout]
    with telling() as progress:
        best, scores = publish.best_of(
            candidates, data, out / "evaluation", device=device, progress=progress
        )
        for name, value in scores.items():
            chosen = "  <- best" if name == best else ""
            sys.stderr.write(f"mean OKS {value:.4f}  {name}{chosen}\n")
        publish.publish_finder(
            out / "finder" / WEIGHTS,
            out / FINDER,
            confirmed_by=best,
            heldout=heldout,
            device=device,
        )
        made = publish.publish(
            best, out, heldout=heldout, photos=photos, finder=str(out / FINDER), device=device,
            progress=progress,
        )  # fmt: skip
    lines = [made.weights, out / FINDER, made.card]
    if ship and best == str(shipped):
        sys.stderr.write("the weights in the package are better: they stay\n")
    elif ship:
        lines += publish.ship(made, out / FINDER)
    sys.stdout.write("".join(f"  {path}\n" for path in lines))
    return 0
