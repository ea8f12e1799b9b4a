# SPDX-License-Identifier: Apache-2.0
"""Policies and views: rules over records, duplicates, funnels; no pixel is touched."""

import shutil

import numpy as np
import pytest
from corpus import jpeg, packed, pixels
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import Blobs, Scripted, Vectors
from test_pool import finish

from vitruvian import image
from vitruvian.curate import duplicates
from vitruvian.curate.basics import Blur, Geometry, Hashes, Integrity
from vitruvian.curate.engines import Here
from vitruvian.curate.people import Person
from vitruvian.curate.policy import SHIPPED, load_policy, parse_policy
from vitruvian.curate.select import select
from vitruvian.curate.tree import Tree
from vitruvian.curate.view import read_view, view_rows
from vitruvian.errors import InputError, UnknownNameError

SIMPLE = '''
name = "simple"
people = "len(list_filter(person_boxes, lambda b: b.score > $count_score))"
[values]
person_conf = 0.9
side = 30
[[rules]]
name = "readable"
keep = "integrity_status LIKE 'ok%'"
[[rules]]
name = "person"
keep = """len(list_filter(person_boxes, lambda b: b.score > $person_score
  AND box_short(b) > $side)) > 0"""
'''


def scored(folder, files, *, stages=None, per_shard=5):
    tree = packed(folder, files, per_shard=per_shard)
    stages = stages or [Integrity(), Geometry(), Hashes(), Person(make=Blobs, key="blobs")]
    assert finish(tree, stages, Here()).failed == []
    return tree


