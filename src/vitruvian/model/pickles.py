# SPDX-License-Identifier: Apache-2.0
"""Read the pickle inside a PyTorch checkpoint without letting it run anything.

A pickle is a little program: it may name any importable object and call it. Published checkpoints
use that for framework objects (configuration dictionaries, numpy scalars) nobody needs to read
weights. Here a name is never imported. The few that describe tensors map to our own inert
stand-ins, plain containers to Python's, and everything else to ``Placeholder``, which swallows
whatever a pickle does to an object. Tensors come back as ``PickledTensor``: where their numbers
lie, not the numbers.
"""

import io
import pickle
import pickletools
from collections import OrderedDict
from typing import Any, NamedTuple, NoReturn

from vitruvian.errors import WeightsError

# Storage classes of PyTorch and the element type each holds.
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

# Containers and numbers a pickle may build. Left out on purpose: what imports (str with an
# encoding), what allocates from a number (bytes, range), and everything that calls or looks up.
_PLAIN = {c.__name__: c for c in (dict, list, tuple, set, frozenset, int, float, bool, complex)}


class PickledTensor(NamedTuple):
    """A tensor a checkpoint describes; offsets and strides count elements of its storage."""

    dtype: str
    storage: str
    storage_size: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Unpickled(NamedTuple):
    """What a pickle holds, and the names of the classes that were replaced by placeholders."""

    root: Any
    dropped: tuple[str, ...]


class _Sealed(type):
    """A class whose attributes cannot be set, so that one pickle cannot prepare the next."""

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{cls.__name__} is sealed")


class Placeholder(metaclass=_Sealed):
    """Stands for an object of an unknown class: accepts every operation and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> "Placeholder":
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Ignore the arguments."""

    def __call__(self, *args: object, **kwargs: object) -> "Placeholder":
        """Ignore the call."""
        return self

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore the item."""

    def append(self, item: object) -> None:
        """Ignore the item."""

    def extend(self, items: object) -> None:
        """Ignore the items."""

    def add(self, item: object) -> None:
        """Ignore the item."""


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int


class _RebuildTensor:
    """``torch._utils._rebuild_tensor`` and ``_v2``: note down the view, make nothing."""

    __slots__ = ()

    def __call__(
        self, storage: object, offset: object, shape: object, stride: object, *_: object
    ) -> PickledTensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        shape, stride = _sizes(shape), _sizes(stride)
        if len(shape) != len(stride):
            raise pickle.UnpicklingError("a tensor with as many strides as sizes is needed")
        (offset,) = _sizes((offset,))
        return PickledTensor(storage.dtype, storage.key, storage.size, offset, shape, stride)


class _RebuildParameter:
    """``torch._utils._rebuild_parameter``: the tensor it wraps."""

    __slots__ = ()

    def __call__(self, tensor: object, *_: object) -> PickledTensor:
        if not isinstance(tensor, PickledTensor):
            raise pickle.UnpicklingError("a parameter without a tensor")
        return tensor


# Instances without attributes rather than functions: a pickle can set attributes of functions.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    ("torch", "Size"): tuple,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
    **{("builtins", name): kind for name, kind in _PLAIN.items()},
    **{("__builtin__", name): kind for name, kind in _PLAIN.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.dropped: set[str] = set()

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = _KNOWN.get((module_name, global_name))
        if known is None:
            self.dropped.add(f"{module_name}.{global_name}")
            return Placeholder
        return known

    def persistent_load(self, pid: Any) -> _Storage:
        try:
            tag, dtype, key, _, size = pid
        except (TypeError, ValueError):
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}") from None
        if tag != "storage" or dtype not in _STORAGES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        (size,) = _sizes((size,))
        return _Storage(dtype, key, size)


def unpickle(data: bytes, where: str) -> Unpickled:
    """Read a checkpoint's pickle; nothing in it is imported, called or executed.

    Args:
        data: the bytes of the pickle (``data.pkl`` of a checkpoint).
        where: the file's name for the message of an error.

    Raises:
        WeightsError: the pickle is damaged or does what no checkpoint does.
    """
    reader = _Unpickler(data)
    try:
        _check_opcodes(data)
        root = reader.load()
    except MemoryError:
        raise
    except Exception as error:  # a hostile or damaged pickle can raise anything
        raise WeightsError(
            f"{where}: its pickle cannot be read ({type(error).__name__}: {error}) · wanted a "
            "PyTorch checkpoint · download the file again"
        ) from error
    return Unpickled(root, tuple(sorted(reader.dropped)))


def _check_opcodes(data: bytes) -> None:
    """Refuse what no checkpoint holds: memo numbers that would fill memory, extension codes."""
    for opcode, argument, _ in pickletools.genops(data):
        memo = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if (memo and argument and argument > len(data)) or opcode.name.startswith("EXT"):
            raise pickle.UnpicklingError(f"opcode {opcode.name} {argument}")


def _sizes(values: object) -> tuple[int, ...]:
    """Check that a pickle gave non-negative whole numbers where sizes belong."""
    if not isinstance(values, tuple | list):
        raise pickle.UnpicklingError(f"sizes given as {type(values).__name__}")
    if not all(type(v) is int and 0 <= v < 1 << 62 for v in values):
        raise pickle.UnpicklingError("sizes that are no whole numbers from 0")
    return tuple(values)
