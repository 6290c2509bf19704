"""What HTTP itself may ask of us: bounded headers, a bounded time to send them, refusals in the usual form."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapters.hospital.problems import CONTENT_TYPE
from hub.gateway.problems import http_problem_body

HEADERS_MAX = 64
HEADER_BYTES_MAX = 32 * 1024
HEADERS_S_MAX = 10.0
LINGER_S_MAX = 2.0
LINGER_BYTES_MAX = 1024 * 1024


class TooManyHeaders(Exception):
    """More than anybody needs; the parser turns it into a refusal."""


@dataclass(slots=True)
class Leaving:
    """Whether this gateway is on its way out: what its connections and its health look at."""

    begun: bool = False


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with our bounds; on its way out the gateway lets each connection end with an answer."""

    _header_bytes = 0
    _impatience: asyncio.TimerHandle | None = None
    _discarded: int | None = None
    """Bytes thrown away since the refusal; None while nothing was refused."""

    def __init__(self, *, leaving: Leaving, **given: Any) -> None:
        super().__init__(**given)
        self._leaving = leaving

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        self._stop_waiting()
        self._begin_to_wait()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))
        if len(self.headers) > HEADERS_MAX:
            raise TooManyHeaders

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()
        if self._leaving.begun:
            self.leave()

    def leave(self) -> None:
        """Let the answer to the newest request be the last one, if it can still say so."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            raise TooManyHeaders

    def _begin_to_wait(self) -> None:
        self._impatience = self.loop.call_later(HEADERS_S_MAX, self._give_up)

    def _stop_waiting(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """The parser found no HTTP, or too much of it: say so in our form and hang up."""
        self._stop_waiting()
        body = http_problem_body(400)
        headers: list[Any] = [*self.server_state.default_headers]
        headers += [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[400] + lines + b"\r\n" + body)
        self._linger()

    def data_received(self, data: bytes) -> None:
        if self._discarded is None:
            super().data_received(data)
            return
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES_MAX:
            self.transport.close()

    def _linger(self) -> None:
        """Hang up only when the sender has: closing on bytes not yet read resets the connection, and the refusal on its
        way is lost with it. Bounded in time and bytes."""
        self._discarded = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S_MAX, self._give_up)
