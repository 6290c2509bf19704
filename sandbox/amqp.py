"""A party's own line to the broker: plain pika, one I/O thread, answers published with confirms in a pipeline.

Deliveries that arrived together are handed over together. A delivery is acknowledged by its receiver, once what it led
to is safe.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection

RECONNECT_S_MIN = 0.1
RECONNECT_S_MAX = 5.0
HEARTBEAT_S = 10

log = logging.getLogger("sandbox")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivered message. `tag` and `epoch` name it towards the broker."""

    tag: int
    epoch: int
    queue: str
    message_id: str
    type: str
    correlation_id: str
    body: bytes


@dataclass(slots=True)
class Outgoing:
    """A message to publish; `on_confirmed` is called on the I/O thread once the broker has it.

    Kept and sent again after a reconnect until the broker confirms it, so it may arrive twice under one `message_id`.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    type: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    on_confirmed: Callable[[], None] | None = field(default=None, repr=False)
    on_returned: Callable[[], None] | None = field(default=None, repr=False)


Batch = Callable[[Sequence[Incoming]], None]
What = Callable[[], object]


class Line:
    """One connection that stays: reads `queues` (handing batches to `on_batch` on the I/O thread) and publishes.

    Declares nothing: exchanges and queues belong to the hub. `user_id` is sent only when the URL's user is `code`.
    """

    def __init__(
        self, url: str, code: str, queues: Sequence[str] = (), on_batch: Batch | None = None, prefetch: int = 300
    ) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = HEARTBEAT_S
        self._user_id = code if self._parameters.credentials.username == code else None
        self._queues = tuple(queues)
        self._on_batch = on_batch
        self._prefetch = prefetch
        self._epoch = 0
        self._connection: Any = None
        self._channel: Any = None
        self._arrived: list[Incoming] = []
        self._wanted: deque[Outgoing] = deque()
        self._unconfirmed: dict[int, Outgoing] = {}
        self._next_tag = 1
        self._unread = 0
        self._draining = False
        self._stopping = False
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"line-{code}", daemon=True)

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._thread.start()

    def wait_ready(self, within_s: float) -> bool:
        """Whether the channel is open and consuming within the time."""
        return self._ready.wait(within_s)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Queue messages for sending; from any thread."""
        with self._lock:
            self._wanted.extend(messages)
            wake = not self._draining
            self._draining = True
        if wake:
            self._call(self._drain)

    def ack(self, incoming: Incoming) -> None:
        """Tell the broker that a delivery is done; on the I/O thread. One of an earlier connection is left alone."""
        if incoming.epoch == self._epoch and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(incoming.tag)

    def ack_all(self, deliveries: Sequence[Incoming]) -> None:
        """Tell the broker that deliveries are done; from any thread."""

        def each() -> None:
            for incoming in deliveries:
                self.ack(incoming)

        self._call(each)

    def later(self, seconds: float, call: What) -> None:
        """Call on the I/O thread after a while; forgotten when the connection goes first."""
        self._connection.ioloop.call_later(seconds, call)

    def stop(self) -> None:
        """Close the connection and end the thread; what is unacknowledged goes back to the broker."""
        self._stopping = True
        self._call(self._close)
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        wait_s = RECONNECT_S_MIN
        while not self._stopping:
            self._ready.clear()
            connection = SelectConnection(
                self._parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
            )
            with self._lock:
                self._connection = connection
            if self._stopping:
                return
            connection.ioloop.start()
            with self._lock:
                self._connection = None
            connection.ioloop.close()
            wait_s = RECONNECT_S_MIN if self._ready.is_set() else min(wait_s * 2, RECONNECT_S_MAX)
            if not self._stopping:
                time.sleep(wait_s * random.uniform(0.5, 1.0))

    def _opened(self, connection: Any) -> None:
        if self._stopping:
            connection.close()
            return
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._epoch += 1
        self._arrived.clear()
        self._channel = channel
        self._next_tag = 1
        with self._lock:
            self._wanted.extendleft(reversed(list(self._unconfirmed.values())))
            self._unconfirmed.clear()
            self._draining = True
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)
        channel.basic_qos(prefetch_count=self._prefetch)
        self._unread = len(self._queues)
        for queue in self._queues:
            self._consume(channel, queue)
        self._drain()
        if not self._queues:
            self._ready.set()

    def _reading(self, _: Any) -> None:
        self._unread -= 1
        if self._unread == 0:
            self._ready.set()

    def _consume(self, channel: Any, queue: str) -> None:
        def arrived(_: Any, method: Any, properties: Any, body: bytes) -> None:
            if not self._arrived:
                self._connection.ioloop.add_callback_threadsafe(self._hand_over)
            self._arrived.append(
                Incoming(
                    method.delivery_tag,
                    self._epoch,
                    queue,
                    properties.message_id or "",
                    properties.type or "",
                    properties.correlation_id or "",
                    body,
                )
            )

        channel.basic_consume(queue, arrived, callback=self._reading)

    def _hand_over(self) -> None:
        batch, self._arrived = self._arrived, []
        if batch and self._on_batch is not None:
            self._on_batch(batch)

    def _drain(self) -> None:
        if self._channel is None or not self._channel.is_open:
            with self._lock:
                self._draining = False
            return
        with self._lock:
            messages = list(self._wanted)
            self._wanted.clear()
            self._draining = False
        for message in messages:
            self._unconfirmed[self._next_tag] = message
            self._next_tag += 1
            self._channel.basic_publish(
                message.exchange, message.routing_key, message.body, self._properties(message), mandatory=True
            )

    def _properties(self, message: Outgoing) -> Any:
        return pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=message.message_id,
            type=message.type or None,
            correlation_id=message.correlation_id or None,
            reply_to=message.reply_to or None,
            user_id=self._user_id,
            timestamp=int(time.time()),
        )

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        again = []
        tags = [method.delivery_tag]
        if method.multiple:
            tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed))
        for tag in tags:
            message = self._unconfirmed.pop(tag, None)
            if message is None:
                continue
            if isinstance(method, pika.spec.Basic.Nack):
                again.append(message)
            elif message.on_confirmed is not None:
                message.on_confirmed()
        if again:
            self.later(1.0, lambda: self.publish(again))

    def _returned(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        log.error("the broker has no queue for %s of %s", method.routing_key, method.exchange)
        for message in self._unconfirmed.values():
            if message.message_id == properties.message_id and message.on_returned is not None:
                message.on_returned()

    def _channel_closed(self, _: Any, reason: Exception) -> None:
        self._channel = None
        if not self._stopping:
            log.error("channel closed: %s", reason)
            if self._connection.is_open:
                self._connection.close()

    def _lost(self, _: Any, reason: Any) -> None:
        self._channel = None
        self._connection.ioloop.stop()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        elif not self._connection.is_closing:
            self._connection.ioloop.stop()

    def _call(self, what: What) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(what)
