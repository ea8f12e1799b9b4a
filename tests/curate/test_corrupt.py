# SPDX-License-Identifier: Apache-2.0
"""What becomes of broken and odd files, one row of the table at a time."""

import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from corpus import jpeg, many, oriented, packed, pixels, save, write_files
from PIL import Image
from test_pool import finish

from vitruvian.curate.basics import Blur, Geometry, Hashes, Integrity
from vitruvian.curate.engines import Here
from vitruvian.curate.pack import pack
from vitruvian.curate.raw import read_raw_index
from vitruvian.curate.records import read_columns
from vitruvian.curate.stage import fingerprint
from vitruvian.curate.tree import Tree

GOOD = jpeg(1, 240, 320)


def flipped(data: bytes, count: int = 64) -> bytes:
    """Turn bits in the middle of the picture data over."""
    rng = np.random.default_rng(5)
    broken = bytearray(data)
    for place in rng.choice(np.arange(len(data) // 3, len(data) - 4), count, replace=False):
        broken[place] ^= 0x5A
    return bytes(broken)


def claims(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    start = GOOD.index(b"\xff\xc0") + 5
    return GOOD[:start] + struct.pack(">HH", height, width) + GOOD[start + 4 :]


def bomb() -> bytes:
    """A PNG of 60,000 × 60,000 whose data is a few bytes."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


def animation() -> bytes:
    frames = [Image.fromarray(pixels(n)) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


PLAIN = pixels(2)


def converted(kind: str, how) -> bytes:
    buffer = io.BytesIO()
    how(Image.fromarray(PLAIN)).save(buffer, kind)
    return buffer.getvalue()


CASES = {
    "empty": (b"", "bad:format"),
    "one_byte": (b"\xff", "bad:format"),
    "html": (b"<!DOCTYPE html><html>403</html>", "bad:format"),
    "wrong_magic": (b"\x00\x01\x02\x03" * 100, "bad:format"),
    "claims_65500": (claims(65_500, 65_500), "bad:too_large"),
    "side_over_16k": (claims(20_000, 240), "bad:too_large"),
    "png_bomb": (bomb(), "bad:too_large"),
    "cut_in_half": (GOOD[: len(GOOD) // 2], "bad:truncated"),
    "zero_tail": (GOOD[: len(GOOD) // 2] + bytes(len(GOOD) // 2), "bad:truncated"),
    "no_end_marker": (GOOD[:-2], "ok:missing_eoi"),
    "flipped": (flipped(GOOD), "bad:corrupt"),
    "cmyk": (converted("JPEG", lambda picture: picture.convert("CMYK")), "ok"),
    "palette": (converted("PNG", lambda picture: picture.quantize(32)), "ok"),
    "grey": (save(PLAIN[..., 0], "JPEG"), "ok"),
    "sixteen_bit": (save(PLAIN[..., 0].astype(np.uint16) * 257, "PNG"), "ok"),
    "rgba": (save(np.dstack([PLAIN, PLAIN[..., 0]]), "PNG"), "ok"),
    "animated": (animation(), "ok:animated"),
    "png_called_jpg": (save(PLAIN, "PNG"), "ok"),
    "webp_called_jpg": (save(PLAIN, "WEBP"), "ok"),
    "avif_called_jpg": (save(PLAIN, "AVIF"), "ok"),
    "gif_called_jpg": (save(PLAIN[..., 0], "GIF"), "ok"),
    "one_pixel": (save(PLAIN[:1, :1], "PNG"), "ok"),
    "thin": (save(np.zeros((2, 10_000, 3), np.uint8), "JPEG"), "ok"),
    "junk_after_end": (GOOD + b"junk" * 100, "ok"),
    "broken_exif": (GOOD[:2] + b"\xff\xe1\x00\x0cExif\0\0\x99\x99\x99\x99" + GOOD[2:], "ok"),
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """All cases in one shard, called .jpg whatever they are; name → rows of every stage."""
    folder = tmp_path_factory.mktemp("corrupt")
    tree = packed(folder, {f"{name}.jpg": data for name, (data, _) in CASES.items()}, per_shard=99)
    stages = [Integrity(), Geometry(), Hashes(), Blur()]
    tally = finish(tree, stages, Here())
    assert tally.failed == []
    (shard,) = tree.shards()
    names = [source.removesuffix(".jpg") for source in read_raw_index(shard)["source"].to_pylist()]
    tables = {
        s.name: read_columns(tree.record(s.name, fingerprint(s), shard)).to_pylist() for s in stages
    }
    return {n: {k: rows[i] for k, rows in tables.items()} for i, n in enumerate(names)}


@pytest.mark.parametrize("name", CASES)
def test_the_table(scored, name):
    rows, expected = scored[name], CASES[name][1]
    assert rows["integrity"]["status"] == expected, rows["integrity"]["error"]
    good = expected.startswith("ok")
    assert (rows["integrity"]["error"] is None) == good
    for stage in ("hashes", "blur"):
        assert rows[stage]["status"] == ("ok" if good else "skipped")
    assert (rows["hashes"]["phash"] is not None) == good
    if good:
        assert rows["geometry"]["width"] > 0


def test_orientation_is_that_of_a_viewer(tmp_path):
    tall = pixels(3, height=64, width=48)
    files = {f"{o}.jpg": oriented(tall, o) for o in range(1, 9)}
    tree = packed(tmp_path, files)
    finish(tree, [Geometry()], Here())
    (shard,) = tree.shards()
    table = read_columns(tree.record("geometry", fingerprint(Geometry()), shard))
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    assert sizes == [(48, 64)] * 4 + [(64, 48)] * 4
    assert table["orientation"].to_pylist() == list(range(1, 9))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_odd_tars(tmp_path):
    """Repeated names, paths that lead outside, other members: all harmless."""
    source = write_files(tmp_path / "in", {})
    with tarfile.open(source / "odd.tar", "w") as tar:
        add(tar, "a.jpg", jpeg(1))
        add(tar, "a.jpg", jpeg(2))
        add(tar, "../../outside.jpg", jpeg(3))
        add(tar, "notes.txt", b"no picture")
        add(tar, "a.json", b"{}")
    tree = Tree(tmp_path / "tree")
    report = pack(source, tree)
    assert (report.pictures, report.faults) == (3, {})
    (shard,) = tree.shards()
    index = read_raw_index(shard)
    assert index["source"].to_pylist()[2] == "odd.tar/../../outside.jpg"
    with tarfile.open(shard.tar) as tar:
        assert tar.getnames() == ["000000.jpg", "000001.jpg", "000002.jpg"]
        assert [tar.extractfile(m).read() for m in tar] == [jpeg(1), jpeg(2), jpeg(3)]
    assert not (tmp_path / "outside.jpg").exists()


@pytest.mark.parametrize("kept", ["in a member", "between members"])
def test_a_cut_tar_gives_what_is_whole(tmp_path, kept):
    source = write_files(tmp_path / "in", {})
    with tarfile.open(source / "cut.tar", "w") as tar:
        for number in range(4):
            add(tar, f"{number}.jpg", jpeg(number))
    with tarfile.open(source / "cut.tar") as tar:
        places = [member.offset for member in tar.getmembers()]
    whole = (source / "cut.tar").read_bytes()
    end = places[2] + 700 if kept == "in a member" else places[2]
    (source / "cut.tar").write_bytes(whole[:end])
    tree = Tree(tmp_path / "tree")
    report = pack(source, tree)
    assert (report.pictures, report.faults) == (3, {"tar_tail": 1})
    finish(tree, [Integrity()], Here())
    (shard,) = tree.shards()
    table = read_columns(tree.record("integrity", fingerprint(Integrity()), shard))
    assert table["status"].to_pylist() == ["ok", "ok", "bad:tar_tail"]


def test_a_damaged_shard_is_reported_and_the_others_go_on(tmp_path):
    tree = packed(tmp_path, many(20))
    tar = tree.shards()[1].tar
    tar.write_bytes(tar.read_bytes()[:-5000])
    tally = finish(tree, [Integrity()], Here())
    assert (tally.shards, len(tally.failed)) == (2, 1)
    assert "copy or pack it again" in tally.failed[0]


def test_a_full_disk_leaves_a_tree_that_resumes(tmp_path, monkeypatch):
    import errno

    from vitruvian.curate import records

    tree = packed(tmp_path, many(20))
    plain, left = records.write_table, [1]

    def full(table, path):
        if not left[0]:
            path.write_bytes(b"PAR1 half")
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        plain(table, path)

    monkeypatch.setattr(records, "write_table", full)
    tally = finish(tree, [Integrity()], Here())
    assert tally.shards == 1
    assert tally.fatal is not None
    assert "is full" in tally.fatal
    assert "goes on where it stopped" in tally.fatal
    monkeypatch.undo()
    assert finish(tree, [Integrity()], Here()).shards == 2
    assert not list(tree.root.glob("records/**/.*"))
