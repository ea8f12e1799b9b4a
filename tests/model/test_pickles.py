# SPDX-License-Identifier: Apache-2.0
"""Pickles are read, never executed: hostile ones do nothing, odd ones are told apart."""

import builtins
import contextlib
import io
import os
import pickle
import struct
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import WeightsError
from vitruvian.model.pickles import Placeholder, unpickle
from vitruvian.model.storage import TensorReader, open_tensors

# ------------------------------------------------------------------------------- hostile pickles


class _Call:
    """Pickles to a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def _payloads(mark: Path) -> dict[str, bytes]:
    """Return pickles that would create ``mark`` if anything in them ran."""
    code = f"open({str(mark)!r}, 'w').close()"
    shell = f"touch {mark}"
    writer = (b"cbuiltins\nopen\n", str(mark).encode())
    calls = {
        "os.system": _Call(os.system, shell),
        "eval": _Call(eval, code),
        "exec": _Call(exec, code),
        "subprocess": _Call(subprocess.call, ["touch", str(mark)]),
        "nested": {"meta": [({"a": _Call(os.system, shell)},)], "state_dict": {}},
        "key": {_Hashed(exec, code): 1},
        "torch.load": _Call(torch.storage._load_from_bytes, b"x"),
    }
    payloads = {name: pickle.dumps(value, protocol=2) for name, value in calls.items()}
    payloads |= {
        # Opcodes by hand: what pickle.dumps would never write.
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0dexec.__call__\x93X"
        + struct.pack("<I", len(code))
        + code.encode()
        + b"\x85R.",
        "getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'"
        + shell.encode()
        + b"'\ntR.",
        "inst": b"(S'" + code.encode() + b"'\nibuiltins\nexec\n.",
        "obj": b"(cbuiltins\nexec\nS'" + code.encode() + b"'\no.",
        "open": b"\x80\x02" + writer[0] + b"(S'" + writer[1] + b"'\nS'w'\ntR.",
        "build": b"\x80\x02cos\nsystem\n}S'__setstate__'\ncos\nsystem\nsb"
        b"S'" + shell.encode() + b"'\nb.",
        "newobj": b"\x80\x02cos\nsystem\n(S'" + shell.encode() + b"'\nt\x81.",
    }
    return payloads


class _Hashed(_Call):
    def __hash__(self) -> int:
        return 1


NAMES = sorted(_payloads(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickle_does_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "m"
    data = _payloads(mark)[name]
    try:
        result = unpickle(data, "file.pth")
    except WeightsError:
        result = None
    assert not mark.exists()
    # What came back holds nothing that could run either.
    assert result is None or not callable(result.root) or isinstance(result.root, Placeholder)


def test_payloads_would_run_elsewhere(tmp_path: Path) -> None:
    mark = tmp_path / "m"
    ran = set()
    for name, data in _payloads(mark).items():
        with contextlib.suppress(Exception):  # some payloads break after they ran
            pickle.loads(data).close()  # the one that opens a file
        if mark.exists():
            ran.add(name)
            mark.unlink()
    assert {"os.system", "eval", "exec", "nested", "getattr", "open", "inst", "dotted"} <= ran


@pytest.mark.parametrize("name", NAMES)
def test_hostile_checkpoint_does_nothing(name: str, tmp_path: Path) -> None:
    import zipfile

    mark = tmp_path / "m"
    path = tmp_path / "bad.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad/data.pkl", _payloads(mark)[name])
    with pytest.raises(WeightsError):
        open_tensors(path)
    assert not mark.exists()


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_our_error(data: bytes) -> None:
    with contextlib.suppress(WeightsError):
        unpickle(b"\x80\x02" + data, "noise.pth")


@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_checkpoint_pickles_raise_only_our_error(place: int, value: int) -> None:
    data = bytearray(GOOD)
    data[place % len(data)] = value
    with contextlib.suppress(WeightsError):
        unpickle(bytes(data), "file.pth")


def _pickle_of(value: Any) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        return archive.read(name)


GOOD = _pickle_of({"state_dict": OrderedDict(a=torch.zeros(2, 3), b=torch.zeros(4)), "meta": {}})


def test_one_pickle_cannot_prepare_the_next() -> None:
    # BUILD with a slot state sets attributes on whatever is on the stack: here, on the class.
    attack = b"\x80\x02cevil\nThing\n(N}S'__call__'\ncbuiltins\nlist\nsttb."
    with pytest.raises(WeightsError):
        unpickle(attack, "file.pth")
    assert Placeholder.__call__(Placeholder(), 1).__class__ is Placeholder
    attack = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}S'__call__'\ncbuiltins\nlist\nstb."
    with pytest.raises(WeightsError):
        unpickle(attack, "file.pth")
    state = unpickle(_pickle_of({"w": torch.zeros(2, 3)}), "file.pth").root
    assert state["w"].shape == (2, 3)


@pytest.mark.parametrize("data", [b"\x80\x02Nr\xff\xff\xff\x7f.", b"\x80\x02Np999999999\n."])
def test_a_few_bytes_cannot_fill_memory(data: bytes) -> None:
    with pytest.raises(WeightsError, match="PUT"):
        unpickle(data, "file.pth")


def test_sizes_are_checked() -> None:
    import pickletools

    data = _pickle_of({"w": torch.zeros(2, 3)})
    assert any(op.name == "BINPERSID" for op, _, _ in pickletools.genops(data))
    with pytest.raises(WeightsError, match="whole numbers"):
        unpickle(data.replace(b"K\x02K\x03\x86", b"K\x02J\xfd\xff\xff\xff\x86", 1), "f")


# ---------------------------------------------------------------------------- framework objects


class ConfigDict(dict):  # stands for the class of a training framework
    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (_framework, ({"deep": 1},), {"_state": [1]}, None, iter(self.items()))


def _framework(*_: Any) -> "ConfigDict":
    return ConfigDict()


def test_framework_objects_are_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    import numpy as np

    meta = {
        "config": ConfigDict(a=1, b=[ConfigDict()]),
        "mean": np.arange(3.0),
        "sigma": np.float32(2),
        "names": {"a", "b"},
        "path": Path("/tmp"),
        "epoch": 7,
    }
    path = tmp_path / "model.pth"
    torch.save({"meta": meta, "state_dict": OrderedDict(w=torch.arange(6.0).reshape(2, 3))}, path)
    file = open_tensors(path)
    assert file.container == "state_dict"
    assert list(file.records) == ["w"]
    assert any("numpy" in name for name in file.dropped)
    assert any("_framework" in name for name in file.dropped)
    out = torch.empty(2, 3)
    with TensorReader() as reader:
        reader.read_into(file.records["w"], out)
    assert torch.equal(out, torch.arange(6.0).reshape(2, 3))


def test_placeholder_swallows_everything() -> None:
    thing = Placeholder(1, a=2)
    thing["key"] = 1
    thing.append(1)
    thing.extend([1])
    thing.add(1)
    thing.__setstate__({"x": 1})
    assert thing(1)(2) is thing
    assert not vars(builtins).get("vitruvian_was_here")
    with pytest.raises(AttributeError):
        thing.x = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Placeholder.x = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"state_dict": {"w": [1, 2]}}, "no plain tensors"),
        ({"w": torch.zeros(2), "lr": 0.1}, "no plain tensors"),
        ([torch.zeros(2)], "holds list"),
        ({}, "holds dict"),
        ({1: torch.zeros(2)}, "no plain tensors"),
    ],
)
def test_what_is_no_mapping_of_tensors_is_refused(value: Any, says: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=says):
        open_tensors(tmp_path / "odd.pth")


# -------------------------------------------------------------------------------- tensor values


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_views_parameters_and_dtypes_are_read_right(dtype: torch.dtype, tmp_path: Path) -> None:
    base = (torch.randn(6, 8) * 5).to(dtype)
    state = {
        "whole": base,
        "rows": base[2:4],
        "transposed": base.t(),
        "columns": base[:, 1:3],
        "scalar": base[0, 0],
        "empty": base[:0],
    }
    if dtype.is_floating_point:
        state["parameter"] = torch.nn.Parameter(base.clone())
    path = tmp_path / "views.pth"
    torch.save(state, path)
    file = open_tensors(path)
    with TensorReader() as reader:
        for name, wanted in state.items():
            out = torch.empty(wanted.shape, dtype=dtype)
            reader.read_into(file.records[name], out)
            assert torch.equal(out, wanted), name
