"""Messages that must be refused: explicitly, in time, and without any effect."""

from __future__ import annotations

from dataclasses import replace

from hub.certify.checks import Group, NotApplicable, both, check, must
from hub.certify.stage import Heard, Stage
from hub.certify.tampering import with_value, without_field
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, OutcomeUnknown, Unavailable
from schemas.money import yuan_of
from schemas.payer import Operation, PayerTask, PreparedCall

NO_PRODUCT = "NO-SUCH-PRODUCT"
_UNSAID = both(("该方言的报文不含此项", "this dialect's messages do not say it"))


@check(
    "refuse.unknown_product",
    Group.REFUSALS,
    ("未知产品被明确拒绝", "A product that the party does not sell is refused with a reason"),
    ("拒绝，带原因", "declined, with a reason"),
)
def unknown_product(stage: Stage) -> None:
    task = stage.bills.claim()
    other = replace(task, product=NO_PRODUCT)
    if stage.prepared(task).body == stage.prepared(other).body:
        raise NotApplicable(_UNSAID)
    heard = stage.ask(other)
    must(heard.outcome is Outcome.DECLINED, f"应拒绝，实际为 {heard.words}", f"should be declined: {heard.words}")
    told = heard.decision is not None and bool(heard.decision.reason_zh or heard.decision.reason_en)
    must(told, "拒绝未给出原因", "the refusal gives no reason for people to read")


@check(
    "refuse.bad_amount",
    Group.REFUSALS,
    ("总额为负的报文被拒绝，且不入账", "A bill whose total is negative is refused, and nothing is booked"),
    ("明确拒绝，绝不批准", "an explicit refusal, never an approval"),
    by_call=True,
)
def bad_amount(stage: Stage) -> None:
    task = stage.bills.claim()
    total = yuan_of(task.request.total)
    _refused(stage, task, with_value(stage.prepared(task), total, f"-{total}"))


@check(
    "refuse.missing_field",
    Group.REFUSALS,
    ("缺少总额的报文被拒绝，且不入账", "A bill without its total is refused, and nothing is booked"),
    ("明确拒绝，绝不批准", "an explicit refusal, never an approval"),
    by_call=True,
)
def missing_field(stage: Stage) -> None:
    task = stage.bills.claim()
    _refused(stage, task, without_field(stage.prepared(task), yuan_of(task.request.total)))


@check(
    "answer.in_time",
    Group.REFUSALS,
    ("坏报文不妨碍后续请求：下一笔按时得到答复", "A broken message stops nobody: the next one is answered in time"),
    ("在规则手册的超时之内答复", "an answer within the timeout of the rule book"),
)
def answers_in_time(stage: Stage) -> None:
    asked = Operation.TRIAL if stage.can.trial else Operation.SETTLE
    if stage.can.by_queue:
        broken = stage.bills.claim(asked)
        whole = stage.prepared(broken)
        stage.send_only(broken, replace(whole, body=whole.body[: len(whole.body) // 2]))
    heard = stage.ask(stage.bills.claim(asked))
    must(heard.decision is not None, f"未按时答复: {heard.words}", f"no answer in time: {heard.words}")


def _refused(stage: Stage, task: PayerTask, call: PreparedCall | None) -> None:
    if call is None:
        raise NotApplicable(_UNSAID)
    heard = stage.ask(task, call)
    lost = isinstance(heard.error, OutcomeUnknown | Unavailable) and not heard.raw.body
    must(not lost, f"没有答复: {heard.words}", f"no answer at all: {heard.words}")
    accepted = heard.outcome in (Outcome.APPROVED, Outcome.DEFERRED)
    # The answer to a bill with another total contradicts ours: it was taken all the same.
    taken = isinstance(heard.error, InvalidMessage) and bool(heard.error.violations)
    must(not accepted and not taken, f"坏报文被接受: {heard.words}", f"the message was accepted: {heard.words}")
    must(_explicit(heard), f"不是明确的拒绝: HTTP {heard.raw.status}", f"no refusal, but HTTP {heard.raw.status}")
    sure = heard.outcome is Outcome.DECLINED or stage.can.reversal or stage.can.inquiry
    must(
        sure,
        "拒绝未用文档中的代码表示，且无法查询或冲正",
        "the refusal is in no documented code, and neither an inquiry nor a reversal could clear it up",
    )


def _explicit(heard: Heard) -> bool:
    """A refusal by the dialect's rules, a 4xx, or a SOAP fault, which HTTP calls an error of the server."""
    faulty = heard.raw.status < 500 or b"Fault" in heard.raw.body
    return heard.outcome is Outcome.DECLINED or faulty
