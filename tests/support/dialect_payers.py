"""Payers that speak dialects, with the sandbox's party behind them; tasks and notices for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from adapters.registry import make_adapter
from sandbox.book import Book
from sandbox.faults import Fault, FaultKind
from sandbox.server import Sandbox
from schemas.codes import InsuranceType, Layer, MedicalType, VisitKind
from schemas.payer import (
    BasicResult,
    Decision,
    MessageNumbers,
    Notice,
    Operation,
    PartySettings,
    PayerTask,
    PreparedCall,
    RawAnswer,
)
from schemas.settlement import AdjudicatedShare, AdjudicationUpload, BasicFigures, Insurance, SettlementRequest, Visit
from tests.support.payer_tasks import a_fee, a_request, a_task

NUMBERS = MessageNumbers(datetime(2026, 3, 9, 1, 30, tzinfo=UTC), 4711)
OTHER_NUMBERS = MessageNumbers(datetime(2026, 3, 9, 1, 40, tzinfo=UTC), 4800)
REQUEST_ID = "0198a1b2c3d4e5f60718293a4b5c6d7e-2"


def a_stay(lines: int = 5, **changes: Any) -> SettlementRequest:
    """An inpatient bill of 6,000.00 yuan a line in Guangxi."""
    values: dict[str, Any] = {
        "institution": "H45010000001",
        "region": "450100",
        "fees": tuple(a_fee(number, price="3000.00", quantity="2") for number in range(1, lines + 1)),
        "insurance": Insurance(type=InsuranceType.RESIDENT, person_no="45010000000000012345", region="450100"),
        "visit": Visit(
            visit_no="V-1",
            kind=VisitKind.INPATIENT,
            medical_type=MedicalType.INPATIENT,
            started_at=datetime(2026, 3, 2, 1, 15, tzinfo=UTC),
            ended_at=datetime(2026, 3, 9, 1, 15, tzinfo=UTC),
            department="内科",
            doctor_code="D450100000001",
        ),
    }
    return a_request(**values | changes)


def half_paid(request: SettlementRequest) -> BasicResult:
    """The basic system finds 90 % in scope and pays half of the bill; the rest is cash."""
    total = request.total
    return BasicResult(
        total_fen=total,
        own_pay_fen=total // 20,
        over_limit_fen=0,
        first_self_pay_fen=total // 20,
        in_scope_fen=total - 2 * (total // 20),
        deductible_fen=600_00,
        fund_fen=total // 2,
        account_fen=0,
        cash_fen=total - total // 2,
        hospital_fen=0,
        funds=(("390100", total // 2),),
    )


def a_stay_task(payer: str, product: str, **changes: Any) -> PayerTask:
    """The claim for a stay after the basic system."""
    request = changes.pop("request", None) or a_stay()
    basic = half_paid(request)
    values: dict[str, Any] = {
        "request": request,
        "request_id": REQUEST_ID,
        "payer": payer,
        "leg_no": 2,
        "layer": Layer.CRITICAL_ILLNESS,
        "product": product,
        "basic": basic,
        "left_fen": basic.cash_fen,
        "numbers": NUMBERS,
    }
    return a_task(**values | changes)


def inquiry_of(task: PayerTask) -> PayerTask:
    asked = replace(task, operation=Operation.INQUIRE, original_request_id=task.request_id)
    return replace(asked, request_id=f"{task.request_id}-q1", numbers=OTHER_NUMBERS, original_numbers=task.numbers)


def cancel_of(task: PayerTask, decision: Decision) -> PayerTask:
    asked = replace(inquiry_of(task), operation=Operation.CANCEL, request_id=f"{task.request_id}-c")
    return replace(
        asked, original_reference=decision.payer_reference, original_amount_fen=decision.amount_fen, left_fen=0
    )


def a_record(payer: str, own_fen: int, **changes: Any) -> Notice:
    """A stay that the basic system has adjudicated whole, as the payer is told of it."""
    stay = a_stay()
    basic = half_paid(stay)
    figures = BasicFigures(
        own_pay=basic.own_pay_fen,
        first_self_pay=basic.first_self_pay_fen,
        in_scope=basic.in_scope_fen,
        deductible=basic.deductible_fen,
    )
    shares = (
        AdjudicatedShare(layer=Layer.BASIC, payer="BASIC-450100", amount=basic.fund_fen, figures=figures),
        AdjudicatedShare(layer=Layer.CRITICAL_ILLNESS, payer=payer, amount=own_fen),
    )
    message = AdjudicationUpload(**dict(stay) | {"adjudicated": shares})
    return a_notice("adjudication.upload", payer, message, **changes)


def a_notice(transaction: str, payer: str, message: Any, **changes: Any) -> Notice:
    values: dict[str, Any] = {"request_id": "N-0001", "numbers": NUMBERS}
    return Notice(transaction=transaction, payer=payer, message=message, **values | changes)


@dataclass(frozen=True)
class DialectPayer:
    """One party of a sandbox, asked through one adapter with the options of its dialect."""

    sandbox: Sandbox
    adapter: str
    code: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def book(self) -> Book:
        return self.sandbox.books[self.code]

    def ask(self, task: PayerTask, **options: str) -> Decision:
        made = self.made(**options)
        try:
            return made.decode(task, made.send(made.prepare(task), 5.0))
        finally:
            made.close()

    def tell(self, notice: Notice, **options: str) -> Decision:
        made = self.made(**options)
        try:
            return made.decode_notice(notice, made.send(made.prepare_notice(notice), 5.0))
        finally:
            made.close()

    def say(self, call: PreparedCall) -> RawAnswer:
        made = self.made()
        try:
            answer: RawAnswer = made.send(call, 5.0)
            return answer
        finally:
            made.close()

    def made(self, **options: str) -> Any:
        endpoint = self.sandbox.endpoints()[self.code]
        settings = PartySettings(
            code=self.code,
            adapter=self.adapter,
            endpoint=endpoint,
            region="450100",
            options=self.options | options,
        )
        return make_adapter(settings)

    def fails(self, kind: FaultKind, count: int | None = 1, **more: Any) -> None:
        self.sandbox.set_faults(self.code, [Fault(kind=kind, count=count, **more)], seed=3)

    def heals(self) -> None:
        self.sandbox.set_faults(self.code, [])