def red(width, height, seed=0):
    """A picture with a red figure of this size."""
    array = (pixels(seed, 200, 240) // 4).astype(np.uint8)
    array[20 : 20 + height, 30 : 30 + width] = (250, 10, 10)
    return array


@pytest.fixture(scope="module")
def files():
    made = {f"{n}.png": image.encode(red(24 + n, 60, n), ".png") for n in range(12)}
    made["cut.png"] = made["3.png"][:200]
    made["nobody.jpg"] = jpeg(9)
    made["same.png"] = made["8.png"]
    return made


def sources(tree, view):
    from vitruvian.curate.raw import read_raw_index

    names = {
        (shard.name, row): source
        for shard in tree.shards()
        for row, source in enumerate(read_raw_index(shard)["source"].to_pylist())
    }
    rows = view_rows(tree.root / "views" / view.digest)
    found = zip(rows["shard"].to_pylist(), rows["row"].to_pylist(), strict=True)
    return [names[place] for place in found]


def test_a_policy_keeps_what_its_rules_say(tmp_path, files):
    tree, policy = scored(tmp_path, files), parse_policy(SIMPLE, "simple")
    view = select(tree, policy)
    wanted = {f"{n}.png" for n in range(12) if 24 + n > 30}
    assert set(sources(tree, view)) == wanted
    assert (view.rows, view.kept) == (15, len(wanted))
    readable, person, exact = view.funnel
    assert (readable.reached, readable.dropped, readable.alone) == (15, 1, 1)
    assert (person.reached, person.dropped, person.alone, person.unknown) == (14, 8, 9, 1)
    assert (exact.name, exact.dropped) == ("exact", 1)
    assert view.people == {1: len(wanted)}
    assert len(view.shown["person"]["dropped"]) == 8
    assert read_view(tree.root / "views" / view.digest) == view


def test_a_threshold_changes_no_pixel_and_equal_things_have_equal_views(tmp_path, files):
    tree, policy = scored(tmp_path / "a", files), parse_policy(SIMPLE, "simple")
    again = scored(tmp_path / "b", files)
    for shard in tree.shards():
        shard.tar.unlink()
    strict, loose = select(tree, policy), select(tree, policy.changed({"side": "26"}))
    assert loose.kept > strict.kept
    assert strict.digest != loose.digest
    assert select(again, policy).digest == strict.digest
    folder = again.root / "views" / strict.digest
    assert view_rows(folder).equals(view_rows(tree.root / "views" / strict.digest))


@pytest.mark.parametrize("unknown", ["drop", "keep"])
def test_unknown_is_what_the_policy_says(tmp_path, files, unknown):
    tree = scored(tmp_path, files)
    text = f"""
    name = "unknown"
    unknown = "{unknown}"
    [[rules]]
    name = "wide"
    keep = "geometry_width > 0"
    [[rules]]
    name = "scored"
    keep = "person_count >= 0"
    """
    view = select(tree, parse_policy(text, "here"))
    assert [rule.unknown for rule in view.funnel[:2]] == [0, 1]
    assert view.kept == (14 if unknown == "keep" else 13)


def test_sigmoid_scores_need_a_calibration(tmp_path, files):
    stage = Person(make=Sigmoid, key="sigmoid")
    tree = scored(tmp_path, files, stages=[Integrity(), stage])
    policy = parse_policy(SIMPLE, "simple")
    with pytest.raises(InputError, match="calibrate-detector"):
        select(tree, policy)
    assert select(tree, policy.changed({"person_score": "0.5"})).kept == 5
    from vitruvian.curate.stage import fingerprint
    from vitruvian.files import write_json

    write_json(tree.root / "calibrations" / f"{fingerprint(stage)}.json", {"scores": {"0.9": 0.97}})
    assert select(tree, policy).kept == 0


class Sigmoid(Blobs):
    score_kind = "sigmoid"


def test_missing_records_are_named(tmp_path, files):
    tree = packed(tmp_path, files)
    policy = parse_policy(SIMPLE, "simple")
    with pytest.raises(InputError, match="no records of the stage"):
        select(tree, policy)
    finish(tree, [Integrity(), Person(make=Blobs, key="blobs")], Here(), part=(0, 2))
    with pytest.raises(InputError, match="vitruvian curate score"):
        select(tree, policy)
    finish(tree, [Integrity(), Person(make=Blobs, key="blobs")], Here())
    assert select(tree, policy).kept == 5
    finish(tree, [Person(make=Blobs, key="others")], Here())
    with pytest.raises(InputError, match="--use person="):
        select(tree, policy)
    from vitruvian.curate.stage import fingerprint

    mark = fingerprint(Person(make=Blobs, key="blobs"))
    assert select(tree, policy, use={"person": mark[:6]}).kept == 5


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_are_sound(name):
    policy = load_policy(name)
    assert policy.parameters() <= {*policy.values, "person_score", "count_score"}
    less = policy.changed({"person_side": "100"}, without=["watermark", "artistic", "unnatural"])
    assert len(less.rules) == len(policy.rules) - 3
    assert less.values["person_side"] == 100
    assert less.digest() != policy.digest()
    with pytest.raises(UnknownNameError, match="person_side"):
        policy.changed({"person_sied": "1"})
    with pytest.raises(UnknownNameError):
        policy.changed(without=["nothing"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "at least one"),
        ("name = 3 3", "not TOML"),
        ("name='a'\nfoo=1\n[[rules]]\nname='a'\nkeep='true'", "foo"),
        ("name='a'\n[[rules]]\nname='a'\nkep='true'", "keep"),
        ("name='a'\n[[rules]]\nname='a'", "keep"),
        ("name='a'\n[[rules]]\nname='a'\nkeep='true; drop table x'", "';'"),
        ("name='a'\nunknown='maybe'\n[[rules]]\nname='a'\nkeep='true'", "drop or keep"),
    ],
)
def test_broken_policies(change, said):
    with pytest.raises(InputError, match=said):
        parse_policy(change, "here.toml")


@pytest.mark.parametrize("keep", ["geometry_width >", "nothing > 3", "geometry_width > $none"])
def test_rules_that_cannot_be_evaluated(tmp_path, files, keep):
    tree = packed(tmp_path, files)
    finish(tree, [Geometry()], Here())
    text = f"name='a'\n[[rules]]\nname='wide'\nkeep='{keep}'"
    with pytest.raises(InputError, match="policy a"):
        select(tree, parse_policy(text, "here"))


