# SPDX-License-Identifier: Apache-2.0
"""A convolutional stem for our own small sizes."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from vitruvian.model.layers import Conv2d


class ConvStem(nn.Module):
    """Strided 3×3 convolutions down to one token per patch, in place of one large convolution.

    Learns faster than a patch convolution at small sizes ("Early convolutions help transformers see
    better", arXiv 2106.14881). A token sees 2 * patch - 1 pixels on a side, so masking must
    hide pixels, not only drop tokens.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList(
            Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise((channels, *widths))
        )
        self.project = Conv2d(widths[-1], dim, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, D, H / patch, W / patch)."""
        return self.project(self.maps(images)[-1])

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what is behind each convolution, (B, width, H / 2, W / 2) first."""
        found: list[torch.Tensor] = []
        for conv in self.conv:
            images = F.gelu(conv(images))
            found.append(images)
        return found
