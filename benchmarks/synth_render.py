# SPDX-License-Identifier: Apache-2.0
"""Render invented people: pictures per second and core, and where the time goes.

    python benchmarks/synth_render.py [--groups 3] [--rounds 2] [--sizes 256x192 512x384 1024x768]

One process on one core, one thread everywhere, CPU time: on a quiet machine that is the time that
passes; on a busy one neighbours share caches and slow it down, so everything is made in several
rounds and the best of each step counts. How busy the machine was shows in `load` and in `rays`, the
primary rays per second that Embree casts at a ball of 82,000 triangles.

Each group is one new dressed person in a new pose, seen by one or by eight cameras in a mix of
full, upper-body and face framings; every second picture gets a new invented background (as in
`vitruvian synth people`). Steps:

people      shape, pose, clothes, hair
prepare     gathering triangles, Embree's hierarchy
camera      framing
background  inventing a place and gathering its light
render      rays, light, shading, edges, film, labels as a `Sample` (not: writing shards)

`straightforward` is the same picture the plain way: everybody and everything built anew for every
picture, 64 rays of light from every pixel instead of sharing them among neighbours, and five rays
through every pixel instead of the edges alone.
"""

import argparse
import json
import os
import platform
import resource
import time
from functools import partial
from pathlib import Path

STEPS = ("people", "prepare", "camera", "background", "render")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# size: pictures per second and core that are wanted with eight views, and hoped for
TARGETS = {"256x192": (4, 6.6), "512x384": (1.6, 2.4), "1024x768": (0.5, 0.8)}


class Clock:
    """Keeps the CPU seconds of every step of every round."""

    def __init__(self):
        self.spent = {}

    def run(self, step, number, function):
        start = time.process_time()
        result = function()
        self.spent.setdefault((step, number), []).append(time.process_time() - start)
        return result

    def best(self, step):
        """Return the CPU seconds of a step in each group or picture, the best of its rounds."""
        return [min(rounds) for (name, _), rounds in self.spent.items() if name == step]


def group(clock, seed, number, settings, *, plain=False):
    """Make the pictures of one group; returns how many triangles it has."""
    from vitruvian.synth import casting, framing, irradiance, production, recipe, stage

    def assembled():
        footprints = [stage.footprint(actor.cloud(20_000)) for actor in actors]
        standing = stage.arrange(recipe.stream(seed, number, "stand"), footprints)
        return production.assemble(actors, standing)

    actors = clock.run("people", number, lambda: casting.invented(seed, number, settings))
    made = clock.run("prepare", number, assembled)
    indices = range(number * settings.views, (number + 1) * settings.views)
    shots = []
    for index in indices:
        rng = recipe.stream(seed, index, "camera")
        shoot = partial(framing.shoot, rng, made.actors, settings)
        shots.append(clock.run("camera", index, shoot))
    sets = production.Sets(seed, number, made.actors, [shot.camera for shot in shots])
    quality = irradiance.Quality(rays=64, tile=1) if plain else None
    for view, (index, shot) in enumerate(zip(indices, shots, strict=True)):
        draw = partial(production.draw_look, seed, index, settings, sets, view // 2, 50.0)
        look = clock.run("background", index, draw)
        rng = recipe.stream(seed, index, "noise")
        photograph = partial(production.photograph, made, shot.camera, look, rng, name="x")
        clock.run("render", index, partial(photograph, quality=quality))
    return len(made.stage.geometry.faces)


def measure(size, views, groups, rounds, seed):
    from vitruvian.synth import recipe

    settings = recipe.Settings(size=size, views=views, people_max=1)
    clock = Clock()
    for _ in range(rounds):
        faces = [group(clock, seed, number, settings) for number in range(1, groups + 1)]
    pictures = groups * views
    steps = {step: sum(clock.best(step)) / pictures for step in STEPS}
    return {
        "pictures": pictures,
        "pictures_per_second_and_core": round(1 / sum(steps.values()), 2),
        "milliseconds": {step: round(spent * 1e3) for step, spent in steps.items()},
        "slowest_picture_seconds": round(max(clock.best("render")), 2),
        "triangles": round(sum(faces) / groups),
    }


def straightforward(size, pictures, seed):
    """Measure the plain way; one round."""
    import numpy as np

    from vitruvian.synth import antialias, recipe

    settings = recipe.Settings(size=size, views=1, people_max=1)
    clock = Clock()
    usual = antialias.edges

    def everywhere(buffer, *_, **__):
        return np.arange(buffer.camera.size[0] * buffer.camera.size[1]), 4

    antialias.edges = everywhere
    try:
        for number in range(1, pictures + 1):
            group(clock, seed, number, settings, plain=True)
    finally:
        antialias.edges = usual
    total = sum(sum(clock.best(step)) for step in STEPS)
    return round(pictures / total, 3)


def ray_rate():
    """Return the primary rays per second at a ball, in millions: the best of five."""
    import numpy as np

    from vitruvian.synth.embree import EmbreeIntersector

    rows = 143
    theta, phi = np.meshgrid(
        np.linspace(0, np.pi, rows + 1), np.linspace(0, 2 * np.pi, 2 * rows + 1), indexing="ij"
    )
    ball = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1)
    j, i = np.mgrid[:rows, : 2 * rows]
    a = (j * (2 * rows + 1) + i).ravel()
    b = a + 2 * rows + 1
    faces = np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])
    rays = EmbreeIntersector(ball.reshape(-1, 3).astype(np.float32), faces.astype(np.int32))
    y, x = np.mgrid[-0.35:0.35:500j, -0.35:0.35:500j]
    ways = np.stack([x.ravel(), y.ravel(), -np.ones(x.size)], 1).astype(np.float32)
    spent = []
    for _ in range(5):
        start = time.process_time()
        rays.nearest(np.array([0, 0, 3], np.float32), ways)
        spent.append(time.process_time() - start)
    return round(len(ways) / min(spent) / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(TARGETS))
    parser.add_argument("--groups", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    results = Path(__file__).parent / "results/synth_render.json"
    parser.add_argument("--out", type=Path, default=results)
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before they are loaded
    import cv2
    import numpy as np

    from vitruvian.synth import recipe

    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "rounds": options.rounds,
        "load": [round(part, 1) for part in os.getloadavg()],
        "rays": {"million_per_second": ray_rate()},
    }
    group(Clock(), options.seed, 0, recipe.Settings(size=(64, 48), views=1))  # load all data
    for text in options.sizes:
        height, width = (int(part) for part in text.split("x"))
        size = height, width
        for views in (8, 1):
            row = measure(size, views, options.groups, options.rounds, options.seed)
            if text in TARGETS and views == 8:
                row["wanted"], row["hoped_for"] = TARGETS[text]
            found[f"{text}, {views} per group"] = row
            print(text, views, row, flush=True)
        found[f"{text}, straightforward"] = {
            "pictures_per_second_and_core": straightforward(size, options.groups, options.seed)
        }
        print(text, found[f"{text}, straightforward"], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["memory_megabytes"] = round(peak)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(found["rays"]), found["load"], found["memory_megabytes"], "MB")


if __name__ == "__main__":
    main()
