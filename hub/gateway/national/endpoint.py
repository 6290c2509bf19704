"""POST /national: an envelope in, an envelope out, whatever is wrong with it.

HTTP 200 with infcode 0 or -1, as such systems expect it. Only where neither yes nor no can be said the status is 504:
they take that for "no answer", ask again under the same number or reverse it with 2601, and both find the truth.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.doors import Entered, NationalDoor
from hub.gateway.national.sessions import check_sign_in
from hub.gateway.national.table import HANDLERS
from hub.gateway.national.words import NotKnown, Spoken, refusal_text
from hub.gateway.reading import check_content_type, read_body
from hub.ports import Clock
from schemas.errors import HubError, IllegalTransition, Malformed, OutcomeUnknown
from schemas.national.envelope import (
    DONE,
    MSGID,
    REFUSED,
    dump_json,
    read_json,
    read_request,
    refmsgid_of,
    stamp_of,
    write_response,
)
from schemas.national.fields import Record
from schemas.national.transactions import exchange_of, read_input, write_output

log = structlog.get_logger()

PATH = "/national"
JSON = "application/json"
FILE = "application/octet-stream"
_NOWHERE = "000000"
Seal = Callable[[Record], tuple[Record, Mapping[str, str]]]


def _unsealed(answer: Record) -> tuple[Record, Mapping[str, str]]:
    return answer, {}


class NationalService:
    """The endpoint. `input_max` is the most characters of `input`."""

    def __init__(self, door: NationalDoor, services: Services, *, input_max: int) -> None:
        self._door = door
        self._services = services
        self._input_max = input_max

    def routes(self) -> list[Route]:
        """What the gateway serves for this channel."""
        return [Route(PATH, self.post, methods=["POST"])]

    async def post(self, request: Request) -> Response:
        """The answer to one envelope."""
        received_at = self._services.clock.now()
        told = _Telling(received_at, self._services.clock)
        try:
            check_content_type(request)
            envelope = read_json(await read_body(request))
            self._check_size(envelope)
            headers = dict(request.headers.items())
            entered = await self._services.run(partial(self._door.enter, envelope, headers, received_at))
            told.entered(entered)
            call = read_call(entered, received_at)
            told.infno = call.infno
            await check_sign_in(call, self._services)
            reply = await HANDLERS[call.infno](call, self._services)
            return told.done(reply)
        except HTTPException as error:
            return told.refused(Spoken("报文传输过慢或中断，请重发"), error.status_code)
        except HubError as error:
            return told.refused(error)

    def _check_size(self, envelope: Mapping[str, Any]) -> None:
        given = envelope.get("input")
        try:
            size = len(given) if isinstance(given, str) else len(dump_json({"": given}).decode()) - len('{"":}')
            dump_json(envelope)
        except TypeError:
            raise Malformed("a whole number has more than 19 digits") from None
        if size > self._input_max:
            raise wrong("input", "national.size", "send it in parts")


def read_call(entered: Entered, received_at: datetime) -> Call:
    """The message whose sender is proven, with its fields read; InvalidMessage names what is wrong."""
    number = entered.envelope.get("infno")
    exchange = exchange_of(number) if isinstance(number, str) else None
    if exchange is None or exchange.infno not in HANDLERS:
        raise Spoken(f"不支持该 infno；已支持：{'、'.join(sorted(HANDLERS))}")
    read = read_request(entered.envelope, strict=True)
    if not MSGID.fullmatch(read.msgid) or not read.msgid.startswith(entered.institution.code) or not _dated(read.msgid):
        raise wrong("msgid", "national.msgid", "number the message as the interface says")
    if exchange.person and not read.head.get("insuplc_admdvs"):
        raise wrong("insuplc_admdvs", "national.region", "send the region that 1101 gave")
    content = read_input(exchange.infno, read.input, strict=True)
    return Call(exchange.infno, entered.institution, read.head, content, received_at)


def _dated(msgid: str) -> bool:
    try:
        datetime.strptime(msgid[12:26], "%Y%m%d%H%M%S")
    except ValueError:
        return False
    return True


class _Telling:
    """Writes the one answer of a request."""

    def __init__(self, received_at: datetime, clock: Clock) -> None:
        self.infno = ""
        self._clock = clock
        self._received_at = received_at
        self._seal: Seal = _unsealed
        self._region = _NOWHERE

    def entered(self, entered: Entered) -> None:
        """From here on answers are sealed as the request was."""
        self._seal, self._region = entered.seal, entered.institution.region

    def done(self, reply: Reply) -> Response:
        """infcode 0; InvalidMessage when the output does not fit its table, which is our own bug."""
        if reply.file is not None:
            return Response(reply.file, 200, media_type=FILE)
        output = write_output(self.infno, reply.output) if reply.output else {}
        return self._response({"infcode": DONE, "warn_msg": reply.warning}, output, 200)

    def refused(self, error: HubError, status: int = 200) -> Response:
        """infcode -1 with what to do; 504 where the outcome is not known, 500 for a bug of ours."""
        if isinstance(error, IllegalTransition):
            log.error("national_failed", infno=self.infno, code=error.code, reason=error.message, **error.context)
            error, status = NotKnown("系统内部错误，已记录；请以同一 msgid 重发或查询"), 500
        elif isinstance(error, OutcomeUnknown):
            log.warning("national_not_known", infno=self.infno, code=error.code)
            status = 504
        return self._response({"infcode": REFUSED, "err_msg": refusal_text(error)}, {}, status)

    def _response(self, head: Record, output: Record, status: int) -> Response:
        numbered = {
            **head,
            "inf_refmsgid": refmsgid_of(self._region, self._received_at, secrets.randbelow(10**10)),
            "refmsg_time": stamp_of(self._received_at),
            "respond_time": stamp_of(self._clock.now()),
        }
        answer = write_response(numbered, output)
        # The table of the interface calls it a number.
        answer["infcode"] = int(answer["infcode"])
        sealed, headers = self._seal(answer)
        return Response(dump_json(sealed), status, dict(headers), JSON)
