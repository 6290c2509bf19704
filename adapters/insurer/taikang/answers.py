"""What a transcript means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from adapters.conversation import Said, calls_of
from adapters.insurer.taikang.dialect import Dialect
from adapters.insurer.taikang.judgement import NO_POLICY, Verdict, is_immediate, is_insured, package_of, verdict_on
from adapters.insurer.taikang.messages import ACCEPT, CANCEL, CLAIM, IDENTITY, SETTLE, TAKE_BACK, TRIAL
from adapters.insurer.taikang.package import Package, fen_in, text_in
from adapters.insurer.wording import CHINA, cleaned, is_reference
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.payer import Decision, Notice, Operation, PayerTask, RawAnswer

Calls = Mapping[str, Said]


def decode(dialect: Dialect, task: PayerTask, answer: RawAnswer) -> Decision:
    """The insurer's word on a task.

    Malformed for what is no transcript or no package, OutcomeUnknown for an answer to another call, InvalidMessage for
    one that contradicts the request.
    """
    calls = _by_name(answer)
    if task.operation is Operation.CANCEL:
        return _cancelled(dialect, task, calls)
    name = SETTLE if task.operation is Operation.SETTLE else TRIAL
    if name not in calls:
        return replace(_not_begun(dialect, calls), before_effect=True)
    call = calls[name]
    verdict = verdict_on(call, dialect)
    if verdict is Verdict.UNCLEAR:
        return _unknown(call, dialect)
    package = package_of(call, dialect.party)
    if verdict is Verdict.REFUSED:
        return _refusal(package)
    decision = _settled(task, package, settled=name == SETTLE)
    if CLAIM in calls or (decision.outcome is Outcome.APPROVED and name == SETTLE and _asks(dialect, task)):
        return _confirmed(dialect, task, calls, decision)
    return decision


def decode_notice(dialect: Dialect, _notice: Notice, answer: RawAnswer) -> Decision:
    """APPROVED when all of it was taken, DECLINED when a documented refusal ended it, UNKNOWN otherwise."""
    said = _calls(answer)
    verdicts = [verdict_on(call, dialect) for call in said]
    if Verdict.REFUSED in verdicts:
        return _refusal(package_of(said[verdicts.index(Verdict.REFUSED)], dialect.party))
    if Verdict.UNCLEAR in verdicts:
        return _unknown(said[verdicts.index(Verdict.UNCLEAR)], dialect)
    package = package_of(said[-1], dialect.party)
    return Decision(
        Outcome.APPROVED,
        payer_reference=package.receiver_trade_no if is_reference(package.receiver_trade_no) else None,
        reason_zh=cleaned(text_in(package.body, "promptInformation")),
        raw_code=package.error_code,
    )


def _calls(answer: RawAnswer) -> Sequence[Said]:
    said = calls_of(answer)
    if not said:
        raise Malformed("an empty transcript", code="answer.transcript")
    return said


def _by_name(answer: RawAnswer) -> Calls:
    """The last call of each kind."""
    return {call.name: call for call in _calls(answer)}


def _not_begun(dialect: Dialect, calls: Calls) -> Decision:
    """The script ended before the step with the effect: nothing was settled, and only a documented word says why."""
    last = [call for name, call in calls.items() if name != TAKE_BACK][-1]
    if verdict_on(last, dialect) is not Verdict.REFUSED:
        return _unknown(last, dialect)
    package = package_of(last, dialect.party)
    if last.name == IDENTITY and package.error_code not in dialect.refused_codes and not is_insured(package, dialect):
        return Decision(
            Outcome.DECLINED,
            reason_code=NO_POLICY,
            reason_zh="保险公司未找到有效保单",
            reason_en="the insurer finds no valid policy of this person",
            raw_code=f"{IDENTITY}.{package.error_code}",
        )
    return _refusal(package)


def _refusal(package: Package) -> Decision:
    return Decision(
        Outcome.DECLINED,
        reason_code=package.error_code,
        reason_zh=cleaned(package.error_text),
        raw_code=package.error_code,
    )


def _unknown(call: Said, dialect: Dialect) -> Decision:
    if call.status != 200:
        return Decision(Outcome.UNKNOWN, raw_code=f"http.{call.status}")
    return Decision(Outcome.UNKNOWN, raw_code=cleaned(package_of(call, dialect.party).error_code)[:50])


def _settled(task: PayerTask, package: Package, *, settled: bool) -> Decision:
    body = package.body
    _check(task, package, settled=settled)
    pays = fen_in(body, "sbFundPay")
    reference = text_in(body, "settleSerialNum") or None
    facts = {"payer_reference": reference, "raw_code": package.error_code, "decided_at": _moment(body)}
    if reason := text_in(body, "nonImmediateReason"):
        return Decision(Outcome.DEFERRED, reason_code="non_immediate", reason_zh=cleaned(reason), **facts)  # type: ignore[arg-type]
    if not is_immediate(package):
        why = cleaned(text_in(body, "waiverReason"))
        return Decision(Outcome.DECLINED, reason_code="waiver", reason_zh=why, **facts)  # type: ignore[arg-type]
    return Decision(Outcome.APPROVED, pays, reason_zh=_calculation(body), **facts)  # type: ignore[arg-type]


def _check(task: PayerTask, package: Package, *, settled: bool) -> None:
    body, request = package.body, task.request
    if settled and text_in(body, "billNum") != request.settlement_no:
        raise OutcomeUnknown("not an answer to this settlement", code="answer.foreign", party=task.payer)
    pays = fen_in(body, "sbFundPay")
    reference = text_in(body, "settleSerialNum")
    waived = text_in(body, "waiverSign") == "1"
    rules = (
        (fen_in(body, "medicalCost") == request.total, "medicalCost", "total", "must be the total that was sent"),
        (pays <= task.left_fen, "sbFundPay", "amount.exceeds_left", "must not exceed cashMoney"),
        (not waived or pays == 0, "sbFundPay", "amount.without_approval", "an exclusion pays nothing"),
        (not settled or is_reference(reference), "settleSerialNum", "reference.missing", "number the settlement"),
    )
    _hold(task, [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds])


def _hold(task: PayerTask, broken: Sequence[Violation]) -> None:
    if broken:
        facts = {"party": task.payer, "request_id": task.request_id}
        raise InvalidMessage("the answer contradicts the request", *broken, code="answer.identity", **facts)


def _asks(dialect: Dialect, task: PayerTask) -> bool:
    return task.product in dialect.confirm_products


def _confirmed(dialect: Dialect, task: PayerTask, calls: Calls, settled: Decision) -> Decision:
    """What the claim application and the customer's word made of a settlement."""
    if CLAIM not in calls or verdict_on(calls[CLAIM], dialect) is not Verdict.TAKEN:
        return Decision(Outcome.UNKNOWN, payer_reference=settled.payer_reference, raw_code=f"{CLAIM}.unclear")
    claim = package_of(calls[CLAIM], dialect.party)
    if not text_in(claim.body, "mngFinalPay"):
        return Decision(Outcome.DEFERRED, payer_reference=settled.payer_reference, reason_code="case_open")
    if ACCEPT not in calls or verdict_on(calls[ACCEPT], dialect) is not Verdict.TAKEN:
        return Decision(Outcome.UNKNOWN, payer_reference=settled.payer_reference, raw_code=f"{ACCEPT}.unclear")
    pays = fen_in(claim.body, "mngFinalPay")
    if pays <= task.left_fen:
        return Decision(
            Outcome.APPROVED,
            pays,
            settled.payer_reference,
            reason_zh=settled.reason_zh,
            decided_at=settled.decided_at,
            raw_code=settled.raw_code,
        )
    return Decision(
        Outcome.DECLINED,
        payer_reference=settled.payer_reference,
        reason_code="not_accepted",
        reason_zh="最终赔付金额超过剩余费用，未予接受",
        reason_en="the final amount exceeds what is left of the bill and was not accepted",
        raw_code=settled.raw_code,
    )


