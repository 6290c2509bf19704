"""What a region's answers mean: the decision in a transcript. Pure; nothing is corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapters.basic.national.contents import short
from adapters.basic.national.region import Region
from adapters.basic.national.scripts import infno_of, original_msgid, own_msgid
from adapters.basic.national.talk import Facts, Heard, Talk, own_json, whole_transcript
from adapters.conversation import Said, calls_of
from schemas.codes import Outcome, VisitKind
from schemas.errors import InvalidMessage, OutcomeUnknown, Violation
from schemas.national.envelope import Response
from schemas.national.identities import ACCOUNT_TYPES, AMOUNTS, broken_amounts, funds_without_account
from schemas.national.transactions import Content, read_output, unknown_money
from schemas.payer import BasicResult, Decision, Operation, PayerTask, RawAnswer

REASON_MAX = 500
REFUSED_EN = "The basic medical-insurance system refused the request."


class Reader:
    """Reads transcripts by the region's switches."""

    def __init__(self, region: Region, talk: Talk) -> None:
        self._region, self._talk = region, talk

    def decision(self, task: PayerTask, answer: RawAnswer, effect: str) -> Decision:
        """What the region said.

        UNKNOWN for what is no word about this request, Malformed for bytes that are no answer, OutcomeUnknown for an
        answer to another request or an unproven one, any other InvalidMessage for an answer to ours that breaks its
        table or an identity.
        """
        with whole_transcript():
            return self._decided(task, calls_of(answer), effect)

    def _decided(self, task: PayerTask, said: Sequence[Said], effect: str) -> Decision:
        heard = self._talk.heard(said, facts_of_task(task))
        if task.operation is Operation.INQUIRE:
            return self._fate(task, said, heard)
        call = next((one for one in said if one.name == effect), None)
        if heard.broken:
            raise _held(task, heard.broken)
        if call is None:
            return replace(self.refused(heard, task.request.institution), before_effect=True)
        response = self.response(call, task.request.institution)
        if response is None or not (response.done or response.refused):
            return Decision(Outcome.UNKNOWN, raw_code=raw_code(call, response))
        if response.refused:
            decision = self._refusal(task, call, response)
            earlier = heard.refusal is not None and heard.refusal.name != effect
            told_why = decision.outcome is Outcome.DECLINED and earlier
            return self.refused(heard, task.request.institution) if told_why else decision
        if task.operation in (Operation.SETTLE, Operation.TRIAL):
            return self._settled(task, call, response, own_msgid(task))
        return self._undone(task, call, response)

    def response(self, call: Said, institution: str) -> Response | None:
        """The answer of one call; None for an HTTP status that is none."""
        return self._talk.opened(call.answer, institution) if call.status == 200 else None

    def refused(self, heard: Heard, institution: str) -> Decision:
        """The conversation ended before its effect: by a refusal, or because the region told too little."""
        if heard.refusal is None:
            return Decision(Outcome.UNKNOWN, raw_code="national.unsaid")
        response = self.response(heard.refusal, institution)
        assert response is not None, "only an answer is a refusal"
        return declined(heard.refusal, response)

    def _refusal(self, task: PayerTask, call: Said, response: Response) -> Decision:
        undoing = task.operation in (Operation.CANCEL, Operation.REVERSE)
        if undoing and self._region.says("already_undone", response.err_msg):
            return Decision(
                Outcome.CANCELLED,
                amount_fen=task.original_amount_fen,
                payer_reference=task.original_reference,
                raw_code=f"{call.name}.already_undone",
            )
        if self._region.says("doubtful", response.err_msg):
            return Decision(Outcome.UNKNOWN, raw_code=f"{call.name}.doubtful")
        return declined(call, response)

    def _settled(self, task: PayerTask, call: Said, response: Response, msgid: str) -> Decision:
        infno = infno_of(call.name)
        content = self._talk.content(call.answer, task.request.institution, infno)
        info, details = content["setlinfo"], content["setldetail"]
        sent = own_json(call.sent)["input"].get("data", {})
        foreign = info.get("medins_setl_id", msgid) != msgid
        if foreign or info.get("mdtrt_id", "") != sent.get("mdtrt_id", info.get("mdtrt_id", "")):
            raise OutcomeUnknown("an answer to another request", party=task.payer, request_id=task.request_id)
        self._check(task, infno, content, response.output)
        result = self._result(info, details)
        booked = "setl_id" in info and task.operation is not Operation.TRIAL
        return Decision(
            Outcome.APPROVED,
            amount_fen=result.fund_fen,
            payer_reference=f"{info['setl_id']}/{info['mdtrt_id']}" if booked else None,
            decided_at=info.get("setl_time") if booked else None,
            raw_code="0",
            basic=result,
        )

    def _result(self, info: dict[str, Any], details: Sequence[dict[str, Any]]) -> BasicResult:
        return BasicResult(
            total_fen=info["medfee_sumamt"],
            own_pay_fen=info["fulamt_ownpay_amt"],
            over_limit_fen=info["overlmt_selfpay"],
            first_self_pay_fen=info["preselfpay_amt"],
            in_scope_fen=info["inscp_scp_amt"],
            deductible_fen=info.get("act_pay_dedc", 0),
            fund_fen=funds_without_account(info, self._region.switches),
            account_fen=info["acct_pay"],
            cash_fen=info["psn_cash_pay"],
            hospital_fen=info["hosp_part_amt"],
            funds=tuple(
                (row["fund_pay_type"], row["fund_payamt"])
                for row in details
                if row["fund_pay_type"] not in ACCOUNT_TYPES
            ),
        )

    def _check(self, task: PayerTask, infno: str, content: Content, output: Any) -> None:
        info, details = content["setlinfo"], content["setldetail"]
        fund, total = funds_without_account(info, self._region.switches), task.request.total
        rules = (
            (info["psn_no"] == task.request.insurance.person_no, "psn_no", "national.person", "the person asked about"),
            (info["medfee_sumamt"] == total, "medfee_sumamt", "national.A1", "must be the total of the request"),
            (0 <= fund <= task.left_fen, "fund_pay_sumamt", "amount.exceeds_left", "at most what is left of the bill"),
            (
                task.request.use_account or info["acct_pay"] == 0,
                "acct_pay",
                "account.not_allowed",
                "must be 0.00 where acct_used_flag is 0",
            ),
        )
        broken = [Violation(name, code, remedy) for holds, name, code, remedy in rules if not holds]
        broken += [
            Violation(name, "national.sign", "must not be negative") for name in AMOUNTS if info.get(name, 0) < 0
        ]
        broken += [
            Violation(f"setlinfo.{name}", "national.unknown_money", "tell what this amount is: option extra_money")
            for name in unknown_money(infno, output, known=self._region.words["extra_money"])
        ]
        broken += broken_amounts(info, details, self._region.switches)
        if broken:
            raise _held(task, broken)

    def _undone(self, task: PayerTask, call: Said, response: Response) -> Decision:
        """2601 tells nothing but that it is done; a cancel mirrors what it undoes (A10)."""
        if call.name == "2601":
            return Decision(Outcome.CANCELLED, amount_fen=task.original_amount_fen, raw_code="0")
        info = self._talk.content(call.answer, task.request.institution, call.name)["setlinfo"]
        sent = own_json(call.sent)["input"]["data"]
        if info.get("mdtrt_id", sent["mdtrt_id"]) != sent["mdtrt_id"]:
            raise OutcomeUnknown("an answer to another request", party=task.payer, request_id=task.request_id)
        sign = -1 if info["medfee_sumamt"] < 0 else 1
        mirror = {name: sign * info[name] for name in AMOUNTS if name in info}
        # Where the account counts into the funds, an answer without it does not say what the funds gave back.
        account_told = "acct_pay" in info or not self._region.switches.fund_includes_account
        fund = funds_without_account(mirror, self._region.switches) if account_told else None
        rules = (
            (mirror["medfee_sumamt"] == task.request.total, "medfee_sumamt"),
            (fund == task.original_amount_fen, "fund_pay_sumamt"),
            (all(fen >= 0 for fen in mirror.values()), "setlinfo"),
        )
        broken = [
            Violation(name, "national.A10", "mirror the settlement that is undone")
            for holds, name in rules
            if not holds
        ]
        if broken:
            raise _held(task, broken)
        return Decision(
            Outcome.CANCELLED,
            amount_fen=task.original_amount_fen,
            payer_reference=f"{info.get('setl_id', sent['setl_id'])}/{sent['mdtrt_id']}",
            decided_at=info.get("setl_time"),
            raw_code="0",
        )

    def _fate(self, task: PayerTask, said: Sequence[Said], heard: Heard) -> Decision:
        """5201 -> 5204 -> 5203: the settlement whose medins_setl_id is our message. Only what is explicitly not there
        counts as not found."""
        wanted = original_msgid(task)
        if heard.found is False or (heard.looked and not heard.setl_ids):
            return Decision(Outcome.NOT_FOUND, raw_code="national.empty")
        told = [one for one in said if infno_of(one.name) == "5203"]
        others = 0
        for call in told:
            response = self.response(call, task.request.institution)
            if response is None or not response.done:
                continue
            number = _number_of(response)
            if number == wanted:
                settled = self._settled(task, call, response, wanted)
                return replace(settled, raw_code="5203.settled")
            others += number is not None
        if heard.looked and others == len(heard.setl_ids):
            return Decision(Outcome.NOT_FOUND, raw_code="national.others")
        return Decision(Outcome.UNKNOWN, raw_code="national.inquiry")


