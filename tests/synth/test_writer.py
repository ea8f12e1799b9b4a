# SPDX-License-Identifier: Apache-2.0
"""Shards do not depend on who makes them, and a process that dies costs nothing but time."""

import hashlib
import json

import flat_pictures
import pytest

from vitruvian.data.reader import Shards
from vitruvian.errors import InputError, MissingExtraError
from vitruvian.synth import writer
from vitruvian.synth.recipe import Recipe, Settings, digest, stream


def jobs(folder, count=6, per_shard=2, seed=3, **settings):
    return writer.plan(folder, count=count, seed=seed, settings=settings, per_shard=per_shard)


def contents(folder):
    files = sorted(path for path in folder.iterdir() if path.suffix in (".tar", ".jsonl"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def finished(events):
    return sorted(event.job.number for event in events if event.finished)


def test_a_plan_divides_all_numbers_and_refuses_nonsense(tmp_path):
    planned = jobs(tmp_path, count=5)
    assert [(job.first, job.last) for job in planned] == [(0, 2), (2, 4), (4, 5)]
    with pytest.raises(InputError, match="at least one picture"):
        jobs(tmp_path, count=0)
    with pytest.raises(InputError, match="at least one picture"):
        jobs(tmp_path, per_shard=0)
    with pytest.raises(InputError, match="0 or more"):
        jobs(tmp_path, seed=-1)


def test_any_number_of_workers_makes_the_same_bytes(tmp_path):
    here, one, two = (tmp_path / name for name in ("here", "one", "two"))
    assert finished(writer.Here().run(jobs(here), flat_pictures.flat)) == [0, 1, 2]
    for folder, workers in ((one, 1), (two, 2)):
        events = list(writer.Pool(workers).run(jobs(folder), flat_pictures.flat))
        assert finished(events) == [0, 1, 2]
        assert sum(event.pictures for event in events) == 6
    assert contents(here) == contents(one) == contents(two)
    assert [sample.name for sample in Shards(here)][:2] == ["flat-000000", "flat-000001"]


def test_finished_shards_are_skipped_and_a_longer_set_keeps_them(tmp_path):
    planned = jobs(tmp_path, count=4)
    list(writer.Here().run(planned[:1], flat_pictures.flat))
    assert [job.number for job in writer.todo(planned)] == [1]
    list(writer.Here().run(planned[1:], flat_pictures.flat))
    assert writer.todo(planned) == []
    longer = jobs(tmp_path, count=7)
    assert [job.number for job in writer.todo(longer)] == [2, 3]
    # a last shard that was cut short is made again, whole
    list(writer.Here().run(jobs(tmp_path, count=5)[2:], flat_pictures.flat))
    assert [job.number for job in writer.todo(longer)] == [2, 3]
    assert writer.todo([]) == []


def test_a_folder_of_other_pictures_is_refused(tmp_path):
    writer.claim(tmp_path / "out", {"seed": 1, "settings": {"size": (4, 3)}})
    writer.claim(tmp_path / "out", {"seed": 1, "settings": {"size": (4, 3)}})
    with pytest.raises(InputError, match=r"something else \(seed\)"):
        writer.claim(tmp_path / "out", {"seed": 2, "settings": {"size": (4, 3)}})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        writer.claim(tmp_path / "file", {})
    with pytest.raises(InputError, match="another --out"):
        writer.claim(tmp_path / "file" / "inside", {})


def test_a_shard_whose_process_dies_is_made_by_another(tmp_path):
    whole, died = tmp_path / "whole", tmp_path / "died"
    list(writer.Here().run(jobs(whole), flat_pictures.flat))
    events = list(writer.Pool(1).run(jobs(died), flat_pictures.dies_once))
    assert finished(events) == [0, 1, 2]
    assert sum(event.pictures for event in events) == 6
    assert (died / "died").exists()
    assert contents(whole) == contents(died)


def test_a_shard_that_always_dies_is_reported_and_leaves_nothing(tmp_path):
    events = list(writer.Pool(1).run(jobs(tmp_path), flat_pictures.dies_always))
    assert finished(events) == [0, 2]
    errors = [event for event in events if event.error]
    assert [event.job.number for event in errors] == [1]
    assert "died 2 times (exit code 9)" in errors[0].error
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_maker_that_raises_costs_its_own_shard_only(tmp_path):
    events = list(writer.Pool(1).run(jobs(tmp_path), flat_pictures.raises))
    assert finished(events) == [1, 2]
    assert [event.error for event in events if event.error] == ["this shard cannot be made"]


def test_a_full_disk_stops_everything_with_one_line(tmp_path):
    events = list(writer.Pool(1).run(jobs(tmp_path), flat_pictures.disk_full))
    assert len(events) == 1
    assert events[0].fatal
    assert "is full" in events[0].error
    assert "goes on where it stopped" in events[0].error
    assert list(tmp_path.iterdir()) == []


def test_leaving_early_ends_the_processes_and_cleans_up(tmp_path):
    run = writer.Pool(1).run(jobs(tmp_path, count=40, per_shard=40), flat_pictures.slow)
    assert next(run).pictures == 1
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_a_pool_needs_a_worker():
    with pytest.raises(InputError, match="--workers 0"):
        writer.Pool(0)


class FakeRay:
    """As much of Ray as we use: tasks run when they are waited for."""

    def __init__(self):
        self.started, self.cancelled = False, []

    def is_initialized(self):
        return self.started

    def init(self):
        self.started = True

    def remote(self, **options):
        assert options == {"num_cpus": 1, "max_retries": 2}

        class Task:
            def __init__(self, function):
                self.function = function

            def remote(self, *arguments):
                return lambda: self.function(*arguments)

        return Task

    def wait(self, pending, num_returns):
        return pending[-num_returns:], pending[:-num_returns]

    def get(self, reference):
        return reference()

    def cancel(self, reference):
        self.cancelled.append(reference)


def test_ray_makes_the_same_shards(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    list(writer.Here().run(jobs(here), flat_pictures.flat))
    events = list(writer.Ray(module=FakeRay()).run(jobs(there), flat_pictures.flat))
    assert finished(events) == [0, 1, 2]
    assert sum(event.pictures for event in events) == 6
    assert contents(here) == contents(there)


def test_ray_stops_when_the_disk_is_full(tmp_path):
    ray = FakeRay()
    events = list(writer.Ray(module=ray).run(jobs(tmp_path), flat_pictures.disk_full))
    assert [event.fatal for event in events] == [True]
    assert len(ray.cancelled) == 2


def test_without_ray_the_install_command_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(writer.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[cluster\]"):
        writer.Ray()


def test_recipes_and_settings_survive_json():
    settings = Settings(size=(64, 48), shares={"face": 1, "full": 3})
    assert settings.shares == {"face": 0.25, "upper": 0, "full": 0.75}
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    recipe = Recipe(settings=settings.to_dict(), seed=4, index=2, people=({"age": 0.5},))
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again.to_dict() == recipe.to_dict()
    with pytest.raises(InputError, match="generator version 0"):
        Recipe.from_dict({**recipe.to_dict(), "version": 0})
    with pytest.raises(InputError, match="unknown recipe entries"):
        Recipe.from_dict({**recipe.to_dict(), "colour": 1})
    with pytest.raises(InputError, match="unknown settings"):
        Settings.from_dict({"colour": 1})
    assert digest({"a": (1, 2)}) == digest({"a": [1, 2]}) != digest({"a": [2, 1]})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"size": (8, 8)}, "sides of 16"),
        ({"people_max": 9}, "people_max is 1 to 8"),
        ({"views": 0}, "views per group"),
        ({"shares": {"foot": 1}}, "framing"),
        ({"shares": {"face": 0}}, "share above 0"),
        ({"shares": {"face": -1}}, "0 or more"),
    ],
)
def test_settings_say_what_they_need(values, text):
    with pytest.raises(InputError, match=text):
        Settings(**values)


def test_streams_do_not_disturb_each_other():
    drawn = {name: stream(1, 2, name).random() for name in ("people", "camera", "light")}
    assert len(set(drawn.values())) == 3
    assert stream(1, 2, "camera").random() == drawn["camera"]
    assert stream(1, 2, "camera", 1).random() != drawn["camera"]
