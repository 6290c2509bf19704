"""Fetching a payer's statement of a day, in whatever way the payer can be asked, and putting it on record.

What comes is believed no more than a file: it is written down as one, with the count and the total that the payer
declared, and taken whole or refused whole.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from hub.books import RuleBooks
from hub.calls import Payer
from hub.ports import Clock, StatementAdapter
from hub.recon.case_by_case import CASE_BY_CASE, CaseByCase
from hub.recon.compared import Compared
from hub.recon.outgoing import scheme_of
from hub.recon.pulling_patience import BooksChanged, Patience, TimeUp
from hub.recon.statements import take_file
from hub.recon.writers import Form, OutLine, write
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import Conflict, InvalidMessage, OutcomeUnknown, Unavailable, Violation
from schemas.statement import StatementAnswer, StatementHeader, StatementLine
from schemas.statement_pages import StatementPage, StatementQuestion
from store import payers

log = structlog.get_logger()

READINGS_MAX = 3
WAIT_S_MAX = 8.0
WITHOUT_END = Patience()
_NOT_HEARD = (Unavailable, OutcomeUnknown)


@dataclass(slots=True)
class Reading:
    """One reading of a payer's day: what it declared, and the hash of the answers as they came."""

    declared: tuple[int, int] | None = None
    """Count, and total in fen; None where nothing is declared because settlements were asked for one by one."""
    answers: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    patience: Patience = WITHOUT_END

    def heard(self, body: bytes) -> None:
        self.answers += 1
        self.digest.update(body)


def pulled_schemes(book: RuleBook) -> list[tuple[str, str]]:
    """(party, scheme) of every payer whose statement the hub fetches."""
    schemes = [scheme for party in book.parties for scheme in book.schemes_of(party.code)]
    return [(scheme.party, scheme.code) for scheme in schemes if scheme.statement == "pulled"]


def in_terms(scheme: Scheme) -> Callable[[StatementLine], StatementLine]:
    """Lines that were put together here, where fund and account are apart, in the words of the party's scheme."""
    if scheme.account == "apart":
        return lambda line: line
    return lambda line: line.model_copy(update={"amount": line.amount + line.account, "account": 0})


