# SPDX-License-Identifier: Apache-2.0
"""Finding people: everyone on a whole picture, as boxes of what is visible of them.

Unlike a ``Task``, which asks about one person in their window, this one asks about a whole picture
and answers with any number of boxes, so it is not one of ``TASKS``.

Every cell of the output says whether a person's centre is there, and how far the four sides of
their box are. Targets and losses follow TTFNet ("Training-time-friendly network", arXiv
1909.00700): a Gaussian about the centre is the heat, learned by the focal loss of CenterNet (arXiv
1904.07850), and every cell under it learns the box by generalised IoU (arXiv 1902.09630).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size, clip_box, suppress
from vitruvian.model.heads import DenseHeadConfig

Found = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Boxes (N, 4) in pixels of the picture and scores (N,) from 0 to 1, best first."""

_SPREAD = 0.54 / 6  # standard deviation of the heat per side of the box (TTFNet: alpha 0.54)
_PRIOR = math.log(0.02 / 0.98)  # log-odds an untrained cell starts from
_REACH = 32.0  # pixels to each side that an untrained cell says
_CROWD = 4.0  # people that divide the losses of a picture; a constant, so pictures stay comparable


@dataclass(frozen=True, kw_only=True)
class People:
    """Where everybody is.

    Attributes:
        min_score: who scores lower is not reported, unless another limit is asked for.
        confirm: who scores lower, after keypoints were looked for in the box, is not reported; 0:
            they are not looked for.
        max_overlap: a box that overlaps a better one by more (IoU) is a duplicate.
        box_weight: factor of the boxes' loss (5 in TTFNet).
        most: people reported on one picture.
    """

    min_score: float = 0.3
    confirm: float = 0.0
    max_overlap: float = 0.6
    box_weight: float = 5.0
    most: int = 100

    name = "people"
    channels = 5

    def __post_init__(self) -> None:
        shares = (self.min_score, self.max_overlap)
        if not all(0 < share < 1 for share in shares) or self.most < 1 or self.box_weight <= 0:
            raise InputError(
                f"people with min_score and max_overlap {shares}, most {self.most}, box_weight "
                f"{self.box_weight} · wanted two numbers between 0 and 1, and two above 0"
            )
        if not 0 <= self.confirm < 1:
            raise InputError(f"people with confirm {self.confirm} · wanted 0 to below 1")

    def head(self, dim: int) -> DenseHeadConfig:
        """Return a head of half the stride of what it reads (the recipe puts a neck before it)."""
        width = max(32, dim // 2)
        return DenseHeadConfig(
            in_dim=dim, out=self.channels, widths=(width,), refine=(width,), refine_kernel=3,
            init="library",
        )  # fmt: skip

    def encode(
        self, boxes: NDArray[np.float64], ignored: NDArray[np.bool_], size: Size, cells: Size
    ) -> dict[str, Tensor]:
        """Return targets of a window.

        Args:
            boxes: (N, 4) of everybody, in window pixels.
            ignored: (N,) whom to ask nothing about: too small, or mostly hidden.
            size: (height, width) of the window in pixels.
            cells: (rows, columns) of the output.

        Returns:
            ``heat`` (rows, columns), 1 at centres; ``boxes`` (4, rows, columns) in window pixels;
            ``weight`` (rows, columns) of each cell's box, 1 in sum for a person; ``known`` (rows,
            columns), 0 where the heat is not asked for.
        """
        heat = np.zeros(cells, np.float32)
        known, weight = np.ones(cells, np.float32), np.zeros(cells, np.float32)
        targets = np.zeros((4, *cells), np.float32)
        step = np.array([size[1] / cells[1], size[0] / cells[0]])
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) if len(boxes) else np.zeros(0)
        for number in np.argsort(-areas, kind="stable"):  # the smaller ones lie on top
            box = boxes[number]
            (x0, y0), (x1, y1) = (box[:2] + 0.5) / step - 0.5, (box[2:] + 0.5) / step - 0.5
            if ignored[number]:
                rows = slice(max(0, math.floor(y0)), max(0, math.ceil(y1) + 1))
                columns = slice(max(0, math.floor(x0)), max(0, math.ceil(x1) + 1))
                known[rows, columns] = np.maximum(heat[rows, columns] >= 1, 0)
                continue
            middle = np.rint([(x0 + x1) / 2, (y0 + y1) / 2])
            middle = np.clip(middle, 0, [cells[1] - 1, cells[0] - 1])
            bell = _bell(middle, np.array([x1 - x0, y1 - y0]), cells)
            np.maximum(heat, bell, out=heat)
            inside = bell > 0
            targets[:, inside] = box[:, None]
            weight[inside] = bell[inside] / bell.sum()
            known[int(middle[1]), int(middle[0])] = 1
        arrays = {"heat": heat, "boxes": targets, "weight": weight, "known": known}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def loss(self, output: Tensor, target: dict[str, Tensor], size: Size) -> dict[str, Tensor]:
        """Return {"heat": focal loss, "boxes": 1 - GIoU}, means over pictures.

        Args:
            output: (B, 5, rows, columns) of the head.
            target: of ``encode``, batched.
            size: (height, width) of the window in pixels.
        """
        logits, boxes = _read(output.float(), size)
        heat, chance = target["heat"], logits.sigmoid()
        centre = heat >= 1
        hit = F.logsigmoid(logits) * (1 - chance).square()
        miss = F.logsigmoid(-logits) * chance.square() * (1 - heat).pow(4)
        focal = torch.where(centre, hit, miss) * target["known"]
        overlap = _giou(boxes, target["boxes"])
        wrong = (1 - overlap) * target["weight"]
        return {
            "heat": -focal.sum((1, 2)).mean() / _CROWD,
            "boxes": self.box_weight * wrong.sum((1, 2)).mean() / _CROWD,
        }

    def unmirror(self, output: Tensor) -> Tensor:
        """Mirror the maps of mirrored windows back; what was to the left is to the right."""
        return output.flip(-1)[:, [0, 3, 2, 1, 4]]

    def decode(
        self,
        output: Tensor,
        crops: Sequence[Crop],
        sizes: Sequence[Size],
        min_score: float | None = None,
    ) -> list[Found]:
        """Return the people of each picture.

        Args:
            output: (B, 5, rows, columns) of the head.
            crops: picture → window; upright windows.
            sizes: (height, width) of the pictures; boxes are clipped to them.
            min_score: instead of the task's own.
        """
        found: list[Found] = []
        least = self.min_score if min_score is None else min_score
        for one, crop, size in zip(output.float(), crops, sizes, strict=True):
            logits, boxes = _read(one[None], crop.size)
            peak = F.max_pool2d(logits, 3, stride=1, padding=1) == logits
            scores = torch.where(peak, logits.sigmoid(), -1.0).flatten()
            best = scores.topk(min(4 * self.most, len(scores)))
            keep = best.values >= least
            places, chosen = best.indices[keep], best.values[keep].double().cpu().numpy()
            corners = boxes[0].flatten(1)[:, places].T.double().cpu().numpy()
            corners = crop.to_image(corners.reshape(-1, 2, 2)).reshape(-1, 4)
            corners = clip_box(corners, size)
            solid = (corners[:, 2:] - corners[:, :2] >= 1).all(axis=1)
            corners, chosen = corners[solid], chosen[solid]
            order = suppress(corners, chosen, self.max_overlap)[: self.most]
            found.append((corners[order], chosen[order]))
        return found


