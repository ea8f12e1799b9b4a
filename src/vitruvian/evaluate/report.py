# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves: a report that can be repeated, and lines to print."""

import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian import __version__
from vitruvian.evaluate.plan import Evaluation
from vitruvian.evaluate.published import published_for
from vitruvian.evaluate.run import Measured
from vitruvian.files import sha256, write_json
from vitruvian.model import catalogue

FORMAT = 1
REPORT = "report.json"
_CLASS = ("IoU/", "Acc/", "Dice/", "BoundaryIoU/")


def report(
    evaluation: Evaluation, measured: Measured, *, command: Sequence[str], seconds: float
) -> dict[str, Any]:
    """Return everything about an evaluation as JSON values; NaN becomes ``None``.

    Args:
        evaluation: what was evaluated.
        measured: what came out.
        command: that would repeat it.
        seconds: it took.
    """
    plan = evaluation.plan
    models = [model_facts(name) for name in plan.models]
    beside = [
        {**asdict(one), "ours": _json(measured.results[one.task].get(one.number))}
        for one in comparable(evaluation, measured, [m["catalogue"] for m in models])
    ]
    people = measured.columns.get("pose", {}).get("people", np.zeros(0))
    return {
        "format": FORMAT,
        "vitruvian": __version__,
        "commit": commit(),
        "command": list(command),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "machine": machine(plan.device if plan.models else None),
        "models": models,
        "predictions": _file_facts(plan.predictions) if plan.predictions else None,
        "data": {
            **_file_facts(plan.data),
            "layout": evaluation.layout,
            "photographs": measured.photographs,
            "people": int(np.nansum(people)),
        },
        "protocol": {"name": evaluation.protocol.name, "about": evaluation.protocol.about},
        "settings": plan.described(),
        "vocabularies": {
            kind: None if words is None else f"{words.name}@{words.version}"
            for kind, words in (("points", evaluation.points), ("parts", evaluation.parts))
        },
        "tasks": list(evaluation.tasks),
        "results": {
            task: {key: _json(value) for key, value in numbers.items()}
            for task, numbers in measured.results.items()
        },
        "published": beside,
    }


def comparable(evaluation: Evaluation, measured: Measured, names: Sequence[str | None]) -> Any:
    """Return the published numbers that these may stand beside.

    Only for the whole set of the protocol, with its own boxes, flip test, framing and settings, and
    for weights of the catalogue; see ``published_for``.
    """
    plan, protocol = evaluation.plan, evaluation.protocol
    asked = plan.described()
    faithful = (
        asked["flip"] == protocol.flip
        and plan.zooms in (None, protocol.zooms)
        and asked["framing"] == protocol.framing
        and evaluation.settings == protocol.settings
        and not plan.points
        and not plan.parts
        and (plan.boxes == "truth") == (protocol.boxes == "truth")
    )
    if not faithful:
        return []
    known = [name for name in names if name is not None]
    return [
        one
        for task in evaluation.tasks
        for one in published_for(protocol.name, known, photographs=measured.photographs, task=task)
    ]


