"""The watch: passes, alerts, what the watch looks for, and one view per invariant. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VIEWS: dict[str, str] = {
    "invariant_i01_one_settlement_per_number": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'the key ' || c.case_key || ' does not belong to number ' || c.settlement_no
    WHERE (c.purpose = 'settle' AND c.case_key <> c.settlement_no)
       OR (c.purpose = 'trial' AND c.case_key NOT LIKE 'trial/%')
    UNION ALL
    SELECT 'case/' || c.case_id, 'settled without any payer''s part'
    WHERE c.state = 'settled' AND NOT EXISTS (SELECT 1 FROM settlement_leg l WHERE l.case_id = c.case_id)
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the case is settled and the basic system''s part is ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.leg_no = 1 AND l.layer = 'basic' AND c.state = 'settled'
      AND l.state IN ('declined', 'deferred', 'not_needed', 'cancelled', 'reversed')
) AS found(subject, detail)""",
    "invariant_i02_effects_have_evidence": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'approved, and neither the payer nor a person has said so'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.state = 'approved' AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('approved')) AND NOT EXISTS (SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || c.case_id || '/' || l.leg_no AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, l.state || ', and nobody has confirmed it'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND NOT EXISTS (SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || c.case_id || '/' || l.leg_no AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))
      AND ((l.state = 'cancelled' AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('cancelled')))
        OR (l.state = 'reversed' AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('cancelled', 'declined', 'not_found'))))
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || a.leg_no, 'asked to settle once more after its undo was confirmed'
    FROM exchange a
    WHERE a.case_id = c.case_id AND a.direction = 'out' AND a.operation = 'settle'
      AND EXISTS (SELECT 1 FROM exchange b WHERE b.case_id = a.case_id AND b.leg_no = a.leg_no
                  AND b.direction = 'in' AND b.outcome = 'cancelled' AND b.exchange_id < a.exchange_id)
) AS found(subject, detail)""",
    "invariant_i03_money_adds_up": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.amount_fen), 0) AS shares, coalesce(sum(l.account_fen), 0) AS account,
           coalesce(sum(l.hospital_fen), 0) AS hospital
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND (l.state = 'approved'
       OR (l.state IN ('cancelling', 'cancel_held') AND c.state <> 'open'))
) AS legs
LEFT JOIN LATERAL (
    SELECT convert_from(a.body, 'UTF8')::jsonb AS said, a.final
    FROM case_answer a WHERE a.case_id = c.case_id ORDER BY a.revision DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT 100 * (last.said ->> 'total')::numeric AS total, 100 * (last.said ->> 'account')::numeric AS account,
           100 * (last.said ->> 'hospital_borne')::numeric AS hospital, 100 * (last.said ->> 'cash')::numeric AS cash,
           (SELECT coalesce(100 * sum((share ->> 'amount')::numeric), 0)
            FROM jsonb_array_elements(last.said -> 'shares') AS share) AS shares
) AS answer ON last.said IS NOT NULL
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'payers, account and hospital bear '
        || (legs.shares + legs.account + legs.hospital) || ' fen of ' || c.total_fen
    WHERE legs.shares + legs.account + legs.hospital > c.total_fen
    UNION ALL
    SELECT 'case/' || c.case_id, 'the newest answer does not add up to ' || c.total_fen || ' fen'
    WHERE last.said IS NOT NULL AND (answer.total <> c.total_fen
       OR answer.shares + answer.account + answer.hospital + answer.cash <> c.total_fen)
    UNION ALL
    SELECT 'case/' || c.case_id, 'the final answer says other amounts than the payers'' parts'
    WHERE last.final AND c.state IN ('settled', 'declined', 'cancelled')
      AND (answer.shares <> legs.shares OR answer.account <> legs.account OR answer.hospital <> legs.hospital)
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the basic system''s own figures do not add up to its part'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.basic IS NOT NULL AND l.state = 'approved'
      AND ((l.basic ->> 'fund_fen')::bigint <> l.amount_fen
        OR (l.basic ->> 'account_fen')::bigint <> l.account_fen
        OR (l.basic ->> 'hospital_fen')::bigint <> l.hospital_fen
        OR (l.basic ->> 'fund_fen')::bigint + (l.basic ->> 'account_fen')::bigint
           + (l.basic ->> 'hospital_fen')::bigint + (l.basic ->> 'cash_fen')::bigint <> c.total_fen)
) AS found(subject, detail)""",
    "invariant_i04_amounts_only_with_effect": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no,
        l.state || ' and still bears ' || (l.amount_fen + l.account_fen + l.hospital_fen) || ' fen'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.amount_fen + l.account_fen + l.hospital_fen <> 0
      AND l.state IN ('planned', 'claimed', 'in_doubt', 'held', 'declined', 'deferred', 'not_needed')
) AS found(subject, detail)""",
    "invariant_i05_nobody_waits_unseen": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN c.state = 'cancelling' THEN coalesce(
            (SELECT max(u.asked_at) FROM case_undo u WHERE u.case_id = c.case_id), c.received_at)
        ELSE coalesce(
            (SELECT coalesce(
                (SELECT min(e.at) FROM exchange e WHERE e.case_id = c.case_id AND e.at > max(a.answered_at)),
                max(a.answered_at))
             FROM case_answer a WHERE a.case_id = c.case_id AND a.final HAVING max(a.answered_at) IS NOT NULL),
            c.received_at)
        END AS since
) AS begun
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'open since ' || begun.since || ' and on nobody''s list'
    WHERE begun.since < now() - interval '3 minutes' AND NOT EXISTS (
        SELECT 1 FROM incident i
        WHERE i.kind = 'case.overdue' AND i.subject = 'case/' || c.case_id AND i.recovered_at IS NULL)
    UNION ALL
    SELECT 'case/' || c.case_id, 'no answer although one was due at ' || c.answer_by
    WHERE c.state = 'open' AND c.revision = 0 AND c.answer_by < now() - interval '30 seconds'
    UNION ALL
    SELECT 'case/' || c.case_id, c.state || ' and no sweep will ever look at it'
    WHERE c.watch_at IS NULL
) AS found(subject, detail)
WHERE c.state IN ('open', 'cancelling')""",
    "invariant_i06_no_yes_is_dropped": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the payer said yes, and here it is ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND c.purpose = 'settle'
      AND l.state IN ('planned', 'declined', 'deferred', 'not_needed')
      AND EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('approved')) AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('cancelled')) AND NOT EXISTS (SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || c.case_id || '/' || l.leg_no AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))
) AS found(subject, detail)""",
    "invariant_i07_unknown_is_never_guessed": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || e.leg_no, 'asked to ' || e.operation || ' under the id ' || e.request_id
    FROM exchange e
    CROSS JOIN LATERAL (SELECT replace(c.case_id::text, '-', '') || '-' || e.leg_no AS id) AS own
    WHERE e.case_id = c.case_id AND e.direction = 'out' AND e.leg_no > 0
      AND NOT CASE e.operation
          WHEN 'settle' THEN e.request_id = own.id
          WHEN 'trial' THEN e.request_id = own.id
          WHEN 'inquire' THEN e.request_id LIKE own.id || '-q%'
          ELSE e.request_id = own.id || '-c' END
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'was in doubt and is ' || l.state || ' without anybody''s word'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND c.purpose = 'settle' AND l.doubt_since IS NOT NULL AND NOT EXISTS (SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || c.case_id || '/' || l.leg_no AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))
      AND ((l.state = 'declined' AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('declined', 'cancelled')))
        OR (l.state = 'deferred' AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no AND e.direction = 'in' AND e.outcome IN ('deferred', 'not_found', 'cancelled'))))
) AS found(subject, detail)""",
    "invariant_i08_written_before_sent": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || e.leg_no, 'an answer to ' || e.request_id || ', which was never written down'
    FROM exchange e
    WHERE e.case_id = c.case_id AND e.direction = 'in' AND e.leg_no > 0 AND NOT EXISTS (
        SELECT 1 FROM exchange o WHERE o.case_id = e.case_id AND o.leg_no = e.leg_no AND o.direction = 'out'
          AND o.request_id = e.request_id AND o.exchange_id < e.exchange_id)
      AND NOT (e.operation = 'people' AND EXISTS (SELECT 1 FROM operator_action a
          WHERE 'action/' || a.id = e.request_id AND a.subject = 'leg/' || c.case_id || '/' || e.leg_no))
) AS found(subject, detail)""",
    "invariant_i09_states_agree": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the case is ' || c.state || ' and this part ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND (
        (c.state IN ('settled', 'declined', 'cancelled')
            AND l.state IN ('planned', 'claimed', 'in_doubt', 'held', 'cancelling', 'cancel_held', 'reversing'))
        OR (c.state IN ('declined', 'cancelled') AND l.state = 'approved'))
    UNION ALL
    SELECT 'case/' || c.case_id, c.state || ' without the moment of its end'
    WHERE c.state IN ('settled', 'declined', 'cancelled') AND c.ended_at IS NULL
    UNION ALL
    SELECT 'case/' || c.case_id, 'version ' || c.version || ' after ' || c.revision || ' answers'
    WHERE c.version < c.revision
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'decided in version 0'
    FROM settlement_leg l WHERE l.case_id = c.case_id AND l.state <> 'planned' AND l.version = 0
      AND l.state <> 'not_needed'
    UNION ALL
    SELECT 'case/' || c.case_id, 'its parts are not numbered 1 to ' || count(*)
    FROM settlement_leg l WHERE l.case_id = c.case_id
    HAVING count(*) > 0 AND (min(l.leg_no) <> 1 OR max(l.leg_no) <> count(*))
) AS found(subject, detail)""",
    "invariant_i10_same_answer_again": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, c.revision || ' answers were given and ' || count(*) || ' are kept'
    FROM case_answer a WHERE a.case_id = c.case_id
    HAVING count(*) <> c.revision OR coalesce(max(a.revision), 0) <> c.revision
    UNION ALL
    SELECT 'case/' || c.case_id, 'answer ' || a.revision || ' speaks of another case, number or revision'
    FROM case_answer a
    CROSS JOIN LATERAL (SELECT convert_from(a.body, 'UTF8')::jsonb AS said) AS b
    WHERE a.case_id = c.case_id AND (b.said ->> 'case_id' IS DISTINCT FROM c.case_id::text
       OR b.said ->> 'settlement_no' IS DISTINCT FROM c.settlement_no
       OR (b.said ->> 'revision')::int IS DISTINCT FROM a.revision
       OR (b.said ->> 'final')::boolean IS DISTINCT FROM a.final)
) AS found(subject, detail)""",
    "invariant_i11_undo_blocks": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'reversed before it came, and yet it has parts or messages to payers'
    WHERE c.total_fen = 0 AND (EXISTS (SELECT 1 FROM settlement_leg l WHERE l.case_id = c.case_id)
       OR EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no > 0))
    UNION ALL
    SELECT 'case/' || c.case_id, 'an undo was asked for, and it is ' || c.state
    WHERE c.state NOT IN ('cancelling', 'cancelled')
      AND EXISTS (SELECT 1 FROM case_undo u WHERE u.case_id = c.case_id)
) AS found(subject, detail)""",
    "invariant_i12_dead_letters_are_accounted_for": """SELECT d.died_at AS at, CAST(NULL AS uuid) AS case_id, 'dead_letter/' || d.id AS subject, found.detail
FROM dead_letter d
CROSS JOIN LATERAL (
    SELECT 'open, and yet resolved at ' || d.resolved_at WHERE d.state = 'open' AND d.resolved_at IS NOT NULL
    UNION ALL
    SELECT d.state || ', and nobody knows when' WHERE d.state <> 'open' AND d.resolved_at IS NULL
    UNION ALL
    SELECT 'replayed, and the message that went out again has no id'
    WHERE d.state = 'replayed' AND d.replay_message_id = ''
    UNION ALL
    SELECT 'discarded without a person and a reason'
    WHERE d.state = 'discarded' AND (d.resolved_by = '' OR d.resolution = '')
) AS found(detail)""",
    "invariant_i13_outbox_and_inbox": """SELECT c.received_at AS at, c.case_id, found.subject, found.detail
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'message ' || e.request_id || ' had effect and is not in the inbox'
    FROM exchange e
    WHERE e.case_id = c.case_id AND e.leg_no = 0 AND e.direction = 'in' AND NOT EXISTS (
        SELECT 1 FROM inbox i WHERE i.consumer = e.party AND i.message_id = e.request_id)
) AS found(subject, detail)
UNION ALL
SELECT o.created_at, NULL, 'outbox/' || o.id, 'waits since ' || o.available_at || ' and is on nobody''s list'
FROM outbox o
WHERE o.queue NOT LIKE 'out.%' AND o.available_at < now() - interval '10 minutes'
  AND coalesce(o.leased_until, o.available_at) < now() - interval '10 minutes'
  AND NOT EXISTS (SELECT 1 FROM incident i WHERE i.kind = 'outbox.stuck' AND i.recovered_at IS NULL)""",
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
    UNION ALL
    SELECT 'case/' || c.case_id, 'counts on ' || c.business_day || ', and the hospital was told ' || answer.day
    WHERE c.state = 'settled' AND answer.day <> c.business_day::text
) AS found(subject, detail)""",
}


def upgrade() -> None:
    op.create_table(
        "watch_pass",
        sa.Column("name", sa.Text(), nullable=False, comment="watch, verify"),
        sa.Column("process", sa.Text(), nullable=False, comment="who made the last pass"),
        sa.Column("began_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "steady_since",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            comment="no pass has been missed since",
        ),
        sa.PrimaryKeyConstraint("name", name="watch_pass_pk"),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("alert_id", sa.UUID(as_uuid=False), nullable=False, comment="by which a receiver drops repeats"),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grouped", sa.Boolean(), nullable=False, comment="many incidents in one alert"),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("logged_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "next_at", postgresql.TIMESTAMP(timezone=True), nullable=False, comment="no attempt to deliver before"
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("given_up_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("event IN ('opened', 'recovered', 'test')", name="alert_event_is_known"),
        sa.PrimaryKeyConstraint("id", name="alert_pk"),
        sa.UniqueConstraint("alert_id", name="one_row_per_alert"),
    )
    op.create_index("alert_by_kind", "alert", ["kind", "event", "created_at"])
    op.create_index(
        "alert_to_deliver",
        "alert",
        ["next_at"],
        postgresql_where=sa.text("delivered_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_index("dead_letter_open", "dead_letter", ["cause", "died_at"], postgresql_where=sa.text("state = 'open'"))
    op.create_index(
        "operator_action_waiting",
        "operator_action",
        ["requested_at"],
        postgresql_where=sa.text("state = 'requested'"),
    )
    op.create_index(
        "incident_to_announce",
        "incident",
        ["kind", "id"],
        postgresql_where=sa.text("open_notice_at IS NULL OR (recovered_at IS NOT NULL AND recovery_notice_at IS NULL)"),
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_index("incident_to_announce", table_name="incident")
    op.drop_index("operator_action_waiting", table_name="operator_action")
    op.drop_index("dead_letter_open", table_name="dead_letter")
    op.drop_table("alert")
    op.drop_table("watch_pass")
