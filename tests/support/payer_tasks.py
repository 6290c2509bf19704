"""Payer tasks that tests build on; only what matters is passed in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from schemas.codes import FeeCategory, IdentityType, InsuranceType, ItemLevel, Layer, MedicalType, Sex, VisitKind
from schemas.money import rounded_fen
from schemas.payer import BasicResult, Operation, PayerTask
from schemas.settlement import Diagnosis, FeeLine, Insurance, Patient, SettlementRequest, SettleRequest, Visit
from tests.support.builders import wholly_in_scope


def a_fee(number: int, price: str = "12.50", quantity: str = "2", **changes: Any) -> FeeLine:
    """A fee line that multiplies out."""
    values: dict[str, Any] = {
        "line_no": f"L{number}",
        "item_code": "XA10BAA123A001010100000",
        "item_name": "盐酸二甲双胍片",
        "category": FeeCategory.WESTERN_DRUG,
        "level": ItemLevel.FULL,
        "price": Decimal(price),
        "quantity": Decimal(quantity),
        "amount": rounded_fen(Decimal(price) * Decimal(quantity)),
        "occurred_on": date(2026, 3, 2),
    }
    return FeeLine(**values | changes)


def a_request(lines: int = 2, **changes: Any) -> SettlementRequest:
    """A settlement request of `lines` equal lines of 25.00 yuan."""
    fees = changes.pop("fees", None) or tuple(a_fee(number + 1) for number in range(lines))
    values: dict[str, Any] = {
        "institution": "H44030000001",
        "settlement_no": "S-20260302-0001",
        "region": "440300",
        "patient": a_patient(),
        "insurance": Insurance(
            type=InsuranceType.EMPLOYEE, person_no="44030000000000012345", region="440300", card_no="F12345678"
        ),
        "visit": Visit(
            visit_no="V-1",
            kind=VisitKind.OUTPATIENT,
            medical_type=MedicalType.OUTPATIENT,
            started_at=datetime(2026, 3, 2, 1, 15, tzinfo=UTC),
            department="内科",
            doctor_code="D440300000001",
        ),
        "diagnoses": (Diagnosis(code="E11.900", name="2型糖尿病", main=True),),
        "fees": fees,
        "total": sum(line.amount for line in fees),
    }
    return SettleRequest(**values | changes)


def a_patient(**changes: Any) -> Patient:
    values: dict[str, Any] = {
        "name": "张伟·测试",
        "id_type": IdentityType.ID_CARD,
        "id_no": "11010519491231002X",
        "sex": Sex.FEMALE,
        "birth_date": date(1949, 12, 31),
    }
    return Patient(**values | changes)


def a_task(operation: Operation = Operation.SETTLE, **changes: Any) -> PayerTask:
    """A task for the basic system; for an insurer pass payer, layer, product, left_fen, basic."""
    request = changes.pop("request", None) or a_request()
    values: dict[str, Any] = {
        "operation": operation,
        "request_id": "R-0001",
        "case_id": "C-0001",
        "leg_no": 1,
        "payer": "BASIC-440300",
        "layer": Layer.BASIC,
        "product": "basic",
        "policy_no": None,
        "request": request,
        "left_fen": request.total,
    }
    if operation is Operation.CANCEL:
        values |= {
            "original_request_id": "R-0000",
            "original_reference": "SETL-0000",
            "original_amount_fen": request.total * 7 // 10,
        }
    elif operation in (Operation.REVERSE, Operation.INQUIRE):
        values["original_request_id"] = "R-0000"
    return PayerTask(**values | changes)


def an_insurer_task(operation: Operation = Operation.SETTLE, **changes: Any) -> PayerTask:
    """A task for a commercial insurer after a basic system that paid 70 %."""
    basic = a_basic_result(changes.get("request") or a_request())
    values: dict[str, Any] = {
        "payer": "ANKANG",
        "leg_no": 2,
        "layer": Layer.COMMERCIAL,
        "product": "city-benefit",
        "policy_no": "P-0001",
        "basic": basic,
        "left_fen": basic.cash_fen,
    }
    if operation is Operation.CANCEL:
        values["original_amount_fen"] = basic.cash_fen // 2
    return a_task(operation, **values | changes)


def a_basic_result(request: SettlementRequest) -> BasicResult:
    """The basic system pays 70 % of a bill that is wholly in scope, the patient the rest in cash."""
    return wholly_in_scope(request.total, request.total * 7 // 10)
