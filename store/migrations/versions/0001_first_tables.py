"""first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_answer",
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the combined answer as sent"),
        sa.Column("answered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "revision", name="case_answer_pk"),
    )
    op.create_table(
        "case_undo",
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("cancel_no", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("asked_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "cancel_no", name="one_undo_per_cancel_number"),
    )
    op.create_table(
        "coverage",
        sa.Column("person_key", sa.Text(), nullable=False, comment="keyed hash of identity type and number"),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("policy_no", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("person_key", "product", "policy_no", name="coverage_pk"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("region", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("source_queue", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("correlation_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "headers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("died_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="dead_letter_pk"),
        sa.UniqueConstraint("source_queue", "message_id", "attempt", name="one_dead_letter_per_delivery"),
    )
    op.create_table(
        "exchange",
        sa.Column("exchange_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("leg_no", sa.SmallInteger(), nullable=False, comment="0 for the hospital's own message"),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("outcome", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "took_us",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="a call: from first byte to answer",
        ),
        sa.Column("content_type", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("direction IN ('in', 'out')", name="exchange_direction_is_known"),
        sa.PrimaryKeyConstraint("case_id", "exchange_id", name="exchange_pk"),
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False, comment="the party that sent it"),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False, comment="transaction and SHA-256 of what it says"),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "message_id", name="one_effect_per_message"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True, increment=100), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "queue",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="embedded transport: where it waits",
        ),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("correlation_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("content_type", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "headers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("available_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("leased_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deliveries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="outbox_pk"),
    )
    op.create_index(
        "outbox_by_queue",
        "outbox",
        ["queue", "available_at", "id"],
        unique=False,
        postgresql_where=sa.text("queue <> ''"),
    )
    op.create_table(
        "rulebook",
        sa.Column("version", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False, comment="the reviewed YAML as it was given"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name="rulebook_pk"),
    )
    op.create_table(
        "settlement_case",
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("settlement_no", sa.Text(), nullable=False),
        sa.Column(
            "case_key",
            sa.Text(),
            nullable=False,
            comment="settlement_no, or trial/<message id>: no settlement number has a /",
        ),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False, comment="SHA-256 of the canonical content"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "revision", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="answers given so far"
        ),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("rulebook_version", sa.Integer(), nullable=False),
        sa.Column(
            "considered",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="[[rule, missed condition or empty], ...]",
        ),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("answer_by", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("overdue", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "watch_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when a sweep must look; null when nothing is open",
        ),
        sa.Column("reply_to", sa.Text(), nullable=False, comment="out:<party> or a gateway's hint channel"),
        sa.Column("correlation_id", sa.Text(), nullable=False, comment="message id of the request"),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("business_day", sa.Date(), nullable=True),
        sa.CheckConstraint("purpose IN ('settle', 'trial')", name="case_purpose_is_known"),
        sa.CheckConstraint(
            "state IN ('open', 'settled', 'declined', 'cancelling', 'cancelled')", name="case_state_is_known"
        ),
        sa.CheckConstraint("total_fen > 0", name="case_total_is_positive"),
        sa.PrimaryKeyConstraint("case_id", name="settlement_case_pk"),
        sa.UniqueConstraint("institution", "case_key", name="one_case_per_settlement_number"),
    )
    op.create_index("case_by_arrival", "settlement_case", ["received_at"], unique=False)
    op.create_index(
        "case_to_watch", "settlement_case", ["watch_at"], unique=False, postgresql_where=sa.text("watch_at IS NOT NULL")
    )
    op.create_table(
        "settlement_leg",
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("leg_no", sa.SmallInteger(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("policy_no", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("split", sa.SmallInteger(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("independent", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("undo_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("left_fen", sa.BigInteger(), nullable=True),
        sa.Column("amount_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("hospital_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "basic",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="the basic system's adjudication in fen",
        ),
        sa.Column("payer_reference", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason_zh", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason_en", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'claimed', 'in_doubt', 'approved', 'declined', 'deferred', 'held', 'not_needed', 'cancelling', 'cancel_held', 'cancelled')",
            name="leg_state_is_known",
        ),
        sa.CheckConstraint(
            "amount_fen + account_fen + hospital_fen <= coalesce(left_fen, 0)", name="leg_bears_at_most_what_was_left"
        ),
        sa.CheckConstraint(
            "amount_fen >= 0 AND account_fen >= 0 AND hospital_fen >= 0", name="leg_amounts_not_negative"
        ),
        sa.PrimaryKeyConstraint("case_id", "leg_no", name="settlement_leg_pk"),
    )
    op.create_table(
        "rulebook_activation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("active_from", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("activated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["version"], ["rulebook.version"], name="activation_of_a_rulebook"),
        sa.PrimaryKeyConstraint("id", name="rulebook_activation_pk"),
    )
    # Rows of these tables are updated a few times within a second: room on the page keeps the updates off the indexes.
    op.execute("ALTER TABLE settlement_case SET (fillfactor = 70)")
    op.execute("ALTER TABLE settlement_leg SET (fillfactor = 60)")
    # Evidence is written once and seldom read: do not spend time compressing what fits on a page.
    op.execute("ALTER TABLE exchange SET (toast_tuple_target = 8160)")
    op.execute("ALTER TABLE case_answer SET (toast_tuple_target = 8160)")


def downgrade() -> None:
    op.drop_table("rulebook_activation")
    op.drop_table("settlement_leg")
    op.drop_index("case_to_watch", table_name="settlement_case", postgresql_where=sa.text("watch_at IS NOT NULL"))
    op.drop_index("case_by_arrival", table_name="settlement_case")
    op.drop_table("settlement_case")
    op.drop_table("rulebook")
    op.drop_index("outbox_by_queue", table_name="outbox", postgresql_where=sa.text("queue <> ''"))
    op.drop_table("outbox")
    op.drop_table("inbox")
    op.drop_table("exchange")
    op.drop_table("dead_letter")
    op.drop_table("coverage")
    op.drop_table("case_undo")
    op.drop_table("case_answer")
