# SPDX-License-Identifier: Apache-2.0
"""The loop: photographs in chunks, each kept once it is done, put together at the end.

A chunk is a fixed range of photographs, scored by itself and written whole. So an evaluation that
was stopped goes on, several processes or machines share the chunks, and the numbers do not depend
on any of it; windows pass the network one by one, so neither do they on who is in company of whom.
Memory hardly grows with the photographs: their names, where their annotations lie, a number for
each column of the table, and what average precision keeps, some dozen bytes per detection.
"""

import csv
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.evaluate.inputs import checksums
from vitruvian.evaluate.plan import Evaluation, Plan, prepare
from vitruvian.evaluate.scoring import Scorer
from vitruvian.files import atomic, read_json, write_json
from vitruvian.formats.maps import read_arrays

CHUNK = 16
"""Photographs per chunk."""
_FOLDER = ".vitruvian"
_FREE = ("device",)  # what may differ between processes of one evaluation
_REMEDY = "give another --out, or --overwrite to start again"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What came out.

    Attributes:
        results: task → number → value; numbers of groups of photographs as ``GROUP/NAME``.
        columns: task → number → (N,) value of each photograph, NaN where it has none.
        photographs: N.
    """

    results: dict[str, dict[str, float]]
    columns: dict[str, dict[str, NDArray[np.float64]]]
    photographs: int

    def row(self, task: str, place: int) -> dict[str, float]:
        """Return a photograph's numbers of a task."""
        return {key: float(values[place]) for key, values in self.columns[task].items()}


class Folder:
    """Where an evaluation keeps its chunks."""

    def __init__(self, out: str | Path) -> None:
        """Name the folder; nothing is written yet."""
        self.out = Path(out)
        self.inner = self.out / _FOLDER
        self._marker = self.inner / "plan.json"

    def claim(self, plan: Plan, *, overwrite: bool = False) -> None:
        """Make the folder for a plan, or find that it is of the same.

        The same are settings and what the files hold, see ``vitruvian.evaluate.inputs``.

        Raises:
            InputError: if it holds another evaluation; says which settings or files are others.
        """
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file: --out needs a folder")
        wanted = json.loads(json.dumps(plan.described()))
        if self._marker.exists() and overwrite:
            for old in self.inner.glob("*"):
                old.unlink()
        if next(self.inner.glob("chunk-*.npz"), None) is None or not self._marker.exists():
            files = checksums(plan, leave_out=self.out)
            write_json(self._marker, wanted | {"files": files}, indent=1)
            return
        before = read_json(self._marker)
        changed = [k for k in wanted if k not in _FREE and before.get(k) != wanted[k]]
        if changed:
            raise InputError(
                f"{self.out} holds an evaluation with other settings ({', '.join(changed)}): "
                f"{_REMEDY}"
            )
        known = before.get("files")
        if known is None:
            raise InputError(
                f"{self.out} holds an evaluation of an older version, which kept no checksums of "
                f"its files: {_REMEDY}"
            )
        files = checksums(plan, leave_out=self.out)
        changed = sorted(k for k in files.keys() | known.keys() if files.get(k) != known.get(k))
        if changed:
            raise InputError(
                f"{self.out} holds an evaluation from before {', '.join(changed)} changed: "
                f"{_REMEDY}"
            )

    def expect(self, photographs: int) -> None:
        """Keep how many photographs there are, or find that there are as many.

        Raises:
            InputError: if chunks are of more or fewer.
        """
        before = read_json(self._marker)
        known = before.get("photographs")
        if known is None:
            write_json(self._marker, before | {"photographs": photographs}, indent=1)
        elif known != photographs:
            raise InputError(
                f"{self.out} holds an evaluation of {known} photographs, now there are "
                f"{photographs}: {_REMEDY}"
            )

    def chunk(self, number: int) -> Path:
        """Return the file of a chunk."""
        return self.inner / f"chunk-{number:06d}.npz"


