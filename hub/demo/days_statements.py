"""Every party states a day in its own way: by message, as a file, or when it is asked. Each out of its own books."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

import orjson
import urllib3
from sqlalchemy import Engine

from hub.books import RuleBooks
from hub.calls import Payer
from hub.demo.mixed_day import HTTP, SOAP, MixedCase, recorded_shares
from hub.demo.mixed_ways import Senders
from hub.ports import Clock
from hub.recon.pulling import Pulling
from hub.recon.statements import take_file
from hub.recon.writers import MEDIA_TYPES, SUFFIXES, Form, OutLine, write
from routing.rulebook import RuleBook
from sandbox import parties
from sandbox.his import HospitalRequest
from sandbox.his_book import HospitalBook
from sandbox.parties_dialects import (
    GUANGXI_BASIC,
    GUANGXI_REGION,
    NATIONAL_BASIC,
    NATIONAL_REGION,
    PINGJIA,
    RECORDED_BASIC,
    RECORDED_REGION,
    TAIHE,
    YONGTAI,
)
from sandbox.statements import (
    FaultKind,
    Injected,
    StatementDesk,
    StatementFault,
    hospital_lines_of,
    line_json,
    statement_of,
)
from schemas.statement import BreakClass, LineKind, Statement, StatementLine
from schemas.transactions import Transaction

CLERK = "chen"
"""Who takes files that come by hand."""


class Way(StrEnum):
    """How a statement comes."""

    PULLED = "asked for"
    MESSAGE = "message, HTTP"
    SOAP = "message, SOAP"
    UPLOAD = "file, HTTP"
    CSV = "file, CSV"
    EXCEL = "file, Excel"
    NATIONAL = "file, national zip"


PAYERS: Mapping[str, Way] = {
    parties.BASIC: Way.PULLED,
    parties.CRITICAL_ILLNESS: Way.PULLED,
    parties.ANKANG: Way.PULLED,
    parties.HENGAN: Way.MESSAGE,
    GUANGXI_BASIC: Way.NATIONAL,
    NATIONAL_BASIC: Way.PULLED,
    RECORDED_BASIC: Way.EXCEL,
    YONGTAI: Way.CSV,
    PINGJIA: Way.CSV,
    TAIHE: Way.EXCEL,
}
_HOSPITALS: Mapping[tuple[str, str], Way] = {
    ("H", parties.REGION): Way.MESSAGE,
    ("H", GUANGXI_REGION): Way.SOAP,
    ("H", RECORDED_REGION): Way.CSV,
    ("H", NATIONAL_REGION): Way.EXCEL,
}
LEAVES_OUT = frozenset({parties.HENGAN})
"""Their books leave out what was settled and undone on the same day."""
_FORMS = {Way.CSV: Form.CSV, Way.EXCEL: Form.EXCEL, Way.NATIONAL: Form.NATIONAL, Way.UPLOAD: Form.CSV}


def way_of(party: str) -> Way:
    """How this party states its days."""
    return PAYERS.get(party) or _HOSPITALS.get((party[0], party[1:7]), Way.UPLOAD)


def schemes() -> list[dict[str, object]]:
    """What a rule book has to say about reconciliation with this cast, where it is not the usual."""
    found: list[dict[str, object]] = [
        {"party": party, "statement": "pulled"} for party, way in PAYERS.items() if way is Way.PULLED
    ]
    return found + [{"party": party, "refunds": "left_out"} for party in sorted(LEAVES_OUT)]


class StatementNotTaken(Exception):
    """A statement of the demo was refused; the text says whose and why."""


@dataclass(slots=True)
class Statements:
    """Whoever fetches, sends and takes the parties' statements. `cases` are the bills so far."""

    engine: Engine
    books: RuleBooks
    clock: Clock
    payer_of: Callable[[str], Payer]
    control: Mapping[str, str]
    senders: Senders
    hub_url: str
    book: HospitalBook
    folder: Path
    cases: list[MixedCase]
    desks: dict[str, StatementDesk]
    """Of those whose statements are written here, not by a server of theirs."""

    def collect(self, party: str, day: date) -> Way:
        """Have a party state a day and put it on record, in its way. HubError or StatementNotTaken when it fails."""
        way = way_of(party)
        if way is Way.PULLED:
            Pulling(self.engine, self.books, self.clock, self.payer_of).pull(party, "daily", day, CLERK)
            return way
        statement = self._statement(party, day)
        if way in (Way.MESSAGE, Way.SOAP):
            self._send(statement, SOAP if way is Way.SOAP else HTTP)
        else:
            self._file(statement, way)
        return way

    def spoil(self, party: str, script: Iterable[StatementFault]) -> None:
        """Let a party's statements go wrong in these ways from now on."""
        faults = list(script)
        if party in self.control and party != RECORDED_BASIC:
            body = orjson.dumps([fault.model_dump(mode="json") for fault in faults])
            answer = urllib3.request("POST", f"{self.control[party]}/sandbox/statement-faults", body=body)
            if answer.status != 200:
                raise StatementNotTaken(f"{party} takes no faults: {answer.data!r}")
            return
        self._desk(party).set_faults(faults)

    def injected(self) -> list[Injected]:
        """What was wrong with all statements so far."""
        found = [one for desk in self.desks.values() for one in desk.injected()]
        for party, address in self.control.items():
            answer = urllib3.request("GET", f"{address}/sandbox/statement-faults")
            found += [_injected(party, told) for told in orjson.loads(answer.data)["injected"]]
        return found

    def _statement(self, party: str, day: date) -> Statement:
        if party in self.control and party != RECORDED_BASIC:
            kept = "?refunds=left_out" if party in LEAVES_OUT else ""
            answer = urllib3.request("GET", f"{self.control[party]}/sandbox/statement/{day.isoformat()}{kept}")
            return Statement.model_validate_json(answer.data)
        before, true = (self._lines(party, one) for one in (date.fromordinal(day.toordinal() - 1), day))
        return statement_of(party, day, self._desk(party).lines(true, before, day))

    def _lines(self, party: str, day: date) -> list[StatementLine]:
        if party == RECORDED_BASIC:
            return list(self._uploaded(day))
        return hospital_lines_of(self.book, party, day)

    def _uploaded(self, day: date) -> Iterable[StatementLine]:
        """The book of the basic system that adjudicates by itself is what it uploaded, on the day it was taken."""
        own = {
            (one.case.institution, one.case.settlement_no): fen
            for one in self.cases
            for _, payer, fen in recorded_shares(one.case)
            if one.settle.transaction == Transaction.ADJUDICATION_UPLOAD and payer == RECORDED_BASIC
        }
        for institution in sorted({institution for institution, _ in own}):
            for line in hospital_lines_of(self.book, institution, day):
                fen = own.get((institution, line.settlement_no or ""))
                if fen is not None:
                    sign = -1 if line.kind is LineKind.REFUND else 1
                    yield line.model_copy(
                        update={
                            "amount": sign * fen,
                            "account": 0,
                            "cash": 0,
                            "payer": RECORDED_BASIC,
                            "reference": f"BJ{line.settlement_no}",
                        }
                    )

    def _desk(self, party: str) -> StatementDesk:
        if party not in self.desks:
            missing = BreakClass.MISSING_AT_BASIC if party == RECORDED_BASIC else BreakClass.MISSING_AT_HOSPITAL
            self.desks[party] = StatementDesk(party, missing)
        return self.desks[party]

    def _send(self, statement: Statement, way: str) -> None:
        body = orjson.dumps(
            statement.model_dump(mode="json", exclude={"lines"})
            | {"lines": [line_json(one) for one in statement.lines]}
        )
        key = f"{statement.party}-{statement.day}-{self.clock.now():%H%M%S%f}"
        result = self.senders.say(way, HospitalRequest(statement.party, Transaction.STATEMENT_UPLOAD.value, key, body))
        if result.answer is None:
            raise StatementNotTaken(f"the statement of {statement.party} for {statement.day}: {result.error}")

    def _file(self, statement: Statement, way: Way) -> None:
        form = _FORMS[way]
        path = self.folder / f"{statement.party}-{statement.day}-{self.clock.now():%H%M%S%f}{SUFFIXES[form]}"
        header = write(path, form, map(_national, statement.lines), statement.party, statement.scheme, statement.day)
        if way is not Way.UPLOAD:
            take_file(self.engine, self.book_in_force, path, header, by=CLERK, now=self.clock.now())
            return
        digest = base64.b64encode(bytes.fromhex(header.sha256 or "")).decode()
        total = header.model_dump(mode="json")["total"]
        answer = urllib3.request(
            "PUT",
            f"{self.hub_url}/api/v1/statements/{statement.day}?count={header.count}&total={total}",
            body=path.read_bytes(),
            headers={
                "X-Party": statement.party,
                "Content-Type": MEDIA_TYPES[form].partition(";")[0],
                "Content-Digest": f"sha-256=:{digest}:",
            },
        )
        if answer.status != 200:
            raise StatementNotTaken(f"the file of {statement.party} for {statement.day}: {answer.data!r}")

    @property
    def with_mailbox(self) -> frozenset[str]:
        """Institutions that fetch what they have not heard."""
        return frozenset(one.code for one in self.book_in_force.institutions if one.amqp)

    def hear_again(self, institution: str, day: date) -> None:
        """An institution fetches the answer that was sent to it again, and states its day as it has it now."""
        if not self.senders.fetch(institution):
            raise StatementNotTaken(f"{institution} found nothing in its mailbox")
        self.collect(institution, day)

    @property
    def book_in_force(self) -> RuleBook:
        return self.books.active().book


def _national(line: StatementLine) -> OutLine:
    return OutLine(line, setl_id=line.reference or "", total_fen=line.total)


def _injected(party: str, told: Mapping[str, str]) -> Injected:
    return Injected(
        party=party,
        day=date.fromisoformat(told["day"]),
        kind=FaultKind(told["kind"]),
        institution=told["institution"],
        settlement_no=told["settlement_no"],
        payer=told["payer"],
        found_as=BreakClass(told["found_as"]),
        before=BreakClass(told["before"]) if told["before"] else None,
    )
