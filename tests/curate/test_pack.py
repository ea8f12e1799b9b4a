# SPDX-License-Identifier: Apache-2.0
"""Packing pictures from anywhere into raw shards."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import jpeg, many, write_files

from vitruvian.curate.pack import pack
from vitruvian.curate.raw import open_raw, read_raw_index
from vitruvian.curate.tree import Tree, parse_part
from vitruvian.data.shards import make_uid
from vitruvian.errors import InputError


def content(tree):
    """(source, bytes, licence) of every picture, checked against its uid and place."""
    found = []
    for shard in tree.shards():
        tar = open_raw(shard)
        for row in read_raw_index(shard).to_pylist():
            data = tar.read(row["offset"], row["length"])
            assert make_uid(data) == row["uid"]
            found.append((row["source"], data, row["licence"]))
    return found


def test_a_folder(tmp_path):
    files = many(10)
    write_files(tmp_path / "in" / "deep", files)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    tree = Tree(tmp_path / "tree")
    report = pack(tmp_path / "in", tree, max_pictures=4, licence="CC0-1.0")
    assert (report.kind, report.shards, report.pictures) == ("folder", 3, 10)
    assert content(tree) == [(f"deep/{n}", data, "CC0-1.0") for n, data in files.items()]
    assert pack(tmp_path / "in", tree, max_pictures=4, licence="CC0-1.0").shards == 0


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    write_files(tmp_path / "in", many(10))
    tree, calm = Tree(tmp_path / "tree"), Tree(tmp_path / "calm")
    pack(tmp_path / "in", calm, max_pictures=3)

    def stop(done):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "in", tree, max_pictures=3, progress=stop)
    assert len(tree.shards()) == 2
    assert not list(tree.root.glob("raw/**/.*"))
    assert pack(tmp_path / "in", tree, max_pictures=3).shards == 2
    for one, other in zip(tree.shards(), calm.shards(), strict=True):
        assert one.tar.read_bytes() == other.tar.read_bytes()


def test_parts_write_disjoint_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("vitruvian.curate.sources._STRETCH", 3)
    write_files(tmp_path / "in", many(20))
    whole, tree = Tree(tmp_path / "whole"), Tree(tmp_path / "tree")
    pack(tmp_path / "in", whole)
    for i in (2, 0, 1):
        pack(tmp_path / "in", tree, max_pictures=4, part=(i, 3))
    assert sorted(content(tree)) == sorted(content(whole))


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_what_img2dataset_downloaded(tmp_path):
    source = write_files(tmp_path / "in", {})
    tar_of(
        source / "00000.tar",
        {"000000000.jpg": jpeg(1), "000000000.json": b"{}", "000000002.jpg": jpeg(2)},
    )
    rows = {
        "key": ["000000000", "000000001", "000000002"],
        "url": ["http://a/1.jpg", "http://a/2.jpg", "http://a/3.jpg"],
        "status": ["success", "failed_to_download", "success"],
        "license": ["CC-BY-4.0", None, None],
    }
    pq.write_table(pa.table(rows), source / "00000.parquet")
    tree = Tree(tmp_path / "tree")
    report = pack(source, tree, licence="unknown")
    assert report.kind == "img2dataset"
    assert report.failed == {"failed_to_download": 1}
    assert content(tree) == [
        ("http://a/1.jpg", jpeg(1), "CC-BY-4.0"),
        ("http://a/3.jpg", jpeg(2), "unknown"),
    ]


def test_a_parquet_of_paths(tmp_path):
    folder = write_files(tmp_path / "in", many(3))
    rows = {
        "path": ["0002.jpg", str(folder / "0000.jpg"), "gone.jpg"],
        "url": ["http://a/2", None, "http://a/gone"],
    }
    pq.write_table(pa.table(rows), folder / "list.parquet")
    tree = Tree(tmp_path / "tree")
    report = pack(folder / "list.parquet", tree)
    assert report.faults == {"missing": 1}
    (shard,) = tree.shards()
    table = read_raw_index(shard)
    assert table["source"].to_pylist()[0] == "http://a/2"
    assert "No such file" in table["source"].to_pylist()[2]
    assert table["length"].to_pylist()[2] == 0


def test_batches_and_errors(tmp_path):
    write_files(tmp_path / "in", many(3))
    write_files(tmp_path / "more", many(4))
    tree = Tree(tmp_path / "tree")
    with pytest.raises(InputError, match="vitruvian curate pack"):
        tree.shards()
    pack(tmp_path / "in", tree)
    with pytest.raises(InputError, match="--batch"):
        pack(tmp_path / "more", tree)
    pack(tmp_path / "more", tree, batch="second")
    assert [s.name for s in tree.shards()] == ["main/00/000000", "second/00/000000"]
    with pytest.raises(InputError, match="letters"):
        pack(tmp_path / "in", tree, batch="../up")
    with pytest.raises(InputError, match="no picture"):
        pack(write_files(tmp_path / "empty", {"a.txt": b"x"}), tree)
    with pytest.raises(InputError, match="wanted a folder"):
        pack(tmp_path / "nothing", tree)
    for text in ("3/3", "1", "a/b", "-1/2"):
        with pytest.raises(InputError, match="i/n"):
            parse_part(text)
    assert parse_part("1/3") == (1, 3)


def test_a_full_disk_leaves_what_is_done_and_no_litter(tmp_path, monkeypatch, capsys):
    import errno

    from vitruvian.cli import main
    from vitruvian.curate import raw

    source = write_files(tmp_path / "in", many(10))
    tree, plain, left = Tree(tmp_path / "tree"), raw.write_table, [1]

    def full(table, path):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        plain(table, path)

    command = ["curate", "pack", str(source), "--out", str(tree.root), "--shard-pictures", "4"]
    monkeypatch.setattr(raw, "write_table", full)
    assert main(command) == 2
    assert "is full" in capsys.readouterr().err
    assert len(tree.shards()) == 1
    assert not list(tree.root.glob("raw/**/.*"))
    monkeypatch.undo()
    assert main(command) == 0
    assert [name for name, _, _ in content(tree)] == list(many(10))
