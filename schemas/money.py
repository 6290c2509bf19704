"""Money: whole fen inside, text in yuan at the edges ("1234.50"), never a float.

`Money` is what models use. From JSON it takes text only, ASCII digits with at most two decimals and no sign; from
Python it takes whole fen. `SignedMoney` is the same with an optional minus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MONEY_MAX_FEN = 10**13
_YUAN = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,2})?", re.ASCII)
_ONE = Decimal(1)


def fen_of(text: str) -> int:
    """Whole fen of an unsigned amount in yuan such as "12", "12.3" or "12.34"; ValueError for anything else."""
    if not _YUAN.fullmatch(text):
        raise ValueError("not an amount in yuan with at most two decimals")
    whole, _, cents = text.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))


def signed_fen_of(text: str) -> int:
    """Like `fen_of`, with an optional leading minus; "-0" is refused."""
    if not text.startswith("-"):
        return fen_of(text)
    fen = fen_of(text[1:])
    if fen == 0:
        raise ValueError("minus zero")
    return -fen


def yuan_of(fen: int) -> str:
    """Text in yuan with two decimals: 1234 -> "12.34"."""
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // 100}.{fen % 100:02d}"


def rounded_fen(yuan: Decimal) -> int:
    """Whole fen, halves away from zero: the one rounding rule of the hub."""
    return int((yuan * 100).quantize(_ONE, ROUND_HALF_UP))


def share_fen(amount_fen: int, numerator: int, denominator: int) -> int:
    """`amount_fen` x numerator / denominator in whole fen, halves up; all non-negative."""
    return (2 * amount_fen * numerator + denominator) // (2 * denominator)


def split_fen(amount_fen: int, weights: Sequence[int]) -> list[int]:
    """Split into parts in proportion to `weights`; the parts add up, the remainder goes to the first."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must be non-negative and not all zero")
    parts = [amount_fen * weight // total for weight in weights]
    parts[0] += amount_fen - sum(parts)
    return parts


def split_within(amount_fen: int, rooms_fen: Sequence[int]) -> list[int]:
    """Split into parts in proportion to `rooms_fen`; the parts add up, and none is larger than its room as long as the
    amount is not larger than all rooms together. Non-negative; ValueError where there is no room at all."""
    total = sum(rooms_fen)
    if total <= 0 or min(rooms_fen) < 0 or amount_fen < 0:
        raise ValueError("rooms must be non-negative and not all zero")
    # What all up to a part take together is rounded, not the part: nothing is left over to be put anywhere.
    edges = [amount_fen * room_fen // total for room_fen in accumulate(rooms_fen, initial=0)]
    return [end - start for start, end in pairwise(edges)]


def _whole_fen(value: Any) -> int:
    if type(value) is int and 0 <= value < MONEY_MAX_FEN:
        return value
    raise ValueError("whole fen expected")


def _signed_whole_fen(value: Any) -> int:
    if type(value) is int and -MONEY_MAX_FEN < value < MONEY_MAX_FEN:
        return value
    raise ValueError("whole fen expected")


def _fen_of_checked(text: str) -> int:
    """`fen_of` for text whose shape is known to be right."""
    whole, point, cents = text.partition(".")
    if not point:
        return int(whole) * 100
    return int(whole) * 100 + (int(cents) if len(cents) == 2 else int(cents) * 10)


def _signed_decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value
    raise ValueError("a finite Decimal expected")


def _plain_decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite() and value >= 0:
        return value
    raise ValueError("a non-negative Decimal expected")


class _EdgeText:
    """A number that is text of a fixed shape on the wire. The shape is checked before any of our code runs on it."""

    def __init__(self, pattern: str, read: Any, check_value: Any, write: Any, error: str, remedy: str) -> None:
        self.pattern, self.read, self.check_value, self.write = pattern, read, check_value, write
        self.error, self.remedy = error, remedy

    def _validator(self, *, text_only: bool) -> CoreSchema:
        text = core_schema.no_info_after_validator_function(
            self.read, core_schema.str_schema(pattern=self.pattern, strict=True)
        )
        either: CoreSchema = text
        if not text_only:
            either = core_schema.union_schema(
                [text, core_schema.no_info_plain_validator_function(self.check_value)], mode="left_to_right"
            )
        return core_schema.custom_error_schema(either, self.error, custom_error_message=self.remedy)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=self._validator(text_only=True),
            python_schema=self._validator(text_only=False),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": self.pattern, "examples": [self.remedy.rpartition(" ")[2].strip('"')]}


Money = Annotated[
    int,
    _EdgeText(
        r"^[0-9]{1,11}(\.[0-9]{1,2})?$",
        _fen_of_checked,
        _whole_fen,
        yuan_of,
        "money",
        'write yuan as text with at most two decimals, such as "1234.50"',
    ),
]
SignedMoney = Annotated[
    int,
    _EdgeText(
        r"^-?[0-9]{1,11}(\.[0-9]{1,2})?$",
        signed_fen_of,
        _signed_whole_fen,
        yuan_of,
        "money",
        'write yuan as text with at most two decimals, such as "-1234.50"',
    ),
]


def _decimal_type(decimals_max: int, *, signed: bool = False) -> Any:
    example, sign, check = ("-1.5", "-?", _signed_decimal) if signed else ("1.5", "", _plain_decimal)
    remedy = f'write the number as text with at most {decimals_max} decimals, such as "{example}"'
    pattern = rf"^{sign}[0-9]{{1,10}}(\.[0-9]{{1,{decimals_max}}})?$"
    return Annotated[Decimal, _EdgeText(pattern, Decimal, check, _decimal_text, "decimal", remedy)]


def _decimal_text(number: Decimal) -> str:
    return format(number, "f")


Price = _decimal_type(6)
Quantity = _decimal_type(4)
SignedQuantity = _decimal_type(4, signed=True)
