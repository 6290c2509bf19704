"""Alerts on their way to people: written in the transaction that found the incident, delivered outside of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, text

from store.incidents import Incident

Event = Literal["opened", "recovered", "test"]

READ_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Alert:
    """One event for people. `body` is what is sent; `grouped` says that it stands for many incidents."""

    alert_id: str
    event: Event
    kind: str
    grouped: bool
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Due:
    """An alert to be delivered now; nobody else delivers it while our lease runs."""

    id: int
    alert_id: str
    body: Mapping[str, Any]
    attempts: int
    created_at: datetime
    logged: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """What people heard of a kind lately."""

    single: int
    grouped: int


_COLUMNS = ", ".join(Incident.__dataclass_fields__)
_TO_OPEN = text(f"SELECT {_COLUMNS} FROM incident WHERE open_notice_at IS NULL ORDER BY kind, id LIMIT :count")
_TO_RECOVER = text(
    f"SELECT {_COLUMNS} FROM incident WHERE open_notice_at IS NOT NULL AND recovered_at IS NOT NULL "
    "AND recovery_notice_at IS NULL ORDER BY kind, id LIMIT :count"
)
_MARK_OPEN = text("""
    UPDATE incident SET open_notice_at = :now,
        recovery_notice_at = CASE WHEN recovered_at IS NULL THEN recovery_notice_at ELSE :now END
    WHERE id = ANY(:ids)""")
_MARK_RECOVERED = text("UPDATE incident SET recovery_notice_at = :now WHERE id = ANY(:ids)")
_RECENT = text("""
    SELECT kind, count(*) FILTER (WHERE NOT grouped) AS single, count(*) FILTER (WHERE grouped) AS grouped
    FROM alert WHERE kind = ANY(:kinds) AND event = :event AND created_at > :now - make_interval(secs => :window_s)
    GROUP BY kind""")
_ADD = text("""
    INSERT INTO alert (alert_id, event, kind, grouped, body, created_at, next_at)
    SELECT r.alert_id, r.event, r.kind, r.grouped, r.body, :now, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS r(alert_id uuid, event text, kind text, grouped boolean, body jsonb)
    ON CONFLICT ON CONSTRAINT one_row_per_alert DO NOTHING""")
_LEASE = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM alert WHERE delivered_at IS NULL AND given_up_at IS NULL AND next_at <= :now
        ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED)
    UPDATE alert SET attempts = alert.attempts + 1, next_at = :now + make_interval(secs => :lease_s)
    FROM due WHERE alert.id = due.id
    RETURNING alert.id, CAST(alert.alert_id AS text), alert.body, alert.attempts, alert.created_at,
              alert.logged_at IS NOT NULL""")
_LOGGED = text("UPDATE alert SET logged_at = :now WHERE id = ANY(:ids) AND logged_at IS NULL")
_DELIVERED = text("UPDATE alert SET delivered_at = :now, last_error = '' WHERE id = ANY(:ids)")
_FAILED = text("UPDATE alert SET next_at = :next_at, last_error = :error WHERE id = :id AND delivered_at IS NULL")
_GIVEN_UP = text("UPDATE alert SET given_up_at = :now, last_error = :error WHERE id = :id AND delivered_at IS NULL")


def unannounced(connection: Connection, event: Event) -> list[Incident]:
    """Incidents of whose opening (or end) nobody has been told, by kind, the oldest first."""
    statement = _TO_OPEN if event == "opened" else _TO_RECOVER
    return [Incident(*row) for row in connection.execute(statement, {"count": READ_MAX})]


def recent(
    connection: Connection, event: Event, kinds: Sequence[str], now: datetime, window_s: float
) -> dict[str, Recent]:
    """How many alerts of each kind were written in the last `window_s`."""
    values = {"event": event, "kinds": list(kinds), "now": now, "window_s": window_s}
    return {row.kind: Recent(row.single, row.grouped) for row in connection.execute(_RECENT, values)}


def announce(connection: Connection, event: Event, written: Sequence[Alert], ids: Sequence[int], now: datetime) -> None:
    """Write alerts and mark the incidents they are about: neither without the other."""
    add(connection, written, now)
    if ids:
        mark = _MARK_OPEN if event == "opened" else _MARK_RECOVERED
        connection.execute(mark, {"ids": list(ids), "now": now})


def add(connection: Connection, written: Sequence[Alert], now: datetime) -> None:
    """Write alerts; they are due at once."""
    if written:
        rows = [
            {"alert_id": one.alert_id, "event": one.event, "kind": one.kind, "grouped": one.grouped, "body": one.body}
            for one in written
        ]
        connection.execute(_ADD, {"rows": orjson.dumps(rows).decode(), "now": now})


def lease(connection: Connection, now: datetime, *, lease_s: float, limit: int) -> list[Due]:
    """Alerts that are due, the oldest first; they are due again after `lease_s` unless somebody says otherwise."""
    found = connection.execute(_LEASE, {"now": now, "lease_s": lease_s, "count": limit})
    return sorted((Due(*row) for row in found), key=lambda due: due.id)


def logged(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """These stand in the log."""
    connection.execute(_LOGGED, {"ids": list(ids), "now": now})


def delivered(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """These have arrived."""
    connection.execute(_DELIVERED, {"ids": list(ids), "now": now})


def failed(connection: Connection, id_: int, error: str, next_at: datetime) -> None:
    """This one has to be sent again at `next_at`."""
    connection.execute(_FAILED, {"id": id_, "error": error, "next_at": next_at})


def given_up(connection: Connection, id_: int, error: str, now: datetime) -> None:
    """This one is not sent any more."""
    connection.execute(_GIVEN_UP, {"id": id_, "error": error, "now": now})
