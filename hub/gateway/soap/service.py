"""GET and POST /soap/settlement: the service description, and a party's message in and its answer out."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.safe_xml import BYTES_MAX
from hub.gateway.courier import Brought, Courier
from hub.gateway.identity import NotIdentified
from hub.gateway.problems import SAID_AS, problem_response
from hub.gateway.reading import read_body
from hub.gateway.soap.contract import Operation, operations
from hub.gateway.soap.door import SoapDoor
from hub.gateway.soap.envelope import Opened, open_envelope, wrap
from hub.gateway.soap.faults import REALM, fault_response
from hub.gateway.soap.username_token import SECURITY
from hub.gateway.soap.versions import SOAP_11, SoapRequest, SoapVersion, read_headers
from hub.gateway.transactions import MESSAGE_ID
from hub.routes import new_id
from schemas.errors import HubError, InvalidMessage, Malformed
from schemas.strict_json import BODY_MAX_BYTES
from schemas.transactions import ASKS, Transaction
from schemas.wsdl_export import wsdl_text

PATH = "/soap/settlement"
INLINE_BYTES_MAX = 64 * 1024
"""Larger messages are read by a thread of their own: they would hold up everybody else's."""
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_XML = "text/xml; charset=utf-8"
_UNDERSTOOD = frozenset({SECURITY})
_WITHOUT_EFFECT = ASKS | {Transaction.TRIAL}


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Message:
    """A request as the desk takes it."""

    operation: Operation
    message_id: str
    body: bytes


class SoapService:
    """The endpoint. `address` is where clients reach it; without it the description says where it was fetched from."""

    def __init__(self, door: SoapDoor, courier: Courier, *, address: str = "", wsdl_public: bool = False) -> None:
        self._door = door
        self._courier = courier
        self._address = address
        self._wsdl_public = wsdl_public

    def routes(self) -> list[Route]:
        return [Route(PATH, self.describe, methods=["GET"]), Route(PATH, self.post, methods=["POST"])]

    async def describe(self, request: Request) -> Response:
        """The WSDL with its schema inside, at `?wsdl`."""
        if not self._wsdl_public:
            try:
                await self._door.by_message(None, self._door.by_http(request))
            except NotIdentified as error:
                # Clients that fetch a description send a name and a password only when asked for them.
                return problem_response(error, headers={"WWW-Authenticate": REALM})
        if "wsdl" not in {name.lower() for name in request.query_params}:
            return problem_response(HubError(code="http.no_such_path"))
        return Response(_description(self._address_for(request)), media_type=_XML)

    async def post(self, request: Request) -> Response:
        """200 with the answer, or a fault."""
        request.scope[SAID_AS] = partial(fault_response, SOAP_11)
        said = read_headers(request)
        request.scope[SAID_AS] = partial(fault_response, said.version)
        known = self._door.by_http(request)
        raw = await read_body(request, BYTES_MAX if known is not None else BODY_MAX_BYTES)
        beside = _at_once if len(raw) <= INLINE_BYTES_MAX else asyncio.to_thread
        opened = await beside(open_envelope, raw, said, _UNDERSTOOD)
        party = await self._door.by_message(opened.blocks.get(SECURITY), known)
        message = await beside(_read, opened, said)
        request.scope[MESSAGE_ID] = message.message_id
        operation = message.operation
        brought = await self._courier.bring(
            operation.transaction, party, message.message_id, message.body, correlation_id=message.message_id
        )
        return _response(said.version, operation, brought)

    def _address_for(self, request: Request) -> str:
        if self._address:
            return self._address
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            raise Malformed("the Host header cannot be used", code="http.malformed")
        return f"{request.url.scheme}://{host}{PATH}"


@lru_cache(maxsize=16)
def _description(address: str) -> str:
    return wsdl_text(address, complete=True)


async def _at_once(call: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    return call(*given, **named)


def _read(opened: Opened, said: SoapRequest) -> _Message:
    """The message inside an envelope. The body's element says which operation it is, and nothing else does."""
    operation = operations().get(str(opened.payload.tag))
    if operation is None:
        raise InvalidMessage("the service has no operation with this element", code="transaction.unknown")
    if said.action is not None and said.action != operation.action:
        raise Malformed("the action that the headers name is not that of the message", code="soap.action")
    body = operation.read(opened.payload)
    return _Message(operation, opened.message_id or _own_id(operation, body), body)


def _own_id(operation: Operation, body: bytes) -> str:
    """The id of a message whose sender gave it none: the same content sent again is the same message."""
    if operation.transaction in _WITHOUT_EFFECT:
        return new_id()
    return "soap-" + hashlib.sha256(operation.name.encode() + b"\n" + body).hexdigest()[:48]


def _response(version: SoapVersion, operation: Operation, brought: Brought) -> Response:
    if brought.error is not None:
        return fault_response(version, brought.error, case_id=brought.case_id)
    assert brought.answer is not None
    return Response(wrap(version, operation.write(brought.answer)), media_type=version.content_type)
