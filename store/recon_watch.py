"""What the continuous pass asks of the database: which legs may be asked now, which days are due, what stands open.

Whole fen; days are days of China Standard Time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from routing.states import LegState
from store import doubts
from store.incidents import Found

ASKABLE = (LegState.IN_DOUBT, LegState.REVERSING, LegState.CANCELLING)
SET_ASIDE = (LegState.HELD, LegState.DEFERRED)
"""Nothing happens to these by themselves: they are asked about when the payer's books have something of them."""
RUNS_MAX = 1_000


@contextmanager
def only_one(engine: Engine, name: str) -> Iterator[bool]:
    """Whether nobody else is inside a block of this name, in any process; it ends with the block or the connection."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        values = {"name": name}
        mine: bool = connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:name))"), values).scalar_one()
        try:
            yield mine
        finally:
            if mine:
                connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), values)


# Every case that is not at its end is watched: the partial index leads to all of them and to nothing else. The planner
# must neither walk all cases in the order of their ids instead, nor all legs.
_ASKABLE = text("""
    WITH watched AS MATERIALIZED (SELECT case_id FROM settlement_case WHERE watch_at IS NOT NULL)
    SELECT CAST(w.case_id AS text) AS id
    FROM watched w, LATERAL (
        SELECT 1 FROM settlement_leg l WHERE l.case_id = w.case_id AND l.state = ANY(:states)
          AND l.doubt_since <= :doubt_at AND l.payer = ANY(:payers) AND (l.next_at IS NULL OR l.next_at > :now)
        LIMIT 1) AS doubted
    WHERE w.case_id > CAST(:after AS uuid)
    ORDER BY w.case_id LIMIT :limit""")


def askable_cases(
    connection: Connection, *, payers: Collection[str], doubt_at: datetime, now: datetime, after: str, limit: int
) -> list[str]:
    """Cases with a leg of one of `payers` whose word is missed since `doubt_at` and that is not being asked now."""
    values = {
        "states": [state.value for state in ASKABLE],
        "payers": list(payers),
        "doubt_at": doubt_at,
        "now": now,
        "after": after,
        "limit": limit,
    }
    return list(connection.execute(_ASKABLE, values).scalars())


_BOOKED = text("""
    SELECT DISTINCT effective_day, code FROM (
        SELECT effective_day, payer, institution FROM ledger_entry
        WHERE effective_day = ANY(:days) GROUP BY effective_day, payer, institution) AS found,
        LATERAL (VALUES (found.payer), (found.institution)) AS both_of(code)
    WHERE code <> ''""")
_STANDING = text("""
    SELECT party, scheme, day, statement_id, received_at FROM statement
    WHERE day = ANY(:days) AND state = 'standing'""")
_SENDERS = text("SELECT DISTINCT party FROM statement WHERE received_at >= :since")
_NEWEST_RUNS = text("""
    SELECT DISTINCT ON (r.party, r.scheme, r.day) r.party, r.scheme, r.day, r.run_id, r.state, r.started_at,
        r.statement_ids, EXISTS (SELECT 1 FROM recon_break b WHERE b.run_id = r.run_id
                                   AND (b.action_id IS NOT NULL OR b.resolved_at IS NOT NULL)) AS touched
    FROM recon_run r WHERE r.day = ANY(:days) AND r.state <> 'void'
    ORDER BY r.party, r.scheme, r.day, r.run_id DESC""")
_SEALED_TO = text("SELECT max(business_day) FROM day_seal")


_SOURCE = text("SELECT source FROM statement WHERE statement_id = ANY(:ids) AND party = :party")


def source_of(connection: Connection, party: str, statement_ids: Collection[int]) -> str:
    """Where the party's own statement came from, of those that a run has seen; empty when it is not among them."""
    found = connection.execute(_SOURCE, {"ids": list(statement_ids), "party": party}).scalars().first()
    return found or ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A statement that stands."""

    party: str
    scheme: str
    day: date
    statement_id: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class MadeRun:
    """The newest run of a party, scheme and day. `touched`: people have decided about a break of it."""

    party: str
    scheme: str
    day: date
    run_id: int
    state: str
    started_at: datetime
    statement_ids: tuple[int, ...]
    touched: bool


@dataclass(frozen=True, slots=True)
class Days:
    """What there is of some days."""

    booked: frozenset[tuple[date, str]]
    """(day, payer or institution) with any entry of that day's effects, or a payer with a doubt of that day."""
    standing: Sequence[Standing]
    runs: Sequence[MadeRun]
    senders: frozenset[str]
    """Parties of which a statement has come lately."""


def days_of(connection: Connection, days: Sequence[date], senders_since: datetime) -> Days:
    """What was booked, stated and compared of these days."""
    values = {"days": list(days)}
    return Days(
        booked=frozenset((day, code) for day, code in connection.execute(_BOOKED, values))
        | doubts.payers_on(connection, days),
        standing=[Standing(*row) for row in connection.execute(_STANDING, values)],
        runs=[
            MadeRun(**{**row._asdict(), "statement_ids": tuple(row.statement_ids)})
            for row in connection.execute(_NEWEST_RUNS, values)
        ],
        senders=frozenset(connection.execute(_SENDERS, {"since": senders_since}).scalars()),
    )


