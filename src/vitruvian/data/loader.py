# SPDX-License-Identifier: Apache-2.0
"""Batches of prepared samples, the same ones whatever number of processes makes them.

Batch number b holds the positions b · batch … (b + 1) · batch - 1 of an endless row of epochs, and
``Order`` says which samples those are. Each of ``world`` ranks makes its share of every batch. The
randomness of a sample is a function of (seed, epoch, sample) alone. So order *and* pixels are the
same for any number of ranks and workers, and ``LoaderState`` is all that a checkpoint has to keep.

Pictures travel as uint8; normalise them on the device.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from vitruvian.data.order import Order
from vitruvian.data.source import Source
from vitruvian.data.workers import worker_context
from vitruvian.errors import InputError, VitruvianError
from vitruvian.person import Sample

Prepare = Callable[[Sample, np.random.Generator], Mapping[str, Any] | None]
"""Turns a sample into named arrays or tensors of one size each, or refuses it (``None``)."""

_TRIES = 32


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """Where a loader is: everything needed to go on exactly there, with any number of processes.

    Attributes:
        seed: of order and augmentation.
        epoch: whole passes over the set.
        position: samples of this epoch already given out, over all ranks.
    """

    seed: int = 0
    epoch: int = 0
    position: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return plain numbers, for JSON; ``LoaderState(**…)`` is the inverse."""
        return asdict(self)


@dataclass
class Spills:
    """Samples that were replaced by others.

    Attributes:
        bad: where → why, of those that could not be read (``on_bad="skip"``); the first 1000.
        bad_count: how many times that happened.
        refused_count: how many times ``prepare`` refused a sample.
    """

    bad: dict[str, str] = field(default_factory=dict[str, str])
    bad_count: int = 0
    refused_count: int = 0

    def add(self, other: "Spills") -> None:
        """Add what a worker reports."""
        for where, why in other.bad.items():
            if len(self.bad) < 1000:
                self.bad.setdefault(where, why)
        self.bad_count += other.bad_count
        self.refused_count += other.refused_count


