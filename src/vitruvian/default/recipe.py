# SPDX-License-Identifier: Apache-2.0
"""How the default weights are made: budgets, and the commands that each of them stands for.

Every stage is a command of the package that goes from folders to a folder and goes on where it was
stopped. So the whole recipe can be printed, run by hand, or continued by ``train default``.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.geometry import Size

HELDOUT_SEED = 900_001
"""Of the pictures no training sees; training sets have small seeds."""
DONE = "default.json"
"""Says in the folder of a recipe which stages are done, and with which settings."""
FINDER = "people.safetensors"
"""Weights that find people, beside the default weights."""
WEIGHTS = "weights.safetensors"
"""What a training leaves, see ``recipes.training``."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Attributes:
        input: (height, width) in pixels.
        steps: of the optimiser.
        batch: samples per step.
        lr: learning rate; ``None`` for the recipe's.
    """

    input: Size
    steps: int
    batch: int
    lr: float | None = None

    @property
    def samples(self) -> int:
        """Samples seen."""
        return self.steps * self.batch


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is spent.

    Attributes:
        about: in words.
        pictures: rendered to learn from.
        heldout: rendered to measure with.
        picture: (height, width) of rendered pictures.
        size: of the network, a key of ``SIZES``.
        masked: pretraining.
        finetune: trainings of all tasks, each beginning with the weights of the one before.
        finder: training of the network that finds people, on the finetuned backbone.
    """

    about: str
    pictures: int
    heldout: int
    picture: Size
    size: str
    masked: Training
    finetune: tuple[Training, ...]
    finder: Training


BUDGETS: Mapping[str, Budget] = MappingProxyType({
    "toy": Budget(
        about="a few steps, to see that everything works",
        pictures=8, heldout=4, picture=(64, 48), size="nano",
        masked=Training(input=(32, 32), steps=2, batch=2),
        finetune=(
            Training(input=(32, 32), steps=2, batch=2),
            Training(input=(48, 32), steps=2, batch=2, lr=5e-4),
        ),
        finder=Training(input=(64, 64), steps=2, batch=2),
    ),
    "cpu": Budget(
        about="about a day on two cores",
        pictures=20_000, heldout=400, picture=(320, 240), size="mini",
        masked=Training(input=(128, 96), steps=4_000, batch=128),
        finetune=(
            Training(input=(128, 96), steps=24_000, batch=16),
            Training(input=(192, 144), steps=6_000, batch=32, lr=3e-3),
            Training(input=(256, 192), steps=4_000, batch=32, lr=1.5e-3),
        ),
        finder=Training(input=(192, 192), steps=6_000, batch=16),
    ),
    "gpu": Budget(
        about="about an hour on one GPU with 16 cores",
        pictures=16_000, heldout=400, picture=(512, 384), size="mini",
        masked=Training(input=(128, 96), steps=4_000, batch=128),
        finetune=(
            Training(input=(128, 96), steps=16_000, batch=16),
            Training(input=(256, 192), steps=6_000, batch=32, lr=3e-3),
            Training(input=(512, 384), steps=1_000, batch=64, lr=1e-3),
        ),
        finder=Training(input=(256, 256), steps=2_000, batch=16),
    ),
})  # fmt: skip
"""Name → budget [V].

Of the samples most go to small inputs, where a sample costs least, and to small batches: at first
the number of steps counts more than their size (docs/log.md).
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command of the package.

    Attributes:
        name: of the stage and, under ``out``, of its folder.
        verb: of the command line.
        given: positional arguments.
        options: by name of the parameter.
        training: what it costs, of a training.
        pictures: what it costs, of a rendering.
    """

    name: str
    verb: str
    given: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    training: Training | None = None
    pictures: int = 0

    @property
    def out(self) -> Path:
        """Folder of the result."""
        return self.options["out"]

    def command(self) -> str:
        """Return the command line."""
        words = ["vitruvian", *self.verb.split(), *self.given]
        for name, value in self.options.items():
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif isinstance(value, tuple):
                words += [flag, *map(str, value)]
            elif value is not None:
                words += [flag, str(value)]
        return shlex.join(words)


