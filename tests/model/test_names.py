# SPDX-License-Identifier: Apache-2.0
"""Published names and ours: every published file maps onto a network and back, exactly."""

from pathlib import Path

import pytest
import torch
from published_files import (
    first_generation,
    random_weights,
    sapiens,
    sapiens2,
    second_generation,
    tiny,
    tiny_sapiens2,
)
from safetensors.torch import save_file

from vitruvian.model.identify import identify
from vitruvian.model.names import (
    TASKS,
    Layout,
    ignored,
    our_shapes,
    published_pieces,
    rows,
    to_published,
)
from vitruvian.model.weights import load_mae, load_network

PUBLISHED = [("sapiens", *which) for which in first_generation()] + [
    ("sapiens2", *which) for which in second_generation()
]


@pytest.mark.parametrize(("family", "task", "size"), PUBLISHED)
def test_every_published_name_maps_to_ours_and_back(family: str, task: str, size: str) -> None:
    shapes = (sapiens if family == "sapiens" else sapiens2)(task, size)
    identity = identify(shapes, where="file")
    assert identity.layout.dialect == family
    kept = {n: s for n, s in shapes.items() if not ignored(identity.layout, n)}
    assert len(shapes) - len(kept) == (family == "sapiens2")
    ours = our_shapes(identity.layout, kept)
    pieces = published_pieces(identity.layout, ours)
    back = {n: (p.end - p.begin, *ours[p.ours][1:]) for n, p in pieces.items()}
    assert back == kept


@pytest.mark.parametrize("dialect", TASKS)
def test_rows_are_one_to_one(dialect: str) -> None:
    for task in (None, *TASKS[dialect]):
        decoder = dialect == "sapiens" and task is None
        table = rows(Layout(dialect=dialect, task=task, decoder=decoder))
        ours = [row.ours for row in table]
        published = [name for row in table for name in row.published]
        assert len(set(ours)) == len(ours)
        assert len(set(published)) == len(published)
        for row in table:
            for name in row.published:
                assert name.count("{") == row.ours.count("{"), row


def test_unknown_names_are_left_out() -> None:
    layout = Layout(dialect="sapiens", task="pose")
    names = ["backbone.layers.0.attn.qkv.scale", "head.deconv_layers.1.weight", "x", "layers.0.ln1"]
    assert our_shapes(layout, dict.fromkeys(names, (3,))) == {}
    assert our_shapes(layout, {"head.deconv_layers.3.weight": (1, 2, 4, 4)}) == {
        "heads.pose.up.1.weight": (1, 2, 4, 4)
    }
    # 01 is not how a container index is written
    assert our_shapes(layout, {"backbone.layers.01.ln1.weight": (3,)}) == {}


@pytest.mark.parametrize("name", ["pose", "seg", "depth", "normal"])
def test_first_generation_tensors_return_unchanged(name: str, tmp_path: Path) -> None:
    _, weights = tiny(name)
    save_file(weights, tmp_path / "w.safetensors")
    network = load_network(tmp_path / "w.safetensors", heads=4)
    task = {"seg": "parts", "normal": "normals"}.get(name, name)
    back = to_published(Layout(dialect="sapiens", task=task), network.state_dict())
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[n], weights[n]) for n in weights)


def test_pretraining_tensors_return_unchanged(tmp_path: Path) -> None:
    _, weights = tiny("mae")
    save_file(weights, tmp_path / "w.safetensors")
    mae = load_mae(tmp_path / "w.safetensors", heads=4, decoder_heads=4)
    state = {n.replace("encoder.", "backbone.", 1): t for n, t in mae.state_dict().items()}
    back = to_published(Layout(dialect="sapiens", decoder=True), state)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[n], weights[n]) for n in weights)


@pytest.mark.parametrize("task", ["pose", "seg", "normal", "pointmap", "albedo", "matting"])
def test_second_generation_tensors_return_unchanged(task: str, tmp_path: Path) -> None:
    weights = random_weights(tiny_sapiens2(task))
    save_file(weights, tmp_path / "w.safetensors")
    network = load_network(tmp_path / "w.safetensors")
    ours = {"seg": "parts", "normal": "normals"}.get(task, task)
    back = to_published(Layout(dialect="sapiens2", task=ours), network.state_dict())
    weights.pop("backbone.rope_embed.periods")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[n], weights[n]) for n in weights)


def test_joined_rows_are_queries_keys_values_in_order(tmp_path: Path) -> None:
    weights = random_weights(tiny_sapiens2("pose"))
    save_file(weights, tmp_path / "w.safetensors")
    state = load_network(tmp_path / "w.safetensors").state_dict()
    for block in (0, 8):  # all heads; half the keys and values
        parts = [weights[f"backbone.blocks.{block}.attn.w{x}.weight"] for x in "qkv"]
        assert torch.equal(state[f"backbone.blocks.{block}.attn.qkv.weight"], torch.cat(parts))
    assert len(state["backbone.blocks.8.attn.qkv.bias"]) == 2 * 64
