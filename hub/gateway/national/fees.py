"""2204, 2205, 2301, 2302: fee lines. The national line has no word for what it refunds everywhere, so it is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.visits import HeldVisit, bring_visit, held_visit
from schemas.codes import FeeCategory, ItemLevel
from schemas.errors import InvalidMessage, Violation
from schemas.money import yuan_of
from schemas.national.fields import CHINA, Record
from schemas.transactions import Transaction

EVERYTHING = "0000"
_REASON = "医疗机构撤销"
_CATEGORIES: tuple[tuple[str, FeeCategory], ...] = (
    ("001101", FeeCategory.REGISTRATION),
    ("001102", FeeCategory.CONSULTATION),
    ("001109", FeeCategory.BED),
    ("001201", FeeCategory.NURSING),
    ("0012", FeeCategory.TREATMENT),
    ("0024", FeeCategory.TREATMENT),
    ("0025", FeeCategory.LABORATORY),
    ("0026", FeeCategory.LABORATORY),
    ("0027", FeeCategory.LABORATORY),
    ("002", FeeCategory.EXAMINATION),
    ("0033", FeeCategory.OPERATION),
    ("003", FeeCategory.TREATMENT),
    ("004", FeeCategory.TREATMENT),
    ("X", FeeCategory.WESTERN_DRUG),
    ("Z", FeeCategory.PATENT_CHINESE_DRUG),
    ("T", FeeCategory.HERBAL_PIECES),
    ("C", FeeCategory.MATERIALS),
)
"""What kind of fee a national code is, by how it begins: drugs X and Z, herbal pieces T, consumables C, services 00
with the chapter of the price list behind. The first that fits counts; the rest is other."""


def category_of(line: Mapping[str, Any]) -> str:
    """med_chrgitm_type: what the line says, else what its national code says."""
    code = line["med_list_codg"].upper()
    found = next((category for prefix, category in _CATEGORIES if code.startswith(prefix)), FeeCategory.OTHER)
    return str(line.get("med_chrgitm_type") or found.value)


def level_of(line: Mapping[str, Any]) -> str:
    """chrgitm_lv: what the line says (1, 2, 3 are written too); wholly in scope when it says nothing."""
    return str(line["chrgitm_lv"]).zfill(2) if line.get("chrgitm_lv") else ItemLevel.FULL.value


def canonical_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """A national fee line as a canonical one, without what it refunds."""
    name = line.get("medins_list_name") or line["med_list_codg"]
    return {
        "line_no": line["feedetl_sn"],
        "item_code": line["med_list_codg"],
        "item_name": name,
        "category": category_of(line),
        "level": level_of(line),
        "price": plain(line["pric"]),
        "quantity": plain(line["cnt"]),
        "amount": yuan_of(line["det_item_fee_sumamt"]),
        "occurred_on": line["fee_ocur_time"].astimezone(CHINA).date().isoformat(),
        "local_code": line["medins_list_codg"],
    }


def plain(number: Decimal) -> str:
    """Digits without an exponent or trailing zeros."""
    text = format(number.normalize(), "f")
    return text if text != "-0" else "0"


async def upload(call: Call, services: Services) -> Reply:
    """2204 and 2301: all lines of the message or none."""
    rows: list[Record] = call.content["feedetail"]
    _one_visit(rows)
    bill = await held_visit(call, services, rows[0])
    lines = [canonical_line(row) | refund_of(index, rows, bill) for index, row in enumerate(rows)]
    # Local names belong to uploads only, where the mapping keeps them.
    lines = [
        line | ({"local_name": row["medins_list_name"]} if "medins_list_name" in row else {})
        for line, row in zip(lines, rows, strict=True)
    ]
    batch = rows[0].get("chrg_bchno") or call.msgid
    await bring_visit(
        call, services, Transaction.FEES_UPLOAD, bill.admission.visit_no, {"batch_no": batch, "lines": lines}
    )
    return Reply({"result": [_result(row) for row in rows]})


def _one_visit(rows: Sequence[Record]) -> None:
    for index, row in enumerate(rows):
        for name, code in (("mdtrt_id", "national.mdtrt_id"), ("psn_no", "national.psn_no")):
            if row[name] != rows[0][name]:
                raise wrong(f"feedetail[{index}].{name}", code, "one message is about one visit")
        if row.get("chrg_bchno", "") != rows[0].get("chrg_bchno", ""):
            raise wrong(f"feedetail[{index}].chrg_bchno", "national.batch", "one message is one batch")


def refund_of(index: int, rows: Sequence[Record], bill: HeldVisit) -> dict[str, str]:
    """Which line a line with a minus takes back; the same answer when the message comes again."""
    row = rows[index]
    if row["det_item_fee_sumamt"] >= 0 and row["cnt"] >= 0:
        return {}
    if "init_feedetl_sn" in row:
        return {"refunds": row["init_feedetl_sn"]}
    again = [line.refunds or "" for line in bill.lines if line.line_no == row["feedetl_sn"] and line.refunds]
    if again:
        return {"refunds": again[0]}
    found = _refunded(index, rows, bill)
    if not found:
        path = f"feedetail[{index}].init_feedetl_sn"
        raise InvalidMessage("", Violation(path, "national.refund", "name the line"), code="national.fields")
    return {"refunds": found}


def _refunded(index: int, rows: Sequence[Record], bill: HeldVisit) -> str:
    """The latest line of the same item and price with enough left of it: standing, or before it in the message."""
    row = rows[index]
    left: dict[str, Decimal] = {}
    for line in bill.lines:
        number = line.refunds or line.line_no
        same = (line.item_code, line.local_code, line.price) == _item(row)
        if same:
            left[number] = left.get(number, Decimal(0)) + line.quantity
    for position, other in enumerate(rows[:index]):
        if _item(other) != _item(row):
            continue
        number = refund_of(position, rows, bill).get("refunds") or str(other["feedetl_sn"])
        left[number] = left.get(number, Decimal(0)) + other["cnt"]
    enough = [number for number, quantity in left.items() if quantity >= -row["cnt"] and number != row["feedetl_sn"]]
    return enough[-1] if enough else ""


def _item(row: Mapping[str, Any]) -> tuple[str, str, Decimal]:
    return row["med_list_codg"], row["medins_list_codg"], row["pric"]


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    """The line as it was taken. How it splits is the basic system's to say, at the settlement."""
    taken = {name: row[name] for name in ("feedetl_sn", "det_item_fee_sumamt", "cnt", "pric")}
    return taken | {
        "chrgitm_lv": level_of(row),
        "med_chrgitm_type": category_of(row),
        "lmt_used_flag": "0",
        "memo": "分割金额以结算结果为准",
    }


async def cancel_outpatient(call: Call, services: Services) -> Reply:
    """2205: a batch, or all that stand."""
    facts = call.content["data"]
    batch = facts["chrg_bchno"]
    return await _cancel(call, services, facts, {} if batch == EVERYTHING else {"batch_no": batch})


async def cancel_inpatient(call: Call, services: Services) -> Reply:
    """2302: a line, or all that stand."""
    facts = call.content["data"]
    number = facts["feedetl_sn"]
    return await _cancel(call, services, facts, {} if number == EVERYTHING else {"line_nos": [number]})


async def _cancel(call: Call, services: Services, facts: Mapping[str, Any], which: dict[str, Any]) -> Reply:
    bill = await held_visit(call, services, facts)
    await bring_visit(call, services, Transaction.FEES_CANCEL, bill.admission.visit_no, {**which, "reason": _REASON})
    return Reply()
