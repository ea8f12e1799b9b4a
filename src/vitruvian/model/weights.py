# SPDX-License-Identifier: Apache-2.0
"""Load, check and convert weights: our own files and every published Sapiens and Sapiens2 file.

Loading builds the network on the meta device and reads each tensor from the file straight into
its place, so there is never a second copy. It is strict both ways: what is missing, left over or
of the wrong shape is an error with counts and examples. Pickles are never executed.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitruvian.errors import InputError, WeightsError, unknown_name
from vitruvian.model.architecture import Hints, decoder_config, network_config
from vitruvian.model.card import KEY, Card, Source, published_card
from vitruvian.model.catalogue import catalogue, entry_of, find
from vitruvian.model.identify import Identity, identify
from vitruvian.model.mae import MAE, Decoder, MAEConfig
from vitruvian.model.names import Piece, Shape, ignored, published_pieces
from vitruvian.model.network import Network
from vitruvian.model.storage import (
    DTYPES,
    TensorFile,
    TensorReader,
    open_tensors,
    write_safetensors,
)

M = TypeVar("M", bound=nn.Module)
DType = torch.dtype | str | None
_DTYPE_WORDS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_TASK_WORDS = {"seg": "parts", "normal": "normals"}  # the words published files use


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


def load_network(
    path: str | Path,
    *,
    task: str | None = None,
    device: str | torch.device = "cpu",
    dtype: DType = None,
    **hints: Unpack[Hints],
) -> Network:
    """Load a network; see ``load``, of which this returns the first part."""
    return load(path, task=task, device=device, dtype=dtype, **hints)[0]


def load(
    path: str | Path,
    *,
    task: str | None = None,
    device: str | torch.device = "cpu",
    dtype: DType = None,
    **hints: Unpack[Hints],
) -> tuple[Network, Card]:
    """Load a network and its card, in evaluation mode.

    A pretraining file gives a network without heads: ``network.features`` works.

    Args:
        path: a file, a folder as transformers writes it, a name of the catalogue
            (``sapiens-pose-308-1b``), or ``hf:org/name[@revision]``. Nothing is downloaded.
        task: what the file must be for; of a file with several heads, only this one is loaded.
        device: where the tensors go; "meta" checks the file without reading it.
        dtype: of the weights, such as ``torch.bfloat16`` or "bf16"; by default as stored.
        **hints: what the file cannot show, see ``Hints``; published sizes need none.

    Raises:
        WeightsError: no such file, damaged, not the network it should be, or for another task.
        UnknownNameError: not a path and not a known name.
    """
    opened = open_weights(path, task=task, **hints)
    card, network = replace(opened.card, decoder=None), opened.network
    if task is not None and len(card.tasks) > 1:
        card = card.only(_task(task))
        network = _build(lambda: Network(card.network))
    tensors = _read(opened, network.state_dict(), torch.device(device), dtype)
    network.load_state_dict(tensors, assign=True)
    return network.eval(), card


def load_mae(
    path: str | Path,
    *,
    decoder_heads: int | None = None,
    device: str | torch.device = "cpu",
    dtype: DType = None,
    **hints: Unpack[Hints],
) -> MAE:
    """Load a first-generation pretraining file with its decoder, to continue pretraining.

    Arguments are those of ``load``; ``decoder_heads`` are the decoder's attention heads, for a
    width other than the published 512.

    Raises:
        WeightsError: as ``load``, and for a file without decoder.
    """
    opened = open_weights(path, decoder_heads=decoder_heads, **hints)
    if not any(name.startswith("decoder.") for name in opened.shapes):
        raise WeightsError(
            f"{path}: this is {_sentence(opened)}, without a pretraining decoder · wanted the "
            "first-generation file whose name does not end in _clean"
        )
    decoder = opened.card.decoder
    if decoder is None:
        assert opened.identity is not None
        decoder = decoder_config(opened.identity, where=str(path), decoder_heads=decoder_heads)
    model = _build(lambda: MAE(opened.card.network.backbone, decoder))
    names = {n.replace("encoder.", "backbone.", 1): n for n in model.state_dict()}
    tensors = _read(opened, names, torch.device(device), dtype)
    model.load_state_dict({names[n]: t for n, t in tensors.items()}, assign=True)
    return model


def convert(
    source: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    vocabulary: str | None = None,
    decoder_heads: int | None = None,
    dtype: DType = None,
    **hints: Unpack[Hints],
) -> Card:
    """Write weights as one self-describing safetensors file, tensor by tensor, and return its card.

    The file appears only when it is complete. Loading it needs no further argument and gives the
    same numbers as loading the source (of that ``dtype``).

    Args:
        source: as ``path`` of ``load``.
        out: ends in ``.safetensors``; replaced if it exists.
        task: what the source must be for; of several heads only this one is written.
        vocabulary: names of the points or parts, where their count does not tell.
        decoder_heads: see ``load_mae``.
        dtype: of the numbers in the file; by default as in the source.
        **hints: see ``Hints``.

    Raises:
        WeightsError: as ``load``.
        InputError: ``out`` is the source or has another suffix.
    """
    out = Path(out)
    opened = open_weights(
        source,
        task=task,
        vocabulary=vocabulary,
        decoder_heads=decoder_heads,
        **hints,
    )
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: given suffix {out.suffix!r} · wanted .safetensors")
    paths = sorted({r.path for r in opened.file.records.values()})
    if any(out.exists() and out.samefile(p) for p in paths):
        raise InputError(f"{out}: the source itself · wanted another file to write to")
    card = opened.card
    if opened.identity is not None:
        if opened.identity.layout.decoder and card.decoder is None:
            decoder_config(opened.identity, where=str(source), decoder_heads=decoder_heads)
        kept = card.source or Source(file=opened.file.path.name)
        card = replace(card, source=replace(kept, sha256=_checksum(paths)))
    if task is not None and len(card.tasks) > 1:
        card = card.only(_task(task))
    names = _build(lambda: Network(card.network)).state_dict().keys()
    shapes = {n: s for n, s in opened.shapes.items() if n in names or n.startswith("decoder.")}
    target = _dtype(opened.file, dtype)
    layout = {n: (str(target).removeprefix("torch."), s) for n, s in shapes.items()}
    records = _records(opened)
    with TensorReader() as reader:

        def fill(name: str) -> Tensor:
            return _tensor(reader, records[name], shapes[name], target)

        write_safetensors(out, layout, fill, {"format": "pt", KEY: card.to_json()})
    return card


def save(path: str | Path, network: Network, card: Card) -> None:
    """Write a network and its card as one self-describing file, whole or not at all.

    Raises:
        InputError: the card describes another network, or ``path`` has another suffix.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: given suffix {path.suffix!r} · wanted .safetensors")
    if card.network != network.config:
        raise InputError(f"{path}: the card {card.name!r} describes another network than this one")
    tensors = network.state_dict()
    layout = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, layout, tensors.__getitem__, {"format": "pt", KEY: card.to_json()})


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
    path = find(name)
    file = open_tensors(path)
    where = str(path)
    if KEY in file.metadata:
        return _open_own(file, where, task, vocabulary, {**hints, "decoder_heads": decoder_heads})
    identity = identify({n: r.shape for n, r in file.records.items()}, file.config, where=where)
    if task is not None and _task(task) != identity.task:
        raise _wrong_task(where, identity.sentence, _task(task), identity)
    record = entry_of(path)
    if record is not None and record.patch_padding is not None and "patch_padding" not in hints:
        hints["patch_padding"] = record.patch_padding
    config = network_config(identity, where=where, **hints)
    network = _build(lambda: Network(config))
    drawn = decoder_config(identity, where=where, decoder_heads=decoder_heads or 1)
    shapes = _shapes(network, drawn)
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
    file = open_tensors(find(name))
    if KEY in file.metadata:
        return _own_sentence(Card.from_json(file.metadata[KEY], where=str(name)))
    shapes = {n: r.shape for n, r in file.records.items()}
    return identify(shapes, file.config, where=str(name)).sentence


