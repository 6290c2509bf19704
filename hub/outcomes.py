"""What came of asking a payer, applied to its leg: amounts checked, doubts kept or ended, the next try planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from hub.broker.transport import ACK, Verdict, retry
from routing.days import undone_at
from routing.deadline import ANSWER_RESERVE_S
from routing.doubt import not_found_counts_from
from routing.life import unclaimed_fen
from routing.retry import POLICIES, Failure
from routing.rulebook import Party
from routing.states import UNDOING, CaseEvent, CaseState, LegEvent, LegState
from schemas.codes import Layer, Outcome
from schemas.payer import Capabilities, Decision, Operation
from store.records import CaseRecord, LegRecord

SWEEP_GRACE_S = 30.0
"""How long after a planned repeat the sweep waits before it takes the repeat for lost."""
LANE_SHARE = 0.75
"""A retry lane may be a fifth shorter than its tier: what comes back after this share of the delay is not early."""


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
    asked_at: datetime | None = None
    """When the payer was asked, where that is known: what it said was true no later than when it came back."""

    @property
    def heard(self) -> bool:
        """Whether the payer's system works: it said something that can be read, whatever it said."""
        if self.ending is Ending.DECIDED:
            return self.decision is not None and self.decision.outcome is not Outcome.UNKNOWN
        return self.ending is Ending.BROKEN


@dataclass(frozen=True, slots=True)
class Asked:
    """The payer that a call went to: its part of the rule book and what its interface can be trusted with."""

    party: Party
    can: Capabilities


def apply_outcome(case: CaseRecord, leg: LegRecord, done: Finished, asked: Asked, now: datetime) -> Verdict:
    """Move the leg; the verdict says whether its command is done or must come again, and when."""
    if done.operation in (Operation.CANCEL, Operation.REVERSE):
        return _apply_undo(case, leg, done, now)
    if leg.state is LegState.REVERSED and not asked.can.reversal:
        return _apply_word_after_reversing(case, leg, done, now)
    if leg.state is LegState.HELD and done.operation is Operation.INQUIRE:
        return _apply_word_on_held(case, leg, done, asked, now)
    if not _awaits_word(case, leg, asked.can):
        return ACK  # a late repeat of an answer that we have: kept as evidence, without effect
    if done.operation is Operation.INQUIRE:
        return _apply_inquiry(case, leg, done, asked, now)
    if done.ending is Ending.NOT_SENT:
        if leg.state is LegState.CLAIMED and done.attempt != leg.attempts:
            # Stored before, by a commit whose end was not heard: it says nothing about the attempt under way.
            return ACK
        return _apply_not_sent(case, leg, now)
    return _apply_word(case, leg, done, asked, now)


def _awaits_word(case: CaseRecord, leg: LegRecord, can: Capabilities) -> bool:
    """Whether the payer's word on the claim itself still moves this leg."""
    if leg.state is LegState.REVERSING:
        return not can.reversal  # where it can, the reversal on its way undoes whatever this word says
    if leg.open_at_payer or (leg.state is LegState.DEFERRED and leg.attempts > 0):
        # A payer that deferred, or of which nothing was heard, decides after all.
        return case.purpose is Operation.SETTLE
    return leg.state in (LegState.CLAIMED, LegState.IN_DOUBT)


_EVENTS = {
    Outcome.APPROVED: LegEvent.APPROVE,
    Outcome.DECLINED: LegEvent.DECLINE,
    Outcome.DEFERRED: LegEvent.DEFER,
}


def _apply_word(case: CaseRecord, leg: LegRecord, done: Finished, asked: Asked, now: datetime) -> Verdict:
    """The payer's own word, or what is no word at all."""
    decision = done.decision
    if done.ending is Ending.BROKEN:
        _reopen(case, now)
        _hold(leg)
        return ACK
    if done.ending is not Ending.DECIDED or decision is None or decision.outcome is Outcome.UNKNOWN:
        return _apply_lost(case, leg, asked, now)
    if decision.before_effect and leg.state is not LegState.CLAIMED and case.purpose is Operation.SETTLE:
        # Said again, it was refused on the way to the settlement, which may stand since the first time, and for that.
        return _apply_lost(case, leg, asked, now)
    if leg.state is LegState.DEFERRED and decision.outcome is Outcome.DEFERRED:
        _note_open(leg, decision, now)
        if case.state is CaseState.CANCELLED:
            _reopen(case, now)
        return ACK
    event = _event_of(case, leg, done.operation, decision)
    if leg.state is LegState.REVERSING:
        return _apply_word_while_reversing(leg, decision, event, now)
    late = case.revision > 0 and case.purpose is Operation.SETTLE and case.state is not CaseState.CANCELLING
    unwanted = late and (asked.party.late_approval == "reverse" or case.state is CaseState.DECLINED)
    if event is not LegEvent.DECLINE or case.state is not CaseState.CANCELLED:
        _reopen(case, now)
    leg.record(decision, event, now)
    if event is LegEvent.HOLD:
        leg.reason_code = "answer_held"
    elif event is LegEvent.APPROVE and unwanted:
        leg.begin_undo(LegEvent.CANCEL, now, reason_code="late_reversed")
    return ACK


