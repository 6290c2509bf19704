"""Legs whose payer has not given its word, or whose undo is not confirmed: what people must see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from routing.states import LegState

PEOPLE = "people"
"""Operation of an exchange that holds what people decided about a leg, beside the payer's own words."""
OPEN_STATES = (
    LegState.IN_DOUBT,
    LegState.HELD,
    LegState.REVERSING,
    LegState.CANCELLING,
    LegState.CANCEL_HELD,
)


@dataclass(frozen=True, slots=True)
class OpenDoubt:
    """One leg in doubt, as it stands. Amounts in whole fen; no patient's data."""

    case_id: str
    leg_no: int
    institution: str
    settlement_no: str
    case_state: str
    payer: str
    layer: str
    state: LegState
    reason_code: str
    left_fen: int
    amount_fen: int
    attempts: int
    inquiries: int
    undo_attempts: int
    since: datetime
    next_at: datetime | None
    watch_at: datetime | None

    @property
    def resolves_itself(self) -> bool:
        """Whether the hub still tries by itself; otherwise people have the next word."""
        return self.state not in (LegState.HELD, LegState.CANCEL_HELD) and self.next_at is not None


# Every case that is not at its end is watched, so the partial index leads to all of them and to nothing else.
_LIST = text("""
    SELECT CAST(c.case_id AS text) AS case_id, l.leg_no, c.institution, c.settlement_no, c.state AS case_state, l.payer,
           l.layer, l.state, l.reason_code, coalesce(l.left_fen, 0) AS left_fen, l.amount_fen, l.attempts, l.inquiries,
           l.undo_attempts, coalesce(l.doubt_since, l.decided_at, l.claimed_at, c.received_at) AS since, l.next_at,
           c.watch_at
    FROM settlement_case c JOIN settlement_leg l USING (case_id)
    WHERE c.watch_at IS NOT NULL AND l.state = ANY(:states) AND (:payer = '' OR l.payer = :payer)
      AND (:older_than IS NULL OR coalesce(l.doubt_since, l.decided_at, l.claimed_at, c.received_at) <= :older_than)
    ORDER BY since LIMIT :limit
    """)

# Around midnight either day may be the one that the payer counts it on: when it was asked, and since when its word is
# missed. What is being undone is on the day of the undo too.
_PAYERS_ON = text("""
    SELECT DISTINCT on_day.day, l.payer
    FROM settlement_case c JOIN settlement_leg l USING (case_id)
    CROSS JOIN LATERAL (VALUES (l.claimed_at), (l.doubt_since)) AS asked(at)
    CROSS JOIN LATERAL (SELECT CAST(asked.at AT TIME ZONE 'Asia/Shanghai' AS date) AS day) AS on_day
    WHERE c.watch_at IS NOT NULL AND c.purpose = 'settle' AND l.state = ANY(:states) AND on_day.day = ANY(:days)
    """)


def payers_on(connection: Connection, days: Sequence[date]) -> set[tuple[date, str]]:
    """(day, payer) of open doubts: the payer's books of that day may hold what ours do not."""
    values = {"states": list(OPEN_STATES), "days": list(days)}
    return {(row.day, row.payer) for row in connection.execute(_PAYERS_ON, values)}


def listed(
    connection: Connection, *, payer: str = "", older_than: datetime | None = None, limit: int = 100
) -> list[OpenDoubt]:
    """Open doubts, the oldest first."""
    values = {"states": list(OPEN_STATES), "payer": payer, "older_than": older_than, "limit": limit}
    return [OpenDoubt(**{**row._asdict(), "state": LegState(row.state)}) for row in connection.execute(_LIST, values)]
