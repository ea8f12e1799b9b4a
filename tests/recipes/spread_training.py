# SPDX-License-Identifier: Apache-2.0
"""Train with the real objectives, loader and networks: alone, or as one of two processes."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitruvian.data.loader import Loader
from vitruvian.data.source import Listed
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.person import Sample
from vitruvian.recipes.objectives import MaskedObjective, TaskObjective
from vitruvian.tasks import make
from vitruvian.train.config import LoopConfig
from vitruvian.train.loop import train
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.parallel import joined
from vitruvian.train.schedule import Schedule

BACKBONE = ViTConfig(dim=16, depth=2, heads=2, mlp_hidden=32, grid=(4, 4), patch=8)


def prepare(sample: Sample, rng: np.random.Generator) -> dict[str, Any]:
    """A picture with random normals and depth; every third lacks one of them."""
    image = np.ascontiguousarray(sample.image.transpose(2, 0, 1))
    normals = rng.normal(size=(3, 32, 32)).astype(np.float32)
    normals[:, rng.random((32, 32)) < rng.random()] = -1000
    depth = rng.random((1, 32, 32), dtype=np.float32)
    return {
        "image": image, "normals/normals": normals, "depth/depth": depth,
        "normals/valid": np.float32(rng.random() < 0.7),
        "depth/valid": np.float32(rng.random() < 0.7),
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    folder, mode, kind = sys.argv[1:4]
    rng = np.random.default_rng(1)
    pictures = [Sample(image=rng.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(10)]
    torch.manual_seed(0)
    config = MAEConfig(decoder_dim=8, decoder_depth=1, decoder_heads=2)
    tasks = {name: make(name) for name in ("normals", "depth")}
    heads = {
        name: DenseHeadConfig(in_dim=16, out=task.channels, widths=(4, 4), norm="rms")
        for name, task in tasks.items()
    }
    masked = kind == "masked"
    network = (
        MAE(BACKBONE, config) if masked else Network(NetworkConfig(backbone=BACKBONE, heads=heads))
    )
    objective = MaskedObjective(seed=2) if masked else TaskObjective(tasks)
    # AdamW makes whole steps of gradients that are rounding alone: small ones keep losses together.
    loop = LoopConfig(
        optimiser=OptimiserConfig(lr=1e-4), schedule=Schedule(steps=5), log_every=1, save_every=None
    )
    with joined(mode, device="cpu") as parallel:  # pyright: ignore[reportArgumentType]
        loader = Loader(
            Listed(pictures), prepare, batch=4, seed=5, rank=parallel.rank, world=parallel.world
        )
        train(network, objective, loader, config=loop, folder=Path(folder), parallel=parallel)


if __name__ == "__main__":
    main()
