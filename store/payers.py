"""Stop switches of payers, and how the processes that call them say they fare. Small tables, read whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether calls to a payer (or to all, `*`) are stopped; who turned it last, and why."""

    party: str
    stopped: bool
    reason: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """One payer as one process sees it."""

    party: str
    process: str
    breaker: str
    since: datetime
    failures: int
    last_error: str
    retries_held: int
    updated_at: datetime


_SWITCHES = text("SELECT party, stopped, reason, changed_by, changed_at FROM payer_switch ORDER BY party")
_TURN = text("""
    INSERT INTO payer_switch (party, stopped, reason, changed_by, changed_at)
    VALUES (:party, :stopped, :reason, :by, :now)
    ON CONFLICT ON CONSTRAINT payer_switch_pk DO UPDATE
    SET stopped = excluded.stopped, reason = excluded.reason, changed_by = excluded.changed_by,
        changed_at = excluded.changed_at
    """)
_HEALTH = text("""
    SELECT party, process, breaker, since, failures, last_error, retries_held, updated_at FROM payer_health
    WHERE updated_at >= :alive_since ORDER BY party, process
    """)
_TELL = text("""
    INSERT INTO payer_health (party, process, breaker, since, failures, last_error, retries_held, updated_at)
    VALUES (:party, :process, :breaker, :now, :failures, :last_error, :retries_held, :now)
    ON CONFLICT ON CONSTRAINT payer_health_pk DO UPDATE
    SET breaker = excluded.breaker, failures = excluded.failures, last_error = excluded.last_error,
        retries_held = excluded.retries_held, updated_at = excluded.updated_at,
        since = CASE WHEN payer_health.breaker = excluded.breaker THEN payer_health.since ELSE excluded.since END
    """)
_FORGET = text("DELETE FROM payer_health WHERE updated_at < :before")


def switches(connection: Connection) -> list[Switch]:
    """Every switch that was ever turned."""
    return [Switch(**row._asdict()) for row in connection.execute(_SWITCHES)]


def turn(connection: Connection, party: str, *, stopped: bool, reason: str, by: str, now: datetime) -> None:
    """Stop or release calls to a payer, or to all of them (`*`)."""
    connection.execute(_TURN, {"party": party, "stopped": stopped, "reason": reason, "by": by, "now": now})


def health(connection: Connection, alive_since: datetime) -> list[Health]:
    """How payers fare, by the processes that have spoken since then."""
    return [Health(**row._asdict()) for row in connection.execute(_HEALTH, {"alive_since": alive_since})]


def tell(connection: Connection, told: Sequence[dict[str, object]], now: datetime, forget_before: datetime) -> None:
    """What this process says now; processes that have been silent since `forget_before` are forgotten."""
    if told:
        connection.execute(_TELL, [{**one, "now": now} for one in told])
    connection.execute(_FORGET, {"before": forget_before})
