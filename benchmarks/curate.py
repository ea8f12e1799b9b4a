# SPDX-License-Identifier: Apache-2.0
"""Curation: rates per core, engines, policies, memory; against a plain script.

    OMP_NUM_THREADS=1 python benchmarks/curate.py [--pictures 400] [--rows 5000000] [--ray]

Pictures are made here: photographs' spectrum, 2.5 megapixels, JPEG of about 2 bits per pixel. Rates
per core are CPU seconds of one thread; engines are timed on the clock, two workers.

Baseline    what one would write first: Pillow decodes, resizes to 1024 pixels by BICUBIC and takes
            a 32×32 copy for a hash, over a `multiprocessing.Pool` of two; JSON lines as records. It
            finds broken files by what Pillow raises, and nothing else of what the stages do.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from vitruvian import image
from vitruvian.curate import plan
from vitruvian.curate.basics import Blur, Geometry, Hashes, Integrity, perceptual_hash
from vitruvian.curate.engines import Here, Local, Ray
from vitruvian.curate.pack import pack
from vitruvian.curate.parquet import write_table
from vitruvian.curate.policy import parse_policy
from vitruvian.curate.raw import open_raw, read_raw_index
from vitruvian.curate.records import FORMAT, digest
from vitruvian.curate.select import select
from vitruvian.curate.shardwork import examine
from vitruvian.curate.stage import BASE, COMMON, Picture
from vitruvian.curate.text import Text
from vitruvian.curate.tree import Tree

WORKERS = 2


def photograph(seed: int) -> bytes:
    """A JPEG of 1936×1296 with noise at many scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((1296, 1936, 3), np.float32)
    for level in range(9):
        size = max(2, 1936 >> level), max(2, 1296 >> level)
        noise = rng.normal(0, 1, (size[1], size[0], 3)).astype(np.float32)
        total += cv2.resize(noise, (1936, 1296), interpolation=cv2.INTER_CUBIC) * 1.75**level
    total = 128 + 50 * (total - total.mean()) / total.std()
    return image.encode(np.clip(total, 0, 255).astype(np.uint8), ".jpg", quality=80)


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


def headers(files: list[bytes]) -> float:
    def work() -> int:
        for data in files:
            image.probe(data)
        return len(files)

    return per_second(work)


def decode_and_hash(files: list[bytes]) -> float:
    def work() -> int:
        for row, data in enumerate(files[:8]):
            picture = Picture(row=row, data=data)
            examine(picture, pixels=True)
            hashlib.sha256(data).digest()
            perceptual_hash(picture.pixels(BASE))
        return 8

    return per_second(work, 6)


def text(files: list[bytes]) -> float:
    scorer = Text(side=640).open()
    pictures = [Picture(row=n, data=data) for n, data in enumerate(files[:4])]
    for picture in pictures:
        examine(picture, pixels=True)

    def work() -> int:
        scorer(pictures)
        return len(pictures)

    return per_second(work, 6)


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


def timed(tree: Tree, engine: object) -> tuple[float, float]:
    """Seconds from the first process's start, and from the first finished shard on, per shard."""
    shutil.rmtree(tree.root / "records", ignore_errors=True)
    tasks = plan.todo(tree, STAGES, tree.shards())
    start = time.perf_counter()
    ends = [
        time.perf_counter()
        for report, _ in plan.run(STAGES, tasks, engine)  # pyright: ignore[reportArgumentType]
        if hasattr(report, "deaths")
    ]
    return ends[-1] - start, (ends[-1] - ends[0]) / (len(ends) - 1)


