"""Notices: what the party wants to be told outside settlements, each said twice and taken back at the end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from uuid_utils import uuid7

from hub.certify.checks import CheckFailed, Group, NotApplicable, both, check
from hub.certify.stage import Stage
from schemas.base import Bilingual, Value
from schemas.codes import Layer, Outcome, VisitKind
from schemas.errors import InvalidMessage
from schemas.payer import Notice, PayerTask
from schemas.settlement import AdjudicatedShare, AdjudicationUpload, BasicFigures, CancelRequest, ReverseRequest
from schemas.transactions import SPECS, Transaction
from schemas.visit import (
    AdmissionCancel,
    AdmissionChange,
    AdmissionRegister,
    DischargeCancel,
    DischargeRegister,
    FeesCancel,
    FeesUpload,
    UploadedLine,
)

_TAKEN = (Outcome.APPROVED, Outcome.CANCELLED)
_REASON = "联调测试"
_UNWANTED = both(("规则手册未要求告知", "the rule book does not want it told"))
_BY_QUEUE = both(("队列方不答复通知", "a party by queue answers no notice"))
_VISIT = (
    Transaction.ADMISSION_REGISTER,
    Transaction.ADMISSION_CHANGE,
    Transaction.FEES_UPLOAD,
    Transaction.DISCHARGE_REGISTER,
    Transaction.DISCHARGE_CANCEL,
    Transaction.FEES_CANCEL,
    Transaction.ADMISSION_CANCEL,
)
_OF_STAYS = (Transaction.DISCHARGE_REGISTER, Transaction.DISCHARGE_CANCEL)
_RECORDS = (Transaction.ADJUDICATION_UPLOAD, Transaction.CANCEL, Transaction.REVERSE)


@check(
    "notice.visit",
    Group.NOTICES,
    (
        "登记、费用、出院及其撤销均被接收，重复无害",
        "A visit's registration, fees, discharge and their undoing are taken; repeats are harmless",
    ),
    ("每条通知两次均被接收", "each notice is taken, twice"),
)
def visit(stage: Stage) -> None:
    stay = stage.bills.terms.kind is VisitKind.INPATIENT
    wanted = _wanted(stage, _VISIT if stay else tuple(one for one in _VISIT if one not in _OF_STAYS))
    messages = _visit_messages(stage.bills.claim())
    told: dict[Transaction, tuple[str, str | None]] = {}
    complaints: list[Bilingual] = []
    for transaction in wanted:
        notice = _notice(stage, transaction, messages[transaction], told.get(SPECS[transaction].undoes or transaction))
        if transaction is not Transaction.ADMISSION_REGISTER and Transaction.ADMISSION_REGISTER in told:
            register = messages[Transaction.ADMISSION_REGISTER]
            assert isinstance(register, AdmissionRegister)
            reference = told[Transaction.ADMISSION_REGISTER][1]
            notice = _about_admission(notice, register, reference)
        told[transaction] = (notice.request_id, _taken_twice(stage, notice, complaints))
    _none_of(complaints)


@check(
    "notice.record",
    Group.NOTICES,
    ("基本系统已裁定的结果被接收，并可撤回", "What the basic system has adjudicated is recorded, and taken back"),
    ("接收，再撤回，各说两次", "taken, and taken back, each said twice"),
)
def record(stage: Stage) -> None:
    wanted = _wanted(stage, _RECORDS)
    if Transaction.ADJUDICATION_UPLOAD not in wanted:
        raise NotApplicable(_UNWANTED)
    complaints: list[Bilingual] = []
    for undo in wanted[1:] or (None,):
        task = stage.bills.claim()
        upload = _notice(stage, Transaction.ADJUDICATION_UPLOAD, _recorded(stage, task), None)
        reference = _taken_twice(stage, upload, complaints)
        if undo is not None:
            back = _notice(stage, undo, _undo_of(undo, task), (upload.request_id, reference))
            _taken_twice(stage, back, complaints)
    _none_of(complaints)


def _wanted(stage: Stage, known: tuple[Transaction, ...]) -> list[Transaction]:
    wanted = [one for one in known if one.value in stage.party.notices and one.value in stage.can.notices]
    if not wanted:
        raise NotApplicable(_UNWANTED)
    if stage.can.by_queue:
        raise NotApplicable(_BY_QUEUE)
    return wanted


def _taken_twice(stage: Stage, notice: Notice, complaints: list[Bilingual]) -> str | None:
    """Say a notice and say it again; the party's reference. What was taken is taken back later, whatever is wrong."""
    try:
        first, again = stage.tell(notice), stage.tell(notice)
    except InvalidMessage as error:
        fields = ", ".join(violation.field for violation in error.violations)
        words = f"{notice.transaction}: {error.code} {fields}"
        complaints.append(Bilingual(zh=f"该方言无法表达 {words}", en=f"the dialect cannot say {words}"))
        return None
    for heard, zh, en in ((first, "", ""), (again, "重复时", "said again, ")):
        # What was taken back already may be refused when it is said again: there is nothing left to take back.
        if heard.outcome not in _TAKEN and not (heard is again and _is_undo(notice) and first.outcome in _TAKEN):
            complaints.append(
                Bilingual(
                    zh=f"{notice.transaction} {zh}未被接收: {heard.words}",
                    en=f"{en}{notice.transaction} was not taken: {heard.words}",
                )
            )
    return first.decision.payer_reference if first.decision else None


