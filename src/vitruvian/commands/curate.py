# SPDX-License-Identifier: Apache-2.0
"""``vitruvian curate``: pack, score, select, report, export; every step resumes."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vitruvian.commands.curate_report import find_view
from vitruvian.commands.progress import progress_bar
from vitruvian.errors import InputError, VitruvianError, unknown_name

if TYPE_CHECKING:
    from vitruvian.curate.engines import Engine
    from vitruvian.curate.stage import Stage
    from vitruvian.curate.tree import ShardRef, Tree

_CHEAP = ("integrity", "geometry", "hashes", "blur")
_ALL = (*_CHEAP, "text", "person", "embedding", "zero_shot", "probe")


def pack(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    batch: str = "main",
    licence: str = "",
    shard_pictures: int = 4096,
    shard_megabytes: int = 2048,
    part: str = "0/1",
) -> int:
    """Pack pictures from anywhere into raw shards: tars with an index, files as they were found.

    Interrupt it at any time: the same command goes on after the last finished shard.

    Args:
        source: a folder of pictures, tars, what img2dataset downloaded (tars with parquet), or a
            .parquet with a column 'path'.
        out: folder of the curation; several sources may share it, each with its own --batch.
        batch: name of what comes from this source.
        licence: of pictures that do not bring their own.
        shard_pictures: most pictures in a shard.
        shard_megabytes: most megabytes in a shard.
        part: i/n, for batch schedulers: the i-th of n shares, counted from 0.
    """
    from vitruvian.curate import pack as packing
    from vitruvian.curate.tree import Tree, naming_full_disk, parse_part

    start = time.perf_counter()
    with progress_bar(None, "pictures") as advance, naming_full_disk(out):
        report = packing.pack(
            source, Tree(out), batch=batch, licence=licence, max_pictures=shard_pictures,
            max_bytes=shard_megabytes << 20, part=parse_part(part), progress=advance,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    text = f"{report.pictures} pictures in {report.shards} new shards of {out}/raw/{batch}"
    text += f" (read as {report.kind}, {seconds:.1f} s"
    text += f"; {report.before} shards were there)\n" if report.before else ")\n"
    sys.stdout.write(text)
    for status, count in report.failed.items():
        sys.stdout.write(f"  {count} addresses were not downloaded: {status}\n")
    for fault, count in report.faults.items():
        sys.stderr.write(f"{count} files are not whole: {fault}\n")
    return 1 if report.faults else 0


def score(
    tree: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    stages: Annotated[tuple[str, ...], tyro.conf.arg(metavar="STAGE …")] = _CHEAP,
    detector: str = "",
    embedder: str = "",
    probes: tuple[Path, ...] = (),
    text_side: int = 640,
    cascade: bool = False,
    device: str = "cpu",
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    part: str = "0/1",
    retry: bool = False,
    patience: float = 120.0,
) -> int:
    """Score pictures: one record per stage and shard, written whole or not at all.

    Run it as often as needed: it does what is missing. A picture that crashes or hangs a process
    costs one row. Exit code 1: done, but shards could not be read.

    Args:
        tree: folder of the curation.
        stages: what to ask: integrity, geometry, hashes, blur, text, person, embedding, zero_shot,
            probe.
        detector: of the stage person: a folder, a fetched hf:org/name, a .safetensors file that
            train people made, or auto for the one inside the package; the default is
            hf:PekingU/rtdetr_v2_r18vd.
        embedder: of embedding, zero_shot and probe: a folder, or a fetched hf:org/name; the default
            is hf:google/siglip2-base-patch16-224.
        probes: heads that fit-probe wrote, for the stage probe.
        text_side: longer side in pixels at which text is looked for; more finds smaller text.
        cascade: do not show text, person and embedding pictures with a side below 300 pixels, nor
            person and embedding those with more than 30 % of readable text.
        device: cpu, cuda or cuda:1, for detector and embedder.
        workers: processes; 0 takes one per core, with a GPU at most 8.
        engine: local processes, or a Ray cluster whose machines all see the folder.
        part: i/n, for batch schedulers: the i-th of n shares of the shards, counted from 0.
        retry: take shards with transient failures again.
        patience: seconds over one step after which a process counts as hung.
    """
    from vitruvian.curate import plan
    from vitruvian.curate.pool import Result
    from vitruvian.curate.stage import fingerprint
    from vitruvian.curate.tree import Tree, parse_part

    place, share = Tree(tree), parse_part(part)
    shards = place.shards(share)
    ready: list[Stage] = []
    later: VitruvianError | None = None  # what is missing for one stage stops no other
    for name in stages:
        try:
            made = _stages(name, place, detector, embedder, probes, text_side, device, cascade)
            for stage in plan.in_order(made):
                fingerprint(stage)
            ready += made
        except VitruvianError as error:
            later = later or error
    tally = plan.Tally()
    start = time.perf_counter()
    wanted = plan.in_order(ready)
    tasks = plan.todo(place, wanted, shards, retry=retry)
    runner = _engine(engine, workers, patience, device)
    with progress_bar(_rows([task.shard for task in tasks]), "pictures") as advance:
        for report, tally in plan.run(wanted, tasks, runner):
            advance(tally.rows + (0 if isinstance(report, Result) else report.rows))
    seconds = time.perf_counter() - start
    if tasks:
        sys.stdout.write(
            f"{tally.rows} pictures in {tally.shards} of {len(shards)} shards scored in "
            f"{seconds:.1f} s\n"
        )
    elif wanted:
        sys.stdout.write(f"nothing left to score in {len(shards)} shards\n")
    if tally.deaths:
        sys.stdout.write(f"  {tally.deaths} processes died, {tally.poison} pictures given up\n")
    for text in tally.failed:
        sys.stderr.write(f"left out: {text}\n")
    if tally.fatal:
        raise InputError(tally.fatal)
    if later is not None:
        raise later
    return 1 if tally.failed else 0


def _stages(
    name: str,
    tree: "Tree",
    detector: str,
    embedder: str,
    probes: Sequence[Path],
    text_side: int,
    device: str,
    cascade: bool,
) -> "list[Stage]":
    """Make the stages behind a word of --stages."""
    from vitruvian.curate import basics

    cheap = {
        "integrity": basics.Integrity, "geometry": basics.Geometry, "hashes": basics.Hashes,
        "blur": basics.Blur,
    }  # fmt: skip
    if name in cheap:
        return [cheap[name]()]
    from vitruvian.curate.cascade import Gated
    from vitruvian.curate.text import Text

    text: Stage = Text(side=text_side)
    text = Gated(inner=text) if cascade else text
    if name == "text":
        return [text]
    if name == "person":
        from vitruvian.curate.people import Person
        from vitruvian.predict.detect import DEFAULT_DETECTOR

        person = Person(detector=detector or DEFAULT_DETECTOR, device=device)
        return [Gated(inner=person, upstream=text) if cascade else person]
    if name not in _ALL:
        raise unknown_name("stage", name, _ALL)
    from vitruvian.curate.embeddings import DEFAULT_EMBEDDER, Embedding, Probe, ZeroShot, bank_for

    plain = Embedding(model=embedder or DEFAULT_EMBEDDER, device=device)
    embedding = Gated(inner=plain, upstream=text) if cascade else plain
    if name == "embedding":
        return [embedding]
    if name == "zero_shot":
        return [ZeroShot(bank=str(bank_for(tree.root / "banks", plain)), upstream=embedding)]
    if not probes:
        raise InputError("the stage probe needs --probes HEAD.safetensors: make one by fit-probe")
    return [Probe(head=str(head), upstream=embedding) for head in probes]


def _engine(engine: str, workers: int, patience: float, device: str) -> "Engine":
    from vitruvian.curate.engines import Local, Ray

    accelerated = device != "cpu"
    count = workers or min(os.cpu_count() or 1, 8 if accelerated else 1 << 16)
    if engine == "ray":
        return Ray(count, patience=patience, accelerators=1 if accelerated else 0)
    return Local(count, patience=patience)


def _rows(shards: "Sequence[ShardRef]") -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(shard.index).num_rows for shard in shards)


def select(
    tree: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    policy: str = "sapiens",
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE …")] = (),
    without: tuple[str, ...] = (),
    use: tuple[str, ...] = (),
) -> None:
    """Say which pictures a policy keeps, and where the others went; no pixel is read.

    Args:
        tree: folder of the curation.
        policy: sapiens, sapiens2, or a .toml of your own.
        set: other values of the policy, such as person_side=256.
        without: rules to leave out.
        use: STAGE=FINGERPRINT where a stage was run with several settings; a beginning will do.
    """
    from vitruvian.curate import select as selecting
    from vitruvian.curate.policy import load_policy
    from vitruvian.curate.report import funnel_text
    from vitruvian.curate.tree import Tree, naming_full_disk

    wanted = load_policy(policy).changed(_pairs(set, "--set"), without)
    place = Tree(tree)
    with progress_bar(len(place.shards()), "shards") as advance, naming_full_disk(tree):
        view = selecting.select(
            place, wanted, use=_pairs(use, "--use"), progress=lambda done, _: advance(done)
        )
    sys.stdout.write(funnel_text(view))
    sys.stdout.write(f"view {view.digest}: go on with  vitruvian curate report {tree} and export\n")


def _pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{flag} {text}: wanted NAME=VALUE")
        found[name] = value
    return found


def export(
    tree: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    view: str = "",
    seed: int = 0,
    shard_pictures: int = 4096,
    max_side: int = 0,
    prefix: str = "train",
    workers: int = 1,
) -> None:
    """Write what a view keeps as training shards, shuffled over everything.

    Interrupt it at any time: the same command writes what is missing. Files are kept as they were
    found; only other formats than JPEG, PNG and WebP, and pictures above --max-side, are written
    anew.

    Args:
        tree: folder of the curation.
        out: folder for the shards.
        view: which; the newest by default.
        seed: of the order.
        shard_pictures: pictures in a shard.
        max_side: longer side in pixels above which pictures are made smaller; 0 for never.
        prefix: beginning of the shards' names.
        workers: processes.
    """
    from vitruvian.curate.export import ExportSettings
    from vitruvian.curate.export import export as write
    from vitruvian.curate.tree import Tree, naming_full_disk

    settings = ExportSettings(
        view=find_view(tree, view).name, seed=seed, per_shard=shard_pictures, max_side=max_side
    )
    with progress_bar(None, "shards") as advance, naming_full_disk(out):
        found = write(
            Tree(tree), out, settings, prefix=prefix, workers=workers,
            progress=lambda done, _: advance(done),
        )  # fmt: skip
    sys.stdout.write(
        f"{found.pictures} pictures in {found.shards} shards of {out}, {found.new} of them new\n"
    )
    for licence, count in sorted(found.licences.items()):
        sys.stdout.write(f"  {count} {licence or 'without a stated licence'}\n")
