"""Taking master data in: COPY into a table of the transaction's own, look at all rows at once, then one insert.

All or nothing: whoever leaves the transaction without commit leaves no trace. The versions of one key never overlap,
because one transaction at a time writes for an owner and kind (`hold`), and each new row ends what came before it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from sqlalchemy import Connection, text

from store.driver import driver_cursor
from store.master_kinds import CATALOGUE, ENROLMENT, MAPPING, Kind

MESSAGE_TIMEOUT_S = 30
_HELD = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))")
_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row that cannot stand beside the others: `code` says why, `field` where."""

    row: int
    field: str
    code: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the staged rows: of keys never heard of, of known ones, and those that were there already."""

    new: int
    changed: int
    unchanged: int


def begin(connection: Connection, timeout_s: int = 0) -> None:
    """Let this transaction join many rows; statements may take `timeout_s` each, 0 for as long as they need.

    What is stored is found by key all the same: right after a large import its statistics say nothing yet.
    """
    for setting, value in (("enable_seqscan", "off"), ("enable_hashjoin", "on"), ("enable_mergejoin", "on")):
        connection.execute(text(f"SET LOCAL {setting} = {value}"))
    connection.execute(text(f"SET LOCAL statement_timeout = {timeout_s * 1000}"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SET LOCAL work_mem = '32MB'"))


def hold(connection: Connection, kind: Kind, owner: str, *, wait: bool) -> bool:
    """Be the only one who writes this owner's rows of this kind until the transaction ends; False when another is."""
    key = {"key": f"master/{kind.name}/{owner}"}
    if wait:
        connection.execute(_HOLD, key)
        return True
    return bool(connection.execute(_HELD, key).scalar_one())


def open_staging(connection: Connection, kind: Kind) -> None:
    """An empty table for the rows of one upload; gone when the transaction ends."""
    typed = ", ".join(f"{name} {kind.sql_type(name)}" for name in kind.columns)
    connection.execute(text(f"CREATE TEMP TABLE staged (row_no bigint, {typed}) ON COMMIT DROP"))


def stage(connection: Connection, kind: Kind, rows: Iterable[tuple[int, Sequence[object]]]) -> None:
    """COPY (row number, values in the order of `kind.columns`) into the staging table; None is no value."""
    lines = StringIO()
    csv.writer(lines).writerows((number, *values) for number, values in rows)
    lines.seek(0)
    never_null = ", ".join(name for name in kind.columns if not kind.table.c[name].nullable)
    statement = (
        f"COPY staged (row_no, {', '.join(kind.columns)}) FROM STDIN WITH (FORMAT csv, FORCE_NOT_NULL ({never_null}))"
    )
    with driver_cursor(connection, statement) as cursor:
        cursor.copy_expert(statement, lines)


def arrange(connection: Connection, kind: Kind, owner: str) -> None:
    """Put the staged rows beside what is stored: where each ends in truth, and what it meets.

    Makes the table `fresh`: a staged row with the first day of the version before and after it in the upload, the first
    day of the next stored version, whether its key is known, the version that has the same first day, and the version
    that it ends.
    """
    # Sorting by the bytes is several times as fast as by a language's rules.
    keys = ", ".join(f'{name} COLLATE "C"' for name in kind.key)
    match = " AND ".join(f"t.{name} = s.{name}" for name in kind.key)
    known = (
        "SELECT min(t.valid_from) FILTER (WHERE t.valid_from > s.valid_from) AS next_known, count(*) > 0 AS known, "
        "max(t.id) FILTER (WHERE t.valid_from = s.valid_from) AS same_id, max(t.id) FILTER (WHERE t.valid_from < "
        "s.valid_from AND (t.valid_until IS NULL OR t.valid_until >= s.valid_from)) AS ended_id "
        f"FROM {kind.table.name} t "
        f"WHERE t.owner = :owner AND {match} AND t.replaced_by IS NULL"
        if _has_rows(connection, kind, owner)
        else "SELECT CAST(NULL AS date) AS next_known, false AS known, CAST(NULL AS bigint) AS same_id, "
        "CAST(NULL AS bigint) AS ended_id"
    )
    connection.execute(
        text(
            "CREATE TEMP TABLE fresh ON COMMIT DROP AS "
            "SELECT s.*, LEAST(s.valid_until, s.next_from - 1, x.next_known - 1) AS ends, "
            "x.known, x.same_id, x.ended_id FROM ("
            " SELECT *, lag(valid_from) OVER w AS before_from, lag(valid_until) OVER w AS before_until,"
            f" lead(valid_from) OVER w AS next_from FROM staged WINDOW w AS (PARTITION BY {keys} "
            f"ORDER BY valid_from, row_no)) s LEFT JOIN LATERAL ({known}) x ON true"
        ),
        {"owner": owner},
    )
    connection.execute(text("ANALYZE fresh"))


def _has_rows(connection: Connection, kind: Kind, owner: str) -> bool:
    found = connection.execute(text(f"SELECT 1 FROM {kind.table.name} WHERE owner = :owner LIMIT 1"), {"owner": owner})
    return found.first() is not None


