# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: everything needed to go on exactly, in safetensors and JSON, never half written.

A checkpoint is a folder ``step-00001234`` with ``network.safetensors`` (plain weights, by name),
``optimiser.safetensors`` (``exp_avg/NAME`` …), ``average.safetensors`` if there is an average, and
``state.json``. Where the tensors are spread over processes (FSDP2), each is a folder instead, with
a file per process (``sharded``). It is written under another name and renamed when complete, so a
kill or a full disk leaves the previous ones as they were. Any number of processes may go on from a
checkpoint, however many wrote it; on several machines the folder has to be one they share.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vitruvian.errors import InputError, WeightsError
from vitruvian.files import read_json, write_json
from vitruvian.model.storage import DTYPES, open_tensors, write_safetensors
from vitruvian.train import sharded

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})")
Files = Mapping[str, Mapping[str, Tensor]]
"""File name without suffix → tensors by name."""


class Checkpoints:
    """The checkpoints of one run: the last ``keep`` and the best one stay."""

    def __init__(self, folder: str | Path, *, keep: int = 3) -> None:
        """Open a folder (made when something is saved); ``keep`` counts from 1."""
        if keep < 1:
            raise InputError(f"keep {keep} checkpoints · wanted 1 or more")
        self.folder, self.keep = Path(folder), keep

    def steps(self) -> list[int]:
        """Return the steps there are complete checkpoints of, increasing."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step:08d}"

    def latest(self) -> Path | None:
        """Return the last checkpoint, if there is one."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def best(self) -> Path | None:
        """Return the checkpoint of the highest score (the latest of equals), if any has one."""
        scores = {step: read_state(self.path(step)).get("score") for step in self.steps()}
        known = [(score, step) for step, score in scores.items() if score is not None]
        return self.path(max(known)[1]) if known else None

    def save(
        self, step: int, files: Files, state: Mapping[str, Any], *, score: float | None = None
    ) -> Path:
        """Write a checkpoint; every rank calls this, and writes what only it holds.

        Args:
            step: optimiser steps done.
            files: see ``contents``.
            state: JSON values, kept in ``state.json``.
            score: of this checkpoint, higher is better; the highest is never deleted.

        Raises:
            InputError: it could not be written (a full disk …); earlier ones are untouched.
        """
        first = not dist.is_initialized() or dist.get_rank() == 0
        part = self.folder / f".step-{step:08d}.part"
        failure = _told(_emptied(part) if first else None)
        for name, tensors in files.items():
            if failure is None and sharded.is_spread(tensors):
                failure = sharded.write(part / name, tensors)
        if first and failure is None:
            whole = {n: t for n, t in files.items() if not sharded.is_spread(t)}
            state = {"format": FORMAT, "step": step, "score": score, **state}
            failure = self._finish(part, step, whole, {**state, "files": sorted(files)})
        failure = _told(failure)
        if failure:
            if first:
                shutil.rmtree(part, ignore_errors=True)
            before = self.latest()
            rest = f"{before} is intact" if before else "there is no earlier checkpoint"
            raise InputError(
                f"{self.path(step)}: the checkpoint could not be written ({failure}); {rest} · "
                "free some space and start the same command again"
            )
        return self.path(step)

    def _finish(self, part: Path, step: int, whole: Files, state: Mapping[str, Any]) -> str | None:
        """Write what one process writes, rename and tidy; return what went wrong."""
        target = self.path(step)
        try:
            for name, tensors in whole.items():
                shapes = {n: (_dtype(t), tuple(t.shape)) for n, t in tensors.items()}
                write_safetensors(part / f"{name}.safetensors", shapes, tensors.__getitem__, {})
            shards = [p.relative_to(part).as_posix() for p in part.glob("*/*")]
            write_json(part / "state.json", {**state, "shards": sorted(shards)}, indent=1)
            for path in (*part.iterdir(), part):
                _flush(path)
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
            _flush(self.folder)
            self._tidy()  # while the other ranks wait: they must not look at half a deletion
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _tidy(self) -> None:
        """Delete what is neither among the last nor the best, and what a kill left behind."""
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if self.path(step) != best:
                # Renamed first: half a deletion must not look like a checkpoint.
                doomed = self.folder / f".step-{step:08d}.part"
                self.path(step).rename(doomed)
        for left in self.folder.glob(".step-*.part"):
            shutil.rmtree(left, ignore_errors=True)


def read_state(path: Path) -> dict[str, Any]:
    """Return ``state.json`` of a checkpoint.

    Raises:
        InputError: it is no checkpoint, or of another format.
    """
    state = read_json(path / "state.json")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of format {FORMAT} · start in another folder")
    return state


