"""Moving cases on: ask the pure core what comes next and do it, until somebody else has the next word."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from hub.answers import business_day_of, give_answers
from hub.recorded import take_back_recorded
from hub.routes import leg_command
from hub.work import Work
from routing.life import Ask, Finish, Reverse, SetAside, Undo, Wait, next_step
from routing.states import AWAITING_PAYER, AWAITING_PEOPLE, CaseEvent, CaseState, LegEvent, LegState
from schemas.codes import Layer
from schemas.payer import Operation
from store.records import CaseRecord, LegRecord

FIRST_LOOK_S = 5.0
"""A healthy case is long done by then; one that is not gets a second look by the sweep."""
UNDO_ANSWER_S = 10.0
"""Who asked for an undo hears by then that it is under way, if it is not done."""
_SET_ASIDE_EVENTS = {LegState.DEFERRED: LegEvent.DEFER, LegState.NOT_NEEDED: LegEvent.WITHDRAW}
_CASE_EVENTS = {
    CaseState.SETTLED: CaseEvent.COMPLETE,
    CaseState.DECLINED: CaseEvent.REFUSE,
    CaseState.CANCELLED: CaseEvent.UNDONE,
}


def advance(work: Work, case: CaseRecord, now: datetime) -> bool:
    """Take every step that is ours to take; True when the hospital must hear how the case stands."""
    if case.business_day is None and _first_share_stands(case):
        business_day_of(case, now)
    while True:
        step = next_step(case)
        match step:
            case SetAside():
                case.leg(step.leg_no).apply(_SET_ASIDE_EVENTS[step.state], reason_code=step.reason_code)
            case Ask():
                leg = case.leg(step.leg_no)
                work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))
                return False
            case Undo() if case.leg(step.leg_no).recorded:
                take_back_recorded(work, case, case.leg(step.leg_no), now)
            case Undo():
                leg = case.leg(step.leg_no)
                _begin_undo(work, case, leg, LegEvent.CANCEL, now)
                return False
            case Reverse():
                leg = case.leg(step.leg_no)
                _begin_undo(work, case, leg, LegEvent.REVERSE, now)
                return False
            case Finish():
                _finish(case, step.state, now)
                return True
            case Wait():
                return _waits_for_people(case)


def _first_share_stands(case: CaseRecord) -> bool:
    """Whether the ledger is about to book the case: by then its day is fixed."""
    if case.purpose is not Operation.SETTLE:
        return False
    deciding = case.legs[:1] if case.legs and case.legs[0].layer is Layer.BASIC else case.legs
    return any(leg.state is LegState.APPROVED for leg in deciding)


def _begin_undo(work: Work, case: CaseRecord, leg: LegRecord, event: LegEvent, now: datetime) -> None:
    leg.begin_undo(event, now)
    work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))


def _finish(case: CaseRecord, state: CaseState, now: datetime) -> None:
    case.apply(_CASE_EVENTS[state])
    case.ended_at = now
    case.watch(None)
    if state is CaseState.SETTLED and case.purpose is Operation.SETTLE:
        business_day_of(case, now)


def _waits_for_people(case: CaseRecord) -> bool:
    """Nobody will answer soon: tell the hospital now rather than at the deadline, once."""
    if case.state is CaseState.CANCELLING:
        return any(leg.changed and leg.state is LegState.CANCEL_HELD for leg in case.legs)
    if case.state is not CaseState.OPEN:
        return False
    if case.revision > 0:  # the hospital believes something else
        return any(leg.changed and leg.state in AWAITING_PEOPLE for leg in case.legs)
    return not any(leg.state in AWAITING_PAYER for leg in case.legs)


def advance_all(work: Work, touched: Iterable[CaseRecord], now: datetime) -> None:
    """Move the cases on, give the answers that are due, and write everything back."""
    touched = list(touched)
    give_answers(work, [case for case in touched if advance(work, case, now)], now)
    work.store.cases.save(work.connection, touched)


def first_look(received_at: datetime, answer_by: datetime) -> datetime:
    """When the sweep looks at a new case for the first time."""
    return min(answer_by, received_at + timedelta(seconds=FIRST_LOOK_S))
