# SPDX-License-Identifier: Apache-2.0
"""Samples come back from their files as exactly as each law promises."""

import json
from dataclasses import replace

import numpy as np
import pytest
from data_samples import COCO, LAWS, PARTS, SIZE, random_raster, random_sample
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian import image, vocabulary
from vitruvian.data import codec
from vitruvian.data.rasters import decode_raster, encode_raster, without_invalid
from vitruvian.errors import InputError
from vitruvian.person import Person, Points, Raster, Sample

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=False)


def again(raster):
    entry, files = encode_raster(raster)
    return decode_raster(json.loads(json.dumps(entry)), files, raster.vocabulary)


def angle(a, b):
    """Degrees between unit vectors, exact for small angles too."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


# ------------------------------------------------------------------------------ law by law


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 27)
    ),
    st.randoms(use_true_random=False),
)
def test_labels_exactly(values, random):
    valid = np.array([[random.random() < 0.7 for _ in row] for row in values])
    kept = again(Raster(law="label", values=values, valid=valid, vocabulary=PARTS, origin=(3, -4)))
    assert (kept.mask == valid).all()
    assert (kept.values[valid] == values[valid]).all()
    assert kept.origin == (3, -4)
    assert kept.vocabulary is PARTS


def test_ignored_labels_stay_ignored():
    raster = Raster(law="label", values=[[1, 255], [0, 27]], vocabulary=PARTS)
    kept = again(raster)
    assert (kept.values == raster.values).all()
    assert (kept.mask == raster.mask).all()


def test_labels_without_an_ignored_value():
    words = vocabulary.make("two", ["background", "hand"], kind="parts", ignore=None)
    kept = again(Raster(law="label", values=[[1, 0]], valid=[[True, False]], vocabulary=words))
    assert kept.values.tolist() == [[1, 0]]
    assert kept.mask.tolist() == [[True, False]]
    with pytest.raises(InputError, match="at most 255 classes"):
        encode_raster(Raster(law="label", values=[[255]], vocabulary=words))


@given(
    hnp.arrays(np.float32, (5, 4), elements=st.floats(0.125, 1000, width=32)),
    st.sampled_from(["metric", "inverse"]),
)
def test_metric_scalars_to_a_ten_thousandth(values, kind):
    kept = again(Raster(law="scalar", values=values, kind=kind))
    assert kept.valid is None
    assert kept.kind == kind
    assert np.abs(kept.values / values.astype(np.float64) - 1).max() <= 1e-4


def test_scalars_in_sixteen_bits_where_that_is_enough():
    near = np.linspace(2.5, 4, 60, dtype=np.float32).reshape(6, 10)
    assert "png" in encode_raster(Raster(law="scalar", values=near, kind="metric"))[1]
    far = near.copy()
    far[0, 0] = 1e4
    entry, files = encode_raster(Raster(law="scalar", values=far, kind="metric"))
    assert list(files) == ["npz"]
    assert (decode_raster(entry, files).values == far).all()


@given(hnp.arrays(np.float32, (5, 4), elements=FLOATS))
def test_other_scalars_exactly(values):
    kept = again(Raster(law="scalar", values=values, kind="heat"))
    there = np.isfinite(values)
    assert (kept.mask == there).all() or there.all()
    assert (kept.values[there] == values[there]).all()


@given(hnp.arrays(np.float32, (6, 4), elements=st.floats(0, 1, width=32)))
def test_relative_scalars_to_their_range(values):
    kept = again(Raster(law="scalar", values=values, valid=values >= 0.1, kind="relative"))
    assert (kept.mask == (values >= 0.1)).all()
    assert np.abs(kept.values - values)[kept.mask].max(initial=0) <= 1e-5


def test_depth_that_is_nothing_is_invalid():
    values = np.array([[0, np.nan, 2], [3, -1, np.inf]], np.float32)
    kept = again(Raster(law="scalar", values=values, kind="metric"))
    assert kept.mask.tolist() == [[False, False, True], [True, False, False]]
    assert kept.values[1, 0] == 3


@given(hnp.arrays(np.float64, (7, 3), elements=st.floats(-1, 1)), st.booleans())
def test_vectors_to_a_hundredth_of_a_degree(values, axis):
    values[np.linalg.norm(values, axis=1) < 1e-3] = (0, 0, -1)
    if axis:  # the folds of the octahedron
        values[:, 2] = np.abs(values[:, 2])
        values[0], values[1], values[2] = (0, 0, 1), (1, 0, 0), (0, -1, 0)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    kept = again(Raster(law="vector", values=values[None]))
    assert kept.valid is None
    assert angle(kept.values[0], values).max() < 0.01


def test_random_vectors_to_half_a_hundredth():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 300, 3))
    values /= np.linalg.norm(values, axis=2, keepdims=True)
    valid = rng.uniform(size=(100, 300)) > 0.3
    kept = again(Raster(law="vector", values=values, valid=valid))
    assert (kept.mask == valid).all()
    assert angle(kept.values, values)[valid].max() < 0.005
    assert (kept.values[~valid] == 0).all()


@pytest.mark.parametrize("law", ["colour", "position"])
@given(values=hnp.arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32)))
def test_colours_and_positions(law, values):
    valid = values[..., 0] > 0.2
    kept = again(Raster(law=law, values=values, valid=valid))
    assert (kept.mask == valid).all()
    error = np.abs(kept.values - values)[valid].max(initial=0)
    assert error == 0 if law == "position" else error <= 1e-5


def test_eight_bit_colours_exactly():
    raster = random_raster(np.random.default_rng(1), "colour")
    kept = again(raster)
    assert kept.values.dtype == np.uint8
    assert (kept.values == without_invalid(raster).values).all()


@pytest.mark.parametrize("law", LAWS)
def test_damaged_files_are_told(law):
    entry, files = encode_raster(random_raster(np.random.default_rng(0), law))
    words = PARTS if law == "label" else None
    with pytest.raises(InputError, match="is missing"):
        decode_raster(entry, {}, words)
    suffix = next(iter(files))
    with pytest.raises(InputError, match="is damaged"):
        decode_raster(entry, {suffix: files[suffix][:40]}, words)
    with pytest.raises(InputError, match=r"the sample says"):
        decode_raster(entry | {"size": [3, 3]}, files, words)


def test_flipped_bits_of_archives_are_told():
    entry, files = encode_raster(random_raster(np.random.default_rng(0), "position"))
    intact = files["npz"]
    refused = 0
    for at in range(0, len(intact), 7):
        flipped = intact[:at] + bytes([intact[at] ^ 0xFF]) + intact[at + 1 :]
        try:
            decode_raster(entry, {"npz": flipped})
        except InputError:
            refused += 1
    assert refused > len(intact) // 14


# --------------------------------------------------------------------------- whole samples


def assert_same(kept, sample, pixels=True):
    assert kept.name == sample.name
    assert not pixels or (kept.image == sample.image).all()
    assert len(kept.people) == len(sample.people)
    assert set(kept.rasters) == set(sample.rasters)
    for name in sample.rasters:
        assert (kept.rasters[name].mask == sample.rasters[name].mask).all()
    assert (kept.camera is None) == (sample.camera is None)
    if sample.camera is not None:
        assert kept.camera.to_dict() == sample.camera.to_dict()
    for one, other in zip(kept.people, sample.people, strict=True):
        assert (one.box == other.box).all()
        assert (one.score, one.identity) == (other.score, other.identity)
        assert set(one.annotations) == set(other.annotations)
        for name, annotation in other.annotations.items():
            found = one.annotations[name]
            if isinstance(annotation, Points):
                for key in ("xy", "scores", "visibility", "xyz"):
                    np.testing.assert_array_equal(getattr(found, key), getattr(annotation, key))
            else:
                assert (found.mask == annotation.mask).all()
                assert (found.law, found.kind) == (annotation.law, annotation.kind)


def test_a_sample_with_everything():
    sample = random_sample()
    members = codec.encode(sample)
    assert list(members)[:2] == ["json", "png"]
    assert "0.label.png" in members
    assert "parts.png" in members
    assert_same(codec.decode(members), sample)
    assert codec.encode(random_sample()) == members


@given(
    hnp.arrays(np.float32, (17, 2), elements=FLOATS),
    hnp.arrays(np.float32, 17, elements=st.floats(0, 2, width=32)),
    st.one_of(st.none(), hnp.arrays(np.uint8, 17, elements=st.integers(0, 2))),
    st.one_of(st.none(), hnp.arrays(np.float32, (17, 3), elements=FLOATS)),
)
def test_points_exactly(xy, scores, visibility, xyz):
    points = Points(vocabulary=COCO, xy=xy, scores=scores, visibility=visibility, xyz=xyz)
    person = Person(box=[0, 0, 1, 1], annotations={"pose": points})
    sample = Sample(image=np.zeros((2, 3, 3), np.uint8), people=(person,), name="x/y.é")
    assert_same(codec.decode(codec.encode(sample)), sample)


def test_infinite_points_are_refused():
    points = Points(vocabulary=COCO, xy=np.full((17, 2), np.inf), scores=np.ones(17))
    person = Person(box=[0, 0, 1, 1], annotations={"pose": points})
    with pytest.raises(InputError, match="infinity"):
        codec.encode(Sample(image=np.zeros((2, 3, 3), np.uint8), people=(person,)))


def test_the_original_file_is_kept():
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png", ".webp"):
        data = image.encode(photo, suffix)
        sample = Sample(image=image.read(data), name="a")
        members = codec.encode(sample, picture=data)
        assert members[suffix[1:]] == data
        assert_same(codec.decode(members), sample)
    with pytest.raises(InputError, match="give the file it was read from"):
        codec.encode(Sample(image=photo[:5]), picture=image.encode(photo, ".png"))


def test_other_pictures_are_encoded_anew():
    sample = random_sample()
    assert_same(codec.decode(codec.encode(sample, quality=90)), sample, pixels=False)
    assert "jpg" in codec.encode(sample, quality=90)


def test_only_what_is_wanted_is_decoded():
    members = codec.encode(random_sample())
    del members["0.scalar.png"]
    kept = codec.decode(members, only={"pose", "label"})
    assert set(kept.people[0].annotations) == {"pose", "label"}
    assert not kept.rasters
    with pytest.raises(InputError, match=r"map .scalar.: its \.png is missing"):
        codec.decode(members)


@pytest.mark.parametrize("name", ["a.b", "", "12", "json", "a/b"])
def test_names_that_make_no_file_name(name):
    person = Person(
        box=[0, 0, 1, 1], annotations={name: random_raster(np.random.default_rng(0), "label")}
    )
    with pytest.raises(InputError, match="cannot be stored"):
        codec.encode(replace(random_sample(), people=(person,)))


# ---------------------------------------------------------------------------- vocabularies


def test_vocabularies_of_ones_own_travel_whole():
    words = vocabulary.make(
        "tool",
        ["tip", "left_end", "right_end"],
        version="3",
        groups={"all": ["tip", "left_end"], "rest": ["right_end"]},
        links=[("tip", "left_end", (1, 2, 3))],
        sigmas=[0.1, 0.2, 0.3],
        halves=["upper", None, None],
        means={"tip": ("left_end", "right_end")},
        about="mine",
    )
    kept = codec.rebuild(json.loads(json.dumps(codec.describe(words))))
    assert kept == words
    assert kept.sigmas.tolist() == words.sigmas.tolist()
    assert kept.halves == words.halves
    assert kept.links[0].colour == (1, 2, 3)
    classes = vocabulary.make(
        "cloth", ["none", "shirt"], kind="parts", loss_weights=[1, 2], background=None, ignore=7
    )
    kept = codec.rebuild(codec.describe(classes))
    assert kept == classes
    assert kept.loss_weights.tolist() == [1, 2]
    assert codec.rebuild(codec.describe(classes)) is kept


@pytest.mark.parametrize("name", vocabulary.available())
def test_shipped_vocabularies_travel_by_name(name):
    entry = codec.describe(vocabulary.load(name))
    assert set(entry) == {"name", "version", "digest"}
    assert codec.rebuild(entry) is vocabulary.load(name)


def test_a_shipped_vocabulary_that_changed():
    entry = codec.describe(COCO) | {"digest": "0", "version": "0"}
    with pytest.raises(InputError, match="'coco17', version 0; this installation has version 1"):
        codec.rebuild(entry)
    with pytest.raises(InputError, match="has none of that name"):
        codec.rebuild(entry | {"name": "coco18"})


# --------------------------------------------------------------------------------- strangers


def test_foreign_members_give_the_picture():
    photo = np.full((4, 5, 3), 90, np.uint8)
    members = {"json": b'{"caption": "x"}', "JPEG": image.encode(photo, ".jpg"), "cls": b"3"}
    kept = codec.decode(members, name="k")
    assert kept.size == (4, 5)
    assert kept.name == "k"
    with pytest.raises(InputError, match="no picture among its members"):
        codec.decode({"txt": b""})


def test_broken_and_newer_members():
    members = codec.encode(random_sample())
    with pytest.raises(InputError, match=r"\.json is damaged"):
        codec.decode(members | {"json": b"{"})
    newer = json.loads(members["json"]) | {"format": "vitruvian sample 2"}
    with pytest.raises(InputError, match="update vitruvian"):
        codec.decode(members | {"json": json.dumps(newer).encode()})
    del members["png"]
    with pytest.raises(InputError, match=r"picture \.png is missing"):
        codec.decode(members)
