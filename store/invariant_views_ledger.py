"""The view of I04, the ledger against the cases that it books; see `store.invariants`."""

from __future__ import annotations

_BOOKED = "('settle', 'late_approval', 'cancel', 'reversal', 'opening')"
"""The kinds that book a case's own life; corrections, deductions and payments come from elsewhere."""


def _stands(account: str) -> str:
    """What stands on an account, debit less credit, of the entries at hand."""
    return (
        f"coalesce(sum(CASE WHEN e.debit = '{account}' THEN e.amount_fen "
        f"WHEN e.credit = '{account}' THEN -e.amount_fen END), 0)"
    )


LEDGER = f"""SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no,
        l.state || ' and still bears ' || (l.amount_fen + l.account_fen + l.hospital_fen) || ' fen'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.amount_fen + l.account_fen + l.hospital_fen <> 0
      AND l.state IN ('planned', 'claimed', 'in_doubt', 'held', 'declined', 'deferred', 'not_needed')
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, l.state || ' with ' || must.share || ' + ' || must.personal || ' + '
        || must.hospital || ' fen, and booked with ' || is_.share || ' + ' || is_.personal || ' + ' || is_.hospital
    FROM settlement_leg l
    CROSS JOIN LATERAL (
        SELECT CASE WHEN stands THEN l.amount_fen ELSE 0 END AS share,
               CASE WHEN stands THEN l.account_fen ELSE 0 END AS personal,
               CASE WHEN stands THEN l.hospital_fen ELSE 0 END AS hospital
        FROM (SELECT c.purpose = 'settle' AND l.state IN ('approved', 'cancelling', 'cancel_held') AS stands) AS now
    ) AS must
    CROSS JOIN LATERAL (
        SELECT {_stands("receivable")} AS share, {_stands("personal")} AS personal, {_stands("hospital")} AS hospital
        FROM ledger_entry e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.kind IN {_BOOKED}
    ) AS is_
    WHERE l.case_id = c.case_id
      AND (must.share, must.personal, must.hospital) <> (is_.share, is_.personal, is_.hospital)
    UNION ALL
    SELECT 'case/' || c.case_id, 'charged with ' || is_.charged || ' of ' || c.total_fen || ' fen'
    FROM (
        SELECT -{_stands("charges")} AS charged
        FROM ledger_entry e WHERE e.case_id = c.case_id AND e.leg_no = 0 AND e.kind IN {_BOOKED}
    ) AS is_
    WHERE is_.charged <> CASE WHEN c.purpose = 'settle' AND EXISTS (
        SELECT 1 FROM settlement_leg l
        WHERE l.case_id = c.case_id AND l.state IN ('approved', 'cancelling', 'cancel_held')
    ) THEN c.total_fen ELSE 0 END
) AS found(subject, detail)"""
