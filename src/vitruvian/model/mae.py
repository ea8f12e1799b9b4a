# SPDX-License-Identifier: Apache-2.0
"""Masked pretraining: hide most patches, encode the rest, predict the hidden pixels.

Shapes: N tokens per picture, listed row by row; a token covers a square of s × s pixels (16, or
64 in the 4K model) and its P = s * s * 3 values are ordered (row, column, channel). Sources:
masked autoencoders, arXiv 2111.06377; Sapiens, arXiv 2408.12569, section 3.2; the published code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vitruvian.errors import InputError
from vitruvian.model import initialise
from vitruvian.model.block import Block, norm_layer
from vitruvian.model.config import from_plain, to_plain
from vitruvian.model.layers import Linear
from vitruvian.model.position import Grid, resize_table, sine_cosine_table
from vitruvian.model.vit import ViT, ViTConfig


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """The decoder and the objective of masked pretraining; defaults as published for all sizes.

    Args:
        decoder_dim: width of a token in the decoder.
        decoder_depth: its blocks (LayerNorm, GELU, perceptron four times as wide).
        decoder_heads: their attention heads.
        mask_ratio: share of the tokens that is hidden, from 0 to below 1.
        norm_pixels: predict pixels normalised by the mean and deviation of their own patch.
    """

    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    mask_ratio: float = 0.75
    norm_pixels: bool = True

    def __post_init__(self) -> None:
        if self.decoder_depth < 1 or self.decoder_heads < 1 or self.decoder_dim < 4:
            raise InputError(f"{self} · wanted a decoder of at least one block and one head")
        if self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise InputError(
                f"MAEConfig: decoder_dim {self.decoder_dim} with {self.decoder_heads} heads · "
                "wanted a multiple of the heads and of 4"
            )
        _check_ratio(self.mask_ratio)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result; unknown keys and wrong types raise ``InputError``."""
        return from_plain(cls, data)


class Mask(NamedTuple):
    """Which tokens are seen.

    keep: (B, M) indices of the visible tokens, in shuffled order. hidden: (B, N) float, 1 where
    hidden. restore: (B, N) place of each token in "visible, then hidden" order.
    """

    keep: torch.Tensor
    hidden: torch.Tensor
    restore: torch.Tensor


class MAEOutput(NamedTuple):
    """What one pass of ``MAE`` returns.

    loss: scalar. prediction, target: (B, N, P), normalised where the configuration says so.
    mask: see ``Mask``. latent: (B, prefix + M, D), the encoder's output.
    """

    loss: torch.Tensor
    prediction: torch.Tensor
    target: torch.Tensor
    mask: Mask
    latent: torch.Tensor


def random_mask(noise: torch.Tensor, ratio: float) -> Mask:
    """Hide ``ratio`` of the tokens: those of the largest ``noise`` (B, N), sample by sample.

    ``int(N * (1 - ratio))`` tokens stay visible, in the order of their noise.
    """
    _check_ratio(ratio)
    count = noise.shape[1]
    visible = int(count * (1 - ratio))
    if visible < 1:
        raise InputError(f"mask ratio {ratio} of {count} tokens leaves none · wanted a lower ratio")
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    hidden = (restore >= visible).to(torch.float32)
    return Mask(keep=order[:, :visible], hidden=hidden, restore=restore)


def patchify(images: torch.Tensor, side: int) -> torch.Tensor:
    """Cut pictures (B, C, H, W) into squares: (B, N, side * side * C), row, column, channel."""
    batch, channels, height, width = images.shape
    squares = images.reshape(batch, channels, height // side, side, width // side, side)
    return squares.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, side * side * channels)


def unpatchify(patches: torch.Tensor, grid: Grid, side: int) -> torch.Tensor:
    """Undo ``patchify``: (B, N, side * side * C) to (B, C, rows * side, columns * side)."""
    batch, _, values = patches.shape
    rows, columns = grid
    squares = patches.reshape(batch, rows, columns, side, side, values // side**2)
    return squares.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, rows * side, columns * side)


