"""Pure translation between the hub's values and the basic system's SOAP messages: no network, clock or database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from lxml import etree

from adapters.basic.soap.checks import check_cancelled, check_settled
from adapters.basic.soap.contract import Version, contract, schema
from adapters.basic.soap.envelope import Envelope, Fault
from adapters.safe_xml import check_schema, has_attributes, parse_own_xml
from adapters.xml_shapes import read
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.money import fen_of, yuan_of
from schemas.payer import BasicResult, Decision, Operation, PayerTask, PreparedCall, RawAnswer
from schemas.settlement import Diagnosis, FeeLine
from schemas.wsdl import BASIC_NAMESPACE

CHINA = timezone(timedelta(hours=8), "CST")
SOCIAL_CARD, IDENTITY_CARD = "03", "02"
_DONE, _REFUSED = "0", "-1"
_SETTLED = "1"
_FATES = {"0": Outcome.NOT_FOUND, "2": Outcome.DECLINED, "3": Outcome.CANCELLED}
"""omsg_stas of what does not stand; any other (4: being worked on) is no outcome yet."""
_REQUEST_ID = f"{{{BASIC_NAMESPACE}}}request_id"
_REFUSED_EN = "The basic medical-insurance system refused the request."


class Codec:
    """PayerTask -> bytes and bytes -> Decision, in one SOAP version."""

    def __init__(self, party: str, version: Version = "1.1") -> None:
        self._party = party
        self._contract = contract(version)
        self._envelope = Envelope(version)

    def encode(self, task: PayerTask) -> PreparedCall:
        """The request, valid by the XSD; InvalidMessage names what the basic system's schema cannot carry."""
        call = self._contract.calls[task.operation]
        content = call.writer.write(_CONTENTS[task.operation](task))
        body = self._envelope.wrap(call.element, BASIC_NAMESPACE, content)
        self._check_schema(parse_own_xml(body)[0][0])
        return PreparedCall(body, self._envelope.content_type(call.action))

    def headers(self, call: PreparedCall) -> dict[str, str]:
        """HTTP headers of a prepared call, from its bytes alone: they may come back from the database."""
        return self._envelope.headers(self._contract.actions[self._envelope.element_of(call.body)])

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """What the basic system said.

        UNKNOWN for an HTTP status or a fault that is no word about this request, Malformed for bytes that are no
        answer, OutcomeUnknown for an answer to another request, any other InvalidMessage for an answer to ours that
        breaks its schema or contradicts itself or the request.
        """
        if answer.status not in (200, 400, 500):
            return _unknown(f"http.{answer.status}")
        if answer.content_type.partition(";")[0].strip().lower() != self._envelope.media_type:
            if answer.status == 200:
                raise Malformed("an answer that is not SOAP", code="soap.content_type", party=self._party)
            return _unknown(f"http.{answer.status}")
        payload = self._envelope.open(answer.body, party=self._party)
        fault = self._envelope.fault_in(payload)
        if fault is not None:
            return self._of_fault(task, fault)
        if answer.status != 200:
            return _unknown(f"http.{answer.status}")
        return self._of_answer(task, self._fields(task, payload))

    def _check_schema(self, payload: etree._Element) -> None:
        check_schema(schema(), payload, self._contract.names, party=self._party)

    def _fields(self, task: PayerTask, payload: etree._Element) -> dict[str, Any]:
        call = self._contract.calls[task.operation]
        if payload.tag != call.answer_tag:
            raise Malformed("an answer to another operation", code="soap.operation", party=self._party)
        if payload.findtext(_REQUEST_ID) != task.request_id:
            raise OutcomeUnknown("an answer to another request", party=self._party, request_id=task.request_id)
        self._check_schema(payload)
        if has_attributes(payload):  # xsi:type and its kin would give an element a second meaning
            raise InvalidMessage("attributes where none belong", code="xml.attribute", party=self._party)
        return read(payload, call.answer_shape)

    def _of_answer(self, task: PayerTask, fields: dict[str, Any]) -> Decision:
        if fields["infcode"] == _DONE:
            return _READERS[task.operation](task, fields)
        if fields["infcode"] == _REFUSED and task.operation is not Operation.INQUIRE:
            return _declined(fields.get("err_code", _REFUSED), fields.get("err_msg", ""), raw_code=_REFUSED)
        return _unknown(fields["infcode"])

    def _of_fault(self, task: PayerTask, fault: Fault) -> Decision:
        """A typed fault that blames our message and forbids a repeat is a no, by the contract; no other fault is.

        Of an inquiry it is none: the inquiry was refused, which says nothing about the request that it is about.
        """
        detail = fault.detail
        if detail is None or detail.tag != self._contract.fault_tag or has_attributes(detail):
            return _unknown(f"fault.{fault.code}")
        self._check_schema(detail)
        typed = read(detail, self._contract.fault_shape)
        final = fault.by_sender and typed["retryable"].strip() in ("false", "0")
        if not final or task.operation is Operation.INQUIRE:
            return _unknown(f"fault.{typed['code']}")
        return _declined(typed["code"], typed["message"], raw_code=f"fault.{typed['code']}")


