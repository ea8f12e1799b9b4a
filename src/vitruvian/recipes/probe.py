# SPDX-License-Identifier: Apache-2.0
"""How good features are, without finetuning: something light learns on a frozen backbone.

Features of upright windows of people (for classes: of whole pictures) are computed once. Then
"linear" learns one 1×1 convolution on them, "decoder" a small upsampling head, and "knn" nothing:
every patch, or picture, gets the label of most of its nearest neighbours. Three quarters of the
photographs teach, one quarter is measured, by the tasks' own metrics on the windows. These numbers
compare features with each other; they are not those of a finetuned model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitruvian import image as images
from vitruvian.data.source import Source
from vitruvian.data.sources import open_source
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.model.card import MEAN, STD, Colour
from vitruvian.model.heads import DenseHead, DenseHeadConfig
from vitruvian.model.mae import MAE
from vitruvian.model.network import Network
from vitruvian.person import Person
from vitruvian.recipes.dense import LIFTED
from vitruvian.recipes.objectives import RGB, normalised
from vitruvian.recipes.run import Method, Probeable, Probed
from vitruvian.recipes.samples import has_labels, in_words, vocabularies_of
from vitruvian.tasks import Depth, Parts, Pose, Task, View, make
from vitruvian.train.optim import clip_gradients
from vitruvian.train.parallel import inner
from vitruvian.train.schedule import cosine

LossOf = Callable[[Tensor, dict[str, Tensor]], Tensor]
_TEST = 4  # every so many-th photograph is measured
_BANK = 20_000  # patches to look for neighbours among


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How features are asked.

    Args:
        method: see the module.
        steps: of training a head.
        batch: windows per step, and per forward pass of the backbone.
        lr: learning rate at first, then along a cosine to 0.
        neighbours: that vote.
        seed: of starting weights and order.
    """

    method: Method = "linear"
    steps: int = 300
    batch: int = 16
    lr: float = 1e-2
    neighbours: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("knn", "linear", "decoder"):
            raise InputError(f"probe by {self.method!r} · wanted knn, linear or decoder")
        if min(self.steps, self.batch, self.neighbours) < 1 or not self.lr > 0:
            raise InputError(f"{self} · wanted numbers above 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """What is looked at.

    Attributes:
        pixels: (N, 3, H, W) uint8.
        people: N people in window coordinates; empty for classes.
        classes: (N,) class numbers; empty for people.
        names: of the classes.
        test: (N,) bool, which are measured and not learned from.
    """

    pixels: Tensor
    people: tuple[Person, ...] = ()
    classes: Tensor
    names: tuple[str, ...] = ()
    test: Tensor

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.pixels.shape[2], self.pixels.shape[3]


def opened(
    data: str | Path,
    asked: Probeable,
    size: Size,
    *,
    fill: RGB = (0.0, 0.0, 0.0),
    most: int = 256,
) -> tuple[Task | None, Windows]:
    """Read what to probe with; points and parts in the vocabulary of the data.

    Args:
        data: see ``Probed``.
        asked: a task, or "classify", for which the task returned is ``None``.
        size: (height, width) of the windows.
        fill: RGB of what windows show outside of a photograph, see ``Card``.
        most: windows, or pictures.

    Raises:
        InputError: it cannot be read, or holds too little.
    """
    if asked == "classify":
        return None, classes_of(data, size, most=most)
    source = open_source(data)[0]
    words = vocabularies_of(source).get(asked) if asked in ("pose", "parts") else None
    task = make(asked) if words is None else make(asked, vocabulary=words)
    return task, windows_of(in_words(source, [task]), task, size, fill=fill, most=most)


def windows_of(
    source: Source,
    task: Task,
    size: Size,
    *,
    fill: RGB = (0.0, 0.0, 0.0),
    most: int = 256,
) -> Windows:
    """Cut upright windows of people with labels of a task, from photographs all over a source.

    Raises:
        InputError: too few photographs have any.
    """
    people: list[Person] = []
    cut: list[np.ndarray] = []
    photographs: list[int] = []
    step = max(1, len(source) // most)
    for number in range(0, len(source), step):
        sample = source[number]
        for person in sample.people:
            if len(cut) >= most or not has_labels(person, task):
                continue
            box = person.box.copy()
            box[2:] = np.maximum(box[2:], box[:2] + 1)
            crop = Crop.from_box(box, size)
            cut.append(images.warp(sample.image, crop.matrix, crop.size, fill=fill))
            people.append(person.warped(crop))
            photographs.append(number // step)
    test = torch.tensor([number % _TEST == _TEST - 1 for number in photographs], dtype=torch.bool)
    if not test.any() or test.all():
        raise InputError(
            f"{len(set(photographs))} photographs with {task.name} to probe with · wanted "
            f"{_TEST} or more"
        )
    return Windows(pixels=_pixels(cut), people=tuple(people), classes=torch.zeros(0), test=test)


def classes_of(folder: str | Path, size: Size, *, most: int = 4096) -> Windows:
    """Read pictures whose folder is their class: ``folder/CLASS/PICTURE``.

    Raises:
        InputError: fewer than two classes, or too few pictures.
    """
    root = Path(folder)
    found = {
        place.name: sorted(p for p in place.iterdir() if p.suffix.lower() in _PICTURES)
        for place in sorted(root.iterdir() if root.is_dir() else [])
        if place.is_dir()
    }
    found = {name: paths for name, paths in found.items() if len(paths) >= _TEST}
    if len(found) < 2:
        raise InputError(
            f"{root}: {len(found)} folders with {_TEST} pictures or more · wanted one folder per "
            "class"
        )
    each = max(_TEST, most // len(found))
    cut, classes, test = list[np.ndarray](), list[int](), list[bool]()
    for number, paths in enumerate(found.values()):
        for place, path in enumerate(paths[:each]):
            cut.append(images.resize(images.read(path), size, "area"))
            classes.append(number)
            test.append(place % _TEST == _TEST - 1)
    return Windows(
        pixels=_pixels(cut),
        classes=torch.tensor(classes),
        names=tuple(found),
        test=torch.tensor(test),
    )


_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def _pixels(cut: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(cut)).movedim(-1, 1).contiguous()


@torch.no_grad()
def features_of(
    network: nn.Module, pixels: Tensor, *, batch: int = 16, mean: Colour = MEAN, std: Colour = STD
) -> Tensor:
    """Return the features (N, D, rows, columns), float16 on the CPU, of uint8 pictures.

    Args:
        network: a ``Network`` or ``MAE``, or what is wrapped around one; of a network sharded by
            FSDP2, only a ``MAE``, by all processes together.
        pixels: (N, 3, H, W) uint8.
        batch: pictures at once.
        mean: of the pictures the network learned from, see ``Card``.
        std: likewise.
    """
    model = inner(network)
    device = next(model.parameters()).device
    found: list[Tensor] = []
    for part in pixels.split(batch):
        x = normalised(part.to(device), mean, std)
        if isinstance(model, MAE):
            # Through the network itself, which gathers its slices where it is sharded.
            c = model.encoder.config
            seen = network(x, mask_ratio=0.0)
            order = seen.mask.restore[:, :, None].expand(-1, -1, c.dim)
            tokens = seen.latent[:, c.prefix :].gather(1, order)
            grid = (x.shape[2] // c.stride, x.shape[3] // c.stride)
            made = tokens.transpose(1, 2).unflatten(2, grid)
        elif isinstance(model, Network):
            made = model.features(x)
        else:
            raise InputError(f"features of a {type(model).__name__} · wanted a Network or a MAE")
        found.append(made.to(torch.float16).cpu())
    return torch.cat(found)


def probe(
    network: nn.Module,
    windows: Windows,
    task: Task | None,
    config: ProbeConfig,
    *,
    mean: Colour = MEAN,
    std: Colour = STD,
) -> dict[str, float]:
    """Ask the features of a network; the network is not changed.

    Args:
        network: see ``features_of``.
        windows: see ``windows_of`` and ``classes_of``.
        task: what the people are asked for; ``None`` for classes.
        config: how.
        mean: see ``features_of``.
        std: likewise.

    Returns:
        The task's metrics of the windows that were not learned from; for classes "accuracy" and
        "chance", the share of the most frequent class.

    Raises:
        InputError: a method that the task cannot be asked by.
    """
    was = network.training
    network.eval()
    # A hook asks in the middle of a training, whose randomness must not move on.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(config.seed)
        features = features_of(network, windows.pixels, batch=config.batch, mean=mean, std=std)
        known = features[~windows.test].float()
        centre = known.mean((0, 2, 3), keepdim=True)
        features = (features.float() - centre) / (known.std((0, 2, 3), keepdim=True) + 1e-6)
        if task is None:
            result = _classes(features, windows, config)
        elif config.method == "knn":
            result = _neighbours(features, windows, task, config)
        else:
            result = _learned(features, windows, task, config)
    network.train(was)
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Probing:
    """Probes the loop calls every so many steps; every process looks at all windows.

    Attributes:
        probes: what is asked for, by task, and how.
        data: for each, its task (``None`` for classes) and windows.
        seed: of the heads' starting weights.
    """

    probes: tuple[Probed, ...]
    data: tuple[tuple[Task | None, Windows], ...]
    seed: int = 0

    @classmethod
    def of(
        cls, probes: Sequence[Probed], size: Size, *, fill: RGB = (0.0, 0.0, 0.0), seed: int = 0
    ) -> "Probing":
        """Read what to probe with.

        Raises:
            InputError: see ``opened``.
        """
        data = tuple(
            opened(one.data, one.task, size, fill=fill, most=one.samples) for one in probes
        )
        return cls(probes=tuple(probes), data=data, seed=seed)

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Return the numbers as ``probe/TASK/METHOD/NAME``."""
        del step
        numbers: dict[str, float] = {}
        for one, (task, windows) in zip(self.probes, self.data, strict=True):
            for method in one.methods:
                config = ProbeConfig(method=method, steps=one.steps, seed=self.seed)
                found = probe(network, windows, task, config)
                place = f"probe/{one.task}/{method}"
                numbers |= {f"{place}/{name}": value for name, value in found.items()}
        return numbers


def _fit(
    head: nn.Module,
    features: Tensor,
    targets: Mapping[str, Tensor],
    loss_of: LossOf,
    config: ProbeConfig,
) -> None:
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=0.01)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * cosine(step, config.steps)
        rows = torch.randint(len(features), (min(config.batch, len(features)),))
        optimiser.zero_grad()
        loss = loss_of(head(features[rows]), {key: value[rows] for key, value in targets.items()})
        loss.backward()
        clip_gradients(head.parameters(), 1.0)
        optimiser.step()


