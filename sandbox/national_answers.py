"""How a national-style region writes its answers: line results, the adjudication as it is kept, odd shapes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from sandbox import clock
from sandbox.adjudication import BasicScheme, BillLine, split_line
from sandbox.entries import Entry
from sandbox.national_visits import Line, Visit
from schemas.payer import BasicResult

Output = dict[str, Any]
_PARTS = {
    "310100": "hifp_pay",
    "390100": "hifp_pay",
    "320100": "cvlserv_pay",
    "330100": "hifob_pay",
    "370100": "hifes_pay",
    "390200": "hifmi_pay",
    "610100": "maf_pay",
}
_ALL_PARTS = ("hifp_pay", "cvlserv_pay", "hifes_pay", "hifmi_pay", "hifob_pay", "hifdm_pay", "maf_pay", "oth_pay")


def line_result(line: Line, scheme: BasicScheme) -> dict[str, Any]:
    sign = -1 if line.amount_fen < 0 else 1
    part = split_line(scheme, BillLine(abs(line.amount_fen), line.level, line.category, int(abs(line.count) * 10_000)))
    return {
        "feedetl_sn": line.number,
        "det_item_fee_sumamt": yuan(line.amount_fen),
        "cnt": line.count,
        "pric": line.price,
        "fulamt_ownpay_amt": yuan(sign * part.own_pay_fen),
        "overlmt_amt": yuan(sign * part.over_limit_fen),
        "preselfpay_amt": yuan(sign * part.first_self_pay_fen),
        "inscp_scp_amt": yuan(sign * part.in_scope_fen),
        "chrgitm_lv": line.level,
        "med_chrgitm_type": line.category,
        "lmt_used_flag": "0",
    }


def detail_of(visit: Visit, result: BasicResult, insutype: str) -> str:
    parts = dict.fromkeys(_ALL_PARTS, 0)
    for kind, amount in result.funds:
        parts[_PARTS.get(kind, "oth_pay")] += amount
    amounts = {
        "medfee_sumamt": result.total_fen,
        "fulamt_ownpay_amt": result.own_pay_fen,
        "overlmt_selfpay": result.over_limit_fen,
        "preselfpay_amt": result.first_self_pay_fen,
        "inscp_scp_amt": result.in_scope_fen,
        "act_pay_dedc": result.deductible_fen,
        **parts,
        "fund_pay_sumamt": result.fund_fen,
        "psn_part_amt": result.account_fen + result.cash_fen,
        "acct_pay": result.account_fen,
        "psn_cash_pay": result.cash_fen,
        "hosp_part_amt": result.hospital_fen,
        "balc": 0,
        "acct_mulaid_pay": 0,
    }
    kept = {name: getattr(visit, name) for name in Visit.__dataclass_fields__ if name not in ("lines", "settled")}
    lines = [
        {name: getattr(line, name) for name in Line.__dataclass_fields__}
        | {"count": str(line.count), "price": str(line.price)}
        for line in visit.lines.values()
    ]
    told = {"mdtrt_id": visit.mdtrt_id, "psn_no": visit.psn_no, "insutype": insutype}
    return orjson.dumps({**told, "amounts": amounts, "funds": result.funds, "visit": {**kept, "lines": lines}}).decode()


def stored_line(raw: dict[str, Any]) -> Line:
    return Line(**{**raw, "count": Decimal(raw["count"]), "price": Decimal(raw["price"])})


def other_shape(output: Output) -> Output:
    shaped: Output = {}
    for name, node in output.items():
        if isinstance(node, list):
            shaped[name] = node[0] if len(node) == 1 else node
        else:
            shaped[name] = [node]
    if len(shaped) == 1 and next(iter(shaped)) not in ("data", "result"):
        return shaped
    if len(shaped) == 1:
        return {"result" if "data" in shaped else "data": next(iter(shaped.values()))}
    return shaped


def yuan(amount_fen: int) -> Decimal:
    return Decimal(amount_fen).scaleb(-2)


def plain_number(value: object) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError


def now() -> str:
    return clock.now().isoformat(timespec="seconds")


def moment(entry: Entry) -> str:
    return entry.decided_at[:19].replace("T", " ")
