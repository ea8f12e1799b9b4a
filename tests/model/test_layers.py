# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitruvian.model import layers
from vitruvian.model.layers import Conv2d, ConvTranspose2d, Linear, attention, blocked_attention

PAIRS = [
    (Linear(24, 8), (5, 24)),
    (Linear(24, 8, bias=False), (5, 24)),
    (Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 8, 8)),
    (ConvTranspose2d(6, 8, 4, stride=2, padding=1, bias=False), (2, 6, 4, 4)),
]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("layer", "shape"), PAIRS)
def test_layers_compute_what_torch_does(
    layer: nn.Module, shape: tuple, dtype: torch.dtype, native: bool, monkeypatch
):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: native)
    layer = layer.to(dtype)
    x = torch.randn(shape).to(dtype)
    given = layer(x)
    assert given.dtype == dtype
    wanted = layer.float()(x.float())
    # The result of a sum is rounded once; torch's own low-precision kernels may round more.
    step = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    assert torch.allclose(given.float(), wanted, atol=3 * step, rtol=step)


def test_a_widened_layer_rounds_only_its_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: False)
    layer = Linear(64, 32).bfloat16()
    x = torch.randn(4, 64).bfloat16()
    exact = F.linear(x.float(), layer.weight.float(), layer.bias.float())
    assert torch.equal(layer(x), exact.bfloat16())
    layer(x).float().sum().backward()
    assert layer.weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("layer", "shape"), PAIRS)
def test_autocast_is_widened_too(layer: nn.Module, shape: tuple, dtype: torch.dtype, monkeypatch):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: False)
    layer, x = layer.float(), torch.randn(shape)
    with torch.autocast("cpu", dtype):
        given = layer(x)
    assert torch.equal(given, layer(x).to(dtype))
    given.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_training_attention_is_widened(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: False)
    q, k, v = torch.randn(3, 2, 3, 20, 16).unbind()
    wanted = F.scaled_dot_product_attention(q, k, v).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention(q, k, v), wanted)
    q, k, v = (t.bfloat16() for t in (q, k, v))
    wide = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert torch.equal(attention(q, k, v), wide.bfloat16())


def test_mixed_precision_stays_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: False)
    with pytest.raises(RuntimeError):
        Linear(4, 4)(torch.zeros(1, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("tokens", [40, 256, 600])
def test_blocks_of_queries_give_the_same_attention(tokens: int):
    q, k, v = torch.randn(3, 2, 3, tokens, 16).unbind()
    wanted = F.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(blocked_attention(q, k, v), wanted, atol=1e-6)
    low = [t.bfloat16() for t in (q, k, v)]
    wanted = F.scaled_dot_product_attention(*(t.float() for t in low))
    fused = (F.scaled_dot_product_attention(*low).float() - wanted).abs().max()
    blocks = (blocked_attention(*low).float() - wanted).abs().max()
    assert blocks < max(2.5 * fused, 0.01)


@pytest.mark.parametrize("faster", ["blocks", "fused"])
def test_the_faster_attention_is_used_and_measured_once(
    faster: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(layers, "cpu_computes", lambda dtype: True)
    monkeypatch.setattr(layers, "LONG", 32)
    monkeypatch.setattr(layers, "_winners", {})
    times = iter([2.0, 1.0] if faster == "blocks" else [1.0, 0.9])  # fused, blocks
    monkeypatch.setattr(layers, "_seconds", lambda work: (work(), next(times))[1])
    calls = []
    original = blocked_attention
    monkeypatch.setattr(
        layers, "blocked_attention", lambda *a: (calls.append(a[0].shape[1]), original(*a))[1]
    )
    q, k, v = torch.randn(3, 1, 16, 40, 8).bfloat16().unbind()
    with torch.no_grad():
        attention(q, k, v)
        attention(q, k, v)
    assert [n for n in calls if n == 16] == ([16, 16] if faster == "blocks" else [])
    assert list(layers._winners) == [(torch.bfloat16, 8)]
    # Training, float32 and short sequences never ask.
    attention(q, k, v)
    with torch.no_grad():
        attention(q.float(), k.float(), v.float())
        attention(q[:, :, :8], k[:, :, :8], v[:, :, :8])
    assert len(calls) == (3 if faster == "blocks" else 1)


def test_a_measurement_takes_the_shortest_time():
    assert 0 <= layers._seconds(lambda: None) < 1
