# SPDX-License-Identifier: Apache-2.0
"""See people in photographs, with the weights and the finder that come with the package.

python examples/demo.py --out demo [PHOTO ...]

Where none come with it, a network with *random* weights shows the way, not skill, and says so.
"""

import argparse
import time
from pathlib import Path

import vitruvian as vi
from vitruvian import drawing, image
from vitruvian.errors import WeightsError
from vitruvian.model import Network
from vitruvian.model.weights import save
from vitruvian.recipes.multi import multi
from vitruvian.recipes.weights import card_of

PHOTOS = sorted((Path(__file__).parent / "photos").glob("*.jpg"))
TASKS = ("pose", "parts", "depth", "normals")
SIDE = 420  # height of a picture on the sheet

parser = argparse.ArgumentParser()
parser.add_argument("photos", nargs="*", type=Path, default=PHOTOS)
parser.add_argument("--out", type=Path, default=Path("demo"))
parser.add_argument("--model", default="default")
parser.add_argument("--detector", default="auto")
given = parser.parse_args()

try:
    see = vi.load(given.model, detector=given.detector)
    note = ""
except WeightsError as error:
    if given.model != "default":
        raise
    run = multi("mini", steps=1)
    network = Network(run.network)
    network.reset_parameters()
    save(given.out / "random.safetensors", network, card_of(run, "random"))
    see = vi.load(given.out / "random.safetensors", detector="whole", mask="none")
    note = f"{error}\nSo these weights are random, and what they say about people is noise."
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
print(f"Look at {sheet}", note, sep="\n" if note else "")
