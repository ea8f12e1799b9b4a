# SPDX-License-Identifier: Apache-2.0
"""From numbers of pictures to shards: many processes, any of which may die, and always equal bytes.

A shard is a fixed range of picture numbers, made by one worker from beginning to end, so its bytes
depend neither on how many workers there are nor on which of them made it. A shard counts when its
index is in place (see ``vitruvian.data.shards``); its recipes are written before it::

    people-000000.tar  people-000000.index.parquet  people-000000.recipes.jsonl
"""

import contextlib
import errno
import importlib
import multiprocessing
import shutil
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from vitruvian.data.shards import finished, index_path, read_index, write_shard
from vitruvian.data.workers import single_threaded
from vitruvian.errors import InputError, VitruvianError, missing_extra
from vitruvian.files import atomic, read_json, write_json
from vitruvian.person import Sample
from vitruvian.synth.recipe import Recipe, digest, plain, to_line

SHARD = 64
"""Pictures per shard unless asked otherwise."""
MARKER = "synth.json"
"""Says what a folder's pictures were made from."""

Picture = tuple[Sample, Recipe]
Maker = Callable[["Job"], Iterator[Picture]]
"""Makes a job's pictures, in order; a module-level function, so that other processes find it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shard to make.

    Attributes:
        number: of the shard.
        first: number of its first picture.
        last: one more than that of its last.
        path: of its tar.
        seed: of the set.
        settings: of the set, as JSON.
        quality: JPEG quality; ``None`` for PNG.
        code: version of the package.
    """

    number: int
    first: int
    last: int
    path: str
    seed: int
    settings: dict[str, Any]
    quality: int | None = 95
    code: str = ""

    def __len__(self) -> int:
        return self.last - self.first

    def provenance(self) -> dict[str, Any]:
        """Return what a shard remembers of its origin."""
        return {
            "code": self.code,
            "seed": self.seed,
            "first": self.first,
            "last": self.last,
            "settings": digest(self.settings),
        }


def plan(
    out: Path,
    *,
    count: int,
    seed: int,
    settings: dict[str, Any],
    prefix: str = "people",
    per_shard: int = SHARD,
    quality: int | None = 95,
    code: str = "",
) -> list[Job]:
    """Divide picture numbers 0 … count - 1 into shards.

    Raises:
        InputError: for a count or shard size below 1, or a seed below 0.
    """
    if count < 1:
        raise InputError(f"--count {count}: ask for at least one picture")
    if per_shard < 1:
        raise InputError(f"a shard holds at least one picture, got {per_shard}")
    if seed < 0:
        raise InputError(f"a seed is 0 or more, got {seed}")
    return [
        Job(
            number=number,
            first=first,
            last=min(first + per_shard, count),
            path=str(out / f"{prefix}-{number:06d}.tar"),
            seed=seed,
            settings=plain(settings),
            quality=quality,
            code=code,
        )
        for number, first in enumerate(range(0, count, per_shard))
    ]


def claim(out: Path, about: dict[str, Any]) -> None:
    """Note in the folder what its pictures are made from, or check that it is the same.

    Raises:
        InputError: if the folder holds pictures made from something else, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out needs a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"cannot make the folder {out} ({error.strerror}): give another --out"
        raise InputError(text) from error
    marker = out / MARKER
    about = plain(about)
    if marker.exists():
        before = read_json(marker)
        changed = sorted(key for key in {*before, *about} if before.get(key) != about.get(key))
        if changed:
            raise InputError(
                f"{out} holds pictures made from something else ({', '.join(changed)}): give "
                "another --out"
            )
    write_json(marker, about, indent=1)


def recipes_path(tar: str | Path) -> Path:
    """Return the path of the recipes that belong to a tar."""
    path = Path(tar)
    return path.with_name(path.name.removesuffix(".tar") + ".recipes.jsonl")


def todo(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs whose shards are not finished.

    A last shard that was cut short by a smaller count is made again whole.
    """
    if not jobs:
        return []
    have = {path.name for path in finished(Path(jobs[0].path).parent)}
    left: list[Job] = []
    for job in jobs:
        index = index_path(Path(job.path))
        if index.name in have and recipes_path(job.path).exists():
            note = read_index(index)[1]["provenance"]
            if note == job.provenance():
                continue
        left.append(job)
    return left


