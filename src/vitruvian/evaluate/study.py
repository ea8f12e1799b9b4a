# SPDX-License-Identifier: Apache-2.0
"""Studies: the same training with one thing varied, evaluated alike, as a table and a plot.

A study is a TOML file::

    title = "More human pictures help"
    x = "pictures in pretraining"
    measure = ["pose:AP"]                     # TASK:NUMBER of vitruvian evaluate
    evaluate = ["--data", "val/people.json"]  # arguments of vitruvian evaluate
    seeds = [0, 1, 2]

    [[stage]]                                 # arguments of vitruvian train, one stage after
    name = "pretrain"                         # the other; {NAME} stands for the variant's value,
    train = ["pretrain", "--data", "{pictures}", "--size", "tiny", "--steps", "2000"]

    [[stage]]                                 # {stage.NAME} for the weights of an earlier stage
    name = "pose"
    train = ["pose", "--data", "train/", "--init", "{stage.pretrain}", "--steps", "500"]

    [[variant]]
    series = "human"
    x = 1000
    pictures = "human-1k/"

Every stage of every variant and seed is a process of its own, in a folder of its own; what is done
stays done, so a study that was stopped goes on.
"""

import csv
import html
import io
import json
import math
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitruvian.errors import InputError
from vitruvian.files import read_json, write_bytes, write_json
from vitruvian.formats.record import layout

_NAME = re.compile(r"\{([\w.-]+)\}")
_KNOWN = {"title", "x", "measure", "evaluate", "seeds", "stage", "variant", "logarithmic"}
_COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#762a83", "#8c510a", "#01665e")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study; see the module text.

    Attributes:
        title: what it asks.
        x: what varies.
        measure: (task, number) pairs to plot.
        evaluate: arguments of ``vitruvian evaluate``.
        seeds: each variant is trained with every one of them.
        stages: (name, arguments of ``vitruvian train``).
        variants: (series, x, values of the names in arguments).
        logarithmic: whether x is drawn on a logarithmic axis.
    """

    title: str
    x: str
    measure: tuple[tuple[str, str], ...]
    evaluate: tuple[str, ...]
    seeds: tuple[int, ...]
    stages: tuple[tuple[str, tuple[str, ...]], ...]
    variants: tuple[tuple[str, float, Mapping[str, str]], ...]
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command of a study.

    Attributes:
        what: for people.
        arguments: after ``vitruvian``.
        done: exists once it is finished.
    """

    what: str
    arguments: tuple[str, ...]
    done: Path


def read_study(path: str | Path) -> Study:
    """Read a study.

    Raises:
        InputError: if the file is none, or its arguments name what no variant has.
    """
    place = Path(path)
    try:
        content = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: no study can be read from it ({error})") from error
    unknown = set(content) - _KNOWN
    if unknown:
        raise InputError(f"{place}: {', '.join(sorted(unknown))} means nothing in a study")
    with layout(place, "a study (title, x, measure, evaluate, stage, variant)"):
        stages = [(str(s["name"]), tuple(map(str, s["train"]))) for s in content["stage"]]
        variants = [
            (
                str(v.get("series", "")),
                float(v["x"]),
                {k: str(value) for k, value in v.items() if k not in ("series",)},
            )
            for v in content["variant"]
        ]
        measure = [str(one).partition(":") for one in content["measure"]]
        study = Study(
            title=str(content["title"]),
            x=str(content["x"]),
            measure=tuple((task, number) for task, _, number in measure),
            evaluate=tuple(map(str, content["evaluate"])),
            seeds=tuple(int(seed) for seed in content.get("seeds", [0])),
            stages=tuple(stages),
            variants=tuple(variants),
            logarithmic=bool(content.get("logarithmic", False)),
        )
    if not (study.stages and study.variants and study.seeds and study.measure):
        raise InputError(f"{place}: a study needs a stage, a variant, a seed and a measure")
    places = [folder_of(study, number) for number in range(len(variants))]
    if len(set(places)) < len(places):
        raise InputError(f"{place}: two variants have the same series and x")
    list(jobs(study, Path()))  # names that mean nothing are said now
    return study


def folder_of(study: Study, variant: int) -> str:
    """Return the name of a variant's folder."""
    series, x, _ = study.variants[variant]
    return re.sub(r"[^\w.-]+", "-", f"{series}-{x:g}".strip("-"))


def jobs(study: Study, out: Path) -> Iterator[Job]:
    """Yield every command of a study, in order."""
    for number, (_, _, values) in enumerate(study.variants):
        for seed in study.seeds:
            place = out / folder_of(study, number) / f"seed{seed}"
            known = {**values, "seed": str(seed)}
            for name, train in study.stages:
                arguments = [_filled(one, known) for one in train]
                yield Job(
                    what=f"{place}, {name}",
                    arguments=(
                        "train",
                        *arguments,
                        "--seed",
                        str(seed),
                        "--out",
                        f"{place / name}",
                    ),
                    done=place / name / "weights.safetensors",
                )
                known[f"stage.{name}"] = str(place / name / "weights.safetensors")
            measured = [_filled(one, known) for one in study.evaluate]
            last = known[f"stage.{study.stages[-1][0]}"]
            yield Job(
                what=f"{place}, evaluation",
                arguments=(
                    "evaluate",
                    *measured,
                    "--model",
                    last,
                    "--out",
                    f"{place / 'measured'}",
                ),
                done=place / "measured" / "report.json",
            )


