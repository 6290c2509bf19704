"""Continuous reconciliation: one pass an hour, so that yesterday has no breaks that today could have ended.

Each pass asks about doubts, lays the running day beside the books of payers that tell them, and makes the comparisons
whose day has come. Between the passes it only looks at what waits for people, which becomes incidents. Any number of
relays may do this: one of them makes each pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, Engine

from hub.books import RuleBooks
from hub.calls import Payer
from hub.payer_control import ALIVE
from hub.ports import Clock
from hub.recon.continuous_asking import ask_again
from hub.recon.continuous_day import MARGIN, LinesOf, Looked
from hub.recon.continuous_due import Due, due_now
from hub.recon.continuous_payers import BY, Asking, Fetched, for_itself
from hub.recon.pulling_patience import Patience
from hub.recon.pulling_together import AT_ONCE, Puller, side_by_side
from hub.watch import this_process
from hub.work import WorkUnits
from routing.breaker import BreakerState
from routing.days import day_of
from routing.rulebook import RuleBook
from store import breaks, corrections, incidents, matching, recon_watch
from store import payers as payer_store
from store.incidents import Found

log = structlog.get_logger()

LOOK_PAUSE_S = 60.0
FIRST_S = 300.0
"""A hub that has just started has its backlog to work off first."""
LATE_S = 600.0
BUDGET_S = 1800.0
FAILED_DAYS = 31
LOOK, PASS = "recon.look", "recon.pass"
LATE, OPEN, FAILED = "recon.statement_late", "recon.breaks_open", "recon.run_failed"
LEFT = "recon.correction_left"


class RunMaker(Protocol):
    """Compares one party's books of one day; Conflict when that is being done or is signed off."""

    def run(self, party: str, scheme_code: str, day: date, by: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What a pass works with. `engine` is one for reports; the payers' adapters are this process's own."""

    engine: Engine
    work_units: WorkUnits
    books: RuleBooks
    clock: Clock
    payers: Mapping[str, Payer]
    runs: RunMaker
    puller: Puller
    lines_of: LinesOf
    margin: timedelta = MARGIN
    """What was booked so shortly before a payer is asked is not compared yet."""
    budget_s: float = BUDGET_S
    """How long a pass waits for payers, all in all."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass came to: legs asked about, comparisons made, differences of the running day."""

    asked: int
    runs: int
    differences: int


class Continuous:
    """One look when called; with it the pass, when an hour has gone and nobody else makes it."""

    def __init__(self, means: Means, *, every_s: float, look_pause_s: float = LOOK_PAUSE_S) -> None:
        self._means = means
        self._every_s = every_s
        self._look_pause_s = look_pause_s

    def __call__(self) -> int:
        """One look; 1 when it was a pass."""
        now = self._means.clock.now()
        if self._take(LOOK, self._look_pause_s, now):
            with self._means.work_units.engine.begin() as connection:
                tell(connection, now)
        with recon_watch.only_one(self._means.work_units.engine, PASS) as mine:
            if not mine or not self._take(PASS, self._every_s, now):
                return 0
            self.make_pass()
        return 1

    def _take(self, name: str, every_s: float, now: datetime) -> bool:
        with self._means.work_units.engine.begin() as connection:
            mine = incidents.take_pass(
                connection, name, this_process(), now, pause_s=0.95 * every_s, late_s=every_s + LATE_S
            )
        return mine is not None

    def make_pass(self) -> Passed:
        """Everything at once, each part for itself: what fails for one party is no reason to leave out the next."""
        means = self._means
        asked = ask_again(means.work_units, means.payers, means.clock.now())
        made = _Made()
        self._ask_payers(means.books.active().book, made)
        with means.engine.begin() as connection:
            matching.prepare(connection)
            breaks.follow(connection, means.clock.now())
            tell(connection, means.clock.now())
        log.info("recon_pass", asked=asked, differences=made.differences, runs=made.runs)
        return Passed(asked, made.runs, made.differences)

    def _ask_payers(self, book: RuleBook, made: _Made) -> None:
        """Payers are asked side by side, and compared as soon as they have been heard; the others meanwhile."""
        means = self._means
        now = means.clock.now()
        work = due_now(means.engine, book, now)
        asking = Asking(means, book, self._down(now), Patience(until=time.monotonic() + means.budget_s))
        turn = int(now.timestamp() // self._every_s)
        with side_by_side(asking.tasks([due for due in work.runs if due.pull], turn), AT_ONCE) as given:
            for due in work.runs:
                if not due.pull:
                    made.runs += for_itself(due.scheme.name, self._compare, due) or 0
            for one in given:
                if isinstance(one, Looked):
                    made.differences += len(one.found)
                else:
                    made.fetched[one.due.subject] = one
                    made.runs += for_itself(one.due.scheme.name, self._compare_fetched, one) or 0
        with means.work_units.engine.begin() as connection:
            late = [_late(due, made.fetched.get(due.subject)) for due in work.late if not made.has(due)]
            replace(connection, LATE, late, means.clock.now())

    def _down(self, now: datetime) -> frozenset[str]:
        """Payers that no process can call at this moment."""
        with self._means.work_units.read() as connection:
            told = payer_store.health(connection, now - ALIVE)
        return frozenset(one.party for one in told if one.breaker != BreakerState.CLOSED) - frozenset(
            one.party for one in told if one.breaker == BreakerState.CLOSED
        )

    def _compare(self, due: Due) -> int:
        self._means.runs.run(due.scheme.party, due.scheme.code, due.day, BY)
        return 1

    def _compare_fetched(self, one: Fetched) -> int:
        if one.error is not None:
            scheme, day = one.due.scheme, str(one.due.day)
            log.warning("statement_not_pulled", party=scheme.party, day=day, code=one.error.code, asked=one.asked)
            if one.due.anew:
                return 0  # there is nothing that the run which stands has not seen
        return self._compare(one.due)


@dataclass(slots=True)
class _Made:
    """What a pass has come to so far. `fetched`: by the day that was to be fetched."""

    runs: int = 0
    differences: int = 0
    fetched: dict[str, Fetched] = field(default_factory=dict)

    def has(self, due: Due) -> bool:
        """Whether the statement has come in this pass."""
        one = self.fetched.get(due.subject)
        return one is not None and one.error is None


def _late(due: Due, tried: Fetched | None) -> Found:
    error = tried.error if tried else None
    facts = {
        "payer": due.scheme.party,
        "scheme": due.scheme.code,
        "day": due.day.isoformat(),
        "due": due.scheme.due(due.day).isoformat(),
        "pulled": due.scheme.statement == "pulled",
        "error": (error.code or type(error).__name__) if error else "",
        "asked": tried is None or tried.asked,
    }
    return Found(due.subject, facts)


def tell(connection: Connection, now: datetime) -> None:
    """Bring the incidents up to date with what waits for people: open breaks, failed runs, statements that came.

    A break that waited for the effect of its remedy is resolved first, where that is there.
    """
    found = recon_watch.breaks_open(connection)
    waiting = [one.facts["run"] for one in found if one.facts["waiting"]]
    if sum(breaks.follow(connection, now, run_id) for run_id in waiting):
        found = recon_watch.breaks_open(connection)
    replace(connection, OPEN, found, now)
    replace(connection, FAILED, recon_watch.failed(connection, day_of(now) - timedelta(days=FAILED_DAYS)), now)
    replace(connection, LEFT, map(corrections.as_found, corrections.left(connection)), now)
    for subject in recon_watch.stated_since(connection, LATE):
        incidents.recover_subject(connection, LATE, subject, now)


def replace(connection: Connection, kind: str, found: Iterable[Found], now: datetime) -> None:
    """Let exactly these be the open incidents of this kind."""
    stands = list(found)
    incidents.report(connection, kind, stands, now)
    for subject in recon_watch.subjects(connection, kind) - {one.subject for one in stands}:
        incidents.recover_subject(connection, kind, subject, now)
