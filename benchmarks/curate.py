# SPDX-License-Identifier: Apache-2.0
"""Curation: rates per core, engines, policies, memory; each beside a baseline of the same run.

    OMP_NUM_THREADS=1 python benchmarks/curate.py [--pictures 800] [--rows 5000000] [--ray]

Pictures are made here: noise at many scales, 2.5 megapixels, 1.4 bits per pixel, 15 % of them
progressive, 20 % without chroma subsampling. Rates per core are pictures per CPU second of one
thread: that is what a core gives, also on a machine with others at work, where it is lower still
since they share its caches. Engines and policies are timed on the clock, with CPU seconds beside.

Baselines
    header      Pillow opens the file and says its size.
    decode      Pillow decodes, resizes to 1024 pixels by BICUBIC and takes a 32×32 copy for a hash;
                and libjpeg-turbo alone, which neither resizes nor hashes.
    text        rapidocr as it comes, told the same size and one thread.
    policy      DuckDB alone reads the records of people and evaluates one rule over them.
    pipeline    what one would write first: the decode baseline over a `multiprocessing.Pool` of
                two, with SHA-256 and sharpness, JSON lines as records. It finds broken files by
                what Pillow raises, and nothing else of what the stages do.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from curate_made import UNLIKE, headers_only, made_records, photograph, small_pictures
from PIL import Image

from vitruvian import image
from vitruvian.curate import plan
from vitruvian.curate.basics import Blur, Geometry, Hashes, Integrity
from vitruvian.curate.engines import Engine, Here, Local, Ray
from vitruvian.curate.pack import pack
from vitruvian.curate.policy import parse_policy
from vitruvian.curate.pool import Result
from vitruvian.curate.raw import open_raw, read_raw_index
from vitruvian.curate.select import select
from vitruvian.curate.shardwork import examine
from vitruvian.curate.stage import BASE, Picture, Stage
from vitruvian.curate.text import Text
from vitruvian.curate.tree import Tree

WORKERS = 2


def per_second(work: Callable[[], int], seconds: float = 3.0) -> float:
    """Pictures per CPU second of one thread, the median of three rounds."""
    work()
    rates = []
    for _ in range(3):
        start, done = time.process_time(), 0
        while time.process_time() - start < seconds / 3:
            done += work()
        rates.append(done / (time.process_time() - start))
    return statistics.median(rates)


def each(files: list[bytes], work: Callable[[bytes], object], seconds: float = 3.0) -> float:
    """Pictures per CPU second of some work on each file."""

    def all_of_them() -> int:
        for data in files:
            work(data)
        return len(files)

    return per_second(all_of_them, seconds)


def decoded_and_hashed(data: bytes) -> None:
    picture = Picture(row=0, data=data)
    examine(picture, pixels=True)
    hashlib.sha256(data).digest()
    HASHES([picture])


def header_by_pillow(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.size


def by_pillow(data: bytes) -> tuple[Image.Image, list[bool]]:
    """Return a picture at 1024 pixels and its hash."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    scale = 1024 / max(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    small = picture.resize(size, Image.Resampling.BICUBIC)
    grey = np.asarray(small.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float32)
    low = cv2.dct(grey)[:8, :8]
    return small, (low > np.median(low)).tolist()


def text(files: list[bytes]) -> dict[str, float]:
    """Detection, the whole stage, and rapidocr by itself, in pictures per CPU second."""
    from rapidocr import RapidOCR

    stage = Text(side=640).open()
    pictures = [Picture(row=n, data=data) for n, data in enumerate(files)]
    for picture in pictures:
        examine(picture, pixels=True)
    plain = [cv2.cvtColor(picture.pixels(BASE), cv2.COLOR_RGB2BGR) for picture in pictures]
    single = {f"EngineConfig.onnxruntime.{k}_op_num_threads": 1 for k in ("intra", "inter")}
    other = RapidOCR(
        params={
            "Global.log_level": "critical", "Global.use_cls": False, "Det.limit_side_len": 640,
            "Det.limit_type": "max", **single,
        }
    )  # fmt: skip
    other(plain[0])

    def detect(model: Any) -> Callable[[], int]:
        def work() -> int:
            for pixels in plain:
                model.text_det(pixels)
            return len(plain)

        return work

    def whole() -> int:
        stage(pictures)
        return len(pictures)

    return {
        "detection": per_second(detect(stage._ocr), 6),  # pyright: ignore
        "stage_with_reading": per_second(whole, 6),
        "baseline_rapidocr_detection": per_second(detect(other), 6),
    }


