"""Incidents: what people must know of, one open row per kind and subject, found by one statement per kind.

A statement reads what is open, never what is stored: cases by the index of those a sweep still watches, dead letters
and actions by indexes of those that wait. Subjects are written `case/<id>`, `leg/<case id>/<leg no>`, `payer/<code>`,
`dead_letters/<cause>`, `outbox/<queue>`, `action/<id>`, `view/<name>`, `staging/<party>`; facts hold ids, codes and
moments, no data of patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

from store.invariants import SINCE

FOUND_MAX = 10_000
"""Of one kind. Beyond that the oldest are on the list, and the list says so by its length."""
DOUBT_AGE_S = 60.0
HEALTH_AGE_S = 30.0
"""A process that has not reported for so long is gone, and with it what it thought of a payer."""
OUTBOX_AGE_S = 30.0
ACTION_AGE_S = 900.0
UNDELIVERED_AGE_S = 300.0
NOTICE_AGE_S = 600.0
REFRESH_S = 10.0
"""An incident that goes on unchanged is written again only so often."""

_LEG_FACTS = """jsonb_build_object(
        'case_id', c.case_id, 'institution', c.institution, 'settlement_no', c.settlement_no, 'leg_no', l.leg_no,
        'payer', l.payer, 'state', l.state, 'since', coalesce(l.doubt_since, l.claimed_at, c.received_at),
        'next_at', l.next_at, 'reason_code', l.reason_code, 'attempts', l.attempts, 'inquiries', l.inquiries,
        'undo_attempts', l.undo_attempts)"""


def _legs(condition: str) -> str:
    return f"""SELECT 'leg/' || c.case_id || '/' || l.leg_no AS subject, {_LEG_FACTS} AS facts
    FROM settlement_case c JOIN settlement_leg l ON l.case_id = c.case_id
    WHERE c.watch_at IS NOT NULL AND {condition} ORDER BY c.watch_at LIMIT {FOUND_MAX}"""


# The sum keeps the planner from reading the index of arrivals, in which every case is.
_OVERDUE = f"""SELECT 'case/' || c.case_id AS subject, jsonb_build_object(
        'case_id', c.case_id, 'institution', c.institution, 'settlement_no', c.settlement_no, 'state', c.state,
        'since', begun.since, 'answers', c.revision,
        'payer', (SELECT l.payer FROM settlement_leg l WHERE l.case_id = c.case_id AND l.state = ANY(:open_legs)
                  ORDER BY (l.state = 'planned'), l.leg_no LIMIT 1),
        'legs', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'leg_no', l.leg_no, 'payer', l.payer, 'state', l.state,
                        'since', coalesce(l.doubt_since, l.claimed_at), 'next_at', l.next_at,
                        'reason_code', l.reason_code) ORDER BY l.leg_no), '[]'::jsonb)
                 FROM settlement_leg l WHERE l.case_id = c.case_id AND l.state = ANY(:open_legs))) AS facts
    FROM settlement_case c {SINCE}
    WHERE c.watch_at IS NOT NULL AND c.state IN ('open', 'cancelling') AND c.received_at + interval '0' <= :overdue_at
      AND begun.since <= :overdue_at
    ORDER BY c.watch_at LIMIT {FOUND_MAX}"""

_PAYER_DOWN = """SELECT 'payer/' || party AS subject, jsonb_build_object(
        'payer', party, 'since', min(since) FILTER (WHERE breaker <> 'closed'),
        'processes', count(*), 'processes_open', count(*) FILTER (WHERE breaker <> 'closed'),
        'last_error', max(last_error) FILTER (WHERE breaker <> 'closed')) AS facts
    FROM payer_health WHERE updated_at > :now - make_interval(secs => :health_age_s)
    GROUP BY party HAVING bool_or(breaker <> 'closed')"""

_PAYER_STOPPED = """SELECT 'payer/' || party AS subject, jsonb_build_object(
        'payer', party, 'since', changed_at, 'reason', reason, 'changed_by', changed_by) AS facts
    FROM payer_switch WHERE stopped"""

_DEAD_LETTERS = """SELECT 'dead_letters/' || cause AS subject, jsonb_build_object(
        'cause', cause, 'count', count(*), 'since', min(died_at)) AS facts
    FROM dead_letter WHERE state = 'open' GROUP BY cause"""

# Ids are drawn in blocks, so the smallest is not always the oldest; among the first thousand the oldest is. A queue
# of the embedded broker is asked for its own oldest row. What rests in a party's mailbox rests there rightly. The
# moments are the database's own, so they are compared with its clock.
_OUTBOX = f"""WITH RECURSIVE queues AS (
        SELECT min(queue) AS queue FROM outbox WHERE queue <> ''
        UNION ALL
        SELECT (SELECT min(o.queue) FROM outbox o WHERE o.queue <> '' AND o.queue > q.queue)
        FROM queues q WHERE q.queue IS NOT NULL
    ), oldest AS (
        SELECT 'broker' AS queue, min(first.created_at) AS since
        FROM (SELECT created_at, queue FROM outbox ORDER BY id LIMIT 1000) AS first WHERE first.queue = ''
        UNION ALL
        SELECT q.queue, (SELECT o.available_at FROM outbox o WHERE o.queue = q.queue AND o.queue <> ''
                           AND (o.leased_until IS NULL OR o.leased_until < clock_timestamp())
                         ORDER BY o.available_at LIMIT 1)
        FROM queues q WHERE q.queue IS NOT NULL AND q.queue NOT LIKE 'out.%'
    )
    SELECT 'outbox/' || queue AS subject, jsonb_build_object('queue', queue, 'since', since, 'rows_at_least',
        (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE id > 0 LIMIT {FOUND_MAX}) AS counted)) AS facts
    FROM oldest WHERE since < clock_timestamp() - make_interval(secs => :outbox_age_s)"""

_ACTIONS = """SELECT 'action/' || id AS subject, jsonb_build_object(
        'action', id, 'kind', kind, 'about', subject, 'requested_by', requested_by, 'since', requested_at) AS facts
    FROM operator_action WHERE state = 'requested' AND requested_at < :now - make_interval(secs => :action_age_s)
    ORDER BY requested_at LIMIT 1000"""

_UNDELIVERED = """SELECT 'alerts' AS subject, jsonb_build_object(
        'count', count(*), 'since', min(created_at), 'last_error', max(last_error)) AS facts
    FROM alert WHERE delivered_at IS NULL AND given_up_at IS NULL
    HAVING min(created_at) < :now - make_interval(secs => :undelivered_age_s)"""

_NOTICE_FACTS = """jsonb_build_object(
        'notice', n.request_id, 'payer', n.payer, 'transaction', n.transaction, 'institution', n.institution,
        'state', n.state, 'since', n.created_at, 'attempts', n.attempts, 'reason_code', n.reason_code,
        'visit_no', (SELECT v.visit_no FROM visit v WHERE v.visit_id = n.visit_id))"""
_NOTICES_LATE = f"""SELECT 'notice/' || n.request_id AS subject, {_NOTICE_FACTS} AS facts FROM notice n
    WHERE n.state = 'waiting' AND n.created_at < :now - make_interval(secs => :notice_age_s)
    ORDER BY n.place LIMIT {FOUND_MAX}"""
_NOTICES_REFUSED = f"""SELECT 'notice/' || n.request_id AS subject, {_NOTICE_FACTS} AS facts FROM notice n
    WHERE n.state IN ('refused', 'given_up') ORDER BY n.place LIMIT {FOUND_MAX}"""

_DOUBT = "l.state IN ('in_doubt', 'reversing') AND coalesce(l.doubt_since, l.claimed_at) <= :doubt_at"

DETECTORS: dict[str, str] = {
    "payer.stopped": _PAYER_STOPPED,
    "payer.down": _PAYER_DOWN,
    "leg.held": _legs("l.state = 'held'"),
    "undo.held": _legs("l.state = 'cancel_held'"),
    "leg.in_doubt": _legs(_DOUBT),
    "case.overdue": _OVERDUE,
    "dead_letter.open": _DEAD_LETTERS,
    "outbox.stuck": _OUTBOX,
    "notice.late": _NOTICES_LATE,
    "notice.refused": _NOTICES_REFUSED,
    "action.waiting": _ACTIONS,
    "alert.undelivered": _UNDELIVERED,
}
"""Kind -> a SELECT of `subject` and `facts`; the order in which people hear of them."""

SEEN_ELSEWHERE = ("staging.unreachable", "staging.waiting")
"""Found by whoever polls a party's own database, and over when nobody finds them any more."""