def _open_own(
    file: TensorFile, where: str, task: str | None, vocabulary: str | None, given: dict[str, Any]
) -> Opened:
    card = Card.from_json(file.metadata[KEY], where=where)
    useless = [name for name, value in given.items() if value is not None]
    if useless:
        raise WeightsError(
            f"{where}: {', '.join(useless)} given, but the file says so itself · leave it out"
        )
    if task is not None and _task(task) not in card.tasks:
        raise _wrong_task(where, _own_sentence(card), _task(task), None)
    if vocabulary is not None:
        tasks = {n: replace(t, vocabulary=vocabulary) for n, t in card.tasks.items()}
        card = replace(card, tasks=tasks)
    network = _build(lambda: Network(card.network))
    shapes = _shapes(network, card.decoder)
    pieces = {n: Piece(n, 0, s[0]) for n, s in shapes.items()}
    _compare(file, list(file.records), pieces, shapes, f"{where}: {_own_sentence(card)}, but")
    return Opened(
        file=file, card=card, identity=None, network=network, pieces=pieces, shapes=shapes
    )


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


def _build(make: Callable[[], M]) -> M:
    """Build a module on the meta device, without memory and starting values."""
    with _Unfilled(), torch.device("meta"):
        return make()


def _shapes(network: Network, decoder: MAEConfig | None) -> dict[str, Shape]:
    """Return the shapes of a network's state dict, and of its decoder as ``decoder.…``."""
    state = network.state_dict()
    if decoder is not None:
        parts = _build(lambda: Decoder(network.config.backbone, decoder)).state_dict()
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


