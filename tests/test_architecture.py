# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/design.md that a machine can check: who imports whom, and what no file does."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "vitruvian"

# ---------------------------------------------------------------------------- who imports whom

# part → the modules (or packages) it is made of, under vitruvian.
PARTS = {
    "errors": "errors",
    "files": "files",
    "vocabulary": "vocabulary vocabularies correspondence sides",
    "geometry": "geometry",
    "camera": "camera",
    "image": "image decode colour",
    "person": "person",
    "draw": "draw drawing",
    "formats": "formats",
    "model": "model",
    "metrics": "metrics",
    "tasks": "tasks",
    "data": "data",
    "train": "train",
    "recipes": "recipes",
    "predict": "predict",
    "evaluate": "evaluate",
    "export": "export",
    "bench": "bench",
    "curate": "curate",
    "synth": "synth",
    "capture": "capture",
    "web": "web",
    "default": "default",
    "commands": "commands",
    "cli": "cli __main__",
    "package": "__init__",
}
LEAVES = "errors files vocabulary geometry camera image"
GROUND = f"{LEAVES} person"
SHOWN = f"{GROUND} draw formats"
SEEING = f"{SHOWN} model metrics tasks predict"
LEARNING = f"{SHOWN} model metrics tasks data train recipes"
BELOW_COMMANDS = " ".join(part for part in PARTS if part not in ("commands", "cli", "package"))

# part → the parts it may import. An arrow that is not here points upward, or sideways.
ARROWS = {
    "errors": "",
    "files": "errors",
    "vocabulary": "errors files",
    "geometry": "errors files",
    "camera": "errors files",
    "image": "errors files",
    "person": LEAVES,
    "draw": GROUND,
    "formats": GROUND,
    "model": "errors files",  # knows torch, nothing of people
    "metrics": "errors",  # numpy in, numbers out
    "tasks": f"{GROUND} model metrics",
    "data": f"{GROUND} formats",  # never hears of tasks
    "train": "errors files model data",  # never hears of tasks
    "recipes": f"{GROUND} draw model metrics tasks data train",
    "predict": f"{GROUND} formats metrics model tasks",  # boxes come from files
    "evaluate": f"{SEEING} data",
    "export": f"{GROUND} model tasks predict",
    "bench": SEEING,
    "curate": f"{SEEING} data",
    "synth": f"{SHOWN} data",
    "capture": f"{SEEING} data",
    "web": f"{SEEING} data",
    "default": f"{SEEING} data train recipes evaluate synth",  # the recipe of the shipped weights
    "commands": BELOW_COMMANDS,
    "cli": "errors commands",
    "package": BELOW_COMMANDS,
}

# Who may know a heavy or optional package at all, and whether only inside a function.
TORCH = (
    "model tasks predict data train recipes evaluate export bench curate synth capture default "
    "commands"
)
EXTRAS = {
    "transformers": "detect",
    "duckdb": "curate",
    "rapidocr": "curate",
    "ray": "cluster",
    "OpenEXR": "exr",
    "scipy": "synth",
    "trimesh": "synth",
    "embreex": "synth",
}
# import name → distribution name where they differ
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow"}


# Files still to be split; the numbers only shrink.
LONG = {"accessories.py": 560, "garments.py": 540, "hair.py": 700, "people.py": 560}


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


MODULES = python_files(SOURCE)
TEXTS = {path: path.read_text(encoding="utf-8") for path in MODULES}
TREES = {path: ast.parse(text) for path, text in TEXTS.items()}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(module: str) -> str | None:
    """Return the part a module belongs to, by its dotted name under ``vitruvian``."""
    first = module.split(".")[0]
    return next((part for part, names in PARTS.items() if first in names.split()), None)


def home_of(path: Path) -> str | None:
    return part_of(path.relative_to(SOURCE).parts[0].removesuffix(".py"))


