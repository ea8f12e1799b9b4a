# SPDX-License-Identifier: Apache-2.0
"""Keypoint sets, picture folders, tars, and how layouts are told apart."""

import json
import pickle

import numpy as np
import pytest
from data_samples import plain_sample, random_sample
from layouts import SIZE, coco_set, dense, dump, person, photo, silhouette, tar_of
from PIL import Image

from vitruvian import image, vocabulary
from vitruvian.data.shards import write_shard
from vitruvian.data.source import PerPerson
from vitruvian.data.sources import LAYOUTS, SourceOptions, detect, open_source
from vitruvian.data.sources.coco import open_coco
from vitruvian.data.sources.images import open_images
from vitruvian.data.sources.names import open_aic, open_crowdpose, open_mpii
from vitruvian.data.sources.webdataset import Tars
from vitruvian.errors import InputError, UnknownNameError

# ---------------------------------------------------------------------------------- pictures


def test_pictures_in_sorted_order(tmp_path):
    for name in ("z.jpg", "b/c.png", "a.webp", "B.JPG"):
        photo(tmp_path / name)
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    source = open_images(tmp_path)
    assert [source[n].name for n in range(len(source))] == ["B.JPG", "a.webp", "b/c.png", "z.jpg"]
    assert source.people().tolist() == [0] * 4
    assert source.picture(2) == (tmp_path / "b" / "c.png").read_bytes()
    assert source.where(2) == str(tmp_path / "b" / "c.png")
    assert not source[0].people
    (tmp_path / "a.webp").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"a\.webp is an HTML page"):
        source[1]
    with pytest.raises(InputError, match="no such folder"):
        open_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture in it"):
        open_images(tmp_path / "empty")


# -------------------------------------------------------------------------------------- COCO


def test_coco(tmp_path):
    path = coco_set(tmp_path)
    source = open_coco(path)
    assert [source[n].name for n in range(2)] == ["a.jpg", "b.jpg"]
    assert source.people().tolist() == [1, 2]
    sample = source[1]
    assert sample.people[0].points().vocabulary.name == "coco17"
    assert sample.people[0].box.tolist() == [2, 3, 12, 15]
    wanted = np.array(person(0)["keypoints"]).reshape(-1, 3)
    np.testing.assert_allclose(sample.people[0].points().xy, wanted[:, :2], rtol=1e-6)
    assert len(PerPerson(source)) == 3


def test_wholebody_and_the_published_308(tmp_path):
    rng = np.random.default_rng(0)

    def rows(count):
        return np.column_stack([rng.uniform(1, 18, (count, 2)), np.ones(count)]).ravel().tolist()

    whole = person(0, 17, foot_kpts=rows(6), face_kpts=rows(68))
    whole |= {"lefthand_kpts": rows(21), "righthand_kpts": rows(21), "face_valid": False}
    published = person(0, 17, goliath_wholebody_kpts=rows(308))
    for entry, name, there in ((whole, "wholebody133", 65), (published, "sapiens308", 308)):
        path = coco_set(tmp_path / name)
        content = json.loads(path.read_text()) | {"annotations": [entry]}
        points = open_coco(dump(path, content))[0].people[0].points()
        assert points.vocabulary.name == name
        assert points.present.sum() == there


def test_points_of_ones_own(tmp_path):
    names = [*(f"left_{n}" for n in "abcd"), *(f"right_{n}" for n in "abcd"), "tip"]
    source = open_coco(coco_set(tmp_path / "own", count=9, keypoints=names, skeleton=[[1, 9]]))
    words = source[0].people[0].points().vocabulary
    assert words.names == tuple(names)
    assert words.mirror.tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 8]
    doubtful = coco_set(tmp_path / "doubt", count=9, keypoints=[f"p{n}" for n in range(9)])
    with pytest.raises(InputError, match="left and right cannot be told"):
        open_coco(doubtful)
    words = vocabulary.make("nine", [f"p{n}" for n in range(9)], mirror_pairs=[])
    found = open_coco(doubtful, vocabulary=words)
    assert found[0].people[0].points().vocabulary is words


def test_missing_pictures_and_nobody(tmp_path):
    path = coco_set(tmp_path)
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"people\.json: .*a\.jpg of 2 pictures is missing"):
        open_coco(path, tmp_path / "images")
    assert len(open_coco(path, tmp_path / "images", missing="skip")) == 1
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(InputError, match="not beside it"):
        open_coco(path)
    with pytest.raises(InputError, match=r"2 \(.*a\.jpg, .*b\.jpg\) of 2 pictures are missing"):
        open_coco(path, tmp_path / "images")
    content = json.loads(path.read_text()) | {"annotations": []}
    with pytest.raises(InputError, match="nobody in 2 pictures has 1 or more"):
        open_coco(dump(path, content), tmp_path / "images")


