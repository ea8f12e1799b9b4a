# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum whose matrices are made orthogonal, and AdamW for all that is no matrix.

A step of a matrix is its momentum with all singular values near 1, so directions with small slopes
move as far as those with large ones (Jordan et al. 2024, "Muon: an optimizer for hidden layers in
neural networks"). Steps are scaled to the size AdamW's have (Liu et al. 2025, arXiv 2502.16982),
hence one learning rate and decay for both. Convolutions count as matrices of (outputs, the rest).
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.adamw import adamw

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of X → a X + b (X Xᵀ) X + c (X Xᵀ)² X: singular values tend to about 1 (Jordan)."""
_ITERATIONS = 3
"""Instead of Jordan's 5 [V]: nearly as good after 1,600 windows, for two thirds of the time."""
_ADAM_RMS = 0.2
"""Root mean square of a usual step of AdamW at learning rate 1 (arXiv 2502.16982)."""
_NARROWEST = 8
"""Tensors with fewer rows or columns are left to AdamW."""


def is_matrix(parameter: Tensor) -> bool:
    """Tell whether a weight is a matrix worth making orthogonal."""
    if parameter.ndim < 2 or not parameter.numel():
        return False
    rows = len(parameter)
    return min(rows, parameter.numel() // rows) >= _NARROWEST


def orthogonal(matrices: Tensor, iterations: int = _ITERATIONS) -> Tensor:
    """Return about the nearest matrices with orthonormal rows or columns, the fewer of the two.

    Newton-Schulz iterations, few of them: large singular values end between about 0.7 and 1.2, and
    those below a thousandth of the norm still smaller.

    Args:
        matrices: (N, rows, columns), float32.
        iterations: how many.
    """
    a, b, c = _QUINTIC
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for groups with ``matrix`` true, AdamW for the others.

    Processes that train together (DDP) make a share of the matrices orthogonal each, and exchange
    the results, which are therefore the same bits everywhere.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """Take groups with ``lr``, ``weight_decay`` and ``matrix``.

        Args:
            groups: of parameters.
            momentum: decay of the mean slope of matrices; Nesterov's.
            betas: AdamW's.
            eps: AdamW's.
        """
        defaults = {"momentum": momentum, "betas": betas, "eps": eps, "matrix": False}
        super().__init__(groups, {**defaults, "lr": 1e-3, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move all parameters that have a slope.

        Args:
            closure: not supported.
        """
        assert closure is None
        turned: list[tuple[Tensor, Tensor, float, float]] = []
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not group["matrix"]:
                self._adamw(parameters, group)
                continue
            for parameter in parameters:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                mean = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(mean, group["momentum"])
                turned.append((parameter, ahead.flatten(1), group["lr"], group["weight_decay"]))
        steps = self._orthogonal([ahead for _, ahead, _, _ in turned])
        for (parameter, _, lr, decay), step in zip(turned, steps, strict=True):
            size = _ADAM_RMS * math.sqrt(max(step.shape))
            parameter.mul_(1 - lr * decay).add_(step.view_as(parameter), alpha=-lr * size)

    def _orthogonal(self, matrices: list[Tensor]) -> list[Tensor]:
        """Turn all matrices, each process its share of every shape, equal shapes at once."""
        world = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if dist.is_initialized() else 0
        alike: dict[torch.Size, list[int]] = {}
        for i, matrix in enumerate(matrices):
            alike.setdefault(matrix.shape, []).append(i)
        found = [torch.zeros_like(matrix) for matrix in matrices]
        first = 0  # so that shapes there is one of do not all fall to the first process
        for places in alike.values():
            mine = places[(rank - first) % world :: world]
            first += len(places)
            if mine:
                turned = orthogonal(torch.stack([matrices[i] for i in mine]))
                for i, matrix in zip(mine, turned, strict=True):
                    found[i] = matrix
        if world > 1:
            flat = torch.cat([matrix.flatten() for matrix in found])
            dist.all_reduce(flat)  # each matrix is zero everywhere but at one process
            parts = flat.split([matrix.numel() for matrix in found])
            found = [part.view_as(m) for part, m in zip(parts, found, strict=True)]
        return found

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            [s["step"] for s in states],
            amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
        )  # fmt: skip
