"""What the page and the workbook call things: Chinese for whoever signs, English for whoever runs the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.hospital.remedies import own_zh
from routing.days import CHINA_STANDARD_TIME
from schemas.base import Bilingual
from schemas.errors import Violation
from schemas.money import yuan_of
from schemas.statement import Remedy

TITLE = Bilingual(zh="对账日报", en="Report of the day")
KINDS: Mapping[str, Bilingual] = {
    "basic": Bilingual(zh="基本医保", en="basic system"),
    "insurer": Bilingual(zh="保险公司", en="insurer"),
    "institution": Bilingual(zh="定点机构", en="institution"),
}
SIDES: Mapping[str, Bilingual] = {
    "hub": Bilingual(zh="平台", en="hub"),
    "payer": Bilingual(zh="支付方", en="payer"),
    "hospital": Bilingual(zh="医院", en="hospital"),
}
STATES: Mapping[str, Bilingual] = {
    "open": Bilingual(zh="待处理", en="open"),
    "waiting": Bilingual(zh="处理中", en="waiting"),
    "resolved": Bilingual(zh="已解决", en="resolved"),
    "explained": Bilingual(zh="已说明", en="explained"),
    "agreed": Bilingual(zh="已一致", en="agreed since"),
}
RUN_STATES: Mapping[str, Bilingual] = {
    "running": Bilingual(zh="对账中", en="running"),
    "done": Bilingual(zh="已对账", en="compared"),
    "failed": Bilingual(zh="失败", en="failed"),
    "void": Bilingual(zh="作废", en="void"),
    "signed_off": Bilingual(zh="已签字", en="signed off"),
}
REMEDIES: Mapping[str, Bilingual] = {
    Remedy.INQUIRE: Bilingual(zh="再次询问支付方", en="inquire"),
    Remedy.CONFIRM: Bilingual(zh="按支付方账确认", en="confirm"),
    Remedy.REVERSE: Bilingual(zh="冲正", en="reverse"),
    Remedy.RESEND_ANSWER: Bilingual(zh="重发答复", en="resend_answer"),
    Remedy.POST_DIFFERENCE: Bilingual(zh="登记差额", en="post_difference"),
    Remedy.PEOPLE: Bilingual(zh="人工处理", en="people"),
    Remedy.NONE: Bilingual(zh="无需处理", en="none"),
}
STATEMENT_STATES: Mapping[str, Bilingual] = {
    "standing": Bilingual(zh="有效", en="standing"),
    "replaced": Bilingual(zh="已替换", en="replaced"),
    "refused": Bilingual(zh="已拒收", en="refused"),
}
LEDGER_KINDS: Mapping[str, Bilingual] = {
    "settle": Bilingual(zh="结算", en="settle"),
    "late_approval": Bilingual(zh="迟到的赔付", en="late approval"),
    "cancel": Bilingual(zh="退费", en="cancel"),
    "reversal": Bilingual(zh="冲正", en="reversal"),
    "opening": Bilingual(zh="期初", en="opening"),
    "correction": Bilingual(zh="差错调整", en="correction"),
    "deduction": Bilingual(zh="审核扣款", en="deduction"),
    "payment": Bilingual(zh="付款", en="payment"),
    "confirmation": Bilingual(zh="到账确认", en="confirmation"),
    "repayment": Bilingual(zh="退还", en="repayment"),
}
SWITCHES: Mapping[str, Bilingual] = {
    "refunds": Bilingual(zh="退费是否计入", en="refunds"),
    "account": Bilingual(zh="个人账户", en="personal account"),
    "day": Bilingual(zh="日期依据", en="what makes the day"),
    "body": Bilingual(zh="清算机构", en="clearing body"),
    "regions": Bilingual(zh="统筹区", en="regions"),
    "insurance_types": Bilingual(zh="险种", en="insurance types"),
    "hospital": Bilingual(zh="医院账", en="institutions' statements"),
    "cash": Bilingual(zh="患者现金", en="patients' cash"),
    "statement": Bilingual(zh="对账单来源", en="statement"),
    "due_days": Bilingual(zh="到期（日）", en="due after days"),
    "due_at": Bilingual(zh="到期（时）", en="due at"),
    "cut_off_days": Bilingual(zh="日切容差（日）", en="cut-off days"),
    "tolerance_fen": Bilingual(zh="金额容差（分）", en="tolerance, fen"),
}
UNKNOWN = "–"


def said(known: Mapping[str, Bilingual], key: str) -> Bilingual:
    """The words for a value; a value of tomorrow is shown as it is."""
    return known.get(key) or Bilingual(zh=key, en=key)


SEALED_BOOKS = {
    "compared": ("已对账", "compared with"),
    "left_out": ("未签字即封账", "left out"),
    "not_compared": ("未对账", "not compared with"),
}
"""The lists that a seal keeps; see `store.seals.Seal`."""
BOOKS_SHOWN = 50


def problems(told: Sequence[Mapping[str, str]]) -> list[str]:
    """Why a statement was refused, in both languages where a problem has a sentence in both."""
    lines = []
    for one in told:
        violation = Violation(one["field"], one["code"], one["remedy"])
        lines.append(" ".join(filter(None, (f"{one['field']}:", own_zh(violation), one["remedy"]))))
    return lines


def moment(at: datetime | None) -> str:
    """China Standard Time to the second."""
    return f"{at.astimezone(CHINA_STANDARD_TIME):%Y-%m-%d %H:%M:%S}" if at else UNKNOWN


def yuan(fen: int) -> str:
    """For people: 123456789 -> 1,234,567.89."""
    whole, _, cents = yuan_of(abs(fen)).partition(".")
    return f"{'-' if fen < 0 else ''}{int(whole):,}.{cents}"


def lasted(seconds: float | None) -> str:
    """A length of time for people, in the largest unit that makes sense."""
    if seconds is None:
        return UNKNOWN
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def switch(value: Any) -> str:
    """A switch's value as it is configured."""
    if value is None:
        return "all"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(sorted(map(str, value)))
    return str(value)


def side(figures: list[int] | None) -> str:
    """One side of a break: what stands, and how it came about where that is more than one settlement."""
    if figures is None:
        return UNKNOWN
    settlements, refunds, settled_fen, refunded_fen = (list(figures) + [0] * 4)[:4]
    if not settlements and not refunds:
        return "0"
    rows = "" if (settlements, refunds) == (1, 0) else f" ({settlements}+{refunds})"
    return yuan(settled_fen + refunded_fen) + rows
