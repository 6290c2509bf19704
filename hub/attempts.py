"""Beginning one attempt to ask a payer, inside the claiming transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hub.broker.transport import Delivery
from hub.calls import Payer
from hub.routes import party_message
from hub.tasks import cancel_task, claim_task
from hub.work import Work
from routing.deadline import call_timeout_s
from routing.life import left_for
from routing.states import CaseState, LegEvent, LegState
from schemas.errors import InvalidMessage
from schemas.payer import PayerTask, PreparedCall
from schemas.settlement import SettlementRequest
from store.exchanges import Exchange
from store.records import CaseRecord, LegRecord

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """A claimed attempt on its way out: its request is committed."""

    task: PayerTask
    call: PreparedCall
    attempt: int
    timeout_s: float
    delivery: Delivery
    due: datetime | None
    """A first call that is still in the pool's queue by then is not begun: nobody waits for its answer any more."""


class Attempt:
    """Begins one attempt inside the claiming transaction: decides from the leg's state what is to be asked."""

    def __init__(
        self,
        work: Work,
        case: CaseRecord,
        leg: LegRecord,
        request: SettlementRequest,
        payer: Payer,
        now: datetime,
        *,
        under_way: bool,
    ) -> None:
        self._work = work
        self._case = case
        self._leg = leg
        self._request = request
        self._payer = payer
        self._now = now
        self._under_way = under_way

    def begin(self, outgoing: list[Exchange], delivery: Delivery) -> Call | None:
        """The call to make after the commit; None when the leg needs none (any more)."""
        timeout_s = self._claim()
        if timeout_s is None:
            return None
        undo = self._leg.state is LegState.CANCELLING
        attempt = self._leg.undo_attempts if undo else self._leg.attempts
        if undo:
            task = cancel_task(self._case, self._leg, self._request)
        else:
            task = claim_task(self._case, self._leg, self._request)
        try:
            prepared = self._payer.adapter.prepare(task)
        except InvalidMessage as error:
            self._cannot_be_said(error)
            return None
        outgoing.append(self._sent(task, prepared, attempt))
        if self._payer.adapter.capabilities.by_queue:
            self._send_to_queue(task, prepared)
            return None
        due = self._now + timedelta(seconds=timeout_s) if self._leg.state is LegState.CLAIMED else None
        return Call(task, prepared, attempt, timeout_s, delivery, due)

    def _cannot_be_said(self, error: InvalidMessage) -> None:
        """The payer's language has no words for this case: provably nothing was sent, and no repeat would differ."""
        leg = self._leg
        log.error("claim_not_expressible", payer=leg.payer, case_id=leg.case_id, code=error.code)
        if leg.state is LegState.CANCELLING:
            leg.apply(LegEvent.CANCEL_REFUSED, reason_code="not_expressible")
            return
        leg.apply(LegEvent.NOT_SENT)
        if leg.state is LegState.PLANNED:
            leg.apply(LegEvent.DEFER, reason_code="not_expressible")

    def _claim(self) -> float | None:
        leg, party = self._leg, self._payer.party
        can = self._payer.adapter.capabilities
        if leg.state is LegState.PLANNED and self._case.state is CaseState.OPEN:
            timeout_s = call_timeout_s(self._now, self._case.answer_by, party.timeout_s)
            if timeout_s is None:
                leg.apply(LegEvent.DEFER, reason_code="time_up")
                return None
            leg.apply(LegEvent.CLAIM)
            leg.left_fen = left_for(self._case, leg)
        elif leg.state in (LegState.CLAIMED, LegState.IN_DOUBT) and self._under_way:
            return None  # this process is waiting for the payer's answer: there is nothing to doubt yet
        elif leg.state in (LegState.CLAIMED, LegState.IN_DOUBT) and not can.by_queue:
            # Somebody claimed it and no answer is stored: that process may have died after the payer heard it.
            leg.apply(LegEvent.ANSWER_LOST, reason_code="answer_lost")
            if not can.idempotent_submit:
                return None
            timeout_s = party.timeout_s
        elif leg.state is LegState.CANCELLING:
            leg.undo_attempts += 1
            leg.changed = True
            return party.timeout_s
        else:
            return None
        leg.attempts += 1
        leg.claimed_at = self._now
        return timeout_s

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