def chunks_of(count: int) -> list[range]:
    """Return the photographs of each chunk."""
    return [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def work(
    evaluation: Evaluation,
    folder: Folder,
    *,
    part: tuple[int, int] = (1, 1),
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Score what is not done yet of one part of the chunks; return how many photographs.

    Args:
        evaluation: prepared.
        folder: claimed.
        part: (i, n): every n-th chunk from the i-th on, i from 1.
        progress: called with the photographs done after each chunk.

    Raises:
        InputError: if the folder is of more or fewer photographs, or for what cannot be scored.
    """
    folder.expect(len(evaluation.cases))
    first, of = part
    done = 0
    for number, places in list(enumerate(chunks_of(len(evaluation.cases))))[first - 1 :: of]:
        if folder.chunk(number).exists():
            continue
        _save(folder.chunk(number), *_score(evaluation, places))
        done += len(places)
        progress(done)
    return done


def _score(
    evaluation: Evaluation, places: range
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Scorer]]:
    """Score photographs; return their rows, and the scorers by task and group ("" for all)."""
    scorers = {(scorer.task, ""): scorer for scorer in evaluation.scorers()}
    rows: list[dict[str, Any]] = []
    for answer in evaluation.answers.stream(places):
        place = answer.place
        name = evaluation.cases.names[place]
        try:
            row = {t: scorers[t, ""].update(evaluation.cases, answer) for t in evaluation.tasks}
            if evaluation.groups:
                group = evaluation.groups[place]
                if (evaluation.tasks[0], group) not in scorers:
                    scorers |= {(s.task, group): s for s in evaluation.scorers()}
                for task in evaluation.tasks:
                    scorers[task, group].update(evaluation.cases, answer)
        except InputError as error:
            raise error if name in str(error) else InputError(f"{name}: {error}") from error
        rows.append({"place": place, "numbers": row})
    return rows, scorers


def _save(
    path: Path, rows: Sequence[dict[str, Any]], scorers: Mapping[tuple[str, str], Scorer]
) -> None:
    arrays: Arrays = {"rows": np.frombuffer(json.dumps(rows).encode(), np.uint8)}
    for (task, group), scorer in scorers.items():
        kept = {f"state|{task}|{group}|{key}": a for key, a in scorer.state_dict().items()}
        arrays |= kept
        if not group:
            arrays |= {f"evidence|{task}||{key}": a for key, a in scorer.evidence().items()}
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]


def _load(path: Path) -> Arrays:
    try:
        return read_arrays(path)
    except InputError as error:
        raise InputError(f"{error}: remove it and run again") from error


def unfinished(evaluation: Evaluation, folder: Folder) -> int:
    """Return how many chunks are still to be done, by anybody."""
    count = len(chunks_of(len(evaluation.cases)))
    return sum(not folder.chunk(number).exists() for number in range(count))


def gather(evaluation: Evaluation, folder: Folder) -> Measured:
    """Put all chunks together; write ``photographs.csv`` and ``evidence.npz``.

    Raises:
        InputError: if a chunk is missing or damaged, or they are of more or fewer photographs.
    """
    folder.expect(len(evaluation.cases))
    totals: dict[tuple[str, str], Scorer] = {(s.task, ""): s for s in evaluation.scorers()}
    evidence: dict[str, list[NDArray[Any]]] = {}
    count = len(evaluation.cases)
    columns: dict[str, dict[str, NDArray[np.float64]]] = {task: {} for task in evaluation.tasks}
    for number in range(len(chunks_of(count))):
        arrays = _load(folder.chunk(number))
        for row in json.loads(arrays.pop("rows").tobytes()):
            for task, numbers in row["numbers"].items():
                for key, value in numbers.items():
                    if key not in columns[task]:
                        columns[task][key] = np.full(count, np.nan)
                    columns[task][key][row["place"]] = value
        states: dict[tuple[str, str], Arrays] = {}
        for name, array in arrays.items():
            kind, task, group, key = name.split("|", 3)
            if kind == "evidence":
                evidence.setdefault(f"{task}|{key}", []).append(array)
            else:
                states.setdefault((task, group), {})[key] = array
        for (task, group), state in states.items():
            if (task, group) not in totals:
                totals |= {(s.task, group): s for s in evaluation.scorers()}
            totals[task, group].merge(state)
    results: dict[str, dict[str, float]] = {task: {} for task in evaluation.tasks}
    for (task, group), scorer in totals.items():
        prefix = f"{group}/" if group else ""
        results[task] |= {f"{prefix}{key}": value for key, value in scorer.result().items()}
    with atomic(folder.out / "evidence.npz") as temporary:
        joined = {name: np.concatenate(arrays) for name, arrays in evidence.items()}
        np.savez_compressed(temporary, **joined)  # pyright: ignore[reportArgumentType]
    measured = Measured(results=results, columns=columns, photographs=count)
    write_rows(folder.out / "photographs.csv", measured, evaluation)
    return measured


def write_rows(path: Path, measured: Measured, evaluation: Evaluation) -> None:
    """Write a table with one line per photograph: its name and its numbers, as ``task/number``."""
    columns = {
        f"{t}/{k}": values for t, own in measured.columns.items() for k, values in own.items()
    }
    grouped = bool(evaluation.groups)
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["photograph", "number", *(["group"] if grouped else []), *columns])
        for place, name in enumerate(evaluation.cases.names):
            values = (float(column[place]) for column in columns.values())
            cells = ("" if math.isnan(value) else repr(value) for value in values)
            group = [evaluation.groups[place]] if grouped else []
            writer.writerow([name, evaluation.cases.numbers[place], *group, *cells])


# ----------------------------------------------------------------------------------- processes


def work_together(
    plan: Plan, folder: Folder, processes: int, *, total: int, progress: Callable[[int], None]
) -> None:
    """Let several processes of this machine do the chunks, each with a model of its own.

    Args:
        plan: they prepare it themselves.
        folder: claimed.
        processes: how many.
        total: photographs in all.
        progress: called with the photographs done, now and then.

    Raises:
        InputError: what the first process that failed says.
    """
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    parts = [(number + 1, processes) for number in range(processes)]
    running = [
        context.Process(target=_process, args=(plan, str(folder.out), part, told), daemon=True)
        for part in parts
    ]
    for process in running:
        process.start()
    left = len(running)
    try:
        while left:
            kind, value = _next(told, running)
            if kind == "error":
                raise InputError(value)
            if kind == "end":
                left -= 1
            progress(min(total, CHUNK * sum(1 for _ in folder.inner.glob("chunk-*.npz"))))
    finally:
        for process in running:
            if left:
                process.terminate()
            process.join()


def _next(told: Any, running: Sequence[Any]) -> tuple[str, Any]:
    import queue

    while True:
        try:
            return told.get(timeout=1.0)
        except queue.Empty:
            dead = [p for p in running if p.exitcode not in (None, 0)]
            if dead:
                return "error", f"a process ended with exit code {dead[0].exitcode}: run it again"


def _process(plan: Plan, out: str, part: tuple[int, int], told: Any) -> None:
    import torch

    try:
        torch.set_num_threads(max(1, torch.get_num_threads() // part[1]))
        evaluation = prepare(plan)
        work(evaluation, Folder(out), part=part, progress=lambda done: told.put(("done", done)))
    except Exception as error:
        told.put(("error", str(error) or repr(error)))
    else:
        told.put(("end", None))


def worst(measured: Measured, task: str, sort: str, order: str, count: int) -> Iterator[int]:
    """Yield the places of the photographs that came out worst, worst first."""
    values = measured.columns[task].get(sort, np.full(measured.photographs, np.nan))
    known = np.flatnonzero(~np.isnan(values))
    signed = values[known] if order == "low" else -values[known]
    yield from known[np.argsort(signed, kind="stable")][:count].tolist()
