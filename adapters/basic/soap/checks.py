"""What must hold between a basic system's answer and our request, to the fen. Nothing is corrected: a breach is
InvalidMessage that names the fields, and the case is held with the bytes as evidence."""

from __future__ import annotations

from schemas.errors import InvalidMessage, Violation
from schemas.payer import BasicResult, Operation, PayerTask


def check_settled(task: PayerTask, result: BasicResult, *, psn_no: str, person_fen: int) -> None:
    """The identities of a settlement or trial."""
    paid_elsewhere = result.own_pay_fen + result.over_limit_fen + result.first_self_pay_fen
    funds = sum(amount for _, amount in result.funds)
    rules = (
        (psn_no == task.request.insurance.person_no, "psn_no", "identity.person", "answer for the person asked about"),
        (
            result.total_fen == task.request.total,
            "medfee_sumamt",
            "amount.total",
            "medfee_sumamt must be the total of the request",
        ),
        (
            result.total_fen == paid_elsewhere + result.in_scope_fen,
            "inscp_scp_amt",
            "identity.scope",
            "medfee_sumamt = fulamt_ownpay_amt + overlmt_selfpay + preselfpay_amt + inscp_scp_amt",
        ),
        (
            result.total_fen == result.fund_fen + person_fen + result.hospital_fen,
            "psn_part_amt",
            "identity.payers",
            "medfee_sumamt = fund_pay_sumamt + psn_part_amt + hosp_part_amt",
        ),
        (
            person_fen == result.account_fen + result.cash_fen,
            "psn_cash_pay",
            "identity.person_part",
            "psn_part_amt = acct_pay + psn_cash_pay",
        ),
        (
            funds == result.fund_fen,
            "setldetail",
            "identity.funds",
            "fund_pay_sumamt = sum of setldetail.fund_payamt",
        ),
        (
            result.fund_fen <= task.left_fen,
            "fund_pay_sumamt",
            "amount.exceeds_left",
            "fund_pay_sumamt must not exceed what is left of the bill",
        ),
        (
            task.request.use_account or result.account_fen == 0,
            "acct_pay",
            "account.not_allowed",
            "acct_pay must be 0.00 where acct_used_flag is 0",
        ),
    )
    _refuse_broken(task, rules)


def check_cancelled(task: PayerTask, *, omsgid: str, undone: bool, amount_fen: int) -> None:
    """An undo names its original; a cancel mirrors its amount; what was never booked cannot have one."""
    known = task.operation is Operation.CANCEL and task.original_reference is not None
    rules = (
        (omsgid == task.original_request_id, "omsgid", "cancel.original", "repeat the omsgid of the request"),
        (undone or not known, "refd_setl_flag", "cancel.nothing_undone", "the settlement with this setl_id was booked"),
        (undone or amount_fen == 0, "fund_pay_sumamt", "cancel.amount", "must be 0.00 where nothing was booked"),
        (
            not known or amount_fen == task.original_amount_fen,
            "fund_pay_sumamt",
            "cancel.mirror",
            "must be the amount of the settlement that is undone",
        ),
    )
    _refuse_broken(task, rules)


def _refuse_broken(task: PayerTask, rules: tuple[tuple[bool, str, str, str], ...]) -> None:
    broken = [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds]
    if broken:
        facts = {"party": task.payer, "request_id": task.request_id}
        raise InvalidMessage("the answer breaks an identity", *broken, code="answer.identity", **facts)
