"""The PostgreSQL and the RabbitMQ of a measurement: private, durable, and with processes whose CPU can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pika
import psycopg2

from tests.support.postgres_server import DRIVER, LocalPostgres, find_binaries, libpq_url, maintenance, with_database
from tests.support.rabbitmq_server import LocalRabbit, with_vhost

STATISTICS = "pg_stat_statements"
DATABASE_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "log_min_messages": "error"}
DEAREST = r"""
SELECT left(regexp_replace(query, '\s+', ' ', 'g'), 160), calls, rows, round(total_exec_time)::int,
       round(100 * total_exec_time / sum(total_exec_time) OVER ())::int
FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = current_database() ORDER BY total_exec_time DESC LIMIT 12"""


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers. Addresses of databases are as libpq wants them."""

    database: LocalPostgres
    broker: LocalRabbit
    _vhosts: set[str] = field(default_factory=set)

    @property
    def database_url(self) -> str:
        """The maintenance database."""
        return libpq_url(self.database.url)

    def fresh_database(self, name: str) -> str:
        """An empty database of this name, an older one dropped, and its address."""
        with maintenance(self.database_url) as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
        return with_database(self.database_url, name)

    def checkpoint(self) -> None:
        """Write out what earlier drives left, so that no series pays for another's pages."""
        with maintenance(self.database_url) as cursor:
            cursor.execute("CHECKPOINT")

    def execute(self, url: str, statement: str) -> None:
        """Run a statement, outside any transaction."""
        with maintenance(url) as cursor:
            cursor.execute(statement)

    def fetch_all(self, url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        connection = psycopg2.connect(url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def fetch_count(self, url: str, statement: str) -> int:
        """The single number that a query gives."""
        return int(self.fetch_all(url, statement)[0][0])

    def watch_statements(self, url: str) -> None:
        """Begin to count what each statement costs; slows the server a little until its end."""
        self.execute(url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self.execute(url, "ALTER SYSTEM SET pg_stat_statements.track = 'all'")
        self.execute(url, "SELECT pg_reload_conf(), pg_stat_statements_reset()")

    def dearest_statements(self, url: str) -> list[dict[str, Any]]:
        """The statements that took most time since `watch_statements`, dearest first; counting ends."""
        rows = self.fetch_all(url, DEAREST)
        self.execute(url, "ALTER SYSTEM RESET pg_stat_statements.track")
        self.execute(url, "SELECT pg_reload_conf()")
        names = ("statement", "calls", "rows", "total_ms", "share")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def fresh_vhost(self, name: str) -> str:
        """An empty vhost of this name, an older one deleted, and its address."""
        if name in self._vhosts:
            self.broker.delete_vhost(name)
        self._vhosts.add(name)
        self.broker.add_vhost(name)
        return with_vhost(self.broker.url, name)


def declare_queues(url: str, names: Sequence[str], arguments: Mapping[str, str]) -> None:
    """Durable queues of these names."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for name in names:
            channel.queue_declare(name, durable=True, arguments=dict(arguments))
    finally:
        connection.close()


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start both from this machine's programs; ended and removed after the block.

    Never a container or somebody's server: the CPU of their processes could not be told apart.
    """
    database = LocalPostgres({**DATABASE_SETTINGS, **statistics_settings()})
    try:
        broker = LocalRabbit()
        try:
            yield Servers(database, broker)
        finally:
            broker.close()
    finally:
        database.close()


def statistics_settings() -> dict[str, str]:
    """Load the extension that counts statements where the server has it, asleep until it is asked for."""
    installation = find_binaries().parent
    if not any(installation.glob(f"lib/**/{STATISTICS}.so")):
        return {}
    return {"shared_preload_libraries": STATISTICS, f"{STATISTICS}.track": "none"}


def sqlalchemy_url(url: str) -> str:
    """A database's address as SQLAlchemy wants it."""
    return url.replace("postgresql:", f"{DRIVER}:", 1)
