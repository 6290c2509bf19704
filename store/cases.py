"""Reading and writing cases and legs, always as sets. Every change to a case happens under its row lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

from sqlalchemy import Connection, text

from routing.postings import borne
from routing.states import CaseState, LegState
from schemas.codes import Layer
from schemas.errors import Conflict
from schemas.payer import Operation
from store import ledger, search
from store.copying import copy_objects
from store.driver import Prepared, as_array
from store.records import CaseRecord, LegRecord
from store.rows import as_json, insert_rows, update_rows
from store.tables import cases, legs


def _fields(record: type[CaseRecord] | type[LegRecord], last: str) -> tuple[str, ...]:
    """The fields of a record that are columns, in the record's own order, so that rows become records by position."""
    names = [field.name for field in dataclass_fields(record)]
    return tuple(names[: names.index(last) + 1])


_CASE_COLUMNS = _fields(CaseRecord, "business_day")
_NEW_CASE_COLUMNS = (
    *_CASE_COLUMNS[: _CASE_COLUMNS.index("revision")],
    *("considered", "visit_kind", "insurance_type"),
)
_CASE_CHANGES = ("state", "revision", "overdue", "watch_at", "ended_at", "business_day")
_LEG_COLUMNS = _fields(LegRecord, "decided_at")
_NEW_LEG_COLUMNS = _LEG_COLUMNS[: _LEG_COLUMNS.index("attempts")]
_LEG_CLAIM = (
    "state",
    "attempts",
    "undo_attempts",
    "left_fen",
    "reason_code",
    "doubt_since",
    "next_at",
    "inquiries",
    "not_found_since",
    "claimed_at",
)
_LEG_ANSWER = (
    *_LEG_CLAIM[:-1],
    "amount_fen",
    "account_fen",
    "hospital_fen",
    "basic",
    "payer_reference",
    "reason_zh",
    "reason_en",
    "decided_at",
)
_INSERT_CASES = insert_rows(cases, _NEW_CASE_COLUMNS, unless="one_case_per_settlement_number", returning=("case_id",))
_UPDATE_CASES = update_rows(cases, ("case_id",), _CASE_CHANGES, fenced=True)
_UPDATE_CLAIMED_LEGS = update_rows(legs, ("case_id", "leg_no"), _LEG_CLAIM, fenced=True)
_UPDATE_ANSWERED_LEGS = update_rows(legs, ("case_id", "leg_no"), _LEG_ANSWER, fenced=True)


def _selected(columns: tuple[str, ...]) -> str:
    return ", ".join(columns).replace("case_id", "CAST(case_id AS text) AS case_id", 1)


_SELECT_CASES = f"SELECT {_selected(_CASE_COLUMNS)} FROM settlement_case"
# A join rather than `= ANY($1)`: where the tables are in months, only the one that an id belongs to is looked into.
_WITH_IDS = "JOIN unnest($1) AS wanted(id) ON case_id = wanted.id"
_LOCK_CASES = Prepared(
    f"{_SELECT_CASES} {_WITH_IDS} ORDER BY settlement_case.case_id FOR UPDATE OF settlement_case", "uuid[]"
)
_READ_CASES = Prepared(f"{_SELECT_CASES} {_WITH_IDS}", "uuid[]")
_READ_LEGS = Prepared(
    f"SELECT {_selected(_LEG_COLUMNS)} FROM settlement_leg {_WITH_IDS} ORDER BY settlement_leg.case_id, leg_no",
    "uuid[]",
)
_CONSIDERED = text("SELECT considered FROM settlement_case WHERE case_id = CAST(:id AS uuid)")
_FIND_BY_KEY = Prepared(
    "SELECT c.institution, c.case_key, CAST(c.case_id AS text), c.request_hash FROM settlement_case c "
    "JOIN json_to_recordset($1) AS r(institution text, case_key text) "
    "ON c.institution = r.institution AND c.case_key = r.case_key",
    "json",
)
_TO_WATCH = text(
    "SELECT case_id FROM settlement_case WHERE watch_at <= :now ORDER BY watch_at LIMIT :limit FOR UPDATE SKIP LOCKED"
)


