# SPDX-License-Identifier: Apache-2.0
"""What a task is, and how a network's grid returns to the pixels of a photograph.

A task is a frozen dataclass whose fields are its settings. It owns the meaning of one head's
output: what to learn from an annotation (``encode``), how wrong an output is (``loss``), which
annotation an output says (``decode``), and what the output of a mirrored picture says about the
picture itself (``unmirror``). Between ``encode`` and ``decode`` live tensors, outside numpy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import Accumulator
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.published import published_heads
from vitruvian.person import Annotation, Person, Raster, composite

Framing = Literal["person", "pad", "stretch"]


class Task(Protocol):
    """What a network is asked; see the module text. B is the batch, (h, w) the head's grid."""

    @property
    def name(self) -> str:
        """Name of the head and of the annotation it makes: "pose", "parts", "depth", "normals"."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels of the head's output."""
        ...

    def head(self, dim: int) -> DenseHeadConfig:
        """Return the published head for a backbone of width ``dim``."""
        ...

    def encode(self, person: Person, crop: Crop) -> dict[str, Tensor]:
        """Return the targets of ``person`` in the window of ``crop``, without a batch axis."""
        ...

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return named scalars to minimise for outputs (B, C, h, w) and batched targets."""
        ...

    def decode(
        self, output: Tensor, views: Sequence["View"], *, exact: bool = False
    ) -> Sequence[Annotation]:
        """Return one annotation in photograph pixels per view, from outputs (B, C, h, w).

        ``exact`` reproduces the published numerics where the default corrects them.
        """
        ...

    def unmirror(self, output: Tensor) -> Tensor:
        """Turn the output (B, C, h, w) for mirrored windows into one for the windows themselves."""
        ...

    def metric(self) -> Accumulator:
        """Return a fresh accumulator of the published metric."""
        ...

    def measure(
        self,
        accumulator: Any,
        predicted: Sequence[Person],
        truth: Sequence[Person],
        size: Size,
        *,
        image: int = 0,
    ) -> None:
        """Hold predictions against the truth of one photograph of ``size``.

        Args:
            accumulator: what ``metric`` returned.
            predicted: people as the predictor returns them.
            truth: annotated people; rasters are compared where the truth is valid.
            size: (height, width) of the photograph.
            image: its number, different for every photograph.
        """
        ...


@dataclass(frozen=True, eq=False)
class View:
    """A window of one photograph, and where its result belongs.

    Attributes:
        crop: photograph → window.
        image_size: (height, width) of the photograph.
    """

    crop: Crop
    image_size: Size

    @property
    def region(self) -> tuple[int, int, int, int]:
        """(x, y, height, width) of the photograph's pixels that the window covers.

        Empty windows (a crop wholly outside the picture) still cover one pixel.
        """
        height, width = self.crop.size
        corners = self.crop.to_image([[-0.5, -0.5], [width - 0.5, height - 0.5]])
        low, high = corners.min(axis=0), corners.max(axis=0)
        x0 = int(np.clip(np.ceil(low[0] - 1e-6), 0, self.image_size[1] - 1))
        y0 = int(np.clip(np.ceil(low[1] - 1e-6), 0, self.image_size[0] - 1))
        x1 = int(np.clip(np.floor(high[0] + 1e-6), x0, self.image_size[1] - 1))
        y1 = int(np.clip(np.floor(high[1] + 1e-6), y0, self.image_size[0] - 1))
        return x0, y0, y1 - y0 + 1, x1 - x0 + 1

    def grid(self, shape: Size, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return where the region's rows and columns fall on a map of ``shape`` over the window.

        Two float32 vectors (height,), (width,) of map coordinates (pixel centres at whole numbers).
        Rows and columns are independent because windows at prediction time are not turned.

        Raises:
            InputError: for a turned window.
        """
        matrix = self.crop.matrix
        if abs(matrix[0, 1]) + abs(matrix[1, 0]) > 1e-9:
            raise InputError("a turned window cannot be decoded: cut it with rotation 0")
        x0, y0, height, width = self.region
        xs = matrix[0, 0] * np.arange(x0, x0 + width) + matrix[0, 2]
        ys = matrix[1, 1] * np.arange(y0, y0 + height) + matrix[1, 2]
        xs = (xs + 0.5) * (shape[1] / self.crop.size[1]) - 0.5
        ys = (ys + 0.5) * (shape[0] / self.crop.size[0]) - 0.5
        rows = torch.as_tensor(ys, dtype=torch.float32, device=device)
        return rows, torch.as_tensor(xs, dtype=torch.float32, device=device)


