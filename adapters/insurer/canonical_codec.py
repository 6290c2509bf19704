"""The hub's own claim messages, for insurers by REST and by queue: PayerTask -> JSON, JSON -> Decision."""

from __future__ import annotations

from pydantic import ValidationError

from schemas.base import violations_of
from schemas.codes import Outcome
from schemas.errors import IllegalTransition, InvalidMessage, OutcomeUnknown, Violation
from schemas.payer import (
    BasicFacts,
    BasicResult,
    ClaimCancel,
    ClaimDecision,
    ClaimTask,
    Decision,
    EarlierFacts,
    Operation,
    PayerTask,
)
from schemas.strict_json import check_text

CONTENT_TYPE = "application/json"
NEEDS = frozenset({"patient.name", "patient.id_no", "insurance.person_no"})
"""What the language has no way to leave out, by the names of the disclosure map."""
_ANSWERS = {
    Operation.SETTLE: frozenset({Outcome.APPROVED, Outcome.DECLINED, Outcome.DEFERRED}),
    Operation.TRIAL: frozenset({Outcome.APPROVED, Outcome.DECLINED, Outcome.DEFERRED}),
    Operation.CANCEL: frozenset({Outcome.CANCELLED, Outcome.DECLINED}),
    Operation.REVERSE: frozenset({Outcome.CANCELLED, Outcome.DECLINED}),
    Operation.INQUIRE: frozenset({Outcome.APPROVED, Outcome.DECLINED, Outcome.DEFERRED, Outcome.CANCELLED}),
}


def encode_task(task: PayerTask) -> bytes:
    """ClaimTask or ClaimCancel as JSON; an inquiry has no message in this language."""
    if task.operation is Operation.INQUIRE:
        raise IllegalTransition("an inquiry is no message", party=task.payer)
    message = _cancel(task) if task.operation in (Operation.CANCEL, Operation.REVERSE) else _claim(task)
    return message.__pydantic_serializer__.to_json(message, exclude_none=True)


def asked_about(task: PayerTask) -> str | None:
    """The request id that an answer must name: an inquiry is answered in the name of the request it is about."""
    return task.original_request_id if task.operation is Operation.INQUIRE else task.request_id


def decode_decision(task: PayerTask, raw: bytes, model: type[ClaimDecision] = ClaimDecision) -> Decision:
    """The insurer's word on this task, in a message that is or extends a ClaimDecision.

    Malformed for bytes that are no JSON, OutcomeUnknown for an answer to another request or to none, any other
    InvalidMessage for an answer to ours that breaks its schema or contradicts the request.
    """
    parsed = check_text(raw)
    if not isinstance(parsed, dict) or parsed.get("request_id") != asked_about(task):
        raise OutcomeUnknown("not an answer to this request", party=task.payer, request_id=task.request_id)
    try:
        decision = model.model_validate_json(raw).decision()
    except ValidationError as error:
        raise InvalidMessage("the answer breaks its schema", *violations_of(error), party=task.payer) from None
    _check(task, decision)
    return decision


def _check(task: PayerTask, decision: Decision) -> None:
    outcome, amount = decision.outcome, decision.amount_fen
    without_money = outcome in (Outcome.DECLINED, Outcome.DEFERRED)
    unnamed = outcome is Outcome.APPROVED and task.operation is not Operation.TRIAL and not decision.payer_reference
    # Only a cancel knows what stood; a reversal undoes whatever there was, nothing included, and is told how much.
    known = task.operation is Operation.CANCEL and task.original_reference is not None
    mirrors = outcome is not Outcome.CANCELLED or not known
    rules = (
        (outcome in _ANSWERS[task.operation], "outcome", "outcome.operation", "use an outcome of this operation"),
        (not without_money or amount == 0, "amount", "amount.without_approval", "send 0.00 unless you pay"),
        (
            outcome is not Outcome.APPROVED or amount <= task.left_fen,
            "amount",
            "amount.exceeds_left",
            "the amount must not exceed `left`",
        ),
        (not unnamed, "payer_reference", "payer_reference.missing", "give your own number for what you settled"),
        (
            mirrors or amount == task.original_amount_fen,
            "amount",
            "cancel.mirror",
            "must be the amount of the settlement that is undone",
        ),
    )
    broken = [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds]
    if broken:
        facts = {"party": task.payer, "request_id": task.request_id}
        raise InvalidMessage("the answer contradicts the request", *broken, code="answer.identity", **facts)


def _claim(task: PayerTask) -> ClaimTask:
    request = task.request
    return ClaimTask(
        operation=task.operation,
        request_id=task.request_id,
        case_id=task.case_id,
        insurer=task.payer,
        product=task.product,
        policy_no=task.policy_no,
        layer=task.layer,
        region=request.region,
        institution=request.institution,
        settlement_no=request.settlement_no,
        patient=request.patient,
        insurance=request.insurance,
        visit=request.visit,
        diagnoses=request.diagnoses,
        fees=request.fees,
        total=request.total,
        basic=_basic_facts(task.basic) if task.basic else None,
        earlier=tuple(EarlierFacts(payer=e.payer, layer=e.layer, amount=e.amount_fen) for e in task.earlier),
        left=task.left_fen,
        answer_by=task.answer_by,
    )


def _basic_facts(basic: BasicResult) -> BasicFacts:
    return BasicFacts(
        in_scope=basic.in_scope_fen,
        own_pay=basic.own_pay_fen,
        over_limit=basic.over_limit_fen,
        first_self_pay=basic.first_self_pay_fen,
        deductible=basic.deductible_fen,
        fund_paid=basic.fund_fen,
        account=basic.account_fen,
        cash=basic.cash_fen,
    )


def _cancel(task: PayerTask) -> ClaimCancel:
    known = task.operation is Operation.CANCEL
    return ClaimCancel(
        operation=Operation.CANCEL if known else Operation.REVERSE,
        request_id=task.request_id,
        case_id=task.case_id,
        insurer=task.payer,
        institution=task.request.institution,
        settlement_no=task.request.settlement_no,
        original_request_id=task.original_request_id or "",
        original_reference=task.original_reference if known else None,
        amount=task.original_amount_fen if known else 0,
    )