def _cancelled(dialect: Dialect, task: PayerTask, calls: Calls) -> Decision:
    call = calls.get(CANCEL)
    if call is None:
        raise Malformed("a transcript without the cancel", code="answer.transcript", party=dialect.party)
    verdict = verdict_on(call, dialect)
    if verdict is Verdict.UNCLEAR:
        return _unknown(call, dialect)
    package = package_of(call, dialect.party)
    if verdict is Verdict.REFUSED:
        return _refusal(package)
    if text_in(package.body, "sbFundPay") and fen_in(package.body, "sbFundPay") != task.original_amount_fen:
        _hold(task, [Violation("sbFundPay", "cancel.mirror", "must be the amount of the settlement that is undone")])
    reference = text_in(package.body, "settleSerialNum") or package.receiver_trade_no
    return Decision(
        Outcome.CANCELLED,
        task.original_amount_fen,
        reference if is_reference(reference) else None,
        raw_code=package.error_code,
    )


def _calculation(body: Mapping[str, object]) -> str:
    """How the amount came about, what is left of the policy, and what the patient should know."""
    left = text_in(body, "residualAmount")
    residual = f"剩余额度 {left}" if left else ""
    parts = (text_in(body, "calculateInformation"), residual, text_in(body, "promptInformation"))
    return cleaned("；".join(part for part in parts if part))


def _moment(body: Mapping[str, object]) -> datetime | None:
    try:
        moment = datetime.strptime(text_in(body, "settleDate"), "%Y%m%d%H%M%S").replace(tzinfo=CHINA)
    except ValueError:
        return None
    return moment if 2000 <= moment.year < 2200 else None
