# SPDX-License-Identifier: Apache-2.0
"""How commands show that they are getting on."""

import contextlib
from collections.abc import Callable, Generator


@contextlib.contextmanager
def progress_bar(total: int | None, what: str) -> Generator[Callable[[int], None], None, None]:
    """Show a bar on standard error while the block runs; yield what moves it to a number.

    Args:
        total: how much there is; ``None`` where nobody knows.
        what: is counted.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
