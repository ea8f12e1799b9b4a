# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_goldens import relative, tiny_network

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.model.heads import DenseHead, DenseHeadConfig, ScaleHead, ScaleHeadConfig, build_head
from vitruvian.model.published import (
    FIRST,
    SECOND,
    published_heads,
    published_network,
    published_patch_padding,
)

SHUFFLE = DenseHeadConfig(
    in_dim=8,
    out=3,
    upsample="shuffle",
    widths=(12, 6),
    refine=(6, 4),
    refine_kernel=3,
    stem=True,
)


@pytest.mark.parametrize("task", ["pose", "seg", "depth", "normal"])
def test_heads_equal_the_original(task: str):
    network, arrays = tiny_network(task)
    with torch.inference_mode():
        assert relative(network.heads["task"](arrays["features"]), arrays["output"]) < 1e-5
        assert relative(network(arrays["image"])["task"], arrays["output"]) < 1e-5


# 0.3b / 0.6b / 1b / 2b, and sapiens2-0.4b / 0.8b / 1b / 5b
COUNTS = {
    ("pose", 1): (23_438_132, 26_583_860, 29_729_588, 34_448_180),
    ("parts", 1): (33_250_588, 36_396_316, 39_542_044, 44_260_636),
    ("depth", 1): (13_665_409, 15_238_273, 16_811_137, 19_170_433),
    ("normals", 1): (33_231_363, 36_377_091, 39_522_819, 44_241_411),
    ("pose", 2): (30_226_996, 34_421_300, 64_305_972, 53_295_668),
    ("parts", 2): (11_151_325, 13_248_477, 15_345_629, 22_685_661),
    ("normals", 2): (57_907_363, 70_293_923, 83_860_131, 249_455_299),
    ("pointmap", 2): (133_224_996, 153_082_660, 174_119_972, 281_442_884),
    ("albedo", 2): (57_910_163, 70_296_979, 83_863_443, 249_244_179),
}


@pytest.mark.parametrize(("task", "generation"), COUNTS)
def test_counts_of_published_weights(task: str, generation: int):
    sizes = FIRST if generation == 1 else SECOND
    for size, count in zip(sizes, COUNTS[task, generation], strict=True):
        assert weights_of(task, size) == count, size


def test_counts_of_other_published_heads():
    assert weights_of("matting", "sapiens2-1b") == 83_860_148
    # Published rounded to 0.01 million.
    assert weights_of("pose", "0.3b", 17) == pytest.approx(23.21e6, abs=1e4)
    assert weights_of("pose", "2b", 133) == pytest.approx(34.31e6, abs=1e4)


def weights_of(task: str, size: str, out: int | None = None) -> int:
    with torch.device("meta"):
        heads = [build_head(config) for config in published_heads(task, size, out).values()]
    return sum(p.numel() for head in heads for p in head.parameters())


def test_what_was_not_published_is_refused():
    with pytest.raises(InputError, match="'depth' of size 'sapiens2-1b' · wanted one published"):
        published_heads("depth", "sapiens2-1b")
    with pytest.raises(InputError, match="pose, parts, depth, normals"):
        published_heads("albedo", "1b")
    with pytest.raises(InputError, match="1b only"):
        published_heads("matting", "sapiens2-5b")
    for size in ("sapiens2-1b-4k", "nano", "sapiens2-0.4"):
        with pytest.raises(UnknownNameError):
            published_heads("pose", size)


def test_patch_padding_goes_with_the_task():
    padding = {t: published_patch_padding(t, "1b") for t in ("pose", "parts", "depth", "normals")}
    assert padding == {"pose": 2, "parts": 0, "depth": 0, "normals": 2}
    assert published_patch_padding("parts", "0.3b", 20) == 2
    assert published_patch_padding("parts", "0.3b", 19) == 0
    assert published_patch_padding("pose", "sapiens2-1b") == 0
    assert published_network("normals", "0.6b").backbone.patch_padding == 2


