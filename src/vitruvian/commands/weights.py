# SPDX-License-Identifier: Apache-2.0
"""``vitruvian weights``: list published weights, look into files, convert them, download them."""

import json as json_text
import math
import sys
from pathlib import Path
from typing import Any, Literal

from vitruvian.errors import InputError, WeightsError

Precision = Literal["fp32", "bf16", "fp16"]


def list_weights(
    *,
    task: str | None = None,
    generation: Literal[1, 2] | None = None,
    commercial: Literal["yes", "no", "restricted"] | None = None,
    json: bool = False,
) -> None:
    """List every published weights file, with its licence and whether commercial use is allowed.

    Args:
        task: Only this one: pretrain, pose, parts, depth, normals, pointmap, matting, detector.
        generation: Only Sapiens (1) or Sapiens2 (2).
        commercial: Only files whose licence allows commercial use, forbids it, or restricts it.
        json: Print JSON instead of a table.
    """
    from vitruvian.errors import unknown_name
    from vitruvian.model.catalogue import catalogue

    entries = list(catalogue().values())
    tasks = {e.task for e in entries}
    if task is not None and task not in tasks:
        raise unknown_name("task", task, tasks)
    chosen = [
        e
        for e in entries
        if task in (None, e.task)
        and generation in (None, e.generation)
        and commercial in (None, e.licence.commercial)
    ]
    if json:
        _write_json([_described(e) for e in chosen])
    else:
        _show_list(chosen)


def info(
    path: str,
    /,
    *,
    heads: int | None = None,
    decoder_heads: int | None = None,
    grid: tuple[int, int] | None = None,
    json: bool = False,
) -> int:
    """Say what a weights file is, and whether it is complete. No tensor is read.

    Args:
        path: A file, a folder as transformers writes it, a name of the catalogue, or
            hf:org/name[@revision].
        heads: Attention heads, for a first-generation shape that was not published.
        decoder_heads: Attention heads of a pretraining decoder that was not published.
        grid: Rows and columns of the position table, where it is neither 4:3 nor square.
        json: Print JSON instead of a table.

    Returns:
        0 when the file is complete, else 1.
    """
    from vitruvian.model.catalogue import find
    from vitruvian.model.opening import open_file

    file = open_file(find(path))
    count = sum(math.prod(r.shape) for r in file.records.values())
    facts: dict[str, Any] = {
        "file": str(file.path),
        "format": file.kind + (f", under {file.container!r}" if file.container else ""),
        "tensors": len(file.records),
        "parameters": count,
        "bytes": file.nbytes,
        "dtypes": sorted({r.dtype for r in file.records.values()}),
    }
    if file.dropped:
        facts["not read"] = [f"{name} (pickled, never executed)" for name in file.dropped]
    facts |= _identified(path, heads=heads, decoder_heads=decoder_heads, grid=grid)
    if json:
        _write_json(facts)
    else:
        _show_facts(facts)
    return 0 if facts["complete"] is True else 1


def convert(
    source: str,
    /,
    *,
    out: Path,
    task: str | None = None,
    vocabulary: str | None = None,
    patch_padding: int | None = None,
    rotary_dtype: Literal["bfloat16", "float32"] | None = None,
    heads: int | None = None,
    decoder_heads: int | None = None,
    grid: tuple[int, int] | None = None,
    dtype: Precision | None = None,
) -> None:
    """Turn any readable weights into one self-describing safetensors file.

    The file says what the network is, what its outputs mean, how pictures are prepared, the
    licence, and the checksum of the source. Its numbers are the source's.

    Args:
        source: A file, a folder as transformers writes it, a name of the catalogue, or
            hf:org/name[@revision].
        out: The .safetensors file to write, whole or not at all.
        task: Refuse the source unless it is for this (pretrain: an encoder); of several heads keep
            only this one.
        vocabulary: Names of the points or parts, where their number does not tell; of a file with
            both, name one with --task.
        patch_padding: Zeros around the picture, 0 or 2; by default as published for the task.
        rotary_dtype: Precision of rotary angles; bfloat16 as published unless given.
        heads: Attention heads, for a first-generation shape that was not published.
        decoder_heads: Attention heads of a pretraining decoder that was not published.
        grid: Rows and columns of the position table, where it is neither 4:3 nor square.
        dtype: Precision of the numbers written; by default that of the source.
    """
    from vitruvian.model import weights
    from vitruvian.model.opening import open_weights

    hints: dict[str, Any] = {
        "patch_padding": patch_padding,
        "rotary_dtype": rotary_dtype,
        "heads": heads,
        "grid": grid,
    }
    hints = {name: value for name, value in hints.items() if value is not None}
    if vocabulary is not None:
        opened = open_weights(source, task=task, **hints)
        _check_vocabulary(source, vocabulary, opened.card, task)
    card = weights.convert(
        source,
        out,
        task=task,
        vocabulary=vocabulary,
        decoder_heads=decoder_heads,
        dtype=dtype,
        **hints,
    )
    tasks = ", ".join(card.tasks) or "encoder"
    _say(f"{out}: {card.name}, {tasks}, {out.stat().st_size / 1e9:.2f} GB, {card.licence}")


