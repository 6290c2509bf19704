"""Which comparisons are due by themselves, and which statements should have come, from what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from adapters.registry import HOSTED
from routing.days import day_of
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from store import matching, recon_watch
from store.recon_watch import Days, MadeRun, Standing

BACK_DAYS = 7
"""How many due days of a scheme are looked at. What nobody has closed by then is with people."""
SENDERS_DAYS = 62
_OVERLAP = timedelta(minutes=10)
"""An institution's statement that was being stored while a run began may not have been seen by it. Whether one that was
there could be compared is not known here: those that do not name payers are in no payer's run."""


@dataclass(frozen=True, slots=True)
class Due:
    """One party's books of one day. `pull`: its statement must be fetched first; `anew`: a run of it stands."""

    scheme: Scheme
    day: date
    pull: bool = False
    anew: bool = False

    @property
    def subject(self) -> str:
        """How an incident names it."""
        return f"recon/{self.scheme.party}/{self.scheme.code}/{self.day}"


@dataclass(frozen=True, slots=True)
class DueWork:
    """What is to be done now. `late`: statements that are expected, due, and not there."""

    runs: Sequence[Due]
    late: Sequence[Due]


def schemes_of(book: RuleBook) -> list[Scheme]:
    """Every scheme of every party of the rule book, the payers' first. A product that the hub adjudicates itself has no
    books but ours."""
    payers = [one.code for one in book.parties if one.adapter != HOSTED]
    return [scheme for code in (*payers, *book.institution_by_code) for scheme in book.schemes_of(code)]


def due_days(scheme: Scheme, now: datetime, sealed_to: date | None) -> list[date]:
    """The days whose statement is due, not yet sealed, the latest BACK_DAYS of them."""
    last = day_of(now) - timedelta(days=scheme.due_days)
    if scheme.due(last) > now:
        last -= timedelta(days=1)
    days = [last - timedelta(days=back) for back in reversed(range(BACK_DAYS))]
    return [day for day in days if sealed_to is None or day > sealed_to]


def days_to_read(book: RuleBook, now: datetime, sealed_to: date | None) -> list[date]:
    """Every day that `due_work` will ask for."""
    return sorted({day for scheme in schemes_of(book) for day in due_days(scheme, now, sealed_to)})


def due_now(engine: Engine, book: RuleBook, now: datetime) -> DueWork:
    """What is due by what is on record now; `engine` is one for reports."""
    with engine.begin() as connection:
        matching.prepare(connection)
        sealed_to = recon_watch.sealed_to(connection)
        found = recon_watch.days_of(connection, days_to_read(book, now, sealed_to), now - timedelta(days=SENDERS_DAYS))
    return due_work(book, found, now, sealed_to)


def due_work(book: RuleBook, found: Days, now: datetime, sealed_to: date | None) -> DueWork:
    """What of the due days is to be compared (anew), and what is late.

    A payer is compared when anything was booked with it or is in doubt, and whoever the rule book names, when anything
    was booked at all. An institution is compared when its statement is there or expected: it has sent one lately. A day
    is compared anew when a statement has come since, unless people have decided about its breaks already, or the run is
    signed off.
    """
    known = _Known(book, found)
    to_run: list[Due] = []
    late: list[Due] = []
    for scheme in schemes_of(book):
        for day in due_days(scheme, now, sealed_to):
            statement, run = known.statement(scheme, day), known.run(scheme, day)
            if run is not None and run.state == "signed_off":
                continue
            pull = statement is None and scheme.statement == "pulled"
            due = Due(scheme, day, pull, anew=run is not None and run.state == "done")
            if statement is None and known.expected(scheme) and known.business(scheme, day):
                late.append(due)
            if _wanted(run, due, statement is not None, known):
                to_run.append(due)
    return DueWork(to_run, late)


class _Known:
    """What is on record, by what it is asked for."""

    def __init__(self, book: RuleBook, found: Days) -> None:
        self._book = book
        self._found = found
        self._standing = {(one.party, one.scheme, one.day): one for one in found.standing}
        self._runs = {(one.party, one.scheme, one.day): one for one in found.runs}
        self._days = {day for day, _ in found.booked}
        self._declared = {scheme.party for scheme in book.reconciliation}
        self._of_institutions: dict[date, list[Standing]] = {}
        for one in found.standing:
            if one.party in book.institution_by_code:
                self._of_institutions.setdefault(one.day, []).append(one)

    def statement(self, scheme: Scheme, day: date) -> Standing | None:
        return self._standing.get((scheme.party, scheme.code, day))

    def run(self, scheme: Scheme, day: date) -> MadeRun | None:
        return self._runs.get((scheme.party, scheme.code, day))

    def expected(self, scheme: Scheme) -> bool:
        """Whether statements of this party are to come."""
        return scheme.party in self._declared or scheme.party in self._found.senders

    def business(self, scheme: Scheme, day: date) -> bool:
        """Whether the party's books of this day matter: something was booked with it, or with anybody where its books
        are agreed to come, be they empty: no such day is sealed without them."""
        agreed = scheme.party in self._declared and day in self._days
        return agreed or (day, scheme.party) in self._found.booked

    def is_payer(self, scheme: Scheme) -> bool:
        return scheme.party in self._book.party_by_code

    def came_since(self, run: MadeRun, scheme: Scheme) -> bool:
        """Whether a statement has come that the run has not seen: the party's own, or for a payer an institution's."""
        own = self.statement(scheme, run.day)
        # However long ago it was received: it may have taken long to store, or stand again in another's place.
        if own is not None and own.statement_id not in run.statement_ids:
            return True
        return (
            self.is_payer(scheme)
            and scheme.hospital == "compared"
            and any(
                one.statement_id not in run.statement_ids and one.received_at > run.started_at - _OVERLAP
                for one in self._of_institutions.get(run.day, ())
            )
        )


def _wanted(run: MadeRun | None, due: Due, stated: bool, known: _Known) -> bool:
    if run is None:
        return stated or (
            known.business(due.scheme, due.day) and (known.is_payer(due.scheme) or known.expected(due.scheme))
        )
    if run.state == "failed":
        return True
    if run.state != "done" or run.touched:
        return False
    return due.pull or known.came_since(run, due.scheme)
