# SPDX-License-Identifier: Apache-2.0
"""Networks: one vision transformer, its pretraining, and its heads. Knows torch, not people.

The public names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitruvian.model.heads import DenseHead, DenseHeadConfig, ScaleHead, ScaleHeadConfig
    from vitruvian.model.mae import MAE, MAEConfig
    from vitruvian.model.network import Network, NetworkConfig
    from vitruvian.model.vit import SIZES, ViT, ViTConfig
    from vitruvian.model.weights import load, load_mae, load_network, save

__all__ = [
    "MAE",
    "SIZES",
    "DenseHead",
    "DenseHeadConfig",
    "MAEConfig",
    "Network",
    "NetworkConfig",
    "ScaleHead",
    "ScaleHeadConfig",
    "ViT",
    "ViTConfig",
    "load",
    "load_mae",
    "load_network",
    "save",
]

_HOMES = {
    "heads": ("DenseHead", "DenseHeadConfig", "ScaleHead", "ScaleHeadConfig"),
    "mae": ("MAE", "MAEConfig"),
    "network": ("Network", "NetworkConfig"),
    "vit": ("SIZES", "ViT", "ViTConfig"),
    "weights": ("load", "load_mae", "load_network", "save"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"vitruvian.model.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
