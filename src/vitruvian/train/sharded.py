# SPDX-License-Identifier: Apache-2.0
"""Tensors that are spread over processes, on disk: a folder of safetensors, a file per process.

``torch.distributed.checkpoint`` writes and reads them: every process writes what it holds, and any
number of processes may read what it needs, also one that wants the tensors whole. The format is
safetensors, so nothing is pickled. All functions are called by all processes together.
"""

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def is_spread(tensors: Mapping[str, Tensor]) -> bool:
    """Whether processes hold parts of these tensors."""
    return any(isinstance(tensor, DTensor) for tensor in tensors.values())


def write(folder: Path, tensors: Mapping[str, Tensor]) -> str | None:
    """Write this process's share; return what went wrong on any process."""
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _calm():
            save(dict(tensors), storage_writer=writer, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        return "; ".join(f"process {rank}: {why}" for rank, (why, _) in error.failures.items())
    return None


def layout(folder: Path) -> Layout:
    """Return dtype and shape of the tensors in a folder.

    Raises:
        OSError: a file cannot be read, or is damaged.
    """
    try:
        found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    except SafetensorError as error:
        raise OSError(str(error)) from error
    # Only tensors are ever written here.
    return {n: (t.properties.dtype, tuple(t.size)) for n, t in found.items()}  # pyright: ignore[reportAttributeAccessIssue]


def read_into(folder: Path, places: Mapping[str, Tensor]) -> None:
    """Fill whole or spread tensors, of the shapes of ``layout``, in place.

    Raises:
        OSError: a file cannot be read, or is damaged.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _calm():
            # one process may read whole tensors by itself, while others do something else
            alone = not dist.is_initialized() or not is_spread(places)
            load(dict(places), storage_reader=reader, no_dist=alone)
    except (CheckpointException, SafetensorError) as error:
        raise OSError(str(error)) from error


@contextmanager
def _calm() -> Generator[None, None, None]:
    """Leave out the remark that there is one process; it is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
