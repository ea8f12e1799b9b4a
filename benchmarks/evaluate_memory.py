# SPDX-License-Identifier: Apache-2.0
"""What an evaluation of keypoints keeps in memory for each photograph.

    python benchmarks/evaluate_memory.py [--photographs 500 2000] [--out FILE]

Makes COCO files of truth and results (308 points, two people a photograph), runs
``vitruvian evaluate --predictions`` on them, and notes the largest memory the process ever had.
The slope between the smallest and the largest set is what a photograph costs; what the JSON of one
photograph takes as a file, and as Python objects, stands beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
POINTS, PEOPLE = 308, 2
RUN = (
    "import sys, resource; from vitruvian.cli import main; code = main(sys.argv[1:]); "
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
)


def person(rng: np.random.Generator, number: int, third: float) -> dict[str, Any]:
    rows = np.column_stack([rng.uniform(0, 2000, (POINTS, 2)).round(2), np.full(POINTS, third)])
    return {"image_id": number, "category_id": 1, "goliath_wholebody_kpts": rows.ravel().tolist()}


def write_sets(folder: Path, count: int) -> tuple[Path, Path]:
    """Write truth and results entry by entry."""
    truth, results = folder / f"truth{count}.json", folder / f"results{count}.json"
    rng = np.random.default_rng(0)
    with truth.open("w") as file, results.open("w") as other:
        sizes = {"width": 2000, "height": 2000}
        images = [{"id": n, "file_name": f"{n:012d}.jpg", **sizes} for n in range(count)]
        file.write('{"images": ' + json.dumps(images) + ', "annotations": [')
        other.write("[")
        for n in range(count * PEOPLE):
            comma = ", " if n else ""
            one = person(rng, n // PEOPLE, 2) | {"id": n, "bbox": [0, 0, 2000, 2000], "area": 2e6}
            file.write(comma + json.dumps(one))
            other.write(comma + json.dumps(person(rng, n // PEOPLE, 0.9) | {"score": 0.5}))
        file.write('], "categories": [{"id": 1, "name": "person"}]}')
        other.write("]")
    return truth, results


def peak(folder: Path, truth: Path, results: Path) -> int:
    """Return the largest resident memory of an evaluation, in bytes."""
    arguments = [
        "evaluate",
        "--data",
        truth,
        "--predictions",
        results,
        "--out",
        folder / truth.stem,
    ]
    command = [sys.executable, "-c", RUN, *map(str, arguments), "--worst", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = next(line for line in done.stdout.splitlines() if line.startswith("peak "))
    return int(said.split()[1]) * 1024


def as_objects(truth: Path) -> int:
    """Return the memory that reading a file whole takes, in bytes."""
    code = (
        "import json, resource, sys; m = lambda: resource.getrusage(0).ru_maxrss; a = m(); "
        "x = json.load(open(sys.argv[1])); print(m() - a)"
    )
    command = [sys.executable, "-c", code, str(truth)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, nargs=2, default=[500, 2000])
    default = ROOT / "benchmarks/results/evaluate_memory.json"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    found: list[tuple[int, int, int, int]] = []
    with tempfile.TemporaryDirectory() as name:
        for count in options.photographs:
            truth, results = write_sets(Path(name), count)
            size = truth.stat().st_size + results.stat().st_size
            found.append((count, peak(Path(name), truth, results), size, as_objects(truth)))
            print(
                f"{count} photographs: peak {found[-1][1] / 1e6:.1f} MB, files {size / 1e6:.1f} MB"
            )
    (few, low, _, _), (many, high, size, objects) = found
    content = {
        "points": POINTS,
        "people_per_photograph": PEOPLE,
        "photographs": [few, many],
        "peak_bytes": [low, high],
        "bytes_per_photograph": round((high - low) / (many - few)),
        "bytes_per_photograph_in_the_files": round(size / many),
        "bytes_per_photograph_of_truth_read_whole": round(objects / many),
        "peak_of": "ru_maxrss of the process, torch and numpy included",
    }
    print(json.dumps(content, indent=1))
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