def _filled(text: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise InputError(
                f"{text!r}: {{{found[1]}}} is nothing that the variant has: it has "
                f"{', '.join(known)}"
            )
        return known[found[1]]

    return _NAME.sub(value, text)


def run(
    study: Study, out: Path, *, progress: Callable[[int, str], None] = lambda done, what: None
) -> None:
    """Carry out what is not done yet.

    Args:
        study: what to do.
        out: folder for all of it.
        progress: called with the jobs done and the next one.

    Raises:
        InputError: if a command fails, with the end of what it said.
    """
    for number, job in enumerate(jobs(study, out)):
        progress(number, job.what)
        if job.done.exists():
            continue
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "vitruvian.cli", *job.arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not job.done.exists():
            said = (done.stderr or done.stdout).strip().splitlines()[-6:]
            raise InputError(
                f"{job.what}: vitruvian {' '.join(job.arguments)} ended with {done.returncode}: "
                + " / ".join(said)
            )


@dataclass(frozen=True, kw_only=True)
class Point:
    """What came out of a variant.

    Attributes:
        series: it belongs to.
        x: of the variant.
        values: one per seed.
    """

    series: str
    x: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)


def collect(study: Study, out: Path) -> dict[str, list[Point]]:
    """Return ``TASK:NUMBER`` → what came out of each variant.

    Raises:
        InputError: if a measure is nothing that was measured.
    """
    found: dict[str, list[Point]] = {f"{task}:{number}": [] for task, number in study.measure}
    for variant, (series, x, _) in enumerate(study.variants):
        reports = [
            read_json(out / folder_of(study, variant) / f"seed{seed}" / "measured" / "report.json")
            for seed in study.seeds
        ]
        for task, number in study.measure:
            values = [report["results"].get(task, {}).get(number) for report in reports]
            if None in values:
                there = reports[0]["results"].get(task, reports[0]["results"])
                raise InputError(
                    f"measure {task}:{number} was not measured; there is {', '.join(there)}"
                )
            found[f"{task}:{number}"].append(Point(series=series, x=x, values=tuple(values)))
    return found


def write(study: Study, out: Path, found: Mapping[str, Sequence[Point]]) -> list[Path]:
    """Write ``study.json``, ``study.csv`` and a plot per measure (SVG)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["measure", "series", study.x, "mean", *(f"seed {s}" for s in study.seeds)])
    for measure, points in found.items():
        for point in points:
            writer.writerow([measure, point.series, f"{point.x:g}", point.mean, *point.values])
    table, plain = out / "study.csv", out / "study.json"
    write_bytes(table, text.getvalue().encode())
    commands = [["vitruvian", *job.arguments] for job in jobs(study, out)]
    rows = {m: [{**vars(p), "mean": p.mean} for p in points] for m, points in found.items()}
    content = {"title": study.title, "x": study.x, "seeds": study.seeds}
    write_json(plain, {**content, "commands": commands, "results": rows}, indent=1)
    written = [plain, table]
    for measure, points in found.items():
        path = out / f"{re.sub(r'[^0-9A-Za-z.-]+', '-', measure)}.svg"
        write_bytes(path, plot(study, measure, points).encode())
        written.append(path)
    return written


# --------------------------------------------------------------------------------------- plot

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 720, 440, 80, 50, 60, 170


def plot(study: Study, measure: str, points: Sequence[Point]) -> str:
    """Return an SVG: means of each series over x, and bars from the worst to the best seed."""
    every = [value for point in points for value in point.values]
    ys = _axis(min(every), max(every))
    scale = math.log10 if study.logarithmic else float
    xs = sorted({point.x for point in points})
    if study.logarithmic and xs[0] <= 0:
        raise InputError(f"x is {xs[0]:g}: a logarithmic axis begins above 0")
    low, high = scale(xs[0]), scale(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (scale(x) - low) / (high - low) if high > low else 0.5
        up = (y - ys[0]) / (ys[-1] - ys[0])
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * width, _HEIGHT - _BOTTOM - up * height

    parts = [_text(_LEFT, 28, study.title, size=17, weight=600)]
    for y in ys:
        _, v = place(xs[0], y)
        parts.append(_line(_LEFT, v, _WIDTH - _RIGHT, v, "#dcdad3"))
        parts.append(_text(_LEFT - 8, v + 4, f"{y:.4g}", anchor="end"))
    for x in xs:
        u, _ = place(x, ys[0])
        parts.append(_text(u, _HEIGHT - _BOTTOM + 20, f"{x:g}", anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 14, study.x, anchor="middle"))
    parts.append(_text(_LEFT, _TOP - 6, measure))
    for number, series in enumerate(dict.fromkeys(point.series for point in points)):
        colour = _COLOURS[number % len(_COLOURS)]
        own = sorted((p for p in points if p.series == series), key=lambda p: p.x)
        ends = [place(p.x, p.mean) for p in own]
        path = " ".join(f"{u:.1f},{v:.1f}" for u, v in ends)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point, (u, v) in zip(own, ends, strict=True):
            tops = place(point.x, max(point.values))[1], place(point.x, min(point.values))[1]
            parts.append(_line(u, tops[0], u, tops[1], colour))
            parts.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="4" fill="{colour}"/>')
        top = _TOP + 22 * number
        parts.append(f'<circle cx="{_WIDTH - _RIGHT + 20}" cy="{top}" r="4" fill="{colour}"/>')
        parts.append(_text(_WIDTH - _RIGHT + 32, top + 5, series or "all"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#22211f">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _axis(low: float, high: float) -> list[float]:
    """Return round numbers that enclose a range."""
    room = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(room))
    step = next(step * f for f in (0.2, 0.5, 1.0, 2.0) if room / (step * f) <= 6)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [number * step for number in range(first, last + 1)]


def _line(x0: float, y0: float, x1: float, y1: float, colour: str) -> str:
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{html.escape(text)}</text>'
    )


def described(study: Study, out: Path) -> str:
    """Return the commands of a study, one a line."""
    return "\n".join(json.dumps(["vitruvian", *job.arguments]) for job in jobs(study, out))
