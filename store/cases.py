"""Reading and writing cases and legs, always as sets. Every change to a case happens under its row lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from routing.states import CaseState, LegState
from schemas.codes import Layer
from schemas.errors import Conflict
from schemas.payer import Operation
from store.records import CaseRecord, LegRecord
from store.rows import as_json, insert_rows, update_rows
from store.tables import cases, legs

_CASE_COLUMNS = (
    "case_id",
    "region",
    "institution",
    "settlement_no",
    "case_key",
    "purpose",
    "request_hash",
    "state",
    "version",
    "revision",
    "total_fen",
    "rulebook_version",
    "considered",
    "received_at",
    "answer_by",
    "overdue",
    "watch_at",
    "reply_to",
    "correlation_id",
    "ended_at",
    "business_day",
)
_CASE_CHANGES = ("state", "revision", "overdue", "watch_at", "ended_at", "business_day")
_LEG_COLUMNS = tuple(str(column.name) for column in legs.columns)
_LEG_CHANGES = (
    "state",
    "attempts",
    "undo_attempts",
    "left_fen",
    "amount_fen",
    "account_fen",
    "hospital_fen",
    "basic",
    "payer_reference",
    "reason_code",
    "reason_zh",
    "reason_en",
    "claimed_at",
    "decided_at",
)
_INSERT_CASES = insert_rows(cases, _CASE_COLUMNS, unless="one_case_per_settlement_number", returning=("case_id",))
_INSERT_LEGS = insert_rows(legs, _LEG_COLUMNS)
_UPDATE_CASES = update_rows(cases, ("case_id",), _CASE_CHANGES, fenced=True)
_UPDATE_LEGS = update_rows(legs, ("case_id", "leg_no"), _LEG_CHANGES, fenced=True)

_SELECT_CASES = f"SELECT {', '.join(_CASE_COLUMNS)} FROM settlement_case"
_LOCK_CASES = text(f"{_SELECT_CASES} WHERE case_id = ANY(CAST(:ids AS uuid[])) ORDER BY case_id FOR UPDATE")
_READ_CASES = text(f"{_SELECT_CASES} WHERE case_id = ANY(CAST(:ids AS uuid[]))")
_READ_LEGS = text(
    f"SELECT {', '.join(_LEG_COLUMNS)} FROM settlement_leg WHERE case_id = ANY(CAST(:ids AS uuid[])) "
    "ORDER BY case_id, leg_no"
)
_FIND_BY_KEY = text(
    "SELECT c.case_id, c.institution, c.case_key, c.request_hash FROM settlement_case c "
    "JOIN json_to_recordset(CAST(:rows AS json)) AS r(institution text, case_key text) "
    "ON c.institution = r.institution AND c.case_key = r.case_key"
)
_TO_WATCH = text(
    "SELECT case_id FROM settlement_case WHERE watch_at <= :now ORDER BY watch_at LIMIT :limit FOR UPDATE SKIP LOCKED"
)


def insert_new(connection: Connection, new: Sequence[CaseRecord]) -> set[str]:
    """Store those cases whose settlement number was free; the ids of those stored. Legs are stored with them."""
    rows = [{name: getattr(case, name) for name in _CASE_COLUMNS} for case in new]
    created = {str(row.case_id) for row in connection.execute(_INSERT_CASES, {"rows": as_json(rows)})}
    leg_rows = [_leg_row(leg, _LEG_COLUMNS) for case in new if case.case_id in created for leg in case.legs]
    if leg_rows:
        connection.execute(_INSERT_LEGS, {"rows": as_json(leg_rows)})
    return created


def lock(connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    """The cases with their legs, locked until the transaction ends; locks are taken in one order, so none deadlock."""
    return _load(connection, _LOCK_CASES, case_ids)


def read(connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    """The cases with their legs, not locked: for display only."""
    return _load(connection, _READ_CASES, case_ids)


def _load(connection: Connection, statement: Any, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    ids = list(set(case_ids))
    if not ids:
        return {}
    found = {str(row.case_id): _case(row) for row in connection.execute(statement, {"ids": ids})}
    if found:
        for row in connection.execute(_READ_LEGS, {"ids": list(found)}):
            found[str(row.case_id)].legs.append(_leg(row))
    return found


def _case(row: Any) -> CaseRecord:
    values = row._asdict()
    values["case_id"] = str(values["case_id"])
    values["purpose"] = Operation(values["purpose"])
    values["state"] = CaseState(values["state"])
    return CaseRecord(**values)


def _leg(row: Any) -> LegRecord:
    values = row._asdict()
    values["case_id"] = str(values["case_id"])
    values["layer"] = Layer(values["layer"])
    values["state"] = LegState(values["state"])
    return LegRecord(**values)


def _leg_row(leg: LegRecord, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(leg, name) for name in columns}


def save(connection: Connection, touched: Iterable[CaseRecord]) -> None:
    """Write back what changed; Conflict when a row is not the one that was read (somebody wrote past the lock)."""
    changed_cases, changed_legs = [], []
    for case in touched:
        if case.changed:
            changed_cases.append(
                {"case_id": case.case_id, "version": case.version}
                | {name: getattr(case, name) for name in _CASE_CHANGES}
            )
            case.changed = False
            case.version += 1
        for leg in case.legs:
            if leg.changed:
                changed_legs.append(_leg_row(leg, ("case_id", "leg_no", "version", *_LEG_CHANGES)))
                leg.changed = False
                leg.version += 1
    for statement, rows in ((_UPDATE_LEGS, changed_legs), (_UPDATE_CASES, changed_cases)):
        if rows and len(connection.execute(statement, {"rows": as_json(rows)}).all()) != len(rows):
            raise Conflict("a row changed under our lock", code="store.version_conflict")


def find_by_key(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """(institution, case_key) -> (case_id, request_hash) for those that exist."""
    rows = as_json([{"institution": institution, "case_key": key} for institution, key in keys])
    found = connection.execute(_FIND_BY_KEY, {"rows": rows})
    return {(row.institution, row.case_key): (str(row.case_id), row.request_hash) for row in found}


def lock_watched(connection: Connection, now: Any, limit: int) -> dict[str, CaseRecord]:
    """Cases that a sweep must look at now, locked; those that somebody else holds are left to them."""
    ids = [str(row.case_id) for row in connection.execute(_TO_WATCH, {"now": now, "limit": limit})]
    return lock(connection, ids)
