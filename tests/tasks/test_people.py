# SPDX-License-Identifier: Apache-2.0
"""Finding people: what is learned from boxes, and what an output says."""

import numpy as np
import pytest
import torch

from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.tasks.people import People

SIZE, CELLS = (128, 96), (16, 12)
BOXES = np.array([[10.0, 8, 40, 100], [60, 30, 90, 120], [44, 4, 58, 28]])
NOBODY = np.zeros(len(BOXES), bool)
WHOLE = Crop.whole(SIZE)


def output_of(target: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the output that says exactly what the targets do."""
    y, x = np.meshgrid(np.arange(CELLS[0]) * 8 + 3.5, np.arange(CELLS[1]) * 8 + 3.5, indexing="ij")
    x0, y0, x1, y1 = target["boxes"].numpy()
    reach = np.stack([x - x0, y - y0, x1 - x, y1 - y])
    logits = np.where(target["heat"].numpy() >= 1, 12.0, -8.0)
    sides = np.log(np.maximum(reach, 1) / 32)
    return torch.from_numpy(np.concatenate([logits[None], sides]))[None].float()


def test_what_is_encoded_is_decoded() -> None:
    task = People()
    output = output_of(task.encode(BOXES, NOBODY, SIZE, CELLS))
    ((boxes, scores),) = task.decode(output, [WHOLE], [SIZE])
    order = [np.abs(boxes - box).sum(axis=1).argmin() for box in BOXES]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(boxes[order], BOXES, atol=1e-3)
    assert (scores > 0.99).all()


def test_boxes_return_to_the_photograph() -> None:
    task = People()
    output = output_of(task.encode(BOXES, NOBODY, SIZE, CELLS))
    crop = Crop.pad((400, 240), SIZE)
    ((boxes, _),) = task.decode(output, [crop], [(400, 240)])
    expected = np.clip(crop.to_image(BOXES.reshape(-1, 2, 2)).reshape(-1, 4), 0, [239, 399] * 2)
    order = [np.abs(boxes - box).sum(axis=1).argmin() for box in expected]
    np.testing.assert_allclose(boxes[order], expected, atol=1e-2)


def test_the_truth_costs_little_and_anything_else_more() -> None:
    task = People()
    target = {k: v[None] for k, v in task.encode(BOXES, NOBODY, SIZE, CELLS).items()}
    truth = output_of({k: v[0] for k, v in target.items()})
    right = task.loss(truth, target, SIZE)
    assert right["heat"] < 0.01
    assert right["boxes"] < 0.01
    for channel, by, name in ((0, 8.0, "heat"), (3, 0.5, "boxes")):
        wrong = truth.clone().requires_grad_()
        moved = wrong + by * torch.eye(5)[channel].view(1, 5, 1, 1)
        lost = task.loss(moved, target, SIZE)[name]
        assert lost > right[name]
        (slope,) = torch.autograd.grad(lost, wrong)
        assert slope[:, channel].sum() > 0


def test_whom_to_ignore_is_not_asked_for() -> None:
    task = People()
    ignored = np.array([True, False, True])
    target = task.encode(BOXES, ignored, SIZE, CELLS)
    assert int((target["heat"] >= 1).sum()) == 1
    assert target["weight"].sum() == pytest.approx(1)
    assert target["known"][6, 2] == 0  # inside the first box
    assert target["known"][9, 9] == 1  # the second one's centre
    batch = {key: value[None] for key, value in target.items()}
    loud = output_of(target)
    quiet = task.loss(loud, batch, SIZE)["heat"]
    loud[0, 0, 6, 2] = 12
    assert torch.equal(task.loss(loud, batch, SIZE)["heat"], quiet)
    loud[0, 0, 15, 0] = 12
    assert task.loss(loud, batch, SIZE)["heat"] > quiet


def test_somebody_who_is_ignored_does_not_silence_others() -> None:
    boxes = np.array([[0.0, 0, 95, 127], [40, 50, 60, 90]])
    target = People().encode(boxes, np.array([True, False]), SIZE, CELLS)
    centre = target["heat"] >= 1
    assert int(centre.sum()) == 1
    assert target["known"][centre] == 1


def test_nobody_is_a_picture_of_zeros() -> None:
    task = People()
    target = task.encode(np.zeros((0, 4)), np.zeros(0, bool), SIZE, CELLS)
    assert target["heat"].max() == 0
    assert target["known"].min() == 1
    losses = task.loss(torch.zeros(1, 5, *CELLS), {k: v[None] for k, v in target.items()}, SIZE)
    assert losses["boxes"] == 0
    assert 0 < losses["heat"] < 1
    ((boxes, scores),) = task.decode(torch.zeros(1, 5, *CELLS), [WHOLE], [SIZE])
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_a_mirrored_output_says_mirrored_boxes() -> None:
    task = People()
    boxes = BOXES.copy()
    boxes[:, [0, 2]] = SIZE[1] - 1 - BOXES[:, [2, 0]]
    a = output_of(task.encode(BOXES, NOBODY, SIZE, CELLS))
    b = a.flip(-1)[:, [0, 3, 2, 1, 4]]
    ((found, _),) = task.decode(b, [WHOLE], [SIZE])
    order = [np.abs(found - box).sum(axis=1).argmin() for box in boxes]
    np.testing.assert_allclose(found[order], boxes, atol=1e-3)


def test_limits_have_limits() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        People(min_score=1.5)
    assert People().head(128).upscale == 2
