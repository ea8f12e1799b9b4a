# SPDX-License-Identifier: Apache-2.0
"""``vitruvian compare``: two evaluations of the same photographs, with confidence intervals."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vitruvian.commands.progress import progress_bar
from vitruvian.errors import InputError
from vitruvian.files import write_json

if TYPE_CHECKING:
    from vitruvian.evaluate.compare import Difference


def compare(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    all: bool = False,
    json: Path | None = None,
) -> int:
    """Say whether the second evaluation is better than the first, number by number.

    Both are measured on the same random choices of the photographs they share (bootstrap). If the
    interval of a difference holds 0, these photographs cannot tell.

    Args:
        a: report.json of the first evaluation, or its folder.
        b: of the second.
        samples: random choices of the photographs.
        confidence: share of choices inside of an interval.
        seed: of the choices; the same seed gives the same intervals.
        all: print every number, and not only the main one of each group or class.
        json: also write everything here.
    """
    from vitruvian.evaluate.compare import compare as compared
    from vitruvian.evaluate.resample import read_evidence

    first, second = read_evidence(a), read_evidence(b)
    with progress_bar(samples, "samples") as advance:
        found, shared = compared(
            first, second, samples=samples, confidence=confidence, seed=seed, progress=advance
        )
    titles = [_title(one.report, path) for one, path in ((first, a), (second, b))]
    _show(found, titles, shared, confidence, every=all)
    if json is not None:
        write_json(
            json,
            {
                "a": {"path": str(a), "what": titles[0]},
                "b": {"path": str(b), "what": titles[1]},
                "photographs": shared,
                "samples": samples,
                "confidence": confidence,
                "seed": seed,
                "differences": [_plain(one) for one in found],
            },
            indent=1,
        )
    return 0


def _title(report: Any, path: Path) -> str:
    models = ", ".join(one["name"] for one in report["models"])
    if not models and not report["predictions"]:
        raise InputError(f"{path}: no report of vitruvian evaluate")
    return models or str(report["predictions"]["path"])


_MAIN = ("AP", "AR", "IoU", "mIoU", "mAcc", "aAcc", "RMSE", "AbsRel", "delta1", "mean")


def _show(
    found: "list[Difference]", titles: list[str], shared: int, confidence: float, *, every: bool
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vitruvian.evaluate.report import number

    console = Console()
    console.print(f"A  {titles[0]}\nB  {titles[1]}", highlight=False, soft_wrap=True)
    console.print(f"{shared} photographs in both", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("")
    for column in ("A", "B", "B - A", f"{confidence:.0%} interval", "B is"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        # a class reads IoU/Face, a group hand/AP
        head, _, tail = one.name.rpartition("/")
        kind = head if head == "IoU" else tail
        if math.isnan(one.gap) or not (every or kind in _MAIN):
            continue
        low, high = number(kind, one.low), number(kind, one.high)
        table.add_row(
            f"{one.task} {one.name}",
            number(kind, one.first),
            number(kind, one.second),
            number(kind, one.gap),
            f"{low} … {high}",
            one.verdict,
        )
    console.print(table)
    known = [one for one in found if not math.isnan(one.gap)]
    decided = [one for one in known if one.verdict != "open"]
    sys.stdout.write(
        f"{len(decided)} of {len(known)} differences are decided by these photographs\n"
    )


def _plain(one: "Difference") -> dict[str, Any]:
    values = {**vars(one), "gap": one.gap}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
