# SPDX-License-Identifier: Apache-2.0
"""Cards: what a weights file says about itself, and what is known about those that say nothing."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from published_files import sapiens, sapiens2, tiny

from vitruvian.errors import WeightsError
from vitruvian.model.architecture import network_config
from vitruvian.model.card import Card, Source, TaskCard, published_card
from vitruvian.model.identify import identify
from vitruvian.model.mae import MAEConfig
from vitruvian.tasks import TASKS


def _card(shapes: dict[str, tuple[int, ...]], file: str = "w.pth", **hints: Any) -> Card:
    identity = identify(shapes, where=file)
    return published_card(identity, network_config(identity, where=file, **hints), Path(file))


LATER = {"fill", "flip", "zooms"}  # fields that the first cards had not
CARDS = [
    _card(sapiens("pose308", "0.3b"), "sapiens_0.3b_goliath_best_goliath_AP_573.pth"),
    _card(sapiens("seg28", "0.3b")),
    _card(sapiens("depth", "0.3b")),
    _card(sapiens("normal", "0.3b"), "sapiens_0.3b_normal_render_people_epoch_66.pth"),
    _card(sapiens("clean", "0.3b")),
    *(_card(sapiens2(t, "0.4b")) for t in ("pose", "seg", "normal", "pointmap", "albedo")),
    _card(sapiens2("matting", "1b")),
    _card(sapiens2("pretrain", "1b-4k")),
]


@pytest.mark.parametrize("card", CARDS, ids=lambda c: f"{c.generation}-{'-'.join(c.tasks)}")
def test_cards_survive_json(card: Card) -> None:
    assert Card.from_json(card.to_json()) == card
    full = replace(
        card,
        decoder=MAEConfig(decoder_depth=2),
        source=Source(file="x", sha256="0" * 64, url="https://example.org"),
        generation="vitruvian",
        fill=(123.675, 116.28, 103.53),
        flip=True,
        zooms=(0.9, 1.12),
    )
    assert Card.from_json(full.to_json()) == full


def test_published_files_are_known_by_name() -> None:
    card = CARDS[0]
    assert card.name == "sapiens-pose-308-0.3b"
    assert card.source is not None
    assert card.source.url == "https://huggingface.co/facebook/sapiens-pose-0.3b"
    assert CARDS[1].name == "w"
    assert (CARDS[1].licence, CARDS[1].commercial) == ("CC-BY-NC-4.0", "no")


def test_nobody_knows_the_licence_of_a_shape_that_was_not_published() -> None:
    shapes = {n: tuple(t.shape) for n, t in tiny("pose")[1].items()}
    card = _card(shapes, heads=4)
    assert (card.licence, card.commercial) == ("unknown", "unknown")
    assert card.tasks["pose"].vocabulary is None
    assert card.input_size == (64, 48)


def test_published_facts() -> None:
    by_task = {(c.generation, next(iter(c.tasks), "")): c for c in CARDS}
    framing = {key: c.framing for key, c in by_task.items()}
    assert framing == {
        **{(1, t): "stretch" for t in ("", "parts", "depth", "normals")},
        **{(2, t): "stretch" for t in ("", "parts", "matting")},
        **{(2, t): "pad" for t in ("normals", "pointmap", "albedo")},
        (1, "pose"): "person",
        (2, "pose"): "person",
    }
    for card in CARDS:
        assert card.mean == (123.675, 116.28, 103.53)
        assert card.std == (58.395, 57.12, 57.375)
    assert by_task[1, ""].input_size == (1024, 1024)
    assert by_task[2, ""].input_size == (4096, 3072)
    for generation in (1, 2):
        settings = by_task[generation, "normals"].tasks["normals"].settings
        assert settings["resize_after_unit"] == (generation == 2)
        assert settings["convention"]["y"] == "unverified"
    depth = by_task[1, "depth"].tasks["depth"].settings["convention"]
    assert (depth["kind"], depth["nearest"], depth["farthest"]) == ("relative", 0, 1)


@pytest.mark.parametrize("card", CARDS, ids=lambda c: f"{c.generation}-{'-'.join(c.tasks)}")
def test_settings_are_those_of_the_task(card: Card) -> None:
    for name, task in card.tasks.items():
        if name in TASKS:
            known = {f.name for f in fields(TASKS[name])}
            assert set(task.settings) <= known | {"convention"}


def _changed(**changes: Any) -> str:
    return json.dumps(json.loads(CARDS[0].to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a card"),
        ("[]", "not a card"),
        ("{}", "format None"),
        (_changed(format=2), "update vitruvian"),
        (_changed(colour="red"), "unknown field of a card 'colour'"),
        (_changed(framing="crop"), "framing of a card 'crop'"),
        (_changed(commercial="maybe"), "commercial of a card"),
        (_changed(generation=3), "generation of a card"),
        (_changed(name=None), "name of a card"),
        (_changed(input_size=[1]), "not a card"),
        (_changed(flip=1), "flip of a card: given 1"),
        (_changed(zooms=[0]), "wanted positive numbers, or none"),
        (_changed(zooms="wide"), "not a card"),
        (_changed(mean=[1, 2]), "not a card"),
        (_changed(fill=[1, 2]), "not a card"),
        (_changed(mean=["a", 1, 2]), "not a card"),
        (_changed(tasks={"pose": {"vocab": "x"}}), "not a card"),
        (_changed(network={"backbone": {}}), "wanted also dim"),
        (_changed(network={}), "no backbone"),
        (_changed(source={"path": "x"}), "not a card"),
    ],
)
def test_malformed_cards_are_refused(text: str, says: str) -> None:
    with pytest.raises(WeightsError, match=says) as caught:
        Card.from_json(text, where="file.safetensors")
    assert "file.safetensors" in str(caught.value)


@pytest.mark.parametrize("key", sorted(LATER))
def test_cards_from_before_a_field_are_read(key: str) -> None:
    data = json.loads(CARDS[0].to_json())
    del data[key]
    assert Card.from_json(json.dumps(data)) == CARDS[0]


@pytest.mark.parametrize("key", sorted(json.loads(CARDS[0].to_json()).keys() - LATER))
def test_every_field_is_needed(key: str) -> None:
    data = json.loads(CARDS[0].to_json())
    del data[key]
    with pytest.raises(WeightsError):
        Card.from_json(json.dumps(data))


def test_one_task_of_a_card() -> None:
    card = next(c for c in CARDS if "pointmap" in c.tasks)
    both = replace(card, tasks=dict(card.tasks) | {"pose": TaskCard()})
    assert set(both.only("pointmap").network.heads) == {"pointmap", "pointmap_scale"}
    assert set(both.only("pointmap").tasks) == {"pointmap"}
