"""2101-2103, 2206-2208, 2303-2305, 2601: trials, settlements and their undo.

The interface knows yes and no only. So a settlement that the basic system has not decided by the cashier's deadline is
taken back by the hub before it says no; an undo that is still under way is answered as an outcome that is not known
(HTTP 504), which such systems hold to be no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from hub.gateway.courier import Brought
from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.fees import canonical_line
from hub.gateway.national.numbers import short_number, uuid_of
from hub.gateway.national.persons import ID_CARD, insurance_of, person_of
from hub.gateway.national.setlinfo import Settled, mirrored, settlement_nodes, warning_of
from hub.gateway.national.visits import HeldVisit, checked_medical_type, diagnoses, held_visit
from hub.gateway.national.words import NotKnown, Spoken
from routing.visits import bill_lines
from schemas.answer import CombinedAnswer
from schemas.codes import CaseStatus, ShareState, VisitKind
from schemas.errors import Unavailable
from schemas.money import yuan_of
from schemas.national.envelope import MSGID
from schemas.settlement import SettlementRequest, SettleRequest
from schemas.transactions import Transaction
from schemas.visit import AdmissionRegister, StandingLine
from store import answers, cases, exchanges, national, requests

USES_ACCOUNT = YES = "1"
_REASON = "医疗机构撤销"
_UNREADABLE = "已受理，结果暂时无法读取；请以同一 msgid 重发"
_DONE = frozenset({CaseStatus.SETTLED, CaseStatus.PARTLY_SETTLED})
_KINDS = {"2102": VisitKind.PHARMACY, "2207": VisitKind.OUTPATIENT, "2304": VisitKind.INPATIENT}
_UNDONE = frozenset({CaseStatus.CANCELLED, CaseStatus.CANCELLING})
# A pharmacy names no disease: the code for a contact whose circumstances are not said.
_UNSAID = {"diag_code": "Z76.9", "diag_name": "在未特指情况下与保健机构接触的人"}


async def try_visit(call: Call, services: Services) -> Reply:
    """2206 and 2303."""
    return await _settle_visit(call, services, Transaction.TRIAL)


async def settle_visit(call: Call, services: Services) -> Reply:
    """2207 and 2304: the visit's standing lines as one bill."""
    return await _settle_visit(call, services, Transaction.SETTLE)


async def _settle_visit(call: Call, services: Services, transaction: Transaction) -> Reply:
    facts = call.content["data"]
    if facts.get("mid_setl_flag") == YES:
        raise wrong("mid_setl_flag", "national.mid_settlement", "settle after the discharge")
    visit = await held_visit(call, services, facts)
    message = _bill(call, visit, facts, trial=transaction is Transaction.TRIAL)
    return await _settle(call, services, transaction, message, visit.number)


def _bill(call: Call, visit: HeldVisit, facts: Mapping[str, Any], *, trial: bool) -> dict[str, Any]:
    admission = visit.admission
    lines = _lines(call, visit, facts)
    found = (visit.discharge and visit.discharge.diagnoses) or admission.diagnoses
    if not found:
        raise wrong("diseinfo", "national.diagnosis", "send the diagnoses first")
    return {
        "institution": call.party,
        "settlement_no": call.msgid,
        "region": admission.region,
        "patient": _json(admission.patient),
        "insurance": _json(admission.insurance),
        "visit": _visit(visit, facts, call, trial=trial),
        "diagnoses": [_json(one) for one in found],
        "fees": [_json(line) for line in bill_lines(lines)],
        "total": yuan_of(facts["medfee_sumamt"]),
        "use_account": facts["acct_used_flag"] == USES_ACCOUNT,
    }


def _lines(call: Call, visit: HeldVisit, facts: Mapping[str, Any]) -> tuple[StandingLine, ...]:
    """The lines to settle: of a stay all, of an outpatient visit those of the batch. A repeat finds those that the
    settlement under its own number holds."""
    if facts["insutype"] != visit.admission.insurance.type:
        raise wrong("insutype", "national.insured", "send the scheme of the registration")
    batch = facts.get("chrg_bchno") if visit.admission.kind is VisitKind.OUTPATIENT else None
    # A refund goes with the line that it refunds, whenever it came.
    batches = {line.line_no: line.batch_no for line in visit.lines}
    lines = tuple(
        line
        for line in visit.lines
        if line.settled_by in (None, call.msgid)
        and (batch is None or batches.get(line.refunds or line.line_no) == batch)
    )
    if not lines and any(batch is None or line.batch_no == batch for line in visit.lines):
        raise wrong("chrg_bchno", "national.settled", "it is settled: cancel that settlement first")
    if not lines and batch:
        raise wrong("chrg_bchno", "national.batch", "no line of this batch has been uploaded")
    if facts["medfee_sumamt"] != sum(line.amount for line in lines):
        raise wrong("medfee_sumamt", "national.total", "send the sum of the standing lines")
    return lines


