"""The invariants as SQL views: each must return no row on a sound database; a row says what is wrong with what.

Every view has the columns `at` (when the case came in; of other things when they were written), `case_id` (null where
it is about no case), `subject` and `detail`. They are declared here once; a migration creates them from a copy of the
same text, and a test compares both. Filters on `at` and `case_id` reach the index of the cases, so a look at the last
hour costs what the last hour holds.

They say what the hub's own tables can tell. What only a payer's book can tell (the other half of I2 and I6) is the
business of whoever compares with those books.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from store.invariant_views_hosted import ACCUMULATORS, CLAIMS_AND_LEGS
from store.invariant_views_ledger import LEDGER

ROWS_MAX = 1_000
OPEN_MAX = 2_000
"""How many open cases from before the window a look at a window includes."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule: its number, its view, what it says, and what of it is not stored here."""

    code: str
    view: str
    rule: str
    sql: str
    not_stored: str = ""


_CASE = "SELECT c.received_at AS at, c.case_id, found.subject, found.detail\nFROM settlement_case c\n"

# A person has given the payer's word. To have it asked again, or reversed, is no word.
_ACTED = (
    "EXISTS (SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || c.case_id || '/' || l.leg_no "
    "AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))"
)


def _said(*outcomes: str) -> str:
    """The payer of leg `l` said one of these, and the bytes are kept."""
    listed = ", ".join(f"'{outcome}'" for outcome in outcomes)
    return (
        "EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no = l.leg_no "
        f"AND e.direction = 'in' AND e.outcome IN ({listed}))"
    )


_I01 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'the key ' || c.case_key || ' does not belong to number ' || c.settlement_no
    WHERE (c.purpose = 'settle' AND c.case_key <> c.settlement_no)
       OR (c.purpose = 'trial' AND c.case_key NOT LIKE 'trial/%')
    UNION ALL
    SELECT 'case/' || c.case_id, 'settled without any payer''s part'
    WHERE c.state = 'settled' AND NOT EXISTS (SELECT 1 FROM settlement_leg l WHERE l.case_id = c.case_id)
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the case is settled and the basic system''s part is ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.leg_no = 1 AND l.layer = 'basic' AND c.state = 'settled'
      AND l.state IN ('declined', 'deferred', 'not_needed', 'cancelled', 'reversed')
) AS found(subject, detail)"""

_I02 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'approved, and neither the payer nor a person has said so'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.state = 'approved' AND NOT {_said("approved")} AND NOT {_ACTED}
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, l.state || ', and nobody has confirmed it'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND NOT {_ACTED}
      AND ((l.state = 'cancelled' AND NOT {_said("cancelled")})
        OR (l.state = 'reversed' AND NOT {_said("cancelled", "declined", "not_found")}))
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || a.leg_no, 'asked to settle once more after its undo was confirmed'
    FROM exchange a
    WHERE a.case_id = c.case_id AND a.direction = 'out' AND a.operation = 'settle'
      AND EXISTS (SELECT 1 FROM exchange b WHERE b.case_id = a.case_id AND b.leg_no = a.leg_no
                  AND b.direction = 'in' AND b.outcome = 'cancelled' AND b.exchange_id < a.exchange_id)
) AS found(subject, detail)"""

