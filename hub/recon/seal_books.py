"""With whose books a day was compared before it is sealed, and with whose it was not and why: the seal keeps the list.

What must be compared: every payer with entries on the day or a doubt of it, every scheme that the rule book declares
whether or not anything was booked, and everybody whose statement came. Others are named and asked for nothing. A day
that was compared with nobody is sealed only where somebody says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from adapters.registry import HOSTED
from routing.rulebook import RuleBook
from routing.schemes import DEFAULT_SCHEME, Scheme
from schemas.counting import how_many
from store import signing

NOBODY = "nobody"
"""Leaves out that nobody's books were compared at all."""
_COMPARED_WITH_NOBODY = f"it was compared with nobody's books: if none are to be had, leave out {NOBODY}"
NOT_BOOKED = "nothing was booked with it, and no statement came"
NO_STATEMENT = "no statement came, and none is agreed"


@dataclass(slots=True)
class DayBooks:
    """By `party/scheme`: the signed run, why it was left out, why nobody asked for it. `problems` are in the way."""

    compared: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    not_compared: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """What the seal keeps."""
        return {"compared": self.compared, "left_out": self.left_out, "not_compared": self.not_compared}


def summary_of(books: Mapping[str, Mapping[str, Any]]) -> str:
    """One line of it."""
    counts = {name: len(books.get(name, {})) for name in ("compared", "left_out", "not_compared")}
    left = f", {counts['left_out']} left out" if counts["left_out"] else ""
    return f"{how_many(counts['compared'], 'book')} compared{left}, {counts['not_compared']} not"


def day_books(
    connection: Connection, book: RuleBook, day: date, exceptions: Mapping[str, str], now: datetime
) -> DayBooks:
    """The list for a day. Exceptions are schemes (`party/scheme`, or NOBODY) that are left out, with why."""
    runs = signing.runs_of_day(connection, day)
    made = DayBooks(compared={name: number for name, (number, state) in sorted(runs.items()) if state == "signed_off"})
    required = _required(connection, book, day)
    for name, due in required.items():
        if problem := _problem(connection, name, due, runs, now):
            _put(made, name, problem, exceptions)
    if not made.compared and not made.left_out and not made.problems:
        _put(made, NOBODY, _COMPARED_WITH_NOBODY, exceptions)
    for name, why in _others(connection, book, day):
        if name not in required and name not in made.compared:
            made.not_compared[name] = why
    known = {*required, *made.compared, *made.not_compared, NOBODY}
    made.problems += [f"there is no {name} to leave out" for name in exceptions if name not in known]
    return made


def _put(made: DayBooks, name: str, problem: str, exceptions: Mapping[str, str]) -> None:
    if name in exceptions:
        made.left_out[name] = exceptions[name]
    else:
        made.problems.append(problem)


def _required(connection: Connection, book: RuleBook, day: date) -> dict[str, datetime | None]:
    """When the books are due that must be compared; None for those of a party that the rule book does not know."""
    declared = {scheme.party for scheme in book.reconciliation}
    found: dict[str, datetime | None] = {}
    for party in sorted(signing.active_parties(connection, day, declared) | declared):
        if _ours(book, party):
            continue
        schemes = book.schemes_of(party)
        found |= {scheme.name: scheme.due(day) for scheme in schemes}
        if not schemes:
            found[f"{party}/{DEFAULT_SCHEME}"] = None
    return found


def _ours(book: RuleBook, party: str) -> bool:
    """Whether the hub adjudicates for this payer: its books are ours."""
    known = book.party_by_code.get(party)
    return known is not None and known.adapter == HOSTED


def _problem(
    connection: Connection, name: str, due: datetime | None, runs: Mapping[str, tuple[int, str]], now: datetime
) -> str:
    number, state = runs.get(name, (0, "missing"))
    if state == "signed_off":
        return _booked_since(connection, number)
    if due is None:
        return f"{name} is in our books and not in the rule book"
    if due > now and state == "missing":
        return f"{name} is due at {due:%Y-%m-%d %H:%M}"
    return f"{name} was not compared" if not number else f"{name} is not signed off, its run {number} is {state}"


def _booked_since(connection: Connection, run_id: int) -> str:
    run = signing.read(connection, run_id)
    newer = signing.newer_entries(connection, run) if run is not None else 0
    return f"run {run_id} was signed off before {how_many(newer, 'entry', 'entries')} of its day came" if newer else ""


def _others(connection: Connection, book: RuleBook, day: date) -> Iterator[tuple[str, str]]:
    """Whoever else could have been compared, and why nobody asks for it."""
    for party in book.party_by_code:
        if not _ours(book, party):
            yield from _named(book.schemes_of(party), NOT_BOOKED)
    for institution in sorted(signing.institutions_of(connection, day)):
        schemes = book.schemes_of(institution) or (Scheme(party=institution),)
        yield from _named(schemes, NO_STATEMENT)


def _named(schemes: Sequence[Scheme], why: str) -> Iterator[tuple[str, str]]:
    return ((scheme.name, why) for scheme in schemes)
