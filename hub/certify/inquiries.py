"""Inquiries: what became of a request, told without any effect."""

from __future__ import annotations

from hub.certify.checks import Group, check, must
from hub.certify.stage import Stage, inquiry_of
from schemas.codes import Outcome

_NEEDS = ("inquiry",)


@check(
    "inquiry.stands",
    Group.INQUIRIES,
    ("查询已结算请求得到与结算相同的内容", "An inquiry about a settlement tells what its answer told"),
    ("批准，金额与对方编号相同", "approved, with the same amount and reference"),
    needs=_NEEDS,
)
def stands(stage: Stage) -> None:
    claim = stage.settled()
    known = (claim.decision.outcome, claim.decision.amount_fen, claim.decision.payer_reference)
    found = stage.ask(inquiry_of(claim.task))
    must(found.same == known, f"查询结果不同: {found.words}", f"the inquiry says otherwise: {found.words}")


@check(
    "inquiry.not_found",
    Group.INQUIRIES,
    ("查询从未到达的请求得到“未找到”", "An inquiry about what never came says so in the party's own words"),
    ("未找到", "not found"),
    needs=_NEEDS,
)
def not_found(stage: Stage) -> None:
    found = stage.ask(inquiry_of(stage.bills.claim()))
    must(
        found.outcome is Outcome.NOT_FOUND,
        f"应为未找到，实际为 {found.words}；没有它，疑问无法了结",
        f"should be 'not found': {found.words}; without it a doubt never ends",
    )


@check(
    "inquiry.no_effect",
    Group.INQUIRIES,
    (
        "查询不产生效果：之后到达的结算照常处理",
        "An inquiry has no effect: a settlement that comes after it is approved",
    ),
    ("批准", "approved"),
    needs=_NEEDS,
)
def no_effect(stage: Stage) -> None:
    task = stage.bills.claim()
    stage.ask(inquiry_of(task))
    heard = stage.ask(task)
    must(heard.outcome is Outcome.APPROVED, f"查询之后结算未获批准: {heard.words}", f"not approved: {heard.words}")
