# SPDX-License-Identifier: Apache-2.0
"""See people in photographs, with the weights and the finder that come with the package.

python examples/demo.py --out demo [PHOTO ...]
"""

import argparse
import time
from pathlib import Path

import vitruvian as vi
from vitruvian import drawing, image

PHOTOS = sorted((Path(__file__).parent / "photos").glob("*.jpg"))
TASKS = ("pose", "parts", "depth", "normals")
SIDE = 420  # height of a picture on the sheet

parser = argparse.ArgumentParser()
parser.add_argument("photos", nargs="*", type=Path, default=PHOTOS)
parser.add_argument("--out", type=Path, default=Path("demo"))
parser.add_argument("--model", default="default")
parser.add_argument("--detector", default="auto")
given = parser.parse_args()

see = vi.load(given.model, detector=given.detector)
cells = []
for path in given.photos:
    start = time.perf_counter()
    sample = see.see(path)
    print(f"{path.name}: {len(sample.people)} people in {time.perf_counter() - start:.2f} s")
    drawn = [drawing.overlay(sample, task=task, key=False) for task in TASKS if sample.people]
    for title, picture in zip((path.name, *TASKS), [sample.image, *drawn], strict=False):
        width = round(picture.shape[1] * SIDE / picture.shape[0])
        cells.append((title, image.resize(picture, (SIDE, width), "area")))
    cells += [("nobody found", cells[-1][1])] * (0 if sample.people else len(TASKS))
sheet = given.out / "sheet.jpg"
image.write(sheet, drawing.grid(cells, columns=1 + len(TASKS)))
print(f"Look at {sheet}")
