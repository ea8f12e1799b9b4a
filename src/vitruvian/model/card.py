# SPDX-License-Identifier: Apache-2.0
"""The card inside a weights file: everything needed to rebuild and use the network, as JSON.

A Vitruvian weights file is a safetensors file whose metadata entry ``vitruvian`` holds the card.
For published files, which say little or nothing about themselves, ``published_card`` writes down
the published facts. Sources: the code and documentation of Sapiens (arXiv 2408.12569) and Sapiens2
(arXiv 2604.21681).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vitruvian.errors import InputError, WeightsError, unknown_name
from vitruvian.model.catalogue import Commercial, Entry, catalogue, entry_of
from vitruvian.model.identify import Identity
from vitruvian.model.mae import MAEConfig
from vitruvian.model.network import NetworkConfig

KEY = "vitruvian"
FORMAT = 1
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

Colour = tuple[float, float, float]
Framing = Literal["person", "stretch", "pad"]
Generation = Literal[1, 2, "vitruvian"]


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What a head's result means.

    Args:
        vocabulary: names of its points or parts; None where there are none, or they are unknown.
        settings: JSON values. The key "convention" describes axes, units and evidence; every other
            key is a setting of the task of that name. "vocabulary" is there if the names are not
            among those that ship: all of them, described.
    """

    vocabulary: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where weights come from: the file they were read from, its checksum and address."""

    file: str
    sha256: str | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """All a weights file says about itself.

    Args:
        name: of the weights.
        generation: 1 (Sapiens), 2 (Sapiens2) or "vitruvian".
        network: the configuration that rebuilds the network.
        tasks: what each head means, by head name; empty for an encoder.
        decoder: of masked pretraining, when the file holds one.
        input_size: (height, width) in pixels.
        mean: subtracted from RGB values of 0 … 255.
        std: what the difference is divided by.
        framing: how a picture becomes the input: "person" (upright box at the input's aspect),
            "stretch" (whole frame, aspect not kept) or "pad" (whole frame, aspect kept).
        fill: RGB of what windows show outside of the picture; published weights saw black.
        flip: average with the prediction for the mirrored window, unless told otherwise.
        zooms: average keypoints with those of windows enlarged by these factors about their centre,
            unless told otherwise.
        licence: SPDX identifier or name.
        commercial: whether the licence allows commercial use.
        source: what the file was made from.
        format: version of this card.
    """

    name: str
    generation: Generation
    network: NetworkConfig
    tasks: Mapping[str, TaskCard]
    decoder: MAEConfig | None = None
    input_size: tuple[int, int]
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    framing: Framing
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: bool = False
    zooms: tuple[float, ...] = ()
    licence: str
    commercial: Commercial
    source: Source | None = None
    format: int = FORMAT

    def to_json(self) -> str:
        """Return the card as JSON text."""
        plain = {
            "format": self.format,
            "name": self.name,
            "generation": self.generation,
            "network": self.network.to_dict(),
            "tasks": {
                n: {"vocabulary": t.vocabulary, "settings": dict(t.settings)}
                for n, t in self.tasks.items()
            },
            "decoder": self.decoder.to_dict() if self.decoder else None,
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "framing": self.framing,
            "fill": list(self.fill),
            "flip": self.flip,
            "zooms": list(self.zooms),
            "licence": self.licence,
            "commercial": self.commercial,
            "source": vars(self.source) if self.source else None,
        }
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, where: str = "card") -> "Card":
        """Read a card; a missing, unknown or malformed field is an error.

        Raises:
            WeightsError: not a card, or of a newer format.
        """
        try:
            data = json.loads(text)
            if data.get("format") != FORMAT:
                raise WeightsError(
                    f"{where}: card of format {data.get('format')} · this version reads {FORMAT} · "
                    "update vitruvian"
                )
            return cls(**_parse(data))
        except WeightsError:
            raise
        except InputError as error:
            raise WeightsError(f"{where}: {error}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{where}: not a card of vitruvian ({error!r})") from error

    def only(self, task: str) -> "Card":
        """Return the card of the same network with one task's heads."""
        heads = {n: h for n, h in self.network.heads.items() if n in (task, f"{task}_scale")}
        return replace(
            self,
            network=replace(self.network, heads=heads),
            tasks={task: self.tasks[task]},
            decoder=None,
        )


def published_card(
    identity: Identity,
    network: NetworkConfig,
    path: Path,
    *,
    vocabulary: str | None = None,
    decoder: MAEConfig | None = None,
) -> Card:
    """Write down what is known about a published file, most of it not written in the file.

    Args:
        identity: what the tensors show.
        network: its configuration.
        path: where it lies; the catalogue knows published base names.
        vocabulary: names of its points or parts, where the count does not tell.
        decoder: of masked pretraining.

    Raises:
        InputError: a vocabulary for what has no names.
    """
    record, backbone = entry_of(path), network.backbone
    tasks = {}
    if vocabulary is not None:
        vocabulary_task([identity.task] if identity.task else [], where=str(path))
    if identity.task is not None:
        named = vocabulary or _VOCABULARIES.get((identity.task, identity.out or 0))
        tasks = {identity.task: TaskCard(vocabulary=named, settings=_settings(identity, record))}
    licence, commercial = _licence(identity, record)
    mean, std = _normalisation(identity, str(path))
    return Card(
        name=record.name if record else (path.name if path.is_dir() else path.stem),
        generation=identity.generation,
        network=network,
        tasks=tasks,
        decoder=decoder,
        input_size=(backbone.grid[0] * backbone.stride, backbone.grid[1] * backbone.stride),
        mean=mean,
        std=std,
        framing=_framing(identity),
        licence=licence,
        commercial=commercial,
        source=Source(
            file=path.name,
            sha256=record.sha256 if record else None,
            url=f"https://huggingface.co/{record.places[0][0]}" if record else None,
        ),
    )


# Which names a published head of so many outputs has.
_VOCABULARIES = {
    ("pose", 17): "coco17",
    ("pose", 133): "wholebody133",
    ("pose", 308): "sapiens308",
    ("parts", 28): "parts28",
    ("parts", 29): "parts29",
    ("parts", 20): "lip20",
    ("parts", 19): "face19",
}


def vocabulary_task(tasks: Iterable[str], task: str | None = None, *, where: str) -> str:
    """Return the task whose outputs a vocabulary names: pose or parts, whichever there is.

    Args:
        tasks: of the file.
        task: the one that is meant, where there may be both.
        where: the file's name for errors.

    Raises:
        InputError: none of them has names, or both have and none is said.
    """
    tasks = list(tasks)
    named = [t for t in tasks if t in ("pose", "parts") and task in (None, t)]
    if len(named) > 1:
        raise InputError(
            f"{where}: one vocabulary for the heads {' and '.join(named)} · wanted one of them · "
            "pass task=… (on the command line --task)"
        )
    if not named:
        have = task or ", ".join(tasks) or "an encoder without head"
        raise InputError(
            f"{where}: a vocabulary for {have} · only outputs of pose and parts have names · "
            "leave it out"
        )
    return named[0]


_AXES = {  # where there is no catalogue record, as for a converted copy under another name
    "x": "along the picture's x axis: mirroring a picture negates it (published code)",
    "y": "unverified",
    "z": "unverified",
}


def _settings(identity: Identity, record: Entry | None) -> dict[str, Any]:
    first = identity.generation == 1
    convention: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    match identity.task:
        case "pose":
            settings = {"sigma": 6.0, "stride": 4}
        case "depth":
            convention = {"kind": "relative", "nearest": 0, "farthest": 1, "of": "the person"}
        case "normals":
            settings = {"resize_after_unit": not first}
            convention = dict(record.convention) if record and record.convention else dict(_AXES)
        case "pointmap":
            convention = {
                "axes": "x right, y down, z forward",
                "scale": "metres = pointmap / scale",
            }
        case "albedo":
            convention = {"colour": "RGB, sRGB, 0 to 1"}
        case "matting":
            convention = {
                "channels": "red, green, blue, alpha",
                "foreground": "multiplied by alpha",
            }
    return settings | ({"convention": convention} if convention else {})


def _normalisation(identity: Identity, where: str) -> tuple[Colour, Colour]:
    """Return mean and deviation of the pictures: of timm's config.json, or else ImageNet's."""
    told = identity.config.get("pretrained_cfg") if identity.layout.dialect == "timm" else None
    if not isinstance(told, Mapping):
        return MEAN, STD
    try:
        mean, std = (_three([255 * v for v in told[key]]) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{where}: pretrained_cfg of config.json without mean and std of three colours · "
            "wanted both, of values of 0 to 1"
        ) from error
    return mean, std


def _framing(identity: Identity) -> Framing:
    if identity.task == "pose":
        return "person"
    if identity.generation == 2 and identity.task in ("normals", "pointmap", "albedo"):
        return "pad"
    return "stretch"


def _licence(identity: Identity, record: Entry | None) -> tuple[str, Commercial]:
    """Return licence and commercial use: of the file if known, else of that generation's weights.

    A shape that was never published may hold anybody's weights.
    """
    if record is None and identity.size is None:
        return "unknown", "unknown"
    if record is None:
        kin = (e for e in catalogue().values() if e.generation == identity.generation)
        record = next(kin)
    return record.licence.name, record.licence.commercial


def _parse(data: dict[str, Any]) -> dict[str, Any]:
    known = (
        *("format", "name", "generation", "network", "tasks", "decoder", "input_size"),
        *("mean", "std", "framing", "fill", "flip", "zooms", "licence", "commercial", "source"),
    )
    for key in data:
        if key not in known:
            raise unknown_name("field of a card", key, known)
    for key, kinds in (
        ("generation", get_args(Generation)),
        ("framing", get_args(Framing)),
        ("commercial", get_args(Commercial)),
    ):
        if data[key] not in kinds:
            raise unknown_name(f"{key} of a card", str(data[key]), [str(k) for k in kinds])
    for key in ("name", "licence"):
        if not isinstance(data[key], str):
            raise InputError(f"{key} of a card: given {data[key]!r} · wanted text")
    if not isinstance(data.get("flip", False), bool):
        raise InputError(f"flip of a card: given {data['flip']!r} · wanted true or false")
    height, width = (int(n) for n in data["input_size"])
    return data | {
        "network": NetworkConfig.from_dict(data["network"]),
        "tasks": {n: TaskCard(**t) for n, t in data["tasks"].items()},
        "decoder": MAEConfig.from_dict(data["decoder"]) if data["decoder"] else None,
        "input_size": (height, width),
        "mean": _three(data["mean"]),
        "std": _three(data["std"]),
        "fill": _three(data.get("fill", (0, 0, 0))),
        "zooms": check_zooms(data.get("zooms", ())),
        "source": Source(**data["source"]) if data["source"] else None,
    }


def check_zooms(values: Iterable[float]) -> tuple[float, ...]:
    """Return factors by which windows are enlarged; others than positive numbers are an error."""
    found = tuple(float(value) for value in values)
    if not all(math.isfinite(value) and value > 0 for value in found):
        raise InputError(f"zooms {list(found)} · wanted positive numbers, or none")
    return found


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue
