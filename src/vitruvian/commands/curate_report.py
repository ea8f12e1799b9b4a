# SPDX-License-Identifier: Apache-2.0
"""``vitruvian curate``, continued: look at a view, learn from judgements, count the cost."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from vitruvian.errors import InputError


def report(
    tree: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    view: str = "",
    pictures: int = 24,
    audit: bool = False,
) -> None:
    """Write a page about a view: funnel, people per picture, histograms, pictures per rule.

    Args:
        tree: folder of the curation.
        out: .html file to write; pictures are inside it.
        view: which; the newest by default.
        pictures: most kept and dropped pictures per rule.
        audit: let the reader mark each picture right or wrong, and save that as a file for
            audit and fit-probe.
    """
    from vitruvian.curate.report import write_report
    from vitruvian.curate.tree import Tree

    folder = find_view(tree, view)
    write_report(Tree(tree), folder, out, pictures=pictures, audit=audit)
    sys.stdout.write(f"{out}\n")


def audit(marks: Annotated[Path, tyro.conf.Positional], /) -> None:
    """Say how often each rule was right, from a page that was marked.

    Args:
        marks: the .json that the page of report --audit saved.
    """
    from vitruvian.curate.audit import precision_text, read_marks

    sys.stdout.write(precision_text(read_marks(marks)))


def fit_probe(
    tree: Annotated[Path, tyro.conf.Positional],
    labels: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    name: str,
    rule: str = "",
    embedder: str = "",
) -> None:
    """Train a small head on embeddings from pictures that a person judged.

    Args:
        tree: folder of the curation, with records of the stage embedding.
        labels: a marked page's .json, or a .csv or .parquet with columns uid and label.
        out: .safetensors file to write, for  score --stages probe --probes.
        name: what the head finds, such as watermark.
        rule: of a marked page, the rule whose marks count; its right drops are what is to be found.
        embedder: as in score.
    """
    from vitruvian.curate.audit import read_labels
    from vitruvian.curate.embeddings import DEFAULT_EMBEDDER, Embedding
    from vitruvian.curate.probes import fit_probe as fit
    from vitruvian.curate.tree import Tree

    if out.suffix != ".safetensors":
        raise InputError(f"{out}: a head is a .safetensors file")
    embedding = Embedding(model=embedder or DEFAULT_EMBEDDER)
    found = fit(Tree(tree), embedding, read_labels(labels, rule), out, name=name)
    precision = "none" if found.precision is None else f"{found.precision:.2f}"
    sys.stdout.write(
        f"{out}: {found.rows} pictures, {found.positive} of them {name}; by cross-validation "
        f"accuracy {found.accuracy:.2f}, area under ROC {found.area:.3f}, precision {precision}, "
        f"recall {found.recall:.2f}\n"
    )


def calibrate_detector(
    labels: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    images: Path,
    tree: Path,
    detector: str = "",
    reference: str = "",
    precision: float = 0.0,
    conf: float = 0.9,
    device: str = "cpu",
) -> None:
    """Find the score at which a detector is as precise as 0.9 was, for policies to use.

    Args:
        labels: COCO JSON with boxes of people.
        images: folder of its pictures.
        tree: folder of the curation the calibration is kept in.
        detector: to calibrate, as in score.
        reference: a detector that scores by softmax: its precision at --conf is the aim.
        precision: the aim itself, 0 … 1, instead of a reference.
        conf: what policies call it (person_conf).
        device: as in score.
    """
    from vitruvian.curate.calibrate import calibrate
    from vitruvian.curate.people import Person
    from vitruvian.curate.tree import Tree
    from vitruvian.predict.detect import DEFAULT_DETECTOR

    stage = Person(detector=detector or DEFAULT_DETECTOR, device=device)
    other = Person(detector=reference, device=device) if reference else None
    if (other is None) == (precision <= 0):
        raise InputError("give either --reference DETECTOR or --precision 0.95")
    found = calibrate(
        Tree(tree), stage, labels, images, conf=conf, precision=precision or None, reference=other
    )
    sys.stdout.write(
        f"score {found.score:.3f} gives precision {found.precision:.3f} (aim {found.aim:.3f}) and "
        f"recall {found.recall:.3f} on {found.people} people in {found.pictures} pictures\n"
    )


def estimate(
    *,
    pictures: float = 1e9,
    tree: Path | None = None,
    cores: int = 64,
    core_price: float = 0.04,
    terabyte_price: float = 20.0,
    kilobytes: float = 600.0,
    keep: float = 0.3,
) -> None:
    """Say what a curation costs: core-hours, hours, storage and money per stage.

    Rates are measured: from the records of a curation, or on made pictures here and now.

    Args:
        pictures: how many.
        tree: a curation whose records hold rates of this machine; without it the stages that need
            no weights are measured for some seconds.
        cores: at work at the same time.
        core_price: of a core for an hour, in any currency.
        terabyte_price: of a terabyte for a month.
        kilobytes: of a picture.
        keep: share that is kept.
    """
    from vitruvian.curate.estimate import Prices, estimate_text, measured_here, measured_in
    from vitruvian.curate.tree import Tree

    rates = measured_here() if tree is None else measured_in(Tree(tree))
    prices = Prices(
        cores=cores, core_hour=core_price, terabyte_month=terabyte_price, kilobytes=kilobytes,
        keep=keep,
    )  # fmt: skip
    sys.stdout.write(estimate_text(rates, pictures, prices))


def find_view(tree: Path, name: str) -> Path:
    """Return the folder of a view: the newest, or the one whose name begins so."""
    found = sorted((tree / "views").glob(f"{name}*/view.json"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise InputError(
            f"no view {name or 'at all'} in {tree}: make one with  vitruvian curate select {tree}"
        )
    if name and len(found) > 1:
        raise InputError(f"{len(found)} views begin with {name}: give more of the name")
    return found[-1].parent
