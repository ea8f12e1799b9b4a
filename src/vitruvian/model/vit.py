# SPDX-License-Identifier: Apache-2.0
"""One vision transformer for both generations of Sapiens and for small sizes of our own.

All differences between the generations are fields of ``ViTConfig``. Embedding (``tokens``) and
transformation (``encode``) are separate steps, so that masked pretraining drops tokens in between.
Sources: Sapiens, arXiv 2408.12569, section 3; Sapiens2, arXiv 2604.21681; the published code.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vitruvian.errors import InputError
from vitruvian.model import initialise
from vitruvian.model.block import Block, Rotary, norm_layer
from vitruvian.model.layers import Conv2d
from vitruvian.model.position import Grid, resize_table, rotary_tables, sine_cosine_table
from vitruvian.model.sizes import SIZES, ViTConfig
from vitruvian.model.stem import ConvStem
from vitruvian.model.window import WindowStage

__all__ = ["SIZES", "ViT", "ViTConfig", "check_images", "layer_id"]


class ViT(nn.Module):
    """Vision transformer: pictures (B, C, H, W), normalised, to features (B, D, rows, columns).

    Set ``checkpointing`` to recompute each block (and each chunk of windows) in the backward pass
    instead of keeping its activations.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        c = config
        if c.stem == "conv":
            self.patch_embed = ConvStem(c.channels, c.stem_widths, c.dim)
        else:
            self.patch_embed = Conv2d(
                c.channels, c.dim, c.patch, stride=c.patch, padding=c.patch_padding
            )
        self.window = None
        if c.window is not None:
            self.window = WindowStage(
                c.window, dim=c.dim, heads=c.heads, mlp_hidden=c.mlp_hidden, norm=c.norm, mlp=c.mlp
            )
        if c.class_token:
            self.class_token = nn.Parameter(torch.empty(1, 1, c.dim))
        if c.registers:
            self.register_tokens = nn.Parameter(torch.empty(1, c.registers, c.dim))
        if c.position == "learned":
            rows = int(c.class_token) + c.grid[0] * c.grid[1]
            self.pos_embed = nn.Parameter(torch.empty(1, rows, c.dim))
        self.blocks = nn.ModuleList(
            Block(
                c.dim,
                c.heads,
                c.mlp_hidden,
                norm=c.norm,
                mlp=c.mlp,
                kv_heads=c.kv_heads(i),
                qk_norm=c.qk_norm,
                layer_scale=c.layer_scale,
            )
            for i in range(c.depth)
        )
        self.norm = norm_layer(c.norm, c.dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        c = self.config
        first = c.position == "learned"
        initialise.initialise_transformer(self, xavier=first)
        if isinstance(self.patch_embed, ConvStem):
            initialise.initialise_kaiming(self.patch_embed)
        else:
            initialise.initialise_patches(self.patch_embed, xavier=first)
        if c.class_token:
            initialise.initialise_tokens(self.class_token, cut=not first)
        if c.registers:
            initialise.initialise_tokens(self.register_tokens, cut=not first)
        if self.window is not None:
            initialise.initialise_tokens(self.window.token, self.window.pos_embed, cut=True)
        if first:
            table = sine_cosine_table(c.dim, c.grid, class_row=c.class_token)
            self.pos_embed.copy_(table)

    def tokens(self, images: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        """Embed pictures and add learned positions; no prefix tokens yet.

        Args:
            images: (B, C, H, W), normalised, H and W multiples of ``config.stride``; cast to the
                dtype of the weights.

        Returns:
            Tokens (B, rows * columns, D), row by row, and the grid (rows, columns).

        Raises:
            InputError: the shape or dtype is none of these.
        """
        return self._placed(self.patch_embed(self._checked(images)))

    def _checked(self, images: torch.Tensor) -> torch.Tensor:
        check_images(images, self.config)
        return images.to(next(self.patch_embed.parameters()).dtype)

    def _placed(self, embedded: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        """Put patches (B, D, rows, columns) in a row and add learned positions."""
        c = self.config
        grid = (embedded.shape[2], embedded.shape[3])
        x = embedded.flatten(2).transpose(1, 2)
        if self.window is not None:
            x, grid = self.window(x, grid, checkpointing=self.checkpointing)
        if c.position == "learned":
            x = x + resize_table(self.pos_embed, c.grid, grid)[:, int(c.class_token) :]
        return x, grid

    def encode(
        self, tokens: torch.Tensor, grid: Grid, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Put the prefix in front of (kept) tokens and run the blocks and the final norm.

        Args:
            tokens: (B, rows * columns, D) from ``tokens``.
            grid: (rows, columns).
            keep: (B, M) indices of the tokens to keep, in the order wanted; None keeps all.

        Returns:
            (B, prefix + M, D), normalised.
        """
        return self._run(tokens, grid, keep, layers=())[-1]

    def forward(
        self, images: torch.Tensor, *, layers: Sequence[int] | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the feature map (B, D, rows, columns) of pictures (B, C, H, W).

        With ``layers`` (0-based block numbers, negative from the end), a tuple of the maps behind
        those blocks, in that order; only the last block's map has the final norm applied, as in
        the published code.
        """
        x, grid = self.tokens(images)
        if layers is None:
            return self._map(self.encode(x, grid), grid)
        depth = self.config.depth
        wrong = [i for i in layers if not -depth <= i < depth]
        if wrong or not layers:
            raise InputError(f"layers {list(layers)} · wanted block numbers from 0 to {depth - 1}")
        wanted = [i % depth for i in layers]
        outputs = self._run(x, grid, None, layers=wanted)
        return tuple(self._map(outputs[i], grid) for i in wanted)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the normalised feature map (B, D, rows, columns) of pictures (B, C, H, W)."""
        x, grid = self.tokens(images)
        return self._map(self.encode(x, grid), grid)

    def pyramid(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return ``features`` and the maps of the convolutional stem, each twice as fine.

        Raises:
            InputError: a backbone that cuts pictures into patches at once.
        """
        if not isinstance(self.patch_embed, ConvStem):
            raise InputError("finer maps of a patch convolution · wanted stem='conv'")
        maps = self.patch_embed.maps(self._checked(images))
        x, grid = self._placed(self.patch_embed.project(maps[-1]))
        return self._map(self.encode(x, grid), grid), maps[-2::-1]

    def _run(
        self, x: torch.Tensor, grid: Grid, keep: torch.Tensor | None, *, layers: Sequence[int]
    ) -> dict[int, torch.Tensor]:
        """Run all blocks; return outputs of ``layers`` by number, the normalised last one as -1."""
        c = self.config
        rotary = self._rotary(grid, x.device, keep)
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, c.dim))
        x = torch.cat([*self._prefix(x), x], 1) if c.prefix else x
        outputs: dict[int, torch.Tensor] = {}
        save = self.checkpointing and torch.is_grad_enabled()
        for i, block in enumerate(self.blocks):
            if save:
                x = checkpoint(block, x, rotary, c.prefix, use_reentrant=False)
            else:
                x = block(x, rotary, c.prefix)
            if i in layers:
                outputs[i] = x
        outputs[-1] = self.norm(x)
        if c.depth - 1 in outputs:
            outputs[c.depth - 1] = outputs[-1]
        return outputs

    def _prefix(self, x: torch.Tensor) -> list[torch.Tensor]:
        c = self.config
        parts = []
        if c.class_token:
            token = self.class_token
            if c.position == "learned":
                token = token + self.pos_embed[:, :1]
            parts.append(token.expand(x.shape[0], -1, -1))
        if c.registers:
            parts.append(self.register_tokens.expand(x.shape[0], -1, -1))
        return parts

    def _rotary(self, grid: Grid, device: torch.device, keep: torch.Tensor | None) -> Rotary | None:
        c = self.config
        if c.position != "rotary":
            return None
        dtype = getattr(torch, c.rotary_dtype)
        cos, sin = rotary_tables(grid, c.dim // c.heads, c.rotary_base, dtype, device)
        return (cos, sin) if keep is None else (cos[keep][:, None], sin[keep][:, None])

    def _map(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        patches = x[:, self.config.prefix :]
        return patches.transpose(1, 2).reshape(x.shape[0], self.config.dim, *grid)


def check_images(images: torch.Tensor, config: ViTConfig) -> None:
    """Raise ``InputError`` unless ``images`` is a float batch this network can cut into patches."""
    if not isinstance(images, torch.Tensor):
        raise InputError(
            f"pictures as {type(images).__module__}.{type(images).__qualname__} · wanted a torch "
            f"tensor (batch, {config.channels}, height, width) · an array becomes one with "
            "torch.from_numpy(x)"
        )
    step = config.stride
    if images.ndim != 4 or images.shape[1] != config.channels:
        raise InputError(
            f"pictures of shape {tuple(images.shape)} · wanted (batch, {config.channels}, height, "
            "width) · add the batch axis with x[None], put channels first with permute"
        )
    if not images.is_floating_point():
        raise InputError(
            f"pictures of dtype {images.dtype} · wanted normalised floating-point values · "
            "subtract the mean and divide by the standard deviation first"
        )
    height, width = images.shape[2:]
    if height % step or width % step or height < step or width < step:
        up = [max(1, -(-int(s) // step)) * step for s in (height, width)]
        raise InputError(
            f"pictures of {height}×{width} pixels · wanted multiples of {step} · resize or pad to "
            f"{up[0]}×{up[1]}"
        )


def layer_id(name: str, depth: int) -> int:
    """Return the layer a weight of a ``ViT`` belongs to, for layer-wise learning-rate decay.

    0 for embeddings (patches, positions, class token, registers, window stage), i + 1 for block i,
    depth + 1 for the rest (the final norm, and anything behind the backbone).
    """
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    embedding = ("patch_embed.", "pos_embed", "class_token", "register_tokens", "window.")
    return 0 if name.startswith(embedding) else depth + 1
