"""A national-style region on a loopback port, a client that speaks to it, and tasks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from adapters.basic.national.client import BasicNational
from adapters.conversation import Said, calls_of
from sandbox.basic_national import PATH, BasicNationalServer, Policy
from sandbox.book import Book
from sandbox.faults import Fault, FaultKind
from sandbox.web import Listener
from schemas.codes import InsuranceType, MedicalType, VisitKind
from schemas.payer import Decision, MessageNumbers, Notice, Operation, PartySettings, PayerTask, RawAnswer
from schemas.settlement import Insurance, SettlementRequest, Visit
from tests.support.payer_tasks import a_fee, a_request, a_task

PARTY = "BASIC-360100"
INSTITUTION = "H36010000001"
NUMBERS = MessageNumbers(datetime(2026, 3, 9, 1, 30, tzinfo=UTC), 20_000)
OPTIONS = {"path": PATH, "fee_classes": "yes"}
KINDS = {
    VisitKind.OUTPATIENT: MedicalType.OUTPATIENT,
    VisitKind.INPATIENT: MedicalType.INPATIENT,
    VisitKind.PHARMACY: MedicalType.PHARMACY,
}


@contextmanager
def a_region(policy: Policy | None = None, book: Path | None = None) -> Iterator[Region]:
    """A region that runs on a thread of its own; its book in memory without a path."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="region", daemon=True)
    thread.start()
    server = BasicNationalServer(PARTY, Book(book, volatile=book is None), policy=policy)
    listener = Listener(server, "127.0.0.1", 0)
    asyncio.run_coroutine_threadsafe(listener.open(), loop).result(10)
    try:
        yield Region(server, f"http://127.0.0.1:{listener.port}")
    finally:
        asyncio.run_coroutine_threadsafe(listener.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        server.book.close()


@dataclass(frozen=True, slots=True)
class Region:
    """The region and where it is."""

    server: BasicNationalServer
    url: str

    @property
    def net_fen(self) -> int:
        """What the funds have paid, cancellations taken off."""
        return self.server.book.totals().net_fen

    def suffers(self, kind: FaultKind, **changes: Any) -> None:
        """One fault, once unless told otherwise."""
        self.server.faults.set([Fault(**{"kind": kind, "count": 1} | changes)])

    def client(self, secrets: Mapping[str, str] | None = None, **options: str) -> Client:
        """A client with the switches of this region."""
        settings = PartySettings(
            code=PARTY,
            adapter="basic.national",
            endpoint=self.url,
            region="360100",
            options={**OPTIONS, **options},
            secrets=secrets or {},
        )
        return Client(BasicNational(settings))


@dataclass(frozen=True, slots=True)
class Client:
    """What the hub does with an adapter."""

    adapter: BasicNational

    def ask(self, task: PayerTask, timeout_s: float = 5.0) -> Decision:
        """Prepare, send, decode."""
        return self.adapter.decode(task, self.heard(task, timeout_s))

    def heard(self, task: PayerTask, timeout_s: float = 5.0) -> RawAnswer:
        """Prepare and send."""
        return self.adapter.send(self.adapter.prepare(task), timeout_s)

    def calls(self, task: PayerTask) -> list[Said]:
        """Prepare and send: what was said."""
        return calls_of(self.heard(task))

    def tell(self, notice: Notice) -> Decision:
        """The same with a notice."""
        answer = self.adapter.send(self.adapter.prepare_notice(notice), 5.0)
        return self.adapter.decode_notice(notice, answer)


def a_bill(kind: VisitKind = VisitKind.OUTPATIENT, lines: int = 3, **changes: Any) -> SettlementRequest:
    """A bill of 600.00 yuan a line in the region."""
    visit = Visit(
        visit_no=changes.pop("visit_no", "V-1"),
        kind=kind,
        medical_type=KINDS[kind],
        started_at=datetime(2026, 3, 2, 1, 15, tzinfo=UTC),
        ended_at=datetime(2026, 3, 9, 1, 15, tzinfo=UTC) if kind is VisitKind.INPATIENT else None,
        department="内科",
        doctor_code="D360100000001",
    )
    values: dict[str, Any] = {
        "institution": INSTITUTION,
        "region": "360100",
        "fees": tuple(a_fee(number, price="300.00", quantity="2") for number in range(1, lines + 1)),
        "insurance": Insurance(type=InsuranceType.RESIDENT, person_no="36010000000000012345", region="360100"),
        "visit": visit,
    }
    return a_request(**values | changes)


def a_claim(kind: VisitKind = VisitKind.OUTPATIENT, **changes: Any) -> PayerTask:
    """A settle of the bill."""
    values: dict[str, Any] = {"request": a_bill(kind), "payer": PARTY, "numbers": NUMBERS}
    return a_task(**values | changes)


def numbers(place: int) -> MessageNumbers:
    """Other message numbers than the claim's."""
    return replace(NUMBERS, first=NUMBERS.first + 200 * place)


def inquiry_of(task: PayerTask) -> PayerTask:
    """What became of it?"""
    asked = replace(task, operation=Operation.INQUIRE, request_id="R-INQUIRY", original_request_id=task.request_id)
    return replace(asked, original_numbers=task.numbers, numbers=numbers(1))


def cancel_of(task: PayerTask, decision: Decision) -> PayerTask:
    """Take back what stands."""
    return replace(
        task,
        operation=Operation.CANCEL,
        request_id="R-CANCEL",
        original_request_id=task.request_id,
        original_reference=decision.payer_reference,
        original_amount_fen=decision.amount_fen,
        original_numbers=task.numbers,
        numbers=numbers(2),
    )


def reversal_of(task: PayerTask) -> PayerTask:
    """Take back whatever stands."""
    asked = replace(inquiry_of(task), operation=Operation.REVERSE, request_id="R-REVERSE")
    return replace(asked, numbers=numbers(3))
