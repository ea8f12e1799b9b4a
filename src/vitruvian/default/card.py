# SPDX-License-Identifier: Apache-2.0
"""The model card of weights: a page in which every number was measured, with its command."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitruvian import __version__
from vitruvian.default.history import total
from vitruvian.default.measure import Finding, Scored
from vitruvian.model.card import Card
from vitruvian.model.catalogue import DEFAULT

_LIMITS = """\
* They learned from rendered people alone. Photographs differ from renders; where few of them are
  labelled, the numbers on photographs say little.
* The rendered people are adults, dressed, one to eight in a picture, in invented places. Children,
  crowds, swimwear, costumes, wheelchairs, prostheses, missing limbs, sports in extreme poses and
  views from straight above or below were rarely or never rendered.
* People found small are enlarged to the network's window: below about 50 pixels in height little
  is left to see.
* Of somebody mostly hidden, or beside a nearer person in the same window, joints may be put on the
  other one.
* Depth is relative to the person (0 nearest, 1 farthest), not metres, and not comparable between
  people. Parts of hands, feet, lips and teeth are small, and often missed.
* Skin tones and sexes were rendered evenly, but how right the weights are for each of them on
  photographs was not measured: do not assume it is equal.
* One picture at a time: nothing is tracked or smoothed."""
_MISUSE = """\
* Not for deciding about people: not for identification, surveillance, medicine, employment, law, or
  anything in which an error harms somebody.
* Not for safety: neither robots nor vehicles may rely on people being found.
* The weights say where a body is. They were not made to tell who somebody is, and hold no faces of
  real people: every training picture is invented."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """All that a card says.

    Attributes:
        card: of the network.
        name: of the weights' file.
        parameters: how many.
        nbytes: size of the file.
        trainings: that led to the weights, see ``history``.
        heldout: evaluations on rendered people.
        heldout_data: what those are, see ``history.data_facts``.
        heldout_command: that renders those.
        photos: evaluations on photographs.
        finding: how people are found, by photographs.
        failures: path of the sheet of failures, as the card links to it; "" for none.
    """

    card: Card
    name: str
    parameters: int
    nbytes: int
    trainings: Sequence[Mapping[str, Any]]
    heldout: Sequence[Scored] = ()
    heldout_data: Mapping[str, Any] | None = None
    heldout_command: str = ""
    photos: Sequence[Scored] = ()
    finding: Sequence[Finding] = ()
    failures: str = ""


def rendered(facts: Facts) -> str:
    """Return the card as Markdown."""
    card, backbone = facts.card, facts.card.network.backbone
    height, width = card.input_size
    names = [t.vocabulary for t in card.tasks.values() if t.vocabulary]
    head = f"""\
# Model card: {card.name}

{", ".join(card.tasks)} ({", ".join(names)}) of a person in a window of {height}×{width} pixels
(height × width), from one pass of a vision transformer of width {backbone.dim} with
{backbone.depth} blocks. {facts.parameters:,} weights, {facts.nbytes / 1e6:.1f} MB, {card.licence}.
Written by vitruvian {__version__}; every number was measured, by the commands at the end.