def gate(tree: Tree) -> float:
    """Pictures per CPU second of the whole stage geometry, from tars to records."""
    rows = sum(len(read_raw_index(shard, ["row"])) for shard in tree.shards())

    def work() -> int:
        shutil.rmtree(tree.root / "records", ignore_errors=True)
        for _ in plan.run([Geometry()], plan.todo(tree, [Geometry()], tree.shards()), Here()):
            pass
        return rows

    return per_second(work, 2)


def random_reads(tree: Tree) -> float:
    shards = tree.shards()
    tars = [open_raw(shard) for shard in shards]
    places = [
        (number, row["offset"], row["length"])
        for number, shard in enumerate(shards)
        for row in read_raw_index(shard, ["offset", "length"]).to_pylist()
    ]
    order = np.random.default_rng(0).permutation(len(places))

    def work() -> int:
        for place in order.tolist():
            number, offset, length = places[place]
            tars[number].read(offset, length)
        return len(order)

    return per_second(work, 2)


# ------------------------------------------------------------------------------------ engines

STAGES = [Integrity(), Geometry(), Hashes(), Blur()]
HASHES = Hashes().open()


class CpuWatch(threading.Thread):
    """Adds up the CPU seconds of processes that come and go."""

    def __init__(self, pids: Callable[[], set[int]]) -> None:
        super().__init__(daemon=True)
        self.pids, self.seen, self.over = pids, dict[int, float](), threading.Event()
        self.own = time.process_time()

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.look()

    def look(self) -> None:
        for pid in self.pids():
            with contextlib.suppress(OSError, IndexError):
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.seen[pid] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self) -> float:
        self.over.set()
        self.join()
        return sum(self.seen.values()) + time.process_time() - self.own


def timed(tree: Tree, engine: Engine) -> tuple[float, float, float]:
    """Seconds on the clock, of them per shard from the first finished one on, and CPU seconds."""
    shutil.rmtree(tree.root / "records", ignore_errors=True)
    tasks = plan.todo(tree, STAGES, tree.shards())
    hands = getattr(engine, "hands", None)
    watch = CpuWatch(
        lambda: (
            {pid for hand in engine.hands if (pid := hand.pid)}  # pyright: ignore
            if hands is not None
            else set()
        )
    )
    watch.start()
    start = time.perf_counter()
    ends: list[float] = []
    for report, _ in plan.run(STAGES, tasks, engine):
        if isinstance(report, Result):
            watch.look()
            ends.append(time.perf_counter())
    return ends[-1] - start, (ends[-1] - ends[0]) / (len(ends) - 1), watch.seconds()


def plain(path: str) -> str:
    """What one would write first, for one file."""
    try:
        content = Path(path).read_bytes()
        small, found = by_pillow(content)
        record = {
            "path": path, "size": small.size, "sha256": hashlib.sha256(content).hexdigest(),
            "hash": found,
            "sharp": float(cv2.Laplacian(np.asarray(small.convert("L")), cv2.CV_32F).var()),
        }  # fmt: skip
    except Exception as error:
        record = {"path": path, "error": str(error)}
    return json.dumps(record)


def baseline(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds on the clock and CPU seconds of the plain script."""
    names = sorted(str(path) for path in folder.glob("*.jpg"))
    start = time.perf_counter()
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as pool:
        pids = {process.pid for process in pool._pool}  # pyright: ignore
        watch = CpuWatch(lambda: pids)
        watch.start()
        out.write_text("\n".join(pool.imap(plain, names, chunksize=8)))
        watch.look()
        return time.perf_counter() - start, watch.seconds()


# ------------------------------------------------------------------------------------- policy

POLICY = """
name = "bench"
people = "len(list_filter(person_boxes, lambda b: b.score > $count_score))"
[values]
person_score = 0.9
side = 300
area = 0.05
[[rules]]
name = "readable"
keep = "integrity_status LIKE 'ok%'"
[[rules]]
name = "text"
keep = "text_area <= $area"
[[rules]]
name = "person"
keep = \"\"\"len(list_filter(person_boxes, lambda b: b.score > $person_score
  AND box_width(b) > $side AND box_height(b) > $side)) > 0\"\"\"
