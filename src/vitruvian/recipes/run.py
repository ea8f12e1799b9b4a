# SPDX-License-Identifier: Apache-2.0
"""``Run``: everything needed to repeat a training, as one value and as JSON.

A run is resolved: no number is left to be chosen later, no default is looked up when it is read.
What depends on the machine (device, workers, where results go) is not part of it, so the same run
goes on elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from vitruvian.data.augment import DenseAugment, MaskedAugment, PoseAugment, SceneAugment
from vitruvian.errors import InputError, unknown_name
from vitruvian.files import read_json
from vitruvian.geometry import Size
from vitruvian.model.config import from_plain, to_plain
from vitruvian.model.lora import LoRAConfig
from vitruvian.model.mae import MAEConfig
from vitruvian.model.network import NetworkConfig
from vitruvian.tasks import Task, make
from vitruvian.tasks.people import People
from vitruvian.train.config import LoopConfig
from vitruvian.vocabularies.description import describe
from vitruvian.vocabulary import Vocabulary

Window = PoseAugment | DenseAugment | MaskedAugment | SceneAugment
"""How a window is drawn: around a person, of a whole picture, any part of one, or of several."""
Framing = Literal["person", "stretch", "pad"]
_WINDOWS: Mapping[str, type[Window]] = {
    "person": PoseAugment,
    "picture": DenseAugment,
    "part": MaskedAugment,
    "scene": SceneAugment,
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A task of a training.

    Args:
        name: of the task, and of its head.
        weight: factor of all its losses.
        settings: the task's own settings as JSON values; a vocabulary is a shipped name or a
            description (``vitruvian.vocabularies.description``).
    """

    name: str
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, task: Task, weight: float = 1.0) -> Self:
        """Write down a task."""
        values = {key: getattr(task, key) for key in getattr(task, "__dataclass_fields__", {})}
        plain = {
            key: describe(value) if isinstance(value, Vocabulary) else value
            for key, value in values.items()
        }
        return cls(name=task.name, weight=weight, settings=json.loads(json.dumps(plain)))

    def task(self) -> Task:
        """Build the task."""
        return make(self.name, **self.settings)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A set that a training reads.

    Args:
        path: a folder of shards, or data of any layout that ``vitruvian data pack`` reads without
            being told more.
        repeat: how often each of its samples counts in an epoch.
        every: take only every so many-th sample.
    """

    path: str
    repeat: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        if self.repeat < 1 or self.every < 1:
            raise InputError(f"{self.path}: repeat {self.repeat}, every {self.every} · wanted 1 on")


Method = Literal["knn", "linear", "decoder"]
Probeable = Literal["pose", "parts", "depth", "normals", "classify"]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the features are asked for in the middle of a pretraining (``recipes.probe``).

    Args:
        task: what is asked; "classify" for pictures whose folder is their class.
        data: shards, or data of any layout that says everything; for "classify" a folder with a
            folder of pictures per class.
        methods: how; "knn" for parts and "classify" only, "decoder" not for "classify".
        samples: most windows of people, or pictures.
        steps: of training a head.
    """

    task: Probeable
    data: str
    methods: tuple[Method, ...] = ("linear",)
    samples: int = 256
    steps: int = 300

    def __post_init__(self) -> None:
        if not self.methods or self.samples < 8 or self.steps < 1:
            raise InputError(
                f"a probe by {len(self.methods)} methods, {self.samples} samples, {self.steps} "
                "steps · wanted 1 method, 8 samples and 1 step, or more"
            )
        barred = {"classify": "decoder", "pose": "knn", "depth": "knn", "normals": "knn"}
        if barred.get(self.task) in self.methods:
            raise InputError(f"{self.task} by {barred[self.task]} · wanted another method")

    @classmethod
    def of(cls, task: Probeable, data: str) -> Self:
        """Ask by neighbours where the task can be, and by a linear map."""
        neighbours = task in ("parts", "classify")
        return cls(task=task, data=data, methods=("knn", "linear") if neighbours else ("linear",))


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything needed to repeat a training.

    Args:
        recipe: name of the recipe it comes from.
        network: backbone and heads.
        tasks: what is learned, one head each; empty for masked pretraining.
        masked: decoder and masking of masked pretraining, or ``None``.
        people: finding people on whole pictures, or ``None``.
        init: weights to begin from, a path or a name; ``None`` for none.
        data: sets to learn from.
        val: sets to evaluate on.
        probes: what the features are asked for every ``loop.probe_every`` steps of a pretraining.
        backgrounds: folder of pictures without people to lay behind them, or ``None``.
        window: how windows are drawn; its ``size`` is the size of the input.
        batch: samples per optimiser step, over all processes.
        per_device: samples a device takes at once; ``None`` for its whole share. Smaller ones are
            accumulated.
        loop: optimiser, schedule, precision, seed, and how often to look and save.
        parallel: "auto" is "ddp" under ``torchrun`` and "single" otherwise.
        frozen: what does not learn.
        lora: train low-rank additions to the backbone instead of its weights.
    """

    recipe: str
    network: NetworkConfig
    tasks: tuple[Asked, ...] = ()
    masked: MAEConfig | None = None
    people: People | None = None
    init: str | None = None
    data: tuple[Part, ...] = ()
    val: tuple[Part, ...] = ()
    probes: tuple[Probed, ...] = ()
    backgrounds: str | None = None
    window: Window
    batch: int
    per_device: int | None = None
    loop: LoopConfig
    parallel: Literal["auto", "single", "ddp", "fsdp"] = "auto"
    frozen: Literal["nothing", "backbone"] = "nothing"
    lora: LoRAConfig | None = None

    def __post_init__(self) -> None:
        kinds = (bool(self.tasks), self.masked is not None, self.people is not None)
        if sum(kinds) != 1:
            raise InputError(
                f"{len(self.tasks)} tasks, masked={kinds[1]}, people={kinds[2]} · wanted tasks, or "
                "masked pretraining, or finding people"
            )
        if (isinstance(self.window, MaskedAugment), isinstance(self.window, SceneAugment)) != (
            kinds[1:]
        ):
            raise InputError(
                f"windows by {type(self.window).__name__} · wanted MaskedAugment for pretraining, "
                "SceneAugment for finding people, PoseAugment or DenseAugment for tasks"
            )
        names = [asked.name for asked in self.tasks] + ([People.name] if self.people else [])
        if len(set(names)) != len(names) or set(names) != set(self.network.heads):
            raise InputError(
                f"tasks {', '.join(names) or 'none'} with heads "
                f"{', '.join(self.network.heads) or 'none'} · wanted one head for each task"
            )
        stride = self.network.backbone.stride
        if self.batch < 1 or any(side < stride or side % stride for side in self.size):
            raise InputError(
                f"batch {self.batch}, input of {self.size[0]}×{self.size[1]} pixels (height × "
                f"width) · wanted 1 or more samples, and multiples of {stride}"
            )
        if self.per_device is not None and self.per_device < 1:
            raise InputError(f"per_device {self.per_device} · wanted 1 or more")
        clutter = getattr(self.window, "clutter", None)
        behind = isinstance(self.window, DenseAugment) or clutter is not None
        if self.backgrounds is not None and not behind:
            raise InputError(
                f"backgrounds {self.backgrounds} have no effect on windows by "
                f"{type(self.window).__name__} without clutter · leave them out"
            )
        opened = getattr(self.window, "backgrounds", None) or getattr(clutter, "photographs", None)
        if opened is not None:
            raise InputError("name the folder of backgrounds in backgrounds=, not in the window")
        if self.lora is not None and self.frozen != "nothing":
            raise InputError("lora freezes the backbone itself · leave frozen='nothing'")
        if self.masked is not None and (self.frozen != "nothing" or self.lora is not None):
            raise InputError("pretraining trains the backbone · leave out frozen and lora")
        if self.probes and self.masked is None:
            raise InputError("probes look at pretraining · a finetuning is evaluated on val")
        if len({probed.task for probed in self.probes}) != len(self.probes):
            raise InputError("two probes of a task · wanted one each")
        if self.loop.probe_every is not None and not self.probes:
            raise InputError(
                f"loop.probe_every {self.loop.probe_every} and nothing to probe · name a task and "
                "data with --probe TASK=DATA"
            )

    @property
    def size(self) -> Size:
        """(height, width) of the input in pixels."""
        return self.window.size

    @property
    def framing(self) -> Framing:
        """How a picture becomes the input when the trained network is used."""
        if isinstance(self.window, PoseAugment):
            return "person"
        if isinstance(self.window, DenseAugment):
            return self.window.fit
        return "pad" if isinstance(self.window, SceneAugment) else "stretch"

    @property
    def fill(self) -> tuple[float, float, float]:
        """RGB of what its windows show outside of the picture."""
        if isinstance(self.window, SceneAugment):
            red, green, blue = self.window.margin
            return float(red), float(green), float(blue)
        return self.window.fill if isinstance(self.window, PoseAugment) else (0.0, 0.0, 0.0)

    @property
    def seed(self) -> int:
        """Of the order of the data, augmentation, starting weights and masks."""
        return self.loop.seed

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        kinds = {cls: kind for kind, cls in _WINDOWS.items()}
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **to_plain(self),
            "network": self.network.to_dict(),
            "window": {"kind": kinds[type(self.window)], **to_plain(plain["window"])},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result.

        Raises:
            InputError: a field is missing or of another type.
            UnknownNameError: a key that is no field.
        """
        values = dict(data)
        if "network" in values:
            values["network"] = NetworkConfig.from_dict(values["network"])
        if "window" in values:
            window = dict(values["window"])
            kind = window.pop("kind", None)
            if kind not in _WINDOWS:
                raise unknown_name("kind of window", str(kind), _WINDOWS)
            values["window"] = from_plain(_WINDOWS[kind], window)
        return from_plain(cls, values)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read ``run.json``.

        Raises:
            InputError: it is missing, no JSON, or not a run.
        """
        found = read_json(path)
        try:
            return cls.from_dict(found)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def having(self, changes: Mapping[str, Any]) -> Self:
        """Return the run with settings changed by their path, ``{"loop.optimiser.lr": 1e-3}``.

        Members of lists go by their number, tasks also by name (``tasks.pose.weight``).

        Raises:
            UnknownNameError: no such setting; the text lists close ones.
            InputError: a value of another type, or settings that do not go together.
        """
        plain = self.to_dict()
        for path, value in changes.items():
            _change(plain, path.split("."), value, path)
        return type(self).from_dict(plain)


def _change(place: Any, names: list[str], value: Any, path: str) -> None:
    name, *rest = names
    if isinstance(place, list):
        found = [i for i, one in enumerate(place) if isinstance(one, dict) and name in _own(one)]
        number = int(name) if name.isdecimal() else found[0] if found else len(place)
        if number >= len(place):
            raise unknown_name(f"part of {path}", name, [*map(str, range(len(place)))])
        key: Any = number
    elif isinstance(place, dict):
        key = name
        if key not in place:
            raise unknown_name(f"setting {path}:", name, place)
    else:
        raise InputError(f"{path}: nothing is called {name!r} inside {place!r}")
    if rest:
        _change(place[key], rest, value, path)
    else:
        place[key] = value


def _own(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one.get("name"), one.get("path")


def single_process(run: Run) -> Run:
    """Return the run for one process, whatever it was set to, for checks before a training."""
    return replace(run, parallel="single")
