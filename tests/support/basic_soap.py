"""Answers of a basic system as SOAP messages: right ones, with fields to replace."""

from __future__ import annotations

from typing import Any

from schemas.money import yuan_of
from schemas.payer import Operation, PayerTask, RawAnswer
from schemas.wsdl import BASIC_BINDING_11, BASIC_BINDING_12, BASIC_NAMESPACE

BINDINGS = {"1.1": BASIC_BINDING_11, "1.2": BASIC_BINDING_12}
ENVELOPES = {"1.1": "http://schemas.xmlsoap.org/soap/envelope/", "1.2": "http://www.w3.org/2003/05/soap-envelope"}
MEDIA = {"1.1": "text/xml; charset=utf-8", "1.2": "application/soap+xml; charset=utf-8"}
NAMES = {
    Operation.SETTLE: "Settle",
    Operation.TRIAL: "Trial",
    Operation.CANCEL: "Cancel",
    Operation.REVERSE: "Cancel",
    Operation.INQUIRE: "Inquire",
}


def soap(payload: str, version: str = "1.1", header: str = "") -> bytes:
    """A payload in its envelope."""
    return (
        f'<s:Envelope xmlns:s="{ENVELOPES[version]}" xmlns="{BASIC_NAMESPACE}">{header}'
        f"<s:Body>{payload}</s:Body></s:Envelope>"
    ).encode()


def an_answer(task: PayerTask, version: str = "1.1", status: int = 200, **changes: Any) -> RawAnswer:
    """A right answer to the task with 70 % from the funds; keyword arguments replace or (None) remove fields."""
    total = task.request.total
    fund = total * 7 // 10
    info = {
        "mdtrt_id": "M1",
        "psn_no": task.request.insurance.person_no,
        "medfee_sumamt": yuan_of(total),
        "fulamt_ownpay_amt": "0.00",
        "overlmt_selfpay": "0.00",
        "preselfpay_amt": "0.00",
        "inscp_scp_amt": yuan_of(total),
        "act_pay_dedc": "0.00",
        "fund_pay_sumamt": yuan_of(fund),
        "psn_part_amt": yuan_of(total - fund),
        "acct_pay": "1.00",
        "psn_cash_pay": yuan_of(total - fund - 100),
        "hosp_part_amt": "0.00",
    }
    name = NAMES[task.operation]
    if name in ("Settle", "Inquire"):
        info |= {"setl_id": "SETL-1", "setl_time": "2026-03-02 09:20:00"}
    head = {"request_id": task.request_id, "infcode": "0"}
    funds = changes.pop("funds", [("310100", yuan_of(fund))])
    if name == "Inquire":
        head |= {"omsgid": str(task.original_request_id), "omsg_stas": "1"}
    head |= {key: changes.pop(key) for key in ("request_id", "infcode", "omsgid", "omsg_stas") if key in changes}
    info |= changes
    body = fields_of(head) + f"<setlinfo>{fields_of(info)}</setlinfo>"
    rows = (fields_of({"fund_pay_type": kind, "fund_payamt": amount}) for kind, amount in funds)
    body += "".join(f"<setldetail>{row}</setldetail>" for row in rows)
    return RawAnswer(soap(f"<{name}Response>{body}</{name}Response>", version), status, MEDIA[version])


def a_fate(task: PayerTask, state: str, **changes: str) -> RawAnswer:
    """The answer to an inquiry about something that does not stand; `infcode`, `err_code` … may be given."""
    head = {"request_id": task.request_id, "infcode": "0", "err_code": None, "err_msg": None}
    body = fields_of(head | {"omsgid": task.original_request_id, "omsg_stas": state} | changes)
    return RawAnswer(soap(f"<InquireResponse>{body}</InquireResponse>"), 200, MEDIA["1.1"])


def fields_of(values: dict[str, str | None]) -> str:
    """XML elements by name; None leaves one out."""
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items() if value is not None)


def a_cancel_answer(task: PayerTask, **changes: Any) -> RawAnswer:
    """The cancellation of the whole original."""
    info = {
        "omsgid": task.original_request_id,
        "refd_setl_flag": "1",
        "setl_id": "SETL-2",
        "setl_time": "2026-03-02 09:30:00",
        "medfee_sumamt": yuan_of(task.request.total),
        "fund_pay_sumamt": yuan_of(task.original_amount_fen),
        "acct_pay": "0.00",
    }
    body = f"<request_id>{task.request_id}</request_id><infcode>0</infcode>"
    body += f"<cancelinfo>{fields_of(info | changes)}</cancelinfo>"
    return RawAnswer(soap(f"<CancelResponse>{body}</CancelResponse>"), 200, MEDIA["1.1"])
