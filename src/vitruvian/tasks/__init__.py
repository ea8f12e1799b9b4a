# SPDX-License-Identifier: Apache-2.0
"""What a network can be asked. ``TASKS`` is the one list: a new task is a module and a line."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from vitruvian import vocabulary as vocabularies
from vitruvian.errors import InputError, unknown_name
from vitruvian.tasks.depth import Depth
from vitruvian.tasks.normals import Normals
from vitruvian.tasks.parts import Parts
from vitruvian.tasks.pose import Pose
from vitruvian.tasks.task import Framing, Task, View
from vitruvian.vocabularies.description import rebuild

__all__ = ["TASKS", "Depth", "Framing", "Normals", "Parts", "Pose", "Task", "View", "make"]

TASKS: dict[str, type[Task]] = {"pose": Pose, "parts": Parts, "depth": Depth, "normals": Normals}


def make(name: str, **settings: Any) -> Task:
    """Build a task by name from JSON values: lists stand for tuples.

    ``vocabulary`` may be a name, a .toml file, or a description (`vocabularies.description`).

    Raises:
        UnknownNameError: for a task, setting or choice that does not exist.
        InputError: for a value of another kind than the setting's.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    kind = TASKS[name]
    known = getattr(kind, "__dataclass_fields__", {})
    for key, value in settings.items():
        if key not in known:
            raise unknown_name(f"setting of task {name!r}", key, known)
        _check(f"{key} of task {name!r}", known[key].type, value)
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()
    }
    named = values.get("vocabulary")
    if isinstance(named, str):
        values["vocabulary"] = vocabularies.load(named)
    elif isinstance(named, Mapping):
        values["vocabulary"] = rebuild(named)
    return kind(**values)


_KINDS = {
    float: ((int, float), "a number"),
    int: (int, "a whole number"),
    bool: (bool, "true or false"),
}


def _check(what: str, kind: Any, value: Any) -> None:
    """Refuse values that a file or a command line may hold and a setting cannot."""
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise unknown_name(what, str(value), get_args(kind))
    wanted, words = _KINDS.get(kind, (object, ""))
    if not isinstance(value, wanted) or (kind in (int, float) and isinstance(value, bool)):
        raise InputError(f"{what} is {value!r} · wanted {words}")
