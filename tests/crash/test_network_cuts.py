"""One of several worker processes cannot reach the server for longer than its lease, and then can again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crew import holds
from hiring import Hire, hiring
from hosts import eventually, opened
from nursery import Nursery
from proxy import Proxy, proxy_to
from servers import Server, new_schema, pick
from test_server_restarts import cut_off
from test_workers import check_claims, lines, traces

from continuum import Engine

LEASE = 2.0
SAFETY = 60  # seconds after which something hangs


@pytest.fixture
def schema_name(postgres_server: Server) -> Iterator[str]:
    """A schema of the server that is ours."""
    with new_schema(postgres_server.url) as name:
        yield name


@pytest.fixture
def near(postgres_server: Server, schema_name: str) -> str:
    """The store, as those see it who are not cut off."""
    return pick(postgres_server.url, schema_name)


@pytest.fixture
def client(near: str) -> Iterator[Engine]:
    """A client in this process."""
    with opened(near, work=False) as engine:
        yield engine


@pytest.fixture
def proxy(postgres_server: Server) -> Iterator[Proxy]:
    """The network of one worker."""
    with proxy_to(postgres_server.socket) as proxy:
        yield proxy


@pytest.fixture
def hire(born: Nursery) -> Iterator[Hire]:
    """Start a worker."""
    with hiring(born) as hire:
        yield hire


def fall_silent(proxy: Proxy, server: Server) -> None:
    """Nothing gets through any more, and nobody is told: neither the worker nor the server."""
    proxy.flowing.clear()


@pytest.mark.parametrize("cut", [fall_silent, cut_off])
def test_another_one_takes_over_the_late_commit_is_refused_and_after_the_cut_it_works_again(
    postgres_server: Server,
    schema_name: str,
    near: str,
    proxy: Proxy,
    hire: Hire,
    client: Engine,
    tmp_path: Path,
    cut: Callable[[Proxy, Server], None],
) -> None:
    effects, gate = str(tmp_path / "effects"), tmp_path / "gate"
    first = hire(pick(proxy.url, schema_name), LEASE)
    run = client.start(holds(effects, str(gate), "a"), id="a")
    eventually(lambda: lines(effects)["a holds"] == 1, SAFETY)
    others = [hire(near, LEASE) for _ in range(2)]
    cut(proxy, postgres_server)
    eventually(lambda: lines(effects)["a holds"] == 2, SAFETY)
    gate.touch()
    assert run.result(SAFETY) in {str(other.pid) for other in others}
    history, wrote = run.history(), of_run_a(near, first.pid)
    proxy.target = postgres_server.socket
    proxy.flowing.set()
    for other in others:
        other.kill()
        other.wait(SAFETY)
    again = client.start(holds(effects, str(gate), "b"), id="b")
    assert again.result(SAFETY) == str(first.pid)
    assert run.history() == history
    assert of_run_a(near, first.pid) == wrote
    assert lines(effects) == {"a begun": 1, "a holds": 2, "a ended": 1, "b begun": 1, "b holds": 1, "b ended": 1}
    check_claims(near)


def of_run_a(store: str, pid: int) -> list[list[str]]:
    """What that worker has written for the run."""
    return [trace for trace in traces(store)["wrote"] if trace[0] == b"a".hex() and trace[2] == str(pid)]
