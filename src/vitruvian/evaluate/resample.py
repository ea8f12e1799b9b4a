# SPDX-License-Identifier: Apache-2.0
"""Numbers of any choice of an evaluation's photographs, from the evidence it kept.

A choice says how often each photograph counts. All once gives the numbers of the report; drawn with
repetition it is a bootstrap sample (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import vocabulary
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import sigmas_of
from vitruvian.evaluate.scoring_pose import groups_of
from vitruvian.files import read_json
from vitruvian.formats.maps import read_arrays
from vitruvian.formats.record import layout
from vitruvian.metrics import KeypointAP, MaskMetrics
from vitruvian.metrics.accumulator import nan_mean, ratio

Numbers = dict[str, float]
Times = NDArray[np.float64]
_ROOTS = ("RMSE", "RMSE_log", "SILog")


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """An evaluation read back, ready to be asked about choices of its photographs.

    Attributes:
        report: as it was written.
        names: of the photographs, in the order of choices.
        tasks: task → function from how often each photograph counts to numbers.
    """

    report: Mapping[str, Any]
    names: tuple[str, ...]
    tasks: Mapping[str, Callable[[Times], Numbers]]


def read_evidence(path: str | Path) -> Evidence:
    """Read an evaluation.

    Args:
        path: its report.json, or the folder of it; photographs.csv and evidence.npz lie beside.

    Raises:
        InputError: if it is none, or files are missing.
    """
    place = Path(path)
    place = place / "report.json" if place.is_dir() else place
    report = read_json(place)
    with layout(place, "a report of vitruvian evaluate"):
        tasks, settings = list(report["tasks"]), report["settings"]["settings"]
        words = report["vocabularies"]
        names, numbers, columns = _rows(place.parent / "photographs.csv")
        arrays = _arrays(place.parent / "evidence.npz")
        functions: dict[str, Callable[[Times], Numbers]] = {}
        for task in tasks:
            own = {k.partition("|")[2]: v for k, v in arrays.items() if k.startswith(f"{task}|")}
            if task == "pose":
                functions[task] = _pose(own, _named(words["points"]), numbers)
            elif task == "parts":
                functions[task] = _parts(own, _named(words["parts"]), settings["absent"])
            else:
                average = settings[f"{task}_average"]
                functions[task] = _dense(columns, task, average)
    return Evidence(report=report, names=tuple(names), tasks=functions)


def _rows(path: Path) -> tuple[list[str], list[int], dict[str, Times]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): it belongs beside the report"
        ) from error
    head, body = lines[0], lines[1:]
    columns: dict[str, Times] = {}
    for place, name in enumerate(head):
        if "/" in name:
            cells = [line[place] for line in body]
            columns[name] = np.array([float(cell) if cell else math.nan for cell in cells])
    return [line[0] for line in body], [int(line[1]) for line in body], columns


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return read_arrays(path)
    except InputError as error:
        raise InputError(f"{error}: it belongs beside the report") from error


def _named(stated: str) -> vocabulary.Vocabulary:
    return vocabulary.load(stated.partition("@")[0])


def _pose(
    rows: Mapping[str, NDArray[Any]], words: vocabulary.Vocabulary, numbers: Sequence[int]
) -> Callable[[Times], Numbers]:
    groups = groups_of(words)
    body = groups["body"] if groups is not None and "body" in groups else None
    metric = KeypointAP(sigmas_of(words), groups=groups, area_points=body)
    state = {"settings": metric.state_dict()["settings"]}
    metric.load_state_dict(state | {f"rows.{name}": array for name, array in rows.items()})
    ranking = metric.ranking()
    place = {number: row for row, number in enumerate(numbers)}
    order = np.array([place[number] for number in ranking.images.tolist()], np.intp)
    return lambda times: ranking.result(times[order])


def _parts(
    arrays: Mapping[str, NDArray[Any]], words: vocabulary.Vocabulary, absent: str
) -> Callable[[Times], Numbers]:
    areas = arrays["areas"].astype(np.float64)
    missing = math.nan if absent == "skip" else 0.0

    def numbers(times: Times) -> Numbers:
        right, true, found = np.tensordot(times, areas, axes=1)
        tables = {
            "IoU": _shares(right, true + found - right, missing),
            "Acc": _shares(right, true, missing),
            "Dice": _shares(2 * right, true + found, missing),
        }
        result = {f"m{kind}": nan_mean(table) for kind, table in tables.items()}
        result["aAcc"] = ratio(float(right.sum()), float(true.sum()))
        names = MaskMetrics(words.names).names
        result |= {f"IoU/{n}": float(v) for n, v in zip(names, tables["IoU"], strict=True)}
        return result

    return numbers


def _shares(part: Times, whole: Times, missing: float) -> Times:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), missing)


def _dense(columns: Mapping[str, Times], task: str, average: str) -> Callable[[Times], Numbers]:
    own = {k.partition("/")[2]: v for k, v in columns.items() if k.startswith(f"{task}/")}
    pixels = own.pop("pixels")
    own = {name: values for name, values in own.items() if name != "coverage"}
    if average == "pixel":  # medians of pooled pixels do not follow from those of photographs
        own = {name: values for name, values in own.items() if name != "median"}

    def numbers(times: Times) -> Numbers:
        result: Numbers = {}
        for name, values in own.items():
            weight = times * (pixels if average == "pixel" else 1.0) * np.isfinite(values)
            root = average == "pixel" and name in _ROOTS
            clean = np.nan_to_num(values)
            total = float(weight @ (clean**2 if root else clean))
            mean = ratio(total, float(weight.sum()))
            result[name] = math.sqrt(mean) if root and mean == mean else mean
        return result

    return numbers
