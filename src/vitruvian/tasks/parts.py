# SPDX-License-Identifier: Apache-2.0
"""Body parts: one class per pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitruvian import vocabulary as vocabularies
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import MaskMetrics
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.person import Person, Raster
from vitruvian.tasks.task import (
    View,
    paired_rasters,
    published_head,
    resampled_argmax,
    to_window,
)
from vitruvian.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Body-part segmentation.

    Attributes:
        vocabulary: the C classes with their background, ignored value and loss weights.
        weighted: use the vocabulary's class weights in the cross-entropy (published).
        dice: weight of an additional Dice term over the classes present (1 in the second
            generation, 0 in the first).
        around: what pixels outside of a person's label map are: "ignored", or "background", which
            is true of maps that hold all of a person, as rendered ones do.
        stride: the loss looks at every so many-th row and column of the window (1 published); finer
            ones than the head's own say little more, and cost a small network some of its time.
    """

    vocabulary: Vocabulary = field(default_factory=lambda: vocabularies.load("parts28"))
    weighted: bool = True
    dice: float = 0.0
    around: Literal["ignored", "background"] = "ignored"
    stride: int = 1

    name = "parts"

    def __post_init__(self) -> None:
        if self.around == "background" and self.vocabulary.background is None:
            raise InputError(
                f"around='background' with the parts {self.vocabulary.name!r}, which have none · "
                "leave it out"
            )
        if self.stride < 1:
            raise InputError(f"stride {self.stride} of parts · wanted 1 or more pixels")

    @property
    def channels(self) -> int:
        """One logit per class, background included."""
        return len(self.vocabulary)

    @property
    def _ignore(self) -> int:
        return 255 if self.vocabulary.ignore is None else self.vocabulary.ignore

    def head(self, dim: int) -> DenseHeadConfig:
        """Three deconvolutions and three 1×1 convolutions of width 768 (published code)."""
        return published_head("parts", dim, self.channels)

    def encode(self, person: Person, crop: Crop) -> dict[str, Tensor]:
        """Return ``labels`` (H, W) int64 in the window; what is not annotated is ignored."""
        raster = person.raster(self.name)
        seen = raster.warped(crop)
        labels = np.where(seen.mask, seen.values, self._ignore).astype(np.int64)
        if self.around == "background":
            reach = Raster(law="scalar", values=np.ones(raster.size), origin=raster.origin)
            assert self.vocabulary.background is not None
            labels[~reach.warped(crop).mask] = self.vocabulary.background
        return {"labels": torch.from_numpy(labels)}

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {"parts": cross-entropy[, "parts_dice": …]} for logits (B, C, h, w).

        Logits are resized to the labels, or to every ``stride``-th row and column of them; the
        weighted cross-entropy is averaged over *all* of those, ignored ones counting as zero
        (published code).
        """
        size = (target["labels"].shape[1], target["labels"].shape[2])
        logits = to_window(output, size, self.stride).float()
        labels = target["labels"][:, :: self.stride, :: self.stride]
        losses = {"parts": self._cross_entropy(logits, labels).mean()}
        if self.dice:
            losses["parts_dice"] = self.dice * self._dice(logits, labels)
        return losses

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.vocabulary.loss_weights if self.weighted else None
        weight = None if weights is None else torch.as_tensor(weights.copy()).to(logits)
        return F.cross_entropy(
            logits, labels, weight=weight, ignore_index=self._ignore, reduction="none"
        )

    def _dice(self, logits: Tensor, labels: Tensor) -> Tensor:
        """1 - Dice, averaged over each sample's present foreground classes (second generation)."""
        known = labels != self._ignore
        truth = F.one_hot(torch.where(known, labels, 0), self.channels).movedim(-1, 1)
        truth = truth.to(logits.dtype) * known[:, None]
        shares = logits.softmax(dim=1) * known[:, None]
        overlap = (shares * truth).sum(dim=(2, 3))
        total = shares.square().sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
        dice = (2 * overlap + 1e-3) / (total + 1e-3)
        present = truth.sum(dim=(2, 3)) > 0
        if self.vocabulary.background is not None:
            present[:, self.vocabulary.background] = False
        return ((1 - dice) * present).sum() / present.sum().clamp(min=1)

    def decode(self, output: Tensor, views: Sequence[View], *, exact: bool = False) -> list[Raster]:
        """Return the winning class of every photograph pixel in each view.

        ``exact`` resizes the logits to the window first and then to the photograph, as the full
        published pipeline does; the default interpolates once, as its lite scripts do.
        """
        if output.shape[1] != self.channels:
            raise InputError(
                f"{output.shape[1]} class maps for the {self.channels} parts of "
                f"{self.vocabulary.name!r}: name the vocabulary the weights were trained with"
            )
        found = []
        for view, logits in zip(views, output.float(), strict=True):
            if exact:
                logits = to_window(logits[None], view.crop.size)[0]
            x, y, _, _ = view.region
            rows, columns = view.grid((logits.shape[1], logits.shape[2]), logits.device)
            labels = resampled_argmax(logits, rows, columns).cpu().numpy()
            raster = Raster(law="label", values=labels, origin=(x, y), vocabulary=self.vocabulary)
            found.append(raster)
        return found

    def unmirror(self, output: Tensor) -> Tensor:
        """Mirror the maps back and exchange those of left and right."""
        order = torch.as_tensor(self.vocabulary.mirror.copy(), device=output.device)
        return output.flip(-1)[:, order]

    def metric(self) -> MaskMetrics:
        """Mean intersection over union and its kin."""
        return MaskMetrics(self.vocabulary.names, ignore=self._ignore)

    def measure(
        self,
        accumulator: MaskMetrics,
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
        background = self.vocabulary.background or 0
        labels = np.where(guess.mask, guess.values, background)
        accumulator.update(prediction=labels, truth=np.where(true.mask, true.values, self._ignore))