def _unknown(raw_code: str) -> Decision:
    return Decision(Outcome.UNKNOWN, raw_code=raw_code)


def _declined(code: str, message: str, raw_code: str) -> Decision:
    return Decision(Outcome.DECLINED, reason_code=code, reason_zh=message, reason_en=_REFUSED_EN, raw_code=raw_code)


def _bill(task: PayerTask) -> dict[str, Any]:
    request = task.request
    patient, insurance, visit = request.patient, request.insurance, request.visit
    card = insurance.card_no
    return {
        "request_id": task.request_id,
        "fixmedins_code": request.institution,
        "mdtrtarea_admvs": request.region,
        "insuplc_admdvs": insurance.region,
        "settlement_no": request.settlement_no,
        "ipt_otp_no": visit.visit_no,
        "psn_no": insurance.person_no,
        "psn_name": patient.name,
        "psn_cert_type": patient.id_type,
        "certno": patient.id_no,
        "gend": patient.sex,
        "brdy": patient.birth_date.isoformat() if patient.birth_date else None,
        "mdtrt_cert_type": SOCIAL_CARD if card else IDENTITY_CARD,
        "mdtrt_cert_no": card or patient.id_no,
        "insutype": insurance.type,
        "med_type": visit.medical_type,
        "begntime": _china_time(visit.started_at, "begntime"),
        "endtime": _china_time(visit.ended_at, "endtime") if visit.ended_at else None,
        "dept_name": visit.department,
        "atddr_no": visit.doctor_code,
        "diseinfo": [_diagnosis(diagnosis) for diagnosis in request.diagnoses],
        "medfee_sumamt": yuan_of(request.total),
        "acct_used_flag": "1" if request.use_account else "0",
        "feedetail": [_fee(line) for line in request.fees],
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "diag_code": diagnosis.code,
        "diag_name": diagnosis.name,
        "maindiag_flag": "1" if diagnosis.main else "0",
    }


def _fee(line: FeeLine) -> dict[str, Any]:
    return {
        "feedetl_sn": line.line_no,
        "med_list_codg": line.item_code,
        "medins_list_name": line.item_name,
        "det_item_fee_sumamt": yuan_of(line.amount),
        "cnt": format(line.quantity, "f"),
        "pric": format(line.price, "f"),
        "med_chrgitm_type": line.category,
        "chrgitm_lv": line.level,
        "fee_ocur_date": line.occurred_on.isoformat() if line.occurred_on else None,
    }


def _cancel(task: PayerTask) -> dict[str, Any]:
    known = task.operation is Operation.CANCEL and task.original_reference is not None
    return {
        "request_id": task.request_id,
        "fixmedins_code": task.request.institution,
        "mdtrtarea_admvs": task.request.region,
        "settlement_no": task.request.settlement_no,
        "psn_no": task.request.insurance.person_no,
        "omsgid": task.original_request_id,
        "setl_id": task.original_reference if known else None,
        "fund_pay_sumamt": yuan_of(task.original_amount_fen) if known else None,
    }


def _inquiry(task: PayerTask) -> dict[str, Any]:
    return {
        "request_id": task.request_id,
        "fixmedins_code": task.request.institution,
        "psn_no": task.request.insurance.person_no,
        "omsgid": task.original_request_id,
    }


def _china_time(moment: datetime, field: str) -> str:
    try:
        moment = moment.astimezone(CHINA)
    except OverflowError:
        raise InvalidMessage("outside the calendar", Violation(field, "moment", "send the real moment")) from None
    return moment.isoformat(" ", "seconds")[:19]


_CONTENTS: dict[Operation, Callable[[PayerTask], dict[str, Any]]] = {
    Operation.SETTLE: _bill,
    Operation.TRIAL: _bill,
    Operation.CANCEL: _cancel,
    Operation.REVERSE: _cancel,
    Operation.INQUIRE: _inquiry,
}


