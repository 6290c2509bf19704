"""An insurer that is reached by its queue: reads tasks from `out.<code>`, answers on the exchange `in.<code>`.

Without RabbitMQ it fetches its tasks from the hub's HTTP mailbox and posts its answers there. Tasks that arrived
together are judged together and booked in one commit; a task is acknowledged when its answer is with the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from sandbox.amqp import Incoming, Line, Outgoing
from sandbox.book import Book
from sandbox.claims_department import ANSWER, ClaimsDepartment, Told
from sandbox.claims_desk import Desk, decision_json
from sandbox.entries import Entry
from sandbox.faults import Faults
from sandbox.insurer_rest import InsurerApp
from sandbox.mailbox import MailboxWorker


class QueueInsurer(InsurerApp):
    """The insurer's HTTP side (health, book, faults, review) and its worker on the queue or the mailbox.

    `broker_url` names its own user on the edge of the broker and `queue` what it reads there; without an address,
    `hub_url` is the hub's HTTP address and `hub_token` the insurer's token there (a hub that trusts the X-Party header
    needs none).
    """

    def __init__(
        self,
        code: str,
        book: Book,
        desk: Desk,
        faults: Faults | None = None,
        *,
        broker_url: str | None = None,
        queue: str = "",
        hub_url: str | None = None,
        hub_token: str = "",
    ) -> None:
        super().__init__(code, book, desk, faults)
        self.department = department = ClaimsDepartment(book, desk, self.faults)
        self.worker: AmqpWorker | MailboxWorker | None = None
        if broker_url:
            self.worker = AmqpWorker(broker_url, code, department, queue)
        elif hub_url:
            self.worker = MailboxWorker(hub_url, code, department, hub_token)

    def start(self) -> None:
        """Begin to work on tasks, if there is a broker or a hub to fetch them from."""
        if self.worker is not None:
            self.worker.start()

    def stop(self) -> None:
        """End the work; tasks in hand stay with the broker or the mailbox."""
        if self.worker is not None:
            self.worker.stop()
        self.department.forget_delayed()

    def delayed(self) -> int:
        """How many requests and tasks were taken and have not had their effect yet."""
        return super().delayed() + self.department.delayed()

    def forget_delayed(self) -> None:
        """What has not had its effect yet never will."""
        super().forget_delayed()
        self.department.forget_delayed()

    def review(self, request_id: str, amount_fen: int) -> Entry | None:
        """Decide a deferral and send the hub the final word."""
        entry = super().review(request_id, amount_fen)
        if entry is not None and self.worker is not None:
            self.worker.tell(Told(request_id, decision_json(entry)))
        return entry


class AmqpWorker:
    """Tasks from `queue` (by default `out.<code>`), answers to `in.<code>`."""

    def __init__(self, url: str, code: str, department: ClaimsDepartment, queue: str = "") -> None:
        self._code = code
        self._department = department
        self.line = Line(url, code, [queue or f"out.{code}"], self._work)

    def start(self) -> None:
        """Connect and stay connected."""
        self.line.start()

    def stop(self) -> None:
        """Disconnect."""
        self.line.stop()

    def tell(self, told: Told) -> None:
        """Send one answer."""
        self._send(told, None)

    def _work(self, batch: Sequence[Incoming]) -> None:
        answers = self._department.work([incoming.body for incoming in batch])
        for incoming, told in zip(batch, answers, strict=True):
            done = partial(self.line.ack, incoming)
            if told is None or told.body is None:
                done()
            elif told.delay_s:
                self.line.later(told.delay_s, partial(self._send, told, done))
            else:
                self._send(told, done)

    def _send(self, told: Told, done: Callable[[], None] | None) -> None:
        assert told.body is not None
        self.line.publish(
            [
                Outgoing(
                    exchange=f"in.{self._code}",
                    routing_key=ANSWER,
                    body=told.body,
                    message_id=str(uuid4()),
                    type=ANSWER,
                    correlation_id=told.request_id,
                    on_confirmed=done if copy == 0 else None,
                )
                for copy in range(told.times)
            ]
        )
