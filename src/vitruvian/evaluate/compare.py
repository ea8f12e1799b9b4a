# SPDX-License-Identifier: Apache-2.0
"""Whether one evaluation is better than another, or only luckier in its photographs.

Both are asked about the same bootstrap samples of the photographs they share, so that what is
hard for both cancels out. Confidence intervals are percentiles of the differences.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitruvian.errors import InputError
from vitruvian.evaluate.resample import Evidence, Numbers

LOWER_IS_BETTER = ("RMSE", "AbsRel", "log10", "RMSE_log", "SILog", "mean", "median")
"""Numbers that are errors; of all others more is better."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number of two evaluations, over the photographs they share.

    Attributes:
        task: measured.
        name: of the number, as in the reports.
        first: of A.
        second: of B.
        low: lower end of the confidence interval of B - A.
        high: upper end.
        verdict: "better", "worse" (B than A), or "open" if the interval holds 0.
    """

    task: str
    name: str
    first: float
    second: float
    low: float
    high: float
    verdict: str

    @property
    def gap(self) -> float:
        """B - A."""
        return self.second - self.first


def compare(
    a: Evidence,
    b: Evidence,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Difference], int]:
    """Hold two evaluations against each other.

    Args:
        a: the first.
        b: the second.
        samples: bootstrap samples.
        confidence: of the intervals.
        seed: of the samples.
        progress: called with the samples done.

    Returns:
        A difference per number that both have, and the number of photographs they share.

    Raises:
        InputError: if they share fewer than two photographs or no task, or were measured by
            different rules.
    """
    if samples < 10 or not 0 < confidence < 1:
        raise InputError(f"{samples} samples, confidence {confidence}: from 10, and within 0 … 1")
    tasks = [task for task in a.tasks if task in b.tasks]
    if not tasks:
        raise InputError(
            f"one evaluation measured {', '.join(a.tasks)}, the other {', '.join(b.tasks)}: "
            "nothing to compare"
        )
    _same_rules(a.report, b.report, tasks)
    where = {name: place for place, name in enumerate(b.names)}
    pairs = np.array([(i, where[n]) for i, n in enumerate(a.names) if n in where], np.intp)
    if len(pairs) < 2:
        raise InputError(
            f"the evaluations share {len(pairs)} photographs ({a.names[0]}, … and {b.names[0]}, "
            "…): compare two of the same data"
        )

    def numbers(counts: np.ndarray) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
        times = np.zeros(len(a.names)), np.zeros(len(b.names))
        for side in (0, 1):
            times[side][pairs[:, side]] = counts
        return (
            {task: a.tasks[task](times[0]) for task in tasks},
            {task: b.tasks[task](times[1]) for task in tasks},
        )

    first, second = numbers(np.ones(len(pairs)))
    names = [(task, name) for task in tasks for name in first[task] if name in second[task]]
    gaps = np.full((samples, len(names)), math.nan)
    rng = np.random.default_rng(seed)
    for number in range(samples):
        counts = np.bincount(rng.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        one, other = numbers(counts.astype(np.float64))
        gaps[number] = [other[task][name] - one[task][name] for task, name in names]
        progress(number + 1)
    tail = (1 - confidence) / 2
    return [
        _difference(task, name, first[task][name], second[task][name], gaps[:, n], tail)
        for n, (task, name) in enumerate(names)
    ], len(pairs)


def _difference(
    task: str, name: str, first: float, second: float, gaps: np.ndarray, tail: float
) -> Difference:
    known = gaps[np.isfinite(gaps)]
    low, high = (math.nan, math.nan)
    if len(known):
        low, high = (float(q) for q in np.quantile(known, (tail, 1 - tail)))
    verdict = "open"
    if low > 0 or high < 0:
        error = name.rpartition("/")[2] in LOWER_IS_BETTER
        verdict = "better" if (low > 0) != error else "worse"
    return Difference(
        task=task, name=name, first=first, second=second, low=low, high=high, verdict=verdict
    )


def _same_rules(a: Mapping[str, Any], b: Mapping[str, Any], tasks: list[str]) -> None:
    """Refuse two evaluations whose numbers mean different things."""
    kinds = {"pose": "points", "parts": "parts"}
    for task in tasks:
        kind = kinds.get(task)
        if kind is not None and a["vocabularies"][kind] != b["vocabularies"][kind]:
            raise InputError(
                f"{task} was compared in {a['vocabularies'][kind]} and in "
                f"{b['vocabularies'][kind]}: evaluate both with the same --compare-{kind}"
            )
    rules = [one["settings"]["settings"] for one in (a, b)]
    about = {"depth": ("alignment", "depth_average"), "normals": ("normals_average",)}
    about["parts"] = ("absent",)
    for task in tasks:
        for name in about.get(task, ()):
            if rules[0][name] != rules[1][name]:
                raise InputError(
                    f"{task} was measured with {name} {rules[0][name]!r} and {rules[1][name]!r}: "
                    "evaluate both alike"
                )
