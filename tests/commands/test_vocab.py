# SPDX-License-Identifier: Apache-2.0
"""``vitruvian vocab``: lists, posters, and files converted without touching the rest of them."""

import copy
import json

import cv2
import numpy as np
import pytest

from vitruvian.commands.conversion import convert_coco
from vitruvian.commands.vocab import convert, show
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.vocabulary import available, load


def test_show_lists_every_point(capsys):
    show("sapiens308")
    out = capsys.readouterr().out
    assert out.startswith("sapiens308, version 1: 308 points")
    for name in load("sapiens308").names:
        assert name in out
    assert "r_point_8_of_inner_helix (should read r_point_2_of_inner_helix)" in out
    row = next(line for line in out.splitlines() if "right_wrist" in line)
    assert row.split() == ["●", "41", "right_wrist", "body", "right", "62", "0.062"]


def test_show_classes(capsys):
    show("parts28")
    row = next(line for line in capsys.readouterr().out.splitlines() if " Left_Sock" in line)
    assert row.split() == ["●", "9", "Left_Sock", "footwear", "left", "18", "10"]


def test_show_without_a_name_lists_what_ships(capsys):
    show()
    out = capsys.readouterr().out
    assert all(name in out for name in available())
    show(json=True)
    listed = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry["size"] for entry in listed}["sapiens308"] == 308


@pytest.mark.parametrize("name", available())
def test_show_json_says_everything(capsys, name):
    show(name, json=True)
    said = json.loads(capsys.readouterr().out)
    v = load(name)
    rows = said["points" if v.kind == "points" else "classes"]
    assert [row["name"] for row in rows] == list(v.names)
    assert [row["mirror"] for row in rows] == v.mirror.tolist()
    assert (said["version"], len(said.get("links", []))) == (v.version, len(v.links))


def test_show_draws_a_poster(tmp_path, capsys):
    path = tmp_path / "coco.png"
    show("coco17", poster=path)
    assert "17 points drawn" in capsys.readouterr().out
    assert cv2.imread(str(path)).shape[2] == 3
    show("coco17", poster=path, json=True)
    assert json.loads(capsys.readouterr().out)["name"] == "coco17"
    with pytest.raises(InputError, match="--poster needs a vocabulary"):
        show(poster=path)
    with pytest.raises(UnknownNameError, match="did you mean coco17"):
        show("coco18")


def test_convert_lists_a_correspondence(capsys):
    convert("sapiens308", to="openpose18")
    out = capsys.readouterr().out
    assert "openpose18 from sapiens308: 18 of 18 points" in out
    assert "left_shoulder + right_shoulder" in out
    convert("sapiens308", to="coco17", json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["points"][9]["from"] == [{"index": 62, "name": "left_wrist"}]
    with pytest.raises(InputError, match="--out goes with a"):
        convert("sapiens308", to="coco17", out="x.json")


def coco_file() -> dict:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(0, 99, (17, 2)).round(1), np.full(17, 2)])
    points[5] = 0  # the left shoulder is not labelled
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 3}],
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 100}],
        "annotations": [
            {
                "id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 31.5,
                "iscrowd": 0, "segmentation": [[0, 0, 9, 0, 9, 9]], "num_keypoints": 16,
                "keypoints": points.ravel().tolist(),
            },
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [1, 1, 2, 2]},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(load("coco17").names), "skeleton": []},
            {"id": 2, "name": "dog"},
        ],
    }  # fmt: skip


def test_convert_a_dataset(tmp_path, capsys):
    source, out = tmp_path / "in.json", tmp_path / "deep" / "out.json"
    content = coco_file()
    source.write_text(json.dumps(content))
    convert(str(source), to="openpose18", out=out)
    assert "1 person, coco17 → openpose18, 18 of 18 points" in capsys.readouterr().out
    new = json.loads(out.read_text())
    assert {k: new[k] for k in ("info", "licenses", "images")} == {
        k: content[k] for k in ("info", "licenses", "images")
    }
    before, after = content["annotations"][0], new["annotations"][0]
    changed = {k for k in before if before[k] != after[k]}
    assert changed == {"keypoints"}
    assert after["num_keypoints"] == 16  # one for each of 17 but a shoulder; no middle without it
    assert new["annotations"][1] == content["annotations"][1]
    assert new["categories"][1] == {"id": 2, "name": "dog"}
    target = load("openpose18")
    category = new["categories"][0]
    assert (category["id"], category["name"]) == (1, "person")
    assert category["keypoints"] == list(target.names)
    assert category["skeleton"][0] == [2, 3]  # neck to right shoulder, counted from 1
    rows = np.array(after["keypoints"]).reshape(18, 3)
    old = np.array(before["keypoints"]).reshape(17, 3)
    np.testing.assert_array_equal(rows[target.index("nose")], old[0])
    assert rows[target.index("neck")].tolist() == [0, 0, 0]
    assert rows[target.index("left_shoulder")].tolist() == [0, 0, 0]


