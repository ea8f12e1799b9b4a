# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vitruvian.train.log import read_lines

HELPER = Path(__file__).with_name("spread_training.py")


def processes(folder: Path, mode: str, kind: str, world: int) -> list[dict[str, float]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world)}
    started = [
        subprocess.Popen(
            [sys.executable, str(HELPER), str(folder), mode, kind],
            env=os.environ
            | {"OMP_NUM_THREADS": "1"}
            | (shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world, "\n".join(errors)
    return read_lines(folder / "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["masked", "tasks"])
def test_one_process_and_two_agree(tmp_path: Path, kind: str) -> None:
    """Masks, mixed labels and losses over valid pixels are the same however they are shared."""
    alone = processes(tmp_path / "alone", "single", kind, 1)
    for mode in ("ddp", "fsdp"):
        two = processes(tmp_path / mode, mode, kind, 2)
        assert len(two) == len(alone) == 5
        for a, b in zip(alone, two, strict=True):
            names = [name for name in a if "/" in name or name in ("loss", "pixels")]
            assert len(names) >= 2
            for name in names:
                assert b[name] == pytest.approx(a[name], rel=1e-5), (mode, name)
