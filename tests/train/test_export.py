# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_vit import OWN
from toy_training import Batches, settings

from vitruvian.errors import InputError
from vitruvian.model.card import Card, TaskCard
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.lora import LoRAConfig, add_lora, freeze_backbone
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.weights import load, load_mae
from vitruvian.train.config import Hooks, Progress
from vitruvian.train.export import export
from vitruvian.train.loop import Outcome, train
from vitruvian.train.optim import OptimiserConfig
from vitruvian.train.state import read_tensors

HEAD = DenseHeadConfig(in_dim=OWN.dim, out=1, widths=(4,), norm="rms")
CONFIG = NetworkConfig(backbone=OWN, heads={"depth": HEAD})
LORA = LoRAConfig(rank=2, alpha=4)
IMAGES = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Crash(Exception):
    pass


class Bright:
    """Predict the red channel, or rebuild the picture."""

    def losses(self, network: torch.nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        x = IMAGES[batch["index"]]
        if isinstance(network, MAE):
            return {"pixels": network(x).loss}
        wanted = torch.nn.functional.avg_pool2d(x[:, :1], 8)
        return {"error": (network(x)["depth"] - wanted).square().mean()}


def card(network: NetworkConfig = CONFIG, **changes: Any) -> Card:
    tasks = {name: TaskCard() for name in network.heads}
    said = Card(
        name="own", generation="vitruvian", network=network, tasks=tasks, input_size=(32, 32),
        framing="person", licence="Apache-2.0", commercial="yes",
    )  # fmt: skip
    return replace(said, **changes)


def fit(network: torch.nn.Module, folder: Path, *, crash: int = 0, **changes: Any) -> Outcome:
    def progress(p: Progress) -> None:
        if p.step == crash:
            raise Crash

    decay = 1.0 if isinstance(network, MAE) else 0.9
    config = settings(6, optimiser=OptimiserConfig(lr=3e-3, layer_decay=decay), **changes)
    return train(
        network, Bright(), Batches(), config=config, folder=folder, hooks=Hooks(progress=progress)
    )


def built(change: Any) -> Network:
    torch.manual_seed(3)
    network = Network(CONFIG)
    change(network)
    return network


@pytest.mark.parametrize("kind", ["frozen", "lora"])
def test_what_is_frozen_stays_and_what_learns_goes_on(tmp_path: Path, kind: str) -> None:
    """Killed and finished equals undisturbed, and the file loads strictly as a plain network."""
    change = freeze_backbone if kind == "frozen" else lambda network: add_lora(network, LORA)
    straight, broken = built(change), built(change)
    outcome = fit(straight, tmp_path / "straight")
    with pytest.raises(Crash):
        fit(broken, tmp_path / "broken", crash=5)
    broken = built(change)
    fit(broken, tmp_path / "broken")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, broken.state_dict()[name]), name
    learned = {n for n, p in straight.named_parameters() if p.requires_grad}
    moments = read_tensors(outcome.checkpoint, "optimiser")
    assert {name.partition("/")[2] for name in moments} == learned
    before = built(change).state_dict()
    for name, value in straight.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in learned), name

    out = tmp_path / "network.safetensors"
    export(outcome.checkpoint, out, card(), lora=LORA if kind == "lora" else None)
    loaded, said = load(out)
    assert said == card()
    with torch.inference_mode():
        wanted = straight.eval()(IMAGES[:2])["depth"]
        assert torch.allclose(loaded(IMAGES[:2])["depth"], wanted, atol=1e-6)
    if kind == "lora":
        with pytest.raises(InputError, match="describes another network"):
            export(outcome.checkpoint, out, card())


def test_the_average_is_what_is_written(tmp_path: Path) -> None:
    network = built(lambda network: None)
    outcome = fit(network, tmp_path, ema=0.9)
    export(outcome.checkpoint, tmp_path / "own.safetensors", card())
    written = load(tmp_path / "own.safetensors")[0].state_dict()
    average = read_tensors(outcome.checkpoint, "average")
    assert average.keys() == dict(network.named_parameters()).keys()
    for name, value in average.items():
        assert torch.equal(written[name], value)
    assert any(not torch.equal(v, written[n]) for n, v in network.state_dict().items())


def test_pretraining_keeps_its_decoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder = MAEConfig(decoder_dim=8, decoder_depth=1, decoder_heads=2, mask_ratio=0.5)
    mae = MAE(OWN, decoder)
    outcome = fit(mae, tmp_path)
    out = tmp_path / "mae.safetensors"
    plain = card(NetworkConfig(backbone=OWN))
    export(outcome.checkpoint, out, replace(plain, decoder=decoder))
    again = load_mae(out)
    assert again.config == decoder
    for name, value in mae.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    with torch.inference_mode():
        mine = mae.encoder.features(IMAGES[:1])
        assert torch.equal(load(out, task="pretrain")[0].features(IMAGES[:1]), mine)
    with pytest.raises(InputError, match="describes another network"):
        export(outcome.checkpoint, out, plain)
