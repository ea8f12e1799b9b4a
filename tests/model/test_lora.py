# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from test_vit import OWN, SHORT

from vitruvian.errors import InputError
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.lora import LoRAConfig, LoRALinear, add_lora, freeze_backbone, merged
from vitruvian.model.network import Network, NetworkConfig

CONFIG = LoRAConfig(rank=2, alpha=3.0)


def network(backbone=OWN) -> Network:
    torch.manual_seed(0)
    head = DenseHeadConfig(in_dim=backbone.dim, out=3, widths=(8,))
    return Network(NetworkConfig(backbone=backbone, heads={"depth": head}))


def learning(net: Network) -> set[str]:
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def test_only_heads_learn_on_a_frozen_backbone() -> None:
    net = network()
    freeze_backbone(net)
    assert learning(net) == {n for n, _ in net.named_parameters() if n.startswith("heads.")}


@pytest.mark.parametrize("backbone", [OWN, SHORT], ids=["own", "second"])
def test_additions_begin_at_nothing_learn_and_merge(backbone) -> None:
    net, x = network(backbone), torch.rand(2, 3, 64, 48)
    before = net(x)["depth"]
    plain = {name: value.clone() for name, value in net.state_dict().items()}
    add_lora(net, CONFIG)
    assert torch.equal(net(x)["depth"], before)
    names = {n for n in learning(net) if not n.startswith("heads.")}
    assert len(names) == 2 * 4 * backbone.depth
    assert all(".lora_" in name for name in names)
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):
        optimiser.zero_grad()
        net(x)["depth"].square().mean().backward()
        optimiser.step()
    after = net(x)["depth"]
    assert (after - before).abs().max() > 1e-3
    whole = merged(net.state_dict(), CONFIG)
    other = network(backbone)
    other.load_state_dict(whole, strict=True)
    assert torch.allclose(other(x)["depth"], after, atol=1e-5)
    for name, value in plain.items():
        if name.startswith("backbone.") and ".weight" not in name:
            assert torch.equal(whole[name], value), name
    changed = {n for n in plain if n.startswith("backbone.") and not plain[n].equal(whole[n])}
    assert len(changed) == 4 * backbone.depth


def test_layers_and_bad_settings() -> None:
    net = network()
    add_lora(net, CONFIG)
    module = net.backbone.blocks[1].attn.qkv  # pyright: ignore
    assert isinstance(module, LoRALinear)
    assert net.layer_id("backbone.blocks.1.attn.qkv.lora_up") == 2
    with pytest.raises(InputError, match="already"):
        add_lora(net, CONFIG)
    with pytest.raises(InputError, match="wanted at most"):
        add_lora(network(), replace(CONFIG, rank=10_000))
    with pytest.raises(InputError, match="above 0"):
        LoRAConfig(rank=0)
