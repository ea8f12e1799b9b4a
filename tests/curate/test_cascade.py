# SPDX-License-Identifier: Apache-2.0
"""Gates spare costly stages, say so in every row, and never mix with records without them."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from corpus import jpeg, packed
from stand_ins import Blobs, Obedient
from test_pool import finish
from test_stages import rows_of

from vitruvian.curate import report
from vitruvian.curate.basics import Geometry, Integrity
from vitruvian.curate.cascade import Gated
from vitruvian.curate.engines import Here
from vitruvian.curate.people import Person
from vitruvian.curate.policy import parse_policy
from vitruvian.curate.select import select
from vitruvian.curate.stage import fingerprint
from vitruvian.curate.tree import Tree


@dataclass(frozen=True, kw_only=True)
class Areas:
    """Stands in for the stage text: the share is the number a picture is called, in per cent."""

    name: ClassVar[str] = "text"
    decodes: ClassVar[bool] = False
    upstream: ClassVar[None] = None
    schema: ClassVar[pa.Schema] = pa.schema([("area", pa.float32())])

    def identity(self):
        return {"version": 1}

    def open(self):
        return lambda pictures: [{"area": int(p.source[:2]) / 100} for p in pictures]


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Builds on a gated stage."""

    upstream: Gated
    name: ClassVar[str] = "probe_follower"
    decodes: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("double", pa.float64())])

    def identity(self):
        return {"version": 1, "embedding": self.upstream.identity()}

    def open(self):
        return lambda pictures: [{"double": 2 * p.before["mean"]} for p in pictures]


FILES = {
    "00.jpg": jpeg(0, 340, 420),
    "10.jpg": jpeg(1, 299, 420),
    "29.jpg": jpeg(2, 300, 420),
    "31.jpg": jpeg(3, 340, 420),
    "99.jpg": jpeg(4, 200, 420),
    "50.jpg": b"no picture",
}


def test_gated_pictures_are_null_and_say_why(tmp_path):
    tree = packed(tmp_path, FILES)
    text = Gated(inner=Areas())
    costly = Gated(inner=Obedient(), upstream=text)
    assert finish(tree, [Follower(upstream=costly)], Here()).failed == []
    gates = {name: row["gated_by"] for name, row in rows_of(tree, text).items()}
    small = "side < 300"
    assert gates == dict.fromkeys(FILES) | {"10.jpg": small, "99.jpg": small}
    for stage, column in ((costly, "mean"), (Follower(upstream=costly), "double")):
        rows = rows_of(tree, stage)
        found = {name: (row["status"], row["gated_by"]) for name, row in rows.items()}
        assert found == {
            "00.jpg": ("ok", None), "10.jpg": ("gated", small), "29.jpg": ("ok", None),
            "31.jpg": ("gated", "text_area > 0.3"), "99.jpg": ("gated", small),
            "50.jpg": ("skipped", None),
        }  # fmt: skip
        assert {name for name, row in rows.items() if row[column] is not None} == {
            "00.jpg", "29.jpg",
        }  # fmt: skip


def test_a_cascade_has_records_of_its_own():
    plain, text = Obedient(), Areas()
    marks = {
        fingerprint(stage)
        for stage in (
            plain, Gated(inner=plain), Gated(inner=plain, upstream=text),
            Gated(inner=plain, side=200), Gated(inner=plain, upstream=text, text_area=0.5),
        )
    }  # fmt: skip
    assert len(marks) == 5


POLICY = """
name = "large"
people = "len(person_boxes)"
[values]
side = 300
[[rules]]
name = "somebody"
keep = "len(list_filter(person_boxes, lambda b: box_short(b) > $side)) > 0"
"""


def test_the_report_says_how_far_thresholds_may_move(tmp_path):
    tree = packed(tmp_path, FILES)
    person = Person(make=Blobs, key="blobs")
    stages = [Integrity(), Geometry()]
    finish(tree, [*stages, Gated(inner=person, upstream=Gated(inner=Areas()))], Here())
    view = select(tree, parse_policy(POLICY, "here"))
    assert view.funnel[0].unknown == 4  # three gated, one unreadable
    (line,) = report.cascade_text(view)
    assert line.startswith("person: not asked about 3 of 6 pictures")
    assert "shorter sides from 300 pixels on and shares of text up to 0.3" in line
    assert line in report.funnel_text(view)
    page = tmp_path / "page.html"
    report.write_report(tree, tree.root / "views" / view.digest, page)
    assert "Scored as a cascade" in page.read_text()
    finish(tree, [person], Here())
    marks = {path.name[:4] for path in (tree.root / "records" / "person").iterdir()}
    assert len(marks) == 2
    plain = select(tree, parse_policy(POLICY, "here"), use={"person": fingerprint(person)})
    assert report.cascade_text(plain) == []
    assert plain.funnel[0].unknown == 1


def test_the_command_gates_what_is_costly_and_nothing_else(tmp_path):
    from vitruvian.commands.curate import _stages

    tree = Tree(tmp_path)
    for cascade in (False, True):
        made = {
            name: _stages(name, tree, "folder", "folder", (), 640, "cpu", cascade)[0]
            for name in ("geometry", "hashes", "text", "person", "embedding")
        }
        gated = {name for name, stage in made.items() if isinstance(stage, Gated)}
        assert gated == ({"text", "person", "embedding"} if cascade else set())
        if cascade:
            assert made["person"].upstream == made["embedding"].upstream == made["text"]