OPEN_LEGS = ("planned", "claimed", "in_doubt", "held", "cancelling", "cancel_held", "reversing")

_KEEP = """found AS MATERIALIZED ({found}), kept AS (
    INSERT INTO incident AS i (kind, subject, facts, opened_at, seen_at)
    SELECT :kind, subject, facts, :now, :now FROM found ORDER BY subject
    ON CONFLICT (kind, subject) WHERE recovered_at IS NULL
    DO UPDATE SET seen_at = EXCLUDED.seen_at, facts = EXCLUDED.facts
    WHERE i.facts <> EXCLUDED.facts
       OR i.seen_at NOT BETWEEN EXCLUDED.seen_at - make_interval(secs => :refresh_s) AND EXCLUDED.seen_at
)
SELECT count(*) FROM found"""

_GIVEN = "SELECT r.subject, r.facts FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(subject text, facts jsonb)"

_RECOVER_SUBJECT = text(
    "UPDATE incident SET recovered_at = :now WHERE kind = :kind AND subject = :subject AND recovered_at IS NULL"
)
_RECOVER = text("""
    UPDATE incident SET recovered_at = :now
    WHERE kind = ANY(:kinds) AND recovered_at IS NULL
      AND seen_at NOT BETWEEN :now - make_interval(secs => :gone_s) AND :now + interval '1 minute'""")


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong now, found by other means than one of our statements."""

    subject: str
    facts: Mapping[str, Any]


def thresholds(now: datetime, overdue_s: float) -> dict[str, Any]:
    """The parameters of the statements: from when on something is too old."""
    return {
        "now": now,
        "open_legs": list(OPEN_LEGS),
        "overdue_at": now - timedelta(seconds=overdue_s),
        "doubt_at": now - timedelta(seconds=DOUBT_AGE_S),
        "health_age_s": HEALTH_AGE_S,
        "outbox_age_s": OUTBOX_AGE_S,
        "action_age_s": ACTION_AGE_S,
        "undelivered_age_s": UNDELIVERED_AGE_S,
        "notice_age_s": NOTICE_AGE_S,
    }


def observe(connection: Connection, kind: str, now: datetime, overdue_s: float) -> int:
    """Open or refresh an incident for whatever the statement of `kind` finds; how many there are."""
    statement = text("WITH " + _KEEP.format(found=DETECTORS[kind]))
    values = {**thresholds(now, overdue_s), "kind": kind, "refresh_s": REFRESH_S}
    return int(connection.execute(statement, values).scalar_one())


def report(connection: Connection, kind: str, found: Sequence[Found], now: datetime) -> None:
    """Open or refresh an incident for each of `found`."""
    if found:
        rows = orjson.dumps([{"subject": one.subject, "facts": dict(one.facts)} for one in found]).decode()
        connection.execute(
            text("WITH " + _KEEP.format(found=_GIVEN)), {"kind": kind, "now": now, "refresh_s": 0.0, "rows": rows}
        )


def recover(connection: Connection, kinds: Sequence[str], now: datetime, gone_s: float) -> int:
    """End the incidents of these kinds that were not seen for `gone_s`; how many."""
    return connection.execute(_RECOVER, {"kinds": list(kinds), "now": now, "gone_s": gone_s}).rowcount


def recover_subject(connection: Connection, kind: str, subject: str, now: datetime) -> None:
    """End the incident of this kind and subject, if there is one."""
    connection.execute(_RECOVER_SUBJECT, {"kind": kind, "subject": subject, "now": now})


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Incident:
    """One row."""

    id: int
    kind: str
    subject: str
    facts: Mapping[str, Any]
    opened_at: datetime
    seen_at: datetime
    recovered_at: datetime | None
    open_notice_at: datetime | None
    recovery_notice_at: datetime | None


_COLUMNS = ", ".join(Incident.__dataclass_fields__)
_OPEN = text(
    f"SELECT {_COLUMNS} FROM incident WHERE recovered_at IS NULL AND (:kind = '' OR kind = :kind) "
    "ORDER BY id DESC LIMIT :count"
)
_ALL = text(f"SELECT {_COLUMNS} FROM incident WHERE (:kind = '' OR kind = :kind) ORDER BY id DESC LIMIT :count")
_ONE = text(f"SELECT {_COLUMNS} FROM incident WHERE id = :id")
_COUNTS = text("SELECT kind, count(*) FROM incident WHERE recovered_at IS NULL GROUP BY kind ORDER BY kind")


def listed(connection: Connection, *, kind: str = "", recovered: bool = False, limit: int = 100) -> list[Incident]:
    """The newest incidents, the newest first: those that are open, or with `recovered` all."""
    rows = connection.execute(_ALL if recovered else _OPEN, {"kind": kind, "count": limit})
    return [Incident(*row) for row in rows]


def read(connection: Connection, id_: int) -> Incident | None:
    """The incident with this number."""
    row = connection.execute(_ONE, {"id": id_}).first()
    return Incident(*row) if row is not None else None


def counts(connection: Connection) -> dict[str, int]:
    """How many are open of each kind that has any."""
    return {kind: int(count) for kind, count in connection.execute(_COUNTS)}


# ----------------------------------------------------------------------------------------------------------- passes

_FIRST_PASS = text("""
    INSERT INTO watch_pass (name, process, began_at, steady_since) VALUES (:name, '', '-infinity', '-infinity')
    ON CONFLICT ON CONSTRAINT watch_pass_pk DO NOTHING""")
_TAKE_PASS = text("""
    UPDATE watch_pass w SET process = :process, began_at = :now,
        steady_since = CASE WHEN old.began_at BETWEEN :now - make_interval(secs => :late_s) AND :now
                            THEN w.steady_since ELSE :now END
    FROM (SELECT name, began_at FROM watch_pass WHERE name = :name FOR UPDATE SKIP LOCKED) AS old
    WHERE w.name = old.name AND old.began_at NOT BETWEEN :now - make_interval(secs => :pause_s) AND :now
    RETURNING NULLIF(old.began_at, '-infinity') AS before, w.steady_since""")
_LAST_PASS = text("SELECT NULLIF(began_at, '-infinity') FROM watch_pass WHERE name = :name")


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that is ours: nobody else makes it."""

    before: datetime | None
    """When the one before began; None when there was none."""
    steady_since: datetime
    """No pass was missed since then."""


def take_pass(
    connection: Connection, name: str, process: str, now: datetime, *, pause_s: float, late_s: float
) -> Pass | None:
    """Our pass; None when another process makes it or has made it less than `pause_s` ago. Held until the commit."""
    connection.execute(_FIRST_PASS, {"name": name})
    values = {"name": name, "process": process, "now": now, "pause_s": pause_s, "late_s": late_s}
    row = connection.execute(_TAKE_PASS, values).first()
    return Pass(*row) if row is not None else None


def last_pass(connection: Connection, name: str) -> datetime | None:
    """When the last pass of this name began."""
    moment: datetime | None = connection.execute(_LAST_PASS, {"name": name}).scalar()
    return moment
