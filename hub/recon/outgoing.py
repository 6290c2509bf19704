"""Statements out: the hub's own books of a party's day, in the forms that statements come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine

from hub.gateway.national.numbers import short_number
from hub.recon.writers import Form, Line, OutLine, write
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import NotFound
from schemas.statement import StatementHeader
from store import hub_side, statement_facts, statements
from store.hub_side import HubLine, HubSide

CHUNK = 1_000


def scheme_of(book: RuleBook, party: str, code: str) -> Scheme:
    """A party's scheme; NotFound for nobody of the rule book, or for a scheme that the party does not have."""
    found = {scheme.code: scheme for scheme in book.schemes_of(party)}
    if not found:
        raise NotFound("no such party in the rule book", code="party.unknown", party=party)
    if code not in found:
        known = ", ".join(sorted(found))
        raise NotFound(f"this party has no such scheme; it has {known}", code="scheme.unknown", party=party)
    return found[code]


def side_of(book: RuleBook, scheme: Scheme, day: date, *, by_payer: bool = False) -> HubSide:
    """Which of the hub's books are this party's; `by_payer`: an institution's share by share."""
    institution = scheme.party in book.institution_by_code
    regions = [(one.code, one.region) for one in book.institutions]
    return HubSide(
        scheme,
        "institution" if institution else "payer",
        day,
        institutions=hub_side.institutions_of(scheme, regions),
        by_payer=institution and by_payer,
    )


def export(
    engine: Engine,
    book: RuleBook,
    party: str,
    day: date,
    form: Form,
    path: Path,
    *,
    scheme: str = "daily",
    by_payer: bool = False,
) -> StatementHeader:
    """Write the hub's books of a party's day to a file; the header says what is in it.

    As many lines as there are, in bounded memory. NotFound for an unknown party or scheme, InvalidMessage when the form
    cannot hold so many.
    """
    side = side_of(book, scheme_of(book, party, scheme), day, by_payer=by_payer)
    with engine.connect() as connection, connection.begin():
        statements.begin(connection)
        lines = out_lines(connection, side, numbered=form is Form.NATIONAL)
        # A file that is only half there must not be taken for a statement.
        half = path.with_name(f"{path.name}.part")
        try:
            header = write(half, form, lines, party, scheme, day)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    return header


def out_lines(connection: Connection, side: HubSide, *, numbered: bool) -> Iterator[OutLine]:
    """Our lines as they go out; `numbered`: with the numbers and persons that the national form wants."""
    found = map(_own_number, hub_side.lines(connection, side))
    if not numbered:
        yield from found
        return
    bills = _Bills(side)
    while chunk := list(islice(found, CHUNK)):
        yield from _numbered(connection, chunk, bills, ours=side.kind == "institution")


class _Bills:
    """Which rows carry the bill. An institution's settlement has several rows with a late share, or share by share: it
    stands in one of them, so that the column adds up. A payer's rows are each about a settlement."""

    def __init__(self, side: HubSide) -> None:
        self._side = side
        self._of: tuple[str, str] = ("", "")
        self._told: set[str] = set()

    def carried(self, line: Line, total_fen: int) -> int:
        """What the bill's column of a row says, whole fen. Rows must come as `hub_side.lines` gives them."""
        if self._side.whole:
            return line.total
        refund_fen = -total_fen if line.kind == "refund" else total_fen
        if self._side.kind == "payer":
            return refund_fen
        if (of := (line.institution, line.settlement_no or "")) != self._of:
            self._of, self._told = of, set()
        first = line.kind not in self._told
        self._told.add(line.kind)
        return refund_fen if first else 0


def _own_number(line: HubLine) -> OutLine:
    """The payer's own number of the settlement, without the number of the visit that may stand behind it."""
    reference, _, visit = line.reference.partition("/")
    return OutLine(line._replace(reference=reference), mdtrt_id=visit)


def _numbered(connection: Connection, lines: Sequence[OutLine], bills: _Bills, *, ours: bool) -> Iterator[OutLine]:
    facts = statement_facts.settled_facts(connection, {(one.line.institution, _number(one)) for one in lines})
    for one in lines:
        known = facts.get((one.line.institution, _number(one)))
        if known is None:
            yield one
            continue
        setl_id = short_number(known.case_id) if ours else ""
        total_fen = bills.carried(one.line, known.total_fen)
        yield replace(one, setl_id=setl_id, psn_no=known.person_no, total_fen=total_fen)


def _number(one: OutLine) -> str:
    return one.line.settlement_no or ""
