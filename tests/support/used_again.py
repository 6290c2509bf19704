"""Databases of the tests, each used by one test after the other.

To copy the schema takes a server longer than most tests take, to empty a few tables does not. What a test gets is the
same either way: the rows of the template and no others, numbers that begin at their beginning, a name that nobody has
heard before. A database whose catalogue is not as it was made is never used again.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extensions

from tests.support.postgres_server import (
    PostgresServer,
    create_database,
    database_name,
    drop_database,
    libpq_url,
    maintenance,
    with_database,
)

USES_MAX = 40
"""Deleted rows stay in the files for a while; they shall not become so many that anybody notices."""

_CATALOGUE = (
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_constraint",
    "pg_index",
    "pg_namespace",
    "pg_proc",
    "pg_rewrite",
    "pg_sequence",
    "pg_trigger",
    "pg_type",
)
_FINGERPRINT = " UNION ALL ".join(
    # Every change writes a row anew; what vacuum and analyze note about a table is written over the old.
    [f"SELECT count(*), sum(xmin::text::bigint) FROM {name}" for name in _CATALOGUE]
    + ["SELECT count(*), 0 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"]
)
_TABLES = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
    "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)
_WRITTEN = (
    # To ask each of them for a row, PostgreSQL would read all that the catalogue says about each.
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0"
)
_NUMBERS = "SELECT format('%I.%I', schemaname, sequencename), start_value, last_value FROM pg_sequences ORDER BY 1"


@dataclass(slots=True)
class _Made:
    """A database as it was when it was made."""

    url: str
    fingerprint: list[Any]
    rows: dict[str, str | None]
    """Of every table, as JSON; None where there are none."""
    numbers: list[Any]
    uses: int = 0

    @classmethod
    def of(cls, url: str) -> _Made:
        """Look at one that nobody has touched yet."""
        with _cursor(url) as cursor:
            tables = [name for (name,) in _all(cursor, _TABLES)]
            rows = {name: _rows(cursor, name) for name in tables}
            return cls(url, _all(cursor, _FINGERPRINT), rows, _all(cursor, _NUMBERS))

    def restore(self) -> bool:
        """Make it what it was; False when its tables, views or rules are others now."""
        with _cursor(self.url) as cursor:
            if _all(cursor, _FINGERPRINT) != self.fingerprint:
                return False
            # No trigger and no reference stands in the way of emptying everything.
            cursor.execute("SET session_replication_role = replica")
            changed = {
                name: rows for name, rows in self.rows.items() if rows is not None and rows != _rows(cursor, name)
            }
            for name in _filled(cursor, [name for (name,) in _all(cursor, _WRITTEN)]):
                if name in changed or self.rows[name] is None:
                    cursor.execute(f"DELETE FROM {name}")
            for name, rows in changed.items():
                cursor.execute(f"INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, %s)", [rows])
            for name, first, last in set(self.numbers) - set(_all(cursor, _NUMBERS)):
                cursor.execute("SELECT setval(%s, %s, %s)", [name, first if last is None else last, last is not None])
        return True

    def rename(self, server_url: str) -> None:
        """Whoever is still there loses it, and whoever comes back finds nothing."""
        name = f"hub_test_{secrets.token_hex(8)}"
        with maintenance(server_url) as cursor:
            old = database_name(self.url)
            cursor.execute(f'ALTER DATABASE "{old}" ALLOW_CONNECTIONS false')
            cursor.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [old])
            cursor.execute(f'ALTER DATABASE "{old}" RENAME TO "{name}"')
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        self.url = with_database(server_url, name)


class Shelf:
    """Empty databases with the hub's schema, taken and put back."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        self._clean: list[_Made] = []

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, this block's own."""
        made = self._clean.pop() if self._clean else self._new()
        made.uses += 1
        try:
            yield made.url
        finally:
            if self._server.is_ours:
                self._server.start()
            self._put_back(made)

    def close(self) -> None:
        """Drop them all."""
        while self._clean:
            drop_database(self._clean.pop().url, self._server.url)

    def _new(self) -> _Made:
        return _Made.of(create_database(self._server.url, template=self._template))

    def _put_back(self, made: _Made) -> None:
        with contextlib.suppress(psycopg2.Error):
            if made.uses < USES_MAX:
                made.rename(self._server.url)
                if made.restore():
                    self._clean.append(made)
                    return
        drop_database(made.url, self._server.url)


@contextlib.contextmanager
def shelf(server: PostgresServer, template: str) -> Iterator[Shelf]:
    """Databases for the length of the block."""
    found = Shelf(server, template)
    try:
        yield found
    finally:
        if server.is_ours:
            server.start()
        found.close()


@contextlib.contextmanager
def _cursor(url: str) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor inside one transaction, committed at the end of the block."""
    connection = psycopg2.connect(libpq_url(url), connect_timeout=10)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _all(cursor: psycopg2.extensions.cursor, statement: str) -> list[Any]:
    cursor.execute(statement)
    return cursor.fetchall()


def _rows(cursor: psycopg2.extensions.cursor, table: str) -> str | None:
    """What stands in a table, as JSON."""
    found: str | None = _all(cursor, f"SELECT json_agg(t)::text FROM {table} t")[0][0]
    return found


def _filled(cursor: psycopg2.extensions.cursor, tables: list[str]) -> list[str]:
    """Those that hold a row."""
    if not tables:
        return []
    looks = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables)
    return [name for (name,) in _all(cursor, looks)]
