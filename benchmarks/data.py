# SPDX-License-Identifier: Apache-2.0
"""From a JPEG in a shard to an augmented training sample: ours against the straightforward way.

    python benchmarks/data.py [--out benchmarks/results/data.json]

Everything runs on one core and CPU time is measured, so that a busy machine disturbs little;
contestants take turns. The pictures (1920×1280, 2.5 million pixels, 2 to 3 bits per pixel) are made
here: gradients plus blurred noise.

masked      read, random part of 20 to 100 % of the area, 1024×1024, mirrored half of the time.
            Straightforward: OpenCV decodes, Pillow crops and resamples (bicubic).
pose        read, half body, shift, scale, rotation, colours, blur, hole, 1024×768, without targets.
            Straightforward: OpenCV warps, colours change in float32 one step at a time.
targets     what the loader makes of 308 points: their places. Straightforward: every point's blob
            is drawn by its own loop into 60 MB of maps (256×192 float32), as published.
loss        targets, then the squared-error loss on 308 maps and its slope, for one sample: what the
            places save in the loader is not lost here. Straightforward: the loop, then the same.
parts       read, resize, crop, rotate, mirror, colours, 1024×768 with labels. Straightforward: each
            step resamples picture and labels with OpenCV.
reads       whole samples of some 500 kB in random order by index and pread, page cache warm,
            against the same samples as loose files, and streamed in order by `tarfile`.
"""

import argparse
import io
import json
import math
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from PIL import Image

from vitruvian import image, vocabulary
from vitruvian.data.augment import DenseAugment, MaskedAugment, PoseAugment, View
from vitruvian.data.order import Order
from vitruvian.data.reader import Shards
from vitruvian.data.shards import ShardWriter
from vitruvian.person import Person, Points, Raster, Sample
from vitruvian.tasks.parts import Parts
from vitruvian.tasks.pose import Pose

HEIGHT, WIDTH = 1280, 1920
BOX = np.array([600.0, 100.0, 1300.0, 1200.0])
POINTS, LABELS = vocabulary.load("sapiens308"), vocabulary.load("parts28")


