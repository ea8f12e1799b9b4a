# SPDX-License-Identifier: Apache-2.0
"""Configurations of networks as plain JSON values and back, without guessing.

A configuration is a frozen keyword-only dataclass of numbers, words, tuples and further
configurations. ``to_plain`` writes every field; ``from_plain`` refuses unknown keys, missing keys
and values of the wrong type, so a file from another version is noticed instead of half understood.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vitruvian.errors import InputError, unknown_name

T = TypeVar("T")


def to_plain(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration as JSON values (tuples become lists)."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def from_plain(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build a configuration of ``kind`` from what ``to_plain`` wrote.

    Raises:
        InputError: ``data`` is not a mapping, lacks a required key, or a value has the wrong type.
        UnknownNameError: a key that is no field of ``kind``.
    """
    name = kind.__name__
    if not isinstance(data, Mapping):
        raise InputError(f"{name}: given {type(data).__name__} · wanted a mapping of its fields")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    for key in data:
        if key not in fields:
            raise unknown_name(f"field of {name}", str(key), fields)
    absent = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in data
    ]
    if absent:
        raise InputError(f"{name}: given {sorted(data)} · wanted also {', '.join(absent)}")
    hints = get_type_hints(kind)
    return kind(**{k: _parse(v, hints[k], f"{name}.{k}") for k, v in data.items()})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _parse(value: Any, hint: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in args:
            raise unknown_name(f"value of {where}", str(value), [str(a) for a in args])
        return value
    if origin in (Union, types.UnionType):
        kinds = tuple(a for a in args if a is not type(None))
        if value is None and type(None) in args:
            return None
        if dataclasses.is_dataclass(value) and isinstance(value, kinds):
            return value
        (inner,) = kinds
        return _parse(value, inner, where)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: given {value!r} · wanted a mapping")
        return dict(value)
    if origin is tuple:
        return _parse_tuple(value, args, where)
    if not isinstance(hint, type):
        raise TypeError(f"{where}: no rule to read {hint}")
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_plain(hint, value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a kind of int in Python; a true/false where a number belongs is a mistake here.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where}: given {value!r} · wanted {hint.__name__}")
    return value


def _parse_tuple(value: Any, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: given {value!r} · wanted a list")
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise InputError(f"{where}: given {len(value)} values · wanted {len(args)}")
    return tuple(_parse(v, a, where) for v, a in zip(value, args, strict=True))
