# SPDX-License-Identifier: Apache-2.0
"""Loading, refusing and converting weights, through the files people have."""

import json
import os
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    write_hollow,
)
from safetensors.torch import save_file

from vitruvian.errors import UnknownNameError, WeightsError
from vitruvian.model.card import Card
from vitruvian.model.network import Network
from vitruvian.model.opening import open_weights
from vitruvian.model.published import published_network
from vitruvian.model.sizes import SIZES
from vitruvian.model.weights import load, load_mae, load_network

OURS = {"seg": "parts", "seg28": "parts", "normal": "normals"}
PADDING = {"pose": 2, "seg": 0, "depth": 0, "normal": 2}


@pytest.fixture(autouse=True)
def no_fetched_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "fetched"))


def _same(a: Network, b: Network) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


# ------------------------------------------------------------------------- every published file


@pytest.mark.parametrize(("layout", "size"), list(first_generation()))
def test_first_generation_files_load(layout: str, size: str, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens(layout, size))
    network, card = load(path, device="meta")
    assert card.generation == 1
    assert (card.licence, card.commercial) == ("CC-BY-NC-4.0", "no")
    backbone = network.config.backbone
    if layout in ("pretrain", "clean"):
        assert backbone == replace(SIZES[size], class_token=True, grid=(64, 64))
        assert (card.tasks, card.input_size) == ({}, (1024, 1024))
        return
    task = OURS.get(layout, layout).rstrip("0123456789")
    count = {"pose": int(layout[4:] or 0) if "pose" in layout else 0, "parts": 28}.get(task)
    assert network.config == published_network(task, size, count or None)
    assert backbone.patch_padding == (2 if task in ("pose", "normals") else 0)
    assert card.input_size == (1024, 768)
    assert card.framing == ("person" if task == "pose" else "stretch")
    names = {"pose17": "coco17", "pose133": "wholebody133", "pose308": "sapiens308"}
    wanted = names.get(layout) or {"parts": "parts28"}.get(task)
    assert card.tasks[task].vocabulary == wanted


@pytest.mark.parametrize(("task", "size"), list(second_generation()))
def test_second_generation_files_load(task: str, size: str, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens2(task, size))
    network, card = load(path, device="meta")
    assert (card.generation, card.licence, card.commercial) == (
        2,
        "Sapiens2 License",
        "restricted",
    )
    if task == "pretrain":
        assert network.config.backbone == SIZES[f"sapiens2-{size}"]
        assert card.input_size == ((4096, 3072) if size == "1b-4k" else (1024, 768))
        return
    ours = OURS.get(task, task)
    assert network.config == published_network(ours, f"sapiens2-{size}")
    framing = {"pose": "person", "parts": "stretch", "matting": "stretch"}.get(ours, "pad")
    assert card.framing == framing


def test_wrapped_pretraining_keeps_only_the_encoder(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pretrain", "0.3b"))
    network = load_network(path, device="meta")
    assert not network.heads
    assert sum(p.numel() for p in network.parameters()) == 307_295_232
    mae = load_mae(path, device="meta")
    assert sum(p.numel() for p in mae.parameters()) == 307_295_232 + 28_237_056


def test_published_files_need_no_hints_but_take_them(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("normal", "0.3b"))
    assert load_network(path, device="meta", patch_padding=0).config.backbone.patch_padding == 0
    path = write_hollow(tmp_path / "v.safetensors", sapiens2("pose", "0.4b"))
    config = load_network(path, device="meta", rotary_dtype="float32").config
    assert config.backbone.rotary_dtype == "float32"


def _last_layer(head: str, count: int) -> dict[str, tuple[int, ...]]:
    shapes = sapiens("seg28", "0.3b")
    shapes[f"{head}.weight"], shapes[f"{head}.bias"] = (count, 768, 1, 1), (count,)
    return shapes


@pytest.mark.parametrize(
    ("count", "padding", "vocabulary"), [(20, 2, "lip20"), (19, 0, "face19"), (7, 0, None)]
)
def test_part_counts_decide_padding_and_names(
    count: int, padding: int, vocabulary: str | None, tmp_path: Path
) -> None:
    shapes = _last_layer("decode_head.conv_seg", count)
    network, card = load(write_hollow(tmp_path / "w.safetensors", shapes), device="meta")
    assert network.config.backbone.patch_padding == padding
    assert card.tasks["parts"].vocabulary == vocabulary


def test_one_class_of_three_stages_is_parts(tmp_path: Path) -> None:
    shapes = _last_layer("decode_head.conv_seg", 1)
    card = load(write_hollow(tmp_path / "w.safetensors", shapes), device="meta")[1]
    assert list(card.tasks) == ["parts"]


# ------------------------------------------------------------------------------ equal numbers


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["pose", "seg", "depth", "normal"])
def test_golden_networks(name: str, suffix: str, tmp_path: Path) -> None:
    arrays, weights = tiny(name)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save({"meta": {"epoch": 1}, "state_dict": OrderedDict(weights)}, path)
    else:
        save_file(weights, path)
    task = OURS.get(name, name)
    network = load_network(path, task=task, heads=4, patch_padding=PADDING[name])
    with torch.inference_mode():
        output = network(arrays["image"])[task]
        features = network.features(arrays["image"])
    for ours, theirs in ((output, arrays["output"]), (features, arrays["features"])):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert not network.training


