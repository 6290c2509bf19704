"""An insurer that is reached by its queue: reads tasks from `out.<code>`, answers on the exchange `in.<code>`.

Without RabbitMQ it fetches its tasks from the hub's HTTP mailbox and posts its answers there. Tasks that arrived
together are judged together and booked in one commit; a task is acknowledged when its answer is with the hub.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import urllib3
from pydantic import ValidationError

from sandbox.amqp import Incoming, Line, Outgoing
from sandbox.book import Book
from sandbox.claims_desk import Desk, decision_json
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.insurer_rest import InsurerApp
from sandbox.web import GARBAGE
from schemas.payer import ClaimCancel, ClaimTask, Operation

ANSWER = "claim.answer"
MAILBOX_WAIT_S = 5
BACKOFF_S = 0.5

log = logging.getLogger("sandbox")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to send: how often, and how many seconds after the booking. No answer at all: `body` is None."""

    request_id: str
    body: bytes | None
    times: int = 1
    delay_s: float = 0.0


class ClaimsDepartment:
    """The insurer's work apart from any channel: task bodies in, answers out, booked in between."""

    def __init__(self, book: Book, desk: Desk, faults: Faults) -> None:
        self.book = book
        self.desk = desk
        self.faults = faults

    def work(self, bodies: Sequence[bytes]) -> list[Told | None]:
        """What to tell for each task, in order; None for bytes that are no task. Booked when this returns."""
        tasks = [_task_of(body) for body in bodies]
        troubles = [None if task is None else self.faults.draw(task.request_id, task.operation.value) for task in tasks]
        entries = [
            None if task is None or _does_nothing(trouble) else self._entry(task)
            for task, trouble in zip(tasks, troubles, strict=True)
        ]
        booked = self._booked(tasks, entries)
        return [
            None if task is None else _told(task, entry, trouble)
            for task, entry, trouble in zip(tasks, booked, troubles, strict=True)
        ]

    def _entry(self, task: ClaimTask | ClaimCancel) -> Entry:
        return self.desk.undone(task) if isinstance(task, ClaimCancel) else self.desk.judged(task)

    def _booked(
        self, tasks: Sequence[ClaimTask | ClaimCancel | None], entries: Sequence[Entry | None]
    ) -> list[Entry | None]:
        effective = [
            index
            for index, (task, entry) in enumerate(zip(tasks, entries, strict=True))
            if task is not None and entry is not None and task.operation is not Operation.TRIAL
        ]
        answers = list(entries)
        wanted = [entry for index in effective if (entry := entries[index]) is not None]
        for index, stood in zip(effective, self.book.record(wanted) if wanted else [], strict=True):
            answers[index] = stood
        return answers


def _task_of(body: bytes) -> ClaimTask | ClaimCancel | None:
    try:
        if orjson.loads(body).get("operation") == Operation.CANCEL:
            return ClaimCancel.model_validate_json(body)
        return ClaimTask.model_validate_json(body)
    except (ValidationError, ValueError, AttributeError) as error:
        log.info("a task that breaks the schema was set aside: %s", type(error).__name__)
        return None


def _does_nothing(trouble: Fault | None) -> bool:
    return trouble is not None and trouble.kind in (FaultKind.SILENT, FaultKind.HTTP_500)


def _told(task: ClaimTask | ClaimCancel, entry: Entry | None, trouble: Fault | None) -> Told:
    kind = None if trouble is None else trouble.kind
    if entry is None or kind is FaultKind.LOST_ANSWER:
        return Told(task.request_id, None)
    body = decision_json(entry, trouble)
    if kind is FaultKind.GARBAGE and zlib.crc32(task.request_id.encode()) % 2:
        body = GARBAGE[1].body
    delayed = trouble is not None and kind in (FaultKind.SLOW, FaultKind.LATE)
    return Told(
        task.request_id,
        body,
        times=2 if kind is FaultKind.DUPLICATE_ANSWER else 1,
        delay_s=(trouble.seconds or 0.0) if delayed and trouble is not None else 0.0,
    )


