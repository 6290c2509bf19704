"""Set-based statements: many rows travel as one JSON parameter and become rows again in the database.

One statement per batch keeps the hot path at a fixed number of round trips however many messages arrived together; the
declared tables give the column types, so statements and tables cannot drift apart. Binary columns travel as base64.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Column, LargeBinary, Table
from sqlalchemy.dialects import postgresql

from store.driver import Prepared

Row = Mapping[str, Any]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def as_json(rows: Sequence[Row]) -> str:
    """The parameter for the statements of this module."""
    return orjson.dumps(rows, default=_plain).decode()


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(f"no JSON form for {type(value).__name__}")


@cache
def insert_rows(
    table: Table, columns: tuple[str, ...], *, unless: str = "", returning: tuple[str, ...] = ()
) -> Prepared:
    """INSERT of the given rows; `unless` names a constraint whose violation silently skips a row."""
    names = ", ".join(columns)
    statement = f"INSERT INTO {table.name} ({names}) SELECT {_select(table, columns)} FROM {_recordset(table, columns)}"
    if unless:
        statement += f" ON CONFLICT ON CONSTRAINT {unless} DO NOTHING"
    if returning:
        statement += f" RETURNING {', '.join(returning)}"
    return Prepared(statement, "json")


@cache
def update_rows(table: Table, keys: tuple[str, ...], columns: tuple[str, ...], *, fenced: bool = False) -> Prepared:
    """UPDATE of `columns` from the given rows by `keys`, returning the keys of the rows that changed.

    `fenced`: only rows whose stored `version` is the given `version`; it is raised by one. A row that somebody else
    changed in between stays untouched and is missing from the result.
    """
    given = (*keys, *columns, "version") if fenced else (*keys, *columns)
    changes = [f"{name} = {_value(table.c[name])}" for name in columns]
    where = [f"t.{key} = r.{key}" for key in keys]
    if fenced:
        changes.append("version = t.version + 1")
        where.append("t.version = r.version")
    return Prepared(
        f"UPDATE {table.name} t SET {', '.join(changes)} FROM {_recordset(table, given)} "
        f"WHERE {' AND '.join(where)} RETURNING {', '.join('t.' + key for key in keys)}",
        "json",
    )


def _select(table: Table, columns: tuple[str, ...]) -> str:
    return ", ".join(_value(table.c[name]) for name in columns)


def _value(column: Column[Any]) -> str:
    return f"decode(r.{column.name}, 'base64')" if isinstance(column.type, LargeBinary) else f"r.{column.name}"


def _recordset(table: Table, columns: tuple[str, ...]) -> str:
    typed = ", ".join(f"{name} {_type(table.c[name])}" for name in columns)
    return f"json_to_recordset($1) AS r({typed})"


def _type(column: Column[Any]) -> str:
    return "text" if isinstance(column.type, LargeBinary) else column.type.compile(dialect=_DIALECT)
