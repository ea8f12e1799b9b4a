# SPDX-License-Identifier: Apache-2.0
"""Vitruvian: human-centric vision models, from curation to prediction.

    import vitruvian as vi
    people = vi.load("sapiens-pose-308-1b")("photo.jpg")
    vi.draw("photo.jpg", people).save("seen.png")

Public names load on first use, so that importing the package needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitruvian.camera import Camera
    from vitruvian.drawing import draw
    from vitruvian.errors import VitruvianError
    from vitruvian.geometry import Crop
    from vitruvian.image import read as read_image
    from vitruvian.model.network import Network
    from vitruvian.model.weights import load_network
    from vitruvian.person import Person, Points, Raster, Sample, composite
    from vitruvian.predict.load import load
    from vitruvian.predict.predictor import Predictor
    from vitruvian.vocabulary import Vocabulary
    from vitruvian.vocabulary import load as load_vocabulary

__version__ = "0.1.0"

_HOMES = {
    "Camera": "camera:Camera",
    "Crop": "geometry:Crop",
    "Network": "model.network:Network",
    "Person": "person:Person",
    "Points": "person:Points",
    "Predictor": "predict.predictor:Predictor",
    "Raster": "person:Raster",
    "Sample": "person:Sample",
    "VitruvianError": "errors:VitruvianError",
    "Vocabulary": "vocabulary:Vocabulary",
    "composite": "person:composite",
    "draw": "drawing:draw",
    "load": "predict.load:load",
    "load_network": "model.weights:load_network",
    "load_vocabulary": "vocabulary:load",
    "read_image": "image:read",
}

__all__ = [
    "Camera",
    "Crop",
    "Network",
    "Person",
    "Points",
    "Predictor",
    "Raster",
    "Sample",
    "VitruvianError",
    "Vocabulary",
    "__version__",
    "composite",
    "draw",
    "load",
    "load_network",
    "load_vocabulary",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(import_module(f"vitruvian.{module}"), attribute)
    raise AttributeError(f"module 'vitruvian' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