def _apply_word_on_held(case: CaseRecord, leg: LegRecord, done: Finished, asked: Asked, now: datetime) -> Verdict:
    """Its answer could not be true and waits for people. What it says when it is asked what became of it counts only
    where that is a plain yes that adds up, or a plain no; anything else is evidence beside the first."""
    decision = done.decision
    if done.ending is not Ending.DECIDED or decision is None or decision.before_effect:
        return ACK
    if case.state is not CaseState.OPEN:
        return ACK  # it is being undone, whatever stands
    if _event_of(case, leg, done.operation, decision) not in (LegEvent.APPROVE, LegEvent.DECLINE):
        return ACK
    return _apply_word(case, leg, done, asked, now)


def _note_open(leg: LegRecord, decision: Decision, now: datetime) -> None:
    """A claim that was taken for never received is there and open after all: an undo must reach it."""
    if not leg.open_at_payer:
        leg.decided_at = decision.decided_at or now
        leg.call_it(decision.payer_reference)
        leg.changed = leg.decided = True


def _event_of(case: CaseRecord, leg: LegRecord, operation: Operation, decision: Decision) -> LegEvent:
    """The payer's word as an event; HOLD when it cannot be true."""
    if operation is Operation.INQUIRE and decision.outcome is Outcome.CANCELLED:
        return LegEvent.DECLINE  # somebody had it undone: nothing stands
    event = _EVENTS.get(decision.outcome, LegEvent.HOLD)
    return LegEvent.HOLD if event is LegEvent.APPROVE and not adds_up(case, leg, decision) else event


def _reopen(case: CaseRecord, now: datetime) -> None:
    """A late word about a case that had ended: its answer gets another revision."""
    if case.state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED):
        case.apply(CaseEvent.REOPEN)
        case.ended_at = None
        case.watch(now + timedelta(seconds=SWEEP_GRACE_S))


def _hold(leg: LegRecord) -> None:
    """Evidence for people: the payer's answer contradicts itself or ours."""
    if leg.state is LegState.REVERSING:
        leg.apply(LegEvent.CANCEL_REFUSED, reason_code="answer_held")
    else:
        leg.apply(LegEvent.HOLD, reason_code="answer_held")


def _apply_word_while_reversing(leg: LegRecord, decision: Decision, event: LegEvent, now: datetime) -> Verdict:
    """Asked what became of it because the payer cannot reverse: what stands is cancelled, nothing else is to do."""
    if event is LegEvent.HOLD:
        _hold(leg)
        return ACK
    if event is LegEvent.DEFER:
        event = LegEvent.APPROVE  # a deferral of 0 fen stands open there: it is cancelled like an approval
    leg.record(decision, event, now)
    leg.undo_attempts = leg.inquiries = 0
    leg.rest_until(None)
    return ACK


def _apply_word_after_reversing(case: CaseRecord, leg: LegRecord, done: Finished, now: datetime) -> Verdict:
    """Asked twice, the payer had never heard of it; now it says that it settled: that is undone too."""
    said = done.decision if done.ending is Ending.DECIDED else None
    if said is not None and said.outcome is Outcome.APPROVED:
        _reopen(case, now)
        leg.record(said, LegEvent.APPROVE, now)
        leg.undo_attempts = leg.inquiries = 0
        leg.rest_until(None)
    return ACK


def adds_up(case: CaseRecord, leg: LegRecord, decision: Decision) -> bool:
    """Whether an approval can be true: what it pays was left, and a basic adjudication divides the whole bill."""
    basic = decision.basic
    # What was left when it was asked may be less by now: others were asked while it was undecided.
    unclaimed = unclaimed_fen(case, leg)
    if leg.layer is Layer.BASIC:
        if basic is None or basic.total_fen != case.total_fen:
            return False
        borne = (decision.amount_fen, basic.account_fen, basic.hospital_fen, basic.cash_fen)
        divides = min(borne) >= 0 and sum(borne) == case.total_fen and basic.fund_fen == decision.amount_fen
        return divides and case.total_fen - basic.cash_fen <= unclaimed
    return 0 <= decision.amount_fen <= min(leg.left_fen or 0, unclaimed)


def _apply_not_sent(case: CaseRecord, leg: LegRecord, now: datetime) -> Verdict:
    if leg.state is LegState.DEFERRED:
        return ACK
    leg.apply(LegEvent.NOT_SENT, reason_code="not_reachable" if leg.state is LegState.CLAIMED else "")
    if leg.state is LegState.IN_DOUBT:
        return _again(case, leg, Failure.IN_DOUBT, leg.inquiries, now)
    if leg.state is LegState.REVERSING:
        return _again(case, leg, Failure.UNDO, leg.inquiries, now)
    delay_s = POLICIES[Failure.NOT_SENT].delay_s(leg.attempts)
    latest = case.answer_by - timedelta(seconds=ANSWER_RESERVE_S)
    if delay_s is None or now + timedelta(seconds=delay_s) >= latest or case.state is not CaseState.OPEN:
        leg.apply(LegEvent.DEFER, reason_code="not_reachable")
        return ACK
    return _again(case, leg, Failure.NOT_SENT, leg.attempts, now)