def test_a_shuffle_head_written_out():
    head = DenseHead(SHUFFLE).eval()
    x = torch.randn(2, 8, 4, 3)

    def normed(y: torch.Tensor) -> torch.Tensor:
        mean = y.mean((2, 3), keepdim=True)
        variance = y.var((2, 3), keepdim=True, unbiased=False)
        return F.silu((y - mean) / (variance + 1e-5).sqrt())

    with torch.inference_mode():
        y = normed(F.conv2d(x, head.stem.weight, head.stem.bias, padding=1))
        for up in head.up:
            y = normed(F.pixel_shuffle(F.conv2d(y, up.weight, up.bias, padding=1), 2))
        for conv in head.refine:
            y = normed(F.conv2d(y, conv.weight, conv.bias, padding=1))
        y = F.conv2d(y, head.predict.weight, head.predict.bias)
        assert torch.allclose(head(x), y, atol=1e-5)
    assert y.shape == (2, 3, 16, 12)


DECONV = DenseHeadConfig(in_dim=8, out=3, widths=(12, 6), refine=(6, 4))


def test_finer_maps_join_behind_the_first_stages():
    head = DenseHead(replace(DECONV, skips=(5,))).eval()
    x = torch.randn(2, 8, 4, 3)
    finer = [torch.randn(2, 5, 8, 6), torch.randn(2, 7, 16, 12)]  # the second is not asked for

    def normed(y: torch.Tensor) -> torch.Tensor:
        return F.silu(F.instance_norm(y))

    with torch.inference_mode():
        y = F.conv_transpose2d(x, head.up[0].weight, stride=2, padding=1)
        y = normed(y + F.conv2d(finer[0], head.skip[0].weight, head.skip[0].bias))
        y = normed(F.conv_transpose2d(y, head.up[1].weight, stride=2, padding=1))
        for conv in head.refine:
            y = normed(F.conv2d(y, conv.weight, conv.bias))
        y = F.conv2d(y, head.predict.weight, head.predict.bias)
        assert torch.allclose(head(x, finer), y, atol=1e-5)
    with pytest.raises(InputError, match="3 skips · wanted at most 2"):
        replace(DECONV, skips=(5, 5, 5))


@pytest.mark.parametrize("config", [SHUFFLE, DECONV])
def test_second_generation_heads_equal_transformers(config: DenseHeadConfig):
    theirs = pytest.importorskip("transformers.models.sapiens2.modeling_sapiens2")
    from transformers import Sapiens2Config

    shuffle = config.upsample == "shuffle"
    shape = {
        "upsample_out_channels": list(config.widths),
        "upsample_kernel_size": 3 if shuffle else 4,
        "use_pixel_shuffle": shuffle or None,
        "conv_out_channels": list(config.refine),
        "conv_kernel_size": config.refine_kernel,
        "scale_conv_out_channels": [6, 4],
        "scale_final_hidden_sizes": [5, 4],
    }
    whole = Sapiens2Config(
        hidden_size=8,
        num_attention_heads=2,
        num_labels=3,
        image_size=[128, 96],
        head_config=shape,
        pos_embed_rescale=None,
    )
    ours, other = DenseHead(config).eval(), theirs.Sapiens2Head(whole).eval()
    renames = {"stem": "input_conv", "up": "upsample_layers", "refine": "conv_layers"}
    other.load_state_dict(
        {
            "predictor." + name.removeprefix("predict.")
            if name.startswith("predict.")
            else re.sub(
                r"^(\w+)(\.\d)?\.(\w+)$",
                lambda m: f"{renames[m[1]]}{m[2] or ''}.convolution.{m[3]}",
                name,
            ): value
            for name, value in ours.state_dict().items()
        }
    )
    scale = ScaleHead(ScaleHeadConfig(in_dim=8, widths=(6, 4), hidden=(5, 4), grid=(8, 6))).eval()
    other_scale = theirs.Sapiens2PointmapScaleHead(whole).eval()
    names = [f"conv_layers.{k}.convolution" for k in range(2)]
    names += [f"predictor.{n}" for n in ("block1.layers.0", "block2.layers.0", "proj")]
    sources = [*scale.conv, *scale.linear]
    other_scale.load_state_dict(
        {
            f"{name}.{key}": value
            for name, source in zip(names, sources, strict=True)
            for key, value in source.state_dict().items()
        }
    )
    x = torch.randn(2, 8, 8, 6)
    with torch.inference_mode():
        assert relative(ours(x), other(x)) < 3e-5
        assert relative(scale(x), other_scale(x)) < 3e-5


