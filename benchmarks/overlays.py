# SPDX-License-Identifier: Apache-2.0
"""How often the stage text finds text laid over a picture: 504 plants, 3 sizes × 3 opacities.

    OMP_NUM_THREADS=1 python benchmarks/overlays.py PHOTOS [--rendered SHARDS] [--side 640]

White words with a thin dark edge at random places of photographs (files of a folder) and rendered
pictures (a folder of shards), made 1024 pixels long. Sizes are heights of letters in per cent of
the longer side. A plant counts as found when a region that was read covers its centre; how many
regions are read in the same pictures without plants stands beside.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vitruvian import image
from vitruvian.curate.stage import BASE, Picture, shrunk
from vitruvian.curate.text import Text
from vitruvian.data.reader import Shards
from vitruvian.decode import ImageHeader

SIZES = (0.012, 0.025, 0.05)
OPACITIES = (0.16, 0.35, 1.0)
EACH = 56
WORDS = (
    "SAMPLE",
    "© J. Miller 2021",
    "www.example.com",
    "Preview only",
    "STOCK PHOTO",
    "12.08.2019",
)


def at_base(pixels: np.ndarray) -> np.ndarray:
    scale = BASE / max(pixels.shape[:2])
    if scale <= 1:
        return shrunk(pixels, BASE)
    size = round(pixels.shape[0] * scale), round(pixels.shape[1] * scale)
    return image.resize(pixels, size, "cubic")


def planted(
    pixels: np.ndarray, words: str, size: float, opacity: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture with words on it, and the centre (x, y) of their box."""
    height, width = pixels.shape[:2]
    # letters of this font are about 0.7 of its size high
    font = ImageFont.load_default(max(8, round(size * max(height, width) / 0.7)))
    layer = Image.new("L", (width, height))
    edge = Image.new("L", (width, height))
    left, top, right, bottom = ImageDraw.Draw(layer).textbbox((0, 0), words, font=font)
    x = rng.integers(4, max(5, width - (right - left) - 4))
    y = rng.integers(4, max(5, height - (bottom - top) - 4))
    ImageDraw.Draw(layer).text((x - left, y - top), words, font=font, fill=255)
    ImageDraw.Draw(edge).text((x - left, y - top), words, font=font, fill=255, stroke_width=1)
    made = pixels.astype(np.float32)
    for mask, colour in ((edge, 20.0), (layer, 255.0)):
        alpha = np.asarray(mask, np.float32)[..., None] / 255 * opacity
        made = made * (1 - alpha) + colour * alpha
    centre = np.array([x + (right - left) / 2, y + (bottom - top) / 2])
    return np.round(made).astype(np.uint8), centre


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rendered", type=Path, default=None)
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/overlays.json"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    photos = [at_base(image.read(path)) for path in sorted(given.photos.glob("*.jpg"))]
    rendered = []
    if given.rendered is not None:
        shards = Shards(given.rendered)
        rendered = [at_base(shards[n].image) for n in range(min(len(shards), 24))]
    scorer = Text(side=given.side).open()

    def regions(pixels: np.ndarray) -> list[dict]:
        header = ImageHeader(width=pixels.shape[1], height=pixels.shape[0], format="png")
        picture = Picture(row=0, data=b"", header=header, base=pixels)
        return scorer([picture])[0]["regions"]  # type: ignore[return-value]

    none = [len(regions(pixels)) for pixels in photos + rendered]
    rng = np.random.default_rng(0)
    table: dict[str, dict[str, int]] = {}
    for size in SIZES:
        for opacity in OPACITIES:
            cell = {"plants": 0, "found": 0, "as_overlay": 0}
            for number in range(EACH):
                kind = rendered if rendered and number % 2 else photos
                pixels = kind[int(rng.integers(len(kind)))]
                words = WORDS[number % len(WORDS)]
                made, (x, y) = planted(pixels, words, size, opacity, rng)
                hits = [
                    region
                    for region in regions(made)
                    if region["x0"] <= x <= region["x1"] and region["y0"] <= y <= region["y1"]
                ]
                cell["plants"] += 1
                cell["found"] += bool(hits)
                cell["as_overlay"] += any(region["overlay"] for region in hits)
            table[f"{100 * size:g} % at {opacity:g}"] = cell
            print(f"{100 * size:g} % at {opacity:g}: {cell}", flush=True)
    found = {
        "photographs": len(photos), "rendered": len(rendered), "side": given.side,
        "regions_without_plants": none, "table": table,
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
