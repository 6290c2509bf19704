"""Refusals as HTTP answers: problem details (RFC 9457) for our own errors and for those of HTTP itself."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from adapters.hospital.problems import CONTENT_TYPE, problem_of
from schemas.errors import HubError

RETRY_AFTER_S = 1
SAID_AS = "hub.said_as"
"""Where a channel with a form of its own puts into the request's scope what takes the place of `problem_response`."""
_HTTP_CODES = {404: "http.no_such_path", 405: "http.method_not_allowed", 408: "http.too_slow"}


def problem_response(error: HubError, *, case_id: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """The answer for a refusal, with the case that it is about; 503 and 401 say how to come back."""
    problem = problem_of(error)
    sent = dict(headers or {})
    if problem["status"] == 503:
        sent["Retry-After"] = str(RETRY_AFTER_S)
    if problem["status"] == 401:
        sent.setdefault("WWW-Authenticate", 'Bearer realm="settlement-hub"')
    if case_id:
        problem["case_id"] = case_id
    return Response(orjson.dumps(problem), problem["status"], sent, media_type=CONTENT_TYPE)


def http_problem_body(status: int) -> bytes:
    """Only the body, for where no response can be built any more."""
    return orjson.dumps(problem_of(http_error(status)))


def http_error(status: int) -> HubError:
    """What went wrong before or around a message; an unknown status counts as 400 or 500."""
    return HubError(code=_HTTP_CODES.get(status) or ("http.malformed" if status < 500 else HubError.code))
