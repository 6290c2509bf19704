"""Every table, declared once. Amounts are whole fen in bigint; every hot table carries the region for later sharding.

The constraints have names that can be said aloud; the migrations in `store/migrations` build exactly this.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

from routing.states import CaseState, LegState

metadata = MetaData()
Moment = TIMESTAMP(timezone=True)


def _one_of(column: str, values: type[CaseState] | type[LegState]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


cases = Table(
    "settlement_case",
    metadata,
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("region", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("settlement_no", Text, nullable=False),
    Column(
        "case_key", Text, nullable=False, comment="settlement_no, or trial/<message id>: no settlement number has a /"
    ),
    Column("purpose", Text, nullable=False),
    Column("request_hash", Text, nullable=False, comment="SHA-256 of the canonical content"),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0"), comment="answers given so far"),
    Column("total_fen", BigInteger, nullable=False),
    Column("rulebook_version", Integer, nullable=False),
    Column("considered", JSONB, nullable=False, comment="[[rule, missed condition or empty], ...]"),
    Column("received_at", Moment, nullable=False),
    Column("answer_by", Moment, nullable=False),
    Column("overdue", Boolean, nullable=False, server_default=text("false")),
    Column("watch_at", Moment, nullable=True, comment="when a sweep must look; null when nothing is open"),
    Column("reply_to", Text, nullable=False, comment="out:<party> or a gateway's hint channel"),
    Column("correlation_id", Text, nullable=False, comment="message id of the request"),
    Column("ended_at", Moment, nullable=True),
    Column("business_day", Date, nullable=True),
    Column("visit_kind", Text, nullable=True, comment="null: as the stored message says; see store.case_facts"),
    Column("insurance_type", Text, nullable=True, comment="likewise"),
    PrimaryKeyConstraint("case_id", name="settlement_case_pk"),
    # The number first: people who look for one do not always know whose it is.
    UniqueConstraint("case_key", "institution", name="one_case_per_settlement_number"),
    CheckConstraint(_one_of("state", CaseState), name="case_state_is_known"),
    CheckConstraint("purpose IN ('settle', 'trial')", name="case_purpose_is_known"),
    # A tombstone (the reversal of a settlement that never came) is a cancelled case of nothing.
    CheckConstraint("total_fen > 0 OR (total_fen = 0 AND state = 'cancelled')", name="case_total_is_positive"),
    Index("case_to_watch", "watch_at", postgresql_where=text("watch_at IS NOT NULL")),
    Index("case_by_arrival", "received_at"),
)

legs = Table(
    "settlement_leg",
    metadata,
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("leg_no", SmallInteger, nullable=False),
    Column("region", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("policy_no", Text, nullable=True),
    Column("rule", Text, nullable=False),
    Column("split", SmallInteger, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("independent", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("undo_attempts", Integer, nullable=False, server_default=text("0")),
    Column("left_fen", BigInteger, nullable=True),
    Column("amount_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("account_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("hospital_fen", BigInteger, nullable=False, server_default=text("0")),
    Column("basic", JSONB, nullable=True, comment="the basic system's adjudication in fen"),
    Column("payer_reference", Text, nullable=True),
    Column("reason_code", Text, nullable=False, server_default=text("''")),
    Column("reason_zh", Text, nullable=False, server_default=text("''")),
    Column("reason_en", Text, nullable=False, server_default=text("''")),
    Column("claimed_at", Moment, nullable=True),
    Column("doubt_since", Moment, nullable=True, comment="when the payer's word was first missed"),
    Column("next_at", Moment, nullable=True, comment="no attempt before this moment"),
    Column(
        "inquiries", Integer, nullable=False, server_default=text("0"), comment="inquiries and repeats since the doubt"
    ),
    Column("not_found_since", Moment, nullable=True, comment="when an inquiry first found nothing"),
    Column("decided_at", Moment, nullable=True),
    PrimaryKeyConstraint("case_id", "leg_no", name="settlement_leg_pk"),
    CheckConstraint(_one_of("state", LegState), name="leg_state_is_known"),
    CheckConstraint("amount_fen >= 0 AND account_fen >= 0 AND hospital_fen >= 0", name="leg_amounts_not_negative"),
    CheckConstraint(
        "amount_fen + account_fen + hospital_fen <= coalesce(left_fen, 0)", name="leg_bears_at_most_what_was_left"
    ),
)

answers = Table(
    "case_answer",
    metadata,
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("region", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="the combined answer as sent"),
    Column("answered_at", Moment, nullable=False),
    PrimaryKeyConstraint("case_id", "revision", name="case_answer_pk"),
)

undos = Table(
    "case_undo",
    metadata,
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("cancel_no", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reply_to", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    PrimaryKeyConstraint("case_id", "cancel_no", name="one_undo_per_cancel_number"),
    Index("case_undo_by_number", "cancel_no"),
    Index("case_undo_by_message", "correlation_id"),
)

exchanges = Table(
    "exchange",
    metadata,
    Column("exchange_id", BigInteger, Identity(always=True), nullable=False),
    Column("region", Text, nullable=False),
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("leg_no", SmallInteger, nullable=False, comment="0 for the hospital's own message"),
    Column("party", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Integer, nullable=False, server_default=text("0")),
    Column("outcome", Text, nullable=False, server_default=text("''")),
    Column("took_us", Integer, nullable=False, server_default=text("0"), comment="a call: from first byte to answer"),
    Column("content_type", Text, nullable=False, server_default=text("''")),
    Column("body", LargeBinary, nullable=False),
    Column("at", Moment, nullable=False),
    # One index serves both identity and "everything said about this case".
    PrimaryKeyConstraint("case_id", "exchange_id", name="exchange_pk"),
    CheckConstraint("direction IN ('in', 'out')", name="exchange_direction_is_known"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", Text, nullable=False, comment="the party that sent it"),
    Column("message_id", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("content", Text, nullable=False, comment="transaction and SHA-256 of what it says"),
    Column("received_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("consumer", "message_id", name="one_effect_per_message"),
)

OUTBOX_ID_BLOCK = 100
"""Ids that a process draws at a time; see `store.outbox`."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True, increment=OUTBOX_ID_BLOCK), nullable=False),
    Column("region", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("queue", Text, nullable=False, server_default=text("''"), comment="embedded transport: where it waits"),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("type", Text, nullable=False, server_default=text("''")),
    Column("correlation_id", Text, nullable=False, server_default=text("''")),
    Column("content_type", Text, nullable=False, server_default=text("''")),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.now()),
    Column("available_at", Moment, nullable=False, server_default=func.now()),
    Column("leased_until", Moment, nullable=True),
    Column("deliveries", Integer, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("id", name="outbox_pk"),
    # For the embedded transport only: with RabbitMQ no row is in it.
    Index("outbox_by_queue", "queue", "available_at", "id", postgresql_where=text("queue <> ''")),
)

