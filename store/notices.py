"""What payers are told outside a settlement, and what became of it: a queue in the database, one row a notice.

Of one visit or case, and payer, the earlier notice goes first; a row is worked on by who pushed its `next_at` forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables_visits import notices


class NoticeProgress(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    TAKEN = "taken"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    WITHDRAWN = "withdrawn"


@dataclass(slots=True)
class StoredNotice:
    """One row of `notice`."""

    request_id: str
    region: str
    institution: str
    transaction: str
    payer: str
    product: str
    policy_no: str | None
    visit_id: str | None
    case_id: str | None
    original_request_id: str | None
    message: bytes
    state: NoticeProgress
    attempts: int
    next_at: datetime
    created_at: datetime
    reference: str | None = None
    reason_code: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    sent: bytes | None = None
    answered: bytes | None = None
    status: int = 0
    ended_at: datetime | None = None


_COLUMNS = tuple(StoredNotice.__dataclass_fields__)
_NEW = _COLUMNS[: _COLUMNS.index("created_at") + 1]
_INSERT = insert_rows(notices, _NEW, unless="notice_pk", returning=("request_id",))
_SELECTED = ", ".join(f"n.{name}" for name in _COLUMNS)
for _id in ("visit_id", "case_id"):
    _SELECTED = _SELECTED.replace(f"n.{_id}", f"CAST(n.{_id} AS text)")
_DUE = Prepared(
    f"SELECT {_SELECTED} FROM notice n WHERE n.state = 'waiting' AND n.next_at <= CAST($1 AS timestamptz) "
    "AND n.payer = ANY(CAST($2 AS text[])) AND NOT EXISTS ("
    "SELECT 1 FROM notice e WHERE (e.visit_id = n.visit_id OR e.case_id = n.case_id) AND e.payer = n.payer "
    "AND e.state = 'waiting' AND e.place < n.place) ORDER BY n.next_at, n.place LIMIT $3 FOR UPDATE OF n SKIP LOCKED",
    "text",
    "text",
    "integer",
)
_CHANGES = ("state", "attempts", "next_at", "reference", "reason_code", "reason_zh", "reason_en", "status", "ended_at")
_SAVE = Prepared(
    "UPDATE notice SET state = r.state, attempts = r.attempts, next_at = r.next_at, reference = r.reference, "
    "reason_code = r.reason_code, reason_zh = r.reason_zh, reason_en = r.reason_en, status = r.status, "
    "ended_at = r.ended_at, sent = coalesce(decode(r.sent, 'base64'), notice.sent), "
    "answered = coalesce(decode(r.answered, 'base64'), notice.answered) "
    "FROM json_to_recordset($1) AS r(request_id text, state text, attempts integer, next_at timestamptz, "
    "reference text, reason_code text, reason_zh text, reason_en text, status smallint, ended_at timestamptz, "
    "sent text, answered text) WHERE notice.request_id = r.request_id AND notice.state = 'waiting' "
    "RETURNING notice.request_id",
    "json",
)
_OF_VISIT = Prepared(f"SELECT {_SELECTED} FROM notice n WHERE n.visit_id = CAST($1 AS uuid) ORDER BY n.place", "text")
_OF_CASE = Prepared(f"SELECT {_SELECTED} FROM notice n WHERE n.case_id = CAST($1 AS uuid) ORDER BY n.place", "text")
_ONE = Prepared(f"SELECT {_SELECTED} FROM notice n WHERE n.request_id = $1", "text")
_OPEN = Prepared(
    f"SELECT {_SELECTED} FROM notice n WHERE n.state IN ('waiting', 'refused', 'given_up') "
    "AND ($1 = '' OR n.payer = $1) ORDER BY n.place LIMIT $2",
    "text",
    "integer",
)
_LOCK = Prepared(f"SELECT {_SELECTED} FROM notice n WHERE n.request_id = $1 FOR UPDATE OF n", "text")
_REOPEN = Prepared(
    "UPDATE notice SET state = $2, next_at = CAST($3 AS timestamptz), attempts = 0, "
    "ended_at = CASE WHEN $2 = 'waiting' THEN NULL ELSE CAST($3 AS timestamptz) END "
    "WHERE request_id = $1 RETURNING request_id",
    "text",
    "text",
    "text",
)
_WITHDRAW = Prepared(
    "UPDATE notice SET state = 'withdrawn', ended_at = CAST($2 AS timestamptz) "
    "WHERE request_id = $1 AND state = 'waiting' AND attempts = 0 RETURNING request_id",
    "text",
    "text",
)


def add(connection: Connection, new: Sequence[StoredNotice]) -> None:
    """Store notices; one whose request id is there already is left as it is."""
    if new:
        _INSERT.rows(connection, as_json([{name: getattr(one, name) for name in _NEW} for one in new]))


def lock_due(connection: Connection, payers: Sequence[str], now: datetime, limit: int) -> list[StoredNotice]:
    """Notices to these payers that are due, locked; those that others hold are left to them."""
    listed = "{" + ",".join(f'"{payer}"' for payer in payers) + "}"
    return [_notice(row) for row in _DUE.rows(connection, now.isoformat(), listed, limit)]


def save(connection: Connection, touched: Sequence[StoredNotice]) -> None:
    """Write back notices that still wait; one that has ended meanwhile stays as it ended."""
    if touched:
        rows = [{name: getattr(one, name) for name in ("request_id", *_CHANGES, "sent", "answered")} for one in touched]
        _SAVE.rows(connection, as_json(rows))


def of_visit(connection: Connection, visit_id: str) -> list[StoredNotice]:
    """Everything that payers were told about a visit, in order."""
    return [_notice(row) for row in _OF_VISIT.rows(connection, visit_id)]


def of_case(connection: Connection, case_id: str) -> list[StoredNotice]:
    """Everything that payers were told about a case, in order."""
    return [_notice(row) for row in _OF_CASE.rows(connection, case_id)]


def find(connection: Connection, request_id: str) -> StoredNotice | None:
    """One notice."""
    rows = _ONE.rows(connection, request_id)
    return _notice(rows[0]) if rows else None


def not_taken(connection: Connection, payer: str = "", limit: int = 200) -> list[StoredNotice]:
    """What no payer has taken: waiting, refused or given up; of one payer, or of all; the oldest first."""
    return [_notice(row) for row in _OPEN.rows(connection, payer, limit)]


def lock(connection: Connection, request_id: str) -> StoredNotice | None:
    """One notice, locked until the transaction ends."""
    rows = _LOCK.rows(connection, request_id)
    return _notice(rows[0]) if rows else None


def set_state(connection: Connection, request_id: str, state: NoticeProgress, at: datetime) -> None:
    """What people decide: said again from `at` on (`waiting`), or left (`withdrawn`)."""
    _REOPEN.rows(connection, request_id, state.value, at.isoformat())


def withdraw(connection: Connection, request_id: str, at: datetime) -> bool:
    """Take back a notice of which not a byte has left; False when it may have been heard."""
    return bool(_WITHDRAW.rows(connection, request_id, at.isoformat()))


def _notice(row: Sequence[object]) -> StoredNotice:
    one = StoredNotice(*row)  # type: ignore[arg-type]
    one.state = NoticeProgress(one.state)
    one.message = bytes(one.message)
    one.sent = bytes(one.sent) if one.sent is not None else None
    one.answered = bytes(one.answered) if one.answered is not None else None
    return one
