"""What all tests share: async tests (`pytestmark = pytest.mark.anyio`) run on asyncio and on trio.

``--rounds N`` says how often the programs of `tests/crash` are killed, ``--runs N`` how many runs are at work
meanwhile. A test that takes the fixture `where` or `open_engine` runs on every store: on LMDB, in memory, and on
PostgreSQL, where it has a schema of its own. The server is started by the tests, unless ``TEST_POSTGRES_URL`` names
another one.
"""

from __future__ import annotations

import compileall
import os
import secrets
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

import pytest
from hosts import OpenEngine, opened
from nursery import Nursery, nursery
from servers import URL_VARIABLE, Server, new_schema, pick, serving

import continuum

LOOPS = ["asyncio", "trio"]
ROUNDS = 10
RUNS = 400


def pytest_configure() -> None:
    """Compile the package once for the processes that tests start, and have these hear Ctrl-C."""
    compileall.compile_dir(os.path.dirname(continuum.__file__), quiet=2)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # and the programs that tests start would have it so


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this test suite."""
    parser.addoption("--rounds", type=int, default=ROUNDS, help="how often programs are killed in the crash tests")
    parser.addoption("--runs", type=int, default=RUNS, help="how many runs there are where workers are killed")


@pytest.fixture(params=LOOPS)
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


@pytest.fixture(scope="session")
def born() -> Iterator[Nursery]:
    """Where processes come from that need not be started for the sake of it."""
    with nursery() as one:
        yield one


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL of our own, which may be stopped and started again."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL in which schemas may be made."""
    url = os.environ.get(URL_VARIABLE)
    return url if url is not None else request.getfixturevalue("postgres_server").url


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    """The URL of a store in a schema that nobody else uses."""
    with new_schema(postgres_url) as name:
        yield pick(postgres_url, name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The stores on which a test runs."""
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "where" in metafunc.fixturenames and not any(names == "where" or "where" in [*names] for names in given):
        metafunc.parametrize("where", ["lmdb", "memory", "postgresql"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of all stores runs on both loops on LMDB, and on one of the two on each other store.

    On PostgreSQL, which takes its time, that holds for all tests.
    """
    on_disk = {_function(item) for item in items if _given(item).get("where") == "lmdb"}
    items[:] = [item for item in items if _on_its_loop(item, on_disk)]


def _given(item: pytest.Item) -> dict[str, object]:
    return dict(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _on_its_loop(item: pytest.Item, on_disk: set[str]) -> bool:
    given = _given(item)
    loop, where = given.get("open_engine", given.get("anyio_backend")), given.get("where")
    if loop is None or not (where == "postgresql" or (where == "memory" and _function(item) in on_disk)):
        return True
    name = item.nodeid.replace(str(loop), "")
    return loop == LOOPS[crc32(name.encode()) % len(LOOPS)]


@pytest.fixture
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that can be opened again, on disk, in memory, and on a server."""
    match request.param:
        case "lmdb":
            return str(tmp_path / "store")
        case "memory":
            return f"memory://{secrets.token_hex(8)}"
        case _:
            url: str = request.getfixturevalue("schema")
            return url


@pytest.fixture(params=LOOPS)
def open_engine(request: pytest.FixtureRequest, where: str, monkeypatch: pytest.MonkeyPatch) -> OpenEngine:
    """Open a blocking engine on the store `where`; its own loop is one of asyncio or trio."""
    monkeypatch.setattr("continuum.blocking.BACKEND", request.param)
    return partial(opened, where)
