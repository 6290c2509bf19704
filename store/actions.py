"""What operators ask for and what became of it; see `hub.people.actions` for the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, Row, text


class ActionState(StrEnum):
    """Life of an action; only `requested` may still change."""

    REQUESTED = "requested"
    REJECTED = "rejected"
    EXECUTED = "executed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Action:
    """An operator's action. `detail` and `outcome` hold identifiers and digests, no personal data."""

    id: int
    kind: str
    subject: str
    detail: Mapping[str, Any]
    reason: str
    requested_by: str
    requested_at: datetime
    state: ActionState
    decided_by: str
    decided_at: datetime | None
    outcome: str


_COLUMNS = "id, kind, subject, detail, reason, requested_by, requested_at, state, decided_by, decided_at, outcome"
_ADD = text(f"""
    INSERT INTO operator_action (kind, subject, detail, reason, requested_by, requested_at, state)
    VALUES (:kind, :subject, CAST(:detail AS jsonb), :reason, :by, :now, 'requested') RETURNING {_COLUMNS}""")
_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended('action/' || :kind || '/' || :subject, 0))")
_TWIN = text("""
    SELECT o.id FROM operator_action a JOIN operator_action o USING (subject, kind, detail)
    WHERE a.id = :id AND o.id <> a.id AND o.state = 'requested' ORDER BY o.id LIMIT 1""")
_LOCK = text(f"SELECT {_COLUMNS} FROM operator_action WHERE id = :id FOR UPDATE")
_READ = text(f"SELECT {_COLUMNS} FROM operator_action WHERE id = :id")
_DECIDE = text(f"""
    UPDATE operator_action SET state = :state, decided_by = :by, decided_at = :now, outcome = :outcome
    WHERE id = :id AND state = 'requested' RETURNING {_COLUMNS}""")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM operator_action
    WHERE (:state = '' OR state = :state) AND (:kind = '' OR kind = :kind OR starts_with(kind, :kind || '.'))
      AND (:subject = '' OR subject = :subject)
    ORDER BY id DESC LIMIT :limit""")
_ABOUT = text(f"""
    SELECT {_COLUMNS} FROM operator_action
    WHERE subject = :subject OR detail -> :list @> CAST(:item AS jsonb) ORDER BY id""")


def add(
    connection: Connection, kind: str, subject: str, detail: Mapping[str, Any], *, reason: str, by: str, now: datetime
) -> Action:
    """A new action, requested."""
    values = {"kind": kind, "subject": subject, "detail": orjson.dumps(detail).decode()}
    return _action(connection.execute(_ADD, {**values, "reason": reason, "by": by, "now": now}).one())


def hold(connection: Connection, kind: str, subject: str) -> None:
    """One at a time asks for this about this; until the transaction ends."""
    connection.execute(_HOLD, {"kind": kind, "subject": subject})


def twin(connection: Connection, action_id: int) -> int | None:
    """An action that waits and asks for exactly what this one asks for; None when there is none."""
    found: int | None = connection.execute(_TWIN, {"id": action_id}).scalar()
    return found


def lock(connection: Connection, action_id: int) -> Action | None:
    """The action, held until the transaction ends; None when there is none."""
    row = connection.execute(_LOCK, {"id": action_id}).first()
    return None if row is None else _action(row)


def read(connection: Connection, action_id: int) -> Action | None:
    """The action as it is; None when there is none."""
    row = connection.execute(_READ, {"id": action_id}).first()
    return None if row is None else _action(row)


def decide(
    connection: Connection, action_id: int, state: ActionState, *, by: str, outcome: str, now: datetime
) -> Action:
    """Set the end of a requested action; `by` is the second person, empty when there was none."""
    values = {"id": action_id, "state": state.value, "by": by, "outcome": outcome, "now": now}
    return _action(connection.execute(_DECIDE, values).one())


def listed(
    connection: Connection, *, state: str = "", kind: str = "", subject: str = "", limit: int = 100
) -> list[Action]:
    """The newest first; `kind` may be a whole kind (dlq.replay) or a family (dlq)."""
    values = {"state": state, "kind": kind, "subject": subject, "limit": limit}
    return [_action(row) for row in connection.execute(_LIST, values)]


def about(connection: Connection, subject: str, list_name: str, item: int) -> list[Action]:
    """Actions on this subject or with this item in a list of their detail, oldest first."""
    values = {"subject": subject, "list": list_name, "item": orjson.dumps([item]).decode()}
    return [_action(row) for row in connection.execute(_ABOUT, values)]


def _action(row: Row[Any]) -> Action:
    return Action(**{**row._asdict(), "state": ActionState(row.state)})
