"""Consuming a queue: deliveries taken in batches, verdicts carried back to the connection's thread.

Each time the connection is made, a `_Session` begins; a verdict on a delivery of an older session is void, since
the broker delivers that message again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from hub.broker.batches import HandlerThreads
from hub.broker.io_thread import IoThread
from hub.broker.returns import HEADER_PREFIX, dead_message, restored, retry_message
from hub.broker.topology import BACK, Topology
from hub.broker.transport import DELIVERY_LIMIT, OutboundMessage, Subscription, Verdict, VerdictKind, dead
from hub.broker.wire import FramedConnection, decode_deliver, decode_properties, encode_ack
from hub.failpoints import failpoint

log = structlog.get_logger(__name__)

Send = Callable[[OutboundMessage, Callable[[bool], None]], None]
_SEND_AGAIN_S = 1.0


class AmqpDelivery:
    """A message from RabbitMQ; its properties are decoded when first asked for."""

    __slots__ = (
        "_back",
        "_exchange",
        "_headers",
        "_properties",
        "_raw",
        "_routing_key",
        "_session",
        "body",
        "redelivered",
        "tag",
    )

    def __init__(self, session: _Session, method: bytes, properties: bytes, body: bytes) -> None:
        self.tag, self.redelivered, self._exchange, self._routing_key = decode_deliver(method)
        self._session = session
        self._raw = properties
        self._properties: dict[str, Any] | None = None
        self._headers: dict[str, str] | None = None
        self._back: dict[str, str] = {}
        self.body = body

    def _decoded(self) -> dict[str, Any]:
        if self._properties is None:
            self._properties = decode_properties(self._raw)
            # Only what the hub itself sent through its retry queues comes from an exchange nobody can publish to.
            if self._exchange == BACK:
                self._back = {
                    key: value
                    for key, value in (self._properties.get("headers") or {}).items()
                    if key.startswith(HEADER_PREFIX) and isinstance(value, str)
                }
        return self._properties

    def _text(self, name: str) -> str:
        return str(self._decoded().get(name) or self._back.get(HEADER_PREFIX + name) or "")

    @property
    def queue(self) -> str:
        return self._session.queue

    @property
    def exchange(self) -> str:
        if self._exchange != BACK:
            return self._exchange
        self._decoded()
        return self._back.get(HEADER_PREFIX + "exchange", "")

    @property
    def routing_key(self) -> str:
        if self._exchange != BACK:
            return self._routing_key
        self._decoded()
        return self._back.get(HEADER_PREFIX + "routing_key", "")

    @property
    def message_id(self) -> str:
        return self._text("message_id")

    @property
    def type(self) -> str:
        return self._text("type")

    @property
    def correlation_id(self) -> str:
        return self._text("correlation_id")

    @property
    def reply_to(self) -> str:
        return self._text("reply_to")

    @property
    def user_id(self) -> str:
        return self._text("user_id")

    @property
    def content_type(self) -> str:
        return self._text("content_type")

    @property
    def headers(self) -> Mapping[str, str]:
        """Text headers of the sender; what the broker and the hub add is left out."""
        if self._headers is None:
            self._headers = restored(self._decoded().get("headers") or {})
        return self._headers

    @property
    def raw_headers(self) -> Mapping[str, Any]:
        """All headers as they came, also what brokers and senders may have made up."""
        return self._decoded().get("headers") or {}

    @property
    def attempt(self) -> int:
        raw = self.raw_headers
        again = raw.get("x-delivery-count", 0) if self.redelivered else 0
        before = self._back.get(HEADER_PREFIX + "attempt", "")
        first = int(before) if before.isdecimal() else 1
        return first + (again if isinstance(again, int) else 0)

    def is_last(self, deliveries_max: int) -> bool:
        """Whether the broker would set it aside rather than deliver it once more."""
        if not self.redelivered or not deliveries_max:
            return False
        again = self.raw_headers.get("x-delivery-count", 0)
        return isinstance(again, int) and again >= deliveries_max

    @property
    def settled(self) -> bool:
        return not self._session.awaits(self.tag)

    def settle(self, verdict: Verdict) -> None:
        self._session.settle(self, verdict)


class _Session:
    """The deliveries of one channel, from its opening to its loss."""

    def __init__(self, consumer: QueueConsumer, connection: FramedConnection, channel: Any) -> None:
        self.queue = consumer.subscription.queue
        self.channel = channel
        self._consumer = consumer
        self._connection = connection
        self._unsettled: dict[int, AmqpDelivery] = {}
        self._to_ack: deque[int] = deque()
        self._scheduled = False
        self._alive = True
        self._arrived: list[AmqpDelivery] = []
        self._delivered = 0
        self._acked = 0
        self._run_end = 0
        self._apart: set[int] = set()

    # The connection's thread.

    def on_delivery(self, method: bytes, properties: bytes, body: bytes) -> None:
        delivery = AmqpDelivery(self, method, properties, body)
        self._unsettled[delivery.tag] = delivery
        self._delivered += 1
        self._arrived.append(delivery)

    def on_read_end(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            failpoint("delivery.before_handling")
            self._consumer.arrived([one for one in arrived if not self._condemned(one)])

    def _condemned(self, delivery: AmqpDelivery) -> bool:
        """Every delivery before took its process with it. We set it aside ourselves while we still know who sent it;
        of what the broker sets aside only a word remains that the sender may have written."""
        if not delivery.is_last(self._consumer.deliveries_max):
            return False
        log.error("delivery_limit_reached", queue=self.queue, message_id=delivery.message_id)
        self.settle(delivery, dead(DELIVERY_LIMIT))
        return True

    def end(self) -> None:
        self._alive = False
        self._unsettled.clear()

    def _flush(self) -> None:
        """Acknowledge what was settled: the unbroken run from the oldest on at once, the rest one by one."""
        self._scheduled = False
        if not self._alive:
            return
        taken = [self._to_ack.popleft() for _ in range(len(self._to_ack))]
        self._apart.update(taken)
        end = self._run_end
        while end + 1 in self._apart:
            end += 1
            self._apart.discard(end)
        self._run_end = end
        number = self.channel.channel_number
        frames = [encode_ack(number, tag, False) for tag in taken if tag > end]
        # The tag of a multiple-ack must itself be unacknowledged, and `end` may have gone out alone before.
        newest = max((tag for tag in taken if tag <= end), default=0)
        if newest:
            frames.append(encode_ack(number, newest, True))
        self._acked += len(taken)
        failpoint("ack.before_send")
        self._connection.send(b"".join(frames))
        failpoint("ack.after_send")

    @property
    def idle(self) -> bool:
        return not self._alive or self._acked == self._delivered

    # Any thread.

    def awaits(self, tag: int) -> bool:
        return tag in self._unsettled

    def settle(self, delivery: AmqpDelivery, verdict: Verdict) -> None:
        if self._unsettled.pop(delivery.tag, None) is None:
            return
        if verdict.kind is VerdictKind.ACK:
            self._ack(delivery.tag)
        else:
            self._consumer.resend(self, delivery, verdict)

    def _ack(self, tag: int) -> None:
        self._to_ack.append(tag)
        if not self._scheduled:
            self._scheduled = True
            self._consumer.io.call(self._flush)

    def moved(self, delivery: AmqpDelivery, verdict: Verdict, confirmed: bool) -> None:
        """The copy in the retry or dead queue is safe: now the original may go. Otherwise send it again."""
        if not self._alive:
            return
        if confirmed:
            self._ack(delivery.tag)
            return
        # The publisher has said why. This runs on its thread, the wait belongs on ours.
        io, again = self._consumer.io, partial(self._consumer.resend, self, delivery, verdict)
        io.call(lambda: io.later(_SEND_AGAIN_S, again))


class QueueConsumer:
    """One subscription: its channel on the connection and the threads of its handler."""

    def __init__(self, subscription: Subscription, topology: Topology, io: IoThread, send: Send) -> None:
        self.subscription = subscription
        self.io = io
        self.deliveries_max = topology.deliveries_max(subscription.queue)
        self._topology = topology
        self._send = send
        self._session: _Session | None = None
        self._stopping = False
        self._cancelled = False
        self._handlers: HandlerThreads[AmqpDelivery] = HandlerThreads(subscription)

    def resend(self, session: _Session, delivery: AmqpDelivery, verdict: Verdict) -> None:
        if verdict.kind is VerdictKind.RETRY:
            message = retry_message(self._topology, delivery, verdict)
        else:
            message = dead_message(delivery, verdict)
        self._send(message, lambda confirmed: session.moved(delivery, verdict, confirmed))

    # The connection's thread.

    def opened(self, connection: FramedConnection) -> None:
        if not self._stopping:
            connection.channel(on_open_callback=lambda channel: self._consume(connection, channel))

    def _consume(self, connection: FramedConnection, channel: Any) -> None:
        session = _Session(self, connection, channel)
        self._session = session
        connection.reader.sink_deliveries(channel.channel_number, session)
        channel.add_on_close_callback(lambda _, reason: self._channel_closed(connection, session, reason))
        channel.add_on_cancel_callback(lambda _: self._cancelled_by_broker(channel))
        channel.basic_qos(prefetch_count=self.subscription.prefetch)
        channel.basic_consume(self._topology.on_broker(self.subscription.queue), _unused, consumer_tag="c")

    def _cancelled_by_broker(self, channel: Any) -> None:
        log.error("consumer_cancelled_by_broker", queue=self.subscription.queue)
        if channel.is_open:
            channel.close()

    def _channel_closed(self, connection: FramedConnection, session: _Session, reason: BaseException) -> None:
        connection.reader.forget_channel(session.channel.channel_number)
        session.end()
        self._handlers.take_back()
        self._cancelled = self._stopping
        if connection.is_open and not self._stopping:
            log.error(
                "consumer_channel_closed",
                queue=self.subscription.queue,
                code=getattr(reason, "reply_code", 0),
            )
            self.io.later(_SEND_AGAIN_S, lambda: self._reopen(connection))

    def _reopen(self, connection: FramedConnection) -> None:
        if connection.is_open:
            self.opened(connection)

    def lost(self) -> None:
        if self._session is not None:
            self._session.end()
        self._session = None
        self._cancelled = self._stopping
        self._handlers.take_back()

    def blocked(self, is_blocked: bool) -> None:
        """Acknowledgements pass a blocked connection; nothing to do."""

    def arrived(self, deliveries: list[AmqpDelivery]) -> None:
        self._handlers.put(deliveries)

    # Stopping, from any thread.

    def stop(self) -> None:
        """Cancel the consumer; what has been delivered is still handled."""
        self._stopping = True
        self._handlers.stop()
        self.io.call(self._cancel)

    def _cancel(self) -> None:
        session = self._session
        if session is None or not session.channel.is_open:
            self._cancelled = True
        else:
            session.channel.basic_cancel("c", callback=self._cancel_ok)

    def _cancel_ok(self, _frame: object) -> None:
        self._cancelled = True

    def idle(self) -> bool:
        """Whether nothing more will come and everything that came is settled with the broker."""
        session = self._session
        return self._cancelled and (session is None or session.idle)

    def close(self) -> None:
        """Let the handler threads end."""
        self._handlers.close()


def _unused(*_: object) -> None:
    """Deliveries reach the session by the connection's sink; pika insists on a callback."""
