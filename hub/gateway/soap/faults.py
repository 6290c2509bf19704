"""Refusals as SOAP faults: the same facts as problem details, typed by the service description."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from adapters.hospital.problems import problem_of
from hub.gateway.problems import RETRY_AFTER_S
from hub.gateway.soap.contract import write_fault
from hub.gateway.soap.envelope import fault
from hub.gateway.soap.versions import SOAP_12, SoapVersion
from schemas.errors import HubError
from schemas.soap import FaultViolation, HubFault

REALM = 'Basic realm="settlement-hub", charset="UTF-8"'
_OWN_CODES = {"soap.version": "VersionMismatch", "soap.must_understand": "MustUnderstand"}
_OF_HTTP = frozenset({401, 408, 413, 415, 429})
"""What HTTP itself says of a request stays as it is; what SOAP says of a message has the statuses of its binding."""


def fault_response(
    version: SoapVersion, error: HubError, *, case_id: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The fault for a refusal, with the case that it is about."""
    problem = problem_of(error)
    status = int(problem["status"])
    sent = dict(headers or {})
    if status == 503:
        sent["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        sent["WWW-Authenticate"] = REALM
    detail = HubFault(
        code=problem["code"],
        message_zh=problem["detail_zh"],
        message_en=problem["detail"],
        case_id=case_id or None,
        violations=tuple(FaultViolation(**each) for each in problem.get("errors", ())),
    )
    blamed = version.receiver if status >= 500 else version.sender
    code = _OWN_CODES.get(error.code, blamed)
    body = fault(version, code, f"{detail.code}: {detail.message_zh}", write_fault(detail))
    return Response(body, _status(version, status, code), sent, version.content_type)


def _status(version: SoapVersion, status: int, code: str) -> int:
    if status in _OF_HTTP and code not in _OWN_CODES.values():
        return status
    return 400 if version is SOAP_12 and code == version.sender else 500
