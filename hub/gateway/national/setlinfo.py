"""From the hub's combined answer to `setlinfo` and `setldetail`, such that a HIS that knows nothing of us bills right.

What payers behind the basic one bear goes where the interface has room for it, by layer: critical illness to
hifmi_pay, supplementary to hifes_pay, commercial to oth_pay. `fund_pay_sumamt` includes them and `psn_cash_pay` is what
the patient pays now, so the identities A4 to A8 hold; they are checked before an answer leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hub.gateway.national.numbers import short_number
from hub.gateway.national.persons import age_on, fund_of
from routing.rulebook import RuleBook
from schemas.answer import CombinedAnswer, PayerShare
from schemas.codes import CaseStatus, Layer, ShareState, VisitKind
from schemas.errors import IllegalTransition
from schemas.money import yuan_of
from schemas.national.identities import ACCOUNT_TYPES, AMOUNTS, FUND_PARTS, Switches, broken_amounts, bucket_of
from schemas.payer import BasicResult
from schemas.settlement import SettlementRequest
from store.records import CaseRecord, basic_from_json

FUND_TYPES: Mapping[Layer, str] = {
    Layer.CRITICAL_ILLNESS: "390200",
    Layer.SUPPLEMENTARY: "370100",
    Layer.COMMERCIAL: "999997",
}
"""fund_pay_type of what a payer behind the basic one bears; its first digits say which part of setlinfo it is in."""
CLEARING_TYPES = {VisitKind.OUTPATIENT: "11", VisitKind.INPATIENT: "21", VisitKind.PHARMACY: "41"}
_LAYERS = {
    Layer.BASIC: "基本医保",
    Layer.CRITICAL_ILLNESS: "大病保险",
    Layer.SUPPLEMENTARY: "补充保险",
    Layer.COMMERCIAL: "商业保险",
}
_FUNDS = {
    "310100": "职工基本医疗保险统筹基金",
    "320100": "公务员医疗补助基金",
    "330100": "大额医疗费用补助基金",
    "340100": "离休人员医疗保障基金",
    "370100": "企业补充医疗保险基金",
    "390100": "城乡居民基本医疗保险基金",
    "390200": "城乡居民大病医疗保险基金",
    "610100": "医疗救助基金",
}
_STATES = {
    ShareState.APPROVED: "已赔付",
    ShareState.DECLINED: "不予赔付",
    ShareState.DEFERRED: "转非即时赔付",
    ShareState.IN_DOUBT: "结果核实中",
    ShareState.HELD: "人工核对中",
    ShareState.NOT_NEEDED: "无需赔付",
    ShareState.PENDING: "等待答复",
    ShareState.CANCELLED: "已撤销",
}
_ITEM_BY_ITEM = "01"
_RATIO = Decimal("0.0001")
_EXACT = Switches()


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement or trial as it is to be told."""

    case: CaseRecord
    request: SettlementRequest
    answer: CombinedAnswer
    visit_number: str
    """mdtrt_id."""
    certificate_type: str = ""


def settlement_nodes(settled: Settled, book: RuleBook) -> dict[str, Any]:
    """`setlinfo` and `setldetail`, whole fen. IllegalTransition when the amounts break an identity: our own bug."""
    said = _basic(settled)
    basic = _split(said)
    details = [*_basic_rows(settled, basic, exact=basic == said), *_other_rows(settled, book)]
    info = {**_who(settled), **_amounts(settled, basic, details), **_about(settled)}
    if broken := broken_amounts(info, details, _EXACT):
        names = ",".join(violation.code for violation in broken)
        raise IllegalTransition("an answer would break identities", identities=names, case_id=settled.case.case_id)
    return {"setlinfo": info, "setldetail": details}


def mirrored(nodes: Mapping[str, Any], sign: int) -> dict[str, Any]:
    """The answer to a cancellation: every amount again, with the sign that the institution expects (A10)."""
    counted = (*AMOUNTS, "act_pay_dedc")
    info = {name: sign * value if name in counted else value for name, value in nodes["setlinfo"].items()}
    rows = [
        {name: sign * value if name in ("fund_payamt", "inscp_scp_amt") else value for name, value in row.items()}
        for row in nodes["setldetail"]
    ]
    return {"setlinfo": info, "setldetail": rows}


def warning_of(answer: CombinedAnswer) -> str:
    """What the cashier must know of a settlement that is not whole; empty when it is."""
    open_shares = [share for share in answer.shares if share.next_step is not None]
    if answer.status not in (CaseStatus.PARTLY_SETTLED, CaseStatus.TRIAL) or not open_shares:
        return ""
    steps = dict.fromkeys(share.next_step.zh for share in open_shares if share.next_step is not None)
    layers = "、".join(dict.fromkeys(_LAYERS[share.layer] for share in open_shares))
    amount = f"（涉及金额不超过{yuan_of(answer.deferred)}元）" if answer.deferred else ""
    return f"部分结算：{layers}部分未即时赔付{amount}，已计入现金。{''.join(steps)}"


def _basic(settled: Settled) -> BasicResult:
    """The basic system's figures; of a case without a basic layer everything lies outside of the catalogue."""
    leg = settled.case.legs[0]
    if leg.layer is Layer.BASIC and leg.basic is not None:
        return basic_from_json(leg.basic)
    total = settled.answer.total
    return BasicResult(total, total, 0, 0, 0, 0, 0, 0, settled.answer.cash, 0)


