# SPDX-License-Identifier: Apache-2.0
"""Makers of pictures of one colour, quick to import by other processes: tests of the writer."""

import os
import time
from pathlib import Path

import numpy as np

from vitruvian import vocabulary
from vitruvian.errors import InputError
from vitruvian.person import Person, Raster, Sample
from vitruvian.synth.recipe import Recipe, stream


def flat(job):
    """Pictures of one colour each, made at once: for tests of the writer alone."""
    for index in range(job.first, job.last):
        rng = stream(job.seed, index, "noise")
        image = np.full((16, 12, 3), rng.integers(256, size=3), np.uint8)
        parts = Raster(
            law="label", values=np.ones((16, 12), np.uint8), vocabulary=vocabulary.load("parts29")
        )
        person = Person(box=np.array([0.0, 0, 11, 15]), identity=1, annotations={"parts": parts})
        sample = Sample(image=image, people=(person,), name=f"flat-{index:06d}")
        yield sample, Recipe(seed=job.seed, index=index, settings=job.settings)


def dies_once(job):
    """The second shard's process ends without a word, the first time."""
    for number, picture in enumerate(flat(job)):
        mark = Path(job.path).parent / "died"
        if job.number == 1 and number == 1 and not mark.exists():
            mark.touch()
            os._exit(9)
        yield picture


def dies_always(job):
    for number, picture in enumerate(flat(job)):
        if job.number == 1 and number == 1:
            os._exit(9)
        yield picture


def raises(job):
    if job.number == 0:
        raise InputError("this shard cannot be made")
    yield from flat(job)


def disk_full(job):
    target = Path(job.path)
    target.with_name(f".{target.name}.abc").touch()  # what could not be closed
    raise OSError(28, "No space left on device")
    yield


def slow(job):
    for picture in flat(job):
        time.sleep(0.2)
        yield picture
