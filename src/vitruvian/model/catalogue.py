# SPDX-License-Identifier: Apache-2.0
"""The catalogue of published weights: what there is, under which licence, and where it would lie.

Reading it costs no torch and no network. A file is found locally by path, by catalogue name, or by
hub address ``hf:org/name[@revision]``; only ``fetch`` downloads.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vitruvian.errors import InputError, WeightsError, unknown_name

Commercial = Literal["yes", "no", "restricted", "unknown"]
DEFAULT = "default"
"""Name of the weights that come with the package."""
SHIPPED = Path(__file__).parents[1] / "default"
"""Folder inside the package that holds them, with their model card."""
_WEIGHTS = (".safetensors", ".pth", ".pt", ".pt2", ".ckpt", ".bin")
_HUB = re.compile(r"hf:([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of weights: their name, where they are written, whether commercial use is allowed."""

    name: str
    title: str
    url: str
    commercial: Commercial
    summary: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published file.

    Args:
        name: of the catalogue.
        generation: 1 (Sapiens) or 2 (Sapiens2).
        task: of the head, "pretrain" for an encoder, "detector".
        size: as published, "0.3b".
        file: base name.
        places: (hub repository, path inside) to look for it, in order.
        licence: its terms.
        vocabulary: names of its points or parts.
        revision: of the repositories; None for the newest.
        sha256: of the file; None where it was not published.
        parameters: how many numbers it holds.
        metric: published result.
        patch_padding: what the network was trained with; invisible in first-generation files.
        convention: meaning of the axes, each with its evidence or "unverified".
        note: what else to know.
        loadable: this package can read it.
    """

    name: str
    generation: int
    task: str
    size: str
    file: str
    places: tuple[tuple[str, str], ...]
    licence: Licence
    vocabulary: str | None = None
    revision: str | None = None
    sha256: str | None = None
    parameters: int | None = None
    metric: str | None = None
    patch_padding: int | None = None
    convention: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None
    loadable: bool = True

    @property
    def nbytes(self) -> int | None:
        """About how many bytes the file has: four per parameter."""
        return None if self.parameters is None else 4 * self.parameters


class HubAddress(NamedTuple):
    """A repository of the Hugging Face hub and a revision of it (None: the newest)."""

    repo: str
    revision: str | None


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return every published file by name, in the order of the catalogue."""
    table = tomllib.loads(files("vitruvian.model").joinpath("catalogue.toml").read_text("utf-8"))
    licences = {name: Licence(name=name, **rest) for name, rest in table["licence"].items()}
    entries: dict[str, Entry] = {}
    for family in table["family"]:
        for size in family["sizes"]:
            entry = _expand({**family, **size}, licences)
            assert entry.name not in entries, entry.name
            entries[entry.name] = entry
    return entries


def entry(name: str) -> Entry:
    """Return the catalogue's record of a name.

    Raises:
        UnknownNameError: no such name; the message lists close ones.
    """
    known = catalogue()
    if name not in known:
        raise unknown_name("weights", name, known)
    return known[name]


def entry_of(path: Path) -> Entry | None:
    """Return the record of a file by its base name, if it is a published one."""
    return next((e for e in catalogue().values() if e.file == path.name), None)


def hub_address(name: str) -> HubAddress | None:
    """Read ``hf:org/name[@revision]``; None when the name is not of that form.

    Raises:
        InputError: it starts with ``hf:`` and is not of that form.
    """
    if not name.startswith("hf:"):
        return None
    match = _HUB.fullmatch(name)
    if match is None or ".." in name:
        raise InputError(f"{name!r} · wanted hf:organisation/name or hf:organisation/name@revision")
    return HubAddress(match[1], match[2])


def weights_folder(name: str = "") -> Path:
    """Return where fetched weights lie, or the folder of one name.

    ``$VITRUVIAN_WEIGHTS`` if set, else ``vitruvian/weights`` in the user's cache folder.
    """
    root = os.environ.get("VITRUVIAN_WEIGHTS")
    if root is None:
        cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(cache_home) / "vitruvian" / "weights"
    address = hub_address(name)
    if address is not None:
        name = "hf/" + address.repo.replace("/", "--") + "@" + (address.revision or "main")
    return Path(root).expanduser() / name


def find(name: str | Path) -> Path:
    """Return the local file or folder of a path, a catalogue name or a hub address.

    Nothing is downloaded. A path that exists wins over a name, except over "default", which is
    always what comes with the package (write ``./default`` for a folder of that name).

    Raises:
        UnknownNameError: neither a file nor a known name.
        WeightsError: a known name whose file is not here; says the command that fetches it.
    """
    if name == DEFAULT:
        return _shipped()
    path, text = Path(name).expanduser(), str(name)
    if path.exists():
        return path
    known = text in catalogue() or hub_address(text) is not None
    if not known and (path.suffix in _WEIGHTS or len(path.parts) > 1):
        raise WeightsError(f"{path}: no such file · wanted weights, or a name of the catalogue")
    if not known:
        raise unknown_name("weights", text, [DEFAULT, *catalogue()])
    local = on_this_machine(text)
    if local is not None:
        return local
    record = catalogue().get(text)
    if record is not None and not record.loadable:
        raise WeightsError(f"{text}: {record.file} cannot be loaded · {record.note}")
    what = record.file if record else "its weights"
    raise WeightsError(
        f"{text}: {what} not on this machine (looked in {weights_folder(text)} and the hub's "
        f"cache) · download it with  vitruvian weights fetch {text}"
    )


def _shipped() -> Path:
    path = SHIPPED / f"{DEFAULT}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{DEFAULT}: this copy of vitruvian holds no default weights (looked for {path}) · "
            "install a release, make them with  vitruvian train default --out FOLDER --ship , or "
            "name other weights"
        )
    return path


def on_this_machine(name: str) -> Path | None:
    """Return where the weights of a name or hub address lie; None if they do not.

    Fetched files are found, and files that other programs left in the hub's own cache.

    Raises:
        UnknownNameError: no such name.
        WeightsError: for "default", if this installation lacks it.
    """
    if name == DEFAULT:
        return _shipped()
    folder, address = weights_folder(name), hub_address(name)
    if address is None:
        record = entry(name)
        if (folder / record.file).is_file():
            return folder / record.file
        cached = (_in_hub_cache(repo, f, record.revision) for repo, f in record.places)
        return next((path for path in cached if path), None)
    if folder.is_dir() and any(f.suffix in _WEIGHTS for f in folder.iterdir()):
        return folder
    for marker in ("model.safetensors", "source.json"):
        found = _in_hub_cache(address.repo, marker, address.revision)
        if found is not None and (found.parent / "config.json").exists():
            return found.parent
        if found is not None:
            known = marker != "source.json"
            return found if known else found.parent / json.loads(found.read_text())["file"]
    return None


def _in_hub_cache(repo: str, inside: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, inside, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _expand(record: Mapping[str, Any], licences: Mapping[str, Licence]) -> Entry:
    """Fill the templates of one file's fields."""
    words = {k: record.get(k, "") for k in ("size", "mark", "score", "task")}
    words["file"] = record["file"].format(**words)
    places = tuple(tuple(p.format(**words).split(":", 1)) for p in record["places"])
    known = {f.name for f in fields(Entry)}
    kept = {k: v for k, v in record.items() if k in known}
    metric = record["metric"].format(**words) if "metric" in record else None
    return Entry(
        **kept
        | {
            "name": record["name"].format(**words),
            "file": words["file"],
            "places": places,
            "licence": licences[record["licence"]],
            "metric": metric,
        }
    )
