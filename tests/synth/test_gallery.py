# SPDX-License-Identifier: Apache-2.0
"""Sheets, galleries and data cards show what was made, and load nothing from anywhere."""

import json
import re
import tomllib
from html.parser import HTMLParser
from importlib import resources

import flat_pictures
import numpy as np
import pytest

from vitruvian.data.reader import Shards
from vitruvian.errors import InputError
from vitruvian.person import Sample
from vitruvian.synth import card, gallery, writer
from vitruvian.synth.people import sample_person
from vitruvian.synth.recipe import plain


@pytest.fixture
def folder(tmp_path):
    jobs = writer.plan(tmp_path, count=5, seed=1, settings={}, prefix="flat", per_shard=3)
    list(writer.Here().run(jobs, flat_pictures.flat))
    return tmp_path


class Tags(HTMLParser):
    """Collects tags and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_a_sheet_shows_pictures_and_labels(folder):
    samples = Shards(folder)
    page = gallery.contact_sheet(
        [samples[k] for k in range(5)], layers=("picture", "parts"), side=32, columns=2
    )
    assert page.dtype == np.uint8
    assert page.shape == (3 * 36 + 4, 2 * (2 * 24 + 4) + 4, 3)
    np.testing.assert_array_equal(page[10, 10], samples[0].image[0, 0])
    assert (page[10, 34] != page[10, 10]).any()
    with pytest.raises(InputError, match="at least one picture"):
        gallery.contact_sheet([])


def test_what_a_sample_has_not_is_grey():
    sample = Sample(image=np.zeros((16, 12, 3), np.uint8))
    assert gallery.layer(sample, "depth") is None
    assert gallery.layer(sample, "pose") is None
    assert set(np.unique(gallery.small(sample, "depth", 16))) == {90}


def test_pictures_are_spread_over_the_set():
    assert gallery.spread(3, 10) == [0, 1, 2]
    assert gallery.spread(100, 4) == [0, 25, 50, 75]


def test_a_gallery_is_one_file_that_loads_nothing(folder):
    path = gallery.write_gallery(folder, folder / "gallery.html", most=4, side=32)
    text = path.read_text(encoding="utf-8")
    tags = Tags(text).found
    pictures = [attrs for tag, attrs in tags if tag == "img"]
    assert len([tag for tag, _ in tags if tag == "figure"]) == 4
    assert {attrs["alt"] for attrs in pictures} == {"picture", "parts"}
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for attrs in pictures)
    assert not re.search(r"https?://", text)
    assert "flat-000003" in text


def test_recipes_come_back_in_order(folder):
    assert [recipe["index"] for recipe in gallery.read_recipes(folder)] == [0, 1, 2, 3, 4]


RECIPES = [
    {
        "index": k,
        "framing": "face" if k % 3 == 0 else "full",
        "view": {"azimuth": -170 + 34 * k, "elevation": 100.0, "focal": 24 + 20 * k},
        "people": [{"spec": plain(sample_person(np.random.default_rng(k))), "pose": "walk"}],
        "background": {"kind": "room"},
        "facts": {"heights": [0.5], "parts": {"Face_Neck": 12, "Torso": 0}},
    }
    for k in range(10)
]  # fmt: skip


def test_statistics_count_what_recipes_say():
    found = {one.title: one for one in card.statistics(RECIPES)}
    framing = found["Framing"]
    assert dict(zip(framing.labels, framing.counts, strict=True)) == {"full": 6, "face": 4}
    assert sum(found["Seen from the side (degrees)"].counts) == 10
    # what lies beyond the last edge counts in the last bin
    assert found["Seen from above (degrees)"].counts[-1] == 10
    assert found["Pose"].labels == ("walk",)
    for title, one in found.items():
        if title.startswith(("Skin", "Hair", "Age", "Sex", "Weight", "People in")):
            assert sum(one.counts) == 10
    assert len([title for title in found if title.startswith(("Skin", "Hair", "Age", "Sex"))]) == 4
    assert "Roll (degrees)" not in found, "nothing is told of it"
    assert card.classes(RECIPES)["Face_Neck"] == 1
    assert card.classes(RECIPES)["Torso"] == 0


def test_a_card_names_every_licence_and_loads_nothing(folder):
    path = card.write_card(folder, about={"seed": 1, "settings": {"size": (16, 12)}})
    text = path.read_text(encoding="utf-8")
    content = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert content["pictures"] == 5
    assert content["about"]["settings"] == {"size": [16, 12]}
    assert content["licences"] == card.licences()
    for entry in card.licences():
        assert entry["licence"].split()[0] in text
    assert not [1 for tag, attrs in Tags(text).found if "src" in attrs or "href" in attrs]


def test_every_ingredient_may_be_used_commercially():
    text = resources.files("vitruvian.synth").joinpath("licences.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["ingredient"]
    allowed = ("CC0-1.0", "Apache-2.0", "MIT", "BSD-")
    for entry in entries:
        assert set(entry) == {"name", "source", "licence", "use", "shipped"}
        own = "Users' own" in entry["name"]
        assert own or entry["licence"].startswith(allowed), entry["name"]


def test_measured_parts_are_named():
    labels = np.zeros((4, 4), np.uint8)
    labels[0] = 3
    labels[1, 0] = 255
    found = card.measured(labels)
    assert sum(found.values()) == 15
    assert len(found) == 2
