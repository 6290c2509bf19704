"""What becomes of lost, late and wrong answers. Only a sandbox party can be asked to misbehave."""

from __future__ import annotations

from hub.certify.checks import Group, NotApplicable, both, check, must
from hub.certify.control import SideDoor
from hub.certify.stage import Heard, Stage, inquiry_of
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, OutcomeUnknown
from schemas.payer import Operation

SILENCE_S = 0.1
_NO_WAY = both(
    ("既不能重复也不能查询：丢失的答复由人工处理", "neither repeats nor inquiries: a lost answer waits for a person")
)


@check(
    "lost.answer_resolved",
    Group.TROUBLE,
    (
        "入账后答复丢失：重复或查询得到原答复",
        "An answer that is lost after its effect is had by a repeat or an inquiry",
    ),
    ("先为未知，后为批准", "in doubt at first, then approved"),
    with_control=True,
)
def lost_answer(stage: Stage) -> None:
    if not (stage.can.idempotent_submit or stage.can.inquiry):
        raise NotApplicable(_NO_WAY)
    task = stage.bills.claim()
    control(stage).suffer("lost_answer", Operation.SETTLE)
    first = stage.ask(task, timeout_s=_patience_s(stage))
    must(isinstance(first.error, OutcomeUnknown), f"应为疑问: {first.words}", f"should be in doubt: {first.words}")
    again = stage.ask(task if stage.can.idempotent_submit else inquiry_of(task))
    must(again.outcome is Outcome.APPROVED, f"未得到原答复: {again.words}", f"not had again: {again.words}")


@check(
    "silence.not_guessed",
    Group.TROUBLE,
    ("对方沉默时不猜测结果；之后照常结算", "Silence is no answer, and the party settles as always afterwards"),
    ("先为未知，后为批准", "in doubt at first, then approved"),
    needs=("idempotent_submit",),
    with_control=True,
)
def silence(stage: Stage) -> None:
    task = stage.bills.claim()
    control(stage).suffer("silent", Operation.SETTLE, seconds=SILENCE_S)
    first = stage.ask(task, timeout_s=_patience_s(stage))
    must(first.decision is None, f"沉默被当作答复: {first.words}", f"silence was taken for an answer: {first.words}")
    again = stage.ask(task)
    must(again.outcome is Outcome.APPROVED, f"其后未获批准: {again.words}", f"not approved afterwards: {again.words}")


@check(
    "wrong.amount_held",
    Group.TROUBLE,
    ("金额自相矛盾的答复不被采信", "An answer whose amounts contradict the request is not believed"),
    ("报文错误，不记账", "held as invalid, and not booked"),
    with_control=True,
)
def wrong_amount(stage: Stage) -> None:
    if not (stage.can.reversal or stage.can.inquiry):
        raise NotApplicable(_NO_WAY)
    task = stage.bills.claim()
    control(stage).suffer("wrong_total", Operation.SETTLE)
    heard = stage.ask(task)
    must(_held(heard), f"错误金额被采信: {heard.words}", f"a wrong amount was believed: {heard.words}")


@check(
    "wrong.answer_ignored",
    Group.TROUBLE,
    ("乱码或他人的答复不被采信", "Bytes that are no answer, or an answer to somebody else, are not believed"),
    ("先为未知，后为批准", "in doubt at first, then approved"),
    needs=("idempotent_submit",),
    with_control=True,
)
def wrong_answer(stage: Stage) -> None:
    task = stage.bills.claim()
    control(stage).suffer("garbage", Operation.SETTLE)
    first = stage.ask(task, timeout_s=_patience_s(stage))
    believed = first.outcome not in (None, Outcome.UNKNOWN)
    must(not believed, f"乱码被采信: {first.words}", f"it was believed: {first.words}")
    again = stage.ask(task)
    must(again.outcome is Outcome.APPROVED, f"其后未获批准: {again.words}", f"not approved afterwards: {again.words}")


def control(stage: Stage) -> SideDoor:
    """The party's side door; only checks `with_control` are run with one."""
    assert stage.control is not None, "a check without control"
    return stage.control


def _held(heard: Heard) -> bool:
    return isinstance(heard.error, InvalidMessage)


def _patience_s(stage: Stage) -> float:
    """By queue a lost answer is noticed by waiting alone."""
    return 2 * SILENCE_S if stage.can.by_queue else 0
