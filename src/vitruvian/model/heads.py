# SPDX-License-Identifier: Apache-2.0
"""The heads: one dense head for every published task, and the scale branch of the pointmap.

A dense head is [input convolution] → upsampling stages (each ×2) [+ finer maps] → refinement
convolutions → 1×1 predictor; norm and SiLU follow every convolution but the last, and what finer
maps are added to. The published shapes are in ``published``. Sources: the code published for
Sapiens and Sapiens2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import nn

from vitruvian.errors import InputError
from vitruvian.model import initialise
from vitruvian.model.config import from_plain, to_plain
from vitruvian.model.layers import Conv2d, ConvTranspose2d, Linear


@dataclass(frozen=True, kw_only=True)
class DenseHeadConfig:
    """The shape of a head that turns a feature map into a map of ``out`` channels.

    Args:
        in_dim: channels of the feature map.
        out: channels of the result (points, classes, axes …).
        upsample: "deconv" (4×4 transposed convolution, no bias) or "shuffle" (3×3 convolution to
            four times the channels, then pixel shuffle).
        widths: channels behind each upsampling stage; every stage doubles rows and columns.
        skips: channels of finer maps that are added behind the first stages, each through a 1×1
            convolution (U-Net, arXiv 1505.04597).
        refine: channels of the convolutions that follow.
        refine_kernel: their kernel, 1 or 3.
        stem: start with a 3×3 convolution at the resolution of the features.
        norm: "instance" (each channel of each picture over all its pixels; nothing learned) or
            "rms" (over the channels of a pixel; learned weight).
        dropout: probability of dropping a channel in front of the predictor, in training only.
        activation: of the result; None for raw values.
        init: starting values of the weights, see ``initialise``.
    """

    in_dim: int
    out: int
    upsample: Literal["deconv", "shuffle"] = "deconv"
    widths: tuple[int, ...]
    skips: tuple[int, ...] = ()
    refine: tuple[int, ...] = ()
    refine_kernel: Literal[1, 3] = 1
    stem: bool = False
    norm: Literal["instance", "rms"] = "instance"
    dropout: float = 0.0
    activation: Literal["sigmoid"] | None = None
    init: Literal["kaiming", "small", "library"] = "kaiming"

    def __post_init__(self) -> None:
        sizes = (self.in_dim, self.out, *self.widths, *self.skips, *self.refine)
        if min(sizes) < 1 or not 0 <= self.dropout < 1:
            raise InputError(
                f"DenseHeadConfig: channels {sizes}, dropout {self.dropout} · wanted positive "
                "channels and a dropout from 0 to below 1"
            )
        if len(self.skips) > len(self.widths):
            raise InputError(
                f"DenseHeadConfig: {len(self.skips)} skips · wanted at most {len(self.widths)}, "
                "one for each upsampling stage"
            )

    @property
    def upscale(self) -> int:
        """Rows of the result per row of the feature map."""
        return 2 ** len(self.widths)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result; unknown keys and wrong types raise ``InputError``."""
        return from_plain(cls, data)


