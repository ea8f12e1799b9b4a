# SPDX-License-Identifier: Apache-2.0
"""Shards: any tool opens them, nothing half-written is ever seen, and damage is told."""

import os
import pickle
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_samples import plain_sample, random_sample

from vitruvian import image
from vitruvian.data import shards
from vitruvian.data.reader import Shards
from vitruvian.data.shards import ShardWriter, make_key, make_uid, write_shard
from vitruvian.data.tars import iterate_tar
from vitruvian.errors import InputError


@pytest.fixture
def folder(tmp_path):
    with ShardWriter(tmp_path / "set", prefix="train", max_samples=3) as writer:
        for number in range(7):
            writer.add(plain_sample(number, f"dir/p{number}.jpg"), quality=90)
    return tmp_path / "set"


def test_samples_come_back_in_order(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        f"train-00000{n}{suffix}" for n in range(3) for suffix in (".index.parquet", ".tar")
    ]
    packed = Shards(folder)
    assert len(packed) == 7
    assert [packed[n].name for n in range(7)] == [f"dir/p{n}.jpg" for n in range(7)]
    assert packed.key(4) == "dir/p4%2Ejpg"
    assert packed.find("dir/p4%2Ejpg") == 4
    assert packed.uid(4) == make_uid(packed.picture(4))
    assert packed.find(packed.uid(5).hex()) == 5
    assert image.read(packed.picture(6)).shape == (24, 31, 3)
    assert packed.people().tolist() == [0] * 7
    packed.verify()
    with pytest.raises(IndexError):
        packed[7]
    with pytest.raises(InputError, match="no sample with the key 'x'"):
        packed.find("x")
    assert len(Shards([folder / "train-000000.tar", folder / "train-000002.tar"])) == 4


def test_any_tool_opens_the_tar(folder):
    with tarfile.open(folder / "train-000000.tar", "r:") as tar:
        names = tar.getnames()
        assert names[:2] == ["dir/p0%2Ejpg.json", "dir/p0%2Ejpg.jpg"]
        info = tar.getmember(names[1])
        assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644)
        table = pq.read_table(folder / "train-000000.index.parquet")
        place = table["members"][0].as_py()[1]
        assert place == {"suffix": "jpg", "offset": info.offset_data, "length": info.size}
        assert tar.extractfile(names[1]).read() == Shards(folder).picture(0)
    assert (folder / "train-000000.tar").stat().st_size % 10240 == 0
    assert table.schema.remove_metadata() == shards.COLUMNS
    listed = [name for name, _, _ in iterate_tar(folder / "train-000000.tar")]
    assert listed == names


def test_equal_samples_give_equal_bytes(tmp_path):
    for name in "ab":
        write_shard(tmp_path / name / "s.tar", [random_sample(n, f"s{n}") for n in range(3)])
    assert (tmp_path / "a/s.tar").read_bytes() == (tmp_path / "b/s.tar").read_bytes()
    first = (tmp_path / "a/s.index.parquet").read_bytes()
    assert first == (tmp_path / "b/s.index.parquet").read_bytes()
    assert Shards(tmp_path / "a").people().tolist() == [2, 2, 2]


def test_limits_on_bytes(tmp_path):
    with ShardWriter(tmp_path, max_bytes=12_000) as writer:
        for number in range(6):
            writer.add(plain_sample(number, str(number)))
    assert len(writer.paths) == 3
    assert all(path.stat().st_size <= 12_000 + 10_240 for path in writer.paths)
    assert len(Shards(tmp_path)) == 6


def test_it_goes_on_after_an_interruption(folder):
    with ShardWriter(folder, prefix="train", max_samples=3) as writer:
        assert (writer.count, writer.position) == (7, 7)
        writer.add(plain_sample(7, "p7"), position=12)
    assert [path.name for path in writer.paths] == ["train-000003.tar"]
    assert len(Shards(folder)) == 8
    assert ShardWriter(folder, prefix="train").position == 13
    other = ShardWriter(folder, prefix="other")
    assert (other.count, other.position) == (0, 0)


