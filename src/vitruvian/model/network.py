# SPDX-License-Identifier: Apache-2.0
"""A network: one vision transformer and any number of heads, each with a name.

Our own small networks put a neck in between, which enlarges the feature map once for all heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from vitruvian.errors import InputError, unknown_name
from vitruvian.model.heads import (
    DenseHead,
    DenseHeadConfig,
    HeadConfig,
    ScaleHeadConfig,
    build_head,
)
from vitruvian.model.vit import ViT, ViTConfig, layer_id

_KINDS: Mapping[str, type[DenseHeadConfig] | type[ScaleHeadConfig]] = {
    "dense": DenseHeadConfig,
    "scale": ScaleHeadConfig,
}
_FIELDS = ("backbone", "neck", "heads")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that decides the weights of a ``Network``.

    Attributes:
        backbone: the transformer.
        heads: by name; they read the neck's result, or else the backbone's.
        neck: upsampling that the heads share, or ``None``.
    """

    backbone: ViTConfig
    heads: Mapping[str, HeadConfig] = field(default_factory=dict)
    neck: DenseHeadConfig | None = None

    def __post_init__(self) -> None:
        if self.neck is not None and self.neck.in_dim != self.backbone.dim:
            raise InputError(
                f"a neck for features of {self.neck.in_dim} channels · wanted "
                f"{self.backbone.dim}, the width of the backbone"
            )
        finer = self.backbone.finer
        skips = () if self.neck is None else self.neck.skips
        if skips != finer[: len(skips)]:
            raise InputError(
                f"a neck that maps of {skips} channels join · wanted the first of {finer}, the "
                "finer maps of the backbone's stem"
            )
        before = "neck" if self.neck else "backbone"
        width = self.neck.out if self.neck else self.backbone.dim
        for name, head in self.heads.items():
            if isinstance(head, DenseHeadConfig) and head.skips:
                raise InputError(f"head {name!r} with skips · wanted them in the neck alone")
            if head.in_dim != width:
                raise InputError(
                    f"head {name!r} for features of {head.in_dim} channels · wanted "
                    f"{width}, the width of the {before}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values; each head says its kind."""
        kinds = {cls: kind for kind, cls in _KINDS.items()}
        heads = {n: {"kind": kinds[type(h)], **h.to_dict()} for n, h in self.heads.items()}
        neck = {"neck": self.neck.to_dict()} if self.neck else {}
        return {"backbone": self.backbone.to_dict(), **neck, "heads": heads}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``'s result; unknown keys and wrong types raise ``InputError``."""
        _check_mapping(data)
        _check_mapping(data.get("heads", {}))
        for key in data:
            if key not in _FIELDS:
                raise unknown_name("field of NetworkConfig", str(key), _FIELDS)
        if "backbone" not in data:
            raise InputError("NetworkConfig: no backbone given · wanted the fields of a ViTConfig")
        heads = {}
        for name, fields in data.get("heads", {}).items():
            _check_mapping(fields)
            kind = fields.get("kind")
            if kind not in _KINDS:
                raise unknown_name("kind of head", str(kind), _KINDS)
            rest = {k: v for k, v in fields.items() if k != "kind"}
            heads[name] = _KINDS[kind].from_dict(rest)
        neck = None if data.get("neck") is None else DenseHeadConfig.from_dict(data["neck"])
        return cls(backbone=ViTConfig.from_dict(data["backbone"]), heads=heads, neck=neck)


class Network(nn.Module):
    """One ``ViT`` and its heads; the state dict is ``backbone.…``, ``heads.{name}.…``, ``neck.…``.

    Building under ``torch.device("meta")`` costs no memory; fill it with
    ``load_state_dict(weights, assign=True)``.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ViT(config.backbone)
        self.neck = None if config.neck is None else DenseHead(config.neck)
        self.heads = nn.ModuleDict({name: build_head(head) for name, head in config.heads.items()})

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every weight its starting value (the table is in ``initialise``)."""
        self.backbone.reset_parameters()
        if self.neck is not None:
            self.neck.reset_parameters()
        for head in self.heads.values():
            head.reset_parameters()  # pyright: ignore[reportCallIssue]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what heads read, (B, D, rows, columns), of normalised pictures (B, 3, H, W)."""
        if self.neck is not None and self.neck.config.skips:
            features, finer = self.backbone.pyramid(images)
            return self.neck(features, finer)
        features = self.backbone.features(images)
        return features if self.neck is None else self.neck(features)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the raw result of every head for normalised pictures (B, 3, H, W).

        Raises:
            InputError: not a float batch, a size that is no multiple of the stride (16, or 64
                for the 4K model), or a size that a scale head cannot take.
        """
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    def layer_id(self, name: str) -> int:
        """Return the layer of a weight by its name here, see ``vit.layer_id``; the rest is last."""
        depth = self.config.backbone.depth
        inside = name.removeprefix("backbone.")
        return layer_id(inside, depth) if inside != name else depth + 1


def _check_mapping(value: object) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"NetworkConfig: given {value!r} · wanted a mapping of fields")
