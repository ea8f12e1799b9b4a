# SPDX-License-Identifier: Apache-2.0
"""How accessories move with the body, and the metal they are made of."""

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.body import load_body
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import Solid
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import Part, Wearer, label
from vitruvian.synth.surfaces import Solid as SolidSurface
from vitruvian.synth.surfaces import Surface


def metal(fabric: Fabric) -> SolidSurface:
    """Return gold for reddish colours of the fabric, else steel."""
    colour = fabric.colours[0]
    gold = colour[0] > colour[2] * 1.1
    return SolidSurface(
        colour=(0.9, 0.68, 0.34) if gold else (0.75, 0.75, 0.77), roughness=0.25, metal=True
    )


def rigid(
    wearer: Wearer, solid: Solid, bone: str, surface: Surface, name: str, kind: str = "Apparel"
) -> Part:
    """Pose a solid that was made at rest with one bone."""
    vertices, faces = solid
    transform = wearer.transform(bone)
    posed = (vertices @ transform[:, :3].T + transform[:, 3]).astype(np.float32)
    return Part(
        vertices=posed,
        faces=faces,
        normals=vertex_normals(posed, faces),
        canonical=vertices + _to_canonical(wearer, bone),
        labels=np.full(len(faces), label(kind), np.uint8),
        surface=surface,
        name=name,
        soft=False,
    )


def _to_canonical(wearer: Wearer, bone: str) -> NDArray[np.float32]:
    """Return what takes a place at rest near a bone about to the canonical body."""
    model = load_body()
    canonical = model.canonical.heads[0, model.bone_index[bone]]
    return (canonical - wearer.heads[model.bone_index[bone]]).astype(np.float32)
