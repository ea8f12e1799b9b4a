# SPDX-License-Identifier: Apache-2.0
"""Keypoints by heat-maps: unbiased (UDP) targets, losses, and a batched decoder.

Heat-map coordinates have pixel centres at whole numbers; heat-map pixel p lies at window pixel
p · (window - 1) / (map - 1), per axis, so that the corners of both grids coincide (UDP).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitruvian import vocabulary as vocabularies
from vitruvian.errors import InputError, unknown_name
from vitruvian.geometry import Crop, Size
from vitruvian.metrics import KeypointAP, rescore
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.person import Person, Points
from vitruvian.tasks.task import View, published_head
from vitruvian.vocabulary import Vocabulary

_EPSILON = float(np.finfo(np.float32).eps)
_BLUR_KERNEL = 11  # published for every size, although targets have sigma 6


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
    """

    vocabulary: Vocabulary = field(default_factory=lambda: vocabularies.load("sapiens308"))
    sigma: float = 6.0
    stride: int = 4
    objective: Literal["mse", "ohkm", "cross_entropy"] = "mse"
    hardest: int = 128
    balanced: bool = False
    emphasis: Mapping[str, float] = field(default_factory=dict[str, float])

    name = "pose"

    def __post_init__(self) -> None:
        if self.balanced and self.objective != "cross_entropy":
            raise InputError(
                f"balanced has no effect on the objective {self.objective!r} · leave it out, or "
                "take cross_entropy"
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
        """
        points = person.points(self.name).warped(crop)
        size = (crop.size[0] // self.stride, crop.size[1] // self.stride)
        window = np.where(points.present[:, None], points.xy, np.nan)
        xy = torch.as_tensor(window, dtype=torch.float32) * _window_to_map(crop.size, size)
        weights = _squares(xy, size, self.sigma)[2]
        return {"xy": torch.nan_to_num(xy), "weights": weights}

    def loss(self, output: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {"pose": scalar} for maps (B, K, h, w)."""
        size = (output.shape[2], output.shape[3])
        blobs = _blobs(target["xy"], size, self.sigma)
        weights = target["weights"]
        if self.objective == "cross_entropy":
            if self.balanced:
                weights = weights * torch.tensor(self._importance, device=weights.device)
            return {"pose": heatmap_cross_entropy(output, blobs.rows, blobs.columns, weights)}
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
            scale = _window_to_map(view.crop.size, (output.shape[2], output.shape[3]))
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


def _window_to_map(window: Size, heatmap: Size) -> Tensor:
    return torch.tensor(
        [
            (heatmap[1] - 1) / max(window[1] - 1, 1),
            (heatmap[0] - 1) / max(window[0] - 1, 1),
        ],
        dtype=torch.float32,
    )


@dataclass(frozen=True)
class _Blobs:
    """Gaussian blobs as products of a profile down the rows and one across the columns.

    Attributes:
        rows: (..., K, h), 0 outside of the blob's square.
        columns: (..., K, w).
        weights: (..., K), 1 where the square meets the map.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor

    def maps(self) -> Tensor:
        """Return the blobs (..., K, h, w)."""
        return (self.rows * self.weights[..., None])[..., :, None] * self.columns[..., None, :]


def _squares(
    xy: Tensor, size: Size, sigma: float, exact: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the squares of blobs begin, where they have ended, and the points' weights."""
    radius = 3 * sigma
    there = torch.isfinite(xy).all(dim=-1)
    centre = torch.nan_to_num(xy)
    whole = torch.trunc if exact else torch.floor
    nearest = whole(centre + 0.5)
    first, beyond = whole(nearest - radius), whole(nearest + radius + 1)
    limits = torch.tensor([size[1], size[0]], dtype=xy.dtype, device=xy.device)
    meets = ((first < limits) & ((beyond >= 0) if exact else (beyond > 0))).all(dim=-1)
    return first, beyond, (there & meets).to(xy.dtype)


def _blobs(xy: Tensor, size: Size, sigma: float, exact: bool = False) -> _Blobs:
    first, beyond, weights = _squares(xy, size, sigma, exact)
    centre = torch.nan_to_num(xy)

    def profile(axis: int, count: int) -> Tensor:
        grid = torch.arange(count, dtype=xy.dtype, device=xy.device)
        near = (grid >= first[..., axis, None]) & (grid < beyond[..., axis, None])
        distance = grid - centre[..., axis, None]
        return torch.exp(-distance.square() / (2 * sigma**2)) * near

    return _Blobs(profile(1, size[0]), profile(0, size[1]), weights)


def encode_heatmaps(
    xy: Tensor, size: Size, *, sigma: float = 6.0, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw one Gaussian blob per point.

    Args:
        xy: (B, K, 2) heat-map pixels; NaN for a point that is not there.
        size: (height, width) of the maps.
        sigma: standard deviation in heat-map pixels.
        exact: round towards zero, as published, so that an empty map may keep weight 1 where its
            square ends just before the top or left edge.

    Returns:
        Maps (B, K, h, w) with peak 1 at the sub-pixel place, cut to a square of radius 3 sigma
        around the nearest pixel, and weights (B, K): 1 where the square meets the map, else 0.
    """
    blobs = _blobs(xy, size, sigma, exact)
    return blobs.maps(), blobs.weights


def heatmap_squared_error(
    output: Tensor, heatmaps: Tensor, weights: Tensor, hardest: int | None = None
) -> Tensor:
    """Mean squared error of maps (B, K, h, w), of each picture's ``hardest`` points if given."""
    error = (weights[..., None, None] * (output - heatmaps)).square()
    if hardest is None:
        return error.mean()
    worst = error.mean(dim=(2, 3)).topk(min(hardest, error.shape[1]), dim=1)
    return worst.values.mean()


def heatmap_cross_entropy(output: Tensor, rows: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Mean over weighted points of the cross-entropy between a map's softmax and its target blob.

    Less the blob's own entropy, so that 0 is perfect; slopes are those of the cross-entropy.

    Args:
        output: (B, K, h, w) logits.
        rows: (B, K, h) profile of each blob down the map; the blob is its product with
        columns: (B, K, w), the profile across, and is never made.
        weights: (B, K).
    """
    logits = output.float()
    down = rows / rows.sum(dim=2, keepdim=True).clamp(min=1e-6)
    across = columns / columns.sum(dim=2, keepdim=True).clamp(min=1e-6)
    expected = ((logits @ across[..., None])[..., 0] * down).sum(dim=2)
    entropy = -torch.xlogy(down, down).sum(dim=2) - torch.xlogy(across, across).sum(dim=2)
    divergence = logits.flatten(2).logsumexp(dim=2) - expected - entropy
    return (divergence * weights).sum() / weights.sum().clamp(min=1)


def decode_heatmaps(maps: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
    """Find every map's peak to a fraction of a pixel (UDP decode with a DARK-style Newton step).

    The peak pixel is refined by one Newton step on the logarithm of the map, blurred by an 11×11
    Gaussian of sigma 2 and rescaled to its old maximum (Sapiens, published code). Only the pixels
    the step looks at are blurred: the logarithm turns the rescaling into a constant, which matters
    only where values are clipped, and those maps are blurred whole.

    Args:
        maps: (B, K, h, w) of any floating dtype.
        exact: reproduce the published behaviour at its edges: an all-zero map gives NaN, a peak on
            the border may leave the map, scores may be negative. By default such a map gives score
            0 at its first maximum, and peaks stay inside.

    Returns:
        xy (B, K, 2) in heat-map pixels and scores (B, K), both float32.

    Raises:
        InputError: if ``maps`` is not (B, K, h, w) with at least one pixel.
    """
    if maps.ndim != 4 or 0 in maps.shape[2:] or not maps.is_floating_point():
        raise InputError(
            f"decode_heatmaps wants floating (B, K, h, w) maps, got {tuple(maps.shape)} "
            f"{maps.dtype}"
        )
    batch, count, height, width = maps.shape
    flat = maps.reshape(batch * count, height, width)
    scores, index = _peaks(flat)
    x, y = index % width, index // width
    # On a CPU, parts too small for torch to wake threads for: that takes longer than the work.
    at_once = 128 if maps.device.type == "cpu" else max(len(flat), 1)
    parts = [slice(start, start + at_once) for start in range(0, len(flat), at_once)]
    steps = [_newton_step(flat[part], x[part], y[part], scores[part]) for part in parts]
    step = torch.cat(steps) if steps else torch.zeros(0, 2)
    xy = torch.stack([x, y], dim=-1).float()
    if exact:
        xy = torch.where((scores > 0)[:, None], xy, -1.0) + step
    else:
        step = torch.where(torch.isfinite(step) & (scores > 0)[:, None], step, 0.0)
        limits = torch.tensor([width - 1, height - 1], device=xy.device)
        xy = (xy + step).clamp(min=0).minimum(limits)
        scores = scores.clamp(min=0)
    return xy.reshape(batch, count, 2), scores.reshape(batch, count)


def _peaks(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Return each map's maximum (float32) and its first row-major index."""
    table = flat.flatten(1)
    if flat.device.type == "cpu" and flat.dtype == torch.float32:
        # numpy's argmax is vectorised, torch's is not (measured 4-6 times faster on CPU).
        index = torch.from_numpy(table.detach().numpy().argmax(axis=1))
    else:
        index = table.argmax(dim=1)
    return table.gather(1, index[:, None])[:, 0].float(), index


def _gaussian(device: torch.device) -> Tensor:
    sigma = 0.3 * ((_BLUR_KERNEL - 1) * 0.5 - 1) + 0.8
    offsets = torch.arange(_BLUR_KERNEL, dtype=torch.float64) - (_BLUR_KERNEL - 1) / 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    return (kernel / kernel.sum()).to(device=device, dtype=torch.float32)


def _log(values: Tensor) -> Tensor:
    if values.device.type != "cpu":
        return values.log()
    # torch's logarithm wakes threads for a few thousand numbers and waits for them, up to 15 ms.
    return torch.from_numpy(np.log(values.detach().numpy()))


def _newton_step(flat: Tensor, x: Tensor, y: Tensor, peak: Tensor) -> Tensor:
    """Return the step (N, 2) from each map's peak pixel (x, y) towards the true peak."""
    count, height, width = flat.shape
    half = _BLUR_KERNEL // 2
    reach = half + 1
    kernel = _gaussian(flat.device)
    offsets = torch.arange(-reach, reach + 1, device=flat.device)
    rows, columns = y[:, None] + offsets, x[:, None] + offsets
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    places = (rows.clamp(0, height - 1) * width)[:, :, None] + columns.clamp(0, width - 1)[:, None]
    patch = flat.flatten(1).gather(1, places.flatten(1)).reshape(places.shape).float()
    patch = patch * inside
    # Separable blur of the 3×3 pixels around the peak, zeros outside the map. As sums, because
    # products of so many tiny matrices start threads for each.
    size = _BLUR_KERNEL
    tall = [(patch[:, i : i + size] * kernel[:, None]).sum(dim=1) for i in range(3)]
    blurred = torch.stack(
        [
            torch.stack([(row[:, i : i + size] * kernel).sum(dim=1) for i in range(3)], dim=-1)
            for row in tall
        ],
        dim=1,
    )
    # Edge replication: a neighbour outside the map repeats the border pixel.
    near = torch.arange(-1, 2, device=flat.device)
    row = (y[:, None] + near).clamp(0, height - 1) - y[:, None] + 1
    column = (x[:, None] + near).clamp(0, width - 1) - x[:, None] + 1
    picked = torch.arange(count, device=flat.device)[:, None, None]
    blurred = blurred[picked, row[:, :, None], column[:, None, :]]

    # The published rescaling multiplies by peak / (maximum of the blurred map), a factor between
    # 1 and peak / (blurred peak). It cancels in the logarithm unless it moves a value past a clip.
    ceiling = peak / blurred.amax(dim=(1, 2)).clamp(min=1e-30)
    clipped = (blurred.amin(dim=(1, 2)) < 1e-3) | (blurred.amax(dim=(1, 2)) * ceiling > 50)
    if bool(clipped.any()):
        blurred = blurred.clone()
        chosen = torch.nonzero(clipped)[:, 0]
        for part in chosen.split(32):
            whole = flat[part].float()[:, None]
            whole = F.conv2d(whole, kernel.view(1, 1, -1, 1), padding=(half, 0))
            whole = F.conv2d(whole, kernel.view(1, 1, 1, -1), padding=(0, half))
            factor = peak[part] / whole.amax(dim=(1, 2, 3))
            blurred[part] = blurred[part] * factor[:, None, None]
    log = _log(blurred.clamp(1e-3, 50))

    (nw, n, _), (w, c, e), (_, s, se) = (row_.unbind(-1) for row_ in log.unbind(-2))
    dx, dy = (e - w) / 2, (s - n) / 2
    dxx, dyy = e - 2 * c + w + _EPSILON, s - 2 * c + n + _EPSILON
    dxy = (se - e - s + 2 * c - w - n + nw) / 2
    determinant = dxx * dyy - dxy * dxy
    return torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1) / determinant[:, None]
