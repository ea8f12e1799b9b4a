# SPDX-License-Identifier: Apache-2.0
"""``vitruvian train``: pretrain and finetune, on one process or many; interrupt and go on."""

import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from vitruvian.errors import InputError

if TYPE_CHECKING:
    from vitruvian.recipes.preflight import Preflight
    from vitruvian.recipes.run import Run
    from vitruvian.recipes.training import Prepared
    from vitruvian.train.config import Progress
    from vitruvian.train.log import Log
    from vitruvian.train.loop import Outcome
    from vitruvian.train.parallel import Parallel

Recipe = Literal["pretrain", "pose", "parts", "depth", "normals", "multi", "people"]
_Flag = tyro.conf.FlagCreatePairsOff
_MARKS = {"note": " ", "odd": "?", "bad": "!"}


def train(
    recipe: Annotated[Recipe | None, tyro.conf.Positional] = None,
    /,
    *,
    out: Path,
    data: tuple[str, ...] = (),
    val: tuple[str, ...] = (),
    repeat: tuple[int, ...] = (),
    size: str | None = None,
    init: str | None = None,
    points: str | None = None,
    parts: str | None = None,
    tasks: tuple[str, ...] = (),
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    per_device: int | None = None,
    input_size: tuple[int, int] | None = None,
    lr: float | None = None,
    target: Literal["heatmap", "hardest", "cross_entropy"] | None = None,
    framing: Literal["person", "picture"] | None = None,
    backgrounds: Path | None = None,
    paper: bool = False,
    frozen: bool = False,
    lora: int | None = None,
    precision: Literal["fp32", "bf16", "fp16"] | None = None,
    parallel: Literal["auto", "single", "ddp", "fsdp"] | None = None,
    evaluate_every: int | None = None,
    save_every: int | None = None,
    probe: tuple[str, ...] = (),
    probe_every: int | None = None,
    seed: int | None = None,
    set: tuple[str, ...] = (),
    run: Path | None = None,
    show: Annotated[bool, _Flag] = False,
    preflight: Annotated[bool, _Flag] = False,
    no_preflight: Annotated[bool, _Flag] = False,
    trust_sides: Annotated[bool, _Flag] = False,
    on_bad: Literal["raise", "skip"] = "raise",
    workers: int = 0,
    device: str = "auto",
    tensorboard: bool = False,
    wandb: str | None = None,
) -> int:
    """Train a network: masked pretraining, a task, or several tasks on one backbone.

    Interrupt it at any time (Ctrl-C saves): the same command, or --out alone, goes on where it
    stopped, on one process or many (torchrun … -m vitruvian train …). The folder gets run.json,
    metrics.jsonl, pictures/, preflight/, checkpoints/ and weights.safetensors, which predict opens.

    Args:
        recipe: what to train; each has the published numbers for the published sizes.
        out: folder of this training.
        data: folders of shards (vitruvian data pack), or data of a layout that says everything.
        val: the same, to evaluate on.
        repeat: how often each set of data counts in an epoch.
        size: nano, mini, tiny, small are ours; 0.3b, 0.6b, 1b, 2b and sapiens2-… published. By
            default that of --init, or tiny (nano for people).
        init: weights to begin from: a file, a catalogue name or hf:org/name; ours, Sapiens',
            Sapiens2's, pretrained or finetuned; or a plain ViT with timm's names.
        points: vocabulary of the keypoints, a name or .toml file; by default that of the data.
        parts: vocabulary of the parts; by default that of the data.
        tasks: of multi: some of pose parts depth normals.
        steps: of the training; the learning rate's curve keeps its shape.
        epochs: passes over the data, instead of steps.
        batch: samples per step over all devices.
        per_device: samples a device takes at once; the others of its share are accumulated.
        input_size: height and width of the input in pixels.
        lr: learning rate of the deepest layer.
        target: of pose: squared error, the same on the hardest points, or cross-entropy.
        framing: of parts, depth, normals: people's windows, or whole pictures.
        backgrounds: folder of pictures without people to lay behind them (not for keypoints
            alone, nor for pretraining).
        paper: reproduce known defects of the published recipes.
        frozen: train the heads alone.
        lora: rank of low-rank additions to the backbone, trained instead of it.
        precision: of the computation; weights stay fp32.
        parallel: fsdp spreads the weights over devices.
        evaluate_every: steps between evaluations and pictures.
        save_every: steps between checkpoints.
        probe: TASK=DATA, asked of the features in the middle of a pretraining: pose, parts, depth,
            normals, or classify (a folder of pictures per class); see vitruvian probe.
        probe_every: steps between probes; only at the end if not given.
        seed: of weights, order, augmentation and masks.
        set: any other setting as PATH=VALUE, such as loop.clip=0.5; --show lists them.
        run: a run.json to repeat instead of a recipe; --data, --val and --set may change it.
        show: print the run as JSON and stop.
        preflight: check data, labels and weights (into OUT/preflight) and stop.
        no_preflight: do not check before the first step.
        trust_sides: go on though left and right seem swapped or ambiguous.
        on_bad: stop at a sample that cannot be read, or take another.
        workers: processes that prepare samples, for each device.
        device: auto, cpu, cuda or cuda:N.
        tensorboard: also write event files into OUT/tensorboard.
        wandb: also send to this project of Weights & Biases.
    """
    given = {key: value for key, value in locals().items() if key not in ("recipe", "run", "out")}
    from vitruvian.recipes.training import prepared
    from vitruvian.train.parallel import joined

    made_run = _resolved(recipe, run, out, given)
    if show:
        sys.stdout.write(json.dumps(made_run.to_dict(), indent=1) + "\n")
        return 0
    with joined(made_run.parallel, device=None if device == "auto" else device) as place:
        made = prepared(made_run)
        if _needs_check(out, preflight=preflight, no_preflight=no_preflight):
            _checked(made, out, place, trust_sides=trust_sides)
            if preflight:
                return 0
        logs = _logs(out, made_run, place, tensorboard=tensorboard, wandb=wandb)
        outcome = _fitted(made, out, place, logs, workers=workers, on_bad=on_bad)
        if place.first:
            _tell(outcome, out)
    return 130 if outcome.interrupted else 0


