"""Breaks of reconciliation: read with what is known around them, proposed for, decided, and followed to their end.

Matching writes them; here they only move on: open, waiting for the effect of a remedy, resolved. What belongs to a run
that is signed off is never touched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from routing.states import CaseState, LegState
from schemas.codes import Layer
from schemas.statement import BreakClass, Remedy
from store.rows import as_json

PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Break:
    """One row of `recon_break` with its run's party and what stands here now. Sides are lists as they were stored."""

    break_id: int
    run_id: int
    party: str
    day: date
    break_class: BreakClass
    key: str
    case_id: str | None
    leg_no: int | None
    institution: str
    payer: str
    settlement_no: str
    request_id: str
    reference: str
    hub: list[int] | None
    payer_side: list[int] | None
    hospital: list[int] | None
    difference_fen: int
    first_day: date
    state: str
    proposal: str
    reason: str
    remedy: str
    action_id: int | None
    resolution: str
    case_state: CaseState | None
    revision: int
    ended: bool
    """The case has ended: its last answer is the final one."""
    leg_state: LegState | None
    layer: Layer | None
    attempts: int
    unclaimed_fen: int
    in_fund: bool
    """The party's amounts hold the personal account too."""

    @property
    def about_payer(self) -> bool:
        """Found when the payer's books were compared, not the institution's."""
        return self.party == self.payer


_SELECT = """
    SELECT b.break_id, b.run_id, r.party, r.day, b.class AS break_class, b.key, CAST(b.case_id AS text) AS case_id,
           b.leg_no, b.institution, b.payer, b.settlement_no, b.request_id, b.reference, b.hub, b.payer_side,
           b.hospital, b.difference_fen, b.first_day, b.state, b.proposal, b.reason, b.remedy, b.action_id,
           b.resolution, c.state AS case_state, coalesce(c.revision, 0) AS revision,
           coalesce(c.state IN ('settled', 'declined', 'cancelled'), false) AS ended, l.state AS leg_state, l.layer,
           coalesce(l.attempts, 0) AS attempts,
           coalesce(c.total_fen, 0) - coalesce((
               SELECT sum(o.amount_fen + o.account_fen + o.hospital_fen) FROM settlement_leg o
               WHERE o.case_id = b.case_id AND o.leg_no <> b.leg_no
                 AND o.state IN ('approved', 'cancelling', 'cancel_held')), 0) AS unclaimed_fen,
           coalesce(r.switches ->> 'account' = 'in_fund', false) AS in_fund
    FROM recon_break b
    JOIN recon_run r USING (run_id)
    LEFT JOIN settlement_case c ON c.case_id = b.case_id
    LEFT JOIN settlement_leg l ON l.case_id = b.case_id AND l.leg_no = b.leg_no
"""
_OF_RUN = text(
    _SELECT + "WHERE b.run_id = :run AND b.break_id > :after AND b.state = ANY(:states) "
    "AND (:class = '' OR b.class = :class) AND (:proposal = '' OR b.proposal = :proposal) "
    "ORDER BY b.break_id LIMIT :limit"
)
_COUNT = text("SELECT count(*) FROM recon_break WHERE run_id = :run AND state = :state")
_BY_ID = text(_SELECT + "WHERE b.break_id = ANY(:ids) ORDER BY b.break_id")
_LOCK = text("SELECT b.break_id FROM recon_break b WHERE b.break_id = ANY(:ids) ORDER BY b.break_id FOR UPDATE OF b")
# Whoever has breaks of several runs in hand: by their keys, so that no run is kept from people for nothing.
_HOLD_RUNS = text("""
    WITH mine AS (SELECT party, scheme, day FROM recon_run WHERE run_id = :run),
    keys AS MATERIALIZED (
        SELECT DISTINCT b.key FROM mine JOIN recon_run r USING (party, scheme, day) JOIN recon_break b USING (run_id)
    )
    SELECT r.run_id FROM recon_run r WHERE r.run_id = :run OR r.run_id IN (
        SELECT o.run_id FROM keys JOIN recon_break b USING (key) JOIN recon_run o USING (run_id)
        JOIN mine m ON (o.party, o.scheme) = (m.party, m.scheme) AND o.day <> m.day WHERE o.state = 'done')
    ORDER BY r.run_id FOR NO KEY UPDATE OF r""")
