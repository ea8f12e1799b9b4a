# SPDX-License-Identifier: Apache-2.0
"""A page about a view, in one HTML file: funnel, people per picture, histograms, pictures.

With ``audit`` every picture can be marked right or wrong; the page saves the marks as a file, and
nothing is sent anywhere.
"""

import base64
import html
import json
from pathlib import Path

import numpy as np

from vitruvian import image
from vitruvian.curate.raw import open_raw, read_raw_index
from vitruvian.curate.stage import shrunk
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.curate.view import RuleTally, View, read_view
from vitruvian.decode import read_reduced
from vitruvian.errors import InputError
from vitruvian.files import write_bytes

PAPER_PEOPLE = {1: 17, 2: 14, 3: 13, 4: 56}
"""People per picture of the published set in per cent, 4 standing for 4 and more (arXiv
2408.12569, section 3.1)."""
_THUMBNAIL = 200  # longer side in pixels


def share(part: float, whole: float) -> str:
    """Return a percentage in words; of nothing a dash."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def people_shares(view: View) -> dict[int, float]:
    """Return per cent of kept pictures *with people* by their number, 4 standing for 4 and more."""
    counts = dict.fromkeys(PAPER_PEOPLE, 0)
    for number, pictures in view.people.items():
        if number:
            counts[min(number, 4)] += pictures
    total = sum(counts.values())
    return {number: 100 * n / total if total else 0.0 for number, n in counts.items()}


def funnel_text(view: View) -> str:
    """Return the funnel as a table for a terminal."""
    lines = [f"{'rule':<12} {'reached':>12} {'dropped':>12} {'':>7} {'alone':>12} {'unknown':>9}"]
    for rule in view.funnel:
        alone = "" if rule.alone is None else f"{rule.alone:,}"
        unknown = "" if rule.unknown is None else f"{rule.unknown:,}"
        lines.append(
            f"{rule.name:<12} {rule.reached:>12,} {rule.dropped:>12,} "
            f"{share(rule.dropped, rule.reached):>7} {alone:>12} {unknown:>9}"
        )
    lines.append(f"kept {view.kept:,} of {view.rows:,} ({share(view.kept, view.rows)})")
    found = people_shares(view)
    if any(found.values()):
        ours = " · ".join(f"{n}{'+' * (n == 4)}: {v:.0f} %" for n, v in found.items())
        paper = "/".join(str(v) for v in PAPER_PEOPLE.values())
        lines.append(f"people per picture {ours}  (the paper: {paper} %)")
    lines += cascade_text(view)
    return "\n".join(lines) + "\n"


def write_report(
    tree: Tree, folder: Path, out: Path, *, pictures: int = 24, audit: bool = False
) -> None:
    """Write the page.

    Args:
        tree: the curation.
        folder: of the view.
        out: .html file.
        pictures: most pictures of each kind per rule.
        audit: with buttons to mark them.

    Raises:
        InputError: for another suffix.
    """
    if out.suffix != ".html":
        raise InputError(f"{out}: the page is an .html file")
    view = read_view(folder)
    about = view.about["policy"]
    title = f"{html.escape(about['name'])}: {view.kept:,} of {view.rows:,} pictures"
    parts = [
        f"<h1>{title}</h1><p>{html.escape(about['about'])}</p>",
        f"<p>view {view.digest} · policy {view.policy} · values "
        f"{html.escape(json.dumps(view.about['values']))}</p>",
        "<h2>Where pictures go</h2>",
        _funnel(view),
        _cascade(view),
        "<h2>People per picture</h2>",
        _people(view),
        "<h2>Scores</h2><p>All pictures light, kept ones dark; from a sample.</p>",
        *(_histogram(name, one) for name, one in view.histograms.items()),
        *(_pictures(tree, view, rule, pictures, audit) for rule in view.funnel),
    ]
    script = _SCRIPT.replace("VIEW", view.digest) if audit else ""
    bar = '<div id="bar"><button id="save">Save marks</button> <span id="n">0</span> marked</div>'
    page = (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><body>{bar if audit else ''}{''.join(parts)}{script}</body></html>"
    )
    write_bytes(out, page.encode())


def _funnel(view: View) -> str:
    rows = "".join(_funnel_row(rule, view.rows) for rule in view.funnel)
    return (
        "<table><tr><th>rule<th>keeps<th>reached<th>dropped<th>of these<th>alone<th>of all"
        f"<th>unknown<th></tr>{rows}</table>"
    )


def _funnel_row(rule: RuleTally, total: int) -> str:
    alone = "–" if rule.alone is None else f"{rule.alone:,}"
    part = "–" if rule.alone is None else share(rule.alone, total)
    unknown = "–" if rule.unknown is None else share(rule.unknown, total)
    width = 200 * (rule.reached - rule.dropped) / max(total, 1)
    return (
        f"<tr><td>{html.escape(rule.name)}<td class=w>{html.escape(rule.reason)}"
        f"<td>{rule.reached:,}<td>{rule.dropped:,}<td>{share(rule.dropped, rule.reached)}"
        f"<td>{alone}<td>{part}<td>{unknown}"
        f'<td class=w><div class=b style="width:{width:.0f}px"></div></tr>'
    )


def cascade_text(view: View) -> list[str]:
    """Return, of a view of gated records, what was not asked and how far values may move."""
    lines: list[str] = []
    for stage, one in view.about.get("cascade", {}).items():
        gates = one["gates"]
        parts = [f"shorter sides from {gates['side']:g} pixels on"]
        if "text_area" in gates:
            parts.append(f"shares of text up to {gates['text_area']:g}")
        lines.append(
            f"{stage}: not asked about {one['rows']:,} of {view.rows:,} pictures; thresholds may "
            f"move within {' and '.join(parts)}, beyond that score without --cascade"
        )
    return lines


def _cascade(view: View) -> str:
    lines = [f"<li>{html.escape(line)}</li>" for line in cascade_text(view)]
    return f"<h2>Scored as a cascade</h2><ul>{''.join(lines)}</ul>" if lines else ""


def _people(view: View) -> str:
    ours = people_shares(view)
    cells = "".join(
        f"<tr><td>{n}{'+' * (n == 4)}<td>{ours[n]:.0f} %<td>{PAPER_PEOPLE[n]} %</tr>" for n in ours
    )
    return f"<table><tr><th>people<th>here<th>paper</tr>{cells}</table>"


def _histogram(name: str, one: dict[str, list[float]]) -> str:
    top = max([*one["all"], 1])
    bars = "".join(
        f'<rect x="{9 * n}" y="{60 - 60 * count / top:.1f}" width="8" '
        f'height="{60 * count / top:.1f}" class="{kind}"/>'
        for kind, counts in (("a", one["all"]), ("k", one["kept"]))
        for n, count in enumerate(counts)
    )
    low, high = one["edges"][0], one["edges"][-1]
    return (
        f'<figure><svg width="180" height="60">{bars}</svg><figcaption>{html.escape(name)}<br>'
        f"{low:.4g} … {high:.4g}</figcaption></figure>"
    )


def _pictures(tree: Tree, view: View, rule: RuleTally, most: int, audit: bool) -> str:
    shown = view.shown.get(rule.name, {})
    parts = [f"<h2>{html.escape(rule.name)}</h2>"]
    for how in ("dropped", "kept"):
        places = shown.get(how, [])[:most]
        if not places:
            continue
        parts.append(f"<h3>{how} by it</h3><div class=g>")
        for shard, row in places:
            parts.append(_figure(tree, shard, row, rule.name, how, audit))
        parts.append("</div>")
    return "".join(parts) if len(parts) > 1 else ""


def _figure(tree: Tree, shard: str, row: int, rule: str, how: str, audit: bool) -> str:
    reference = ShardRef(shard, str(tree.root))
    entry = read_raw_index(reference).slice(row, 1).to_pylist()[0]
    try:
        data = open_raw(reference).read(entry["offset"], entry["length"])
        small = shrunk(read_reduced(data, _THUMBNAIL), _THUMBNAIL)
    except InputError:  # many are dropped because they cannot be read
        small = np.full((80, _THUMBNAIL // 2, 3), 200, np.uint8)
    code = base64.b64encode(image.encode(small, ".jpg", quality=80)).decode()
    source = html.escape(entry["source"])
    marks = (
        '<button class=y title="the verdict is right">✓</button>'
        '<button class=x title="the verdict is wrong">✗</button>'
        if audit
        else ""
    )
    facts = f'data-uid="{entry["uid"].hex()}" data-rule="{html.escape(rule)}" data-how="{how}"'
    return (
        f'<figure {facts}><img alt="" title="{source}" src="data:image/jpeg;base64,{code}">'
        f"<figcaption>{shard}:{row}{marks}</figcaption></figure>"
    )


_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}
table{border-collapse:collapse}
td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child,.w{text-align:left}.b{height:.8em;background:#47a}
figure{display:inline-block;margin:4px;vertical-align:top}figcaption{font-size:11px;color:#555}
.a{fill:#bcd}.k{fill:#247}.g img{max-height:200px;display:block}
figure.right{outline:3px solid #2a2}figure.wrong{outline:3px solid #c22}
#bar{position:sticky;top:0;background:#fff;padding:.5em;border-bottom:1px solid #ccc}
button{cursor:pointer;margin-left:4px}
"""
_SCRIPT = """<script>
const marks = {};
document.querySelectorAll('figure[data-uid]').forEach(f => {
  const set = right => {
    f.className = right ? 'right' : 'wrong';
    marks[[f.dataset.rule, f.dataset.how, f.dataset.uid]] = {
      uid: f.dataset.uid, rule: f.dataset.rule, verdict: f.dataset.how, right: right};
    document.getElementById('n').textContent = Object.keys(marks).length;
  };
  f.querySelector('.y').onclick = () => set(true);
  f.querySelector('.x').onclick = () => set(false);
});
document.getElementById('save').onclick = () => {
  const page = {format: 'vitruvian audit 1', view: 'VIEW', marks: Object.values(marks)};
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify(page, null, 1)]));
  link.download = 'audit-VIEW.json';
  link.click();
};
</script>"""
