# SPDX-License-Identifier: Apache-2.0
"""``vitruvian probe``: how good the features of a backbone are, without finetuning it."""

import math
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vitruvian.errors import InputError
from vitruvian.files import write_json


def probe(
    weights: Annotated[str, tyro.conf.Positional],
    /,
    *,
    data: Path,
    task: Literal["pose", "parts", "depth", "normals", "classify"],
    method: Literal["knn", "linear", "decoder"] = "linear",
    samples: int = 256,
    steps: int = 300,
    neighbours: int = 10,
    input_size: tuple[int, int] | None = None,
    seed: int = 0,
    device: str = "auto",
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Measure what something light learns on frozen features; nothing is finetuned.

    Three quarters of the photographs teach, one quarter is measured. The numbers compare backbones
    with each other on the same data and settings; they are not those of finetuned models.

    Args:
        weights: a file, or a name of the catalogue; its heads are not used.
        data: shards, or data of any layout that vitruvian data pack reads; for classify a folder
            with a folder of pictures per class.
        task: what is asked.
        method: knn (parts, classify), linear, or decoder (a small head; not for classify).
        samples: most windows of people, or pictures.
        steps: of training the head.
        neighbours: that vote.
        input_size: height and width of the windows; by default that of the weights.
        seed: of the head's starting weights.
        device: auto, cpu or cuda:N.
        json: also write the figures here.
    """
    if samples < 8:
        raise InputError(f"--samples {samples} · wanted 8 or more")
    from vitruvian.model.weights import load
    from vitruvian.predict.device import pick_device
    from vitruvian.recipes.probe import ProbeConfig, opened
    from vitruvian.recipes.probe import probe as ask

    config = ProbeConfig(method=method, steps=steps, neighbours=neighbours, seed=seed)
    network, card = load(weights, device=pick_device(device), dtype="fp32")
    size = input_size or card.input_size
    asked, windows = opened(data, task, size, fill=card.fill, most=samples)
    found = ask(network, windows, asked, config, mean=card.mean, std=card.std)
    taught, measured = int((~windows.test).sum()), int(windows.test.sum())
    _show(f"{card.name}: {task} by {method}", taught, measured, found)
    if json is not None:
        settings = {"task": task, "method": method, "size": list(size), "steps": steps}
        counts = {"taught": taught, "measured": measured}
        # JSON has no NaN, which is the number of sizes of people that the data lacks.
        result = {name: value if math.isfinite(value) else None for name, value in found.items()}
        write_json(json, {"weights": card.name, **settings, **counts, "result": result}, indent=1)


def _show(title: str, taught: int, measured: int, found: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=f"{taught} windows taught, {measured} measured")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
