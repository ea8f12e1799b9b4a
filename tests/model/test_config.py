# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.model.config import from_plain, to_plain
from vitruvian.model.sizes import SIZES, ViTConfig, pretraining_form
from vitruvian.model.window import WindowConfig


@pytest.mark.parametrize("size", SIZES)
def test_every_size_survives_json(size: str):
    config = SIZES[size]
    assert ViTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_nested_and_missing_parts():
    assert SIZES["sapiens2-1b-4k"].to_dict()["window"] == {"size": 4, "depth": 4}
    short = ViTConfig.from_dict({"dim": 8, "depth": 1, "heads": 1, "mlp_hidden": 8})
    assert short.window is None
    assert short.patch == 16


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"dims": 3}, UnknownNameError, "did you mean dim"),
        ({"dim": "8"}, InputError, r"ViTConfig.dim: given '8' · wanted int"),
        ({"dim": 8.0}, InputError, "wanted int"),
        ({"dim": True}, InputError, "wanted int"),
        ({"norm": "batch"}, UnknownNameError, "choose one of layer, rms"),
        ({"grid": [1, 2, 3]}, InputError, "given 3 values · wanted 2"),
        ({"grid": 4}, InputError, "wanted a list"),
        ({"window": {"sizes": 4}}, UnknownNameError, "did you mean size"),
        ({"window": 4}, InputError, "wanted a mapping"),
        ({"layer_scale": "1"}, InputError, "wanted float"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, kind: type, text: str):
    data = {"dim": 8, "depth": 1, "heads": 1, "mlp_hidden": 8, **change}
    with pytest.raises(kind, match=text):
        ViTConfig.from_dict(data)


def test_missing_keys_are_named():
    with pytest.raises(InputError, match="wanted also heads, mlp_hidden"):
        ViTConfig.from_dict({"dim": 8, "depth": 1})


def test_whole_numbers_are_accepted_for_float_fields():
    data = {"dim": 8, "depth": 1, "heads": 1, "mlp_hidden": 8, "layer_scale": 1}
    assert isinstance(ViTConfig.from_dict(data).layer_scale, float)


def test_plain_values_nest():
    assert from_plain(WindowConfig, to_plain(WindowConfig(size=2))) == WindowConfig(size=2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"heads": 3}, "multiple of heads"),
        ({"depth": 0}, "depth: given 0"),
        ({"position": "rotary", "heads": 16}, "head width divisible by 4"),
        ({"dim": 6, "heads": 1}, "multiple of 4"),
        ({"heads": 1, "full_attention_ends": 8}, "even number"),
        ({"patch_padding": 8}, "less than half"),
        ({"stem": "conv", "patch": 14}, "power of two"),
        ({"stem": "conv", "patch_padding": 2}, "no padding"),
    ],
)
def test_impossible_shapes_are_refused(change: dict, text: str):
    fields = {"dim": 32, "depth": 1, "heads": 2, "mlp_hidden": 8, **change}
    with pytest.raises(InputError, match=text):
        ViTConfig(**fields)


def test_windows_of_one_patch_are_refused():
    with pytest.raises(InputError, match="size of 2 or more"):
        WindowConfig(size=1)


def test_pretraining_form():
    first = pretraining_form("0.3b")
    assert (first.class_token, first.grid) == (True, (64, 64))
    assert pretraining_form("sapiens2-1b") is SIZES["sapiens2-1b"]
    with pytest.raises(UnknownNameError, match=r"did you mean .*0\.3b"):
        pretraining_form("0.3B")


def test_grouped_heads_lie_between_full_ends():
    config = SIZES["sapiens2-1b"]
    assert [config.kv_heads(i) for i in (0, 7, 8, 31, 32, 39)] == [24, 24, 12, 12, 24, 24]
    assert {SIZES["sapiens2-0.1b"].kv_heads(i) for i in range(12)} == {12}
