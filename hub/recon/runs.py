"""Runs: hold a party's books of a day against ours and write down what differs. One run per party, scheme and day.

A run takes the place of the one before it, whose breaks stay as history; a day that is signed off is not run again. A
run that died leaves its row `running` and its lock free: the next one takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from adapters.registry import HOSTED
from hub.books import ActiveBook, RuleBooks
from hub.ports import Clock
from hub.recon import remedies
from hub.recon.case_by_case import CASE_BY_CASE, ONLY_OURS
from routing.days import day_of
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import Conflict, NotFound
from store import breaks, matching, matching_runs, recon_watch, seals
from store.hub_side import HubSide, institutions_of
from store.matching_runs import Day, Run

log = structlog.get_logger()

Propose = Callable[[Connection, int], object]
"""Gives the breaks of a run their proposals, in the run's transaction."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run. `counts`: items by class; `open`: breaks that somebody must see to."""

    run_id: int
    party: str
    scheme: str
    day: date
    counts: Mapping[str, int]
    totals: Mapping[str, Any]
    open: int
    finding: str
    """What the run says as a whole, such as that the party's statement has not come; empty for nothing."""
    resolved: int = 0
    """Breaks that people had ended in the run before, where the books say the same as then."""

    @property
    def note(self) -> str:
        """What the comparison cannot show, by the way in which the books came; empty for nothing."""
        return str(self.totals.get("note") or "")


class Runs:
    """Makes runs; each in a transaction of its own, on a connection of its own."""

    def __init__(self, engine: Engine, books: RuleBooks, clock: Clock, propose: Propose = remedies.propose) -> None:
        self._engine = engine
        self._books = books
        self._clock = clock
        self._propose = propose

    def run(self, party: str, scheme_code: str, day: date, by: str) -> RunResult:
        """Compare now, whether the statement is due or not.

        NotFound: no such party or scheme. Conflict: somebody is running it, it is signed off, or the day is not yet.
        """
        active = self._books.active()
        scheme = scheme_of(active.book, party, scheme_code)
        of = Day(party, scheme.code, day)
        if day > day_of(self._clock.now()):
            raise Conflict("this day has not begun", code="recon.day_to_come", day=str(day))
        with self._engine.connect() as connection, matching_runs.held(connection, of) as mine:
            if not mine:
                raise _somebody_runs(matching_runs.standing(connection, of), of)
            run_id = self._begin(connection, of, scheme, active, by)
            try:
                return self._match(connection, of, scheme, active.book, run_id)
            except Exception as error:
                self._give_up(connection, run_id, error)
                raise

    def due(self, day: date) -> Iterator[Scheme]:
        """The schemes of everybody who is in our books of this day or has told theirs, payers first; on a day with any
        business also of those whose books are agreed to come, be they empty: it is not sealed without them."""
        book = self._books.active().book
        with self._engine.connect() as connection:
            matching.prepare(connection)
            there = matching_runs.with_business(connection, day)
        if there:
            there |= {one.party for one in book.reconciliation}
        # What the hub adjudicates itself is in no books but ours.
        there -= {one.code for one in book.parties if one.adapter == HOSTED}
        for code in (*book.party_by_code, *book.institution_by_code):
            if code in there:
                yield from book.schemes_of(code)

    def _begin(self, connection: Connection, of: Day, scheme: Scheme, active: ActiveBook, by: str) -> int:
        now = self._clock.now()
        with connection.begin():
            before = matching_runs.standing(connection, of, hold=True)
            if before is not None and before.state == "signed_off":
                raise Conflict(
                    "this day is signed off: what is found now is corrected by entries of a later day",
                    code="recon.signed_off",
                    run_id=before.run_id,
                )
            if before is not None and before.state == "running":
                log.warning("recon_run_died", run_id=before.run_id, started_by=before.started_by)
                matching_runs.fail(connection, before.run_id, "the process that made it ended", now)
            switches = scheme.model_dump(mode="json")
            return matching_runs.begin(connection, of, switches, active.version, by=by, at=now)

    def _match(self, connection: Connection, of: Day, scheme: Scheme, book: RuleBook, run_id: int) -> RunResult:
        # Every side as of one moment, however long it takes.
        with seals.one_moment(connection):
            asked = asked_of(book, scheme, of.day, run_id, self._clock)
            found = matching.match(connection, asked)
            if recon_watch.source_of(connection, of.party, found.statement_ids).startswith(CASE_BY_CASE):
                found = replace(found, totals={**found.totals, "note": ONLY_OURS})
            matching_runs.finish(connection, run_id, found, self._clock.now())
            self._propose(connection, run_id)
            # What people had ended in the run before is not open again.
            left = breaks.count(connection, run_id, "open")
            ended = breaks.count(connection, run_id, "resolved")
        log.info("recon_run_done", run_id=run_id, party=of.party, scheme=of.scheme, day=str(of.day), open=left)
        finding = str(found.totals["finding"])
        return RunResult(run_id, of.party, of.scheme, of.day, found.counts, found.totals, left, finding, ended)

    def _give_up(self, connection: Connection, run_id: int, error: Exception) -> None:
        log.error("recon_run_failed", run_id=run_id, error=type(error).__name__)
        if connection.invalidated:  # the row stays `running`, and the lock is free: the next run says so
            return
        connection.rollback()
        with connection.begin():
            matching_runs.fail(connection, run_id, type(error).__name__, self._clock.now())


def scheme_of(book: RuleBook, party: str, code: str) -> Scheme:
    """A party's scheme; NotFound when there is none of this name."""
    for scheme in book.schemes_of(party):
        if scheme.code == code:
            return scheme
    raise NotFound("no such scheme of reconciliation", code="recon.scheme", party=party, scheme=code)


def side_of(book: RuleBook, scheme: Scheme, day: date) -> HubSide:
    """Our books of a party's day."""
    institutions = institutions_of(scheme, [(one.code, one.region) for one in book.institutions])
    kind = "payer" if scheme.party in book.party_by_code else "institution"
    return HubSide(scheme, kind, day, institutions)  # type: ignore[arg-type]


def asked_of(book: RuleBook, scheme: Scheme, day: date, run_id: int, clock: Clock) -> matching.Asked:
    """What a run compares, by the rule book."""
    party = book.party_by_code.get(scheme.party)
    return matching.Asked(
        side=side_of(book, scheme, day),
        run_id=run_id,
        now=clock.now(),
        due=scheme.due(day),
        basic=party is not None and party.kind == "basic",
        hospitals=tuple(book.institution_by_code),
        grosses=grosses_of(book),
    )


def grosses_of(book: RuleBook) -> frozenset[tuple[str, str]]:
    """(party, scheme) of the books whose amounts hold the personal account too."""
    everybody = (*book.party_by_code, *book.institution_by_code)
    schemes = (one for code in everybody for one in book.schemes_of(code))
    return frozenset((one.party, one.code) for one in schemes if one.account == "in_fund")


def _somebody_runs(run: Run | None, of: Day) -> Conflict:
    who: dict[str, object] = {"of": of.name}
    if run is not None and run.state == "running":
        who |= {"run_id": run.run_id, "by": run.started_by, "since": f"{run.started_at:%Y-%m-%d %H:%M:%S %z}"}
    return Conflict("this is being reconciled", code="recon.running", **who)