# --------------------------------------------------------------------------- what to train


_RECIPE = (
    *("samples", "steps", "epochs", "batch", "input_size", "target", "framing", "paper", "tasks"),
)
_ALSO = ("size", "init", "points", "lora", "probe")
_DEVICES = ("parallel", "per_device")  # may differ each time a run is carried out
_SETTINGS = {
    "lr": "loop.optimiser.lr",
    "precision": "loop.precision",
    "parallel": "parallel",
    "evaluate_every": "loop.evaluate_every",
    "save_every": "loop.save_every",
    "probe_every": "loop.probe_every",
    "seed": "loop.seed",
    "per_device": "per_device",
}


def _resolved(recipe: str | None, path: Path | None, out: Path, given: Mapping[str, Any]) -> "Run":
    """Return the run that is asked for: a recipe, a file, or that of the folder itself."""
    from vitruvian.recipes.run import Part, Run

    if recipe is not None and path is not None:
        raise InputError(f"recipe {recipe} and --run {path} · wanted one of them")
    if recipe is None and path is None:
        path = out / "run.json"
        if not path.is_file():
            raise InputError(
                f"nothing to train: {out} holds no training to go on with · name a recipe, such as "
                " vitruvian train pose --data shards/ --out runs/a"
            )
    data = _parts(given["data"], given["repeat"])
    val = tuple(Part(path=str(one)) for one in given["val"])
    if path is not None:
        idle = [n for n in (*_RECIPE, *_SETTINGS, *_ALSO) if given.get(n)]
        idle = [name for name in idle if name not in _DEVICES]
        if idle:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
            raise InputError(f"{names} with the run of {path} · change it with --set PATH=VALUE")
        made = Run.load(path)
        made = replace(made, data=data or made.data, val=val or made.val)
    else:
        assert recipe is not None
        made = replace(_from_recipe(recipe, data, given), data=data, val=val, init=given["init"])
        if given["backgrounds"] is not None:
            made = replace(made, backgrounds=str(given["backgrounds"]))
        made = _learning(made, given)
        made = replace(made, probes=_probes(given["probe"]))
    changes = _chosen(given)
    return made.having({**changes, **_changes(given["set"])})


