# SPDX-License-Identifier: Apache-2.0
"""The transformer block both generations share, made of norm, attention and perceptron.

Shapes: tokens are (B, T, D); T counts the prefix tokens (class, registers) first.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from vitruvian.model.layers import Linear, attention
from vitruvian.model.position import rotate

Rotary = tuple[torch.Tensor, torch.Tensor]


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis, times a learned weight.

    Statistics in float32, the product with the weight in the working precision (published code).
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (..., dim)."""
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return wide.to(x.dtype) * self.weight


def norm_layer(kind: Literal["layer", "rms"], dim: int) -> nn.Module:
    """Return the norm of a generation over ``dim`` values, eps 1e-6."""
    return nn.LayerNorm(dim, eps=1e-6) if kind == "layer" else RMSNorm(dim)


class Attention(nn.Module):
    """Self-attention with one fused input matrix: rows of queries, then keys, then values.

    Key/value head j serves query heads j * g … j * g + g - 1 with g = heads / kv_heads.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.kv_heads = kv_heads or heads
        self.head_dim = dim // heads
        self.layer_scale = layer_scale
        self.qkv = Linear(dim, (heads + 2 * self.kv_heads) * self.head_dim)
        if qk_norm:
            self.q_norm = RMSNorm(self.head_dim)
            self.k_norm = RMSNorm(self.head_dim)
        else:
            self.q_norm = self.k_norm = nn.Identity()
        self.proj = Linear(dim, dim)
        if layer_scale is not None:
            self.scale = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(
        self, x: torch.Tensor, rotary: Rotary | None = None, prefix: int = 0
    ) -> torch.Tensor:
        """Attend among the tokens (B, T, D) of each sample."""
        batch, count, dim = x.shape
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary, prefix), rotate(k, rotary, prefix)
        if self.kv_heads != self.heads:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        y = attention(q, k, v)
        y = self.proj(y.transpose(1, 2).reshape(batch, count, dim))
        return y if self.layer_scale is None else y * self.scale


class Mlp(nn.Module):
    """Perceptron of a block: GELU (exact), or SwiGLU whose first half of ``fc1`` gets the SiLU."""

    def __init__(self, dim: int, hidden: int, kind: Literal["gelu", "swiglu"]) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        self.fc1 = Linear(dim, 2 * hidden if self.gated else hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., dim) to (..., dim)."""
        x = self.fc1(x)
        if self.gated:
            gate, value = x.chunk(2, dim=-1)
            return self.fc2(F.silu(gate) * value)
        return self.fc2(F.gelu(x))


class Block(nn.Module):
    """Pre-norm block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_hidden: int,
        *,
        norm: Literal["layer", "rms"] = "layer",
        mlp: Literal["gelu", "swiglu"] = "gelu",
        kv_heads: int | None = None,
        qk_norm: bool = False,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, dim)
        self.attn = Attention(
            dim, heads, kv_heads=kv_heads, qk_norm=qk_norm, layer_scale=layer_scale
        )
        self.norm2 = norm_layer(norm, dim)
        self.mlp = Mlp(dim, mlp_hidden, mlp)

    def forward(
        self, x: torch.Tensor, rotary: Rotary | None = None, prefix: int = 0
    ) -> torch.Tensor:
        """Transform tokens (B, T, D)."""
        x = x + self.attn(self.norm1(x), rotary, prefix)
        return x + self.mlp(self.norm2(x))
