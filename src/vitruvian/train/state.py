# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: everything needed to go on exactly, in safetensors and JSON, never half written.

A checkpoint is a folder ``step-00001234`` with ``network.safetensors`` (plain weights, by name),
``optimiser.safetensors`` (``exp_avg/NAME`` …), ``average.safetensors`` if there is an average, and
``state.json``. It is written under another name and renamed when complete, so a kill or a full disk
leaves the previous ones as they were. Tensors are stored whole: a checkpoint does not depend on how
many processes wrote it, and any number may go on from it.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.model.storage import write_safetensors

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
        """Write a checkpoint; every rank calls this with its share, rank 0 writes.

        Args:
            step: optimiser steps done.
            files: see ``contents``.
            state: JSON values, kept in ``state.json``.
            score: of this checkpoint, higher is better; the highest is never deleted.

        Raises:
            InputError: it could not be written (a full disk …); earlier ones are untouched.
        """
        first = not dist.is_initialized() or dist.get_rank() == 0
        state = {"format": FORMAT, "step": step, "score": score, **state}
        gather = _Gather(files)
        failure = self._write(step, files, state, gather) if first else None
        gather.rest()  # the other ranks' part; or, after a failure here, so that they can end
        if first and failure is None:
            self._tidy()  # while the other ranks wait: they must not look at half a deletion
        if dist.is_initialized():
            told: list[str | None] = [failure]
            dist.broadcast_object_list(told, 0)
            failure = told[0]
        if failure:
            before = self.latest()
            rest = f"{before} is intact" if before else "there is no earlier checkpoint"
            raise InputError(
                f"{self.path(step)}: the checkpoint could not be written ({failure}); {rest} · "
                "free some space and start the same command again"
            )
        return self.path(step)

    def _write(
        self, step: int, files: Files, state: Mapping[str, Any], gather: "_Gather"
    ) -> str | None:
        """Write and rename; return what went wrong."""
        target, part = self.path(step), self.folder / f".step-{step:08d}.part"
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name, tensors in files.items():
                layout = {n: (_dtype(t), tuple(t.shape)) for n, t in tensors.items()}
                path = part / f"{name}.safetensors"
                write_safetensors(path, layout, partial(gather.take, name), {})
            write_json(part / "state.json", {**state, "files": sorted(files)}, indent=1)
            for path in (*part.iterdir(), part):
                _flush(path)
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
            _flush(self.folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
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
    with torch.no_grad():
        for name, places in (("network", network.state_dict()), ("average", average)):
            if places is None:
                continue
            stored = _read(path / f"{name}.safetensors", places)
            for key, value in stored:
                places[key].copy_(_like(places[key], value))
        parameters = dict(network.named_parameters())
        trained = {n for group in optimiser.param_groups for n in group["names"]}
        optimiser.state.clear()
        for key, value in _read(path / "optimiser.safetensors", None):
            kind, _, owner = key.partition("/")
            if owner not in trained:
                raise InputError(f"{path}: {owner!r} was trained then and is frozen or gone now")
            optimiser.state[parameters[owner]][kind] = _like(parameters[owner], value)
    if optimiser.state and len(optimiser.state) != len(trained):
        raise InputError(
            f"{path}: the optimiser knew {len(optimiser.state)} parameters · wanted "
            f"{len(trained)} · what is frozen must stay as it was"
        )
    return state


def _like(place: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` on the device of ``place``, and spread as it is (scalars stay whole)."""
    if isinstance(place, DTensor) and value.ndim:
        value = value.to(place.device_mesh.device_type)
        return distribute_tensor(value, place.device_mesh, place.placements)
    # AdamW keeps its step count on the CPU unless it is fused.
    return value.to(place.device) if value.ndim or place.device.type == "cuda" else value


def _read(path: Path, wanted: Mapping[str, Tensor] | None) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a file one by one; their names and shapes must be the wanted ones."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if wanted is not None:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
                other = shapes.items() ^ {(n, tuple(t.shape)) for n, t in wanted.items()}
                if other:
                    name = min(name for name, _ in other)
                    raise InputError(
                        f"{path}: made for another network: {name} {shapes.get(name, 'missing')} · "
                        f"wanted {tuple(wanted[name].shape) if name in wanted else 'no such name'} "
                        "· start in another folder"
                    )
            for name in names:
                yield name, file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: damaged ({error}) · delete the folder {path.parent.name} to go on from the "
            "checkpoint before it"
        ) from error


class _Gather:
    """Collects spread tensors one by one; every rank takes all of them in the same order."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._left = [(file, name) for file, tensors in files.items() for name in tensors]

    def take(self, file: str, name: str) -> Tensor:
        """Return a tensor as a whole."""
        place = self._left.pop(0)
        assert place == (file, name), f"{place} comes before {(file, name)}"
        tensor = self._files[file][name]
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def rest(self) -> None:
        """Take, and drop, all that nobody asked for."""
        while self._left:
            self.take(*self._left[0])


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