# Each line of the party's own statement that a break is about, however the line names it.
_WORDS = text("""
    WITH asked AS (
        SELECT b.break_id, b.request_id, b.reference, b.institution, b.settlement_no, s.statement_id
        FROM recon_break b JOIN recon_run r USING (run_id)
        JOIN statement s ON s.statement_id = ANY(r.statement_ids) AND s.party = r.party AND r.party = b.payer
        WHERE b.break_id = ANY(:ids)
    )
    SELECT DISTINCT ON (found.break_id) found.break_id, found.reference, found.at FROM (
        SELECT a.break_id, l.reference, l.at, 1 AS rank FROM asked a
        JOIN statement_line l USING (statement_id) WHERE l.kind = 'settle' AND a.request_id = l.request_id
          AND l.request_id <> ''
        UNION ALL
        SELECT a.break_id, l.reference, l.at, 2 FROM asked a
        JOIN statement_line l USING (statement_id) WHERE l.kind = 'settle' AND a.reference = l.reference
          AND l.reference <> ''
        UNION ALL
        SELECT a.break_id, l.reference, l.at, 3 FROM asked a
        JOIN statement_line l USING (statement_id) WHERE l.kind = 'settle' AND a.settlement_no = l.settlement_no
          AND a.institution = l.institution AND l.settlement_no <> '' AND l.request_id = ''
    ) AS found ORDER BY found.break_id, found.rank, found.at""")
_TWINS = text("""
    SELECT DISTINCT ON (b.break_id) b.break_id, o.break_id AS other_id, n.day,
        b.difference_fen + o.difference_fen AS difference_fen
    FROM recon_break b JOIN recon_run r USING (run_id)
    JOIN recon_break o ON o.key = b.key AND o.break_id <> b.break_id AND o.state <> 'explained'
    JOIN recon_run n ON n.run_id = o.run_id AND n.party = r.party AND n.scheme = r.scheme AND n.day <> r.day
        AND abs(n.day - r.day) <= (r.switches ->> 'cut_off_days')::int AND n.state IN ('done', 'signed_off')
    WHERE b.break_id = ANY(:ids) AND b.state <> 'explained'
      AND 'missing_at_hub' IN (b.class, o.class) AND b.class <> o.class
      AND b.class LIKE 'missing\\_at\\_%' AND o.class LIKE 'missing\\_at\\_%'
    ORDER BY b.break_id, abs(n.day - r.day), o.break_id""")
_BEFORE = text("""
    SELECT DISTINCT v.run_id FROM recon_run r
    JOIN recon_run v ON (v.party, v.scheme, v.day) = (r.party, r.scheme, r.day) AND v.state = 'void'
    JOIN recon_break b ON b.run_id = v.run_id AND b.state = 'waiting'
    WHERE r.run_id = :run""")
_CARRY_OVER = text("""
    UPDATE recon_break n SET state = 'resolved', remedy = o.remedy, action_id = o.action_id,
        resolution = o.resolution, resolved_by = o.resolved_by, approved_by = o.approved_by,
        resolved_at = o.resolved_at, entry_ids = o.entry_ids
    FROM (
        SELECT DISTINCT ON (b.key, b.class) b.* FROM recon_run r
        JOIN recon_run v ON (v.party, v.scheme, v.day) = (r.party, r.scheme, r.day) AND v.state = 'void'
        JOIN recon_break b ON b.run_id = v.run_id
        WHERE r.run_id = :run AND r.state IN ('running', 'done') AND b.state = 'resolved'
          AND b.remedy IN ('people', 'reverse')
        ORDER BY b.key, b.class, b.break_id DESC
    ) AS o
    WHERE n.run_id = :run AND n.state = 'open' AND n.key = o.key AND n.class = o.class
      AND (n.hub, n.payer_side, n.hospital) IS NOT DISTINCT FROM (o.hub, o.payer_side, o.hospital)""")
_PROPOSE = text("""
    UPDATE recon_break b SET proposal = n.proposal, reason = n.reason
    FROM json_to_recordset(CAST(:rows AS json)) AS n(break_id bigint, proposal text, reason text)
    WHERE b.break_id = n.break_id AND b.state IN ('open', 'explained')
      AND EXISTS (SELECT 1 FROM recon_run r WHERE r.run_id = b.run_id AND r.state IN ('running', 'done'))""")
