# SPDX-License-Identifier: Apache-2.0
"""Looking at what was made: a contact sheet (PNG), and a gallery page that needs nothing else."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.reader import Shards
from vitruvian.drawing import painters
from vitruvian.errors import InputError
from vitruvian.files import write_bytes
from vitruvian.person import Points, Raster, Sample, composite
from vitruvian.synth.writer import recipes_path

Canvas = NDArray[np.uint8]

LAYERS = ("picture", "parts", "depth", "normals", "pose")
_GAP = 4


def layer(sample: Sample, name: str) -> Canvas | None:
    """Return one layer of a sample as a picture of the same size; ``None`` where it has none.

    Args:
        sample: a picture with labels.
        name: one of ``LAYERS``.
    """
    if name == "picture":
        return np.array(sample.image)
    if name == "pose":
        canvas = np.array(sample.image)
        found = [person for person in sample.people if "pose" in person.annotations]
        for person in found:
            points = person.annotations["pose"]
            if isinstance(points, Points):
                painters.paint_points(canvas, points, painters.stroke(person, sample.size))
        return canvas if found else None
    raster = sample.rasters.get(name) or composite(sample.people, name, sample.size)
    if not isinstance(raster, Raster):
        return None
    raster = raster.placed(sample.size)
    match raster.law:
        case "label":
            return painters.paint_labels(np.array(sample.image), raster, opacity=0.75)
        case "scalar":
            shown = painters.scalar_colours(painters.brightness(raster))
            return np.where(raster.mask[..., None], shown, np.uint8(24))
        case "vector":
            return painters.paint_vectors(np.full_like(sample.image, 24), raster)
        case _:
            return painters.paint_colours(np.array(sample.image), raster)


def small(sample: Sample, name: str, side: int) -> Canvas:
    """Return a layer scaled so that its longer side has ``side`` pixels; grey where missing."""
    height, width = sample.size
    scale = side / max(height, width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    shown = layer(sample, name)
    if shown is None:
        return np.full((*size, 3), 90, np.uint8)
    return np.asarray(image.resize(shown, size), np.uint8)


def contact_sheet(
    samples: Sequence[Sample],
    *,
    layers: Sequence[str] = ("picture", "parts", "normals"),
    side: int = 256,
    columns: int = 4,
) -> Canvas:
    """Lay pictures and their labels side by side.

    Args:
        samples: what to show.
        layers: of each, from left to right.
        side: pixels of each picture's longer side.
        columns: samples per row.

    Raises:
        InputError: for no samples.
    """
    if not samples:
        raise InputError("a contact sheet needs at least one picture")
    cells = [np.hstack([small(sample, name, side) for name in layers]) for sample in samples]
    height = max(cell.shape[0] for cell in cells) + _GAP
    width = max(cell.shape[1] for cell in cells) + _GAP
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    page = np.full((rows * height + _GAP, columns * width + _GAP, 3), 24, np.uint8)
    for number, cell in enumerate(cells):
        top, left = (number // columns) * height + _GAP, (number % columns) * width + _GAP
        page[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return page


def read_recipes(folder: str | Path) -> list[dict[str, Any]]:
    """Return the recipes of all finished shards of a folder, in order."""
    found: list[dict[str, Any]] = []
    for tar in Shards(folder).tars:
        path = recipes_path(tar)
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [json.loads(line) for line in lines if line]
    return found


def spread(count: int, most: int) -> list[int]:
    """Return up to ``most`` numbers below ``count``, evenly spread from the first on."""
    if count <= most:
        return list(range(count))
    return [number * count // most for number in range(most)]


def write_gallery(
    folder: str | Path,
    target: str | Path,
    *,
    most: int = 60,
    side: int = 320,
    layers: Sequence[str] = LAYERS,
) -> Path:
    """Write one HTML file that shows pictures of a folder of shards, their labels and recipes.

    It holds its pictures and loads nothing. Clicking a picture goes to its next layer.

    Args:
        folder: of shards.
        target: the page.
        most: how many pictures, evenly spread over the set.
        side: pixels of their longer sides.
        layers: what can be seen of each.
    """
    samples = Shards(folder)
    recipes = {recipe["index"]: recipe for recipe in read_recipes(folder)}
    figures: list[str] = []
    for number in spread(len(samples), most):
        sample = samples[number]
        pictures: list[str] = []
        for name in layers:
            if layer(sample, name) is None:
                continue
            data = image.encode(small(sample, name, side), ".jpg", quality=85)
            text = base64.b64encode(data).decode()
            pictures.append(f'<img alt="{name}" src="data:image/jpeg;base64,{text}">')
        title = html.escape(sample.name)
        about = html.escape(_about(recipes.get(number, {})))
        figures.append(f"<figure>{''.join(pictures)}<figcaption><b>{title}</b> {about}</figcaption>"
                       "</figure>")  # fmt: skip
    text = _PAGE.replace("TITLE", html.escape(f"{Path(folder).name}: {len(samples)} pictures"))
    path = Path(target)
    write_bytes(path, text.replace("FIGURES", "\n".join(figures)).encode())
    return path


def _about(recipe: Mapping[str, Any]) -> str:
    view = recipe.get("view", {})
    words = [str(recipe.get("framing", ""))]
    if "focal" in view:
        words.append(f"{view['focal']:.0f} mm")
    if "azimuth" in view:
        words.append(f"from {view['azimuth']:+.0f}°, {view['elevation']:+.0f}° high")
    people = len(recipe.get("people", ()))
    if people > 1:
        words.append(f"{people} people")
    for key in ("background", "light"):
        kind = recipe.get(key, {}).get("kind")
        if kind:
            words.append(str(kind))
    return " · ".join(word for word in words if word)


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>TITLE</title>
<meta name="viewport" content="width=device-width">
<style>
body{background:#181818;color:#ddd;font:14px/1.4 system-ui,sans-serif;margin:1.5rem}
main{display:flex;flex-wrap:wrap;gap:.75rem}
figure{margin:0;cursor:pointer;max-width:320px}
figure img{display:none}figure img.on{display:block}
figcaption{font-size:12px;color:#999}figcaption b{color:#ddd}
button{background:#333;color:#eee;border:0;border-radius:4px;padding:.4rem .8rem;margin-right:.4rem}
</style>
<h1>TITLE</h1><p id="all">Click a picture for its next layer, or show all as: </p>
<main>
FIGURES
</main>
<script>
const figures=[...document.querySelectorAll('figure')];
function show(figure,name){const all=[...figure.querySelectorAll('img')];
 const found=all.find(i=>i.alt===name)||all[0];all.forEach(i=>i.classList.toggle('on',i===found))}
figures.forEach(f=>{show(f,'picture');f.onclick=()=>{const all=[...f.querySelectorAll('img')];
 const at=all.findIndex(i=>i.classList.contains('on'));show(f,all[(at+1)%all.length].alt)}});
const names=new Set([...document.querySelectorAll('img')].map(i=>i.alt));
names.forEach(n=>{const b=document.createElement('button');b.textContent=n;
 b.onclick=()=>figures.forEach(f=>show(f,n));document.getElementById('all').append(b)});
</script></html>
"""
