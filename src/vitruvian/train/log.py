# SPDX-License-Identifier: Apache-2.0
"""Where numbers and pictures of a training go: JSON lines always, other services when asked."""

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitruvian.errors import missing_extra
from vitruvian.files import atomic, write_bytes

Picture = NDArray[np.uint8]
"""Rows × columns × 3, RGB."""


class Log(Protocol):
    """Takes what a training reports, on rank 0."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by name, after ``step`` optimiser steps."""
        ...

    def pictures(self, step: int, values: Mapping[str, Picture]) -> None:
        """Take pictures by name."""
        ...

    def close(self) -> None:
        """Write out what is still held."""
        ...


class JsonLines:
    """One JSON object a line in ``metrics.jsonl``, PNGs in ``pictures/``.

    Numbers that JSON has no word for (NaN, infinity) are written as ``null``.
    """

    def __init__(self, folder: str | Path, *, after: int = 0) -> None:
        """Open a folder; lines of steps beyond ``after``, never saved, are dropped."""
        self.folder = Path(folder)
        self.path = self.folder / "metrics.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [line for line in self.path.read_bytes().splitlines() if _step(line) <= after]
            write_bytes(self.path, b"".join(line + b"\n" for line in kept))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line; it is in the file when this returns."""
        plain = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **plain}, allow_nan=False) + "\n")

    def pictures(self, step: int, values: Mapping[str, Picture]) -> None:
        """Write ``pictures/{step}-{name}.png``; "/" in a name becomes "-"."""
        for name, picture in values.items():
            path = self.folder / "pictures" / f"{step:08d}-{name.replace('/', '-')}.png"
            with atomic(path) as part:
                Image.fromarray(picture).save(part)

    def close(self) -> None:
        """Do nothing: every line is written at once."""


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl`` (a last one that was cut off is left out)."""
    lines = Path(path).read_bytes().splitlines()
    return [json.loads(line) for line in lines if _step(line) < math.inf]


def _step(line: bytes) -> float:
    """Return the step of a line; infinity for half a line."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


class TensorBoard:
    """Event files for TensorBoard, which has to be installed."""

    def __init__(self, folder: str | Path) -> None:
        """Open a folder.

        Raises:
            MissingExtraError: TensorBoard is not installed.
        """
        try:
            module = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise missing_extra("tensorboard", "track", "logging to TensorBoard") from error
        self._writer = module.SummaryWriter(str(folder))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, values: Mapping[str, Picture]) -> None:
        """Write images."""
        for name, picture in values.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run on Weights & Biases; the only log that sends anything, and only when built."""

    def __init__(self, project: str, *, run: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Begin a run of a project.

        Args:
            project: its name.
            run: settings to show with it.
            **more: passed to ``wandb.init``, such as ``mode="offline"`` or ``id`` to go on.

        Raises:
            MissingExtraError: the package is not installed.
        """
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise missing_extra("wandb", "track", "logging to Weights & Biases") from error
        self._run = self._wandb.init(project=project, config=dict(run or {}), **more)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers."""
        self._run.log(dict(values), step=step)

    def pictures(self, step: int, values: Mapping[str, Picture]) -> None:
        """Send images."""
        self._run.log({n: self._wandb.Image(p) for n, p in values.items()}, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
