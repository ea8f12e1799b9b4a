# SPDX-License-Identifier: Apache-2.0
"""Converting weights to self-describing files, and loading those."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import random_weights, tiny, tiny_sapiens2
from safetensors.torch import save_file

from vitruvian.errors import InputError, UnknownNameError, WeightsError
from vitruvian.model.network import Network
from vitruvian.model.weights import convert, load, load_mae, load_network, save

PADDING = {"pose": 2, "seg": 0, "depth": 0, "normal": 2}


@pytest.fixture(autouse=True)
def no_fetched_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "fetched"))


def _same(a: Network, b: Network) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("name", ["pose", "seg", "depth", "normal"])
def test_converted_files_say_everything_and_give_the_same_numbers(
    name: str, tmp_path: Path
) -> None:
    arrays, weights = tiny(name)
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "w.pth")
    hints: dict[str, Any] = {"heads": 4, "patch_padding": PADDING[name]}
    written = convert(tmp_path / "w.pth", tmp_path / "out.safetensors", **hints)
    network, card = load(tmp_path / "out.safetensors")
    assert card == written
    assert card.source is not None
    assert card.source.file == "w.pth"
    assert len(card.source.sha256 or "") == 64
    original = load_network(tmp_path / "w.pth", **hints)
    assert network.config == original.config
    with torch.inference_mode():
        (ours,), (theirs,) = network(arrays["image"]).values(), original(arrays["image"]).values()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("task", ["pose", "pointmap", "albedo", "matting"])
def test_converting_the_second_generation(task: str, tmp_path: Path) -> None:
    save_file(random_weights(tiny_sapiens2(task)), tmp_path / "w.safetensors")
    convert(tmp_path / "w.safetensors", tmp_path / "out.safetensors", rotary_dtype="float32")
    network = load_network(tmp_path / "out.safetensors")
    assert _same(network, load_network(tmp_path / "w.safetensors"))
    assert network.config.backbone.rotary_dtype == "float32"
    network = load_network(tmp_path / "out.safetensors", rotary_dtype="bfloat16")
    assert network.config.backbone.rotary_dtype == "bfloat16"


def test_converting_pretraining_keeps_the_decoder(tmp_path: Path) -> None:
    weights = tiny("mae")[1]
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="decoder_heads="):
        convert(tmp_path / "w.pth", tmp_path / "out.safetensors", heads=4)
    card = convert(tmp_path / "w.pth", tmp_path / "out.safetensors", heads=4, decoder_heads=4)
    assert card.decoder is not None
    one, two = (
        load_mae(tmp_path / "w.pth", heads=4, decoder_heads=4),
        load_mae(tmp_path / "out.safetensors"),
    )
    assert one.config == two.config
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not load_network(tmp_path / "out.safetensors").heads


def test_converting_to_another_dtype(tmp_path: Path) -> None:
    weights = tiny("pose")[1]
    save_file(weights, tmp_path / "w.safetensors")
    convert(tmp_path / "w.safetensors", tmp_path / "b.safetensors", heads=4, dtype="bf16")
    network = load_network(tmp_path / "b.safetensors")
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert _same(network, load_network(tmp_path / "w.safetensors", heads=4, dtype="bfloat16"))
    with pytest.raises(UnknownNameError, match="dtype"):
        load_network(tmp_path / "w.safetensors", heads=4, dtype="int4")


def test_own_files_are_strict_too(tmp_path: Path) -> None:
    from safetensors import safe_open

    save_file(tiny("pose")[1], tmp_path / "w.safetensors")
    out = tmp_path / "out.safetensors"
    convert(tmp_path / "w.safetensors", out, heads=4)
    with safe_open(out, "pt") as file:
        tensors = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118 - no mapping
        metadata = file.metadata()
    tensors["heads.pose.extra"] = tensors.pop("heads.pose.predict.bias")
    save_file(tensors, out, metadata=metadata)
    with pytest.raises(WeightsError, match=r"1 missing \(heads.pose.predict.bias\), 1 left over"):
        load(out)
    save_file(tensors, out)
    with pytest.raises(WeightsError, match="without their card"):
        load(out)


def test_own_files_say_everything_themselves(tmp_path: Path) -> None:
    save_file(tiny("pose")[1], tmp_path / "w.safetensors")
    out = tmp_path / "out.safetensors"
    convert(tmp_path / "w.safetensors", out, heads=4, vocabulary="mine")
    assert load(out)[1].tasks["pose"].vocabulary == "mine"
    load(out, heads=4, patch_padding=2)  # what agrees is welcome
    with pytest.raises(WeightsError, match=r"patch_padding=0 given · the file says 2"):
        load(out, heads=4, patch_padding=0)
    with pytest.raises(WeightsError, match="a network for pose, not a depth model"):
        load(out, task="depth")
    card = convert(out, tmp_path / "again.safetensors", vocabulary="other", dtype="fp16")
    assert card.tasks["pose"].vocabulary == "other"
    assert card.source is not None
    assert card.source.file == "w.safetensors"


def test_own_files_check_hints_and_tasks_too(tmp_path: Path) -> None:
    save_file(tiny("pose")[1], tmp_path / "w.safetensors")
    out = tmp_path / "out.safetensors"
    with pytest.raises(UnknownNameError, match="did you mean patch_padding"):
        convert(tmp_path / "w.safetensors", out, heads=4, pach_padding=0)  # type: ignore[call-arg]
    card = convert(tmp_path / "w.safetensors", out, heads=4)
    with pytest.raises(UnknownNameError, match="unknown hint 'pach_padding'"):
        load(out, pach_padding=0)  # type: ignore[call-arg]
    with pytest.raises(UnknownNameError, match="unknown task 'xyz': choose one of albedo"):
        load(out, task="xyz")
    with pytest.raises(WeightsError, match="not a pretraining encoder"):
        load(out, task="pretrain")
    # No rotary angles in the first generation: nothing to change.
    assert load(out, rotary_dtype="float32")[1] == card
    save_file(tiny("mae")[1], tmp_path / "mae.safetensors")
    convert(tmp_path / "mae.safetensors", out, heads=4, decoder_heads=4)
    assert not load_network(out, task="pretrain").heads


def _two_heads(folder: Path, second: str = "depth") -> Path:
    """Write our own file of a backbone with two heads."""
    from vitruvian.model.card import KEY, TaskCard

    save_file(tiny("pose")[1], folder / "w.safetensors")
    network, card = load(folder / "w.safetensors", heads=4)
    head = network.config.heads["pose"]
    config = replace(network.config, heads={"pose": head, second: replace(head, out=1)})
    both = replace(card, network=config, tasks=dict(card.tasks) | {second: TaskCard()})
    path = folder / "both.safetensors"
    save_file(Network(config).state_dict(), path, metadata={KEY: both.to_json()})
    return path


def test_one_of_several_heads(tmp_path: Path) -> None:
    path = _two_heads(tmp_path)
    assert set(load_network(path).heads) == {"pose", "depth"}
    network, card = load(path, task="depth")
    assert set(network.heads) == set(card.tasks) == {"depth"}
    assert card.network == network.config
    convert(path, tmp_path / "one.safetensors", task="pose")
    assert set(load_network(tmp_path / "one.safetensors").heads) == {"pose"}


def test_a_vocabulary_goes_to_the_head_that_has_names(tmp_path: Path) -> None:
    path, out = _two_heads(tmp_path), tmp_path / "out.safetensors"
    card = convert(path, out, vocabulary="mine")
    assert {n: t.vocabulary for n, t in card.tasks.items()} == {"pose": "mine", "depth": None}
    assert load(out)[1] == card
    with pytest.raises(InputError, match="a vocabulary for depth · only outputs of pose and parts"):
        convert(path, out, vocabulary="mine", task="depth")


def test_a_vocabulary_for_one_of_two_heads_with_names(tmp_path: Path) -> None:
    path, out = _two_heads(tmp_path, "parts"), tmp_path / "out.safetensors"
    with pytest.raises(InputError, match=r"heads pose and parts · wanted one of them .*--task"):
        convert(path, out, vocabulary="mine")
    assert not out.exists()
    for task in ("parts", "seg"):
        card = convert(path, out, vocabulary="mine", task=task)
        assert {n: t.vocabulary for n, t in card.tasks.items()} == {"parts": "mine"}


@pytest.mark.parametrize(("name", "have"), [("depth", "depth"), ("mae", "an encoder without head")])
def test_no_vocabulary_for_what_has_no_names(name: str, have: str, tmp_path: Path) -> None:
    save_file(tiny(name)[1], tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=f"a vocabulary for {have} · only outputs of pose"):
        convert(
            *(tmp_path / "w.safetensors", tmp_path / "o.safetensors"),
            heads=4,
            decoder_heads=4 if name == "mae" else None,
            vocabulary="coco17",
        )


def test_where_conversion_writes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(tiny("pose")[1], path)
    with pytest.raises(InputError, match="the source itself"):
        convert(path, path, heads=4)
    with pytest.raises(InputError, match=r"wanted \.safetensors"):
        convert(path, tmp_path / "w.pth", heads=4)


def test_saving_a_network(tmp_path: Path) -> None:
    save_file(tiny("pose")[1], tmp_path / "w.safetensors")
    network, card = load(tmp_path / "w.safetensors", heads=4)
    with torch.no_grad():
        network.heads["pose"].predict.bias.add_(1)  # type: ignore[union-attr]
    save(tmp_path / "new" / "out.safetensors", network, card)
    again, told = load(tmp_path / "new" / "out.safetensors")
    assert told == card
    assert _same(again, network)
    backbone = replace(card.network.backbone, heads=2)
    other = replace(card, network=replace(card.network, backbone=backbone))
    with pytest.raises(InputError, match="describes another network"):
        save(tmp_path / "x.safetensors", network, other)
    with pytest.raises(InputError, match=r"wanted \.safetensors"):
        save(tmp_path / "x.pth", network, card)
