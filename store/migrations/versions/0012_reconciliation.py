"""Statements, runs and breaks of reconciliation. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "statement",
        sa.Column("statement_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("party", sa.Text(), nullable=False, comment="whose books it is: a payer or an institution"),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False, comment="csv, excel, national, json, rest, soap, queue, ..."),
        sa.Column("source", sa.Text(), nullable=False, comment="the file's name, or how it was got"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the bytes as they came"),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False, comment="sum of amount_fen of its lines"),
        sa.Column(
            "by_payer", sa.SmallInteger(), nullable=False, comment="1: its lines name the payer whose share they are"
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="refused: nothing of it is stored but why"),
        sa.Column("replaces", sa.BigInteger(), nullable=True, comment="the statement that stood when it came"),
        sa.Column(
            "problems",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="of a refused one",
        ),
        sa.Column("received_by", sa.Text(), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('standing', 'replaced', 'refused')", name="statement_state_is_known"),
        sa.PrimaryKeyConstraint("statement_id", name="statement_pk"),
    )
    op.create_index("statement_by_day", "statement", ["day", "party"], unique=False)
    op.create_index(
        "one_standing_statement",
        "statement",
        ["party", "scheme", "day"],
        unique=True,
        postgresql_where=sa.text("state = 'standing'"),
    )
    op.create_table(
        "statement_line",
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False, comment="from 1, as in the file"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("settlement_no", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "payer", sa.Text(), server_default=sa.text("''"), nullable=False, comment="empty: the settlement as a whole"
        ),
        sa.Column(
            "request_id",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="the hub's, as the payer was asked",
        ),
        sa.Column(
            "reference", sa.Text(), server_default=sa.text("''"), nullable=False, comment="the payer's own number"
        ),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "amount_fen", sa.BigInteger(), nullable=False, comment="what payers bear, without the personal account"
        ),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.Column("cash_fen", sa.BigInteger(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind = 'settle' AND least(total_fen, amount_fen, account_fen) >= 0 OR kind = 'refund' AND greatest(total_fen, amount_fen, account_fen) <= 0",
            name="statement_line_has_its_sign",
        ),
        sa.CheckConstraint("kind IN ('settle', 'refund')", name="statement_line_kind_is_known"),
        sa.PrimaryKeyConstraint("statement_id", "line_no", name="statement_line_pk"),
    )
    op.create_table(
        "recon_run",
        sa.Column("run_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "switches",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the scheme as it was configured",
        ),
        sa.Column("rulebook_version", sa.Integer(), nullable=False),
        sa.Column("statement_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column(
            "neighbour_ids",
            postgresql.ARRAY(sa.BigInteger()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="statements of other days in which it looked for rows of this one",
        ),
        sa.Column(
            "totals",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="sums by side",
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="items by class",
        ),
        sa.Column(
            "ledger_to",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="the last entry that was read",
        ),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "digest",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="SHA-256 over what was signed off",
        ),
        sa.Column("signed_by", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("approved_by", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("signed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("approved_by <> signed_by OR approved_by = ''", name="nobody_signs_off_alone"),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'failed', 'void', 'signed_off')", name="recon_run_state_is_known"
        ),
        sa.PrimaryKeyConstraint("run_id", name="recon_run_pk"),
    )
    op.create_index(
        "one_run_per_party_scheme_and_day",
        "recon_run",
        ["party", "scheme", "day"],
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'done', 'signed_off')"),
    )
    op.create_index("recon_run_by_day", "recon_run", ["day", "party"], unique=False)
    op.create_table(
        "recon_break",
        sa.Column("break_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="case/<id>/<leg>, or what the line itself is known by"),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("leg_no", sa.SmallInteger(), nullable=True),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("settlement_no", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column(
            "hub",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="[settlements, refunds, settled fen, refunded fen, account fen]",
        ),
        sa.Column("payer_side", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("hospital", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("difference_fen", sa.BigInteger(), nullable=False, comment="payer's (or hospital's) books less ours"),
        sa.Column("first_day", sa.Date(), nullable=False, comment="the day of the first run that found it"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("proposal", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="why this is proposed"),
        sa.Column("remedy", sa.Text(), server_default=sa.text("''"), nullable=False, comment="what people decided"),
        sa.Column("action_id", sa.BigInteger(), nullable=True),
        sa.Column("resolution", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("resolved_by", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("approved_by", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "entry_ids",
            postgresql.ARRAY(sa.BigInteger()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="in the ledger",
        ),
        sa.CheckConstraint("state IN ('open', 'waiting', 'resolved', 'explained')", name="recon_break_state_is_known"),
        sa.PrimaryKeyConstraint("break_id", name="recon_break_pk"),
    )
    op.create_index(
        "recon_break_by_case", "recon_break", ["case_id"], unique=False, postgresql_where=sa.text("case_id IS NOT NULL")
    )
    op.create_index("recon_break_by_key", "recon_break", ["key"], unique=False)
    op.create_index("recon_break_by_run", "recon_break", ["run_id", "class"], unique=False)
    op.create_index(
        "recon_break_waiting", "recon_break", ["run_id"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "seal_part",
        sa.Column("subject", sa.Text(), nullable=False, comment="day/<date> or run/<id>"),
        sa.Column(
            "part", sa.Text(), nullable=False, comment="entries/<n>, lines/<statement>/<n>, breaks/<n>, run/<id>, ..."
        ),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "part", name="seal_part_pk"),
    )
    op.execute(
        "CREATE TRIGGER seal_part_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_part "
        "FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added()"
    )


def downgrade() -> None:
    for table in ("seal_part", "recon_break", "recon_run", "statement_line", "statement"):
        op.drop_table(table)
