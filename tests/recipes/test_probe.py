# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitruvian import vocabulary
from vitruvian.data.source import Listed
from vitruvian.errors import InputError
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.sizes import SIZES
from vitruvian.person import Person, Points, Raster, Sample
from vitruvian.recipes import Probed
from vitruvian.recipes.probe import (
    ProbeConfig,
    Probing,
    classes_of,
    features_of,
    probe,
    windows_of,
)
from vitruvian.tasks import make

SIZE = (64, 48)
BOX = np.array([0, 0, 47, 63], np.float64)
NANO = replace(SIZES["nano"], depth=2)


def network() -> Network:
    torch.manual_seed(0)
    return Network(NetworkConfig(backbone=NANO))


def striped(count: int = 16, *, shuffled: bool = False) -> Listed:
    """People of two bands, the upper bright and the lower dark, of parts to match; a red dot."""
    rng = np.random.default_rng(0)
    parts, coco = vocabulary.load("parts28"), vocabulary.load("coco17")
    made = []
    for _ in range(count):
        edge = int(rng.integers(1, 4)) * 16
        labels = np.where(np.arange(64)[:, None] < edge, 3, 4).repeat(48, 1)
        image = np.where(labels == 3, 220, 30)[..., None].repeat(3, 2) + rng.integers(0, 20)
        x, y = int(rng.integers(4, 44)), int(rng.integers(4, 60))
        image[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = (255, 0, 0)
        xy = np.full((17, 2), np.nan)
        xy[0] = (rng.integers(4, 44), rng.integers(4, 60)) if shuffled else (x, y)
        if shuffled:
            labels = rng.permutation([3, 4])[np.zeros((64, 48), int)]
        annotations = {
            "parts": Raster(law="label", values=labels.astype(np.uint8), vocabulary=parts),
            "pose": Points(vocabulary=coco, xy=xy, scores=np.ones(17, np.float32)),
            "depth": Raster(law="scalar", values=labels - 2.0, kind="metric"),
        }
        person = Person(box=BOX, annotations=annotations)
        made.append(Sample(image=image.astype(np.uint8), people=(person,)))
    return Listed(made)


def test_windows_show_the_fill_of_the_weights_beyond_photographs() -> None:
    task = make("parts")
    black, grey = (
        windows_of(striped(8), task, SIZE, fill=fill).pixels
        for fill in ((0.0, 0.0, 0.0), (124.0, 116.0, 104.0))
    )
    corners = (..., [0, 0, -1, -1], [0, -1, 0, -1])  # boxes fill the pictures, windows reach beyond
    assert (black[corners] == 0).all()
    assert (grey[corners] == torch.tensor([124, 116, 104])[:, None]).all()
    inside = (..., slice(16, 48), slice(12, 36))
    assert (black[inside] == grey[inside]).all()


def test_features_are_those_of_the_network_and_of_pretraining() -> None:
    task = make("parts")
    pixels = windows_of(striped(8), task, SIZE).pixels
    net = network()
    found = features_of(net, pixels, batch=3)
    assert found.shape == (8, 128, 4, 3)
    mae = MAE(NANO, MAEConfig(decoder_dim=8, decoder_depth=1, decoder_heads=2))
    mae.encoder.load_state_dict(net.backbone.state_dict())
    assert torch.allclose(features_of(mae, pixels).float(), found.float(), atol=1e-2)
    with pytest.raises(InputError, match="wanted a Network or a MAE"):
        features_of(torch.nn.Linear(1, 1), pixels)


@pytest.mark.parametrize("method", ["knn", "linear", "decoder"])
def test_parts_are_told_apart_only_where_pictures_tell(method: str) -> None:
    config = ProbeConfig(method=method, steps=60, batch=6, neighbours=5)  # pyright: ignore
    task, net = make("parts", weighted=False), network()
    found = probe(net, windows_of(striped(), task, SIZE), task, config)
    noise = probe(net, windows_of(striped(shuffled=True), task, SIZE), task, config)
    assert found["mIoU"] > 0.8
    assert noise["mIoU"] < 0.7


@pytest.mark.parametrize("method", ["linear", "decoder"])
def test_depth_is_learned_only_where_pictures_tell(method: str) -> None:
    """Also from below the floor of the published loss, which has no slope there."""
    config = ProbeConfig(method=method, steps=60, batch=6)  # pyright: ignore
    task, net = make("depth"), network()
    found = probe(net, windows_of(striped(), task, SIZE), task, config)
    idle = replace(config, steps=1, lr=1e-9)
    still = probe(net, windows_of(striped(), task, SIZE), task, idle)
    assert found["RMSE"] < 0.8 * still["RMSE"]  # a hard edge through maps of 4×3 patches


def test_points_are_found_by_a_decoder() -> None:
    task = make("pose", vocabulary="coco17")
    windows = windows_of(striped(32), task, SIZE)
    config = ProbeConfig(method="decoder", steps=80, batch=8)
    found = probe(network(), windows, task, config)
    noise = windows_of(striped(32, shuffled=True), task, SIZE)
    assert found["whole/AR50"] > 0.1 + probe(network(), noise, task, config)["whole/AR50"]
    with pytest.raises(InputError, match="by neighbours"):
        probe(network(), windows, task, ProbeConfig(method="knn"))


def test_a_hook_changes_nothing() -> None:
    task, net = make("parts"), network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    asked = Probed(task="parts", data="striped", methods=("knn", "linear"), steps=3)
    hook = Probing(probes=(asked,), data=((task, windows_of(striped(8), task, SIZE)),))
    random = torch.random.get_rng_state()
    with torch.no_grad():
        found = [hook(net, 10), hook(net, 10)]
    assert found[0] == pytest.approx(found[1], nan_ok=True)
    assert {"probe/parts/knn/mIoU", "probe/parts/linear/mIoU"} <= found[0].keys()
    assert net.training
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("method", ["knn", "linear"])
def test_classes_are_folders(tmp_path: Path, method: str) -> None:
    rng = np.random.default_rng(1)
    for name, value in (("dark", 30), ("light", 200), ("mid", 110)):
        (tmp_path / name).mkdir()
        for i in range(8):
            pixels = np.full((40, 30, 3), value) + rng.integers(-15, 15, (40, 30, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    windows = classes_of(tmp_path, SIZE)
    assert windows.names == ("dark", "light", "mid")
    found = probe(network(), windows, None, ProbeConfig(method=method, steps=60, neighbours=3))  # pyright: ignore
    assert found["accuracy"] == 1
    assert found["chance"] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="wanted knn or linear"):
        probe(network(), windows, None, ProbeConfig(method="decoder"))
    with pytest.raises(InputError, match="one folder per class"):
        classes_of(tmp_path / "dark", SIZE)


def test_mistakes() -> None:
    with pytest.raises(InputError, match="3 photographs with parts"):
        windows_of(striped(3), make("parts"), SIZE)
    with pytest.raises(InputError, match="wanted numbers above 0"):
        ProbeConfig(steps=0)
