# SPDX-License-Identifier: Apache-2.0
"""The data card: what a set was made from, by which rules, under which licences, and what is in it.

``card.json`` is for programs, ``card.html`` for people; both are made from the recipes, so they are
as reproducible as the pictures.
"""

import html
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import vocabulary
from vitruvian.files import write_bytes, write_json
from vitruvian.synth.gallery import read_recipes
from vitruvian.synth.recipe import VERSION, plain

Recipes = Sequence[Mapping[str, Any]]

PARTS = "parts29"
_TENTHS = tuple(tenth / 10 for tenth in range(11))


def licences() -> list[dict[str, str]]:
    """Return every ingredient: name, source, licence, use."""
    text = resources.files("vitruvian.synth").joinpath("licences.toml").read_text(encoding="utf-8")
    return [dict(entry) for entry in tomllib.loads(text)["ingredient"]]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of something.

    Attributes:
        title: what is counted, with its unit.
        labels: of the bars.
        counts: heights of the bars.
    """

    title: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]


def _binned(title: str, values: Iterable[Any], edges: Sequence[float]) -> Histogram:
    numbers = np.array([value for value in values if value is not None], np.float64)
    inside = np.clip(numbers, edges[0], np.nextafter(edges[-1], edges[0]))
    counts, _ = np.histogram(inside, bins=np.asarray(edges, np.float64))
    labels = tuple(f"{edge:g}" for edge in edges[:-1])
    return Histogram(title=title, labels=labels, counts=tuple(int(n) for n in counts))


def _named(title: str, values: Iterable[Any]) -> Histogram:
    found = Counter(str(value) for value in values if value is not None)
    ordered = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))[:24]
    return Histogram(
        title=title,
        labels=tuple(name for name, _ in ordered),
        counts=tuple(count for _, count in ordered),
    )


def _find(value: Any, *names: str) -> Any:
    """Return what is under the first of the names, looked for at any depth of a JSON value."""
    if isinstance(value, Mapping):
        for name in names:
            if name in value:
                return value[name]
        for entry in value.values():
            found = _find(entry, *names)
            if found is not None:
                return found
    return None


def statistics(recipes: Recipes) -> list[Histogram]:
    """Count what a set shows: framing, view, lens, size, light, and who."""
    people = [person for recipe in recipes for person in recipe.get("people", ())]
    heights = [h for recipe in recipes for h in recipe.get("facts", {}).get("heights", ())]

    def views(name: str) -> Iterable[Any]:
        return (recipe.get("view", {}).get(name) for recipe in recipes)

    found = [
        _named("Framing", (recipe.get("framing") for recipe in recipes)),
        _named("People in a picture", (len(recipe.get("people", ())) for recipe in recipes)),
        _binned("Seen from the side (degrees)", views("azimuth"), range(-180, 181, 30)),
        _binned("Seen from above (degrees)", views("elevation"), range(-40, 81, 10)),
        _binned("Roll (degrees)", views("roll"), range(-40, 41, 5)),
        _binned("Focal length (mm of 24 × 36)", views("focal"), (20, 28, 35, 50, 70, 105, 200)),
        _binned("Distance (m)", views("distance"), (0.2, 0.5, 1, 2, 3, 5, 8, 12, 20)),
        _binned("Height of people (share of the picture)", heights, _TENTHS),
        _named("Background", (_find(r.get("background"), "place", "kind") for r in recipes)),
        _named("Light", (_find(recipe.get("light"), "kind") for recipe in recipes)),
        _named("Pose", (person.get("pose") for person in people)),
        _named("Hair", (_find(person, "style") for person in people)),
        _binned("Age (slider: 0.33 child, 0.67 young, 1 old)", (_find(p, "age") for p in people),
                _TENTHS),
        _binned("Sex (0 male, 1 female)", (_find(person, "gender") for person in people),
                _TENTHS),
        _binned("Weight (slider)", (_find(person, "weight") for person in people),
                _TENTHS),
        _binned("Skin (melanin, 0 light to 1 dark)", (_find(p, "melanin") for p in people),
                _TENTHS),
    ]  # fmt: skip
    return [histogram for histogram in found if sum(histogram.counts)]


def classes(recipes: Recipes) -> dict[str, float]:
    """Return the share of pictures in which each part is to be seen."""
    names = vocabulary.load(PARTS).names
    seen = np.zeros(len(names), np.int64)
    for recipe in recipes:
        for name, pixels in recipe.get("facts", {}).get("parts", {}).items():
            if pixels and name in names:
                seen[names.index(name)] += 1
    total = max(len(recipes), 1)
    return {name: round(float(count) / total, 4) for name, count in zip(names, seen, strict=True)}


def write_card(folder: str | Path, *, about: Mapping[str, Any]) -> Path:
    """Write ``card.json`` and ``card.html`` for a folder of shards.

    Args:
        folder: where the shards are.
        about: what the set was made from, for the reader (settings, seed, version).

    Returns:
        The page.
    """
    folder = Path(folder)
    recipes = read_recipes(folder)
    histograms = statistics(recipes)
    shares = classes(recipes)
    content = {
        "about": plain(about),
        "generator": VERSION,
        "pictures": len(recipes),
        "people": sum(len(recipe.get("people", ())) for recipe in recipes),
        "statistics": [plain(histogram) for histogram in histograms],
        "parts": shares,
        "licences": licences(),
    }
    write_json(folder / "card.json", content, indent=1)
    path = folder / "card.html"
    write_bytes(path, _page(content, histograms, shares).encode())
    return path


# --------------------------------------------------------------------------------- the page


def bars(histogram: Histogram, width: int = 360, height: int = 150) -> str:
    """Draw a histogram as SVG."""
    tallest = max(histogram.counts, default=0) or 1
    step = width / max(len(histogram.counts), 1)
    long = any(len(label) > 5 for label in histogram.labels)
    room = 62 if long else 20
    parts = [f'<svg viewBox="0 0 {width} {height + room}" role="img">']
    for number, (label, count) in enumerate(zip(histogram.labels, histogram.counts, strict=True)):
        tall = count / tallest * (height - 16)
        x, y = number * step, height - tall
        middle, foot = x + step / 2, height + 13
        text = html.escape(label)
        turn = (
            f' transform="rotate(-40 {middle:.1f} {foot})" text-anchor="end"'
            if long
            else (' text-anchor="middle"')
        )
        parts.append(
            f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{max(step - 2, 1):.1f}" height="{tall:.1f}">'
            f"<title>{text}: {count}</title></rect>"
            f'<text x="{middle:.1f}" y="{y - 3:.1f}" text-anchor="middle">{count}</text>'
            f'<text x="{middle:.1f}" y="{foot}"{turn}>{text[:14]}</text>'
        )
    return "".join([*parts, "</svg>"])


def _page(
    content: Mapping[str, Any], histograms: Sequence[Histogram], shares: Mapping[str, float]
) -> str:
    percent = Histogram(
        title="Pictures in which a part is seen (%)",
        labels=tuple(shares),
        counts=tuple(round(100 * share) for share in shares.values()),
    )
    figures = "".join(
        f"<figure><h3>{html.escape(one.title)}</h3>{bars(one)}</figure>" for one in histograms
    )
    about = "".join(
        f"<tr><th>{html.escape(str(key))}<td>{html.escape(str(value))}"
        for key, value in content["about"].items()
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(entry.get(key, ''))}" for key in _COLUMNS)
        for entry in content["licences"]
    )
    head = "".join(f"<th>{key}" for key in _COLUMNS)
    return _PAGE.format(
        pictures=content["pictures"],
        people=content["people"],
        generator=content["generator"],
        about=about,
        figures=figures,
        parts=bars(percent, width=900),
        head=head,
        rows=rows,
    )


_COLUMNS = ("name", "licence", "use", "source")
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Data card</title>
<style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem}}
figure{{display:inline-block;width:360px;margin:0 1rem 1rem 0;vertical-align:top}}
h3{{font-size:14px;margin:.3rem 0}}svg{{width:100%;overflow:visible}}rect{{fill:#3b6ea5}}
text{{font-size:9px;fill:#444}}table{{border-collapse:collapse}}
th,td{{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ddd;vertical-align:top}}
</style>
<h1>Data card</h1>
<p>{pictures} rendered pictures of {people} people. Nobody in them exists. Every picture is a pure
function of the settings, the seed and its number (generator {generator}); the recipes beside the
shards hold all that was drawn. Labels belong to pixel centres and are exact.</p>
<h2>Made from</h2><table>{about}</table>
<h2>What is in it</h2>{figures}
<h3>Pictures in which a part is seen (%)</h3>{parts}
<h2>Licences of all ingredients</h2><table><tr>{head}{rows}</table>
</html>
"""


def measured(labels: NDArray[np.uint8]) -> dict[str, int]:
    """Return how many pixels each part has in a (H, W) map of "parts29" labels."""
    names = vocabulary.load(PARTS).names
    counts = np.bincount(labels.ravel(), minlength=256)[: len(names)]
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
