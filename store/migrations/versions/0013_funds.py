"""Claims, their audits, and payments between institutions and payers; cases say what kind of visit. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fund_claim",
        sa.Column("claim_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="month: settlements of sealed days; year: what was withheld"
        ),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column(
            "application_no",
            sa.Text(),
            nullable=False,
            comment="the institution's request number; several claims may share it",
        ),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("region", sa.Text(), server_default=sa.text("''"), nullable=False, comment="empty: all"),
        sa.Column("visit_kind", sa.Text(), server_default=sa.text("''"), nullable=False, comment="empty: all"),
        sa.Column("insurance_type", sa.Text(), server_default=sa.text("''"), nullable=False, comment="empty: all"),
        sa.Column("way", sa.Text(), nullable=False, comment="clr_way"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("settlements", sa.BigInteger(), nullable=False, comment="bills less bills taken back"),
        sa.Column("total_fen", sa.BigInteger(), nullable=False, comment="of these bills"),
        sa.Column(
            "amount_fen",
            sa.BigInteger(),
            nullable=False,
            comment="the payer's shares; below zero where more was undone",
        ),
        sa.Column("account_fen", sa.BigInteger(), nullable=False, comment="personal accounts"),
        sa.Column(
            "account_included", sa.Boolean(), nullable=False, comment="whether the payer pays out the accounts too"
        ),
        sa.Column(
            "recognised_fen",
            sa.BigInteger(),
            nullable=True,
            comment="what the institution says is recognised (med_sumfee)",
        ),
        sa.Column(
            "sample",
            postgresql.JSONB(),
            nullable=True,
            comment="seed, percent or count, size: draws the same sample again",
        ),
        sa.Column("deducted_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("withheld_basis_points", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "withheld_fen",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="held back until the year's end",
        ),
        sa.Column("payable_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("payment_no", sa.Text(), nullable=True),
        sa.Column("applied_by", sa.Text(), nullable=False),
        sa.Column("applied_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "audit_action", sa.BigInteger(), nullable=True, comment="the operators' action that closed the audit"
        ),
        sa.Column("audited_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True, comment="paid or withdrawn"),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False, comment="why it was withdrawn"),
        sa.CheckConstraint(
            "(state IN ('ordered', 'paid')) = (payment_no IS NOT NULL)", name="fund_claim_has_its_payment"
        ),
        sa.CheckConstraint("kind IN ('month', 'year')", name="fund_claim_kind_is_known"),
        sa.CheckConstraint(
            "state IN ('applied', 'audited', 'ordered', 'paid', 'withdrawn')", name="fund_claim_state_is_known"
        ),
        sa.CheckConstraint(
            "state IN ('applied', 'withdrawn') OR payable_fen = amount_fen - deducted_fen - withheld_fen + CASE WHEN account_included THEN account_fen ELSE 0 END",
            name="fund_claim_comes_to_its_parts",
        ),
        sa.CheckConstraint("last_day >= first_day", name="fund_claim_days_in_order"),
        sa.PrimaryKeyConstraint("claim_no", name="fund_claim_pk"),
    )
    op.create_index("fund_claim_by_application", "fund_claim", ["institution", "application_no"], unique=False)
    op.create_index(
        "fund_claim_open",
        "fund_claim",
        ["payer", "institution"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('paid', 'withdrawn')"),
    )
    op.create_index(
        "one_live_claim_per_key",
        "fund_claim",
        ["institution", "payer", "kind", "first_day", "last_day", "region", "visit_kind", "insurance_type"],
        unique=True,
        postgresql_where=sa.text("state <> 'withdrawn'"),
    )
    op.create_table(
        "fund_claim_item",
        sa.Column("entry_id", sa.BigInteger(), nullable=False, comment="of the ledger"),
        sa.Column("claim_no", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("leg_no", sa.SmallInteger(), nullable=True),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="one_claim_per_entry"),
    )
    op.create_index("fund_claim_item_by_claim", "fund_claim_item", ["claim_no", "case_id", "leg_no"], unique=False)
    op.create_table(
        "fund_claim_part",
        sa.Column("claim_no", sa.BigInteger(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.Column("deducted_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("claim_no", "region", "layer", "product", name="fund_claim_part_pk"),
    )
    op.create_table(
        "fund_deduction",
        sa.Column("deduction_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("claim_no", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=True, comment="null: of the claim as a whole"),
        sa.Column("leg_no", sa.SmallInteger(), nullable=True),
        sa.Column("settlement_no", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("region", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("layer", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("product", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "amount_fen",
            sa.BigInteger(),
            nullable=False,
            comment="below zero: given back, since the settlement was undone",
        ),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "taken_back_by",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="before the audit was closed",
        ),
        sa.Column(
            "request_no",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="of who asked, where one was given",
        ),
        sa.Column(
            "request_row",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="hash of what was asked, which of equal ones, which piece; empty for what is given back",
        ),
        sa.CheckConstraint("(case_id IS NULL) = (leg_no IS NULL)", name="fund_deduction_case_has_a_leg"),
        sa.CheckConstraint("amount_fen <> 0", name="fund_deduction_is_something"),
        sa.PrimaryKeyConstraint("deduction_id", name="fund_deduction_pk"),
    )
    op.create_index(
        "fund_deduction_by_case",
        "fund_deduction",
        ["case_id"],
        unique=False,
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index(
        "one_deduction_per_request",
        "fund_deduction",
        ["claim_no", "request_no", "request_row"],
        unique=True,
        postgresql_where=sa.text("taken_back_by = '' AND request_row <> ''"),
    )
    op.create_index("fund_deduction_by_claim", "fund_deduction", ["claim_no"], unique=False)
    op.create_table(
        "fund_payment",
        sa.Column("payment_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("payment_no", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False, comment="below zero: the institution pays back"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "claims",
            postgresql.JSONB(),
            nullable=False,
            comment="the numbers that it nets, also after it was taken back",
        ),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("order_action", sa.BigInteger(), nullable=True),
        sa.Column("ordered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("file_no", sa.BigInteger(), nullable=True),
        sa.Column("paid_on", sa.Date(), nullable=True),
        sa.Column("bank_reference", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True, comment="confirmed or taken back"),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False, comment="why it was taken back"),
        sa.Column(
            "institution_account",
            postgresql.JSONB(),
            nullable=True,
            comment="name, bank and number as they were agreed to",
        ),
        sa.Column("payer_account", postgresql.JSONB(), nullable=True, comment="likewise"),
        sa.CheckConstraint("state IN ('ordered', 'confirmed', 'void')", name="fund_payment_state_is_known"),
        sa.PrimaryKeyConstraint("payment_id", name="fund_payment_pk"),
    )
    op.create_index("fund_payment_by_parties", "fund_payment", ["payer", "institution"], unique=False)
    op.create_index("one_payment_per_number", "fund_payment", ["payment_no"], unique=True)
    op.create_table(
        "fund_payment_file",
        sa.Column("file_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("payments", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the rows, as the file's first line says"),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("file_no", name="fund_payment_file_pk"),
    )
    op.create_table(
        "ledger_total",
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("booked", sa.Date(), nullable=False, comment="the business day, or the first day of its month"),
        sa.Column(
            "counted", sa.Date(), nullable=False, comment="the day that it counts for, or the first day of its month"
        ),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False, comment="debit less credit"),
        sa.PrimaryKeyConstraint(
            *("span", "booked", "counted", "institution", "payer", "region", "layer", "product", "account"),
            name="ledger_total_pk",
        ),
        sa.CheckConstraint("span IN ('day', 'month')", name="ledger_total_span_is_known"),
    )
    op.create_index("ledger_total_by_counted", "ledger_total", ["span", "counted"])
    op.create_table(
        "ledger_total_up_to",
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False, comment="every sealed day up to this one is in the totals"),
        sa.PrimaryKeyConstraint("span", "last_day", name="ledger_total_up_to_pk"),
        sa.CheckConstraint("span IN ('day', 'month')", name="ledger_total_up_to_span_is_known"),
    )
    # Of older cases they are read from the stored message: to fill them in would write every row anew.
    comments = {"visit_kind": "null: as the stored message says; see store.case_facts", "insurance_type": "likewise"}
    for name, comment in comments.items():
        op.add_column("settlement_case", sa.Column(name, sa.Text(), nullable=True, comment=comment))


def downgrade() -> None:
    for name in ("visit_kind", "insurance_type"):
        op.drop_column("settlement_case", name)
    op.drop_table("ledger_total_up_to")
    op.drop_table("ledger_total")
    op.drop_table("fund_payment_file")
    op.drop_table("fund_payment")
    op.drop_table("fund_deduction")
    op.drop_table("fund_claim_part")
    op.drop_table("fund_claim_item")
    op.drop_table("fund_claim")
