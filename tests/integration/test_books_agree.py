"""Any days of any hospital: the ledger balances, the parties' true books agree with ours, and whoever loses or changes
one row of theirs is found, in the right class. The seed is printed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from hub.recon.runs import Runs
from hub.recon.statements import take_statement
from routing.days import day_of
from routing.postings import Account
from schemas.money import fen_of, yuan_of
from schemas.payer import Operation
from schemas.statement import BreakClass, LineKind, StatementLine
from store import ledger
from store.database import open_engine
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    QUEUE_INSURER,
    QUEUE_RULE,
    StubPayer,
    declines,
    lost_after_effect,
    lost_before_effect,
    pays,
)
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.queue_insurer import an_answer, answer, tasks
from tests.support.seeds import chance_of, seeds
from tests.support.soundness import broken
from tests.support.true_books import DatedPayer, a_statement, hospital_lines

NOT_OURS = {"missing_at_hub", "status", "duplicate"}
"""Settled and undone at the payer while nobody here knew: only as a whole it comes to nothing."""
OPEN = text(
    "SELECT class, key, hub, payer_side, hospital, difference_fen FROM recon_break "
    "WHERE run_id = :run AND state = 'open' ORDER BY key"
)
Books = dict[tuple[str, date], list[StatementLine]]
CASES = 14
LIFE_S = 40_000
"""Between two things that happen, at most."""


def settles_nothing(payer: StubPayer, task: Mapping[str, Any]) -> bytes:
    """Declines a claim; an undo it never refuses, since that would be for people to end."""
    return (declines if task["operation"] == Operation.SETTLE else pays)(payer, task)


class World:
    """A hub that has lived some days, and every party's true books of them."""

    def __init__(self, hub: TestHub, database_url: str, chance: random.Random) -> None:
        self.hub = hub
        self.chance = chance
        self.engine = open_engine(database_url, by_key=False)
        self.runs = Runs(self.engine, hub.hub.books, hub.clock)
        self.cases: list[str] = []
        self.queue_lines: list[tuple[date, StatementLine]] = []
        self.answered: set[str] = set()
        self.undone: set[str] = set()
        self.insured: dict[str, int] = {}

    def live(self) -> None:
        """Settle, cancel, reverse, answer late, in any order; then let everything come to its end."""
        for number in range(1, CASES + 1):
            self._trouble()
            taken = self.hub.settle(f"S-{number}", total_fen=self.chance.randint(1_000, 9_000_000))
            assert taken.error is None
            self.cases.append(taken.case_id)
            self.hub.pump()
            for what in (self._cancel, self._reverse, self._answer, self._answer, self._wait):
                if self.chance.random() < 0.45:
                    what()
                    self.hub.pump()
        for _ in range(8):
            self.hub.let_pass(60.0)
            while self._answer():
                self.hub.pump()
        self.hub.clock.advance(3 * 86_400)

    def _trouble(self) -> None:
        for payer in self.hub.payers.values():
            if self.chance.random() < 0.4:
                payer.script.append(self.chance.choice([pays, settles_nothing, lost_after_effect, lost_before_effect]))

    def _any_number(self) -> str:
        return f"S-{self.chance.randint(1, len(self.cases))}"

    def _cancel(self) -> None:
        self.hub.cancel(self._any_number(), f"C-{self.hub.sent}")

    def _reverse(self) -> None:
        self.hub.reverse(self._any_number(), f"R-{self.hub.sent}")

    def _wait(self) -> None:
        self.hub.clock.advance(self.chance.randint(1, LIFE_S))
        self.hub.sweep()

    def _answer(self) -> bool:
        """The insurer that takes its tasks from a queue does one of them, in whatever order; False when there is none.

        Of what it has not settled it takes nothing back, and what it was told to take back it does not settle any more.
        """
        waiting = [task for task in tasks(self.hub) if task["request_id"] not in self.answered]
        if not waiting:
            return False
        task = self.chance.choice(waiting)
        self.answered.add(task["request_id"])
        undoes = task["operation"] in ("cancel", "reverse")
        original = task["original_request_id"] if undoes else task["request_id"]
        at = self.hub.clock.now()
        stands = self.insured.pop(original, 0) if undoes else 0
        if undoes:
            self.undone.add(original)
            fen, outcome = -stands, "cancelled"
        else:
            fen = 0 if original in self.undone else self.chance.randint(1, fen_of(task["left"]))
            outcome = "approved" if fen else "declined"
            self.insured[original] = fen
        answer(self.hub, an_answer(task, outcome, yuan_of(abs(fen)), decided_at=at.isoformat()))
        if fen:
            kind = LineKind.REFUND if undoes else LineKind.SETTLE
            line = StatementLine(kind=kind, institution=HOSPITAL, request_id=original, amount=fen, at=at)
            self.queue_lines.append((day_of(at), line))
        return True

    def books(self) -> Books:
        """Each party's true book, by day; an empty one where it did nothing."""
        found: Books = defaultdict(list)
        told = [one for case_id in self.cases for one in self.hub.answers(case_id)]
        written = {HOSPITAL: hospital_lines(told), QUEUE_INSURER: self.queue_lines}
        for code, payer in self.hub.payers.items():
            assert isinstance(payer, DatedPayer)
            written[code] = payer.lines(basic=code == BASIC)
        days = {day for lines in written.values() for day, _ in lines}
        for party, lines in written.items():
            for day in days:
                found[party, day] = [line for on, line in lines if on == day]
        return found

    def state(self, books: Books, *only: tuple[str, date]) -> None:
        """The parties send their statements."""
        hub = self.hub.hub
        for party, day in only or books:
            statement = a_statement(party, day, books[party, day])
            take_statement(
                hub.work_units,
                hub.books.active().book,
                statement,
                sha256=f"{self.chance.getrandbits(256):064x}",
                form="json",
                source="test",
                by=party,
                now=self.hub.clock.now(),
            )

    def is_ours(self, line: StatementLine) -> bool:
        """Whether the ledger has the settlement that the line is about."""
        if line.request_id is None:
            return True
        case, _, leg_no = line.request_id.rpartition("-")
        with self.engine.connect() as connection:
            booked = ledger.of_case(connection, str(UUID(case)))
        return any(str(one.leg_no) == leg_no for one in booked)

    def breaks(self, *only: tuple[str, date]) -> list[tuple[str, str, str]]:
        """Make runs; then (party, class, what it is) of everything found that does not explain itself: what belongs
        together lies on several days, and the last run of them sees it."""
        made = [(party, day, self.runs.run(party, "daily", day, "li").run_id) for party, day in only]
        with self.engine.connect() as connection:
            return [
                (party, row[0], f"{day} {row[1:]}")
                for party, day, run_id in made
                for row in connection.execute(OPEN, {"run": run_id})
            ]


