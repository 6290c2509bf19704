"""The client of every series: one connection that publishes requests and counts each reply exactly once.

Saturated, it keeps at most `WINDOW` publishes unconfirmed; paced, it publishes at a steady rate. The latency of a
request is the moment its reply arrived less the moment it was published: one process, one clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pika

from bench.measure import percentile

WINDOW = 256
PREFETCH = 500
STALLED_S = 30.0
ACK_EVERY_S = 0.02
LINGER_S = 0.3


class Stalled(Exception):
    """No reply came for a long time, or a process of the series ended."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message to publish; `key` is what its reply is recognised by."""

    key: str
    body: bytes
    properties: pika.BasicProperties


class Conversation(Protocol):
    """How a series is spoken to."""

    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def reply_queue(self) -> str: ...

    def request(self, number: int) -> Request:
        """The request with this number; numbers never repeat within a series."""
        ...

    def reply_key(self, properties: pika.BasicProperties, body: bytes) -> str:
        """The key of the request that a reply belongs to; ValueError when the reply is not the expected success."""
        ...


@dataclass(slots=True)
class Tally:
    """What a drive saw; latencies in milliseconds by request key, in the order of arrival."""

    expected: int
    published: int = 0
    confirmed: int = 0
    seconds: float = 0.0
    latencies_ms: dict[str, float] = field(default_factory=dict)
    duplicates: int = 0
    strays: int = 0
    refused: int = 0
    nacked: int = 0
    returned: int = 0

    @property
    def missing(self) -> int:
        return self.expected - len(self.latencies_ms)

    @property
    def faults(self) -> dict[str, int]:
        """Everything that must be zero for the figures to count."""
        names = ("missing", "duplicates", "strays", "refused", "nacked", "returned")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def summary(self) -> dict[str, float]:
        """Flows per second and latency percentiles."""
        latencies = list(self.latencies_ms.values())
        return {
            "flows_s": round(len(latencies) / self.seconds, 1),
            "p50_ms": round(percentile(latencies, 0.50), 2),
            "p95_ms": round(percentile(latencies, 0.95), 2),
            "p99_ms": round(percentile(latencies, 0.99), 2),
            "max_ms": round(max(latencies), 2),
        }


class Driver:
    """Publishes `count` requests, waits for every reply, and is then used up."""

    def __init__(
        self,
        broker_url: str,
        conversation: Conversation,
        *,
        first: int,
        count: int,
        rate_s: float | None = None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._conversation = conversation
        self._rate_s = rate_s
        self._alive = alive
        # Made beforehand, so that making messages costs the measured interval nothing.
        self._requests = [conversation.request(number) for number in range(first, first + count)]
        self._tally = Tally(expected=count)
        self._open: dict[str, float] = {}
        self._began = self._last_reply = self._last_progress = 0.0
        self._tag_seen = self._tag_acked = 0
        self._failure: Exception | None = None
        self._refusal = ""
        self._connection = pika.SelectConnection(
            pika.URLParameters(broker_url),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._closed,
        )
        self._publisher: Any = None
        self._consumer: Any = None

    def run(self) -> Tally:
        """Publish and wait; Stalled when the series no longer answers, AMQPError when the connection breaks."""
        self._connection.ioloop.start()
        if self._failure:
            raise self._failure
        self._tally.seconds = self._last_reply - self._began
        return self._tally

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._consumer_opened)

    def _failed(self, _connection: Any, error: Any) -> None:
        self._failure = error if isinstance(error, Exception) else Stalled(str(error))
        self._connection.ioloop.stop()

    def _closed(self, _connection: Any, reason: Exception) -> None:
        if self._tally.missing and not self._failure:
            self._failure = reason
        self._connection.ioloop.stop()

    def _consumer_opened(self, channel: Any) -> None:
        self._consumer = channel
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(
            self._conversation.reply_queue,
            self._replied,
            callback=lambda _frame: self._connection.channel(on_open_callback=self._publisher_opened),
        )

    def _publisher_opened(self, channel: Any) -> None:
        self._publisher = channel
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._begin())

    def _begin(self) -> None:
        self._began = self._last_progress = time.monotonic()
        self._watch()
        if self._rate_s:
            self._tick()
        else:
            self._fill()

    def _watch(self) -> None:
        if not self._connection.is_open:
            return
        if not self._alive():
            self._give_up("a process of the series ended")
        elif time.monotonic() - self._last_progress > STALLED_S:
            self._give_up(f"of {self._tally.expected} requests: {self._tally.faults} {self._refusal}")
        else:
            self._connection.ioloop.call_later(0.5, self._watch)

    def _give_up(self, reason: str) -> None:
        self._failure = Stalled(reason)
        self._connection.close()

    def _publish_next(self) -> None:
        request = self._requests[self._tally.published]
        self._open[request.key] = time.monotonic()
        self._publisher.basic_publish(
            self._conversation.exchange,
            self._conversation.routing_key,
            request.body,
            request.properties,
            mandatory=True,
        )
        self._tally.published += 1

    def _fill(self) -> None:
        while self._unpublished and self._tally.published - self._tally.confirmed < WINDOW:
            self._publish_next()

    def _tick(self) -> None:
        assert self._rate_s
        self._publish_next()
        if self._unpublished:
            due = self._began + self._tally.published / self._rate_s
            self._connection.ioloop.call_later(max(0.0, due - time.monotonic()), self._tick)

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        settled = method.delivery_tag - self._tally.confirmed if method.multiple else 1
        self._tally.confirmed += settled
        if method.NAME == "Basic.Nack":
            self._tally.nacked += settled
        if not self._rate_s:
            self._fill()

    def _returned(self, _channel: Any, _method: Any, _properties: Any, _body: bytes) -> None:
        self._tally.returned += 1

    def _replied(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        now = time.monotonic()
        self._acknowledge_soon(method.delivery_tag)
        try:
            key = self._conversation.reply_key(properties, body)
        except ValueError as refusal:
            self._tally.refused += 1
            self._refusal = self._refusal or str(refusal)[:500]
            return
        self._count(key, now)

    def _count(self, key: str, now: float) -> None:
        published = self._open.pop(key, None)
        if published is None:
            answered = key in self._tally.latencies_ms
            self._tally.duplicates += answered
            self._tally.strays += not answered
            return
        self._tally.latencies_ms[key] = (now - published) * 1000
        self._last_reply = self._last_progress = now
        if not self._tally.missing:
            # A second reply to the last requests would be counted here.
            self._connection.ioloop.call_later(LINGER_S, self._finish)

    def _acknowledge_soon(self, tag: int) -> None:
        if self._tag_seen == self._tag_acked:
            self._connection.ioloop.call_later(ACK_EVERY_S, self._acknowledge)
        self._tag_seen = tag

    def _acknowledge(self) -> None:
        if self._consumer.is_open and self._tag_seen > self._tag_acked:
            self._tag_acked = self._tag_seen
            self._consumer.basic_ack(self._tag_seen, multiple=True)

    def _finish(self) -> None:
        self._acknowledge()
        self._connection.close()

    @property
    def _unpublished(self) -> int:
        return self._tally.expected - self._tally.published
