# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_vit import OWN, SHORT
from tiny_goldens import TINY

import vitruvian.model
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.model.heads import DenseHeadConfig, ScaleHeadConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.published import FIRST, SECOND, published_network

POINTMAP = NetworkConfig(
    backbone=SHORT,
    heads={
        "pointmap": DenseHeadConfig(in_dim=32, out=3, upsample="shuffle", widths=(8, 8)),
        "pointmap_scale": ScaleHeadConfig(in_dim=32, widths=(8,), hidden=(4,), grid=(4, 3)),
    },
)


def test_one_backbone_many_heads():
    network = Network(POINTMAP).eval()
    x = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        y = network(x)
        assert network.features(x).shape == (2, 32, 4, 3)
    assert {name: tuple(t.shape) for name, t in y.items()} == {
        "pointmap": (2, 3, 16, 12),
        "pointmap_scale": (2, 1),
    }
    assert {n.split(".")[0] for n in network.state_dict()} == {"backbone", "heads"}


def test_a_network_without_heads_is_an_encoder():
    network = Network(NetworkConfig(backbone=OWN))
    assert network(torch.randn(1, 3, 64, 48)) == {}


def test_other_sizes_and_wrong_ones():
    network = Network(POINTMAP).eval()
    with pytest.raises(InputError, match="resize or pad the picture"):
        network(torch.randn(1, 3, 64, 64))
    with pytest.raises(InputError, match="multiples of 16"):
        network(torch.randn(1, 3, 63, 48))


@pytest.mark.parametrize(
    ("images", "kind"),
    [(np.zeros((1, 3, 64, 48), np.float32), "numpy.ndarray"), ([0.0], "builtins.list")],
)
def test_what_is_no_tensor_is_refused(images: object, kind: str):
    network = Network(NetworkConfig(backbone=TINY))
    for call in (network, network.features):
        with pytest.raises(InputError) as caught:
            call(images)  # type: ignore[arg-type]
        text = str(caught.value)
        assert text.startswith(f"pictures as {kind} · wanted a torch tensor (batch, 3, height")
        assert "torch.from_numpy" in text


def test_a_low_precision_network_takes_float32_pictures():
    network = Network(POINTMAP).eval().bfloat16()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 64, 48))["pointmap"].dtype == torch.bfloat16


def test_building_on_meta_costs_nothing_and_loads_by_assignment():
    source = Network(POINTMAP).eval()
    with torch.device("meta"):
        network = Network(POINTMAP).eval()
    assert all(t.is_meta for t in network.state_dict().values())
    weights = source.state_dict()
    network.load_state_dict(weights, assign=True)
    for name, value in network.state_dict().items():
        assert value.data_ptr() == weights[name].data_ptr()
    x = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        assert torch.equal(network(x)["pointmap"], source(x)["pointmap"])


def test_materialised_networks_can_be_initialised():
    with torch.device("meta"):
        network = Network(POINTMAP)
    network.to_empty(device="cpu").reset_parameters()
    assert all(t.isfinite().all() for t in network.state_dict().values())


@pytest.mark.parametrize(
    ("task", "size"), [("pose", FIRST[0]), ("pointmap", SECOND[-1]), ("albedo", SECOND[0])]
)
def test_published_shapes_survive_json(task: str, size: str):
    config = published_network(task, size)
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"head": {}}, UnknownNameError, "did you mean heads"),
        ({"heads": {"pose": {"kind": "wide"}}}, UnknownNameError, "kind of head 'wide'"),
        ({"heads": {"pose": 3}}, InputError, "wanted a mapping"),
        ({"heads": [1]}, InputError, "wanted a mapping"),
        ({"backbone": None}, InputError, "wanted a mapping"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(change: dict, kind: type, text: str):
    with pytest.raises(kind, match=text):
        NetworkConfig.from_dict({**POINTMAP.to_dict(), **change})


def test_missing_backbone_and_wrong_width():
    with pytest.raises(InputError, match="no backbone"):
        NetworkConfig.from_dict({"heads": {}})
    head = DenseHeadConfig(in_dim=16, out=1, widths=(4,))
    with pytest.raises(InputError, match="head 'pose' for features of 16 channels · wanted 32"):
        NetworkConfig(backbone=TINY, heads={"pose": head})


def test_what_the_stem_saw_joins_in_the_neck():
    neck = DenseHeadConfig(in_dim=32, out=6, widths=(8, 6), skips=(16, 16))
    depth = DenseHeadConfig(in_dim=6, out=1, widths=())
    config = NetworkConfig(backbone=OWN, neck=neck, heads={"depth": depth})
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    network = Network(config).eval()
    x = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        features, finer = network.backbone.pyramid(x)
        assert torch.equal(features, network.backbone.features(x))
        assert [tuple(y.shape[1:]) for y in finer] == [(16, 8, 6), (16, 16, 12), (16, 32, 24)]
        assert network.neck is not None
        wanted = network.heads["depth"](network.neck(features, finer))
        assert torch.equal(network(x)["depth"], wanted)
        for convolution in network.neck.skip:
            torch.nn.init.zeros_(convolution.weight)
        assert not torch.allclose(network(x)["depth"], wanted)


def test_skips_that_nothing_fills_are_refused():
    neck = DenseHeadConfig(in_dim=32, out=6, widths=(8, 6), skips=(16, 8))
    with pytest.raises(InputError, match=r"wanted the first of \(16, 16, 16\)"):
        NetworkConfig(backbone=OWN, neck=neck)
    with pytest.raises(InputError, match=r"wanted the first of \(\)"):
        NetworkConfig(backbone=replace(OWN, stem="patch"), neck=replace(neck, skips=(16,)))
    with pytest.raises(InputError, match="wanted them in the neck alone"):
        NetworkConfig(backbone=OWN, heads={"depth": replace(neck, skips=(16,))})
    patches = Network(NetworkConfig(backbone=replace(OWN, stem="patch")))
    with pytest.raises(InputError, match="finer maps of a patch convolution"):
        patches.backbone.pyramid(torch.randn(1, 3, 64, 48))


def test_layers_of_a_network():
    network = Network(POINTMAP)
    assert network.layer_id("backbone.blocks.0.norm1.weight") == 1
    assert network.layer_id("backbone.class_token") == 0
    assert network.layer_id("backbone.norm.weight") == 4
    assert network.layer_id("heads.pointmap.predict.weight") == 4


def test_an_exported_network_gives_equal_numbers():
    network = Network(replace(POINTMAP, backbone=OWN)).eval()
    x = torch.randn(1, 3, 64, 48)
    program = torch.export.export(network, (x,))
    with torch.inference_mode():
        given, wanted = program.module()(x), network(x)
    for name, value in wanted.items():
        assert torch.allclose(given[name], value, atol=1e-6)


def test_public_names_load_on_first_use():
    assert vitruvian.model.Network is Network
    assert set(vitruvian.model.__all__) <= set(dir(vitruvian.model))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = vitruvian.model.Nothing