_I03 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.amount_fen), 0) AS shares, coalesce(sum(l.account_fen), 0) AS account,
           coalesce(sum(l.hospital_fen), 0) AS hospital
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND (l.state = 'approved'
       OR (l.state IN ('cancelling', 'cancel_held') AND c.state <> 'open'))
) AS legs
LEFT JOIN LATERAL (
    SELECT convert_from(a.body, 'UTF8')::jsonb AS said, a.final
    FROM case_answer a WHERE a.case_id = c.case_id ORDER BY a.revision DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT 100 * (last.said ->> 'total')::numeric AS total, 100 * (last.said ->> 'account')::numeric AS account,
           100 * (last.said ->> 'hospital_borne')::numeric AS hospital, 100 * (last.said ->> 'cash')::numeric AS cash,
           (SELECT coalesce(100 * sum((share ->> 'amount')::numeric), 0)
            FROM jsonb_array_elements(last.said -> 'shares') AS share) AS shares
) AS answer ON last.said IS NOT NULL
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'payers, account and hospital bear '
        || (legs.shares + legs.account + legs.hospital) || ' fen of ' || c.total_fen
    WHERE legs.shares + legs.account + legs.hospital > c.total_fen
    UNION ALL
    SELECT 'case/' || c.case_id, 'the newest answer does not add up to ' || c.total_fen || ' fen'
    WHERE last.said IS NOT NULL AND (answer.total <> c.total_fen
       OR answer.shares + answer.account + answer.hospital + answer.cash <> c.total_fen)
    UNION ALL
    SELECT 'case/' || c.case_id, 'the final answer says other amounts than the payers'' parts'
    WHERE last.final AND c.state IN ('settled', 'declined', 'cancelled')
      AND (answer.shares <> legs.shares OR answer.account <> legs.account OR answer.hospital <> legs.hospital)
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the basic system''s own figures do not add up to its part'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND l.basic IS NOT NULL AND l.state = 'approved'
      AND ((l.basic ->> 'fund_fen')::bigint <> l.amount_fen
        OR (l.basic ->> 'account_fen')::bigint <> l.account_fen
        OR (l.basic ->> 'hospital_fen')::bigint <> l.hospital_fen
        OR (l.basic ->> 'fund_fen')::bigint + (l.basic ->> 'account_fen')::bigint
           + (l.basic ->> 'hospital_fen')::bigint + (l.basic ->> 'cash_fen')::bigint <> c.total_fen)
) AS found(subject, detail)"""

SINCE = """CROSS JOIN LATERAL (
    SELECT CASE
        WHEN c.state = 'cancelling' THEN coalesce(
            (SELECT max(u.asked_at) FROM case_undo u WHERE u.case_id = c.case_id), c.received_at)
        ELSE coalesce(
            (SELECT coalesce(
                (SELECT min(e.at) FROM exchange e WHERE e.case_id = c.case_id AND e.at > max(a.answered_at)),
                max(a.answered_at))
             FROM case_answer a WHERE a.case_id = c.case_id AND a.final HAVING max(a.answered_at) IS NOT NULL),
            c.received_at)
        END AS since
) AS begun"""
"""Since when a case is not at its end: it came in, was to be undone, or a late word opened it once more."""

_I05 = f"""{_CASE}{SINCE}
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'open since ' || begun.since || ' and on nobody''s list'
    WHERE begun.since < now() - interval '3 minutes' AND NOT EXISTS (
        SELECT 1 FROM incident i
        WHERE i.kind = 'case.overdue' AND i.subject = 'case/' || c.case_id AND i.recovered_at IS NULL)
    UNION ALL
    SELECT 'case/' || c.case_id, 'no answer although one was due at ' || c.answer_by
    WHERE c.state = 'open' AND c.revision = 0 AND c.answer_by < now() - interval '30 seconds'
    UNION ALL
    SELECT 'case/' || c.case_id, c.state || ' and no sweep will ever look at it'
    WHERE c.watch_at IS NULL
) AS found(subject, detail)
WHERE c.state IN ('open', 'cancelling')"""

_I06 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the payer said yes, and here it is ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND c.purpose = 'settle'
      AND l.state IN ('planned', 'declined', 'deferred', 'not_needed')
      AND {_said("approved")} AND NOT {_said("cancelled")} AND NOT {_ACTED}
) AS found(subject, detail)"""

