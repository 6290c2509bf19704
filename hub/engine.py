"""The engine's consumers: parties' messages from the broker to the desk, refusals and stored answers back."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from adapters.hospital.codec import write_refusal
from hub.books import RuleBooks
from hub.broker.topology import in_exchange
from hub.broker.transport import ACK, Delivery, Verdict, dead
from hub.desk import Desk
from hub.inbound import Inbound, Taken
from hub.ports import Clock
from hub.routes import OUT_PREFIX, party_message
from hub.work import Work, WorkUnits
from schemas.errors import HubError, Unavailable
from schemas.transactions import SPECS, Transaction, answer_type

log = structlog.get_logger()

MESSAGE_ID_HEADER = "message-id"
"""For clients that cannot set the message_id property, such as amqp-publish."""
_IN_PREFIX = in_exchange("")
_ANSWER_TYPES = {name: answer_type(name) for name in SPECS}


class Engine:
    """Handles the `intake` and `claim.answers` queues."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock, desk: Desk) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._desk = desk

    def handle(self, batch: Sequence[Delivery]) -> None:
        """Take what arrived together in one transaction; every delivery is settled when this returns."""
        inbound: list[Inbound] = []
        deliveries: list[Delivery] = []
        for delivery in batch:
            if (message := self._inbound(delivery)) is not None:
                inbound.append(message)
                deliveries.append(delivery)
        if not inbound:
            return
        taken = self._desk.take(inbound)
        verdicts = self._reply(inbound, taken)
        for delivery, verdict in zip(deliveries, verdicts, strict=True):
            delivery.settle(verdict)

    def _inbound(self, delivery: Delivery) -> Inbound | None:
        party = delivery.exchange.removeprefix(_IN_PREFIX)
        try:
            transaction = Transaction(delivery.routing_key)
        except ValueError:
            delivery.settle(dead("message.unknown_transaction"))
            return None
        if delivery.user_id and delivery.user_id != party:
            delivery.settle(dead("party.user_differs", f"exchange of {party}"))
            return None
        message_id = delivery.message_id or delivery.headers.get(MESSAGE_ID_HEADER, "").strip()
        if not message_id:
            # Without its sender's id a message cannot be told from its repeats.
            delivery.settle(dead("message.no_message_id", "set the message_id property"))
            return None
        return Inbound(
            transaction=transaction,
            party=party,
            message_id=message_id,
            body=delivery.body,
            reply_to=f"{OUT_PREFIX}{party}",
            received_at=self._clock.now(),
            correlation_id=delivery.correlation_id,
        )

    def _reply(self, inbound: Sequence[Inbound], taken: Sequence[Taken]) -> list[Verdict]:
        """Send refusals and stored answers; new cases answer for themselves when they are done."""
        if all(one.error is None and one.answer is None for one in taken):
            return [ACK] * len(taken)
        with self._work_units.begin("reply") as work:
            return [self._reply_one(work, message, one) for message, one in zip(inbound, taken, strict=True)]

    def _reply_one(self, work: Work, message: Inbound, taken: Taken) -> Verdict:
        if taken.error is not None:
            return self._refuse(work, message, taken.error, taken.case_id)
        if taken.answer is not None:
            self._send(work, message, taken.answer, _ANSWER_TYPES[message.transaction])
        return ACK

    def _refuse(self, work: Work, message: Inbound, error: HubError, case_id: str) -> Verdict:
        if isinstance(error, Unavailable):
            raise error
        log.warning("message_refused", party=message.party, message_id=message.message_id, code=error.code)
        if not self._reads_answers(message.party):
            return dead(error.code, str(error))
        refusal = write_refusal(error, case_id=case_id, message_id=message.message_id)
        self._send(work, message, refusal, "error.answer")
        return ACK

    def _reads_answers(self, party: str) -> bool:
        """Whether it has a queue for answers: an institution or a party that sends by AMQP. An insurer that consumes
        its tasks gets no refusals among them."""
        book = self._books.active().book
        known = book.institution_by_code.get(party) or book.party_by_code.get(party)
        return known is not None and known.amqp

    def _send(self, work: Work, message: Inbound, body: bytes, type_: str) -> None:
        correlation_id = message.correlation_id or message.message_id
        work.send(party_message(message.party, body, type_=type_, correlation_id=correlation_id, region=""))