def _bell(
    middle: NDArray[np.float64], extent: NDArray[np.float64], cells: Size
) -> NDArray[np.float32]:
    """Return a Gaussian (rows, columns) of height 1 about a cell, 0 beyond three deviations."""
    sigma = np.maximum(extent * _SPREAD, 0.3)
    x = (np.arange(cells[1]) - middle[0]) / sigma[0]
    y = (np.arange(cells[0]) - middle[1]) / sigma[1]
    across, down = np.exp(-x * x / 2), np.exp(-y * y / 2)
    bell = np.outer(np.where(abs(y) <= 3, down, 0), np.where(abs(x) <= 3, across, 0))
    return bell.astype(np.float32)


def _read(output: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Return logits (B, rows, columns) and boxes (B, 4, rows, columns) in window pixels."""
    rows, columns = output.shape[-2:]
    device = output.device
    x = (torch.arange(columns, device=device) + 0.5) * (size[1] / columns) - 0.5
    y = (torch.arange(rows, device=device) + 0.5) * (size[0] / rows) - 0.5
    reach = _REACH * output[:, 1:].clamp(-5, 5).exp()
    left, up, right, down = reach.unbind(1)
    y = y[:, None]
    boxes = torch.stack([x - left, y - up, x + right, y + down], 1)
    return output[:, 0] + _PRIOR, boxes


def _giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU (B, rows, columns) of boxes (B, 4, rows, columns)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (a, b)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-3)
    outer_low, outer_high = torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])
    outer = (outer_high - outer_low).prod(1).clamp(min=1e-3)
    return shared / union - (outer - union) / outer
