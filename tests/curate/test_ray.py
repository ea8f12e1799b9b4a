# SPDX-License-Identifier: Apache-2.0
"""The same records from a Ray cluster, also when its actors are killed. Needs the extra cluster."""

import contextlib
import os
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from corpus import jpeg, many, packed
from stand_ins import CRASH, Obedient
from test_pool import digests, finish, statuses

from vitruvian.curate import engines
from vitruvian.curate.basics import Geometry, Integrity
from vitruvian.curate.engines import Here, Ray
from vitruvian.errors import InputError, MissingExtraError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    folders = os.pathsep.join(p for p in sys.path if p)
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": folders}},
    )  # fmt: skip
    yield ray
    ray.shutdown()


def test_ray_writes_the_records_of_one_process(tmp_path, cluster):
    files = many(24)
    files["0005.jpg"] = jpeg(5) + CRASH
    stages = [Integrity(), Geometry(), Obedient()]
    tree = packed(tmp_path / "ray", files)
    tally = finish(tree, stages, Ray(2))
    assert (tally.shards, tally.rows, tally.failed, tally.poison) == (3, 24, [], 1)
    assert statuses(tree, stages[2])[5] == "crash"
    calm = packed(tmp_path / "calm", files)
    finish(calm, stages[:2], Here())
    assert digests(tree, stages[:2]) == digests(calm, stages[:2])


def test_actors_killed_for_a_minute_cost_nothing(tmp_path, cluster):
    stages = [Integrity(), Obedient(seconds=0.1)]
    tree, calm = packed(tmp_path / "ray", many(1000)), packed(tmp_path / "calm", many(1000))
    killed, over, rng = [], threading.Event(), np.random.default_rng(0)

    def kill():
        end = time.monotonic() + 60
        while not over.wait(2.0) and time.monotonic() < end:
            stations = []
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if process.cmdline()[:1] == ["ray::_Station.run"]:
                        stations.append(process)
            if stations:
                rng.choice(stations).kill()
                killed.append(1)

    thread = threading.Thread(target=kill)
    thread.start()
    tally = finish(tree, stages, Ray(2))
    over.set()
    thread.join()
    assert len(killed) >= 8  # an actor that comes back takes seconds
    assert (tally.rows, tally.failed, tally.fatal) == (1000, [], None)
    finish(calm, [Integrity(), Obedient()], Here())
    assert digests(tree, stages) == digests(calm, [Integrity(), Obedient()])


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[cluster\]"):
        Ray(1)
    with pytest.raises(InputError, match="--workers"):
        engines.Local(0)
