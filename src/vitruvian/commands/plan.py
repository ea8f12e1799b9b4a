# SPDX-License-Identifier: Apache-2.0
"""``vitruvian plan``: what fits on a GPU, before there is one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vitruvian.errors import InputError
from vitruvian.files import write_json

if TYPE_CHECKING:
    from vitruvian.recipes.estimate import Option
    from vitruvian.recipes.run import Run

TaskName = Literal["pretrain", "pose", "parts", "depth", "normals"]


def plan(
    *,
    model: str = "0.3b",
    task: tuple[TaskName, ...] = ("pose",),
    gpu_memory: float = 24.0,
    gpus: int = 1,
    precision: Literal["fp32", "bf16", "fp16"] = "bf16",
    input_size: tuple[int, int] | None = None,
    batch: int | None = None,
    frozen: bool = False,
    lora: int | None = None,
    run: Path | None = None,
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> int:
    """Tell how to train a model on GPUs of some memory: batch, checkpointing, sharding, FLOPs.

    The training step is carried out with tensors that have no values, so nothing but this computer
    is needed. Exit code 1: nothing fits.

    Args:
        model: a size (0.3b 0.6b 1b 2b sapiens2-… nano mini tiny
            small), or weights whose backbone to take.
        task: what to train; several share one backbone; pretrain is masked pretraining.
        gpu_memory: of one GPU, in GiB.
        gpus: how many there are.
        precision: of the computation.
        input_size: height and width; as published by default.
        batch: samples per optimiser step over all GPUs; as published by default.
        frozen: train only the heads.
        lora: train low-rank additions of this rank to the backbone.
        run: the run.json of a training, instead of model and task.
        json: also write the figures here.
    """
    from vitruvian.recipes.estimate import GIB, options

    asked = _run(model, task, input_size, batch, frozen, lora) if run is None else _load(run)
    found = options(asked, gpu_memory * GIB, precision=precision, devices=gpus)
    best = found[0] if found[0].batch else None
    name = "run.json" if run is not None else f"{model}, {' + '.join(task)}"
    _show(name, asked, found, best, gpu_memory=gpu_memory, gpus=gpus)
    if json is not None:
        write_json(json, _figures(found, best, gpu_memory=gpu_memory, gpus=gpus), indent=1)
    return 0 if best else 1


def _load(path: Path) -> "Run":
    from vitruvian.recipes.run import Run

    return Run.load(path)


def _run(
    model: str,
    task: tuple[TaskName, ...],
    input_size: tuple[int, int] | None,
    batch: int | None,
    frozen: bool,
    lora: int | None,
) -> "Run":
    from dataclasses import replace

    from vitruvian.model.lora import LoRAConfig
    from vitruvian.model.sizes import SIZES
    from vitruvian.recipes import RECIPES
    from vitruvian.recipes.weights import backbone_of

    if not task or ("pretrain" in task and len(task) > 1):
        raise InputError(f"task {' '.join(task)} · wanted tasks, or pretrain alone")
    size = model if model in SIZES else backbone_of(model)
    settings: dict[str, Any] = {"steps": 1000, "input_size": input_size, "batch": batch}
    if len(task) > 1:
        made = RECIPES["multi"](size, tasks=task, **settings)
    else:
        only = next(iter(task))
        if only == "pose":
            settings["vocabulary"] = "sapiens308"
        made = RECIPES[only](size, **settings)
    low_rank = None if lora is None else LoRAConfig(rank=lora, alpha=2.0 * lora)
    return replace(made, frozen="backbone" if frozen else "nothing", lora=low_rank)


def _figures(
    found: "list[Option]", best: "Option | None", *, gpu_memory: float, gpus: int
) -> dict[str, Any]:
    rows = [
        {
            **option.estimate.to_dict(),
            "batch_per_gpu": option.batch,
            "bytes_per_gpu": option.estimate.total(max(1, option.batch)),
        }
        for option in found
    ]
    flags = None if best is None else best.words
    return {"gpu_memory_gib": gpu_memory, "gpus": gpus, "flags": flags, "options": rows}


def _show(
    name: str,
    run: "Run",
    found: "list[Option]",
    best: "Option | None",
    *,
    gpu_memory: float,
    gpus: int,
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vitruvian.recipes.estimate import GIB, RESERVED

    first = found[0].estimate
    size = f"{run.size[0]}×{run.size[1]}"
    parameters, trained = (f"{count / 1e6:,.1f} M" for count in first.parameters)
    table = Table(
        title=f"{name} at {size} · {first.precision} · {gpus} × {gpu_memory:g} GiB",
        caption="GiB per GPU",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    for option in found:
        e = option.estimate
        way = f"sharded over {e.devices}" if e.devices > 1 else "whole on each"
        style = "bold" if option is best else None
        way += "\nrecomputing blocks" if e.checkpointing else "\nkeeping all"
        table.add_column(way, justify="right", style=style)
    estimates = [option.estimate for option in found]
    for label, field in (
        ("weights", "weights"),
        ("gradients", "gradients"),
        ("optimiser", "optimiser"),
        ("copies of weights", "copies"),
        ("per sample: encoder", "encoder"),
        ("per sample: heads, losses", "heads"),
        ("per sample: in passing", "passing"),
    ):
        table.add_row(label, *(f"{getattr(e, field) / GIB:.2f}" for e in estimates))
    table.add_section()
    totals = [o.estimate.total(max(1, o.batch)) / GIB for o in found]
    table.add_row("samples at once", *(str(option.batch or "none fits") for option in found))
    table.add_row("memory then (or for one)", *(f"{total:.1f}" for total in totals))
    console = Console()
    console.print(table)
    context, share = RESERVED
    console.print(
        f"{parameters} parameters, {trained} of them trained. Memory includes "
        f"{context / GIB:g} GiB for the device's context and {share:.0%} for gaps."
    )
    flops = first.flops
    work = f"a sample: {flops.forward / 1e9:,.1f} GFLOP forward, {flops.step / 1e9:,.1f} trained"
    if best is not None:
        count = best.batch * gpus
        work += f"; a step of {count}: {count * flops.step / 1e12:,.2f} TFLOP"
    console.print(work)
    if best is None:
        console.print(
            f"nothing fits in {gpu_memory:g} GiB · try --lora 16, --frozen, more --gpus (weights "
            "are then sharded), or a smaller --input-size"
        )
        return
    if best.batch * gpus < run.batch:
        times = -(-run.batch // (best.batch * gpus))
        console.print(
            f"a batch of {run.batch:,} then takes {times:,} passes a step (accumulation) · --batch "
            "makes it smaller"
        )
    console.print(f"train with  {best.words}", markup=False)
