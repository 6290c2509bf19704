"""HTTP to one party: kept connections, one deadline per call, and errors by what they mean for the payment.

Unavailable: no connection came about, so nothing of the message left this host. OutcomeUnknown: anything after that,
also a kept connection that turned out to be dead. A whole answer is returned whatever its status: what it means is the
codec's business, and its bytes are evidence.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, EmptyPoolError, HTTPError
from urllib3.util import Timeout, parse_url

from schemas.errors import OutcomeUnknown, Unavailable
from schemas.payer import PartySettings, PreparedCall, RawAnswer

CONNECT_TIMEOUT_S_MAX = 1.0
ANSWER_BYTES_MAX = 5 * 1024 * 1024
PIECE_BYTES = 65536
# A server that wants a certificate reads no request before it has one it trusts; under TLS 1.3 we hear of it only after
# ours is on its way. Asking for one later (post-handshake) is something that we never offer.
_OUR_CERTIFICATE_REFUSED = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    }
)


class _Call(threading.local):
    """When the call that this thread is in must be over."""

    ends_s = 0.0

    def left_s(self) -> float:
        left = self.ends_s - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call's time is over")
        return left


_call = _Call()


class _DeadlineReader(io.RawIOBase):
    """Reads within the call's deadline, however slowly the bytes drip."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_call.left_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """A connected socket whose sends and reads share the call's deadline instead of each having its own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._head = b""

    def sendall(self, data: bytes) -> None:
        if not self._head and data.startswith(b"POST "):
            self._head = data  # goes out with the body: one packet, and one wake-up of the party's server
            return
        data, self._head = self._head + data, b""
        self._sock.settimeout(_call.left_s())
        self._sock.sendall(data)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        if self._head:
            self.sendall(b"")
        return io.BufferedReader(_DeadlineReader(self._sock))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _connected(connection: Any, connect: Any) -> None:
    """Whatever goes wrong before a connection stands, TLS included, happens before the message leaves."""
    try:
        connect()
    except (HTTPError, OSError) as error:
        raise Unavailable("no connection", host=connection.host, port=connection.port) from error
    connection.sock = _DeadlineSocket(connection.sock)


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        _connected(self, super().connect)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        _connected(self, super().connect)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class HttpPool:
    """Calls to one party's endpoint; safe to share between threads.

    At most `settings.concurrency` calls run at once; one more waits no longer than a connection may take. Raises
    ValueError for settings that cannot work: a wrong endpoint, unreadable certificates.
    """

    def __init__(self, settings: PartySettings) -> None:
        url = parse_url(settings.endpoint)
        if url.scheme not in ("http", "https") or not url.host or url.auth or url.query:
            raise ValueError(f"party {settings.code}: the endpoint must be http(s)://host[:port][/path]")
        self._party = settings.code
        self._path = (url.path or "").rstrip("/")
        size = settings.concurrency
        options: dict[str, Any] = {"host": url.host, "port": url.port, "maxsize": size, "block": True}
        if url.scheme == "https":
            self._pool: urllib3.HTTPConnectionPool = _TlsPool(ssl_context=_tls(settings), **options)
        else:
            self._pool = _PlainPool(**options)

    def target(self, call: PreparedCall) -> str:
        """Path and query of a call as they are sent."""
        return self._path + call.path or "/"

    def send(self, call: PreparedCall, headers: Mapping[str, str], timeout_s: float) -> RawAnswer:
        """The party's whole answer, within `timeout_s` of now. A call without a body (a GET) goes without one."""
        return self.exchange(call, headers, timeout_s)[0]

    def exchange(
        self, call: PreparedCall, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[RawAnswer, Mapping[str, str]]:
        """As `send`, with the answer's headers."""
        _call.ends_s = time.monotonic() + timeout_s
        connect_s = min(CONNECT_TIMEOUT_S_MAX, max(timeout_s, 0.001))
        waits: dict[str, Any] = {
            "timeout": Timeout(connect=connect_s, read=max(timeout_s, 0.001)),
            "pool_timeout": connect_s,
        }
        with self._errors():
            response = self._pool.urlopen(
                call.method,
                self.target(call),
                body=call.body or None,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                **waits,
            )
            return self._whole(response), response.headers

    def close(self) -> None:
        """Closes idle connections; calls under way end by themselves."""
        self._pool.close()

    def _whole(self, response: urllib3.BaseHTTPResponse) -> RawAnswer:
        try:
            body = self._body(response)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return RawAnswer(body, response.status, response.headers.get("content-type", ""))

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise OutcomeUnknown("the answer is encoded though we offered none", party=self._party)
        if (response.length_remaining or 0) > ANSWER_BYTES_MAX:
            raise self._too_large()
        body = bytearray()
        # Only a read that finds nothing more tells an answer that is whole from one that broke off.
        while piece := response.read(PIECE_BYTES):
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> OutcomeUnknown:
        return OutcomeUnknown("the answer is larger than 5 MiB", party=self._party)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            raise Unavailable(error.message, party=self._party) from error
        except (EmptyPoolError, ClosedPoolError) as error:
            raise Unavailable("no free connection", party=self._party) from error
        except (HTTPError, OSError) as error:
            if _our_certificate_refused(error):
                facts = {"code": "tls.client_certificate", "party": self._party}
                raise Unavailable("the party refuses our TLS certificate, or wants one", **facts) from error
            raise OutcomeUnknown("sent, but no whole answer came back", party=self._party) from error


def _our_certificate_refused(error: BaseException) -> bool:
    causes = (error, *error.args)
    return any(isinstance(one, ssl.SSLError) and one.reason in _OUR_CERTIFICATE_REFUSED for one in causes)


def _tls(settings: PartySettings) -> ssl.SSLContext:
    """Verifies the party against `ca_file` (the system's authorities without one); TLS 1.2 or newer."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.client_certificate_file:
            context.load_cert_chain(settings.client_certificate_file, settings.client_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"party {settings.code}: the TLS files cannot be read") from error
    return context