def test_a_policy_reads_nothing_but_records(tmp_path, files):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    tree = packed(tmp_path, files)
    finish(tree, [Geometry()], Here())
    keep = f"geometry_width > (SELECT max(a) FROM read_csv('{tmp_path}/secret.csv'))"
    policy = parse_policy(f'name="a"\n[[rules]]\nname="wide"\nkeep="{keep}"', "here")
    with pytest.raises(InputError, match="policy a"):
        select(tree, policy)


def test_given_boxes_are_taken_at_original_scale(tmp_path):
    """Around 300 pixels, on both sides of the limit, in a picture larger than any copy."""
    big = image.encode(np.full((1600, 2100, 3), 90, np.uint8), ".jpg")
    boxes = {
        "a.jpg": ((100, 100, 399, 399, 0.95),),  # 300: not above 300
        "b.jpg": ((100, 100, 400, 400, 0.95),),  # 301
        "c.jpg": ((100, 100, 400, 398, 0.95),),  # 301 × 299
        "d.jpg": ((1700, 1200, 2099, 1599, 0.95),),  # in the corner
        "e.jpg": ((100, 100, 900, 900, 0.90),),  # not above 0.9
        "f.jpg": (),
    }
    stage = Person(make=Given(tuple(sorted(boxes.items()))), key="given")
    tree = packed(tmp_path, {name: big + name.encode() for name in boxes})
    finish(tree, [Integrity(), stage], Here())
    policy = load_policy("sapiens")
    policy = policy.changed(without=[r.name for r in policy.rules if r.name not in ("person",)])
    view = select(tree, policy)
    assert sources(tree, view) == ["b.jpg", "d.jpg"]


class Given:
    """Makes a scripted detector."""

    def __init__(self, boxes):
        self.boxes = boxes

    def __call__(self):
        found = Scripted(dict(self.boxes))
        object.__setattr__(found, "score_kind", "given")
        return found


# --------------------------------------------------------------------------------- duplicates


