# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from tiny_goldens import read

from vitruvian.errors import InputError
from vitruvian.model.position import (
    resize_table,
    rotary_periods,
    rotary_tables,
    rotate,
    sine_cosine_table,
)

CPU = torch.device("cpu")


def test_resizing_equals_the_published_hook():
    arrays, _ = read("pos_embed_resize")
    with_class = resize_table(arrays["grid8"], (8, 8), (8, 6))
    assert torch.equal(with_class[:, :1], arrays["grid8"][:, :1])
    assert torch.equal(with_class[:, 1:], arrays["grid8_to_8x6"])
    assert torch.equal(
        resize_table(arrays["grid16"], (16, 16), (16, 12)), arrays["grid16_to_16x12"]
    )


def test_a_finetuned_table_is_resized_from_its_own_grid():
    table = sine_cosine_table(16, (64, 48))
    assert resize_table(table, (64, 48), (32, 24)).shape == (1, 32 * 24, 16)
    assert resize_table(table, (64, 48), (64, 48)) is table


def test_a_table_that_fits_no_grid_is_refused():
    with pytest.raises(InputError, match=r"position table of 10 rows for a grid of 4×2"):
        resize_table(torch.zeros(1, 10, 4), (4, 2), (2, 2))


def test_sine_cosine_equals_the_published_table():
    _, weights = read("mae_tiny")
    table = sine_cosine_table(32, (4, 4), class_row=True)
    assert torch.allclose(table, weights["backbone.pos_embed"], atol=1e-6)
    table = sine_cosine_table(16, (4, 4), class_row=True)
    assert torch.allclose(table, weights["decoder.pos_embed"], atol=1e-6)
    # The row index drives the first half of the channels; the class token has no place.
    oblong = sine_cosine_table(8, (2, 3), class_row=True)
    assert not oblong[0, 0].any()
    assert torch.equal(oblong[0, 1:4, :4], oblong[0, 1:2, :4].expand(3, -1))


# Periods in bfloat16 as stored in published files of head widths 64, 80 and 76.
PERIODS = {
    64: "1 1.3359375 1.78125 2.375 3.15625 4.21875 5.625 7.5 10 13.3125 17.75 23.75 31.625 42.25 "
    "56.25 75",
    80: "1 1.2578125 1.5859375 2 2.515625 3.15625 4 5 6.3125 7.90625 10 12.625 15.9375 19.75 25 "
    "31.625 40 50.5 62.75 79",
    76: "1 1.2734375 1.625 2.078125 2.640625 3.375 4.28125 5.46875 6.96875 8.875 11.3125 14.3125 "
    "18.375 23.25 30 37.75 48.75 61.5 79",
}


@pytest.mark.parametrize("head_dim", PERIODS)
def test_periods_equal_the_stored_ones(head_dim: int):
    wanted = [float(x) for x in PERIODS[head_dim].split()]
    assert rotary_periods(head_dim, 100.0, torch.bfloat16).tolist() == wanted
    exact = [100.0 ** (2 * j / (head_dim / 2)) for j in range(head_dim // 4)]
    assert rotary_periods(head_dim, 100.0, torch.float32).tolist() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("head_dim", PERIODS)
def test_bfloat16_tables_differ_from_float32_by_the_known_amount(head_dim: int):
    coarse = rotary_tables((64, 48), head_dim, 100.0, torch.bfloat16, CPU)
    fine = rotary_tables((64, 48), head_dim, 100.0, torch.float32, CPU)
    assert coarse[0].dtype == torch.bfloat16
    assert coarse[0].shape == fine[0].shape == (64 * 48, head_dim)
    difference = (coarse[1].float() - fine[1]).abs()
    assert 0.02 < difference.max() < 0.035
    assert 0.001 < difference.mean() < 0.002


def test_angles_run_from_the_first_row_to_the_last_and_halves_repeat():
    cos, sin = rotary_tables((2, 4), 8, 100.0, torch.float32, CPU)
    assert torch.equal(cos[:, :4], cos[:, 4:])
    # Row angles fill the first half of a half: -1/2 and +1/2 of a turn's full span.
    assert torch.allclose(sin[:, 0], torch.tensor([-torch.pi, torch.pi]).sin().repeat_interleave(4))
    columns = torch.tensor([-0.75, -0.25, 0.25, 0.75]) * 2 * torch.pi
    assert torch.allclose(sin[:, 2], columns.sin().repeat(2), atol=1e-6)


def test_rotation_keeps_lengths_and_the_prefix():
    x = torch.randn(2, 3, 2 + 12, 8)
    tables = rotary_tables((4, 3), 8, 100.0, torch.float32, CPU)
    y = rotate(x, tables, 2)
    assert torch.equal(y[:, :, :2], x[:, :, :2])
    assert torch.allclose(y.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


def test_bfloat16_rotation_rounds_all_tokens_and_every_step():
    x = torch.randn(1, 1, 1 + 4, 8)
    cos, sin = rotary_tables((2, 2), 8, 100.0, torch.bfloat16, CPU)
    y = rotate(x, (cos, sin), 1)
    assert y.dtype == torch.float32
    assert torch.equal(y, y.bfloat16().float())
    assert torch.equal(y[:, :, 0], x[:, :, 0].bfloat16().float())
    low = x[0, 0, 1:].bfloat16()
    half = torch.cat([-low[:, 4:], low[:, :4]], 1)
    step = (low.float() * cos.float()).bfloat16().float() + (
        half.float() * sin.float()
    ).bfloat16().float()
    assert torch.equal(y[0, 0, 1:], step.bfloat16().float())


def test_tables_first_made_for_inference_serve_training():
    with torch.inference_mode():
        rotary_tables((5, 7), 8, 100.0, torch.float32, CPU)
    x = torch.randn(1, 1, 35, 8, requires_grad=True)
    rotate(x, rotary_tables((5, 7), 8, 100.0, torch.float32, CPU), 0).sum().backward()
    assert x.grad is not None