@dataclass(frozen=True, kw_only=True)
class ScaleHeadConfig:
    """The shape of the branch that predicts one number per picture from a fixed grid of features.

    Args:
        in_dim: channels of the feature map.
        widths: of the 1×1 convolutions of stride 2.
        hidden: widths of the linear layers between them and the number.
        grid: (rows, columns) of the only feature map it takes.
    """

    in_dim: int
    widths: tuple[int, ...] = (1536, 512, 128)
    hidden: tuple[int, ...] = (512, 128)
    grid: tuple[int, int] = (64, 48)

    def __post_init__(self) -> None:
        sizes = (self.in_dim, *self.widths, *self.hidden, *self.grid)
        if min(sizes) < 1 or not self.widths:
            raise InputError(f"ScaleHeadConfig: sizes {sizes} · wanted positive numbers")
        if self.cells == self.widths[-1]:
            raise InputError(
                f"ScaleHeadConfig: {len(self.widths)} halvings of {self.grid[0]}×{self.grid[1]} "
                "leave one cell, which an instance norm makes zero · wanted fewer widths or a "
                "larger grid"
            )

    @property
    def cells(self) -> int:
        """Number of values that enter the first linear layer."""
        rows, columns = self.grid
        for _ in self.widths:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        return rows * columns * self.widths[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result; unknown keys and wrong types raise ``InputError``."""
        return from_plain(cls, data)


HeadConfig = DenseHeadConfig | ScaleHeadConfig


class ChannelRMSNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel, learned weight, eps 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, h, w); statistics in float32."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(1, keepdim=True) + 1e-6)
        return wide.to(x.dtype) * self.weight[:, None, None]


def _norm(kind: Literal["instance", "rms"], channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels) if kind == "instance" else ChannelRMSNorm(channels)


class DenseHead(nn.Module):
    """Features (B, in_dim, h, w) to maps (B, out, h * upscale, w * upscale)."""

    def __init__(self, config: DenseHeadConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.stem = Conv2d(c.in_dim, c.in_dim, 3, padding=1) if c.stem else None
        self.stem_norm = _norm(c.norm, c.in_dim) if c.stem else None
        self.up = nn.ModuleList()
        self.up_norm = nn.ModuleList(_norm(c.norm, width) for width in c.widths)
        for a, b in pairwise((c.in_dim, *c.widths)):
            if c.upsample == "deconv":
                self.up.append(ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False))
            else:
                self.up.append(Conv2d(a, 4 * b, 3, padding=1))
        self.skip = nn.ModuleList(
            Conv2d(a, b, 1) for a, b in zip(c.skips, c.widths[: len(c.skips)], strict=True)
        )
        last = c.widths[-1] if c.widths else c.in_dim
        self.refine = nn.ModuleList(
            Conv2d(a, b, c.refine_kernel, padding=c.refine_kernel // 2)
            for a, b in pairwise((last, *c.refine))
        )
        self.refine_norm = nn.ModuleList(_norm(c.norm, width) for width in c.refine)
        self.predict = Conv2d(c.refine[-1] if c.refine else last, c.out, 1)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        if self.config.init == "kaiming":
            initialise.initialise_kaiming(self)
        elif self.config.init == "small":
            initialise.initialise_small(self)
        else:
            for module in (self.stem, *self.up, *self.skip, *self.refine):
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    module.reset_parameters()
            nn.init.normal_(self.predict.weight, std=0.01)
            if self.predict.bias is not None:
                nn.init.zeros_(self.predict.bias)

    def forward(self, features: torch.Tensor, finer: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Return raw values (or activated ones, where the configuration says so).

        Args:
            features: (B, in_dim, h, w).
            finer: maps for ``skips``, the first (B, skips[0], 2h, 2w), the next twice as fine;
                more than that are left out.

        Raises:
            InputError: a single cell of features where an instance norm would make it zero.
        """
        if self.stem is not None and self.config.norm == "instance" and features[0, 0].numel() < 2:
            raise InputError(
                "a feature map of one cell · wanted two or more · use a larger picture"
            )
        x = features
        if self.stem is not None and self.stem_norm is not None:
            x = F.silu(self.stem_norm(self.stem(x)))
        for i, (up, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            x = up(x)
            if self.config.upsample == "shuffle":
                x = F.pixel_shuffle(x, 2)
            if i < len(self.skip):
                x = x + self.skip[i](finer[i])
            x = F.silu(norm(x))
        for conv, norm in zip(self.refine, self.refine_norm, strict=True):
            x = F.silu(norm(conv(x)))
        if self.config.dropout:
            x = F.dropout2d(x, self.config.dropout, self.training)
        x = self.predict(x)
        return x.sigmoid() if self.config.activation == "sigmoid" else x


class ScaleHead(nn.Module):
    """Features (B, in_dim, *grid) to one number per picture (B, 1)."""

    def __init__(self, config: ScaleHeadConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.conv = nn.ModuleList(
            Conv2d(a, b, 1, stride=2) for a, b in pairwise((c.in_dim, *c.widths))
        )
        self.conv_norm = nn.ModuleList(_norm("instance", width) for width in c.widths)
        sizes = (c.cells, *c.hidden, 1)
        self.linear = nn.ModuleList(Linear(a, b) for a, b in pairwise(sizes))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        initialise.initialise_kaiming(self)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the scale (B, 1).

        Raises:
            InputError: the features are not of the configured grid.
        """
        if tuple(features.shape[2:]) != self.config.grid:
            raise InputError(
                f"scale of a {features.shape[2]}×{features.shape[3]} feature map · wanted "
                f"{self.config.grid[0]}×{self.config.grid[1]}, which fixes its linear "
                "layers · resize or pad the picture to the input size of the network"
            )
        x = features
        for conv, norm in zip(self.conv, self.conv_norm, strict=True):
            x = F.silu(norm(conv(x)))
        x = x.flatten(1)
        for linear in self.linear[:-1]:
            x = F.silu(linear(x))
        return self.linear[-1](x)


def build_head(config: HeadConfig) -> DenseHead | ScaleHead:
    """Build the module a head configuration describes."""
    return DenseHead(config) if isinstance(config, DenseHeadConfig) else ScaleHead(config)