@given(st.lists(st.integers(0, 6), max_size=40))
def test_of_equal_files_the_first_stays(numbers):
    uids = np.array([[n // 2, n % 2] for n in numbers], np.uint64).reshape(-1, 2)
    keep = duplicates.equal_files(uids)
    seen = set()
    expected = [not (n in seen or seen.add(n)) for n in numbers]
    assert keep.tolist() == expected


def test_near_hashes_find_every_pair_of_two_bits():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 4000, dtype=np.uint64)
    copies = hashes[:500].copy()
    for n in range(500):
        for bit in rng.choice(64, 2, replace=False):
            copies[n] ^= np.uint64(1) << np.uint64(bit)
    everything = np.concatenate([hashes, copies])
    keep = duplicates.near_hashes(everything, 2, np.arange(len(everything)))
    assert keep[:4000].all()
    assert not keep[4000:].any()
    best = duplicates.near_hashes(everything, 2, np.arange(len(everything))[::-1].copy())
    assert best[4000:].all()
    assert not best[:500].any()
    blank = duplicates.near_hashes(np.zeros(1000, np.uint64), 2, np.arange(1000))
    assert blank.sum() == 1


@given(st.integers(0, 10_000))
def test_pushing_out_leaves_no_pair_and_no_orphan(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 20))
    pairs = rng.integers(0, count, (int(rng.integers(0, 40)), 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    rank = rng.permutation(count)
    keep = duplicates.best_of_pairs(count, pairs[:, 0], pairs[:, 1], rank)
    assert not (keep[pairs[:, 0]] & keep[pairs[:, 1]]).any()
    for row in np.flatnonzero(~keep):  # somebody better stays beside it
        beside = [b if a == row else a for a, b in pairs.tolist() if row in (a, b)]
        assert any(keep[other] and rank[other] < rank[row] for other in beside)


def test_clusters_are_capped_and_near_vectors_removed():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16))
    vectors = np.concatenate([c + 0.05 * rng.normal(size=(100, 16)) for c in centres])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    groups = duplicates.clusters_of(vectors, 3)
    assert len({*groups[:100]}) == len({*groups[100:200]}) == 1
    keep = duplicates.capped(groups, 10, rng.permutation(300).astype(np.uint64))
    assert keep.sum() == 30
    twice = np.concatenate([vectors, vectors[:50]])
    keep = duplicates.near_vectors(twice, np.zeros(350, int), 0.99999, np.arange(350))
    assert keep[:300].all()
    assert not keep[300:].any()


def test_near_duplicates_keep_the_largest(tmp_path):
    first, other = pixels(1, 480, 640), pixels(2, 480, 640)
    small = image.resize(first, (240, 320), "area")
    files = {
        "a_small.jpg": image.encode(small, ".jpg", quality=80),
        "b_large.jpg": image.encode(first, ".jpg", quality=80),
        "c_other.jpg": image.encode(other, ".jpg"),
    }
    tree = packed(tmp_path, files)
    finish(tree, [Integrity(), Geometry(), Hashes(), Blur()], Here())
    text = SIMPLE.split("people =")[0] + "[[rules]]\nname='r'\nkeep=\"integrity_status = 'ok'\""
    policy = parse_policy(text + "\n[duplicates]\nnear_bits = 4", "here")
    view = select(tree, policy)
    assert sources(tree, view) == ["b_large.jpg", "c_other.jpg"]
    shutil.rmtree(tree.root / "raw")
    with pytest.raises(InputError, match="no raw shard"):
        select(Tree(tree.root), policy)


def test_similar_embeddings_and_clusters(tmp_path):
    tree = packed(tmp_path, {f"{n:02d}.jpg": jpeg(n) for n in range(40)}, per_shard=9)
    finish(tree, [Integrity(), Vectors()], Here())
    text = """
    name = "alike"
    [[rules]]
    name = "readable"
    keep = "integrity_status = 'ok'"
    [duplicates]
    """
    # pictures n and n + 20 have the same vector, and there are two kinds of twenty pictures each
    policy = parse_policy(text + "similar = 0.999", "here")
    assert sources(tree, select(tree, policy)) == [f"{n:02d}.jpg" for n in range(20)]
    policy = parse_policy(text + "clusters = 2\ncluster_most = 3", "here")
    view = select(tree, policy)
    assert view.funnel[-1].name == "cluster"
    kinds = [int(name[:2]) % 2 for name in sources(tree, view)]
    assert sorted(kinds) == [0, 0, 0, 1, 1, 1]


def test_a_detector_is_calibrated_on_labels(tmp_path):
    from vitruvian.curate.calibrate import calibrate
    from vitruvian.files import write_json

    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for n in range(6):
        image.write(tmp_path / "images" / f"{n}.png", red(40 + n, 60, n))
        content["images"].append({"id": n, "file_name": f"{n}.png"})
        box = [30, 20, 40 + n, 60] if n < 4 else [150, 100, 40, 60]
        content["annotations"].append({"image_id": n, "category_id": 1, "bbox": box})
    write_json(tmp_path / "labels.json", content)
    (tmp_path / "images").mkdir(exist_ok=True)
    tree, stage = Tree(tmp_path / "tree"), Person(make=Sigmoid, key="sigmoid")
    found = calibrate(tree, stage, tmp_path / "labels.json", tmp_path / "images", precision=0.6)
    assert (found.people, found.pictures) == (6, 6)
    assert found.score == pytest.approx(0.95)
    assert (found.precision, found.recall) == pytest.approx((4 / 6, 4 / 6))
    with pytest.raises(InputError, match="never reaches"):
        calibrate(tree, stage, tmp_path / "labels.json", tmp_path / "images", precision=0.9)
    same = Person(make=Blobs, key="blobs")
    found = calibrate(tree, stage, tmp_path / "labels.json", tmp_path / "images", reference=same)
    assert found.aim == pytest.approx(4 / 6)
