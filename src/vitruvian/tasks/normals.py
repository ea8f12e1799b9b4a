# SPDX-License-Identifier: Apache-2.0
"""Surface normals: unit vectors in camera space, pointing to the viewer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import NormalMetrics
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.person import Person, Raster
from vitruvian.tasks.task import View, paired_rasters, published_head, resample, to_window

_FAR = -1000.0  # target of pixels without a normal (published code)


@dataclass(frozen=True, kw_only=True)
class Normals:
    """Surface normals.

    Attributes:
        signs: factors (x, y, z) from the head's axes to camera space (x right, y down, z forward).
            (1, -1, -1) for a network that speaks OpenGL axes (x right, y up, z to the viewer).
        resize_after_unit: divide by the length before the last resize (second generation) or
            after it (first generation).
        cosine: factor of 1 - cos (1 in the first generation, 10 in the second).
        gradient: factor of the squared error of differences between neighbours (0 in the first
            generation, 10 in the second).
    """

    signs: tuple[int, int, int] = (1, -1, -1)
    resize_after_unit: bool = False
    cosine: float = 1.0
    gradient: float = 0.0

    name = "normals"
    channels = 3

    def __post_init__(self) -> None:
        if len(self.signs) != 3 or any(sign not in (-1, 1) for sign in self.signs):
            raise InputError(f"normals signs are three of 1 or -1, got {self.signs}")
        object.__setattr__(self, "signs", tuple(self.signs))

    def head(self, dim: int) -> DenseHeadConfig:
        """Three deconvolutions and three 1×1 convolutions of width 768 (published code)."""
        return published_head("normals", dim, 3)

    def encode(self, person: Person, crop: Crop) -> dict[str, Tensor]:
        """Return ``normals`` (3, H, W) in the head's axes; -1000 where there is none."""
        raster = person.raster(self.name).warped(crop)
        vectors = raster.values * np.array(self.signs, dtype=np.float32)
        vectors = np.where(raster.mask[..., None], vectors, _FAR).astype(np.float32)
        return {"normals": torch.from_numpy(vectors).movedim(-1, 0)}

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {"normals_cosine", "normals_l1"[, "normals_gradient"]} of vectors (B, 3, h, w).

        Means over valid pixels of 1 - cos and of the L1 distance summed over the three channels,
        both of the unnormalised prediction (published code).
        """
        truth = target["normals"]
        guess = to_window(output, (truth.shape[2], truth.shape[3])).float()
        valid = truth[:, 0] > _FAR / 10
        count = valid.sum().clamp(min=1)
        cosine = _cosine(guess, truth)
        distance = (guess - truth).abs().sum(dim=1)
        losses = {
            "normals_cosine": self.cosine * torch.where(valid, 1 - cosine, 0.0).sum() / count,
            "normals_l1": torch.where(valid, distance, 0.0).sum() / count,
        }
        if self.gradient:
            steps = _difference_error(guess, truth, valid)
            losses["normals_gradient"] = self.gradient * steps
        return losses

    def decode(self, output: Tensor, views: Sequence[View], *, exact: bool = False) -> list[Raster]:
        """Return unit normals in camera space at photograph pixels in each view.

        ``exact`` follows the published resizing: to the window and then to the photograph in the
        first generation; in the second, vectors are not made unit again after the resize.
        """
        found = []
        signs = torch.tensor(self.signs, dtype=torch.float32, device=output.device)
        for view, maps in zip(views, output.float(), strict=True):
            if self.resize_after_unit:
                maps = F.normalize(maps, dim=0, eps=1e-8)
            if exact:
                maps = to_window(maps[None], view.crop.size)[0]
            x, y, _, _ = view.region
            vectors = resample(maps, *view.grid((maps.shape[1], maps.shape[2]), maps.device))
            if exact and not self.resize_after_unit:
                vectors = vectors / (vectors.norm(dim=0, keepdim=True) + 1e-5)
            elif not exact:
                vectors = F.normalize(vectors, dim=0, eps=1e-8)
            values = (vectors.movedim(0, -1) * signs).contiguous().cpu().numpy()
            found.append(Raster(law="vector", values=values, origin=(x, y)))
        return found

    def unmirror(self, output: Tensor) -> Tensor:
        """Mirror the map back and turn x around."""
        turn = torch.tensor([-1.0, 1.0, 1.0], dtype=output.dtype, device=output.device)
        return output.flip(-1) * turn[:, None, None]

    def metric(self) -> NormalMetrics:
        """Angular errors in degrees over valid pixels of all pictures."""
        return NormalMetrics()

    def measure(
        self,
        accumulator: NormalMetrics,
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
        values = np.where(guess.mask[..., None], guess.values, np.nan)
        accumulator.update(prediction=values, truth=true.values, mask=true.mask)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of vectors along axis 1; a tenth of the time of torch's own, whose norm is slow."""
    lengths = a.square().sum(dim=1) * b.square().sum(dim=1)
    return (a * b).sum(dim=1) * lengths.clamp(min=1e-16).rsqrt()


def _difference_error(guess: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Squared error of forward differences, summed over channels: means of pairs, x plus y."""
    total = guess.new_zeros(())
    for axis in (-1, -2):
        length = guess.shape[axis] - 1
        pair = valid.narrow(axis, 0, length) & valid.narrow(axis, 1, length)
        error = (guess - truth).diff(dim=axis).square().sum(dim=1)
        total = total + torch.where(pair, error, 0.0).sum() / pair.sum().clamp(min=1)
    return total
