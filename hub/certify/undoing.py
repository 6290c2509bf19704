"""Undoing: a cancel names what stands, a reversal names a request whose fate nobody knows."""

from __future__ import annotations

from dataclasses import replace

from hub.certify.checks import Group, NotApplicable, both, check, must
from hub.certify.stage import Claim, Heard, Stage, Standing, cancel_of, inquiry_of, reversal_of
from schemas.codes import Outcome
from schemas.payer import Decision

_UNSAID = both(("该方言的撤销报文不含金额", "this dialect's cancel names no amount"))


@check(
    "cancel.twice",
    Group.UNDOING,
    ("重复撤销无害，得到相同确认", "A cancel may be repeated, and is confirmed again"),
    ("两次均为已撤销，金额相同", "cancelled twice, with the same amount"),
    needs=("cancel",),
)
def cancel_twice(stage: Stage) -> None:
    claim = stage.settled()
    cancel = cancel_of(claim)
    first, again = stage.ask(cancel), stage.ask(cancel)
    must(first.outcome is Outcome.CANCELLED, f"撤销未成功: {first.words}", f"the cancel failed: {first.words}")
    must(
        _taken_back(again) == _taken_back(first),
        f"第二次不同: {again.words}",
        f"the second time differs: {again.words}",
    )


@check(
    "cancel.other_amount",
    Group.UNDOING,
    ("金额与原结算不符的撤销被拒绝", "A cancel with another amount than was settled is refused"),
    ("不撤销", "nothing is cancelled"),
    needs=("cancel",),
)
def cancel_other_amount(stage: Stage) -> None:
    claim = stage.settled()
    wrong = cancel_of(claim, "-x", original_amount_fen=claim.decision.amount_fen - 1)
    right = replace(wrong, original_amount_fen=claim.decision.amount_fen)
    if stage.prepared(stage.bills.numbered(wrong)).body == stage.prepared(stage.bills.numbered(right)).body:
        raise NotApplicable(_UNSAID)
    heard = stage.ask(wrong)
    must(
        heard.outcome is not Outcome.CANCELLED and not _confirms(heard),
        f"金额不符仍被撤销: {heard.words}",
        f"it was cancelled all the same: {heard.words}",
    )
    right_answer = stage.ask(cancel_of(claim))
    must(
        right_answer.outcome is Outcome.CANCELLED,
        f"其后正确的撤销失败: {right_answer.words}",
        f"the right cancel that followed failed: {right_answer.words}",
    )


@check(
    "cancel.unknown",
    Group.UNDOING,
    ("撤销不存在的结算不会被确认金额", "A cancel of what never was confirms no amount"),
    ("拒绝或无效果", "declined, or without effect"),
    needs=("cancel",),
)
def cancel_unknown(stage: Stage) -> None:
    like = stage.settled()
    never = Claim(stage.bills.claim(), Standing.NOTHING, Decision(Outcome.APPROVED, 12345, _other(like)))
    heard = stage.ask(cancel_of(never))
    must(heard.outcome is not Outcome.CANCELLED, f"虚构的结算被撤销: {heard.words}", f"confirmed: {heard.words}")


@check(
    "reversal.takes_back",
    Group.UNDOING,
    ("冲正仅凭我方请求编号撤回已入账金额", "A reversal takes back what stands, named by our request id alone"),
    ("已撤销，金额与结算相同", "cancelled, with the amount of the settlement"),
    needs=("reversal",),
)
def reversal_takes_back(stage: Stage) -> None:
    claim = stage.settled()
    heard = stage.ask(reversal_of(claim.task))
    must(heard.outcome is Outcome.CANCELLED, f"冲正未成功: {heard.words}", f"the reversal failed: {heard.words}")
    same = _taken_back(heard) == claim.decision.amount_fen
    must(same, "冲正金额与结算金额不一致", "the reversal names another amount than was settled")


@check(
    "reversal.twice",
    Group.UNDOING,
    ("重复冲正得到相同答复", "A reversal may be repeated, and is answered alike"),
    ("两次均为已撤销，金额相同", "cancelled twice, with the same amount"),
    needs=("reversal",),
)
def reversal_twice(stage: Stage) -> None:
    claim = stage.settled()
    reversal = reversal_of(claim.task)
    first, again = stage.ask(reversal), stage.ask(reversal)
    must(first.outcome is Outcome.CANCELLED, f"冲正未成功: {first.words}", f"the reversal failed: {first.words}")
    must(
        _taken_back(again) == _taken_back(first),
        f"第二次不同: {again.words}",
        f"the second time differs: {again.words}",
    )


@check(
    "reversal.of_nothing",
    Group.UNDOING,
    ("冲正从未到达的请求：确认，金额为零", "A reversal of what never came is confirmed with 0.00"),
    ("已撤销，0.00", "cancelled, 0.00"),
    needs=("reversal",),
)
def reversal_of_nothing(stage: Stage) -> None:
    heard = stage.ask(reversal_of(stage.bills.claim()))
    must(heard.outcome is Outcome.CANCELLED, f"应确认: {heard.words}", f"should be confirmed: {heard.words}")
    must(_taken_back(heard) == 0, "从未结算却给出金额", "an amount was named although nothing stood")


@check(
    "reversal.tombstone",
    Group.UNDOING,
    ("先冲正、后到达的原请求被拒绝", "A request that comes after its own reversal is refused"),
    ("拒绝，不入账", "declined, and nothing is booked"),
    needs=("reversal",),
)
def reversal_tombstone(stage: Stage) -> None:
    task = stage.bills.claim()
    stage.ask(reversal_of(task))
    late = stage.ask(task)
    must(
        late.outcome is not Outcome.APPROVED,
        f"冲正之后仍被批准: {late.words}",
        f"it was approved after it had been reversed: {late.words}",
    )
    must(late.outcome is Outcome.DECLINED, f"应明确拒绝: {late.words}", f"should be declined: {late.words}")


@check(
    "undo.stays_undone",
    Group.UNDOING,
    ("撤销后查询不再显示为有效", "After a cancel an inquiry no longer finds a standing settlement"),
    ("已撤销或未找到", "cancelled, or not found"),
    needs=("cancel", "inquiry"),
)
def stays_undone(stage: Stage) -> None:
    claim = stage.settled()
    stage.ask(cancel_of(claim))
    found = stage.ask(inquiry_of(claim.task))
    gone = found.outcome in (Outcome.CANCELLED, Outcome.NOT_FOUND)
    must(gone, f"撤销后查询为 {found.words}", f"the inquiry after the cancel says {found.words}")


def _taken_back(heard: Heard) -> int | str:
    return heard.decision.amount_fen if heard.outcome is Outcome.CANCELLED and heard.decision else heard.words


def _confirms(heard: Heard) -> bool:
    """A confirmation that the adapter held because of its amount."""
    return any("mirror" in one.code for one in getattr(heard.error, "violations", ()))


def _other(claim: Claim) -> str:
    """A reference in the party's own form that is nobody's."""
    known = claim.decision.payer_reference or ""
    return known[:-4] + ("0000" if known[-4:] != "0000" else "1111")
