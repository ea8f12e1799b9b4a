# SPDX-License-Identifier: Apache-2.0
"""The loop with the real loader and the real pretraining network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_training import settings

from vitruvian.data.loader import Loader
from vitruvian.data.source import Listed
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.person import Sample
from vitruvian.train.config import Hooks, Progress
from vitruvian.train.loop import train
from vitruvian.train.optim import OptimiserConfig

ENCODER = ViTConfig(dim=16, depth=2, heads=2, mlp_hidden=32, grid=(2, 2), patch=4, class_token=True)


class Crash(Exception):
    pass


class Masked:
    def losses(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pixels": network(batch["image"].float() / 255).loss}


def prepare(sample: Sample, rng: np.random.Generator) -> dict[str, Any]:
    image = sample.image.transpose(2, 0, 1)
    return {"image": np.ascontiguousarray(image[:, :, ::-1] if rng.random() < 0.5 else image)}


def pretrain(folder: Path, *, crash: int | None = None) -> MAE:
    torch.manual_seed(1)
    rng = np.random.default_rng(2)
    pictures = [Sample(image=rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(7)]
    mae = MAE(ENCODER, MAEConfig(decoder_dim=8, decoder_depth=1, decoder_heads=2, mask_ratio=0.5))
    loader = Loader(Listed(pictures), prepare, batch=3, seed=5)

    def progress(p: Progress) -> None:
        if p.step == crash:
            raise Crash

    optimiser = OptimiserConfig(lr=1e-3, betas=(0.9, 0.95), decay_tokens=False)
    config = settings(8, optimiser=optimiser, checkpointing=True)
    train(mae, Masked(), loader, config=config, folder=folder, hooks=Hooks(progress=progress))
    return mae


def test_pretraining_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    straight = pretrain(tmp_path / "straight")
    assert straight.encoder.checkpointing
    for step in (4, 5):
        with pytest.raises(Crash):
            pretrain(tmp_path / "crashed", crash=step)
    crashed = pretrain(tmp_path / "crashed").state_dict()
    for name, value in straight.state_dict().items():
        assert torch.equal(value, crashed[name]), name