def plain(path: str) -> str:
    """What one would write first, for one file."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        scale = 1024 / max(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        small = picture.resize(size, Image.Resampling.BICUBIC)
        grey = np.asarray(small.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float32)
        low = cv2.dct(grey)[:8, :8]
        content = Path(path).read_bytes()
        record = {
            "path": path, "width": picture.width, "height": picture.height,
            "sha256": hashlib.sha256(content).hexdigest(), "hash": (low > np.median(low)).tolist(),
            "sharp": float(cv2.Laplacian(np.asarray(small.convert("L")), cv2.CV_32F).var()),
        }  # fmt: skip
    except Exception as error:
        record = {"path": path, "error": str(error)}
    return json.dumps(record)


def baseline(folder: Path, out: Path) -> float:
    start = time.perf_counter()
    names = sorted(str(path) for path in folder.glob("*.jpg"))
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as pool:
        out.write_text("\n".join(pool.imap(plain, names, chunksize=8)))
    return time.perf_counter() - start


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


def made_records(root: Path, rows: int, per_shard: int = 4096) -> Tree:
    """A curation without tars: indices and records as stages would write them."""
    from vitruvian.curate.people import BOX  # loads torch, which workers need not

    tree, rng = Tree(root), np.random.default_rng(0)
    common = {
        "row": np.arange(per_shard, dtype=np.int32), "status": ["ok"] * per_shard,
        "error": [None] * per_shard, "ms": np.ones(per_shard, np.float32),
    }  # fmt: skip
    for number in range(-(-rows // per_shard)):
        shard = tree.shard("main", number)
        uids = [uid.tobytes() for uid in rng.integers(0, 256, (per_shard, 16), dtype=np.uint8)]
        index = pa.table(
            {
                "row": common["row"], "uid": pa.array(uids, pa.binary(16)),
                "offset": np.arange(per_shard) * 1000, "length": np.full(per_shard, 1000),
                "source": ["x"] * per_shard, "licence": ["CC0"] * per_shard,
                "fault": [""] * per_shard,
            }
        )  # fmt: skip
        counts = rng.integers(0, 5, per_shard)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        corners = rng.uniform(0, 900, (ends[-1], 2))
        sides = rng.uniform(50, 900, (ends[-1], 2))
        values = np.column_stack([corners, corners + sides, rng.uniform(0, 1, ends[-1])])
        flat = pa.StructArray.from_arrays(
            [pa.array(column.astype(np.float32)) for column in values.T], fields=list(BOX)
        )
        content = {
            "integrity": {}, "text": {"area": rng.uniform(0, 0.2, per_shard).astype(np.float32)},
            "person": {
                "boxes": pa.ListArray.from_arrays(ends, flat),
                "score_kind": ["softmax"] * per_shard,
            },
        }  # fmt: skip
        note = {"format": "vitruvian raw 1", "size": 0, "sha256": str(number), "provenance": {}}
        write(shard.index, index, note)
        for stage, columns in content.items():
            table = pa.table({**common, **columns})
            table = table.cast(pa.schema([*COMMON, *list(table.schema)[len(COMMON) :]]))
            note = {
                "format": FORMAT, "stage": stage, "shard_sha256": str(number), "rows": per_shard,
                "digest": digest(table), "transient": 0,
            }  # fmt: skip
            write(tree.record(stage, "0" * 12, shard), table, note)
    return tree


def write(path: Path, table: pa.Table, note: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = table.replace_schema_metadata({"vitruvian": json.dumps(note)})
    write_table(named, path)


def policy_seconds(folder: Path, rows: int) -> float:
    tree = made_records(folder, rows)
    policy = parse_policy(POLICY, "bench")
    start = time.perf_counter()
    view = select(tree, policy)
    seconds = time.perf_counter() - start
    assert view.rows >= rows
    return seconds


def memory_growth(files: list[bytes], rounds: int) -> dict[str, float]:
    """Megabytes a process holds after a tenth of the pictures and at the end."""
    scorers = [stage.open() for stage in STAGES]

    def megabytes() -> float:
        with Path("/proc/self/statm").open() as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6

    early = 0.0
    for number in range(rounds):
        picture = Picture(row=0, data=files[number % len(files)])
        examine(picture, pixels=True)
        for scorer in scorers:
            scorer([picture])
        if number == rounds // 10:
            early = megabytes()
    return {"pictures": rounds, "early_mb": early, "end_mb": megabytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--memory", type=int, default=10_000)
    parser.add_argument("--ray", action="store_true", help="also on a Ray of this machine")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/curate.json"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found: dict[str, object] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "others_at_work": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        unlike = [photograph(seed) for seed in range(16)]
        for number in range(given.pictures):
            data = unlike[number % 16] + number.to_bytes(4, "big")
            (folder / "in" / f"{number:05d}.jpg").write_bytes(data)
        found["bits_per_pixel"] = 8 * len(unlike[0]) / (1936 * 1296)
        tree = Tree(folder / "tree")
        pack(folder / "in", tree, max_pictures=max(8, given.pictures // 20))
        found["header_per_s"] = headers(unlike)
        found["decode_1024_hashes_per_s"] = decode_and_hash(unlike)
        found["text_640_per_s"] = text(unlike)
        found["random_reads_per_s"] = random_reads(tree)
        one, slow = timed(tree, Here())
        two, quick = timed(tree, Local(WORKERS))
        found["serial_s"], found["two_workers_s"] = one, two
        found["two_workers_share_of_serial"] = two / one
        found["steady_share_of_serial"] = quick / slow
        if given.ray:
            total, steady = timed(tree, Ray(WORKERS))
            found["ray_s"], found["ray_steady_share_of_local"] = total, steady / quick
        found["baseline_s"] = baseline(folder / "in", folder / "plain.jsonl")
        found["times_faster_than_baseline"] = found["baseline_s"] / two  # pyright: ignore
        found["policy_rows"] = given.rows
        found["policy_s"] = policy_seconds(folder / "policy", given.rows)
        found["memory"] = memory_growth(unlike, given.memory)
    text_ = json.dumps(found, indent=1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text_ + "\n")
    print(text_)


if __name__ == "__main__":
    main()
