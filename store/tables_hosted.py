"""The tables of products that the hub adjudicates itself: claims, and what they use up; see `store.tables`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from store.tables import Moment, metadata

claims = Table(
    "hosted_claim",
    metadata,
    Column("request_id", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("party", Text, nullable=False),
    Column("product", Text, nullable=False, comment="empty where an undo came before its claim"),
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("policy_no", Text, nullable=False),
    Column("year", Integer, nullable=False, comment="the benefit year that it counts in"),
    Column("service_day", Date, nullable=True),
    Column("rulebook_version", Integer, nullable=False, comment="whose terms were applied"),
    Column("state", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("deductible_fen", BigInteger, nullable=False, server_default=text("0"), comment="of the year's, used up"),
    Column("counted_fen", BigInteger, nullable=False, server_default=text("0"), comment="beyond the deductible"),
    Column("answer", LargeBinary, nullable=False, comment="as it was given, with the trace"),
    Column("settled_at", Moment, nullable=False),
    Column("undone_at", Moment, nullable=True),
    Column("undo_request_id", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("request_id", name="hosted_claim_pk"),
    CheckConstraint(
        "state IN ('approved', 'declined', 'deferred', 'cancelled', 'blocked')", name="hosted_claim_state_is_known"
    ),
    CheckConstraint(
        "amount_fen >= 0 AND deductible_fen >= 0 AND counted_fen >= 0", name="hosted_claim_amounts_not_negative"
    ),
    CheckConstraint(
        "state IN ('approved', 'cancelled') OR (amount_fen = 0 AND deductible_fen = 0 AND counted_fen = 0)",
        name="hosted_claim_amounts_only_with_effect",
    ),
    CheckConstraint(
        "(state IN ('cancelled', 'blocked')) = (undone_at IS NOT NULL)", name="hosted_claim_undone_has_its_moment"
    ),
    Index("hosted_claim_standing", "product", "person_key", postgresql_where=text("state = 'approved'")),
    Index("hosted_claim_by_case", "case_id"),
    Index("hosted_claim_by_moment", "settled_at"),
)

accumulators = Table(
    "accumulator",
    metadata,
    Column("product", Text, nullable=False),
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("policy_no", Text, nullable=False),
    Column("year", Integer, nullable=False, comment="0, without a policy: everything that this person ever had"),
    Column("visits", Integer, nullable=False, server_default=text("0")),
    Column("deductible_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("counted_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("paid_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("changed_at", Moment, nullable=False),
    PrimaryKeyConstraint("product", "person_key", "policy_no", "year", name="accumulator_pk"),
    CheckConstraint(
        "visits >= 0 AND deductible_fen >= 0 AND counted_fen >= 0 AND paid_fen >= 0", name="accumulator_not_negative"
    ),
    Index("accumulator_by_moment", "changed_at"),
)
