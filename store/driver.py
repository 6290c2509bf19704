"""Statements that go straight to the driver: prepared once per connection, and COPY.

The hot path runs some thirty statements a case. Parsing and planning each of them anew, and building SQLAlchemy's
result objects around a handful of rows, took a third of a lone case's time. The connection, its pool and its
transaction stay SQLAlchemy's, and so do the errors that callers see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Connection

_PREPARED = "prepared statements"


@contextmanager
def driver_cursor(connection: Connection, statement: str) -> Iterator[Any]:
    """The driver's cursor in the connection's transaction; errors become SQLAlchemy's, without the values they met."""
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except psycopg2.Error as error:
        # SQLAlchemy's own way out: it also throws a lost connection away, and with it those that were lost with it.
        connection._handle_dbapi_exception(error, statement, None, None, None)
    finally:
        cursor.close()


class Prepared:
    """A statement with parameters $1, $2, … of the given types, prepared when a connection first needs it."""

    def __init__(self, sql: str, *types: str) -> None:
        self.sql = sql
        self._name = "hub_" + hashlib.sha256(sql.encode()).hexdigest()[:16]
        given = f" ({', '.join(types)})" if types else ""
        self._prepare = f"PREPARE {self._name}{given} AS {sql}"
        self._execute = f"EXECUTE {self._name}" + (f" ({', '.join(['%s'] * len(types))})" if types else "")

    def rows(self, connection: Connection, *values: object) -> list[tuple[Any, ...]]:
        """Run it; the rows that it returns."""
        with self._run(connection, values) as cursor:
            return cursor.fetchall()  # type: ignore[no-any-return]

    def count(self, connection: Connection, *values: object) -> int:
        """Run it; how many rows it touched."""
        with self._run(connection, values) as cursor:
            return int(cursor.rowcount)

    @contextmanager
    def _run(self, connection: Connection, values: tuple[object, ...]) -> Iterator[Any]:
        known: set[str] = connection.info.setdefault(_PREPARED, set())
        with driver_cursor(connection, self.sql) as cursor:
            if self._name not in known:
                cursor.execute(self._prepare)
                known.add(self._name)
            cursor.execute(self._execute, values)
            yield cursor


def as_array(values: Iterable[object]) -> str:
    """Identifiers (numbers, UUIDs, hexadecimal text) as the text of an array parameter."""
    return "{" + ",".join(map(str, values)) + "}"
