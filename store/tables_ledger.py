"""The ledger and the days that are sealed; see `store.tables` and `routing.postings`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from routing.postings import Account, Kind
from store.tables import Moment, metadata


def _one_of(column: str, values: type[Account] | type[Kind]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


entries = Table(
    "ledger_entry",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), nullable=False),
    Column("region", Text, nullable=False),
    Column("business_day", Date, nullable=False, comment="the day in whose books it counts; never a sealed one"),
    Column("effective_day", Date, nullable=False, comment="the day on which the payer did it"),
    Column("about_day", Date, nullable=True, comment="a correction: the day whose difference it ends"),
    Column("institution", Text, nullable=False),
    Column("payer", Text, nullable=False, server_default=text("''"), comment="empty for the bill"),
    Column("layer", Text, nullable=False, server_default=text("''")),
    Column("product", Text, nullable=False, server_default=text("''")),
    Column("kind", Text, nullable=False),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=True),
    Column("leg_no", SmallInteger, nullable=True, comment="0 for the bill"),
    Column("cause", Text, nullable=False, server_default=text("''"), comment="break/<id>, claim/<no>, payment/<no>"),
    Column("posted_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("entry_id", name="ledger_entry_pk"),
    # One amount for both accounts: an entry that does not balance cannot be written down.
    CheckConstraint("amount_fen > 0", name="ledger_amount_is_positive"),
    CheckConstraint("debit <> credit", name="ledger_moves_between_two_accounts"),
    CheckConstraint(_one_of("debit", Account), name="ledger_debit_is_known"),
    CheckConstraint(_one_of("credit", Account), name="ledger_credit_is_known"),
    CheckConstraint(_one_of("kind", Kind), name="ledger_kind_is_known"),
    CheckConstraint("(case_id IS NULL) = (leg_no IS NULL)", name="ledger_case_has_a_leg"),
    CheckConstraint("case_id IS NOT NULL OR cause <> ''", name="ledger_says_why"),
    Index("ledger_by_case", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    Index("ledger_by_day", "business_day", "payer", "institution"),
    Index("ledger_by_effective_day", "effective_day", "payer", "institution"),
    Index("ledger_by_cause", "cause", postgresql_where=text("cause <> ''")),
    Index("ledger_corrections", "case_id", "leg_no", postgresql_where=text("kind = 'correction'")),
)

seals = Table(
    "day_seal",
    metadata,
    Column("business_day", Date, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("amount_fen", BigInteger, nullable=False, comment="sum over all entries of the day"),
    Column("last_entry_id", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 over the day's entries; see store.seals"),
    Column("previous", Text, nullable=False, comment="chain of the day sealed before; empty for the first"),
    Column("chain", Text, nullable=False, comment="SHA-256 over previous, day, counts and digest"),
    Column("sealed_by", Text, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("sealed_at", Moment, nullable=False),
    Column(
        "books",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="with whose books the day was compared, and with whose not and why; part of the chain",
    ),
    PrimaryKeyConstraint("business_day", name="one_seal_per_day"),
    CheckConstraint("approved_by <> sealed_by", name="nobody_seals_alone"),
)
