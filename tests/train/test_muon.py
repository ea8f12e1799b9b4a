# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor
from toy_training import run, toy

from vitruvian.errors import InputError
from vitruvian.train.muon import Muon, is_matrix, orthogonal
from vitruvian.train.optim import OptimiserConfig, build_optimiser, parameter_groups


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_vectors_stay_and_values_tend_to_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stack = torch.randn(3, *shape)
    for matrix, found in zip(stack, orthogonal(stack), strict=True):
        u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        turned = u.mT @ found @ v.mT
        assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-4)
        known = values / values.norm() > 0.05
        assert (turned.diagonal()[known] > 0.6).all()
        assert (turned.diagonal() < 1.3).all()


def test_more_iterations_lift_smaller_values() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1e-2, 1e-3]))[None]
    few, many = (orthogonal(matrix, n)[0].diagonal() for n in (3, 7))
    assert few[2] < 0.1
    assert (many > 0.6).all()


def test_steps_have_the_size_of_adamw_s_whatever_the_slope() -> None:
    torch.manual_seed(0)
    for scale in (1e-4, 1.0, 1e4):
        weight = nn.Parameter(torch.zeros(24, 4, 3, 3))
        weight.grad = scale * torch.randn_like(weight)
        Muon([{"params": [weight], "matrix": True, "lr": 0.1}]).step()
        assert weight.detach().square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.35)


def test_what_is_no_matrix_moves_as_by_adamw() -> None:
    torch.manual_seed(0)
    start, slopes = torch.randn(6), torch.randn(5, 6)
    ends = []
    for build in (Muon, torch.optim.AdamW):
        weight = nn.Parameter(start.clone())
        optimiser = build([{"params": [weight], "lr": 0.05, "weight_decay": 0.1}])
        for slope in slopes:
            weight.grad = slope.clone()
            optimiser.step()
        ends.append(weight.detach())
    assert torch.equal(*ends)


def test_decay_and_nesterov_momentum_of_a_matrix() -> None:
    torch.manual_seed(0)
    start, slopes = torch.randn(8, 16), torch.randn(2, 8, 16)
    weight = nn.Parameter(start.clone())
    optimiser = Muon(
        [{"params": [weight], "matrix": True, "lr": 0.1, "weight_decay": 0.5}], momentum=0.9
    )
    wanted, mean = start, torch.zeros(8, 16)
    for slope in slopes:
        weight.grad = slope.clone()
        optimiser.step()
        mean = 0.9 * mean + 0.1 * slope
        ahead = 0.9 * mean + 0.1 * slope
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 4 * orthogonal(ahead[None])[0]
    assert torch.allclose(weight, wanted, atol=1e-6)


def test_tables_and_thin_weights_are_left_to_adamw() -> None:
    network = nn.Module()
    network.pos_embed = nn.Parameter(torch.zeros(1, 64, 32))
    network.kernel = nn.Parameter(torch.zeros(16, 16, 3, 3))
    network.thin = nn.Parameter(torch.zeros(3, 64))
    network.bias = nn.Parameter(torch.zeros(64))
    groups = parameter_groups(network, OptimiserConfig(kind="muon", lr=1))
    assert [n for g in groups if g["matrix"] for n in g["names"]] == ["kernel"]
    assert not is_matrix(torch.zeros(64, 0))
    table = nn.Module()
    table.pos_embed = nn.Parameter(torch.zeros(64, 32))
    (group,) = parameter_groups(table, OptimiserConfig(kind="muon", lr=1))
    assert not group["matrix"]


def test_a_training_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    optimiser = OptimiserConfig(kind="muon", lr=1e-2)
    whole, _ = run(tmp_path, network=toy(), steps=12, optimiser=optimiser, keep=100)
    for path in (tmp_path / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > 6:
            path.rename(path.with_name(f".{path.name}.part"))
    again, _ = run(tmp_path, network=toy(), steps=12, optimiser=optimiser, keep=100)
    assert all(torch.equal(whole.state_dict()[name], t) for name, t in again.state_dict().items())


def test_spread_weights_are_refused() -> None:
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        network = nn.Module()
        network.weight = nn.Parameter(distribute_tensor(torch.zeros(16, 16), mesh, [Replicate()]))
        with pytest.raises(InputError, match="--parallel ddp"):
            build_optimiser(network, OptimiserConfig(kind="muon", lr=1))
    finally:
        dist.destroy_process_group()
