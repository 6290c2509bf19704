"""The leg handler: claim in the database, call the payer outside any transaction, apply the answer.

Claims and answers are batched: what arrived together is one transaction, what was answered meanwhile is one. Calls run
on a bounded pool per payer, so a slow payer holds up nobody else. A command is acknowledged only after its answer is
stored; when the process dies in between, the command comes again and finds the leg claimed, that is, in doubt.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter

import orjson
import structlog

from hub.broker.transport import ACK, BatchHandler, Delivery, Verdict, VerdictKind, dead
from hub.call_pool import CallPool
from hub.failpoints import failpoint
from hub.outcomes import Ending, Finished, apply_outcome
from hub.ports import Clock, PayerAdapter
from hub.progress import advance_all
from hub.routes import party_message
from hub.tasks import Requests, cancel_task, claim_task
from hub.work import Work, WorkUnits
from routing.deadline import call_timeout_s
from routing.life import left_for
from routing.rulebook import Party
from routing.states import CaseState, LegEvent, LegState
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable
from schemas.payer import PayerTask, PreparedCall, RawAnswer
from schemas.settlement import SettlementRequest
from store import cases, exchanges
from store.database import database_is_away
from store.exchanges import Exchange
from store.records import CaseRecord, LegRecord

log = structlog.get_logger()

APPLY_BATCH_MAX = 256
AWAY_PAUSE_S = 0.5
_NO_ANSWER = RawAnswer(b"")


@dataclass(frozen=True, slots=True)
class Payer:
    """A party of the rule book with the adapter that speaks its language."""

    party: Party
    adapter: PayerAdapter


@dataclass(frozen=True, slots=True)
class _Call:
    """A claimed attempt on its way out: its request is committed."""

    task: PayerTask
    call: PreparedCall
    attempt: int
    timeout_s: float
    delivery: Delivery
    due: datetime | None
    """A first call that is still in the pool's queue by then is not begun: nobody waits for its answer any more."""


class Legs:
    """Handles the commands of every payer queue of this process."""

    def __init__(self, work_units: WorkUnits, clock: Clock, payers: Mapping[str, Payer]) -> None:
        self._work_units = work_units
        self._clock = clock
        self._payers = dict(payers)
        self._pools = {code: CallPool(payer.party.concurrency, f"call-{code}") for code, payer in self._payers.items()}
        self._requests = Requests()
        self._under_way: set[tuple[str, int]] = set()
        self._applier = Applier(work_units, clock, self._payers)

    def start(self) -> None:
        self._applier.start()

    def stop(self, timeout_s: float) -> None:
        """Wait for calls under way (their answers are applied), then end."""
        for pool in self._pools.values():
            pool.shutdown()
        self._applier.stop(timeout_s)
        for payer in self._payers.values():
            payer.adapter.close()

    def handler(self, payer_code: str) -> BatchHandler:
        """The handler of `payer.<code>`."""
        payer = self._payers[payer_code]
        return lambda batch: self._handle(payer, batch)

    def _handle(self, payer: Payer, batch: Sequence[Delivery]) -> None:
        commands = _read_commands(batch)
        if not commands:
            return
        now = self._clock.now()
        calls: list[_Call] = []
        with self._work_units.begin("claim") as work:
            locked = cases.lock(work.connection, [case_id for case_id, _ in commands])
            requests = self._requests.of(work.connection, list(locked))
            outgoing: list[Exchange] = []
            for (case_id, leg_no), delivery in commands.items():
                case = locked.get(case_id)
                if case is None or not 1 <= leg_no <= len(case.legs):
                    continue
                under_way = (case_id, leg_no) in self._under_way
                attempt = _Attempt(work, case, case.leg(leg_no), requests[case_id], payer, now, under_way=under_way)
                if call := attempt.begin(outgoing, delivery):
                    calls.append(call)
            exchanges.add(work.connection, outgoing)
            # Legs set aside because their time was up let the case move on; the others are where they were.
            advance_all(work, [case for case in locked.values() if _may_move_on(case)], now)
            cases.save(work.connection, locked.values())
        called = {(call.task.case_id, call.task.leg_no) for call in calls}
        for key, delivery in commands.items():
            if key not in called:
                delivery.settle(ACK)
        pool = self._pools[payer.party.code]
        self._under_way |= called
        for call in calls:
            pool.submit(partial(self._call, payer, call))

    def _call(self, payer: Payer, call: _Call) -> None:
        try:
            self._applier.add(self._asked(payer, call), partial(self._ended, call))
        except BaseException:
            self._under_way.discard((call.task.case_id, call.task.leg_no))
            raise

    def _asked(self, payer: Payer, call: _Call) -> Finished:
        if call.due is not None and self._clock.now() >= call.due:
            return _ended(call.task, call.attempt, Ending.NOT_SENT, "call.too_late")
        begun = perf_counter()
        failpoint("call.before_send")
        finished = ask(payer.adapter, call.task, call.call, call.attempt, call.timeout_s)
        failpoint("call.after_answer")
        return replace(finished, took_us=round((perf_counter() - begun) * 1_000_000))

    def _ended(self, call: _Call, verdict: Verdict) -> None:
        self._under_way.discard((call.task.case_id, call.task.leg_no))
        call.delivery.settle(verdict)