def stages(
    budget: Budget, out: Path, *, init: str | None = None, seed: int = 1,
    precision: str | None = None, backgrounds: str | None = None,
) -> list[Stage]:  # fmt: skip
    """Return what has to be done, in order.

    Args:
        budget: how much of it.
        out: folder of everything.
        init: weights to improve: only the last finetuning, which begins with them.
        seed: of the pictures to learn from and of the trainings.
        precision: of the computation; that of the recipes if ``None``.
        backgrounds: folder of pictures without people that trainings lay behind people, too.

    Raises:
        InputError: a seed that the held-out pictures have.
    """
    if seed == HELDOUT_SEED or seed < 0:
        raise InputError(
            f"--seed {seed} · wanted 0 or more, and not {HELDOUT_SEED}, the held-out pictures'"
        )
    height, width = budget.picture
    rendering: dict[str, Any] = {"size": f"{height}x{width}", "quality": 92, "gallery": 0}

    def rendered(name: str, count: int, seed: int) -> Stage:
        options = {"out": out / name, "count": count, "seed": seed, **rendering}
        return Stage(name=name, verb="synth people", options=options, pictures=count)

    def trained(name: str, recipe: str, what: Training, start: str | None) -> Stage:
        # the size is that of the weights it begins with
        options = {
            "data": (str(out / "train-set"),), "out": out / name,
            "size": None if start else budget.size, "init": start,
            "steps": what.steps, "batch": what.batch, "input_size": what.input, "lr": what.lr,
            "seed": seed, "precision": precision, "no_preflight": True,
        }  # fmt: skip
        if recipe == "multi":
            options["parts"] = "parts28"
        if recipe != "pretrain":
            options["backgrounds"] = backgrounds
        options = {key: value for key, value in options.items() if value is not None}
        return Stage(name=name, verb="train", given=(recipe,), options=options, training=what)

    made = [
        rendered("train-set", budget.pictures, seed),
        rendered("held-out", budget.heldout, HELDOUT_SEED),
    ]
    start, finetune = init, budget.finetune[-1:]
    if init is None:
        made.append(trained("pretrain", "pretrain", budget.masked, None))
        start, finetune = str(out / "pretrain" / WEIGHTS), budget.finetune
    for what in finetune:
        name = f"finetune-{what.input[0]}x{what.input[1]}"
        made.append(trained(name, "multi", what, start))
        start = str(out / name / WEIGHTS)
    made.append(trained("finder", "people", budget.finder, start))
    return made


def fingerprints(plan: Sequence[Stage], out: Path, *, generator: int) -> dict[str, str]:
    """Return for each stage a digest of its settings and of all stages before it.

    Where the folder lies does not count, what renders people (``generator``) does.
    """
    found: dict[str, str] = {}
    before = str(generator)
    for stage in plan:
        text = json.dumps([stage.command().replace(str(out), "OUT"), before])
        before = hashlib.sha256(text.encode()).hexdigest()[:12]
        found[stage.name] = before
    return found


def done(out: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return the stages that are done.

    Raises:
        InputError: the folder holds one that was made with other settings.
    """
    path = out / DONE
    have: dict[str, str] = read_json(path)["stages"] if path.is_file() else {}
    other = [name for name in wanted if name in have and have[name] != wanted[name]]
    if other:
        raise InputError(
            f"{out} holds stages made with other settings ({', '.join(other)}) · give another "
            f"--out, or the budget, seed and --init of before, or remove {path} and those folders"
        )
    return [name for name in wanted if name in have]


def note(out: Path, name: str, fingerprint: str) -> None:
    """Write down that a stage is done."""
    path = out / DONE
    have = read_json(path)["stages"] if path.is_file() else {}
    write_json(path, {"stages": {**have, name: fingerprint}}, indent=1)
