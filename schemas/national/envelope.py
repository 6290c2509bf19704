"""The JSON envelope around every transaction, the numbers in it, and JSON that keeps the digits of its numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from schemas.errors import InvalidMessage, Malformed, Violation
from schemas.national.fields import CHINA, Record, china_text, read_record, shape, write_record
from schemas.strict_json import check_text

DONE, REFUSED = "0", "-1"
SEQUENCE_RANGE = 10_000
_DIGITS_MAX = 40
"""Of a number, written out: no field holds more, and a few bytes with an exponent would be millions."""
MSGID = re.compile(r"[0-9A-Za-z]{12}[0-9]{18}", re.ASCII)
REQUEST = shape(
    "infno:c5* msgid:c30* mdtrtarea_admvs:c6* insuplc_admdvs:c6 recer_sys_code:c10* dev_no:c100 dev_safe_info:c2000"
    " cainfo:c1024 signtype:c10 infver:c6* opter_type:c3* opter:c30* opter_name:c50* inf_time:dt* fixmedins_code:c12*"
    " fixmedins_name:c200* sign_no:c30 enc_type:c10 recer_admdvs:c6"
)
RESPONSE = shape(
    "infcode:c4* inf_refmsgid:c30 refmsg_time:c17 respond_time:c17 err_msg:c200 warn_msg:c200 signtype:c10 cainfo:c1024"
    " enc_type:c10"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request envelope: `head` holds its fields, `input` the JSON value, not yet read by its table."""

    head: Record
    input: Any

    @property
    def infno(self) -> str:
        return str(self.head["infno"])

    @property
    def msgid(self) -> str:
        return str(self.head["msgid"])


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `infcode` is "0", "-1", or whatever else was said; "" where a gateway answered in its own wrapper."""

    infcode: str
    err_msg: str = ""
    output: Any = None
    head: Record | None = None
    gateway_code: str = ""
    """The code of the other wrapper (code, type, message, data)."""

    @property
    def done(self) -> bool:
        return self.infcode == DONE

    @property
    def refused(self) -> bool:
        return self.infcode == REFUSED


def read_json(raw: bytes) -> dict[str, Any]:
    """The object in strict JSON bytes, decimals with the digits that they came with; Malformed for anything else."""
    parsed = check_text(raw)
    if not isinstance(parsed, dict):
        raise Malformed("the body is no JSON object")
    if b"." in raw:
        try:
            parsed = _DECODER.decode(raw.decode())
        except (ValueError, ArithmeticError):
            raise Malformed("the body is not well-formed JSON") from None
    return dict(parsed)


def _decimal(text: str) -> Decimal:
    """The number with its digits; ValueError for one that would take too many to write out."""
    number = Decimal(text)
    if len(text) > _DIGITS_MAX or abs(number.adjusted()) > _DIGITS_MAX:
        raise ValueError("a number of too many digits")
    return number


_DECODER = json.JSONDecoder(parse_float=_decimal)


def dump_json(value: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON; decimals are numbers with their own digits."""
    return orjson.dumps(value, default=_digits)


def _digits(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError("not a JSON value")


def msgid_of(institution: str, at: datetime, number: int) -> str:
    """institution(12) + yyyyMMddHHmmss in China(14) + sequence(4)."""
    return f"{institution}{at.astimezone(CHINA):%Y%m%d%H%M%S}{number % SEQUENCE_RANGE:04d}"


def refmsgid_of(region: str, at: datetime, number: int) -> str:
    """The receiver's number of an answer: region(6) + time(14) + serial(10)."""
    return f"{region}{at.astimezone(CHINA):%Y%m%d%H%M%S}{number % 10**10:010d}"


def stamp_of(at: datetime) -> str:
    """yyyyMMddHHmmssSSS in China."""
    return f"{at.astimezone(CHINA):%Y%m%d%H%M%S}{at.microsecond // 1000:03d}"


def read_request(parsed: Mapping[str, Any], *, strict: bool = False) -> Request:
    """A request from its parsed envelope, signature and encryption already dealt with.

    InvalidMessage with a Violation per wrong field of the head.
    """
    broken: list[Violation] = []
    head = read_record(REQUEST, parsed, (), broken, strict=strict)
    if broken:
        raise InvalidMessage("the envelope breaks its table", *broken, code="national.envelope")
    return Request(head, _object(parsed.get("input")))


def write_request(head: Mapping[str, Any], content: Mapping[str, Any]) -> Record:
    """A request envelope, unsigned. InvalidMessage names what is missing or too long."""
    return {**_written(REQUEST, head), "input": dict(content)}


def read_response(parsed: Mapping[str, Any]) -> Response:
    """An answer from its parsed envelope, also where a gateway wrapped it; Malformed when it is neither."""
    if "infcode" in parsed:
        return _enveloped(parsed)
    if "code" in parsed and ("type" in parsed or "message" in parsed or "data" in parsed):
        return _wrapped(parsed)
    raise Malformed("an answer without infcode", code="national.answer")


def write_response(head: Mapping[str, Any], output: Mapping[str, Any] | None = None) -> Record:
    """An answer envelope, unsigned; err_msg and warn_msg are cut to their length."""
    cut = {name: head[name][: RESPONSE.fields[name].size] for name in ("err_msg", "warn_msg") if head.get(name)}
    return {**_written(RESPONSE, {**head, **cut}), "output": dict(output or {})}


def inf_time(at: datetime) -> str:
    """yyyy-MM-dd HH:mm:ss in China; ValueError without a zone."""
    return china_text(at)


def _written(table: Any, head: Mapping[str, Any]) -> Record:
    broken: list[Violation] = []
    written = write_record(table, head, (), broken)
    if broken:
        raise InvalidMessage("the envelope does not fit its table", *broken, code="national.envelope")
    return written


def _enveloped(parsed: Mapping[str, Any]) -> Response:
    broken: list[Violation] = []
    head = read_record(RESPONSE, parsed, (), broken)
    if broken:
        raise Malformed("an answer with a broken head", code="national.answer")
    return Response(head["infcode"], head.get("err_msg", ""), _object(parsed.get("output")), head)


def _wrapped(parsed: Mapping[str, Any]) -> Response:
    """Only an infcode is a word about the transaction: what the gateway says of itself decides nothing."""
    data = _object(parsed.get("data"))
    if isinstance(data, Mapping) and "infcode" in data:
        return _enveloped(data)
    code, message = parsed.get("code"), parsed.get("message")
    success = str(parsed.get("type", "")).lower() == "success" and str(code) in ("0", "200")
    if success and isinstance(data, Mapping) and data:
        return Response(DONE, "", data.get("output", data), gateway_code=str(code)[:20])
    return Response("", message[:200] if isinstance(message, str) else "", gateway_code=str(code)[:20])


def _object(value: Any) -> Any:
    """A payload that came as JSON text, as the object that it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return read_json(value.encode()) if value[0] == "{" else check_text(value.encode())
        except (Malformed, UnicodeEncodeError):
            raise Malformed("a payload that is not JSON", code="national.payload") from None
    return value
