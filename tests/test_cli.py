# SPDX-License-Identifier: Apache-2.0
"""The command line's frame: verbs, help, exit codes."""

import pytest

from vitruvian import __version__, cli


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*verb.split(), "--help"])
    assert stop.value.code == 0
    assert f"vitruvian {verb}" in capsys.readouterr().out
    assert cli._ABOUT.keys() == cli.VERBS.keys()
    assert cli.find(verb).__doc__


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"], ["weights"], ["vocab", "--help"]])
def test_overviews(arguments, capsys):
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "usage: vitruvian VERB" in shown
    assert ("predict" in shown) == (arguments in ([], ["--help"], ["help"]))


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vitruvian {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["predikt"], "did you mean predict"),
        (["weights", "fech"], "weights fetch"),
        (["--colour"], "unknown command"),
    ],
)
def test_unknown_verbs(arguments, word, capsys):
    assert cli.main(arguments) == 2
    assert word in capsys.readouterr().err


def test_full_disks_and_interruptions(monkeypatch, capsys):
    def fail(error):
        def run(given):
            raise error

        monkeypatch.setattr(cli, "_run", run)
        return cli.main([])

    assert fail(OSError(28, "No space left on device")) == 2
    assert "No space left" in capsys.readouterr().err
    assert fail(KeyboardInterrupt()) == 130
