# SPDX-License-Identifier: Apache-2.0
"""Turn environment maps (lat-long .hdr or .exr) into views, as backgrounds to train before."""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from vitruvian import image
from vitruvian.synth.hdr import read_hdr
from vitruvian.synth.light import look_up

SIDE = 384

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--maps", type=Path, help="folder of maps; without it a plain sky is invented")
parser.add_argument("--out", type=Path, default=Path("surroundings"))
parser.add_argument("--views", type=int, default=40, help="of each map")
given = parser.parse_args()
rng = np.random.default_rng(0)

if given.maps is None:
    height = np.linspace(1, -1, 64, dtype=np.float32)[:, None, None]
    maps = {"sky": np.where(height > 0, (0.4, 0.6, 1.0), (0.2, 0.2, 0.1)) * np.ones((64, 128, 3))}
else:
    files = sorted(p for p in given.maps.rglob("*") if p.suffix.lower() in (".hdr", ".exr"))
    if not files:
        raise SystemExit(f"{given.maps} holds no .hdr or .exr file: put lat-long maps there")
    maps = {path.stem: read_hdr(path) for path in files}

place = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
across, down = np.meshgrid(place, place)
for name, light in track(maps.items(), description="views"):
    usual = np.exp(np.log(light.mean(axis=2) + 1e-4).mean())
    for view in range(given.views):
        opening = np.tan(np.radians(rng.uniform(60, 100)) / 2)  # of half the field of view
        rays = np.stack([across * opening, -down * opening, np.ones_like(across)])
        rays /= np.linalg.norm(rays, axis=0)
        turn, tilt = rng.uniform(0, 2 * np.pi), np.radians(rng.normal(0, 8))
        up_down = np.array(
            [[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]]
        )
        around = np.array(
            [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
        )
        seen = look_up(light, around @ up_down @ rays.reshape(3, -1)).T.reshape(SIDE, SIDE, 3)
        seen = np.clip(seen / usual * rng.uniform(0.1, 0.35), 0, 1)
        # the curve of sRGB (IEC 61966-2-1)
        curve = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        image.write(given.out / f"{name}-{view:03d}.jpg", np.rint(curve * 255).astype(np.uint8))
print(f"{len(maps) * given.views} views in {given.out}")
