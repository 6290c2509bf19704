"""The HTTP side that every party shares: listening, health, its book for reading, fault scripts.

A hand-written ASGI application on uvicorn's protocol, without a framework: a route table of seven lines is looked up in
a dictionary, and the fault scripts need the connection itself (to cut it, to stop listening).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

import orjson
import uvicorn
from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sandbox.book import Book
from sandbox.faults import SCRIPT, Fault, FaultKind, Faults
from sandbox.statements import Refunds, StatementDesk, lines_of
from schemas.statement import BreakClass, StatementLine

BODY_MAX_BYTES = 5 * 1024 * 1024
KEEP_ALIVE_S = 120
SILENCE_S = 60.0
REFUSE_S = 1.0
PAGE_MAX = 1000
JSON = "application/json"

log = logging.getLogger("sandbox")


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request whose body has been read."""

    method: str
    path: str
    query: bytes
    host: str
    """What the caller took for our address; theirs to invent."""
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    forged: bool = False
    """A party that signs its answers signs this one wrongly."""


class Cut(Enum):
    """Instead of a reply: the connection is reset."""

    CUT = "cut"


CUT = Cut.CUT
Answer = Reply | Cut
Handler = Callable[[Call], Awaitable[Answer]]


def as_json(value: object, status: int = 200) -> Reply:
    """A JSON reply."""
    return Reply(orjson.dumps(value), status)


GARBAGE = (
    Reply(b"<html><body><h1>502 Bad Gateway</h1></body></html>", 200, "text/html"),
    Reply(b'{"schema_version":"1","outcome":"appro', 200, JSON),
    Reply("<?xml version='1.0' encoding='GBK'?><结果>成功</结果>".encode("gbk"), 200, "text/xml"),
    Reply(b"\x00\xff\xfe ok \x80" * 50, 200, "application/octet-stream"),
    Reply(b"", 200, JSON),
)