def is_module(dotted: str) -> bool:
    place = SOURCE.joinpath(*dotted.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


def imports(tree: ast.Module, nodes: Iterable[ast.AST] = ()) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of every import, those inside functions and by text included.

    With ``nodes``, only of those that are among them.
    """
    for node in nodes or ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from vitruvian import camera` imports vitruvian.camera
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            text = node.args[0]
            if isinstance(text, ast.JoinedStr):
                text = text.values[0]
            if isinstance(text, ast.Constant) and str(text.value).startswith("vitruvian."):
                yield str(text.value).rstrip("."), node.lineno


def own_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (dotted name under vitruvian, line); "" stands for the package itself."""
    for name, line in imports(TREES[path]):
        assert not name.startswith("."), f"{name_of(path)}:{line}: write imports absolutely"
        if name.split(".")[0] == "vitruvian":
            yield name.partition(".")[2], line


def test_every_module_belongs_to_a_part() -> None:
    homeless = [name_of(path) for path in MODULES if home_of(path) is None]
    assert not homeless, f"decide where these stand: add them to PARTS and ARROWS here: {homeless}"
    assert PARTS.keys() == ARROWS.keys()


def test_no_arrow_points_upward() -> None:
    wrong: list[str] = []
    for path in MODULES:
        here = home_of(path)
        assert here is not None
        for name, line in own_imports(path):
            first = name.split(".")[0]
            if not first or not is_module(first):
                # a name of the package itself: only its version is for everybody
                if first not in ("", "__version__") and here not in ("commands", "cli", "package"):
                    wrong.append(f"{name_of(path)}:{line}: {first!r} by way of the package")
                continue
            there = part_of(first)
            if there != here and there not in ARROWS[here].split():
                wrong.append(
                    f"{name_of(path)}:{line}: {here} imports {there} (vitruvian.{name}); "
                    f"it may import {ARROWS[here] or 'nothing'}"
                )
    remedy = "move the code down, or hand the thing in as an argument:"
    assert not wrong, "\n".join([remedy, *wrong])


def test_the_arrows_have_no_circle() -> None:
    seen: set[str] = set()

    def visit(part: str, trail: tuple[str, ...]) -> None:
        assert part not in trail, " → ".join((*trail, part))
        if part not in seen:
            for lower in ARROWS[part].split():
                visit(lower, (*trail, part))
            seen.add(part)

    for part in ARROWS:
        visit(part, ())


def test_other_packages_are_declared_and_torch_stays_where_it_belongs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split(r"[^\w.-]", need)[0].lower() for need in project["dependencies"]}
    wrong: list[str] = []
    for path in MODULES:
        part = home_of(path) or ""
        at_top = {name.split(".")[0] for name, _ in imports(TREES[path], TREES[path].body)}
        for name in sorted({name.split(".")[0] for name, _ in imports(TREES[path])}):
            if name in sys.stdlib_module_names or name == "vitruvian":
                continue
            distribution = DISTRIBUTIONS.get(name, name.replace("_", "-")).lower()
            if name in EXTRAS:
                assert EXTRAS[name] in project["optional-dependencies"]
                # A part that is an extra itself may; its command says what to install.
                if name in at_top and EXTRAS[name] != part:
                    wrong.append(f"{name_of(path)}: import {name} (an extra) inside the function")
            elif distribution not in base:
                wrong.append(f"{name_of(path)}: {name} is in no dependency list of pyproject.toml")
            if name == "torch" and part not in TORCH.split():
                wrong.append(f"{name_of(path)}: {part} works without torch")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code", ["import vitruvian", "import vitruvian.cli", "from vitruvian.cli import main; main()"]
)
def test_starting_needs_no_torch(code: str) -> None:
    """``import vitruvian`` and ``vitruvian --help`` answer at once."""
    script = (
        "import sys\nsys.argv = ['vitruvian', '--help']\n"
        f"try:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('HEAVY', *sorted({'torch', 'transformers', 'cv2', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY", f"{code!r} loads {done.stdout.splitlines()[-1]}"


# ------------------------------------------------------------------------- what no file does


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def breach(function: str, call: ast.Call, path: Path) -> str | None:
    """Return what is wrong about a call, or ``None``."""
    loose = {k.arg for k in call.keywords if getattr(k.value, "value", None) is False}
    free = {k.arg for k in call.keywords if getattr(k.value, "value", None) is True}
    part = home_of(path)
    last = function.split(".")[-1]
    if last == "cuda" and "." in function:
        return "devices are chosen once: use .to(device)"
    if function in ("torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        return None if path.name == "pickles.py" else "pickles are read by model/pickles.py only"
    if "strict" in loose and last not in ("zip", "loads"):
        return "weights load strictly"
    if "allow_pickle" in free or "trust_remote_code" in free:
        return "nothing that a file brings along is executed"
    if function == "print" and part not in ("cli", "commands"):
        return "only the command line talks; raise, return, or log"
    if function in ("eval", "exec", "breakpoint", "logging.basicConfig"):
        return "no"
    return None


def test_no_forbidden_calls() -> None:
    wrong = [
        f"{name_of(path)}:{call.lineno}: {function}: {why}"
        for path, tree in TREES.items()
        for function, call in calls(tree)
        if (why := breach(function, call, path))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("network.cuda()", True),
        ("torch.cuda.is_available()", False),
        ("torch.load(path)", True),
        ("net.load_state_dict(state, strict=False)", True),
        ("zip(a, b, strict=False)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("print(1)", True),
    ],
)
def test_the_rule_itself(text: str, forbidden: bool) -> None:
    ((function, call),) = calls(ast.parse(text))
    assert bool(breach(function, call, SOURCE / "model" / "any.py")) is forbidden


def tracked() -> list[Path]:
    """Return the files under version control (all of them in a copy without it)."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        names = done.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    folders = [ROOT / name for name in ("src", "tests", "docs", "examples", "benchmarks")]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_python_files_are_short_and_say_what_they_are() -> None:
    wrong: list[str] = []
    for path in tracked():
        if path.suffix != ".py":
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        limit = 600 if "tests" in path.parts else 450
        if len(lines) > limit:
            wrong.append(f"{name_of(path)}: {len(lines)} lines, split it ({limit} at most)")
        if not lines or lines[0] != "# SPDX-License-Identifier: Apache-2.0":
            wrong.append(f"{name_of(path)}: the first line is the SPDX licence line")
        if "tests" not in path.parts and not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{name_of(path)}: no module docstring")
    assert not wrong, "\n".join(wrong)


# A path that exists on one machine only, or a remark about how the text came to be.
PERSONAL = re.compile(
    r"(?<![\w.~:/-])/(home|root|Users|work|mnt|tmp)/\w"
    r"|[A-Z]:\\\\?Users"
    r"|\b(co-authored-by|as an ai|farm|sub-?agents?|(?-i:TODO|FIXME|XXX))\b",
    re.IGNORECASE,
)
# Places where such a word is meant: file → the words.
MEANT: dict[str, set[str]] = {}


def test_no_file_tells_of_one_machine() -> None:
    wrong: list[str] = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in (".jpg", ".png", ".npz", ".safetensors"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for found in PERSONAL.finditer(line):
                if found.group() not in MEANT.get(name_of(path), set()):
                    wrong.append(
                        f"{name_of(path)}:{number}: {found.group()!r}: {line.strip()[:80]}"
                    )
    assert not wrong, "\n".join(wrong)


def test_no_large_files() -> None:
    """A clone stays quick. What the package itself needs may be larger: say so here."""
    limits = {"tests/golden/": 300_000, "src/vitruvian/synth/assets/": 8_000_000}
    limits["src/vitruvian/default/"] = 40_000_000
    large = [
        f"{name_of(path)}: {path.stat().st_size} bytes, {limit} at most"
        for path in tracked()
        for limit in [next((v for k, v in limits.items() if name_of(path).startswith(k)), 500_000)]
        if path.stat().st_size > limit
    ]
    assert not large, "make these smaller, or by a script:\n" + "\n".join(large)


# ----------------------------------------------------------------------- every test is a test


def lost_tests(tree: ast.Module) -> Iterator[str]:
    """Yield what looks like a test and would never run."""

    def visit(body: list[ast.stmt], where: str, collected: bool) -> Iterator[str]:
        seen: set[str] = set()
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("test"):
                    if not collected:
                        yield f"{where}{node.name}, line {node.lineno}: nobody collects it there"
                    if node.name in seen:
                        yield f"{where}{node.name}, line {node.lineno}: hides one of the same name"
                    seen.add(node.name)
                elif node.name.endswith("_test") and collected:
                    yield f"{where}{node.name}, line {node.lineno}: begin its name with test_"
                yield from visit(node.body, f"{where}{node.name}.", False)
            elif isinstance(node, ast.ClassDef):
                runs = collected and node.name.startswith("Test")
                if runs and node.name in seen:
                    yield f"{where}{node.name}, line {node.lineno}: hides one of the same name"
                seen.add(node.name)
                yield from visit(node.body, f"{where}{node.name}.", runs)

    yield from visit(tree.body, "", True)


def test_every_test_function_is_collected() -> None:
    wrong: list[str] = []
    for path in python_files(ROOT / "tests"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name.startswith("test_"):
            wrong += [f"{name_of(path)}: {text}" for text in lost_tests(tree)]
        else:
            wrong += [
                f"{name_of(path)}: {node.name}: tests live in files called test_*.py"
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
            ]
    assert not wrong, "\n".join(wrong)


def test_lost_tests_are_found() -> None:
    text = """
def test_a(): pass
def test_a(): pass
def smoke_test(): pass
def helper():
    def test_inner(): pass
class Cases:
    def test_b(self): pass
class TestFine:
    def test_c(self): pass
"""
    assert len(list(lost_tests(ast.parse(text)))) == 4
