# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
import torch
from test_contract import SETTINGS, TINY, WINDOW, a_person, a_view

from vitruvian.errors import InputError
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.mae import MAE, MAEConfig, random_mask
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.sizes import SIZES
from vitruvian.recipes.objectives import (
    MaskedObjective,
    TaskObjective,
    blank_targets,
    mae_pictures,
    mask_noise,
    normalised,
)
from vitruvian.tasks import TASKS, make

NAMES = list(TASKS)


def network() -> Network:
    torch.manual_seed(0)
    heads = {
        name: DenseHeadConfig(in_dim=TINY.dim, out=task.channels, widths=(8, 8))
        for name, task in objective().tasks.items()
    }
    return Network(NetworkConfig(backbone=TINY, heads=heads))


def objective(**settings: Any) -> TaskObjective:
    return TaskObjective({name: make(name, **SETTINGS[name]) for name in NAMES}, **settings)


def batch(labels: list[tuple[str, ...]]) -> dict[str, torch.Tensor]:
    """Samples with the labels named; what they lack is blank."""
    rng = torch.Generator().manual_seed(1)
    size = (len(labels), 3, *WINDOW)
    made = {"image": torch.randint(0, 256, size, generator=rng, dtype=torch.uint8)}
    for name, task in objective().tasks.items():
        there = torch.tensor([name in given for given in labels])
        target = task.encode(a_person(name), a_view().crop)
        blank = blank_targets(task, WINDOW)
        for key, value in target.items():
            rows = [value if is_there else blank[key] for is_there in there]
            made[f"{name}/{key}"] = torch.stack(rows)
        made[f"{name}/valid"] = there
    return made


def test_blanks_have_the_shape_of_targets() -> None:
    for name in NAMES:
        task = make(name, **SETTINGS[name])
        target = task.encode(a_person(name), a_view().crop)
        blank = blank_targets(task, WINDOW)
        assert {k: (v.shape, v.dtype) for k, v in target.items()} == {
            k: (v.shape, v.dtype) for k, v in blank.items()
        }


def test_losses_are_those_of_the_tasks_averaged_over_all_samples() -> None:
    net, goal = network(), objective()
    everything = batch([tuple(NAMES)])
    mixed = batch([tuple(NAMES), ("pose",), ()])
    for key in everything:
        assert torch.equal(mixed[key][:1], everything[key]) or key == "image"
    mixed["image"][0] = everything["image"][0]
    one, three = goal.losses(net, everything), goal.losses(net, mixed)
    assert one.keys() == three.keys()
    assert set(one) == {"pose/loss", "parts/loss", "depth/loss", "normals/cosine", "normals/l1"}
    with torch.no_grad():
        outputs = net(normalised(everything["image"]))
    for name, task in goal.tasks.items():
        prefix = f"{name}/"
        target = {k.removeprefix(prefix): v for k, v in everything.items() if prefix in k}
        target.pop("valid")
        wanted = sum(value.item() for value in task.loss(outputs[name], target).values())
        given = sum(value.item() for key, value in one.items() if prefix in key)
        assert given == pytest.approx(wanted, rel=1e-5)
    for key in one:
        if key != "pose/loss":
            assert three[key].item() == pytest.approx(one[key].item() / 3, rel=1e-5), key


def test_shares_average_to_the_whole_and_weights_multiply() -> None:
    net = network()
    whole = batch([tuple(NAMES), ("pose", "normals"), ("depth",), ("parts", "normals")])
    parts = [{k: v[i : i + 2] for k, v in whole.items()} for i in (0, 2)]
    wanted = objective().losses(net, whole)
    shares = [objective().losses(net, part) for part in parts]
    for key, value in wanted.items():
        assert sum(s[key].item() for s in shares) / 2 == pytest.approx(value.item(), rel=1e-5)
    heavy = objective(weights={"depth": 3.0}).losses(net, whole)
    assert heavy["depth/loss"].item() == pytest.approx(3 * wanted["depth/loss"].item())
    assert heavy["parts/loss"] == wanted["parts/loss"]


def test_heads_without_labels_take_part_with_zero_gradients() -> None:
    net = network()
    losses = objective().losses(net, batch([("depth",), ("depth",)]))
    torch.stack([*losses.values()]).sum().backward()
    for name, head in net.heads.items():
        for parameter in head.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any() or name != "depth"
            assert not parameter.grad.any() or name == "depth"


