# SPDX-License-Identifier: Apache-2.0
"""Maps: body parts, depth and surface normals."""

from typing import Literal

from vitruvian.data.augment import DenseAugment
from vitruvian.errors import InputError
from vitruvian.geometry import Size
from vitruvian.model.sizes import ViTConfig
from vitruvian.recipes.finetune import (
    BEST,
    assembled,
    first_loop,
    is_first,
    is_second,
    named,
    own_run,
    resized,
    second_run,
    words,
)
from vitruvian.recipes.published import steps_for
from vitruvian.recipes.run import Run
from vitruvian.tasks import Depth, Normals, Parts, Task
from vitruvian.train.schedule import Schedule, dense_schedule
from vitruvian.vocabulary import Vocabulary

EPOCHS = 200
LIP_EPOCHS = 400
BATCH = 16
"""2 on each of 8 GPUs: the launch scripts of depth and normals [1]; of parts none are published."""
SECOND_BATCH = {
    "parts": {"sapiens2-0.4b": 96, "sapiens2-0.8b": 40, "sapiens2-1b": 64, "sapiens2-5b": 16},
    "normals": {"sapiens2-0.4b": 160, "sapiens2-0.8b": 96, "sapiens2-1b": 56, "sapiens2-5b": 24},
}
"""Batch per GPU of the launch scripts [2] on 8 GPUs [V]."""
LIFTED = Depth(floor=0.03, lift=True)
"""Depth whose loss can be learned everywhere [V]; see ``depth``."""
Framing = Literal["person", "picture"]


def parts(
    size: str | ViTConfig = "tiny",
    *,
    vocabulary: str | Vocabulary = "parts28",
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
    framing: Framing | None = None,
    paper: bool = False,
) -> Run:
    """Return a finetuning for body parts.

    First generation [1, code]: whole pictures at 1024×768, AdamW 5e-4, layer decay 0.85, 200 epochs
    with 400 steps of warm-up and a line per epoch, class-weighted cross-entropy; for the 20 parts
    of LIP 400 epochs along a cosine. Second [2]: plus Dice. Our own sizes [V]: people's windows of
    256×192, 100 epochs, cosine.

    Args:
        size: a key of ``SIZES``, or the backbone of initial weights.
        vocabulary: the classes; a name, a .toml file, or a ``Vocabulary``.
        samples: in the training set, from which epochs become steps.
        steps: of the training, instead of epochs; the curve keeps its shape.
        epochs: instead of the published number.
        batch: samples per step; the rate is not scaled with it (as published).
        input_size: (height, width).
        framing: learn on people's windows ("person") or whole pictures ("picture"); published sizes
            whole pictures, our own people's windows, as prediction does.
        paper: train the last epoch at rate 0, as published.
    """
    classes = words(vocabulary)
    if classes.kind != "parts":
        raise InputError(f"{classes.name} names points · wanted a vocabulary of parts")
    task = Parts(vocabulary=classes, dice=1.0 if is_second(named(size)) else 0.0)
    lip = classes.name == "lip20"
    window = DenseAugment.sapiens_lip() if lip else DenseAugment.sapiens_parts(None)
    return _dense(
        "parts", size, task, first=window, second=DenseAugment.sapiens2_parts(None),
        samples=samples, steps=steps, epochs=epochs, batch=batch, input_size=input_size,
        framing=framing, paper=paper, lip=lip,
    )  # fmt: skip


def depth(
    size: str | ViTConfig = "tiny",
    *,
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
    framing: Framing | None = None,
    paper: bool = False,
) -> Run:
    """Return a finetuning for relative depth; arguments and numbers as of ``parts``.

    Windows turn by up to 60°, the loss is the scale-invariant logarithmic error [1, code]. As
    published it has no slope below its floor of 10⁻⁶, where a pixel that falls in stays and adds
    log² of the floor; here the floor is 3 % of the person's range and lets the slope through (one
    batch is then learned by heart, and is not otherwise). ``paper=True`` has the published loss.
    The second generation published none.

    Raises:
        InputError: a size of the second generation.
    """
    return _dense(
        "depth", size, Depth() if paper else LIFTED,
        first=DenseAugment.sapiens_depth(None), second=None,
        samples=samples, steps=steps, epochs=epochs, batch=batch, input_size=input_size,
        framing=framing, paper=paper,
    )  # fmt: skip


def normals(
    size: str | ViTConfig = "tiny",
    *,
    samples: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    input_size: Size | None = None,
    framing: Framing | None = None,
    rotation: float = 0.5,
    paper: bool = False,
) -> Run:
    """Return a finetuning for surface normals; arguments and numbers as of ``parts``.

    The loss is 1 - cosine plus the L1 distance [1, code]; in the second generation ten times the
    first, and ten times the squared error of neighbours' differences [2].

    Args:
        size: as in ``parts``.
        samples: as in ``parts``.
        steps: as in ``parts``.
        epochs: as in ``parts``.
        batch: as in ``parts``.
        input_size: as in ``parts``.
        framing: as in ``parts``.
        rotation: chance of turning a window of the first generation, vectors included, by up to
            60°, as for depth.
        paper: do not turn, and train the last epoch at rate 0, as published.
    """
    second = is_second(named(size))
    task = Normals(cosine=10.0, gradient=10.0) if second else Normals()
    window = DenseAugment.sapiens_normals(None, rotation=0.0 if paper else rotation)
    return _dense(
        "normals", size, task, first=window, second=DenseAugment.sapiens2_normals(),
        samples=samples, steps=steps, epochs=epochs, batch=batch, input_size=input_size,
        framing=framing, paper=paper,
    )  # fmt: skip


def _dense(
    recipe: str,
    size: str | ViTConfig,
    task: Task,
    *,
    first: DenseAugment,
    second: DenseAugment | None,
    samples: int | None,
    steps: int | None,
    epochs: int | None,
    batch: int | None,
    input_size: Size | None,
    framing: Framing | None,
    paper: bool,
    lip: bool = False,
) -> Run:
    name = named(size)
    published = is_first(name) or is_second(name)
    if published and framing == "person":
        raise InputError(f"{recipe} of {name} was published for whole pictures · framing='picture'")
    if is_first(name):
        many = batch or BATCH
        window = resized(first, input_size)
        count = epochs or (LIP_EPOCHS if lip else EPOCHS)
        if steps is None:
            epoch = steps_for(1, samples=samples, batch=many, steps=None)
        else:
            count, epoch = min(count, steps), max(1, steps // min(count, steps))
        total = epoch * count if steps is None else steps
        if lip:
            warmup = min(400, total // 10)
            schedule = Schedule(steps=total, shape="cosine", warmup=warmup, every=epoch)
        else:
            schedule = dense_schedule(epoch=epoch, epochs=count, paper=paper)
        loop = first_loop(schedule, lr=5e-4, layer_decay=0.85, best=BEST[recipe])
        return assembled(recipe, size, [(task, 1.0)], window=window, batch=many, loop=loop)
    if is_second(name):
        if second is None:
            raise InputError(f"{recipe} of {name}: the second generation published none")
        many = batch or SECOND_BATCH[recipe][name]
        return second_run(
            recipe, size, [(task, 1.0)], window=resized(second, input_size), steps=steps,
            epochs=epochs, samples=samples, batch=many, paper=paper,
        )  # fmt: skip
    return own_run(
        recipe, size, [(task, 1.0)], samples=samples, steps=steps, epochs=epochs, batch=batch,
        input_size=input_size, framing=framing or "person",
    )  # fmt: skip