def faults(connection: Connection, kind: Kind, limit: int) -> tuple[int, list[RowFault]]:
    """How many rows contradict others of the same upload, and the first of them in the order of the rows."""
    where = "before_from = valid_from OR before_until >= valid_from"
    total = int(connection.execute(text(f"SELECT count(*) FROM fresh WHERE {where}")).scalar_one())
    if not total:
        return 0, []
    rows = connection.execute(
        text(f"SELECT row_no, before_from = valid_from AS twice FROM fresh WHERE {where} ORDER BY row_no LIMIT :limit"),
        {"limit": limit},
    )
    return total, [
        RowFault(row.row_no, kind.key[-1], "row.duplicate")
        if row.twice
        else RowFault(row.row_no, "valid_from", "validity.overlap")
        for row in rows
    ]


def unknown_items(connection: Connection, scopes: Sequence[str], limit: int) -> tuple[int, list[RowFault]]:
    """Of staged mappings: those whose national code is in no catalogue of these regions while they hold; no regions are
    all of them. Where no catalogue is known nothing can be said, and nothing is.
    """
    where = "replaced_by IS NULL AND scope IS NOT NULL"
    where += " AND scope = ANY(:scopes)" if scopes else ""
    values = {"scopes": list(scopes), "limit": limit}
    table = CATALOGUE.table.name
    if connection.execute(text(f"SELECT 1 FROM {table} WHERE {where} LIMIT 1"), values).first() is None:
        return 0, []
    national = "CASE WHEN s.payer = '' THEN s.item_code ELSE s.local_code END"
    rows = connection.execute(
        text(
            f"SELECT row_no, payer, count(*) OVER () AS total FROM staged s WHERE NOT EXISTS (SELECT FROM {table} c "
            f"WHERE c.item_code = {national} AND c.list_type = s.list_type AND {where} AND c.valid_from <= "
            "COALESCE(s.valid_until, CAST('infinity' AS date)) AND COALESCE(c.valid_until, CAST('infinity' AS date)) "
            ">= s.valid_from) ORDER BY row_no LIMIT :limit"
        ),
        values,
    ).all()
    total = int(rows[0].total) if rows else 0
    return total, [RowFault(row.row_no, "local_code" if row.payer else "item_code", "item.unknown") for row in rows]


def apply(connection: Connection, kind: Kind, owner: str, scope: str | None, import_id: int) -> Applied:
    """Put the arranged rows in force: corrections replace, new versions end older ones, the rest is there already."""
    table, values = kind.table.name, {"owner": owner, "scope": scope, "run": import_id}
    total, met = connection.execute(text("SELECT count(*), count(*) FILTER (WHERE known) FROM fresh")).one()
    if met:
        said, says = (", ".join(f"{one}.{name}" for name in kind.content) for one in "tf")
        connection.execute(
            text(
                f"UPDATE {table} t SET replaced_by = :run FROM fresh f WHERE t.id = f.same_id AND "
                f"(t.scope, t.valid_until, {said}) IS DISTINCT FROM (CAST(:scope AS text), f.ends, {says})"
            ),
            values,
        )
        connection.execute(
            text(
                f"UPDATE {table} t SET valid_until = f.valid_from - 1 FROM fresh f WHERE t.id = f.ended_id "
                "AND t.replaced_by IS NULL AND (f.before_from IS NULL OR f.before_from <= t.valid_from)"
            ),
            values,
        )
    columns = ", ".join((*kind.key, *kind.content))
    rows = connection.execute(
        text(
            f"INSERT INTO {table} (owner, scope, {columns}, valid_from, valid_until, import_id) "
            f"SELECT :owner, :scope, {columns}, valid_from, ends, :run FROM fresh f WHERE f.same_id IS NULL OR EXISTS "
            f"(SELECT FROM {table} t WHERE t.id = f.same_id AND t.replaced_by = :run) ORDER BY row_no"
        ),
        values,
    )
    added = rows.rowcount
    new = int(total) - int(met)
    if kind is ENROLMENT and added:
        _tell_planning(connection)
    return Applied(new, added - new, int(total) - added)


def _tell_planning(connection: Connection) -> None:
    """Bring the policies that planning reads into line with the enrolments."""
    policy = ", ".join(ENROLMENT.key)
    same = " AND ".join(f"c.{name} = p.{name}" for name in ENROLMENT.key)
    touched = f"(SELECT DISTINCT {policy} FROM fresh) p"
    connection.execute(text(f"DELETE FROM coverage c USING {touched} WHERE {same}"))
    connection.execute(
        text(
            "INSERT INTO coverage (person_key, product, policy_no, region, valid_from, valid_until) "
            "SELECT c.person_key, c.product, c.policy_no, c.region, c.valid_from, c.valid_until "
            f"FROM {ENROLMENT.table.name} c JOIN {touched} ON {same} WHERE c.replaced_by IS NULL "
            "ON CONFLICT ON CONSTRAINT coverage_pk DO NOTHING"
        )
    )


__all__ = ["MAPPING", "Applied", "RowFault", "apply", "arrange", "begin", "faults", "hold", "open_staging", "stage"]
