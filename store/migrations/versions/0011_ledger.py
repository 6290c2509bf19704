"""The ledger, its guards in the database, the days that are sealed; what stands already is opened in it. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ACCOUNTS = "'charges', 'patient', 'receivable', 'personal', 'hospital', 'in_transit', 'bank', 'deducted', 'difference'"
KINDS = (
    "'settle', 'late_approval', 'cancel', 'reversal', 'opening', 'correction', 'deduction', 'payment', "
    "'confirmation', 'repayment'"
)

# The lock is shared by those who post and taken whole by who seals. The day is read after the lock is held, in a
# statement of its own and so with a snapshot of its own: a seal that was waited for is seen.
OPEN = """
CREATE FUNCTION ledger_open(OUT open_from date, OUT today date) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('ledger'));
    SELECT max(business_day) + 1 INTO open_from FROM day_seal;
    today := CAST(clock_timestamp() AT TIME ZONE 'Asia/Shanghai' AS date);
END $$
"""
STAYS_OPEN = """
CREATE FUNCTION ledger_entry_on_an_open_day() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sealed date;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('ledger'));
    SELECT max(business_day) INTO sealed FROM day_seal;
    IF sealed IS NOT NULL AND EXISTS (SELECT 1 FROM added WHERE business_day <= sealed) THEN
        RAISE EXCEPTION 'the ledger is sealed up to %: add entries on a later day', sealed
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_day_is_open';
    END IF;
    RETURN NULL;
END $$
"""
ADDED_ONLY = """
CREATE FUNCTION rows_are_only_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only added to: correct it by a new row', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'rows_are_only_added';
END $$
"""

# What `routing.days.believed` says: a payer's clock that is far ahead, or began in 1970, dates nothing.
_BELIEVED = (
    "CASE WHEN l.decided_at >= '2000-01-01 00:00+08' AND l.decided_at <= now() + interval '1 day' "
    "THEN l.decided_at ELSE c.received_at END"
)
# One transfer per part of each share that stands, one per bill of which a share stands.
STANDS = f"""
INSERT INTO ledger_entry (region, business_day, effective_day, institution, payer, layer, product, kind, debit, credit,
    amount_fen, case_id, leg_no)
SELECT c.region, coalesce(c.business_day, own.day), own.day, c.institution, l.payer, l.layer, l.product, 'opening',
    part.account, 'patient', part.fen, l.case_id, l.leg_no
FROM settlement_case c
JOIN settlement_leg l USING (case_id)
CROSS JOIN LATERAL (
    SELECT CAST({_BELIEVED} AT TIME ZONE 'Asia/Shanghai' AS date) AS day
) AS own
CROSS JOIN LATERAL (
    VALUES ('receivable', l.amount_fen), ('personal', l.account_fen), ('hospital', l.hospital_fen)
) AS part(account, fen)
WHERE c.purpose = 'settle' AND l.state IN ('approved', 'cancelling', 'cancel_held') AND part.fen > 0
"""
BILLS = f"""
INSERT INTO ledger_entry (region, business_day, effective_day, institution, kind, debit, credit, amount_fen, case_id,
    leg_no)
SELECT c.region, coalesce(c.business_day, own.day), own.day, c.institution, 'opening', 'patient', 'charges',
    c.total_fen, c.case_id, 0
FROM settlement_case c
CROSS JOIN LATERAL (
    SELECT CAST(min({_BELIEVED}) AT TIME ZONE 'Asia/Shanghai' AS date) AS day
    FROM settlement_leg l WHERE l.case_id = c.case_id AND l.state IN ('approved', 'cancelling', 'cancel_held')
) AS own
WHERE c.purpose = 'settle' AND own.day IS NOT NULL AND c.total_fen > 0
"""


def upgrade() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column(
            "business_day", sa.Date(), nullable=False, comment="the day in whose books it counts; never a sealed one"
        ),
        sa.Column("effective_day", sa.Date(), nullable=False, comment="the day on which the payer did it"),
        sa.Column("about_day", sa.Date(), nullable=True, comment="a correction: the day whose difference it ends"),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False, server_default=sa.text("''"), comment="empty for the bill"),
        sa.Column("layer", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("product", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("case_id", postgresql.UUID(as_uuid=False), nullable=True),
        sa.Column("leg_no", sa.SmallInteger(), nullable=True, comment="0 for the bill"),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            server_default=sa.text("''"),
            comment="break/<id>, claim/<no>, payment/<no>",
        ),
        sa.Column("posted_at", postgresql.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("entry_id", name="ledger_entry_pk"),
        sa.CheckConstraint("amount_fen > 0", name="ledger_amount_is_positive"),
        sa.CheckConstraint("debit <> credit", name="ledger_moves_between_two_accounts"),
        sa.CheckConstraint(f"debit IN ({ACCOUNTS})", name="ledger_debit_is_known"),
        sa.CheckConstraint(f"credit IN ({ACCOUNTS})", name="ledger_credit_is_known"),
        sa.CheckConstraint(f"kind IN ({KINDS})", name="ledger_kind_is_known"),
        sa.CheckConstraint("(case_id IS NULL) = (leg_no IS NULL)", name="ledger_case_has_a_leg"),
        sa.CheckConstraint("case_id IS NOT NULL OR cause <> ''", name="ledger_says_why"),
    )
    op.create_index("ledger_by_case", "ledger_entry", ["case_id"], postgresql_where=sa.text("case_id IS NOT NULL"))
    op.create_index("ledger_by_day", "ledger_entry", ["business_day", "payer", "institution"])
    op.create_index("ledger_by_effective_day", "ledger_entry", ["effective_day", "payer", "institution"])
    op.create_index("ledger_by_cause", "ledger_entry", ["cause"], postgresql_where=sa.text("cause <> ''"))
    op.create_index(
        "ledger_corrections", "ledger_entry", ["case_id", "leg_no"], postgresql_where=sa.text("kind = 'correction'")
    )
    op.create_table(
        "day_seal",
        sa.Column("business_day", sa.Date(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False, comment="sum over all entries of the day"),
        sa.Column("last_entry_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 over the day's entries; see store.seals"),
        sa.Column("previous", sa.Text(), nullable=False, comment="chain of the day sealed before; empty for the first"),
        sa.Column("chain", sa.Text(), nullable=False, comment="SHA-256 over previous, day, counts and digest"),
        sa.Column("sealed_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("sealed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "books",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
            comment="with whose books the day was compared, and with whose not and why; part of the chain",
        ),
        sa.PrimaryKeyConstraint("business_day", name="one_seal_per_day"),
        sa.CheckConstraint("approved_by <> sealed_by", name="nobody_seals_alone"),
    )
    for function in (OPEN, STAYS_OPEN, ADDED_ONLY):
        op.execute(function)
    op.execute(STANDS)
    op.execute(BILLS)
    op.execute(
        "CREATE TRIGGER ledger_day_is_open AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_entry_on_an_open_day()"
    )
    for table in ("ledger_entry", "day_seal"):
        op.execute(
            f"CREATE TRIGGER {table}_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added()"
        )


def downgrade() -> None:
    op.drop_table("day_seal")
    op.drop_table("ledger_entry")
    op.execute("DROP FUNCTION ledger_open")
    op.execute("DROP FUNCTION ledger_entry_on_an_open_day")
    op.execute("DROP FUNCTION rows_are_only_added")