def _parts(paths: tuple[str, ...], repeat: tuple[int, ...]) -> tuple[Any, ...]:
    from vitruvian.recipes.run import Part

    if repeat and len(repeat) != len(paths):
        raise InputError(f"{len(repeat)} numbers in --repeat for {len(paths)} sets · wanted equal")
    times = repeat or (1,) * len(paths)
    return tuple(Part(path=p, repeat=n) for p, n in zip(paths, times, strict=True))


def _probes(texts: tuple[str, ...]) -> tuple[Any, ...]:
    from vitruvian.errors import unknown_name
    from vitruvian.recipes.run import Probeable, Probed

    probes: list[Probed] = []
    for text in texts:
        task, equals, data = text.partition("=")
        if not equals or not data:
            raise InputError(f"--probe {text} · wanted TASK=DATA, such as parts=shards/val")
        if task not in get_args(Probeable):
            raise unknown_name("task to probe", task, get_args(Probeable))
        probes.append(Probed.of(task, data))  # pyright: ignore[reportArgumentType]
    return tuple(probes)


def _from_recipe(recipe: str, data: tuple[Any, ...], given: Mapping[str, Any]) -> "Run":
    """Call a recipe with what was given, the length of the data, and its vocabularies."""
    from vitruvian.recipes import RECIPES
    from vitruvian.recipes.samples import framed, open_parts, vocabularies_of
    from vitruvian.recipes.weights import backbone_of

    function = RECIPES[recipe]
    known = inspect.signature(function).parameters
    values = {name: given.get(name) for name in _RECIPE if given.get(name)}
    if values.get("steps") and values.get("epochs"):
        raise InputError("--steps and --epochs · wanted one of them")
    words = {"pose": {"points": "vocabulary"}, "parts": {"parts": "vocabulary"}}.get(
        recipe, {"points": "points", "parts": "parts"} if recipe == "multi" else {}
    )
    idle = [name for name in values if name not in known]
    idle += [name for name in ("points", "parts") if given[name] and name not in words]
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise InputError(f"{names} has no effect on {recipe} · leave it out")
    source = open_parts(data)
    asked = list(values.get("tasks") or ("pose", "parts"))
    missing = {name for name in words if not given[name]}
    found = vocabularies_of(source) if missing else {}
    for name, argument in words.items():
        task = "pose" if name == "points" else "parts"
        if given[name]:
            values[argument] = given[name]
        elif task in found and (recipe != "multi" or task in asked):
            values[argument] = found[task]
    init, size = given["init"], given["size"]
    values["size"] = size or (backbone_of(init) if init else known["size"].default)
    if values.get("steps"):
        return function(**values)
    # How many samples there are depends on how windows are drawn, which the recipe decides.
    window = function(**{**values, "steps": 1, "epochs": None}).window
    return function(**values, samples=len(framed(source, window)))


def _learning(run: "Run", given: Mapping[str, Any]) -> "Run":
    from vitruvian.model.lora import LoRAConfig

    if given["frozen"]:
        run = replace(run, frozen="backbone")
    return run if given["lora"] is None else replace(run, lora=LoRAConfig(rank=given["lora"]))


def _chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    changes = {path: given[name] for name, path in _SETTINGS.items() if given[name] is not None}
    if given["evaluate_every"] is not None:
        changes["loop.pictures_every"] = given["evaluate_every"]
    return changes