def _json(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


# ------------------------------------------------------------------------------- provenance


def model_facts(name: str) -> dict[str, Any]:
    """Return where weights lie, their checksum, and what the catalogue calls them, if it does."""
    path = catalogue.find(name)
    facts = _file_facts(str(path))
    known = catalogue.catalogue()
    if name in known:
        return {"name": name, "catalogue": name, **facts}
    same = [e.name for e in known.values() if e.sha256 and e.sha256 == facts["sha256"]]
    entry = catalogue.entry_of(path)
    named = same[0] if same else None if entry is None else entry.name
    return {"name": name, "catalogue": named, **facts}


def _file_facts(path: str) -> dict[str, Any]:
    """Return path and SHA-256 of a file; of a folder the path alone."""
    place = Path(path)
    return {"path": str(path), "sha256": sha256(place) if place.is_file() else None}


def commit() -> str | None:
    """Return the commit of the source this runs from ("+" if changed), ``None`` if installed."""
    here = Path(__file__).parent
    try:
        found = _git(here, "rev-parse", "HEAD")
        known = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{found}{'+' if changed else ''}" if known else None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip()


def machine(device: str | None) -> dict[str, Any]:
    """Return what the numbers were made on.

    Args:
        device: the model's, as it was asked for; ``None`` if no model ran.
    """
    import torch

    facts: dict[str, Any] = {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if device is not None:
        from vitruvian.predict.device import pick_device

        chosen = pick_device(device)
        name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type
        facts |= {"torch": torch.__version__, "device": name, "threads": torch.get_num_threads()}
    return facts


def command_line() -> list[str]:
    """Return the command of this process."""
    return ["vitruvian", *sys.argv[1:]]


# ------------------------------------------------------------------------------------ tables


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A table to print: title, names of columns, lines of cells, and a note below."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


_FAMILIES = (
    ("average precision and recall, %", ("AP", "AP50", "AP75", "APM", "APL")),
    ("", ("AR", "AR50", "AR75", "ARM", "ARL")),
    ("points within a share of the box, %", ("PCK", "mPCK")),
    ("points within half the head's length, %", ("PCKh", "mPCKh")),
    ("calibration of scores", ("ECE", "MCE", "bias")),
    ("motion, pixels per frame²", ("jitter", "acceleration_error")),
)


def shown(found: Mapping[str, Any]) -> list[Lines]:
    """Return the tables of a report to print: groups as lines and numbers as columns."""
    published = {(one["task"], one["number"]): one for one in found["published"]}
    made: list[Lines] = []
    for task, numbers in found["results"].items():
        families: dict[str, dict[str, dict[str, Any]]] = {}
        for key, value in numbers.items():
            group, _, name = key.rpartition("/")
            title = task
            if task == "parts" and key.startswith(_CLASS):
                if value is None:
                    continue
                group, name, title = name, group, "parts, per class, %"
            elif task == "pose":
                title = f"pose: {_family(name)}"
            elif task == "depth" and name in _LOGARITHMS:
                title = "depth: logarithms, and share of pixels answered, %"
            families.setdefault(title, {}).setdefault(group, {})[name] = value
        for title, groups in families.items():
            made.append(_table(title, task, groups, published))
    return made


def _family(name: str) -> str:
    title = ""
    for family, names in _FAMILIES:
        title = family or title
        if name in names or name.partition("@")[0] in names:
            return title
    return "other"


def _table(
    title: str,
    task: str,
    groups: Mapping[str, Mapping[str, Any]],
    published: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Lines:
    names = dict.fromkeys(name for numbers in groups.values() for name in numbers)
    columns = tuple(name for name in names if name not in _COUNTS)
    lines: list[tuple[str, ...]] = []
    notes: dict[str, None] = {}
    for group, numbers in groups.items():
        cells = (number(name, numbers.get(name)) for name in columns)
        lines.append((group or "all", *cells))
        prefix = f"{group}/" if group else ""
        beside = [published.get((task, f"{prefix}{name}")) for name in columns]
        if any(beside):
            cells = (
                "" if b is None else number(name, b["published"])
                for name, b in zip(columns, beside, strict=True)
            )
            lines.append(("  published", *cells))
            notes |= {f"{b['evidence']}, {b['source']}": None for b in beside if b is not None}
    note = f"published: {'; '.join(notes)}" if notes else ""
    heads = (name.replace("within_", "°<") for name in columns)
    return Lines(title=title, columns=("", *heads), lines=tuple(lines), note=note)


_COUNTS = ("images",)
_LOGARITHMS = ("log10", "RMSE_log", "SILog", "coverage")
_WHOLE = ("people", "missed", "false", "pixels")


def number(name: str, value: float | None) -> str:
    """Return a number as it is usual to print it: shares in per cent, others with their digits."""
    if value is None or math.isnan(value):
        return "–"
    if name.startswith(
        ("AP", "AR", "mIoU", "mAcc", "aAcc", "mDice", "mBoundaryIoU", "within", "coverage")
    ):
        return f"{100 * value:.1f}"
    if name in ("IoU", "Acc", "Dice", "BoundaryIoU") or "PCK" in name:
        return f"{100 * value:.1f}"
    if name in _WHOLE:
        return f"{value:.0f}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def save(found: Mapping[str, Any], out: str | Path) -> Path:
    """Write a report to its folder."""
    path = Path(out) / REPORT
    write_json(path, found, indent=1)
    return path
