# SPDX-License-Identifier: Apache-2.0
"""Linear and convolution layers, and attention, that are never slow in low precision on a CPU.

On accelerators, in float32 and while a network is traced these are torch's own. Otherwise:

* Where the CPU has no arithmetic for bfloat16 or float16, torch falls back to products at a tenth
  of the speed of float32 or below. There a layer computes in float32 and rounds its result, under
  autocast too: weights kept in low precision take half the memory, at the speed of float32.
* Where it has, torch's fused attention leaves much of that arithmetic unused on some CPUs, and
  plain matrix products over blocks of queries are faster. Which is faster is measured once.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

LOW = (torch.bfloat16, torch.float16)
ROWS = 256  # queries per block: 256 × 3,072 scores of 16 heads are 25 MB in bfloat16
LONG = 1024  # fewer tokens than this are not worth a measurement
GAIN = 1.25  # blocks must be faster by this factor to replace the fused kernel


@cache
def cpu_computes(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies matrices of ``dtype`` without a detour."""
    if dtype not in LOW:
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def _widens(x: torch.Tensor, weight: torch.Tensor) -> torch.dtype | None:
    """Return what a product of these is rounded to after float32; ``None`` leaves it to torch."""
    # Tensors of other types have no values: their memory is estimated, for other devices.
    if x.device.type != "cpu" or type(x) is not torch.Tensor or torch.compiler.is_compiling():
        return None
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        low = torch.get_autocast_dtype("cpu")
    elif weight.dtype == x.dtype:
        low = x.dtype
    else:
        return None
    return low if low in LOW and not cpu_computes(low) else None


def _wide(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.float()


class Linear(nn.Linear):
    """``torch.nn.Linear``, widened where the module says so."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        low = _widens(input, self.weight)
        if low is None:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return F.linear(input.float(), self.weight.float(), _wide(self.bias)).to(low)


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` with zero padding, widened where the module says so."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (B, in, H, W) to (B, out, h, w)."""
        low = _widens(input, self.weight)
        if low is None:
            return super().forward(input)
        x, w, b = input.float(), self.weight.float(), _wide(self.bias)
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x, w, b, self.stride, self.padding).to(low)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d``, widened where the module says so."""

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Map (B, in, h, w) to (B, out, H, W)."""
        low = _widens(input, self.weight)
        if output_size is not None or low is None:
            return super().forward(input, output_size)
        x, w, b = input.float(), self.weight.float(), _wide(self.bias)
        with torch.autocast("cpu", enabled=False):
            return F.conv_transpose2d(x, w, b, self.stride, self.padding).to(low)  # pyright: ignore[reportArgumentType]


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention of (B, heads, T, head_dim) among T tokens."""
    if (
        q.dtype in LOW
        and q.device.type == "cpu"
        and q.shape[2] >= LONG
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and cpu_computes(q.dtype)
        and _blocks_win(q, k, v)
    ):
        return blocked_attention(q, k, v)
    low = _widens(q, k) if torch.is_grad_enabled() else None
    if low is not None:
        # Forward, the fused kernel is as fast in low precision; backward it is far slower.
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(low)
    return F.scaled_dot_product_attention(q, k, v)


def blocked_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention as plain products over blocks of queries; keeps no graph for gradients.

    Scores are rounded to the working precision (the fused kernel keeps float32), the softmax runs
    in float32.
    """
    out = torch.empty_like(q)
    keys = k.transpose(-1, -2) * q.shape[-1] ** -0.5
    for start in range(0, q.shape[2], ROWS):
        scores = q[:, :, start : start + ROWS] @ keys
        out[:, :, start : start + ROWS] = scores.softmax(-1) @ v
    return out


_winners: dict[tuple[torch.dtype, int], bool] = {}


def _blocks_win(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> bool:
    """Whether blocks beat the fused kernel here; times one head once per precision and width."""
    key = (q.dtype, q.shape[-1])
    if key not in _winners:
        # One head per thread, for the fused kernel spreads over heads and rows alike.
        heads = min(q.shape[1], torch.get_num_threads())
        a, b, c = (t[:1, :heads] for t in (q, k, v))
        fused = _seconds(lambda: F.scaled_dot_product_attention(a, b, c))
        _winners[key] = _seconds(lambda: blocked_attention(a, b, c)) * GAIN < fused
    return _winners[key]


def _seconds(work: Callable[[], object]) -> float:
    """Return the shorter of two times ``work`` takes, after a first one to warm up."""
    work()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