_I07 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || e.leg_no, 'asked to ' || e.operation || ' under the id ' || e.request_id
    FROM exchange e
    CROSS JOIN LATERAL (SELECT replace(c.case_id::text, '-', '') || '-' || e.leg_no AS id) AS own
    WHERE e.case_id = c.case_id AND e.direction = 'out' AND e.leg_no > 0
      AND NOT CASE e.operation
          WHEN 'settle' THEN e.request_id = own.id
          WHEN 'trial' THEN e.request_id = own.id
          WHEN 'inquire' THEN e.request_id LIKE own.id || '-q%'
          ELSE e.request_id = own.id || '-c' END
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'was in doubt and is ' || l.state || ' without anybody''s word'
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND c.purpose = 'settle' AND l.doubt_since IS NOT NULL AND NOT {_ACTED}
      AND ((l.state = 'declined' AND NOT {_said("declined", "cancelled")})
        OR (l.state = 'deferred' AND NOT {_said("deferred", "not_found", "cancelled")}))
) AS found(subject, detail)"""

_I08 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || e.leg_no, 'an answer to ' || e.request_id || ', which was never written down'
    FROM exchange e
    WHERE e.case_id = c.case_id AND e.direction = 'in' AND e.leg_no > 0 AND NOT EXISTS (
        SELECT 1 FROM exchange o WHERE o.case_id = e.case_id AND o.leg_no = e.leg_no AND o.direction = 'out'
          AND o.request_id = e.request_id AND o.exchange_id < e.exchange_id)
      AND NOT (e.operation = 'people' AND EXISTS (SELECT 1 FROM operator_action a
          WHERE 'action/' || a.id = e.request_id AND a.subject = 'leg/' || c.case_id || '/' || e.leg_no))
      AND NOT (e.attempt = 0 AND EXISTS (SELECT 1 FROM settlement_leg g
          WHERE g.case_id = e.case_id AND g.leg_no = e.leg_no AND g.reason_code = 'adjudicated_by_basic'))
) AS found(subject, detail)"""

_I09 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'the case is ' || c.state || ' and this part ' || l.state
    FROM settlement_leg l
    WHERE l.case_id = c.case_id AND (
        (c.state IN ('settled', 'declined', 'cancelled')
            AND l.state IN ('planned', 'claimed', 'in_doubt', 'held', 'cancelling', 'cancel_held', 'reversing'))
        OR (c.state IN ('declined', 'cancelled') AND l.state = 'approved'))
    UNION ALL
    SELECT 'case/' || c.case_id, c.state || ' without the moment of its end'
    WHERE c.state IN ('settled', 'declined', 'cancelled') AND c.ended_at IS NULL
    UNION ALL
    SELECT 'case/' || c.case_id, 'version ' || c.version || ' after ' || c.revision || ' answers'
    WHERE c.version < c.revision
    UNION ALL
    SELECT 'leg/' || c.case_id || '/' || l.leg_no, 'decided in version 0'
    FROM settlement_leg l WHERE l.case_id = c.case_id AND l.state <> 'planned' AND l.version = 0
      AND l.state <> 'not_needed'
    UNION ALL
    SELECT 'case/' || c.case_id, 'its parts are not numbered 1 to ' || count(*)
    FROM settlement_leg l WHERE l.case_id = c.case_id
    HAVING count(*) > 0 AND (min(l.leg_no) <> 1 OR max(l.leg_no) <> count(*))
) AS found(subject, detail)"""

_I10 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, c.revision || ' answers were given and ' || count(*) || ' are kept'
    FROM case_answer a WHERE a.case_id = c.case_id
    HAVING count(*) <> c.revision OR coalesce(max(a.revision), 0) <> c.revision
    UNION ALL
    SELECT 'case/' || c.case_id, 'answer ' || a.revision || ' speaks of another case, number or revision'
    FROM case_answer a
    CROSS JOIN LATERAL (SELECT convert_from(a.body, 'UTF8')::jsonb AS said) AS b
    WHERE a.case_id = c.case_id AND (b.said ->> 'case_id' IS DISTINCT FROM c.case_id::text
       OR b.said ->> 'settlement_no' IS DISTINCT FROM c.settlement_no
       OR (b.said ->> 'revision')::int IS DISTINCT FROM a.revision
       OR (b.said ->> 'final')::boolean IS DISTINCT FROM a.final)
) AS found(subject, detail)"""

