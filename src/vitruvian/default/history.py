# SPDX-License-Identifier: Apache-2.0
"""What weights were made from and what that cost, read from what trainings leave."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitruvian.data.augment import Backgrounds
from vitruvian.data.shards import finished, index_path, read_index
from vitruvian.errors import InputError, WeightsError
from vitruvian.files import read_json
from vitruvian.model.catalogue import find
from vitruvian.model.opening import open_file
from vitruvian.synth.recipe import Settings
from vitruvian.train.log import read_lines

HISTORY = "vitruvian.history"
"""Entry of the metadata of weights that holds ``history`` as JSON."""


def history(*folders: Path) -> list[dict[str, Any]]:
    """Return the trainings that led to the weights in a folder, the first one first.

    What a training began with is followed from its settings. Where files were moved in between,
    name all folders, in the order of the trainings; only the first one is followed then.

    Raises:
        InputError: there is no training in a folder.
    """
    first = read_json(folders[0] / "run.json")
    found = _before(first["init"]) if first.get("init") else []
    return [*found, *(_training(folder, read_json(folder / "run.json")) for folder in folders)]


def joined(*histories: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the trainings of several networks, those they share once."""
    found: list[Mapping[str, Any]] = []
    for one in histories:
        found += [training for training in one if training not in found]
    return found


def _before(init: str) -> list[dict[str, Any]]:
    try:
        return history_of(init)
    except WeightsError:  # no longer there
        return [{"recipe": "given", "name": Path(init).name}]


def history_of(weights: str | Path) -> list[dict[str, Any]]:
    """Return the trainings that led to weights: those noted inside, or of the folder they lie in.

    Weights of somebody else are one entry with their name alone.
    """
    path = find(weights)
    if path.is_file():
        noted = open_file(path).metadata.get(HISTORY)
        if noted is not None:
            return json.loads(noted)
        if (path.parent / "run.json").is_file():
            return history(path.parent)
    return [{"recipe": "given", "name": path.name}]


def mean_with(
    trainings: Sequence[Mapping[str, Any]], weights: str | Path, share: float
) -> list[Mapping[str, Any]]:
    """Return the history of the mean of weights and of a share of those that led to them.

    Raises:
        InputError: if these did not lead to them.
    """
    before = history_of(weights)
    count = len(before)
    if not count < len(trainings) or before != list(trainings[:count]):
        raise InputError(
            f"{weights} did not lead to the weights that are to be averaged with them · wanted "
            "those that their trainings began with, directly or not"
        )
    name = f"the weights after the first {count} of these trainings"
    return [*trainings, {"recipe": "mean", "name": name, "share": share}]


def _training(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    lines = [line for line in read_lines(folder / "metrics.jsonl") if "step_seconds" in line]
    spent, last = 0.0, 0
    for line in lines:
        spent += line["step_seconds"] * (line["step"] - last)
        last = line["step"]
    return {
        "recipe": run["recipe"],
        "name": folder.name,
        "input": list(run["window"]["size"]),
        "steps": last,
        "batch": run["batch"],
        "samples": last * run["batch"],
        "seconds": round(spent, 1),
        "device": "GPU" if any("memory_gib" in line for line in lines) else "CPU",
        "precision": run["loop"]["precision"],
        "lr": run["loop"]["optimiser"]["lr"],
        "seed": run["loop"]["seed"],
        "data": [data_facts(part["path"]) for part in run["data"]],
    } | _behind(run.get("backgrounds"))


def _behind(backgrounds: str | None) -> dict[str, Any]:
    """Return what was laid behind people apart from what was invented."""
    if backgrounds is None:
        return {}
    try:
        return {"backgrounds": len(Backgrounds(backgrounds))}
    except InputError:  # no longer there
        return {"backgrounds": None}


def data_facts(path: str) -> dict[str, Any]:
    """Return what a set holds: pictures, people, sizes, seeds and the version that rendered it."""
    place = Path(path)
    facts: dict[str, Any] = {"name": place.name, "pictures": 0, "people": 0}
    seeds, sizes, codes = set[int](), set[str](), set[str]()
    for index in finished(place) if place.is_dir() else ():
        table, note = read_index(index_path(index) if index.suffix == ".tar" else index)
        facts["pictures"] += table.num_rows
        facts["people"] += sum(table.column("people").to_pylist())
        sides = zip(
            table.column("height").to_pylist(), table.column("width").to_pylist(), strict=True
        )
        sizes |= {f"{height}×{width}" for height, width in sides}
        made = note.get("provenance") or {}
        seeds |= {made["seed"]} if "seed" in made else set()
        codes |= {made["code"]} if "code" in made else set()
    return facts | {"seeds": sorted(seeds), "sizes": sorted(sizes), "code": sorted(codes)}


def rendering_of(folder: Path) -> str:
    """Return the command that renders a set of people again, "" if that is not known."""
    marker = folder / "synth.json"
    if not marker.is_file():
        return ""
    made = read_json(marker)
    settings = Settings.from_dict(made["settings"])
    if made["kind"] != "people" or replace(settings, size=Settings().size) != Settings():
        return ""
    height, width = settings.size
    count = data_facts(str(folder))["pictures"]
    return (
        f"vitruvian synth people --out {folder.name} --count {count} --seed {made['seed']} "
        f"--size {height}x{width}"
    )


def total(trainings: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """Return samples seen and seconds spent in all."""
    known = [one for one in trainings if "samples" in one]
    return sum(one["samples"] for one in known), sum(one["seconds"] for one in known)
