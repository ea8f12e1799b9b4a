# SPDX-License-Identifier: Apache-2.0
import copy
from dataclasses import replace

import pytest
import torch
from tiny_goldens import TINY, relative, tiny_network

from vitruvian.errors import InputError
from vitruvian.model.sizes import SIZES, ViTConfig, pretraining_form
from vitruvian.model.vit import ViT, layer_id

SECOND = ViTConfig(
    dim=32,
    depth=18,
    heads=2,
    mlp_hidden=128,
    mlp="swiglu",
    norm="rms",
    position="rotary",
    grid=(4, 3),
    class_token=True,
    registers=8,
    qk_norm=True,
    full_attention_ends=8,
    layer_scale=1e-4,
    rotary_dtype="float32",
)
SHORT = replace(SECOND, depth=3, full_attention_ends=1)
OWN = replace(
    SIZES["nano"], dim=32, depth=2, heads=2, mlp_hidden=64, grid=(4, 3), class_token=False
)


def lively(vit: ViT) -> ViT:
    """Give a network weights that all matter (layer scales of 1e-4 would hide attention)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vit.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if parameter.ndim == 1 else 0.2 * noise)
    return vit.eval()


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("task", ["pose", "seg", "depth", "normal"])
def test_features_equal_the_original(task: str):
    network, arrays = tiny_network(task)
    with torch.inference_mode():
        assert relative(network.features(arrays["image"]), arrays["features"]) < 1e-5


COUNTS = {
    "0.3b": 306_244_608,
    "0.6b": 634_597_120,
    "1b": 1_139_163_648,
    "2b": 2_131_943_040,
    "sapiens2-0.1b": 113_993_472,
    "sapiens2-0.4b": 395_450_368,
    "sapiens2-0.8b": 814_283_520,
    "sapiens2-1b": 1_455_474_176,
    "sapiens2-1b-4k": 1_606_588_928,
    "sapiens2-5b": 5_066_902_976,
    "nano": 1_125_920,
    "mini": 2_962_032,
    "tiny": 5_291_328,
    "small": 22_313_184,
}


def test_counts_of_weights():
    assert COUNTS.keys() == SIZES.keys()
    for size, count in COUNTS.items():
        with torch.device("meta"):
            vit = ViT(SIZES[size])
        assert sum(p.numel() for p in vit.parameters()) == count, size


def test_counts_of_tensors():
    # 6 + 17 per block, less the stored periods, plus 2 + 14 per window block; three matrices of
    # queries, keys and values with their biases are two tensors here.
    for size, published in {"0.1b": 210, "0.4b": 414, "1b": 686, "1b-4k": 744, "5b": 958}.items():
        config = SIZES[f"sapiens2-{size}"]
        with torch.device("meta"):
            names = ViT(config).state_dict()
        blocks = config.depth + (config.window.depth if config.window else 0)
        assert len(names) == published - 1 - 4 * blocks, size
    with torch.device("meta"):
        assert len(ViT(pretraining_form("0.3b")).state_dict()) == 5 + 12 * 24 + 1


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_second_generation_equals_transformers(mode: str, picture: torch.Tensor):
    transformers = pytest.importorskip("transformers")
    config = transformers.Sapiens2Config(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=18,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        pos_embed_rescale=None,
        image_size=[64, 48],
    )
    theirs = transformers.Sapiens2Model(config)
    vit = lively(ViT(SECOND))
    theirs.load_state_dict(as_transformers(vit.state_dict()))
    getattr(theirs, mode)()
    with torch.no_grad():
        wanted = theirs(picture).last_hidden_state
        tokens, grid = vit.tokens(picture)
        given = vit.encode(tokens, grid)
    assert (given - wanted).abs().max() < 3e-5
    assert wanted.abs().max() > 1


def as_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theirs = {}
    for name, value in weights.items():
        parts = name.split(".")
        if parts[0] != "blocks":
            name = name.replace("class_token", "cls_token")
            name = name.replace("patch_embed.", "patch_embeddings.")
            theirs[name if parts[0] == "norm" else f"embeddings.{name}"] = value
            continue
        rest = ".".join(parts[2:]).replace("attn.scale", "layer_scale1.lambda1")
        rest = rest.replace("attn.", "attention.").replace(".proj.", ".o_proj.")
        front = f"model.layer.{parts[1]}."
        if ".qkv." in rest:
            heads = (len(value) - 32) // 2
            for part, rows in zip("qkv", value.split([32, heads, heads]), strict=True):
                theirs[front + rest.replace("qkv", f"{part}_proj")] = rows
        elif ".fc1." in rest:
            for part, rows in zip(("gate", "up"), value.chunk(2), strict=True):
                theirs[front + rest.replace("fc1", f"{part}_proj")] = rows
        else:
            theirs[front + rest.replace("fc2", "down_proj")] = value
    return theirs


def test_bfloat16_rotation_changes_features_by_a_little(picture: torch.Tensor):
    fine = lively(ViT(SHORT))
    coarse = lively(ViT(replace(SHORT, rotary_dtype="bfloat16")))
    with torch.inference_mode():
        difference = relative(coarse.features(picture), fine.features(picture))
    assert 1e-4 < difference < 5e-2


@pytest.mark.parametrize("rotary", ["bfloat16", "float32"])
def test_casting_the_network_does_not_touch_its_positions(rotary: str, picture: torch.Tensor):
    vit = lively(ViT(replace(SHORT, rotary_dtype=rotary)))
    with torch.inference_mode():
        wanted = vit.features(picture)
        for cast in (lambda m: m.half().float(), lambda m: m.to(torch.bfloat16).to(torch.float32)):
            again = cast(copy.deepcopy(vit))
            again.load_state_dict(vit.state_dict())
            assert torch.equal(again.features(picture), wanted)
        low = copy.deepcopy(vit).bfloat16().features(picture)
    assert low.dtype == torch.bfloat16
    assert relative(low.float(), wanted) < 0.1
    assert not [name for name in vit.state_dict() if "period" in name or "rotary" in name]


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, class_token=True),
        SHORT,
        replace(SHORT, rotary_dtype="bfloat16"),
        OWN,
    ],
)
def test_gathered_tokens_equal_dense_ones(config: ViTConfig, picture: torch.Tensor):
    vit = lively(ViT(config))
    order = torch.stack([torch.randperm(12), torch.randperm(12)])
    with torch.inference_mode():
        tokens, grid = vit.tokens(picture)
        dense = vit.encode(tokens, grid)
        shuffled = vit.encode(tokens, grid, order)
        kept = vit.encode(tokens, grid, order[:, :5])
    back = shuffled[:, config.prefix :].gather(
        1, order.argsort(1)[:, :, None].expand(-1, -1, config.dim)
    )
    assert relative(back, dense[:, config.prefix :]) < 1e-5
    assert torch.allclose(shuffled[:, : config.prefix], dense[:, : config.prefix], atol=1e-5)
    assert kept.shape == (2, config.prefix + 5, config.dim)


def test_intermediate_maps(picture: torch.Tensor):
    vit = lively(ViT(SHORT))
    with torch.inference_mode():
        first, last, again = vit(picture, layers=[0, -1, 2])
        assert torch.equal(last, vit(picture))
        assert torch.equal(again, last)
        tokens, grid = vit.tokens(picture)
        x = torch.cat([*vit._prefix(tokens), tokens], 1)
        x = vit.blocks[0](x, vit._rotary(grid, x.device, None), SHORT.prefix)
    assert torch.equal(first, x[:, 9:].transpose(1, 2).reshape(2, 32, 4, 3))
    for wrong in ([3], []):
        with pytest.raises(InputError, match="block numbers from 0 to 2"):
            vit(picture, layers=wrong)


@pytest.mark.parametrize("config", [replace(TINY, class_token=True), SHORT, OWN])
def test_checkpointing_equals_plain_and_every_weight_learns(
    config: ViTConfig, picture: torch.Tensor
):
    vit = lively(ViT(config)).train()
    gradients = []
    for vit.checkpointing in (False, True):
        vit.zero_grad()
        vit(picture).square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in vit.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.any(), name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4, rtol=1e-4), name


def test_other_input_sizes_resize_the_table():
    vit = lively(ViT(TINY))
    with torch.inference_mode():
        assert vit(torch.randn(1, 3, 96, 96)).shape == (1, 32, 6, 6)


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (torch.zeros(3, 64, 48), r"wanted \(batch, 3, height, width\) · add the batch axis"),
        (torch.zeros(1, 1, 64, 48), r"shape \(1, 1, 64, 48\)"),
        (torch.zeros(1, 3, 70, 50), r"70×50 pixels · wanted multiples of 16 · .* to 80×64"),
        (torch.zeros(1, 3, 0, 16), r"0×16"),
        (torch.zeros(1, 3, 64, 48, dtype=torch.uint8), r"torch.uint8 · wanted normalised"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images: torch.Tensor, text: str):
    with pytest.raises(InputError, match=text):
        ViT(TINY)(images)


@pytest.mark.parametrize("config", [TINY, SHORT, OWN])
def test_exported_network_gives_equal_numbers_for_any_batch(
    config: ViTConfig, picture: torch.Tensor
):
    vit = lively(ViT(config))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(vit, (picture,), dynamic_shapes=({0: batch},)).module()
    with torch.inference_mode():
        for images in (picture, torch.randn(5, 3, 64, 48)):
            assert relative(program(images), vit(images)) < 1e-6
        # What was traced must not linger in the tables kept for the eager network.
        assert type(vit(picture)) is torch.Tensor


def test_it_compiles_as_one_graph(picture: torch.Tensor):
    vit = lively(ViT(SHORT))
    compiled = torch.compile(vit, backend="eager", fullgraph=True)
    with torch.inference_mode():
        assert relative(compiled(picture), vit(picture)) < 1e-6


def test_starting_values():
    torch.manual_seed(0)
    first = ViT(replace(TINY, class_token=True, dim=64)).state_dict()
    bound = (6 / (64 + 192)) ** 0.5
    assert first["blocks.0.attn.qkv.weight"].abs().max() == pytest.approx(bound, rel=0.01)
    assert not first["blocks.0.attn.qkv.bias"].any()
    assert first["blocks.0.mlp.fc1.bias"].std() == pytest.approx(1e-6, rel=0.3)
    bound = (6 / (64 + 768)) ** 0.5
    assert first["patch_embed.weight"].abs().max() == pytest.approx(bound, rel=0.01)
    assert first["class_token"].std() == pytest.approx(0.02, rel=0.3)
    assert not first["pos_embed"][0, 0].any()
    second = ViT(SHORT).state_dict()
    assert second["blocks.0.mlp.fc1.weight"].std() == pytest.approx(0.02, rel=0.05)
    assert second["patch_embed.weight"].std() == pytest.approx(0.02, rel=0.05)
    assert set(second["blocks.0.attn.scale"].tolist()) == {torch.tensor(1e-4).item()}
    assert set(second["blocks.2.attn.q_norm.weight"].tolist()) == {1.0}
    assert second["register_tokens"].std() == pytest.approx(0.02, rel=0.2)
    own = ViT(OWN).eval()
    features = own(torch.randn(2, 3, 64, 48))
    assert 0.5 < features.std() < 2


def test_layers_for_learning_rate_decay():
    named = {name: layer_id(name, 3) for name, _ in ViT(SHORT).named_parameters()}
    assert {i for n, i in named.items() if n.startswith("blocks.1.")} == {2}
    assert named["patch_embed.weight"] == named["class_token"] == named["register_tokens"] == 0
    assert named["norm.weight"] == 4
    assert layer_id("pos_embed", 3) == layer_id("window.blocks.1.norm1.weight", 3) == 0
    assert layer_id("heads.pose.predict.weight", 3) == 4
