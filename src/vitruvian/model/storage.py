# SPDX-License-Identifier: Apache-2.0
"""Files that hold named tensors: what lies where, read on demand, written as a stream.

``open_tensors`` looks at headers only. It reads safetensors, zip-format PyTorch checkpoints
(``.pth``) and folders as transformers writes them, and says by name what a file is when it is
something else: a Git-LFS pointer, a web page, an export, half a download.

Tensor bytes are read with plain file reads straight into their destination. A memory map would
save nothing, since every weight is used, and would tie the network to a file that may change.
"""

import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import torch
from torch import Tensor

from vitruvian.errors import WeightsError
from vitruvian.files import atomic
from vitruvian.model.pickles import PickledTensor, unpickle

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
    )
}
_SAFE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_SAFE_NAME = {name: short for short, name in _SAFE.items()}
_CHUNK = 1 << 24  # bytes converted at a time
_MAX_HEADER = 100 << 20
_LFS = b"version https://git-lfs"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch before 1.6
_INDEX = "model.safetensors.index.json"


class TensorRecord(NamedTuple):
    """One tensor in a file: ``start`` is its byte offset; ``stride`` None means contiguous."""

    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int
    stride: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """The tensors of a file or folder by name, and what else it says about itself.

    ``container`` is the key a checkpoint keeps its tensors under (None: not wrapped), ``config``
    the ``config.json`` of a folder, ``dropped`` the classes a pickle named that were not built.
    """

    path: Path
    kind: Literal["safetensors", "pth", "folder"]
    records: Mapping[str, TensorRecord]
    metadata: Mapping[str, str] = field(default_factory=dict)
    container: str | None = None
    config: Mapping[str, Any] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(math.prod(r.shape) * DTYPES[r.dtype].itemsize for r in self.records.values())


