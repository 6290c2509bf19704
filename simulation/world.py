"""One run's world: the hub's processes as `hub.bootstrap` wires them, between what is simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from hub.applier import APPLY_BATCH_MAX, Applier
from hub.books import ActiveBook, RuleBooks
from hub.broker.topology import ANSWERS, INTAKE, Party, payer_queue, topology
from hub.broker.transport import Subscription, Verdict
from hub.calls import Payer as AskedPayer
from hub.claims import ClaimAnswers
from hub.desk import Desk
from hub.engine import Engine as MessageEngine
from hub.gate import Gate
from hub.gateway.intake import SureIntake
from hub.inbound import Inbound, Taken
from hub.intake import Intake
from hub.legs import Legs
from hub.outcomes import Finished
from hub.routes import HINT_PREFIX
from hub.stores import Stores
from hub.sweeps import CaseSweep, OutboxSweep
from hub.undo import Queries, Undo
from hub.work import WorkUnits
from routing.rulebook import RuleBook
from schemas.payer import Capabilities
from schemas.transactions import Transaction
from simulation.broker import Broker, SimTransport
from simulation.chaos import Chaos, Fault
from simulation.hospital import BY_HTTP, BY_QUEUE, REGION, Hospital, Said, Visit
from simulation.invariants import Watcher
from simulation.loop import Loop, Parking, Process
from simulation.memory import Database, MemoryEngine, Tables
from simulation.payers import WINDOW_S, Payer, SimAdapter, answer_message
from simulation.stores import CASE_WATCH, memory_stores
from store.database import database_is_away
from store.exchanges import Exchange

BASIC, CRITICAL, FIRST, SECOND, QUEUED = "BASIC-440300", "CICI", "PINGHE", "YUEAN", "QIANHAI"
PAYERS = (BASIC, CRITICAL, FIRST, SECOND, QUEUED)
TIMEOUT_S = 3.0
DEADLINE_S = 15.0
POLL_S = 2.0
ANSWER_WAIT_S = DEADLINE_S + 1.0
CAPABILITIES = (
    Capabilities(idempotent_submit=True, inquiry=True, reversal=True),
    Capabilities(idempotent_submit=True),
    Capabilities(idempotent_submit=True, reversal=True),
    Capabilities(inquiry=True, reversal=True),
    Capabilities(inquiry=True),
    Capabilities(inquiry=True),
    Capabilities(inquiry=True, cancel=False),
    Capabilities(reversal=True),
    Capabilities(),
)
BY_QUEUE_CAPABILITIES = (
    Capabilities(idempotent_submit=True, by_queue=True),
    Capabilities(idempotent_submit=True, reversal=True, by_queue=True),
)
PERSON_SECRET = b"simulated"


@cache
def rule_book(late_approval: str, independent: bool) -> RuleBook:
    """Basic, then critical illness, then two coinsurers, then an insurer with a queue."""

    def party(code: str) -> dict[str, Any]:
        return {
            "code": code,
            "kind": "basic" if code == BASIC else "insurer",
            "name": {"zh": code, "en": code},
            "adapter": "simulated",
            "timeout_s": str(TIMEOUT_S),
            "settle_window_s": str(WINDOW_S),
            "late_approval": late_approval,
        }

    def rule(id_: str, layer: str, *payers: str, **more: object) -> dict[str, Any]:
        return {
            "id": id_,
            "layer": layer,
            "product": id_,
            "payers": [{"party": payer} for payer in payers],
            "valid_from": "2020-01-01",
            "reason": {"zh": id_, "en": id_},
        } | more

    institutions = [
        {"code": BY_QUEUE, "name": "一", "region": REGION, "amqp": True, "deadline_s": str(DEADLINE_S)},
        {"code": BY_HTTP, "name": "二", "region": REGION, "deadline_s": str(DEADLINE_S)},
    ]
    rules = [
        rule("basic", "basic", BASIC),
        rule("critical", "critical_illness", CRITICAL, when={"total_min": "100.00"}),
        rule("coinsured", "supplementary", FIRST, SECOND, when={"total_min": "500.00"}),
        rule("queued", "commercial", QUEUED, independent=independent),
    ]
    content = {"title": "t", "parties": [party(code) for code in PAYERS], "institutions": institutions, "rules": rules}
    return RuleBook.model_validate(content)


class FixedBooks(RuleBooks):
    """One rule book that is always in force."""

    def __init__(self, book: RuleBook) -> None:
        self._active = ActiveBook(1, book)

    def refresh(self) -> ActiveBook:
        assert self._active is not None
        return self._active

    def version(self, number: int) -> RuleBook:
        return self.refresh().book


class TaskPool:
    """Runs a payer's calls as tasks, a bounded number at once."""

    def __init__(self, loop: Loop, process: Process, size: int) -> None:
        self._loop = loop
        self._process = process
        self._free = size
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, call: Callable[[], None]) -> None:
        self._waiting.append(call)
        self._next()

    def _next(self) -> None:
        if self._free and self._waiting:
            self._free -= 1
            self._loop.spawn(self._process, self._run, self._waiting.popleft())

    def _run(self, call: Callable[[], None]) -> None:
        call()
        self._free += 1
        self._next()

    def shutdown(self) -> None:
        """Tasks end with their process."""


