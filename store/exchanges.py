"""Raw requests and answers, kept as evidence beside their case: written once, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from store.copying import copy_objects
from store.driver import Prepared, as_array
from store.tables import exchanges

HOSPITAL_LEG = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message that came in or went out. `leg_no` is 0 for the hospital's own."""

    region: str
    case_id: str
    leg_no: int
    party: str
    direction: Literal["in", "out"]
    operation: str
    request_id: str
    attempt: int
    body: bytes
    at: datetime
    status: int = 0
    outcome: str = ""
    took_us: int = 0
    """Of an answer to a call: microseconds from the first byte out to the last byte in."""
    content_type: str = "application/json"


_COLUMNS = tuple(Exchange.__dataclass_fields__)
_REQUESTS = Prepared(
    "SELECT CAST(case_id AS text), body FROM exchange JOIN unnest($1) AS wanted(id) ON case_id = wanted.id "
    "WHERE leg_no = 0 AND direction = 'in' AND operation IN ('settle', 'trial')",
    "uuid[]",
)
_OF_CASE = text(
    f"SELECT {', '.join(_COLUMNS)} FROM exchange WHERE case_id = CAST(:id AS uuid) ORDER BY at, exchange_id"
)


def add(connection: Connection, new: Sequence[Exchange]) -> None:
    """Keep these messages."""
    if new:
        copy_objects(connection, exchanges, _COLUMNS, new)


def requests_of(connection: Connection, case_ids: Iterable[str]) -> dict[str, bytes]:
    """The hospital's settle or trial message of each case, as it was received."""
    return {case_id: bytes(body) for case_id, body in _REQUESTS.rows(connection, as_array(case_ids))}


def of_case(connection: Connection, case_id: str) -> list[Exchange]:
    """Everything said about a case, in order."""
    return [_exchange(row) for row in connection.execute(_OF_CASE, {"id": case_id})]


def _exchange(row: Any) -> Exchange:
    return Exchange(**{**row._asdict(), "case_id": str(row.case_id), "body": bytes(row.body)})
