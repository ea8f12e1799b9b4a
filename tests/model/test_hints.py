# SPDX-License-Identifier: Apache-2.0
"""What people say when they load weights (hints, task), and what files say in other words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import random_weights, sapiens, tiny, tiny_sapiens2, write_hollow
from safetensors.torch import save_file

from vitruvian.errors import InputError, UnknownNameError, WeightsError
from vitruvian.model.opening import glance, open_file, open_weights
from vitruvian.model.weights import load, load_mae, load_network


@pytest.fixture(autouse=True)
def no_fetched_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "fetched"))


def test_an_encoder_is_the_pretrain_task(tmp_path: Path) -> None:
    torch.save({"meta": {}, "state_dict": tiny("mae")[1]}, tmp_path / "mae.pth")
    assert not load_network(tmp_path / "mae.pth", heads=4, task="pretrain").heads
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pose17", "0.3b"))
    with pytest.raises(WeightsError) as caught:
        load(path, task="pretrain")
    text = str(caught.value)
    assert "(0.3b, 17 keypoints), not a pretraining encoder · wanted a pretraining file" in text
    assert "for example sapiens-pretrain-0.3b" in text
    with pytest.raises(WeightsError) as caught:
        load(path, task="albedo")
    assert str(caught.value).endswith("not an albedo model · wanted an albedo file")


@pytest.mark.parametrize(
    ("task", "says"),
    [("xyz", "choose one of albedo, depth"), ("normalz", "mean normals"), ("detector", "choose")],
)
def test_tasks_that_there_are_none_of(task: str, says: str, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("clean", "0.3b"))
    with pytest.raises(UnknownNameError, match=f"unknown task '{task}': .*{says}"):
        load(path, task=task)


@pytest.mark.parametrize("call", [load, load_network, load_mae, open_weights])
def test_misspelt_hints_are_refused(call: Callable[..., object], tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pretrain", "0.3b"))
    with pytest.raises(UnknownNameError, match="unknown hint 'pach_padding': did you mean patch_p"):
        call(path, pach_padding=0)
    if call is not open_weights:  # names of its arguments are no hints
        with pytest.raises(UnknownNameError, match="unknown hint 'vocabulary'"):
            call(path, vocabulary="coco17")


@pytest.mark.parametrize("padding", [-2, 8, 16])
def test_impossible_patch_padding(padding: int, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pose17", "0.3b"))
    with pytest.raises(InputError) as caught:
        load(path, patch_padding=padding, device="meta")
    text = str(caught.value)
    assert f"patch_padding={padding} · wanted 0 to 7, less than half of the patch of 16" in text
    assert "published files have 0 or 2" in text


@pytest.mark.parametrize(
    ("hints", "says"),
    [
        ({"patch_padding": 1.0}, "patch_padding=1.0 · wanted a whole number"),
        ({"heads": True}, "heads=True · wanted a whole number"),
        ({"heads": "4"}, "heads='4' · wanted a whole number"),
        ({"grid": 4}, "grid=4 · wanted (rows, columns)"),
        ({"grid": (0, 4)}, "grid=(0, 4) · wanted"),
        ({"rotary_dtype": "float33"}, "did you mean float32"),
        ({"rotary_dtype": torch.float32}, "unknown rotary_dtype 'torch.float32'"),
    ],
)
def test_impossible_hints(hints: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pose17", "0.3b"))
    with pytest.raises(InputError) as caught:
        load(path, device="meta", **hints)
    assert says in str(caught.value)


def test_one_set_of_hints_serves_both_generations(tmp_path: Path) -> None:
    save_file(tiny("pose")[1], tmp_path / "one.safetensors")
    plain = load_network(tmp_path / "one.safetensors", heads=4)
    both = load_network(tmp_path / "one.safetensors", heads=4, rotary_dtype="float32")
    assert both.config == plain.config
    save_file(random_weights(tiny_sapiens2("pose")), tmp_path / "two.safetensors")
    network = load_network(tmp_path / "two.safetensors", heads=4, rotary_dtype="float32")
    assert network.config.backbone.rotary_dtype == "float32"


def test_hints_of_none_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sapiens_0.3b_coco_best_coco_AP_796.safetensors"
    write_hollow(path, sapiens("pose17", "0.3b"))
    none = dict.fromkeys(("heads", "patch_padding", "rotary_dtype", "grid"))
    network = load_network(path, device="meta", **none)  # type: ignore[arg-type]
    assert network.config == load_network(path, device="meta").config


def test_one_point_is_one_keypoint(tmp_path: Path) -> None:
    shapes = sapiens("pose17", "0.3b")
    for name in ("head.final_layer.weight", "head.final_layer.bias"):
        shapes[name] = (1, *shapes[name][1:])
    assert glance(write_hollow(tmp_path / "w.safetensors", shapes)).endswith("(0.3b, 1 keypoint)")
    shapes = sapiens("seg28", "0.3b")
    for name in ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"):
        shapes[name] = (1, *shapes[name][1:])
    assert glance(write_hollow(tmp_path / "w.safetensors", shapes)).endswith("(0.3b, 1 class)")


@pytest.mark.parametrize("name", ["pose", "mae"])
def test_names_of_distributed_training(name: str, tmp_path: Path) -> None:
    weights = tiny(name)[1]
    torch.save({"state_dict": weights}, tmp_path / "plain.pth")
    wrapped = {f"module.{n}": t for n, t in weights.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "w.pth")
    one, two = (load_network(tmp_path / f"{n}.pth", heads=4) for n in ("plain", "w"))
    assert all(torch.equal(t, two.state_dict()[n]) for n, t in one.state_dict().items())
    assert open_file(tmp_path / "w.pth").container == "state_dict.module"
    some = {n if n.endswith("pos_embed") else f"module.{n}": t for n, t in weights.items()}
    save_file(some, tmp_path / "some.safetensors")
    with pytest.raises(WeightsError, match="names of no known network"):
        load_network(tmp_path / "some.safetensors", heads=4)
