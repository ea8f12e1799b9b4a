# SPDX-License-Identifier: Apache-2.0
"""``vitruvian curate`` as a person runs it, from a folder of pictures to training shards."""

import json

import numpy as np
import pytest
from corpus import jpeg, write_files

from vitruvian import cli
from vitruvian.data.reader import Shards

POLICY = """
name = "sharp"
[values]
sharpness = 0.5
[[rules]]
name = "readable"
keep = "integrity_status LIKE 'ok%'"
reason = "it decodes"
[[rules]]
name = "sharp"
keep = "blur_sharpness > $sharpness"
[[rules]]
name = "large"
keep = "geometry_width >= 60"
[duplicates]
exact = true
near_bits = 2
"""


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, capsys.readouterr()


@pytest.fixture
def source(tmp_path):
    files = {f"{n:02d}.jpg": jpeg(n, 90, 120) for n in range(20)}
    files |= {"same.jpg": files["03.jpg"], "cut.jpg": files["04.jpg"][:900]}
    files["narrow.jpg"] = jpeg(30, 90, 40)
    return write_files(tmp_path / "photos", files)


def test_from_a_folder_to_training_shards(tmp_path, source, capsys):
    tree, policy = tmp_path / "tree", tmp_path / "sharp.toml"
    policy.write_text(POLICY)
    code, said = run(capsys, "curate", "pack", source, "--out", tree, "--shard-pictures", "8")
    assert code == 0
    assert "23 pictures in 3 new shards" in said.out
    code, said = run(capsys, "curate", "score", tree, "--workers", "1")
    assert code == 0, said.err
    assert "23 pictures in 3 of 3 shards scored" in said.out
    code, said = run(capsys, "curate", "score", tree, "--workers", "1")
    assert "nothing left to score" in said.out
    code, said = run(capsys, "curate", "select", tree, "--policy", policy)
    assert not code, said.err
    for word in ("readable", "sharp", "large", "exact", "near", "kept 20 of 23"):
        assert word in said.out
    code, said = run(capsys, "curate", "select", tree, "--policy", policy, "--set", "sharpness=1e9")
    assert "kept 0 of 23" in said.out
    views = sorted((tree / "views").glob("*/view.json"), key=lambda p: p.stat().st_mtime)
    view = views[0].parent.name
    page = tmp_path / "page.html"
    code, said = run(
        capsys, "curate", "report", tree, "--out", page, "--view", view, "--audit", "--pictures", 3
    )
    assert not code, said.err
    text = page.read_text()
    for word in ("Where pictures go", "geometry_width", "data:image/jpeg", "Save marks", "paper"):
        assert word in text
    assert "http://" not in text
    code, said = run(capsys, "curate", "export", tree, "--out", tmp_path / "out", "--view", view)
    assert not code, said.err
    assert "20 pictures in 1 shards" in said.out
    assert len(Shards(tmp_path / "out")) == 20
    code, said = run(capsys, "curate", "estimate", "--tree", tree, "--pictures", "1e6")
    assert not code, said.err
    for word in ("integrity", "blur", "TB", "not measured, so not counted: text, person"):
        assert word in said.out


def test_marks_become_precision_and_labels(tmp_path, capsys):
    from vitruvian.curate.audit import read_labels, read_marks, wilson

    marks = [
        {"uid": f"{n:032x}", "rule": "text", "verdict": "dropped", "right": n < 9}
        for n in range(12)
    ]
    marks.append({"uid": f"{20:032x}", "rule": "text", "verdict": "kept", "right": False})
    path = tmp_path / "audit.json"
    path.write_text(json.dumps({"format": "vitruvian audit 1", "view": "v", "marks": marks}))
    code, said = run(capsys, "curate", "audit", path)
    assert not code
    assert "9 of 12" in said.out
    assert len(read_marks(path)) == 13
    labels = read_labels(path, "text")
    assert sum(labels.values()) == 10  # nine rightly dropped, one wrongly kept
    # Newcombe, 1998, table I, method 3: 81 of 263
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    table = tmp_path / "labels.csv"
    table.write_text("uid,label\n" + "".join(f"{n:032x},{n % 2}\n" for n in range(4)))
    assert list(read_labels(table).values()) == [False, True, False, True]
    for name, content in (("a.csv", "uid,label\nzz,1\n"), ("b.csv", "x\n1\n"), ("c.json", "{}")):
        (tmp_path / name).write_text(content)
        code, said = run(
            capsys, "curate", "fit-probe", tmp_path, tmp_path / name, "--out",
            tmp_path / "h.safetensors", "--name", "x",
        )  # fmt: skip
        assert code == 2
        assert "wanted" in said.err


def test_an_absent_detector_leaves_the_other_stages_done(tmp_path, source, capsys):
    tree = tmp_path / "tree"
    run(capsys, "curate", "pack", source, "--out", tree)
    code, said = run(
        capsys, "curate", "score", tree, "--workers", 1, "--stages", "person", "geometry"
    )
    assert code == 2
    assert "vitruvian weights fetch hf:PekingU/rtdetr_v2_r18vd" in said.err
    assert "23 pictures" in said.out
    assert list(tree.glob("records/geometry/*/main/00/000000.parquet"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "nowhere"), "vitruvian curate pack"),
        (("select", "nowhere"), "vitruvian curate pack"),
        (("select", "nowhere", "--policy", "sapien"), "sapiens"),
        (("report", "nowhere", "--out", "a.html"), "vitruvian curate select"),
        (("estimate", "--pictures", "0", "--tree", "nowhere"), "no records"),
        (("select", "nowhere", "--set", "person_side"), "NAME=VALUE"),
    ],
)
def test_errors_teach(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, found = run(capsys, "curate", *arguments)
    assert code == 2
    assert said in found.err


def test_a_calibration_finds_the_score(tmp_path, monkeypatch):
    from vitruvian.curate import calibrate

    hits = np.array([1, 1, 1, 0, 1, 0, 0, 1], bool)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert calibrate.lowest_score(hits, scores, 1.0) == 0.7
    assert calibrate.lowest_score(hits, scores, 0.8) == 0.5
    assert calibrate.lowest_score(hits, scores, 0.5) == 0.2
    equal = np.full(8, 0.5)
    with pytest.raises(Exception, match=r"0.625"):
        calibrate.lowest_score(hits, equal, 0.7)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]], float)
    assert calibrate.matched(boxes, boxes[:1]) == [True, False, False]
