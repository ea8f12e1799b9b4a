# SPDX-License-Identifier: Apache-2.0
"""A moving average of the weights (EMA), for evaluation and for the final file."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vitruvian.errors import InputError


class Average:
    """Exponential moving average of all trainable parameters of a network.

    ``average = decay * average + (1 - decay) * weight`` after every optimiser step. In the first
    steps the decay is (1 + n) / (10 + n) where that is smaller, so the start is forgotten early.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the current weights of a network (not wrapped)."""
        if not 0 < decay < 1:
            raise InputError(f"moving average of decay {decay} · wanted between 0 and 1")
        self.decay = decay
        self._weights = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.tensors: dict[str, Tensor] = {n: p.detach().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number ``step``, from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.tensors[name].lerp_(weight.detach(), share)

    @contextmanager
    def in_place(self) -> Generator[None, None, None]:
        """Put the average into the network for the length of a block."""
        kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._copy(self.tensors)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, tensors: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(tensors[name])