@pytest.fixture(params=seeds(20261122, 7, soak=30))
def world(request: pytest.FixtureRequest, database_url: str) -> Iterator[World]:
    payers = {BASIC: DatedPayer(percent=60, account_fen=70, hospital_fen=11), CRITICAL: DatedPayer(percent=30)}
    rules = (BASIC_RULE, CRITICAL_RULE, QUEUE_RULE)
    with a_hub(database_url, *rules, payers=payers, running=False) as hub:
        for payer in payers.values():
            payer.now = hub.clock.now
        world = World(hub, database_url, chance_of(request.param))
        world.live()
        yield world
        world.engine.dispose()


def test_true_books_agree_and_one_wrong_row_is_found(world: World) -> None:
    assert broken(world.engine) == {}
    with world.engine.connect() as connection:
        for one in ledger.balances(connection, ["day"]):
            assert sum(one.balances.values()) == 0
        (whole,) = ledger.balances(connection)
        assert min(whole.balances[account] for account in (Account.PATIENT, Account.RECEIVABLE)) >= 0
    books = world.books()
    world.state(books)
    found = world.breaks(*books)
    assert not found, "\n".join(map(str, found))

    spoilt: Counter[BreakClass] = Counter()
    for _ in range(12):
        spoilt += _spoil(world, books)
    assert spoilt


def _spoil(world: World, books: Books) -> Counter[BreakClass]:
    """One row lost, doubled or one fen off, in one statement: exactly that is found, and nothing once it is right."""
    chance = world.chance
    at = chance.choice([key for key, lines in books.items() if lines])
    lines = books[at]
    index = chance.randrange(len(lines))
    line = lines[index]
    how = chance.choice(["lost", "doubled", "a fen off"])
    if how == "lost":
        wrong = lines[:index] + lines[index + 1 :]
    elif how == "doubled":
        wrong = [*lines, line]
    else:
        sign = 1 if line.kind is LineKind.SETTLE else -1
        wrong = [*lines[:index], line.model_copy(update={"amount": line.amount + sign}), *lines[index + 1 :]]
    world.state(books | {at: wrong}, at)
    ours = world.is_ours(line)
    # What was settled and undone while nobody here knew is judged over its days together.
    days = [at] if ours else [key for key in books if key[0] == at[0]]
    found = world.breaks(*days)
    world.state(books, at)
    assert world.breaks(*days) == []
    expected = _classes(how, at[0], line, lines) if ours else NOT_OURS
    classes = [name for _, name, _ in found]
    assert classes, f"{how} in {at}: {line} was not found"
    assert set(classes) <= expected, f"{how} in {at}: {line} was found as {found}"
    assert len(found) == 1 or not ours
    return Counter(map(BreakClass, classes))


def _classes(how: str, party: str, line: StatementLine, lines: list[StatementLine]) -> set[str]:
    if how != "lost":
        return {"duplicate"} if how == "doubled" else {"amount"}
    missing = {BASIC: "missing_at_basic", HOSPITAL: "missing_at_hospital"}.get(party, "missing_at_insurer")
    same = [one for one in lines if _key(one) == _key(line) and one is not line]
    if line.kind is LineKind.REFUND or any(one.kind is LineKind.REFUND for one in same):
        return {"status", missing, "amount"}
    return {missing, "amount"} if same else {missing}


def _key(line: StatementLine) -> str:
    return line.settlement_no or line.request_id or ""
