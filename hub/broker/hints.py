"""Best-effort wake-ups between processes: no confirms, nothing durable, may be lost."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import pika
import structlog

from hub.broker.errors import described
from hub.broker.io_thread import IoThread
from hub.broker.topology import EVENTS
from hub.broker.wire import FramedConnection

log = structlog.get_logger(__name__)

Listener = Callable[[str], None]
_SEPARATOR = "\n"
_TRANSIENT = pika.BasicProperties(delivery_mode=1)
_WAITING_MAX = 10_000


class HintSender:
    """Lives on the publishing connection; hints of one channel that wait together travel as one message."""

    def __init__(self, io: IoThread) -> None:
        self._io = io
        self._channel: Any = None
        self._waiting: deque[tuple[str, str]] = deque(maxlen=_WAITING_MAX)
        self._scheduled = False

    def hint(self, channel: str, payload: str) -> None:
        """From any thread; `payload` is one line."""
        self._waiting.append((channel, payload))
        if not self._scheduled:
            self._scheduled = True
            self._io.call(self._drain)

    def opened(self, connection: FramedConnection) -> None:
        connection.channel(on_open_callback=self._channel_open)

    def _channel_open(self, channel: Any) -> None:
        self._channel = channel

    def lost(self) -> None:
        self._channel = None

    def blocked(self, is_blocked: bool) -> None:
        """Hints wait, and the oldest are dropped, as long as the broker takes nothing."""

    def _drain(self) -> None:
        self._scheduled = False
        together: dict[str, list[str]] = defaultdict(list)
        for _ in range(len(self._waiting)):
            channel, payload = self._waiting.popleft()
            together[channel].append(payload)
        if self._channel is None or not self._channel.is_open:
            return
        for channel, payloads in together.items():
            self._channel.basic_publish(EVENTS, channel, _SEPARATOR.join(payloads).encode(), _TRANSIENT)


class HintReceiver:
    """Lives on the consuming connection, with a queue of its own that dies with it."""

    def __init__(self, io: IoThread) -> None:
        self._io = io
        self._listeners: dict[str, list[Listener]] = {}
        self._channel: Any = None
        self._queue = ""

    def listen(self, channel: str, listener: Listener) -> None:
        """From any thread; `listener` runs on the connection's thread and must return at once."""

        def add() -> None:
            self._listeners.setdefault(channel, []).append(listener)
            if self._queue:
                self._channel.queue_bind(self._queue, EVENTS, channel)

        self._io.call(add)

    def opened(self, connection: FramedConnection) -> None:
        connection.channel(on_open_callback=self._channel_open)

    def _channel_open(self, channel: Any) -> None:
        self._channel = channel
        channel.queue_declare("", exclusive=True, auto_delete=True, callback=self._declared)

    def _declared(self, frame: Any) -> None:
        self._queue = frame.method.queue
        for channel in self._listeners:
            self._channel.queue_bind(self._queue, EVENTS, channel)
        self._channel.basic_consume(self._queue, self._arrived, auto_ack=True)

    def lost(self) -> None:
        self._channel, self._queue = None, ""

    def blocked(self, is_blocked: bool) -> None:
        """Nothing is sent here."""

    def _arrived(self, _channel: object, method: Any, _properties: object, body: bytes) -> None:
        for payload in body.decode().split(_SEPARATOR):
            for listener in self._listeners.get(method.routing_key, ()):
                try:
                    listener(payload)
                except Exception as error:  # noqa: BLE001 - a hint may be lost, the connection may not
                    log.error("hint_listener_failed", channel=method.routing_key, **described(error))  # noqa: TRY400
