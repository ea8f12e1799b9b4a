# SPDX-License-Identifier: Apache-2.0
"""Heat-maps of points: unbiased (UDP) targets, losses, and a batched decoder.

Heat-map coordinates have pixel centres at whole numbers; heat-map pixel p lies at window pixel
p · (window - 1) / (map - 1), per axis, so that the corners of both grids coincide (UDP).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitruvian.errors import InputError
from vitruvian.geometry import Size

_EPSILON = float(np.finfo(np.float32).eps)
_BLUR_KERNEL = 11  # published for every size, although targets have sigma 6


def window_to_map(window: Size, heatmap: Size) -> Tensor:
    """Return the (x, y) factors from window pixels to heat-map pixels (UDP: corners coincide)."""
    return torch.tensor(
        [
            (heatmap[1] - 1) / max(window[1] - 1, 1),
            (heatmap[0] - 1) / max(window[0] - 1, 1),
        ],
        dtype=torch.float32,
    )


@dataclass(frozen=True)
class Blobs:
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


def squares(
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


def make_blobs(xy: Tensor, size: Size, sigma: float, exact: bool = False) -> Blobs:
    """Return the blobs of points (..., K, 2), see ``encode_heatmaps``."""
    first, beyond, weights = squares(xy, size, sigma, exact)
    centre = torch.nan_to_num(xy)

    def profile(axis: int, count: int) -> Tensor:
        grid = torch.arange(count, dtype=xy.dtype, device=xy.device)
        near = (grid >= first[..., axis, None]) & (grid < beyond[..., axis, None])
        distance = grid - centre[..., axis, None]
        return torch.exp(-distance.square() / (2 * sigma**2)) * near

    return Blobs(profile(1, size[0]), profile(0, size[1]), weights)


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
    blobs = make_blobs(xy, size, sigma, exact)
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