_I11 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'reversed before it came, and yet it has parts or messages to payers'
    WHERE c.total_fen = 0 AND (EXISTS (SELECT 1 FROM settlement_leg l WHERE l.case_id = c.case_id)
       OR EXISTS (SELECT 1 FROM exchange e WHERE e.case_id = c.case_id AND e.leg_no > 0))
    UNION ALL
    SELECT 'case/' || c.case_id, 'an undo was asked for, and it is ' || c.state
    WHERE c.state NOT IN ('cancelling', 'cancelled')
      AND EXISTS (SELECT 1 FROM case_undo u WHERE u.case_id = c.case_id)
) AS found(subject, detail)"""

_I12 = """SELECT d.died_at AS at, CAST(NULL AS uuid) AS case_id, 'dead_letter/' || d.id AS subject, found.detail
FROM dead_letter d
CROSS JOIN LATERAL (
    SELECT 'open, and yet resolved at ' || d.resolved_at WHERE d.state = 'open' AND d.resolved_at IS NOT NULL
    UNION ALL
    SELECT d.state || ', and nobody knows when' WHERE d.state <> 'open' AND d.resolved_at IS NULL
    UNION ALL
    SELECT 'replayed, and the message that went out again has no id'
    WHERE d.state = 'replayed' AND d.replay_message_id = ''
    UNION ALL
    SELECT 'discarded without a person and a reason'
    WHERE d.state = 'discarded' AND (d.resolved_by = '' OR d.resolution = '')
) AS found(detail)"""

_I13 = f"""{_CASE}CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'message ' || e.request_id || ' had effect and is not in the inbox'
    FROM exchange e
    WHERE e.case_id = c.case_id AND e.leg_no = 0 AND e.direction = 'in' AND NOT EXISTS (
        SELECT 1 FROM inbox i WHERE i.consumer = e.party AND i.message_id = e.request_id)
) AS found(subject, detail)
UNION ALL
SELECT o.created_at, NULL, 'outbox/' || o.id, 'waits since ' || o.available_at || ' and is on nobody''s list'
FROM outbox o
WHERE o.queue NOT LIKE 'out.%' AND o.available_at < now() - interval '10 minutes'
  AND coalesce(o.leased_until, o.available_at) < now() - interval '10 minutes'
  AND NOT EXISTS (SELECT 1 FROM incident i WHERE i.kind = 'outbox.stuck' AND i.recovered_at IS NULL)"""

_I18 = f"""{_CASE}LEFT JOIN settlement_leg l ON l.case_id = c.case_id AND l.leg_no = 1
LEFT JOIN LATERAL (
    SELECT convert_from(a.body, 'UTF8')::jsonb ->> 'business_day' AS day
    FROM case_answer a WHERE a.case_id = c.case_id AND a.final ORDER BY a.revision DESC LIMIT 1
) AS answer ON true
CROSS JOIN LATERAL (
    SELECT 'case/' || c.case_id, 'settled without a business day'
    WHERE c.state = 'settled' AND c.purpose = 'settle' AND c.business_day IS NULL
    UNION ALL
    SELECT 'case/' || c.case_id, 'counts on ' || c.business_day || ', and the basic system settled on '
        || CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)
    WHERE c.state = 'settled' AND l.layer = 'basic' AND l.state = 'approved'
      AND c.business_day <> CAST(l.decided_at AT TIME ZONE 'Asia/Shanghai' AS date)
      -- A payer's clock that is far ahead, or begins in 1970, is not believed.
      AND l.decided_at BETWEEN '2000-01-01 00:00+08' AND coalesce(c.ended_at, now()) + interval '1 day'
    UNION ALL
    SELECT 'case/' || c.case_id, 'counts on ' || c.business_day || ', and the hospital was told ' || answer.day
    WHERE c.state = 'settled' AND answer.day <> c.business_day::text
) AS found(subject, detail)"""

INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I01", "invariant_i01_one_settlement_per_number", "one effective settlement per number", _I01),
    Invariant(
        "I02",
        "invariant_i02_effects_have_evidence",
        "each effect and each undo stands on the payer's kept word or a person's; nothing is done again after its undo",
        _I02,
        "how often a payer booked it stands in that payer's book",
    ),
    Invariant(
        "I03", "invariant_i03_money_adds_up", "payers, account, hospital and cash are the total to the fen", _I03
    ),
    Invariant(
        "I04",
        "invariant_i04_amounts_only_with_effect",
        "what stands is booked, to the fen, and nothing else is",
        LEDGER,
    ),
    Invariant("I05", "invariant_i05_nobody_waits_unseen", "accepted: at its end, or on the list, in time", _I05),
    Invariant(
        "I06",
        "invariant_i06_no_yes_is_dropped",
        "what a payer approved stands here, was undone, or was decided by a person",
        _I06,
        "what a payer booked and never told stands in that payer's book",
    ),
    Invariant(
        "I07", "invariant_i07_unknown_is_never_guessed", "one request id per leg; doubt ends in somebody's word", _I07
    ),
    Invariant("I08", "invariant_i08_written_before_sent", "nothing is answered that was not written down before", _I08),
    Invariant(
        "I09",
        "invariant_i09_states_agree",
        "case and legs are in states that go together; versions and numbers have no gaps",
        _I09,
        "the states a row has been in before are not kept",
    ),
    Invariant("I10", "invariant_i10_same_answer_again", "every answer that was given is kept, as it was given", _I10),
    Invariant("I11", "invariant_i11_undo_blocks", "a tombstone has no effect; who asked for an undo gets it", _I11),
    Invariant(
        "I12",
        "invariant_i12_dead_letters_are_accounted_for",
        "each dead letter is open, or was replayed or discarded by somebody",
        _I12,
        "what lies in a broker's queues is not in the database",
    ),
    Invariant(
        "I13",
        "invariant_i13_outbox_and_inbox",
        "each message with effect is in the inbox; none stays in the outbox",
        _I13,
    ),
    Invariant(
        "I18",
        "invariant_i18_business_day_is_a_field",
        "the business day is fixed once, by the payer's settlement time",
        _I18,
    ),
    Invariant(
        "I20",
        "invariant_i20_accumulators_are_their_claims",
        "what a hosted product's accumulators say is the sum of the claims that stand",
        ACCUMULATORS,
    ),
    Invariant(
        "I21",
        "invariant_i21_hosted_claims_and_legs_agree",
        "a hosted product's claim and the payer's part of the case say the same",
        CLAIMS_AND_LEGS,
    ),
)


def find(which: str) -> Invariant | None:
    """The invariant of this code (`I03`, `i3`) or view."""
    code = re.fullmatch(r"[iI](\d{1,2})", which)
    wanted = f"I{int(code[1]):02d}" if code else which
    return next((one for one in INVARIANTS if wanted in (one.code, one.view)), None)


@dataclass(frozen=True, slots=True)
class Violation:
    """One row of a view."""

    subject: str
    detail: str
    case_id: str | None


_ARRIVED_LAST = text("SELECT received_at FROM settlement_case ORDER BY received_at DESC OFFSET :count LIMIT 1")
_OPEN_BEFORE = text(
    "SELECT case_id FROM settlement_case WHERE watch_at IS NOT NULL AND received_at < :since LIMIT :count"
)
_FREE_PLANNING = text(
    "SET TRANSACTION READ ONLY; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; "
    "SET LOCAL enable_mergejoin = on; SET LOCAL plan_cache_mode = auto"
)


def prepare(connection: Connection, timeout_s: float) -> None:
    """Make this transaction one for reading views: nothing is written, the planner is free, and it ends in time."""
    connection.execute(_FREE_PLANNING)
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")


def newest(connection: Connection, count: int, since: datetime) -> datetime:
    """The moment from which on at most `count` cases have come in; `since` when that is later."""
    arrived: datetime | None = connection.execute(_ARRIVED_LAST, {"count": count}).scalar()
    return since if arrived is None else max(since, arrived)


def broken(
    connection: Connection,
    one: Invariant,
    since: datetime | None,
    limit: int = ROWS_MAX,
    *,
    again: Sequence[str] = (),
) -> list[Violation]:
    """The first `limit` rows of a view.

    With `since`: about cases that came in from then on, that are still open, or whose ids are in `again`.
    """
    if since is None:
        return _rows(connection, one, "true", {}, limit)
    recent = _rows(connection, one, "at >= :since", {"since": since}, limit)
    before = connection.execute(_OPEN_BEFORE, {"since": since, "count": OPEN_MAX}).scalars()
    named = sorted({str(case_id) for case_id in before} | set(again))
    if not named or len(recent) >= limit:
        return recent
    where = "case_id = ANY(CAST(:ids AS uuid[])) AND at < :since"
    return recent + _rows(connection, one, where, {"ids": named, "since": since}, limit - len(recent))


def _rows(connection: Connection, one: Invariant, where: str, values: dict[str, Any], limit: int) -> list[Violation]:
    statement = text(f"SELECT subject, detail, CAST(case_id AS text) FROM {one.view} WHERE {where} LIMIT :count")
    found: Sequence[Any] = connection.execute(statement, {**values, "count": limit}).all()
    return [Violation(*row) for row in found]
