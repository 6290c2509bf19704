"""What came of asking a payer, applied to its leg: amounts checked, doubts kept, repeats planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from hub.broker.transport import ACK, Verdict, retry
from routing.deadline import ANSWER_RESERVE_S
from routing.retry import POLICIES, Failure
from routing.states import CaseState, LegEvent, LegState
from schemas.codes import Layer, Outcome
from schemas.payer import Capabilities, Decision, Operation
from store.records import CaseRecord, LegRecord

SWEEP_GRACE_S = 30.0
"""How long after a planned repeat the sweep waits before it takes the repeat for lost."""


class Ending(Enum):
    """How a call to a payer ended."""

    DECIDED = "decided"
    NOT_SENT = "not_sent"
    LOST = "answer_lost"
    BROKEN = "answer_broken"
    """An answer whose amounts contradict themselves or ours: evidence for people, never corrected."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that ended: what was asked, how it ended, and what came back."""

    case_id: str
    leg_no: int
    operation: Operation
    request_id: str
    attempt: int
    ending: Ending
    decision: Decision | None = None
    body: bytes = b""
    status: int = 0
    content_type: str = ""
    detail: str = ""
    took_us: int = 0


def apply_outcome(case: CaseRecord, leg: LegRecord, done: Finished, can: Capabilities, now: datetime) -> Verdict:
    """Move the leg; the verdict says whether its command is done or must come again, and when."""
    if done.operation is Operation.CANCEL:
        return _apply_cancel(case, leg, done, now)
    if leg.state not in (LegState.CLAIMED, LegState.IN_DOUBT):
        return ACK  # a late repeat of an answer that we have: kept as evidence, without effect
    if done.ending is Ending.NOT_SENT:
        return _apply_not_sent(case, leg, now)
    if done.ending is Ending.BROKEN:
        leg.apply(LegEvent.HOLD, reason_code="answer_held")
        return ACK
    decision = done.decision
    if done.ending is Ending.LOST or decision is None or decision.outcome is Outcome.UNKNOWN:
        return _apply_lost(case, leg, can, now)
    event = _event_of(case, leg, decision)
    leg.record(decision, event, now)
    if event is LegEvent.HOLD:
        leg.reason_code = "answer_held"
    return ACK


_EVENTS = {
    Outcome.APPROVED: LegEvent.APPROVE,
    Outcome.DECLINED: LegEvent.DECLINE,
    Outcome.DEFERRED: LegEvent.DEFER,
}


def _event_of(case: CaseRecord, leg: LegRecord, decision: Decision) -> LegEvent:
    """The payer's word as an event; HOLD when it cannot be true."""
    event = _EVENTS.get(decision.outcome, LegEvent.HOLD)
    if event is LegEvent.APPROVE and not _adds_up(case, leg, decision):
        return LegEvent.HOLD
    return event


def _adds_up(case: CaseRecord, leg: LegRecord, decision: Decision) -> bool:
    basic = decision.basic
    if leg.layer is Layer.BASIC:
        if basic is None or basic.total_fen != case.total_fen:
            return False
        borne = (decision.amount_fen, basic.account_fen, basic.hospital_fen, basic.cash_fen)
        return min(borne) >= 0 and sum(borne) == case.total_fen and basic.fund_fen == decision.amount_fen
    return 0 <= decision.amount_fen <= (leg.left_fen or 0)


def _apply_not_sent(case: CaseRecord, leg: LegRecord, now: datetime) -> Verdict:
    leg.apply(LegEvent.NOT_SENT, reason_code="not_reachable" if leg.state is LegState.CLAIMED else "")
    if leg.state is LegState.IN_DOUBT:
        return _again(case, POLICIES[Failure.IN_DOUBT].delay_s(leg.attempts), now)
    delay_s = POLICIES[Failure.NOT_SENT].delay_s(leg.attempts)
    latest = case.answer_by - timedelta(seconds=ANSWER_RESERVE_S)
    if delay_s is None or now + timedelta(seconds=delay_s) >= latest or case.state is not CaseState.OPEN:
        leg.apply(LegEvent.DEFER, reason_code="not_reachable")
        return ACK
    return _again(case, delay_s, now)


def _apply_lost(case: CaseRecord, leg: LegRecord, can: Capabilities, now: datetime) -> Verdict:
    leg.apply(LegEvent.ANSWER_LOST, reason_code="answer_lost")
    if not can.idempotent_submit:
        return ACK  # only an inquiry or a person may resolve it: asking again could pay twice
    return _again(case, POLICIES[Failure.IN_DOUBT].delay_s(leg.attempts), now)


def _apply_cancel(case: CaseRecord, leg: LegRecord, done: Finished, now: datetime) -> Verdict:
    if leg.state is not LegState.CANCELLING:
        return ACK
    decision = done.decision
    if done.ending is Ending.DECIDED and decision is not None:
        if decision.outcome is Outcome.CANCELLED:
            leg.apply(LegEvent.CANCEL_CONFIRMED)
            return ACK
        if decision.outcome is Outcome.DECLINED:
            leg.record(decision, LegEvent.CANCEL_REFUSED, now)
            leg.reason_code = leg.reason_code or "cancel_refused"
            return ACK
    if done.ending is Ending.BROKEN:
        leg.apply(LegEvent.CANCEL_REFUSED, reason_code="cancel_refused")
        return ACK
    leg.apply(LegEvent.NOT_SENT if done.ending is Ending.NOT_SENT else LegEvent.ANSWER_LOST)
    return _again(case, POLICIES[Failure.UNDO].delay_s(leg.undo_attempts), now)


def _again(case: CaseRecord, delay_s: float | None, now: datetime) -> Verdict:
    if delay_s is None:
        return ACK
    due = now + timedelta(seconds=delay_s + SWEEP_GRACE_S)
    # While the cashier waits, the deadline is the next look however far away the repeat is.
    case.watch(min(due, case.answer_by) if not case.overdue and case.answer_by > now else due)
    return retry(delay_s, "leg")
