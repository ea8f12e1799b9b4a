# SPDX-License-Identifier: Apache-2.0
"""``vitruvian vocab``: what the rows of a result mean, as a table, a poster, or in other words."""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitruvian.errors import InputError

if TYPE_CHECKING:  # numpy would double the time of --help
    from vitruvian.correspondence import Correspondence
    from vitruvian.vocabulary import Vocabulary


def show(name: str | None = None, /, *, json: bool = False, poster: Path | None = None) -> None:
    """List the points or classes of a vocabulary, and draw them.

    Args:
        name: Vocabulary to show, or a .toml file of your own; without it, list those that ship.
        json: Print JSON instead of a table.
        poster: Draw the points on a schematic person (or the classes as colours) into this
            picture instead: .png, .jpg or .webp.
    """
    from vitruvian.vocabulary import available, load

    if name is None:
        if poster is not None:
            raise InputError(f"--poster needs a vocabulary: one of {', '.join(available())}")
        _show_available(json=json)
        return
    vocabulary = load(name)
    if poster is not None:
        from vitruvian import image
        from vitruvian.commands.poster import draw_poster

        picture = draw_poster(vocabulary)
        image.write(poster, picture)
        height, width = picture.shape[:2]
        if not json:
            _say(f"{poster}: {_counted(vocabulary)} drawn, {width} × {height} pixels")
    if json:
        _write_json(_described(vocabulary))
    elif poster is None:
        _show_rows(vocabulary)


def convert(
    source: str,
    /,
    *,
    to: str,
    out: Path | None = None,
    vocabulary: str | None = None,
    table: str = "best",
    json: bool = False,
) -> None:
    """Convert a COCO keypoints file to another vocabulary, or list what corresponds to what.

    Everything else in the file stays as it is. Points without a counterpart are 0, 0 with v (or
    score) 0; no row is left out.

    Args:
        source: COCO keypoints dataset or results list (.json); or a vocabulary, to list where each
            of its points goes.
        to: Vocabulary wanted, or a .toml file of your own.
        out: The .json file to write, whole or not at all.
        vocabulary: "Vocabulary" of the file, where it names none or should not be trusted.
        table: Which pairs of names to go by: best, names (equal names only), or, between
            sapiens308 and wholebody133, published53 or reconstructed114.
        json: Print what was done, or what corresponds, as JSON.
    """
    from vitruvian.correspondence import correspond
    from vitruvian.vocabulary import load

    if not source.endswith(".json"):
        for option, value in (("--out", out), ("--vocabulary", vocabulary)):
            if value is not None:
                raise InputError(f"{option} goes with a .json file to convert, not with {source!r}")
        found = correspond(load(source), load(to), table=table)
        if json:
            _write_json(_described_correspondence(found))
        else:
            _show_correspondence(found)
        return
    if out is None:
        raise InputError(
            f"{source} is a file to convert: say where to write it with --out OUT.json"
        )
    _convert_file(Path(source), load(to), out, vocabulary, table, json=json)


def _convert_file(
    source: Path, target: "Vocabulary", out: Path, given: str | None, table: str, *, json: bool
) -> None:
    from vitruvian.commands.conversion import convert_coco
    from vitruvian.files import read_json, write_json
    from vitruvian.formats.record import layout
    from vitruvian.vocabulary import load

    with layout(source, "a COCO keypoints dataset or results list"):
        content, done = convert_coco(
            read_json(source), target, None if given is None else load(given), table
        )
    if not done:
        raise InputError(f"{source} has no keypoints: wanted a COCO keypoints dataset or results")
    write_json(out, content)
    if json:
        people = [{"people": count} | _described_correspondence(found) for found, count in done]
        _write_json({"out": str(out), "converted": people})
        return
    for found, count in done:
        _say(
            f"{out}: {count} {'person' if count == 1 else 'people'}, {found.source.name} → "
            f"{target.name}, {len(found.mapped)} of {len(target)} points"
        )
        if found.unmapped:
            _say("  without counterpart: " + ", ".join(found.unmapped))
        unsure = [target.names[i] for i, c in enumerate(found.confidence) if c in ("medium", "low")]
        if unsure:
            _say("  less sure: " + ", ".join(unsure))


# --------------------------------------------------------------------------------------- as JSON


