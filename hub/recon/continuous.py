"""Continuous reconciliation: one pass an hour, so that yesterday has no breaks that today could have ended.

Each pass asks about doubts, lays the running day beside the books of payers that tell them, and makes the comparisons
whose day has come. Between the passes it only looks at what waits for people, which becomes incidents. Any number of
relays may do this: one of them makes each pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, Engine

from hub.books import RuleBooks
from hub.calls import Payer
from hub.ports import Clock
from hub.recon.continuous_asking import able_payers, ask_again
from hub.recon.continuous_day import MARGIN, LinesOf, RunningDay
from hub.recon.continuous_due import Due, days_to_read, due_work, schemes_of
from hub.watch import this_process
from hub.work import WorkUnits
from routing.days import day_of
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import HubError
from store import breaks, hub_side, incidents, matching, recon_watch
from store.database import database_is_away
from store.incidents import Found

log = structlog.get_logger()

LOOK_PAUSE_S = 60.0
FIRST_S = 300.0
"""A hub that has just started has its backlog to work off first."""
LATE_S = 600.0
SENDERS_DAYS = 62
FAILED_DAYS = 31
BY = "hub"
"""Who makes a run that nobody asked for."""
LOOK, PASS = "recon.look", "recon.pass"
DIFFERENCE, LATE, OPEN, FAILED = (
    "recon.difference",
    "recon.statement_late",
    "recon.breaks_open",
    "recon.run_failed",
)


class RunMaker(Protocol):
    """Compares one party's books of one day; Conflict when that is being done or is signed off."""

    def run(self, party: str, scheme_code: str, day: date, by: str) -> Any: ...


class Puller(Protocol):
    """Fetches a payer's statement and puts it on record; a HubError when that cannot be done."""

    def pull(self, party: str, scheme_code: str, day: date, by: str) -> Any: ...


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
        now = means.clock.now()
        asked = ask_again(means.work_units, means.payers, now)
        book = means.books.active().book
        differences = self._running_day(book)
        runs = self._due_days(book)
        with means.engine.begin() as connection:
            matching.prepare(connection)
            breaks.follow(connection, means.clock.now())
            tell(connection, means.clock.now())
        log.info("recon_pass", asked=asked, differences=differences, runs=runs)
        return Passed(asked, runs, differences)

    # The running day.

    def _running_day(self, book: RuleBook) -> int:
        means = self._means
        running = RunningDay(means.engine, means.work_units, means.payers, means.lines_of, means.margin)
        able = able_payers(means.work_units, means.payers)
        regions = [(one.code, one.region) for one in book.institutions]
        count = 0
        for scheme in schemes_of(book):
            payer = able.get(scheme.party)
            if scheme.statement != "pulled" or payer is None or not _tells_at_any_time(payer):
                continue
            seen = self._each(scheme.name, self._look_at, running, scheme, hub_side.institutions_of(scheme, regions))
            count += seen or 0
        return count

    def _look_at(self, running: RunningDay, scheme: Scheme, institutions: tuple[str, ...] | None) -> int:
        now = self._means.clock.now()
        looked = running.look(scheme, institutions, now)
        with self._means.work_units.engine.begin() as connection:
            if looked.found:
                known = [one for one in incidents.listed(connection, kind=DIFFERENCE) if one.subject == looked.subject]
                since = known[0].opened_at if known else now
                incidents.report(connection, DIFFERENCE, [looked.as_found(since)], now)
            else:
                incidents.recover_subject(connection, DIFFERENCE, looked.subject, now)
        return len(looked.found)

    # Days whose statements are due.

    def _due_days(self, book: RuleBook) -> int:
        means = self._means
        now = means.clock.now()
        with means.engine.begin() as connection:
            matching.prepare(connection)
            sealed_to = recon_watch.sealed_to(connection)
            days = days_to_read(book, now, sealed_to)
            found = recon_watch.days_of(connection, days, now - timedelta(days=SENDERS_DAYS))
        work = due_work(book, found, now, sealed_to)
        why: dict[str, str] = {}
        made = sum(bool(self._each(due.scheme.name, self._compare, due, why)) for due in work.runs)
        with means.work_units.engine.begin() as connection:
            late = [_late(due, why) for due in work.late if _subject(due) not in why or why[_subject(due)]]
            replace(connection, LATE, late, means.clock.now())
        return made

    def _compare(self, due: Due, why: dict[str, str]) -> bool:
        """Fetch what must be fetched, then compare; `why` says what came of fetching, empty when it worked."""
        scheme = due.scheme
        if due.pull:
            try:
                self._means.puller.pull(scheme.party, scheme.code, due.day, BY)
                why[_subject(due)] = ""
            except HubError as error:
                why[_subject(due)] = error.code or type(error).__name__
                log.warning("statement_not_pulled", party=scheme.party, day=str(due.day), code=error.code)
                if due.anew:
                    return False  # there is nothing that the run which stands has not seen
        self._means.runs.run(scheme.party, scheme.code, due.day, BY)
        return True

    def _each(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do it for one party. Whatever goes wrong is told and left to the next pass; without a database all end."""
        try:
            return work(*arguments)
        except HubError as error:
            log.warning("recon_not_done", scheme=name, what=work.__name__, code=error.code, reason=error.message)
        except Exception as error:
            if database_is_away(error):
                raise
            log.exception("recon_not_done", scheme=name, what=work.__name__, error=type(error).__name__)
        return None


def _tells_at_any_time(payer: Payer) -> bool:
    """Whether asking about half a day is harmless: some want our whole day and keep it as the day's comparison."""
    return payer.can.statements and not payer.can.statements_compared


def _subject(due: Due) -> str:
    return f"recon/{due.scheme.party}/{due.scheme.code}/{due.day}"


def _late(due: Due, why: Mapping[str, str]) -> Found:
    facts = {
        "payer": due.scheme.party,
        "scheme": due.scheme.code,
        "day": due.day.isoformat(),
        "due": due.scheme.due(due.day).isoformat(),
        "pulled": due.scheme.statement == "pulled",
        "error": why.get(_subject(due), ""),
    }
    return Found(_subject(due), facts)


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
    for subject in recon_watch.stated_since(connection, LATE):
        incidents.recover_subject(connection, LATE, subject, now)


def replace(connection: Connection, kind: str, found: Iterable[Found], now: datetime) -> None:
    """Let exactly these be the open incidents of this kind."""
    stands = list(found)
    incidents.report(connection, kind, stands, now)
    for subject in recon_watch.subjects(connection, kind) - {one.subject for one in stands}:
        incidents.recover_subject(connection, kind, subject, now)