def _settled(task: PayerTask, fields: dict[str, Any]) -> Decision:
    info = _part(fields, "setlinfo")
    result = _result(info, fields.get("setldetail", ()))
    check_settled(task, result, psn_no=info["psn_no"], person_fen=_fen(info, "psn_part_amt"))
    return Decision(
        Outcome.APPROVED,
        amount_fen=result.fund_fen,
        payer_reference=info.get("setl_id"),
        decided_at=_moment(info) if "setl_time" in info else None,
        raw_code=_DONE,
        basic=result,
    )


def _result(info: dict[str, str], funds: list[dict[str, str]]) -> BasicResult:
    return BasicResult(
        total_fen=_fen(info, "medfee_sumamt"),
        own_pay_fen=_fen(info, "fulamt_ownpay_amt"),
        over_limit_fen=_fen(info, "overlmt_selfpay"),
        first_self_pay_fen=_fen(info, "preselfpay_amt"),
        in_scope_fen=_fen(info, "inscp_scp_amt"),
        deductible_fen=_fen(info, "act_pay_dedc"),
        fund_fen=_fen(info, "fund_pay_sumamt"),
        account_fen=_fen(info, "acct_pay"),
        cash_fen=_fen(info, "psn_cash_pay"),
        hospital_fen=_fen(info, "hosp_part_amt"),
        funds=tuple((fund["fund_pay_type"], _fen(fund, "fund_payamt")) for fund in funds),
    )


def _cancelled(task: PayerTask, fields: dict[str, Any]) -> Decision:
    info = _part(fields, "cancelinfo")
    amount = _fen(info, "fund_pay_sumamt")
    check_cancelled(task, omsgid=info["omsgid"], undone=info["refd_setl_flag"] == "1", amount_fen=amount)
    return Decision(
        Outcome.CANCELLED,
        amount_fen=amount,
        payer_reference=info.get("setl_id"),
        decided_at=_moment(info),
        raw_code=_DONE,
    )


def _fate(task: PayerTask, fields: dict[str, Any]) -> Decision:
    """What became of the request that the inquiry is about."""
    if fields["omsgid"] != task.original_request_id:
        raise OutcomeUnknown("an answer about another request", party=task.payer, request_id=task.request_id)
    state = fields["omsg_stas"]
    if state == _SETTLED:
        return replace(_settled(task, fields), raw_code=f"omsg_stas.{state}")
    if fields.get("setlinfo") is not None or fields.get("setldetail"):
        remedy = "send setlinfo and setldetail only for what stands"
        broken = Violation("setlinfo", "inquiry.not_standing", remedy)
        raise InvalidMessage("a result of what does not stand", broken, code="answer.identity", party=task.payer)
    outcome = _FATES.get(state, Outcome.UNKNOWN)
    declined = outcome is Outcome.DECLINED
    return Decision(
        outcome,
        reason_code=fields.get("err_code", "") if declined else "",
        reason_zh=fields.get("err_msg", "") if declined else "",
        reason_en=_REFUSED_EN if declined else "",
        raw_code=f"omsg_stas.{state}",
    )


_READERS: dict[Operation, Callable[[PayerTask, dict[str, Any]], Decision]] = {
    Operation.SETTLE: _settled,
    Operation.TRIAL: _settled,
    Operation.CANCEL: _cancelled,
    Operation.REVERSE: _cancelled,
    Operation.INQUIRE: _fate,
}


def _part(fields: dict[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] | None = fields.get(name)
    if found is None:
        raise InvalidMessage("done, but without its result", Violation(name, "missing", "add the field"))
    return found


def _fen(info: dict[str, str], name: str) -> int:
    try:
        return fen_of(info[name])
    except ValueError:
        raise InvalidMessage("not an amount", Violation(name, "money", "write yuan with two decimals")) from None


def _moment(info: dict[str, str]) -> datetime:
    try:
        moment = datetime.fromisoformat(info["setl_time"]).replace(tzinfo=CHINA)
        if not 1900 <= moment.year < 3000:  # no other zone can tell what lies at the ends of the calendar
            raise ValueError("not of our times")
        return moment
    except ValueError:
        remedy = "write China Standard Time as yyyy-MM-dd HH:mm:ss"
        raise InvalidMessage("not a moment", Violation("setl_time", "moment", remedy)) from None
