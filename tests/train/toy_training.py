# SPDX-License-Identifier: Apache-2.0
"""A training small enough for any test: a few transformer blocks, random targets, dropout."""

import errno
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitruvian.data.loader import LoaderState
from vitruvian.data.order import Order
from vitruvian.errors import VitruvianError
from vitruvian.model.block import Block
from vitruvian.train import sharded
from vitruvian.train.config import Hooks, LoopConfig
from vitruvian.train.loop import Outcome, train
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.parallel import Parallel, joined
from vitruvian.train.schedule import Schedule
from vitruvian.train.state import Checkpoints, read_tensors

SAMPLES = 20


class Toy(nn.Module):
    def __init__(self, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.blocks = nn.ModuleList(Block(8, 2, 16) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.predict: nn.Module = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, None, 0)
        return self.predict(self.dropout(x))

    def layer_id(self, name: str) -> int:
        if name.startswith("embed."):
            return 0
        return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 3


class Batches:
    """Shares of batches in the order of the real loader."""

    def __init__(self, *, batch: int = 4, rank: int = 0, world: int = 1) -> None:
        self.state = LoaderState(seed=3)
        self.batch, self.share, self.rank = batch, batch // world, rank
        self.order = Order(length=SAMPLES, seed=3)
        made = torch.Generator().manual_seed(5)
        self.x = torch.randn(SAMPLES, 4, 3, generator=made)
        self.y = torch.stack([self.x.sum(-1), self.x.prod(-1)], -1)
        self.seen: list[int] = []

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            at = self.state.epoch * SAMPLES + self.state.position
            places = [divmod(at + i, SAMPLES) for i in range(self.batch)]
            index = torch.tensor([int(self.order.indices(e, p)) for e, p in places])
            index = index[self.rank * self.share :][: self.share]
            epoch, position = divmod(at + self.batch, SAMPLES)
            self.state = LoaderState(seed=3, epoch=epoch, position=position)
            self.seen += index.tolist()
            yield {"x": self.x[index], "y": self.y[index], "index": index}


class Squares:
    """The objective; ``poison`` is a sample whose loss is not a number."""

    def __init__(self, poison: int | None = None) -> None:
        self.poison = poison

    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        error = (network(batch["x"]).float() - batch["y"]).square()
        if self.poison is not None and self.poison in batch["index"].tolist():
            error = error * float("nan")
        return {"sum": error[..., 0].mean(), "product": error[..., 1].mean()}


def settings(steps: int = 12, **changes: Any) -> LoopConfig:
    values: dict[str, Any] = {
        "optimiser": OptimiserConfig(lr=1e-2, layer_decay=0.8),
        "schedule": Schedule(steps=steps, shape="cosine", warmup=3),
        "save_every": 3,
        "log_every": 1,
    }
    return LoopConfig(**values | changes)


def toy(**settings: Any) -> Toy:
    torch.manual_seed(11)
    return Toy(**settings)


def run(folder: Path, *, network: Toy | None = None, **changes: Any) -> tuple[Toy, Outcome]:
    """Train a toy in a folder; returns it and the outcome."""
    network = network or toy()
    parallel: Parallel = changes.pop("parallel", Parallel())
    batches = changes.pop("batches", None) or Batches(rank=parallel.rank, world=parallel.world)
    objective = changes.pop("objective", Squares())
    hooks = changes.pop("hooks", Hooks())
    config = settings(**changes)
    outcome = train(
        network, objective, batches, config=config, folder=folder, parallel=parallel, hooks=hooks
    )
    return network, outcome


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def main() -> None:
    """Arguments: folder, mode, steps, trouble of one of two processes or "muon"."""
    torch.set_num_threads(1)
    folder, mode, steps, trouble = sys.argv[1:5]
    with joined(mode, device="cpu") as parallel:  # pyright: ignore[reportArgumentType]
        changes: dict[str, Any] = {"keep": 100, "save_every": 1}
        if trouble == "poison":  # a sample of step 4 that only the second process sees
            changes["objective"] = Squares(poison_of(step=4, rank=1))
        if trouble == "muon":
            changes["optimiser"] = OptimiserConfig(kind="muon", lr=1e-2)
        network = toy(dropout=0)
        try:
            run(Path(folder), network=network, steps=int(steps), parallel=parallel, **changes)
            if trouble == "full":
                if parallel.rank == 1:
                    sharded.HuggingFaceStorageWriter.write_data = full_disk
                network, more = toy(dropout=0), int(steps) + 1
                run(Path(folder), network=network, steps=more, parallel=parallel, **changes)
        except VitruvianError as error:
            # not finite: the weights must be those of the last checkpoint, on every process
            here = {n: t for n, t in network.state_dict().items() if not hasattr(t, "full_tensor")}
            before = read_tensors(Checkpoints(Path(folder) / "checkpoints").latest(), "network")
            same = all(torch.equal(t, before[n]) for n, t in here.items())
            print(f"rank {parallel.rank} {type(error).__name__} {same} {error}", flush=True)


def poison_of(*, step: int, rank: int) -> int:
    """Return a sample of a step (from 1) that only this rank of two sees, and no step before."""
    batches = Batches(rank=rank, world=2)
    for _, _ in zip(range(step), batches, strict=False):
        pass
    return batches.seen[2 * (step - 1)]


def train_and_tell(folder: str, steps: int, pipe: Any) -> None:
    """Train in a process of its own; send (step, samples of it) after every step."""
    torch.set_num_threads(1)
    batches = Batches()
    hooks = Hooks(progress=lambda p: pipe.send((p.step, batches.seen[-4:])))
    run(Path(folder), network=toy(dropout=0), steps=steps, batches=batches, hooks=hooks, keep=2,
        save_every=2)  # fmt: skip
    pipe.send(None)


if __name__ == "__main__":
    main()
