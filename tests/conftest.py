# SPDX-License-Identifier: Apache-2.0
"""What every test gets: fixed seeds, no network beyond this machine, few threads, golden files."""

import difflib
import json
import os
import random
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Tiny tensors are fastest on one thread, and sums then never depend on the machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# Neither the caches nor the credentials of whoever runs the tests may change their outcome.
_HUB = tempfile.TemporaryDirectory(prefix="vitruvian-test-hub-", ignore_cleanup_errors=True)
os.environ["HF_HOME"] = _HUB.name
os.environ["VITRUVIAN_WEIGHTS"] = str(Path(_HUB.name) / "weights")
for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
    os.environ.pop(variable, None)
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # for servers in tests

settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=1000, deadline=None)
settings.load_profile("ci")  # --hypothesis-profile=deep replaces it

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the JSON files in tests/golden that differ, and print what changed",
    )


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine; servers on the loopback address stay usable."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family != getattr(socket, "AF_UNIX", None) and host not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"a test tried to reach {host!r}: tests run without a network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def golden(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Any], None]:
    """Compare a JSON value with the one kept in tests/golden; see ``--update-golden``."""

    def compare(name: str, value: Any) -> None:
        path = GOLDEN / name
        new = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if new == old:
            return
        diff = "".join(
            difflib.unified_diff(
                old.splitlines(keepends=True),
                new.splitlines(keepends=True),
                f"golden/{name}",
                "now",
            )
        )
        if not request.config.getoption("--update-golden"):
            pytest.fail(
                f"golden/{name} differs. If the change is meant, run  "
                f"pytest --update-golden {request.node.nodeid}  and commit it.\n{diff}",
                pytrace=False,
            )
        path.write_text(new, encoding="utf-8")
        with capsys.disabled():
            print(f"\nupdated golden/{name}\n{diff}")

    return compare