def _visit(visit: HeldVisit, facts: Mapping[str, Any], call: Call, *, trial: bool) -> dict[str, Any]:
    admission = visit.admission
    told = {
        "visit_no": admission.visit_no,
        "kind": admission.kind.value,
        "medical_type": checked_medical_type(facts["med_type"], admission.kind),
        "started_at": admission.admitted_at.isoformat(),
    }
    ended_at = visit.discharge.discharged_at if visit.discharge else None
    if ended_at is None and trial and admission.kind is VisitKind.INPATIENT:
        # Tried before the discharge: as if it were now, by the message, so that a repeat is one.
        ended_at = max(call.sent_at, admission.admitted_at)
    told |= {"ended_at": ended_at.isoformat()} if ended_at else {}
    told |= {"department": admission.department} if admission.department else {}
    return told | ({"doctor_code": admission.doctor_code} if admission.doctor_code else {})


async def try_pharmacy(call: Call, services: Services) -> Reply:
    """2101."""
    return await _settle_pharmacy(call, services, Transaction.TRIAL)


async def settle_pharmacy(call: Call, services: Services) -> Reply:
    """2102: a purchase is its own visit, under the number of the message."""
    return await _settle_pharmacy(call, services, Transaction.SETTLE)


async def _settle_pharmacy(call: Call, services: Services, transaction: Transaction) -> Reply:
    facts, rows = call.content["druginfo"], call.content["drugdetail"]
    person = await person_of(call, services, facts)
    disease = facts.get("dise_codg")
    said = {"diag_code": disease, "diag_name": facts.get("dise_name", disease)} if disease else _UNSAID
    message = {
        "institution": call.party,
        "settlement_no": call.msgid,
        "region": call.institution.region,
        "patient": person.patient(),
        "insurance": insurance_of(call, person, facts),
        "visit": {
            "visit_no": facts.get("ipt_otp_no", call.msgid),
            "kind": VisitKind.PHARMACY.value,
            "medical_type": checked_medical_type(facts["med_type"], VisitKind.PHARMACY),
            "started_at": facts["begntime"].isoformat(),
        },
        "diagnoses": diagnoses([said]),
        "fees": [canonical_line(row) for row in rows],
        "total": yuan_of(facts["medfee_sumamt"]),
        "use_account": facts["acct_used_flag"] == USES_ACCOUNT,
    }
    return await _settle(call, services, transaction, message, "")


async def _settle(
    call: Call, services: Services, transaction: Transaction, message: Mapping[str, Any], visit_number: str
) -> Reply:
    brought = await services.bring(call, transaction, message)
    answer = CombinedAnswer.model_validate_json(brought.answer or b"")
    if answer.status in _UNDONE:
        raise Spoken("该结算已撤销或冲正，未记任何支付；请以新的 msgid 重新结算")
    if answer.status is CaseStatus.DECLINED:
        raise Spoken(_why_declined(answer))
    if answer.status is CaseStatus.PROCESSING:
        await _give_up(call, services, transaction)
    return await _told(call, services, brought, answer, visit_number)


def _why_declined(answer: CombinedAnswer) -> str:
    reasons = [share.reason.zh for share in answer.shares if share.state is ShareState.DECLINED and share.reason]
    return "；".join(["未能结算，未记任何支付", *reasons])


async def _give_up(call: Call, services: Services, transaction: Transaction) -> None:
    """Say no, and make it true."""
    if transaction is Transaction.TRIAL:
        raise Spoken("预结算未能在时限内完成，请稍后重试")
    undo = {
        "institution": call.party,
        "settlement_no": call.msgid,
        "reverse_no": f"{call.msgid}-R",
        "reason": "基本医保未在时限内答复",
    }
    try:
        await services.bring(call, Transaction.REVERSE, undo, message_id=f"{call.msgid}-R", wait_s=0.0)
    except Unavailable:
        raise NotKnown(_UNREADABLE) from None
    raise Spoken("基本医保未在时限内答复，本次结算已由平台自动冲正；请稍后以新的 msgid 重新结算")


async def _told(call: Call, services: Services, brought: Brought, answer: CombinedAnswer, visit_number: str) -> Reply:
    case_id = brought.case_id or answer.case_id
    try:
        settled = await services.read(lambda connection: read_settled(connection, case_id, answer, visit_number))
    except Unavailable:
        # It is settled, whatever we can say about it now.
        raise NotKnown(_UNREADABLE) from None
    if settled is None:
        raise NotKnown(_UNREADABLE)
    return Reply(settlement_nodes(settled, services.books.active().book), warning_of(answer))


def read_settled(
    connection: Connection, case_id: str, answer: CombinedAnswer | None, visit_number: str = ""
) -> Settled | None:
    """A case with what it was asked and answered: `answer`, or the last one that says that it was settled."""
    case = cases.read(connection, [case_id]).get(case_id)
    asked = exchanges.requests_of(connection, [case_id]).get(case_id)
    if case is None or asked is None:
        return None
    answer = answer or _last_settled(connection, case_id)
    if answer is None:
        return None
    visit = visit_number or _visit_number(connection, case_id)
    return Settled(case, SettlementRequest.model_validate_json(asked), answer, visit, ID_CARD)


