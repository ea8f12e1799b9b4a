# SPDX-License-Identifier: Apache-2.0
"""How fast the metrics are: keypoint AP against the COCO reference code, dense metrics per frame.

    python benchmarks/metrics.py [--images 100] [--rounds 6] [--frames 12] [--out FILE]

Keypoints   308 points in six groups, one to four people per image and a false detection more.
            Ours does all groups in one pass; the reference (pycocotools) evaluates each by itself.
            Everything is in memory before the clock starts, and results must agree to 1e-9.
            Rounds of so many images; --images 5000 --rounds 1 is the size of the paper's set.
Dense       1024×768 frames, 28 classes, a person on 44 % of the pixels, against straightforward
            numpy: a loop over classes, whole-array float64 formulas, the arc cosine. Frames per
            second are calls of `update`; bytes are what an accumulator holds after any number.

Times are CPU seconds (of all threads), and of all rounds or frames the quickest counts, for ours
and theirs alike: on a busy machine that is the least disturbed.
"""

import argparse
import contextlib
import io
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.metrics import DepthMetrics, KeypointAP, MaskMetrics, NormalMetrics

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "metrics"))
from metric_laws import COCO_NAMES, coco_evaluation  # noqa: E402

POINTS, CLASSES, SIZE = 308, 28, (1024, 768)
GROUPS = {  # as many points as the groups of sapiens308
    "body": range(17),
    "foot": range(17, 23),
    "face": range(70, 308),
    "left_hand": range(23, 43),
    "right_hand": range(43, 63),
    "whole": range(POINTS),
}


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def made_people(count: int, *, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    images = []
    for i in range(count):
        people = int(rng.integers(1, 5))
        corner, size = rng.uniform(0, 3000, (people, 1, 2)), rng.uniform(50, 1500, (people, 1, 1))
        truth = corner + rng.uniform(0, 1, (people, POINTS, 2)) * size
        noise = rng.choice([0.002, 0.01, 0.03], (people, 1, 1)) * size
        found = truth + rng.normal(0, 1, truth.shape) * noise
        false = rng.uniform(0, 3000, (1, POINTS, 2))
        images.append(
            {
                "image": i,
                "points": np.concatenate([found, false]),
                "scores": rng.uniform(0, 1, people + 1),
                "truth": truth,
                "labelled": rng.uniform(size=(people, POINTS)) < 0.8,
                "areas": 0.6 * size[:, 0, 0] ** 2,
                "boxes": np.concatenate([corner, corner + size], axis=-1)[:, 0],
                "crowd": rng.uniform(size=people) < 0.02,
            }
        )
    return images


def keypoints(count: int, rounds: int) -> dict[str, Any]:
    sigmas = np.full(POINTS, 0.04)
    rows: dict[str, Any] = {"images": count * rounds, "points": POINTS}
    for title, groups in (("whole only", {"whole": GROUPS["whole"]}), ("six groups", GROUPS)):
        times, gap = [], 0.0
        for turn in range(rounds + 1):
            images = made_people(count, seed=turn)
            metric = KeypointAP(sigmas, groups=groups)
            with contextlib.redirect_stdout(io.StringIO()):
                references = [coco_evaluation(images, sigmas, g) for g in groups.values()]
                mine = seconds(lambda m=metric, i=images: evaluate_ours(m, i))
                theirs = seconds(lambda r=references: evaluate_references(r))
            if turn:  # the first warms up
                times.append((mine / count * 1e3, theirs / count * 1e3))
            result = metric.result()
            for name, evaluation in zip(groups, references, strict=True):
                for key, value in zip(COCO_NAMES, evaluation.stats, strict=True):
                    if value != -1:
                        gap = max(gap, abs(result[f"{name}/{key}"] - value))
        assert gap < 1e-9
        mine, theirs = (min(column) for column in zip(*times, strict=True))
        ratio = theirs / mine
        rows[title] = {
            "ours_ms_per_image": round(mine, 3),
            "reference_ms_per_image": round(theirs, 3),
            "times_faster": round(ratio, 1),
            "largest_difference": gap,
        }
        print(
            f"keypoints, {title}   ours {mine:6.3f} ms per image, reference {theirs:6.3f}"
            f"   → {ratio:.1f}×"
        )
    return rows


def evaluate_ours(metric: KeypointAP, images: list[dict[str, Any]]) -> None:
    for each in images:
        metric.update(**each)
    metric.result()


def evaluate_references(references: list[Any]) -> None:
    for evaluation in references:
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()


# ------------------------------------------------------------------ straightforward dense metrics


def plain_masks(prediction: np.ndarray, truth: np.ndarray) -> float:
    use = truth != 255
    p, t = prediction[use], truth[use]
    shares = []
    for c in range(CLASSES):
        union = ((p == c) | (t == c)).sum()
        if union:
            shares.append(((p == c) & (t == c)).sum() / union)
    return float(np.mean(shares))


def plain_depth(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    d, g = prediction[mask].astype(np.float64), truth[mask].astype(np.float64)
    scale, shift = np.linalg.lstsq(np.stack([d, np.ones_like(d)], axis=1), g)[0]
    d = scale * d + shift
    ratio = np.maximum(d / g, g / d)
    numbers = [np.sqrt(((d - g) ** 2).mean()), (np.abs(d - g) / g).mean()]
    numbers += [(ratio < 1.25**k).mean() for k in (1, 2, 3)]
    log = np.log(d) - np.log(g)
    numbers += [np.abs(np.log10(d) - np.log10(g)).mean(), np.sqrt((log**2).mean()), log.std()]
    return float(numbers[0])


def plain_normals(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    p, t = prediction[mask].astype(np.float64), truth[mask].astype(np.float64)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((p * t).sum(axis=1), -1, 1)))
    numbers = [angle.mean(), np.median(angle), np.sqrt((angle**2).mean())]
    numbers += [(angle < limit).mean() for limit in (5, 11.25, 22.5, 30)]
    return float(numbers[0])


def dense(frames: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = ((y - SIZE[0] / 2) / 470) ** 2 + ((x - SIZE[1] / 2) / 235) ** 2 < 1
    cells = rng.integers(1, CLASSES, (SIZE[0] // 64, SIZE[1] // 64)).astype(np.uint8)
    labels = np.where(mask, np.kron(cells, np.ones((64, 64), np.uint8)), 0).astype(np.uint8)
    guess = np.roll(labels, (4, 3), (0, 1))
    depth = rng.uniform(1, 3, SIZE).astype(np.float32)
    wrong = (0.4 * depth + 0.3 + rng.normal(0, 0.03, SIZE)).astype(np.float32)
    normals = rng.normal(size=(*SIZE, 3)).astype(np.float32)
    bent = normals + rng.normal(0, 0.3, normals.shape).astype(np.float32)

    maps = {"prediction": guess, "truth": labels}
    depths = {"prediction": wrong, "truth": depth, "mask": mask}
    directions = {"prediction": bent, "truth": normals, "mask": mask}
    contestants: list[tuple[str, Any, dict[str, Any], Callable[..., float] | None, str]] = [
        ("masks", MaskMetrics(CLASSES), maps, plain_masks, "mIoU"),
        ("masks + boundary IoU", MaskMetrics(CLASSES, boundary=0.02), maps, None, "mIoU"),
        ("depth, scale and shift", DepthMetrics(), depths, plain_depth, "RMSE"),
        ("depth, median", DepthMetrics(alignment="median"), depths, None, "RMSE"),
        ("normals", NormalMetrics(), directions, plain_normals, "mean"),
        ("normals, per image", NormalMetrics(average="image"), directions, None, "mean"),
    ]
    rows: dict[str, Any] = {"size": SIZE, "person_share": round(float(mask.mean()), 2)}
    for title, metric, frame, plain, key in contestants:
        # Frame after frame, as in an evaluation; the first of each warms up.
        ours = [seconds(lambda m=metric, f=frame: m.update(**f)) for _ in range(frames + 1)]
        size = sum(array.nbytes for array in metric.state_dict().values())
        mine = min(ours[1:])
        row = {"frames_per_second": round(1 / mine, 1), "state_bytes": size}
        note = ""
        if plain:
            assert abs(metric.result()[key] - plain(**frame)) < 1e-4
            theirs = [seconds(lambda p=plain, f=frame: p(**f)) for _ in range(frames // 2 + 1)]
            slow = min(theirs[1:])
            row |= {
                "plain_frames_per_second": round(1 / slow, 1),
                "times_faster": round(slow / mine, 1),
            }
            note = f"   plain numpy {1 / slow:5.1f}   → {slow / mine:.1f}×"
        rows[title] = row
        print(f"{title:22} {1 / mine:6.1f} frames/s, {size / 1e3:7.1f} kB{note}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/metrics.json")
    options = parser.parse_args()
    results = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "times": "CPU seconds, quickest of the rounds",
        "keypoints": keypoints(options.images, options.rounds),
        "dense": dense(options.frames),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
