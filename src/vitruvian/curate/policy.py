# SPDX-License-Identifier: Apache-2.0
"""Policies: named rules over records. Nobody looks at a pixel to change a threshold.

A rule is an SQL expression over the columns of records (``STAGE_COLUMN``, such as ``text_area`` or
``person_boxes``), of the index (``source``, ``licence``, ``shard``) and named values (``$name``).
It keeps a picture when it is true; null, where a score is unknown, is never a silent pass: the
policy says what becomes of it. ``box_width(b)``, ``box_height(b)``, ``box_short(b)`` and
``box_long(b)`` are the sides of a box in pixels.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from vitruvian.errors import InputError, unknown_name

Value = float | int | str | bool
SHIPPED = ("sapiens", "sapiens2")
PARAMETER = re.compile(r"\$([A-Za-z_]\w*)")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One condition.

    Attributes:
        name: what it is called.
        keep: expression that is true of pictures to keep.
        reason: what it is for, in words.
        unknown: what becomes of a picture it is null for; "" for what the policy says.
    """

    name: str
    keep: str
    reason: str = ""
    unknown: Literal["drop", "keep", ""] = ""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What counts as the same picture; of several the largest stays, then the first.

    Attributes:
        exact: equal files.
        near_bits: most bits in which perceptual hashes may differ; -1 for off.
        similar: cosine of embeddings from which on pictures are the same; 0 for off.
        clusters: clusters of embeddings; 0 for off.
        cluster_most: pictures kept of each.
    """

    exact: bool = True
    near_bits: int = -1
    similar: float = 0.0
    clusters: int = 0
    cluster_most: int = 0

    @property
    def needs_vectors(self) -> bool:
        """Whether embeddings are looked at."""
        return self.similar > 0 or self.clusters > 0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What to keep.

    Attributes:
        name: what it is called.
        rules: all have to hold, in the order of the funnel.
        values: what ``$name`` stands for.
        unknown: what becomes of pictures a rule is null for.
        people: expression that counts the people of a picture.
        duplicates: what counts as the same picture.
        about: what it is for, in words.
    """

    name: str
    rules: tuple[Rule, ...]
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    unknown: Literal["drop", "keep"] = "drop"
    people: str = ""
    duplicates: Duplicates = field(default_factory=Duplicates)
    about: str = ""

    def digest(self) -> str:
        """Return 12 hexadecimal digits of what it decides; words do not count."""
        content = asdict(self)
        del content["about"], content["name"]
        for rule in content["rules"]:
            del rule["reason"]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def expressions(self) -> list[str]:
        """Return all expressions, that of the people last if there is one."""
        return [rule.keep for rule in self.rules] + ([self.people] if self.people else [])

    def parameters(self) -> set[str]:
        """Return the names that expressions ask for."""
        return {name for text in self.expressions() for name in PARAMETER.findall(text)}

    def changed(self, values: Mapping[str, str] = {}, without: Sequence[str] = ()) -> "Policy":
        """Return it with other values, and without some rules.

        Args:
            values: name → text; a number where the present value is one.
            without: names of rules to leave out.

        Raises:
            UnknownNameError: for a value or rule it does not have.
            InputError: for a text that is no number where one is wanted.
        """
        known = {**self.values}
        allowed = {*known, *self.parameters()}
        for name, text in values.items():
            if name not in allowed:
                raise unknown_name("value of the policy", name, allowed)
            known[name] = _value(name, text, known.get(name, 0.0))
        names = {rule.name for rule in self.rules}
        for name in without:
            if name not in names:
                raise unknown_name("rule", name, names)
        rules = tuple(rule for rule in self.rules if rule.name not in without)
        return replace(self, rules=rules, values=known)


def _value(name: str, text: str, like: Value) -> Value:
    if isinstance(like, str):
        return text
    try:
        number = float(text)
    except ValueError as error:
        raise InputError(f"--set {name}={text}: wanted a number, as {like}") from error
    return int(number) if isinstance(like, int) and number.is_integer() else number


def load_policy(source: str) -> Policy:
    """Read a policy that ships with the package, or a TOML file.

    Raises:
        UnknownNameError: if it is neither.
        InputError: if the file is no policy, naming what is wrong.
    """
    if source in SHIPPED:
        path = files("vitruvian.curate") / "policies" / f"{source}.toml"
        return parse_policy(path.read_text(encoding="utf-8"), source)
    if not Path(source).is_file():
        if source.endswith(".toml"):
            raise InputError(f"{source}: no such file: give a policy in TOML")
        raise unknown_name("policy", source, SHIPPED)
    return parse_policy(Path(source).read_text(encoding="utf-8"), source)


def parse_policy(text: str, where: str) -> Policy:
    """Read a policy from TOML.

    Raises:
        InputError: if it is none, naming what is wrong.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML ({error})") from error
    known = {one.name for one in fields(Policy)}
    for key in content:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('key', key, known)}")
    rules = content.get("rules", [])
    if not content.get("name") or not rules:
        raise InputError(f"{where}: a policy has a name and at least one [[rules]]")
    made = tuple(_made(Rule, rule, f"{where}, rule {n}") for n, rule in enumerate(rules, 1))
    names = [rule.name for rule in made]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two rules share a name ({', '.join(names)})")
    for expression in [rule.keep for rule in made] + [content.get("people", "")]:
        if ";" in expression:
            raise InputError(f"{where}: an expression has no ';': {expression!r}")
    for choice in [content.get("unknown", "drop"), *(rule.unknown or "drop" for rule in made)]:
        if choice not in ("drop", "keep"):
            raise InputError(f"{where}: unknown = {choice!r}: wanted drop or keep")
    duplicates = _made(Duplicates, content.get("duplicates", {}), f"{where}, [duplicates]")
    return Policy(**{**content, "rules": made, "duplicates": duplicates})


def _made(kind: Any, content: Mapping[str, Any], where: str) -> Any:
    known = {one.name for one in fields(kind)}
    for key in content:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('key', key, known)}")
    try:
        return kind(**content)
    except TypeError as error:
        raise InputError(f"{where}: a rule has a name and an expression 'keep'") from error
