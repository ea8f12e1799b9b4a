# SPDX-License-Identifier: Apache-2.0
"""The shape of a vision transformer and the table of sizes: published ones and our own.

Sources: Sapiens, arXiv 2408.12569, table 1; Sapiens2, arXiv 2604.21681; the published code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from vitruvian.errors import InputError, unknown_name
from vitruvian.model.config import from_plain, to_plain
from vitruvian.model.window import WindowConfig


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The shape of a vision transformer; ``SIZES`` holds the published ones and our own.

    Args:
        dim: width of a token.
        depth: number of blocks.
        heads: attention heads of every block.
        patch: side of a patch in pixels.
        patch_padding: zeros added around the normalised picture before patches are cut; 0 or 2 in
            the first generation, depending on the task and invisible in its files.
        channels: of the picture.
        mlp_hidden: hidden width of the perceptrons (of each half for SwiGLU).
        mlp: GELU (first generation) or SwiGLU (second).
        norm: LayerNorm (first) or RMSNorm (second), eps 1e-6.
        position: a learned table (first) or rotary angles (second).
        grid: (rows, columns) of the learned table, or of the nominal input.
        class_token: put a class token in front; with a learned table it has a row of its own.
        registers: number of register tokens behind the class token.
        qk_norm: normalise queries and keys of each head.
        full_attention_ends: None for full attention everywhere; n: all but the first and last n
            blocks have half as many key/value heads.
        layer_scale: starting value of the learned scale of the attention branch, or None.
        rotary_base: longest period divided by the shortest, roughly.
        rotary_dtype: precision of rotary tables and of the rotation; bfloat16 is the published
            numerics of the second generation.
        window: pools windows of patches into tokens first (the 4K model).
        stem: one patch convolution, or a few strided 3×3 convolutions (our own small sizes).
    """

    dim: int
    depth: int
    heads: int
    patch: int = 16
    patch_padding: int = 0
    channels: int = 3
    mlp_hidden: int
    mlp: Literal["gelu", "swiglu"] = "gelu"
    norm: Literal["layer", "rms"] = "layer"
    position: Literal["learned", "rotary"] = "learned"
    grid: tuple[int, int] = (64, 48)
    class_token: bool = False
    registers: int = 0
    qk_norm: bool = False
    full_attention_ends: int | None = None
    layer_scale: float | None = None
    rotary_base: float = 100.0
    rotary_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    window: WindowConfig | None = None
    stem: Literal["patch", "conv"] = "patch"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def prefix(self) -> int:
        """Number of tokens in front of the patches."""
        return int(self.class_token) + self.registers

    @property
    def stride(self) -> int:
        """Pixels of the picture per token, along each axis; inputs are multiples of it."""
        return self.patch * (self.window.size if self.window else 1)

    @property
    def stem_widths(self) -> tuple[int, ...]:
        """Channels behind each convolution of the stem, of which each halves rows and columns."""
        steps = self.patch.bit_length() - 1 if self.stem == "conv" else 0
        return tuple(max(16, self.dim >> (steps - 1 - k)) for k in range(steps))

    @property
    def finer(self) -> tuple[int, ...]:
        """Channels of the stem's maps that are finer than the tokens, each twice as fine."""
        return self.stem_widths[-2::-1]

    def kv_heads(self, block: int) -> int:
        """Return the number of key/value heads of block ``block`` (0-based)."""
        ends = self.full_attention_ends
        if ends is None or block < ends or block >= self.depth - ends:
            return self.heads
        return self.heads // 2

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result; unknown keys and wrong types raise ``InputError``."""
        return from_plain(cls, data)


def _check(config: ViTConfig) -> None:
    positive = ("dim", "depth", "heads", "patch", "channels", "mlp_hidden")
    for name in positive:
        if getattr(config, name) < 1:
            raise InputError(f"ViTConfig.{name}: given {getattr(config, name)} · wanted 1 or more")
    if config.dim % config.heads:
        raise InputError(
            f"ViTConfig: dim {config.dim} with {config.heads} heads · wanted a multiple of heads"
        )
    if config.position == "rotary" and config.dim // config.heads % 4:
        raise InputError(
            f"ViTConfig: rotary positions with heads of {config.dim // config.heads} · wanted a "
            "head width divisible by 4"
        )
    if config.position == "learned" and config.dim % 4:
        raise InputError(f"ViTConfig: dim {config.dim} · wanted a multiple of 4 for its table")
    if config.full_attention_ends is not None and config.heads % 2:
        raise InputError(
            f"ViTConfig: grouped attention with {config.heads} heads · wanted an even number"
        )
    if config.patch_padding and config.patch_padding * 2 >= config.patch:
        raise InputError(
            f"ViTConfig: patch_padding {config.patch_padding} · wanted less than half of patch "
            f"{config.patch}"
        )
    if config.stem == "conv" and (config.patch & (config.patch - 1) or config.patch_padding):
        raise InputError(
            f"ViTConfig: stem 'conv' with patch {config.patch} and patch_padding "
            f"{config.patch_padding} · wanted a power of two and no padding"
        )


def _first(dim: int, depth: int, heads: int) -> ViTConfig:
    return ViTConfig(dim=dim, depth=depth, heads=heads, mlp_hidden=4 * dim)


def _second(dim: int, depth: int, heads: int, window: WindowConfig | None = None) -> ViTConfig:
    return ViTConfig(
        dim=dim,
        depth=depth,
        heads=heads,
        mlp_hidden=4 * dim,
        mlp="swiglu",
        norm="rms",
        position="rotary",
        class_token=True,
        registers=8,
        qk_norm=True,
        full_attention_ends=8,
        layer_scale=1e-4,
        window=window,
    )


def _own(dim: int, depth: int, heads: int, mlp_hidden: int) -> ViTConfig:
    return ViTConfig(
        dim=dim,
        depth=depth,
        heads=heads,
        mlp_hidden=mlp_hidden,
        mlp="swiglu",
        norm="rms",
        position="rotary",
        rotary_dtype="float32",
        grid=(16, 12),
        qk_norm=True,
        stem="conv",
    )


SIZES: Mapping[str, ViTConfig] = {
    # First generation as finetuned, see `pretraining_form`.
    "0.3b": _first(1024, 24, 16),
    "0.6b": _first(1280, 32, 16),
    "1b": _first(1536, 40, 24),
    "2b": _first(1920, 48, 32),
    "sapiens2-0.1b": _second(768, 12, 12),
    "sapiens2-0.4b": _second(1024, 24, 16),
    "sapiens2-0.8b": _second(1280, 32, 16),
    "sapiens2-1b": _second(1536, 40, 24),
    "sapiens2-1b-4k": _second(1536, 40, 24, WindowConfig(size=4, depth=4)),
    "sapiens2-5b": _second(2432, 56, 32),
    # Ours, for a CPU: 1.1, 3.0, 5.3 and 22 million weights.
    "nano": _own(128, 5, 4, 352),
    # A learned table: among few tokens it learned points sooner than angles did (docs/log.md).
    "mini": replace(_own(192, 6, 3, 512), position="learned"),
    "tiny": _own(256, 6, 4, 704),
    "small": _own(384, 12, 6, 1024),
}


def pretraining_form(size: str) -> ViTConfig:
    """Return a size as it is pretrained.

    The published first generation then has a class token and a 64×64 grid (1024×1024 pixels);
    every other size is pretrained as it is used.
    """
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    config = SIZES[size]
    if config.position == "learned" and config.stem == "patch":
        return replace(config, class_token=True, grid=(64, 64))
    return config