def test_people_without_points_or_box(tmp_path):
    path = coco_set(tmp_path)
    content = json.loads(path.read_text())
    first, second, third = content["annotations"]
    first["keypoints"] = [0] * 51
    second["bbox"] = [0, 0, 0, 0]
    third["keypoints"][:3] = [0, 0, 0]
    source = open_coco(dump(path, content))
    assert source.people().tolist() == [1, 1]
    points = source[1].people[0].points()
    np.testing.assert_allclose(source[1].people[0].box, [*points.xy.min(0), *points.xy.max(0)])
    assert len(open_coco(path, least_points=17)) == 1


def test_pictures_that_changed_after_annotation(tmp_path):
    path = coco_set(tmp_path)
    photo(tmp_path / "images" / "a.jpg", size=(9, 9))
    with pytest.raises(InputError, match=r"a\.jpg is 9×9 .* made for 20×30: it was resized"):
        open_coco(path)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "images" / "b.jpg", exif=exif)
    with pytest.raises(InputError, match="turned by its EXIF"):
        open_coco(path)[1]


def test_one_picture_twice(tmp_path):
    with pytest.raises(InputError, match=r"two pictures are called 'a\.jpg'"):
        open_coco(coco_set(tmp_path, names=("a.jpg", "a.jpg")))


# ------------------------------------------------------------------------------------- names


def test_mpii(tmp_path):
    photo(tmp_path / "images" / "1.jpg")
    joints = [[n + 2.0, n + 3.0] for n in range(16)]
    seen = [1] * 15 + [0]
    entry = {"image": "1.jpg", "joints": joints, "joints_vis": seen, "scale": 0.05}
    path = dump(tmp_path / "train.json", [entry | {"center": [11, 12]}])
    sample = open_mpii(path)[0]
    points = sample.people[0].points()
    assert points.vocabulary.name == "mpii"
    assert points.xy[3].tolist() == [4, 5]  # counted from 1 in the file
    assert points.present.tolist() == [True] * 15 + [False]
    np.testing.assert_allclose(sample.people[0].box, [5, 6.75, 15, 16.75])
    assert detect(path) == "mpii"
    with pytest.raises(InputError, match="MPII people"):
        open_mpii(dump(path, [{"image": "1.jpg"}]))


def test_ai_challenger(tmp_path):
    photo(tmp_path / "images" / "x.jpg")
    flat = [value for n in range(14) for value in (n, n + 1, 1 + n % 3)]
    entry = {
        "image_id": "x",
        "human_annotations": {"human1": [1, 2, 20, 18]},
        "keypoint_annotations": {"human1": flat, "human2": flat},
    }
    path = dump(tmp_path / "aic.json", [entry])
    first, second = open_aic(path)[0].people
    points = first.points()
    assert points.vocabulary.name == "aic"
    assert points.visibility[:3].tolist() == [2, 1, 0]
    assert np.isnan(points.xy[2]).all()
    assert first.box.tolist() == [1, 2, 20, 18]
    assert second.box.tolist() == [0, 1, 13, 14]
    assert detect(path) == "aic"
    converted = coco_set(tmp_path / "c", count=14)
    assert open_aic(converted)[0].people[0].points().vocabulary.name == "aic"


def test_crowdpose(tmp_path):
    path = coco_set(tmp_path, count=14)
    assert open_crowdpose(path)[0].people[0].points().vocabulary.name == "crowdpose"
    source, layout = open_source(path, "crowdpose")
    assert layout.name == "crowdpose"
    assert len(source) == 2


# -------------------------------------------------------------------------------------- tars


def jpeg(seed=0):
    return image.encode(plain_sample(seed).image, ".jpg")


def test_foreign_tars(tmp_path):
    files = [("./x/1.jpg", jpeg()), ("./x/1.txt", b"words"), ("./x/2.JPEG", jpeg(1)[:99])]
    tar_of(tmp_path / "b.tar", [*files, ("x/3.png", image.encode(plain_sample(2).image, ".png"))])
    tar_of(tmp_path / "a.tar", [("7.cls", b"3"), ("7.jpg", jpeg(3))])
    (tmp_path / "skip").mkdir()
    source, layout = open_source(tmp_path)
    assert layout.name == "webdataset"
    assert [source[n].name for n in range(2)] == ["7", "x/1"]
    assert source.where(3) == f"{tmp_path / 'b.tar'}, x/3"
    assert source.picture(1) == jpeg()
    assert source.people().tolist() == [0] * 4
    assert (source[3].image == plain_sample(2).image).all()
    with pytest.raises(InputError, match=r"b\.tar, x/2: .* is truncated"):
        source[2]
    copy = pickle.loads(pickle.dumps(source))
    assert copy[0].size == (24, 31)


