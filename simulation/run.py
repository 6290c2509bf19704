"""Running one seed: plan, let it happen, heal, wait until quiet, prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any

import structlog

import hub.applier
import hub.intake
import hub.legs
import hub.routes
import hub.tasks
import hub.undo
from hub import failpoints
from hub.settings import Settings
from routing.states import CaseState
from schemas.base import read_message, read_message_and_content
from schemas.settlement import SettleRequest
from simulation.chaos import Chaos, Fault
from simulation.hospital import Visit
from simulation.invariants import Failure, at_rest, on_peoples_list
from simulation.loop import Died, Endless, Loop
from simulation.world import PAYERS, World
from store.coverage import person_key
from store.records import CaseRecord

PROCESSES = ("gateway-1", "engine-1", "adapters-1", "adapters-2", "relay-1")
TROUBLE_S = 140.0
"""Faults happen in this first part of a run; afterwards everything is healed."""
CLOCK_LOOK_S: float = Settings.model_fields["clock_look_s"].default
QUIET_WITHIN_S = 4 * 3600.0
STEP_S = 300.0
STILL_ON_ITS_WAY_S = 60.0
BUGS = ("hub.", "leg.answer_not_applied", "leg.unknown", "store.version_conflict")
"""Causes of dead letters that no fault of the world explains."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one seed."""

    seed: int
    cases: int
    faults: Counter[Fault]
    failures: list[Failure]
    doubts: Counter[str]
    resolved_s: float
    """The longest time, virtual, from a case's arrival to its rest."""
    answers: int
    injected: dict[str, Fault] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.failures)


def run_seed(
    seed: int,
    *,
    cases: int = 5,
    only: frozenset[int] | None = None,
    suppressed: frozenset[str] = frozenset(),
    excluded: frozenset[Fault] = frozenset(),
    trace: bool = False,
) -> Report:
    """Run one seed to its end. `only` keeps some of its cases, `suppressed` leaves out faults by name."""
    chaos = Chaos(seed, suppressed, excluded)
    world = World(chaos)
    world.loop.trace = [] if trace else None
    with _nothing_real(world):
        try:
            _happen(world, [number for number in range(1, cases + 1) if only is None or number in only])
            _prove(world)
        except Endless as error:
            world.watcher.fail("endless", str(error))
        finally:
            world.loop.close()
    return _report(seed, world)


def _happen(world: World, cases: list[int]) -> None:
    world.start(*PROCESSES)
    for number in cases:
        world.hospital.plan(number)
    _plan_trouble(world)
    world.loop.run_until(TROUBLE_S)
    _heal(world)
    end = world.loop.now + QUIET_WITHIN_S
    while world.loop.now < end:
        world.loop.run_until(world.loop.now + STEP_S)
        if all(at_rest(case) for case in world.watcher.cases()) and not world.database.tables["outbox"]:
            break
    # What is still under way (late words, last messages) comes to its end as well.
    world.loop.run_until(world.loop.now + STEP_S)


def _plan_trouble(world: World) -> None:
    chaos, loop = world.chaos, world.loop
    for name in PROCESSES:
        if chaos.happens(Fault.CRASH_IDLE, name):
            down_s = chaos.between(0.5, 30.0, "down", name)
            loop.at(chaos.between(0.0, 100.0, "crash at", name), world.kill, name, down_s)
        if chaos.happens(Fault.FREEZE, name):
            loop.at(chaos.between(0.0, 25.0, "freeze at", name), world.freeze, name, 90.0)
    if chaos.happens(Fault.CLOCK_JUMP):
        skew_s, at = chaos.choose((3600.0, -3600.0), "jump"), chaos.between(0.0, 60.0, "jump at")
        for name in PROCESSES:
            loop.at(at + chaos.between(0.0, CLOCK_LOOK_S, "looks at the clock", name), _jump, world, name, skew_s)
    if chaos.happens(Fault.STORE_AWAY):
        loop.at(chaos.between(0.0, 40.0, "away at"), _store_away, world, chaos.between(0.5, 40.0, "away for"))
    for code in PAYERS:
        if chaos.happens(Fault.DOWN, code):
            begin, for_s = chaos.between(0.0, 60.0, "down at", code), chaos.between(1.0, 100.0, "down for", code)
            loop.at(begin, _payer_down, world, code, for_s)