def test_channel_norm_and_sigmoid():
    head = DenseHead(replace(SHUFFLE, norm="rms", activation="sigmoid"))
    assert {n for n in head.state_dict() if "norm" in n} == {
        "stem_norm.weight",
        "up_norm.0.weight",
        "up_norm.1.weight",
        "refine_norm.0.weight",
        "refine_norm.1.weight",
    }
    y = head(torch.randn(1, 8, 4, 3))
    assert 0 < y.min() < y.max() < 1
    pixel = torch.tensor([3.0, 4.0] + [0.0] * 6)[None, :, None, None]
    rms = (25 / 8) ** 0.5
    assert torch.allclose(head.stem_norm(pixel)[0, :2, 0, 0], torch.tensor([3.0, 4.0]) / rms)


def test_names_of_a_deconvolution_head():
    names = set(DenseHead(DenseHeadConfig(in_dim=8, out=2, widths=(4,), refine=(4,))).state_dict())
    assert names == {"up.0.weight", "refine.0.weight", "refine.0.bias", "predict.weight"} | {
        "predict.bias"
    }


def test_dropout_acts_in_training_only():
    config = DenseHeadConfig(in_dim=8, out=2, widths=(64,), dropout=0.5)
    head = DenseHead(config)
    x = torch.randn(1, 8, 2, 2)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


def test_scale_head():
    config = ScaleHeadConfig(in_dim=8, widths=(6, 4), hidden=(5,), grid=(6, 5))
    head = ScaleHead(config)
    assert config.cells == 2 * 2 * 4
    x = torch.randn(3, 8, 6, 5)
    assert head(x).shape == (3, 1)
    with pytest.raises(InputError, match=r"of a 6×4 feature map · wanted 6×5"):
        head(x[..., :4])
    full = ScaleHeadConfig(in_dim=8)
    assert full.cells == 6144
    assert {n.split(".")[0] for n in head.state_dict()} == {"conv", "linear"}


def test_starting_values():
    torch.manual_seed(0)
    wide = DenseHeadConfig(in_dim=64, out=32, widths=(64,), refine=(64,))
    kaiming = DenseHead(wide).state_dict()
    assert kaiming["refine.0.weight"].std() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert not kaiming["refine.0.bias"].any()
    small = DenseHead(replace(wide, init="small")).state_dict()
    assert all(v.std() == pytest.approx(1e-3, rel=0.1) for n, v in small.items() if v.ndim == 4)
    library = DenseHead(replace(wide, init="library")).state_dict()
    assert library["predict.weight"].std() == pytest.approx(0.01, rel=0.1)
    assert library["refine.0.weight"].std() == pytest.approx((1 / 3 / 64) ** 0.5, rel=0.05)


def test_shapes_survive_json_and_nonsense_is_refused():
    for config in (SHUFFLE, ScaleHeadConfig(in_dim=8, grid=(16, 8))):
        assert type(config).from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="positive channels"):
        replace(SHUFFLE, out=0)
    with pytest.raises(InputError, match="positive numbers"):
        ScaleHeadConfig(in_dim=0)
    with pytest.raises(InputError, match="3 halvings of 8×4 leave one cell"):
        ScaleHeadConfig(in_dim=8, grid=(8, 4))
    with pytest.raises(InputError, match="feature map of one cell"):
        DenseHead(SHUFFLE)(torch.zeros(1, 8, 1, 1))
    with pytest.raises(UnknownNameError, match="did you mean refine"):
        DenseHeadConfig.from_dict({"in_dim": 1, "out": 1, "widths": [], "refin": []})
