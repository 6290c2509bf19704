"""Claims, deductions and payments between institutions and payers; see `store.tables`. Amounts are whole fen."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from store.tables import Moment, metadata

fund_claims = Table(
    "fund_claim",
    metadata,
    Column("claim_no", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="month: settlements of sealed days; year: what was withheld"),
    Column("institution", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column(
        "application_no", Text, nullable=False, comment="the institution's request number; several claims may share it"
    ),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("region", Text, nullable=False, server_default=text("''"), comment="empty: all"),
    Column("visit_kind", Text, nullable=False, server_default=text("''"), comment="empty: all"),
    Column("insurance_type", Text, nullable=False, server_default=text("''"), comment="empty: all"),
    Column("way", Text, nullable=False, comment="clr_way"),
    Column("state", Text, nullable=False),
    Column("settlements", BigInteger, nullable=False, comment="bills less bills taken back"),
    Column("total_fen", BigInteger, nullable=False, comment="of these bills"),
    Column("amount_fen", BigInteger, nullable=False, comment="the payer's shares; below zero where more was undone"),
    Column("account_fen", BigInteger, nullable=False, comment="personal accounts"),
    Column("account_included", Boolean, nullable=False, comment="whether the payer pays out the accounts too"),
    Column("recognised_fen", BigInteger, nullable=True, comment="what the institution says is recognised (med_sumfee)"),
    Column("sample", JSONB, nullable=True, comment="seed, percent or count, size: draws the same sample again"),
    Column("deducted_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("withheld_basis_points", Integer, nullable=False, server_default=text("0")),
    Column(
        "withheld_fen", BigInteger, nullable=False, server_default=text("0"), comment="held back until the year's end"
    ),
    Column("payable_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("payment_no", Text, nullable=True),
    Column("applied_by", Text, nullable=False),
    Column("applied_at", Moment, nullable=False),
    Column("audit_action", BigInteger, nullable=True, comment="the operators' action that closed the audit"),
    Column("audited_at", Moment, nullable=True),
    Column("ended_at", Moment, nullable=True, comment="paid or withdrawn"),
    Column("reason", Text, nullable=False, server_default=text("''"), comment="why it was withdrawn"),
    PrimaryKeyConstraint("claim_no", name="fund_claim_pk"),
    CheckConstraint("kind IN ('month', 'year')", name="fund_claim_kind_is_known"),
    CheckConstraint(
        "state IN ('applied', 'audited', 'ordered', 'paid', 'withdrawn')", name="fund_claim_state_is_known"
    ),
    CheckConstraint("(state IN ('ordered', 'paid')) = (payment_no IS NOT NULL)", name="fund_claim_has_its_payment"),
    CheckConstraint("last_day >= first_day", name="fund_claim_days_in_order"),
    CheckConstraint(
        "state IN ('applied', 'withdrawn') OR payable_fen = amount_fen - deducted_fen - withheld_fen "
        "+ CASE WHEN account_included THEN account_fen ELSE 0 END",
        name="fund_claim_comes_to_its_parts",
    ),
    Index(
        "one_live_claim_per_key",
        "institution",
        "payer",
        "kind",
        "first_day",
        "last_day",
        "region",
        "visit_kind",
        "insurance_type",
        unique=True,
        postgresql_where=text("state <> 'withdrawn'"),
    ),
    Index("fund_claim_by_application", "institution", "application_no"),
    Index("fund_claim_open", "payer", "institution", postgresql_where=text("state NOT IN ('paid', 'withdrawn')")),
)

fund_claim_items = Table(
    "fund_claim_item",
    metadata,
    Column("entry_id", BigInteger, nullable=False, comment="of the ledger"),
    Column("claim_no", BigInteger, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=True),
    Column("leg_no", SmallInteger, nullable=True),
    Column("region", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("account_fen", BigInteger, nullable=False),
    # Of whatever overlaps in days, regions or kinds of visit, an entry is claimed once or not at all.
    PrimaryKeyConstraint("entry_id", name="one_claim_per_entry"),
    Index("fund_claim_item_by_claim", "claim_no", "case_id", "leg_no"),
)

fund_claim_parts = Table(
    "fund_claim_part",
    metadata,
    Column("claim_no", BigInteger, nullable=False),
    Column("region", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("account_fen", BigInteger, nullable=False),
    Column("deducted_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("withheld_fen", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("claim_no", "region", "layer", "product", name="fund_claim_part_pk"),
)

fund_deductions = Table(
    "fund_deduction",
    metadata,
    Column("deduction_id", BigInteger, Identity(always=True), nullable=False),
    Column("claim_no", BigInteger, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=True, comment="null: of the claim as a whole"),
    Column("leg_no", SmallInteger, nullable=True),
    Column("settlement_no", Text, nullable=False, server_default=text("''")),
    Column("region", Text, nullable=False, server_default=text("''")),
    Column("layer", Text, nullable=False, server_default=text("''")),
    Column("product", Text, nullable=False, server_default=text("''")),
    Column("amount_fen", BigInteger, nullable=False, comment="below zero: given back, since the settlement was undone"),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("taken_back_by", Text, nullable=False, server_default=text("''"), comment="before the audit was closed"),
    Column("request_no", Text, nullable=False, server_default=text("''"), comment="of who asked, where one was given"),
    Column(
        "request_row",
        Text,
        nullable=False,
        server_default=text("''"),
        comment="hash of what was asked, which of equal ones, which piece; empty for what is given back",
    ),
    PrimaryKeyConstraint("deduction_id", name="fund_deduction_pk"),
    CheckConstraint("amount_fen <> 0", name="fund_deduction_is_something"),
    CheckConstraint("(case_id IS NULL) = (leg_no IS NULL)", name="fund_deduction_case_has_a_leg"),
    Index(
        "one_deduction_per_request",
        "claim_no",
        "request_no",
        "request_row",
        unique=True,
        postgresql_where=text("taken_back_by = '' AND request_row <> ''"),
    ),
    Index("fund_deduction_by_claim", "claim_no"),
    Index("fund_deduction_by_case", "case_id", postgresql_where=text("case_id IS NOT NULL")),
)

fund_payments = Table(
    "fund_payment",
    metadata,
    Column("payment_id", BigInteger, Identity(always=False), nullable=False),
    Column("payment_no", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False, comment="below zero: the institution pays back"),
    Column("state", Text, nullable=False),
    Column("claims", JSONB, nullable=False, comment="the numbers that it nets, also after it was taken back"),
    Column("ordered_by", Text, nullable=False),
    Column("order_action", BigInteger, nullable=True),
    Column("ordered_at", Moment, nullable=False),
    Column("file_no", BigInteger, nullable=True),
    Column("paid_on", Date, nullable=True),
    Column("bank_reference", Text, nullable=False, server_default=text("''")),
    Column("ended_at", Moment, nullable=True, comment="confirmed or taken back"),
    Column("reason", Text, nullable=False, server_default=text("''"), comment="why it was taken back"),
    Column("institution_account", JSONB, nullable=True, comment="name, bank and number as they were agreed to"),
    Column("payer_account", JSONB, nullable=True, comment="likewise"),
    PrimaryKeyConstraint("payment_id", name="fund_payment_pk"),
    CheckConstraint("state IN ('ordered', 'confirmed', 'void')", name="fund_payment_state_is_known"),
    Index("one_payment_per_number", "payment_no", unique=True),
    Index("fund_payment_by_parties", "payer", "institution"),
)

fund_payment_files = Table(
    "fund_payment_file",
    metadata,
    Column("file_no", BigInteger, Identity(always=True), nullable=False),
    Column("payer", Text, nullable=False),
    Column("payments", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False, comment="of the rows, as the file's first line says"),
    Column("content", LargeBinary, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    PrimaryKeyConstraint("file_no", name="fund_payment_file_pk"),
)

# What sealed days come to, so that nobody reads their entries again; see `store.fund_totals`.
ledger_totals = Table(
    "ledger_total",
    metadata,
    Column("span", Text, nullable=False),
    Column("booked", Date, nullable=False, comment="the business day, or the first day of its month"),
    Column("counted", Date, nullable=False, comment="the day that it counts for, or the first day of its month"),
    Column("institution", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("fen", BigInteger, nullable=False, comment="debit less credit"),
    PrimaryKeyConstraint(
        *("span", "booked", "counted", "institution", "payer", "region", "layer", "product", "account"),
        name="ledger_total_pk",
    ),
    CheckConstraint("span IN ('day', 'month')", name="ledger_total_span_is_known"),
    Index("ledger_total_by_counted", "span", "counted"),
)

ledger_totals_up_to = Table(
    "ledger_total_up_to",
    metadata,
    Column("span", Text, nullable=False),
    Column("last_day", Date, nullable=False, comment="every sealed day up to this one is in the totals"),
    PrimaryKeyConstraint("span", "last_day", name="ledger_total_up_to_pk"),
    CheckConstraint("span IN ('day', 'month')", name="ledger_total_up_to_span_is_known"),
)
