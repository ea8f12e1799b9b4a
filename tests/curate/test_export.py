# SPDX-License-Identifier: Apache-2.0
"""Training shards: every kept picture once, shuffled, resumable, readable by the loader."""

import json

import numpy as np
import pytest
from corpus import jpeg, packed, pixels, save
from stand_ins import Blobs
from test_pool import finish

from vitruvian import image
from vitruvian.cli import main
from vitruvian.curate.basics import Integrity
from vitruvian.curate.engines import Here
from vitruvian.curate.export import ExportSettings, export, shuffled
from vitruvian.curate.people import Person
from vitruvian.curate.policy import parse_policy
from vitruvian.curate.select import select
from vitruvian.data.loader import Loader
from vitruvian.data.reader import Shards
from vitruvian.data.shards import make_uid
from vitruvian.errors import InputError
from vitruvian.geometry import Crop

POLICY = """
name = "readable"
people = "len(list_filter(person_boxes, lambda b: b.score > $count_score))"
[values]
person_conf = 0.9
[[rules]]
name = "readable"
keep = "integrity_status LIKE 'ok%'"
"""


def small(sample, rng):
    size = 32, 32
    crop = Crop.from_box([0, 0, sample.size[1] - 1, sample.size[0] - 1], size)
    return {"image": sample.warped(crop).image}


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    red = np.full((60, 80, 3), 90, np.uint8)
    red[10:40, 20:50] = (250, 10, 10)
    files = {f"{n:03d}.jpg": jpeg(n) for n in range(37)}
    files |= {"red.png": save(red, "PNG"), "anim.gif": save(pixels(90), "GIF"), "no.jpg": b"no"}
    files["large.jpg"] = jpeg(91, 300, 400)
    tree = packed(tmp_path_factory.mktemp("export"), files, per_shard=10)
    finish(tree, [Integrity(), Person(make=Blobs, key="blobs")], Here())
    view = select(tree, parse_policy(POLICY, "here"))
    assert view.kept == 40
    return tree, view.digest, files


def test_every_kept_picture_is_there_once(tmp_path, curated):
    tree, view, files = curated
    report = export(tree, tmp_path / "out", ExportSettings(view=view, per_shard=16))
    assert (report.pictures, report.shards, report.new) == (40, 3, 3)
    shards = Shards(tmp_path / "out")
    shards.verify()
    found = [shards.picture(n) for n in range(len(shards))]
    kept = {data for name, data in files.items() if name.endswith(".jpg") and name != "no.jpg"}
    assert kept <= set(found)
    assert len(set(found)) == 40
    order = [found.index(jpeg(n)) for n in range(37)]
    assert order != sorted(order)
    red = shards[shards.find(make_uid(files["red.png"]).hex())]
    assert red.people[0].box.tolist() == [20, 10, 49, 39]
    assert np.array_equal(red.image[20, 30], (250, 10, 10))


def test_it_resumes_and_does_not_depend_on_workers(tmp_path, curated):
    tree, view, _ = curated
    settings = ExportSettings(view=view, per_shard=16, seed=3)
    export(tree, tmp_path / "a", settings)
    export(tree, tmp_path / "b", settings, workers=2)
    (tmp_path / "b" / "train-000002.index.parquet").unlink()
    again = export(tree, tmp_path / "b", settings)
    assert (again.new, again.shards) == (1, 3)
    for path in (tmp_path / "a").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    with pytest.raises(InputError, match="other settings"):
        export(tree, tmp_path / "b", ExportSettings(view=view, per_shard=16, seed=4))


def test_large_pictures_can_be_made_smaller(tmp_path, curated):
    tree, view, _ = curated
    export(tree, tmp_path / "out", ExportSettings(view=view, max_side=100))
    shards = Shards(tmp_path / "out")
    sizes = [shards[n].size for n in range(len(shards))]
    assert (75, 100) in sizes
    assert max(max(size) for size in sizes) == 100
    (large,) = [n for n in range(40) if sizes[n] == (75, 100)]
    expected = image.resize(image.read(jpeg(91, 300, 400)), (75, 100), "area")
    assert np.abs(shards[large].image.astype(int) - expected).mean() < 3


def test_the_loader_reads_them(tmp_path, curated):
    tree, view, _ = curated
    export(tree, tmp_path / "out", ExportSettings(view=view, per_shard=16))
    batches = list(Loader(Shards(tmp_path / "out"), small, batch=8, epochs=1))
    seen = np.concatenate([batch["index"].numpy() for batch in batches])
    assert sorted(seen.tolist()) == list(range(40))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_masked_pretraining_reads_them(tmp_path, curated):
    tree, view, _ = curated
    out, runs = tmp_path / "shards", tmp_path / "runs"
    command = ["curate", "export", str(tree.root), "--out", str(out), "--view", view]
    assert main(command) == 0
    command = ["train", "pretrain", "--data", str(out), "--out", str(runs), "--size", "nano"]
    assert main([*command, "--input-size", "64", "48", "--batch", "8", "--steps", "3"]) == 0
    lines = [json.loads(line) for line in (runs / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "pixels" in line][-1] == 3
    assert (runs / "weights.safetensors").is_file()


def test_a_changed_tar_is_noticed(tmp_path, curated):
    files = {f"{n}.jpg": jpeg(n) for n in range(4)}
    tree = packed(tmp_path, files)
    finish(tree, [Integrity(), Person(make=Blobs, key="blobs")], Here())
    view = select(tree, parse_policy(POLICY, "here")).digest
    tar = tree.shards()[0].tar
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    with pytest.raises(InputError, match="not the picture that was scored"):
        export(tree, tmp_path / "out", ExportSettings(view=view))
    assert not list((tmp_path / "out").glob("*"))


def test_the_order_is_a_permutation_by_seed():
    uids = np.random.default_rng(0).integers(0, 1 << 63, (1000, 2), dtype=np.uint64)
    one, other = shuffled(uids, 0), shuffled(uids, 1)
    assert sorted(one.tolist()) == list(range(1000))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    moved = np.random.default_rng(1).permutation(1000)
    assert np.array_equal(uids[moved][shuffled(uids[moved], 0)], uids[one])