def _is_undo(notice: Notice) -> bool:
    return SPECS[Transaction(notice.transaction)].undoes is not None


def _none_of(complaints: list[Bilingual]) -> None:
    if complaints:
        raise CheckFailed(complaints[0])


def _notice(stage: Stage, transaction: Transaction, message: Value, original: tuple[str, str | None] | None) -> Notice:
    terms = stage.bills.terms
    request_id = f"{uuid7().hex}-n"
    original_id, reference = original or (None, None)
    return Notice(
        transaction=transaction.value,
        request_id=request_id,
        payer=terms.party.code,
        message=message,
        product=terms.product,
        original_request_id=original_id,
        original_reference=reference,
        numbers=stage.bills.block(request_id),
    )


def _about_admission(notice: Notice, register: AdmissionRegister, reference: str | None) -> Notice:
    return replace(notice, admission=register, admission_reference=reference)


def _visit_messages(task: PayerTask) -> dict[Transaction, Value]:
    request = task.request
    visit = request.visit
    of: dict[str, Any] = {"institution": request.institution, "visit_no": visit.visit_no}
    facts: dict[str, Any] = of | {
        "region": request.region,
        "patient": request.patient,
        "insurance": request.insurance,
        "kind": visit.kind,
        "medical_type": visit.medical_type,
        "admitted_at": visit.started_at,
        "diagnoses": request.diagnoses,
        "department": visit.department,
        "doctor_code": visit.doctor_code,
    }
    lines = tuple(UploadedLine(**line.model_dump()) for line in request.fees)
    stay = visit.kind is VisitKind.INPATIENT
    ended = visit.ended_at or datetime.now(UTC)
    leaves = {"discharged_at": ended, "diagnoses": request.diagnoses, "department": visit.department}
    return {
        Transaction.ADMISSION_REGISTER: AdmissionRegister(request_no="1", **facts),
        Transaction.ADMISSION_CHANGE: AdmissionChange(request_no="2", **facts | {"bed": "7"}),
        Transaction.FEES_UPLOAD: FeesUpload(request_no="3", batch_no="B1", lines=lines, **of),
        Transaction.DISCHARGE_REGISTER: DischargeRegister(request_no="4", **of | leaves),
        Transaction.DISCHARGE_CANCEL: DischargeCancel(request_no="5", reason=_REASON, **of),
        Transaction.FEES_CANCEL: FeesCancel(request_no="6", reason=_REASON, **_which(lines if stay else ()), **of),
        Transaction.ADMISSION_CANCEL: AdmissionCancel(request_no="7", reason=_REASON, **of),
    }


def _which(lines: tuple[UploadedLine, ...]) -> dict[str, Any]:
    """Of a stay lines are taken back by number, of other visits by batch: the only ways that every dialect has."""
    return {"line_nos": tuple(line.line_no for line in lines)} if lines else {"batch_no": "B1"}


def _recorded(stage: Stage, task: PayerTask) -> AdjudicationUpload:
    """The bill as the basic system has adjudicated it: its own part, and a tenth for this party."""
    terms, request, basic = stage.bills.terms, task.request, task.basic
    if basic is None:
        raise NotApplicable(both(("基本医保自行裁定，不接收此类通知", "the basic system itself is not told of it")))
    figures = BasicFigures(
        own_pay=basic.own_pay_fen,
        first_self_pay=basic.first_self_pay_fen,
        in_scope=basic.in_scope_fen,
        deductible=basic.deductible_fen,
    )
    shares = (
        AdjudicatedShare(layer=Layer.BASIC, payer=terms.basic_payer, amount=basic.fund_fen, figures=figures),
        AdjudicatedShare(layer=terms.layer, payer=terms.party.code, product=terms.product, amount=request.total // 10),
    )
    return AdjudicationUpload(**dict(request) | {"adjudicated": shares})


def _undo_of(transaction: Transaction, task: PayerTask) -> Value:
    of: dict[str, Any] = {
        "institution": task.request.institution,
        "settlement_no": task.request.settlement_no,
        "reason": _REASON,
    }
    if transaction is Transaction.REVERSE:
        return ReverseRequest(reverse_no="R1", **of)
    return CancelRequest(cancel_no="C1", **of)
