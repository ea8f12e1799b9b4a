# SPDX-License-Identifier: Apache-2.0
"""Maps in folders and manifests: what they mean, and what makes them unusable."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from layouts import SIZE, dense, dump, photo, save, silhouette, sphere

from vitruvian import image, vocabulary
from vitruvian.data.augment import foreground
from vitruvian.data.sources import SourceOptions, detect, open_source
from vitruvian.data.sources.folder import find_roles, open_folder
from vitruvian.data.sources.manifest import open_manifest
from vitruvian.data.sources.maps import MapSettings
from vitruvian.data.sources.parts import atr18, open_parts, sapiens_table
from vitruvian.errors import InputError
from vitruvian.formats import depth as depth_files
from vitruvian.formats import maps as map_files
from vitruvian.formats import normals as normal_files
from vitruvian.person import Raster

PARTS = vocabulary.load("parts28")
BOX = [10, 4, 21, 15]
METRIC = MapSettings(depth_kind="metric")
OPENGL = MapSettings(convention="opengl")


def labels():
    values = np.zeros(SIZE, np.uint8)
    values[4:16, 10:22] = 3
    values[6:9, 12:15] = 22
    return values


def depths():
    return np.where(silhouette() > 0, np.float32(2.5), np.float32(0))


def only(source):
    (person,) = source[0].people
    return person


# ----------------------------------------------------------------------------------- folders


def test_everything_by_equal_stems(tmp_path):
    root = dense(
        tmp_path,
        masks=(".png", silhouette()),
        parts=(".png", labels()),
        depths=(".npy", depths()),
        normals=(".npy", sphere()),
        albedo=(".png", np.full((*SIZE, 3), 9, np.uint8)),
    )
    settings = MapSettings(parts=PARTS, depth_kind="metric", convention="opengl")
    source = open_folder(root, settings)
    assert [source[n].name for n in range(2)] == ["a.jpg", "b/2.jpg"]
    assert source.people().tolist() == [1, 1]
    person = only(source)
    assert set(person.annotations) == {"parts", "depth", "normals", "albedo"}
    assert person.box.tolist() == BOX
    mask = silhouette() > 0
    assert (person.raster("parts").values == labels()).all()
    assert (person.raster("depth").mask == mask).all()
    assert person.raster("depth").kind == "metric"
    assert (person.raster("normals").mask == mask).all()
    facing = person.raster("normals").values[9, 15]
    np.testing.assert_allclose(facing, [0, 0, -1], atol=0.1)  # towards the viewer
    assert person.raster("normals").values[5, 15, 1] < -0.3  # the top points up
    assert (person.raster("albedo").mask == mask).all()


@pytest.mark.parametrize(
    ("folder", "role"),
    [("mask", "mask"), ("Depth", "depth"), ("normal", "normals"), ("labels", "parts")],
)
def test_other_names_of_folders(tmp_path, folder, role):
    (tmp_path / "rgb").mkdir()
    (tmp_path / folder).mkdir()
    assert find_roles(tmp_path) == {"images": tmp_path / "rgb", role: tmp_path / folder}
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="images and rgb both look like images"):
        find_roles(tmp_path)


def test_folders_by_other_names(tmp_path):
    photo(tmp_path / "p" / "1.png")
    save(tmp_path / "q" / "1.png", labels())
    settings = MapSettings(parts=PARTS)
    source = open_folder(tmp_path, settings, folders={"images": "p", "parts": "q"})
    assert only(source).box.tolist() == BOX
    with pytest.raises(InputError, match="no role maps"):
        open_folder(tmp_path, settings, folders={"images": "p", "maps": "q"})
    with pytest.raises(InputError, match="found p, q"):
        open_folder(tmp_path)


def test_masks_alone(tmp_path):
    person = only(open_folder(dense(tmp_path, masks=(".png", silhouette()))))
    assert person.box.tolist() == BOX
    assert person.raster("mask").vocabulary.names == ("background", "person")
    assert (foreground(person).values == (silhouette() > 0)).all()


def test_incomplete_sets(tmp_path):
    root = dense(tmp_path, masks=(".png", silhouette()))
    (root / "masks" / "a.png").unlink()
    with pytest.raises(InputError, match=r"masks/a\.\* missing: complete the set"):
        open_folder(root)
    assert len(open_folder(root, missing="skip")) == 1
    save(root / "masks" / "a.png", silhouette())
    (root / "images" / "a.jpg").rename(tmp_path / "lost.jpg")
    with pytest.raises(InputError, match=r"belong to no picture in .*a\.png.*--missing skip"):
        open_folder(root)
    assert len(open_folder(root, missing="skip")) == 1
    (tmp_path / "lost.jpg").rename(root / "images" / "a.jpg")
    (root / "masks" / "a.png").unlink()
    photo(root / "images" / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png would share their maps"):
        open_folder(root)
    save(root / "masks" / "a.png", silhouette())
    save(root / "masks" / "a.npy", silhouette())
    with pytest.raises(InputError, match="belong to the same picture"):
        open_folder(root)


def test_maps_of_another_size(tmp_path):
    root = dense(tmp_path, masks=(".png", silhouette((9, 9))))
    with pytest.raises(InputError, match=r"masks/a\.png is 9×9 .* its picture 20×30"):
        open_folder(root)[0]


# ------------------------------------------------------------------------------ masks, labels


def test_an_empty_mask(tmp_path):
    root = dense(tmp_path, masks=(".png", np.zeros(SIZE, np.uint8)))
    with pytest.raises(InputError, match=r"a\.png: the mask is empty, it marks nobody"):
        open_folder(root)[0]


@pytest.mark.parametrize("suffix", [".jpg", ".npy", ".npz", ".png"])
def test_masks_in_any_file(tmp_path, suffix):
    person = only(open_folder(dense(tmp_path, masks=(suffix, silhouette()))))
    assert np.abs(person.box - BOX).max() <= (1 if suffix == ".jpg" else 0)


def test_a_label_that_is_no_class(tmp_path):
    many = labels().astype(np.int64)
    many[0, 0] = 300
    root = dense(tmp_path / "a", parts=(".npy", many))
    with pytest.raises(InputError, match=r"a\.npy: .* from 0 to 300, wanted .* of 'parts28'"):
        open_folder(root, MapSettings(parts=PARTS))[0]
    root = dense(tmp_path / "b", parts=(".png", many.clip(0, 30).astype(np.uint8)))
    with pytest.raises(InputError, match=r"has the value 30, parts28 has 28 classes"):
        open_folder(root, MapSettings(parts=PARTS))[0]
    root = dense(tmp_path / "c", parts=(".npy", many.clip(0, 30)))
    with pytest.raises(InputError, match=r"has the value 30, parts28 has 28 classes"):
        open_folder(root, MapSettings(parts=PARTS))[0]


def test_labels_need_words(tmp_path):
    root = dense(tmp_path, parts=(".png", labels()))
    with pytest.raises(InputError, match="nothing says what its values mean"):
        open_folder(root)[0]
    map_files.write_labels(
        root / "parts" / "a.png", Raster(law="label", values=labels(), vocabulary=PARTS)
    )
    assert only(open_folder(root)).raster("parts").vocabulary is PARTS
    with pytest.raises(InputError, match="name a vocabulary of parts"):
        open_folder(dense(tmp_path / "n", parts=(".npy", labels())))[0]


def test_labels_of_another_set(tmp_path):
    root = dense(tmp_path, parts=(".png", np.full(SIZE, 5, np.uint8)))
    settings = MapSettings(parts=PARTS, labels="studio34")
    found = only(open_folder(root, settings)).raster("parts")
    name = PARTS.label_maps["studio34"][5][1]
    assert found.values[0, 0] == (255 if name == "ignore" else PARTS.index(name))
    bad = dense(tmp_path / "bad", parts=(".png", np.full(SIZE, 77, np.uint8)))
    with pytest.raises(InputError, match=r"a\.png: label values 77 are no class of studio34"):
        open_folder(bad, settings)[0]


def test_labels_not_known_without_an_ignored_value(tmp_path):
    words = vocabulary.make("two", ["no", "yes"], kind="parts", ignore=None)
    values = labels().clip(0, 1)
    values[0] = 255
    root = dense(tmp_path, parts=(".npy", values))
    raster = only(open_folder(root, MapSettings(parts=words))).raster("parts")
    assert not raster.mask[0].any()
    assert raster.mask[1:].all()


# ------------------------------------------------------------------------------ depth, normals


def test_depth_needs_its_kind(tmp_path):
    root = dense(tmp_path, depths=(".npy", depths()))
    with pytest.raises(InputError, match=r"a\.npy does not say what its depth means"):
        open_folder(root)[0]
    assert (only(open_folder(root, METRIC)).raster("depth").mask == (depths() > 0)).all()
    relative = only(open_folder(root, MapSettings(depth_kind="relative"))).raster("depth")
    assert relative.mask.all()  # 0 is the nearest
    millimetres = MapSettings(depth_kind="metric", depth_scale=1000)
    found = only(open_folder(root, millimetres)).raster("depth")
    assert found.values.max() == np.float32(0.0025)


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_depth_that_says_its_kind(tmp_path, suffix):
    if suffix == ".exr":
        pytest.importorskip("OpenEXR")
    root = dense(tmp_path, names=["a"], masks=(".png", silhouette()))
    (root / "depth").mkdir()
    raster = Raster(law="scalar", values=depths() + 1, kind="metric")
    write = depth_files.write_png if suffix == ".png" else depth_files.write_exr
    write(root / "depth" / f"a{suffix}", raster)
    found = only(open_folder(root)).raster("depth")
    assert found.kind == "metric"
    assert (found.mask == (silhouette() > 0)).all()
    assert (found.values[found.mask] == 3.5).all()


def test_holes_in_depth(tmp_path):
    broken = depths()
    broken[5, 11] = np.nan
    broken[0, 0] = np.nan  # not on the person
    root = dense(tmp_path, masks=(".png", silhouette()), depth=(".npy", broken))
    with pytest.raises(InputError, match=r"a\.npy: 1 of 144 person pixels have no depth \(NaN\)"):
        open_folder(root, METRIC)[0]
    kept = open_folder(root, MapSettings(depth_kind="metric", holes="keep"))
    assert only(kept).raster("depth").mask.sum() == 143
    bare = dense(tmp_path / "bare", depth=(".npy", broken[..., None]))
    with pytest.raises(InputError, match=r"2 of 600 pixels have no depth"):
        open_folder(bare, METRIC)[0]


def test_normals_need_their_axes(tmp_path):
    root = dense(tmp_path, normals=(".npy", sphere()))
    with pytest.raises(InputError, match=r"a\.npy does not say its axes"):
        open_folder(root)[0]


def test_normals_of_other_axes_than_said(tmp_path):
    root = dense(tmp_path, masks=(".png", silhouette()), normals=(".npy", sphere()))
    opencv = MapSettings(convention="opencv")
    with pytest.raises(InputError, match=r"read as opencv, only 0% .*would fit opengl or directx"):
        open_folder(root, opencv)[0]
    blind = MapSettings(convention="opencv", facing=False)
    assert only(open_folder(root, blind)).raster("normals").values[9, 15, 2] > 0.9
    mixed = sphere() * np.where(np.arange(30) % 2, 1, -1)[None, :, None]
    with pytest.raises(InputError, match="no convention fits"):
        open_folder(dense(tmp_path / "m", normals=(".npz", mixed)), OPENGL)[0]


def test_normals_that_are_colours(tmp_path):
    root = dense(tmp_path, normals=(".npy", (sphere() + 1) * 127.5))
    with pytest.raises(InputError, match="store unit normals"):
        open_folder(root, OPENGL)[0]
    flat = dense(tmp_path / "flat", normals=(".npy", np.ones(SIZE, np.float32)))
    with pytest.raises(InputError, match=r"wanted \(height, width, 3\)"):
        open_folder(flat, OPENGL)[0]


@pytest.mark.parametrize("masked", [True, False])
def test_normals_in_png(tmp_path, masked):
    maps = {"masks": (".png", silhouette())} if masked else {}
    root = dense(tmp_path, names=["a"], **maps)
    (root / "normals").mkdir()
    camera = (sphere() * (1, -1, -1)).astype(np.float32)
    raster = Raster(law="vector", values=camera)
    normal_files.write_png(root / "normals" / "a.png", raster, convention="opengl", bits=16)
    found = only(open_folder(root)).raster("normals")
    there = found.mask
    assert there.sum() == (144 if masked else 600)
    np.testing.assert_allclose(found.values[there], camera[there], atol=1e-4)
    pixels, text = np.zeros((*SIZE, 3), np.uint8), {}
    pixels[..., :2], pixels[..., 2] = 128, 20  # away from the viewer
    from vitruvian.formats import png

    png.write(root / "normals" / "a.png", pixels, text)
    with pytest.raises(InputError, match="face the viewer"):
        open_folder(root, OPENGL)[0]


def test_normals_with_holes(tmp_path):
    broken = sphere()
    broken[5, 11] = np.nan
    root = dense(tmp_path, masks=(".png", silhouette()), normals=(".npy", broken))
    with pytest.raises(InputError, match="1 of 144 person pixels have no normal"):
        open_folder(root, OPENGL)[0]
    kept = MapSettings(convention="opengl", holes="keep")
    assert only(open_folder(root, kept)).raster("normals").mask.sum() == 143


def test_files_that_hold_something_else(tmp_path):
    root = dense(tmp_path, depth=(".npy", depths()))
    (root / "depth" / "a.npy").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"a\.npy: no intact \.npy file"):
        open_folder(root, METRIC)[0]
    (root / "depth" / "a.npy").unlink()
    np.savez(root / "depth" / "a.npz", a=depths(), b=depths())
    with pytest.raises(InputError, match=r"a\.npz holds a, b: wanted one array"):
        open_folder(root, METRIC)[0]
    map_files.write_npz(
        root / "depth" / "a.npz", Raster(law="scalar", values=depths(), kind="metric")
    )
    assert only(open_folder(root, METRIC)).raster("depth").values.max() == 2.5


def test_cameras(tmp_path):
    root = dense(tmp_path, names=["a"], masks=(".png", silhouette()))
    inner = root / "camera_intrinsics" / "a.txt"
    inner.parent.mkdir()
    inner.write_text("50 0 15\n0 50 10\n0 0 1\n")
    assert open_folder(root)[0].camera.matrix[0, 2] == 15
    outer = root / "camera_extrinsics" / "a.npy"
    save(outer, np.vstack([np.eye(3, 4) + [[0, 0, 0, 1]] * 3, [[0, 0, 0, 1]]]))
    assert open_folder(root)[0].camera.translation.tolist() == [1, 1, 1]
    inner.write_text("50 0\n0 50")
    with pytest.raises(InputError, match=r"shape \(2, 2\), wanted 3×3"):
        open_folder(root)[0]
    inner.write_text("fifty")
    with pytest.raises(InputError, match="no matrix in it"):
        open_folder(root)[0]
    inner.write_text("50 0 15\n0 50 10\n0 0 nan\n")
    with pytest.raises(InputError, match=r"a\.txt: camera matrix has values"):
        open_folder(root)[0]


# ---------------------------------------------------------------------------------- manifests


def test_manifests(tmp_path):
    root = dense(tmp_path, names=["1", "2"], mask=(".png", silhouette()), depth=(".npy", depths()))
    entries = [
        {"rgb": f"images/{n}.jpg", "mask": f"mask/{n}.png", "depth_path": f"depth/{n}.npy"}
        for n in "21"
    ]
    entries[0]["id"] = "another"
    path = dump(root / "train.json", {"samples": entries})
    source = open_manifest(path, METRIC)
    assert [source[n].name for n in range(2)] == ["another", "images/1.jpg"]
    assert only(source).raster("depth").mask.sum() == 144
    options = SourceOptions(depth_kind="metric")
    assert len(open_source(path, options=options)[0]) == 2
    (root / "mask" / "1.png").unlink()
    with pytest.raises(InputError, match=r"mask/1\.png missing"):
        open_manifest(path, METRIC)
    assert len(open_manifest(path, METRIC, missing="skip")) == 1
    with pytest.raises(InputError, match=r"two samples are called 'images/2\.jpg'"):
        open_manifest(dump(path, [{"image": "images/2.jpg"}] * 2))
    with pytest.raises(InputError, match="sample 1 names no picture"):
        open_manifest(dump(path, [{"image": "images/2.jpg"}, {"mask": "a"}]))
    with pytest.raises(InputError, match="wanted a list of samples"):
        open_manifest(dump(path, {"a": 1}))


# --------------------------------------------------------------------------- public parsing sets


@pytest.mark.parametrize(
    ("name", "images", "maps"),
    [
        ("lip", "images/train_images", "segmentations/train_segmentations"),
        ("lip", "train_images", "TrainVal_parsing_annotations/train_segmentations"),
        ("cihp", "Training/Images", "Training/Category_ids"),
        ("atr", "JPEGImages", "SegmentationClassAug"),
    ],
)
def test_public_sets(tmp_path, name, images, maps):
    photo(tmp_path / images / "1.jpg")
    values = np.zeros(SIZE, np.uint8)
    values[5], values[6], values[7] = 2, 13 if name != "atr" else 11, 1
    save(tmp_path / maps / "1.png", values)
    source = open_parts(tmp_path, name)
    own = source[0].people[0].raster("parts")
    assert own.vocabulary.name == ("atr18" if name == "atr" else "lip20")
    assert own.vocabulary.names[own.values[6, 0]] == "Face"
    if not maps.startswith("segmentations"):
        assert detect(tmp_path) == name
    options = SourceOptions(parts="parts28")
    translated, _ = open_source(tmp_path, name, options)
    found = translated[0].people[0].raster("parts")
    assert found.values[5, 0] == PARTS.index("Hair")
    assert found.values[6, 0] == PARTS.index("Face_Neck")
    assert found.values[7, 0] == 255  # a hat
    assert found.values[0, 0] == 0
    assert translated.people().tolist() == [1]
    assert translated.where(0).endswith("1.jpg")
    assert translated.picture(0) == (tmp_path / images / "1.jpg").read_bytes()
    with pytest.raises(InputError, match="only lip, cihp and atr are translated"):
        open_parts(tmp_path, name, target=vocabulary.load("face19"))


def test_published_classes_of_lip():
    """What the released adapter makes of the 20 classes (published code)."""
    lip = vocabulary.load("lip20")
    table = sapiens_table(lip, PARTS)[:20].tolist()
    assert table == [
        0, 255, 3, 255, 255, 22, 255, 22, 255, 12, 255, 255, 22, 2, 255, 255, 255, 255, 8, 17
    ]  # fmt: skip


PARSING = {
    "lip": ("{}_images", "TrainVal_parsing_annotations/{}_segmentations", ("train", "val")),
    "cihp": ("{}/Images", "{}/Category_ids", ("Training", "Validation")),
}


@pytest.mark.parametrize("name", PARSING)
def test_parts_of_public_sets_are_kept_apart(tmp_path, name):
    images, maps, words = PARSING[name]
    for number, word in enumerate(words):
        photo(tmp_path / images.format(word) / f"{number}.jpg")
        save(tmp_path / maps.format(word) / f"{number}.png", np.zeros(SIZE, np.uint8))
    assert detect(tmp_path) == name
    for split, own in (("train", "0.jpg"), ("val", "1.jpg"), (None, "0.jpg")):
        source, _ = open_source(tmp_path, name, SourceOptions(split=split))
        assert [source.where(n).rpartition("/")[2] for n in range(len(source))] == [own]
    shutil.rmtree(tmp_path / images.format(words[1]))
    with pytest.raises(InputError, match=rf"not laid out as {name} \(val\)"):
        open_source(tmp_path, name, SourceOptions(split="val"))
    with pytest.raises(InputError, match="split has no effect on atr"):
        open_source(tmp_path, "atr", SourceOptions(split="val"))


@pytest.mark.parametrize("target", ["parts28", "parts29"])
@pytest.mark.parametrize("name", ["lip", "cihp", "atr"])
def test_every_class_of_public_sets_is_translated_by_name_or_not_known(tmp_path, name, target):
    own = atr18() if name == "atr" else vocabulary.load("lip20")
    words = vocabulary.load(target)
    images, maps = {
        "lip": ("val_images", "val_segmentations"),
        "cihp": ("Images", "Category_ids"),
        "atr": ("JPEGImages", "SegmentationClassAug"),
    }[name]
    values = np.full((31, 17), 255, np.uint8)  # odd sizes; void where nothing is written
    for value in range(len(own)):
        values[value] = value
    image.write(tmp_path / images / "a.png", np.zeros((31, 17, 3), np.uint8))
    save(tmp_path / maps / "a.png", values)
    options = SourceOptions(parts=target, split="val" if name == "lip" else None)
    source, _ = open_source(tmp_path, name, options)
    found = source[0].people[0].raster("parts")
    assert found.vocabulary == words
    wanted = {
        "Background": "Background", "Hair": "Hair", "Face": "Face_Neck", "Coat": "Upper_Clothing",
        "UpperClothes": "Upper_Clothing", "Skirt": "Upper_Clothing", "Pants": "Lower_Clothing",
        "Left-shoe": "Left_Shoe", "Right-shoe": "Right_Shoe",
    }  # fmt: skip
    for value, part in enumerate(own.names):
        into = words.index(wanted[part]) if part in wanted else 255
        assert set(found.values[value]) == {into}, part
    assert (found.values[len(own) :] == 255).all()
    assert not found.mask[found.values == 255].any()
    image.write(tmp_path / images / "a.png", np.zeros((17, 31, 3), np.uint8))
    with pytest.raises(InputError, match="must have the same size"):
        source[0]
    image.write(tmp_path / images / "b.png", np.zeros((31, 17, 3), np.uint8))
    with pytest.raises(InputError, match=r"b\.\* missing"):
        open_source(tmp_path, name, options)
    assert len(open_source(tmp_path, name, replace(options, missing="skip"))[0]) == 1
    save(tmp_path / maps / "b.png", np.full((31, 17), len(own), np.uint8))
    with pytest.raises(InputError, match=f"has {len(own)} classes"):
        open_source(tmp_path, name, options)[0][1]


def test_faces(tmp_path):
    photo(tmp_path / "000000.png")
    save(tmp_path / "000000_seg.png", np.full(SIZE, 2, np.uint8))
    source, _ = open_source(tmp_path, "face")
    assert len(source) == 1
    assert source[0].people[0].raster("parts").vocabulary.name == "face19"
    image.write(tmp_path / "1.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(InputError, match=r"1_seg\.png missing"):
        open_source(tmp_path, "face")


def test_public_sets_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"not laid out as cihp \(train\): wanted Training/Images"):
        open_parts(tmp_path, "cihp")
