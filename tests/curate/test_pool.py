# SPDX-License-Identifier: Apache-2.0
"""Supervised processes: pictures that crash or hang cost a row, killed processes cost nothing."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from corpus import jpeg, many, packed
from stand_ins import CRASH, HANG, MEMORY, RAISE, Obedient

from vitruvian.curate import plan
from vitruvian.curate.basics import Geometry, Integrity
from vitruvian.curate.engines import Here, Local
from vitruvian.curate.records import read_columns, read_record_note
from vitruvian.curate.stage import fingerprint


def finish(tree, stages, engine, *, part=(0, 1), retry=False):
    wanted, tally = plan.in_order(stages), plan.Tally()
    tasks = plan.todo(tree, wanted, tree.shards(part), retry=retry)
    for _, tally in plan.run(wanted, tasks, engine):  # noqa: B007
        pass
    return tally


def digests(tree, stages):
    return {
        (stage.name, shard.name): read_record_note(
            tree.record(stage.name, fingerprint(stage), shard)
        )["digest"]
        for stage in plan.in_order(stages)
        for shard in tree.shards()
    }


def statuses(tree, stage):
    found = []
    for shard in tree.shards():
        table = read_columns(tree.record(stage.name, fingerprint(stage), shard))
        assert table["row"].to_pylist() == list(range(len(table)))
        found += table["status"].to_pylist()
    return found


def test_all_engines_write_equal_records(tmp_path):
    stages = [Integrity(), Geometry(), Obedient()]
    found = []
    for number, engine in enumerate((Here(), Local(2))):
        tree = packed(tmp_path / str(number), many(30))
        tally = finish(tree, stages, engine)
        assert (tally.shards, tally.rows, tally.deaths, tally.failed) == (4, 30, 0, [])
        found.append(digests(tree, stages))
        assert finish(tree, stages, engine).shards == 0  # nothing is left
    assert found[0] == found[1]


def test_parts_are_disjoint_and_complete(tmp_path):
    tree, stages = packed(tmp_path, many(30), per_shard=5), [Geometry()]
    counts = [finish(tree, stages, Here(), part=(i, 4)).shards for i in range(4)]
    assert counts == [2, 2, 1, 1]
    assert not plan.todo(tree, stages, tree.shards())


def test_a_stage_added_later_leaves_the_others_alone(tmp_path):
    tree = packed(tmp_path, many(10))
    finish(tree, [Geometry(), Integrity()], Here())
    before = digests(tree, [Integrity(), Geometry()])
    times = [p.stat().st_mtime_ns for p in sorted(tree.root.glob("records/*/*/*/*/*.parquet"))]
    finish(tree, [Integrity(), Geometry(), Obedient()], Here())
    after = {p: p.stat().st_mtime_ns for p in tree.root.glob("records/[gi]*/*/*/*/*.parquet")}
    assert sorted(after.values()) == sorted(times)
    assert before.items() <= digests(tree, [Integrity(), Geometry(), Obedient()]).items()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100])
def test_a_broken_record_counts_as_missing(tmp_path, content):
    tree, stage = packed(tmp_path, many(10)), Geometry()
    finish(tree, [stage], Here())
    before = digests(tree, [stage])
    tree.record("geometry", fingerprint(stage), tree.shards()[1]).write_bytes(content)
    assert finish(tree, [stage], Here()).shards == 1
    assert digests(tree, [stage]) == before


@pytest.mark.parametrize("where", ["score", pytest.param("decode", marks=pytest.mark.slow)])
def test_a_picture_that_crashes_or_hangs_costs_one_row(tmp_path, where):
    files = many(12)
    files["0003.jpg"] = jpeg(3) + CRASH
    files["0009.jpg"] = jpeg(9) + HANG
    tree, stages = packed(tmp_path, files, per_shard=6), [Integrity(), Obedient(where=where)]
    tally = finish(tree, stages, Local(2, patience=2))
    assert (tally.shards, tally.rows, tally.poison, tally.failed) == (2, 12, 2, [])
    odd = {3: "crash", 9: "timeout"}
    if where == "score":
        assert statuses(tree, stages[0]) == ["ok"] * 12
        assert statuses(tree, stages[1]) == [odd.get(n, "ok") for n in range(12)]
    else:
        bad = [f"bad:{odd[n]}" if n in odd else "ok" for n in range(12)]
        assert statuses(tree, stages[0]) == bad
        assert statuses(tree, stages[1]) == ["skipped" if n in odd else "ok" for n in range(12)]


def test_failures_of_a_stage_are_rows_and_transient_ones_can_be_retried(tmp_path):
    files = many(6)
    files["0002.jpg"] += RAISE
    files["0004.jpg"] += MEMORY
    tree, stage = packed(tmp_path, files), Obedient()
    finish(tree, [stage], Here())
    expected = ["ok", "ok", "error", "ok", "transient:memory", "ok"]
    assert statuses(tree, stage) == expected
    assert finish(tree, [stage], Here()).shards == 0
    assert finish(tree, [stage], Here(), retry=True).shards == 1


class Killer(threading.Thread):
    """Kills a random process of an engine every so often, for so many seconds."""

    def __init__(self, engine: Local, pause: float, seconds: float) -> None:
        super().__init__(daemon=True)
        self.engine, self.pause, self.seconds = engine, pause, seconds
        self.killed, self.over = 0, threading.Event()

    def run(self) -> None:
        rng, end = random.Random(0), time.monotonic() + self.seconds
        while not self.over.wait(self.pause) and (time.monotonic() < end or not self.killed):
            # one that has begun with pictures: on a busy machine others would never get there
            pids = [pid for hand in self.engine.hands if (pid := hand.pid) and hand.begun]
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                self.killed += 1


def kill_and_compare(
    tmp_path: Path, *, count: int, seconds: float, pause: float, lasting: float
) -> int:
    stages = [Integrity(), Obedient(seconds=seconds)]
    calm = packed(tmp_path / "calm", many(count), per_shard=16)
    finish(calm, stages, Here())
    tree, engine = packed(tmp_path / "wild", many(count), per_shard=16), Local(2)
    killer = Killer(engine, pause, lasting)
    killer.start()
    tally = finish(tree, stages, engine)
    killer.over.set()
    killer.join()
    assert tally.failed == []
    assert tally.fatal is None
    assert tally.poison == 0
    assert digests(tree, stages) == digests(calm, stages)
    assert not list(tree.root.glob("records/**/.*"))  # a killed process leaves no litter
    return killer.killed


def test_killed_processes_cost_nothing(tmp_path):
    assert kill_and_compare(tmp_path, count=96, seconds=0.02, pause=0.4, lasting=2) >= 1


@pytest.mark.slow
def test_processes_killed_for_a_minute_cost_nothing(tmp_path):
    assert kill_and_compare(tmp_path, count=1600, seconds=0.06, pause=2.0, lasting=60) >= 15


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from stand_ins import Obedient
from vitruvian.curate import plan
from vitruvian.curate.basics import Integrity
from vitruvian.curate.engines import Local
from vitruvian.curate.tree import Tree
if __name__ == "__main__":
    tree, stages = Tree(Path({root!r})), [Integrity(), Obedient(seconds=0.03)]
    for _ in plan.run(stages, plan.todo(tree, stages, tree.shards()), Local(2)):
        print("report", flush=True)
"""


def test_a_killed_driver_costs_at_most_a_shard_per_worker(tmp_path):
    stages = [Integrity(), Obedient(seconds=0.03)]
    calm = packed(tmp_path / "calm", many(64))
    finish(calm, [Integrity(), Obedient()], Here())
    tree = packed(tmp_path / "wild", many(64))
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(path=sys.path, root=str(tree.root)))
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 300  # on a busy machine
    while len(list(tree.root.glob("records/obedient/*/*/*/*.parquet"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.communicate()
    time.sleep(0.5)  # its processes notice
    kept = {p: p.stat().st_mtime_ns for p in tree.root.glob("records/*/*/*/*/*.parquet")}
    tally = finish(tree, stages, Local(2))
    assert 3 <= tally.shards <= 5
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert digests(tree, stages) == digests(calm, [Integrity(), Obedient()])
