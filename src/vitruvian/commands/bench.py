# SPDX-License-Identifier: Apache-2.0
"""``vitruvian bench``: where the time goes between a photograph and its result files."""

import json as jsonlib
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitruvian import __version__
from vitruvian.errors import InputError
from vitruvian.files import write_json

if TYPE_CHECKING:
    from vitruvian.predict.detect import Boxes
    from vitruvian.predict.predictor import Model, Predictor


def bench(
    *,
    model: tuple[str, ...] = (),
    size: str = "0.3b",
    tasks: tuple[str, ...] = (),
    image: Path | None = None,
    people: int = 1,
    repeat: int = 3,
    batch: int = 4,
    flip: bool | None = None,
    zooms: tuple[float, ...] | None = None,
    write: tuple[str, ...] = ("json", "labels-png", "depth-png", "normals-png"),
    device: str = "auto",
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    json: Path | None = None,
) -> None:
    """Time every stage of prediction on this machine; medians in milliseconds per photograph.

    Without --model it uses random weights of a published size, which take the same time as real
    ones. People stand side by side in given boxes, so no detector is needed; with weights and a
    photograph of your own the numbers are your own too.

    Args:
        model: weights to time, instead of random ones.
        size: published size of the random weights (0.3b 0.6b 1b 2b).
        tasks: what to answer: all the weights know, or with random ones pose; then each task has
            its own network, as published.
        image: a photograph; by default a 1920×1080 one is made up.
        people: how many people are in it.
        repeat: how often to measure, after one run to warm up.
        batch: windows per forward pass.
        flip: average with the mirrored prediction; by default as the weights say.
        zooms: average keypoints with those of windows enlarged by these factors; by default as
            the weights say.
        write: result files to write, see vitruvian predict.
        device: auto, cpu, mps or cuda:N.
        dtype: precision of the network.
        json: also write the figures here.
    """
    if people < 1 or repeat < 1:
        raise InputError(f"--people {people} --repeat {repeat}: both need to be at least 1")
    from vitruvian.predict.detect import WholeImage
    from vitruvian.predict.load import open_model
    from vitruvian.predict.predictor import Predictor

    models = [open_model(name, None, {}, "card") for name in model]
    models = models or [_random_model(size, task) for task in tasks or ("pose",)]
    predictor = Predictor(
        models,
        WholeImage(),
        tasks=tasks or None,
        flip=flip,
        zooms=zooms,
        batch=batch,
        device=device,
        dtype=dtype,
    )
    with tempfile.TemporaryDirectory() as folder:
        photo = image or _made_up_photo(Path(folder) / "photo.jpg")
        boxes = _side_by_side(photo, people)
        runs = [_once(predictor, photo, boxes, write, Path(folder)) for _ in range(repeat + 1)][1:]
    stages = {name: 1000 * statistics.median(run[name] for run in runs) for name in runs[0]}
    figures: dict[str, Any] = {
        "vitruvian": __version__,
        "models": [one.name for one in models],
        "random_weights": not model,
        "people": people,
        "batch": batch,
        "flip": [model.flip for model in predictor.models],
        "zooms": [list(model.zooms) for model in predictor.models],
        "milliseconds": {name: round(value, 2) for name, value in stages.items()},
        "total_milliseconds": round(sum(stages.values()), 2),
        "peak_memory_gb": _peak_memory(predictor),
        **_machine(predictor),
    }
    if json is not None:
        write_json(json, figures, indent=1)
    _show(figures)


def _random_model(size: str, task: str) -> "Model":
    import torch

    from vitruvian.model.network import Network
    from vitruvian.model.published import published_network
    from vitruvian.predict.predictor import Model
    from vitruvian.tasks import make

    torch.manual_seed(0)
    network = Network(published_network(task, size))
    network.reset_parameters()
    return Model(name=f"random {task} {size}", network=network, tasks={task: make(task)})


def _made_up_photo(path: Path) -> Path:
    import numpy as np

    from vitruvian.image import resize, write

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (68, 120, 3), dtype=np.uint8)
    fine = rng.integers(0, 24, (1080, 1920, 3), dtype=np.uint8)
    write(path, resize(coarse, (1080, 1920), interpolation="cubic") // 2 + fine)
    return path


def _side_by_side(photo: Path, people: int) -> "Boxes":
    import numpy as np

    from vitruvian.image import probe
    from vitruvian.predict.detect import Boxes

    header = probe(photo)
    edges = np.linspace(0, header.width - 1, people + 1)
    bottom = np.full(people, header.height - 1.0)
    boxes = np.stack([edges[:-1], np.zeros(people), edges[1:], bottom], axis=1)
    return Boxes(boxes, np.ones(people))


def _once(
    predictor: "Predictor", photo: Path, boxes: "Boxes", write: tuple[str, ...], folder: Path
) -> dict[str, float]:
    """Return the seconds of each stage for one photograph."""
    from vitruvian import formats
    from vitruvian.drawing import draw

    before = dict(predictor.seconds)
    sample = predictor.see(photo, boxes)
    seconds = {name: predictor.seconds[name] - before[name] for name in before}
    start = time.perf_counter()
    draw(sample.image, sample.people)
    seconds["draw"] = time.perf_counter() - start
    start = time.perf_counter()
    for name in write:
        if formats.find(name).scope == "photo":
            formats.write_photo(name, sample, folder / "result")
        elif formats.find(name).scope == "run":
            formats.write_run(name, [formats.Record.of(sample)], folder)
    seconds["write"] = time.perf_counter() - start
    return seconds


def _peak_memory(predictor: "Predictor") -> float | None:
    """Return the peak of device memory (CUDA) or of this process (POSIX), in GB."""
    import torch

    if predictor.device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(predictor.device) / 1e9, 3)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e9 if sys.platform == "darwin" else 1e6), 3)


def _machine(predictor: "Predictor") -> dict[str, Any]:
    import torch

    cuda = predictor.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(predictor.device) if cuda else predictor.device.type,
        "dtype": str(predictor.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{', '.join(figures['models'])} · {figures['people']} people")
    table.add_column("stage")
    table.add_column("ms", justify="right")
    for name, value in figures["milliseconds"].items():
        table.add_row(name, f"{value:.1f}")
    table.add_row("total", f"{figures['total_milliseconds']:.1f}", style="bold")
    console = Console()
    console.print(table)
    facts = ("peak_memory_gb", "device", "dtype", "threads", "batch", "flip", "zooms", "torch")
    console.print(jsonlib.dumps({key: figures[key] for key in facts}))
