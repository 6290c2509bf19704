"""Tables of fields, written as text, and the two ways to go through them: a tolerant reader and a strict writer.

A table is `"psn_no:c30* begntime:dt* cnt:n16,4"`: `cN` text, `m` money (whole fen inside), `nP,S` a decimal, `iN` a
whole number, `d` a date, `dt` a moment (zone-aware inside, China Standard Time outside); `*` marks what must be there.
A read record holds what came with a value; an empty optional field is absent from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from schemas.base import path_of
from schemas.errors import Violation
from schemas.money import MONEY_MAX_FEN

CHINA = timezone(timedelta(hours=8), "CST")
Record = dict[str, Any]
TEXT_MAX = 40_000
_DIGITS_MAX = 28
"""More of them are rounded away as soon as anybody calculates."""
TYPOS: Mapping[str, str] = {
    "psn_part_am": "psn_part_amt",
    "mdtrtarea_admdvs": "mdtrtarea_admvs",
    "insuplc_admvs": "insuplc_admdvs",
    "fulamt_ownpay_am": "fulamt_ownpay_amt",
    "overlmt_selfpay_amt": "overlmt_selfpay",
    "preselfpay_am": "preselfpay_amt",
}
"""Spellings seen in the field, with the field that they mean."""
_MONEY_NAME = re.compile(r"(_pay|_amt|sumamt|_pay_amt|_payamt)$")
_FIELD = re.compile(r"(\w+):(c|m|n|i|dt|d)(\d+)?(?:,(\d+))?(\*?)")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `size` in characters or digits, `scale` in decimals."""

    name: str
    kind: str
    size: int
    scale: int
    must: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one node, by name."""

    fields: Mapping[str, Field]

    def plus(self, text: str) -> Shape:
        """With more fields, or others in their place."""
        return Shape({**self.fields, **shape(text).fields})


def shape(text: str) -> Shape:
    """A table from its text; ValueError for a field that is not written as above."""
    fields = {}
    for word in text.split():
        found = _FIELD.fullmatch(word)
        if found is None:
            raise ValueError(f"not a field: {word}")
        name, kind, size, scale, must = found.groups()
        fields[name] = Field(name, kind, int(size or 0), int(scale or 0), bool(must))
    return Shape(fields)


class Unfit(ValueError):
    """A value that its field cannot take; `code` names the rule, the text the remedy."""

    def __init__(self, code: str, remedy: str) -> None:
        super().__init__(remedy)
        self.code = code


def read_record(
    table: Shape, raw: Mapping[str, Any], at: tuple[str | int, ...], broken: list[Violation], *, strict: bool = False
) -> Record:
    """What `raw` holds of the table; adds a Violation per field that cannot be read.

    Numbers come as JSON numbers or as text, an empty one as 0 or "". Unknown fields are passed over (see
    `unknown_money`). `strict` also holds texts to their lengths, as a server may.
    """
    known = raw
    if not TYPOS.keys().isdisjoint(raw):
        known = {TYPOS.get(name, name): value for name, value in raw.items()}
    record: Record = {}
    for name, field in table.fields.items():
        value = known.get(name)
        try:
            if value is None or value == "":
                _empty(field, name in known, record)
            else:
                record[name] = _READ[field.kind](field, value, strict)
        except Unfit as unfit:
            broken.append(Violation(path_of((*at, name)), unfit.code, str(unfit)))
    return record


def write_record(table: Shape, values: Mapping[str, Any], at: tuple[str | int, ...], broken: list[Violation]) -> Record:
    """The node to send, in the table's order; adds a Violation for a field that is missing, unknown or does not fit.

    Empty optional fields are left out.
    """
    broken.extend(
        Violation(path_of((*at, name)), "national.unknown", "no such field in this node")
        for name in values
        if name not in table.fields
    )
    written: Record = {}
    for name, field in table.fields.items():
        value = values.get(name)
        try:
            if value is None or value == "":
                if field.must:
                    raise Unfit("national.missing", "fill in the field")
            else:
                written[name] = _WRITE[field.kind](field, value)
        except Unfit as unfit:
            broken.append(Violation(path_of((*at, name)), unfit.code, str(unfit)))
    return written


def unknown_money(table: Shape, raw: Mapping[str, Any], known: Sequence[str] = ()) -> Iterator[str]:
    """Fields that nobody told us of, look like money, and are not zero. `known` are the extras of a region."""
    for name, value in raw.items():
        name = TYPOS.get(name, name)
        if name in table.fields or name in known or not _MONEY_NAME.search(name):
            continue
        if value is not None and value != "" and _not_zero(value):
            yield name


def _not_zero(value: Any) -> bool:
    try:
        return _decimal(value) != 0
    except Unfit:
        return True


def _empty(field: Field, named: bool, record: Record) -> None:
    """The convention "an empty number is 0" covers what was named and left empty; an empty text says nothing."""
    if not field.must:
        return
    if field.kind not in _ZERO or not named:
        raise Unfit("national.missing", "fill in the field")
    record[field.name] = _ZERO[field.kind]


_ZERO: Mapping[str, Any] = {"m": 0, "n": Decimal(0), "i": 0}


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unfit("national.number", "send a number")
    try:
        number = Decimal(
            repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else value
        )
    except (InvalidOperation, ValueError):
        raise Unfit("national.number", "send a number") from None
    # By its digits: to calculate with a number of any size may overflow, and to write it out may take megabytes.
    if not number.is_finite() or not -16 < number.adjusted() < 15 or len(number.as_tuple().digits) > _DIGITS_MAX:
        raise Unfit("national.number", "send a number of usual size")
    return number


def _read_text(field: Field, value: Any, strict: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unfit("national.text", "send text")
    text = value.strip() if isinstance(value, str) else str(value)
    if len(text) > (field.size if strict else max(field.size, TEXT_MAX)):
        raise Unfit("national.length", f"send at most {field.size} characters")
    if field.must and not text:
        raise Unfit("national.missing", "fill in the field")
    return text


def _read_money(_: Field, value: Any, strict: bool) -> int:
    fen = _decimal(value) * 100
    if fen != fen.to_integral_value():
        raise Unfit("national.money", "send yuan with at most two decimals")
    if abs(fen) >= MONEY_MAX_FEN:
        raise Unfit("national.money", "send an amount of usual size")
    return int(fen)


def _read_number(field: Field, value: Any, strict: bool) -> Decimal:
    number = _decimal(value)
    if strict and -int(number.normalize().as_tuple().exponent) > field.scale:
        raise Unfit("national.number", f"send at most {field.scale} decimals")
    return number


def _read_count(_: Field, value: Any, strict: bool) -> int:
    number = _decimal(value)
    if number != number.to_integral_value():
        raise Unfit("national.number", "send a whole number")
    return int(number)


def _read_date(_: Field, value: Any, strict: bool) -> date:
    return _read_moment(_, value, strict).date()


def _read_moment(_: Field, value: Any, strict: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.year < 1900:  # other zones cannot tell what lies at the beginning of the calendar
            raise ValueError("not of our times")
        moment.astimezone(CHINA)
    except (AttributeError, ValueError, OverflowError):
        raise Unfit(
            "national.moment", "write China Standard Time as yyyy-MM-dd HH:mm:ss, a date as yyyy-MM-dd"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=CHINA)


def _write_text(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("national.text", "send text")
    if len(value) > field.size:
        raise Unfit("national.length", f"send at most {field.size} characters")
    return str(value)


def _write_money(_: Field, value: Any) -> Decimal:
    if type(value) is not int or abs(value) >= MONEY_MAX_FEN:
        raise Unfit("national.money", "whole fen are expected")
    return Decimal(value).scaleb(-2)


def _write_number(field: Field, value: Any) -> Decimal:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise Unfit("national.number", "send a number")
    plain = Decimal(format(value.normalize(), "f"))
    if -int(plain.as_tuple().exponent) > field.scale or abs(plain) >= 10 ** (field.size - field.scale):
        raise Unfit("national.number", f"send at most {field.size} digits, {field.scale} of them decimals")
    return plain


def _write_count(field: Field, value: Any) -> int:
    if type(value) is not int or abs(value) >= 10**field.size:
        raise Unfit("national.number", "send a whole number")
    return value


def _write_date(_: Field, value: Any) -> str:
    if type(value) is not date:
        raise Unfit("national.date", "send a date")
    return value.isoformat()


def _write_moment(_: Field, value: Any) -> str:
    return china_text(value)


def china_text(moment: datetime) -> str:
    """yyyy-MM-dd HH:mm:ss in China; Unfit for what lies outside the calendar or has no zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise Unfit("national.moment", "send a moment with its zone")
    try:
        return moment.astimezone(CHINA).isoformat(" ", "seconds")[:19]
    except OverflowError:
        raise Unfit("national.moment", "send the real moment") from None


_READ: Mapping[str, Any] = {
    "c": _read_text,
    "m": _read_money,
    "n": _read_number,
    "i": _read_count,
    "d": _read_date,
    "dt": _read_moment,
}
_WRITE: Mapping[str, Any] = {
    "c": _write_text,
    "m": _write_money,
    "n": _write_number,
    "i": _write_count,
    "d": _write_date,
    "dt": _write_moment,
}
