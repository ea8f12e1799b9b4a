# SPDX-License-Identifier: Apache-2.0
"""``vitruvian data``: pack, check, show, and what they say."""

from typing import get_args

import numpy as np
import pytest
import tyro
from data_samples import random_sample
from layouts import coco_set, dense, photo, silhouette

from vitruvian import image
from vitruvian.commands import data as module
from vitruvian.commands.data import check, contact_sheet, pack, show
from vitruvian.data.options import SourceOptions
from vitruvian.data.reader import Shards
from vitruvian.data.shards import write_shard
from vitruvian.data.sources import LAYOUTS
from vitruvian.errors import InputError


def run(function, *arguments):
    """Call a command as the command line does."""
    return tyro.cli(function, args=list(map(str, arguments)), config=(tyro.conf.OmitArgPrefixes,))


def test_every_layout_can_be_named():
    assert set(get_args(module.LayoutName)) == {"auto", *LAYOUTS}


def test_pack_and_go_on(tmp_path, capsys):
    path = coco_set(tmp_path)
    out = tmp_path / "out"
    assert run(pack, path, "--out", out) == 0
    assert f"2 samples in {out}/ (read as coco, 2 new in" in capsys.readouterr().out
    assert Shards(out).people().tolist() == [1, 2]
    assert pack(path, out=out) == 0
    assert "(read as coco, all packed before)" in capsys.readouterr().out
    with pytest.raises(InputError, match="settings differ"):
        run(pack, path, "--out", out, "--missing", "skip")


def test_pack_with_options(tmp_path):
    root = dense(tmp_path / "set", masks=(".png", silhouette()), depth=(".npy", np.ones((20, 30))))
    with pytest.raises(InputError, match="does not say what its depth means"):
        run(pack, root, "--out", tmp_path / "out")
    assert run(pack, root, "--out", tmp_path / "out", "--depth-kind", "metric") == 0
    assert Shards(tmp_path / "out")[0].people[0].raster("depth").kind == "metric"
    with pytest.raises(InputError, match="points has no effect on folder"):
        run(pack, root, "--out", tmp_path / "x", "--points", "coco17")


def test_pack_leaves_out_what_is_bad(tmp_path, capsys):
    photo(tmp_path / "set" / "a.jpg")
    (tmp_path / "set" / "b.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.jpg is empty"):
        pack(tmp_path / "set", out=tmp_path / "out")
    assert pack(tmp_path / "set", out=tmp_path / "out", on_bad="skip") == 1
    told = capsys.readouterr()
    assert "1 samples in" in told.out
    assert "left out: " in told.err
    assert "b.jpg is empty" in told.err


def test_check(tmp_path, capsys):
    write_shard(tmp_path / "s.tar", [random_sample(n, f"s{n}") for n in range(5)])
    sheet = tmp_path / "sheet.png"
    status = run(check, tmp_path, "--out", sheet, "--sheet", 3, "--verify")
    told = capsys.readouterr().out
    assert f"{tmp_path}: 5 samples, read as shards" in told
    assert "5 samples, 10 people" in told
    assert "pose: 5 people with points of coco17" in told
    assert "! vector: 50% of all normals face the viewer" in told
    assert "? label: never seen" in told or "label: 5 label maps" in told
    assert status == 1
    assert "bad finding" in told
    drawn = image.read(sheet)
    assert drawn.shape[0] > 200
    assert np.ptp(drawn) > 100


def test_check_of_a_good_set(tmp_path, capsys):
    root = dense(tmp_path, masks=(".png", silhouette()))
    assert check(root, limit=1) == 0
    told = capsys.readouterr().out
    assert "2 samples, read as folder, 1 of them looked at" in told
    assert "nothing bad found" in told
    with pytest.raises(InputError, match="is folder, no shards"):
        check(root, verify=True)


def test_check_tells_what_cannot_be_read(tmp_path, capsys):
    root = dense(tmp_path, masks=(".png", np.zeros((20, 30), np.uint8)))
    assert check(root) == 1
    told = capsys.readouterr().out
    assert "a.png: the mask is empty" in told
    assert "no sample could be read" in told


def test_show(tmp_path, capsys):
    write_shard(tmp_path / "s.tar", [random_sample(n, f"s{n}") for n in range(2)])
    run(show, tmp_path, "s1", "--out", tmp_path / "x.png")
    told = capsys.readouterr().out
    assert "s.tar, s1: 31×24 (width × height), 2 people with colour, label, pose, position" in told
    assert "maps of the whole picture: parts, a camera" in told
    assert image.read(tmp_path / "x.png").shape[1] > 900
    packed = Shards(tmp_path)
    for which in ("1", "s1", packed.uid(1).hex()):
        assert module._number(packed, which) == 1


def test_show_of_files(tmp_path, capsys):
    root = dense(tmp_path, masks=(".png", silhouette()))
    show(root, "a.jpg", out=tmp_path / "x.jpg")
    assert "a.jpg: 30×20 (width × height), 1 people with mask" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"2 samples end in '\.jpg'"):
        show(root, ".jpg", out=tmp_path / "x.jpg")
    with pytest.raises(InputError, match="there are 2, counted from 0"):
        show(root, "2", out=tmp_path / "x.jpg", options=SourceOptions())


def test_contact_sheets_of_pictures_alone():
    page = contact_sheet([random_sample(0), random_sample(1, "")])
    assert page.dtype == np.uint8
    assert page.ndim == 3