_DECIDE = text("""
    UPDATE recon_break SET remedy = :remedy, action_id = :action, resolution = :resolution, resolved_by = :by,
        approved_by = :approver, state = :state, resolved_at = :at WHERE break_id = :id""")
_LEFT_OPEN = text("""
    UPDATE recon_break SET resolution = :resolution, action_id = :action, resolved_by = :by, approved_by = :approver
    WHERE break_id = :id""")
_BOOKED_SINCE = text("""
    SELECT EXISTS (SELECT 1 FROM ledger_entry e JOIN recon_run r ON r.run_id = :run AND e.entry_id > r.ledger_to
        WHERE e.case_id = CAST(:case AS uuid) AND e.leg_no = :leg
            AND (e.cause = '' OR e.kind = 'correction' AND e.about_day = r.day))""")
_BOOKS_REPLACED = text("""
    SELECT EXISTS (SELECT 1 FROM statement s WHERE s.statement_id = ANY(r.statement_ids) AND s.party = r.party
                   AND s.state <> 'standing')
        OR EXISTS (SELECT 1 FROM statement s WHERE (s.party, s.scheme, s.day) = (r.party, r.scheme, r.day)
                   AND s.state = 'standing' AND s.statement_id <> ALL(r.statement_ids))
    FROM recon_run r WHERE r.run_id = :run""")
_POSTED_ELSEWHERE = text("""
    SELECT o.party || '/' || o.scheme AS scheme, o.day FROM ledger_entry e
    JOIN recon_break b ON b.case_id = e.case_id AND b.leg_no = e.leg_no AND e.cause = 'break/' || b.break_id
    JOIN recon_run o ON o.run_id = b.run_id
    JOIN recon_run r ON r.run_id = :run AND (o.party, o.scheme) <> (r.party, r.scheme)
    WHERE e.case_id = CAST(:case AS uuid) AND e.leg_no = :leg AND e.kind = 'correction'
    GROUP BY o.party, o.scheme, o.day
    HAVING sum(CASE WHEN e.debit = 'difference' THEN e.amount_fen ELSE -e.amount_fen END) <> 0
    ORDER BY o.day LIMIT 1""")
# As the run counts them: by the same books and for the same day.
_POSTED = text("""
    SELECT b.break_id, sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen ELSE -e.amount_fen END) AS fen
    FROM recon_break b JOIN recon_run r USING (run_id)
    JOIN ledger_entry e ON e.case_id = b.case_id AND e.leg_no = b.leg_no AND e.kind = 'correction'
        AND e.about_day = r.day AND 'receivable' IN (e.debit, e.credit)
    JOIN recon_break o ON e.cause = 'break/' || o.break_id AND o.case_id = b.case_id
    JOIN recon_run n ON n.run_id = o.run_id AND (n.party, n.scheme, n.day) = (r.party, r.scheme, r.day)
    WHERE b.break_id = ANY(:ids) GROUP BY b.break_id""")
_EVERY = ("open", "waiting", "resolved", "explained")


def of_run(
    connection: Connection,
    run_id: int,
    *,
    states: Sequence[str] = _EVERY,
    break_class: str = "",
    proposal: str = "",
    limit: int | None = None,
) -> Iterator[Break]:
    """The breaks of a run by number, read page by page."""
    after, left = 0, limit
    while left is None or left > 0:
        values = {"run": run_id, "after": after, "states": list(states), "class": break_class, "proposal": proposal}
        page = connection.execute(_OF_RUN, {**values, "limit": min(PAGE, left or PAGE)}).all()
        yield from map(_break, page)
        if len(page) < min(PAGE, left or PAGE):
            return
        after = page[-1].break_id
        left = None if left is None else left - len(page)


def count(connection: Connection, run_id: int, state: str) -> int:
    """How many breaks of a run are `open`, which nobody has decided, or in another state."""
    return int(connection.execute(_COUNT, {"run": run_id, "state": state}).scalar_one())


def by_id(connection: Connection, ids: Iterable[int]) -> dict[int, Break]:
    """Those that exist."""
    return {one.break_id: one for one in map(_break, connection.execute(_BY_ID, {"ids": list(ids)}))}


