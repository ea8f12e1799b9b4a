# SPDX-License-Identifier: Apache-2.0
"""Read a 4K photograph, cut out its people, normalise: ours against Pillow and two resizes.

    python benchmarks/read.py [--out benchmarks/results/read.json]

Both sides start from the same JPEG file in the page cache and end with the same thing: one
(N, 3, 1024, 768) float32 batch for N given boxes (no detector). One decode serves all N people on
both sides. The photograph is made here: gradients plus blurred noise at 2 to 3 bits per pixel.

Ours        `image.read` (libjpeg-turbo), one affine warp per person straight from the photograph
            into the window, then one table look-up per value into the batch.
Baselines   decode with Pillow; per person cut the enlarged box, resize it to the window's height at
            its own aspect, resize again to 1024×768, then (x - mean) / std in float32 and a
            transpose. Once with Pillow's resize (antialiased) and once with OpenCV's. And the way
            of the first generation's lite scripts: the box at the *picture's* aspect is resized to
            the picture's own size, and that to 1024×768. All squeeze the person; ours does not.

The last row is one person for four tasks: here they share the batch, in the lite scripts every task
is a program that reads and cuts anew. For one person and one task both sides spend most of the
time decoding with libjpeg-turbo; the ratio grows with the people, since each costs the others four
times as much and more.

All run on one thread, and CPU time is measured: on a quiet machine it is the time that passes, and
a busy one changes it less. Rounds alternate between the contestants.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

from vitruvian import image
from vitruvian.geometry import Crop

SIZE = (1024, 768)
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
# x0, y0, x1, y1: one person nearly as tall as the frame, then three of half to two thirds of it
BOXES = [
    (1300, 60, 2200, 2080),
    (300, 400, 900, 1800),
    (2400, 700, 2800, 1800),
    (3000, 500, 3500, 1900),
]


def make_photo(path: Path) -> float:
    """Write a 3840×2160 JPEG and return its bits per pixel."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:2160, :3840].astype(np.float32)
    shades = [np.sin(x / 400 + y / 700), np.cos(y / 300), np.sin((x - y) / 900)]
    noise = cv2.GaussianBlur(rng.normal(0, 1, (2160, 3840, 3)).astype(np.float32), (0, 0), 1.1)
    photo = np.clip(128 + 80 * np.dstack(shades) + 42 * noise, 0, 255).astype(np.uint8)
    Image.fromarray(photo).save(path, quality=92)
    return path.stat().st_size * 8 / (2160 * 3840)


def ours(path: Path, boxes: list[tuple[int, ...]]) -> np.ndarray:
    photo = image.read(path)
    batch = np.empty((len(boxes), 3, *SIZE), np.float32)
    for box, row in zip(boxes, batch, strict=True):
        window = image.warp(photo, Crop.from_box(box, SIZE).matrix, SIZE)
        image.to_planes(window, MEAN.tolist(), STD.tolist(), out=row)
    return batch


def enlarged(box: tuple[int, ...]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) // 8, (y1 - y0) // 8
    return max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, 3839), min(y1 + dy, 2159)


def with_pillow(path: Path, boxes: list[tuple[int, ...]]) -> np.ndarray:
    photo = Image.open(path).convert("RGB")
    batch = []
    for box in map(enlarged, boxes):
        width = round((box[2] - box[0]) * SIZE[0] / (box[3] - box[1]))
        person = photo.crop(box).resize((width, SIZE[0]), Image.Resampling.BILINEAR)
        person = person.resize(SIZE[::-1], Image.Resampling.BILINEAR)
        batch.append(((np.asarray(person, np.float32) - MEAN) / STD).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(batch))


def with_opencv(path: Path, boxes: list[tuple[int, ...]]) -> np.ndarray:
    photo = np.asarray(Image.open(path).convert("RGB"))
    batch = []
    for x0, y0, x1, y1 in map(enlarged, boxes):
        width = round((x1 - x0) * SIZE[0] / (y1 - y0))
        person = cv2.resize(photo[y0:y1, x0:x1], (width, SIZE[0]))
        person = cv2.resize(person, SIZE[::-1])
        batch.append(((person.astype(np.float32) - MEAN) / STD).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(batch))


def as_lite(path: Path, boxes: list[tuple[int, ...]]) -> np.ndarray:
    photo = np.asarray(Image.open(path).convert("RGB"))
    height, width = photo.shape[:2]
    batch = []
    for box in boxes:
        matrix = Crop.from_box(box, (height, width)).matrix
        person = cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR)
        person = cv2.resize(person, SIZE[::-1])
        batch.append(((person.astype(np.float32) - MEAN) / STD).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(batch))


def race(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each contestant, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if turn:  # the first round warms caches up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/read.json")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    results: dict[str, object] = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "threads": 1,
        "rounds": options.rounds,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        results["bits_per_pixel"] = round(make_photo(path), 2)
        rows = {"decode only": race(
            {"ours": lambda: image.read(path),
             "pillow": lambda: np.asarray(Image.open(path).convert("RGB"))}, options.rounds,
        )}  # fmt: skip
        for people in (1, 2, 4):
            boxes = BOXES[:people]
            assert ours(path, boxes).shape == with_pillow(path, boxes).shape
            rows[f"{people} {'person' if people == 1 else 'people'}"] = race(
                {"ours": lambda b=boxes: ours(path, b),
                 "pillow": lambda b=boxes: with_pillow(path, b),
                 "pillow decode, opencv resizes": lambda b=boxes: with_opencv(path, b),
                 "pillow decode, lite scripts' resizes": lambda b=boxes: as_lite(path, b)},
                options.rounds,
            )  # fmt: skip
        # pose, parts, depth and normals of one person: a script per task reads it each time
        rows["1 person, 4 tasks"] = race(
            {
                "ours": lambda: ours(path, BOXES[:1]),
                "pillow": lambda: [with_pillow(path, BOXES[:1]) for _ in range(4)],
            },
            max(options.rounds // 3, 1),
        )
    print(f"4K JPEG, {results['bits_per_pixel']} bits per pixel; CPU milliseconds, median")
    for name, row in rows.items():
        ratios = {key: round(value / row["ours"], 2) for key, value in row.items() if key != "ours"}
        results[name] = {"cpu_milliseconds": row, "times_faster": ratios}
        cells = "   ".join(f"{key} {value:.1f}" for key, value in row.items())
        print(f"{name:18} {cells}   → {', '.join(f'{v}×' for v in ratios.values())}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
