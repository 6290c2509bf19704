"""A payer's day where it lists nothing but compares: it is told our books, institution by institution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from sqlalchemy import Engine

from hub.calls import Payer
from hub.recon.outgoing import CHUNK, out_lines, side_of
from hub.recon.writers import OutLine, canonical
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.codes import InsuranceType, VisitKind
from schemas.payer import MessageNumbers
from schemas.statement_pages import OwnLine, StatementQuestion
from store import numbers, statement_facts, statements
from store.numbers import Wanted
from store.statement_facts import SettledFacts


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
        own = self._own()
        region = party.region or ""
        asked = {one.code for one in self.book.institutions if one.region == region} | own.keys()
        for institution in sorted(asked):
            yield StatementQuestion(
                party.code,
                self.day,
                region=region,
                institution=institution,
                own=tuple(own.get(institution, ())),
                numbers=self._numbers(institution),
            )

    def _own(self) -> dict[str, list[OwnLine]]:
        apart = self.scheme.model_copy(update={"account": "apart"})
        side = side_of(self.book, apart, self.day)
        with self.engine.connect() as connection, connection.begin():
            statements.begin(connection)
            lines = list(out_lines(connection, side, numbered=True))
            keys = [(one.line.institution, one.line.settlement_no or "") for one in lines]
            facts: dict[tuple[str, str], SettledFacts] = {}
            for start in range(0, len(keys), CHUNK):
                facts |= statement_facts.settled_facts(connection, keys[start : start + CHUNK])
        return {
            institution: [_own_line(one, facts) for one in found]
            for institution, found in groupby(lines, lambda one: one.line.institution)
        }

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


def _own_line(one: OutLine, facts: dict[tuple[str, str], SettledFacts]) -> OwnLine:
    line = canonical(one.line)
    known = facts[line.institution, line.settlement_no or ""]
    total = line.total if one.total_fen is None else one.total_fen
    return OwnLine(
        line.model_copy(update={"total": total}),
        known.person_no,
        InsuranceType(known.insurance_type),
        VisitKind(known.visit_kind),
        visit_reference=one.mdtrt_id,
    )
