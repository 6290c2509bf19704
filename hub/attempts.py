"""Beginning one attempt on a leg, inside the claiming transaction: what is to be said to the payer now, if anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from hub.broker.transport import ACK, Delivery, Verdict, retry
from hub.calls import Payer
from hub.disclosure import disclosed
from hub.gate import Closed
from hub.routes import party_message
from hub.tasks import claim_task, inquiry_task, undo_task
from hub.work import Work
from routing.deadline import call_timeout_s
from routing.doubt import Move, Situation, move_cancelling, move_in_doubt, move_reversing
from routing.life import left_for
from routing.retry import POLICIES, Failure
from routing.states import CaseState, LegEvent, LegState
from schemas.errors import InvalidMessage
from schemas.payer import Capabilities, Operation, PayerTask, PreparedCall
from schemas.settlement import SettlementRequest
from store import numbers
from store.exchanges import Exchange
from store.numbers import Wanted
from store.records import CaseRecord, LegRecord

log = structlog.get_logger()

ANSWER_GRACE_S = 1.0
"""After its timeout a call's answer is still being stored: until then nobody else doubts it."""
OVERTAKEN_S = 1.0
"""A command that came before the end of the call before it comes again after this."""
QUEUE_REST_S = 30.0
"""A task in a payer's queue is not lost: it is said again no sooner than this."""


@dataclass(frozen=True, slots=True)
class Call:
    """A claimed attempt on its way out: its request is committed."""

    task: PayerTask
    call: PreparedCall
    attempt: int
    timeout_s: float
    delivery: Delivery
    due: datetime | None
    """A claim that is still in the pool's queue by then is not begun: nobody waits for its answer any more, and the
    settle window counts from when it was written down."""

    @property
    def about(self) -> tuple[str, int]:
        """Case and leg."""
        return self.task.case_id, self.task.leg_no


