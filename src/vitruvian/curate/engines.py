# SPDX-License-Identifier: Apache-2.0
"""Where shards are scored: in this process, in processes of this machine, or on a Ray cluster.

All engines give shards to the same supervised processes and carry nothing but names of shards, so
their records are the same.
"""

import importlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from vitruvian.curate.pool import Hand, Result, Tick, attempt, describe, open_all
from vitruvian.curate.shardwork import Task
from vitruvian.curate.stage import Stage
from vitruvian.errors import InputError, missing_extra

Report = Result | Tick
_TRIES = 3  # for a shard whose Ray actor died


class Engine(Protocol):
    """Scores shards somewhere."""

    def run(self, tasks: Sequence[Task], stages: Sequence[Stage]) -> Iterator[Report]:
        """Score all shards, in any order; after a fatal result nothing more comes."""
        ...


class Here:
    """One after the other in this process: for tests and for looking into a stage."""

    def run(self, tasks: Sequence[Task], stages: Sequence[Stage]) -> Iterator[Report]:
        """Score all shards."""
        scorers = open_all(stages)
        for task in tasks:
            result = attempt(task, stages, scorers, lambda *_: None)
            yield result
            if result.fatal:
                return


class Local:
    """Supervised processes of this machine, each with one thread; see `vitruvian.curate.pool`."""

    def __init__(self, workers: int, *, patience: float = 120.0) -> None:
        """Prepare so many processes.

        Raises:
            InputError: for less than one.
        """
        if workers < 1:
            raise InputError(f"--workers {workers}: at least one is needed")
        self._workers, self._patience = workers, patience
        self.hands: list[Hand] = []

    def run(self, tasks: Sequence[Task], stages: Sequence[Stage]) -> Iterator[Report]:
        """Score all shards. Leaving the iterator early ends the processes."""
        waiting = deque(tasks)
        results: SimpleQueue[Result] = SimpleQueue()
        count = min(self._workers, len(waiting))
        self.hands = [Hand(stages, patience=self._patience) for _ in range(count)]
        threads = [
            threading.Thread(target=_serve_hand, args=(hand, waiting, results), daemon=True)
            for hand in self.hands
        ]
        for thread in threads:
            thread.start()
        left = len(tasks)
        try:
            while left:
                try:
                    result = results.get(timeout=0.3)
                except Empty:
                    yield Tick(sum(hand.rows for hand in self.hands))
                    continue
                left -= 1
                yield result
                if result.fatal:
                    return
        finally:
            waiting.clear()
            for hand in self.hands:
                hand.stop()
            for thread in threads:
                thread.join()


def _serve_hand(hand: Hand, waiting: deque[Task], results: SimpleQueue[Result]) -> None:
    task: Task | None = None
    try:
        while waiting:
            try:
                task = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            results.put(hand.run(task))
    except Exception as error:  # of ours, not of a stage: tell, instead of waiting for ever
        assert task is not None
        results.put(Result(task=task, error=describe(error), fatal=True))
    finally:
        hand.close()


class Ray:
    """Actors on a Ray cluster, each with one supervised process.

    The folder of the curation has to be one that all machines see.
    """

    def __init__(self, workers: int, *, patience: float = 120.0, accelerators: float = 0) -> None:
        """Connect.

        Args:
            workers: actors, each asking for one core.
            patience: as of `Local`.
            accelerators: GPUs each actor asks for, may be a fraction.

        Raises:
            MissingExtraError: without the package ray.
            InputError: for less than one worker.
        """
        try:
            ray = importlib.import_module("ray")
        except ImportError as error:
            raise missing_extra("ray", "cluster", "--engine ray") from error
        if workers < 1:
            raise InputError(f"--workers {workers}: at least one is needed")
        self._ray: Any = ray
        self._workers, self._patience, self._accelerators = workers, patience, accelerators

    def run(self, tasks: Sequence[Task], stages: Sequence[Stage]) -> Iterator[Report]:
        """Score all shards; one whose actor died goes to another."""
        ray = self._ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        remote = ray.remote(num_cpus=1, num_gpus=self._accelerators)(_Station)
        waiting = deque((task, 1) for task in tasks)
        busy: dict[Any, tuple[Any, Task, int]] = {}
        free = [remote.remote(stages, self._patience) for _ in range(self._workers)]
        try:
            while waiting or busy:
                while waiting and free:
                    actor, (task, tried) = free.pop(), waiting.popleft()
                    busy[actor.run.remote(task)] = actor, task, tried
                ready, _ = ray.wait(list(busy), num_returns=1, timeout=1.0)
                for reference in ready:
                    actor, task, tried = busy.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        free.append(remote.remote(stages, self._patience))
                        if tried < _TRIES:
                            waiting.append((task, tried + 1))
                            continue
                        text = f"{task.shard.name}: its actor died {tried} times ({error})"
                        result = Result(task=task, error=text)
                    else:
                        free.append(actor)
                    yield result
                    if result.fatal:
                        return
        finally:
            for actor in [*free, *(entry[0] for entry in busy.values())]:
                ray.kill(actor)


class _Station:
    """An actor: one supervised process on some machine."""

    def __init__(self, stages: Sequence[Stage], patience: float) -> None:
        self._hand = Hand(stages, patience=patience)

    def run(self, task: Task) -> Result:
        return self._hand.run(task)