def test_tars_of_ours_without_their_index(tmp_path):
    write_shard(tmp_path / "s.tar", [random_sample(0, "k")])
    (tmp_path / "s.index.parquet").unlink()
    source, layout = open_source(tmp_path / "s.tar")
    assert layout.name == "webdataset"
    assert source.people().tolist() == [2]
    assert source[0].people[0].points().vocabulary.name == "coco17"


def test_tars_that_cannot_be_used(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("1.txt", b"a"), ("2.jpg", jpeg())])
    with pytest.raises(InputError, match=r"a\.tar, 1 without a picture"):
        Tars([path])
    assert len(Tars([path], missing="skip")) == 1
    tar_of(path, [("1.txt", b"a")])
    with pytest.raises(InputError, match="no picture in there"):
        Tars([path], missing="skip")
    tar_of(path, [("1.jpg", jpeg()), ("2.jpg", jpeg()), ("1.txt", b"")])
    with pytest.raises(InputError, match="'1' do not stand together"):
        Tars([path])
    tar_of(path, [("1.jpg", jpeg()), ("1.jpg", jpeg())])
    with pytest.raises(InputError, match=r"'1\.jpg' is there twice"):
        Tars([path])
    tar_of(path, [("1.jpg", jpeg())])
    source = Tars([path])
    with path.open("rb+") as file:
        file.truncate(700)
    with pytest.raises(InputError, match=r"a\.tar, 1: jpg is cut"):
        source[0]
    with pytest.raises(InputError, match="truncated"):
        Tars([path])


# ----------------------------------------------------------------------------------- layouts


def test_layouts_are_told_apart(tmp_path):
    assert detect(coco_set(tmp_path / "coco")) == "coco"
    assert detect(tmp_path / "coco") == "coco"
    source, _ = open_source(tmp_path / "coco")
    assert len(source) == 2
    dense(tmp_path / "dense", masks=(".png", silhouette()))
    assert detect(tmp_path / "dense") == "folder"
    photo(tmp_path / "photos" / "x" / "1.jpg")
    assert detect(tmp_path / "photos") == "images"
    write_shard(tmp_path / "packed" / "s.tar", [plain_sample()])
    assert detect(tmp_path / "packed") == "shards"
    source, layout = open_source(tmp_path / "packed")
    assert (len(source), layout.name) == (1, "shards")
    manifest = dump(tmp_path / "m" / "train.json", {"samples": [{"image": "a.png"}]})
    assert detect(manifest) == "manifest"
    assert detect(dump(manifest, [{"rgb": "a.png", "mask": "b.png"}])) == "manifest"
    assert detect(tmp_path / "m") == "manifest"


def test_what_is_no_layout(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_source(tmp_path / "none")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(InputError, match=r"wanted a folder, a \.json"):
        detect(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"no layout that is known, it holds a\.csv"):
        detect(tmp_path)
    for content in ({"a": 1}, [3], [{"b": 1}], "x"):
        with pytest.raises(InputError, match="no layout that is known"):
            detect(dump(tmp_path / "b.json", content))
    (tmp_path / "b.json").write_text("[{")
    with pytest.raises(InputError, match="no annotations can be read"):
        detect(tmp_path / "b.json")
    dump(tmp_path / "c.json", {})
    with pytest.raises(InputError, match=r"2 \(b\.json, c\.json\): name the annotation file"):
        detect(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean coco"):
        open_source(tmp_path, "cocoo")


def test_options_without_effect_are_errors(tmp_path):
    path = coco_set(tmp_path)
    with pytest.raises(InputError, match="depth_kind, holes has no effect on coco"):
        open_source(path, options=SourceOptions(depth_kind="metric", holes=True))
    words = vocabulary.load("coco17").name
    options = SourceOptions(points=words, images=tmp_path / "images")
    assert len(open_source(path, options=options)[0]) == 2
    assert len(open_source(tmp_path, "coco", options)[0]) == 2


def test_every_layout_states_options_that_exist():
    known = set(SourceOptions.__dataclass_fields__)
    for layout in LAYOUTS.values():
        assert set(layout.options) <= known