def open_tensors(path: Path) -> TensorFile:
    """Look into a file or folder of tensors without reading the tensors.

    Raises:
        WeightsError: there is nothing, or it is damaged, incomplete or of another kind.
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file · wanted a weights file or a folder with one")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    refuse_stub(path, head, size)
    if head.startswith(b"PK"):
        return _open_zip(path, size)
    if head.startswith(_LEGACY):
        raise WeightsError(
            f"{path}: a checkpoint in the format of PyTorch before 1.6 · wanted the zip format · "
            "write it again with a current torch.save"
        )
    if len(head) > 8 and head[8:9] == b"{":
        return _open_safetensors(path, size)
    raise WeightsError(
        f"{path}: {size:,} bytes of no known weights format · wanted .safetensors or .pth"
    )


def refuse_stub(path: Path, head: bytes, size: int) -> None:
    """Raise when the first bytes show that something else was saved under a weights file's name.

    Raises:
        WeightsError: an empty file, a Git-LFS pointer, a web page or a JSON answer.
    """
    again = "download the file again, for example with  vitruvian weights fetch"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if size == 0:
        raise WeightsError(f"{path}: an empty file (0 bytes) · wanted weights · {again}")
    if head.startswith(_LFS):
        raise WeightsError(
            f"{path}: a Git-LFS pointer ({size} bytes of text), not the weights it points to · "
            f"run  git lfs pull  there, or {again}"
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError(
            f"{path}: a web page, not weights (the link led to a page, not to the file) · {again}"
        )
    if start.startswith((b"{", b"[", b"entry not found", b"invalid ")):
        raise WeightsError(f"{path}: text, not weights: {head[:60]!r} · {again}")


def _open_safetensors(path: Path, size: int) -> TensorFile:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(_MAX_HEADER, size - 8):
            raise _damaged(path, f"its header of {length:,} bytes does not fit {size:,} bytes")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            records = {n: _safe_record(path, 8 + length, e) for n, e in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"its header cannot be read ({error})") from error
    _check_extent(path, records, size)
    return TensorFile(path=path, kind="safetensors", records=records, metadata=metadata)


def _safe_record(path: Path, base: int, entry: Any) -> TensorRecord:
    dtype, shape = _SAFE.get(entry["dtype"]), tuple(int(n) for n in entry["shape"])
    begin, end = entry["data_offsets"]
    if dtype is None:
        raise ValueError(f"element type {entry['dtype']!r} is not supported")
    if min((*shape, begin), default=0) < 0 or end - begin != _bytes(dtype, shape):
        raise ValueError(f"{shape} of {dtype} does not take {end - begin} bytes")
    return TensorRecord(dtype, shape, path, base + begin)


def _check_extent(path: Path, records: Mapping[str, TensorRecord], size: int) -> None:
    end = max((r.start + _bytes(r.dtype, r.shape) for r in records.values()), default=0)
    if end > size:
        raise _damaged(path, f"{size:,} bytes of {end:,}")


def _open_zip(path: Path, size: int) -> TensorFile:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {i.filename.partition("/")[2]: i for i in archive.infolist()}
            flat = {i.filename for i in archive.infolist()}
            _refuse_export(path, entries.keys() | flat)
            if "data.pkl" not in entries:
                raise WeightsError(
                    f"{path}: a zip archive without a checkpoint inside · wanted .pth or "
                    ".safetensors"
                )
            pickled = entries["data.pkl"]
            if pickled.file_size > _MAX_HEADER:
                raise _damaged(path, f"its pickle claims {pickled.file_size:,} bytes")
            if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
                raise WeightsError(f"{path}: written on a big-endian machine · wanted little")
            root, dropped = unpickle(archive.read(pickled), str(path))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, RuntimeError) as error:
        raise _damaged(path, f"{size:,} bytes, {error}") from error
    tensors, container = _mapping_of(path, root)
    with path.open("rb") as file:
        data = {k[5:]: _zip_start(path, file, i) for k, i in entries.items() if k[:5] == "data/"}
    records = {n: _zip_record(path, n, t, data) for n, t in tensors.items()}
    _check_extent(path, records, size)
    return TensorFile(path=path, kind="pth", records=records, container=container, dropped=dropped)


def _zip_start(path: Path, file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where the bytes of a stored zip entry start, and how many there are."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise WeightsError(
            f"{path}: compressed tensors · wanted a checkpoint as torch.save writes it"
        )
    file.seek(entry.header_offset + 26)
    raw = file.read(4)
    if len(raw) < 4:
        raise _damaged(path, "an entry lies behind its end")
    name_length, extra_length = struct.unpack("<HH", raw)
    return entry.header_offset + 30 + name_length + extra_length, entry.file_size


def _zip_record(
    path: Path, name: str, tensor: PickledTensor, data: Mapping[str, tuple[int, int]]
) -> TensorRecord:
    if tensor.storage not in data:
        raise _damaged(path, f"the numbers of {name} are not in it")
    start, nbytes = data[tensor.storage]
    item = DTYPES[tensor.dtype].itemsize
    count = math.prod(tensor.shape)
    span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True))
    if count and (count > tensor.storage_size or (tensor.offset + span) * item > nbytes):
        raise _damaged(path, f"{name} reaches beyond its numbers")
    stride = None if tensor.stride == _contiguous(tensor.shape) else tensor.stride
    return TensorRecord(tensor.dtype, tensor.shape, path, start + tensor.offset * item, stride)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride, step = [], 1
    for n in reversed(shape):
        stride.append(step)
        step *= n
    return tuple(reversed(stride))


def _mapping_of(path: Path, root: Any) -> tuple[dict[str, PickledTensor], str | None]:
    """Find the mapping of names to tensors in what a checkpoint holds."""
    container = None
    if isinstance(root, dict):
        for key in ("state_dict", "model", "teacher"):
            if isinstance(root.get(key), dict):
                container, root = key, root[key]
                break
    if not isinstance(root, dict) or not root:
        raise WeightsError(
            f"{path}: its pickle holds {type(root).__name__} · wanted a mapping of names to "
            "tensors, alone or under state_dict, model or teacher"
        )
    tensors: dict[str, PickledTensor] = {}
    odd: list[str] = []
    for name, value in root.items():
        if isinstance(name, str) and isinstance(value, PickledTensor):
            tensors[name] = value
        else:
            odd.append(str(name))
    if odd:
        raise WeightsError(
            f"{path}: {len(odd)} of {len(root)} entries are no plain tensors with a name "
            f"({', '.join(odd[:3])}) · wanted a mapping of names to tensors"
        )
    return tensors, container


def _refuse_export(path: Path, names: Iterable[str]) -> None:
    names = set(names)
    script = "constants.pkl" in names and any(n.startswith("code/") for n in names)
    export = any(
        n.startswith(("serialized_", "archive_format", "models/", "data/aotinductor"))
        for n in names
    )
    if not (script or export):
        return
    what = "a TorchScript archive" if script else "a torch.export program"
    stem = path.name
    for suffix in (".pt2", ".pt", ".pth", "_torchscript", "_bfloat16"):
        stem = stem.removesuffix(suffix)
    raise WeightsError(
        f"{path}: {what}, which holds a frozen program, not weights · use the original file "
        f"{stem}.pth of the same release instead"
    )


def _open_folder(path: Path) -> TensorFile:
    config = None
    if (path / "config.json").is_file():
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeightsError(f"{path / 'config.json'}: no valid JSON ({error})") from error
    if (path / _INDEX).is_file():
        return _open_shards(path, config)
    files = [path / "model.safetensors"] if (path / "model.safetensors").is_file() else []
    if not files:
        files = sorted(f for f in path.iterdir() if f.suffix in (".safetensors", ".pth"))
    if len(files) != 1:
        found = ", ".join(f.name for f in files[:5]) or "none"
        raise WeightsError(
            f"{path}: a folder with {len(files)} weights files ({found}) · wanted one, or "
            "model.safetensors with config.json · name the file itself"
        )
    inner = open_tensors(files[0])
    if config is None:
        return inner
    return TensorFile(
        path=path,
        kind="folder",
        records=inner.records,
        metadata=inner.metadata,
        container=inner.container,
        config=config,
    )


def _open_shards(path: Path, config: Mapping[str, Any] | None) -> TensorFile:
    try:
        names = json.loads((path / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(names.values()))
        if any(Path(f).name != f for f in files):
            raise ValueError("a part outside the folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path / _INDEX}: no valid index of parts ({error})") from error
    records: dict[str, TensorRecord] = {}
    for file in files:
        records.update(open_tensors(path / file).records)
    return TensorFile(path=path, kind="folder", records=records, config=config)


class TensorReader:
    """Reads the bytes of records; keeps the files open between reads (a context manager)."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[Path, BinaryIO] = {}
        self._buffer: Tensor | None = None

    def __enter__(self) -> "TensorReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_into(self, record: TensorRecord, out: Tensor) -> None:
        """Fill ``out`` (CPU, contiguous, the record's shape) and convert to its dtype.

        Raises:
            WeightsError: the file ends before the tensor does.
        """
        assert out.shape == record.shape, (out.shape, record.shape)
        assert out.is_contiguous()
        if record.stride is not None:
            span = 1 + sum((n - 1) * s for n, s in zip(record.shape, record.stride, strict=True))
            flat = torch.empty(span if out.numel() else 0, dtype=DTYPES[record.dtype])
            self._fill(record, record.start, flat)
            out.copy_(flat.as_strided(record.shape, record.stride))
        elif out.dtype == DTYPES[record.dtype]:
            self._fill(record, record.start, out)
        else:
            # One buffer for all tensors: fresh ones of each size would fragment the heap.
            if self._buffer is None:
                self._buffer = torch.empty(_CHUNK, dtype=torch.uint8)
            flat, buffer = out.view(-1), self._buffer.view(DTYPES[record.dtype])
            for begin in range(0, flat.numel(), len(buffer)):
                part = buffer[: flat.numel() - begin]
                self._fill(record, record.start + begin * part.itemsize, part)
                flat[begin : begin + len(part)].copy_(part)

    def _fill(self, record: TensorRecord, start: int, out: Tensor) -> None:
        if record.path not in self._open:
            self._open[record.path] = self._stack.enter_context(record.path.open("rb", buffering=0))
        file = self._open[record.path]
        file.seek(start)
        view = out.view(-1).view(torch.uint8).numpy().data
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])  # pyright: ignore[reportAttributeAccessIssue]
            if not count:
                raise _damaged(record.path, "its numbers end early")
            done += count


def write_safetensors(
    path: Path,
    layout: Mapping[str, tuple[str, tuple[int, ...]]],
    fill: Callable[[str], Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Write tensors one after the other, holding one at a time; the file appears when complete.

    Args:
        path: where to write; an existing file is replaced at the end.
        layout: name → (dtype name, shape) of every tensor, in the order of the file.
        fill: returns the tensor of a name (any device; that dtype and shape).
        metadata: text values for the header.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, (dtype, shape) in layout.items():
        end = offset + _bytes(dtype, shape)
        header[name] = {
            "dtype": _SAFE_NAME[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as part, part.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name, (dtype, shape) in layout.items():
            tensor = fill(name).detach().to("cpu").contiguous()
            assert tensor.dtype == DTYPES[dtype], name
            assert tuple(tensor.shape) == shape, name
            file.write(tensor.view(-1).view(torch.uint8).numpy().data)


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * DTYPES[dtype].itemsize


def _damaged(path: Path, how: str) -> WeightsError:
    return WeightsError(
        f"{path}: truncated or damaged ({how}) · wanted the whole file · download it again"
    )
