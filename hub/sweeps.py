"""The sweeps: what a crash, a lost message or a passed deadline left lying is picked up here, a set at a time.

Several processes may sweep at once: each takes rows that nobody else holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog

from hub.answers import give_answers
from hub.broker.transport import OutboundMessage, Transport
from hub.failpoints import failpoint
from hub.ports import Clock
from hub.progress import FIRST_LOOK_S, UNDO_ANSWER_S, advance
from hub.routes import leg_command
from hub.work import Work, WorkUnits
from routing.states import AWAITING_PAYER, CaseState
from store.database import database_is_away
from store.outbox import StoredMessage
from store.records import CaseRecord

log = structlog.get_logger()

SWEEP_LIMIT = 200
LOOK_AGAIN_S = 30.0
OUTBOX_AGE_S = 2.0
OUTBOX_LEASE_S = 15.0


class CaseSweep:
    """Looks at cases whose `watch_at` has come: deadlines answered, lost commands sent again."""

    def __init__(self, work_units: WorkUnits, clock: Clock) -> None:
        self._work_units = work_units
        self._clock = clock

    def __call__(self) -> int:
        """One pass; the number of cases looked at."""
        try:
            return self._pass(SWEEP_LIMIT)
        except Exception as error:
            if database_is_away(error):
                raise
            # One of them cannot be moved: it must not keep the others from their deadlines.
            log.exception("case_sweep_split", error=type(error).__name__)
            return self._one_by_one()

    def _pass(self, limit: int) -> int:
        now = self._clock.now()
        with self._work_units.begin("sweep") as work:
            watched = work.store.cases.lock_watched(work.connection, now, limit)
            unheard = _undos_without_answer(work, watched.values(), now)
            due = [case for case in watched.values() if self._look(work, case, now) or case.case_id in unheard]
            give_answers(work, due, now)
            work.store.cases.save(work.connection, watched.values())
        return len(watched)

    def _one_by_one(self) -> int:
        looked = 0
        while looked < SWEEP_LIMIT:
            try:
                if self._pass(1) == 0:
                    break
            except Exception as error:
                if database_is_away(error):
                    raise
                log.exception("case_not_swept", case_id=self._set_back(), error=type(error).__name__)
            looked += 1
        return looked

    def _set_back(self) -> str:
        """Look at the first case again only after a while; which one it was."""
        now = self._clock.now()
        with self._work_units.begin("sweep") as work:
            watched = work.store.cases.lock_watched(work.connection, now, 1)
            for case in watched.values():
                case.watch(now + timedelta(seconds=LOOK_AGAIN_S))
            work.store.cases.save(work.connection, watched.values())
        return ", ".join(watched)

    def _look(self, work: Work, case: CaseRecord, now: datetime) -> bool:
        """True when the hospital must hear how the case stands."""
        if case.state not in (CaseState.OPEN, CaseState.CANCELLING):
            case.watch(None)
            return False
        deadline_passed = case.state is CaseState.OPEN and not case.overdue and now >= case.answer_by
        if deadline_passed:
            case.overdue = True
            case.changed = True
            log.warning("case_deadline_passed", case_id=case.case_id, institution=case.institution)
        moved = advance(work, case, now)
        if case.state not in (CaseState.OPEN, CaseState.CANCELLING):
            return moved
        self._ask_again(work, case)
        before_deadline = case.state is CaseState.OPEN and not case.overdue
        case.watch(
            min(case.answer_by, now + timedelta(seconds=FIRST_LOOK_S))
            if before_deadline
            else now + timedelta(seconds=LOOK_AGAIN_S)
        )
        return moved or (deadline_passed and case.revision == 0)

    @staticmethod
    def _ask_again(work: Work, case: CaseRecord) -> None:
        """Send the command of a leg that a payer may have heard; its handler knows what may be said, and when."""
        for leg in case.legs:
            if leg.state in AWAITING_PAYER:
                work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))


def _undos_without_answer(work: Work, watched: Iterable[CaseRecord], now: datetime) -> set[str]:
    """Cases whose undo takes its time, and nobody has told those who asked for it so yet."""
    undoing = [case.case_id for case in watched if case.state is CaseState.CANCELLING]
    if not undoing:
        return set()
    asked = work.store.answers.undos_of(work.connection, undoing)
    told = work.store.answers.latest(work.connection, undoing)
    patience = timedelta(seconds=UNDO_ANSWER_S)
    return {
        case_id
        for case_id, undos in asked.items()
        if any(
            now >= undo.asked_at + patience and (case_id not in told or told[case_id].answered_at < undo.asked_at)
            for undo in undos
        )
    }


class OutboxSweep:
    """Publishes outbox rows that the process which wrote them did not: it died, or the broker was away."""

    def __init__(self, work_units: WorkUnits, transport: Transport) -> None:
        self._work_units = work_units
        self._transport = transport

    def __call__(self) -> int:
        """One pass; the number of rows published again (under the same message id)."""
        self._work_units.flush_confirmed()
        if not self._transport.healthy():
            return 0
        with self._work_units.engine.begin() as connection:
            store = self._work_units.store.outbox
            stale = store.lease_stale(connection, OUTBOX_AGE_S, OUTBOX_LEASE_S, SWEEP_LIMIT)
        if stale:
            log.warning("outbox_rows_republished", count=len(stale))
            failpoint("outbox_sweep.before_publish")
            self._transport.publish([_message(stored) for stored in stale])
        return len(stale)


def _message(stored: StoredMessage) -> OutboundMessage:
    return OutboundMessage(
        message_id=stored.message_id,
        exchange=stored.exchange,
        routing_key=stored.routing_key,
        body=stored.body,
        type=stored.type,
        correlation_id=stored.correlation_id,
        content_type=stored.content_type,
        headers=stored.headers,
        region=stored.region,
        outbox_id=stored.outbox_id,
    )


class Every:
    """Runs a pass again and again on its own thread, at once while there is a full load of work.

    `first_s` is the pause before the first pass, where that is to be another one; `at_end` runs after the last.
    """

    def __init__(
        self,
        name: str,
        pause_s: float,
        run_pass: Callable[[], int],
        *,
        first_s: float | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._pause_s = pause_s
        self._first_s = pause_s if first_s is None else first_s
        self._run_pass = run_pass
        self._at_end = at_end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stop.wait(pause_s):
            try:
                done = self._run_pass()
                pause_s = 0.0 if done >= SWEEP_LIMIT else self._pause_s
            except Exception as error:  # a sweep must outlive every fault: say so and try again
                if database_is_away(error):
                    log.warning("database_away", what=self._name)
                else:
                    log.exception("sweep_failed", sweep=self._name, error=type(error).__name__)
                pause_s = max(self._pause_s, 1.0)
        if self._at_end is not None:
            self._at_end()
