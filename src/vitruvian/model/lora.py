# SPDX-License-Identifier: Apache-2.0
"""Train less than everything: freeze a backbone, or learn low-rank additions to its matrices.

LoRA (arXiv 2106.09685): a frozen matrix W becomes W + alpha / rank · B A with B (out, rank) and A
(rank, in); only B and A learn. Merging adds the product to W, so that what is saved is a plain
network. Optimiser state and gradients shrink to the share that learns.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitruvian.errors import InputError
from vitruvian.model.block import Block
from vitruvian.model.layers import Linear
from vitruvian.model.network import Network

_DOWN, _UP = "lora_down", "lora_up"


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Low-rank additions to the four matrices of every transformer block.

    Args:
        rank: of each addition.
        alpha: the additions are multiplied by ``alpha / rank``.
    """

    rank: int = 16
    alpha: float = 32.0

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise InputError(f"LoRA of rank {self.rank}, alpha {self.alpha} · wanted both above 0")


class LoRALinear(Linear):
    """A frozen ``Linear`` plus a low-rank addition that learns and begins at zero."""

    def __init__(self, frozen: nn.Linear, config: LoRAConfig) -> None:
        """Take over the weights of ``frozen``."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = frozen.in_features, frozen.out_features
        self.weight, self.bias = frozen.weight, frozen.bias
        self.requires_grad_(False)
        self.factor = config.alpha / config.rank
        place = {"dtype": self.weight.dtype, "device": self.weight.device}
        self.lora_down = nn.Parameter(torch.empty(config.rank, self.in_features, **place))
        self.lora_up = nn.Parameter(torch.zeros(self.out_features, config.rank, **place))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        low = F.linear(F.linear(input, self.lora_down), self.lora_up)
        return super().forward(input) + self.factor * low


def freeze_backbone(network: Network) -> None:
    """Let only the heads of a network learn."""
    network.backbone.requires_grad_(False)


def add_lora(network: Network, config: LoRAConfig) -> None:
    """Freeze the backbone of a network and add low-rank matrices to its blocks, in place.

    The outputs are the same as before. Heads go on learning whole; the window stage of the 4K model
    stays frozen.

    Raises:
        InputError: it has them already, or no ranks that low.
    """
    if any(isinstance(module, LoRALinear) for module in network.modules()):
        raise InputError("the network has LoRA matrices already · merge them first")
    if config.rank > network.config.backbone.dim:
        raise InputError(
            f"LoRA of rank {config.rank} · wanted at most {network.config.backbone.dim}, the width "
            "of the backbone"
        )
    freeze_backbone(network)
    for block in network.backbone.blocks:
        assert isinstance(block, Block)
        for part, name in (
            (block.attn, "qkv"), (block.attn, "proj"), (block.mlp, "fc1"), (block.mlp, "fc2"),
        ):  # fmt: skip
            setattr(part, name, LoRALinear(getattr(part, name), config))


def merged(state: Mapping[str, Tensor], config: LoRAConfig) -> dict[str, Tensor]:
    """Return the weights of a plain network, given those of one with low-rank additions."""
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        owner, _, last = name.rpartition(".")
        if last in (_DOWN, _UP):
            continue
        if last == "weight" and f"{owner}.{_UP}" in state:
            up, down = state[f"{owner}.{_UP}"], state[f"{owner}.{_DOWN}"]
            low = up.float() @ down.float()
            value = (value.float() + config.alpha / config.rank * low).to(value.dtype)
        plain[name] = value
    return plain
