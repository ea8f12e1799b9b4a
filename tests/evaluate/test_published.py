# SPDX-License-Identifier: Apache-2.0
"""Published tables: whole, marked, and never printed beyond their evidence."""

import json
import math
from dataclasses import replace
from pathlib import Path

import made_sets

from vitruvian.cli import main
from vitruvian.evaluate import plan as plans
from vitruvian.evaluate import report as reports
from vitruvian.evaluate.protocols import PROTOCOLS
from vitruvian.evaluate.published import FACTS, as_markdown, published_for, tables
from vitruvian.model.catalogue import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "published.md"


def test_every_table_belongs_to_a_protocol_and_every_weight_to_the_catalogue():
    names = {table.name for table in tables()}
    assert {"humans5k", "coco", "wholebody", "humans2k", "hi4d_depth", "thuman2_normals"} <= names
    for table in tables():
        assert table.protocol in ("", *PROTOCOLS)
        if table.protocol:
            assert PROTOCOLS[table.protocol].photographs == table.photographs
            assert table.task in PROTOCOLS[table.protocol].tasks
        for row in table.rows:
            assert set(row.weights) <= set(catalogue())
            for value, mark in zip(row.values, row.evidence, strict=True):
                assert math.isnan(value) == (mark == "")


def test_known_cells():
    (coco,) = (table for table in tables() if table.name == "coco")
    row = next(row for row in coco.rows if row.weights == ("sapiens-pose-17-1b",))
    assert row.facts(coco.columns)["AP"] == (82.1, "documented")
    (humans,) = (table for table in tables() if table.name == "humans5k")
    row = next(row for row in humans.rows if row.model == "Sapiens-2B")
    facts = row.facts(humans.columns)
    assert facts["whole/AP"] == (61.1, "second-hand")
    assert "body/AP" not in facts  # unconfirmed
    known = {table.name: table for table in tables()}
    assert sum(name.startswith("sapiens2_") for name in known) == 7
    pose = known["sapiens2_pose"]
    cells = {row.model: row.facts(pose.columns) for row in pose.rows}
    assert cells["Sapiens2-5B"]["whole/AP"] == (82.3, "paper")
    assert cells["Sapiens-1B"] == {}  # the paper contradicts itself


def test_unconfirmed_cells_are_never_printed():
    for table in tables():
        for row in table.rows:
            for column, value, mark in zip(table.columns, row.values, row.evidence, strict=True):
                shown = published_for(
                    table.protocol, row.weights, photographs=table.photographs, task=table.task
                )
                there = [one for one in shown if one.number == column]
                assert all(one.evidence in FACTS for one in there)
                if mark == "unconfirmed":
                    assert not there, (table.name, row.model, column, value)
    thuman = as_markdown().partition("## THuman2, depth")[2].partition("##")[0]
    assert "0.114" not in thuman
    assert "?" in thuman


def test_the_page_holds_the_tables():
    text = PAGE.read_text(encoding="utf-8")
    assert as_markdown() in text, "paste what vitruvian.evaluate.published.as_markdown() returns"


def test_ours_stands_beside_theirs_only_for_the_same_thing(tmp_path, monkeypatch, capsys):
    data, content = made_sets.coco_set(tmp_path)
    model = made_sets.weights(tmp_path / "sapiens-pose-17-1b.safetensors")
    boxes = [
        {"image_id": e["image_id"], "category_id": 1, "bbox": e["bbox"], "score": 1.0}
        for e in content["annotations"]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = ["evaluate", "--data", str(data), "--model", str(model), "--protocol", "coco"]
    arguments += ["--worst", "0", "--boxes", str(tmp_path / "boxes.json")]

    def beside(name, *more):
        assert main([*arguments, "--out", str(tmp_path / name), *more]) == 0
        found = json.loads((tmp_path / name / "report.json").read_text())
        return found["published"], capsys.readouterr().out

    known = dict(reports.model_facts(str(model)), catalogue="sapiens-pose-17-1b")
    monkeypatch.setattr(reports, "model_facts", lambda name: known)
    assert beside("few")[0] == []  # six photographs are not val2017
    small = [replace(t, photographs=6) if t.name == "coco" else t for t in tables()]
    monkeypatch.setattr("vitruvian.evaluate.published.tables", lambda: tuple(small))
    found, printed = beside("same")
    theirs = {one["number"]: one for one in found}
    assert theirs["AP"]["published"] == 0.821
    assert theirs["AP"]["evidence"] == "documented"
    assert "published: documented, documentation of the released models" in printed
    assert "82.1" in printed
    assert beside("noflip", "--flip", "False")[0] == []
    assert beside("zoomed", "--zooms", "0.9")[0] == []
    assert beside("unzoomed", "--zooms")[0] == found
    monkeypatch.setattr(reports, "model_facts", lambda name: {**known, "catalogue": None})
    assert beside("other")[0] == []
    assert plans.find_protocol("coco").flip
