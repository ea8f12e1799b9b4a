# SPDX-License-Identifier: Apache-2.0
"""Losses and resizing of the dense tasks against the original's numbers and torch's own resize."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vitruvian import vocabulary
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import Person, Raster
from vitruvian.tasks import Depth, Normals, Parts, View
from vitruvian.tasks.task import resample, resampled_argmax, to_window

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "dense_losses.npz")


def test_weighted_cross_entropy_equals_the_originals():
    five = vocabulary.make("five", list("abcde"), kind="parts")
    five = replace(five, loss_weights=GOLDEN["class_weight"])
    labels, logits = torch.tensor(GOLDEN["labels"]), torch.tensor(GOLDEN["logits"])
    loss = Parts(vocabulary=five).loss(logits, {"labels": labels})["parts"]
    assert float(loss) == pytest.approx(float(GOLDEN["ce_mean"]), rel=1e-5)


def test_depth_loss_equals_the_originals():
    target = {"depth": torch.tensor(GOLDEN["depth_gt"])[:, None]}
    loss = Depth().loss(torch.tensor(GOLDEN["depth_pred"])[:, None], target)["depth"]
    assert float(loss) == pytest.approx(float(GOLDEN["silog"]), rel=1e-5)


def test_normal_losses_equal_the_originals():
    truth, guess = torch.tensor(GOLDEN["normal_gt"]), torch.tensor(GOLDEN["normal_pred"])
    losses = Normals().loss(guess, {"normals": truth})
    assert float(losses["normals_cosine"]) == pytest.approx(
        float(GOLDEN["normal_cosine"]), rel=1e-5
    )
    assert float(losses["normals_l1"]) == pytest.approx(float(GOLDEN["normal_l1"]), rel=1e-5)


def test_the_second_generations_gradient_term_counts_valid_neighbours():
    truth = torch.zeros(1, 3, 2, 3)
    truth[:, :, 1, 2] = -1000  # one pixel unknown
    guess = torch.zeros(1, 3, 2, 3)
    guess[0, 0, 0, 0] = 0.5  # differs from its right and its lower neighbour
    found = Normals(cosine=10.0, gradient=10.0).loss(guess, {"normals": truth})
    # x: pairs (0,0)-(0,1), (0,1)-(0,2), (1,0)-(1,1); y: (0,0)-(1,0), (0,1)-(1,1)
    assert float(found["normals_gradient"]) == pytest.approx(10 * (0.25 / 3 + 0.25 / 2))
    assert "normals_gradient" not in Normals().loss(guess, {"normals": truth})


def test_losses_without_a_valid_pixel_are_zero_and_have_a_slope():
    output = torch.zeros(2, 3, 4, 4, requires_grad=True)
    normals = Normals().loss(output, {"normals": torch.full((2, 3, 4, 4), -1000.0)})
    depth = Depth().loss(output[:, :1], {"depth": torch.full((2, 1, 4, 4), -1.0)})
    total = sum(normals.values()) + depth["depth"]
    total.backward()
    assert float(total.detach()) == 0
    assert torch.isfinite(output.grad).all()


def test_a_perfect_depth_has_a_finite_slope():
    truth = torch.rand(1, 1, 4, 4) + 0.1
    output = truth.clone().requires_grad_()
    Depth().loss(output, {"depth": truth})["depth"].backward()
    assert torch.isfinite(output.grad).all()


def test_dice_counts_present_foreground_only():
    parts = Parts(vocabulary=vocabulary.load("parts28"), dice=1.0)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, :2] = 3
    perfect = F.one_hot(labels, 28).movedim(-1, 1).float() * 50
    assert float(parts.loss(perfect, {"labels": labels})["parts_dice"]) < 1e-3
    assert float(parts.loss(-perfect, {"labels": labels})["parts_dice"]) > 0.9


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 90), st.integers(1, 90))
def test_resampling_equals_torchs_own(height, width, rows, columns):
    torch.manual_seed(height * width)
    maps = torch.randn(3, height, width)
    view = View(Crop.stretch((rows, columns), (height, width)), (rows, columns))
    grid = view.grid((height, width), maps.device)
    ours = resample(maps, *grid)
    theirs = F.interpolate(maps[None], (rows, columns), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


@given(
    st.integers(0, 1000),
    st.sampled_from([(7, 5), (40, 33), (150, 80)]),
    st.integers(1, 12),
    st.booleans(),
)
def test_winning_channels_equal_resize_then_argmax(seed, size, coarse, whole):
    torch.manual_seed(seed)
    logits = F.interpolate(torch.randn(1, 6, coarse + 1, coarse), (24, 18), mode="bicubic")[0]
    box = [0.1 * size[1], 0.2 * size[0], 0.9 * size[1], size[0]]
    crop = Crop.stretch(size, (96, 72)) if whole else Crop.from_box(box, (96, 72))
    grid = View(crop, size).grid((24, 18), logits.device)
    dense = resample(logits, *grid)
    labels = resampled_argmax(logits, *grid).long()
    best = dense.amax(dim=0)
    won = dense.gather(0, labels[None])[0]
    assert (best - won).max() < 1e-5  # equal, except where two channels tie


def test_exact_parts_resize_in_two_steps_as_published():
    torch.manual_seed(0)
    logits = F.interpolate(torch.randn(1, 28, 5, 4), (32, 24), mode="bicubic")
    view = View(Crop.stretch((70, 90), (64, 48)), (70, 90))
    (found,) = Parts(vocabulary=vocabulary.load("parts28")).decode(logits, [view], exact=True)
    two = F.interpolate(logits, (64, 48), mode="bilinear", align_corners=False)
    two = F.interpolate(two, (70, 90), mode="bilinear", align_corners=False)
    assert (found.values == two[0].argmax(0).numpy()).mean() > 0.9999


def test_exact_normals_follow_each_generation():
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 32, 24)
    view = View(Crop.stretch((50, 40), (64, 48)), (50, 40))
    (first,) = Normals(signs=(1, 1, 1)).decode(maps, [view], exact=True)
    two = F.interpolate(maps, (64, 48), mode="bilinear", align_corners=False)
    two = F.interpolate(two, (50, 40), mode="bilinear", align_corners=False)
    two = two / (two.norm(dim=1, keepdim=True) + 1e-5)
    np.testing.assert_allclose(first.values, two[0].movedim(0, -1), atol=1e-4)
    (second,) = Normals(signs=(1, -1, -1), resize_after_unit=True).decode(maps, [view])
    np.testing.assert_allclose(np.linalg.norm(second.values, axis=-1), 1, atol=1e-5)
    with pytest.raises(InputError, match="1 or -1"):
        Normals(signs=(1, 0, 1))


def test_depth_targets_are_relative_to_what_is_seen():
    values = np.full((8, 8), np.nan, np.float32)
    values[2:6, 2:6] = np.linspace(2, 4, 16).reshape(4, 4)
    raster = Raster(law="scalar", values=values, valid=np.isfinite(values), kind="metric")
    person = Person(box=[0, 0, 7, 7], annotations={"depth": raster})
    target = Depth().encode(person, Crop.whole((8, 8)))["depth"]
    assert target[0, 0, 0] == -1
    assert target.max() == 1
    assert target[target >= 0].min() == 0
    inverse = person.having(depth=replace(raster, kind="inverse"))
    with pytest.raises(InputError, match="inverse"):
        Depth().encode(inverse, Crop.whole((8, 8)))


def test_absolute_depth_is_the_mean_error_of_known_pixels():
    truth = torch.full((2, 1, 2, 2), -1.0)
    truth[0, 0, 0] = torch.tensor([0.0, 1.0])
    output = torch.full((2, 1, 2, 2), 0.25, requires_grad=True)
    loss = Depth(objective="absolute").loss(output, {"depth": truth})["depth"]
    assert float(loss.detach()) == pytest.approx(
        (0.25 + 0.75) / 2 / 2
    )  # the second picture counts 0
    loss.backward()
    expected = torch.tensor([[0.25, -0.25], [0, 0]])
    torch.testing.assert_close(output.grad[0, 0], expected)
    assert not output.grad[1].any()
    with pytest.raises(InputError, match="no effect on the objective 'absolute'"):
        Depth(objective="absolute", lift=True)


def test_turned_windows_do_not_decode():
    view = View(Crop.from_box([0, 0, 9, 9], (16, 16), rotation=0.3), (10, 10))
    with pytest.raises(InputError, match="turned"):
        Depth().decode(torch.zeros(1, 1, 16, 16), [view])


@pytest.mark.parametrize("stride", [2, 3])
def test_strided_parts_are_a_loss_over_some_rows_and_columns(stride):
    torch.manual_seed(0)
    logits = torch.randn(2, 28, 12, 9, requires_grad=True)
    target = {"labels": torch.randint(0, 28, (2, 48, 36))}
    whole = to_window(logits, (48, 36))[..., ::stride, ::stride]
    wanted = F.cross_entropy(whole, target["labels"][:, ::stride, ::stride])
    found = Parts(weighted=False, stride=stride).loss(logits, target)["parts"]
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(value, logits)[0] for value in (found, wanted)]
    torch.testing.assert_close(*slopes)
    with pytest.raises(InputError, match="stride 0 of parts"):
        Parts(stride=0)


def test_what_is_around_a_label_map_is_ignored_or_background():
    words = vocabulary.load("parts28")
    values = np.full((4, 4), 3)
    values[0, 0] = words.ignore
    raster = Raster(law="label", values=values, vocabulary=words, origin=(2, 2))
    person = Person(box=[2, 2, 5, 5], annotations={"parts": raster})
    crop = Crop.whole((8, 8))
    for around, outside in (("ignored", words.ignore), ("background", 0)):
        labels = Parts(vocabulary=words, around=around).encode(person, crop)["labels"]
        assert (labels[2:6, 2:6].flatten()[1:] == 3).all()
        assert labels[2, 2] == words.ignore, "unknown in the map stays unknown"
        labels[2:6, 2:6] = outside
        assert (labels == outside).all()
    bare = vocabulary.make("bare", ["a", "b"], kind="parts", background=None, mirror_pairs=[])
    with pytest.raises(InputError, match="which have none"):
        Parts(vocabulary=bare, around="background")
