"""Refusals as a hospital sees them: problem details (RFC 9457) over HTTP, ErrorAnswer on a queue.

The class of an error decides the status, its code the sentence. No received value is ever repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.answer import ErrorAnswer
from schemas.base import Bilingual
from schemas.errors import (
    Conflict,
    Forbidden,
    HubError,
    IllegalTransition,
    InvalidMessage,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Violation,
)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:settlement-hub:problem:"


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    title: str
    zh: str
    en: str
    own_words: bool = False
    """Whether the error's own message may be shown: true where we wrote it for the sender."""


_KINDS: dict[type[HubError], _Kind] = {
    Malformed: _Kind(
        400, "Malformed message", "报文无法读取，请修正格式后重新发送。", "The message cannot be read.", own_words=True
    ),
    InvalidMessage: _Kind(
        422, "Invalid message", "报文内容不符合要求，请按 errors 逐项修正后重新发送。", "Correct what `errors` lists."
    ),
    Conflict: _Kind(
        409,
        "Conflict",
        "与已有记录冲突，请先查询该结算的当前状态。",
        "The message contradicts what is stored.",
        own_words=True,
    ),
    NotFound: _Kind(404, "Not found", "未找到该记录，请核对编号。", "There is no such object; check the number."),
    Forbidden: _Kind(403, "Forbidden", "无权执行此操作。", "This party may not do this."),
    Unavailable: _Kind(
        503,
        "Temporarily unavailable",
        "系统暂时不可用，未作任何处理，请稍后用同一编号重新发送。",
        "Nothing was done; send the same message again later.",
    ),
    OutcomeUnknown: _Kind(
        504,
        "Outcome unknown",
        "结果尚未确定，请用同一编号查询或重新发送，切勿更换编号。",
        "The outcome is not known yet; query or repeat under the same number, never under a new one.",
    ),
    IllegalTransition: _Kind(
        500,
        "Internal error",
        "系统内部错误，已通知运维人员；请用同一编号查询。",
        "An internal error was recorded; query under the same number.",
    ),
}
_OTHER = _KINDS[IllegalTransition]

_BY_CODE: dict[str, _Kind] = {
    "message.too_large": _Kind(413, "Message too large", "报文过大，请分批发送。", "Send it in parts.", own_words=True),
    "message.content_type": _Kind(
        415, "Unsupported media type", "请以 application/json（UTF-8）发送。", "Send application/json in UTF-8."
    ),
    "transaction.unknown": _Kind(404, "Unknown transaction", "没有此交易名称。", "There is no such transaction."),
    "party.unauthenticated": _Kind(401, "Not authenticated", "身份未通过验证。", "The sender could not be identified."),
    "rate.exceeded": _Kind(
        429, "Too many requests", "请求过于频繁，请稍后重试。", "Slow down and send it again later."
    ),
}


def status_of(error: HubError) -> int:
    """The HTTP status of a refusal."""
    return _kind_of(error).status


def problem_of(error: HubError, *, instance: str | None = None) -> dict[str, Any]:
    """RFC 9457 problem details: `detail` in English, `detail_zh` in Chinese, `errors` with field, code and remedy."""
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
    if instance is not None:
        problem["instance"] = instance
    if violations := _violations_of(error):
        problem["errors"] = [violation.as_dict() for violation in violations]
    return problem


def error_answer(error: HubError, *, case_id: str | None = None, message_id: str | None = None) -> ErrorAnswer:
    """The same facts as a message for the sender's queue."""
    return ErrorAnswer(
        error=error.code,
        message=_text_of(error, _kind_of(error)),
        violations=ErrorAnswer.violations_from(_violations_of(error)),
        case_id=case_id,
        message_id=message_id,
    )


def _kind_of(error: HubError) -> _Kind:
    by_code = _BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    return next((_KINDS[each] for each in type(error).__mro__ if each in _KINDS), _OTHER)


def _text_of(error: HubError, kind: _Kind) -> Bilingual:
    own = error.message if kind.own_words else ""
    return Bilingual(zh=kind.zh, en=f"{own[:1].upper()}{own[1:]}." if own else kind.en)


def _violations_of(error: HubError) -> tuple[Violation, ...]:
    return error.violations if isinstance(error, InvalidMessage) else ()