def _last_settled(connection: Connection, case_id: str) -> CombinedAnswer | None:
    given = (CombinedAnswer.model_validate_json(one.body) for one in reversed(answers.history(connection, case_id)))
    return next((answer for answer in given if answer.status in _DONE), None)


def _visit_number(connection: Connection, case_id: str) -> str:
    """mdtrt_id; a purchase has no visit and goes by the number of its settlement."""
    return short_number(national.visit_of(connection, case_id) or case_id)


async def settlement_of(call: Call, services: Services, facts: Mapping[str, Any]) -> Settled:
    """The settlement that `setl_id` means, which must be this institution's, this visit's and this person's."""
    case_id = uuid_of(facts["setl_id"])
    found = None
    if case_id is not None:
        found = await services.read(lambda connection: read_settled(connection, case_id, None))
    if found is None or found.case.institution != call.party:
        raise wrong("setl_id", "national.setl_id", "send the number that the settlement gave")
    if found.visit_number != facts["mdtrt_id"]:
        raise wrong("mdtrt_id", "national.mdtrt_id", "send the number of this settlement's visit")
    if found.request.insurance.person_no != facts["psn_no"]:
        raise wrong("psn_no", "national.psn_no", "send the number of this settlement's person")
    return found


async def cancel(call: Call, services: Services) -> Reply:
    """2103, 2208 and 2305: the amounts of the settlement come back with the other sign."""
    found = await settlement_of(call, services, call.content["data"])
    message = {
        "institution": call.party,
        "settlement_no": found.case.settlement_no,
        "cancel_no": call.msgid,
        "reason": _REASON,
    }
    brought = await services.bring(call, Transaction.CANCEL, message)
    _expect_undone(brought, "撤销")
    nodes = settlement_nodes(found, services.books.active().book)
    return Reply(mirrored(nodes, -1 if call.institution.national.refund_sign == "minus" else 1))


def _expect_undone(brought: Brought, what: str) -> None:
    answer = CombinedAnswer.model_validate_json(brought.answer or b"")
    if answer.status is not CaseStatus.CANCELLED:
        raise NotKnown(f"{what}已受理，尚未完成；请稍后以同一 msgid 重发确认，期间请勿重新结算")


async def reverse(call: Call, services: Services) -> Reply:
    """2601: undoes a settlement (or 2401) whose outcome is not known; one that never came is blocked for good."""
    facts = call.content["data"]
    original = facts["oinfno"][:4]
    if not MSGID.fullmatch(facts["omsgid"]) or not facts["omsgid"].startswith(call.party):
        raise wrong("omsgid", "national.msgid", "send the number of the original message")
    if original == "2401":
        return await _reverse_registration(call, services, facts)
    if original not in _KINDS:
        raise wrong("oinfno", "national.not_reversible", "send the number of a transaction that can be reversed")
    await services.read(lambda connection: _check_original(connection, call, facts, _KINDS[original]))
    message = {
        "institution": call.party,
        "settlement_no": facts["omsgid"],
        "reverse_no": call.msgid,
        "reason": "医疗机构冲正",
    }
    brought = await services.bring(call, Transaction.REVERSE, message)
    _expect_undone(brought, "冲正")
    return Reply()


def _check_original(connection: Connection, call: Call, facts: Mapping[str, Any], kind: VisitKind) -> None:
    key = (call.party, facts["omsgid"])
    known = cases.find_by_key(connection, [key]).get(key)
    asked = exchanges.requests_of(connection, [known[0]]).get(known[0]) if known else None
    if asked is None:
        return
    request = SettleRequest.model_validate_json(asked)
    if request.visit.kind is not kind:
        raise wrong("oinfno", "national.omsgid", "send the infno of the original message")
    if request.insurance.person_no != facts["psn_no"]:
        raise wrong("psn_no", "national.psn_no", "send the number of the original's person")


async def _reverse_registration(call: Call, services: Services, facts: Mapping[str, Any]) -> Reply:
    register = Transaction.ADMISSION_REGISTER.value
    kept = await services.read(lambda connection: requests.find(connection, call.party, register, facts["omsgid"]))
    if kept is None:
        raise Spoken("未收到该入院登记，无需冲正；请勿再发送原报文")
    registered = AdmissionRegister.model_validate_json(kept.body)
    if registered.insurance.person_no != facts["psn_no"]:
        raise wrong("psn_no", "national.psn_no", "send the number of the original's person")
    message = {
        "institution": call.party,
        "request_no": call.msgid,
        "visit_no": registered.visit_no,
        "reason": "医疗机构冲正",
    }
    await services.bring(call, Transaction.ADMISSION_CANCEL, message)
    return Reply()


def _json(value: Any) -> dict[str, Any]:
    content: dict[str, Any] = value.model_dump(mode="json", exclude_none=True)
    return content