def lock(connection: Connection, ids: Iterable[int]) -> dict[int, Break]:
    """Those that exist, held until the transaction ends."""
    wanted = sorted(set(ids))
    connection.execute(_LOCK, {"ids": wanted})
    return by_id(connection, wanted)


def hold_runs(connection: Connection, run_id: int) -> None:
    """Hold a run, and those of other days that have breaks about the same, until the transaction ends.

    Runs first and then their breaks, as people's remedies do: the other way round two wait for each other.
    """
    connection.execute(_HOLD_RUNS, {"run": run_id})


@dataclass(frozen=True, slots=True)
class Word:
    """What a payer's own statement says of a settlement: its number, and when; empty or None where it does not."""

    reference: str = ""
    at: datetime | None = None


def words_of(connection: Connection, break_ids: Sequence[int]) -> dict[int, Word]:
    """By break, for those that a payer's own statement has a line about."""
    if not break_ids:
        return {}
    # One pass over the statement; without hash joins it would be one for each break.
    connection.exec_driver_sql("SET LOCAL enable_hashjoin = on")
    found = connection.execute(_WORDS, {"ids": list(break_ids)})
    return {row.break_id: Word(row.reference, row.at) for row in found}


@dataclass(frozen=True, slots=True)
class Twin:
    """The other half of a row that is both late and wrong: what is missing on one day stands on another, differently.

    `difference_fen`: what both halves come to together.
    """

    break_id: int
    day: date
    difference_fen: int


def twins_of(connection: Connection, break_ids: Sequence[int]) -> dict[int, Twin]:
    """By break, for those of which a standing run of a neighbouring day has the other half."""
    found = connection.execute(_TWINS, {"ids": list(break_ids)}) if break_ids else ()
    return {row.break_id: Twin(int(row.other_id), row.day, int(row.difference_fen)) for row in found}


def propose(connection: Connection, rows: Sequence[tuple[int, Remedy, str]]) -> None:
    """Set proposal and reason: (break, remedy, reason) each. What is decided already stays."""
    values = [{"break_id": one, "proposal": remedy.value, "reason": reason} for one, remedy, reason in rows]
    if values:
        connection.execute(_PROPOSE, {"rows": as_json(values)})


def carry_over(connection: Connection, run_id: int, now: datetime) -> int:
    """What people had ended in a run that this one took the place of stays ended, where the books say the same as
    then: a refund, say, that stands in the payer's books of a later day. How many."""
    for row in connection.execute(_BEFORE, {"run": run_id}).all():
        follow(connection, now, row.run_id)
    return int(connection.execute(_CARRY_OVER, {"run": run_id}).rowcount)


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a break ends. `done` False: it waits for the effect of its remedy."""

    remedy: Remedy
    text: str
    action_id: int
    by: str
    approver: str
    done: bool


def decide(connection: Connection, break_id: int, how: Resolution, now: datetime) -> None:
    """Write down what people decided."""
    values = {"id": break_id, "remedy": how.remedy.value, "action": how.action_id, "resolution": how.text}
    state, at = ("resolved", now) if how.done else ("waiting", None)
    connection.execute(_DECIDE, {**values, "by": how.by, "approver": how.approver, "state": state, "at": at})


def booked_since(connection: Connection, broken: Break) -> bool:
    """Whether something was booked of the break's leg, or posted about its day, after its run had read the ledger."""
    values = {"run": broken.run_id, "case": broken.case_id, "leg": broken.leg_no}
    return bool(connection.execute(_BOOKED_SINCE, values).scalar_one())


def books_replaced(connection: Connection, broken: Break) -> bool:
    """Whether the party says something else by now than the books in which its run found the break."""
    return bool(connection.execute(_BOOKS_REPLACED, {"run": broken.run_id}).scalar_one())


def posted_elsewhere(connection: Connection, broken: Break) -> str:
    """By which other scheme, and for which day, a difference of the break's leg stands; empty for none.

    No run by this scheme counts it, so that the same difference would be posted twice.
    """
    values = {"run": broken.run_id, "case": broken.case_id, "leg": broken.leg_no}
    row = connection.execute(_POSTED_ELSEWHERE, values).first()
    return "" if row is None else f"{row.scheme} for {row.day}"