def work(job: Job, maker: Maker, tick: Callable[[int], None] | None = None) -> int:
    """Make one shard; returns how many pictures it has. This is what every engine runs.

    Args:
        job: the shard.
        maker: makes its pictures.
        tick: called with 1 after every picture.
    """
    target = Path(job.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []

    def samples() -> Iterator[Sample]:
        for sample, recipe in maker(job):
            lines.append(to_line(recipe))
            yield sample
            if tick is not None:
                tick(1)
        # before the shard itself is put in place: a finished shard has its recipes
        with atomic(recipes_path(target)) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    write_shard(target, samples(), quality=job.quality, provenance=job.provenance())
    return len(lines)


# ---------------------------------------------------------------------------------- engines


@dataclass(frozen=True)
class Progress:
    """Something an engine reports: pictures made, a shard finished, or a shard given up."""

    job: Job
    pictures: int = 0
    finished: bool = False
    error: str | None = None
    fatal: bool = False


class Engine(Protocol):
    """Runs jobs somewhere."""

    def run(self, jobs: Sequence[Job], maker: Maker) -> Iterator[Progress]:
        """Run all jobs, reporting as they go; a job that fails is reported, not raised."""
        ...


class Here:
    """Runs jobs one after the other in this process: for previews and tests."""

    def run(self, jobs: Sequence[Job], maker: Maker) -> Iterator[Progress]:
        """Run all jobs; errors pass through."""
        for job in jobs:
            made: list[int] = []
            work(job, maker, made.append)
            yield Progress(job, pictures=len(made))
            yield Progress(job, finished=True)


class Pool:
    """Processes on this machine, each with one thread; one that dies is replaced.

    The shard of a process that died is given to another once; if that dies too, or the maker
    raises, the shard is reported as failed and the others go on. A full disk stops everything.
    """

    def __init__(self, workers: int, *, tries: int = 2) -> None:
        """Prepare so many processes.

        Raises:
            InputError: for less than one.
        """
        if workers < 1:
            raise InputError(f"--workers {workers}: at least one is needed")
        self._count, self._tries = workers, tries
        self._context = multiprocessing.get_context("spawn")

    def run(self, jobs: Sequence[Job], maker: Maker) -> Iterator[Progress]:
        """Run all jobs. Leaving the iterator early ends the processes it started."""
        waiting = deque((job, 1) for job in jobs)
        hands: list[_Hand] = []
        try:
            for _ in range(min(self._count, len(waiting))):
                hands.append(_Hand(self._context, maker))
            for hand in hands:
                hand.give(waiting.popleft())
            while any(hand.job for hand in hands):
                wait([hand.pipe for hand in hands if hand.job])
                for place, hand in enumerate(hands):
                    if not hand.job or not hand.pipe.poll():
                        continue
                    job, attempt = hand.job
                    try:
                        report = hand.pipe.recv()
                    except (EOFError, OSError):  # the process died
                        made, code = hand.made, hand.end()
                        _sweep(job)
                        yield Progress(job, pictures=-made)
                        hands[place] = hand = _Hand(self._context, maker)
                        if attempt < self._tries:
                            waiting.append((job, attempt + 1))
                        else:
                            text = f"its process died {attempt} times (exit code {code})"
                            yield Progress(job, error=text)
                    else:
                        if isinstance(report, int):
                            hand.made += report
                            yield Progress(job, pictures=report)
                            continue
                        hand.job = None
                        yield report
                        if report.fatal:
                            return
                    if waiting:
                        hand.give(waiting.popleft())
        finally:
            for hand in hands:
                job = hand.job
                hand.end()
                if job:
                    _sweep(job[0])


class _Hand:
    """One process of a pool, and what it is doing."""

    def __init__(self, context: Any, maker: Maker) -> None:
        self.pipe, far = context.Pipe()
        self.job: tuple[Job, int] | None = None
        self.made = 0
        with single_threaded():
            self.process = context.Process(target=_serve, args=(far, maker), daemon=True)
            self.process.start()
        far.close()

    def give(self, job: tuple[Job, int]) -> None:
        self.job, self.made = job, 0
        with contextlib.suppress(OSError):  # it died already: the read that follows tells
            self.pipe.send(job[0])

    def end(self) -> int | None:
        if self.job is None:
            with contextlib.suppress(OSError):
                self.pipe.send(None)
        else:
            self.process.terminate()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        self.job = None
        return self.process.exitcode


def single_thread() -> None:
    """Let numerical libraries of this process use one thread: sums then never differ."""
    import cv2

    cv2.setNumThreads(1)
    torch = sys.modules.get("torch")  # imported later, it obeys the environment
    if torch is not None:
        torch.set_num_threads(1)


def _serve(pipe: Connection, maker: Maker) -> None:
    """What a process of the pool does: jobs until ``None`` comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    single_thread()
    while (job := pipe.recv()) is not None:
        try:
            work(job, maker, pipe.send)
            report = Progress(job, finished=True)
        except Exception as error:
            report = failure(job, error)
            _sweep(job)
        pipe.send(report)


def failure(job: Job, error: Exception) -> Progress:
    """Put into words why a shard could not be made."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(Path(job.path).parent).free
        text = (
            f"the disk of {Path(job.path).parent} is full ({free / 1e9:.1f} GB left): make room, "
            "then the same command goes on where it stopped"
        )
        return Progress(job, error=text, fatal=True)
    if isinstance(error, VitruvianError):
        return Progress(job, error=str(error))
    last = "".join(traceback.format_exception(error)[-3:]).strip()
    return Progress(job, error=f"{type(error).__name__}: {error}\n{last}")


def _sweep(job: Job) -> None:
    """Remove what an ended process left of a shard it had not finished."""
    target = Path(job.path)
    for name in (target.name, index_path(target).name):
        for left in target.parent.glob(f".{name}.*"):
            left.unlink(missing_ok=True)
    stem = recipes_path(target).stem
    for left in target.parent.glob(f".{stem}.*.jsonl"):
        left.unlink(missing_ok=True)


class Ray:
    """Runs jobs on a Ray cluster; ``out`` has to be a folder that all its machines see."""

    def __init__(self, *, module: Any = None) -> None:
        """Connect.

        Args:
            module: what behaves like the package ``ray``; by default the package itself.

        Raises:
            MissingExtraError: if it is not installed.
        """
        if module is None:
            try:
                module = importlib.import_module("ray")
            except ImportError as error:
                raise missing_extra("ray", "cluster", "--engine ray") from error
        self._ray = module

    def run(self, jobs: Sequence[Job], maker: Maker) -> Iterator[Progress]:
        """Run all jobs; a task that dies is tried again twice by Ray."""
        ray = self._ray
        if not ray.is_initialized():
            ray.init()
        remote = ray.remote(num_cpus=1, max_retries=2)(_remotely)
        pending = {remote.remote(job, maker): job for job in jobs}
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1)
            for reference in ready:
                job = pending.pop(reference)
                try:
                    report = ray.get(reference)
                except Exception as error:
                    report = failure(job, error)
                if report.finished:
                    yield Progress(job, pictures=len(job))
                yield report
                if report.fatal:
                    for left in pending:
                        ray.cancel(left)
                    return


def _remotely(job: Job, maker: Maker) -> Progress:
    with single_threaded():
        single_thread()
        try:
            work(job, maker)
        except Exception as error:
            _sweep(job)
            return failure(job, error)
    return Progress(job, finished=True)
