# SPDX-License-Identifier: Apache-2.0
"""``vitruvian study``: the same training with one thing varied, as a table and a plot."""

import sys
from pathlib import Path
from typing import Annotated

import tyro


def study(file: Annotated[Path, tyro.conf.Positional], /, *, out: Path, show: bool = False) -> int:
    """Train small models that differ in one thing, evaluate them alike, and plot what came out.

    Interrupt it at any time: the same command goes on where it stopped. The folder gets study.json,
    study.csv, a plot for each measure, and all trainings and evaluations.

    Args:
        file: the study (.toml): its stages of training, variants, seeds and measures; see the
            documentation.
        out: folder for all of it.
        show: print the commands and stop.
    """
    from rich import box
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Table

    from vitruvian.evaluate import study as studies

    asked = studies.read_study(file)
    if show:
        sys.stdout.write(studies.described(asked, out) + "\n")
        return 0
    total = sum(1 for _ in studies.jobs(asked, out))
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=total)
        studies.run(
            asked,
            out,
            progress=lambda done, what: progress.update(bar, completed=done, description=what),
        )
        progress.update(bar, completed=total, description="")
    found = studies.collect(asked, out)
    console = Console()
    for measure, points in found.items():
        table = Table(title=measure, title_justify="left", box=box.SIMPLE_HEAD)
        for name in ("", asked.x, "mean", "from", "to"):
            table.add_column(name, justify="right" if name else "left")
        for point in points:
            ends = min(point.values), max(point.values)
            cells = (f"{value:.4f}" for value in (point.mean, *ends))
            table.add_row(point.series, f"{point.x:g}", *cells)
        console.print(table)
    for path in studies.write(asked, out, found):
        sys.stdout.write(f"  {path}\n")
    return 0
