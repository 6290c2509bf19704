"""COPY in binary form, for tables that are only added to: a third of the database's cost of an INSERT of the same rows.

Values are packed by the declared column types; rows that may conflict go through `store.rows`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Connection, Date, Integer, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.dialects import postgresql

from store.driver import driver_cursor

_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1)
_MICROSECOND = timedelta(microseconds=1)

_length = struct.Struct(">i").pack
_count = struct.Struct(">h").pack
_smallint = struct.Struct(">ih").pack
_integer = struct.Struct(">ii").pack
_bigint = struct.Struct(">iq").pack

Pack = Callable[[Any], bytes]


def _text(value: str) -> bytes:
    raw = value.encode()
    return _length(len(raw)) + raw


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


def _jsonb(value: object) -> bytes:
    raw = b"\x01" + orjson.dumps(value)
    return _length(len(raw)) + raw


def _moment(value: datetime) -> bytes:
    return _bigint(8, (value - _EPOCH) // _MICROSECOND)


_PACKERS: dict[type[Any], Pack] = {
    Text: _text,
    LargeBinary: _bytes,
    postgresql.JSONB: _jsonb,
    postgresql.TIMESTAMP: _moment,
    postgresql.UUID: lambda value: b"\0\0\0\x10" + bytes.fromhex(value.replace("-", "")),
    BigInteger: lambda value: _bigint(8, value),
    Integer: lambda value: _integer(4, value),
    SmallInteger: lambda value: _smallint(2, value),
    Boolean: lambda value: b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\0",
    Date: lambda value: _integer(4, (value - _EPOCH_DAY).days),
}


@cache
def _plan(table: Table, columns: tuple[str, ...]) -> tuple[str, tuple[Pack, ...]]:
    packers = tuple(_PACKERS[type(table.c[name].type)] for name in columns)
    return f"COPY {table.name} ({', '.join(columns)}) FROM STDIN BINARY", packers


def copy_objects(connection: Connection, table: Table, columns: Sequence[str], objects: Iterable[object]) -> None:
    """Add one row per object, taking each column from the attribute of its name; None is NULL."""
    copy_rows(connection, table, columns, map(attrgetter(*columns), objects))


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows; each holds the values of `columns` in their order; None is NULL."""
    statement, packers = _plan(table, tuple(columns))
    head = _count(len(packers))
    pieces = [_HEADER]
    for row in rows:
        pieces.append(head)
        pieces += [_NULL if value is None else pack(value) for pack, value in zip(packers, row, strict=True)]
    pieces.append(_TRAILER)
    with driver_cursor(connection, statement) as cursor:
        cursor.copy_expert(statement, BytesIO(b"".join(pieces)))
