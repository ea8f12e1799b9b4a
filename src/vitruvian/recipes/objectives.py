# SPDX-License-Identifier: Apache-2.0
"""What trainings minimise: the losses of tasks on one network, and masked reconstruction.

Both get pictures as uint8 and normalise them on the device. Every loss is a mean over the samples
of a batch, so equal shares on several processes average to the number one process computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.model.card import MEAN, STD
from vitruvian.model.mae import MAE, unpatchify
from vitruvian.person import Person
from vitruvian.tasks import Task, View

RGB = tuple[float, float, float]


def normalised(images: Tensor, mean: RGB = MEAN, std: RGB = STD) -> Tensor:
    """Return uint8 pictures (B, 3, H, W) as float32, minus the mean, over the deviation."""
    low = torch.tensor(mean, device=images.device)[:, None, None]
    spread = torch.tensor(std, device=images.device)[:, None, None]
    return (images.float() - low) / spread


def blank_targets(task: Task, size: Size) -> dict[str, Tensor]:
    """Return targets of zeros, shaped like those of ``task`` in a window of (height, width).

    They stand in for the labels a sample lacks, beside ``TASK/valid`` 0.
    """
    crop = Crop(np.eye(3)[:2], size)
    guess = task.decode(torch.zeros(1, task.channels, 2, 2), [View(crop, size)])[0]
    height, width = size
    person = Person(box=np.array([0, 0, width - 1, height - 1]), annotations={task.name: guess})
    return {key: torch.zeros_like(value) for key, value in task.encode(person, crop).items()}


@dataclass(frozen=True)
class TaskObjective:
    """The losses of one task per head, for a ``Network`` (or what is wrapped around one).

    A batch holds ``image`` (B, 3, H, W) uint8 and, for every task, what ``Task.encode`` returns,
    as ``TASK/KEY``. Where samples of different labels are mixed, ``TASK/valid`` (B,) is 0 for those
    without this task's (see ``blank_targets``) and 1 for the others, or any weight. A loss is
    computed sample by sample and averaged over *all* samples, so a rare label pulls rarely, and as
    hard as it would alone; for losses published as a mean over a batch's valid pixels (normals)
    this equals training with one sample per device, as published.

    Attributes:
        tasks: head name → task; all heads of the network that train.
        weights: head name → factor of its losses; 1 where it is left out.
        mean: RGB values (0 … 255) subtracted from pixels.
        std: RGB values they are divided by.
    """

    tasks: Mapping[str, Task]
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    mean: RGB = MEAN
    std: RGB = STD

    def __post_init__(self) -> None:
        unknown = sorted(self.weights.keys() - self.tasks.keys())
        if unknown or not self.tasks:
            raise InputError(
                f"weights of losses for {unknown} · wanted tasks, and weights of "
                f"{sorted(self.tasks)} only"
            )

    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name: ``pose/loss``, ``normals/cosine`` and so on."""
        outputs = network(normalised(batch["image"], self.mean, self.std))
        odd = [n for n, o in outputs.items() if n not in self.tasks and o.requires_grad]
        if odd or not self.tasks.keys() <= outputs.keys():
            raise InputError(
                f"heads {sorted(outputs)} with tasks {sorted(self.tasks)} · wanted a task for "
                "every head that trains, and a head for every task"
            )
        found: dict[str, Tensor] = {}
        for name, task in self.tasks.items():
            prefix = f"{name}/"
            target = {k.removeprefix(prefix): v for k, v in batch.items() if k.startswith(prefix)}
            weights = target.pop("valid", torch.ones(len(outputs[name]))).to(outputs[name].device)
            if not target:
                raise InputError(
                    f"no targets of {name!r} in a batch of {sorted(batch)} · wanted {prefix}…, of "
                    f"zeros beside {prefix}valid 0 where a sample has none"
                )
            factor = self.weights.get(name, 1.0)
            for key, value in _mean_losses(task, outputs[name], target, weights).items():
                word = key.removeprefix(task.name).removeprefix("_") or "loss"
                found[f"{name}/{word}"] = factor * value
        return found


def _mean_losses(
    task: Task, output: Tensor, target: Mapping[str, Tensor], weights: Tensor
) -> dict[str, Tensor]:
    """Average a task's losses over samples; where a weight is 0 the gradient is 0 as well."""
    rows: dict[str, list[Tensor]] = {}
    # Split, not indexed: the slope of an index is as large as the whole batch's output.
    for i, one in enumerate(output.split(1)):
        part = {key: value[i : i + 1] for key, value in target.items()}
        for key, value in task.loss(one, part).items():
            rows.setdefault(key, []).append(value)
    return {
        key: torch.where(weights > 0, torch.stack(values), 0.0).mul(weights).mean()
        for key, values in rows.items()
    }