"""


def policy_seconds(folder: Path, rows: int) -> dict[str, float]:
    """A policy over made records, and DuckDB alone over those of people."""
    import duckdb

    tree = made_records(folder, rows)
    policy = parse_policy(POLICY, "bench")
    start, cpu = time.perf_counter(), time.process_time()
    view = select(tree, policy)
    found = {
        "rows": view.rows,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
    }
    start, cpu = time.perf_counter(), time.process_time()
    places = str(tree.root / "records" / "person" / "**" / "*.parquet")
    duckdb.execute(
        "SELECT count(*) FROM read_parquet($places) WHERE len(list_filter(boxes, lambda b: "
        "b.score > 0.9 AND b.x1 - b.x0 > 299 AND b.y1 - b.y0 > 299)) > 0",
        {"places": places},
    ).fetchall()
    found["baseline_duckdb_one_rule_s"] = time.perf_counter() - start
    found["baseline_duckdb_one_rule_cpu_s"] = time.process_time() - cpu
    return found


def memory(folder: Path, count: int, stages: list[Stage]) -> dict[str, object]:
    """Megabytes of a worker while it scores small pictures of many sizes, tenth by tenth."""
    tree, engine = small_pictures(folder, count), Local(1)
    samples: list[tuple[int, float]] = []
    pids: set[int] = set()
    rows = 0
    for report, tally in plan.run(stages, plan.todo(tree, stages, tree.shards()), engine):
        rows = tally.rows if isinstance(report, Result) else tally.rows + report.rows
        with contextlib.suppress(OSError, IndexError):
            pid = engine.hands[0].pid
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            samples.append((rows, pages * resource.getpagesize() / 1e6))
            pids |= {pid} if pid else set()
    tenths = [[mb for row, mb in samples if row * 10 // count == n] for n in range(10)]
    medians = [statistics.median(one) for one in tenths if one]
    later = medians[1:]
    middle = (max(later) + min(later)) / 2
    return {
        "pictures": rows, "processes": len(pids), "stages": [stage.name for stage in stages],
        "megabytes_by_tenth": medians, "plus_minus": (max(later) - min(later)) / 2 / middle,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--memory", type=int, default=10_000)
    parser.add_argument("--memory-text", action="store_true", help="only memory, with stage text")
    parser.add_argument("--ray", action="store_true", help="also on a Ray of this machine")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/curate.json"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        if given.memory_text:
            stages = [Integrity(), Geometry(), Hashes(), Blur(), Text()]
            found["memory_with_text"] = memory(Path(name), given.memory, stages)
        else:
            kept = {key: found[key] for key in ("memory_with_text", "ray") if key in found}
            found = measured(Path(name), given) | kept
            if given.ray:
                found["ray"] = ray_share(Tree(Path(name) / "tree"))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    (folder / "in").mkdir()
    unlike = [photograph(seed) for seed in range(UNLIKE)]
    for number in range(given.pictures):
        data = unlike[number % UNLIKE] + number.to_bytes(4, "big")
        (folder / "in" / f"{number:05d}.jpg").write_bytes(data)
    tree = Tree(folder / "tree")
    pack(folder / "in", tree, max_pictures=max(8, given.pictures // 20))
    found: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "others_at_work": os.getloadavg()[0],
        "bits_per_pixel": 8 * sum(map(len, unlike)) / UNLIKE / (1936 * 1296),
        "per_cpu_second": {
            "header": each(unlike, image.probe),
            "header_baseline_pillow": each(unlike, header_by_pillow),
            "geometry_tar_to_record": gate(headers_only(folder / "headers", unlike)),
            "decode_1024_hashes": each(unlike, decoded_and_hashed, 9),
            "decode_1024_hashes_baseline_pillow": each(unlike, by_pillow, 9),
            "decode_alone_libjpeg_turbo": each(unlike, simplejpeg.decode_jpeg, 9),
            "random_reads": random_reads(tree),
            **{f"text_640_{key}": rate for key, rate in text(unlike[:6]).items()},
        },
    }
    serial, serial_step, serial_cpu = timed(tree, Here())
    two, two_step, two_cpu = timed(tree, Local(WORKERS))
    plainly, plainly_cpu = baseline(folder / "in", folder / "plain.jsonl")
    found["engines"] = {
        "pictures": given.pictures, "serial_s": serial, "serial_cpu_s": serial_cpu,
        "two_workers_s": two, "two_workers_cpu_s": two_cpu,
        "two_workers_share_of_serial": two / serial,
        "two_workers_share_after_start": two_step / serial_step,
        "two_workers_share_by_cpu": two_cpu / WORKERS / serial_cpu,
        "baseline_pillow_s": plainly, "baseline_pillow_cpu_s": plainly_cpu,
        "times_faster_than_baseline": plainly / two,
        "times_faster_than_baseline_by_cpu": plainly_cpu / two_cpu,
    }  # fmt: skip
    found["policy"] = policy_seconds(folder / "policy", given.rows)
    found["memory"] = memory(folder / "memory", given.memory, STAGES)
    return found


def ray_share(tree: Tree) -> dict[str, float]:
    """Seconds per shard after start-up, on Ray and in the local pool, one after the other."""
    local = timed(tree, Local(WORKERS))
    total, step, _ = timed(tree, Ray(WORKERS))
    return {"ray_s": total, "local_s": local[0], "share_of_local_after_start": step / local[1]}


if __name__ == "__main__":
    main()
