"""Refusals as a hospital sees them: problem details (RFC 9457) over HTTP, ErrorAnswer on a queue.

The class of an error decides the status unless its code says more; the sentences are `schemas.texts`. No received value
is ever repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.hospital.remedies import remedy_zh
from schemas.answer import ErrorAnswer
from schemas.base import Bilingual
from schemas.errors import (
    Conflict,
    Forbidden,
    HubError,
    InvalidMessage,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from schemas.texts import ERRORS

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:settlement-hub:problem:"


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    title: str
    own_words: bool = False
    """Whether the error's own message may be shown: we wrote it for the sender."""


_BY_CLASS: dict[type[HubError], _Kind] = {
    Malformed: _Kind(400, "Malformed message", own_words=True),
    InvalidMessage: _Kind(422, "Invalid message", own_words=True),
    Conflict: _Kind(409, "Conflict", own_words=True),
    NotFound: _Kind(404, "Not found"),
    Forbidden: _Kind(403, "Forbidden"),
    Unavailable: _Kind(503, "Temporarily unavailable"),
    # To the sender the same as unavailable: come back with the same number.
    OutcomeUnknown: _Kind(503, "Outcome unknown"),
    HubError: _Kind(500, "Internal error"),
}
_BY_CODE: dict[str, _Kind] = {
    "message.too_large": _Kind(413, "Message too large", own_words=True),
    "message.content_type": _Kind(415, "Unsupported media type"),
    "statement.content_type": _Kind(415, "Unsupported media type", own_words=True),
    "soap.content_type": _Kind(415, "Unsupported media type", own_words=True),
    "transaction.unknown": _Kind(404, "Unknown transaction"),
    "party.unauthenticated": _Kind(401, "Not authenticated"),
    "party.signature": _Kind(401, "Signature refused", own_words=True),
    "rate.exceeded": _Kind(429, "Too many requests"),
    "http.malformed": _Kind(400, "Bad request"),
    "http.no_such_path": _Kind(404, "Not found"),
    "http.method_not_allowed": _Kind(405, "Method not allowed"),
    "http.too_slow": _Kind(408, "Request timeout"),
}


def problem_of(error: HubError) -> dict[str, Any]:
    """RFC 9457 problem details: `detail` in English, `detail_zh` in Chinese, `errors` with field, code and remedies."""
    kind = _kind_of(error)
    text = _text_of(error, kind)
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": kind.title,
        "status": kind.status,
        "detail": text.en,
        "detail_zh": text.zh,
        "code": error.code,
    }
    if violations := _violations_of(error):
        problem["errors"] = violations
    return problem


def error_answer(error: HubError, *, case_id: str | None = None, message_id: str | None = None) -> ErrorAnswer:
    """The same facts as a message for the sender's queue."""
    return ErrorAnswer(
        error=error.code,
        message=_text_of(error, _kind_of(error)),
        violations=tuple(_violations_of(error)),
        case_id=case_id,
        message_id=message_id,
    )


def _kind_of(error: HubError) -> _Kind:
    return _BY_CODE.get(error.code) or next(_BY_CLASS[each] for each in _classes(error) if each in _BY_CLASS)


def _text_of(error: HubError, kind: _Kind) -> Bilingual:
    codes = (error.code, *(each.code for each in _classes(error)))
    text = next(ERRORS[code] for code in codes if code in ERRORS)
    own = f"{error.message[:1].upper()}{error.message[1:]}." if kind.own_words and error.message else ""
    return Bilingual(zh=text.zh, en=f"{text.en} {own}") if own and own != text.en else text


def _classes(error: HubError) -> list[type[HubError]]:
    """The error's class and its bases, nearest first."""
    return [each for each in type(error).__mro__ if issubclass(each, HubError)]


def _violations_of(error: HubError) -> list[dict[str, str]]:
    violations = error.violations if isinstance(error, InvalidMessage) else ()
    return [violation.as_dict() | {"remedy_zh": remedy_zh(violation)} for violation in violations]
