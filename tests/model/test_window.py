# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from test_vit import SHORT, lively
from tiny_goldens import relative

from vitruvian.errors import InputError
from vitruvian.model import window
from vitruvian.model.vit import ViT
from vitruvian.model.window import WindowConfig

CONFIG = replace(SHORT, grid=(2, 3), window=WindowConfig(size=4, depth=2))


@pytest.fixture
def vit() -> ViT:
    return lively(ViT(CONFIG))


def test_sixteen_patches_become_one_token(vit: ViT):
    images = torch.randn(2, 3, 128, 192)
    with torch.inference_mode():
        tokens, grid = vit.tokens(images)
        assert grid == (2, 3)
        assert tokens.shape == (2, 6, 32)
        assert vit(images).shape == (2, 32, 2, 3)


def test_each_window_is_a_sequence_of_its_own(vit: ViT):
    images = torch.randn(1, 3, 128, 192)
    with torch.inference_mode():
        tokens, _ = vit.tokens(images)
        for k, (row, column) in enumerate((r, c) for r in range(2) for c in range(3)):
            part = images[:, :, 64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
            assert torch.allclose(vit.tokens(part)[0][0, 0], tokens[0, k], atol=1e-5)


def test_the_stage_written_out_for_one_window(vit: ViT):
    """Window token first, then patches row by row, positions on all of them, token returned."""
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        rows = [vit.patch_embed(image[:, :, 16 * r : 16 * r + 16]) for r in range(4)]
        patches = torch.cat([row[0, :, 0].T for row in rows])
        x = torch.cat([vit.window.token[0], patches])[None] + vit.window.pos_embed
        for block in vit.window.blocks:
            x = block(x)
        assert torch.allclose(vit.tokens(image)[0][0, 0], x[0, 0], atol=1e-6)
    names = set(vit.window.state_dict())
    assert not [n for n in names if "q_norm" in n or "scale" in n]


def test_chunks_and_recomputation_change_nothing(vit: ViT, monkeypatch: pytest.MonkeyPatch):
    images = torch.randn(2, 3, 128, 192)
    gradients, values = [], []
    for chunk, save in ((1024, False), (5, False), (5, True)):
        monkeypatch.setattr(window, "CHUNK", chunk)
        vit.checkpointing = save
        vit.zero_grad()
        y = vit(images)
        y.square().sum().backward()
        values.append(y.detach())
        gradients.append(vit.window.token.grad.clone())
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        assert relative(value, values[0]) < 1e-5
        assert relative(gradient, gradients[0]) < 1e-4


def test_sizes_are_multiples_of_a_window(vit: ViT):
    with pytest.raises(InputError, match=r"wanted multiples of 64 · resize or pad to 128×64"):
        vit(torch.randn(1, 3, 112, 64))
