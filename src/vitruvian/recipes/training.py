# SPDX-License-Identifier: Apache-2.0
"""Carry out a run: data, first weights, preflight, the loop, and the file that comes out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitruvian.data.loader import Loader
from vitruvian.data.source import Source
from vitruvian.errors import InputError
from vitruvian.files import read_json
from vitruvian.model.flops import mae_flops, network_flops, peak_flops
from vitruvian.model.mae import MAE
from vitruvian.model.network import Network
from vitruvian.recipes.evaluation import Evaluation, MaskedEvaluation, Pictures
from vitruvian.recipes.objectives import MaskedObjective, TaskObjective
from vitruvian.recipes.people import (
    PeopleEvaluation,
    PeopleObjective,
    PeoplePictures,
    PreparePeople,
    need_people,
)
from vitruvian.recipes.preflight import Preflight, preflight
from vitruvian.recipes.probe import Probing
from vitruvian.recipes.run import Run
from vitruvian.recipes.samples import Prepare, fitting, framed, in_words, open_parts, preparer
from vitruvian.recipes.weights import Start, card_of, starting_network
from vitruvian.tasks import Task
from vitruvian.train.config import Hooks, LoopConfig, Objective, Progress
from vitruvian.train.export import export
from vitruvian.train.log import Log
from vitruvian.train.loop import Outcome, train
from vitruvian.train.parallel import Parallel
from vitruvian.train.state import Checkpoints

WEIGHTS = "weights.safetensors"
"""Name of the file a training leaves: the best checkpoint's weights, or else the last's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """All that a training needs, made from its run.

    Attributes:
        run: what is trained.
        source: what the loader reads.
        val: photographs to evaluate on, or ``None``.
        looked_at: photographs to draw: those of ``val``, or else of the training.
        tasks: by head name; none for pretraining.
        prepare: makes arrays of samples.
        network: with its first weights.
        start: where those come from.
        objective: what is minimised.
        probing: what the features are asked for, or ``None``.
    """

    run: Run
    source: Source
    val: Source | None
    looked_at: Source
    tasks: Mapping[str, Task]
    prepare: Prepare | PreparePeople
    network: Network | MAE
    start: Start
    objective: Objective
    probing: Probing | None


def prepared(run: Run) -> Prepared:
    """Open the data of a run and build its network.

    Raises:
        InputError: data or weights are missing, or do not fit the tasks.
    """
    tasks = {asked.name: asked.task() for asked in run.tasks}
    fitting(open_parts(run.data), list(tasks.values()))
    needed = _needed(run, tasks)
    pictures = in_words(open_parts(run.data, needed), list(tasks.values()))
    source = framed(pictures, run.window)
    val = in_words(open_parts(run.val, needed), list(tasks.values())) if run.val else None
    network, start = starting_network(run)
    objective: Objective = MaskedObjective(seed=run.seed)
    if tasks:
        weights = {asked.name: asked.weight for asked in run.tasks}
        objective = TaskObjective(tasks, weights)
    prepare: Prepare | PreparePeople
    if run.people is not None:
        need_people(source)
        objective, prepare = PeopleObjective(run.people), PreparePeople.of(run, source)
    else:
        prepare = preparer(run, tasks)
    return Prepared(
        run=run,
        source=source,
        val=val,
        looked_at=val or pictures,
        tasks=tasks,
        prepare=prepare,
        network=network,
        start=start,
        objective=objective,
        probing=Probing.of(run.probes, run.size, fill=run.fill, seed=run.seed)
        if run.probes
        else None,
    )


def _needed(run: Run, tasks: Mapping[str, Task]) -> set[str] | None:
    """Return the annotations a training reads, ``None`` for all; decoding others costs time."""
    if run.people is not None:
        return {"parts"}  # to cut people out, and to lay something behind them
    behind = run.backgrounds is not None or getattr(run.window, "clutter", None) is not None
    if not behind:
        return set(tasks)
    # What says which pixels are a person's, see ``augment.foreground``: any map, if no better.
    outlines = {"mask", "alpha", "parts", "depth", "normals"}
    return set(tasks) | outlines if tasks.keys() & outlines else None


