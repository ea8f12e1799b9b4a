# SPDX-License-Identifier: Apache-2.0
"""The weights a training begins with, and the card of what it ends with.

What initial weights do not have starts fresh, and is told: nothing of a backbone may be missing
silently.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vitruvian.errors import WeightsError
from vitruvian.model.card import MEAN, STD, Card, TaskCard
from vitruvian.model.config import to_plain
from vitruvian.model.lora import add_lora, freeze_backbone
from vitruvian.model.mae import MAE
from vitruvian.model.network import Network
from vitruvian.model.opening import open_weights
from vitruvian.model.position import resize_table
from vitruvian.model.sizes import ViTConfig
from vitruvian.model.weights import load, load_mae
from vitruvian.recipes.run import Run
from vitruvian.tasks.people import People

_TOKENS = ("class_token", "register_tokens", "pos_embed")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the first weights of a training come from.

    Attributes:
        source: what the initial weights are, in words.
        taken: how many tensors come from them.
        resized: position tables brought to the grid of this input.
        fresh: tensors that start anew, by module.
    """

    source: str
    taken: int
    resized: tuple[str, ...]
    fresh: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Return all this in words."""
        if not self.taken:
            return [f"initial weights: none, everything starts fresh ({self.source})"]
        told = [f"initial weights: {self.source}; {self.taken} tensors taken"]
        if self.resized:
            told.append(f"brought to this input's grid: {', '.join(self.resized)}")
        told.append(f"starts fresh: {', '.join(self.fresh) or 'nothing'}")
        return told


def backbone_of(init: str) -> ViTConfig:
    """Return the backbone of weights, from their header alone."""
    return open_weights(init).card.network.backbone


def starting_network(run: Run) -> tuple[Network | MAE, Start]:
    """Build the network of a run with its first weights; frozen and with LoRA as the run says.

    Everything random comes from the run's seed.

    Raises:
        WeightsError: the initial weights are for another backbone, or cannot be read.
    """
    torch.manual_seed(run.seed)
    if run.masked is not None:
        model: Network | MAE = MAE(run.network.backbone, run.masked)
    else:
        model = Network(run.network)
        _start_depth_in_the_middle(model)
    start = Start(source="seed " + str(run.seed), taken=0, resized=(), fresh=("everything",))
    if run.init is not None:
        start = _fill(model, run)
    if isinstance(model, Network) and run.frozen == "backbone":
        freeze_backbone(model)
    if isinstance(model, Network) and run.lora is not None:
        add_lora(model, run.lora)
    return model, start


@torch.no_grad()
def _start_depth_in_the_middle(network: Network) -> None:
    """Begin a depth head at 0.5, the middle of its range.

    The published loss has no slope where a prediction is below its floor: from the published
    start, 0 give or take, half of the pixels never learn until others pull them up.
    """
    if "depth" in network.heads:
        network.heads["depth"].predict.bias.fill_(0.5)  # pyright: ignore


def _fill(model: Network | MAE, run: Run) -> Start:
    assert run.init is not None
    given, sentence = _given(run.init, masked=isinstance(model, MAE))
    grid, old = _grids(run)
    own = {_plain(name): (name, tensor) for name, tensor in model.state_dict().items()}
    same_words = _same_words(run, old)
    taken: dict[str, Tensor] = {}
    resized: list[str] = []
    fresh: list[str] = []
    for plain, (name, place) in own.items():
        value = given.get(plain)
        predictor = plain.startswith("heads.") and ".predict." in plain
        if value is not None and plain == "backbone.pos_embed":
            value, changed = _table(value, old.network.backbone, place, grid)
            resized += [plain] if changed else []
        head = plain.split(".")[1] if plain.startswith("heads.") else ""
        if value is None or value.shape != place.shape or (predictor and head not in same_words):
            fresh.append(plain)
        else:
            taken[name] = value
    missing = [n for n in fresh if n.startswith("backbone.") and n.split(".")[1] not in _TOKENS]
    if missing:
        have, want = old.network.backbone, run.network.backbone
        raise WeightsError(
            f"{run.init}: {sentence} of width {have.dim} and {have.depth} blocks does not fill the "
            f"backbone of this training, width {want.dim} and {want.depth} blocks "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}) · leave out --size to "
            "take the one of the weights"
        )
    state = model.state_dict()
    model.load_state_dict({**state, **{n: v.to(state[n].dtype) for n, v in taken.items()}})
    return Start(
        source=f"{run.init}, {sentence}",
        taken=len(taken),
        resized=tuple(resized),
        fresh=tuple(dict.fromkeys(_group(name) for name in fresh)),
    )


def _given(init: str, *, masked: bool) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a file by plain names (``backbone.…``), and what it is."""
    opened = open_weights(init)
    heads = ", ".join(opened.card.tasks)
    sentence = f"{opened.card.name}" + (f" with heads for {heads}" if heads else ", an encoder")
    decoder = any(name.startswith("decoder.") for name in opened.shapes)
    if masked and decoder and opened.card.decoder is not None:
        model: nn.Module = load_mae(init, dtype="fp32")
        sentence += " with its decoder"
    else:
        model = load(init, dtype="fp32")[0]
    given = {_plain(name): tensor for name, tensor in model.state_dict().items()}
    identity, card = opened.identity, opened.card
    if (card.mean, card.std) != (MEAN, STD):
        _renormalise(given, card)
        sentence += " (its patches now take pictures normalised our way)"
    elif identity is not None and identity.layout.dialect == "timm" and not identity.config:
        sentence += (
            " (taken for one of pictures normalised as ImageNet's; the config.json beside it would "
            "tell: name the folder of both)"
        )
    return given, sentence