def test_convert_results(tmp_path):
    names = load("halpe26").names
    rows = np.column_stack([np.arange(26), np.arange(26), np.linspace(0.5, 1, 26)])
    result = {"image_id": 7, "category_id": 1, "score": 0.5, "keypoints": rows.ravel().tolist()}
    source, out = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps([result]))
    convert(str(source), to="body25", out=out)  # 26 points without names can only be Halpe's
    (new,) = json.loads(out.read_text())
    assert {k: new[k] for k in ("image_id", "category_id", "score")} == {
        k: result[k] for k in ("image_id", "category_id", "score")
    }
    assert "num_keypoints" not in new
    body = load("body25")
    converted = np.array(new["keypoints"]).reshape(25, 3)
    for name in ("nose", "left_big_toe"):
        np.testing.assert_allclose(converted[body.index(name)], rows[names.index(name)], atol=1e-3)
    shoulders = rows[[names.index("left_shoulder"), names.index("right_shoulder")]]
    neck = converted[body.index("neck")]
    np.testing.assert_allclose(neck[:2], shoulders[:, :2].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(neck[2], shoulders[:, 2].min(), atol=1e-3)


def test_wholebody_fields_are_put_together_and_split():
    whole = load("wholebody133")
    dataset = coco_file()
    dataset["categories"][0]["keypoints"] = list(load("coco17").names)
    points = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    for number, (key, count) in enumerate(points.items()):
        dataset["annotations"][0][key] = [number + 1.0, 5.0, 2.0] * count
    untouched = copy.deepcopy(dataset)
    new, done = convert_coco(dataset, load("sapiens308"))
    assert dataset == untouched
    assert [(found.source.name, count) for found, count in done] == [("wholebody133", 1)]
    entry = new["annotations"][0]
    assert not set(points) & set(entry)
    assert len(entry["keypoints"]) == 308 * 3
    assert entry["num_keypoints"] == 113  # the 114 but a shoulder
    back, done = convert_coco(new, whole)
    entry = back["annotations"][0]
    assert [found.source.name for found, _ in done] == ["sapiens308"]
    assert {key: len(entry[key]) for key in points} == {k: 3 * n for k, n in points.items()}
    assert entry["keypoints"] == dataset["annotations"][0]["keypoints"]
    assert entry["foot_kpts"] == dataset["annotations"][0]["foot_kpts"]
    assert entry["face_valid"] is True
    assert entry["face_kpts"][:3] == [0, 0, 0]  # the jaw
    small, _ = convert_coco(back, load("coco17"))
    assert "face_valid" not in small["annotations"][0]
    assert small["categories"][0]["keypoints"] == list(load("coco17").names)
    assert "wholebody_keypoints" not in small["categories"][0]


def test_scores_beside_the_points_convert_too():
    dataset = coco_file()
    dataset["annotations"][0]["keypoint_scores"] = [0.5] * 5 + [0.25] * 12
    new, _ = convert_coco(dataset, load("openpose18"))
    scores = new["annotations"][0]["keypoint_scores"]
    assert [scores[0], scores[1]] == [0.5, 0.25]


def test_what_cannot_be_converted_says_why(tmp_path, capsys):
    source, out = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps(coco_file()))
    with pytest.raises(InputError, match="--out"):
        convert(str(source), to="openpose18")
    with pytest.raises(InputError, match="halpe26 wants"):
        convert(str(source), to="openpose18", out=out, vocabulary="halpe26")
    source.write_text(json.dumps([{"image_id": 1, "keypoints": [0.0] * 42}]))
    with pytest.raises(InputError, match="aic or crowdpose"):
        convert(str(source), to="coco17", out=out)
    convert(str(source), to="coco17", out=out, vocabulary="aic", json=True)
    (done,) = json.loads(capsys.readouterr().out)["converted"]
    assert (done["people"], done["source"], done["target"]) == (1, "aic", "coco17")
    out.unlink()
    for broken, message in (
        ("{", "not a JSON file"),
        ('{"images": []}', "not laid out as a COCO keypoints dataset"),
        ('{"annotations": [{"bbox": [0, 0, 1, 1]}]}', "has no keypoints"),
    ):
        source.write_text(broken)
        with pytest.raises(InputError, match=message):
            convert(str(source), to="coco17", out=out)
    assert not out.exists()
