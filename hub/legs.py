"""The leg handler: claim in the database, call the payer outside any transaction, apply the answer.

Claims and answers are batched: what arrived together is one transaction, what was answered meanwhile is one. Calls run
on a bounded pool per payer, so a slow payer holds up nobody else. A command is acknowledged only after its answer is
stored; when the process dies in between, the command comes again and finds the leg claimed, that is, in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import orjson

from hub.applier import Applier
from hub.attempts import Attempt, Call
from hub.broker.transport import ACK, BatchHandler, Delivery, Verdict, dead, retry
from hub.call_pool import CallPool, Pool
from hub.calls import Payer, ask, ended
from hub.failpoints import failpoint
from hub.outcomes import Ending, Finished
from hub.ports import Clock
from hub.progress import advance_all
from hub.tasks import Requests
from hub.work import WorkUnits
from routing.states import CaseState, LegState
from store.exchanges import Exchange
from store.records import CaseRecord

CRASHED_AGAIN_S = 5.0


class Legs:
    """Handles the commands of every payer queue of this process."""

    def __init__(
        self,
        work_units: WorkUnits,
        clock: Clock,
        payers: Mapping[str, Payer],
        *,
        make_pool: Callable[[int, str], Pool] = CallPool,
        applier: Applier | None = None,
    ) -> None:
        self._work_units = work_units
        self._clock = clock
        self._payers = dict(payers)
        self._pools = {code: make_pool(payer.party.concurrency, f"call-{code}") for code, payer in self._payers.items()}
        self._requests = Requests(work_units.store.exchanges)
        self._under_way: dict[tuple[str, int], int] = {}
        """The legs that calls of this process are about, each in the version that the call was claimed with."""
        self._applier = applier or Applier(work_units, clock, self._payers)

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
        calls: list[Call] = []
        verdicts: dict[tuple[str, int], Verdict] = {}
        with self._work_units.begin("claim") as work:
            locked = work.store.cases.lock(work.connection, [case_id for case_id, _ in commands])
            requests = self._requests.of(work.connection, list(locked))
            outgoing: list[Exchange] = []
            for (case_id, leg_no), delivery in _in_order(commands, locked):
                case = locked.get(case_id)
                if case is None or not 1 <= leg_no <= len(case.legs):
                    continue
                under_way = self._under_way.get((case_id, leg_no))
                attempt = Attempt(work, case, case.leg(leg_no), requests[case_id], payer, now, under_way=under_way)
                begun = attempt.begin(outgoing, delivery)
                if isinstance(begun, Call):
                    calls.append(begun)
                else:
                    verdicts[case_id, leg_no] = begun
            work.store.exchanges.add(work.connection, outgoing)
            # Legs set aside because their time was up let the case move on; the others are where they were.
            advance_all(work, [case for case in locked.values() if _may_move_on(case)], now)
            work.store.cases.save(work.connection, locked.values())
        called = {call.about: locked[call.task.case_id].leg(call.task.leg_no).version for call in calls}
        for key, delivery in commands.items():
            if key not in called:
                delivery.settle(verdicts.get(key, ACK))
        pool = self._pools[payer.party.code]
        self._under_way |= called
        for call in calls:
            pool.submit(partial(self._call, payer, call, called[call.about]))

    def _call(self, payer: Payer, call: Call, version: int) -> None:
        try:
            self._applier.add(self._asked(payer, call), partial(self._ended, call, version))
        except BaseException as error:
            self._over(call, version)
            if isinstance(error, Exception):
                # A bug of ours: the command comes again and finds the leg claimed, that is, in doubt.
                call.delivery.settle(retry(CRASHED_AGAIN_S, "hub.bug"))
            raise

    def _asked(self, payer: Payer, call: Call) -> Finished:
        if call.due is not None and self._clock.now() >= call.due:
            return ended(call.task, call.attempt, Ending.NOT_SENT, "call.too_late")
        begun, asked_at = perf_counter(), self._clock.now()
        failpoint("call.before_send")
        finished = ask(payer.adapter, call.task, call.call, call.attempt, call.timeout_s)
        payer.gate.ended("" if finished.heard else finished.detail or finished.ending.value)
        failpoint("call.after_answer")
        return replace(finished, took_us=round((perf_counter() - begun) * 1_000_000), asked_at=asked_at)

    def _ended(self, call: Call, version: int, verdict: Verdict) -> None:
        self._over(call, version)
        call.delivery.settle(verdict)

    def _over(self, call: Call, version: int) -> None:
        """Forget the call, unless a later one about the same leg has begun meanwhile."""
        if self._under_way.get(call.about) == version:
            del self._under_way[call.about]


def _in_order(
    commands: Mapping[tuple[str, int], Delivery], cases: Mapping[str, CaseRecord]
) -> list[tuple[tuple[str, int], Delivery]]:
    """By institution, as their message numbers are drawn: two batches that draw wait for each other, never in a
    circle."""

    def institution(command: tuple[tuple[str, int], Delivery]) -> str:
        case = cases.get(command[0][0])
        return case.institution if case is not None else ""

    return sorted(commands.items(), key=institution)


def _may_move_on(case: CaseRecord) -> bool:
    """A leg was set aside instead of asked, or is in doubt while its case is being undone."""
    set_aside = {LegState.DEFERRED, LegState.CANCEL_HELD}
    if case.state is CaseState.CANCELLING:
        set_aside.add(LegState.IN_DOUBT)
    return any(leg.changed and leg.state in set_aside for leg in case.legs)


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