```python
import vitruvian as vi

people = vi.load("{DEFAULT if card.name == DEFAULT else facts.name}")("photo.jpg")
```
"""
    sections = [
        head,
        _made(facts),
        _on_renders(facts),
        _on_photographs(facts),
        _commands(facts),
        f"## Limits\n\n{_worst_parts(facts)}{_LIMITS}\n",
        f"## Not for\n\n{_MISUSE}\n",
        "## Licence\n\n"
        f"{card.licence}, weights as well as code. No picture of a real person was trained on; the "
        "assets of\nthe renderer and their licences are in its documentation (docs/synth.md).\n",
    ]
    return "\n".join(section for section in sections if section)


# --------------------------------------------------------------------------------- how it was made


def _made(facts: Facts) -> str:
    lines = [
        "## Data and compute\n",
        "| training | input | steps × batch | samples seen | learned from | wall time |",
        "|---|---|---|---|---|---|",
    ]
    for one in facts.trainings:
        if "samples" not in one:
            words = "weights given:"
            if one["recipe"] == "mean":
                words = f"mean, {100 * one['share']:g} % of it"
            lines.append(f"| {words} {one['name']} | | | | | |")
            continue
        height, width = one["input"]
        data = "; ".join(_data(part) for part in one["data"])
        if "backgrounds" in one:
            data += f"; before {one['backgrounds'] or 'an unknown number of'} photographs, too"
        lines.append(
            f"| {one['recipe']} | {height}×{width} | {one['steps']:,} × {one['batch']} | "
            f"{one['samples']:,} | {data} | {_time(one['seconds'])}, {one['device']}, "
            f"{one['precision']} |"
        )
    samples, spent = total(facts.trainings)
    lines += [
        "",
        f"In all {samples:,} samples in {_time(spent)} of training, as the trainings' "
        "`metrics.jsonl` say (wall time of\nsteps; other work shared the machine where it did). "
        "All people are from `vitruvian synth people`.\n",
    ]
    return "\n".join(lines)


def _data(part: Mapping[str, Any]) -> str:
    if not part["pictures"]:
        return f"{part['name']} (no longer there)"
    seeds = ", ".join(map(str, part["seeds"])) or "unknown"
    return (
        f"{part['pictures']:,} pictures of {', '.join(part['sizes'])} with {part['people']:,} "
        f"people, seed {seeds}, synth {', '.join(part['code']) or 'unknown'}"
    )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


# ----------------------------------------------------------------------------------------- scores


def _on_renders(facts: Facts) -> str:
    if not facts.heldout:
        return ""
    about = f": {_data(facts.heldout_data)}" if facts.heldout_data else ""
    lines = [f"## On held-out rendered people\n\nNever trained on{about}.\n"]
    marks = _marks(facts)
    lines += _pose_table(facts.heldout, marks)
    rows: list[tuple[str, str, str]] = []
    for one in facts.heldout:
        results = one.report["results"]
        for task, wanted in _NUMBERS.items():
            for key, words, form in wanted:
                value = results.get(task, {}).get(key)
                if value is not None:
                    rows.append((f"{task}: {words}", _form(value, form), marks[one.command]))
    if rows:
        lines += ["| maps | value | command |", "|---|---|---|"]
        lines += [f"| {name} | {value} | {mark} |" for name, value, mark in rows]
        lines.append("")
    return "\n".join(lines)


_NUMBERS = {
    "parts": (("mIoU", "mIoU, %", "share"), ("mAcc", "mAcc, %", "share")),
    "depth": (
        ("RMSE", "RMSE after scale and shift of each person, m", "plain"),
        ("AbsRel", "AbsRel after scale and shift of each person", "plain"),
        ("delta1", "δ1 after scale and shift of each person, %", "share"),
    ),
    "normals": (
        ("mean", "mean angle, °", "angle"),
        ("median", "median angle, °", "angle"),
        ("within_11.25", "within 11.25°, %", "share"),
        ("within_30", "within 30°, %", "share"),
    ),
}


def _form(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return {"share": f"{100 * value:.1f}", "angle": f"{value:.1f}", "plain": f"{value:.4f}"}[form]


def _pose_table(scored: Sequence[Scored], marks: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for one in scored:
        numbers = one.report["results"].get("pose")
        if numbers is None:
            continue
        words = one.report["vocabularies"]["points"]
        ap, ap50 = (_pick(numbers, key) for key in ("AP", "AP50"))
        pck = [_pick(numbers, f"PCK@{share}") for share in ("0.05", "0.1", "0.2")]
        cells = [_form(value, "share") for value in (ap, ap50, *pck)]
        oks = "–" if one.oks is None else f"{one.oks:.3f}"
        lines.append(
            f"| {one.title} | {words} | {one.people} | {' | '.join(cells)} | {oks} | "
            f"{marks[one.command]} |"
        )
    if not lines:
        return []
    return [
        "| keypoints | points | people | AP | AP50 | PCK@0.05 | PCK@0.1 | PCK@0.2 | mean OKS "
        "| command |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
        "AP, AP50 and PCK in per cent; PCK in shares of the longer side of a person's box.\n",
    ]


def _pick(numbers: Mapping[str, float | None], key: str) -> float | None:
    """Return a number of all points, where there are groups of points too."""
    return numbers.get(key, numbers.get(f"whole/{key}"))


def _on_photographs(facts: Facts) -> str:
    if not facts.photos and not facts.finding:
        return "## On photographs\n\nNot measured: no labelled photographs were given.\n"
    lines = ["## On photographs\n", *_pose_table(facts.photos, _marks(facts))]
    if facts.finding:
        lines += [
            "| finding people, IoU ≥ 0.5 | photographs | people | found, % | right of those "
            "reported, % | their mean IoU, % | AP, % |",
            "|---|---|---|---|---|---|---|",
        ]
        for one in facts.finding:
            shown = ("recall", "precision", "IoU", "AP")
            cells = [_form(one.numbers[key], "share") for key in shown]
            lines.append(
                f"| {one.title} | {one.photographs} | {one.people} | {' | '.join(cells)} |"
            )
        lines += [
            "",
            "People of less than 4 % of the photograph's longer side do not count. This table is "
            "measured by the\ncommand that writes this page, `vitruvian weights card WEIGHTS --out "
            "FOLDER --heldout … --photos …`.\n",
        ]
    if facts.failures:
        lines += [
            "The worst of all, truth first, then the answer, then the error:\n",
            f"![failures]({facts.failures})\n",
        ]
    return "\n".join(lines)


def _marks(facts: Facts) -> dict[str, str]:
    """Return a number in brackets for every command."""
    commands = dict.fromkeys(one.command for one in (*facts.heldout, *facts.photos))
    return {command: f"[{number}]" for number, command in enumerate(commands, 1)}


def _commands(facts: Facts) -> str:
    """List what the numbers in brackets stand for."""
    if not facts.heldout and not facts.photos:
        return ""
    lines = ["## Commands behind the numbers\n", "```bash"]
    if facts.heldout_command:
        lines.append(f"{facts.heldout_command}  # the held-out people")
    lines += [f"{command}  # {mark}" for command, mark in _marks(facts).items()]
    return "\n".join([*lines, "```\n"])


def _worst_parts(facts: Facts) -> str:
    """Return a sentence about the parts that are seldom right."""
    for one in facts.heldout:
        found = one.report["results"].get("parts", {})
        ious = {
            key.removeprefix("IoU/"): value
            for key, value in found.items()
            if key.startswith("IoU/") and value is not None
        }
        if ious:
            worst = sorted(ious.items(), key=lambda pair: pair[1])[:5]
            told = ", ".join(f"{name} {100 * value:.0f} %" for name, value in worst)
            return f"* Parts that are least often right on held-out renders (IoU): {told}.\n"
    return ""


def relative(target: Path, folder: Path) -> str:
    """Return how a page in a folder links to a file."""
    import os

    return Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()
