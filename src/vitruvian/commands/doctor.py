# SPDX-License-Identifier: Apache-2.0
"""``vitruvian doctor``: what is installed, what works here, and what to do about the rest."""

import importlib
import json as json_text
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vitruvian import __version__
from vitruvian.errors import InputError, VitruvianError

State = Literal["ok", "note", "bad"]
_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[red]✗[/]"}
_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow", "simplejpeg", "pyarrow")
_MORE_PACKAGES = ("safetensors", "huggingface-hub", "tyro", "rich")
# extra → (its packages, which are called like their modules; what it is for)
_EXTRAS = {
    "detect": (("transformers",), "finding people"),
    "exr": (("OpenEXR",), "depth and normals as EXR"),
    "synth": (("scipy", "trimesh"), "rendering people"),
    "curate": (("duckdb", "rapidocr", "onnxruntime"), "curating pictures"),
    "cluster": (("ray",), "spreading work over a cluster"),
    "track": (("tensorboard", "wandb"), "curves in TensorBoard or Weights & Biases"),
}
_OPENCV = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "opencv-python-headless",
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: whether it is well, what was seen, and the remedy if there is one."""

    topic: str
    state: State
    seen: str
    remedy: str = ""


def doctor(*, model: str | None = None, image: Path | None = None, json: bool = False) -> int:
    """Show versions, devices and what works here, and say what to install.

    Args:
        model: also load these weights (a file, a catalogue name, or hf:org/name) and say what they
            are; of a normals model, decide which way its axes point from a prediction.
        image: photograph of a person for that, best head and shoulders.
        json: print JSON instead of a table.

    Returns:
        0 when everything needed works, else 1.
    """
    if image is not None and model is None:
        raise InputError("--image was given without --model: it is the photograph a model looks at")
    findings = list(examine())
    if model is not None:
        findings += _guarded("model", lambda: _model(model, image))
    ok = all(finding.state != "bad" for finding in findings)
    if json:
        report = {"version": __version__, "ok": ok, "findings": [asdict(f) for f in findings]}
        sys.stdout.write(json_text.dumps(report, indent=1, ensure_ascii=False) + "\n")
    else:
        _show(findings, ok)
    return 0 if ok else 1


def examine() -> Iterator[Finding]:
    """Yield what there is to say about this installation; nothing is downloaded or changed."""
    yield Finding(
        topic="vitruvian",
        state="ok",
        seen=f"{__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
    )
    for topic, look in (
        ("packages", _packages),
        ("torch", _torch),
        ("devices", _devices),
        ("extras", _extras),
        ("torchvision", _torchvision),
        ("opencv", _opencv),
        ("hub", _hub),
        ("weights", _weights),
        ("self-test", _self_test),
    ):
        yield from _guarded(topic, look)


def _guarded(topic: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A doctor outlives its patients: what breaks while being looked at is itself a finding."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except VitruvianError as error:
        found.append(Finding(topic=topic, state="bad", seen=str(error)))
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        seen = f"{type(error).__name__}: {reason}"
        remedy = "reinstall it into an empty environment: docs/install.md"
        found.append(Finding(topic=topic, state="bad", seen=seen, remedy=remedy))
    return found


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    found = {name: _version(name) for name in (*_PACKAGES, *_MORE_PACKAGES)}
    missing = [name for name, number in found.items() if number is None]
    if find_spec("cv2") is not None:
        missing = [name for name in missing if name not in _OPENCV]  # another build serves as well
    seen = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Finding(topic="packages", state="ok", seen=seen)
    if missing:
        seen = "missing: " + ", ".join(missing)
        remedy = "pip install " + " ".join(missing)
        yield Finding(topic="packages", state="bad", seen=seen, remedy=remedy)


def _torch() -> Iterator[Finding]:
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA in this build"
    yield Finding(
        topic="torch",
        state="ok",
        seen=f"{torch.__version__}, {build}, {torch.get_num_threads()} threads",
    )


def _devices() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ratio = _bfloat16_speed()
    if ratio > 1.2:
        seen, remedy = f"bf16 matrix products {ratio:.1f}× as fast as fp32", ""
    else:
        seen, remedy = f"bf16 only {ratio:.2f}× as fast as fp32", "--dtype fp32 is best on this CPU"
    state: State = "note" if remedy else "ok"
    yield Finding(topic="cpu", state=state, seen=f"{cores} cores, {seen}", remedy=remedy)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            memory = facts.total_memory / 2**30
            halves = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            seen = f"{facts.name}, {memory:.0f} GiB, {halves}"
            yield Finding(topic=f"cuda:{index}", state="ok", seen=seen)
    elif torch.version.cuda:
        remedy = "no NVIDIA GPU, or its driver is older than this torch wants"
        seen = "this torch knows CUDA but sees no device"
        yield Finding(topic="cuda", state="note", seen=seen, remedy=remedy)
    if torch.backends.mps.is_available():
        yield Finding(topic="mps", state="ok", seen="Apple GPU available")


def _bfloat16_speed() -> float:
    """Return how many times faster a bf16 matrix product is than an fp32 one, measured here."""
    import torch

    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        left = torch.ones(384, 384, dtype=dtype)
        torch.mm(left, left)
        times: list[float] = []
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(left, left)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _extras() -> Iterator[Finding]:
    for extra, (packages, purpose) in _EXTRAS.items():
        found = {name: _version(name) for name in packages}
        missing = [name for name, number in found.items() if number is None]
        if missing:
            yield Finding(
                topic=f"extra {extra}",
                state="note",
                seen=f"{', '.join(missing)} not installed: no {purpose}",
                remedy=f"pip install 'vitruvian[{extra}]'",
            )
            continue
        for name in packages:
            importlib.import_module(name)
        seen = ", ".join(f"{name} {number}" for name, number in found.items())
        yield Finding(topic=f"extra {extra}", state="ok", seen=f"{seen}: {purpose}")


def _torchvision() -> Iterator[Finding]:
    """A torchvision built for another torch breaks every detector of transformers."""
    number = _version("torchvision")
    if number is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        yield Finding(
            topic="torchvision",
            state="bad",
            seen=f"{number} does not fit this torch ({str(error).splitlines()[0]}); "
            "transformers then fails to import any detector",
            remedy="pip uninstall torchvision  (nothing here needs it)",
        )
        return
    yield Finding(topic="torchvision", state="ok", seen=f"{number}, works; nothing here needs it")


def _opencv() -> Iterator[Finding]:
    """Two builds of OpenCV share one folder, and whichever came last is half overwritten."""
    builds = [f"{name} {number}" for name in _OPENCV if (number := _version(name))]
    if len(builds) > 1:
        yield Finding(
            topic="opencv",
            state="bad",
            seen=" and ".join(builds) + " overwrite each other",
            remedy="pip uninstall all of them, then  pip install opencv-python-headless",
        )
    importlib.import_module("cv2")


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    seen = [f"cache {constants.HF_HUB_CACHE}"]
    if constants.HF_HUB_OFFLINE:
        seen.append("offline (HF_HUB_OFFLINE is set)")
    if os.environ.get("HF_ENDPOINT"):
        seen.append(f"mirror {constants.ENDPOINT}")
    yield Finding(topic="hub", state="ok", seen=", ".join(seen))


def _weights() -> Iterator[Finding]:
    from vitruvian.model.catalogue import weights_folder

    folder = weights_folder()
    here = next(path for path in (folder, *folder.parents) if path.exists())
    fetched = sum(1 for path in folder.glob("*/*") if path.suffix in (".safetensors", ".pth"))
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
        yield Finding(topic="weights", state="ok", seen=f"{fetched} fetched, in {folder}")
    except OSError as error:
        yield Finding(
            topic="weights",
            state="bad",
            seen=f"{folder}: cannot write ({error.strerror})",
            remedy="set VITRUVIAN_WEIGHTS to a folder of your own",
        )
    shipped = files("vitruvian").joinpath("default")
    names = [p.name for p in shipped.iterdir()] if shipped.is_dir() else []
    if any(name.endswith(".safetensors") for name in names):
        yield Finding(topic="default weights", state="ok", seen="shipped with the package")
    else:
        yield Finding(
            topic="default weights",
            state="note",
            seen="this version ships none",
            remedy="vitruvian weights list  shows published ones",
        )


def _self_test() -> Iterator[Finding]:
    """Run a network of one million random weights and find the peaks of its maps."""
    import torch

    from vitruvian.model.heads import DenseHeadConfig
    from vitruvian.model.network import Network, NetworkConfig
    from vitruvian.model.sizes import SIZES
    from vitruvian.tasks.heatmaps import decode_heatmaps

    start = time.perf_counter()
    backbone = SIZES["nano"]
    head = DenseHeadConfig(in_dim=backbone.dim, out=17, upsample="deconv", widths=(32, 32))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        network = Network(NetworkConfig(backbone=backbone, heads={"pose": head})).eval()
        network.reset_parameters()
        maps = network(torch.rand(1, 3, 256, 192))["pose"]
        xy, scores = decode_heatmaps(maps)
    height, width = maps.shape[2:]
    inside = (xy >= 0).all() and (xy[..., 0] < width).all() and (xy[..., 1] < height).all()
    passed = maps.isfinite().all() and scores.isfinite().all() and inside
    milliseconds = 1000 * (time.perf_counter() - start)
    yield Finding(
        topic="self-test",
        state="ok" if passed else "bad",
        seen=f"network built, run and decoded in {milliseconds:.0f} ms"
        if passed
        else "a small network gave values that cannot be",
        remedy="" if passed else "try another version of torch, and report this table",
    )


def _model(model: str, image: Path | None) -> Iterator[Finding]:
    from vitruvian.model.weights import load

    network, card = load(model, device="meta")  # looks at names and shapes only
    count = sum(parameter.numel() for parameter in network.parameters())
    tasks = ", ".join(card.tasks) or "encoder without heads"
    yield Finding(
        topic="model",
        state="ok",
        seen=f"{card.name}: {tasks}; {count / 1e6:.1f} million weights, "
        f"{card.input_size[0]}×{card.input_size[1]} (height × width), licence {card.licence}, "
        f"commercial use: {card.commercial}",
    )
    if "normals" in card.tasks:
        yield _normal_axes(model, image)
    elif image is not None:
        raise InputError(f"--image is for models with normals; {card.name} has {tasks}")


def _normal_axes(model: str, image: Path | None) -> Finding:
    """Compare the axes a normals model is taken to speak with what its prediction says."""
    if image is None:
        return Finding(
            topic="normals axes",
            state="note",
            seen="not checked",
            remedy="give a photograph of one person, head and shoulders, with --image",
        )
    import numpy as np

    from vitruvian.commands.normal_signs import decide_normal_signs
    from vitruvian.person import Raster
    from vitruvian.predict.detect import WholeImage
    from vitruvian.predict.load import open_model
    from vitruvian.predict.predictor import Predictor
    from vitruvian.tasks import Normals

    opened = open_model(model, None, {}, "card")
    task = opened.tasks["normals"]
    assert isinstance(task, Normals)
    (person,) = Predictor([opened], WholeImage(), mask="none")(image)
    normals, parts = person.raster("normals"), person.annotations.get("parts")
    body = None
    if isinstance(parts, Raster) and parts.vocabulary is not None:
        body = parts.mask & (parts.values != parts.vocabulary.background)
    decided = decide_normal_signs(normals.values * np.array(task.signs), body)
    found = (1, decided.y, decided.z)
    if decided.evidence.contradictory or 0 in found:
        seen = f"this prediction does not settle them ({decided.evidence})"
        remedy = "try a photograph with one large, well lit person"
        return Finding(topic="normals axes", state="note", seen=seen, remedy=remedy)
    if found != task.signs:
        return Finding(
            topic="normals axes",
            state="bad",
            seen=f"signs of x, y, z are taken as {task.signs}, the prediction says {found} "
            f"({decided.evidence})",
            remedy=f"vitruvian predict … --normal-signs {' '.join(map(str, found))}",
        )
    seen = f"signs of x, y, z are {task.signs}, as taken ({decided.evidence})"
    return Finding(topic="normals axes", state="ok", seen=seen)


def _show(findings: list[Finding], ok: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("looked at", style="bold", no_wrap=True)
    table.add_column("seen", overflow="fold")
    remedies = any(finding.remedy for finding in findings)
    if remedies:
        table.add_column("remedy", overflow="fold")
    for finding in findings:
        cells = [_MARKS[finding.state], finding.topic, finding.seen]
        table.add_row(*cells, *([finding.remedy] if remedies else []))
    console = Console()
    console.print(table)
    console.print("Everything needed works." if ok else "Something needs care: see ✗ above.")