def insert_new(connection: Connection, new: Sequence[CaseRecord]) -> set[str]:
    """Store those cases whose settlement number was free; the ids of those stored. Legs are stored with them."""
    # One order for everybody: two batches that hold the same numbers wait for each other and never deadlock.
    new = sorted(new, key=lambda case: (case.institution, case.case_key))
    rows = [{name: getattr(case, name) for name in _NEW_CASE_COLUMNS} for case in new]
    created = {str(case_id) for (case_id,) in _INSERT_CASES.rows(connection, as_json(rows))}
    copy_objects(
        connection, legs, _NEW_LEG_COLUMNS, [leg for case in new if case.case_id in created for leg in case.legs]
    )
    return created


def lock(connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    """The cases with their legs, locked until the transaction ends; locks are taken in one order, so none deadlock."""
    return _load(connection, _LOCK_CASES, case_ids)


def read(connection: Connection, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    """The cases with their legs, not locked: for display only."""
    return _load(connection, _READ_CASES, case_ids)


def _load(connection: Connection, statement: Prepared, case_ids: Iterable[str]) -> dict[str, CaseRecord]:
    ids = list(set(case_ids))
    if not ids:
        return {}
    # Two statements on purpose: the second begins after the locks are held and sees what their last holders wrote. A
    # join that locks only the cases would give the legs as they stood before the wait.
    found = {record.case_id: record for record in map(_case, statement.rows(connection, as_array(ids)))}
    if found:
        for leg in map(_leg, _READ_LEGS.rows(connection, as_array(found))):
            found[leg.case_id].legs.append(leg)
    return found


def _case(row: tuple[Any, ...]) -> CaseRecord:
    record: CaseRecord = CaseRecord(*row)
    record.purpose = Operation(record.purpose)
    record.state = CaseState(record.state)
    record.answered = record.revision > 0
    return record


def _leg(row: tuple[Any, ...]) -> LegRecord:
    record: LegRecord = LegRecord(*row)
    record.layer = Layer(record.layer)
    record.state = LegState(record.state)
    record.posted = borne(record)
    return record


def considered(connection: Connection, case_id: str) -> list[list[str]]:
    """[rule, missed condition or empty] for each rule that was looked at when the case was planned."""
    return list(connection.execute(_CONSIDERED, {"id": case_id}).scalar_one())


def _row(record: CaseRecord | LegRecord, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in columns}


def save(connection: Connection, touched: Iterable[CaseRecord]) -> None:
    """Write back what changed, and book what that means; Conflict when a row is not the one that was read (somebody
    wrote past the lock)."""
    touched = list(touched)
    ledger.post_cases(connection, touched)
    named = [leg for case in touched for leg in case.legs if leg.named]
    search.add(connection, [known for leg in named for known in search.references(leg)])
    changed_cases, claimed, answered = [], [], []
    for case in touched:
        if case.changed:
            changed_cases.append(_row(case, ("case_id", "version", *_CASE_CHANGES)))
            case.changed = False
            case.version += 1
        for leg in case.legs:
            if leg.changed and leg.decided:
                answered.append(_row(leg, ("case_id", "leg_no", "version", *_LEG_ANSWER)))
            elif leg.changed:
                claimed.append(_row(leg, ("case_id", "leg_no", "version", *_LEG_CLAIM)))
            if leg.changed:
                leg.changed = leg.decided = leg.named = False
                leg.version += 1
                leg.posted, leg.effect_at = borne(leg), None
    for statement, rows in (
        (_UPDATE_CLAIMED_LEGS, claimed),
        (_UPDATE_ANSWERED_LEGS, answered),
        (_UPDATE_CASES, changed_cases),
    ):
        if rows and len(statement.rows(connection, as_json(rows))) != len(rows):
            raise Conflict("a row changed under our lock", code="store.version_conflict")


def find_by_key(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """(institution, case_key) -> (case_id, request_hash) for those that exist."""
    rows = as_json([{"institution": institution, "case_key": key} for institution, key in keys])
    found = _FIND_BY_KEY.rows(connection, rows)
    return {(institution, key): (case_id, request_hash) for institution, key, case_id, request_hash in found}


def lock_watched(connection: Connection, now: Any, limit: int) -> dict[str, CaseRecord]:
    """Cases that a sweep must look at now, locked; those that somebody else holds are left to them."""
    ids = [str(row.case_id) for row in connection.execute(_TO_WATCH, {"now": now, "limit": limit})]
    return lock(connection, ids)
