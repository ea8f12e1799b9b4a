# SPDX-License-Identifier: Apache-2.0
"""Vision transformers of others, with timm's names: read, computed alike, and trained from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published_files import Shapes, random_weights, write_hollow
from safetensors.torch import save_file
from torch import Tensor

from toy_people import POINTS
from vitruvian.errors import WeightsError
from vitruvian.model.mae import MAE
from vitruvian.model.names import Layout, to_published
from vitruvian.model.network import Network
from vitruvian.model.opening import glance, open_weights
from vitruvian.model.position import resize_table
from vitruvian.model.weights import convert, load, load_network
from vitruvian.recipes import pose, pretrain
from vitruvian.recipes.objectives import normalised
from vitruvian.recipes.weights import backbone_of, card_of, starting_network

Tensors = dict[str, Tensor]


def plain(dim: int = 48, depth: int = 2, side: int = 4, patch: int = 16) -> Shapes:
    """Names and shapes of timm's ``VisionTransformer``."""
    shapes: Shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + side * side, dim),
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (10, dim),
        "head.bias": (10,),
    }
    linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.{p}": (dim,) for p in ("weight", "bias")}
        for name, (out, into) in linear.items():
            shapes[f"blocks.{i}.{name}.weight"] = (out * dim, into * dim)
            shapes[f"blocks.{i}.{name}.bias"] = (out * dim,)
    return shapes


def by_hand(w: Tensors, x: Tensor, heads: int) -> Tensor:
    """The tokens of a plain vision transformer after its last norm, as its paper has it."""

    def norm(x: Tensor, name: str) -> Tensor:
        spread = x.var(-1, correction=0, keepdim=True)
        x = (x - x.mean(-1, keepdim=True)) / (spread + 1e-6).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    patches = F.unfold(x, 16, stride=16).transpose(1, 2)
    x = patches @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]
    for i in range(sum(n.endswith("norm1.bias") for n in w)):
        qkv = linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv")
        q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"blocks.{i}.attn.proj")
        inner = linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
        x = x + linear(inner, f"blocks.{i}.mlp.fc2")
    return norm(x, "norm")


def folder(path: Path, weights: Tensors, config: object = None) -> str:
    path.mkdir()
    save_file(weights, path / "model.safetensors")
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return str(path)


def test_features_are_those_of_the_paper(tmp_path: Path) -> None:
    weights = random_weights(plain())
    path = folder(tmp_path / "vit", weights)
    assert glance(path) == (
        "a plain ViT pretraining encoder (width 48, 2 blocks, class token, 17 positions)"
    )
    network, card = load(path, heads=3)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = network.features(x)
    theirs = by_hand(weights, x, 3)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (card.licence, card.commercial) == ("unknown", "unknown")  # nobody says whose they are
    convert(path, tmp_path / "ours.safetensors", heads=3)
    again = load_network(tmp_path / "ours.safetensors")
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in network.state_dict().items())
    back = to_published(Layout(dialect="timm", prefixed=False), network.state_dict())
    assert back.keys() == weights.keys() - {"head.weight", "head.bias"}
    assert all(torch.equal(t, weights[n]) for n, t in back.items())


@pytest.mark.parametrize(
    ("shape", "heads"), [((192, 12), 3), ((384, 12), 6), ((768, 12), 12), ((1024, 24), 16)]
)
def test_usual_shapes_need_no_hint(shape: tuple[int, int], heads: int, tmp_path: Path) -> None:
    backbone = backbone_of(str(write_hollow(tmp_path / "w.safetensors", plain(*shape, side=14))))
    assert (backbone.dim, backbone.depth, backbone.heads) == (*shape, heads)
    assert (backbone.class_token, backbone.grid) == (True, (14, 14))
    assert (backbone.mlp_hidden, backbone.patch_padding) == (4 * shape[0], 0)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"blocks.0.ls1.gamma": (48,)}, r"no place in ours \(blocks.N.ls1.gamma\)"),
        ({"reg_token": (1, 4, 48), "mask_token": (1, 48)}, r"ours \(reg_token, mask_token\)"),
        ({"fc_norm.weight": (48,), "fc_norm.bias": (48,)}, r"ours \(fc_norm.weight, fc_norm"),
        ({"patch_embed.proj.weight": (48, 3, 14, 14)}, "patches of 14×14 pixels · wanted a plain"),
    ],
)
def test_other_transformers_are_refused(extra: Shapes, says: str, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", plain() | extra)
    with pytest.raises(WeightsError, match=f"timm's names, but with .*{says}"):
        open_weights(path, heads=3)


def test_what_a_plain_one_lacks_is_told(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", plain())
    with pytest.raises(WeightsError, match=r"plain ViT .* pass heads=… \(on the command line"):
        open_weights(path)
    biased = {n: s for n, s in plain().items() if not n.endswith("qkv.bias")}
    with pytest.raises(WeightsError, match=r"2 missing \(blocks.0.attn.qkv.bias"):
        open_weights(write_hollow(path, biased), heads=3)
    odd = folder(tmp_path / "odd", random_weights(plain()), {"pretrained_cfg": {"mean": [0.5]}})
    with pytest.raises(WeightsError, match="without mean and std of three colours"):
        open_weights(odd, heads=3)


@pytest.mark.parametrize("half", [True, False])
def test_a_training_begins_with_the_same_features(half: bool, tmp_path: Path) -> None:
    """At another input size, and of pictures that were normalised otherwise."""
    weights = random_weights(plain(192, 12))
    config = {"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.5]}}
    path = folder(tmp_path / "vit", weights, config if half else None)
    run = pose(backbone_of(path), vocabulary=POINTS, steps=4, batch=4, input_size=(96, 64))
    run = replace(run, init=path)
    network, start = starting_network(run)
    assert isinstance(network, Network)
    assert start.resized == ("backbone.pos_embed",)
    assert start.fresh == ("heads.pose.up", "heads.pose.refine", "heads.pose.predict")
    told = start.sentences()[0]
    assert ("normalised our way" in told) == half
    assert ("name the folder of both" in told) == (not half)
    pixels = torch.randint(0, 256, (2, 3, 96, 64), generator=torch.Generator().manual_seed(0))
    weights["pos_embed"] = resize_table(weights["pos_embed"], (4, 4), (6, 4))
    std = torch.tensor([0.5, 0.25, 0.5])[:, None, None]
    x = (pixels / 255 - 0.5) / std if half else normalised(pixels)
    theirs = by_hand(weights, x, 3)[:, 1:].transpose(1, 2).unflatten(2, (6, 4))
    with torch.no_grad():
        ours = network.eval().features(normalised(pixels))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert card_of(run, "x").licence == "unknown"


def test_pretraining_goes_on_from_one(tmp_path: Path) -> None:
    weights = random_weights(plain(192, 12))
    path = folder(tmp_path / "vit", weights, {"architecture": "vit_tiny_patch16_224"})
    run = pretrain(backbone_of(path), steps=4, batch=4, input_size=(64, 64))
    model, start = starting_network(replace(run, init=path))
    assert isinstance(model, MAE)
    assert start.fresh == ("decoder",)
    own = model.encoder.state_dict()
    assert torch.equal(own["class_token"], weights["cls_token"])
    assert torch.equal(own["pos_embed"], weights["pos_embed"])
    assert torch.equal(own["patch_embed.weight"], weights["patch_embed.proj.weight"])
