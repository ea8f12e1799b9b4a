# SPDX-License-Identifier: Apache-2.0
"""Counts against sums written out by hand, torch's own counter, and published figures."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from test_vit import OWN, SHORT
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitruvian.model.flops import mae_flops, network_flops, peak_flops
from vitruvian.model.heads import DenseHeadConfig, ScaleHeadConfig
from vitruvian.model.lora import LoRAConfig, add_lora, freeze_backbone
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.sizes import SIZES, ViTConfig, pretraining_form
from vitruvian.model.window import WindowConfig

SIZE = (64, 48)
FIRST = ViTConfig(dim=16, depth=2, heads=2, mlp_hidden=64, grid=(4, 3), patch_padding=2)
WINDOWED = replace(SHORT, window=WindowConfig(size=2, depth=1))


def counted(work: Callable[[], Tensor]) -> tuple[int, int]:
    """Return what torch counts in the forward pass, and in forward and backward."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel of CPUs is not counted
        with FlopCounterMode(display=False) as forward:
            loss = work()
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


def compare(config: NetworkConfig, size: tuple[int, int], kind: str) -> None:
    """Hold our count of a network that learns as a whole, frozen or by additions to torch's."""
    network = Network(config)
    lora = LoRAConfig(rank=2, alpha=2) if kind == "lora" else None
    if lora:
        add_lora(network, lora)
    if kind == "frozen":
        freeze_backbone(network)
    x = torch.rand(1, 3, *size)
    found = network_flops(config, size, frozen=kind == "frozen", lora=lora)
    wanted = counted(lambda: torch.stack([y.mean() for y in network(x).values()]).sum())
    assert (found.forward, found.step) == wanted


def heads(dim: int) -> dict[str, DenseHeadConfig | ScaleHeadConfig]:
    return {
        "pose": DenseHeadConfig(in_dim=dim, out=5, widths=(8, 6), refine=(7, 9)),
        "normals": DenseHeadConfig(
            in_dim=dim, out=3, upsample="shuffle", stem=True, widths=(8,), refine=(6,),
            refine_kernel=3,
        ),
        "pointmap_scale": ScaleHeadConfig(in_dim=dim, widths=(8, 6), hidden=(5,), grid=(8, 6)),
    }  # fmt: skip


def nano_by_hand() -> tuple[int, int]:
    """A nano network (width 128, 5 blocks, SwiGLU 352) with a small head, on 64×48 pixels."""
    stem = 2 * (
        32 * 24 * 9 * 3 * 16  # 3 → 16 channels, half the size
        + 16 * 12 * 9 * 16 * 32
        + 8 * 6 * 9 * 32 * 64
        + 4 * 3 * 9 * 64 * 128
        + 4 * 3 * 128 * 128  # 1×1
    )
    block = 2 * 12 * (128 * 3 * 128 + 128 * 128 + 128 * 2 * 352 + 352 * 128)
    attention = 2 * (12 * 12 * 128 + 12 * 12 * 128)  # scores, then values
    head = 2 * (12 * 16 * 128 * 8 + 48 * 8 * 3)  # a 4×4 deconvolution, then 1×1
    forward = stem + 5 * (block + attention) + head
    picture = 2 * 32 * 24 * 9 * 3 * 16  # nobody needs the gradient of the pixels
    return forward, 3 * forward - picture


def test_nano_equals_a_count_by_hand() -> None:
    head = DenseHeadConfig(in_dim=128, out=3, widths=(8,))
    config = NetworkConfig(backbone=SIZES["nano"], heads={"depth": head})
    found = network_flops(config, SIZE)
    assert (found.forward, found.step) == nano_by_hand()
    network = Network(config)
    x = torch.rand(1, 3, *SIZE)
    assert (found.forward, found.step) == counted(lambda: network(x)["depth"].sum())


@pytest.mark.parametrize("kind", ["all", "frozen", "lora"])
@pytest.mark.parametrize(
    "backbone", [FIRST, SHORT, OWN, WINDOWED], ids=["first", "second", "own", "4k"]
)
def test_networks_equal_the_count_of_torch(backbone: ViTConfig, kind: str) -> None:
    size = (8 * backbone.stride, 6 * backbone.stride)
    compare(NetworkConfig(backbone=backbone, heads=heads(backbone.dim)), size, kind)


@pytest.mark.parametrize("kind", ["all", "frozen", "lora"])
@pytest.mark.parametrize("skips", [(), (16,), (16, 16)])
def test_necks_equal_the_count_of_torch(skips: tuple[int, ...], kind: str) -> None:
    neck = DenseHeadConfig(
        in_dim=32, out=10, widths=(8, 6), skips=skips, refine=(6,), refine_kernel=3
    )
    head = DenseHeadConfig(in_dim=10, out=3, widths=())
    config = NetworkConfig(backbone=OWN, neck=neck, heads={"depth": head, "normals": head})
    compare(config, SIZE, kind)


@pytest.mark.parametrize("encoder", [FIRST, SHORT, OWN], ids=["first", "second", "own"])
def test_pretraining_equals_the_count_of_torch(encoder: ViTConfig) -> None:
    decoder = MAEConfig(decoder_dim=12, decoder_depth=2, decoder_heads=3)
    mae = MAE(encoder, decoder)
    x = torch.rand(1, 3, *SIZE)
    found = mae_flops(encoder, decoder, SIZE)
    assert (found.forward, found.step) == counted(lambda: mae(x).loss)


def test_published_figures() -> None:
    """Multiply-adds in 10^12: Sapiens table 1 (without attention), and our count of Sapiens2."""
    for name, linear, attention in (
        ("0.3b", 1.240, 0.825), ("0.6b", 2.581, 1.374), ("1b", 4.643, 2.062), ("2b", 8.703, 3.092),
    ):  # fmt: skip
        config = NetworkConfig(backbone=pretraining_form(name))
        parts = network_flops(config, (1024, 1024)).parts
        assert (parts["embed"] + parts["linear"]) / 2e12 == pytest.approx(linear, rel=1e-3)
        assert parts["attention"] / 2e12 == pytest.approx(attention, rel=1e-3)
    parts = network_flops(NetworkConfig(backbone=SIZES["sapiens2-1b"]), (1024, 768)).parts
    assert (parts["embed"] + parts["linear"]) / 2e12 == pytest.approx(4.481, rel=1e-3)
    assert parts["attention"] / 2e12 == pytest.approx(1.166, rel=1e-3)


def test_a_device_has_a_speed() -> None:
    assert 1e9 < peak_flops(torch.device("cpu"), "fp32") < 1e14