def _split(basic: BasicResult) -> BasicResult:
    """With figures that add up to the bill (A4).

    A region may have a tolerance, and what people or an upload brought need not be split. What is missing is told as in
    scope, what is too much as a bill outside the catalogue.
    """
    outside = basic.own_pay_fen + basic.over_limit_fen + basic.first_self_pay_fen
    if outside <= basic.total_fen:
        return replace(basic, in_scope_fen=basic.total_fen - outside)
    return replace(basic, own_pay_fen=basic.total_fen, over_limit_fen=0, first_self_pay_fen=0, in_scope_fen=0)


def _basic_rows(settled: Settled, basic: BasicResult, *, exact: bool) -> list[dict[str, Any]]:
    """One row per fund; what a basic system does not split belongs to the pool of the scheme."""
    paid = sum(share.amount for share in settled.answer.shares if share.layer is Layer.BASIC)
    funds = {kind: fen for kind, fen in basic.funds if kind not in ACCOUNT_TYPES}
    if sum(funds.values()) != paid:
        funds = {fund_of(settled.request.insurance.type): paid}
    explained = f"起付线{yuan_of(basic.deductible_fen)}元，符合政策范围{yuan_of(basic.in_scope_fen)}元"
    explained += "" if exact else "（基本医保未给出完整分割，差额已计入）"
    return [_row(kind, _FUNDS.get(kind, "其他基金"), fen, basic.in_scope_fen, explained) for kind, fen in funds.items()]


def _other_rows(settled: Settled, book: RuleBook) -> list[dict[str, Any]]:
    rows = []
    for share in settled.answer.shares:
        if share.layer is Layer.BASIC:
            continue
        left_fen = settled.case.leg(share.sequence).left_fen or 0
        party = book.party_by_code.get(share.payer)
        name = f"{_LAYERS[share.layer]}·{party.name.zh if party else share.payer}"
        rows.append(_row(FUND_TYPES[share.layer], name, share.amount, left_fen, _explained(share)))
    return rows


def _row(kind: str, name: str, fen: int, in_scope_fen: int, explained: str) -> dict[str, Any]:
    return {
        "fund_pay_type": kind,
        "inscp_scp_amt": in_scope_fen,
        "crt_payb_lmt_amt": 0,
        "fund_payamt": fen,
        "fund_pay_type_name": name[:200],
        "setl_proc_info": explained[:4000],
    }


def _explained(share: PayerShare) -> str:
    parts = [f"产品{share.product}", _STATES[share.state]]
    parts += [f"保单{share.policy_no}"] if share.policy_no else []
    parts += [share.reason.zh] if share.reason else []
    parts += [share.next_step.zh] if share.next_step else []
    parts += [f"赔案号{share.payer_reference}"] if share.payer_reference else []
    return "；".join(parts)


def _amounts(settled: Settled, basic: BasicResult, details: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answer = settled.answer
    parts = dict.fromkeys(FUND_PARTS, 0)
    for row in details:
        parts[bucket_of(row["fund_pay_type"])] += row["fund_payamt"]
    return {
        "medfee_sumamt": answer.total,
        "fulamt_ownpay_amt": basic.own_pay_fen,
        "overlmt_selfpay": basic.over_limit_fen,
        "preselfpay_amt": basic.first_self_pay_fen,
        "inscp_scp_amt": basic.in_scope_fen,
        "act_pay_dedc": basic.deductible_fen,
        "pool_prop_selfpay": _ratio(parts["hifp_pay"], basic.in_scope_fen),
        **parts,
        "fund_pay_sumamt": sum(parts.values()),
        "psn_part_amt": answer.account + answer.cash,
        "acct_pay": answer.account,
        "psn_cash_pay": answer.cash,
        "hosp_part_amt": answer.hospital_borne,
    }


def _ratio(pool_fen: int, in_scope_fen: int) -> Decimal | None:
    """What the pool bears of what is in scope; None where that is no ratio."""
    if not 0 <= pool_fen <= in_scope_fen:
        return None
    return (Decimal(pool_fen) / in_scope_fen if in_scope_fen else Decimal(0)).quantize(_RATIO)


def _who(settled: Settled) -> dict[str, Any]:
    request = settled.request
    patient = request.patient
    return {
        "mdtrt_id": settled.visit_number,
        "psn_no": request.insurance.person_no,
        "psn_name": patient.name[:50],
        "psn_cert_type": patient.id_type.value,
        "certno": patient.id_no,
        "gend": patient.sex.value,
        "brdy": patient.birth_date,
        "age": age_on(patient.birth_date, settled.answer.answered_at),
        "insutype": request.insurance.type.value,
        "mdtrt_cert_type": settled.certificate_type,
        "med_type": request.visit.medical_type.value,
    }


def _about(settled: Settled) -> dict[str, Any]:
    basic = settled.case.legs[0]
    clearing = {
        "medins_setl_id": settled.case.settlement_no,
        "clr_optins": settled.case.region,
        "clr_way": _ITEM_BY_ITEM,
        "clr_type": CLEARING_TYPES[settled.request.visit.kind],
    }
    if settled.answer.status is CaseStatus.TRIAL:
        return clearing
    # The moment of the basic settlement decides the day that the case counts in.
    at = basic.decided_at if basic.layer is Layer.BASIC else None
    return clearing | {"setl_id": short_number(settled.case.case_id), "setl_time": at or settled.answer.answered_at}