def resample(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate maps (C, h, w) bilinearly at every (row, column); edges are replicated.

    Equal to ``F.interpolate(..., "bilinear", align_corners=False)`` on the same coordinates.
    Returns (C, len(rows), len(columns)) float32.
    """
    if maps.device.type == "cpu":  # OpenCV is several times faster here, and as exact
        grid = _meshed(rows, columns)
        return torch.from_numpy(np.stack([_remap(plane, *grid) for plane in maps.float().numpy()]))
    low, high, share = _neighbours(columns, maps.shape[2])
    wide = torch.lerp(maps[:, :, low].float(), maps[:, :, high].float(), share)
    low, high, share = _neighbours(rows, maps.shape[1])
    return torch.lerp(wide[:, low], wide[:, high], share[:, None])


def resampled_argmax(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the winning channel (len(rows), len(columns)) uint8 of ``resample(logits, …)``.

    Works through bands of rows, so that the interpolated logits, a gigabyte at 4K, never exist
    whole.
    """
    bands = rows.split(64)
    if logits.device.type != "cpu":
        won = [resample(logits, band, columns).argmax(dim=0) for band in bands]
        return torch.cat(won).to(torch.uint8)
    planes = logits.float().numpy()
    labels = np.zeros((len(rows), len(columns)), dtype=np.uint8)
    if _is_resize(rows, planes.shape[1]) and _is_resize(columns, planes.shape[2]):
        size = (len(columns), len(rows))
        resized = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes)
        _keep_winners(resized, labels)
        return torch.from_numpy(labels)
    for number, band in enumerate(bands):
        grid = _meshed(band, columns)
        mapped = (_remap(plane, *grid) for plane in planes)
        _keep_winners(mapped, labels[64 * number : 64 * number + len(band)])
    return torch.from_numpy(labels)


def _is_resize(coordinates: Tensor, count: int) -> bool:
    """Whether coordinates cover ``count`` pixels edge to edge: a resize, fastest of all."""
    step = count / len(coordinates)
    ends = torch.tensor([0.5 * step - 0.5, count - 0.5 - 0.5 * step])
    return bool((coordinates[[0, -1]] - ends).abs().max() < 1e-4)


def _keep_winners(planes: Iterable[NDArray[Any]], winner: NDArray[np.uint8]) -> None:
    """Write the number of the largest plane at every pixel into ``winner``, which begins as 0."""
    best: NDArray[Any] | None = None
    for number, rival in enumerate(planes):
        if best is None:
            best = rival
            continue
        np.copyto(winner, number, where=rival > best)
        np.maximum(best, rival, out=best)


def _neighbours(coordinates: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split coordinates into lower neighbour, upper neighbour and the fraction between them."""
    inside = coordinates.clamp(0, count - 1)
    low = inside.floor()
    return low.long(), (low.long() + 1).clamp(max=count - 1), inside - low


def _meshed(rows: Tensor, columns: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = np.meshgrid(columns.numpy(), rows.numpy())
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _remap(
    plane: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    found = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.astype(np.float32, copy=False)


def published_head(task: str, dim: int, out: int) -> DenseHeadConfig:
    """Return the first generation's head of a task, on a backbone of any width ``dim``."""
    head = published_heads(task, "0.3b", out)[task]
    assert isinstance(head, DenseHeadConfig)
    return replace(head, in_dim=dim)


def to_window(output: Tensor, size: Size, stride: int = 1) -> Tensor:
    """Resize outputs (B, C, h, w) bilinearly to ``size`` (no-op when already there).

    With a ``stride``, only every so many-th row and column of that is computed, from the first on.
    """
    if stride > 1:
        rows, columns = (
            _interpolation(cells, pixels, output)[::stride]
            for cells, pixels in zip(output.shape[-2:], size, strict=True)
        )
        return rows @ output @ columns.T
    if output.shape[-2:] == size:
        return output
    return F.interpolate(output, size=size, mode="bilinear", align_corners=False)


def _interpolation(cells: int, pixels: int, like: Tensor) -> Tensor:
    """Return the matrix (pixels, cells) that resizes one axis linearly."""
    each = torch.eye(cells, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(each, size=pixels, mode="linear", align_corners=False)[0].T


def paired_rasters(
    name: str, predicted: Sequence[Person], truth: Sequence[Person], size: Size
) -> tuple[Raster, Raster] | None:
    """Return both sides' rasters called ``name`` on the whole photograph, or ``None``.

    ``None`` means there is no truth. Nobody predicted gives a raster that is invalid everywhere.
    """
    true = composite(truth, name, size)
    if true is None:
        return None
    guess = composite(predicted, name, size)
    if guess is None:
        guess = replace(true, values=np.zeros_like(true.values), valid=np.zeros(size, np.bool_))
    return guess, true


def settings_of(task: Any) -> dict[str, Any]:
    """Return a task's own settings as JSON values; a vocabulary becomes its name."""
    values = {name: getattr(task, name) for name in task.__dataclass_fields__}
    return {key: getattr(value, "name", value) for key, value in values.items()}
