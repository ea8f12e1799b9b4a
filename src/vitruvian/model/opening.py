# SPDX-License-Identifier: Apache-2.0
"""Open a weights file: tell what it is and compare it with what it must hold; read no tensor.

Strict both ways: what is missing, left over or of the wrong shape is an error with counts and
examples, and a file for another task says what it is and names one that would do.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from vitruvian.errors import WeightsError, unknown_name
from vitruvian.model.architecture import Hints, check_hints, decoder_config, network_config
from vitruvian.model.card import KEY, Card, published_card, vocabulary_task
from vitruvian.model.catalogue import Entry, catalogue, entry_of, find
from vitruvian.model.identify import Identity, identify
from vitruvian.model.mae import Decoder, MAEConfig
from vitruvian.model.names import TASKS, Piece, Shape, ignored, published_pieces
from vitruvian.model.network import Network
from vitruvian.model.storage import TensorFile, open_tensors

M = TypeVar("M", bound=nn.Module)
_TASK_WORDS = {"seg": "parts", "normal": "normals"}  # the words published files use
_TASKS = {"pretrain", *TASKS["sapiens"], *TASKS["sapiens2"]}
_PARALLEL = "module."  # what DistributedDataParallel puts in front of every name


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A weights file that was looked into and found complete; no tensor has been read.

    ``identity`` is None for a file of our own; ``network`` is its network without memory, of all
    heads and without decoder; ``pieces`` says which rows of which of our tensors each of its
    tensors holds, and ``shapes`` names and sizes those.
    """

    file: TensorFile
    card: Card
    identity: Identity | None
    network: Network
    pieces: Mapping[str, Piece]
    shapes: Mapping[str, Shape]


def open_weights(
    name: str | Path,
    *,
    task: str | None = None,
    vocabulary: str | None = None,
    decoder_heads: int | None = None,
    **hints: Unpack[Hints],
) -> Opened:
    """Look into a weights file, tell what it is and check that it is complete; read no tensor.

    Arguments and errors are those of ``load`` and ``convert``.
    """
    hints = check_hints(hints)
    path = find(name)
    file = open_file(path)
    where = str(path)
    if KEY in file.metadata:
        return _open_own(file, where, task, vocabulary, {**hints, "decoder_heads": decoder_heads})
    identity = identify({n: r.shape for n, r in file.records.items()}, file.config, where=where)
    have = () if identity.task is None else (identity.task,)
    _check_task(where, task, have, identity.sentence, identity)
    record = entry_of(path)
    if record is not None and record.patch_padding is not None and "patch_padding" not in hints:
        hints["patch_padding"] = record.patch_padding
    config = network_config(identity, where=where, **hints)
    network = build(lambda: Network(config))
    drawn = decoder_config(identity, where=where, decoder_heads=decoder_heads or 1)
    shapes = tensor_shapes(network, drawn)
    pieces = published_pieces(identity.layout, shapes)
    kept = [n for n in file.records if not ignored(identity.layout, n)]
    _compare(file, kept, pieces, shapes, f"{where}: this is {identity.sentence}, but")
    decoder = None
    if decoder_heads is not None or identity.size is not None:
        decoder = decoder_config(identity, where=where, decoder_heads=decoder_heads)
    card = published_card(identity, config, path, vocabulary=vocabulary, decoder=decoder)
    return Opened(
        file=file, card=card, identity=identity, network=network, pieces=pieces, shapes=shapes
    )


def glance(name: str | Path) -> str:
    """Return in words what a weights file is, without asking whether it is complete."""
    file = open_file(find(name))
    if KEY in file.metadata:
        return _own_sentence(Card.from_json(file.metadata[KEY], where=str(name)))
    shapes = {n: r.shape for n, r in file.records.items()}
    return identify(shapes, file.config, where=str(name)).sentence


def open_file(path: Path) -> TensorFile:
    """Look into a file as ``storage.open_tensors``, without a prefix that all names share.

    A network wrapped for distributed training has ``module.`` in front of every name. It is taken
    off, and said in ``container``; where only some names have it, nothing is.
    """
    file = open_tensors(path)
    if not file.records or not all(n.startswith(_PARALLEL) for n in file.records):
        return file
    return replace(
        file,
        records={n.removeprefix(_PARALLEL): r for n, r in file.records.items()},
        container=".".join(filter(None, (file.container, _PARALLEL[:-1]))),
    )


def check_published(path: Path, record: Entry) -> None:
    """Raise unless a file is what the catalogue means by the name it carries; reads its header.

    Compared are generation, task, size and the number of parameters.

    Raises:
        WeightsError: it is something else, or of no known kind.
    """
    file = open_file(path)
    shapes = {n: r.shape for n, r in file.records.items()}
    family = "Sapiens" if record.generation == 1 else "Sapiens2"
    wanted = (
        f"wanted {record.name}: {family}, {record.task}, {record.size}"
        + (f", {record.parameters:,} parameters" if record.parameters else "")
        + " · another file under its name: look where it came from"
    )
    if KEY in file.metadata:
        sentence = _own_sentence(Card.from_json(file.metadata[KEY], where=record.file))
        raise WeightsError(f"{record.file}: this is {sentence}, converted · {wanted}")
    identity = identify(shapes, file.config, where=record.file)
    count = sum(math.prod(s) for n, s in shapes.items() if not ignored(identity.layout, n))
    is_ = (identity.generation, identity.task or "pretrain", identity.label)
    meant = (record.generation, record.task, record.size)
    if is_ != meant or record.parameters not in (None, count):
        raise WeightsError(
            f"{record.file}: this is {identity.sentence} of {count:,} parameters · {wanted}"
        )


