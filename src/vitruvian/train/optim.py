# SPDX-License-Identifier: Apache-2.0
"""AdamW with layer-wise decay, as the published recipes set it up, Muon, and gradient clipping.

A network of N blocks has layers 0 (embeddings) to N + 1 (final norm and heads); the learning rate
of layer ``id`` is multiplied by ``layer_decay ** (N + 1 - id)``. Not decayed are 1-D tensors,
biases and position tables; in pretraining the class, register and mask tokens neither. Sources:
the code published for Sapiens and Sapiens2 (finetuning of both generations decays the tokens).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vitruvian.errors import InputError
from vitruvian.train.muon import Muon, is_matrix

_POSITIONS = "pos_embed"
_TOKENS = ("class_token", "register_tokens", "mask_token", "window.token")


@runtime_checkable
class Layered(Protocol):
    """A network that knows how deep each of its weights lies."""

    def layer_id(self, name: str) -> int:
        """Return 0 for embeddings, i + 1 for block i, blocks + 1 for what comes behind."""
        ...


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Settings of the optimiser; the defaults are those of every published finetuning.

    Args:
        kind: "adamw" as published, or "muon" for matrices and AdamW for the rest (``train.muon``),
            which learns from fewer samples at a higher cost of each step.
        lr: learning rate of the deepest layer, before the schedule.
        betas: decay of the two running means; (0.9, 0.95) in pretraining.
        eps: added to the denominator.
        weight_decay: of every tensor that is not excluded; 0.05 in pretraining.
        layer_decay: factor of the learning rate per layer towards the input; 1 for none.
        decay_tokens: decay class, register, mask and window tokens too: as published True in
            finetuning, False in pretraining.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.1
    layer_decay: float = 1.0
    decay_tokens: bool = True

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.eps > 0 and self.weight_decay >= 0):
            raise InputError(
                f"lr {self.lr}, eps {self.eps}, weight decay {self.weight_decay} · wanted a "
                "positive rate and eps, and a decay of 0 or more"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas {self.betas} · wanted two numbers from 0 to below 1")
        if not 0 < self.layer_decay <= 1:
            raise InputError(
                f"layer decay {self.layer_decay} · wanted above 0 and at most 1 (which is none)"
            )


def scaled_lr(lr: float, batch: int, *, per: int = 256) -> float:
    """Return a learning rate given per ``per`` samples, for a global ``batch`` (linear rule).

    Published pretraining: 1.5e-4 per 256.
    """
    return lr * batch / per


def decays(name: str, parameter: Tensor, config: OptimiserConfig) -> bool:
    """Tell whether weight decay applies to a parameter; see the module text."""
    if parameter.ndim <= 1 or name.endswith((".bias", _POSITIONS)):
        return False
    return config.decay_tokens or not name.endswith(_TOKENS)


def _is_table(name: str) -> bool:
    """Tell whether a weight holds a vector per position or token, and is no map between spaces."""
    return name.endswith((_POSITIONS, *_TOKENS))


def parameter_groups(network: nn.Module, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Return the groups of the optimiser: trainable parameters of equal rate and decay together.

    Each group holds ``params``, their ``names``, ``lr_scale``, ``lr`` (= ``config.lr`` times the
    scale), ``weight_decay`` and, for Muon, ``matrix``. Frozen parameters are left out.

    Args:
        network: not wrapped (for DDP, what is inside); must be ``Layered`` for a layer decay.
        config: see there.

    Raises:
        InputError: a layer decay for a network that does not say its layers, or nothing to train.
    """
    trainable = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    if not trainable:
        raise InputError("nothing to train: every parameter is frozen · unfreeze a head or blocks")
    layers = dict.fromkeys((name for name, _ in trainable), 0)
    if config.layer_decay != 1:
        if not isinstance(network, Layered):
            raise InputError(
                f"layer decay {config.layer_decay} for a {type(network).__name__}, which has no "
                "layer_id(name) · use layer_decay=1, or add that method"
            )
        layers = {name: network.layer_id(name) for name in layers}
    # From all parameters: with a frozen head the final layer still counts from the full depth.
    last = 0
    if isinstance(network, Layered) and config.layer_decay != 1:
        last = max(network.layer_id(name) for name, _ in network.named_parameters())
    groups: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        matrix = config.kind == "muon" and is_matrix(parameter) and not _is_table(name)
        key = (layers[name], decays(name, parameter, config), matrix)
        if key not in groups:
            scale = config.layer_decay ** (last - key[0])
            groups[key] = {
                "params": [],
                "names": [],
                "lr_scale": scale,
                "lr": config.lr * scale,
                "weight_decay": config.weight_decay if key[1] else 0.0,
            }
            if config.kind == "muon":
                groups[key]["matrix"] = matrix
        groups[key]["params"].append(parameter)
        groups[key]["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def build_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Return AdamW, fused on a GPU, or Muon over ``parameter_groups``.

    Raises:
        InputError: see ``parameter_groups``; or Muon for weights that are spread over processes.
    """
    groups = parameter_groups(network, config)
    parameters = [p for group in groups for p in group["params"]]
    if config.kind == "muon":
        if any(isinstance(p, DTensor) for p in parameters):
            raise InputError(
                "muon with parallel='fsdp' · wanted whole matrices on every process · use "
                "--parallel ddp, or --set loop.optimiser.kind=adamw"
            )
        return Muon(groups, betas=config.betas, eps=config.eps)
    fused = all(p.device.type == "cuda" for p in parameters)
    return torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=fused or None)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of ``lr``, the rate of the deepest layer."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_scale"]


def clip_gradients(parameters: Iterable[Tensor], limit: float | None) -> Tensor:
    """Scale all gradients so that their common L2 norm is at most ``limit``.

    Returns the norm before (a scalar, of all shards together); ``None`` only measures.
    """
    norm = nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
    # A sharded network's norm is a distributed tensor.
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