def patch_statistics(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation (B, N, 1) of each patch; the deviation is sqrt(variance + 1e-6).

    The variance is unbiased (divided by P - 1), as published.
    """
    mean = patches.mean(-1, keepdim=True)
    return mean, (patches.var(-1, keepdim=True, unbiased=True) + 1e-6).sqrt()


def masked_loss(
    prediction: torch.Tensor, target: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Return the squared error averaged over a patch, then over all hidden patches of the batch."""
    error = (prediction.float() - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)


class Decoder(nn.Module):
    """Light transformer from visible tokens to the pixels of all patches."""

    def __init__(self, encoder: ViTConfig, config: MAEConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.encoder = encoder
        self.checkpointing = False
        self.embed = Linear(encoder.dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        rows = int(encoder.class_token) + encoder.grid[0] * encoder.grid[1]
        self.pos_embed = nn.Parameter(torch.empty(1, rows, dim), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(dim, config.decoder_heads, 4 * dim) for _ in range(config.decoder_depth)
        )
        self.norm = norm_layer("layer", dim)
        self.predict = Linear(dim, encoder.stride**2 * encoder.channels)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        initialise.initialise_transformer(self, xavier=True)
        initialise.initialise_tokens(self.mask_token, cut=False)
        dim = self.mask_token.shape[-1]
        c = self.encoder
        self.pos_embed.copy_(sine_cosine_table(dim, c.grid, class_row=c.class_token))

    def forward(self, latent: torch.Tensor, restore: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Predict (B, N, P) from the encoder's (B, prefix + M, D)."""
        prefix = self.encoder.prefix
        x = self.embed(latent)
        batch, _, dim = x.shape
        hidden = restore.shape[1] - (x.shape[1] - prefix)
        patches = torch.cat([x[:, prefix:], self.mask_token.expand(batch, hidden, -1)], 1)
        patches = patches.gather(1, restore[:, :, None].expand(-1, -1, dim))
        table = resize_table(self.pos_embed, self.encoder.grid, grid)
        # The class row of the table is zero, and registers have none: prefix tokens stay as is.
        patches = patches + table[:, int(self.encoder.class_token) :]
        x = torch.cat([x[:, :prefix], patches], 1)
        save = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if save else block(x)
        return self.predict(self.norm(x))[:, prefix:]


class MAE(nn.Module):
    """Masked autoencoder around a ``ViT``; the state dict is ``encoder.…`` and ``decoder.…``.

    The position tables of encoder and decoder stay fixed. A convolutional stem sees beyond its
    patch, so hidden pixels are then set to zero in the picture too.
    """

    def __init__(self, encoder: ViTConfig, config: MAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or MAEConfig()
        self.encoder = ViT(encoder)
        self.decoder = Decoder(encoder, self.config)
        if encoder.position == "learned":
            self.encoder.pos_embed.requires_grad_(False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        self.encoder.reset_parameters()
        self.decoder.reset_parameters()

    def mask(
        self,
        images: torch.Tensor,
        *,
        mask_ratio: float | None = None,
        noise: torch.Tensor | None = None,
    ) -> Mask:
        """Draw a mask for pictures (B, C, H, W), or make it from ``noise`` (B, N)."""
        ratio = self.config.mask_ratio if mask_ratio is None else mask_ratio
        step = self.encoder.config.stride
        shape = (images.shape[0], (images.shape[2] // step) * (images.shape[3] // step))
        if noise is None:
            noise = torch.rand(shape, device=images.device)
        elif tuple(noise.shape) != shape:
            raise InputError(f"noise of shape {tuple(noise.shape)} · wanted {shape}, one per token")
        return random_mask(noise, ratio)

    def target(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is to be predicted for pictures (B, C, H, W): (B, N, P), float32."""
        patches = patchify(images.float(), self.encoder.config.stride)
        if not self.config.norm_pixels:
            return patches
        mean, deviation = patch_statistics(patches)
        return (patches - mean) / deviation

    def forward(
        self,
        images: torch.Tensor,
        *,
        mask_ratio: float | None = None,
        noise: torch.Tensor | None = None,
    ) -> MAEOutput:
        """Encode what is visible, predict everything, and compare what was hidden.

        Args:
            images: (B, C, H, W), normalised, sides multiples of the stride.
            mask_ratio: share of hidden tokens for this call; the configured one by default.
            noise: (B, N), decides the mask; drawn uniformly by default.
        """
        mask = self.mask(images, mask_ratio=mask_ratio, noise=noise)
        c = self.encoder.config
        seen = images
        if c.stem == "conv":
            grid = (images.shape[2] // c.stride, images.shape[3] // c.stride)
            visible = 1 - mask.hidden.reshape(-1, 1, *grid).to(images.dtype)
            seen = images * visible.repeat_interleave(c.stride, 2).repeat_interleave(c.stride, 3)
        tokens, grid = self.encoder.tokens(seen)
        latent = self.encoder.encode(tokens, grid, mask.keep)
        prediction = self.decoder(latent, mask.restore, grid)
        target = self.target(images)
        loss = masked_loss(prediction, target, mask.hidden)
        return MAEOutput(loss, prediction, target, mask, latent)

    @torch.no_grad()
    def picture(
        self, prediction: torch.Tensor, images: torch.Tensor, hidden: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Turn predictions (B, N, P) back into normalised pictures like ``images`` (B, C, H, W).

        Normalised pixels get the mean and deviation of the true patch back, which shows structure
        but not that the colour was guessed. With ``hidden`` (B, N), visible patches are those of
        ``images``.
        """
        side = self.encoder.config.stride
        grid = (images.shape[2] // side, images.shape[3] // side)
        truth = patchify(images.float(), side)
        patches = prediction.float()
        if self.config.norm_pixels:
            mean, deviation = patch_statistics(truth)
            patches = patches * deviation + mean
        if hidden is not None:
            patches = torch.where(hidden[:, :, None] > 0, patches, truth)
        return unpatchify(patches, grid, side)


def _check_ratio(ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise InputError(f"mask ratio {ratio} · wanted 0 or more and below 1")