class Attempt:
    """One command's look at its leg. `under_way` is the version of the leg with which a call of this process that is
    not over was claimed."""

    def __init__(
        self,
        work: Work,
        case: CaseRecord,
        leg: LegRecord,
        request: SettlementRequest,
        payer: Payer,
        now: datetime,
        *,
        under_way: int | None,
    ) -> None:
        self._work = work
        self._case = case
        self._leg = leg
        self._request = request
        self._payer = payer
        self._now = now
        self._under_way = under_way

    def begin(self, outgoing: list[Exchange], delivery: Delivery) -> Call | Verdict:
        """The call to make after the commit, or what becomes of the command when there is none to make (now)."""
        match self._leg.state:
            case LegState.PLANNED if self._case.state is CaseState.OPEN:
                decided = self._first()
            case LegState.CLAIMED:
                decided = self._claimed()
            case LegState.IN_DOUBT:
                decided = self._in_doubt()
            case LegState.CANCELLING | LegState.REVERSING:
                decided = self._undoing()
            case LegState.HELD | LegState.DEFERRED:
                decided = self._set_aside()
            case _:
                return ACK
        return decided if isinstance(decided, Verdict) else self._say(decided, outgoing, delivery)

    def _first(self) -> Operation | Verdict:
        """Nobody has been asked, or provably nothing left."""
        leg = self._leg
        gate = self._payer.gate
        closed = gate.first() if leg.attempts == 0 else gate.again()
        if closed is not None and closed.reason == "retry_budget":
            return self._rest(closed)
        timeout_s = call_timeout_s(self._now, self._case.answer_by, self._payer.party.timeout_s)
        if timeout_s is None or closed is not None:
            leg.apply(LegEvent.DEFER, reason_code=closed.reason if closed else "time_up")
            return ACK
        leg.apply(LegEvent.CLAIM)
        leg.left_fen = left_for(self._case, leg)
        leg.attempts += 1
        leg.claimed_at = self._now
        leg.rest_until(self._now + timedelta(seconds=timeout_s + ANSWER_GRACE_S))
        return self._case.purpose

    def _claimed(self) -> Operation | Verdict:
        """Somebody asked, and no answer is stored: it may be on its way, or the process died after it was heard."""
        leg = self._leg
        if self._under_way is not None:
            return ACK  # this process is waiting for the payer's answer: there is nothing to doubt yet
        if self._payer.can.by_queue:
            if not self._case.overdue and self._case.state is CaseState.OPEN:
                return ACK
        elif early_s := self._early_s():
            return retry(max(early_s, 1.0), "leg")
        leg.apply(LegEvent.ANSWER_LOST, reason_code="answer_lost")
        leg.doubt(self._now)
        leg.rest_until(None)
        return self._in_doubt()

    def _in_doubt(self) -> Operation | Verdict:
        leg, case = self._leg, self._case
        if waits := self._waits():
            return waits
        if case.state is not CaseState.OPEN:
            return ACK  # the case is being undone: it moves this leg on by itself
        situation = Situation(
            trial=case.purpose is Operation.TRIAL,
            cashier_waits=not case.overdue and self._now < case.answer_by,
            late_approval_stands=self._payer.party.late_approval == "keep",
        )
        move = move_in_doubt(situation, self._payer.can)
        if move is Move.GIVE_UP:
            leg.apply(LegEvent.NOT_HEARD, reason_code="time_up")
            return ACK
        if move is Move.REVERSE:
            leg.begin_undo(LegEvent.REVERSE, self._now)
            return self._undoing()
        return self._resolve(move, Failure.IN_DOUBT, leg.inquiries)

    def _set_aside(self) -> Operation | Verdict:
        """Nothing happens to it by itself, but it was said: somebody has reason to believe that the payer can tell by
        now what became of it. Only asking is harmless; who is not heard is asked when somebody has reason again."""
        if not may_inquire_aside(self._case, self._leg, self._payer.can) or self._under_way is not None:
            return ACK
        if self._payer.gate.again() is not None:
            return ACK
        self._leg.inquiries += 1
        self._leg.changed = True
        return Operation.INQUIRE

    def _undoing(self) -> Operation | Verdict:
        leg = self._leg
        if waits := self._waits():
            return waits
        cancelling = leg.state is LegState.CANCELLING
        move = move_cancelling(self._payer.can) if cancelling else move_reversing(self._payer.can)
        if move is Move.PEOPLE:
            leg.apply(LegEvent.CANCEL_REFUSED, reason_code="cannot_be_undone")
            return ACK
        return self._resolve(move, Failure.UNDO, max(leg.undo_attempts, leg.inquiries))

    def _resolve(self, move: Move, failure: Failure, tried: int) -> Operation | Verdict:
        """Say what may end the doubt, as long as there is a try left and the gate is open."""
        leg = self._leg
        since_s = (self._now - leg.doubt_since).total_seconds() if leg.doubt_since and tried else 0.0
        delay_s = POLICIES[failure].delay_s(max(tried, 1), since_s)
        if move is Move.PEOPLE or delay_s is None:
            leg.rest_until(None)
            return ACK
        first_undo = move in (Move.CANCEL, Move.REVERSE) and tried == 0
        closed = self._payer.gate.first() if first_undo else self._payer.gate.again()
        if closed is not None:
            return self._rest(closed)
        if move in (Move.CANCEL, Move.REVERSE):
            leg.undo_attempts += 1
        else:
            leg.inquiries += 1
        if self._payer.can.by_queue:
            rest_s = max(delay_s, QUEUE_REST_S)
            self._case.watch(self._now + timedelta(seconds=rest_s))
        else:
            rest_s = self._payer.party.timeout_s + ANSWER_GRACE_S
        leg.rest_until(self._now + timedelta(seconds=rest_s))
        if move is not Move.REPEAT:
            return _OPERATIONS[move]
        leg.attempts += 1
        leg.claimed_at = self._now
        return self._case.purpose

    def _waits(self) -> Verdict | None:
        """What becomes of a command while it is early or a call is under way; None when it may go on."""
        if self._early_s():
            return ACK  # the sweep brings it when it is due
        if self._under_way is None:
            return None
        if self._under_way == self._leg.version:
            return ACK  # the end of that call moves the leg on
        # The leg has moved on since that call was claimed: its end is stored already and only its process does not know
        # it yet, or it says nothing about what is to be done now. Nobody else brings this command soon.
        return retry(OVERTAKEN_S, "leg")

    def _early_s(self) -> float:
        """Seconds until an attempt may be made."""
        next_at = self._leg.next_at
        return 0.0 if next_at is None else max(0.0, (next_at - self._now).total_seconds())

    def _rest(self, closed: Closed) -> Verdict:
        """The gate is shut: this command comes back by itself, others for this leg need not."""
        self._leg.rest_until(self._now + timedelta(seconds=0.7 * closed.again_s))
        return retry(closed.again_s, closed.reason)

    def _say(self, operation: Operation, outgoing: list[Exchange], delivery: Delivery) -> Call | Verdict:
        task = disclosed(self._numbered(self._task(operation)), self._payer.party.disclosure)
        try:
            prepared = self._payer.adapter.prepare(task)
        except InvalidMessage as error:
            self._cannot_be_said(error, operation)
            return ACK
        attempt = self._attempt_no(operation)
        outgoing.append(self._sent(task, prepared, attempt))
        if self._payer.can.by_queue:
            self._send_to_queue(task, prepared)
            return ACK
        leg = self._leg
        timeout_s = self._payer.party.timeout_s
        due = None
        if leg.state is LegState.CLAIMED:
            left_s = call_timeout_s(self._now, self._case.answer_by, timeout_s)
            timeout_s = left_s if left_s is not None else timeout_s
        if operation is self._case.purpose:
            due = self._now + timedelta(seconds=timeout_s)
        return Call(task, prepared, attempt, timeout_s, delivery, due)

    def _task(self, operation: Operation) -> PayerTask:
        if operation in (Operation.CANCEL, Operation.REVERSE):
            return undo_task(self._case, self._leg, self._request, operation)
        if operation is Operation.INQUIRE:
            return inquiry_task(self._case, self._leg, self._request)
        return claim_task(self._case, self._leg, self._request)

    def _numbered(self, task: PayerTask) -> PayerTask:
        """With the durable message numbers of this request, for dialects that need them."""
        count = self._payer.can.numbers
        if not count:
            return task
        connection = self._work.connection
        institution = "" if self._payer.can.shared_numbers else self._case.institution
        wanted = Wanted(task.request_id, task.payer, institution, count)
        original = task.original_request_id
        return replace(
            task,
            numbers=numbers.draw(connection, [wanted], self._now)[task.request_id],
            original_numbers=numbers.find(connection, [original]).get(original) if original else None,
        )

    def _attempt_no(self, operation: Operation) -> int:
        leg = self._leg
        if operation in (Operation.CANCEL, Operation.REVERSE):
            return leg.undo_attempts
        return leg.inquiries if operation is Operation.INQUIRE else leg.attempts

    def _cannot_be_said(self, error: InvalidMessage, operation: Operation) -> None:
        """The payer's language has no words for this: provably nothing was sent, and no repeat would differ."""
        leg = self._leg
        log.error("task_not_expressible", payer=leg.payer, case_id=leg.case_id, operation=operation, code=error.code)
        if leg.state in (LegState.CANCELLING, LegState.REVERSING):
            leg.apply(LegEvent.CANCEL_REFUSED, reason_code="not_expressible")
            return
        leg.apply(LegEvent.NOT_SENT)
        if leg.state is LegState.PLANNED:
            leg.apply(LegEvent.DEFER, reason_code="not_expressible")
        else:
            leg.rest_until(None)

    def _sent(self, task: PayerTask, prepared: PreparedCall, attempt: int) -> Exchange:
        return Exchange(
            region=self._case.region,
            case_id=self._case.case_id,
            leg_no=self._leg.leg_no,
            party=self._leg.payer,
            direction="out",
            operation=task.operation.value,
            request_id=task.request_id,
            attempt=attempt,
            body=prepared.body,
            at=self._now,
            content_type=prepared.content_type,
        )

    def _send_to_queue(self, task: PayerTask, prepared: PreparedCall) -> None:
        message = party_message(
            self._leg.payer,
            prepared.body,
            type_=f"claim.{task.operation.value}",
            correlation_id=task.request_id,
            region=self._case.region,
        )
        self._work.send(message)


def may_inquire_aside(case: CaseRecord, leg: LegRecord, can: Capabilities) -> bool:
    """Whether a part that was set aside after something had been said to its payer may be asked about."""
    if case.purpose is not Operation.SETTLE or not can.inquiry or can.by_queue or leg.attempts == 0:
        return False
    if leg.state is LegState.HELD:
        return case.state is CaseState.OPEN
    return leg.state is LegState.DEFERRED and case.state in (CaseState.OPEN, CaseState.SETTLED)


_OPERATIONS = {Move.INQUIRE: Operation.INQUIRE, Move.REVERSE: Operation.REVERSE, Move.CANCEL: Operation.CANCEL}