class Loader:
    """Iterates over batches for ever, or over ``epochs``; see the module text.

    Iterating again goes on where ``state`` says. An epoch's last samples share a batch with the
    first of the next, so every sample is seen exactly once per epoch, also by sets smaller than a
    batch; only at the very end of ``epochs`` is a batch short.
    """

    def __init__(
        self,
        source: Source,
        prepare: Prepare,
        *,
        batch: int,
        seed: int = 0,
        state: LoaderState | None = None,
        epochs: int | None = None,
        shuffle: bool = True,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        on_bad: Literal["raise", "skip"] = "raise",
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        """Set up; processes start with the iteration.

        Args:
            source: samples by number.
            prepare: makes the arrays of a sample; for workers it must be importable (a function of
                a module, or an object of a class of one).
            batch: samples per batch over all ranks, a multiple of ``world``.
            seed: of order and augmentation.
            state: where to begin instead of at the start; its seed replaces ``seed``.
            epochs: passes after which the iteration ends; ``None`` for never.
            shuffle: False for the order of the source.
            workers: processes that prepare samples; 0 prepares them here.
            rank: which share of the batches is wanted.
            world: number of shares.
            on_bad: what to do about a sample that cannot be read: raise, or take another in its
                place (the same whatever the number of processes) and report it in ``spills``.
            prefetch: batches each worker prepares ahead.
            pin_memory: place batches in memory that a GPU copies from directly.

        Raises:
            InputError: if the source is empty or numbers do not fit.
        """
        if not len(source):
            raise InputError("there is no sample to load: the source is empty")
        if batch < 1 or world < 1 or batch % world or not 0 <= rank < world or workers < 0:
            raise InputError(
                f"a batch of {batch} for rank {rank} of {world} with {workers} workers: the batch "
                "must be a multiple of the ranks, which count from 0"
            )
        self.source, self.prepare, self.batch = source, prepare, batch
        self.state = LoaderState(seed=seed) if state is None else state
        self.epochs, self.workers, self.rank, self.world = epochs, workers, rank, world
        self.order = Order(length=len(source), seed=self.state.seed, shuffle=shuffle)
        self.spills = Spills()
        self._on_bad, self._prefetch, self._pin = on_bad, prefetch, pin_memory
        if not 0 <= self.state.position < len(source):
            raise InputError(
                f"position {self.state.position} in a set of {len(source)} samples: the state "
                "belongs to another set"
            )

    def __len__(self) -> int:
        """Batches from the current state to the end of ``epochs``.

        Raises:
            InputError: if there is no end.
        """
        if self.epochs is None:
            raise InputError("a loader without epochs never ends, so it has no length")
        return max(0, -(-(self.epochs * len(self.source) - self._at()) // self.batch))

    def _at(self) -> int:
        return self.state.epoch * len(self.source) + self.state.position

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield batches: what ``prepare`` made, stacked, and ``index`` and ``epoch`` (B,) of each.

        Raises:
            InputError: for a sample that cannot be read, naming it, or when ``prepare`` refuses
                too many in a row.
        """
        items = _Items(self.source, self.prepare, self.state.seed, self._on_bad)
        settings: dict[str, Any] = {}
        if self.workers:
            settings = {
                "num_workers": self.workers,
                "multiprocessing_context": worker_context(__name__),
                "worker_init_fn": _calm_worker,
                "prefetch_factor": self._prefetch,
            }
        length = len(self.source)
        try:
            with warnings.catch_warnings():
                # The number of workers is the user's; a pickle error is told below.
                warnings.filterwarnings("ignore", message="This DataLoader will create")
                warnings.filterwarnings("ignore", message="Got pickle error")
                loader = DataLoader(
                    items,
                    batch_sampler=_Shares(self.order, self),  # pyright: ignore[reportArgumentType]
                    collate_fn=_stacked,
                    pin_memory=self._pin,
                    # its own: otherwise each iteration would move torch's global randomness on
                    generator=torch.Generator(),
                    **settings,
                )
                batches = iter(loader)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if "pickle" not in str(error):
                raise
            raise InputError(
                f"workers cannot be given the source or prepare ({error}): use functions and "
                "classes of a module, not lambdas, or workers=0"
            ) from error
        for made in batches:
            if isinstance(made, _Failure):
                raise InputError(made.text)
            content, spills = made
            self.spills.add(spills)
            at = self._at() + self.batch
            if self.epochs is not None:
                at = min(at, self.epochs * length)
            self.state = LoaderState(seed=self.state.seed, epoch=at // length, position=at % length)
            yield content


class _Shares:
    """This rank's share of each batch, as (epoch, sample) pairs."""

    def __init__(self, order: Order, loader: Loader) -> None:
        self._order = order
        self._start, self._batch = loader._at(), loader.batch
        self._end = None if loader.epochs is None else loader.epochs * order.length
        share = loader.batch // loader.world
        self._first, self._last = loader.rank * share, (loader.rank + 1) * share

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start, length = self._start, self._order.length
        while self._end is None or start < self._end:
            first, last = start + self._first, start + self._last
            if self._end is not None:
                first, last = min(first, self._end), min(last, self._end)
            found: list[tuple[int, int]] = []
            while first < last:
                epoch, position = divmod(first, length)
                count = min(last - first, length - position)
                chosen = self._order.indices(epoch, np.arange(position, position + count))
                found += [(epoch, int(index)) for index in chosen]
                first += count
            if found:
                yield found
            start += self._batch


@dataclass
class _Failure:
    text: str


_Item = tuple[dict[str, Any], Spills] | _Failure


class _Items(Dataset[_Item]):
    """Samples prepared by (epoch, number)."""

    def __init__(self, source: Source, prepare: Prepare, seed: int, on_bad: str) -> None:
        self._source, self._prepare, self._seed, self._on_bad = source, prepare, seed, on_bad

    def __getitem__(self, place: tuple[int, int]) -> _Item:  # pyright: ignore[reportIncompatibleMethodOverride]
        epoch, first = place
        spills = Spills()
        index, where = first, ""
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self._seed, epoch, first, attempt])
            if attempt:
                index = int(rng.integers(len(self._source)))
            try:
                made = self._prepare(self._source[index], rng)
            except VitruvianError as error:
                where = self._source.where(index)
                text = str(error) if where in str(error) else f"{where}: {error}"
                if self._on_bad == "raise":
                    return _Failure(text)
                spills.bad[where] = text
                spills.bad_count += 1
                continue
            if made is not None:
                content = {key: _tensor(value) for key, value in made.items()}
                return content | {"index": index, "epoch": epoch}, spills
            where = self._source.where(index)
            spills.refused_count += 1
        return _Failure(
            f"{_TRIES} samples in a row could not be used ({spills.bad_count} unreadable, "
            f"{spills.refused_count} refused by the augmentation), the last one {where}: look at "
            "the set with  vitruvian data check"
        )


def _tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable else value.copy())
    return value


def _stacked(items: list[_Item]) -> tuple[dict[str, Tensor], Spills] | _Failure:
    spills = Spills()
    rows: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, _Failure):
            return item
        content, spilled = item
        spills.add(spilled)
        rows.append(content)
    return default_collate(rows), spills


def _calm_worker(_: int) -> None:
    """Keep each worker on one core; together they fill the machine."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