def _open_own(
    file: TensorFile, where: str, task: str | None, vocabulary: str | None, given: Mapping[str, Any]
) -> Opened:
    card = Card.from_json(file.metadata[KEY], where=where)
    card = _with_hints(card, given, where)
    _check_task(where, task, card.tasks, _own_sentence(card), None)
    if vocabulary is not None:
        chosen = vocabulary_task(card.tasks, task and task_name(task), where=where)
        kept = {k: v for k, v in card.tasks[chosen].settings.items() if k != "vocabulary"}
        named = replace(card.tasks[chosen], vocabulary=vocabulary, settings=kept)
        card = replace(card, tasks={**card.tasks, chosen: named})
    network = build(lambda: Network(card.network))
    shapes = tensor_shapes(network, card.decoder)
    pieces = {n: Piece(n, 0, s[0]) for n, s in shapes.items()}
    _compare(file, list(file.records), pieces, shapes, f"{where}: {_own_sentence(card)}, but")
    return Opened(
        file=file, card=card, identity=None, network=network, pieces=pieces, shapes=shapes
    )


def _with_hints(card: Card, given: Mapping[str, Any], where: str) -> Card:
    """Let a file of our own be computed in another rotary precision; other hints must agree."""
    backbone, decoder = card.network.backbone, card.decoder
    says = {f.name: getattr(backbone, f.name) for f in fields(backbone)}
    says["decoder_heads"] = decoder.decoder_heads if decoder else None
    for name, value in given.items():
        if value is not None and value != says[name] and name != "rotary_dtype":
            raise WeightsError(f"{where}: {name}={value} given · the file says {says[name]}")
    if given.get("rotary_dtype") is not None and backbone.position == "rotary":
        backbone = replace(backbone, rotary_dtype=given["rotary_dtype"])
    return replace(card, network=replace(card.network, backbone=backbone))


class _Unfilled(TorchFunctionMode):
    """Skips the filling of tensors without memory: starting values mean nothing there.

    Operations without a kernel of their own on the meta device, such as most in-place ones, would
    pull in torch's decompositions: seconds of imports. Tables that start from ``arange`` are
    computed on the CPU instead, and dropped.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            return args[0] if args else next(iter(kwargs.values()))
        if func is torch.arange:
            kwargs = {**(kwargs or {}), "device": "cpu"}
        return func(*args, **(kwargs or {}))


def build(make: Callable[[], M]) -> M:
    """Build a module on the meta device, without memory and starting values."""
    with _Unfilled(), torch.device("meta"):
        return make()


def tensor_shapes(network: Network, decoder: MAEConfig | None) -> dict[str, Shape]:
    """Return the shapes of a network's state dict, and of its decoder as ``decoder.…``."""
    state = network.state_dict()
    if decoder is not None:
        parts = build(lambda: Decoder(network.config.backbone, decoder)).state_dict()
        state |= {f"decoder.{n}": t for n, t in parts.items()}
    return {n: tuple(t.shape) for n, t in state.items()}


def _compare(
    file: TensorFile,
    names: Iterable[str],
    pieces: Mapping[str, Piece],
    shapes: Mapping[str, Shape],
    start: str,
) -> None:
    """Raise unless the file holds exactly the expected tensors."""
    present = set(names)
    wanted = {n: (p.end - p.begin, *shapes[p.ours][1:]) for n, p in pieces.items()}
    missing = [n for n in wanted if n not in present]
    extra = sorted(present - wanted.keys())
    wrong = [
        f"{n} is {file.records[n].shape}, not {wanted[n]}"
        for n in wanted
        if n in present and file.records[n].shape != wanted[n]
    ]
    odd = [
        f"{n} is {file.records[n].dtype}" for n in present if "float" not in file.records[n].dtype
    ]
    parts = [
        f"{len(found)} {word} ({', '.join(found[:3])}{', …' if len(found) > 3 else ''})"
        for found, word in (
            (missing, "missing"),
            (extra, "left over"),
            (wrong, "of another shape"),
            (sorted(odd), "not of floating point"),
        )
        if found
    ]
    if parts:
        raise WeightsError(
            f"{start} its {len(wanted)} tensors do not fit: {', '.join(parts)} · wanted exactly "
            "that network's tensors · the file is incomplete or was changed: get it again"
        )


def task_name(given: str) -> str:
    """Return our name of a task, whichever word was given."""
    return _TASK_WORDS.get(given, given)


def sentence(opened: Opened) -> str:
    """Return in words what an opened file is."""
    return opened.identity.sentence if opened.identity else _own_sentence(opened.card)


def _own_sentence(card: Card) -> str:
    return f"{card.name}, a network for {', '.join(card.tasks) or 'features (no head)'}"


def _check_task(
    where: str,
    task: str | None,
    have: Collection[str],
    sentence: str,
    identity: Identity | None,
) -> None:
    """Raise for a file that is not for ``task`` ("pretrain": an encoder), naming one that is."""
    if task is None:
        return
    name = task_name(task)
    if name in have or (name == "pretrain" and not have):
        return
    if name not in _TASKS:
        raise unknown_name("task", task, _TASKS.union(have))
    entries = [e for e in catalogue().values() if e.task == name and e.loadable]
    if identity is not None:
        size = identity.label if identity.size else None
        entries.sort(key=lambda e: (e.generation != identity.generation, e.size != size))
    article = "an" if name[0] in "aeiou" else "a"
    kind, file = (
        ("pretraining encoder", "pretraining file")
        if name == "pretrain"
        else (f"{name} model", f"{name} file")
    )
    advice = f"wanted {article} {file}"
    if entries:
        advice += f", for example {entries[0].name} · see  vitruvian weights list --task {name}"
    raise WeightsError(f"{where}: this is {sentence}, not {article} {kind} · {advice}")
