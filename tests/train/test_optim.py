# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from vitruvian.errors import InputError
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.names import Layout, our_shapes
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.train.optim import (
    OptimiserConfig,
    build_optimiser,
    clip_gradients,
    decays,
    parameter_groups,
    scaled_lr,
    set_lr,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "layer_decay.json").read_text())
TINY = ViTConfig(dim=8, depth=3, heads=2, mlp_hidden=16, grid=(2, 2))


def tiny(**changes: object) -> Network:
    head = DenseHeadConfig(in_dim=8, out=4, widths=(4,), refine=(4,), upsample="deconv")
    backbone = ViTConfig.from_dict(TINY.to_dict() | changes)
    return Network(NetworkConfig(backbone=backbone, heads={"parts": head}))


def ours(published: str) -> str:
    shape = (1,) if published.endswith("bias") else (1, 1)
    (name,) = our_shapes(Layout(dialect="sapiens", task="parts"), {published: shape})
    return name


def test_groups_equal_the_published_ones() -> None:
    config = OptimiserConfig(
        lr=GOLDEN["base_lr"],
        weight_decay=GOLDEN["base_weight_decay"],
        layer_decay=GOLDEN["layer_decay_rate"],
    )
    network = tiny()
    found = {
        name: (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(network, config)
        for name in group["names"]
    }
    assert network.config.backbone.depth == GOLDEN["num_layers"]
    for row in GOLDEN["params"]:
        name = ours(row["param"])
        assert found[name] == pytest.approx((row["lr_scale"], row["weight_decay"])), name
    assert found.keys() == {n for n, _ in network.named_parameters()}
    assert len(GOLDEN["params"]) == len(found)


def test_tokens_decay_in_finetuning_and_not_in_pretraining() -> None:
    network = tiny(class_token=True, registers=2)
    finetune, pretrain = OptimiserConfig(lr=1), OptimiserConfig(lr=1, decay_tokens=False)
    weights = dict(network.named_parameters())
    for name in ("backbone.class_token", "backbone.register_tokens"):
        assert decays(name, weights[name], finetune)
        assert not decays(name, weights[name], pretrain)
    mask = torch.zeros(1, 1, 8)
    assert decays("decoder.mask_token", mask, finetune)
    assert not decays("decoder.mask_token", mask, pretrain)
    assert not decays("backbone.pos_embed", weights["backbone.pos_embed"], finetune)


def test_frozen_parameters_are_left_out_and_depth_stays() -> None:
    network = tiny()
    network.heads.requires_grad_(False)
    network.backbone.norm.requires_grad_(False)
    groups = parameter_groups(network, OptimiserConfig(lr=1, layer_decay=0.5))
    assert max(g["lr_scale"] for g in groups) == 0.5
    assert not any(n.startswith("heads") for g in groups for n in g["names"])
    with pytest.raises(InputError, match="nothing to train"):
        parameter_groups(network.requires_grad_(False), OptimiserConfig(lr=1))


def test_a_pretraining_network_needs_no_layers() -> None:
    mae = MAE(TINY, MAEConfig(decoder_dim=8, decoder_depth=1, decoder_heads=2))
    names = [n for g in parameter_groups(mae, OptimiserConfig(lr=1)) for n in g["names"]]
    assert "encoder.pos_embed" not in names, "fixed in pretraining"
    with pytest.raises(InputError, match="layer_id"):
        parameter_groups(mae, OptimiserConfig(lr=1, layer_decay=0.9))


def test_rates_follow() -> None:
    optimiser = build_optimiser(tiny(), OptimiserConfig(lr=1e-3, layer_decay=0.5))
    set_lr(optimiser, 1.0)
    assert {g["lr"] for g in optimiser.param_groups} == {1, 0.5, 0.25, 0.125, 0.0625}
    assert scaled_lr(1.5e-4, 98_304) == pytest.approx(0.0576)
    assert scaled_lr(1.5e-4, 20_480) == pytest.approx(0.012)


def test_clipping() -> None:
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([p], None) == 5
    assert p.grad.tolist() == [3, 4]
    assert clip_gradients([p], 1.0) == 5
    torch.testing.assert_close(p.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0}, {"lr": 1, "betas": (0.9, 1)}, {"lr": 1, "layer_decay": 0}]
)
def test_wrong_settings(wrong: dict) -> None:
    with pytest.raises(InputError, match="wanted"):
        OptimiserConfig(**wrong)