def contents(
    network: nn.Module, optimiser: torch.optim.Optimizer, average: Mapping[str, Tensor] | None
) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of a checkpoint by file and name; nothing is copied.

    Args:
        network: not wrapped.
        optimiser: its state is stored by the names of the network's parameters.
        average: moving average of the parameters, by name.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    moments = {
        f"{kind}/{names[id(parameter)]}": value
        for parameter, values in optimiser.state.items()
        for kind, value in values.items()
    }
    # Sorted, because the optimiser's own order is another one after going on.
    moments = dict(sorted(moments.items()))
    files = {"network": dict(network.state_dict()), "optimiser": moments}
    if average is not None:
        files["average"] = dict(average)
    return files


def restore(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
) -> dict[str, Any]:
    """Fill network, optimiser and average from a checkpoint in place; return its ``state.json``.

    Raises:
        InputError: the checkpoint is damaged or belongs to another network.
    """
    state = read_state(path)
    if (average is not None) != ("average" in state["files"]):
        raise InputError(
            f"{path}: {'no' if average is not None else 'a'} moving average in the checkpoint · "
            "keep the setting ema as it was, or start in another folder"
        )
    _fill(path, "network", network.state_dict(), state)
    if average is not None:
        _fill(path, "average", average, state)
    parameters = dict(network.named_parameters())
    trained = {n for group in optimiser.param_groups for n in group["names"]}
    places: dict[str, Tensor] = {}
    for key, (dtype, shape) in _layout(path, "optimiser", state).items():
        kind, _, owner = key.partition("/")
        if owner not in trained:
            raise InputError(f"{path}: {owner!r} was trained then and is frozen or gone now")
        if shape:
            places[key] = torch.zeros_like(parameters[owner], dtype=dtype, requires_grad=False)
        else:  # AdamW keeps its step count on the CPU unless it is fused
            on_gpu = parameters[owner].device.type == "cuda"
            places[key] = torch.zeros((), dtype=dtype, device="cuda" if on_gpu else "cpu")
    _fill(path, "optimiser", places, state)
    optimiser.state.clear()
    for key, value in places.items():
        kind, _, owner = key.partition("/")
        optimiser.state[parameters[owner]][kind] = value
    if optimiser.state and len(optimiser.state) != len(trained):
        raise InputError(
            f"{path}: the optimiser knew {len(optimiser.state)} parameters · wanted "
            f"{len(trained)} · what is frozen must stay as it was"
        )
    return state


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of one file of a checkpoint, whole and on the CPU, however they lie.

    Raises:
        InputError: the checkpoint has none of that name, or is damaged.
    """
    state = read_state(path)
    if name not in state["files"]:
        raise InputError(f"{path}: no {name} · wanted one of {', '.join(state['files'])}")
    places = {n: torch.empty(s, dtype=d) for n, (d, s) in _layout(path, name, state).items()}
    _fill(path, name, places, state)
    return places


def _layout(path: Path, name: str, state: Mapping[str, Any]) -> sharded.Layout:
    """Return dtypes and shapes in one file, or folder, of a checkpoint."""
    lost = [part for part in state["shards"] if not (path / part).exists()]
    if lost:
        raise _damaged(path, f"{len(lost)} of its files are gone, {lost[0]} for one")
    try:
        if (path / name).is_dir():
            return sharded.layout(path / name)
        records = open_tensors(path / f"{name}.safetensors").records
        return {key: (DTYPES[r.dtype], r.shape) for key, r in records.items()}
    except (OSError, WeightsError) as error:
        raise _damaged(path, error) from error


@torch.no_grad()
def _fill(path: Path, name: str, places: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Copy the tensors of a file, or folder, into ``places``; names and shapes must agree."""
    shapes = {key: shape for key, (_, shape) in _layout(path, name, state).items()}
    other = shapes.items() ^ {(n, tuple(t.shape)) for n, t in places.items()}
    if other:
        key = min(key for key, _ in other)
        raise InputError(
            f"{path}: made for another network: {key} {shapes.get(key, 'missing')} · wanted "
            f"{tuple(places[key].shape) if key in places else 'no such name'} · start in another "
            "folder"
        )
    try:
        if (path / name).is_dir():
            sharded.read_into(path / name, places)
            return
        with safe_open(path / f"{name}.safetensors", framework="pt") as file:
            for key, place in places.items():
                place.copy_(_like(place, file.get_tensor(key)))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, why: object) -> InputError:
    return InputError(
        f"{path}: damaged ({why}) · delete the folder {path.name} to go on from the checkpoint "
        "before it"
    )


def _like(place: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` spread as ``place`` is."""
    if not isinstance(place, DTensor):
        return value
    value = value.to(place.device_mesh.device_type)
    return distribute_tensor(value, place.device_mesh, place.placements)


def _told(failure: str | None) -> str | None:
    """Return what went wrong on rank 0, on every rank."""
    if not dist.is_initialized():
        return failure
    told: list[str | None] = [failure]
    dist.broadcast_object_list(told, 0)
    return told[0]


def _emptied(part: Path) -> str | None:
    """Make an empty folder; return what went wrong."""
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk, where the system can say so."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
