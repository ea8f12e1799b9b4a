# SPDX-License-Identifier: Apache-2.0
"""Load and convert weights: our own files and every published Sapiens and Sapiens2 file.

Loading builds the network on the meta device and reads each tensor from the file straight into
its place, so there is never a second copy. What a file must hold is checked first (``opening``).
Pickles are never executed.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from vitruvian.errors import InputError, WeightsError, unknown_name
from vitruvian.model.architecture import Hints, check_hints, decoder_config
from vitruvian.model.card import KEY, Card, Source
from vitruvian.model.mae import MAE
from vitruvian.model.names import Piece, Shape
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.opening import (
    Opened,
    build,
    open_weights,
    sentence,
    task_name,
    tensor_shapes,
)
from vitruvian.model.storage import DTYPES, TensorFile, TensorReader, write_safetensors

DType = torch.dtype | str | None
_DTYPE_WORDS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


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
    A file whose names all begin with ``module.``, as distributed training writes them, is read
    without that prefix.

    Args:
        path: a file, a folder as transformers writes it, a name of the catalogue
            (``sapiens-pose-308-1b``), or ``hf:org/name[@revision]``. Nothing is downloaded.
        task: what the file must be for ("pretrain": an encoder); of a file with several heads,
            only this one is loaded.
        device: where the tensors go; "meta" checks the file without reading it.
        dtype: of the weights, such as ``torch.bfloat16`` or "bf16"; by default as stored.
        **hints: what the file cannot show, see ``Hints``; published sizes need none. One set of
            hints can serve both generations: ``rotary_dtype`` changes nothing in the first.

    Raises:
        WeightsError: no such file, damaged, not the network it should be, or for another task.
        UnknownNameError: not a path and not a known name, or no known task or hint.
        InputError: a hint with an impossible value.
    """
    opened = open_weights(path, task=task, **check_hints(hints))
    card, network = replace(opened.card, decoder=None), opened.network
    if task is not None and len(card.tasks) > 1:
        card = card.only(task_name(task))
        network = build(lambda: Network(card.network))
    tensors = _read(opened, network.state_dict(), torch.device(device), dtype)
    network.load_state_dict(tensors, assign=True)
    assert not any(b.is_meta for b in network.buffers()), "a buffer that no file fills"
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
    opened = open_weights(path, decoder_heads=decoder_heads, **check_hints(hints))
    if not any(name.startswith("decoder.") for name in opened.shapes):
        raise WeightsError(
            f"{path}: this is {sentence(opened)}, without a pretraining decoder · wanted the "
            "first-generation file whose name does not end in _clean"
        )
    decoder = opened.card.decoder
    if decoder is None:
        assert opened.identity is not None
        decoder = decoder_config(opened.identity, where=str(path), decoder_heads=decoder_heads)
    model = build(lambda: MAE(opened.card.network.backbone, decoder))
    names = {_own_name(n): n for n in model.state_dict()}
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
        vocabulary: names of the points or parts, where their count does not tell; goes to the
            head for pose or parts, the only ones that have names.
        decoder_heads: see ``load_mae``.
        dtype: of the numbers in the file; by default as in the source.
        **hints: see ``Hints``.

    Raises:
        WeightsError: as ``load``.
        InputError: ``out`` is the source or has another suffix, a hint has an impossible value,
            or there is no head, or more than one, that ``vocabulary`` could name.
    """
    out = Path(out)
    opened = open_weights(
        source,
        task=task,
        vocabulary=vocabulary,
        decoder_heads=decoder_heads,
        **check_hints(hints),
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
        card = card.only(task_name(task))
    names = build(lambda: Network(card.network)).state_dict().keys()
    shapes = {n: s for n, s in opened.shapes.items() if n in names or n.startswith("decoder.")}
    target = _dtype(opened.file, dtype)
    layout = {n: (str(target).removeprefix("torch."), s) for n, s in shapes.items()}
    records = _records(opened)
    with TensorReader() as reader:

        def fill(name: str) -> Tensor:
            return _tensor(reader, records[name], shapes[name], target)

        write_safetensors(out, layout, fill, {"format": "pt", KEY: card.to_json()})
    return card


def save(
    path: str | Path,
    network: Network | MAE,
    card: Card,
    *,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network and its card as one self-describing file, whole or not at all.

    A ``MAE`` is written with its decoder, for ``load_mae``; ``load`` reads its encoder. ``notes``
    are further entries of the file's metadata, for people: loading ignores them.

    Raises:
        InputError: the card describes another network, or ``path`` has another suffix.
    """
    if isinstance(network, MAE):
        config = NetworkConfig(backbone=network.encoder.config)
        card = replace(card, decoder=network.config)
    else:
        config, card = network.config, replace(card, decoder=None)
    if card.network != config:
        raise InputError(f"{path}: the card {card.name!r} describes another network than this one")
    save_tensors(path, network.state_dict(), card, notes=notes)


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    card: Card,
    *,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the state of the network that a card describes, as ``save`` does.

    Args:
        path: ends in ``.safetensors``; replaced if it exists.
        tensors: of a ``Network``, or of a ``MAE`` where the card has a decoder.
        card: describes them.
        notes: further entries of the file's metadata.

    Raises:
        InputError: these are not that network's tensors, or ``path`` has another suffix.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: given suffix {path.suffix!r} · wanted .safetensors")
    if card.decoder is not None:
        tensors = {_own_name(name): tensor for name, tensor in tensors.items()}
    network = build(lambda: Network(card.network))
    wanted = tensor_shapes(network, card.decoder)
    other = wanted.items() ^ {(name, tuple(t.shape)) for name, t in tensors.items()}
    if other:
        name = min(name for name, _ in other)
        given = tuple(tensors[name].shape) if name in tensors else "missing"
        raise InputError(
            f"{path}: the card {card.name!r} describes another network: {name} {given} · wanted "
            f"{wanted.get(name, 'no such name')}"
        )
    layout = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    about = {**(notes or {}), "format": "pt", KEY: card.to_json()}
    write_safetensors(path, layout, tensors.__getitem__, about)


def _own_name(name: str) -> str:
    """Return the name in our files of a tensor of a ``MAE``."""
    return name.replace("encoder.", "backbone.", 1) if name.startswith("encoder.") else name


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


def _checksum(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
