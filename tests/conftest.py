"""What all tests share: async tests (`pytestmark = pytest.mark.anyio`) run on asyncio and on trio.

``--rounds N`` says how often the programs of `tests/crash` are killed, ``--runs N`` how many runs are at work
meanwhile.
"""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path

import pytest
from hosts import OpenEngine, opened

ROUNDS = 10
RUNS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this test suite."""
    parser.addoption("--rounds", type=int, default=ROUNDS, help="how often programs are killed in the crash tests")
    parser.addoption("--runs", type=int, default=RUNS, help="how many runs there are where workers are killed")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The loop that an async test runs on."""
    backend: str = request.param
    return backend


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a program is killed."""
    count: int = request.config.getoption("--rounds")
    return count


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> int:
    """How many runs there are where workers are killed."""
    count: int = request.config.getoption("--runs")
    return count


@pytest.fixture(params=["lmdb", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that can be opened again, on disk and in memory."""
    return str(tmp_path / "store") if request.param == "lmdb" else f"memory://{secrets.token_hex(8)}"


@pytest.fixture(params=["asyncio", "trio"])
def open_engine(request: pytest.FixtureRequest, where: str, monkeypatch: pytest.MonkeyPatch) -> OpenEngine:
    """Open a blocking engine on the store `where`; its own loop is one of asyncio or trio."""
    monkeypatch.setattr("continuum.blocking.BACKEND", request.param)
    return partial(opened, where)
