# SPDX-License-Identifier: Apache-2.0
"""Packing: in order, the same with any number of workers, going on where it stopped."""

import numpy as np
import pytest
from data_samples import random_sample
from layouts import photo
from preparers import Counting

from vitruvian.data.pack import pack
from vitruvian.data.reader import Shards
from vitruvian.data.source import Listed
from vitruvian.data.sources.images import open_images
from vitruvian.errors import InputError


def tars(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def photos(tmp_path):
    for number in range(7):
        photo(tmp_path / "photos" / f"{number}.jpg", number)
    return open_images(tmp_path / "photos")


def test_picture_files_are_kept(photos, tmp_path):
    report = pack(photos, tmp_path / "out", max_samples=3)
    assert (report.samples, report.new, len(report.shards)) == (7, 7, 3)
    packed = Shards(tmp_path / "out")
    assert [packed[n].name for n in range(7)] == [f"{n}.jpg" for n in range(7)]
    assert packed.picture(4) == photos.picture(4)
    assert (packed[4].image == photos[4].image).all()


def test_any_number_of_workers(tmp_path):
    source = Counting(9)
    pack(source, tmp_path / "a", max_samples=4)
    pack(source, tmp_path / "b", max_samples=4, workers=2)
    assert tars(tmp_path / "a") == tars(tmp_path / "b")


def test_it_goes_on_where_it_stopped(photos, tmp_path):
    pack(photos, tmp_path / "whole", max_samples=2)

    def stop(number):
        if number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(photos, tmp_path / "out", max_samples=2, progress=stop)
    assert len(Shards(tmp_path / "out")) == 4
    done = []
    report = pack(photos, tmp_path / "out", max_samples=2, progress=done.append)
    assert (report.samples, report.new, done) == (7, 3, [4, 5, 6])
    assert tars(tmp_path / "out") == tars(tmp_path / "whole")
    again = pack(photos, tmp_path / "out", max_samples=2)
    assert (again.samples, again.new, again.shards) == (7, 0, [])


def test_other_settings_or_another_source_are_refused(photos, tmp_path):
    pack(photos, tmp_path / "out", settings={"layout": "images"})
    with pytest.raises(InputError, match=r"\(settings differ\): give another folder"):
        pack(photos, tmp_path / "out", settings={"layout": "folder"})
    photo(tmp_path / "photos" / "x.jpg")
    with pytest.raises(InputError, match=r"\(samples, source differ\)"):
        pack(open_images(tmp_path / "photos"), tmp_path / "out", settings={"layout": "images"})
    assert pack(photos, tmp_path / "out", prefix="more").new == 7


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_samples(tmp_path, workers):
    source = Counting(6, bad=[2, 5])
    with pytest.raises(InputError, match=r"^number 2: broken$"):
        pack(source, tmp_path / "a", workers=workers)
    assert not list((tmp_path / "a").glob("*.tar"))
    report = pack(source, tmp_path / "b", on_bad="skip", workers=workers, max_samples=2)
    assert [where for where, _ in report.failed] == ["number 2", "number 5"]
    assert [Shards(tmp_path / "b")[n].name for n in range(4)] == ["0", "1", "3", "4"]


def test_pixels_without_a_file(tmp_path):
    source = Listed([random_sample(0)])
    pack(source, tmp_path / "png")
    assert (Shards(tmp_path / "png")[0].image == source[0].image).all()
    pack(source, tmp_path / "jpg", quality=90)
    difference = Shards(tmp_path / "jpg")[0].image.astype(int) - source[0].image
    assert 0 < np.abs(difference).mean() < 20