def fetch(name: str, /, *, yes: bool = False, mirror: str | None = None) -> None:
    """Download published weights, after showing their licence and asking.

    Args:
        name: A name of ``vitruvian weights list``, or hf:org/name[@revision].
        yes: Accept the licence without being asked; needed where nobody can answer.
        mirror: A folder that holds the files, or the address of a server that speaks the hub's
            protocol; by default $HF_ENDPOINT or the hub itself.
    """
    from vitruvian.model.fetch import fetch as download

    def accept(notice: str) -> bool:
        _say(notice)
        if yes:
            return True
        if not sys.stdin.isatty():
            return False
        return input("Accept the licence and download? [y/N] ").strip().lower() in ("y", "yes")

    got = download(name, accept=accept, mirror=mirror)
    if not got.fresh:
        _say(f"already here: {got.path}")
        return
    _say(f"{got.path}")
    checked = {
        "catalogue": "checksum equal to the catalogue's",
        "hub": "checksum equal to the one the server states",
        "no": "not verified: nobody published a checksum, this one is now on record",
    }
    _say(f"sha256 {got.sha256}\n{checked[got.verified]}; licence in {_beside(got.path)}")


def _beside(path: Path) -> Path:
    return (path if path.is_dir() else path.parent) / "LICENCE.txt"


def _identified(path: str, **given: Any) -> dict[str, Any]:
    """Return what a file is; where something is missing, what can be said without it."""
    from vitruvian.model.architecture import unseen
    from vitruvian.model.opening import glance, open_weights

    hints: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    unknown = {}
    try:
        opened = open_weights(path, **hints)
    except WeightsError as error:
        try:
            # Shapes of the first generation do not depend on the heads, so one will do to compare.
            hints.setdefault("heads", 1)
            opened = open_weights(path, **hints)
            unknown = {"attention heads": "unknown: no published size (pass --heads)"}
        except WeightsError:
            return {"what": glance(path), "complete": False, "problem": str(error)}
    card, backbone = opened.card, opened.card.network.backbone
    heads = "" if unknown else f"{backbone.heads} heads, "
    dense = {n: h for n, h in card.network.heads.items() if hasattr(h, "out")}
    facts: dict[str, Any] = {
        "what": glance(path),
        "name": card.name,
        "backbone": f"width {backbone.dim}, {backbone.depth} blocks, {heads}"
        f"{backbone.position} positions {backbone.grid[0]}×{backbone.grid[1]}",
        "heads": {n: f"{getattr(h, 'out', 0)} outputs" for n, h in dense.items()},
        "vocabularies": {n: t.vocabulary for n, t in card.tasks.items() if t.vocabulary},
        "settings": {n: dict(t.settings) for n, t in card.tasks.items() if t.settings},
        "input": f"{card.input_size[0]}×{card.input_size[1]} (height × width), {card.framing}",
        "licence": card.licence,
        "commercial use": card.commercial,
        "complete": True,
    }
    if opened.identity is not None:
        facts["not in the file"] = unseen(opened.identity, card.network) | unknown
    elif card.source is not None:
        facts["made from"] = f"{card.source.file}, sha256 {card.source.sha256}"
    return {key: value for key, value in facts.items() if value not in ({}, None)}


def _check_vocabulary(source: str, name: str, card: Any, task: str | None) -> None:
    from vitruvian.errors import unknown_name
    from vitruvian.model.card import vocabulary_task
    from vitruvian.model.opening import task_name
    from vitruvian.vocabulary import available, load

    if name not in available():
        raise unknown_name("vocabulary", name, available())
    task = vocabulary_task(card.tasks, task and task_name(task), where=source)
    words, out = load(name), card.network.heads[task].out
    kind = "points" if task == "pose" else "parts"
    if (words.kind, len(words)) != (kind, out):
        raise InputError(
            f"{source}: vocabulary {name} has {len(words)} names of {words.kind} · wanted {out} of "
            f"{kind}, for the file's {task}"
        )


def _described(entry: Any) -> dict[str, Any]:
    """Return a catalogue entry as plain values."""
    from vitruvian.model.catalogue import on_this_machine

    facts = {k: v for k, v in vars(entry).items() if v not in (None, {}) and k != "licence"}
    facts["places"] = [f"{repo}:{path}" for repo, path in entry.places]
    facts |= {"bytes": entry.nbytes, "licence": entry.licence.name, "url": entry.licence.url}
    facts["commercial"] = entry.licence.commercial
    return facts | {"here": on_this_machine(entry.name) is not None}


def _show_list(entries: list[Any]) -> None:
    from rich import box
    from rich.table import Table

    from vitruvian.model.catalogue import on_this_machine

    if not entries:
        _say("no published weights of that kind")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "task", "names", "GB", "published result", "licence", "commercial", ""):
        table.add_column(column, justify="right" if column == "GB" else "left", no_wrap=True)
    for e in entries:
        state = "here" if on_this_machine(e.name) else "" if e.loadable else "not loadable"
        size = f"{e.nbytes / 1e9:.1f}" if e.nbytes else ""
        licence = (e.licence.name, e.licence.commercial)
        table.add_row(e.name, e.task, e.vocabulary or "", size, e.metric or "", *licence, state)
    _console().print(table)
    for licence in {e.licence.name: e.licence for e in entries}.values():
        _say(f"{licence.name}: {licence.summary} {licence.url}")
    _say("download with  vitruvian weights fetch NAME")


def _show_facts(facts: dict[str, Any]) -> None:
    from rich.table import Table

    words = {"parameters": "{:,}", "bytes": "{:,}", "tensors": "{:,}"}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        if isinstance(value, dict):
            text = "\n".join(f"{k}: {_short(v)}" for k, v in value.items())
        elif isinstance(value, list):
            text = "\n".join(map(str, value))
        else:
            text = words.get(key, "{}").format({True: "yes", False: "no"}.get(value, value))
        table.add_row(key, _plain(text))
    _console().print(table)


def _short(value: Any) -> str:
    return json_text.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # never read as markup


def _write_json(value: Any) -> None:
    sys.stdout.write(json_text.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _console() -> Any:
    from rich.console import Console

    # Piped into a file or a pager, a table is as wide as it needs.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _say(line: str) -> None:
    _console().print(line, markup=False, soft_wrap=True)