def _learned(
    features: Tensor, windows: Windows, task: Task, config: ProbeConfig
) -> dict[str, float]:
    rows = features.shape[2]
    stages = 2 if config.method == "decoder" else 0
    if isinstance(task, Pose):
        # Maps of the size the head makes; blobs as wide as published, but not below a pixel.
        stride = max(1, (windows.size[0] // rows) >> stages)
        sigma = max(1.0, task.sigma * task.stride * windows.size[0] / 1024 / stride)
        task = Pose(
            vocabulary=task.vocabulary, stride=stride, sigma=sigma, objective="cross_entropy"
        )
    if isinstance(task, Depth):
        task = LIFTED  # as published, what begins below the loss's floor never learns
    head = DenseHead(
        DenseHeadConfig(in_dim=features.shape[1], out=task.channels, widths=(64,) * stages)
    )
    nn.init.zeros_(head.predict.weight)
    if isinstance(task, Depth):
        nn.init.constant_(head.predict.bias, 0.5)  # pyright: ignore[reportArgumentType]
    whole = Crop.whole(windows.size)
    taught = [i for i, test in enumerate(windows.test.tolist()) if not test]
    made = [task.encode(windows.people[i], whole) for i in taught]
    targets = {key: torch.stack([one[key] for one in made]) for key in made[0]}
    chosen = task

    def loss_of(output: Tensor, target: dict[str, Tensor]) -> Tensor:
        return torch.stack([*chosen.loss(output, target).values()]).sum()

    _fit(head, features[~windows.test], targets, loss_of, config)
    head.eval()
    with torch.no_grad():
        outputs = head(features[windows.test])
    return _measured(task, outputs, windows)


def _measured(task: Task, outputs: Tensor, windows: Windows) -> dict[str, float]:
    """Measure raw outputs of the windows kept aside, each as a photograph of its own."""
    metric = task.metric()
    truth = [p for p, test in zip(windows.people, windows.test.tolist(), strict=True) if test]
    view = View(Crop.whole(windows.size), windows.size)
    for number, person in enumerate(truth):
        (guess,) = task.decode(outputs[number : number + 1], [view])
        found = Person(box=person.box, annotations={task.name: guess})
        task.measure(metric, [found], [person], windows.size, image=number)
    return dict(metric.result())


def _neighbours(
    features: Tensor, windows: Windows, task: Task, config: ProbeConfig
) -> dict[str, float]:
    """Give every patch the part most of its neighbours have at their centre."""
    if not isinstance(task, Parts):
        raise InputError(f"{task.name} by neighbours · wanted parts or classes, or linear, decoder")
    rows, columns = features.shape[2:]
    steps = (windows.size[0] // rows, windows.size[1] // columns)
    whole = Crop.whole(windows.size)
    labels = torch.stack([task.encode(person, whole)["labels"] for person in windows.people])
    labels = labels[:, steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]
    patches = F.normalize(features.movedim(1, -1), dim=-1)
    bank, names = patches[~windows.test].flatten(0, 2), labels[~windows.test].flatten()
    known = names < task.channels
    bank, names = bank[known], names[known]
    if len(bank) > _BANK:
        kept = torch.randperm(len(bank))[:_BANK]
        bank, names = bank[kept], names[kept]
    votes = [
        _votes(one.flatten(0, 1), bank, names, task.channels, config.neighbours).T.unflatten(
            1, (rows, columns)
        )
        for one in patches[windows.test]
    ]
    return _measured(task, torch.stack(votes), windows)


def _votes(asked: Tensor, bank: Tensor, names: Tensor, count: int, neighbours: int) -> Tensor:
    """Return the share (N, count) of each name among the nearest neighbours by cosine."""
    near = (asked @ bank.T).topk(min(neighbours, len(bank)), dim=1).indices
    return F.one_hot(names[near], count).float().mean(1)


def _classes(features: Tensor, windows: Windows, config: ProbeConfig) -> dict[str, float]:
    pooled = features.mean((2, 3))
    pooled = F.normalize(pooled, dim=1) if config.method == "knn" else pooled
    known, asked = pooled[~windows.test], pooled[windows.test]
    names, truth = windows.classes[~windows.test], windows.classes[windows.test]
    count = len(windows.names)
    if config.method == "knn":
        scores = _votes(asked, known, names, count, config.neighbours)
    elif config.method == "linear":
        head = nn.Linear(pooled.shape[1], count)

        def loss_of(output: Tensor, target: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(output, target["class"])

        _fit(head, known, {"class": names}, loss_of, config)
        with torch.no_grad():
            scores = head(asked)
    else:
        raise InputError("classes by a decoder · wanted knn or linear")
    return {
        "accuracy": float((scores.argmax(1) == truth).float().mean()),
        "chance": float(truth.bincount(minlength=count).max()) / len(truth),
    }
