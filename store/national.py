"""What the service for national hospitals remembers: persons by their number, files, and visits by our own number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables_national import national_files, national_persons

FOUND_MAX = 200


@dataclass(frozen=True, slots=True)
class File:
    """A file of 9101, or one that waits for 9102."""

    file_no: str
    institution: str
    name: str
    content: bytes
    stored_at: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class FoundVisit:
    """Which visit a number of ours means; `state` may be cancelled."""

    visit_id: str
    institution: str
    visit_no: str
    state: str
    admission: dict[str, Any]
    discharged_at: datetime | None = None


_KEEP_PERSON = Prepared(
    insert_rows(national_persons, ("institution", "person_no", "person", "seen_at")).sql
    + " ON CONFLICT ON CONSTRAINT national_person_pk DO UPDATE "
    "SET person = excluded.person, seen_at = excluded.seen_at",
    "json",
)
_PERSON = Prepared("SELECT person FROM national_person WHERE institution = $1 AND person_no = $2", "text", "text")
_ADD_FILE = insert_rows(national_files, tuple(File.__dataclass_fields__))
_DROP_FILES = Prepared("DELETE FROM national_file WHERE valid_until < CAST($1 AS timestamptz)", "text")
_FILE = Prepared(
    "SELECT file_no, institution, name, content, stored_at, valid_until FROM national_file "
    "WHERE file_no = $1 AND institution = $2 AND valid_until >= CAST($3 AS timestamptz)",
    "text",
    "text",
    "text",
)
_VISIT = "SELECT CAST(visit_id AS text), institution, visit_no, state, admission, discharged_at FROM visit "
_BY_ID = Prepared(f"{_VISIT} WHERE visit_id = CAST($1 AS uuid) AND institution = $2", "text", "text")
_OF_PERSON = Prepared(
    f"{_VISIT} WHERE person_key = $1 AND institution = $2 AND state <> 'cancelled' "
    "AND admitted_at BETWEEN CAST($3 AS timestamptz) AND CAST($4 AS timestamptz) "
    f"ORDER BY admitted_at LIMIT {FOUND_MAX}",
    "text",
    "text",
    "text",
    "text",
)
_SETTLED_BY = Prepared(
    "SELECT CAST(s.case_id AS text) FROM visit_settlement s JOIN settlement_case c ON c.case_id = s.case_id "
    "WHERE s.visit_id = CAST($1 AS uuid) AND c.state NOT IN ('cancelled', 'declined') LIMIT 1",
    "text",
)
_VISIT_OF = Prepared("SELECT CAST(visit_id AS text) FROM visit_settlement WHERE case_id = CAST($1 AS uuid)", "text")


def keep_person(
    connection: Connection, institution: str, person_no: str, person: dict[str, Any], now: datetime
) -> None:
    """Remember who a person number means; the latest answer replaces the one before."""
    row = {"institution": institution, "person_no": person_no, "person": person, "seen_at": now}
    _KEEP_PERSON.count(connection, as_json([row]))


def person(connection: Connection, institution: str, person_no: str) -> dict[str, Any] | None:
    """Who a person number means at this institution; None when it never asked."""
    for (found,) in _PERSON.rows(connection, institution, person_no):
        return dict(found)
    return None


def add_file(connection: Connection, new: File) -> None:
    """Keep a file, and let go of those whose time is over."""
    _DROP_FILES.count(connection, new.stored_at.isoformat())
    _ADD_FILE.count(connection, as_json([{name: getattr(new, name) for name in File.__dataclass_fields__}]))


def file(connection: Connection, institution: str, file_no: str, now: datetime) -> File | None:
    """A file of this institution whose time is not over."""
    for number, owner, name, content, stored_at, valid_until in _FILE.rows(
        connection, file_no, institution, now.isoformat()
    ):
        return File(number, owner, name, bytes(content), stored_at, valid_until)
    return None


def visit_by_id(connection: Connection, institution: str, visit_id: str) -> FoundVisit | None:
    """The visit of this institution with the hub's number, also a cancelled one."""
    for row in _BY_ID.rows(connection, visit_id, institution):
        return FoundVisit(*row)
    return None


def visits_of(
    connection: Connection, institution: str, person_key: str, first: datetime, last: datetime
) -> list[FoundVisit]:
    """The visits of a person at this institution that began between two moments, the earliest first."""
    rows = _OF_PERSON.rows(connection, person_key, institution, first.isoformat(), last.isoformat())
    return [FoundVisit(*row) for row in rows]


def settled_by(connection: Connection, visit_id: str) -> str | None:
    """The case of the settlement of a visit that stands or is under way."""
    for (case_id,) in _SETTLED_BY.rows(connection, visit_id):
        return str(case_id)
    return None


def visit_of(connection: Connection, case_id: str) -> str | None:
    """The visit that a case settles; None for a purchase."""
    for (visit_id,) in _VISIT_OF.rows(connection, case_id):
        return str(visit_id)
    return None
