# SPDX-License-Identifier: Apache-2.0
"""The window stage of the second generation's 4K model: 16 patches become one token.

At 4096×3072 the 256×192 patches are grouped in windows of 4×4. Each window is a sequence of its
own, one learned token in front; after a few blocks only that token is kept, so the main blocks see
the usual 64×48 grid. Source: Sapiens2, arXiv 2604.21681, and the published code.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vitruvian.errors import InputError
from vitruvian.model.block import Block

CHUNK = 1024  # windows per pass, as published: bounds memory at 52,224 tokens per picture


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Windows of ``size`` × ``size`` patches, pooled by ``depth`` blocks."""

    size: int = 4
    depth: int = 4

    def __post_init__(self) -> None:
        if self.size < 2 or self.depth < 1:
            raise InputError(
                f"window of size {self.size}, depth {self.depth} · wanted size of 2 or more and "
                "depth of 1 or more · leave out the window for a plain network"
            )


class WindowStage(nn.Module):
    """Pool every window of patches into one token; blocks without rotary, q/k norm or scale."""

    def __init__(
        self,
        config: WindowConfig,
        *,
        dim: int,
        heads: int,
        mlp_hidden: int,
        norm: Literal["layer", "rms"],
        mlp: Literal["gelu", "swiglu"],
    ) -> None:
        super().__init__()
        self.size = config.size
        self.token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.size**2, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_hidden, norm=norm, mlp=mlp) for _ in range(config.depth)
        )

    def forward(
        self, tokens: torch.Tensor, grid: tuple[int, int], *, checkpointing: bool = False
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        """Turn (B, rows * columns, D) into one token per window and the grid of windows.

        With ``checkpointing`` the activations of a chunk are recomputed in the backward pass.
        """
        batch, _, dim = tokens.shape
        size = self.size
        rows, columns = grid[0] // size, grid[1] // size
        windows = (
            tokens.reshape(batch, rows, size, columns, size, dim)
            .transpose(2, 3)
            .reshape(batch * rows * columns, size * size, dim)
        )
        save = checkpointing and torch.is_grad_enabled()
        pooled = [
            checkpoint(self._pool, part, use_reentrant=False) if save else self._pool(part)
            for part in windows.split(CHUNK)
        ]
        return torch.cat(pooled).reshape(batch, rows * columns, dim), (rows, columns)

    def _pool(self, windows: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(windows.shape[0], -1, -1), windows], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x[:, 0]
