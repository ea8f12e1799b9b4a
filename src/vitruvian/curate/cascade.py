# SPDX-License-Identifier: Apache-2.0
"""Costly stages spared: pictures beyond a loose gate are not shown to them.

By default every stage is asked about every picture, so that any threshold can be changed later
without a pixel. A cascade gives some of that up: what a gate keeps from a stage stays null, says so
in ``gated_by``, and no threshold can be moved beyond the gate without scoring again. Records of a
cascade have fingerprints of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vitruvian.curate.stage import Picture, Scorer, Stage

GATED = "gated"
"""Status of a row that a gate kept from a stage."""


@dataclass(frozen=True, kw_only=True)
class Gated:
    """A stage behind gates.

    Attributes:
        inner: the stage; it builds on no other.
        upstream: the stage text, itself behind the gate of the size; ``None`` for the size alone.
        side: pictures whose shorter side is below this are not shown, in pixels. No box of a person
            can be larger than its picture, so 300 loses nothing where policies ask for more.
        text_area: nor are pictures with more readable text than this share.
    """

    inner: Stage
    upstream: Stage | None = None
    side: int = 300
    text_area: float = 0.3

    @property
    def name(self) -> str:
        """That of the stage."""
        return self.inner.name

    @property
    def decodes(self) -> bool:
        """As the stage."""
        return self.inner.decodes

    @property
    def schema(self) -> pa.Schema:
        """That of the stage."""
        return self.inner.schema

    def identity(self) -> Mapping[str, Any]:
        """Return what the stage's answers depend on, and what it is not asked."""
        gates: dict[str, Any] = {"side": self.side}
        if self.upstream is not None:
            gates |= {"text_area": self.text_area, "text": dict(self.upstream.identity())}
        return {**self.inner.identity(), "cascade": gates}

    def open(self) -> Scorer:
        """Open the stage."""
        return self.inner.open()

    def gate(self, picture: Picture) -> str | None:
        """Return which gate keeps a picture from the stage, or ``None``."""
        header = picture.header
        if header is not None and min(header.width, header.height) < self.side:
            return f"side < {self.side}"
        if self.upstream is not None and (picture.before.get("area") or 0.0) > self.text_area:
            return f"text_area > {self.text_area:g}"
        return None


def gated_by(stage: Stage, picture: Picture) -> str | None:
    """Return which gate keeps a picture from a stage, its own or that of the stage upstream."""
    if isinstance(stage, Gated):
        return stage.gate(picture)
    return picture.before.get("gated_by") if stage.upstream is not None else None


def gates_of(identity: Mapping[str, Any]) -> dict[str, float]:
    """Return the gates of a record's identity: "side", "text_area"; empty without a cascade."""
    found = identity.get("cascade") or identity.get("embedding", {}).get("cascade") or {}
    return {name: found[name] for name in ("side", "text_area") if name in found}
