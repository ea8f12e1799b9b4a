# SPDX-License-Identifier: Apache-2.0
"""The command line: one typed function per verb, imported only when it is called.

Exit codes: 0 done, 1 done but something failed (a listed picture, an unhealthy check), 2 the
command could not be carried out as given, 130 interrupted.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from vitruvian import __version__
from vitruvian.errors import VitruvianError, unknown_name

VERBS: dict[str, str] = {
    "predict": "vitruvian.commands.predict:predict",
    "train": "vitruvian.commands.train:train",
    "train default": "vitruvian.commands.train_default:default",
    "plan": "vitruvian.commands.plan:plan",
    "probe": "vitruvian.commands.probe:probe",
    "evaluate": "vitruvian.commands.evaluate:evaluate",
    "compare": "vitruvian.commands.compare:compare",
    "study": "vitruvian.commands.study:study",
    "bench": "vitruvian.commands.bench:bench",
    "synth people": "vitruvian.commands.synth:people",
    "synth scans": "vitruvian.commands.synth:scans",
    "synth rig": "vitruvian.commands.synth:rig",
    "synth thuman2": "vitruvian.commands.synth_sets:thuman2",
    "synth hi4d": "vitruvian.commands.synth_sets:hi4d",
    "curate pack": "vitruvian.commands.curate:pack",
    "curate score": "vitruvian.commands.curate:score",
    "curate select": "vitruvian.commands.curate:select",
    "curate report": "vitruvian.commands.curate_report:report",
    "curate audit": "vitruvian.commands.curate_report:audit",
    "curate export": "vitruvian.commands.curate:export",
    "curate fit-probe": "vitruvian.commands.curate_report:fit_probe",
    "curate calibrate-detector": "vitruvian.commands.curate_report:calibrate_detector",
    "curate estimate": "vitruvian.commands.curate_report:estimate",
    "data pack": "vitruvian.commands.data:pack",
    "data check": "vitruvian.commands.data:check",
    "data show": "vitruvian.commands.data:show",
    "weights list": "vitruvian.commands.weights:list_weights",
    "weights info": "vitruvian.commands.weights:info",
    "weights convert": "vitruvian.commands.weights:convert",
    "weights card": "vitruvian.commands.model_card:card",
    "weights fetch": "vitruvian.commands.weights:fetch",
    "vocab show": "vitruvian.commands.vocab:show",
    "vocab convert": "vitruvian.commands.vocab:convert",
    "doctor": "vitruvian.commands.doctor:doctor",
}
"""Verb → "module:function" that carries it out."""

_ABOUT = {
    "predict": "see people in photographs: keypoints, parts, depth and normals, as files",
    "train": "pretrain on pictures, or learn keypoints, parts, depth, normals from labels",
    "train default": "make the weights of the package from nothing, at a budget of your choice",
    "plan": "what fits on a GPU of some memory: batch, checkpointing, sharding, FLOPs",
    "probe": "how good the features of a backbone are, without finetuning it",
    "evaluate": "how right a model is, or predictions made elsewhere are, on labelled photographs",
    "study": "small trainings that differ in one thing, evaluated alike, as a table and a plot",
    "compare": "whether one evaluation is better than another, with confidence intervals",
    "bench": "milliseconds per stage and peak memory of a model on this machine",
    "synth people": "render people with exact labels of every task, into shards",
    "synth scans": "the same from textured 3D scans of your own",
    "synth rig": "one moment from many calibrated cameras, or short clips",
    "synth thuman2": "the evaluation set of THuman2.0, from its scans through fixed cameras",
    "synth hi4d": "depth and normals of Hi4D, from its scans through its own cameras",
    "curate pack": "pictures from anywhere, into raw shards as they were found",
    "curate score": "ask what each picture is: whole, sharp, with text, with people, of what kind",
    "curate select": "which pictures a policy keeps, and where the others went",
    "curate report": "a page about that: funnel, histograms, pictures per rule",
    "curate audit": "how often each rule was right, from a marked page",
    "curate export": "what is kept, shuffled, as training shards",
    "curate fit-probe": "train a small head from judged pictures",
    "curate calibrate-detector": "the score at which a detector is as precise as 0.9 was",
    "curate estimate": "cores, hours, storage and money for any number of pictures",
    "data pack": "turn labelled pictures of any common layout into shards",
    "data check": "what was understood: counts, labels, boxes, as sentences and a sheet",
    "data show": "one sample with its labels, as a picture",
    "weights list": "every published weights file: task, size, licence",
    "weights info": "what a weights file is",
    "weights convert": "turn any readable weights into one self-describing safetensors file",
    "weights card": "measure weights and write them, small, with a model card",
    "weights fetch": "download published weights, after showing their licence",
    "vocab show": "the names of keypoints and parts; a poster of where they are",
    "vocab convert": "turn keypoint files from one vocabulary into another",
    "doctor": "what works here, and what to install",
}

# verbs whose work done before an interruption counts
_RESUMES = ("predict", "train", "evaluate", "study", "synth", "data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except VitruvianError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except BrokenPipeError:  # the reader of our output closed it (`| head`)
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        goes_on = bool(given) and given[0] in _RESUMES
        hope = "; the same command goes on where it stopped" if goes_on else ""
        sys.stderr.write(f"interrupted{hope}\n")
        return 130


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if given[0] in ("-V", "--version"):
        sys.stdout.write(f"vitruvian {__version__}\n")
        return 0
    verb = " ".join(given[:2]) if " ".join(given[:2]) in VERBS else given[0]
    if verb not in VERBS:
        group = [name for name in VERBS if name.startswith(f"{verb} ")]
        if group and (len(given) == 1 or given[1] in ("-h", "--help")):
            sys.stdout.write(_overview(group))
            return 0
        known = group or VERBS
        raise unknown_name("command", " ".join(given[: 2 if group else 1]), known)
    result = _parse(find(verb), verb, given[len(verb.split()) :])
    return result if isinstance(result, int) else 0


def find(verb: str) -> Callable[..., Any]:
    """Import and return the function behind a verb."""
    module, _, name = VERBS[verb].partition(":")
    return getattr(import_module(module), name)


def _parse(function: Callable[..., Any], verb: str, arguments: list[str]) -> Any:
    import tyro

    return tyro.cli(
        function,
        prog=f"vitruvian {verb}",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _overview(verbs: Sequence[str] = tuple(VERBS)) -> str:
    width = max(len(verb) for verb in verbs)
    lines = [f"  {verb:<{width}}  {_ABOUT[verb]}" for verb in verbs]
    return "\n".join(
        [
            f"vitruvian {__version__}: human-centric vision models",
            "",
            "usage: vitruvian VERB …, and  vitruvian VERB --help",
            "",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