class TaskApplier(Applier):
    """The applier as a task that runs while answers wait."""

    def __init__(self, loop: Loop, process: Process, *parts: Any) -> None:
        super().__init__(*parts)
        self._loop = loop
        self._process = process
        self._running = False

    def start(self) -> None:
        """Begins with the first answer."""

    def stop(self, timeout_s: float) -> None:
        """Ends with its process."""

    def add(self, finished: Finished, settle: Callable[[Verdict], None]) -> None:
        self._waiting.append((finished, settle))
        if not self._running:
            self._running = True
            self._loop.spawn(self._process, self._drain)

    def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), APPLY_BATCH_MAX))]
            self._apply_surely(batch)
        self._running = False


class World:
    """Everything of one run."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.loop = Loop()
        self.database = Database(self.loop, chaos)
        self.watcher = Watcher(self.database)
        self.stores: Stores = memory_stores()
        late = "reverse" if chaos.number("late_approval") < 0.4 else "keep"
        self.watcher.late_approval_reverses = late == "reverse"
        self.book = rule_book(late, chaos.number("independent") < 0.3)
        self.payers = {code: self._payer(code) for code in PAYERS}
        self.watcher.payers = self.payers
        by_queue = {code for code, payer in self.payers.items() if payer.can.by_queue}
        parties = [Party(BY_QUEUE, "hospital", reads_out=True)]
        for code in PAYERS:
            kind = "queue_insurer" if code in by_queue else "payer"
            parties.append(Party(code, kind, reads_out=code in by_queue))  # type: ignore[arg-type]
        self.broker = Broker(self.loop, chaos, _topology(tuple(parties)))
        self.hospital = Hospital(self.loop, chaos, self.broker.publish, self._call)
        self.broker.outside[f"out.{BY_QUEUE}"] = self.hospital.answered
        for code in by_queue:
            self.broker.outside[f"out.{code}"] = self.payers[code].take
        self._answers = 0
        self.processes: dict[str, Process] = {}
        self.bugs: list[str] = []
        self._gateways: dict[str, tuple[SureIntake, WorkUnits]] = {}
        self._relays: dict[str, tuple[CaseSweep, OutboxSweep]] = {}
        self._ticks: dict[tuple[str, str, int], float] = {}
        self._flushes: dict[str, WorkUnits] = {}
        self.database.observers.append(self._wake_sweeps)

    def _payer(self, code: str) -> Payer:
        chaos = self.chaos
        among = BY_QUEUE_CAPABILITIES if code == QUEUED else CAPABILITIES
        can = chaos.choose(among, "capabilities", code)
        percent = chaos.choose((60, 30, 100, 10), "percent", code)
        return Payer(code, can, percent, TIMEOUT_S, self.loop, chaos, self.watcher, self._say)

    def _say(self, party: str, body: bytes) -> None:
        """A payer's answer to the broker, again until it is confirmed."""
        self._answers += 1
        message = answer_message(party, body, self._answers)
        done = [False]

        def confirm() -> None:
            done[0] = True

        def attempt() -> None:
            if not done[0]:
                self.broker.publish(message, confirm)
                self.loop.after(5.0, attempt)

        attempt()

    # Processes.

    def start(self, *names: str) -> None:
        for name in names:
            self.processes[name] = Process(self.loop, name)
            self.boot(name)

    def boot(self, name: str) -> None:
        """A new life of this process: memory empty, everything wired anew."""
        process = self.processes[name]
        if process.alive:
            return
        process.alive = True
        process.incarnation += 1
        self.loop.note(name, "starts")
        transport = SimTransport(self.broker, process, lambda: self._flush_soon(process))
        engine: Any = MemoryEngine(self.database, process)
        work_units = WorkUnits(engine, transport, store=self.stores)
        self._flushes[name] = work_units
        books = FixedBooks(self.book)
        payers = {code: self._asked(code) for code in PAYERS}
        applier = TaskApplier(self.loop, process, work_units, process, payers)
        kind = name.partition("-")[0]
        if kind in ("gateway", "engine"):
            desk = Desk(
                Intake(work_units, books, process, PERSON_SECRET),
                Undo(work_units, books, process),
                Queries(work_units, books, process),
                ClaimAnswers(work_units, payers, applier),
            )
            if kind == "gateway":
                self._gateways[name] = (SureIntake(desk.take), work_units)
            else:
                messages = MessageEngine(work_units, books, process, desk)
                for queue in (INTAKE, ANSWERS):
                    transport.subscribe(Subscription(queue, messages.handle))
        elif kind == "adapters":
            legs = Legs(
                work_units,
                process,
                payers,
                make_pool=lambda size, _name: TaskPool(self.loop, process, size),
                applier=applier,
            )
            for code in PAYERS:
                transport.subscribe(Subscription(payer_queue(code), legs.handler(code)))
        else:
            self._relays[name] = (CaseSweep(work_units, process), OutboxSweep(work_units, transport))
            self._tick("cases", name, 0.3)
            self._tick("outbox", name, 0.5)

    def _asked(self, code: str) -> AskedPayer:
        payer = self.payers[code]
        gate = Gate(self.book.party_by_code[code], by_queue=payer.can.by_queue, monotonic=lambda: self.loop.now)
        return AskedPayer(self.book.party_by_code[code], SimAdapter(payer), gate)

    def kill(self, name: str, down_s: float) -> None:
        """SIGKILL, and a new start after a while."""
        process = self.processes[name]
        if not process.alive:
            return
        self.loop.note(name, f"is killed, back in {down_s:.1f} s")
        self.loop.kill(process)
        self.broker.disconnect(process)
        self.loop.after(down_s, self.boot, name)

    def freeze(self, name: str, for_s: float) -> None:
        """SIGSTOP: after a while server and broker give up on it, and others take over."""
        process = self.processes[name]
        if not process.alive or process.frozen:
            return
        self.loop.note(name, f"freezes for {for_s:.0f} s")
        self.loop.freeze(process)
        incarnation = process.incarnation
        held = dict.fromkeys(one for one in self.database.locks.values() if one.process is process)
        for transaction in held:
            self.loop.after(10.5, transaction.end_if_idle)
        lost: list[Subscription] = []

        def give_up() -> None:
            if process.frozen and process.incarnation == incarnation:
                lost.extend(self.broker.disconnect(process))

        def wake() -> None:
            if process.alive and process.incarnation == incarnation:
                self.loop.note(name, "wakes")
                self.loop.thaw(process)
                for subscription in lost:
                    self.broker.subscribe(process, subscription)

        self.loop.after(20.0, give_up)
        self.loop.after(for_s, wake)

    # What threads do in a process of its own.

    def _flush_soon(self, process: Process) -> None:
        self.loop.after(0.5, self._flush, process, process.incarnation)

    def _flush(self, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation:
            self.loop.spawn(process, self._surely, self._flushes[process.name].flush_confirmed)

    def _surely(self, run: Callable[[], object]) -> None:
        """A pass as `Every` runs it."""
        try:
            run()
        except Exception as error:  # noqa: BLE001 - as the real loop does: say so and go on
            if not database_is_away(error):
                self.bugs.append(f"{type(error).__name__}: {error}")

    def _wake_sweeps(self, _tables: Tables, writes: Tables) -> None:
        moments = [row[CASE_WATCH] for row in writes.get("cases", {}).values() if row[CASE_WATCH] is not None]
        for name in self._relays:
            process = self.processes[name]
            if moments:
                wait_s = (min(moments) - process.now()).total_seconds()
                self._tick("cases", name, max(wait_s, 0.0) + 0.2)
            if writes.get("outbox"):
                self._tick("outbox", name, 2.2)

    def _tick(self, what: str, name: str, delay_s: float) -> None:
        """Let a sweep of this relay look then, unless it looks earlier anyway."""
        process = self.processes[name]
        when = self.loop.now + delay_s
        key = (what, name, process.incarnation)
        if process.alive and self._ticks.get(key, when + 1) > when:
            self._ticks[key] = when
            self.loop.at(when, self._look, key, when)

    def _look(self, key: tuple[str, str, int], when: float) -> None:
        what, name, incarnation = key
        process = self.processes[name]
        if self._ticks.get(key) != when or not process.alive or process.incarnation != incarnation:
            return
        del self._ticks[key]
        wait_s = self._cases_wait_s(process) if what == "cases" else self._outbox_waits_s()
        if wait_s is None:
            return
        if wait_s > 0:
            # Not longer than a while: the clock may be set forward meanwhile.
            self._tick(what, name, min(wait_s + 0.01, 30.0))
        else:
            self.loop.spawn(process, self._sweep, what, name)

    def _sweep(self, what: str, name: str) -> None:
        cases, outbox = self._relays[name]
        self._surely(cases if what == "cases" else outbox)
        self._tick(what, name, 0.2 if what == "cases" else 1.0)

    def _cases_wait_s(self, process: Process) -> float | None:
        watched = [row[CASE_WATCH] for row in self.database.tables["cases"].values() if row[CASE_WATCH] is not None]
        return (min(watched) - process.now()).total_seconds() if watched else None

    def _outbox_waits_s(self) -> float | None:
        rows = self.database.tables["outbox"].values()
        return min(max(row[1] + 2.0, row[2]) for row in rows) - self.loop.now if rows else None

    def evidence_of(self, case_id: str) -> list[Exchange]:
        """Every message that is kept about a case."""
        return [one for one in self.database.tables["exchanges"].values() if one.case_id == case_id]

    # HTTP.

    def _call(self, visit: Visit, said: Said, heard: Callable[[bool], None]) -> None:
        """One HTTP request of a hospital to a gateway that lives; `heard` says whether it got a usable answer."""
        names = [name for name in self._gateways if self.processes[name].alive]
        over = [False]

        def once(usable: bool) -> None:
            if not over[0]:
                over[0] = True
                heard(usable)

        self.loop.after(ANSWER_WAIT_S + 4.0, once, False)
        if not names:
            self.loop.after(0.1, once, False)
            return
        name = self.chaos.choose(names, "gateway", said.message_id)
        gone = self.chaos.happens(Fault.CALLER_GONE, said.message_id)
        self.loop.spawn(self.processes[name], self._answer_call, name, visit, said, (lambda _: None) if gone else once)

    def _answer_call(self, name: str, visit: Visit, said: Said, heard: Callable[[bool], None]) -> None:
        take, work_units = self._gateways[name]
        process = self.processes[name]
        parking = Parking(self.loop)
        inbound = Inbound(
            transaction=Transaction(said.transaction),
            party=visit.institution,
            message_id=said.message_id,
            body=said.body,
            reply_to=f"{HINT_PREFIX}{name}",
            received_at=process.now(),
            correlation_id=said.message_id,
        )
        taken = take([inbound])[0]
        if isinstance(taken, Exception):
            heard(False)
            return
        if taken.error is not None:
            said.refused = said.refused or taken.error.code
            heard(True)
            return
        said.accepted = True
        said.case_id = taken.case_id
        body = taken.answer or self._wait_for_answer(work_units, taken, said, parking)
        if body is not None:
            said.answers.append(self.watcher.adds_up(body))
        heard(True)

    def _wait_for_answer(self, work_units: WorkUnits, taken: Taken, said: Said, parking: Parking) -> bytes | None:
        undo = said.transaction in ("settlement.cancel", "settlement.reverse")
        until = self.loop.now + ANSWER_WAIT_S
        while self.loop.now < until:
            try:
                with work_units.read() as connection:
                    given = work_units.store.answers.latest(connection, [taken.case_id]).get(taken.case_id)
            except Exception as error:
                if not database_is_away(error):
                    raise
                given = None
            if given is not None and (not undo or b'"status":"cancelled"' in given.body):
                return given.body
            self.loop.sleep(POLL_S)
        return None


@cache
def _topology(parties: tuple[Party, ...]) -> Any:
    return topology(parties)