class QueueInsurer(InsurerApp):
    """The insurer's HTTP side (health, book, faults, review) and its worker on the queue or the mailbox.

    `broker_url` names its own user on the edge of the broker; without one, `hub_url` is the hub's HTTP address and
    `hub_token` the insurer's token there (a hub that trusts the X-Party header needs none).
    """

    def __init__(
        self,
        code: str,
        book: Book,
        desk: Desk,
        faults: Faults | None = None,
        *,
        broker_url: str | None = None,
        hub_url: str | None = None,
        hub_token: str = "",
    ) -> None:
        super().__init__(code, book, desk, faults)
        department = ClaimsDepartment(book, desk, self.faults)
        self.worker: AmqpWorker | MailboxWorker | None = None
        if broker_url:
            self.worker = AmqpWorker(broker_url, code, department)
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

    def review(self, request_id: str, amount_fen: int) -> Entry | None:
        """Decide a deferral and send the hub the final word."""
        entry = super().review(request_id, amount_fen)
        if entry is not None and self.worker is not None:
            self.worker.tell(Told(request_id, decision_json(entry)))
        return entry


class AmqpWorker:
    """Tasks from `out.<code>`, answers to `in.<code>`."""

    def __init__(self, url: str, code: str, department: ClaimsDepartment) -> None:
        self._code = code
        self._department = department
        self.line = Line(url, code, [f"out.{code}"], self._work)

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


class MailboxWorker:
    """Tasks from the hub's HTTP mailbox, answers by POST; one thread, and one for answers that are to be late."""

    def __init__(self, hub_url: str, code: str, department: ClaimsDepartment, token: str = "") -> None:
        self._headers = {"X-Party": code, "Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._hub = hub_url.rstrip("/")
        self._code = code
        self._department = department
        self._pool = urllib3.PoolManager(
            maxsize=4, retries=False, timeout=urllib3.Timeout(connect=2.0, read=MAILBOX_WAIT_S + 10)
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mailbox-{code}", daemon=True)

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop fetching; what was fetched and not acknowledged comes again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=MAILBOX_WAIT_S + 12)
        self._pool.clear()

    def tell(self, told: Told) -> None:
        """Send one answer; urllib3.exceptions.HTTPError when the hub cannot be reached."""
        self._post(told)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except (urllib3.exceptions.HTTPError, ValueError, _Refused) as error:
                log.info("mailbox of %s: %s", self._code, type(error).__name__)
                self._stopping.wait(BACKOFF_S)

    def _round(self) -> None:
        begun = time.monotonic()
        messages = self._fetch()
        if not messages:
            # A hub that does not wait must not be asked without a pause.
            self._stopping.wait(max(0.0, BACKOFF_S - (time.monotonic() - begun)))
            return
        answers = self._department.work([orjson.dumps(message["body"]) for message in messages])
        done = []
        for message, told in zip(messages, answers, strict=True):
            if told is None or told.body is None:
                done.append(message["id"])
            elif told.delay_s:
                done.append(message["id"])
                threading.Timer(told.delay_s, self._post_quietly, [told]).start()
            elif self._post_quietly(told):
                done.append(message["id"])
        self._ack(done)

    def _fetch(self) -> list[dict[str, Any]]:
        fields = {"party": self._code, "wait": str(MAILBOX_WAIT_S)}
        answer = self._pool.request("GET", f"{self._hub}/api/v1/mailbox", fields=fields, headers=self._headers)
        if answer.status != 200:
            raise _Refused(answer.status)
        found: list[dict[str, Any]] = orjson.loads(answer.data)["messages"]
        return found

    def _ack(self, ids: Sequence[object]) -> None:
        if not ids:
            return
        body = orjson.dumps({"party": self._code, "ids": list(ids)})
        answer = self._pool.request("POST", f"{self._hub}/api/v1/mailbox/ack", body=body, headers=self._headers)
        if answer.status >= 300:
            raise _Refused(answer.status)

    def _post_quietly(self, told: Told) -> bool:
        """Whether the hub took the answer; when not, the task stays in the mailbox and comes again."""
        try:
            self._post(told)
        except (urllib3.exceptions.HTTPError, _Refused) as error:
            log.info("answer of %s not delivered: %s", self._code, type(error).__name__)
            return False
        return True

    def _post(self, told: Told) -> None:
        headers = self._headers | {"Idempotency-Key": told.request_id}
        for _ in range(told.times):
            answer = self._pool.request(
                "POST", f"{self._hub}/api/v1/transactions/{ANSWER}", body=told.body, headers=headers
            )
            if answer.status >= 500:
                raise _Refused(answer.status)


class _Refused(Exception):
    """The hub answered, but not as hoped."""
