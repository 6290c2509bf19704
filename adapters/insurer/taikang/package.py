"""The package that every call and every answer is: head, body, additionInfo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from adapters.insurer.wording import CHINA
from schemas.errors import IllegalTransition, InvalidMessage, Malformed, Violation
from schemas.money import fen_of, yuan_of
from schemas.payer import MessageNumbers
from schemas.strict_json import check_text

SERIALS = 10**6


@dataclass(frozen=True, slots=True)
class Package:
    """What an answer says. `body` holds the first record; the calls of this dialect have one or none."""

    trade_no: str
    body: Mapping[str, Any]
    error_code: str
    error_text: str
    receiver_trade_no: str


def trade_no(numbers: MessageNumbers | None, sender: str, offset: int) -> str:
    """sendTradeNum: time-sender-serial, the same in every repeat of a request."""
    if numbers is None:
        raise IllegalTransition("this dialect needs message numbers")
    return f"{numbers.at.astimezone(CHINA):%Y%m%d%H%M%S}-{sender}-{(numbers.first + offset) % SERIALS:06d}"


def package_text(head: Mapping[str, str], body: Sequence[Mapping[str, Any]]) -> str:
    """The JSON of a package; fields without a value are left out."""
    records = [{name: value for name, value in record.items() if value is not None} for record in body]
    addition = {"errorCode": "", "errorMsg": "", "receiverTradeNum": ""}
    return orjson.dumps({"package": {"head": head, "body": records, "additionInfo": addition}}).decode()


def money(fen: int) -> orjson.Fragment:
    """Whole fen as a JSON number of yuan with two decimals."""
    return orjson.Fragment(yuan_of(fen))


def number(value: Decimal) -> orjson.Fragment:
    """A JSON number with the digits that it has."""
    return orjson.Fragment(format(value, "f"))


def read_package(raw: bytes) -> Package:
    """Malformed for anything but a package."""
    parsed = check_text(raw)
    try:
        found = parsed["package"]
        head, addition = found.get("head") or {}, found["additionInfo"]
        records = found.get("body") or []
        body = records[0] if isinstance(records, list) and records else records or {}
        if not all(isinstance(part, dict) for part in (head, addition, body)):
            raise TypeError
        return Package(
            _text(head.get("sendTradeNum")),
            body,
            _text(addition.get("errorCode")),
            _text(addition.get("errorMsg")),
            _text(addition.get("receiverTradeNum")),
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Malformed("an answer that is no package", code="answer.package") from None


def sent_trade_no(raw: bytes) -> str:
    """The sendTradeNum of a package that we sent, as a transcript holds it; Malformed for a broken transcript."""
    try:
        return str(orjson.loads(raw)["package"]["head"]["sendTradeNum"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Malformed("a broken transcript", code="answer.transcript") from None


def text_in(body: Mapping[str, Any], name: str) -> str:
    """A text member; numbers are written out, what is missing is empty."""
    return _text(body.get(name))


def fen_in(body: Mapping[str, Any], name: str) -> int:
    """An amount, as a number or text; InvalidMessage names it when it is missing or none."""
    text = _text(body.get(name))
    whole, point, decimals = text.partition(".")
    try:
        return fen_of(f"{whole}.{decimals.rstrip('0') or '0'}" if point else whole)
    except ValueError:
        blamed = Violation(name, "money", "send yuan with at most two decimals")
        raise InvalidMessage("not an amount", blamed, code="answer.amount") from None


def _text(value: object) -> str:
    """Of a number the digits that came, as far as it is an amount: its shortest form is the one that was written."""
    return "" if value is None or isinstance(value, bool | list | dict) else str(value)
