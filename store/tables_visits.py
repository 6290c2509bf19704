"""The tables of visits, of what payers are told about them, and of message numbers; see `store.tables`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from store.tables import Moment, metadata

visits = Table(
    "visit",
    metadata,
    Column("visit_id", UUID(as_uuid=False), nullable=False),
    Column("region", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("visit_no", Text, nullable=False),
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("admission", JSONB, nullable=False, comment="the registration as it holds now"),
    Column("discharge", JSONB, nullable=True),
    Column("admitted_at", Moment, nullable=False),
    Column("discharged_at", Moment, nullable=True),
    Column("created_at", Moment, nullable=False),
    PrimaryKeyConstraint("visit_id", name="visit_pk"),
    CheckConstraint("state IN ('admitted', 'discharged', 'cancelled')", name="visit_state_is_known"),
    CheckConstraint(
        "(state = 'discharged') = (discharge IS NOT NULL) OR state = 'cancelled'", name="discharge_is_kept"
    ),
    Index(
        "one_visit_per_number", "institution", "visit_no", unique=True, postgresql_where=text("state <> 'cancelled'")
    ),
    Index("visit_by_person", "person_key"),
)

fee_lines = Table(
    "fee_line",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("visit_id", UUID(as_uuid=False), ForeignKey("visit.visit_id", name="fee_line_of_a_visit"), nullable=False),
    Column("line_no", Text, nullable=False),
    Column("batch_no", Text, nullable=False),
    Column("request_no", Text, nullable=False, comment="the upload that it came with"),
    Column("state", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False, comment="below zero for a refund"),
    Column("content", JSONB, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=True, comment="the settlement that it is part of, if that stands"),
    Column("uploaded_at", Moment, nullable=False),
    Column("cancelled_at", Moment, nullable=True),
    PrimaryKeyConstraint("id", name="fee_line_pk"),
    CheckConstraint("state IN ('standing', 'cancelled')", name="fee_line_state_is_known"),
    Index(
        "one_standing_line_per_number", "visit_id", "line_no", unique=True, postgresql_where=text("state = 'standing'")
    ),
)

visit_settlements = Table(
    "visit_settlement",
    metadata,
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("visit_id", UUID(as_uuid=False), nullable=False),
    PrimaryKeyConstraint("case_id", name="visit_settlement_pk"),
    Index("visit_settlement_by_visit", "visit_id"),
)

requests = Table(
    "party_request",
    metadata,
    Column("party", Text, nullable=False, comment="whose number it is: the institution, or the party of an upload"),
    Column("transaction", Text, nullable=False),
    Column("request_no", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("sender", Text, nullable=False, comment="who sent it: the party itself or its basic system"),
    Column("visit_id", UUID(as_uuid=False), nullable=True),
    Column("content_hash", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    PrimaryKeyConstraint("party", "transaction", "request_no", name="one_effect_per_request_number"),
    Index("party_request_by_visit", "visit_id", postgresql_where=text("visit_id IS NOT NULL")),
)

payments = Table(
    "payment_confirmation",
    metadata,
    Column("institution", Text, nullable=False),
    Column("payment_no", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("paid_on", Date, nullable=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("confirmed_at", Moment, nullable=False),
    PrimaryKeyConstraint("institution", "payment_no", name="one_confirmation_per_payment"),
    CheckConstraint("amount_fen >= 0", name="payment_is_not_negative"),
)

notices = Table(
    "notice",
    metadata,
    Column("request_id", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("transaction", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("policy_no", Text, nullable=True),
    Column("visit_id", UUID(as_uuid=False), nullable=True),
    Column("case_id", UUID(as_uuid=False), nullable=True),
    Column("place", BigInteger, Identity(always=True), nullable=False, comment="of one visit the earlier goes first"),
    Column("original_request_id", Text, nullable=True, comment="of an undo: the notice that it takes back"),
    Column("message", LargeBinary, nullable=False, comment="the canonical message"),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", Moment, nullable=False),
    Column("reference", Text, nullable=True, comment="what the payer calls it"),
    Column("reason_code", Text, nullable=False, server_default=text("''")),
    Column("reason_zh", Text, nullable=False, server_default=text("''")),
    Column("reason_en", Text, nullable=False, server_default=text("''")),
    Column("sent", LargeBinary, nullable=True, comment="the last attempt's bytes"),
    Column("answered", LargeBinary, nullable=True),
    Column("status", SmallInteger, nullable=False, server_default=text("0")),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=True),
    PrimaryKeyConstraint("request_id", name="notice_pk"),
    CheckConstraint("state IN ('waiting', 'taken', 'refused', 'given_up', 'withdrawn')", name="notice_state_is_known"),
    Index("notice_waiting", "next_at", postgresql_where=text("state = 'waiting'")),
    Index("notice_refused", "place", postgresql_where=text("state IN ('refused', 'given_up')")),
    Index("notice_by_case", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    Index("notice_by_visit", "visit_id", "place"),
)

number_sequences = Table(
    "message_number_sequence",
    metadata,
    Column("payer", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("next", BigInteger, nullable=False),
    PrimaryKeyConstraint("payer", "institution", name="message_number_sequence_pk"),
)

numbers = Table(
    "message_number",
    metadata,
    Column("request_id", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    PrimaryKeyConstraint("request_id", name="one_block_of_numbers_per_request"),
    UniqueConstraint("payer", "institution", "first", name="numbers_are_given_once"),
    # Rows come in the order of time, so that a range of pages is all that a moment costs.
    Index("message_number_by_time", "at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
)

sign_ins = Table(
    "sign_in",
    metadata,
    Column("sign_no", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("signed_in_at", Moment, nullable=False),
    Column("valid_until", Moment, nullable=False),
    Column("signed_out_at", Moment, nullable=True),
    PrimaryKeyConstraint("sign_no", name="sign_in_pk"),
    Index("sign_in_by_operator", "institution", "operator"),
)
