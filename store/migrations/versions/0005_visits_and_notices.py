"""Visits with their fee lines, what payers are told about them, message numbers and sign-ins. Only adds."""

from __future__ import annotations

import importlib

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

VIEWS: dict[str, str] = {
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
      AND NOT (e.attempt = 0 AND EXISTS (SELECT 1 FROM settlement_leg g
          WHERE g.case_id = e.case_id AND g.leg_no = e.leg_no AND g.reason_code = 'adjudicated_by_basic'))
) AS found(subject, detail)""",
}
"""An answer that the basic system gave for a payer needs no question: its own message is the evidence."""
_BEFORE = importlib.import_module("store.migrations.versions.0003_watch_and_invariants").VIEWS


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    op.create_table(
        "message_number",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="one_block_of_numbers_per_request"),
        sa.UniqueConstraint("payer", "institution", "first", name="numbers_are_given_once"),
    )
    op.create_table(
        "message_number_sequence",
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("payer", "institution", name="message_number_sequence_pk"),
    )
    op.create_table(
        "notice",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("policy_no", sa.Text(), nullable=True),
        sa.Column("visit_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column(
            "place",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="of one visit the earlier goes first",
        ),
        sa.Column("original_request_id", sa.Text(), nullable=True, comment="of an undo: the notice that it takes back"),
        sa.Column("message", sa.LargeBinary(), nullable=False, comment="the canonical message"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True, comment="what the payer calls it"),
        sa.Column("reason_code", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason_zh", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason_en", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("sent", sa.LargeBinary(), nullable=True, comment="the last attempt's bytes"),
        sa.Column("answered", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'taken', 'refused', 'given_up', 'withdrawn')", name="notice_state_is_known"
        ),
        sa.PrimaryKeyConstraint("request_id", name="notice_pk"),
    )
    op.create_index("notice_refused", "notice", ["place"], postgresql_where=sa.text("state IN ('refused', 'given_up')"))
    op.create_index("notice_by_case", "notice", ["case_id"], postgresql_where=sa.text("case_id IS NOT NULL"))
    op.create_index("notice_by_visit", "notice", ["visit_id", "place"], unique=False)
    op.create_index(
        "notice_waiting", "notice", ["next_at"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "party_request",
        sa.Column(
            "party", sa.Text(), nullable=False, comment="whose number it is: the institution, or the party of an upload"
        ),
        sa.Column("transaction", sa.Text(), nullable=False),
        sa.Column("request_no", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False, comment="who sent it: the party itself or its basic system"),
        sa.Column("visit_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("party", "transaction", "request_no", name="one_effect_per_request_number"),
    )
    op.create_index(
        "party_request_by_visit",
        "party_request",
        ["visit_id"],
        unique=False,
        postgresql_where=sa.text("visit_id IS NOT NULL"),
    )
    op.create_table(
        "payment_confirmation",
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("payment_no", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen >= 0", name="payment_is_not_negative"),
        sa.PrimaryKeyConstraint("institution", "payment_no", name="one_confirmation_per_payment"),
    )
    op.create_table(
        "sign_in",
        sa.Column("sign_no", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("signed_in_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("valid_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("signed_out_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sign_no", name="sign_in_pk"),
    )
    op.create_index("sign_in_by_operator", "sign_in", ["institution", "operator"], unique=False)
    op.create_table(
        "visit",
        sa.Column("visit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("visit_no", sa.Text(), nullable=False),
        sa.Column("person_key", sa.Text(), nullable=False, comment="keyed hash of identity type and number"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "admission",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the registration as it holds now",
        ),
        sa.Column("discharge", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("admitted_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("discharged_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'discharged') = (discharge IS NOT NULL) OR state = 'cancelled'", name="discharge_is_kept"
        ),
        sa.CheckConstraint("state IN ('admitted', 'discharged', 'cancelled')", name="visit_state_is_known"),
        sa.PrimaryKeyConstraint("visit_id", name="visit_pk"),
    )
    op.create_index(
        "one_visit_per_number",
        "visit",
        ["institution", "visit_no"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    op.create_index("visit_by_person", "visit", ["person_key"], unique=False)
    op.create_table(
        "visit_settlement",
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("visit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name="visit_settlement_pk"),
    )
    op.create_index("visit_settlement_by_visit", "visit_settlement", ["visit_id"], unique=False)
    op.create_table(
        "fee_line",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("visit_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("line_no", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.Text(), nullable=False),
        sa.Column("request_no", sa.Text(), nullable=False, comment="the upload that it came with"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False, comment="below zero for a refund"),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "case_id",
            sa.UUID(as_uuid=False),
            nullable=True,
            comment="the settlement that it is part of, if that stands",
        ),
        sa.Column("uploaded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("cancelled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('standing', 'cancelled')", name="fee_line_state_is_known"),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.visit_id"], name="fee_line_of_a_visit"),
        sa.PrimaryKeyConstraint("id", name="fee_line_pk"),
    )
    op.create_index(
        "one_standing_line_per_number",
        "fee_line",
        ["visit_id", "line_no"],
        unique=True,
        postgresql_where=sa.text("state = 'standing'"),
    )


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {_BEFORE[name]}")
    for table in (
        "fee_line",
        "visit_settlement",
        "visit",
        "sign_in",
        "payment_confirmation",
        "party_request",
        "notice",
        "message_number_sequence",
        "message_number",
    ):
        op.drop_table(table)