def _changes(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read PATH=VALUE; a value is JSON, or else a word."""
    changes: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise InputError(f"--set {text} · wanted PATH=VALUE, such as loop.clip=0.5")
        try:
            changes[path] = json.loads(value)
        except ValueError:
            changes[path] = value
    return changes


# --------------------------------------------------------------------------- doing it


def _needs_check(out: Path, *, preflight: bool, no_preflight: bool) -> bool:
    from vitruvian.recipes.training import steps_done

    if preflight and no_preflight:
        raise InputError("--preflight and --no-preflight · wanted one of them")
    return preflight or (not no_preflight and steps_done(out) == 0)


def _checked(made: "Prepared", out: Path, place: "Parallel", *, trust_sides: bool) -> None:
    """Run the preflight on the first process, tell what it found, and stop all if it is bad."""
    from vitruvian.recipes.training import check

    found: Preflight | None = None
    if place.first:
        with _status() as progress:
            found = check(made, out, parallel=place, trust_sides=trust_sides, progress=progress)
        for finding in found.findings:
            if finding.state != "bad":
                sys.stderr.write(f"{_MARKS[finding.state]} {finding}\n")
        sys.stderr.write(f"  drawn: {found.folder / 'sheet.jpg'}\n")
    (bad,) = place.any([found is not None and bool(found.bad)])
    if found is not None:
        found.stop_if_bad()
    if bad:
        raise InputError("the preflight of the first process found the data bad")


def _logs(
    out: Path, run: "Run", place: "Parallel", *, tensorboard: bool, wandb: str | None
) -> "list[Log]":
    from vitruvian.train.log import TensorBoard, WeightsAndBiases

    logs: list[Log] = []
    if place.first and tensorboard:
        logs.append(TensorBoard(out / "tensorboard"))
    if place.first and wandb is not None:
        logs.append(WeightsAndBiases(wandb, run=run.to_dict(), dir=str(out)))
    return logs


def _fitted(
    made: "Prepared", out: Path, place: "Parallel", logs: "list[Log]", *, workers: int, on_bad: str
) -> "Outcome":
    from vitruvian.recipes.training import fit, steps_done

    with contextlib.ExitStack() as stack:
        for log in logs:
            stack.callback(log.close)
        steps = made.run.loop.steps
        move = stack.enter_context(_bar(steps, steps_done(out))) if place.first else None
        return fit(
            made, out, parallel=place, workers=workers, on_bad=on_bad, progress=move, logs=logs
        )


def _tell(outcome: "Outcome", out: Path) -> None:
    from vitruvian.recipes.training import WEIGHTS

    if outcome.interrupted:
        sys.stderr.write(f"stopped after step {outcome.step}; the same command goes on there\n")
    from vitruvian.train.state import read_state

    which = "best" if outcome.best else "last"
    step = read_state(outcome.best or outcome.checkpoint)["step"]
    sys.stdout.write(f"{out / WEIGHTS}: weights of the {which} checkpoint, step {step}\n")


@contextlib.contextmanager
def _status() -> Generator[Callable[[str], None], None, None]:
    from rich.console import Console

    with Console(stderr=True).status("preflight") as status:
        yield lambda text: status.update(f"preflight: {text}")


@contextlib.contextmanager
def _bar(steps: int, done: int) -> "Generator[Callable[[Progress], None], None, None]":
    """Show step, time left, losses and speed on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps, completed=done)
        smooth: dict[str, float] = {}

        def move(now: "Progress") -> None:
            for name, value in now.losses.items():
                smooth[name] = 0.9 * smooth.get(name, value) + 0.1 * value
            losses = "  ".join(f"{name} {value:.4g}" for name, value in smooth.items())
            text = f"{losses}  {now.samples_per_second:.3g} samples/s"
            bar.update(task, completed=now.step, description=text)

        yield move
