# SPDX-License-Identifier: Apache-2.0
"""What others build on, frozen: names, signatures, verbs and flags.

A difference here is a decision: say it in CHANGELOG.md, then run with ``--update-golden``.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints, is_typeddict

import pytest

import vitruvian
from vitruvian import cli

Golden = Callable[[str, Any], None]


def shape(function: Any) -> str:
    """Return a signature without its types, which read differently in every Python version."""
    bare: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        for keys in get_args(parameter.annotation):  # **hints: Unpack[Hints]
            if parameter.kind == parameter.VAR_KEYWORD and is_typeddict(keys):
                bare += [
                    inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None)
                    for key in get_type_hints(keys)
                ]
                break
        else:
            bare.append(parameter.replace(annotation=inspect.Parameter.empty))
    return str(inspect.Signature(bare))


def described(value: Any) -> Any:
    """Return a function's signature, or those of a class and its public methods."""
    if not inspect.isclass(value):
        return shape(value) if callable(value) else type(value).__name__
    members = {
        name: shape(member) if callable(member) else "property"
        for name, member in inspect.getmembers(value)
        if (name == "__call__" or not name.startswith("_"))
        and name in {n for base in value.__mro__ if in_package(base) for n in vars(base)}
        and (callable(member) or isinstance(member, property))
    }
    return {"": constructor(value), **members}


def in_package(base: type) -> bool:
    return base.__module__.split(".")[0] == "vitruvian"


def constructor(value: type) -> str:
    return "(error)" if issubclass(value, BaseException) else shape(value)


def test_names_and_signatures(golden: Golden) -> None:
    from vitruvian.model import MAE, Network, load, load_network
    from vitruvian.tasks.heatmaps import decode_heatmaps

    low_level = {
        "vitruvian.model.load": load,
        "vitruvian.model.load_network": load_network,
        "vitruvian.model.Network.__call__": Network.forward,
        "vitruvian.model.Network.features": Network.features,
        "vitruvian.model.MAE": MAE,
        "vitruvian.tasks.heatmaps.decode_heatmaps": decode_heatmaps,
    }
    surface = {f"vitruvian.{name}": getattr(vitruvian, name) for name in vitruvian.__all__}
    golden(
        "public_surface.json",
        {name: described(value) for name, value in (surface | low_level).items()},
    )


def test_verbs_and_flags(golden: Golden) -> None:
    flags = {
        verb: [
            name
            if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)
            else f"--{name}".replace("_", "-")
            for name, p in inspect.signature(cli.find(verb)).parameters.items()
        ]
        for verb in cli.VERBS
    }
    golden("command_line.json", flags)


def test_all_is_sorted_and_complete() -> None:
    assert len(set(vitruvian.__all__)) == len(vitruvian.__all__)
    assert vitruvian.__all__ == sorted(vitruvian.__all__, key=lambda n: (n.isupper(), n))
    assert set(dir(vitruvian)) == set(vitruvian.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = vitruvian.nothing_of_the_kind


@pytest.mark.parametrize("name", vitruvian.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(vitruvian, name)
    if name != "__version__":
        assert inspect.getdoc(value), f"vitruvian.{name} has no docstring"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of every verb names each flag, and every flag says what it is for."""
    with pytest.raises(SystemExit) as end:
        cli.main([*verb.split(), "--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    function = cli.find(verb)
    about = inspect.getdoc(function) or ""
    assert about
    for name, parameter in inspect.signature(function).parameters.items():
        assert f"{name}:" in about or f"{name} (" in about, f"{verb}: {name} is not explained"
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            kind = parameter.annotation  # a dataclass stands for the flags of its fields
            inside = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
            for flag in [field.name for field in inside] or [name]:
                assert f"--{flag.replace('_', '-')}" in text
