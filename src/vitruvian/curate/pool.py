# SPDX-License-Identifier: Apache-2.0
"""Processes that may crash or hang, and a supervisor that finds out over which picture.

A process drops a breadcrumb into shared memory before every step: what it does, and to which rows.
When it dies, or no new breadcrumb falls for too long (then it is killed), the supervisor starts
another one with what was learned. One death over a step may be chance; after the second over the
same batch its pictures are taken one at a time, and a single picture that was there twice is not
tried again. So one such picture costs one row. A process that somebody killed says nothing about
pictures, unless it was the system for want of memory.
"""

import contextlib
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any

from vitruvian.curate.shardwork import DECODE, OPENING, Beat, Task, score_shard
from vitruvian.curate.stage import Scorer, Stage
from vitruvian.curate.tree import FullDiskError, Tree, naming_full_disk
from vitruvian.data.workers import single_threaded, worker_context
from vitruvian.errors import VitruvianError

_OPENING_PATIENCE = 900.0  # seconds a stage may take to load its weights
_MOST_DEATHS = 40  # over one shard; then it is given up
_POLL = 0.1
_KILLED = "was killed"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a shard.

    Attributes:
        task: the shard, with what was learned of its pictures on the way.
        rows: how many it has.
        deaths: processes lost over it.
        error: why there is no record, or ``None``.
        fatal: whether going on with other shards is pointless (a full disk, missing weights).
    """

    task: Task
    rows: int = 0
    deaths: int = 0
    error: str | None = None
    fatal: bool = False


@dataclass(frozen=True)
class Tick:
    """How many rows are done in shards that are being worked on."""

    rows: int


class Hand:
    """One supervised process. Not for several threads at a time."""

    def __init__(self, stages: Sequence[Stage], *, patience: float = 120.0) -> None:
        """Prepare; the process starts with the first shard.

        Args:
            stages: all stages of the run, upstream ones first.
            patience: seconds without a breadcrumb after which a process counts as hung.
        """
        self._stages, self._patience = tuple(stages), patience
        self._names = (OPENING, DECODE, "commit", *(stage.name for stage in stages))
        self._context: Any = worker_context("vitruvian.curate.pool")
        self._crumb: Any = self._context.RawArray("q", 4)  # tick, what, first, last
        self._process: Any = None
        self._pipe: Any = None
        self._stop = threading.Event()

    @property
    def rows(self) -> int:
        """Rows of the current shard that are behind it."""
        return max(0, int(self._crumb[2]))

    @property
    def begun(self) -> bool:
        """Whether its process has set up its stages."""
        return self._names[int(self._crumb[1])] != OPENING

    @property
    def pid(self) -> int | None:
        """Number of the process, if one is running."""
        return None if self._process is None else self._process.pid

    def run(self, task: Task) -> Result:
        """Score a shard, with as many processes as that takes."""
        deaths: Counter[tuple[str, int, int]] = Counter()
        while not self._stop.is_set():
            self._start()
            with contextlib.suppress(OSError):  # it died already: waiting tells
                self._pipe.send(task)
            end = self._wait()
            if isinstance(end, Result):
                return replace(end, task=task, deaths=deaths.total())
            self.close()
            _sweep(task)
            what, first, last = self._place()
            if end == _KILLED:  # by somebody: no picture's fault
                what, first, last = _KILLED, -1, -1
            deaths[what, first, last] += 1
            if deaths.total() > _MOST_DEATHS:
                text = f"{task.shard.name}: {_MOST_DEATHS} processes died over it: given up"
                return Result(task=task, deaths=deaths.total(), error=text)
            if what == OPENING and deaths[what, first, last] > 2:
                text = f"a process cannot set up its stages: it {end}, again and again"
                return Result(task=task, deaths=deaths.total(), error=text, fatal=True)
            if end != _KILLED:
                task = _learned(task, deaths, (what, first, last), end)
        return Result(task=task, error="stopped", fatal=True)

    def _place(self) -> tuple[str, int, int]:
        return self._names[int(self._crumb[1])], int(self._crumb[2]), int(self._crumb[3])

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self.close()
        self._crumb[:] = [0, 0, 0, 0]
        self._pipe, far = self._context.Pipe()
        arguments = (far, self._crumb, self._stages, self._names)
        with single_threaded():
            self._process = self._context.Process(target=_serve, args=arguments, daemon=True)
            self._process.start()
        far.close()

    def _wait(self) -> Result | str:
        """Wait for a result; else say how the process ended."""
        tick, since, kills = -1, time.monotonic(), memory_kills()
        while True:
            ready = multiprocessing.connection.wait([self._pipe, self._process.sentinel], _POLL)
            if self._pipe in ready:
                with contextlib.suppress(EOFError, OSError):
                    return self._pipe.recv()
            if ready:
                self._process.join()
                code = self._process.exitcode
                if code != -signal.SIGKILL:
                    return f"ended with code {code}"
                return _KILLED if memory_kills() == kills else "was killed for its memory"
            if self._stop.is_set():
                self._process.kill()
                return "was stopped"
            now = time.monotonic()
            if self._crumb[0] != tick:
                tick, since = self._crumb[0], now
            opening = self._names[int(self._crumb[1])] == OPENING
            if now - since > (_OPENING_PATIENCE if opening else self._patience):
                self._process.kill()
                self._process.join()
                return "hung"

    def stop(self) -> None:
        """End what is going on, from another thread."""
        self._stop.set()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._pipe.close()
        self._process = self._pipe = None


def _sweep(task: Task) -> None:
    """Remove what a process left of records it had not finished."""
    folder, _, number = task.shard.name.rpartition("/")
    hidden = f"{folder}/.{number}"
    tree = Tree(Path(task.shard.root))
    for name in task.stages:
        for path in tree.root.glob(f"records/{name}/*/{hidden}.*"):
            path.unlink(missing_ok=True)


def _learned(
    task: Task, deaths: Counter[tuple[str, int, int]], place: tuple[str, int, int], end: str
) -> Task:
    """Return the task with what a death says about its pictures."""
    what, first, last = place
    if what in (OPENING, "commit") or deaths[place] < 2:
        return task
    if last - first > 1:
        return replace(task, careful=task.careful | {(what, first)})
    verdict = "timeout" if end == "hung" else "crash"
    return replace(task, poison={**task.poison, (what, first): verdict})


def memory_kills() -> int:
    """Return how many processes this system has killed for want of memory; 0 where none says."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) for words in lines if words[0] == "oom_kill"), 0)


