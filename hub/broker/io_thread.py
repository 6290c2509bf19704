"""One AMQP connection in a thread of its own: pika runs there and nothing else does.

No handler code runs on this thread, so a handler may take as long as it likes without starving heartbeats.
The connection is made again for ever, with jittered backoff, going round the hosts given.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pika
import structlog
from pika.adapters.select_connection import IOLoop

from hub.broker.errors import described
from hub.broker.wire import FramedConnection

log = structlog.get_logger(__name__)

_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How we hold a connection; `urls` are several hosts of one broker, tried in turn."""

    urls: tuple[str, ...]
    name: str = "hub"
    heartbeat_s: int = 10
    blocked_timeout_s: float = 5.0
    connect_timeout_s: float = 3.0

    def parameters(self, attempt: int) -> Any:
        """pika's parameters for the n-th attempt."""
        parameters = pika.URLParameters(self.urls[attempt % len(self.urls)])
        parameters.heartbeat = self.heartbeat_s
        parameters.blocked_connection_timeout = self.blocked_timeout_s
        parameters.socket_timeout = self.connect_timeout_s
        parameters.stack_timeout = self.connect_timeout_s + 2
        parameters.client_properties = {"connection_name": self.name}
        return parameters


def split_urls(urls: str) -> tuple[str, ...]:
    """`amqp://a/v,amqp://b/v` -> both; the hosts of one cluster."""
    return tuple(part.strip() for part in urls.split(",") if part.strip())


class ConnectionUser(Protocol):
    """What lives on a connection; every method is called on the connection's own thread."""

    def opened(self, connection: FramedConnection) -> None: ...

    def lost(self) -> None: ...

    def blocked(self, is_blocked: bool) -> None: ...


class IoThread:
    """Keeps one connection open and runs callbacks on its thread."""

    def __init__(self, settings: ConnectionSettings, users: Sequence[ConnectionUser] = ()) -> None:
        # pika reports each lost connection at ERROR with a stack; we report it once, as an event.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._settings = settings
        self._users = list(users)
        self._loop = IOLoop()
        self._connection: FramedConnection | None = None
        self._attempt = 0
        self._failures = 0
        self._closing = self._ended = self._reconnecting = False
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"amqp-{settings.name}", daemon=True)

    def start(self) -> None:
        self.call(self._connect)
        self._thread.start()

    def call(self, callback: Callable[[], None]) -> None:
        """Run `callback` soon on the connection's thread; the only method other threads may use freely."""
        self._loop.add_callback_threadsafe(callback)

    def later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """As `call`, after `delay_s`; only on the connection's own thread."""
        self._loop.call_later(delay_s, callback)

    def add(self, user: ConnectionUser) -> None:
        """Let `user` live on this connection too."""

        def join() -> None:
            self._users.append(user)
            if self._connection is not None and self._connection.is_open:
                user.opened(self._connection)

        self.call(join)

    def is_open(self) -> bool:
        return self._open.is_set()

    def wait_open(self, timeout_s: float) -> bool:
        return self._open.wait(timeout_s)

    def abort(self, reason: str) -> None:
        """Give the connection up and make a new one; only on its own thread."""
        log.warning("broker_connection_given_up", connection=self._settings.name, reason=reason)
        if self._connection is not None and self._connection.is_open:
            self._connection.close(320, reason)
            # A frozen broker answers no close either: the stream goes down whatever it says.
            self._loop.call_later(1.0, self._terminate_if_closing(self._connection))

    @staticmethod
    def _terminate_if_closing(connection: FramedConnection) -> Callable[[], None]:
        def terminate() -> None:
            if not connection.is_closed:
                connection._terminate_stream(pika.exceptions.StreamLostError("no answer to close"))

        return terminate

    def close(self, timeout_s: float = 5.0) -> None:
        """Close the connection in order and end the thread."""
        self._closing = True
        if self._thread.is_alive():
            self.call(self._close)
            self._thread.join(timeout_s)

    def _close(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.close()
            self._loop.call_later(2.0, self._loop.stop)
        else:
            self._loop.stop()

    def _run(self) -> None:
        while not self._ended:
            try:
                self._loop.start()
                self._ended = True
            except Exception as error:  # noqa: BLE001 - the process would go on without its broker
                self._say_why(error)
                self._begin_again(error)
        self._loop.close()

    def _say_why(self, error: Exception) -> None:
        connection = self._connection
        if isinstance(error, ValueError) and (connection is None or not connection.is_open):
            # pika builds its stream on a socket that was closed under it before the connection stood.
            log.warning("broker_unreachable", connection=self._settings.name, error="closed while connecting")
        else:
            log.error("broker_io_failed", connection=self._settings.name, **described(error))

    def _begin_again(self, error: BaseException) -> None:
        """After a bug of ours on this thread: nobody knows what state the connection is in."""
        connection = self._connection
        if connection is None or connection.is_closed:
            self._reconnect_later()
        else:
            connection._terminate_stream(pika.exceptions.StreamLostError(repr(type(error))))

    def _connect(self) -> None:
        self._reconnecting = False
        if self._closing:
            self._loop.stop()
            return
        self._connection = FramedConnection(
            self._settings.parameters(self._attempt),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._closed,
            custom_ioloop=self._loop,
        )
        self._attempt += 1

    def _opened(self, connection: FramedConnection) -> None:
        self._failures = 0
        connection.add_on_connection_blocked_callback(lambda *_: self._blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._blocked(False))
        log.info("broker_connected", connection=self._settings.name)
        self._open.set()
        for user in self._users:
            user.opened(connection)

    def _blocked(self, is_blocked: bool) -> None:
        log.warning("broker_blocked" if is_blocked else "broker_unblocked", connection=self._settings.name)
        for user in self._users:
            user.blocked(is_blocked)

    def _failed(self, _connection: object, error: BaseException) -> None:
        self._failures += 1
        log.warning("broker_unreachable", connection=self._settings.name, error=_name_of(error))
        self._reconnect_later()

    def _closed(self, _connection: object, error: BaseException) -> None:
        if self._closing:
            self._lost_users()
            self._loop.stop()
            return
        self._lost(error)

    def _lost(self, error: BaseException) -> None:
        log.warning("broker_connection_lost", connection=self._settings.name, error=_name_of(error))
        self._failures += 1
        self._lost_users()
        self._reconnect_later()

    def _lost_users(self) -> None:
        self._open.clear()
        for user in self._users:
            user.lost()

    def _reconnect_later(self) -> None:
        if self._reconnecting:
            return
        self._reconnecting = True
        ceiling = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(self._failures, 10))
        self._loop.call_later(random.uniform(ceiling / 2, ceiling), self._connect)


def _name_of(error: BaseException) -> str:
    """The class names of an error and what it wraps; never its text, which may hold an address with a password."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    return type(error).__name__ + (f"/{type(inner).__name__}" if inner is not None else "")
