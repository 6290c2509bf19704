"""Money: whole fen inside, text in yuan at the edges ("1234.50"), never a float.

`Money` is what models use. From JSON it takes text only, ASCII digits with at most two decimals and no sign; from
Python it takes whole fen. `SignedMoney` is the same with an optional minus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

MONEY_MAX_FEN = 10**13
_YUAN = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,2})?", re.ASCII)
_CENT = Decimal("0.01")


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
    return int(yuan.quantize(_CENT, rounding=ROUND_HALF_UP).scaleb(2))


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


def _money(value: Any, info: ValidationInfo) -> int:
    if isinstance(value, str):
        try:
            return fen_of(value)
        except ValueError:
            pass
    elif info.mode == "python" and type(value) is int and 0 <= value < MONEY_MAX_FEN:
        return value
    raise PydanticCustomError("money", 'write yuan as text with at most two decimals, such as "1234.50"')


def _signed_money(value: Any, info: ValidationInfo) -> int:
    if isinstance(value, str):
        try:
            return signed_fen_of(value)
        except ValueError:
            pass
    elif info.mode == "python" and type(value) is int and -MONEY_MAX_FEN < value < MONEY_MAX_FEN:
        return value
    raise PydanticCustomError("money", 'write yuan as text with at most two decimals, such as "-1234.50"')


Money = Annotated[
    int,
    PlainValidator(_money),
    PlainSerializer(yuan_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,11}(\.[0-9]{1,2})?$", "examples": ["1234.50"]}),
]
SignedMoney = Annotated[
    int,
    PlainValidator(_signed_money),
    PlainSerializer(yuan_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,11}(\.[0-9]{1,2})?$"}),
]


def _decimal_type(decimals_max: int) -> Any:
    pattern = re.compile(rf"[0-9]{{1,10}}(?:\.[0-9]{{1,{decimals_max}}})?", re.ASCII)

    def parse(value: Any, info: ValidationInfo) -> Decimal:
        if isinstance(value, str) and pattern.fullmatch(value):
            return Decimal(value)
        if info.mode == "python" and isinstance(value, Decimal) and value.is_finite() and value >= 0:
            return value
        raise PydanticCustomError(
            "decimal",
            'write the number as text with at most {decimals} decimals, such as "1.5"',
            {"decimals": decimals_max},
        )

    return Annotated[
        Decimal,
        PlainValidator(parse),
        PlainSerializer(lambda number: format(number, "f"), return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": rf"^[0-9]{{1,10}}(\.[0-9]{{1,{decimals_max}}})?$"}),
    ]


Price = _decimal_type(6)
Quantity = _decimal_type(4)