# ----------------------------------------------------------------------------- in the process


def _serve(pipe: Any, crumb: Any, stages: Sequence[Stage], names: Sequence[str]) -> None:
    """What a process does: shards until the supervisor is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what an interrupt means
    threading.Thread(target=_watch_parent, daemon=True).start()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # one bar is enough
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import cv2

    cv2.setNumThreads(1)

    def beat(what: str, first: int, last: int) -> None:
        crumb[1], crumb[2], crumb[3] = names.index(what), first, last
        crumb[0] += 1

    try:
        beat(OPENING, 0, 0)
        scorers = open_all(stages)
    except Exception as error:
        with contextlib.suppress(EOFError, OSError):
            pipe.send(Result(task=pipe.recv(), error=describe(error), fatal=True))
        return
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(attempt(task, stages, scorers, beat))


def _watch_parent() -> None:
    """End this process when the one that started it is gone: nobody waits for its shard."""
    parent = parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def open_all(stages: Sequence[Stage]) -> dict[str, Scorer]:
    """Set all stages up, each on one thread."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    return {stage.name: stage.open() for stage in stages}


def attempt(task: Task, stages: Sequence[Stage], scorers: dict[str, Scorer], beat: Beat) -> Result:
    """Score a shard; a failure is a result."""
    try:
        with naming_full_disk(Path(task.shard.root)):
            return Result(task=task, rows=score_shard(task, stages, scorers, beat))
    except FullDiskError as error:
        return Result(task=task, error=str(error), fatal=True)
    except Exception as error:
        return Result(task=task, error=f"{task.shard.name}: {describe(error)}")


def describe(error: BaseException) -> str:
    """Return an error's text; of one that nobody meant also where it was raised."""
    if isinstance(error, VitruvianError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{place}"
