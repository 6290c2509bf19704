"""A payer's day where it lists nothing but compares: it is told our books, institution by institution.

The day is read once, in pieces, and put aside in a file: no transaction is open while the payer is waited for, and in
memory are the books of the institution that is asked about, however many there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import IO

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine

from hub.calls import Payer
from hub.recon.outgoing import CHUNK, out_lines, side_of
from hub.recon.writers import OutLine, canonical
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.codes import InsuranceType, VisitKind
from schemas.payer import MessageNumbers
from schemas.statement import LineKind
from schemas.statement_pages import OwnLine, StatementQuestion
from store import numbers, statement_facts, statements
from store.hub_side import HubSide
from store.numbers import Wanted
from store.statement_facts import SettledFacts

_OWN_LINE = TypeAdapter(OwnLine)


@dataclass(frozen=True, slots=True)
class Compared:
    """The questions for one payer's day."""

    engine: Engine
    book: RuleBook
    payer: Payer
    scheme: Scheme
    day: date
    now: datetime

    def questions(self) -> Iterator[StatementQuestion]:
        """One for each institution of the payer's region, and for any other that it settled for on that day."""
        party = self.payer.party
        region = party.region or ""
        with tempfile.TemporaryFile() as file:
            aside = self._put_aside(file)
            asked = {one.code for one in self.book.institutions if one.region == region} | aside.institutions
            for institution in sorted(asked):
                yield StatementQuestion(
                    party.code,
                    self.day,
                    region=region,
                    institution=institution,
                    own=aside.of(institution),
                    numbers=self._numbers(institution),
                )

    def _put_aside(self, file: IO[bytes]) -> Aside:
        apart = self.scheme.model_copy(update={"account": "apart"})
        side = side_of(self.book, apart, self.day)
        with self.engine.connect() as connection, connection.begin():
            statements.begin(connection)
            return Aside(file, _read(connection, side))

    def _numbers(self, institution: str) -> MessageNumbers | None:
        """A block of its own each time: what a region answered to a number before, it may answer again."""
        count = self.payer.can.numbers
        if not count:
            return None
        party = self.payer.party.code
        request_id = f"statement/{party}/{institution}/{self.day:%Y%m%d}/{self.now:%Y%m%d%H%M%S%f}"
        wanted = Wanted(request_id, party, "" if self.payer.can.shared_numbers else institution, count)
        with self.engine.begin() as connection:
            return numbers.draw(connection, [wanted], self.now)[request_id]


class Aside:
    """Lines in a file, to be had again by institution. Those of one come one after the other."""

    def __init__(self, file: IO[bytes], lines: Iterable[OwnLine]) -> None:
        self._file = file
        self._places: dict[str, _Place] = {}
        for own in lines:
            place = self._places.setdefault(own.line.institution, _Place(file.tell()))
            place.lines += 1
            file.write(_OWN_LINE.dump_json(own) + b"\n")

    @property
    def institutions(self) -> Set[str]:
        """Those that have lines."""
        return self._places.keys()

    def of(self, institution: str) -> tuple[OwnLine, ...]:
        """Its lines as they were, in their order."""
        place = self._places.get(institution)
        if place is None:
            return ()
        self._file.seek(place.start)
        return tuple(_OWN_LINE.validate_json(raw) for raw in islice(self._file, place.lines))


@dataclass(slots=True)
class _Place:
    """Where an institution's lines begin, and how many they are."""

    start: int
    lines: int = 0


def _read(connection: Connection, side: HubSide) -> Iterator[OwnLine]:
    found = out_lines(connection, side, numbered=False)
    while chunk := list(islice(found, CHUNK)):
        facts = statement_facts.settled_facts(connection, map(_key, chunk))
        yield from (_own_line(one, facts[_key(one)]) for one in chunk)


def _key(one: OutLine) -> tuple[str, str]:
    return one.line.institution, one.line.settlement_no or ""


def _own_line(one: OutLine, known: SettledFacts) -> OwnLine:
    line = canonical(one.line)
    total = line.total or (-known.total_fen if line.kind is LineKind.REFUND else known.total_fen)
    return OwnLine(
        line.model_copy(update={"total": total}),
        known.person_no,
        InsuranceType(known.insurance_type),
        VisitKind(known.visit_kind),
        visit_reference=one.mdtrt_id,
    )