def _may_move_on(case: CaseRecord) -> bool:
    return case.state is CaseState.OPEN and any(leg.changed and leg.state is LegState.DEFERRED for leg in case.legs)


def _read_commands(batch: Sequence[Delivery]) -> dict[tuple[str, int], Delivery]:
    """One delivery per leg; a second command for the same leg in one batch has nothing to add."""
    commands: dict[tuple[str, int], Delivery] = {}
    for delivery in batch:
        try:
            content = orjson.loads(delivery.body)
            key = (str(content["case_id"]), int(content["leg_no"]))
        except (ValueError, KeyError, TypeError):
            delivery.settle(dead("leg.command_unreadable"))
            continue
        if key in commands:
            delivery.settle(ACK)
        else:
            commands[key] = delivery
    return commands


class _Attempt:
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

    def begin(self, outgoing: list[Exchange], delivery: Delivery) -> _Call | None:
        """The call to make after the commit; None when the leg needs none (any more)."""
        timeout_s = self._claim()
        if timeout_s is None:
            return None
        undo = self._leg.state is LegState.CANCELLING
        attempt = self._leg.undo_attempts if undo else self._leg.attempts
        if undo:
            task = cancel_task(self._case, self._leg, self._request)
        else:
            task = claim_task(self._case, self._leg, self._request, self._now + timedelta(seconds=timeout_s))
        prepared = self._payer.adapter.prepare(task)
        outgoing.append(self._sent(task, prepared, attempt))
        if self._payer.adapter.capabilities.by_queue:
            self._send_to_queue(task, prepared)
            return None
        due = self._now + timedelta(seconds=timeout_s) if self._leg.state is LegState.CLAIMED else None
        return _Call(task, prepared, attempt, timeout_s, delivery, due)

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


def ask(adapter: PayerAdapter, task: PayerTask, call: PreparedCall, attempt: int, timeout_s: float) -> Finished:
    """Call a payer and say how it ended. Never raises: whatever is not an explicit answer is a doubt."""
    try:
        answer = adapter.send(call, timeout_s)
    except Unavailable as error:
        return _ended(task, attempt, Ending.NOT_SENT, error.code)
    except OutcomeUnknown as error:
        return _ended(task, attempt, Ending.LOST, error.code)
    except Exception as error:  # a bug of ours after bytes may have left: keep the doubt, wake someone
        log.exception("payer_call_failed", payer=task.payer, case_id=task.case_id, error=type(error).__name__)
        return _ended(task, attempt, Ending.LOST, type(error).__name__)
    return read_answer(adapter, task, answer, attempt)


def read_answer(adapter: PayerAdapter, task: PayerTask, answer: RawAnswer, attempt: int) -> Finished:
    """Decode what a payer sent. Never raises: unreadable is a doubt, contradictory is held."""
    try:
        decision = adapter.decode(task, answer)
    except (Malformed, OutcomeUnknown) as error:
        return _ended(task, attempt, Ending.LOST, error.code, answer)
    except InvalidMessage as error:
        log.warning("payer_answer_held", payer=task.payer, case_id=task.case_id, code=error.code)
        return _ended(task, attempt, Ending.BROKEN, error.code, answer)
    except Exception as error:
        log.exception("payer_answer_unreadable", payer=task.payer, case_id=task.case_id, error=type(error).__name__)
        return _ended(task, attempt, Ending.LOST, type(error).__name__, answer)
    return replace(_ended(task, attempt, Ending.DECIDED, "", answer), decision=decision)


def _ended(task: PayerTask, attempt: int, ending: Ending, detail: str, answer: RawAnswer = _NO_ANSWER) -> Finished:
    return Finished(
        case_id=task.case_id,
        leg_no=task.leg_no,
        operation=task.operation,
        request_id=task.request_id,
        attempt=attempt,
        ending=ending,
        body=answer.body,
        status=answer.status,
        content_type=answer.content_type,
        detail=detail,
    )


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
                threading.Event().wait(AWAY_PAUSE_S)
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
            locked = cases.lock(work.connection, [finished.case_id for finished in batch])
            incoming = []
            for finished in batch:
                case = locked.get(finished.case_id)
                if case is None or not 1 <= finished.leg_no <= len(case.legs):
                    verdicts.append(dead("leg.unknown"))
                    continue
                leg = case.leg(finished.leg_no)
                can = self._payers[leg.payer].adapter.capabilities
                verdicts.append(apply_outcome(case, leg, finished, can, now))
                incoming.append(_received(case, leg, finished, now))
            exchanges.add(work.connection, incoming)
            # A case whose command comes again by itself must not be asked once more by us.
            resting = {
                finished.case_id
                for finished, verdict in zip(batch, verdicts, strict=True)
                if verdict.kind is VerdictKind.RETRY
                and locked[finished.case_id].leg(finished.leg_no).state is LegState.PLANNED
            }
            advance_all(work, [case for case in locked.values() if case.case_id not in resting], now)
            cases.save(work.connection, locked.values())
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
