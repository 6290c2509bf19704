"""The record of runs and their breaks: one run per party, scheme and day, and those it took the place of as history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from store import doubts
from store.matching import Matched


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it stands."""

    run_id: int
    party: str
    scheme: str
    day: date
    state: str
    switches: Mapping[str, Any]
    rulebook_version: int
    statement_ids: Sequence[int]
    totals: Mapping[str, Any]
    counts: Mapping[str, int]
    ledger_to: int
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    failure: str
    signed_by: str
    approved_by: str
    signed_at: datetime | None


class Break(NamedTuple):
    """One break as it stands. A side is [settlements, refunds, settled fen, refunded fen, account fen]."""

    break_id: int
    run_id: int
    party: str
    scheme: str
    day: date
    break_class: str
    key: str
    case_id: str | None
    leg_no: int | None
    institution: str
    payer: str
    settlement_no: str
    request_id: str
    reference: str
    hub: Sequence[int] | None
    payer_side: Sequence[int] | None
    hospital: Sequence[int] | None
    difference_fen: int
    first_day: date
    state: str
    proposal: str
    reason: str
    resolution: str


_RUN = f"SELECT {', '.join(Run.__dataclass_fields__)} FROM recon_run "
_OF_DAY = "party = :party AND scheme = :scheme AND day = :day"
_STANDING = text(f"{_RUN} WHERE {_OF_DAY} AND state IN ('running', 'done', 'signed_off')")
_HELD = text(f"{_STANDING.text} FOR UPDATE")
_NEWEST = text(f"{_RUN} WHERE {_OF_DAY} ORDER BY run_id DESC LIMIT 1")
_BY_ID = text(f"{_RUN} WHERE run_id = :id")
_ON_DAY = text(f"{_RUN} WHERE day = :day AND state IN ('running', 'done', 'signed_off', 'failed') ORDER BY run_id")
_SET = text("UPDATE recon_run SET state = :state, failure = :failure, finished_at = :at WHERE run_id = :id")
_BEGIN = text(
    "INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version, statement_ids, started_by, "
    "started_at) VALUES (:party, :scheme, :day, 'running', CAST(:switches AS jsonb), :version, '{}', :by, :at) "
    "RETURNING run_id"
)
_VOID = text(f"UPDATE recon_run SET state = 'void' WHERE {_OF_DAY} AND state = 'done'")
_FINISH = text(
    "UPDATE recon_run SET state = 'done', statement_ids = :ids, neighbour_ids = :neighbour_ids, "
    "totals = CAST(:totals AS jsonb), counts = CAST(:counts AS jsonb), "
    "ledger_to = :ledger_to, finished_at = :at WHERE run_id = :id"
)
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")


class Day(NamedTuple):
    """What a run is of."""

    party: str
    scheme: str
    day: date

    @property
    def name(self) -> str:
        return f"{self.party}/{self.scheme}/{self.day}"


@contextmanager
def held(connection: Connection, of: Day) -> Iterator[bool]:
    """Whether this session alone may run `of` while the block lasts; the lock ends with the session that dies."""
    key = {"key": f"recon_run/{of.name}"}
    mine = bool(connection.execute(_TRY_LOCK, key).scalar_one())
    connection.commit()
    try:
        yield mine
    finally:
        if mine and not connection.invalidated:
            connection.rollback()
            connection.execute(_UNLOCK, key)
            connection.commit()


def standing(connection: Connection, of: Day, *, hold: bool = False) -> Run | None:
    """The run that counts: running, done or signed off. `hold`: who is signing it is waited for, and who will waits."""
    return _run(connection.execute(_HELD if hold else _STANDING, of._asdict()).first())


def newest(connection: Connection, of: Day) -> Run | None:
    """The latest run, also a failed or void one."""
    return _run(connection.execute(_NEWEST, of._asdict()).first())


def by_id(connection: Connection, run_id: int) -> Run | None:
    """One run."""
    return _run(connection.execute(_BY_ID, {"id": run_id}).first())


def on_day(connection: Connection, day: date) -> list[Run]:
    """The runs of a day that are not void, in the order of their making."""
    return [Run(**row._asdict()) for row in connection.execute(_ON_DAY, {"day": day})]


def begin(connection: Connection, of: Day, switches: Mapping[str, Any], version: int, *, by: str, at: datetime) -> int:
    """A new run, in the place of the one that was done."""
    connection.execute(_VOID, of._asdict())
    values = of._asdict() | {"switches": orjson.dumps(switches).decode(), "version": version, "by": by, "at": at}
    return int(connection.execute(_BEGIN, values).scalar_one())


def finish(connection: Connection, run_id: int, found: Matched, at: datetime) -> None:
    """Write down what was found."""
    values = {
        "id": run_id,
        "ids": list(found.statement_ids),
        "neighbour_ids": list(found.neighbour_ids),
        "totals": orjson.dumps(found.totals).decode(),
        "counts": orjson.dumps(found.counts).decode(),
        "ledger_to": found.ledger_to,
        "at": at,
    }
    connection.execute(_FINISH, values)


def fail(connection: Connection, run_id: int, failure: str, at: datetime) -> None:
    """Write down that a run came to nothing, and why."""
    connection.execute(_SET, {"id": run_id, "state": "failed", "failure": failure, "at": at})


_PARTIES = text(
    "SELECT DISTINCT payer FROM ledger_entry WHERE :day IN (effective_day, business_day) AND payer <> '' "
    "AND (effective_day = :day OR business_day = :day) "
    "UNION SELECT DISTINCT institution FROM ledger_entry WHERE effective_day = :day OR business_day = :day "
    "UNION SELECT party FROM statement WHERE day = :day AND state = 'standing'"
)


def with_business(connection: Connection, day: date) -> set[str]:
    """Parties that are in our books of a day, may be in the payer's, or have told theirs."""
    in_doubt = {payer for _, payer in doubts.payers_on(connection, [day])}
    return in_doubt | set(connection.execute(_PARTIES, {"day": day}).scalars())


_BREAKS = """
SELECT b.break_id, b.run_id, r.party, r.scheme, r.day, b.class, b.key, b.case_id, b.leg_no, b.institution, b.payer,
    b.settlement_no, b.request_id, b.reference, b.hub, b.payer_side, b.hospital, b.difference_fen, b.first_day, b.state,
    b.proposal, b.reason, b.resolution
FROM recon_break b JOIN recon_run r USING (run_id)
WHERE (CAST(:run_id AS bigint) IS NULL OR b.run_id = :run_id)
  AND (CAST(:run_id AS bigint) IS NOT NULL OR r.state <> 'void')
  AND (CAST(:day AS date) IS NULL OR r.day = :day) AND (:party = '' OR r.party = :party)
  AND (:class = '' OR b.class = :class) AND (:state = '' OR b.state = :state)
  AND b.break_id > :after
ORDER BY b.break_id LIMIT :limit
"""


def breaks(
    connection: Connection,
    *,
    run_id: int | None = None,
    day: date | None = None,
    party: str = "",
    break_class: str = "",
    state: str = "",
    after: int = 0,
    limit: int = 1_000,
) -> list[Break]:
    """Breaks in the order in which they were found, those of void runs only where the run is named.

    `after`: only those found after this one, for reading on.
    """
    values = {
        "run_id": run_id,
        "day": day,
        "party": party,
        "class": break_class,
        "state": state,
        "after": after,
        "limit": limit,
    }
    return [Break(*row) for row in connection.execute(text(_BREAKS), values)]


def _run(row: Any) -> Run | None:
    return Run(**row._asdict()) if row is not None else None