@dataclass(frozen=True)
class MaskedObjective:
    """Masked reconstruction, for a ``MAE`` (or what is wrapped around one).

    A batch holds ``image`` (B, 3, H, W) uint8 and ``index`` and ``epoch`` (B,), as the loader gives
    them. The mask of a sample depends on (seed, epoch, index) alone: any number of processes hides
    the same patches.

    Attributes:
        mean: RGB values (0 … 255) subtracted from pixels.
        std: RGB values they are divided by.
        mask_ratio: share of hidden tokens; ``None`` for the one the network was built with.
        seed: of the masks.
    """

    mean: RGB = MEAN
    std: RGB = STD
    mask_ratio: float | None = None
    seed: int = 0

    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return {"pixels": mean squared error of the hidden patches}."""
        images = normalised(batch["image"], self.mean, self.std)
        tokens = _tokens(network, images)
        noise = mask_noise(self.seed, batch["epoch"], batch["index"], tokens)
        return {"pixels": network(images, mask_ratio=self.mask_ratio, noise=noise).loss}


def mask_noise(seed: int, epoch: Tensor, index: Tensor, tokens: int) -> Tensor:
    """Return pseudo-random int64 noise (B, tokens) that depends on (seed, epoch, index) alone.

    A counter-based generator (the finaliser of splitmix64, Steele et al. 2014, in chains) instead
    of torch's: it needs no state, and gives the same numbers on every device and in any batch.
    """
    start = torch.full_like(index, seed % 2**63, dtype=torch.int64)
    key = _mixed(_mixed(_mixed(start) ^ epoch) ^ index)
    place = torch.arange(1, tokens + 1, device=index.device) * _GOLDEN
    return _mixed(key[:, None] + place)


_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as signed 64-bit numbers, which wrap around


def _mixed(x: Tensor) -> Tensor:
    x = x + _GOLDEN
    x = (x ^ ((x >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ ((x >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return x ^ ((x >> 31) & (2**33 - 1))


def _model(network: nn.Module) -> MAE:
    """Return the ``MAE`` inside what DDP puts around it."""
    model = getattr(network, "module", network)
    if not isinstance(model, MAE):
        raise InputError(f"masked pretraining of a {type(model).__name__} · wanted a MAE")
    return model


def _tokens(network: nn.Module, images: Tensor) -> int:
    stride = _model(network).encoder.config.stride
    return (images.shape[2] // stride) * (images.shape[3] // stride)


@torch.no_grad()
def mae_pictures(
    model: nn.Module,
    images: Tensor,
    ratios: tuple[float, ...] = (0.75, 0.95),
    *,
    mean: RGB = MEAN,
    std: RGB = STD,
) -> NDArray[np.uint8]:
    """Draw what a pretraining network sees and makes of it.

    Args:
        model: a ``MAE`` or what is wrapped around one; under FSDP2 every process calls this.
        images: (B, 3, H, W) uint8.
        ratios: shares of hidden tokens; at least one token stays visible.
        mean: RGB values (0 … 255) subtracted from pixels.
        std: RGB values they are divided by.

    Returns:
        RGB sheet (B * H, (1 + 2 * ratios) * W, 3): a picture per row; original, then for every
        ratio the visible patches on grey and the reconstruction (visible patches as they are,
        hidden ones with the mean and contrast of the true patch where pixels are normalised).
    """
    mae = _model(model)
    device = next(mae.parameters()).device
    images = images.to(device)
    x = normalised(images, mean, std)
    count = _tokens(mae, x)
    number = torch.arange(len(x), device=device)
    stride = mae.encoder.config.stride
    grid = (x.shape[2] // stride, x.shape[3] // stride)
    columns = [images.float()]
    for ratio in ratios:
        noise = mask_noise(0, torch.zeros_like(number), number, count)
        found = model(x, mask_ratio=min(ratio, 1 - 1 / count), noise=noise)
        hidden = found.mask.hidden[:, :, None].expand(-1, -1, 3 * stride**2)
        seen = torch.where(unpatchify(hidden, grid, stride) > 0, 128.0, images.float())
        made = mae.picture(found.prediction, x, found.mask.hidden)
        spread, low = (torch.tensor(v, device=device)[:, None, None] for v in (std, mean))
        columns += [seen, made * spread + low]
    sheet = torch.cat(columns, 3).permute(0, 2, 3, 1).flatten(0, 1)
    return sheet.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
