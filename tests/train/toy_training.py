# SPDX-License-Identifier: Apache-2.0
"""A training small enough for any test: a few transformer blocks, random targets, dropout."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitruvian.data.loader import LoaderState
from vitruvian.data.order import Order
from vitruvian.model.block import Block
from vitruvian.train.config import Hooks, LoopConfig
from vitruvian.train.loop import Outcome, train
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.parallel import Parallel, joined
from vitruvian.train.schedule import Schedule

SAMPLES = 20


class Toy(nn.Module):
    def __init__(self, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.blocks = nn.ModuleList(Block(8, 2, 16) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.predict = nn.Linear(8, 2)

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


def main() -> None:
    """Arguments: folder, mode, steps to train; under ``torchrun`` or alone."""
    torch.set_num_threads(1)
    folder, mode, steps = sys.argv[1:4]
    with joined(mode, device="cpu") as parallel:  # pyright: ignore[reportArgumentType]
        hooks = Hooks(progress=lambda p: print("step", p.step, flush=True))
        pace = {"keep": 100, "save_every": 1}
        run(Path(folder), network=toy(dropout=0), steps=int(steps), parallel=parallel,
            hooks=hooks, **pace)  # fmt: skip


if __name__ == "__main__":
    main()
