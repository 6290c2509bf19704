"""The work of an insurer that is reached by messages: task bodies in, answers out, booked in between."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from sandbox.book import Book
from sandbox.claims_desk import Desk, decision_json
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.web import GARBAGE
from schemas.payer import ClaimCancel, ClaimTask, Operation

ANSWER = "claim.answer"
"""Routing key, message type and transaction of every answer."""

_WITHOUT_EFFECT = frozenset(
    {FaultKind.SILENT, FaultKind.HTTP_500, FaultKind.REFUSE_UNDO, FaultKind.DELAYED_EFFECT},
)

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
        self._delayed: set[threading.Timer] = set()

    def work(self, bodies: Sequence[bytes]) -> list[Told | None]:
        """What to tell for each task, in order; None for bytes that are no task. Booked when this returns."""
        tasks = [_task_of(body) for body in bodies]
        troubles = [None if task is None else self.faults.draw(task.request_id, task.operation.value) for task in tasks]
        entries = [
            None if task is None or self._does_nothing(task, trouble) else self._entry(task)
            for task, trouble in zip(tasks, troubles, strict=True)
        ]
        booked = self._booked(tasks, entries)
        return [
            None if task is None else self._told(task, entry, trouble)
            for task, entry, trouble in zip(tasks, booked, troubles, strict=True)
        ]

    def _told(self, task: ClaimTask | ClaimCancel, entry: Entry | None, trouble: Fault | None) -> Told:
        refuses = trouble is not None and trouble.kind is FaultKind.REFUSE_UNDO
        if refuses and isinstance(task, ClaimCancel):
            entry = self.desk.will_not_undo(task)
        return _told(task, entry, trouble)

    def delayed(self) -> int:
        """How many tasks were taken and have not had their effect yet."""
        return len(self._delayed)

    def forget_delayed(self) -> None:
        """What has not had its effect yet never will."""
        for timer in list(self._delayed):
            timer.cancel()
        self._delayed.clear()

    def _does_nothing(self, task: ClaimTask | ClaimCancel, trouble: Fault | None) -> bool:
        """Whether the task has no effect now; one that is delayed is put aside."""
        if trouble is None:
            return False
        if trouble.kind is FaultKind.DELAYED_EFFECT and isinstance(task, ClaimTask):
            self._delay(trouble.seconds or 0.0, self.desk.judged(task))
        return trouble.kind in _WITHOUT_EFFECT

    def _delay(self, seconds: float, entry: Entry) -> None:
        def later() -> None:
            if timer in self._delayed:
                self.book.record([entry])
                self._delayed.discard(timer)

        timer = threading.Timer(seconds, later)
        timer.daemon = True
        self._delayed.add(timer)
        timer.start()

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
        if orjson.loads(body).get("operation") in (Operation.CANCEL, Operation.REVERSE):
            return ClaimCancel.model_validate_json(body)
        return ClaimTask.model_validate_json(body)
    except (ValidationError, ValueError, AttributeError) as error:
        log.info("a task that breaks the schema was set aside: %s", type(error).__name__)
        return None


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
