"""Repeats: the same request may come twice, since an answer may be lost; it must have one effect."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from adapters.conversation import SCRIPT
from hub.certify.checks import Group, NotApplicable, both, check, must
from hub.certify.stage import Stage
from schemas.codes import Outcome
from schemas.errors import InvalidMessage

_NEEDS = ("idempotent_submit",)
_ONE_BY_ONE = both(("一次结算由多次调用组成，逐一进行", "a settlement is several calls, made one after the other"))


@check(
    "repeat.same_answer",
    Group.REPEATS,
    ("重复结算得到首次的答复", "The repeat of a settlement gets the first answer"),
    ("结果、金额、对方编号均相同", "the same outcome, amount and reference"),
    needs=_NEEDS,
)
def same_answer(stage: Stage) -> None:
    claim = stage.settled()
    first = (claim.decision.outcome, claim.decision.amount_fen, claim.decision.payer_reference)
    again = stage.ask(claim.task)
    must(again.same == first, f"重复得到不同答复: {again.words}", f"the repeat was answered otherwise: {again.words}")


@check(
    "repeat.at_once",
    Group.REPEATS,
    ("同一结算同时到达两次，只结算一次", "The same settlement twice at the same moment is one settlement"),
    ("两个答复相同", "two equal answers"),
    needs=_NEEDS,
)
def at_once(stage: Stage) -> None:
    task = stage.bills.claim()
    if stage.prepared(task).content_type == SCRIPT:
        raise NotApplicable(_ONE_BY_ONE)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(stage.ask, (task, task))
    must(first.outcome is Outcome.APPROVED, f"未获批准: {first.words}", f"not approved: {first.words}")
    must(first.same == second.same, f"两个答复不同: {second.words}", f"the two answers differ: {second.words}")


@check(
    "repeat.other_content",
    Group.REPEATS,
    ("同一请求编号、不同内容被拒绝", "The same request id with other content is refused"),
    ("拒绝，绝不再次批准", "a refusal, never an approval"),
    needs=_NEEDS,
)
def other_content(stage: Stage) -> None:
    claim = stage.settled()
    heard = stage.ask(stage.bills.dearer(claim.task))
    # An answer that names the first bill's figures was given to a message that should not have had one.
    taken = isinstance(heard.error, InvalidMessage) and bool(heard.error.violations)
    accepted = heard.outcome in (Outcome.APPROVED, Outcome.DEFERRED)
    must(not accepted and not taken, f"不同内容被接受: {heard.words}", f"other content was accepted: {heard.words}")