def _jump(world: World, name: str, skew_s: float) -> None:
    world.loop.note(name, f"the database's clock has jumped by {skew_s:+.0f} s")
    world.processes[name].skew_s = skew_s


def _store_away(world: World, for_s: float) -> None:
    world.loop.note("store", f"is away for {for_s:.1f} s")
    world.database.away_until = world.loop.now + for_s


def _payer_down(world: World, code: str, for_s: float) -> None:
    world.loop.note(code, f"is down for {for_s:.1f} s")
    world.payers[code].down_until = world.loop.now + for_s


def _heal(world: World) -> None:
    world.loop.note("world", "everything is healed")
    world.chaos.healed = True
    world.database.away_until = -1.0
    for process in world.processes.values():
        process.skew_s = 0.0


def _prove(world: World) -> None:
    watcher = world.watcher
    watcher.compare_books()
    for case in watcher.cases():
        name = f"case {case.case_id[-6:]} ({case.settlement_no})"
        if not at_rest(case):
            states = ", ".join(leg.state for leg in case.legs)
            watcher.fail("I5 open", f"{name} is {case.state} with {states}")
        given = world.database.tables["answers"].get(case.case_id)
        if not given:
            watcher.fail("I5 no answer", f"{name} was never answered")
    _prove_messages(world)
    _prove_hospital(world)


def _prove_messages(world: World) -> None:
    """I12 and I13: everything published is done, dead with a reason, or still on its way; no row is left behind."""
    watcher, broker = world.watcher, world.broker
    left = [row for row in world.database.tables["outbox"].values() if row[1] < world.loop.now - STILL_ON_ITS_WAY_S]
    if left:
        watcher.fail("I13 outbox", f"{len(left)} rows were never confirmed")
    for letter in broker.dead:
        if letter.cause.startswith(BUGS):
            watcher.fail("bug", f"a message of {letter.queue} died of {letter.cause} {letter.detail}")
    for bug in world.bugs:
        watcher.fail("bug", bug)


def _prove_hospital(world: World) -> None:
    """I1, I5, I10, I11: one case per number, an answer for everybody, the same for the same, undone what was undone."""
    cases = {(case.institution, case.case_key): case for case in world.watcher.cases()}
    died = {letter.message.message_id for letter in world.broker.dead}
    for visit in world.hospital.visits:
        _prove_answers(world, visit)
        if not visit.trial:
            _prove_number(world, visit, cases, died)


def _prove_answers(world: World, visit: Visit) -> None:
    watcher, number = world.watcher, visit.settlement_no
    given: dict[tuple[str, int], dict[str, Any]] = {}
    contents = set()
    for said in visit.said:
        # Answers about another number belong to a message that used an id of this one.
        for answer in (one for one in said.answers if one["settlement_no"] == number):
            key = (answer["case_id"], answer["revision"])
            if said.transaction == "settlement.settle" and not said.refused:
                contents.add(said.body)
            if said.transaction != "case.query" and given.setdefault(key, answer) != answer:
                watcher.fail("I10 answer differs", f"{number} got two answers of revision {key[1]}")
    if len({case_id for case_id, _ in given}) > 1 and not visit.trial:
        watcher.fail("I1 two cases", f"{number} has more than one case")
    if len(contents) > 1:
        watcher.fail("I10 other content", f"{number} was settled with two contents")


