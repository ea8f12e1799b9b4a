# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_vit import OWN, SHORT
from tiny_goldens import TINY, read, relative

from vitruvian.errors import InputError
from vitruvian.model.mae import MAE, MAEConfig, patchify, random_mask, unpatchify
from vitruvian.model.sizes import pretraining_form

SMALL = MAEConfig(decoder_dim=16, decoder_depth=2, decoder_heads=4)
ENCODER = replace(TINY, class_token=True, grid=(4, 4))


@pytest.fixture
def golden() -> tuple[MAE, dict[str, torch.Tensor]]:
    arrays, weights = read("mae_tiny")
    mae = MAE(ENCODER, SMALL).eval()
    mae.load_state_dict({n.replace("backbone.", "encoder."): w for n, w in weights.items()})
    return mae, arrays


def test_everything_equals_the_original(golden: tuple[MAE, dict[str, torch.Tensor]]):
    mae, arrays = golden
    with torch.inference_mode():
        given = mae(arrays["image"], noise=arrays["noise"])
        tokens, grid = mae.encoder.tokens(arrays["image"])
        unmasked = mae.encoder.encode(tokens, grid)
    assert torch.equal(given.mask.hidden, arrays["mask"])
    assert torch.equal(given.mask.restore, arrays["ids_restore"])
    assert relative(given.latent, arrays["latent"]) < 1e-5
    assert relative(given.prediction, arrays["pred"]) < 1e-5
    assert relative(given.target, arrays["target"]) < 1e-5
    assert relative(given.loss, arrays["loss"]) < 1e-5
    assert relative(unmasked, arrays["features_unmasked"]) < 1e-5


def test_the_ratio_can_change_with_every_call(golden: tuple[MAE, dict[str, torch.Tensor]]):
    mae, arrays = golden
    with torch.inference_mode():
        half = mae(arrays["image"], mask_ratio=0.5)
        none = mae(arrays["image"], mask_ratio=0.0)
    assert half.mask.hidden.sum(1).tolist() == [8, 8]
    assert half.latent.shape == (2, 9, 32)
    assert none.loss == 0
    for wrong in (1.0, -0.1):
        with pytest.raises(InputError, match="wanted 0 or more and below 1"):
            mae(arrays["image"], mask_ratio=wrong)
    with pytest.raises(InputError, match="leaves none"):
        mae(arrays["image"], mask_ratio=0.99)
    with pytest.raises(InputError, match=r"wanted \(2, 16\)"):
        mae(arrays["image"], noise=torch.rand(2, 9))


def test_hidden_pixels_do_not_reach_the_encoder(picture_of_ones: torch.Tensor):
    for encoder in (ENCODER, SHORT, OWN):
        mae = MAE(encoder, SMALL).eval()
        noise = torch.rand(1, 12)
        with torch.inference_mode():
            first = mae(picture_of_ones, noise=noise)
            hidden = unpatchify(first.mask.hidden[:, :, None].expand(-1, -1, 768), (4, 3), 16)
            second = mae(torch.where(hidden > 0, 7.0, picture_of_ones), noise=noise)
        assert torch.equal(first.latent, second.latent)


@pytest.fixture
def picture_of_ones() -> torch.Tensor:
    return torch.ones(1, 3, 64, 48)


def test_a_picture_comes_back(golden: tuple[MAE, dict[str, torch.Tensor]]):
    mae, arrays = golden
    image = arrays["image"]
    assert torch.allclose(mae.picture(mae.target(image), image), image, atol=1e-5)
    plain = MAE(ENCODER, replace(SMALL, norm_pixels=False))
    assert torch.equal(plain.picture(plain.target(image), image), image)
    hidden = torch.zeros(2, 16)
    hidden[:, 3] = 1
    shown = mae.picture(torch.zeros(2, 16, 768), image, hidden)
    assert torch.equal(shown[:, :, :, :48], image[:, :, :, :48])
    # A prediction of zero is the patch's mean (over all channels).
    corner = image[:, :, :16, 48:].mean((1, 2, 3))
    assert torch.allclose(shown[:, :, :16, 48:], corner[:, None, None, None], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 40), ratio=st.floats(0, 0.97), seed=st.integers(0, 2**31), batch=st.just(3)
)
def test_masks_are_permutations(count: int, ratio: float, seed: int, batch: int):
    noise = torch.rand(batch, count, generator=torch.Generator().manual_seed(seed))
    visible = int(count * (1 - ratio))
    if visible < 1:
        with pytest.raises(InputError):
            random_mask(noise, ratio)
        return
    mask = random_mask(noise, ratio)
    assert mask.keep.shape == (batch, visible)
    assert mask.hidden.sum(1).tolist() == [count - visible] * batch
    assert not mask.hidden.gather(1, mask.keep).any()
    assert torch.equal(mask.restore.sort(1).values, torch.arange(count).expand(batch, -1))
    assert torch.equal(mask.restore.gather(1, mask.keep), torch.arange(visible).expand(batch, -1))


def test_patches_are_rows_of_pixels_with_channels_last():
    image = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).float()
    patches = patchify(image, 2)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[1, 4], image[1, :, 2:4, 2:4].permute(1, 2, 0).flatten())
    assert torch.equal(unpatchify(patches, (2, 3), 2), image)


@pytest.mark.parametrize("encoder", [ENCODER, SHORT, OWN])
def test_every_weight_learns_and_tables_stay(encoder):
    torch.manual_seed(0)
    mae = MAE(encoder, SMALL)
    image = torch.randn(2, 3, encoder.grid[0] * 16, encoder.grid[1] * 16)
    gradients = []
    for save in (False, True):
        mae.encoder.checkpointing = mae.decoder.checkpointing = save
        mae.zero_grad()
        mae(
            image, noise=torch.arange(2 * encoder.grid[0] * encoder.grid[1]).reshape(2, -1)
        ).loss.backward()
        gradients.append({n: p.grad for n, p in mae.named_parameters() if p.requires_grad})
    assert {n for n, p in mae.named_parameters() if not p.requires_grad} <= {
        "encoder.pos_embed",
        "decoder.pos_embed",
    }
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


def test_a_picture_of_another_size(golden: tuple[MAE, dict[str, torch.Tensor]]):
    mae, _ = golden
    with torch.inference_mode():
        assert mae(torch.randn(1, 3, 32, 96)).prediction.shape == (1, 12, 768)


def test_counts_of_weights():
    decoders = {"0.3b": 28_237_056, "0.6b": 28_368_128, "1b": 28_499_200, "2b": 28_695_808}
    encoders = {
        "0.3b": 307_295_232,
        "0.6b": 635_910_400,
        "1b": 1_140_739_584,
        "2b": 2_133_912_960,
    }
    tensors = {"0.3b": 398, "0.6b": 494, "1b": 590, "2b": 686}
    for size, count in decoders.items():
        with torch.device("meta"):
            mae = MAE(pretraining_form(size))
        assert sum(p.numel() for p in mae.decoder.parameters()) == count
        assert sum(p.numel() for p in mae.encoder.parameters()) == encoders[size]
        assert len(mae.state_dict()) == tensors[size]


def test_settings_that_cannot_work_are_refused():
    assert MAEConfig.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(InputError, match="multiple of the heads"):
        MAEConfig(decoder_dim=20, decoder_heads=8)
    with pytest.raises(InputError, match="at least one block"):
        MAEConfig(decoder_depth=0)
    with pytest.raises(InputError, match="mask ratio 1"):
        MAEConfig(mask_ratio=1)
