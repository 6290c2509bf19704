"""Old cases by the million: one case that really went through, copied row by row with numbers of its own.

Copying follows the tables as they are, so it needs no care when a column is added. Bodies are cut short: what is
measured is whether rows and index entries slow a case down, not how large the disk is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2

TABLES = ("settlement_case", "settlement_leg", "case_answer", "exchange")
INBOX = "inbox"
CHUNK = 50_000
BODY_BYTES = 64
NEW_CASE_ID = (
    "(lpad(to_hex(1767225600000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"  # a day in the past
)
BY_NAME = {
    "case_id": NEW_CASE_ID,
    "settlement_no": "'OLD-' || n",
    "case_key": "'OLD-' || n",
    "message_id": "'old-' || n",
    "request_hash": "md5(n::text) || md5(n::text)",
    "body": f"substr(body, 1, {BODY_BYTES})",
}
BY_SUFFIX = {
    "correlation_id": "correlation_id || '-' || n",
    "request_id": "request_id || '-' || n",
    "payer_reference": "payer_reference || '-' || n",
}
MOMENT = "timestamp with time zone"
AGED = "{name} - interval '200 days' + n * interval '10 seconds'"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue knows it."""

    name: str
    type: str
    generated: bool


def fill_cases(url: str, total: int) -> None:
    """Bring the number of stored cases to `total`; ValueError when no finished case is there to be copied."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM settlement_case")
            (stored,) = cursor.fetchone() or (0,)
            cursor.execute(
                "SELECT case_id FROM settlement_case WHERE ended_at IS NOT NULL ORDER BY case_id DESC LIMIT 1"
            )
            pattern = cursor.fetchone()
            if pattern is None:
                raise ValueError("no finished case to copy")
            for first in range(stored, total, CHUNK):
                _copy(cursor, pattern[0], first, min(first + CHUNK, total) - 1)
            cursor.execute("VACUUM ANALYZE")
    finally:
        connection.close()


def _copy(cursor: psycopg2.extensions.cursor, case_id: str, first: int, last: int) -> None:
    for table in TABLES:
        _insert(cursor, table, f"SELECT * FROM {table} WHERE case_id = '{case_id}'", first, last)
    _insert(cursor, INBOX, f"SELECT * FROM {INBOX} WHERE message_id NOT LIKE 'old-%' LIMIT 1", first, last)


def _insert(cursor: psycopg2.extensions.cursor, table: str, source: str, first: int, last: int) -> None:
    columns = [column for column in _columns(cursor, table) if not column.generated]
    names = ", ".join(column.name for column in columns)
    values = ", ".join(_value(column) for column in columns)
    cursor.execute(
        f"INSERT INTO {table} ({names}) SELECT {values} "
        f"FROM ({source}) AS pattern, generate_series({first}, {last}) AS n"
    )


def _columns(cursor: psycopg2.extensions.cursor, table: str) -> Sequence[Column]:
    cursor.execute(
        "SELECT column_name, data_type, is_identity = 'YES' FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
        (table,),
    )
    return [Column(*row) for row in cursor.fetchall()]


def _value(column: Column) -> str:
    if column.type == MOMENT:
        return AGED.format(name=column.name)
    return BY_NAME.get(column.name) or BY_SUFFIX.get(column.name) or column.name
