"""What the insurers' own dialects have in common: amounts, moments and texts as their systems write them, and the
compliant fee of commercial insurance."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

from schemas.errors import InvalidMessage, Violation
from schemas.money import fen_of
from schemas.payer import BasicResult

CHINA = timezone(timedelta(hours=8), "CST")
TEXT_MAX = 1000
_TRAILING_ZEROS = re.compile(r"([0-9]+\.[0-9]{2})0+", re.ASCII)
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]+")
_REFERENCE = re.compile(r"[0-9A-Za-z._-]+", re.ASCII)


def compliant_fee_fen(basic: BasicResult) -> int:
    """合规医疗费用: total - basic compensation - what is not reimbursable; what critical-illness cover looks at.

    The national `inscp_scp_amt` means something else: it is gross, before any fund has paid. Since total = own pay +
    over limit + first self-pay + in scope, the net figure is in scope - fund; it is never below zero.
    """
    return max(0, basic.total_fen - basic.fund_fen - non_compliant_fee_fen(basic))


def non_compliant_fee_fen(basic: BasicResult) -> int:
    """不合规医疗费用: what no insurance reimburses: own pay, over the limit, first self-pay."""
    return basic.own_pay_fen + basic.over_limit_fen + basic.first_self_pay_fen


def fen_in(fields: dict[str, str], name: str) -> int:
    """An amount that must be there; decimals past the fen must be zeros. InvalidMessage names the field otherwise."""
    text = fields.get(name, "")
    if (longer := _TRAILING_ZEROS.fullmatch(text)) is not None:
        text = longer[1]
    try:
        return fen_of(text)
    except ValueError:
        blamed = Violation(name, "money", "write yuan with at most two decimals")
        raise InvalidMessage("not an amount", blamed, code="answer.amount") from None


def fen_or_none(fields: dict[str, str], name: str) -> int | None:
    """An amount that may be left out or left blank."""
    return fen_in(fields, name) if fields.get(name) else None


def cleaned(text: str) -> str:
    """A payer's words on one line, without control and direction characters, within the length of a reason."""
    return " ".join(_UNWANTED.sub(" ", text).split())[:TEXT_MAX]


def is_reference(text: str) -> bool:
    """Whether a payer's number can be kept and repeated as it is."""
    return _REFERENCE.fullmatch(text) is not None and len(text) <= 64


def moment_in(text: str) -> datetime | None:
    """A moment or day in China Standard Time; None for anything else: it is told to people, nothing depends on it."""
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=CHINA)
    except ValueError:
        return None
    return moment if 2000 <= moment.year < 2200 else None


def china_time(moment: datetime | None, field: str) -> str:
    """yyyy-MM-dd HH:mm:ss, empty for None; InvalidMessage for a moment outside the calendar."""
    if moment is None:
        return ""
    try:
        moment = moment.astimezone(CHINA)
    except OverflowError:
        raise InvalidMessage("outside the calendar", Violation(field, "moment", "send the real moment")) from None
    return moment.isoformat(" ", "seconds")[:19]


def day(value: date | None) -> str:
    """yyyy-MM-dd, empty for None."""
    return value.isoformat() if value is not None else ""