def _records(opened: Opened) -> dict[str, list[tuple[str, Piece]]]:
    """Group the file's tensors by the tensor of ours they are rows of."""
    grouped: dict[str, list[Any]] = {n: [] for n in opened.shapes}
    for name, piece in opened.pieces.items():
        grouped[piece.ours].append((opened.file.records[name], piece))
    return grouped


def _read(
    opened: Opened, names: Iterable[str], device: torch.device, dtype: DType
) -> dict[str, Tensor]:
    """Read tensors of ours onto a device, one after the other."""
    target = _dtype(opened.file, dtype)
    if device.type == "meta":
        return {n: torch.empty(opened.shapes[n], dtype=target, device="meta") for n in names}
    records = _records(opened)
    with TensorReader() as reader:
        return {n: _tensor(reader, records[n], opened.shapes[n], target).to(device) for n in names}


def _tensor(reader: TensorReader, parts: Iterable[Any], shape: Shape, dtype: torch.dtype) -> Tensor:
    out = torch.empty(shape, dtype=dtype)
    for record, piece in parts:
        reader.read_into(record, out[piece.begin : piece.end])
    return out


def _dtype(file: TensorFile, given: DType) -> torch.dtype:
    """Return the dtype asked for, or the one most numbers of the file have."""
    if isinstance(given, torch.dtype):
        return given
    if given is not None:
        word = _DTYPE_WORDS.get(given, given)
        if word not in ("float32", "bfloat16", "float16", "float64"):
            raise unknown_name("dtype", given, ("float32", "bfloat16", "float16"))
        return DTYPES[word]
    counts: Counter[str] = Counter()
    for record in file.records.values():
        counts[record.dtype] += math.prod(record.shape)
    return DTYPES[counts.most_common(1)[0][0]]


def _task(given: str) -> str:
    return _TASK_WORDS.get(given, given)


def _sentence(opened: Opened) -> str:
    return opened.identity.sentence if opened.identity else _own_sentence(opened.card)


def _own_sentence(card: Card) -> str:
    return f"{card.name}, a network for {', '.join(card.tasks) or 'features (no head)'}"


def _wrong_task(where: str, sentence: str, task: str, identity: Identity | None) -> InputError:
    """Build the error for a file of one task where another is wanted, naming one that would do."""
    entries = [e for e in catalogue().values() if e.task == task and e.loadable]
    if not entries and identity is not None and task not in ("albedo",):
        return unknown_name("task", task, {e.task for e in catalogue().values()} | {"albedo"})
    if identity is not None:
        size = identity.label if identity.size else None
        entries.sort(key=lambda e: (e.generation != identity.generation, e.size != size))
    example = f", for example {entries[0].name}" if entries else ""
    return WeightsError(
        f"{where}: this is {sentence}, not a {task} model · wanted a {task} file{example} · see  "
        f"vitruvian weights list --task {task}"
    )


def _checksum(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
