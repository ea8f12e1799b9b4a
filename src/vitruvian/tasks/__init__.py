# SPDX-License-Identifier: Apache-2.0
"""What a network can be asked. ``TASKS`` is the one list: a new task is a module and a line."""

from collections.abc import Mapping
from typing import Any

from vitruvian import vocabulary as vocabularies
from vitruvian.errors import unknown_name
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
        UnknownNameError: for a task or setting that does not exist.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    kind = TASKS[name]
    known = getattr(kind, "__dataclass_fields__", {})
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of task {name!r}", key, known)
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()
    }
    named = values.get("vocabulary")
    if isinstance(named, str):
        values["vocabulary"] = vocabularies.load(named)
    elif isinstance(named, Mapping):
        values["vocabulary"] = rebuild(named)
    return kind(**values)