def test_golden_pretraining(tmp_path: Path) -> None:
    arrays, weights = tiny("mae")
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "w.pth")
    mae = load_mae(tmp_path / "w.pth", heads=4, decoder_heads=4)
    with torch.no_grad():
        result = mae(arrays["image"], noise=arrays["noise"])
    assert (result.prediction - arrays["pred"]).abs().max() <= 1e-5 * arrays["pred"].abs().max()
    assert torch.isclose(result.loss, arrays["loss"], rtol=1e-5)
    network = load_network(tmp_path / "w.pth", heads=4)
    with torch.no_grad():
        features = network.features(arrays["image"]).flatten(2).transpose(1, 2)
    wanted = arrays["features_unmasked"][:, 1:]
    assert (features - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    clean = {n[9:]: t for n, t in weights.items() if n.startswith("backbone.")}
    torch.save(OrderedDict(clean), tmp_path / "w_clean.pth")
    assert _same(network, load_network(tmp_path / "w_clean.pth", heads=4))


@pytest.mark.parametrize("container", ["state_dict", "model", "teacher"])
def test_containers(container: str, tmp_path: Path) -> None:
    weights = random_weights(tiny_sapiens2("pose"))
    torch.save({container: weights, "epoch": 3}, tmp_path / "w.pth")
    save_file(weights, tmp_path / "w.safetensors")
    assert _same(load_network(tmp_path / "w.pth"), load_network(tmp_path / "w.safetensors"))


def _transformers(task: str) -> tuple[Any, Any]:
    """Return a small transformers model and the attribute of its output that is compared."""
    module = pytest.importorskip("transformers.models.sapiens2.modeling_sapiens2")
    from transformers.models.sapiens2 import Sapiens2Config, Sapiens2HeadConfig

    shuffle = {"use_pixel_shuffle": True, "upsample_kernel_size": 3, "conv_kernel_size": 3}
    many = {"upsample_out_channels": [24, 16, 12, 8], "conv_out_channels": [8, 8, 4]}
    scale = {"scale_conv_out_channels": [24, 16, 8], "scale_final_hidden_sizes": [16, 8]}
    name, head, labels, field = {
        "pose": (
            "PoseEstimation",
            {"upsample_out_channels": [24, 16], "conv_out_channels": [12, 12, 8]},
            308,
            "heatmaps",
        ),
        "parts": ("SemanticSegmentation", many | {"conv_out_channels": [8, 8]}, 29, "logits"),
        "normals": ("NormalEstimation", many | shuffle, 3, "normals"),
        "pointmap": ("PointmapEstimation", many | shuffle | scale, 3, "pointmaps"),
        "matting": ("ImageMatting", many | shuffle, 4, "alphas"),
    }[task]
    config = Sapiens2Config(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        num_first_full_attention_layers=1,
        num_last_full_attention_layers=1,
        image_size=[256, 192],
        pos_embed_rescale=None,
        num_labels=labels,
        head_config=Sapiens2HeadConfig(**head),
    )
    model = getattr(module, f"Sapiens2For{name}")(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model, field


@pytest.mark.filterwarnings("default")  # not ours to keep quiet
@pytest.mark.parametrize("task", ["pose", "parts", "normals", "pointmap", "matting"])
def test_transformers_folders(task: str, tmp_path: Path) -> None:
    model, field = _transformers(task)
    model.save_pretrained(tmp_path / "original")  # writes the original names
    own = tmp_path / "own"  # transformers' own names
    own.mkdir()
    save_file({n: t.clone() for n, t in model.state_dict().items()}, own / "model.safetensors")
    (own / "config.json").write_text((tmp_path / "original" / "config.json").read_text())
    image = torch.randn(2, 3, 256, 192)
    with torch.inference_mode():
        wanted = model(image)
    for folder in (tmp_path / "original", own):
        network, card = load(folder, task=task, rotary_dtype="float32")
        assert (card.name, card.input_size) == (folder.name, (256, 192))
        with torch.inference_mode():
            outputs = network(image)
        theirs, ours = getattr(wanted, field), outputs[task]
        ours = ours[:, 3:] if task == "matting" else ours
        assert (ours - theirs).abs().max() <= 3e-5 * theirs.abs().max()
        if task == "pointmap":
            assert torch.allclose(outputs["pointmap_scale"], wanted.scales, atol=1e-5)


def test_transformers_config_must_be_ours(tmp_path: Path) -> None:
    weights = random_weights(tiny_sapiens2("pose"))
    save_file(weights, tmp_path / "model.safetensors")
    plain: dict[str, Any] = {"model_type": "sapiens2", "num_attention_heads": 4}
    for change, says in (
        ({"model_type": "dinov3_vit"}, "wanted 'sapiens2'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_attention_heads": 8}, "show 4 heads"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(plain | change))
        with pytest.raises(WeightsError, match=says):
            load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(plain | {"rope_theta": 50.0}))
    assert load_network(tmp_path).config.backbone.rotary_base == 50.0


# ------------------------------------------------------------------------------------ strictness


@pytest.mark.parametrize("name", ["depth", "mae"])
def test_any_missing_or_misshapen_tensor_is_named(name: str, tmp_path: Path) -> None:
    """Published widths vote against one wrong tensor; here, widths are known by votes alone."""
    shapes = {n: tuple(t.shape) for n, t in tiny(name)[1].items()}
    path = tmp_path / "w.safetensors"
    for key in list(shapes)[:: 2 if name == "mae" else 1]:
        with pytest.raises(WeightsError) as caught:
            open_weights(write_hollow(path, {n: s for n, s in shapes.items() if n != key}), heads=4)
        assert f"1 missing ({key})" in str(caught.value)
        wrong = shapes | {key: (*shapes[key], 2)}
        with pytest.raises(WeightsError) as caught:
            open_weights(write_hollow(path, wrong), heads=4)
        assert f"1 of another shape ({key} is " in str(caught.value)


@pytest.mark.parametrize(
    ("family", "task", "size", "key"),
    [
        ("sapiens", "pose17", "0.3b", "backbone.pos_embed"),
        ("sapiens", "pose308", "1b", "head.deconv_layers.3.weight"),
        ("sapiens", "pose17", "0.3b", "head.final_layer.weight"),
        ("sapiens", "seg28", "0.3b", "decode_head.conv_layers.6.bias"),
        ("sapiens", "depth", "0.6b", "decode_head.deconv_layers.9.weight"),
        ("sapiens", "normal", "0.3b", "backbone.ln1.weight"),
        ("sapiens", "pretrain", "0.3b", "backbone.cls_token"),
        ("sapiens", "pretrain", "0.3b", "neck.mask_token"),
        ("sapiens", "clean", "2b", "patch_embed.projection.weight"),
        ("sapiens2", "pose", "0.4b", "backbone.blocks.9.attn.wk.weight"),
        ("sapiens2", "pose", "1b", "decode_head.deconv_layers.0.weight"),
        ("sapiens2", "albedo", "0.4b", "decode_head.conv_layers.4.norm.weight"),
        ("sapiens2", "pointmap", "0.8b", "decode_head.scale_final_layer.1.weight"),
        ("sapiens2", "pretrain", "1b-4k", "tokenizer.w_cls"),
        ("sapiens2", "pretrain", "0.1b", "storage_tokens"),
    ],
)
def test_one_wrong_tensor_of_a_published_file(
    family: str, task: str, size: str, key: str, tmp_path: Path
) -> None:
    shapes = (sapiens if family == "sapiens" else sapiens2)(task, size)
    path = tmp_path / "w.safetensors"

    def refused(changed: dict[str, tuple[int, ...]]) -> str:
        with pytest.raises(WeightsError) as caught:
            load(write_hollow(path, changed), device="meta")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert f"1 missing ({key})" in refused({n: s for n, s in shapes.items() if n != key})
    grown = shapes | {key: (shapes[key][0] + 1, *shapes[key][1:])}
    assert f"1 of another shape ({key} is {grown[key]}, not {shapes[key]})" in refused(grown)
    assert "1 left over (backbone.extra)" in refused(shapes | {"backbone.extra": (3,)})


def test_counts_and_three_examples(tmp_path: Path) -> None:
    shapes = sapiens("pose17", "0.3b")
    kept = {n: s for n, s in shapes.items() if ".3." not in n} | {f"x{i}": (1,) for i in range(5)}
    with pytest.raises(WeightsError) as caught:
        open_weights(write_hollow(tmp_path / "w.safetensors", kept))
    text = str(caught.value)
    assert f"its {len(shapes)} tensors do not fit: {len(shapes) - len(kept) + 5} missing (" in text
    assert "5 left over (x0, x1, x2, …)" in text
    assert text.count("layers.3.") == 3


def test_only_periods_are_tolerated(tmp_path: Path) -> None:
    shapes = sapiens2("pose", "0.4b")
    shapes.pop("backbone.rope_embed.periods")
    load(write_hollow(tmp_path / "w.safetensors", shapes), device="meta")
    first = sapiens("pose17", "0.3b") | {"backbone.rope_embed.periods": (16,)}
    with pytest.raises(WeightsError, match="1 left over"):
        load(write_hollow(tmp_path / "w.safetensors", first), device="meta")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    weights = tiny("pose")[1]
    weights["head.final_layer.bias"] = weights["head.final_layer.bias"].int()
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"final_layer.bias is int32"):
        load(tmp_path / "w.safetensors", heads=4)