def sealed_to(connection: Connection) -> date | None:
    """The last day that is sealed."""
    last: date | None = connection.execute(_SEALED_TO).scalar()
    return last


# A run that is signed off is over, and so is a sealed day; what was left open there stands by name in its signature.
_BREAKS_OPEN = text(f"""
    SELECT 'recon/' || r.party || '/' || r.scheme || '/' || r.day AS subject, jsonb_build_object(
        'payer', r.party, 'scheme', r.scheme, 'day', r.day, 'run', r.run_id, 'since', r.started_at,
        'open', count(*) FILTER (WHERE b.state = 'open'), 'waiting', count(*) FILTER (WHERE b.state = 'waiting'),
        'classes', (SELECT jsonb_object_agg(class, n) FROM (
            SELECT o.class, count(*) AS n FROM recon_break o
            WHERE o.run_id = r.run_id AND o.state IN ('open', 'waiting') GROUP BY o.class) AS by_class)) AS facts
    FROM recon_run r JOIN recon_break b USING (run_id)
    WHERE r.day > coalesce((SELECT max(business_day) FROM day_seal), '-infinity') AND r.state = 'done'
      AND b.state IN ('open', 'waiting')
    GROUP BY r.run_id ORDER BY r.run_id LIMIT {RUNS_MAX}""")
_FAILED = text(f"""
    SELECT 'recon/' || party || '/' || scheme || '/' || day AS subject, jsonb_build_object(
        'payer', party, 'scheme', scheme, 'day', day, 'run', run_id, 'since', started_at, 'failure', failure) AS facts
    FROM (SELECT DISTINCT ON (party, scheme, day) * FROM recon_run WHERE day >= :from_day AND state <> 'void'
          ORDER BY party, scheme, day, run_id DESC) AS newest
    WHERE state = 'failed' ORDER BY run_id LIMIT {RUNS_MAX}""")
_STATED = text("""
    SELECT i.subject FROM incident i JOIN statement s
        ON s.party = i.facts ->> 'payer' AND s.scheme = i.facts ->> 'scheme' AND s.day = CAST(i.facts ->> 'day' AS date)
    WHERE i.kind = :kind AND i.recovered_at IS NULL AND s.state = 'standing'""")
_TOLD = ("payer", "scheme", "due", "pulled", "asked", "error")
_LATE = text("""
    SELECT facts FROM incident
    WHERE kind = 'recon.statement_late' AND recovered_at IS NULL AND facts ->> 'day' = :day ORDER BY subject""")
_OPEN_SUBJECTS = text("SELECT subject FROM incident WHERE kind = :kind AND recovered_at IS NULL")


def breaks_open(connection: Connection) -> list[Found]:
    """Runs with breaks that wait for somebody, as incidents tell of them."""
    return [Found(row.subject, row.facts) for row in connection.execute(_BREAKS_OPEN)]


def failed(connection: Connection, from_day: date) -> list[Found]:
    """Runs of days since `from_day` that failed and were not made again."""
    return [Found(row.subject, row.facts) for row in connection.execute(_FAILED, {"from_day": from_day})]


def subjects(connection: Connection, kind: str) -> set[str]:
    """The subjects of the open incidents of a kind."""
    return set(connection.execute(_OPEN_SUBJECTS, {"kind": kind}).scalars())


def late_of(connection: Connection, day: date) -> list[Mapping[str, Any]]:
    """Of a day: the statements that are due and have not come, with what came of fetching them in the last pass."""
    found = connection.execute(_LATE, {"day": day.isoformat()}).scalars()
    return [{name: facts[name] for name in _TOLD if name in facts} for facts in found]


def stated_since(connection: Connection, kind: str) -> set[str]:
    """Of the open incidents about a statement that has not come: those whose statement has come."""
    return set(connection.execute(_STATED, {"kind": kind}).scalars())


# ------------------------------------------------------------------------------------------------ the running day

COLUMNS = ("case_id", "leg_no", "institution", "settlement_no", "reference", "amount_fen")
"""Of a line of the running day, in the order of its COPY."""
_LINES = """
    CREATE TEMP TABLE recon_running (case_id uuid, leg_no smallint, institution text, settlement_no text,
        reference text, amount_fen bigint) ON COMMIT DROP"""
# What only has the payer's own number is found among the day's own legs; the rest of those waits for the day's run.
_BY_REFERENCE = """
    UPDATE recon_running p SET case_id = l.case_id, leg_no = l.leg_no
    FROM recon_hub h JOIN settlement_leg l USING (case_id, leg_no)
    WHERE p.case_id IS NULL AND l.payer = :payer
      AND p.reference IN (l.payer_reference, split_part(l.payer_reference, '/', 1)) AND p.reference <> ''"""
