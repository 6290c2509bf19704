"""The golden path: trial, settle, cancel, each as the contract has it."""

from __future__ import annotations

from hub.certify.checks import Group, check, must
from hub.certify.stage import Stage, cancel_of, inquiry_of
from schemas.codes import Outcome
from schemas.payer import Operation


@check(
    "trial.adjudicates",
    Group.GOLDEN,
    ("试算给出金额，且不超过剩余账单", "A trial is adjudicated, within what is left of the bill"),
    ("批准，金额大于零且不超过剩余金额", "approved, with more than 0.00 and at most what is left"),
    needs=("trial",),
)
def trial_adjudicates(stage: Stage) -> None:
    task = stage.bills.claim(Operation.TRIAL)
    heard = stage.ask(task)
    amount = heard.decision.amount_fen if heard.decision else 0
    must(
        heard.outcome is Outcome.APPROVED, f"试算未获批准: {heard.words}", f"the trial was not approved: {heard.words}"
    )
    must(0 < amount <= task.left_fen, "金额超出范围", "the amount is 0.00 or more than what is left")


@check(
    "trial.leaves_nothing",
    Group.GOLDEN,
    ("试算不留痕迹：查询不到该请求", "A trial leaves no trace: an inquiry about it finds nothing"),
    ("未找到", "not found"),
    needs=("trial", "inquiry"),
)
def trial_leaves_nothing(stage: Stage) -> None:
    task = stage.bills.claim(Operation.TRIAL)
    stage.ask(task)
    found = stage.ask(inquiry_of(task))
    must(
        found.outcome is Outcome.NOT_FOUND,
        "试算之后仍能查到该请求，或对方的“未找到”无法识别",
        "the trial is found, or the party's word for 'not found' is not understood",
    )


@check(
    "settle.approves",
    Group.GOLDEN,
    (
        "结算获批准，给出对方编号，金额不超过剩余账单",
        "A settlement is approved within the bill, under the party's own number",
    ),
    ("批准，金额大于零，带对方编号", "approved, with more than 0.00 and a reference"),
)
def settle_approves(stage: Stage) -> None:
    decision = stage.settled().decision
    must(decision.amount_fen > 0, "批准金额为零", "approved with 0.00: nothing can be certified with it")
    must(bool(decision.payer_reference), "缺少对方编号", "the party's reference is missing")


@check(
    "settle.as_tried",
    Group.GOLDEN,
    ("同一账单试算与结算金额一致", "A settlement comes to what the trial of the same bill came to"),
    ("两次金额相同", "the same amount twice"),
    needs=("trial",),
)
def settle_as_tried(stage: Stage) -> None:
    trial = stage.bills.claim(Operation.TRIAL)
    tried = stage.ask(trial)
    settle = stage.bills.as_settle(trial)
    settled = stage.ask(settle)
    must(
        settled.decision is not None and tried.decision is not None and settled.outcome is Outcome.APPROVED,
        "试算或结算未获批准",
        "the trial or the settlement was not approved",
    )
    same = bool(tried.decision and settled.decision and tried.decision.amount_fen == settled.decision.amount_fen)
    must(same, "试算与结算金额不一致", "the settlement differs from the trial")


@check(
    "cancel.mirrors",
    Group.GOLDEN,
    ("撤销按原金额撤回", "A cancel takes back exactly what was settled"),
    ("已撤销，金额与结算相同", "cancelled, with the amount of the settlement"),
    needs=("cancel",),
)
def cancel_mirrors(stage: Stage) -> None:
    claim = stage.settled()
    heard = stage.ask(cancel_of(claim))
    must(
        heard.outcome is Outcome.CANCELLED, f"撤销未成功: {heard.words}", f"the cancel was not confirmed: {heard.words}"
    )
    same = heard.decision is not None and heard.decision.amount_fen == claim.decision.amount_fen
    must(same, "撤销金额与结算金额不一致", "the cancel names another amount than was settled")


@check(
    "settle.again_after_cancel",
    Group.GOLDEN,
    ("撤销后可用新编号重新结算", "After a cancel the same bill can be settled anew, under a new number"),
    ("批准，金额与首次相同", "approved, with the amount of the first time"),
    needs=("cancel",),
)
def settle_again_after_cancel(stage: Stage) -> None:
    claim = stage.settled()
    stage.ask(cancel_of(claim))
    heard = stage.ask(stage.bills.anew(claim.task))
    must(heard.outcome is Outcome.APPROVED, f"未获批准: {heard.words}", f"not approved: {heard.words}")
    same = heard.decision is not None and heard.decision.amount_fen == claim.decision.amount_fen
    must(same, "重新结算金额不同", "the new settlement comes to another amount: something was used up")
