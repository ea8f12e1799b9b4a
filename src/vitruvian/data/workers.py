# SPDX-License-Identifier: Apache-2.0
"""How worker processes are started: from clean ones that never touched a GPU or a lock of ours."""

import multiprocessing
import sys
from multiprocessing.context import BaseContext


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