def test_mistakes_are_named() -> None:
    net, full = network(), batch([tuple(NAMES)])
    only = TaskObjective({"depth": make("depth")})
    with pytest.raises(InputError, match="a task for every head that trains"):
        only.losses(net, full)
    for name in ("pose", "parts", "normals"):
        net.heads[name].requires_grad_(False)
    net.backbone.requires_grad_(False)
    assert only.losses(net, full).keys() == {"depth/loss"}
    with pytest.raises(InputError, match="no targets of 'depth'"):
        only.losses(net, {"image": full["image"]})
    with pytest.raises(InputError, match="weights of losses"):
        TaskObjective({"depth": make("depth")}, {"normals": 1.0})


# ---------------------------------------------------------------------------- masked pretraining


def mae() -> MAE:
    torch.manual_seed(0)
    decoder = MAEConfig(decoder_dim=16, decoder_depth=1, decoder_heads=2)
    return MAE(SIZES["nano"], decoder).eval()


def pictures(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, 64, 64), generator=rng, dtype=torch.uint8)


def test_masks_depend_on_seed_epoch_and_sample_alone() -> None:
    index = torch.arange(6)
    noise = mask_noise(1, torch.zeros_like(index), index, 4096)
    assert torch.equal(noise[2:5], mask_noise(1, torch.zeros(3).long(), index[2:5], 4096))
    others = [mask_noise(2, index * 0, index, 4096), mask_noise(1, index * 0 + 1, index, 4096)]
    for other in (*others, noise.roll(1, 0)):
        hidden = [random_mask(n, 0.75).hidden for n in (noise, other)]
        # two independent masks of three quarters agree on 9/16 + 1/16 of the tokens
        assert (hidden[0] == hidden[1]).float().mean().item() == pytest.approx(0.625, abs=0.02)
    # uniform, and without trend or neighbours that follow each other
    uniform = noise.double() / 2.0**64 + 0.5
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.002)
    pairs = np.corrcoef(uniform[:, :-1].flatten().numpy(), uniform[:, 1:].flatten().numpy())
    assert abs(pairs[0, 1]) < 0.02
    counts = torch.stack([random_mask(n[None], 0.75).hidden[0] for n in noise]).sum(1)
    assert counts.tolist() == [3072] * 6


def test_shares_of_a_batch_are_masked_alike() -> None:
    model, index = mae(), torch.tensor([4, 1, 7, 7])
    epoch = torch.tensor([0, 0, 0, 1])
    whole = {"image": pictures(4), "index": index, "epoch": epoch}
    loss = MaskedObjective(seed=3).losses(model, whole)["pixels"]
    halves = [{k: v[i : i + 2] for k, v in whole.items()} for i in (0, 2)]
    shares = [MaskedObjective(seed=3).losses(model, half)["pixels"].item() for half in halves]
    assert np.mean(shares) == pytest.approx(loss.item(), rel=1e-5)
    assert MaskedObjective(seed=4).losses(model, whole)["pixels"] != loss
    with pytest.raises(InputError, match="wanted a MAE"):
        MaskedObjective().losses(torch.nn.Linear(1, 1), whole)


def test_reconstructions_are_drawn() -> None:
    images = pictures(2)
    sheet = mae_pictures(mae(), images)
    assert sheet.shape == (128, 5 * 64, 3)
    assert sheet.dtype == np.uint8
    assert np.array_equal(sheet[:64, :64], images[0].permute(1, 2, 0).numpy())
    for column, visible in ((1, 4), (3, 1)):
        seen = sheet[:64, 64 * column :][:, :64]
        made = sheet[:64, 64 * (column + 1) :][:, :64]
        patches = [
            np.s_[16 * y : 16 * y + 16, 16 * x : 16 * x + 16] for y in range(4) for x in range(4)
        ]
        kept = [p for p in patches if not (seen[p] == 128).all()]
        assert len(kept) == visible
        for patch in kept:
            assert np.array_equal(seen[patch], sheet[:64, :64][patch])
            assert np.array_equal(made[patch], seen[patch])