def check(
    made: Prepared,
    out: Path,
    *,
    parallel: Parallel,
    trust_sides: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Preflight:
    """Run the preflight into ``out/preflight``; see there."""
    return preflight(
        made.run, made.network, made.start, made.objective, made.source, made.prepare,
        out / "preflight", device=parallel.device, trust_sides=trust_sides, progress=progress,
    )  # fmt: skip


def fit(
    made: Prepared,
    out: Path,
    *,
    parallel: Parallel,
    workers: int = 0,
    on_bad: str = "raise",
    progress: Callable[[Progress], None] | None = None,
    logs: Sequence[Log] = (),
) -> Outcome:
    """Train, and write ``out/weights.safetensors``; goes on from the last checkpoint in ``out``.

    Args:
        made: see ``prepared``.
        out: folder of the training.
        parallel: this process among others.
        workers: processes that prepare samples, for each process that trains.
        on_bad: what to do about a sample that cannot be read: "raise" or "skip".
        progress: called after every step.
        logs: where numbers go besides ``metrics.jsonl``.

    Raises:
        InputError: see ``train``; or the batch cannot be shared out.
    """
    run = made.run
    accumulate = accumulation(run, parallel.world)
    loop = replace(run.loop, accumulate=accumulate)
    loader = Loader(
        made.source,
        made.prepare,
        batch=run.batch // accumulate,
        seed=run.seed,
        workers=workers,
        rank=parallel.rank,
        world=parallel.world,
        on_bad=on_bad,  # pyright: ignore[reportArgumentType]
        pin_memory=parallel.device.type == "cuda",
    )
    loop = replace(loop, **_flops(run, loop, parallel))
    hooks = Hooks(
        evaluate=_evaluation(made, parallel),
        pictures=_pictures(made, parallel),
        probe=made.probing,
        progress=progress,
    )
    outcome = train(
        made.network,
        made.objective,
        loader,
        config=loop,
        folder=out,
        run=_described(run, out),
        parallel=parallel,
        hooks=hooks,
        logs=logs,
    )
    if parallel.first:
        export(
            outcome.best or outcome.checkpoint, out / WEIGHTS, card_of(run, out.name), lora=run.lora
        )
    return outcome


def _described(run: Run, out: Path) -> dict[str, Any]:
    """Return a run as JSON values; how devices share the work is that of the folder's first start.

    It does not change what is learned, so a training may go on with other devices.
    """
    plain, before = run.to_dict(), out / "run.json"
    if before.is_file():
        kept = read_json(before)
        plain |= {key: kept[key] for key in ("parallel", "per_device") if key in kept}
    return plain


def accumulation(run: Run, world: int) -> int:
    """Return how many batches make a step, so that no device holds more than ``per_device``.

    Raises:
        InputError: the batch cannot be shared out.
    """
    if run.batch % world:
        raise InputError(
            f"a batch of {run.batch} on {world} processes · wanted a multiple of {world}"
        )
    share = run.batch // world
    most = run.per_device or share
    count = -(-share // most)
    while share % count:
        count += 1
    return count


def steps_done(out: Path) -> int:
    """Return the step of the last checkpoint in a folder of a training, 0 for none."""
    steps = Checkpoints(out / "checkpoints").steps()
    return steps[-1] if steps else 0


def _pictures(made: Prepared, parallel: Parallel) -> Pictures | PeoplePictures:
    if made.run.people is not None:
        return PeoplePictures(run=made.run, source=made.looked_at, parallel=parallel)
    return Pictures(run=made.run, source=made.looked_at, tasks=made.tasks, parallel=parallel)


def _evaluation(
    made: Prepared, parallel: Parallel
) -> Evaluation | MaskedEvaluation | PeopleEvaluation | None:
    if made.val is None:
        return None
    batch = max(1, min(8, made.run.per_device or 8))
    if made.run.masked is not None:
        return MaskedEvaluation(run=made.run, source=made.val, parallel=parallel, batch=batch)
    if made.run.people is not None:
        return PeopleEvaluation(run=made.run, source=made.val, parallel=parallel, batch=batch)
    return Evaluation(
        run=made.run, source=made.val, tasks=made.tasks, parallel=parallel, batch=batch
    )


def _flops(run: Run, loop: LoopConfig, parallel: Parallel) -> dict[str, Any]:
    """Return what the loop needs to print the share of the device that is used (MFU)."""
    if parallel.device.type != "cuda":
        return {}
    if run.masked is not None:
        count = mae_flops(run.network.backbone, run.masked, run.size).step
    else:
        frozen = run.frozen == "backbone"
        count = network_flops(run.network, run.size, frozen=frozen, lora=run.lora).step
    return {
        "sample_flops": float(count),
        "peak_flops": peak_flops(parallel.device, loop.precision),
    }