def posted_of(connection: Connection, break_ids: Sequence[int]) -> dict[int, int]:
    """By break, what the differences that were posted for its leg and day add to what its payer owes, whole fen."""
    found = connection.execute(_POSTED, {"ids": list(break_ids)}) if break_ids else ()
    return {row.break_id: int(row.fen) for row in found}


def leave_open(connection: Connection, break_id: int, why: str, *, action_id: int, by: str, approver: str) -> None:
    """It stays open in a run that is signed off all the same, for a reason."""
    values = {"id": break_id, "resolution": f"left open: {why}", "action": action_id}
    connection.execute(_LEFT_OPEN, {**values, "by": by, "approver": approver})


# A remedy's effect is there when the leg has got where the remedy was to bring it. An answer that was sent again is
# believed when the next run finds it.
# A run that somebody is signing off is passed over: its breaks must not change behind the signature.
_FOLLOW = text("""
    WITH done AS (
        SELECT b.break_id FROM recon_break b
        JOIN recon_run r ON r.run_id = b.run_id AND r.state IN ('done', 'void')
        JOIN settlement_leg l ON l.case_id = b.case_id AND l.leg_no = b.leg_no
        WHERE b.state = 'waiting' AND (CAST(:run AS bigint) IS NULL OR b.run_id = :run) AND CASE b.remedy
            WHEN 'confirm' THEN l.state IN ('approved', 'cancelled', 'reversed')
            WHEN 'reverse' THEN l.state IN ('reversed', 'cancelled')
            WHEN 'inquire' THEN l.state IN ('approved', 'declined', 'deferred', 'cancelled', 'reversed')
            ELSE false END
        FOR SHARE OF r SKIP LOCKED
    )
    UPDATE recon_break b SET state = 'resolved', resolved_at = :now FROM done
    WHERE b.break_id = done.break_id RETURNING b.break_id""")
_LINK = text("""
    UPDATE recon_break b SET entry_ids = made.ids FROM (
        SELECT b.break_id, array_agg(e.entry_id ORDER BY e.entry_id) AS ids
        FROM recon_break b
        JOIN recon_run r USING (run_id)
        JOIN ledger_entry e ON e.case_id = b.case_id
        WHERE b.break_id = ANY(:ids)
          AND (e.cause = 'break/' || b.break_id
            OR (e.cause = '' AND e.leg_no IN (0, b.leg_no) AND e.entry_id > r.ledger_to))
        GROUP BY b.break_id
    ) AS made WHERE b.break_id = made.break_id AND b.entry_ids <> made.ids""")
_RESENT = text("""
    UPDATE recon_break b SET state = 'resolved', resolved_at = :now
    FROM recon_run old JOIN recon_run new USING (party, scheme, day)
    WHERE b.run_id = old.run_id AND old.state = 'void' AND new.state = 'done' AND new.run_id > old.run_id
      AND b.state = 'waiting' AND b.remedy = 'resend_answer' AND (CAST(:run AS bigint) IS NULL OR b.run_id = :run)
      AND NOT EXISTS (SELECT 1 FROM recon_break n WHERE n.run_id = new.run_id AND n.key = b.key)""")


def follow(connection: Connection, now: datetime, run_id: int | None = None) -> int:
    """Resolve what waited and whose effect is there, with the entries that it made; how many.

    Of one run, or of all that are not signed off.
    """
    done = [int(row.break_id) for row in connection.execute(_FOLLOW, {"run": run_id, "now": now})]
    link(connection, done)
    return len(done) + connection.execute(_RESENT, {"run": run_id, "now": now}).rowcount


def link(connection: Connection, break_ids: Sequence[int]) -> None:
    """Write to breaks the ledger entries that their remedies made: what was booked of their leg after the run."""
    if break_ids:
        connection.execute(_LINK, {"ids": list(break_ids)})


def _break(row: Row[Any]) -> Break:
    values = row._asdict()
    values["break_class"] = BreakClass(row.break_class)
    values["case_state"] = CaseState(row.case_state) if row.case_state else None
    values["leg_state"] = LegState(row.leg_state) if row.leg_state else None
    values["layer"] = Layer(row.layer) if row.layer else None
    values["unclaimed_fen"] = int(row.unclaimed_fen)
    return Break(**values)
