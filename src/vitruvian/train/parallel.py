# SPDX-License-Identifier: Apache-2.0
"""One process or many: what the loop needs of either, and how a network is spread.

``torchrun --nproc-per-node N …`` sets the variables read here; without it there is one process.
DDP keeps the whole network on each rank, FSDP2 (``fully_shard``) a slice of every block. NCCL
between GPUs, gloo between CPUs. An objective calls the network itself, ``network(images)``: only
then do gradients travel.
"""

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from vitruvian.errors import InputError
from vitruvian.model.block import Block

Mode = Literal["single", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """This process among all that train together.

    Attributes:
        mode: "single", "ddp" or "fsdp".
        rank: of this process, from 0; rank 0 writes the files.
        world: processes.
        device: where this process computes.
    """

    mode: Mode = "single"
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def spread(self, network: nn.Module, *, low: torch.dtype | None = None) -> nn.Module:
        """Place a network on the device(s); optimisers are built afterwards, on ``inner`` of it.

        All ranks begin with the weights of rank 0.

        Args:
            network: whole; FSDP2 changes it in place, block by block.
            low: dtype in which FSDP2 gathers weights (gradients are summed in float32); ``None``
                for that of the weights.
        """
        network = network.to(self.device)
        if self.mode == "single":
            return network
        if self.mode == "ddp":
            on_gpu = self.device.type == "cuda"
            return DistributedDataParallel(network, device_ids=[self.device] if on_gpu else None)
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                dist.broadcast(tensor, 0)
        mesh = init_device_mesh(self.device.type, (self.world,))
        policy = MixedPrecisionPolicy(
            param_dtype=low,
            reduce_dtype=torch.float32 if low else None,
            # Targets are made from the pictures, in full precision.
            cast_forward_inputs=False,
        )
        for module in [m for m in network.modules() if isinstance(m, Block)]:
            fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(network, mesh=mesh, mp_policy=policy)
        return network

    def gathering(self, network: nn.Module, *, last: bool) -> AbstractContextManager[object]:
        """Return the context of one backward pass: only the ``last`` of a step sums gradients."""
        if isinstance(network, DistributedDataParallel) and not last:
            return network.no_sync()
        if isinstance(network, FSDPModule):
            network.set_requires_gradient_sync(last)
        return nullcontext()

    def settle(self, network: nn.Module) -> None:
        """Drop the weights that a forward pass without a backward one has gathered (FSDP2)."""
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of ``values`` over all ranks, the same on each."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world

    def any(self, flags: list[bool]) -> list[bool]:
        """Return for every flag whether it is raised on any rank, the same answer on each."""
        if self.world == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]


def inner(network: nn.Module) -> nn.Module:
    """Return the network itself, out of what ``Parallel.spread`` put around it."""
    return network.module if isinstance(network, DistributedDataParallel) else network


@contextmanager
def joined(
    mode: Literal["auto"] | Mode = "auto", *, device: str | torch.device | None = None
) -> Generator[Parallel, None, None]:
    """Join the processes ``torchrun`` started, and leave them at the end.

    Args:
        mode: "auto" is "ddp" under ``torchrun`` and "single" otherwise.
        device: "cpu", "cuda" (each rank its own) or one of them by number; a GPU if there is one.

    Raises:
        InputError: "ddp" or "fsdp" without ``torchrun``, or "single" with it.
    """
    under = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    chosen: Mode = ("ddp" if under else "single") if mode == "auto" else mode
    if under != (chosen != "single"):
        raise InputError(
            f"parallel mode {mode!r} {'under' if under else 'without'} torchrun · wanted 'ddp' or "
            "'fsdp' with it, 'single' without it · start with  torchrun --nproc-per-node N"
        )
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not under:
        yield Parallel(device=place)
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Parallel(mode=chosen, rank=dist.get_rank(), world=dist.get_world_size(), device=place)
    finally:
        dist.destroy_process_group()
