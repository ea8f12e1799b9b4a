# SPDX-License-Identifier: Apache-2.0
"""The documentation, run: snippets execute, links lead somewhere, commands and versions exist."""

import contextlib
import doctest
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import vitruvian

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
UNRUN = "<!-- needs weights -->"  # before a snippet that cannot run in a test
PHOTO = ROOT / "examples" / "photos" / "astronaut.jpg"  # what snippets find as photo.jpg


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(text: str, language: str) -> list[tuple[int, str, bool]]:
    """Return (line, code, whether to run it) of every fenced block of a language."""
    found = []
    for match in re.finditer(rf"(?ms)^```{language}\n(.*?)^```$", text):
        before = text[: match.start()].rstrip()
        found.append((before.count("\n") + 2, match[1], not before.endswith(UNRUN)))
    return found


SNIPPETS = [
    pytest.param(code, run, id=f"{page_id(page)}:{line}")
    for page in PAGES
    for line, code, run in fences(page.read_text(encoding="utf-8"), "python")
]


@pytest.mark.parametrize(("code", "run"), SNIPPETS)
def test_python_snippets(
    code: str, run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compiled = compile(code, "snippet", "exec")
    if run:
        shutil.copy(PHOTO, "photo.jpg")
        exec(compiled, {"__name__": "snippet"})
        return
    # It cannot run here, but what it imports and takes from our modules must exist.
    names: dict[str, object] = {}
    imports = [line for line in code.splitlines() if re.match(r"(import|from)\s", line)]
    exec("\n".join(imports), names)
    for name, value in names.items():
        if getattr(value, "__name__", "").startswith("vitruvian"):
            for attribute in re.findall(rf"\b{name}\.(\w+)", code):
                assert hasattr(value, attribute), f"{name}.{attribute} does not exist"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=page_id)
def test_examples(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(example), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.jpg")), "an example leaves something to look at"


def test_doctests() -> None:
    failed: list[str] = []
    for path in sorted((ROOT / "src" / "vitruvian").rglob("*.py")):
        if ">>>" not in path.read_text(encoding="utf-8"):
            continue
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        report = io.StringIO()
        with contextlib.redirect_stdout(report):
            result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
        if result.failed:
            failed.append(report.getvalue())
    assert not failed, "\n".join(failed)


# ----------------------------------------------------------------------------------- links


def slug(heading: str) -> str:
    """Return the anchor that GitHub and MkDocs give a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain))


def prose(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def anchors(path: Path) -> set[str]:
    text = prose(path.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"(?m)^#+ (.+)$", text)}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    wrong: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.is_relative_to(ROOT) or not place.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(place):
            wrong.append(f"{target}: no heading gives this anchor; there are {anchors(place)}")
        elif page.parent.name == "docs" and not place.is_relative_to(ROOT / "docs"):
            wrong.append(f"{target}: leaves docs/, so it breaks on the site")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r": (\w+\.md)$", menu, re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}


# --------------------------------------------------------------- commands, verbs, versions, tree


def commands(text: str) -> list[str]:
    """Return every ``vitruvian …`` command in shell blocks and in inline code."""
    lines = [line for _, code, _ in fences(text, "bash") for line in code.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", prose(text))
    every = [line.strip() for line in (*lines, *spans)]
    every = [re.sub(r"^(\$ |\.venv/bin/)", "", line) for line in every]
    return [line for line in every if line == "vitruvian" or line.startswith("vitruvian ")]


@cache
def help_of(verb: str) -> str:
    """Return what ``vitruvian VERB --help`` prints."""
    from vitruvian.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*verb.split(), "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


COMMANDS = sorted({c for page in PAGES for c in commands(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_docs_exist(command: str) -> None:
    from vitruvian.cli import VERBS
    from vitruvian.model.catalogue import catalogue

    _, *words = shlex.split(command)
    if not words or words[0].startswith("-"):
        return
    if len(words) == 1 and any(verb.startswith(f"{words[0]} ") for verb in VERBS):
        return  # a group of verbs, such as `vitruvian weights`
    verb = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
    assert verb in VERBS, f"no verb {verb!r}"
    text = help_of(verb)
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"{re.escape(flag)}(?![\w-])", text), f"{verb} has no {flag}"
    for word in words:
        if re.fullmatch(r"sapiens2?-[\w.-]+", word):
            assert word in catalogue(), f"{word} is not in the catalogue"


def test_readme_lists_every_verb() -> None:
    from vitruvian.cli import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"(?m)^\| `vitruvian (\w+)`", text))
    assert told == {verb.split()[0] for verb in VERBS}


def test_the_table_of_normal_colours_is_true() -> None:
    import numpy as np

    from vitruvian.colour import NORMAL_AXES, normals_to_colours

    text = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)`[^|]*\|.*", text)
    assert set(NORMAL_AXES) <= set(rows)
    surfaces = np.array([[[0, 0, -1], [0, -1, 0], [1, 0, 0]]], dtype=np.float32)
    for name in NORMAL_AXES:
        (row,) = re.findall(rf"(?m)^\| `{name}`.*$", text)
        told = [tuple(map(int, c)) for c in re.findall(r"\((\d+), (\d+), (\d+)\)", row)]
        assert told == [tuple(c) for c in normals_to_colours(surfaces, convention=name)[0].tolist()]


def test_every_format_is_explained() -> None:
    from vitruvian.formats import FORMATS

    told = re.findall(r"`([\w-]+)`", (ROOT / "docs" / "predict.md").read_text(encoding="utf-8"))
    assert set(FORMATS) <= set(told)


def test_make_verbs_in_the_docs_exist() -> None:
    known = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?m)`make ([a-z-]+)|^make ([a-z-]+)", text)
        assert {a or b for a, b in named} <= known, page_id(page)


def test_readme_tree_is_true() -> None:
    """Every file it names exists, and every module at the top of the package has its line."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (tree,) = (code for _, code, _ in fences(text, "text") if code.startswith("src/vitruvian/"))
    inner = re.findall(r"(?m)^  (\S+)", tree)
    outer = re.findall(r"(?m)^(\S+)", tree)
    for name in (*(f"src/vitruvian/{name}" for name in inner), *outer):
        assert (ROOT / name).exists(), name
    source = ROOT / "src" / "vitruvian"
    packages = {f"{p.parent.name}/" for p in source.glob("*/*.py")}
    untold = packages - set(inner) - {"vocabularies/"}
    assert not untold, f"README's tree has no line for {sorted(untold)}"


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"(?m)^## \[([^\]]+)\] - (\d{4}-\d{2}-\d{2}|Unreleased)$", changelog)
    assert newest is not None
    cited = re.search(r"(?m)^version: (\S+)$", citation)
    assert cited is not None
    assert {project["version"], vitruvian.__version__, newest[1], cited[1]} == {project["version"]}


def test_every_dependency_is_pinned() -> None:
    """The lock names each package of pyproject.toml once, at a version its range admits."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(pins) == len(lines)
    assert pins["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    for need in (Requirement(text) for text in (*project["dependencies"], *extras)):
        if need.name != "vitruvian":
            assert pins[canonicalize_name(need.name)] in need.specifier, str(need)
