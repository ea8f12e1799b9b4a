# SPDX-License-Identifier: Apache-2.0
"""``vitruvian synth`` as a person runs it, with people of capsules in the place of real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
import tyro

from vitruvian.commands import synth
from vitruvian.data.reader import Shards
from vitruvian.errors import InputError, MissingExtraError
from vitruvian.synth import casting, production, writer


def call(function, *arguments):
    given = [str(argument) for argument in arguments]
    return tyro.cli(function, args=given, config=(tyro.conf.OmitArgPrefixes,))


@pytest.fixture(autouse=True)
def _small_world(monkeypatch):
    """Capsule people, made in this process."""
    import synth_actors

    def moving(seed, clip, frame, frames, settings):
        return [synth_actors.figure(1 + 0.05 * frame)]

    monkeypatch.setattr(production, "invented", synth_actors.cast)
    monkeypatch.setattr(casting, "moving", moving)
    monkeypatch.setattr(writer, "Pool", lambda workers: writer.Here())


def test_people_end_to_end(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--out", out, "--count", 3, "--size", "64x48", "--views", 2, "--per-shard", 2]
    assert call(synth.people, *arguments) == 0
    text = capsys.readouterr().out
    assert "3 new of 3 pictures" in text
    names = {path.name for path in out.iterdir()}
    assert {"synth.json", "sheet.png", "gallery.html", "card.html", "card.json"} <= names
    assert {"people-000000.tar", "people-000001.tar"} <= names
    samples = Shards(out)
    samples.verify()
    assert len(samples) == 3
    assert samples[0].size == (64, 48)
    assert {"parts", "depth", "normals", "pose"} <= set(samples[0].people[0].annotations)
    # the same command again has nothing to do; a larger count goes on
    before = (out / "people-000000.tar").read_bytes()
    assert call(synth.people, *arguments) == 0
    assert "0 new of 3 pictures" in capsys.readouterr().out
    arguments[3] = 4
    assert call(synth.people, *arguments) == 0
    assert "2 new of 4 pictures" in capsys.readouterr().out
    assert (out / "people-000000.tar").read_bytes() == before
    with pytest.raises(InputError, match=r"something else \(seed\)"):
        call(synth.people, *arguments, "--seed", 1)


def test_a_preview_is_small_and_stands_apart(tmp_path, capsys):
    out = tmp_path / "out"
    assert call(synth.people, "--out", out, "--preview", 2, "--size", "1024x768") == 0
    assert (out / "preview" / "sheet.png").exists()
    assert Shards(out / "preview")[0].size == (256, 192)
    assert not list(out.glob("*.tar"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--count", 0], "--count 0"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--size", "big"], "HEIGHTxWIDTH"),
        (["--size", "8x8"], "sides of 16"),
        (["--workers", -1], "--workers -1"),
        (["--preview", -1], "--preview -1"),
        (["--quality", 101], "--quality 101"),
        (["--people-max", 9], "people_max is 1 to 8"),
        (["--per-shard", 0], "shard holds at least one"),
        (["--seed", -1], "a seed is 0 or more"),
        (["--backgrounds", "absent"], "absent"),
    ],
)
def test_what_cannot_work_is_one_clear_error(tmp_path, arguments, text):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=text):
        call(synth.people, "--out", out, *arguments)
    assert not out.exists()


def test_an_empty_folder_of_backgrounds_is_said_before_any_work(tmp_path):
    with pytest.raises(InputError, match="no photograph in"):
        call(synth.people, "--out", tmp_path / "out", "--backgrounds", tmp_path)


def test_ray_is_an_extra(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(writer.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match="cluster"):
        call(synth.people, "--out", tmp_path / "out", "--engine", "ray")


def test_a_failed_shard_is_listed_and_the_rest_is_made(tmp_path, monkeypatch, capsys):
    import flat_pictures

    class Failing(writer.Here):
        def run(self, jobs, maker):
            yield writer.Progress(jobs[0], error="its process died 2 times")
            yield from super().run(jobs[1:], maker)

    monkeypatch.setattr(writer, "Pool", lambda workers: Failing())
    monkeypatch.setattr(production, "people", flat_pictures.flat)
    code = call(synth.people, "--out", tmp_path, "--count", 4, "--per-shard", 2, "--size", "64x48")
    assert code == 1
    streams = capsys.readouterr()
    assert "2 new of 4" in streams.out
    assert "failed: people-000000.tar: its process died 2 times" in streams.err


@pytest.fixture
def scans_folder(tmp_path):
    from synth_shapes import mannequin

    folder = tmp_path / "scans"
    folder.mkdir()
    pieces = [trimesh.Trimesh(m.vertices, m.faces, process=False) for m in mannequin(rows=8)]
    mesh = trimesh.util.concatenate(pieces)
    mesh.visual.vertex_colors = np.full((len(mesh.vertices), 4), 160, np.uint8)
    mesh.export(folder / "anna.ply")
    mesh.apply_scale(1000)
    mesh.export(folder / "ben.ply")
    return folder


def test_scans_end_to_end(tmp_path, scans_folder, capsys):
    out = tmp_path / "out"
    arguments = ["--out", out, "--count", 4, "--size", "64x48", "--views", 2]
    assert call(synth.scans, scans_folder, *arguments) == 0
    assert "warning: ben.ply: taken to be in mm" in capsys.readouterr().err
    samples = Shards(out)
    person = samples[0].people[0]
    assert {"depth", "normals"} <= set(person.annotations)
    lines = (out / "scans-000000.recipes.jsonl").read_text().splitlines()
    names = [json.loads(line)["people"][0]["scan"] for line in lines]
    assert names == ["anna", "anna", "ben", "ben"]
    depth = person.raster("depth")
    assert 0.2 < np.median(depth.values[depth.mask]) < 40


def test_an_empty_folder_of_scans_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="no scan in"):
        call(synth.scans, tmp_path, "--out", tmp_path / "out")


def test_rig_end_to_end(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--clips", 1, "--frames", 2, "--cameras", 2, "--size", "64x48"]
    assert call(synth.rig, "--out", out, *arguments) == 0
    assert "4 new of 4 pictures" in capsys.readouterr().out
    samples = Shards(out)
    assert samples[3].name == "clip000000/frame0001/camera01"
    cameras = json.loads((out / "cameras.json").read_text())["cameras"]
    assert list(cameras) == ["camera00", "camera01"]
    other = tmp_path / "other"
    call(synth.rig, "--out", other, *arguments, "--rig", out / "cameras.json")
    again = Shards(other)
    np.testing.assert_array_equal(again[0].image, samples[0].image)


def test_a_rig_without_clips_is_refused(tmp_path):
    with pytest.raises(InputError, match="--clips 0"):
        call(synth.rig, "--out", Path(tmp_path), "--clips", 0)
