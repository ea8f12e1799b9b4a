# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of networks and training steps, from their configuration alone.

A multiply-add counts as 2. Counted are matrix products and convolutions, as
``torch.utils.flop_counter`` does; norms, activations and the like are left out. The backward pass
of a product costs two products of its size: one for its weights, one for its input. What activation
checkpointing computes twice is not counted: these are the operations of the model ("model FLOPs",
arXiv 2204.02311, appendix B), whatever the machine does to carry them out.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from vitruvian.model.heads import DenseHeadConfig, HeadConfig, ScaleHeadConfig
from vitruvian.model.lora import LoRAConfig
from vitruvian.model.mae import MAEConfig
from vitruvian.model.network import NetworkConfig
from vitruvian.model.sizes import ViTConfig

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations per picture.

    Attributes:
        parts: of the forward pass: "embed" (patches), "window", "linear" and "attention" (of the
            encoder's blocks), "decoder", "neck", and every head by "heads/NAME".
        step: of a training step, forward and backward.
    """

    parts: Mapping[str, int]
    step: int

    @property
    def forward(self) -> int:
        """Of the forward pass."""
        return sum(self.parts.values())


def network_flops(
    config: NetworkConfig,
    size: Size,
    *,
    frozen: bool = False,
    lora: LoRAConfig | None = None,
) -> Flops:
    """Count a network with heads on pictures of (height, width).

    Args:
        config: of the network.
        size: of its input.
        frozen: whether only the heads learn (``freeze_backbone``).
        lora: low-rank additions that learn instead of the backbone (``add_lora``).
    """
    c = config.backbone
    grid = rows, columns = (size[0] // c.stride, size[1] // c.stride)
    tokens = c.prefix + rows * columns
    parts = _encoder(c, size, tokens)
    neck = {"neck": _dense_head(config.neck, grid)} if config.neck else {}
    if config.neck is not None:
        grid = (grid[0] * config.neck.upscale, grid[1] * config.neck.upscale)
    heads = {f"heads/{name}": _head(head, grid) for name, head in config.heads.items()}
    features = sum(parts.values())
    joined = sum(_skips(config.neck, (rows, columns))) if config.neck else 0
    step = 3 * sum(sum(layers) for layers in (neck | heads).values())
    if frozen:
        # No gradient travels beyond the first layers that learn.
        first = [layers[0] for layers in (neck or heads).values()]
        step += features - sum(first) - joined
    elif lora is not None:
        # Frozen matrices pass the gradient on, but for the very first one: nothing before learns.
        first, added = _lora(c, tokens, lora)
        parts["lora"] = added
        before = parts["embed"] + parts.get("window", 0)
        step += before + 2 * parts["linear"] - first + 3 * (parts["attention"] + added) - joined
    else:
        step += 3 * features - _first_product(c, size)
    parts |= {name: sum(layers) for name, layers in (neck | heads).items()}
    return Flops(parts=parts, step=step)


def mae_flops(encoder: ViTConfig, config: MAEConfig, size: Size) -> Flops:
    """Count masked pretraining on pictures of (height, width): only visible tokens are encoded."""
    count = (size[0] // encoder.stride) * (size[1] // encoder.stride)
    seen = encoder.prefix + int(count * (1 - config.mask_ratio))
    every = encoder.prefix + count
    dim = config.decoder_dim
    blocks = config.decoder_depth * sum(
        _block(dim, every, config.decoder_heads, config.decoder_heads, 4 * dim, "gelu")
    )
    pixels = encoder.stride**2 * encoder.channels
    ends = _linear(seen, encoder.dim, dim) + _linear(every, dim, pixels)
    parts = _encoder(encoder, size, seen) | {"decoder": ends + blocks}
    return Flops(parts=parts, step=3 * sum(parts.values()) - _first_product(encoder, size))


def _linear(rows: int, inputs: int, outputs: int) -> int:
    return 2 * rows * inputs * outputs


def _block(
    dim: int, tokens: int, heads: int, kv_heads: int, hidden: int, mlp: Literal["gelu", "swiglu"]
) -> tuple[int, int]:
    """Return the operations of a block's four matrices, and of attention (scores and values)."""
    wide = dim // heads * (heads + 2 * kv_heads)
    rows = [(dim, wide), (dim, dim), (dim, 2 * hidden if mlp == "swiglu" else hidden)]
    matrices = sum(_linear(tokens, a, b) for a, b in (*rows, (hidden, dim)))
    return matrices, 2 * _linear(tokens, dim, tokens)


def _encoder(c: ViTConfig, size: Size, tokens: int) -> dict[str, int]:
    """Return the parts of an encoder of which ``tokens``, prefix included, go through blocks."""
    parts = {"embed": sum(_embed(c, size))}
    if c.window is not None:
        patches = (size[0] // c.patch) * (size[1] // c.patch)
        side = c.window.size**2
        one = sum(_block(c.dim, 1 + side, c.heads, c.heads, c.mlp_hidden, c.mlp))
        parts["window"] = c.window.depth * (patches // side) * one
    counts = [
        _block(c.dim, tokens, c.heads, c.kv_heads(i), c.mlp_hidden, c.mlp) for i in range(c.depth)
    ]
    parts["linear"] = sum(linear for linear, _ in counts)
    parts["attention"] = sum(products for _, products in counts)
    return parts


def _embed(c: ViTConfig, size: Size) -> list[int]:
    """Return the operations of the convolutions that make tokens of a picture."""
    patches = (size[0] // c.patch) * (size[1] // c.patch)
    if c.stem == "patch":
        return [_linear(patches, c.channels * c.patch**2, c.dim)]
    widths = (c.channels, *c.stem_widths)
    layers = [
        _linear((size[0] >> k) * (size[1] >> k), 9 * a, b)
        for k, (a, b) in enumerate(pairwise(widths), start=1)
    ]
    return [*layers, _linear(patches, widths[-1], c.dim)]


def _first_product(c: ViTConfig, size: Size) -> int:
    """Return the one product a backward pass leaves out: the gradient of the picture."""
    return _embed(c, size)[0]


def _head(config: HeadConfig, grid: Size) -> list[int]:
    """Return the operations of a head, layer by layer."""
    if isinstance(config, ScaleHeadConfig):
        return _scale_head(config)
    return _dense_head(config, grid)


def _dense_head(c: DenseHeadConfig, grid: Size) -> list[int]:
    layers: list[int] = []
    cells = grid[0] * grid[1]
    if c.stem:
        layers.append(_linear(cells, 9 * c.in_dim, c.in_dim))
    for a, b in pairwise((c.in_dim, *c.widths)):
        # a transposed convolution multiplies every input by its whole kernel
        layers.append(_linear(cells, 16 * a, b) if c.upsample == "deconv" else
                      _linear(cells, 9 * a, 4 * b))  # fmt: skip
        cells *= 4
    layers += _skips(c, grid)
    last = (c.in_dim, *c.widths)[-1]
    for a, b in pairwise((last, *c.refine)):
        layers.append(_linear(cells, c.refine_kernel**2 * a, b))
    layers.append(_linear(cells, (last, *c.refine)[-1], c.out))
    return layers


def _skips(c: DenseHeadConfig, grid: Size) -> list[int]:
    """Return the operations of the convolutions that finer maps join through."""
    joins = enumerate(zip(c.skips, c.widths[: len(c.skips)], strict=True), start=1)
    return [_linear(4**k * grid[0] * grid[1], a, b) for k, (a, b) in joins]


def _scale_head(c: ScaleHeadConfig) -> list[int]:
    layers: list[int] = []
    rows, columns = c.grid
    for a, b in pairwise((c.in_dim, *c.widths)):
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
        layers.append(_linear(rows * columns, a, b))
    return layers + [_linear(1, a, b) for a, b in pairwise((c.cells, *c.hidden, 1))]


def _lora(c: ViTConfig, tokens: int, lora: LoRAConfig) -> tuple[int, int]:
    """Return what the backward pass saves at the first matrix, and the additions' operations."""
    added = 0
    wide = 2 * c.mlp_hidden if c.mlp == "swiglu" else c.mlp_hidden
    for i in range(c.depth):
        qkv = c.dim // c.heads * (c.heads + 2 * c.kv_heads(i))
        for a, b in ((c.dim, qkv), (c.dim, c.dim), (c.dim, wide), (c.mlp_hidden, c.dim)):
            added += _linear(tokens, a + b, lora.rank)
    first = _linear(tokens, c.dim, c.dim // c.heads * (c.heads + 2 * c.kv_heads(0)))
    return first + _linear(tokens, c.dim, lora.rank), added


# ---------------------------------------------------------------------------- speed of devices

_PEAKS = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "GH200": 989e12, "B200": 2250e12,
    "A100": 312e12, "A800": 312e12, "A40": 150e12, "A10G": 70e12, "A10": 125e12,
    "L40S": 362e12, "L40": 181e12, "L4": 121e12, "V100": 125e12, "T4": 65e12,
    "RTX 4090": 165e12, "RTX 3090": 71e12, "RTX 5090": 210e12,
}  # fmt: skip
"""Part of a GPU's name → dense bf16 (V100 and T4: fp16) operations per second, by its maker."""


def peak_flops(device: torch.device, precision: Literal["fp32", "bf16", "fp16"]) -> float:
    """Return how many operations per second a device can do, to measure training against (MFU).

    For half precision on known GPUs this is the maker's dense figure; otherwise the best of a few
    large matrix products here and now, which takes about a second.
    """
    if device.type == "cuda" and precision != "fp32":
        name = torch.cuda.get_device_name(device)
        # the longest name that fits: an "H100 PCIe" is no "H100"
        known = sorted((key for key in _PEAKS if key in name), key=len)
        if known:
            return _PEAKS[known[-1]]
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    if device.type == "cpu":
        dtype = torch.float32  # where half precision is slower, the package widens
    side = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(2, side, side, device=device, dtype=dtype).unbind()
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
