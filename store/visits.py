"""Reading and writing visits and their fee lines. Every change happens under the visit's row lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from routing.visits import VisitFacts
from schemas.codes import VisitKind
from schemas.errors import Conflict
from schemas.visit import (
    AdmissionFacts,
    AdmissionRegister,
    DischargeRegister,
    StandingLine,
    UploadedLine,
    VisitState,
)
from store.driver import Prepared
from store.rows import as_json, insert_rows, update_rows
from store.tables_visits import fee_lines, visit_settlements, visits


@dataclass(slots=True)
class VisitRecord:
    """One row of `visit` with what its fee lines come to."""

    visit_id: str
    region: str
    institution: str
    visit_no: str
    person_key: str
    kind: VisitKind
    state: VisitState
    version: int
    admission: AdmissionRegister
    discharge: DischargeRegister | None
    admitted_at: datetime
    discharged_at: datetime | None
    created_at: datetime
    lines: int = 0
    total_fen: int = 0
    settled_by: str | None = None
    """The case of the settlement that stands or is under way."""

    @property
    def facts(self) -> VisitFacts:
        """How it stands, for the rules."""
        return VisitFacts(self.state, self.kind, self.lines, self.total_fen, self.settled_by is not None)


_COLUMNS = (
    "visit_id",
    "region",
    "institution",
    "visit_no",
    "person_key",
    "kind",
    "state",
    "version",
    "admission",
    "discharge",
    "admitted_at",
    "discharged_at",
    "created_at",
)
_CHANGES = ("person_key", "kind", "state", "admission", "discharge", "admitted_at", "discharged_at")
_INSERT = Prepared(
    "INSERT INTO visit (visit_id, region, institution, visit_no, person_key, kind, state, version, admission, "
    "discharge, admitted_at, discharged_at, created_at) "
    "SELECT * FROM json_to_recordset($1) AS r(visit_id uuid, region text, institution text, visit_no text, "
    "person_key text, kind text, state text, version integer, admission jsonb, discharge jsonb, "
    "admitted_at timestamptz, discharged_at timestamptz, created_at timestamptz) "
    "ON CONFLICT (institution, visit_no) WHERE state <> 'cancelled' DO NOTHING RETURNING visit_id",
    "json",
)
_UPDATE = update_rows(visits, ("visit_id",), _CHANGES, fenced=True)
# The settlement that stands: a case that is neither undone nor refused as a whole.
_SUMS = (
    "coalesce((SELECT count(*) FROM fee_line f WHERE f.visit_id = v.visit_id AND f.state = 'standing'), 0), "
    "coalesce((SELECT sum(f.amount_fen) FROM fee_line f WHERE f.visit_id = v.visit_id AND f.state = 'standing'), 0), "
    "(SELECT CAST(c.case_id AS text) FROM visit_settlement s JOIN settlement_case c ON c.case_id = s.case_id "
    "WHERE s.visit_id = v.visit_id AND c.state NOT IN ('cancelled', 'declined') LIMIT 1)"
)
_SELECTED = ", ".join(f"v.{name}" for name in _COLUMNS).replace("v.visit_id", "CAST(v.visit_id AS text)", 1)
_BY_NUMBER = (
    f"SELECT {_SELECTED}, {_SUMS} FROM visit v JOIN json_to_recordset($1) AS r(institution text, visit_no text) "
    "ON v.institution = r.institution AND v.visit_no = r.visit_no WHERE v.state <> 'cancelled'"
)
_LOCK_ROWS = Prepared(
    "SELECT v.visit_id FROM visit v JOIN json_to_recordset($1) AS r(institution text, visit_no text) "
    "ON v.institution = r.institution AND v.visit_no = r.visit_no WHERE v.state <> 'cancelled' "
    "ORDER BY v.visit_id FOR UPDATE OF v",
    "json",
)
_READ = Prepared(_BY_NUMBER, "json")
_ADD_LINES = insert_rows(
    fee_lines, ("visit_id", "line_no", "batch_no", "request_no", "state", "amount_fen", "content", "uploaded_at")
)
_TAKEN_LINES = Prepared(
    "SELECT f.line_no FROM fee_line f JOIN json_to_recordset($2) AS r(line_no text) ON f.line_no = r.line_no "
    "WHERE f.visit_id = CAST($1 AS uuid) AND f.state = 'standing' ORDER BY f.id",
    "text",
    "json",
)
# Settled is what a case holds that is neither undone nor refused as a whole.
_LINES = Prepared(
    "SELECT f.batch_no, f.content, c.settlement_no FROM fee_line f LEFT JOIN settlement_case c "
    "ON c.case_id = f.case_id AND c.state NOT IN ('cancelled', 'declined') "
    "WHERE f.visit_id = CAST($1 AS uuid) AND f.state = 'standing' ORDER BY f.id",
    "text",
)
_CANCEL_LINES = Prepared(
    "UPDATE fee_line SET state = 'cancelled', cancelled_at = CAST($4 AS timestamptz) "
    "WHERE visit_id = CAST($1 AS uuid) AND state = 'standing' "
    "AND ($2 = '' OR batch_no = $2) "
    "AND (json_array_length($3) = 0 OR line_no IN (SELECT json_array_elements_text($3))) "
    "AND NOT EXISTS (SELECT 1 FROM settlement_case c WHERE c.case_id = fee_line.case_id "
    "AND c.state NOT IN ('cancelled', 'declined')) RETURNING line_no",
    "text",
    "text",
    "json",
    "text",
)
_LINK = insert_rows(visit_settlements, ("case_id", "visit_id"))
_HOLD = Prepared(
    "UPDATE fee_line f SET case_id = r.case_id "
    "FROM json_to_recordset($1) AS r(case_id uuid, visit_id uuid, line_no text) "
    "WHERE f.visit_id = r.visit_id AND f.line_no = r.line_no AND f.state = 'standing'",
    "json",
)
_TAKEN_OVER = Prepared(
    "SELECT 1 FROM visit_settlement s WHERE s.case_id = CAST($1 AS uuid) AND NOT EXISTS ("
    "SELECT 1 FROM fee_line f WHERE f.visit_id = s.visit_id AND f.case_id = s.case_id AND f.state = 'standing')",
    "text",
)
Number = tuple[str, str]
"""(institution, visit number)."""


def insert(connection: Connection, new: VisitRecord) -> bool:
    """Store a visit; False when a live one has the number."""
    return bool(_INSERT.rows(connection, as_json([_row(new)])))


def save(connection: Connection, visit: VisitRecord) -> None:
    """Write a visit that is locked; Conflict when somebody else wrote it in between (a bug: it is locked)."""
    if not _UPDATE.rows(connection, as_json([_row(visit)])):
        raise Conflict("somebody else changed the visit", visit_id=visit.visit_id)
    visit.version += 1


def lock(connection: Connection, numbers: Iterable[Number]) -> dict[Number, VisitRecord]:
    """The live visits with these numbers, locked until the transaction ends, in one order for everybody."""
    keys = _keys(numbers)
    _LOCK_ROWS.rows(connection, keys)
    # A statement of its own: what others committed while we waited for the lock must be seen.
    return _read(connection, keys)


def read(connection: Connection, numbers: Iterable[Number]) -> dict[Number, VisitRecord]:
    """The live visits with these numbers, not locked."""
    return _read(connection, _keys(numbers))


def add_lines(
    connection: Connection, visit_id: str, batch_no: str, request_no: str, lines: Sequence[UploadedLine], at: datetime
) -> None:
    """Store lines of a visit that is locked."""
    rows = [
        {
            "visit_id": visit_id,
            "line_no": line.line_no,
            "batch_no": batch_no,
            "request_no": request_no,
            "state": "standing",
            "amount_fen": line.amount,
            "content": line.model_dump(mode="json", exclude_none=True),
            "uploaded_at": at,
        }
        for line in lines
    ]
    _ADD_LINES.count(connection, as_json(rows))


def taken_lines(connection: Connection, visit_id: str, line_nos: Iterable[str]) -> list[str]:
    """Those of the numbers under which a line stands."""
    given = as_json([{"line_no": number} for number in line_nos])
    return [number for (number,) in _TAKEN_LINES.rows(connection, visit_id, given)]


def standing_lines(connection: Connection, visit_id: str) -> list[StandingLine]:
    """Every line that stands, in the order in which they came, with the settlement that holds it."""
    found = []
    for batch_no, content, settled_by in _LINES.rows(connection, visit_id):
        line = UploadedLine.model_validate_json(_text(content))
        found.append(StandingLine(**dict(line), batch_no=batch_no, settled_by=settled_by))
    return found


def cancel_lines(
    connection: Connection, visit_id: str, batch_no: str, line_nos: Sequence[str], at: datetime
) -> list[str]:
    """Cancel lines that stand and that no settlement holds, by batch, by number, or all of them; their numbers."""
    given = orjson.dumps(list(line_nos)).decode()
    return [number for (number,) in _CANCEL_LINES.rows(connection, visit_id, batch_no, given, at.isoformat())]


def link(connection: Connection, case_id: str, visit_id: str, line_nos: Iterable[str]) -> None:
    """Remember which visit a case settles, and which of its lines."""
    _LINK.count(connection, as_json([{"case_id": case_id, "visit_id": visit_id}]))
    _HOLD.count(
        connection, as_json([{"case_id": case_id, "visit_id": visit_id, "line_no": number} for number in line_nos])
    )


def held_by_another(connection: Connection, case_id: str) -> bool:
    """Whether this case once settled a visit and another one holds all its lines now."""
    return bool(_TAKEN_OVER.rows(connection, case_id))


def _keys(numbers: Iterable[Number]) -> str:
    return as_json([{"institution": institution, "visit_no": number} for institution, number in sorted(set(numbers))])


def _read(connection: Connection, keys: str) -> dict[Number, VisitRecord]:
    found: dict[Number, VisitRecord] = {}
    for row in _READ.rows(connection, keys):
        values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=False))
        values["kind"] = VisitKind(values["kind"])
        values["state"] = VisitState(values["state"])
        values["admission"] = AdmissionRegister.model_validate_json(_text(values["admission"]))
        if values["discharge"] is not None:
            values["discharge"] = DischargeRegister.model_validate_json(_text(values["discharge"]))
        lines, total, settled_by = row[len(_COLUMNS) :]
        record = VisitRecord(**values, lines=int(lines), total_fen=int(total), settled_by=settled_by)
        found[record.institution, record.visit_no] = record
    return found


def _text(content: object) -> str | bytes:
    """The driver gives JSON as objects; models read text, in which money is money."""
    return content if isinstance(content, str) else orjson.dumps(content)


def _row(visit: VisitRecord) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(visit, name) for name in _COLUMNS}
    row["admission"] = _content(visit.admission)
    row["discharge"] = _content(visit.discharge) if visit.discharge is not None else None
    return row


def _content(message: AdmissionFacts | DischargeRegister) -> dict[str, Any]:
    return message.model_dump(mode="json", exclude_none=True)
