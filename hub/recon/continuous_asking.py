"""Asking now what would be asked later, or not any more: the doubts that reconciliation would find tomorrow.

What is said to the payer, and whether it may be asked at all, is decided where it always is, by the handler of the
leg's command: stops, breakers and budgets hold here as everywhere. A doubt whose tries are used up gets one more look
each time; a fresh one gets all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from hub.attempts import ANSWER_GRACE_S, may_inquire_aside
from hub.calls import Payer
from hub.routes import leg_command
from hub.work import Work, WorkUnits
from routing.doubt import Move, Situation, move_cancelling, move_in_doubt, move_reversing
from routing.retry import POLICIES, Failure
from routing.states import LegState
from schemas.payer import Operation
from store import payers as payer_store
from store.recon_watch import ASKABLE, SET_ASIDE, askable_cases
from store.records import CaseRecord, LegRecord

log = structlog.get_logger()

DOUBT_AGE_S = 60.0
"""Younger doubts are still asked about in quick succession."""
ASK_MAX = 5_000
"""Cases of one pass. What is left is older next time, and no less asked for by its own plan."""
PAGE = 200
_FIRST = "00000000-0000-0000-0000-000000000000"


def ask_again(work_units: WorkUnits, payers: Mapping[str, Payer], now: datetime) -> int:
    """Make the next attempt of every doubt that can be asked about due now; how many legs."""
    able = able_payers(work_units, payers)
    asked, looked, after = 0, 0, _FIRST
    while looked < ASK_MAX:
        with work_units.begin("recon_ask") as work:
            found = askable_cases(
                work.connection,
                payers=able,
                doubt_at=now - timedelta(seconds=DOUBT_AGE_S),
                now=now,
                after=after,
                limit=PAGE,
            )
            asked += _forward(work, dict.fromkeys(found), able, now)
        if len(found) < PAGE:
            break
        looked, after = looked + len(found), found[-1]
    if asked:
        log.info("doubts_asked_about", legs=asked)
    return asked


def ask_about(
    work_units: WorkUnits, payers: Mapping[str, Payer], legs: Iterable[tuple[str, int]], now: datetime
) -> int:
    """The same for these legs, however young their doubt is: their payer is known to have something to say."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for case_id, leg_no in legs:
        wanted[case_id].add(leg_no)
    able = able_payers(work_units, payers)
    ids, asked = sorted(wanted), 0
    for start in range(0, len(ids), PAGE):
        with work_units.begin("recon_ask") as work:
            page = {case_id: wanted[case_id] for case_id in ids[start : start + PAGE]}
            asked += _forward(work, page, able, now)
    return asked


def able_payers(work_units: WorkUnits, payers: Mapping[str, Payer]) -> dict[str, Payer]:
    """Those that nobody has stopped."""
    with work_units.read() as connection:
        stopped = {one.party for one in payer_store.switches(connection) if one.stopped}
    if payer_store.EVERYBODY in stopped:
        return {}
    return {code: payer for code, payer in payers.items() if code not in stopped}


def _forward(work: Work, wanted: Mapping[str, Collection[int] | None], able: Mapping[str, Payer], now: datetime) -> int:
    locked = work.store.cases.lock(work.connection, wanted)
    asked = 0
    for case in locked.values():
        only = wanted[case.case_id]
        for leg in case.legs:
            payer = able.get(leg.payer)
            if payer is None or (only is not None and leg.leg_no not in only) or not may_ask(case, leg, payer, now):
                continue
            if leg.state in ASKABLE:
                make_due(leg, now)
            work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))
            asked += 1
    work.store.cases.save(work.connection, locked.values())
    return asked


def may_ask(case: CaseRecord, leg: LegRecord, payer: Payer, now: datetime) -> bool:
    """Whether the payer's interface can end this doubt, and it is not being asked at this moment."""
    if leg.state in SET_ASIDE:
        return may_inquire_aside(case, leg, payer.can)
    if leg.state not in ASKABLE:
        return False
    under_way_s = payer.party.timeout_s + ANSWER_GRACE_S
    if leg.next_at is not None and leg.next_at <= now + timedelta(seconds=under_way_s):
        return False  # a call may be under way, or the next one is due anyway
    return _move(case, leg, payer, now) is not Move.PEOPLE


def _move(case: CaseRecord, leg: LegRecord, payer: Payer, now: datetime) -> Move:
    match leg.state:
        case LegState.IN_DOUBT:
            waits = not case.overdue and now < case.answer_by
            stands = payer.party.late_approval == "keep"
            return move_in_doubt(Situation(case.purpose is Operation.TRIAL, waits, stands), payer.can)
        case LegState.CANCELLING:
            return move_cancelling(payer.can)
        case _:
            return move_reversing(payer.can)


def make_due(leg: LegRecord, now: datetime) -> None:
    """No rest for this leg; where its tries are used up, it may be tried again."""
    in_doubt = leg.state is LegState.IN_DOUBT
    failure = Failure.IN_DOUBT if in_doubt else Failure.UNDO
    tried = leg.inquiries if in_doubt else max(leg.undo_attempts, leg.inquiries)
    since_s = (now - leg.doubt_since).total_seconds() if leg.doubt_since and tried else 0.0
    if POLICIES[failure].delay_s(max(tried, 1), since_s) is None:
        # Since when it is in doubt stays as it is: that is what people measure by.
        leg.inquiries = leg.undo_attempts = 0
        leg.changed = True
    leg.rest_until(None)