def _renormalise(given: dict[str, Tensor], card: Card) -> None:
    """Turn the patch embedding into one of the same values for pictures normalised our way."""
    weight, bias = (given.get(f"backbone.patch_embed.{p}") for p in ("weight", "bias"))
    if weight is None or bias is None or card.network.backbone.patch_padding:
        raise WeightsError(
            f"{card.name}: its pictures are normalised by {card.mean} and {card.std} · wanted "
            f"{MEAN} and {STD}, or patches without padding, which can be converted"
        )
    ours, theirs = torch.tensor([MEAN, STD]).double(), torch.tensor([card.mean, card.std]).double()
    factor = (ours[1] / theirs[1])[:, None, None]
    offset = ((ours[0] - theirs[0]) / theirs[1])[:, None, None]
    exact = weight.double()
    given["backbone.patch_embed.weight"] = (exact * factor).to(weight.dtype)
    given["backbone.patch_embed.bias"] = (bias + (exact * offset).sum((1, 2, 3))).to(bias.dtype)


def _grids(run: Run) -> tuple[tuple[int, int], Card]:
    assert run.init is not None
    return run.network.backbone.grid, open_weights(run.init).card


def _plain(name: str) -> str:
    return name.replace("encoder.", "backbone.", 1) if name.startswith("encoder.") else name


def _table(
    value: Tensor, old: ViTConfig, place: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, bool]:
    """Bring a position table to another grid, and to one with or without a row for the class."""
    table = resize_table(value, old.grid, grid)
    wanted = place.shape[1] - grid[0] * grid[1]
    extra = table.shape[1] - grid[0] * grid[1]
    if extra > wanted:
        table = table[:, extra - wanted :]
    elif extra < wanted:  # the published class token stands at a position of zeros
        table = torch.cat([torch.zeros_like(table[:, :1]), table], 1)
    return table, old.grid != grid


def _same_words(run: Run, card: Card) -> set[str]:
    """Return the heads whose outputs mean the same in the initial weights."""
    same = {People.name} & card.tasks.keys()  # boxes are boxes
    for asked in run.tasks:
        if asked.name in card.tasks:
            ours, theirs = _task_card(asked.settings), card.tasks[asked.name]
            described = theirs.settings.get("vocabulary")
            if ours.vocabulary == theirs.vocabulary and (
                ours.settings.get("vocabulary") == described
            ):
                same.add(asked.name)
    return same


def _group(name: str) -> str:
    """Return the module a tensor belongs to, in few enough words for a report."""
    parts = name.split(".")
    if parts[0] == "heads":
        return ".".join(parts[:3])
    return parts[0] if parts[0] == "decoder" else ".".join(parts[:2])


# ------------------------------------------------------------------------------ what comes out


def _task_card(settings: Mapping[str, Any]) -> TaskCard:
    values = dict(settings)
    described = values.pop("vocabulary", None)
    if described is None or isinstance(described, str):
        return TaskCard(vocabulary=described, settings=values)
    if "digest" in described:  # one that ships: its name says it all
        return TaskCard(vocabulary=described["name"], settings=values)
    return TaskCard(vocabulary=described["name"], settings={**values, "vocabulary": described})


_CONVENTIONS: Mapping[str, Mapping[str, Any]] = {
    "depth": {"kind": "relative", "nearest": 0, "farthest": 1, "of": "the person"},
}


def card_of(run: Run, name: str) -> Card:
    """Return the card of the network a run trains.

    The licence of initial weights stays; what starts fresh has none yet ("unknown").
    """
    licence, commercial = "unknown", "unknown"
    if run.init is not None:
        before = open_weights(run.init).card
        licence, commercial = before.licence, before.commercial
    tasks = {asked.name: _task_card(asked.settings) for asked in run.tasks}
    if run.people is not None:
        tasks[run.people.name] = _task_card(to_plain(run.people))
    for task, convention in _CONVENTIONS.items():
        if task in tasks:
            settings = {**tasks[task].settings, "convention": dict(convention)}
            tasks[task] = replace(tasks[task], settings=settings)
    return Card(
        name=name,
        generation="vitruvian",
        network=run.network,
        tasks=tasks,
        decoder=run.masked,
        input_size=run.size,
        framing=run.framing,
        fill=run.fill,
        licence=licence,
        commercial=commercial,  # pyright: ignore[reportArgumentType]
    )
