# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.predict.device import pick_device, pick_dtype


def test_a_processor_computes_in_full_precision_unless_asked() -> None:
    place = pick_device("cpu")
    assert place == torch.device("cpu")
    assert pick_dtype("auto", place) == torch.float32
    assert pick_dtype("bf16", place) == torch.bfloat16


@pytest.mark.parametrize(("name", "said"), [("abacus", "unknown device"), ("cuda:97", "not avail")])
def test_what_is_not_there_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pick_device(name)
    with pytest.raises(UnknownNameError, match="fp16"):
        pick_dtype("fp61", torch.device("cpu"))
