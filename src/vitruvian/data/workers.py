# SPDX-License-Identifier: Apache-2.0
"""How worker processes are started: from clean ones that never touched a GPU or a lock of ours."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Generator
from multiprocessing.context import BaseContext

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def worker_context(preload: str) -> BaseContext:
    """Return the way to start workers.

    Args:
        preload: the module they need; imported once, where the system can fork.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


@contextlib.contextmanager
def single_threaded() -> Generator[None, None, None]:
    """Start processes in an environment that asks numerical libraries for one thread."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