class Pulling:
    """Fetches statements. `payer_of` gives the payer with the adapter that speaks its language."""

    def __init__(
        self,
        engine: Engine,
        books: RuleBooks,
        clock: Clock,
        payer_of: Callable[[str], Payer],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._books = books
        self._clock = clock
        self._payer_of = payer_of
        self._sleep = sleep

    def pull(
        self, party: str, scheme_code: str, day: date, by: str, patience: Patience = WITHOUT_END
    ) -> StatementAnswer:
        """Fetch and take one statement. No transaction is open while the payer is waited for.

        Conflict: the payer cannot be asked, its calls are stopped, or the day is signed off. Unavailable or
        OutcomeUnknown: it did not answer, several times over, or not before `patience` came to its end.
        InvalidMessage: it refused, or what it told does not hold.
        """
        book = self._books.active().book
        scheme = scheme_of(book, party, scheme_code)
        payer = self._askable(scheme)
        with tempfile.TemporaryDirectory(prefix="pulled-") as folder:
            path = Path(folder, f"{party}-{day.isoformat()}.csv")
            reading, header = self._again("statement_read_again", BooksChanged, READINGS_MAX, self._read)(
                payer, scheme, day, path, patience
            )
            source = (
                f"pulled by {payer.party.adapter}, {reading.answers} answers, sha256 {reading.digest.hexdigest()}"
                if reading.answers
                else f"{CASE_BY_CASE} by {payer.party.adapter}"
            )
            answer = take_file(
                self._engine, book, path, header, by=by, now=self._clock.now(), source=source, again=True
            )
        log.info("statement_pulled", party=party, scheme=scheme_code, day=day.isoformat(), rows=answer.rows)
        return answer

    def glance(self, scheme: Scheme, day: date, patience: Patience = WITHOUT_END) -> Iterator[StatementLine]:
        """The payer's lines of a day as it tells them now; nothing is put on record. Errors as in `pull`."""
        reading = Reading(patience=patience)
        count = total = 0
        for line in self._lines(self._askable(scheme), scheme, day, reading):
            count, total = count + 1, total + line.amount
            yield line
        if reading.declared is not None and reading.declared != (count, total):
            remedy = "the lines of all pages must come to the count and the total that every page declares"
            raise InvalidMessage("the page does not hold", Violation("count", "statement.count", remedy))

    def _askable(self, scheme: Scheme) -> Payer:
        if scheme.party not in self._books.active().book.party_by_code:
            raise Conflict("an institution sends its statement: nobody asks it", code="statement.not_asked")
        with self._engine.connect() as connection:
            stopped = {one.party for one in payers.switches(connection) if one.stopped}
        if stopped & {scheme.party, payers.EVERYBODY}:
            raise Conflict("calls to this payer are stopped", code="payer.stopped", party=scheme.party)
        payer = self._payer_of(scheme.party)
        if not (payer.can.statements or payer.can.inquiry):
            raise Conflict(
                "this payer's interface has no question for its books: take its statement as a file or a message",
                code="statement.not_asked",
                party=scheme.party,
            )
        return payer

    def _read(
        self, payer: Payer, scheme: Scheme, day: date, path: Path, patience: Patience
    ) -> tuple[Reading, StatementHeader]:
        reading = Reading(patience=patience)
        written = write(
            path, Form.CSV, map(OutLine, self._lines(payer, scheme, day, reading)), scheme.party, scheme.code, day
        )
        if reading.declared is None:
            return reading, written
        count, total = reading.declared
        return reading, written.model_copy(update={"count": count, "total": total})

    def _lines(self, payer: Payer, scheme: Scheme, day: date, reading: Reading) -> Iterator[StatementLine]:
        if not payer.can.statements:
            asked = CaseByCase(self._engine, payer, reading.patience.timeout_s, self._clock.now)
            return map(in_terms(scheme), asked.lines(day))
        if payer.can.statements_compared:
            return self._compared(payer, scheme, day, reading)
        return self._paged(payer, day, reading)

    def _compared(self, payer: Payer, scheme: Scheme, day: date, reading: Reading) -> Iterator[StatementLine]:
        adapter = cast(StatementAdapter, payer.adapter)
        book, now = self._books.active().book, self._clock.now()
        for question in Compared(self._engine, book, payer, scheme, day, now).questions():
            lines = [in_terms(scheme)(line) for line in self._page(adapter, question, reading).lines]
            count, total = reading.declared or (0, 0)
            reading.declared = count + len(lines), total + sum(line.amount for line in lines)
            yield from lines

    def _paged(self, payer: Payer, day: date, reading: Reading) -> Iterator[StatementLine]:
        adapter = cast(StatementAdapter, payer.adapter)
        question = StatementQuestion(payer.party.code, day, region=payer.party.region or "")
        first = self._page(adapter, question, reading)
        reading.declared = first.count, first.total
        yield from first.lines
        for number in range(2, first.pages + 1):
            question = StatementQuestion(question.payer, day, page=number, region=question.region)
            page = self._page(adapter, question, reading)
            if (page.pages, page.count, page.total) != (first.pages, first.count, first.total):
                raise BooksChanged("the day's count or total is another than on the first page", party=question.payer)
            yield from page.lines

    def _page(self, adapter: StatementAdapter, question: StatementQuestion, reading: Reading) -> StatementPage:
        def once() -> tuple[bytes, StatementPage]:
            answer = adapter.send(adapter.prepare_statement(question), reading.patience.timeout_s())
            return answer.body, adapter.decode_statement(question, answer)

        tries_max = reading.patience.tries_max
        heard: tuple[bytes, StatementPage] = self._again("statement_page_again", _NOT_HEARD, tries_max, once)()
        reading.heard(heard[0])
        return heard[1]

    def _again(self, event: str, errors: Any, tries_max: int, work: Callable[..., Any]) -> Callable[..., Any]:
        """Asking has no effect, so whatever was not heard is asked again, a few times."""
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, errors) and not isinstance(error, TimeUp)),
            stop=stop_after_attempt(tries_max),
            wait=wait_random_exponential(multiplier=0.5, max=WAIT_S_MAX),
            before_sleep=lambda state: log.warning(event, tries=state.attempt_number),
            sleep=self._sleep,
            reraise=True,
        ).wraps(work)