_SIDES = text("""
    CREATE TEMP TABLE recon_both ON COMMIT DROP AS
    SELECT case_id, leg_no, p.fen AS payer_fen, p.rows AS payer_rows, h.fen AS hub_fen, l.state, l.decided_at,
        l.case_id AS known
    FROM (SELECT case_id, leg_no, sum(amount_fen)::bigint AS fen, count(*) AS rows FROM recon_running
          WHERE case_id IS NOT NULL GROUP BY case_id, leg_no) p
    FULL JOIN (SELECT case_id, leg_no, settled_fen + refunded_fen
                   + CASE WHEN :in_fund THEN account_settled_fen + account_refunded_fen ELSE 0 END AS fen
               FROM recon_hub) h USING (case_id, leg_no)
    LEFT JOIN settlement_leg l USING (case_id, leg_no)""")
_TO_ASK = text("""
    SELECT CAST(case_id AS text), leg_no FROM recon_both
    WHERE payer_rows IS NOT NULL AND state = ANY(:states) ORDER BY case_id LIMIT :limit""")
# Whatever moved while the payer was asked is looked at in the next pass; so is what lies near midnight.
_DIFFERENCES = text("""
    SELECT CASE WHEN known IS NULL OR payer_rows IS NOT NULL AND hub_fen IS NULL THEN 'missing_at_hub'
                WHEN payer_rows IS NULL THEN 'missing_at_payer' ELSE 'amount' END AS what,
        CAST(case_id AS text) AS case_id, case_id || '/' || leg_no AS name, coalesce(payer_fen, 0) AS payer_fen,
        coalesce(hub_fen, 0) AS hub_fen
    FROM recon_both b
    WHERE coalesce(payer_fen, 0) <> coalesce(hub_fen, 0)
      AND (state IS NULL OR NOT state = ANY(:unsure))
      AND NOT EXISTS (SELECT 1 FROM ledger_entry e WHERE e.case_id = b.case_id AND e.leg_no = b.leg_no
                        AND e.posted_at >= :began_at)
      AND (payer_rows IS NOT NULL OR decided_at >= :from_at AND decided_at < :began_at)
      AND NOT (hub_fen IS NULL AND payer_fen = coalesce((
            SELECT sum(CASE WHEN e.debit = ANY(:borne) THEN e.amount_fen WHEN e.credit = ANY(:borne)
                       THEN -e.amount_fen ELSE 0 END) FROM ledger_entry e
            WHERE e.case_id = b.case_id AND e.leg_no = b.leg_no
              AND e.effective_day BETWEEN CAST(:day AS date) - 1 AND CAST(:day AS date) + 1), 0))
    UNION ALL
    SELECT 'missing_at_hub', NULL, institution || '/' || settlement_no, sum(amount_fen)::bigint, 0
    FROM recon_running p
    WHERE case_id IS NULL AND settlement_no <> '' AND NOT EXISTS (
        SELECT 1 FROM settlement_case c WHERE c.institution = p.institution AND c.case_key = p.settlement_no)
    GROUP BY institution, settlement_no
    ORDER BY what, name LIMIT :limit""")


@dataclass(frozen=True, slots=True)
class RunningDifference:
    """What the payer's books of the running day say otherwise than ours, both net of refunds. `name`: case and leg, or
    for a settlement that we never heard of the institution and its number."""

    what: str
    case_id: str | None
    name: str
    payer_fen: int
    hub_fen: int


def lines_table(connection: Connection) -> None:
    """Make the temporary table of the payer's lines, gone with the transaction; COPY COLUMNS into `recon_running`."""
    connection.execute(text(_LINES))


def join_sides(connection: Connection, payer: str, *, in_fund: bool) -> None:
    """Lay the payer's lines beside ours, which `store.hub_side.stage` has put down.

    `in_fund`: its amounts hold the personal account too, whether or not its lines name that apart.
    """
    connection.execute(text(_BY_REFERENCE), {"payer": payer})
    for table in ("recon_running", "recon_hub"):
        connection.execute(text(f"ANALYZE {table}"))
    connection.execute(_SIDES, {"in_fund": in_fund})


def legs_to_ask(connection: Connection, limit: int) -> list[tuple[str, int]]:
    """(case, leg) that the payer has a line of and whose word we miss."""
    values = {"states": [state.value for state in (*ASKABLE, *SET_ASIDE, LegState.CLAIMED)], "limit": limit}
    return [(case_id, leg_no) for case_id, leg_no in connection.execute(_TO_ASK, values)]


def differences(
    connection: Connection,
    day: date,
    *,
    began_at: datetime,
    from_at: datetime,
    unsure: Sequence[str],
    limit: int,
    in_fund: bool = False,
) -> list[RunningDifference]:
    """Legs that differ and have not moved since `began_at`; what we alone have counts from `from_at` on."""
    values: dict[str, Any] = {"day": day, "began_at": began_at, "from_at": from_at, "unsure": list(unsure)}
    values |= {"limit": limit, "borne": ["receivable", "personal"] if in_fund else ["receivable"]}
    return [RunningDifference(*row) for row in connection.execute(_DIFFERENCES, values)]
