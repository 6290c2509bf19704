"""Bills, claim tasks and cancels for tests of the parties' side."""

from __future__ import annotations

from datetime import date
from typing import Any

from sandbox.claims_desk import policy_number
from sandbox.day import DayCase, HospitalDay
from sandbox.parties import ANKANG, ANKANG_PRODUCT
from schemas.codes import Layer
from schemas.money import yuan_of
from schemas.payer import BasicFacts, ClaimCancel, ClaimTask, Operation
from schemas.settlement import SettleRequest

DAY = date(2026, 11, 20)
POLICY = policy_number("AK", date(2026, 1, 1), 7)


def cases(count: int, seed: int = 20) -> list[DayCase]:
    """The first cases of a generated day."""
    return list(HospitalDay(count, day=DAY, seed=seed))


def a_bill(kind: str = "inpatient", seed: int = 20) -> SettleRequest:
    """A generated bill of one kind of visit."""
    return next(case.request() for case in HospitalDay(300, day=DAY, seed=seed) if case.visit_kind == kind)


def soap_bill(bill: SettleRequest, request_id: str = "R-1", **changes: Any) -> dict[str, Any]:
    """A bill by the field names of the basic system's service."""
    fields: dict[str, Any] = {
        "request_id": request_id,
        "fixmedins_code": bill.institution,
        "mdtrtarea_admvs": bill.region,
        "insuplc_admdvs": bill.insurance.region,
        "settlement_no": bill.settlement_no,
        "ipt_otp_no": bill.visit.visit_no,
        "psn_no": bill.insurance.person_no,
        "psn_name": bill.patient.name,
        "psn_cert_type": bill.patient.id_type.value,
        "certno": bill.patient.id_no,
        "gend": bill.patient.sex.value,
        "mdtrt_cert_type": "02",
        "mdtrt_cert_no": bill.patient.id_no,
        "insutype": bill.insurance.type.value,
        "med_type": bill.visit.medical_type.value,
        "begntime": f"{bill.visit.started_at:%Y-%m-%d %H:%M:%S}",
        "diseinfo": [
            {"diag_code": one.code, "diag_name": one.name, "maindiag_flag": str(int(one.main))}
            for one in bill.diagnoses
        ],
        "medfee_sumamt": yuan_of(bill.total),
        "acct_used_flag": str(int(bill.use_account)),
        "feedetail": [
            {
                "feedetl_sn": line.line_no,
                "med_list_codg": line.item_code,
                "medins_list_name": line.item_name,
                "det_item_fee_sumamt": yuan_of(line.amount),
                "cnt": str(line.quantity),
                "pric": str(line.price),
                "med_chrgitm_type": line.category.value,
                "chrgitm_lv": line.level.value,
            }
            for line in bill.fees
        ],
    }
    return fields | changes


def a_task(request_id: str = "R-1", **changes: Any) -> ClaimTask:
    """A claim for ANKANG's own product: 10,000 yuan in scope, 6,000 paid by the basic fund, 4,000 left."""
    bill = a_bill()
    fields: dict[str, Any] = {
        "operation": Operation.SETTLE,
        "request_id": request_id,
        "case_id": "C-1",
        "insurer": ANKANG,
        "product": ANKANG_PRODUCT,
        "policy_no": POLICY,
        "layer": Layer.COMMERCIAL,
        "region": bill.region,
        "institution": bill.institution,
        "settlement_no": bill.settlement_no,
        "patient": bill.patient,
        "insurance": bill.insurance,
        "visit": bill.visit,
        "diagnoses": bill.diagnoses,
        "fees": bill.fees,
        "total": bill.total,
        "basic": basic_facts(),
        "left": 400_000,
    }
    return ClaimTask(**(fields | changes))


def basic_facts(in_scope_fen: int = 1_000_000, fund_fen: int = 600_000) -> BasicFacts:
    """What the basic system paid, as an insurer is told."""
    return BasicFacts(
        in_scope=in_scope_fen,
        own_pay=0,
        over_limit=0,
        first_self_pay=0,
        deductible=0,
        fund_paid=fund_fen,
        account=0,
        cash=in_scope_fen - fund_fen,
    )


def a_cancel(
    amount_fen: int, request_id: str = "X-1", original: str = "R-1", reference: str | None = "AK1", **changes: Any
) -> ClaimCancel:
    """The undoing of a claim that is known to stand."""
    bill = a_bill()
    fields: dict[str, Any] = {
        "request_id": request_id,
        "case_id": "C-1",
        "insurer": ANKANG,
        "institution": bill.institution,
        "settlement_no": bill.settlement_no,
        "original_request_id": original,
        "original_reference": reference,
        "amount": amount_fen,
    }
    return ClaimCancel(**(fields | changes))


def a_reversal(request_id: str = "X-1", original: str = "R-1", **changes: Any) -> ClaimCancel:
    """The undoing of a claim of which nobody knows what became."""
    return a_cancel(0, request_id, original, None, operation=Operation.REVERSE, **changes)
