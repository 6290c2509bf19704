"""Hosted products and bills that tests calculate with, and the pocket calculator that follows a trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from routing.hosted import Bill
from schemas.codes import FeeCategory, ItemLevel, MedicalType, VisitKind
from schemas.hosted import HostedProduct, Sign, TraceLine
from schemas.money import fen_of, share_fen
from schemas.payer import BasicFacts
from schemas.settlement import Diagnosis, FeeLine

DAY = date(2026, 3, 2)
PRODUCT = "CITY-PLUS"


def some_terms(**changes: Any) -> dict[str, Any]:
    """Terms as they stand in a rule book; without changes everything net is paid."""
    return {"valid_from": "2026-01-01", "basis": "net"} | changes


def a_product(*terms: dict[str, Any], **changes: Any) -> HostedProduct:
    """A hosted product with these terms."""
    name = {"zh": "城市补充医疗", "en": "City plus"}
    values = {"code": PRODUCT, "name": name, "terms": list(terms) or [some_terms()]}
    return HostedProduct.model_validate(values | changes)


def a_line(number: int, yuan: str, level: str = "01", **changes: Any) -> FeeLine:
    """A fee line of one piece."""
    values: dict[str, Any] = {
        "line_no": f"{number}",
        "item_code": f"X{number}",
        "item_name": "项目",
        "category": FeeCategory.WESTERN_DRUG,
        "level": ItemLevel(level),
        "price": Decimal(yuan),
        "quantity": Decimal(1),
        "amount": fen_of(yuan),
    }
    return FeeLine(**values | changes)


def basic_facts(in_scope: int, fund_paid: int, **changes: int) -> BasicFacts:
    """The basic system's figures, whole fen."""
    values = dict.fromkeys(BasicFacts.model_fields, 0) | {"in_scope": in_scope, "fund_paid": fund_paid}
    return BasicFacts(**values | changes)


def a_bill(*fees: FeeLine, fund_paid: str = "0", **changes: Any) -> Bill:
    """A visit on DAY; what the basic fund does not pay is left."""
    lines = fees or (a_line(1, "100.00"),)
    total = sum(line.amount for line in lines)
    by_level = {level: sum(line.amount for line in lines if line.level is level) for level in ItemLevel}
    paid = fen_of(fund_paid)
    values: dict[str, Any] = {
        "day": DAY,
        "visit_kind": VisitKind.INPATIENT,
        "medical_type": MedicalType.INPATIENT,
        "diagnoses": (Diagnosis(code="I10", name="高血压", main=True),),
        "fees": lines,
        "total_fen": total,
        "basic": basic_facts(total - by_level[ItemLevel.SELF_PAID], paid, own_pay=by_level[ItemLevel.SELF_PAID]),
        "earlier_fen": 0,
        "left_fen": total - paid,
    }
    return Bill(**values | changes)


def on_paper(trace: Sequence[TraceLine]) -> int:
    """What somebody with a pocket calculator makes of a trace; an AssertionError where a line does not follow."""
    figure, shares = 0, 0
    for line in trace:
        if line.of is not None:
            assert line.amount == share_fen(line.of, line.ratio_bp or 0, 10_000), line.step
        match line.sign:
            case Sign.START:
                figure = line.amount
            case Sign.LESS:
                figure = max(0, figure - line.amount)
            case Sign.LIMIT:
                figure = min(figure, line.amount)
            case Sign.SHARE:
                shares += line.amount
            case Sign.RESULT:
                figure, shares = (shares, 0) if line.step in ("shares", "after_ratio") else (figure, 0)
                assert line.amount == figure, line.step
    return figure
