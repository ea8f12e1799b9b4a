# SPDX-License-Identifier: Apache-2.0
"""Keypoints, by heat-maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vitruvian import vocabulary as vocabularies
from vitruvian.errors import InputError, unknown_name
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import KeypointAP, rescore
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.person import Person, Points
from vitruvian.tasks.heatmaps import (
    decode_heatmaps,
    heatmap_cross_entropy,
    heatmap_squared_error,
    make_blobs,
    squares,
    window_to_map,
)
from vitruvian.tasks.task import View, published_head
from vitruvian.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Named keypoints of a person.

    Attributes:
        vocabulary: the K points.
        sigma: standard deviation of a target blob in heat-map pixels (6 published at 256×192).
        stride: window pixels per heat-map pixel (4 published).
        objective: "mse" (published), "ohkm" (mean over the ``hardest`` points, published for some
            sizes) or "cross_entropy" (over the pixels of each map; learns faster on small budgets).
        hardest: how many points "ohkm" keeps.
        balanced: of "cross_entropy": let every group of the vocabulary weigh the same, however many
            points it has; else the 238 points of the face are most of the loss of 308.
        emphasis: of ``balanced``: factors of groups' weights, 1 for those left out.
        outside: of "cross_entropy": weight of points whose place is known and not in the window, or
            marked absent (renders mark so what the picture leaves out). Their maps are to be flat,
            so that they score about 0; as published (0) they are never learned from, and are
            guessed inside. Readers give no place to points that nobody labelled.
    """

    vocabulary: Vocabulary = field(default_factory=lambda: vocabularies.load("sapiens308"))
    sigma: float = 6.0
    stride: int = 4
    objective: Literal["mse", "ohkm", "cross_entropy"] = "mse"
    hardest: int = 128
    balanced: bool = False
    emphasis: Mapping[str, float] = field(default_factory=dict[str, float])
    outside: float = 0.0

    name = "pose"

    def __post_init__(self) -> None:
        if self.balanced and self.objective != "cross_entropy":
            raise InputError(
                f"balanced has no effect on the objective {self.objective!r} · leave it out, or "
                "take cross_entropy"
            )
        if not self.outside >= 0 or (self.outside and self.objective != "cross_entropy"):
            raise InputError(
                f"outside {self.outside} of the objective {self.objective!r} · wanted 0 or more, "
                "and 0 unless the objective is cross_entropy"
            )
        for group, factor in self.emphasis.items():
            if group not in self.vocabulary.groups:
                raise unknown_name("group of points", group, self.vocabulary.groups)
            if not (self.balanced and factor > 0):
                raise InputError(
                    f"emphasis {factor} of {group!r}, balanced {self.balanced} · wanted positive "
                    "factors, of balanced groups"
                )

    @property
    def channels(self) -> int:
        """One heat-map per point."""
        return len(self.vocabulary)

    def head(self, dim: int) -> DenseHeadConfig:
        """Two deconvolutions and two 1×1 convolutions of width 768 (Sapiens, published code)."""
        return published_head("pose", dim, self.channels)

    def encode(self, person: Person, crop: Crop) -> dict[str, Tensor]:
        """Return the points in the window: ``xy`` (K, 2) in heat-map pixels, ``weights`` (K,).

        Points travel instead of maps, which are thousands of times larger; the loss makes the
        targets from them where the outputs are. A point that is not there has the weight 0.
        With ``outside``, also ``outside`` (K,): that weight for those known not to be there.
        """
        points = person.points(self.name).warped(crop)
        size = (crop.size[0] // self.stride, crop.size[1] // self.stride)
        window = np.where(points.present[:, None], points.xy, np.nan)
        xy = torch.as_tensor(window, dtype=torch.float32) * window_to_map(crop.size, size)
        weights = squares(xy, size, self.sigma)[2]
        target = {"xy": torch.nan_to_num(xy), "weights": weights}
        if self.outside:
            placed = torch.as_tensor(np.isfinite(points.xy).all(axis=1))
            target["outside"] = self.outside * (placed & (weights == 0))
        return target

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {"pose": scalar} for maps (B, K, h, w)."""
        size = (output.shape[2], output.shape[3])
        blobs = make_blobs(target["xy"], size, self.sigma)
        weights = target["weights"]
        if self.objective == "cross_entropy":
            rows, columns = blobs.rows, blobs.columns
            if self.outside:
                # The products of even profiles are flat.
                away = target["outside"]
                even = (away > 0)[..., None]
                rows, columns = rows.masked_fill(even, 1.0), columns.masked_fill(even, 1.0)
                weights = weights + away
            if self.balanced:
                weights = weights * torch.tensor(self._importance, device=weights.device)
            return {"pose": heatmap_cross_entropy(output, rows, columns, weights)}
        hardest = self.hardest if self.objective == "ohkm" else None
        return {"pose": heatmap_squared_error(output, blobs.maps(), weights, hardest)}

    @cached_property
    def _importance(self) -> list[float]:
        """Each point's weight: those of a group add up to the same (or to its ``emphasis``).

        Points without a group are one.
        """
        shares = np.zeros(self.channels)
        for name, members in self.vocabulary.groups.items():
            share = self.emphasis.get(name, 1.0) / len(members)
            shares[list(members)] = np.maximum(shares[list(members)], share)
        alone = shares == 0
        shares[alone] = 1 / max(int(alone.sum()), 1)
        return (shares / shares.mean()).astype(np.float32).tolist()

    def decode(self, output: Tensor, views: Sequence[View], *, exact: bool = False) -> list[Points]:
        """Return the points of each view; scores are heat-map maxima (about 1 when certain)."""
        if output.shape[1] != self.channels:
            raise InputError(
                f"{output.shape[1]} heat-maps for the {self.channels} points of "
                f"{self.vocabulary.name!r}: name the vocabulary the weights were trained with"
            )
        if self.objective == "cross_entropy":
            output = self._as_blobs(output)
        xy, scores = decode_heatmaps(output, exact=exact)
        found = []
        for view, place, score in zip(views, xy, scores, strict=True):
            scale = window_to_map(view.crop.size, (output.shape[2], output.shape[3]))
            window = place.cpu().double().numpy() / scale.double().numpy()
            found.append(
                Points(
                    vocabulary=self.vocabulary,
                    xy=view.crop.to_image(window).astype(np.float32),
                    scores=score.float().cpu().numpy(),
                )
            )
        return found

    def _as_blobs(self, output: Tensor) -> Tensor:
        """Turn the logits of "cross_entropy" into maps whose peak is 1 where a target's would be.

        A blob of sigma s that sums to 1 has the peak 1 / (2 pi s²); sharper ones count as 1.
        """
        shares = output.flatten(2).float().softmax(dim=2).view(output.shape)
        blobs = shares * (2 * math.pi * self.sigma**2)
        return blobs / blobs.amax(dim=(2, 3), keepdim=True).clamp(min=1)

    def unmirror(self, output: Tensor) -> Tensor:
        """Mirror the maps back and exchange those of left and right."""
        order = torch.as_tensor(self.vocabulary.mirror.copy(), device=output.device)
        return output.flip(-1)[:, order]

    def metric(self) -> KeypointAP:
        """OKS average precision over all points ("whole") and each group; both hands are "hand"."""
        groups = {"whole": list(range(self.channels))}
        for name, members in self.vocabulary.groups.items():
            groups.setdefault(name.removeprefix("left_").removeprefix("right_"), []).extend(members)
        sigmas = self.vocabulary.sigmas
        return KeypointAP(np.full(self.channels, 0.05) if sigmas is None else sigmas, groups=groups)

    def measure(
        self,
        accumulator: KeypointAP,
        predicted: Sequence[Person],
        truth: Sequence[Person],
        size: Size,
        *,
        image: int = 0,
    ) -> None:
        """Match people by OKS; a person's area is that of the annotated box.

        A person's score is the box's times the mean of its keypoint scores above 0.2 (published).
        """
        del size
        found = [person.points(self.name) for person in predicted]
        known = [person.points(self.name) for person in truth]
        boxes = np.array([person.box for person in truth]).reshape(-1, 4)
        count = self.channels
        accumulator.update(
            image=image,
            points=np.array([points.xy for points in found]).reshape(-1, count, 2),
            scores=rescore(
                np.array([person.score for person in predicted]),
                np.array([points.scores for points in found]).reshape(-1, count),
            ),
            truth=np.array([points.xy for points in known]).reshape(-1, count, 2),
            labelled=np.array([points.present for points in known]).reshape(-1, count),
            areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
            boxes=boxes,
        )
