"""I04 compares the cases with the ledger; I18 knows that not every payer's clock is believed. Replaces two views."""

from __future__ import annotations

import importlib

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

VIEWS: dict[str, str] = {
    "invariant_i04_amounts_only_with_effect": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
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
        SELECT coalesce(sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen WHEN e.credit = 'receivable' THEN -e.amount_fen END), 0) AS share, coalesce(sum(CASE WHEN e.debit = 'personal' THEN e.amount_fen WHEN e.credit = 'personal' THEN -e.amount_fen END), 0) AS personal, coalesce(sum(CASE WHEN e.debit = 'hospital' THEN e.amount_fen WHEN e.credit = 'hospital' THEN -e.amount_fen END), 0) AS hospital
        FROM ledger_entry e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.kind IN ('settle', 'late_approval', 'cancel', 'reversal', 'opening')
    ) AS is_
    WHERE l.case_id = c.case_id
      AND (must.share, must.personal, must.hospital) <> (is_.share, is_.personal, is_.hospital)
    UNION ALL
    SELECT 'case/' || c.case_id, 'charged with ' || is_.charged || ' of ' || c.total_fen || ' fen'
    FROM (
        SELECT -coalesce(sum(CASE WHEN e.debit = 'charges' THEN e.amount_fen WHEN e.credit = 'charges' THEN -e.amount_fen END), 0) AS charged
        FROM ledger_entry e WHERE e.case_id = c.case_id AND e.leg_no = 0 AND e.kind IN ('settle', 'late_approval', 'cancel', 'reversal', 'opening')
    ) AS is_
    WHERE is_.charged <> CASE WHEN c.purpose = 'settle' AND EXISTS (
        SELECT 1 FROM settlement_leg l
        WHERE l.case_id = c.case_id AND l.state IN ('approved', 'cancelling', 'cancel_held')
    ) THEN c.total_fen ELSE 0 END
) AS found(subject, detail)""",
    "invariant_i18_business_day_is_a_field": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
LEFT JOIN settlement_leg l ON l.case_id = c.case_id AND l.leg_no = 1
LEFT JOIN LATERAL (
    SELECT convert_from(a.body, 'UTF8')::jsonb ->> 'business_day' AS day
    FROM case_answer a WHERE a.case_id = c.case_id AND a.final ORDER BY a.revision DESC LIMIT 1
) AS answer ON true
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'settled without a business day'
    WHERE c.state = 'settled' AND c.purpose = 'settle' AND c.business_day IS NULL
    UNION ALL
    SELECT 'case/' || c.case_id, 'counts on ' || c.business_day || ', and the basic system settled on '
        || CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)
    WHERE c.state = 'settled' AND l.layer = 'basic' AND l.state = 'approved'
      AND c.business_day <> CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)
      -- A payer's clock that is far ahead, or begins in 1970, is not believed.
      AND l.decided_at BETWEEN '2000-01-01 00:00+08' AND coalesce(c.ended_at, now()) + interval '1 day'
    UNION ALL
    SELECT 'case/' || c.case_id, 'counts on ' || c.business_day || ', and the hospital was told ' || answer.day
    WHERE c.state = 'settled' AND answer.day <> c.business_day::text
) AS found(subject, detail)""",
}  # fmt: skip
_BEFORE = importlib.import_module("store.migrations.versions.0003_watch_and_invariants").VIEWS


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {_BEFORE[name]}")
