# SPDX-License-Identifier: Apache-2.0
"""``vitruvian weights card``: weights as a small file, measured, with a model card."""

import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import tyro

Flag = tyro.conf.FlagCreatePairsOff[bool]


def card(
    weights: tyro.conf.Positional[str],
    /,
    *,
    out: Path,
    name: str = "default",
    trained: tuple[Path, ...] = (),
    average: str | None = None,
    share: float = 0.5,
    heldout: Path | None = None,
    photos: tuple[Path, ...] = (),
    finder: str = "auto",
    pictures: Path | None = None,
    device: str = "auto",
    ship: Flag = False,
) -> int:
    """Measure weights and write them in fp16 beside a model card in which every number is measured.

    For weights that learned from vitruvian synth people alone, from nothing or from those of the
    package: the card says so, and calls them Apache-2.0. They ask for mirrored and zoomed
    windows from then on. Writes OUT/NAME.safetensors, OUT/CARD.md and a sheet of failures. What the
    trainings cost and what they learned from is read from the folders they left. Interrupt it at
    any time: the same command goes on.

    Args:
        weights: trained by vitruvian train: a file, a name, or the folder of a training, finished
            or not (its best checkpoint, or else its last).
        out: folder for the file, the card and the evaluations.
        name: of the file.
        trained: folders of the trainings in their order, if the weights do not lie in that of the
            last one, or were copied in between.
        average: weights that led to these, such as default: write the mean of both.
        share: of those in the mean, between 0 and 1.
        heldout: shards of rendered people that no training saw.
        photos: COCO JSON files of labelled photographs.
        finder: detector to measure finding people with, as in vitruvian predict.
        pictures: folder for the sheet of failures; OUT if not given.
        device: auto, cpu, mps or cuda:N.
        ship: copy file and card into the package (of a checkout), in place of what is there.
    """
    from vitruvian.default import publish

    with telling() as progress:
        made = publish.publish(
            weights, out, name=name, trained=trained, average=average, share=share,
            heldout=heldout, photos=photos, finder=finder, device=device, pictures=pictures,
            progress=progress,
        )  # fmt: skip
    written = [made.weights, made.card, *([made.failures] if made.failures else [])]
    if ship:
        written += publish.ship(made)
    sys.stdout.write("".join(f"  {path}\n" for path in written))
    return 0


@contextlib.contextmanager
def telling() -> Generator[Callable[[str, int, int], None], None, None]:
    """Show what is measured on standard error; yield what is told."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks = dict[str, object]()

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)  # pyright: ignore

        yield tell
