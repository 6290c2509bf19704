"""Refusals as HTTP answers: problem details (RFC 9457) for our own errors and for those of HTTP itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from adapters.hospital.problems import CONTENT_TYPE, TYPE_PREFIX, problem_of
from schemas.base import Bilingual
from schemas.errors import HubError, OutcomeUnknown, Unavailable

RETRY_AFTER_S = 1

_HTTP: dict[int, tuple[str, str, Bilingual]] = {
    400: (
        "http.malformed",
        "Bad request",
        Bilingual(zh="HTTP 请求格式错误。", en="The HTTP request cannot be read."),
    ),
    404: (
        "http.no_such_path",
        "Not found",
        Bilingual(zh="没有此地址，请对照 /openapi.json。", en="There is no such address; see /openapi.json."),
    ),
    405: (
        "http.method_not_allowed",
        "Method not allowed",
        Bilingual(zh="此地址不支持该方法。", en="This address does not take that method; see Allow."),
    ),
    408: (
        "http.too_slow",
        "Request timeout",
        Bilingual(zh="报文传输过慢，请重新发送。", en="The body came too slowly; send it again."),
    ),
    500: (
        "hub.error",
        "Internal error",
        Bilingual(
            zh="系统内部错误，已记录；请用同一编号查询。",
            en="An internal error was recorded; query under the same number.",
        ),
    ),
}


def problem_response(error: HubError, *, case_id: str = "") -> Response:
    """The answer for a refusal. What may be repeated says when (Retry-After)."""
    problem = problem_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | OutcomeUnknown):
        # To the caller both are the same: come back with the same number.
        problem["status"] = 503
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if case_id:
        problem["case_id"] = case_id
    if problem["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="settlement-hub"'
    return _response(problem, headers)


def http_problem(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for what went wrong before or around a message; an unknown status counts as 400 or 500."""
    return _response(_http(status), dict(headers or {}))


def http_problem_body(status: int) -> bytes:
    """Only the body, for where no response can be built any more."""
    return orjson.dumps(_http(status))


def _http(status: int) -> dict[str, Any]:
    code, title, detail = _HTTP.get(status) or _HTTP[400 if status < 500 else 500]
    return {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail.en,
        "detail_zh": detail.zh,
        "code": code,
    }


def _response(problem: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(problem), problem["status"], headers, media_type=CONTENT_TYPE)
