"""Corrections that outlived their share: posted while it stood, and left alone when it was undone.

An undo books the mirror of what settled, not of what people posted since: whether the payer took back its own amount or
ours is in its books of the day of the undo and nowhere else. Until these were compared and signed off, somebody must be
told. Whole fen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from schemas.money import yuan_of
from store.incidents import Found

COUNT_MAX = 1_000
_FEN = (
    "sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen WHEN e.credit = 'receivable' THEN -e.amount_fen ELSE 0 END)"
)
# An undo without an entry, of what was declined here and stood there, is told by the moment of the payer's word.
_LEFT = text(f"""
    WITH standing AS (
        SELECT e.case_id, e.leg_no, e.payer, min(e.posted_at) AS posted_at, CAST({_FEN} AS bigint) AS fen
        FROM ledger_entry e
        WHERE e.kind = 'correction' AND (CAST(:case AS uuid) IS NULL OR e.case_id = CAST(:case AS uuid))
        GROUP BY e.case_id, e.leg_no, e.payer HAVING {_FEN} <> 0
    )
    SELECT CAST(s.case_id AS text) AS case_id, s.leg_no, s.payer, c.institution, c.settlement_no, s.fen,
        coalesce(u.effective_day, CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)) AS day,
        coalesce(u.posted_at, l.decided_at) AS since
    FROM standing s JOIN settlement_case c USING (case_id) JOIN settlement_leg l USING (case_id, leg_no)
    CROSS JOIN LATERAL (
        SELECT max(x.effective_day) AS effective_day, max(x.business_day) AS business_day,
            max(x.posted_at) AS posted_at, coalesce(max(x.entry_id), 0) AS entry_id
        FROM ledger_entry x WHERE x.case_id = s.case_id AND x.leg_no = s.leg_no AND x.kind IN ('cancel', 'reversal')
    ) AS u
    WHERE l.state IN ('cancelled', 'reversed') AND s.posted_at <= coalesce(u.posted_at, l.decided_at)
        AND NOT EXISTS (
            SELECT 1 FROM recon_run r WHERE r.party = s.payer AND r.state = 'signed_off' AND r.ledger_to >= u.entry_id
                AND r.day IN (u.effective_day, u.business_day, CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)))
    ORDER BY s.case_id, s.leg_no LIMIT {COUNT_MAX}""")


@dataclass(frozen=True, slots=True)
class Left:
    """What a correction leaves on what a payer owes for an undone share. `day`: in whose books it is to be seen why."""

    case_id: str
    leg_no: int
    payer: str
    institution: str
    settlement_no: str
    fen: int
    day: date
    since: datetime


def left(connection: Connection, case_id: str | None = None) -> list[Left]:
    """Those of all cases, or of one, that nobody has signed since."""
    return [Left(**row._asdict()) for row in connection.execute(_LEFT, {"case": case_id})]


def as_found(one: Left) -> Found:
    """As incidents tell of it."""
    facts = {
        "case_id": one.case_id,
        "leg_no": one.leg_no,
        "payer": one.payer,
        "institution": one.institution,
        "settlement_no": one.settlement_no,
        "amount": yuan_of(one.fen),
        "day": str(one.day),
        "since": one.since.isoformat(),
    }
    return Found(f"leg/{one.case_id}/{one.leg_no}", facts)