class PartyApp:
    """The ASGI application of one party; a subclass or its maker adds routes by (method, path)."""

    def __init__(self, code: str, book: Book, faults: Faults | None = None) -> None:
        self.code = code
        self.book = book
        self.faults = faults or Faults(code, secrets.randbits(32))
        missing = BreakClass.MISSING_AT_BASIC if code.startswith("BASIC") else BreakClass.MISSING_AT_INSURER
        self.statements = StatementDesk(code, missing)
        self.statement_rows_max = 500
        """Of one page, where the party is asked for its statement."""
        self.listener: Listener | None = None
        self._garbage = 0
        self._delayed: set[asyncio.Task[Answer]] = set()
        self.routes: dict[tuple[str, str], Handler] = {
            ("GET", "/healthz"): self._health,
            ("GET", "/sandbox/book"): self._book,
            ("GET", "/sandbox/faults"): self._fault_report,
            ("POST", "/sandbox/faults"): self._set_faults,
        }
        self.prefixes: dict[tuple[str, str], Handler] = {}
        """Routes by (method, beginning of the path), for paths that end in an id."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI request."""
        body = await _read(receive)
        answer: Answer = Reply(b"", 413) if body is None else await self._dispatch(_call_of(scope, body))
        if isinstance(answer, Reply):
            await _write(send, answer)
            return
        scope["extensions"]["sandbox.cut"]()
        while (await receive())["type"] != "http.disconnect":
            pass

    def statement(self, day: date, refunds: Refunds = "rows") -> list[StatementLine]:
        """What the party states of a day: its books, with whatever its statement's faults do to them."""
        before, true = (lines_of(self.book, one, refunds=refunds) for one in (day - timedelta(days=1), day))
        return self.statements.lines(true, before, day)

    async def misbehaving(
        self, request_id: str, operation: str, work: Callable[[Fault | None], Awaitable[Answer]]
    ) -> Answer:
        """Do the work with whatever fault strikes this request.

        `work` itself sees to wrong totals, lies and refusals to undo and, for GARBAGE, answers as if to another
        request.
        """
        fault = self.faults.draw(request_id, operation)
        if fault is None:
            return await work(None)
        if fault.kind is FaultKind.HTTP_500:
            return Reply(b"Internal Server Error", 500, "text/plain")
        if fault.kind is FaultKind.SILENT:
            await asyncio.sleep(SILENCE_S if fault.seconds is None else fault.seconds)
            return CUT
        if fault.kind is FaultKind.DELAYED_EFFECT:
            self._delay(fault.seconds or 0, work)
            return CUT
        if fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds or 0)
        answer = await work(fault)
        if fault.kind is FaultKind.DUPLICATE_ANSWER:
            return await work(fault)
        if fault.kind is FaultKind.LATE:
            await asyncio.sleep(fault.seconds or 0)
        if fault.kind is FaultKind.GARBAGE:
            return self.garbage() or answer
        if fault.kind is FaultKind.WRONG_SIGNATURE and isinstance(answer, Reply):
            return replace(answer, forged=True)
        return CUT if fault.kind is FaultKind.LOST_ANSWER else answer

    def garbage(self) -> Reply | None:
        """The next kind of rubbish in turn; None: let the answer that `work` made for another request through."""
        self._garbage += 1
        return (*GARBAGE, None)[self._garbage % (len(GARBAGE) + 1)]

    def delayed(self) -> int:
        """How many requests were taken and have not had their effect yet."""
        return len(self._delayed)

    def forget_delayed(self) -> None:
        """What has not had its effect yet never will; on the event loop's thread."""
        for task in self._delayed:
            task.cancel()

    def _delay(self, seconds: float, work: Callable[[Fault | None], Awaitable[Answer]]) -> None:
        async def later() -> Answer:
            await asyncio.sleep(seconds)
            return await work(None)

        task = asyncio.get_running_loop().create_task(later())
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    async def _dispatch(self, call: Call) -> Answer:
        handler = self.routes.get((call.method, call.path))
        if handler is None:
            for (method, prefix), candidate in self.prefixes.items():
                if method == call.method and call.path.startswith(prefix):
                    handler = candidate
        return await handler(call) if handler else Reply(b"Not Found", 404, "text/plain")

    async def _health(self, _: Call) -> Answer:
        return as_json({"status": "ok", "party": self.code})

    async def _book(self, call: Call) -> Answer:
        asked = dict(parse_qsl(call.query.decode()))
        try:
            limit, offset = min(int(asked.get("limit", "100")), PAGE_MAX), int(asked.get("offset", "0"))
        except ValueError:
            return as_json({"error": "limit and offset are whole numbers"}, 400)
        page = await asyncio.to_thread(self.book.entries, max(limit, 0), max(offset, 0))
        totals = await asyncio.to_thread(self.book.totals)
        return as_json({"party": self.code, "totals": asdict(totals), "entries": [asdict(entry) for entry in page]})

    async def _fault_report(self, _: Call) -> Answer:
        return as_json(self.faults.report() | {"delayed": self.delayed()})

    async def _set_faults(self, call: Call) -> Answer:
        try:
            script = SCRIPT.validate_json(call.body)
            seed = dict(parse_qsl(call.query.decode())).get("seed")
            self.set_faults(script, None if seed is None else int(seed))
        except ValidationError as error:
            return as_json({"errors": error.errors(include_url=False, include_input=False)}, 422)
        except ValueError:
            return as_json({"error": "seed is a whole number"}, 422)
        return as_json(self.faults.report())

    def set_faults(self, script: tuple[Fault, ...], seed: int | None = None) -> None:
        """Switch to a fault script; on the event loop's thread, since it may stop the listening."""
        self.faults.set(script, seed)
        log.info("fault script of %s: seed %d, %s", self.code, self.faults.seed, [fault.kind.value for fault in script])
        for fault in script:
            if fault.kind is FaultKind.REFUSE_CONNECTION and self.listener is not None:
                # a moment later, so that whoever sets the script still gets this answer
                seconds = REFUSE_S if fault.seconds is None else fault.seconds
                asyncio.get_running_loop().call_later(0.02, self.listener.refuse, seconds)


class _Connection(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also hands the application the means to cut the connection."""

    def on_headers_complete(self) -> None:
        self.scope["extensions"] = {"sandbox.cut": self.transport.abort}  # type: ignore[dict-item]
        super().on_headers_complete()


class Listener:
    """One party on one loopback port of the running event loop."""

    def __init__(self, app: PartyApp, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._app = app
        self._state = ServerState()
        config = uvicorn.Config(app, timeout_keep_alive=KEEP_ALIVE_S, access_log=False, log_config=None, ws="none")
        config.load()
        self._protocol = lambda: _Connection(config, self._state, {})
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen; a port of 0 is replaced by the one that was found. OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except OSError:
            listening.close()
            raise
        self.port = listening.getsockname()[1]
        self._server = await loop.create_server(self._protocol, sock=listening, backlog=1024)
        self._app.listener = self

    def refuse(self, seconds: float) -> None:
        """Refuse connections for a while: stop listening, reset what is open, then listen on the same port again."""
        self._stop(abort=True)
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self._reopening is not None:
            self._reopening.cancel()
        self._stop(abort=False)

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    def _stop(self, *, abort: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._state.connections):
            if abort:
                connection.transport.abort()
            else:
                connection.shutdown()


async def _read(receive: Any) -> bytes | None:
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    chunks, size = [message["body"]], len(message["body"])
    while message.get("more_body"):
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_MAX_BYTES:
            return None
    return b"".join(chunks)


def _call_of(scope: Any, body: bytes) -> Call:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Call(scope["method"], scope["path"], scope["query_string"], headers.get("host", ""), body, headers)


async def _write(send: Any, reply: Reply) -> None:
    headers = [(b"content-type", reply.content_type.encode()), (b"content-length", b"%d" % len(reply.body))]
    headers += [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
