"""Storing what payers answered: everything that came back meanwhile in one transaction, and the case moved on in it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog

from hub.broker.transport import Verdict, VerdictKind, dead
from hub.calls import Payer
from hub.outcomes import Asked, Finished, apply_outcome
from hub.ports import Clock
from hub.progress import advance_all
from hub.routes import leg_command
from hub.work import WorkUnits
from routing.states import UNDOING, LegState
from store.database import database_is_away
from store.exchanges import Exchange
from store.records import CaseRecord, LegRecord

log = structlog.get_logger()

APPLY_BATCH_MAX = 256
AWAY_PAUSE_S = 0.5

Settle = Callable[[Verdict], None]


class Applier:
    """Stores what payers answered: everything that came back meanwhile in one transaction."""

    def __init__(self, work_units: WorkUnits, clock: Clock, payers: Mapping[str, Payer]) -> None:
        self._work_units = work_units
        self._clock = clock
        self._payers = payers
        self._waiting: deque[tuple[Finished, Settle]] = deque()
        self._arrived = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="apply-answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Apply what is waiting, then end."""
        self._stopping = True
        self._arrived.set()
        self._thread.join(timeout_s)

    def add(self, finished: Finished, settle: Settle) -> None:
        """Hand over a finished call; `settle` ends its command once the answer is stored."""
        self._waiting.append((finished, settle))
        self._arrived.set()

    def _run(self) -> None:
        while not (self._stopping and not self._waiting):
            self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), APPLY_BATCH_MAX))]
                self._apply_surely(batch)

    def _apply_surely(self, batch: Sequence[tuple[Finished, Settle]]) -> None:
        """Apply a batch; split it when one of it is a culprit, wait when the database is away."""
        try:
            verdicts = self.apply([finished for finished, _ in batch])
        except Exception as error:
            if database_is_away(error):
                log.warning("database_away", what="apply answers", waiting=len(batch))
                time.sleep(AWAY_PAUSE_S)
                self._waiting.extendleft(reversed(batch))
                self._arrived.set()
            elif len(batch) > 1:
                middle = len(batch) // 2
                self._apply_surely(batch[:middle])
                self._apply_surely(batch[middle:])
            else:
                log.exception("answer_not_applied", case_id=batch[0][0].case_id, error=type(error).__name__)
                batch[0][1](dead("leg.answer_not_applied", type(error).__name__))
            return
        for (_, settle), verdict in zip(batch, verdicts, strict=True):
            settle(verdict)

    def apply(self, batch: Sequence[Finished]) -> list[Verdict]:
        """Apply answers in one transaction; the verdict for each one's command."""
        now = self._clock.now()
        verdicts: list[Verdict] = []
        with self._work_units.begin("apply") as work:
            locked = work.store.cases.lock(work.connection, [finished.case_id for finished in batch])
            incoming = []
            for finished in batch:
                case = locked.get(finished.case_id)
                if case is None or not 1 <= finished.leg_no <= len(case.legs):
                    verdicts.append(dead("leg.unknown"))
                    continue
                leg = case.leg(finished.leg_no)
                payer = self._payers[leg.payer]
                before = leg.state
                verdicts.append(apply_outcome(case, leg, finished, Asked(payer.party, payer.can), now))
                incoming.append(_received(case, leg, finished, now))
                if leg.state is not before and leg.state in UNDOING:
                    work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))
            work.store.exchanges.add(work.connection, incoming)
            # A case whose command comes again by itself must not be asked once more by us.
            resting = {
                finished.case_id
                for finished, verdict in zip(batch, verdicts, strict=True)
                if verdict.kind is VerdictKind.RETRY
                and locked[finished.case_id].leg(finished.leg_no).state is LegState.PLANNED
            }
            advance_all(work, [case for case in locked.values() if case.case_id not in resting], now)
            work.store.cases.save(work.connection, locked.values())
        return verdicts


def _received(case: CaseRecord, leg: LegRecord, finished: Finished, now: datetime) -> Exchange:
    decision = finished.decision
    return Exchange(
        region=case.region,
        case_id=case.case_id,
        leg_no=leg.leg_no,
        party=leg.payer,
        direction="in",
        operation=finished.operation.value,
        request_id=finished.request_id,
        attempt=finished.attempt,
        body=finished.body,
        at=now,
        status=finished.status,
        took_us=finished.took_us,
        outcome=decision.outcome.value if decision is not None else finished.ending.value,
        content_type=finished.content_type,
    )