def _number_of(response: Response) -> str | None:
    """Whose settlement this is; None where the region does not say."""
    try:
        number: str | None = read_output("5203", response.output)["setlinfo"].get("medins_setl_id")
    except InvalidMessage:
        return None
    return number


def declined(call: Said, response: Response) -> Decision:
    """An explicit no, in the region's own words."""
    infno = infno_of(call.name)
    return Decision(
        Outcome.DECLINED,
        reason_code=f"national.{infno}",
        reason_zh=response.err_msg[:REASON_MAX],
        reason_en=REFUSED_EN,
        raw_code=f"{infno}.-1",
    )


def raw_code(call: Said, response: Response | None) -> str:
    """What was said instead of yes or no."""
    if response is None:
        return f"http.{call.status}"
    return f"gateway.{response.gateway_code}" if response.gateway_code else f"infcode.{response.infcode[:10]}"


def facts_of_task(task: PayerTask) -> Facts:
    """What a task's conversation is about."""
    request = task.request
    return Facts(
        institution=request.institution,
        psn_no=request.insurance.person_no,
        visit_no=short(request.visit.visit_no),
        total_fen=request.total,
        batch=short(request.settlement_no),
        stay=request.visit.kind is VisitKind.INPATIENT,
    )


def _held(task: PayerTask, broken: Sequence[Violation]) -> InvalidMessage:
    facts = {"party": task.payer, "request_id": task.request_id}
    return InvalidMessage("the answer breaks an identity", *broken, code="answer.identity", **facts)