dead_letters = Table(
    "dead_letter",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("region", Text, nullable=False, server_default=text("''")),
    Column("source_queue", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False, server_default=text("''")),
    Column("correlation_id", Text, nullable=False, server_default=text("''")),
    Column("content_type", Text, nullable=False, server_default=text("''")),
    Column("cause", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("body", LargeBinary, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("died_at", Moment, nullable=False, server_default=func.now()),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("owner", Text, nullable=False, server_default=text("''"), comment="the operator who looks after it"),
    Column("resolved_at", Moment, nullable=True),
    Column("resolved_by", Text, nullable=False, server_default=text("''")),
    Column("resolution", Text, nullable=False, server_default=text("''"), comment="the reason that was given"),
    Column("edited_body", LargeBinary, nullable=True, comment="what was replayed instead of the body"),
    Column("replay_message_id", Text, nullable=False, server_default=text("''")),
    CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="dead_letter_state_is_known"),
    PrimaryKeyConstraint("id", name="dead_letter_pk"),
    # Message ids are the senders' own: two of them may use the same one, and one of them may use it for two contents.
    # A message that dies again after people have dealt with it is a new letter.
    Index(
        "one_open_dead_letter_per_delivery",
        "source_queue",
        "exchange",
        "message_id",
        "attempt",
        text("sha256(body)"),
        unique=True,
        postgresql_where=text("state = 'open'"),
    ),
    Index("dead_letter_by_message", "message_id"),
    # The letters that are through are kept for ever; the watch asks every few seconds for those that are not.
    Index("dead_letter_open", "cause", "died_at", postgresql_where=text("state = 'open'")),
)

coverages = Table(
    "coverage",
    metadata,
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("product", Text, nullable=False),
    Column("policy_no", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_until", Date, nullable=True),
    PrimaryKeyConstraint("person_key", "product", "policy_no", "valid_from", name="coverage_pk"),
)

rulebooks = Table(
    "rulebook",
    metadata,
    Column("version", Integer, Identity(always=True), nullable=False),
    Column("title", Text, nullable=False),
    Column("content", Text, nullable=False, comment="the reviewed YAML as it was given"),
    Column("sha256", Text, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("version", name="rulebook_pk"),
)

rulebook_activations = Table(
    "rulebook_activation",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("version", Integer, ForeignKey("rulebook.version", name="activation_of_a_rulebook"), nullable=False),
    Column("active_from", Moment, nullable=False),
    Column("activated_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="rulebook_activation_pk"),
)

operator_actions = Table(
    "operator_action",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="dlq.replay, dlq.discard, doubt.approve, ..."),
    Column("subject", Text, nullable=False, comment="dead_letter/<id>, leg/<case id>/<leg no>, payer/<code>, ..."),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Moment, nullable=False, server_default=func.now()),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False, server_default=text("''"), comment="the second person"),
    Column("decided_at", Moment, nullable=True),
    Column("outcome", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("id", name="operator_action_pk"),
    CheckConstraint("state IN ('requested', 'rejected', 'executed', 'failed')", name="operator_action_state_is_known"),
    CheckConstraint("decided_by <> requested_by OR decided_by = ''", name="nobody_approves_their_own_action"),
    Index("operator_action_by_subject", "subject"),
    Index("operator_action_waiting", "requested_at", postgresql_where=text("state = 'requested'")),
)

incidents = Table(
    "incident",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="case.overdue, leg.in_doubt, payer.down, dead_letter.open, ..."),
    Column("subject", Text, nullable=False),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("opened_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("recovered_at", Moment, nullable=True),
    Column("open_notice_at", Moment, nullable=True),
    Column("recovery_notice_at", Moment, nullable=True),
    PrimaryKeyConstraint("id", name="incident_pk"),
    Index(
        "one_open_incident_per_subject",
        "kind",
        "subject",
        unique=True,
        postgresql_where=text("recovered_at IS NULL"),
    ),
    Index(
        "incident_to_announce",
        "kind",
        "id",
        postgresql_where=text("open_notice_at IS NULL OR (recovered_at IS NOT NULL AND recovery_notice_at IS NULL)"),
    ),
)

watch_passes = Table(
    "watch_pass",
    metadata,
    Column("name", Text, nullable=False, comment="watch, verify"),
    Column("process", Text, nullable=False, comment="who made the last pass"),
    Column("began_at", Moment, nullable=False),
    Column("steady_since", Moment, nullable=False, comment="no pass has been missed since"),
    PrimaryKeyConstraint("name", name="watch_pass_pk"),
)

alerts = Table(
    "alert",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("alert_id", UUID(as_uuid=False), nullable=False, comment="by which a receiver drops repeats"),
    Column("event", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("grouped", Boolean, nullable=False, comment="many incidents in one alert"),
    Column("body", JSONB, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("logged_at", Moment, nullable=True),
    Column("next_at", Moment, nullable=False, comment="no attempt to deliver before"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("delivered_at", Moment, nullable=True),
    Column("given_up_at", Moment, nullable=True),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("id", name="alert_pk"),
    UniqueConstraint("alert_id", name="one_row_per_alert"),
    CheckConstraint("event IN ('opened', 'recovered', 'test')", name="alert_event_is_known"),
    Index("alert_by_kind", "kind", "event", "created_at"),
    Index("alert_to_deliver", "next_at", postgresql_where=text("delivered_at IS NULL AND given_up_at IS NULL")),
)

payer_switches = Table(
    "payer_switch",
    metadata,
    Column("party", Text, nullable=False, comment="a payer's code, or * for all"),
    Column("stopped", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("party", name="payer_switch_pk"),
)

payer_health = Table(
    "payer_health",
    metadata,
    Column("party", Text, nullable=False),
    Column("process", Text, nullable=False, comment="each process that calls has a breaker of its own"),
    Column("breaker", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("retries_held", BigInteger, nullable=False, server_default=text("0"), comment="put off for want of budget"),
    Column("updated_at", Moment, nullable=False),
    PrimaryKeyConstraint("party", "process", name="payer_health_pk"),
    CheckConstraint("breaker IN ('closed', 'open', 'half_open')", name="breaker_state_is_known"),
)