def make_photo(seed: int) -> bytes:
    """Return a JPEG of 2.5 million pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    shades = [np.sin(x / 400 + y / 700), np.cos(y / 300 + seed), np.sin((x - y) / 900)]
    noise = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1.1)
    photo = np.clip(128 + 80 * np.dstack(shades) + 42 * noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=85)  # colours at half resolution, as usual
    return buffer.getvalue()


def make_person(seed: int) -> Person:
    """Return somebody with 308 points and a label map."""
    rng = np.random.default_rng(seed)
    points = Points(
        vocabulary=POINTS,
        xy=rng.uniform(BOX[:2], BOX[2:], (len(POINTS), 2)),
        scores=np.ones(len(POINTS)),
        visibility=np.full(len(POINTS), 2),
    )
    coarse = rng.integers(1, 28, (11, 7), dtype=np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[100:1200, 600:1300] = cv2.resize(coarse, (700, 1100), interpolation=cv2.INTER_NEAREST)
    parts = Raster(law="label", values=labels, vocabulary=LABELS)
    return Person(box=BOX, annotations={"pose": points, "parts": parts})


# ------------------------------------------------------------------------------------- masked

MASKED = MaskedAugment()


def masked_ours(shards: Shards, number: int) -> np.ndarray:
    rng = np.random.default_rng([0, number])
    return MASKED(Sample(image=image.read(shards.picture(number))), rng)


def masked_plain(photos: list[bytes], number: int) -> np.ndarray:
    rng = np.random.default_rng([0, number])
    bgr = cv2.imdecode(np.frombuffer(photos[number], np.uint8), cv2.IMREAD_COLOR)
    photo = Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    y, x, height, width = MASKED.part((photo.height, photo.width), rng)
    part = photo.crop((x, y, x + width, y + height))
    part = part.resize((1024, 1024), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(part)


# --------------------------------------------------------------------------------------- pose

POSE_AUGMENT, POSE = PoseAugment.sapiens(least=0), Pose(vocabulary=POINTS)


def pose_ours(shards: Shards, number: int) -> View:
    view = POSE_AUGMENT(shards[number], np.random.default_rng([0, number]))
    assert view is not None
    return view


def pose_plain(
    photos: list[bytes], people: list[Person], number: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([0, number])
    bgr = cv2.imdecode(np.frombuffer(photos[number], np.uint8), cv2.IMREAD_COLOR)
    xy = people[number].points().xy.astype(np.float64)
    centre, size = (BOX[:2] + BOX[2:]) / 2, (BOX[2:] - BOX[:2]) * 1.25 * rng.uniform(0.5, 1.5)
    if rng.random() < 0.5:
        bgr = np.ascontiguousarray(bgr[:, ::-1])
        xy = np.column_stack([WIDTH - 1 - xy[:, 0], xy[:, 1]])[POINTS.mirror]
        centre = np.array([WIDTH - 1 - centre[0], centre[1]])
    scale = 1024 / max(size[1], size[0] / 0.75)
    angle = rng.uniform(-80, 80) if rng.random() < 0.6 else 0.0
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
    matrix[:, 2] += (384 - centre[0], 512 - centre[1])
    window = cv2.warpAffine(bgr, matrix, (768, 1024), flags=cv2.INTER_LINEAR)
    window = distorted(window, rng)
    if rng.random() < 0.1:
        window = cv2.blur(window, (5, 5))
    if rng.random() < 0.1:
        window = cv2.medianBlur(window, 5)
    y, x = rng.integers(0, 600), rng.integers(0, 400)
    window[y : y + 300, x : x + 230] = 0
    places = (np.column_stack([xy, np.ones(len(xy))]) @ matrix.T) * (191 / 767, 255 / 1023)
    return cv2.cvtColor(window, cv2.COLOR_BGR2RGB), places


def distorted(bgr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change colours one step at a time, as the published code does."""
    if rng.random() < 0.5:
        bgr = np.clip(bgr.astype(np.float32) + rng.uniform(-32, 32), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        bgr = np.clip(bgr.astype(np.float32) * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    if rng.random() < 0.5:
        hsv[..., 1] = np.clip(hsv[..., 1].astype(np.float32) * rng.uniform(0.5, 1.5), 0, 255)
    if rng.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0].astype(int) + rng.integers(-18, 18)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def blobs(places: np.ndarray, sigma: float = 6.0) -> np.ndarray:
    """Draw a Gaussian per point, one after the other."""
    maps = np.zeros((len(places), 256, 192), np.float32)
    radius = math.ceil(3 * sigma)
    for number, (x, y) in enumerate(places):
        left, top = int(x + 0.5) - radius, int(y + 0.5) - radius
        right, bottom = left + 2 * radius + 1, top + 2 * radius + 1
        if left >= 192 or top >= 256 or right <= 0 or bottom <= 0:
            continue
        columns = np.arange(max(left, 0), min(right, 192), dtype=np.float32)
        rows = np.arange(max(top, 0), min(bottom, 256), dtype=np.float32)[:, None]
        blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        maps[number, max(top, 0) : min(bottom, 256), max(left, 0) : min(right, 192)] = blob
    return maps


def slope_ours(view: View, maps: torch.Tensor) -> torch.Tensor:
    target = {key: value[None] for key, value in POSE.encode(view.person, view.crop).items()}
    return torch.autograd.grad(POSE.loss(maps, target)["pose"], maps)[0]


def slope_plain(places: np.ndarray, maps: torch.Tensor) -> torch.Tensor:
    target = torch.from_numpy(blobs(places))[None]
    weights = (target.amax(dim=(2, 3), keepdim=True) > 0).float()
    return torch.autograd.grad((weights * (maps - target)).square().mean(), maps)[0]


# -------------------------------------------------------------------------------------- parts

PARTS_AUGMENT, PARTS = DenseAugment.sapiens_parts(None), Parts(vocabulary=LABELS)


def parts_ours(shards: Shards, number: int) -> tuple[np.ndarray, torch.Tensor]:
    view = PARTS_AUGMENT(shards[number], np.random.default_rng([0, number]))
    assert view is not None
    return view.image, PARTS.encode(view.person, view.crop)["labels"]


def parts_plain(photos: list[bytes], labels: list[bytes], number: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng([0, number])
    bgr = cv2.imdecode(np.frombuffer(photos[number], np.uint8), cv2.IMREAD_COLOR)
    label = cv2.imdecode(np.frombuffer(labels[number], np.uint8), cv2.IMREAD_UNCHANGED)
    factor = rng.uniform(0.2, 2.0) * min(1024 / WIDTH, 768 / HEIGHT)
    size = round(WIDTH * factor), round(HEIGHT * factor)
    bgr, label = cv2.resize(bgr, size), cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    for _ in range(10):
        y = rng.integers(0, max(size[1] - 1024, 0) + 1)
        x = rng.integers(0, max(size[0] - 768, 0) + 1)
        cut = label[y : y + 1024, x : x + 768]
        if np.unique(cut, return_counts=True)[1].max() < 0.75 * cut.size:
            break
    bgr = cv2.resize(bgr[y : y + 1024, x : x + 768], (768, 1024))
    label = cv2.resize(cut, (768, 1024), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        matrix = cv2.getRotationMatrix2D((383.5, 511.5), rng.uniform(-45, 45), 1)
        bgr = cv2.warpAffine(bgr, matrix, (768, 1024))
        label = cv2.warpAffine(label, matrix, (768, 1024), flags=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        bgr, label = np.ascontiguousarray(bgr[:, ::-1]), np.ascontiguousarray(label[:, ::-1])
        swapped = label.copy()
        for value, partner in enumerate(LABELS.mirror):
            if value != partner:
                swapped[label == value] = partner
        label = swapped
    bgr = distorted(bgr, rng)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), label.astype(np.int64)


# ----------------------------------------------------------------------------------- the race


def race(
    contestants: dict[str, Callable[[int], object]], count: int, rounds: int
) -> dict[str, float]:
    """Median over rounds of CPU milliseconds per sample, contestants taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            for number in range(count):
                run(number)
            if turn:  # the first round warms caches up
                times[name].append((time.process_time() - start) * 1e3 / count)
    return {name: statistics.median(values) for name, values in times.items()}


def reads(folder: Path, photos: list[bytes]) -> dict[str, float]:
    """Samples per second, wall clock, of whole samples."""
    count = 400
    with ShardWriter(folder / "reads", max_samples=200) as writer:
        for number in range(count):
            data = photos[number % len(photos)]
            sample = Sample(image=np.zeros((HEIGHT, WIDTH, 3), np.uint8), name=str(number))
            writer.add(sample, picture=data)
            (folder / f"{number}.jpg").write_bytes(data)
    shards = Shards(folder / "reads")
    order = Order(length=count).indices(0, np.arange(count)).tolist()

    def rate(run: Callable[[int], object]) -> float:
        best = 0.0
        for _ in range(5):
            start = time.perf_counter()
            for number in order:
                run(number)
            best = max(best, count / (time.perf_counter() - start))
        return round(best)

    def streamed() -> float:
        best = 0.0
        for _ in range(3):
            start = time.perf_counter()
            for path in writer.paths:
                with tarfile.open(path, "r|") as tar:
                    for member in tar:
                        file = tar.extractfile(member)
                        assert file is not None
                        file.read()
            best = max(best, count / (time.perf_counter() - start))
        return round(best)

    return {
        "ours, random samples": rate(shards.members),
        "ours, random pictures": rate(shards.picture),
        "loose files, random": rate(lambda n: (folder / f"{n}.jpg").read_bytes()),
        "tarfile, streamed in order": streamed(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/data.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    count = options.samples
    photos = [make_photo(number) for number in range(count)]
    people = [make_person(number) for number in range(count)]
    labels = [cv2.imencode(".png", p.raster("parts").values)[1].tobytes() for p in people]
    bits = sum(map(len, photos)) * 8 / (HEIGHT * WIDTH * count)
    results: dict[str, object] = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "torch": torch.__version__,
        "threads": 1,
        "rounds": options.rounds,
        "picture": [HEIGHT, WIDTH],
        "bits_per_pixel": round(bits, 2),
    }
    print(f"{HEIGHT}×{WIDTH} JPEG, {bits:.2f} bits per pixel; CPU milliseconds per sample")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ShardWriter(folder / "set") as writer:
            for number, (photo, person) in enumerate(zip(photos, people, strict=True)):
                sample = Sample(image=image.read(photo), people=(person,), name=str(number))
                writer.add(sample, picture=photo)
        pose, parts = (Shards(folder / "set", annotations=[one]) for one in ("pose", "parts"))
        views = [pose_ours(pose, number) for number in range(count)]
        places = [pose_plain(photos, people, number)[1] for number in range(count)]
        maps = torch.rand(1, POSE.channels, 256, 192, requires_grad=True)
        rows = {
            "masked": (
                lambda n: masked_ours(pose, n),
                lambda n: masked_plain(photos, n),
            ),
            "pose": (lambda n: pose_ours(pose, n), lambda n: pose_plain(photos, people, n)),
            "targets": (
                lambda n: POSE.encode(views[n].person, views[n].crop),
                lambda n: blobs(places[n]),
            ),
            "loss": (
                lambda n: slope_ours(views[n], maps),
                lambda n: slope_plain(places[n], maps),
            ),
            "parts": (lambda n: parts_ours(parts, n), lambda n: parts_plain(photos, labels, n)),
        }
        for row, (ours, plain) in rows.items():
            found = race({"ours": ours, "straightforward": plain}, count, options.rounds)
            results[row] = {
                "cpu_milliseconds": {key: round(value, 1) for key, value in found.items()},
                "samples_per_second_and_core": round(1e3 / found["ours"], 1),
                "times_faster": round(found["straightforward"] / found["ours"], 2),
            }
            print(
                f"{row:8} ours {found['ours']:.1f} ({1e3 / found['ours']:.0f}/s)   "
                f"straightforward {found['straightforward']:.1f}   "
                f"→ {found['straightforward'] / found['ours']:.2f}×"
            )
        speeds = reads(folder, photos)
    results["reads_per_second"] = speeds
    for key, value in speeds.items():
        print(f"reads    {key}: {value:.0f}/s")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