def test_hints_that_contradict_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_hollow(path, sapiens("pose17", "0.3b"))
    for hints, says in (
        ({"grid": (64, 64)}, "4096 patches"),
        ({"heads": 7}, "divisor"),
    ):
        with pytest.raises(WeightsError, match=says):
            load(path, device="meta", **hints)
    write_hollow(path, sapiens2("pose", "0.4b"))
    for hints, says in (({"heads": 8}, "show 16 heads"), ({"patch_padding": 2}, "has none")):
        with pytest.raises(WeightsError, match=says):
            load(path, device="meta", **hints)
    save_file(tiny("pose")[1], path)
    with pytest.raises(WeightsError, match=r"pass heads=… \(on the command line --heads\)"):
        load(path)


def test_odd_grids_are_asked_for(tmp_path: Path) -> None:
    weights = tiny("pose")[1]
    weights["backbone.pos_embed"] = torch.randn(1, 10, 32)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="grid="):
        load(tmp_path / "w.safetensors", heads=4)
    network = load_network(tmp_path / "w.safetensors", heads=4, grid=(5, 2))
    assert network.config.backbone.grid == (5, 2)


# ------------------------------------------------------------------------------- wrong pairs


def _torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save(path)


def _exported(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", b"{}")


def _half(path: Path) -> None:
    torch.save({"state_dict": tiny("pose")[1]}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _hollow(shapes: dict[str, tuple[int, ...]]) -> Callable[[Path], object]:
    return lambda path: write_hollow(path, shapes)


PAIRS = [
    (
        _hollow(sapiens("pretrain", "0.3b")),
        "sapiens_0.3b_epoch_1600.safetensors",
        "pose",
        "this is a Sapiens pretraining encoder (0.3b, class token, 4097 positions, with decoder), "
        "not a pose model",
    ),
    (
        _hollow(sapiens("clean", "1b")),
        "sapiens_1b_epoch_173_clean.safetensors",
        "pose",
        "this is a Sapiens pretraining encoder (1b, class token, 4097 positions), not a pose",
    ),
    (
        _hollow(sapiens("pose17", "0.3b")),
        "p.safetensors",
        "parts",
        "this is a Sapiens pose model (0.3b, 17 keypoints), not a parts model",
    ),
    (
        _hollow(sapiens("seg28", "0.6b")),
        "s.safetensors",
        "depth",
        "this is a Sapiens parts model (0.6b, 28 classes), not a depth model",
    ),
    (
        _hollow(sapiens("depth", "0.3b")),
        "d.safetensors",
        "normals",
        "this is a Sapiens depth model (0.3b), not a normals model",
    ),
    (
        _hollow(sapiens("normal", "0.3b")),
        "n.safetensors",
        "seg",
        "this is a Sapiens normals model (0.3b), not a parts model",
    ),
    (
        _hollow(sapiens2("pretrain", "0.4b")),
        "sapiens2_0.4b_pretrain.safetensors",
        "pose",
        "this is a Sapiens2 pretraining encoder (0.4b, class token), not a pose model",
    ),
    (
        _hollow(sapiens2("pretrain", "1b-4k")),
        "sapiens2_1b_4k_pretrain.safetensors",
        "parts",
        "this is a Sapiens2 pretraining encoder (1b-4k, class token), not a parts model",
    ),
    (
        _hollow(sapiens2("normal", "0.4b")),
        "sapiens2_0.4b_normal.safetensors",
        "pose",
        "this is a Sapiens2 normals model (0.4b), not a pose model",
    ),
    (
        _torchscript,
        "sapiens_1b_coco_best_coco_AP_821_torchscript.pt2",
        "pose",
        "use the original file sapiens_1b_coco_best_coco_AP_821.pth",
    ),
    (
        _exported,
        "sapiens_0.3b_goliath_best_goliath_mIoU_7673_epoch_194_bfloat16.pt2",
        "parts",
        "use the original file sapiens_0.3b_goliath_best_goliath_mIoU_7673_epoch_194.pth",
    ),
    (_half, "sapiens_0.3b_coco_best_coco_AP_796.pth", "pose", "truncated or damaged"),
]


@pytest.mark.parametrize(("write", "name", "task", "says"), PAIRS, ids=[p[1] for p in PAIRS])
def test_wrong_pairs_are_refused_in_one_line(
    write: Callable[[Path], object], name: str, task: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(WeightsError) as caught:
        load_network(path, task=task)
    text = str(caught.value)
    assert says in text
    assert str(path) in text
    assert "\n" not in text


def test_a_wrong_pair_names_a_file_that_would_do(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pretrain", "0.6b"))
    with pytest.raises(WeightsError) as caught:
        load(path, task="parts")
    assert "for example sapiens-seg-0.6b" in str(caught.value)
    assert "vitruvian weights list --task parts" in str(caught.value)
    with pytest.raises(UnknownNameError, match="did you mean pose"):
        load(path, task="poze")


def test_published_words_name_tasks_too(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("seg28", "0.3b"))
    assert list(load(path, task="seg", device="meta")[1].tasks) == ["parts"]


def test_other_networks_are_refused(tmp_path: Path) -> None:
    detector = {"backbone.stem.conv1.conv.weight": (3,), "bbox_head.rtm_cls.0.bias": (80,)}
    with pytest.raises(WeightsError, match="names of no known network"):
        load(write_hollow(tmp_path / "w.safetensors", detector))
    headless = sapiens2("pose", "0.4b")
    headless = {n: s for n, s in headless.items() if "conv_pose" not in n}
    with pytest.raises(WeightsError, match="0 last layers"):
        load(write_hollow(tmp_path / "w.safetensors", headless))


def test_load_mae_needs_a_decoder(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("clean", "0.3b"))
    with pytest.raises(WeightsError, match="does not end in _clean"):
        load_mae(path)
    torch.save({"state_dict": tiny("mae")[1]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="decoder_heads="):
        load_mae(tmp_path / "w.pth", heads=4)


# ----------------------------------------------------------------------------- cost of loading


def test_loading_reads_each_number_once(tmp_path: Path) -> None:
    """Peak memory of loading 400 MB, in a process of its own."""
    shapes = sapiens2("pretrain", "0.1b")
    path = write_hollow(tmp_path / "w.safetensors", shapes)
    program = f"""
import resource, torch
from vitruvian.model.weights import load_network
torch.set_num_threads(1)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
network = load_network({str(path)!r})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert all(not p.is_meta for p in network.parameters())
import sys
assert "sympy" not in sys.modules  # torch's decompositions: seconds of imports
print((peak - base) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    growth, size = int(done.stdout), path.stat().st_size
    assert size > 400e6
    assert growth < 1.3 * size


def test_trainable_parameters_stay_trainable(tmp_path: Path) -> None:
    torch.save({"meta": {}, "state_dict": tiny("mae")[1]}, tmp_path / "w.pth")
    mae = load_mae(tmp_path / "w.pth", heads=4, decoder_heads=4)
    frozen = {n for n, p in mae.named_parameters() if not p.requires_grad}
    assert frozen == {"encoder.pos_embed", "decoder.pos_embed"}
    network = load_network(tmp_path / "w.pth", heads=4)
    assert all(p.requires_grad for p in network.parameters())
    network.features(torch.randn(1, 3, 64, 64)).sum().backward()


def test_cards_describe_what_was_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sapiens_0.3b_coco_best_coco_AP_796.safetensors"
    write_hollow(path, sapiens("pose17", "0.3b"))
    opened = open_weights(path)
    assert opened.card.name == path.stem
    assert Card.from_json(opened.card.to_json()) == opened.card
