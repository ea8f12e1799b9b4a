# SPDX-License-Identifier: Apache-2.0
"""The windows that networks see, and the part of a whole picture's map that is a person's."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vitruvian import image as images
from vitruvian.geometry import Crop
from vitruvian.person import Person, Raster
from vitruvian.tasks import Framing, View


def solid(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a box of no width or height one pixel, so that a 1×1 picture still has a window."""
    extent = box[2:] - box[:2]
    grow = np.where(extent < 1, (1 - extent) / 2, 0)
    return np.concatenate([box[:2] - grow, box[2:] + grow])


def cut(
    image: NDArray[np.uint8],
    view: View,
    framing: Framing,
    *,
    second: bool,
    fill: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """Cut one uint8 window, by the interpolation each published family used.

    First generation: bilinear everywhere. Second: people's windows bicubic when enlarging, and
    stretched pictures by area when shrinking, else bicubic. Outside of the picture is ``fill``.
    """
    size = view.crop.size
    if framing == "stretch":
        method = "linear"
        if second:
            method = "area" if size[1] < image.shape[1] else "cubic"
        return images.resize(image, size, interpolation=method)
    enlarging = min(view.crop.matrix[0, 0], view.crop.matrix[1, 1]) >= 1
    cubic = second and framing == "person" and enlarging
    method = "cubic" if cubic else "linear"
    return images.warp(image, view.crop.matrix, size, interpolation=method, fill=fill)


def zoomed(view: View, zoom: float) -> View:
    """Return the view enlarged by a factor about the window's centre."""
    if zoom == 1:
        return view
    centre = (np.array(view.crop.size[::-1]) - 1) / 2
    matrix = zoom * view.crop.matrix
    matrix[:, 2] += (1 - zoom) * centre
    return View(Crop(matrix, view.crop.size), view.image_size)


def unzoomed(maps: Tensor, zoom: float) -> tuple[Tensor, Tensor]:
    """Return the maps (B, C, h, w) of windows zoomed by a factor as the plain windows have them.

    Returns:
        The maps, and where the zoomed windows reach: 1 there, (B, 1, h, w), else both are 0.
    """
    turn = torch.eye(2, 3, device=maps.device) * zoom
    grid = F.affine_grid(turn.expand(len(maps), 2, 3), list(maps.shape), align_corners=True)
    there = (grid.abs() <= 1).all(dim=-1)[:, None].to(maps.dtype)
    moved = F.grid_sample(maps, grid.to(maps.dtype), padding_mode="border", align_corners=True)
    return moved * there, there


def around(raster: Raster, person: Person) -> Raster:
    """Return the part of a whole-picture raster around a person (25 % beyond the box)."""
    height, width = raster.size
    grow = 0.125 * (person.box[2:] - person.box[:2])
    x0, y0 = np.floor(np.clip(person.box[:2] - grow, 0, [width - 1, height - 1])).astype(int)
    x1, y1 = np.ceil(np.clip(person.box[2:] + grow, 0, [width - 1, height - 1])).astype(int)
    inner = np.s_[y0 : y1 + 1, x0 : x1 + 1]
    valid = None if raster.valid is None else raster.valid[inner]
    return replace(raster, values=raster.values[inner], valid=valid, origin=(int(x0), int(y0)))
