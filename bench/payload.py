"""The request that every series is measured with: a canonical outpatient bill of about 2 KB. All of it is invented."""

from __future__ import annotations

import json

from schemas.identity import check_character

INSTITUTION = "H33010000001"
REGION = "330100"
PEOPLE = 5000
LINES = 9


def settle_request(number: int) -> dict[str, object]:
    """The settlement with this number; the same number gives the same request, and people come round every PEOPLE."""
    fees = [fee_line(line) for line in range(1, LINES + 1)]
    total_fen = sum(_price_fen(line) * _quantity(line) for line in range(1, LINES + 1))
    return {
        "schema_version": "1",
        "institution": INSTITUTION,
        "settlement_no": settlement_no(number),
        "region": REGION,
        "patient": patient(number % PEOPLE),
        "insurance": {"type": "310", "person_no": person_no(number % PEOPLE), "region": REGION},
        "visit": {
            "visit_no": f"V{number:010d}",
            "kind": "outpatient",
            "medical_type": "11",
            "started_at": "2026-03-02T09:30:00+08:00",
            "department": "Internal medicine",
        },
        "diagnoses": [{"code": "J06.900", "name": "acute upper respiratory infection", "main": True}],
        "fees": fees,
        "total": yuan(total_fen),
    }


def settlement_no(number: int) -> str:
    """The hospital's own number of a settlement; replies are told apart by it."""
    return f"BENCH-{number:010d}"


def person_no(person: int) -> str:
    """The basic system's number of an invented person (0..PEOPLE-1)."""
    return f"P{person:07d}"


def patient(person: int) -> dict[str, object]:
    """An invented person with an identity number whose check digit is right."""
    first_17 = f"33010219700101{person % 1000:03d}"
    return {
        "name": "Synthetic Person",
        "id_type": "01",
        "id_no": first_17 + check_character(first_17),
        "sex": "2",
        "birth_date": "1970-01-01",
    }


def fee_line(line: int) -> dict[str, object]:
    """Line `line` (from 1) of the invented bill."""
    return {
        "line_no": str(line),
        "item_code": f"X{100000 + line * 37:06d}",
        "item_name": f"catalogue item number {line}",
        "category": "09",
        "level": "01",
        "price": yuan(_price_fen(line)),
        "quantity": str(_quantity(line)),
        "amount": yuan(_price_fen(line) * _quantity(line)),
        "occurred_on": "2026-03-02",
    }


def _price_fen(line: int) -> int:
    return 1250 + line * 100


def _quantity(line: int) -> int:
    return 1 + line % 3


def yuan(fen: int) -> str:
    """Whole fen as the text that travels."""
    return f"{fen // 100}.{fen % 100:02d}"


def encode(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()
