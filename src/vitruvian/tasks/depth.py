# SPDX-License-Identifier: Apache-2.0
"""Depth of a person, relative to that person: 0 nearest … 1 farthest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import DepthMetrics
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.person import Person, Raster
from vitruvian.tasks.task import View, paired_rasters, published_head, resample, to_window


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Relative depth.

    Attributes:
        floor: predictions below this are clamped, targets below it left out (1e-6 published).
        lift: let the slope through the clamp, so that predictions below it learn; as published
            they never do, and each adds up to log(floor)² to its picture.
        objective: "log" (published: scale-invariant error of logarithms, most of which the nearest
            pixels are), or "absolute" (mean absolute error of the 0 … 1, learned sooner).
    """

    floor: float = 1e-6
    lift: bool = False
    objective: Literal["log", "absolute"] = "log"

    name = "depth"
    channels = 1

    def __post_init__(self) -> None:
        if self.objective == "absolute" and (self.floor, self.lift) != (1e-6, False):
            raise InputError(
                "floor and lift have no effect on the objective 'absolute' · leave them out"
            )

    def head(self, dim: int) -> DenseHeadConfig:
        """Four deconvolutions and two 1×1 convolutions of width 384 (Sapiens, published code)."""
        return published_head("depth", dim, 1)

    def encode(self, person: Person, crop: Crop) -> dict[str, Tensor]:
        """Return ``depth`` (1, H, W), scaled to 0 … 1 within the window's valid pixels, else -1.

        Raises:
            InputError: for inverse depth, which has no linear scale to the target.
        """
        raster = person.raster(self.name)
        if raster.kind == "inverse":
            raise InputError(
                "the depth task learns distances, this map is inverse depth: store 1 / it "
                "as metric or relative depth first"
            )
        raster = raster.warped(crop)
        valid = raster.mask & np.isfinite(raster.values)
        target = np.full(raster.size, -1.0, dtype=np.float32)
        if valid.any():
            inside = raster.values[valid]
            low, high = float(inside.min()), float(inside.max())
            target[valid] = (inside - low) / (high - low) if high > low else inside
        return {"depth": torch.from_numpy(target)[None]}

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {"depth": error} for maps (B, 1, h, w).

        Per picture over its valid pixels, then the mean over the batch, where pictures without any
        count 0 (published code): the mean of |d|, or for "log" sqrt(mean d² - ½ (mean d)²) of the
        difference d of logarithms.
        """
        truth = target["depth"]
        guess = to_window(output, (truth.shape[2], truth.shape[3])).float()
        if self.objective == "absolute":
            known = truth >= 0
            error = torch.where(known, (guess - truth).abs(), 0.0).sum(dim=(1, 2, 3))
            return {"depth": (error / known.sum(dim=(1, 2, 3)).clamp(min=1)).mean()}
        valid = truth > self.floor
        count = valid.sum(dim=(1, 2, 3)).clamp(min=1)
        above = guess.clamp(min=self.floor)
        if self.lift:
            above = guess + (above - guess).detach()
        error = truth.clamp(min=self.floor).log() - above.log()
        error = torch.where(valid, error, 0.0)
        mean = error.sum(dim=(1, 2, 3)) / count
        square = error.square().sum(dim=(1, 2, 3)) / count
        variance = square - 0.5 * mean.square()
        some = valid.flatten(1).any(dim=1)
        # The square root has no finite slope at 0: leave perfect and empty pictures out of it.
        use = some & (variance > 0)
        return {"depth": torch.where(use, variance.where(use, 1.0).sqrt(), 0.0).mean()}

    def decode(self, output: Tensor, views: Sequence[View], *, exact: bool = False) -> list[Raster]:
        """Return relative depth (raw output, no clamp) at photograph pixels in each view."""
        found = []
        for view, maps in zip(views, output.float(), strict=True):
            if exact:
                maps = to_window(maps[None], view.crop.size)[0]
            x, y, _, _ = view.region
            grid = view.grid((maps.shape[1], maps.shape[2]), maps.device)
            values = resample(maps, *grid)[0].cpu().numpy()
            found.append(Raster(law="scalar", values=values, origin=(x, y), kind="relative"))
        return found

    def unmirror(self, output: Tensor) -> Tensor:
        """Mirror the map back."""
        return output.flip(-1)

    def metric(self) -> DepthMetrics:
        """RMSE, AbsRel and δ after least-squares alignment of each picture (published protocol)."""
        return DepthMetrics(alignment="scale_shift")

    def measure(
        self,
        accumulator: DepthMetrics,
        predicted: Sequence[Person],
        truth: Sequence[Person],
        size: Size,
        *,
        image: int = 0,
    ) -> None:
        """Compare the people of one photograph, pasted together, where the truth is valid."""
        del image
        pair = paired_rasters(self.name, predicted, truth, size)
        if pair is None:
            return
        guess, true = pair
        values = np.where(guess.mask, guess.values, np.nan)
        accumulator.update(prediction=values, truth=true.values, mask=true.mask)
