# SPDX-License-Identifier: Apache-2.0
"""The page that people mark verdicts on, clicked through by a real browser where there is one."""

import html
import json
import re
import shutil
import subprocess

import pytest
from corpus import jpeg, many, packed
from test_pool import finish

from vitruvian.curate.audit import precision_text, read_labels, read_marks
from vitruvian.curate.basics import Geometry, Integrity
from vitruvian.curate.engines import Here
from vitruvian.curate.policy import parse_policy
from vitruvian.curate.report import write_report
from vitruvian.curate.select import select

BROWSER = next(
    filter(
        None,
        map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome", "chrome")),
    ),
    None,
)
POLICY = """
name = "wide <b>"
[[rules]]
name = "readable"
keep = "integrity_status LIKE 'ok%'"
[[rules]]
name = "wide & flat"
keep = "geometry_width > 100"
"""
CLICKS = """<script>
URL.createObjectURL = blob => { window.saved = blob; return '#'; };
const all = [...document.querySelectorAll('figure[data-rule="wide & flat"]')];
all.forEach((f, n) => f.querySelector(n % 3 == 2 ? '.x' : '.y').click());
all[0].querySelector('.x').click();  // a change of mind
all[0].querySelector('.y').click();
document.getElementById('save').click();
window.saved.text().then(text => {
  const shown = document.createElement('pre');
  shown.id = 'saved';
  shown.dataset.count = document.getElementById('n').textContent;
  shown.dataset.right = document.querySelectorAll('figure.right').length;
  shown.textContent = text;
  document.body.append(shown);
});
</script>"""


@pytest.fixture(scope="module")
def marked_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    files = many(6) | {"1000.jpg": jpeg(50, 80, 160), "1001.jpg": jpeg(51, 80, 160)}
    tree = packed(folder, files | {"2000.jpg": b"no picture"})
    finish(tree, [Integrity(), Geometry()], Here())
    view = select(tree, parse_policy(POLICY, "here"))
    page = folder / "page.html"
    write_report(tree, tree.root / "views" / view.digest, page, audit=True)
    return page, view


def test_a_page_without_buttons_has_no_script(marked_page, tmp_path):
    page, view = marked_page
    tree = page.parent / "tree"
    from vitruvian.curate.tree import Tree

    write_report(Tree(tree), tree / "views" / view.digest, tmp_path / "page.html")
    assert "<script>" not in (tmp_path / "page.html").read_text()
    assert "http" not in re.sub(r"base64,[^\"]+", "", page.read_text())  # it loads nothing


@pytest.mark.skipif(BROWSER is None, reason="no browser on this machine")
def test_clicks_become_marks(marked_page, tmp_path):
    page, view = marked_page
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text().replace("</body>", CLICKS + "</body>"))
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000",
        "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}", driven.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="saved" data-count="(\d+)" data-right="(\d+)">(.*?)</pre>',
                      done.stdout, re.DOTALL)  # fmt: skip
    assert found, done.stderr[-2000:]
    marks = tmp_path / "marks.json"
    marks.write_text(html.unescape(found[3]))
    read = read_marks(marks)
    assert json.loads(marks.read_text())["view"] == view.digest
    # six narrow ones dropped, two wide ones kept; every third one was marked wrong
    assert (len(read), int(found[1])) == (8, 8)
    assert (sum(mark.right for mark in read), int(found[2])) == (6, 6)
    assert {mark.rule for mark in read} == {"wide & flat"}
    table = precision_text(read)
    assert "dropped" in table
    assert "4 of 6" in table
    assert "2 of 2" in table
    labels = read_labels(marks, "wide & flat")
    assert sum(labels.values()) == 4  # rightly dropped
