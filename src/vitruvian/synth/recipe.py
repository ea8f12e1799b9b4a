# SPDX-License-Identifier: Apache-2.0
"""What a rendered picture was made from, as JSON, so that it can be made again.

A picture is a pure function of (settings, seed, index, version). A recipe holds those four and,
for people who look for pictures of a kind, every parameter that was drawn from them.

Pictures are made in groups: one posed group of people is seen by ``views`` cameras, each with its
own light and background. Picture ``index`` is view ``index % views`` of group ``index // views``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from vitruvian.errors import InputError, unknown_name

VERSION = 2
"""Rises whenever the same seed and index give another picture."""
Framing = Literal["face", "upper", "full"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
SHARES: Mapping[str, float] = {"face": 0.2, "upper": 0.3, "full": 0.5}
"""How often each framing is drawn when nothing else is asked for."""
STREAMS = ("people", "stand", "camera", "light", "background", "optics", "noise", "scan", "clip")
"""What chance is drawn for; each has a generator of its own, so that they never disturb another."""


def stream(seed: int, index: int, name: str, attempt: int = 0) -> np.random.Generator:
    """Return the generator of one stream of one group or picture."""
    return np.random.default_rng([seed, index, STREAMS.index(name), attempt])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is chosen once for a whole set of pictures.

    Attributes:
        size: (height, width) in pixels.
        shares: framing → how often; scaled to a sum of 1.
        views: pictures per posed group.
        people_max: most people in one picture, 1 … 8.
        children: whether children may appear; adults only otherwise.
        backgrounds: folder of photographs without people, or ``None`` for invented places.
        lights: folder of lat-long .hdr files, or ``None`` for invented light.
        optics: whether pictures get blur, noise and the like.
        detail: how finely people are modelled, 0 … 2; ``None`` decides by the size.
        device: where rays meet people: "cpu", or a GPU of torch such as "cuda".
    """

    size: tuple[int, int] = (1024, 768)
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    views: int = 4
    people_max: int = 8
    children: bool = False
    backgrounds: str | None = None
    lights: str | None = None
    optics: bool = True
    detail: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        if min(self.size) < 16 or max(self.size) > 8192:
            raise InputError(f"pictures have sides of 16 to 8192 pixels, got {self.size}")
        if not 1 <= self.people_max <= 8:
            raise InputError(f"people_max is 1 to 8, got {self.people_max}")
        if self.views < 1:
            raise InputError(f"views per group are 1 or more, got {self.views}")
        for name, share in self.shares.items():
            if name not in FRAMINGS:
                raise unknown_name("framing", name, FRAMINGS)
            if not 0 <= share < float("inf"):
                raise InputError(f"the share of framing {name!r} is 0 or more, got {share}")
        total = sum(self.shares.values())
        if not total > 0:
            raise InputError("at least one framing needs a share above 0")
        scaled = {name: float(self.shares.get(name, 0)) / total for name in FRAMINGS}
        object.__setattr__(self, "shares", scaled)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_dict` is the inverse."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return values | {"size": list(self.size), "shares": dict(self.shares)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """Read what :meth:`to_dict` wrote.

        Raises:
            InputError: for unknown keys.
        """
        known = {entry.name for entry in fields(cls)}
        if set(values) - known:
            raise InputError(
                f"unknown settings {sorted(set(values) - known)}; known: {sorted(known)}"
            )
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where someone is put.

    Attributes:
        place: (x, z) metres on the floor.
        yaw: radians about the vertical; 0 looks along +z, positive turns to their left.
    """

    place: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything one picture was made from.

    Attributes:
        version: of the generator, see ``VERSION``.
        code: version of the package.
        kind: "people", "scans" or "rig".
        settings: of the set, as JSON.
        seed: of the set.
        index: number of the picture in the set.
        attempt: how many views were thrown away before this one (nobody was to be seen).
        framing: what the camera shows of its subject; "rig" for calibrated rigs.
        subject: number of the person the camera looks at, from 1.
        people: parameters of everyone, in order of their numbers.
        standing: where everyone stands.
        camera: as ``Camera.to_dict``.
        view: facts about the camera: focal length, azimuth, elevation, roll, distance.
        light: what shines.
        background: what is behind.
        optics: blur, noise and the like.
        facts: measured on the finished picture: heights of people, pixels of classes.
    """

    version: int = VERSION
    code: str = ""
    kind: str = "people"
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    index: int = 0
    attempt: int = 0
    framing: str = "full"
    subject: int = 1
    people: tuple[Mapping[str, Any], ...] = ()
    standing: tuple[Standing, ...] = ()
    camera: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, float] = field(default_factory=dict)
    light: Mapping[str, Any] = field(default_factory=dict)
    background: Mapping[str, Any] = field(default_factory=dict)
    optics: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["standing"] = [{"place": list(one.place), "yaw": one.yaw} for one in self.standing]
        return plain(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Read what :meth:`to_dict` wrote.

        Raises:
            InputError: for unknown keys, or a recipe of another version of the generator.
        """
        known = {entry.name for entry in fields(cls)}
        if set(values) - known:
            raise InputError(f"unknown recipe entries {sorted(set(values) - known)}")
        if values.get("version") != VERSION:
            raise InputError(
                f"a recipe of generator version {values.get('version')}, this is {VERSION}: to "
                f"make it again install vitruvian {values.get('code') or 'of that time'}"
            )
        standing = tuple(
            Standing(place=(one["place"][0], one["place"][1]), yaw=one["yaw"])
            for one in values.get("standing", ())
        )
        return cls(**{**values, "standing": standing, "people": tuple(values.get("people", ()))})


def plain(value: Any) -> Any:
    """Turn numpy values, tuples, paths, dataclasses and mappings into what JSON has."""
    match value:
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case np.ndarray():
            return plain(value.tolist())
        case np.bool_() | bool():
            return bool(value)
        case np.integer():
            return int(value)
        case np.floating():
            return float(value)
        case Path():
            return str(value)
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
        case _:
            return value


def digest(value: Mapping[str, Any]) -> str:
    """Return twelve letters that stand for some JSON values."""
    text = json.dumps(plain(value), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_line(recipe: Recipe) -> str:
    """Return a recipe as one line of JSON."""
    return json.dumps(recipe.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