def test_an_error_leaves_only_finished_shards(tmp_path):
    def interrupted():
        with ShardWriter(tmp_path, max_samples=2) as writer:
            for number in range(5):
                writer.add(plain_sample(number, str(number)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(list(tmp_path.iterdir())) == 4
    assert len(Shards(tmp_path)) == 4


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    target = write_shard(tmp_path / "s.tar", [plain_sample()])
    before = target.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_shard(target, [plain_sample(1)])
    assert target.read_bytes() == before
    assert len(Shards(tmp_path)) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_writer_refuses(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.tar"):
        write_shard(tmp_path / "s.zip", [])
    with pytest.raises(InputError, match="no samples"):
        write_shard(tmp_path / "s.tar", [])
    with pytest.raises(InputError, match="'a' was added before"):
        write_shard(tmp_path / "s.tar", [plain_sample(), plain_sample()])
    with pytest.raises(InputError, match="name the sample"):
        write_shard(tmp_path / "s.tar", [plain_sample(name="")])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="limits of 1 or more"):
        ShardWriter(tmp_path, max_samples=0)
    with pytest.raises(InputError, match="prefix"):
        ShardWriter(tmp_path, prefix="a/b")
    with ShardWriter(tmp_path) as writer:
        with pytest.raises(InputError, match="16 bytes"):
            writer.add(plain_sample(), uid=b"short")
        with pytest.raises(InputError, match="without dots"):
            writer.add(plain_sample(), key="a.b")
        with pytest.raises(InputError, match="cannot be the name"):
            writer.add(plain_sample(), key="k" * 300)
        with pytest.raises(InputError, match=r"vitruvian\.data\.codec"):
            writer.add_members({"jpg": b""})
        assert writer.add(plain_sample(), key="good", uid=make_uid("words")) == "good"
    assert Shards(tmp_path).uid(0) == make_uid("words")


def test_keys():
    assert make_key("a/b.jpg") == "a/b%2Ejpg"
    assert make_key("/é x") == "%C3%A9%20x"
    long = make_key("d" * 50 + "/" + "x" * 300)
    assert len(long) <= 80
    assert long != make_key("d" * 50 + "/" + "x" * 301)


# ------------------------------------------------------------------------------------ damage


def test_a_truncated_tar(folder):
    tar = folder / "train-000001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"train-000001.tar is truncated: 3000 of"):
        Shards(folder)


def test_an_index_of_another_shard(folder):
    shutil.copy(folder / "train-000000.index.parquet", folder / "train-000001.index.parquet")
    with pytest.raises(InputError, match=r"another shard \(train-000000.tar\)"):
        Shards(folder)


def test_a_tar_of_another_index(folder):
    shutil.copy(folder / "train-000000.tar", folder / "train-000001.tar")
    packed = Shards(folder)  # equally long
    with pytest.raises(InputError, match=r"train-000001.tar, dir/p3%2Ejpg: .*another shard"):
        packed[3]
    with pytest.raises(InputError, match="changed since it was packed"):
        packed.verify()
    shutil.copy(folder / "train-000002.tar", folder / "train-000000.tar")
    with (folder / "train-000000.tar").open("ab") as file:
        file.write(bytes(1 << 16))
    with pytest.raises(InputError, match="describes another tar"):
        Shards(folder)


def test_a_tar_that_shrinks_while_it_is_read(folder):
    packed = Shards(folder / "train-000000.tar")
    with (folder / "train-000000.tar").open("rb+") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match=r"p0%2Ejpg: the file ends before it"):
        packed[0]


def test_damage_inside_names_shard_and_key(folder):
    tar = folder / "train-000002.tar"
    data = bytearray(tar.read_bytes())
    place = pq.read_table(folder / "train-000002.index.parquet")["members"][0].as_py()[1]
    middle = place["offset"] + place["length"] * 2 // 3
    data[middle : middle + 40] = b"\xff\xd9" * 20
    tar.write_bytes(data)
    with pytest.raises(InputError, match=r"train-000002.tar, dir/p6%2Ejpg: .*(corrupt|truncated)"):
        Shards(folder)[6]


def test_things_that_are_no_shards(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder; pack one with"):
        Shards(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no finished shard"):
        Shards(tmp_path / "empty")
    (folder / "train-000001.index.parquet").unlink()
    assert len(Shards(folder)) == 4
    with pytest.raises(InputError, match="has no index"):
        Shards(folder / "train-000001.tar")
    (folder / "train-000000.tar").unlink()
    with pytest.raises(InputError, match="is missing, its index is here"):
        Shards(folder)
    (folder / "train-000000.index.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="no intact index"):
        Shards(folder)
    pq.write_table(
        pq.read_table(folder / "train-000002.index.parquet").replace_schema_metadata(),
        folder / "train-000000.index.parquet",
    )
    with pytest.raises(InputError, match="no index of a shard"):
        Shards(folder)


def test_foreign_tars(tmp_path):
    path = tmp_path / "f.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("x" * 120 + ".jpg", "b.jpg"):
            (tmp_path / "file").write_bytes(b"data" * 999)
            tar.add(tmp_path / "file", arcname=name)
        tar.add(tmp_path, arcname="folder", recursive=False)
    found = list(iterate_tar(path))
    assert [(len(name), length) for name, _, length in found] == [(124, 3996), (5, 3996)]
    path.write_bytes(path.read_bytes()[: found[1][1] + 100])
    with pytest.raises(InputError, match=r"is truncated: b\.jpg is cut"):
        list(iterate_tar(path))
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="no intact tar"):
        list(iterate_tar(path))


# ------------------------------------------------------------------------ threads, processes


def test_threads_share_a_reader(folder):
    packed = Shards(folder)
    wanted = [packed[n].image.sum() for n in range(7)]
    packed = Shards(folder)
    barrier = threading.Barrier(4)

    def work(_):
        barrier.wait()
        return [packed[n].image.sum() for n in np.random.default_rng(0).permutation(7)]

    order = np.random.default_rng(0).permutation(7)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(4)):
            assert found == [wanted[n] for n in order]


def test_a_reader_travels_to_other_processes(folder):
    packed = Shards(folder, annotations=["pose"])
    packed[0]
    copy = pickle.loads(pickle.dumps(packed))
    assert copy[3].name == packed[3].name
    assert copy.annotations == {"pose"}


def test_provenance_and_replacing(tmp_path):
    write_shard(tmp_path / "s.tar", [plain_sample()], provenance={"seed": 3})
    assert Shards(tmp_path).provenance() == [{"seed": 3}]
    write_shard(tmp_path / "s.tar", [plain_sample(1), plain_sample(2, "b")])
    assert len(Shards(tmp_path)) == 2
    assert len(list(Path(tmp_path).iterdir())) == 2


def test_long_keys_are_split_as_ustar_does(tmp_path):
    name = "/".join(["folder" * 4] * 3)
    with ShardWriter(tmp_path) as writer:
        key = writer.add(plain_sample(), key=f"{'d' * 60}/{'e' * 60}")
    assert Shards(tmp_path).members(0).keys() == {"json", "png"}
    assert Shards(tmp_path).key(0) == key
    with tarfile.open(writer.paths[0]) as tar:
        assert tar.getnames()[0] == f"{key}.json"
    assert make_key(name).count("/") == 2