def _prove_number(
    world: World, visit: Visit, cases: Mapping[tuple[str, str], CaseRecord], died: Collection[str]
) -> None:
    watcher, number = world.watcher, visit.settlement_no
    case = cases.get((visit.institution, number))
    both = case is not None and visit.reused is not None and (visit.institution, f"T-{visit.number}") in cases
    if both and any(one.request_id == visit.first.message_id for one in world.evidence_of(case.case_id)):  # type: ignore[union-attr]
        watcher.fail("I12 id reused", f"one message id made both {number} and T-{visit.number}")
    undone = case is None or case.state is CaseState.CANCELLED or any(map(on_peoples_list, case.legs))
    for said in visit.said:
        if not said.accepted or said.message_id in died:
            continue
        settles = said.transaction == "settlement.settle"
        if settles and not said.refused and case is None:
            watcher.fail("I5 lost", f"{number} was accepted and is not there")
        if said.transaction == "settlement.reverse":
            if said.refused:
                watcher.fail("I11 no tombstone", f"the reversal of {number} was refused: {said.refused}")
            elif not undone:
                watcher.fail("I11 not undone", f"{number} was reversed and its case is not cancelled")
    heard = any(said.answers for said in visit.said)
    if visit.by_queue and case is not None and visit.first.accepted and not heard and not visit.first.refused:
        watcher.fail("I5 unanswered", f"{number} was accepted and nobody was answered")


def _report(seed: int, world: World) -> Report:
    doubts: Counter[str] = Counter()
    for case in world.watcher.cases():
        doubts.update(f"{leg.state} {leg.reason_code}".strip() for leg in case.legs if on_peoples_list(leg))
    return Report(
        seed,
        len(world.database.tables["cases"]),
        world.chaos.counts,
        world.watcher.failures,
        doubts,
        world.watcher.resolved_s,
        world.watcher.answers,
        world.chaos.injected,
        world.loop.trace or [],
    )


_read_message = lru_cache(maxsize=4096)(read_message)
_read_message_and_content = lru_cache(maxsize=4096)(read_message_and_content)
_settle_request = lru_cache(maxsize=4096)(SettleRequest.model_validate_json)
_person_key = lru_cache(maxsize=64)(person_key)


@contextmanager
def _nothing_real(world: World) -> Iterator[None]:
    """Ids, pauses and measured times come from the run; failpoints kill its processes; logs are silent."""
    loop, chaos = world.loop, world.chaos
    numbers = count(1)

    def an_id() -> str:
        number = next(numbers)
        return f"01900000-0000-7000-8000-{number:012x}"

    replaced: list[tuple[Any, str, Any]] = [
        (hub.routes, "uuid_utils", SimpleNamespace(uuid7=an_id)),
        (hub.applier, "time", SimpleNamespace(sleep=loop.sleep)),
        (hub.legs, "perf_counter", lambda: loop.now),
        # Frozen values read from the same bytes again and again, in run after run: reading them was half of the work.
        (hub.intake, "read_message_and_content", _read_message_and_content),
        (hub.undo, "read_message_and_content", _read_message_and_content),
        (hub.undo, "read_message", _read_message),
        (hub.intake, "person_key", _person_key),
        (hub.tasks, "SettleRequest", SimpleNamespace(model_validate_json=_settle_request)),
    ]
    kept = [getattr(module, name) for module, name, _ in replaced]
    config = structlog.get_config()
    for module, name, replacement in replaced:
        setattr(module, name, replacement)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    failpoints.watch(lambda name: _passed(world, loop, chaos, name))
    try:
        yield
    finally:
        failpoints.watch(None)
        structlog.configure(**config)
        for (module, name, _), real in zip(replaced, kept, strict=True):
            setattr(module, name, real)


def _passed(world: World, loop: Loop, chaos: Chaos, point: str) -> None:
    process = loop.current
    if process is None or not process.alive:
        return
    if chaos.happens(Fault.CRASH, process.name, point):
        loop.note(process.name, f"dies at {point}")
        world.kill(process.name, chaos.between(0.2, 20.0, "restart", process.name))
        raise Died
