"""What has changed since a run was made, so that a signature under it would be under something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import Connection

from hub.recon.runs import grosses_of, side_of
from routing.rulebook import RuleBook
from routing.rulebook_file import read_rule_book
from routing.schemes import Scheme
from schemas.counting import how_many
from store import rulebooks, signing
from store.matching_rows import Statements, find_statements
from store.signing import RunHead

SCHEME, HOSPITALS, NEIGHBOURS = "scheme", "hospitals", "neighbours"
"""What a signature may leave out with a reason: the rule book says something else now; institutions' books changed;
books of this day changed by which a signed run of another day had explained rows."""
_SHOWN = 5
_NOT_COMPARING = {"statement", "due_days", "due_at"}
"""Switches that say when books come, and how; what they are compared by stays the same."""


@dataclass(frozen=True, slots=True)
class Stale:
    """One reason. `name`: what it may be left out by; empty where only a new run helps."""

    name: str
    text: str


def stale(connection: Connection, run: RunHead, book: RuleBook) -> Iterator[Stale]:
    """Every reason for which the run would come out otherwise today; entries of the ledger are looked at elsewhere."""
    then = _scheme_of(run)
    now = next((one for one in book.schemes_of(run.party) if one.code == run.scheme), None)
    if now is None:
        yield Stale(SCHEME, f"{run.party}/{run.scheme} is in the rule book no longer")
    elif then is None or _switches(then) != _switches(now):
        yield Stale(SCHEME, "how it is compared has changed since: run it again")
    scheme = now or then
    if scheme is None:
        return
    side = side_of(book, scheme, run.day)
    found = find_statements(connection, side, hospitals=tuple(book.institution_by_code), grosses=grosses_of(book))
    if now is not None and _read_otherwise(connection, run, book, scheme, found):
        yield Stale(SCHEME, "the rule book reads these books otherwise since: run it again")
    yield from _statements(connection, run, found)
    yield from _neighbours(connection, run)


def _scheme_of(run: RunHead) -> Scheme | None:
    try:
        return Scheme.model_validate(run.switches)
    except ValidationError:
        return None


def _switches(scheme: Scheme) -> dict[str, object]:
    return scheme.model_dump(exclude=_NOT_COMPARING)


def _read_otherwise(connection: Connection, run: RunHead, book: RuleBook, scheme: Scheme, found: Statements) -> bool:
    """Whether the run's own rule book meant other institutions by the scheme, or other amounts by the statements."""
    stored = rulebooks.by_version(connection, run.rulebook_version)
    if stored is None:
        return False
    before = read_rule_book(stored.content)
    if before == book:
        return False
    parties = {one.party for _, one in found.today}
    grosses = [{one for one in grosses_of(each) if one[0] in parties} for each in (before, book)]
    sides = [side_of(each, scheme, run.day) for each in (before, book)]
    return grosses[0] != grosses[1] or sides[0] != sides[1]


def _statements(connection: Connection, run: RunHead, found: Statements) -> Iterator[Stale]:
    changed = set(found.ids) ^ set(run.statement_ids)
    parties = set(signing.parties_of(connection, changed).values())
    if run.party in parties:
        yield Stale("", "another statement has come since: run it again")
    if others := sorted(parties - {run.party}):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        named = f"{', '.join(others[:_SHOWN])}{more}"
        yield Stale(HOSPITALS, f"other books than were compared are here of {named}: run it again")


def _neighbours(connection: Connection, run: RunHead) -> Iterator[Stale]:
    if signing.neighbours_replaced(connection, run):
        yield Stale("", "books of another day that explained rows of this one were replaced since: run it again")
    for number, day, rows in signing.lent(connection, run):
        why = "by books of this day that were replaced since"
        said = f"run {number} of {day}, signed off, explained {how_many(rows, 'row')} {why}"
        yield Stale(NEIGHBOURS, f"{said}: hub recon breaks --run {number} --class late_cut_off")
