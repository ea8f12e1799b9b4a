# SPDX-License-Identifier: Apache-2.0
"""What a curation costs, from rates that were measured, not promised."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow.parquet as pq

from vitruvian import image
from vitruvian.curate.basics import Blur, Geometry, Hashes
from vitruvian.curate.records import FORMAT, read_record_note
from vitruvian.curate.shardwork import examine
from vitruvian.curate.stage import TIMING, Picture, Scorer, Stage
from vitruvian.curate.tree import Tree
from vitruvian.errors import InputError, MissingExtraError
from vitruvian.image import resize

_SECONDS = 3.0  # spent on measuring a stage
_MEGAPIXELS = 2.5  # of the pictures that are made to measure with


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What things cost, in any currency.

    Attributes:
        cores: at work at the same time.
        core_hour: of a core for an hour.
        terabyte_month: of a terabyte for a month.
        kilobytes: of a picture.
        keep: share of pictures that is exported.
    """

    cores: int = 64
    core_hour: float = 0.04
    terabyte_month: float = 20.0
    kilobytes: float = 600.0
    keep: float = 0.3

    def __post_init__(self) -> None:
        if self.cores < 1 or min(self.core_hour, self.terabyte_month, self.kilobytes) < 0:
            raise InputError("an estimate needs one core or more, and prices of 0 or more")
        if not 0 <= self.keep <= 1:
            raise InputError(f"--keep {self.keep}: a share from 0 to 1")


def measured_in(tree: Tree) -> dict[str, float]:
    """Return stage → milliseconds per picture and core, from the records of a curation.

    Raises:
        InputError: if there are none.
    """
    sums: dict[str, list[float]] = {}
    for path in sorted(tree.root.glob("records/*/*/*/*/*.parquet")):
        note = read_record_note(path)
        if note is None or note["format"] != FORMAT:
            continue
        column = pq.read_table(path, columns=[TIMING])[TIMING]
        known = len(column) - column.null_count
        entry = sums.setdefault(note["stage"], [0.0, 0.0])
        entry[0] += float(np.nansum(column.to_numpy()))
        entry[1] += known
    found = {stage: total / count for stage, (total, count) in sums.items() if count}
    if not found:
        raise InputError(f"no records in {tree.root}: run  vitruvian curate score  first")
    return found


def measured_here() -> dict[str, float]:
    """Return stage → milliseconds per picture and core, on made pictures of 2.5 megapixels.

    Stages that need weights are left out; text is measured where its package is installed.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (170, 240, 3), dtype=np.uint8)
    height = round((_MEGAPIXELS * 1e6 / 1.5) ** 0.5)
    pixels = resize(coarse, (height, round(height * 1.5)), "cubic").astype(np.int16)
    pixels = np.clip(pixels + rng.integers(-9, 10, pixels.shape), 0, 255).astype(np.uint8)
    data = image.encode(pixels, ".jpg", quality=85)
    stages: list[Stage] = [Geometry(), Hashes(), Blur()]
    found = {"integrity": _milliseconds(lambda: examine(Picture(row=0, data=data), pixels=True))}
    try:
        from vitruvian.curate.text import Text

        Text().identity()
        stages.append(Text())
    except MissingExtraError:
        pass
    looked = Picture(row=0, data=data)
    examine(looked, pixels=True)
    for stage in stages:
        found[stage.name] = _milliseconds(partial(_once, stage.open(), looked))
    return found


def _once(scorer: Scorer, looked: Picture) -> None:
    """Score a picture that has no copies yet."""
    scorer([Picture(row=0, data=looked.data, header=looked.header, base=looked.base)])


def _milliseconds(work: Callable[[], object]) -> float:
    work()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < _SECONDS:
        work()
        count += 1
    return (time.perf_counter() - start) * 1000 / count


def estimate_text(rates: Mapping[str, float], pictures: float, prices: Prices) -> str:
    """Return the estimate as a table for a terminal."""
    if pictures <= 0:
        raise InputError(f"--pictures {pictures:g}: how many, 1 or more")
    lines = [
        f"{pictures:,.0f} pictures of {prices.kilobytes:,.0f} kB, {prices.cores} cores",
        f"{'stage':<14} {'pictures/s':>12} {'core-hours':>14} {'hours':>10} {'cost':>12}",
    ]
    total = 0.0
    for stage, milliseconds in rates.items():
        hours = pictures * milliseconds / 3.6e6
        total += hours
        rate = f"{1000 / milliseconds:,.1f}" if milliseconds else "–"
        lines.append(
            f"{stage:<14} {rate:>12} {hours:>14,.0f} {hours / prices.cores:>10,.1f} "
            f"{hours * prices.core_hour:>12,.0f}"
        )
    lines.append(
        f"{'all':<14} {'':>12} {total:>14,.0f} {total / prices.cores:>10,.1f} "
        f"{total * prices.core_hour:>12,.0f}"
    )
    raw = pictures * prices.kilobytes / 1e9
    kept = raw * prices.keep
    lines.append(
        f"storage: raw {raw:,.1f} TB, training shards {kept:,.1f} TB, "
        f"{(raw + kept) * prices.terabyte_month:,.0f} a month"
    )
    rest = [s for s in ("text", "person", "embedding", "zero_shot") if s not in rates]
    if rest:
        lines.append(f"not measured, so not counted: {', '.join(rest)} (score some, give --tree)")
    return "\n".join(lines) + "\n"