def _apply_lost(case: CaseRecord, leg: LegRecord, asked: Asked, now: datetime) -> Verdict:
    """No word: the doubt begins or goes on; what may end it is decided when the command comes again."""
    if leg.state is LegState.DEFERRED:
        return ACK
    fresh = leg.state is LegState.CLAIMED
    leg.apply(LegEvent.ANSWER_LOST, reason_code="answer_lost")
    leg.doubt(now)
    if case.state is not CaseState.OPEN and leg.state is LegState.IN_DOUBT:
        leg.rest_until(None)
        return ACK  # the case is being undone and moves this leg on in the same transaction
    failure = Failure.UNDO if leg.state is LegState.REVERSING else Failure.IN_DOUBT
    if asked.can.by_queue:
        return ACK  # an unreadable message: a better one may follow, and the sweep looks after it
    return _again(case, leg, failure, 1 if fresh else leg.inquiries, now)


def _apply_inquiry(case: CaseRecord, leg: LegRecord, done: Finished, asked: Asked, now: datetime) -> Verdict:
    decision = done.decision
    if done.ending is Ending.NOT_SENT:
        return _apply_not_sent(case, leg, now)
    if decision is None or decision.outcome is not Outcome.NOT_FOUND:
        return _apply_word(case, leg, done, asked, now)
    if leg.state not in (LegState.IN_DOUBT, LegState.REVERSING):
        return ACK
    asked_at = done.asked_at or now
    counts_at = not_found_counts_from(asked_at, leg.claimed_at, leg.not_found_since, asked.party.window_s)
    if leg.not_found_since is None:
        leg.not_found_since = asked_at
        leg.changed = True
    if counts_at is not None:
        return _again_in(case, leg, max(1.0, (counts_at - now).total_seconds()), now)
    if leg.state is LegState.IN_DOUBT and asked.can.reversal:
        # Surely not there; its reversal blocks it should it come all the same.
        leg.begin_undo(LegEvent.REVERSE, now, reason_code="not_received")
        return ACK
    leg.apply(LegEvent.NOT_HEARD, reason_code="not_received")
    return ACK


_UNCLEAR = ("answer_held", "answer_lost")


def _apply_undo(case: CaseRecord, leg: LegRecord, done: Finished, now: datetime) -> Verdict:
    if leg.state not in UNDOING:
        return ACK
    decision = done.decision
    if done.ending is Ending.DECIDED and decision is not None:
        if decision.outcome is Outcome.CANCELLED:
            leg.effect_at = undone_at(decision.decided_at, _undo_asked_at(leg, done), now)
            leg.apply(LegEvent.CANCEL_CONFIRMED, reason_code="undone" if leg.reason_code in _UNCLEAR else "")
            return ACK
        if decision.outcome is Outcome.DECLINED:
            leg.record(decision, LegEvent.CANCEL_REFUSED, now)
            leg.reason_code = leg.reason_code or "cancel_refused"
            return ACK
    if done.ending is Ending.BROKEN:
        leg.apply(LegEvent.CANCEL_REFUSED, reason_code="cancel_refused")
        return ACK
    leg.apply(LegEvent.NOT_SENT if done.ending is Ending.NOT_SENT else LegEvent.ANSWER_LOST)
    leg.doubt(now)
    return _again(case, leg, Failure.UNDO, leg.undo_attempts, now)


def _undo_asked_at(leg: LegRecord, done: Finished) -> datetime | None:
    """When this undo was first asked for, or soon after; None for a queue, which its reader empties at will."""
    if done.asked_at is None or leg.doubt_since is None:
        return done.asked_at
    return min(done.asked_at, leg.doubt_since)


def _again(case: CaseRecord, leg: LegRecord, failure: Failure, tried: int, now: datetime) -> Verdict:
    """The command comes back after the policy's delay; when its tries are used up people have the next word."""
    since_s = (now - leg.doubt_since).total_seconds() if leg.doubt_since else 0.0
    delay_s = POLICIES[failure].delay_s(max(tried, 1), since_s)
    if delay_s is None:
        leg.rest_until(None)
        return ACK
    return _again_in(case, leg, delay_s, now)


def _again_in(case: CaseRecord, leg: LegRecord, delay_s: float, now: datetime) -> Verdict:
    leg.rest_until(now + timedelta(seconds=LANE_SHARE * delay_s))
    due = now + timedelta(seconds=delay_s + SWEEP_GRACE_S)
    # While the cashier waits, the deadline is the next look however far away the repeat is.
    case.watch(min(due, case.answer_by) if not case.overdue and case.answer_by > now else due)
    return retry(delay_s, "leg")
