"""The work of an insurer that is reached by messages: task bodies in, answers out, booked in between."""

from __future__ import annotations

import logging
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
