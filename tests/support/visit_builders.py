"""Messages about a visit that tests build on; only what matters is passed in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from schemas.money import yuan_of
from tests.support.builders import HOSPITAL, REGION, a_rule_book_text, an_id_card

PATIENT = {"name": "欧阳·测试", "id_type": "01", "id_no": an_id_card()}


def a_book_with_visits(visits: str = "required", **changes: Any) -> dict[str, Any]:
    """The changes to a rule book under which both hospitals' visits are kept."""
    book = json.loads(a_rule_book_text())
    for institution in book["institutions"]:
        institution["visits"] = visits
    return {"institutions": book["institutions"]} | changes


def an_admission(visit_no: str = "V-1", request_no: str = "A-1", **changes: Any) -> dict[str, Any]:
    return {
        "institution": HOSPITAL,
        "request_no": request_no,
        "visit_no": visit_no,
        "region": REGION,
        "patient": PATIENT,
        "insurance": {"type": "310", "person_no": "P-1", "region": REGION},
        "kind": "inpatient",
        "medical_type": "21",
        "admitted_at": "2026-03-01T08:00:00+08:00",
        "diagnoses": [{"code": "J18", "name": "肺炎", "main": True}],
    } | changes


def a_line(line_no: str, fen: int, **changes: Any) -> dict[str, Any]:
    """A fee line of one piece; below zero it is a refund and needs `refunds`."""
    sign = "-" if fen < 0 else ""
    return {
        "line_no": line_no,
        "item_code": "XA01",
        "item_name": "阿莫西林胶囊",
        "category": "09",
        "price": yuan_of(abs(fen)),
        "quantity": f"{sign}1",
        "amount": yuan_of(fen),
    } | changes


def a_fees_upload(lines: Iterable[dict[str, Any]], request_no: str = "F-1", visit_no: str = "V-1") -> dict[str, Any]:
    return {
        "institution": HOSPITAL,
        "request_no": request_no,
        "visit_no": visit_no,
        "batch_no": f"B-{request_no}",
        "lines": list(lines),
    }


def a_discharge(visit_no: str = "V-1", request_no: str = "D-1", **changes: Any) -> dict[str, Any]:
    return {
        "institution": HOSPITAL,
        "request_no": request_no,
        "visit_no": visit_no,
        "discharged_at": "2026-03-05T10:00:00+08:00",
        "diagnoses": [{"code": "J18", "name": "肺炎", "main": True}],
    } | changes


def an_undo(request_no: str, visit_no: str = "V-1", **changes: Any) -> dict[str, Any]:
    """admission.cancel, fees.cancel or discharge.cancel."""
    return {"institution": HOSPITAL, "request_no": request_no, "visit_no": visit_no, "reason": "误登记"} | changes


def a_stay_to_settle(
    total_fen: int, settlement_no: str = "S-1", visit_no: str = "V-1", **changes: Any
) -> dict[str, Any]:
    """The settlement of the stay that the others make."""
    amount = yuan_of(total_fen)
    return {
        "institution": HOSPITAL,
        "settlement_no": settlement_no,
        "region": REGION,
        "patient": PATIENT,
        "insurance": {"type": "310", "person_no": "P-1", "region": REGION},
        "visit": {
            "visit_no": visit_no,
            "kind": "inpatient",
            "medical_type": "21",
            "started_at": "2026-03-01T08:00:00+08:00",
            "ended_at": "2026-03-05T10:00:00+08:00",
        },
        "diagnoses": [{"code": "J18", "name": "肺炎", "main": True}],
        "fees": [a_line("1", total_fen, price=amount)],
        "total": amount,
    } | changes
