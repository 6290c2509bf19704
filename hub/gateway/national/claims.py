"""3203 and 3204: an institution applies to all its payers for a month, and takes the application back.

The interface asks per kind of clearing, not per payer: one application makes a claim to each payer that owes. The
application's event is the number of the message that made it.
"""

from __future__ import annotations

from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.setlinfo import CLEARING_TYPES
from hub.gateway.national.words import Spoken
from schemas.clearing import ClearingWay, FeesSettleAnswer
from schemas.errors import Conflict, NotFound
from schemas.money import yuan_of
from schemas.national.fields import Record
from schemas.transactions import Transaction
from store import fund_figures
from store.fund_figures import Scope, Sums

_KINDS = {code: kind for kind, code in CLEARING_TYPES.items()}
_ANY_KIND = "99"
_WITHDRAWN = "所属机构申请撤销"


async def claim(call: Call, services: Services) -> Reply:
    """3203: the totals must be those of the ledger; else the application is refused with both."""
    facts = call.facts
    scope = _scope(call, facts)
    ours = await services.read(lambda connection: fund_figures.total(fund_figures.by_day(connection, scope).values()))
    message = {
        "institution": call.party,
        "request_no": call.msgid,
        "period": {"first": scope.first.isoformat(), "last": scope.last.isoformat()},
        "region": scope.region,
        "count": facts.get("psntime", ours.count),
        "total": yuan_of(facts["medfee_sumamt"]),
        "payers_paid": yuan_of(_funds(facts, ours)),
        "account": yuan_of(facts["acct_pay"]),
        "cash": yuan_of(facts["cash_payamt"]),
        "claim": {
            "way": _way(facts["clr_way"]),
            "applied": yuan_of(facts["fund_appy_sum"]),
            "recognised": yuan_of(facts["med_sumfee"]),
        },
    }
    if scope.visit_kind:
        message["visit_kind"] = scope.visit_kind
    try:
        brought = await services.bring(call, Transaction.FEES_SETTLE, message)
    except Conflict as refused:
        raise _named(refused) from None
    answer = FeesSettleAnswer.model_validate_json(brought.answer or b"")
    if not answer.balanced:
        raise Spoken(_difference(answer))
    return Reply({"result": {"clr_appy_evt_id": call.msgid}})


async def cancel(call: Call, services: Services) -> Reply:
    """3204: every claim of the application, unless the audit of one is closed."""
    event = call.facts["clr_appy_evt_id"]
    message = {
        "institution": call.party,
        "request_no": call.msgid,
        "settle_request_no": event,
        "reason": _WITHDRAWN,
    }
    try:
        await services.bring(call, Transaction.FEES_SETTLE_CANCEL, message)
    except NotFound:
        raise Spoken("未找到该清算申请，请核对 clr_appy_evt_id") from None
    return Reply()


def _scope(call: Call, facts: Record) -> Scope:
    first, last = facts["begndate"], facts["enddate"]
    if last < first or (first.year, first.month) != (last.year, last.month):
        raise wrong("enddate", "national.month", "send days of one month, in order")
    if facts.get("setlym", f"{first:%Y%m}").replace("-", "") != f"{first:%Y%m}":
        raise wrong("setlym", "national.month", "send the month of the days")
    code = facts["clr_type"]
    if code != _ANY_KIND and code not in _KINDS:
        raise wrong("clr_type", "national.code", "use 11, 21, 41 or 99")
    kind = _KINDS[code].value if code in _KINDS else ""
    return Scope(call.party, first, last, None, call.institution.region, kind)


def _way(code: str) -> str:
    if code not in {one.value for one in ClearingWay}:
        raise wrong("clr_way", "national.code", "use 01 to 05 or 99")
    return code


def _funds(facts: Record, ours: Sums) -> int:
    """The interface does not say it: what neither accounts nor patients bear, nor the hospital, which only we know."""
    hospital_fen = ours.total_fen - ours.paid_fen - ours.account_fen - ours.cash_fen
    return int(facts["medfee_sumamt"] - facts["acct_pay"] - facts["cash_payamt"] - hospital_fen)


def _named(refused: Conflict) -> Conflict | Spoken:
    """With the days that are not sealed, which our own sentence leaves out."""
    if refused.code != "claim.unsealed":
        return refused
    first, last, days = (refused.context[name] for name in ("first", "last", "days"))
    shown = f"{first}" if first == last else f"{first}至{last}"
    return Spoken(f"所申报期间尚有{days}天未封账（{shown}），请待封账后再申报")


def _difference(answer: FeesSettleAnswer) -> str:
    ours = (
        f"{answer.count}人次，总额{yuan_of(answer.total)}元，基金{yuan_of(answer.payers_paid)}元，"
        f"账户{yuan_of(answer.account)}元，现金{yuan_of(answer.cash)}元"
    )
    days = "；".join(f"{one.day:%m-%d} {one.count}人次{yuan_of(one.payers_paid)}元" for one in answer.days)
    return f"清算申请与平台账目不符，未受理；平台：{ours}。逐日基金：{days}"
