# SPDX-License-Identifier: Apache-2.0
"""Keypoints: losses of points against those of maps, groups, and decoding of logits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian import vocabulary
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.geometry import Crop
from vitruvian.person import ABSENT, VISIBLE, Person, Points
from vitruvian.tasks import Pose, View
from vitruvian.tasks.heatmaps import encode_heatmaps


@pytest.mark.parametrize("objective", ["mse", "ohkm", "cross_entropy"])
def test_losses_of_points_are_losses_against_their_maps(objective):
    """What travels are points; the loss must be that of the drawn targets, slopes included."""
    rng = torch.Generator().manual_seed(3)
    five = vocabulary.make("five", [f"p{i}" for i in range(5)], mirror_pairs=[])
    task = Pose(vocabulary=five, sigma=1.7, objective=objective, hardest=2)
    xy = torch.rand(2, 5, 2, generator=rng) * torch.tensor([26.0, 30.0]) - 3
    xy[0, 1] = float("nan")
    maps, weights = encode_heatmaps(xy, (24, 20), sigma=1.7)
    output = torch.randn(2, 5, 24, 20, generator=rng, requires_grad=True)
    loss = task.loss(output, {"xy": xy.nan_to_num(), "weights": weights})["pose"]
    if objective == "cross_entropy":
        share = maps.flatten(2) / maps.flatten(2).sum(2, keepdim=True).clamp(min=1e-6)
        log = output.flatten(2).log_softmax(2)
        each = (torch.xlogy(share, share) - share * log).sum(2)
        wanted = (each * weights).sum() / weights.sum()
    else:
        each = (weights[..., None, None] * (output - maps)).square().mean((2, 3))
        wanted = (each.topk(2, dim=1).values if objective == "ohkm" else each).mean()
    torch.testing.assert_close(loss, wanted)
    slopes = [torch.autograd.grad(value, output)[0] for value in (loss, wanted)]
    torch.testing.assert_close(*slopes)


def test_balanced_groups_weigh_the_same():
    """One point of a hand of two counts as much as four of a face of eight."""
    names = [f"p{i}" for i in range(10)]
    groups = {"hand": names[:2], "face": names[2:]}
    words = vocabulary.make("few", names, groups=groups, mirror_pairs=[])
    task = Pose(vocabulary=words, objective="cross_entropy", balanced=True, sigma=1.5)
    target = {"xy": torch.full((1, 10, 2), 5.0), "weights": torch.ones(1, 10)}
    output = torch.zeros(1, 10, 12, 10, requires_grad=True)
    (slope,) = torch.autograd.grad(task.loss(output, target)["pose"], output)
    each = slope.abs().sum(dim=(0, 2, 3))
    torch.testing.assert_close(each[:2].sum(), each[2:].sum())
    torch.testing.assert_close(each[0], 4 * each[9])
    more = replace(task, emphasis={"hand": 3.0}).loss(output, target)["pose"]
    each = torch.autograd.grad(more, output)[0].abs().sum(dim=(0, 2, 3))
    torch.testing.assert_close(each[:2].sum(), 3 * each[2:].sum())
    with pytest.raises(InputError, match="balanced has no effect"):
        Pose(balanced=True)
    with pytest.raises(InputError, match="of balanced groups"):
        replace(task, balanced=False, emphasis={"hand": 3.0})
    with pytest.raises(UnknownNameError, match="did you mean hand"):
        replace(task, emphasis={"hnd": 3.0})


def test_points_outside_of_the_window_are_to_have_flat_maps():
    """Where nothing is outside, ``outside`` changes nothing; there, it pulls to level maps only."""
    words = vocabulary.make("five", list("abcde"), mirror_pairs=[])
    xy = np.array([[20, 30], [300, 30], [30, 20], [np.nan, 0], [np.nan, np.nan]], np.float32)
    points = Points(
        vocabulary=words,
        xy=xy,
        scores=np.ones(5, np.float32),
        visibility=np.array([VISIBLE, VISIBLE, ABSENT, VISIBLE, ABSENT]),
    )
    person = Person(box=np.array([0, 0, 95, 63]), annotations={"pose": points})
    crop = Crop.whole((64, 96))
    published = Pose(vocabulary=words, objective="cross_entropy", sigma=1.5)
    task = replace(published, outside=0.25)
    assert task.encode(person, crop)["outside"].tolist() == [0, 0.25, 0.25, 0, 0]
    assert task.encode(person, crop)["weights"].tolist() == [1, 0, 0, 0, 0]
    assert set(published.encode(person, crop)) == {"xy", "weights"}

    target = {key: value[None] for key, value in task.encode(person, crop).items()}
    rng = torch.Generator().manual_seed(5)
    output = torch.randn(1, 5, 16, 24, generator=rng, requires_grad=True)
    loss = task.loss(output, target)["pose"]
    log = output.flatten(2).log_softmax(2)[0]
    level = -(log.mean(1) + np.log(16 * 24))  # divergence of a flat map from each
    only = published.loss(output, target)["pose"]
    torch.testing.assert_close(loss, (only + 0.25 * level[1] + 0.25 * level[2]) / 1.5)
    (slope,) = torch.autograd.grad(loss, output)
    pull = slope.abs().sum(dim=(0, 2, 3))
    assert (pull[:3] > 0).all()
    assert (pull[3:] == 0).all()
    level_maps = output.detach() * torch.tensor([1.0, 0, 0, 1, 1])[:, None, None]
    level_maps.requires_grad_()
    (slope,) = torch.autograd.grad(task.loss(level_maps, target)["pose"], level_maps)
    torch.testing.assert_close(slope[:, 1:3], torch.zeros(1, 2, 16, 24), atol=1e-6, rtol=0)

    with pytest.raises(InputError, match=r"outside 0\.25 of the objective 'mse'"):
        Pose(outside=0.25)
    with pytest.raises(InputError, match="wanted 0 or more"):
        replace(task, outside=float("nan"))


def test_cross_entropy_is_least_at_the_target():
    place = torch.tensor([[[10.0, 8.0]]])
    maps, weights = encode_heatmaps(place, (24, 20), sigma=2.0)
    target = {"xy": place, "weights": weights}
    one = Pose(vocabulary=vocabulary.make("one", ["p"]), objective="cross_entropy", sigma=2.0)
    best = one.loss((maps + 1e-9).log(), target)["pose"]
    assert abs(best) < 0.01 < one.loss(torch.zeros_like(maps), target)["pose"]
    assert one.loss(maps, {**target, "weights": weights * 0})["pose"] == 0


@pytest.mark.parametrize("sharpness", [1.0, 2.0])
def test_logits_of_cross_entropy_decode_to_the_point_and_a_score(sharpness):
    place = torch.tensor([[[40.3, 25.8]]])
    maps, _ = encode_heatmaps(place, (64, 80), sigma=2.0)
    one = Pose(vocabulary=vocabulary.make("one", ["p"]), objective="cross_entropy", sigma=2.0)
    logits = sharpness * (maps + 1e-9).log() - 7  # softmax cares for differences alone
    (found,) = one.decode(logits, [View(Crop.whole((256, 320)), (256, 320))])
    window = place[0, 0].numpy() * [319 / 79, 255 / 63]
    np.testing.assert_allclose(found.xy[0], window, atol=0.2)
    assert float(found.scores[0]) == pytest.approx(1, abs=0.05)
    (unsure,) = one.decode(torch.zeros_like(maps), [View(Crop.whole((256, 320)), (256, 320))])
    assert unsure.scores[0] < 0.01


def test_maps_of_other_points_are_refused():
    with pytest.raises(InputError, match="5 heat-maps for the 17 points"):
        Pose(vocabulary=vocabulary.load("coco17")).decode(torch.zeros(1, 5, 4, 4), [])
