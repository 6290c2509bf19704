"""Doubt, people and payers: what a leg remembers of its doubt, what people do, how payers fare. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In the order in which the hub locks rows, so that it and we cannot wait for each other.
    op.execute("LOCK TABLE settlement_case, settlement_leg, dead_letter IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "incident",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="case.overdue, leg.in_doubt, payer.down, dead_letter.open, ..."
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "facts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recovered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("open_notice_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("recovery_notice_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="incident_pk"),
    )
    op.create_index(
        "one_open_incident_per_subject",
        "incident",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("recovered_at IS NULL"),
    )
    op.create_table(
        "operator_action",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="dlq.replay, dlq.discard, doubt.approve, ..."),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="dead_letter/<id>, leg/<case id>/<leg no>, payer/<code>, ..."
        ),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), server_default=sa.text("''"), nullable=False, comment="the second person"),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("decided_by <> requested_by OR decided_by = ''", name="nobody_approves_their_own_action"),
        sa.CheckConstraint(
            "state IN ('requested', 'rejected', 'executed', 'failed')", name="operator_action_state_is_known"
        ),
        sa.PrimaryKeyConstraint("id", name="operator_action_pk"),
    )
    op.create_index("operator_action_by_subject", "operator_action", ["subject"], unique=False)
    op.create_table(
        "payer_health",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False, comment="each process that calls has a breaker of its own"),
        sa.Column("breaker", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "retries_held",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="put off for want of budget",
        ),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("breaker IN ('closed', 'open', 'half_open')", name="breaker_state_is_known"),
        sa.PrimaryKeyConstraint("party", "process", name="payer_health_pk"),
    )
    op.create_table(
        "payer_switch",
        sa.Column("party", sa.Text(), nullable=False, comment="a payer's code, or * for all"),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("party", name="payer_switch_pk"),
    )
    op.add_column(
        "dead_letter",
        sa.Column(
            "owner", sa.Text(), server_default=sa.text("''"), nullable=False, comment="the operator who looks after it"
        ),
    )
    op.add_column("dead_letter", sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("dead_letter", sa.Column("resolved_by", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column(
        "dead_letter",
        sa.Column(
            "resolution", sa.Text(), server_default=sa.text("''"), nullable=False, comment="the reason that was given"
        ),
    )
    op.add_column(
        "dead_letter",
        sa.Column("edited_body", sa.LargeBinary(), nullable=True, comment="what was replayed instead of the body"),
    )
    op.add_column(
        "dead_letter", sa.Column("replay_message_id", sa.Text(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column("dead_letter", sa.Column("content_type", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.drop_constraint("one_dead_letter_per_delivery", "dead_letter", type_="unique")
    op.create_index(
        "one_open_dead_letter_per_delivery",
        "dead_letter",
        ["source_queue", "exchange", "message_id", "attempt", sa.text("sha256(body)")],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("dead_letter_by_message", "dead_letter", ["message_id"], unique=False)
    op.add_column(
        "settlement_leg",
        sa.Column(
            "doubt_since",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when the payer's word was first missed",
        ),
    )
    op.add_column(
        "settlement_leg",
        sa.Column(
            "next_at", postgresql.TIMESTAMP(timezone=True), nullable=True, comment="no attempt before this moment"
        ),
    )
    op.add_column(
        "settlement_leg",
        sa.Column(
            "inquiries",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="inquiries and repeats since the doubt",
        ),
    )
    op.add_column(
        "settlement_leg",
        sa.Column(
            "not_found_since",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when an inquiry first found nothing",
        ),
    )
    # Checking every stored row takes as long as there are rows: the next but one step does it while everybody works.
    op.drop_constraint("leg_state_is_known", "settlement_leg", type_="check")
    op.create_check_constraint(
        "leg_state_is_known",
        "settlement_leg",
        "state IN ('planned', 'claimed', 'in_doubt', 'approved', 'declined', 'deferred', 'held', 'not_needed', 'cancelling', 'cancel_held', 'cancelled', 'reversing', 'reversed')",
        postgresql_not_valid=True,
    )
    op.drop_constraint("case_total_is_positive", "settlement_case", type_="check")
    op.create_check_constraint(
        "case_total_is_positive",
        "settlement_case",
        "total_fen > 0 OR (total_fen = 0 AND state = 'cancelled')",
        postgresql_not_valid=True,
    )
    op.create_check_constraint(
        "dead_letter_state_is_known", "dead_letter", "state IN ('open', 'replayed', 'discarded')"
    )


def downgrade() -> None:
    op.drop_constraint("dead_letter_state_is_known", "dead_letter", type_="check")
    op.drop_constraint("case_total_is_positive", "settlement_case", type_="check")
    op.create_check_constraint("case_total_is_positive", "settlement_case", "total_fen > 0")
    op.drop_constraint("leg_state_is_known", "settlement_leg", type_="check")
    op.create_check_constraint(
        "leg_state_is_known",
        "settlement_leg",
        "state IN ('planned', 'claimed', 'in_doubt', 'approved', 'declined', 'deferred', 'held', 'not_needed', 'cancelling', 'cancel_held', 'cancelled')",
    )
    op.drop_column("settlement_leg", "not_found_since")
    op.drop_column("settlement_leg", "inquiries")
    op.drop_column("settlement_leg", "next_at")
    op.drop_column("settlement_leg", "doubt_since")
    op.drop_index("dead_letter_by_message", table_name="dead_letter")
    op.drop_index("one_open_dead_letter_per_delivery", table_name="dead_letter")
    op.create_unique_constraint(
        "one_dead_letter_per_delivery", "dead_letter", ["source_queue", "message_id", "attempt"]
    )
    op.drop_column("dead_letter", "content_type")
    op.drop_column("dead_letter", "replay_message_id")
    op.drop_column("dead_letter", "edited_body")
    op.drop_column("dead_letter", "resolution")
    op.drop_column("dead_letter", "resolved_by")
    op.drop_column("dead_letter", "resolved_at")
    op.drop_column("dead_letter", "owner")
    op.drop_table("payer_switch")
    op.drop_table("payer_health")
    op.drop_index("operator_action_by_subject", table_name="operator_action")
    op.drop_table("operator_action")
    op.drop_index(
        "one_open_incident_per_subject", table_name="incident", postgresql_where=sa.text("recovered_at IS NULL")
    )
    op.drop_table("incident")
