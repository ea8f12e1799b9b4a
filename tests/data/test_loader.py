# SPDX-License-Identifier: Apache-2.0
"""Order and pixels do not depend on ranks, workers or restarts; a bad sample is named."""

import numpy as np
import pytest
import torch
from data_samples import plain_sample
from preparers import Counting, fussy, never, noisy

from vitruvian.data.loader import Loader, LoaderState
from vitruvian.data.reader import Shards
from vitruvian.data.shards import write_shard
from vitruvian.errors import InputError

LENGTH, BATCH = 21, 8


def take(loader, count):
    """Return the next batches."""
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == count:
            return found
    return found


def gathered(world, workers, count, state=None):
    """Return (index, pixels) of whole batches, put together from all ranks."""
    loaders = [
        Loader(
            Counting(LENGTH), noisy, batch=BATCH, seed=5, workers=workers, rank=rank, world=world,
            state=state,
        )
        for rank in range(world)
    ]  # fmt: skip
    ranks = [take(loader, count) for loader in loaders]
    assert len({loader.state for loader in loaders}) == 1
    index = torch.cat([torch.cat([r[n]["index"] for r in ranks]) for n in range(count)])
    image = torch.cat([torch.cat([r[n]["image"] for r in ranks]) for n in range(count)])
    return index, image, loaders[0].state


@pytest.fixture(scope="module")
def reference():
    return gathered(1, 0, 6)


def same(found, wanted):
    return all(torch.equal(a, b) for a, b in zip(found[:2], wanted[:2], strict=True))


@pytest.mark.parametrize(("world", "workers"), [(1, 2), (2, 0), (4, 0), (8, 0), (2, 2)])
def test_any_number_of_processes(reference, world, workers):
    found = gathered(world, workers, 6)
    assert same(found, reference)
    assert found[2] == reference[2]


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("workers", [0, 2, 8])
def test_every_number_of_processes(reference, world, workers):
    assert same(gathered(world, workers, 6), reference)


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_a_restart_with_other_numbers(reference, after):
    first = gathered(4, 0, after)
    assert first[2] == LoaderState(
        seed=5, epoch=after * BATCH // LENGTH, position=after * BATCH % LENGTH
    )
    state = LoaderState(**first[2].to_dict())
    second = gathered(2, 0, 6 - after, state=state)
    for part in range(2):
        assert torch.equal(torch.cat([first[part], second[part]]), reference[part])


def test_each_sample_once_per_epoch(reference):
    index = reference[0].numpy()
    for epoch in range(2):
        assert sorted(index[epoch * LENGTH : (epoch + 1) * LENGTH]) == list(range(LENGTH))
    assert (index[:LENGTH] != index[LENGTH : 2 * LENGTH]).any()


def test_the_same_sample_differs_between_epochs(reference):
    index, image = reference[0].numpy(), reference[1].numpy()
    first, second = (np.flatnonzero(index == 3)[n] for n in (0, 1))
    assert (image[first] != image[second]).any()


def test_iterating_again_goes_on(reference):
    loader = Loader(Counting(LENGTH), noisy, batch=BATCH, seed=5)
    found = take(loader, 2) + take(loader, 4)
    assert torch.equal(torch.cat([batch["index"] for batch in found]), reference[0])
    assert found[0]["image"].dtype == torch.uint8
    assert found[0]["image"].shape == (BATCH, 4, 4, 3)


def test_the_randomness_of_others_is_left_alone():
    before = torch.get_rng_state()
    take(Loader(Counting(LENGTH), noisy, batch=BATCH), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_pass_in_the_order_of_the_source():
    loaders = [
        Loader(Counting(LENGTH), noisy, batch=BATCH, epochs=1, shuffle=False, rank=r, world=2)
        for r in range(2)
    ]
    assert len(loaders[0]) == 3
    found = [[b["index"].tolist() for b in loader] for loader in loaders]
    assert found == [[[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]],
                     [[4, 5, 6, 7], [12, 13, 14, 15], [20]]]  # fmt: skip
    assert loaders[0].state == LoaderState(epoch=1, position=0)
    assert not list(loaders[0])
    assert len(loaders[0]) == 0


def test_a_set_smaller_than_a_batch():
    loader = Loader(Counting(3), noisy, batch=7)
    (batch,) = take(loader, 1)
    assert sorted(batch["index"][:3].tolist()) == [0, 1, 2]
    assert loader.state == LoaderState(epoch=2, position=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_is_one_clear_error(workers):
    loader = Loader(Counting(9, bad=[4]), noisy, batch=3, workers=workers)
    with pytest.raises(InputError, match=r"^number 4: broken$"):
        take(loader, 3)


def test_a_bad_member_names_shard_and_key(tmp_path):
    path = write_shard(tmp_path / "s.tar", [plain_sample(n, f"k{n}") for n in range(3)])
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    data[at + 40 : at + 60] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"s\.tar, k0: .* is (corrupt|truncated)"):
        take(Loader(Shards(tmp_path), fussy_names, batch=3), 1)


def fussy_names(sample, rng):
    return {"image": sample.image}


def test_bad_samples_can_be_replaced():
    loaders = [
        Loader(Counting(9, bad=[4, 5]), noisy, batch=9, on_bad="skip", rank=r, world=w)
        for r, w in ((0, 1), (0, 3), (1, 3), (2, 3))
    ]
    (whole,), *shares = [take(loader, 1) for loader in loaders]
    assert torch.equal(whole["image"], torch.cat([share[0]["image"] for share in shares]))
    assert not {4, 5} & set(whole["index"].tolist())
    spills = loaders[0].spills
    assert spills.bad_count >= 2
    assert spills.bad == {"number 4": "number 4: broken", "number 5": "number 5: broken"}


def test_refused_samples_are_replaced():
    loader = Loader(Counting(40), fussy, batch=40)
    (batch,) = take(loader, 1)
    assert not (batch["index"] % 2).any()
    assert loader.spills.refused_count >= 20
    assert not loader.spills.bad
    with pytest.raises(InputError, match=r"32 refused by the augmentation.*vitruvian data check"):
        take(Loader(Counting(40), never, batch=2), 1)
    with pytest.raises(InputError, match="32 unreadable"):
        take(Loader(Counting(3, bad=range(3)), noisy, batch=1, on_bad="skip"), 1)


def test_what_a_loader_refuses():
    with pytest.raises(InputError, match="source is empty"):
        Loader(Counting(0), noisy, batch=1)
    with pytest.raises(InputError, match="multiple of the ranks"):
        Loader(Counting(3), noisy, batch=3, world=2)
    with pytest.raises(InputError, match="belongs to another set"):
        Loader(Counting(3), noisy, batch=3, state=LoaderState(position=3))
    with pytest.raises(InputError, match="never ends"):
        len(Loader(Counting(3), noisy, batch=3))
    with pytest.raises(InputError, match="not lambdas"):
        take(Loader(Counting(3), lambda sample, rng: {}, batch=3, workers=1), 1)
