# SPDX-License-Identifier: Apache-2.0
"""The default weights on whole photographs: start-up, seconds per person, and peak memory.

    python benchmarks/default.py [--threads 2] [--repeat 5] [--out benchmarks/results/default.json]
    python benchmarks/default.py --model w.safetensors --detector whole

A fresh process, as somebody who opens the package meets it: start-up is from the first import to a
predictor that is ready; then every photograph is read from its file, people are found, and all
four tasks are answered, one photograph after the other (median of the repeats; the first one, which
warms up, is told apart). Peak memory is of the whole process. The wanted limits are those the
package sets itself: start-up 4 s, 1 s per person, 1 GB.

Wall time and processor time are both written: the former is what one waits for, the latter hardly
sees what else the machine does.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "default.json"
PHOTOS = sorted((ROOT / "examples" / "photos").glob("*.jpg"))


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> dict[str, float]:
    wall, cpu = clocks()
    return {"wall": round(wall - start[0], 4), "cpu": round(cpu - start[1], 4)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time this process; called in a fresh one."""
    start = clocks()
    import torch

    torch.set_num_threads(arguments.threads)
    import vitruvian as vi

    see = vi.load(arguments.model, detector=arguments.detector, device="cpu")
    startup = since(start)
    photos: dict[str, Any] = {}
    first: dict[str, float] | None = None
    for path in PHOTOS:
        times: list[dict[str, float]] = []
        people = 0
        for _ in range(arguments.repeat + (first is None)):
            start = clocks()
            people = len(see(path))
            took = since(start)
            if first is None:
                first = took
            else:
                times.append(took)
        seconds = {key: statistics.median(t[key] for t in times) for key in ("wall", "cpu")}
        photos[path.name] = {"people": people, "seconds": seconds}
    shown = [one for one in photos.values() if one["people"]]
    count = sum(one["people"] for one in shown)
    per_person = {
        key: round(sum(one["seconds"][key] for one in shown) / count, 4) if count else None
        for key in ("wall", "cpu")
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "startup_seconds": startup,
        "first_photograph_seconds": first,
        "seconds_per_person": per_person,
        "peak_rss_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)),
        "photographs": photos,
        "torch": torch.__version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="default")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(measure(arguments)))
        return 0
    command = [sys.executable, __file__, *sys.argv[1:], "--inside"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    found = json.loads(done.stdout.splitlines()[-1])
    found |= {
        "command": " ".join(["python benchmarks/default.py", *sys.argv[1:]]),
        "threads": arguments.threads,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "wanted": {"startup_seconds": 4, "seconds_per_person": 1, "peak_rss_mb": 1024},
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    print(text)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