def _write_json(value: Any) -> None:
    sys.stdout.write(json_text.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _described(vocabulary: "Vocabulary") -> dict[str, Any]:
    """Return everything a vocabulary says, as plain values."""
    v = vocabulary
    group = {i: name for name, rows in v.groups.items() for i in rows}
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(v.names):
        row = {"index": i, "name": name, "group": group[i], "side": v.sides[i]}
        row |= {"mirror": int(v.mirror[i]), "colour": v.colours[i].tolist()}
        if v.sigmas is not None:
            row |= {"sigma": float(v.sigmas[i]), "half": v.halves[i]}
        if v.loss_weights is not None:
            row["weight"] = float(v.loss_weights[i])
        for key, extra in (("corrected", v.corrected), ("mean", v.means), ("else", v.fallbacks)):
            if name in extra:
                row[key] = extra[name]
        rows.append(row)
    described: dict[str, Any] = {"name": v.name, "kind": v.kind, "version": v.version}
    described |= {"about": v.about, "groups": {k: list(rows) for k, rows in v.groups.items()}}
    if v.kind == "points":
        links = [{"a": link.a, "b": link.b, "colour": list(link.colour)} for link in v.links]
        return described | {"points": rows, "links": links}
    described |= {"background": v.background, "ignore": v.ignore}
    return described | {
        "classes": rows,
        "label_maps": {k: list(m) for k, m in v.label_maps.items()},
    }


def _described_correspondence(found: "Correspondence") -> dict[str, Any]:
    source, target = found.source, found.target
    points = [
        {
            "index": i,
            "name": name,
            "from": [{"index": row, "name": source.names[row]} for row in found.parts[i]],
            "confidence": found.confidence[i],
            "basis": found.basis[i],
        }
        for i, name in enumerate(target.names)
    ]
    return {"source": source.name, "target": target.name, "points": points}


# -------------------------------------------------------------------------------------- as tables


def _console() -> Any:
    from rich.console import Console

    # Piped into a file or a pager, a table is as wide as it needs.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _say(line: str) -> None:
    _console().print(line, markup=False, soft_wrap=True)


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column in ("", "row", "value", "mirror", "sigma", "weight", "from")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _counted(vocabulary: "Vocabulary") -> str:
    return f"{len(vocabulary)} {'points' if vocabulary.kind == 'points' else 'classes'}"


def _show_available(*, json: bool) -> None:
    from vitruvian.vocabulary import available, load

    shipped = [load(name) for name in available()]
    if json:
        keys = ("name", "kind", "version", "about")
        _write_json([{k: getattr(v, k) for k in keys} | {"size": len(v)} for v in shipped])
        return
    table = _table("name", "", "what it is")
    for v in shipped:
        table.add_row(v.name, _counted(v), v.about.splitlines()[0])
    _console().print(table)


def _show_rows(vocabulary: "Vocabulary") -> None:
    from rich.text import Text

    v = vocabulary
    points = v.kind == "points"
    _say(f"{v.name}, version {v.version}: {_counted(v)}")
    _say(v.about)
    numbers = v.sigmas if points else v.loss_weights
    extra = ("sigma" if points else "weight",) if numbers is not None else ()
    table = _table("", "row" if points else "value", "name", "group", "side", "mirror", *extra)
    group = {i: name for name, rows in v.groups.items() for i in rows}
    for i, name in enumerate(v.names):
        red, green, blue = v.colours[i].tolist()
        partner = "" if v.mirror[i] == i else str(v.mirror[i])
        number = () if numbers is None else (f"{numbers[i]:g}",)
        wrong = f"{name} (should read {v.corrected[name]})" if name in v.corrected else name
        dot = Text("●", style=f"rgb({red},{green},{blue})")
        table.add_row(dot, str(i), Text(wrong), group[i], v.sides[i], partner, *number)
    _console().print(table)
    if v.links:
        _say(f"{len(v.links)} links")


def _show_correspondence(found: "Correspondence") -> None:
    from rich.text import Text

    source, target = found.source, found.target
    _say(f"{target.name} from {source.name}: {len(found.mapped)} of {len(target)} points")
    table = _table("row", "name", "from", "name there", "confidence", "basis")
    for i, name in enumerate(target.names):
        rows = found.parts[i]
        there = " + ".join(source.names[row] for row in rows)
        numbers = " + ".join(map(str, rows))
        table.add_row(
            str(i), Text(name), numbers, Text(there), found.confidence[i], Text(found.basis[i])
        )
    _console().print(table)
