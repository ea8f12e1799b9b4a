# SPDX-License-Identifier: Apache-2.0
"""Inventing places: rooms, streets, parks and studios around people and the cameras that see them.

Everything is drawn from one generator, so a place is a pure function of its seed. The floor is
y = 0. Nothing is put between a camera and the people, nor into either.
"""

from typing import Literal

import numpy as np

from vitruvian.synth.clearing import Builder, Clearing
from vitruvian.synth.indoors import room
from vitruvian.synth.outdoors import park, street, studio
from vitruvian.synth.patterns import (
    Texture,
)
from vitruvian.synth.place import Place

Kind = Literal["room", "street", "park", "studio"]
KINDS: tuple[Kind, ...] = ("room", "street", "park", "studio")


def make_place(
    rng: np.random.Generator,
    clearing: Clearing,
    *,
    kind: Kind | None = None,
    pictures: tuple[Texture, ...] = (),
) -> Place:
    """Invent a place.

    Args:
        rng: where chance comes from.
        clearing: what must stay free.
        kind: which sort; by chance if not given.
        pictures: may hang on walls and cover things.
    """
    chosen = kind or KINDS[int(rng.choice(4, p=[0.45, 0.25, 0.2, 0.1]))]
    builder = Builder(rng=rng, pictures=pictures)
    makers = {"room": room, "street": street, "park": park, "studio": studio}
    return makers[chosen](builder, clearing)
