"""Publishing with pipelined confirms: many messages in flight, nobody waits for one.

A message counts as published when the broker has confirmed it and not returned it. Anything else, a lost
connection, a nack, a return, no answer within the deadline, means only that its outbox row stays; the sweep
sends it again under the same message id.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from hub.broker.errors import described
from hub.broker.io_thread import IoThread
from hub.broker.transport import OutboundMessage
from hub.broker.wire import FramedConnection, PublishFrames
from hub.failpoints import failpoint

log = structlog.get_logger(__name__)

Done = Callable[[bool], None]
_Entry = tuple[OutboundMessage, "Done | None"]

_WINDOW_MAX = 1_000
_WAITING_MAX = 20_000
_DEADLINE_S = 10.0
_WATCH_S = 1.0
_MISSING_S = 30.0
_NO_EXCHANGE = re.compile("no exchange '([^']*)'")


class Publisher:
    """The publishing side of one connection. `publish`, `send` and `take_confirmed` may be used by any thread."""

    def __init__(self, deadline_s: float = _DEADLINE_S, window_max: int = _WINDOW_MAX) -> None:
        self._deadline_s = deadline_s
        self._window_max = window_max
        self._io: IoThread | None = None
        self._connection: FramedConnection | None = None
        self._channel: Any = None
        self._frames: PublishFrames | None = None
        self._waiting: deque[_Entry] = deque()
        self._confirmed: deque[int] = deque()
        self._scheduled = False
        self._ready = threading.Event()
        self._blocked = False
        self._tag = 0
        self._oldest_tag = 1
        self._in_flight: dict[int, _Entry] = {}
        self._bursts: deque[tuple[int, float]] = deque()
        self._returned: set[str] = set()
        self._missing: dict[str, float] = {}

    def bind(self, io: IoThread) -> None:
        self._io = io

    @property
    def ready(self) -> bool:
        return self._ready.is_set() and not self._blocked

    def is_quiet(self) -> bool:
        """Whether nothing waits for the broker's word."""
        return not self._waiting and not self._in_flight

    def wait_ready(self, timeout_s: float) -> bool:
        return self._ready.wait(timeout_s)

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Send committed outbox rows soon. Without a connection they are left to the sweep."""
        if len(self._waiting) + len(messages) > _WAITING_MAX or not self._ready.is_set():
            log.warning("publish_left_to_sweep", messages=len(messages), waiting=len(self._waiting))
            return
        self._waiting.extend([(message, None) for message in messages])
        self._schedule()

    def send(self, message: OutboundMessage, done: Done) -> None:
        """Send one message of the consumer itself; `done(confirmed)` follows on the connection's thread."""
        self._waiting.append((message, done))
        self._schedule()

    def take_confirmed(self) -> list[int]:
        confirmed = self._confirmed
        return [confirmed.popleft() for _ in range(len(confirmed))]

    def _schedule(self) -> None:
        if not self._scheduled and self._io is not None:
            self._scheduled = True
            self._io.call(self._drain)

    # Everything below runs on the connection's thread.

    def opened(self, connection: FramedConnection) -> None:
        self._connection = connection
        connection.channel(on_open_callback=self._channel_open)

    def _channel_open(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._ignore_confirm, callback=self._confirms_on)

    @staticmethod
    def _ignore_confirm(_frame: object) -> None:
        """Confirms reach `on_confirm` by the connection's sink; pika insists on a callback."""

    def _confirms_on(self, _frame: object) -> None:
        if self._connection is None or self._io is None:
            return
        self._tag, self._oldest_tag = 0, 1
        number = self._channel.channel_number
        self._frames = PublishFrames(number, self._connection.frame_max_bytes())
        self._connection.reader.sink_confirms(number, self)
        self._ready.set()
        self._watch(self._channel)
        self._drain()

    def _channel_closed(self, channel: Any, reason: BaseException) -> None:
        if self._connection is None or channel is not self._channel or not self._connection.is_open:
            return
        # An exchange that is not there closes the channel with everything in flight on it.
        log.error("publish_channel_closed", error=type(reason).__name__, code=getattr(reason, "reply_code", 0))
        missing = _NO_EXCHANGE.search(str(getattr(reason, "reply_text", "")))
        if missing:
            self._missing[missing[1]] = time.monotonic() + _MISSING_S
        connection = self._connection
        connection.reader.forget_channel(channel.channel_number)
        self._fail_in_flight()
        self._ready.clear()
        if self._io is not None:
            self._io.later(1.0, lambda: self._reopen(connection))

    def _reopen(self, connection: FramedConnection) -> None:
        if connection is self._connection and connection.is_open:
            connection.channel(on_open_callback=self._channel_open)

    def lost(self) -> None:
        self._connection, self._channel, self._frames = None, None, None
        self._ready.clear()
        self._blocked = False
        self._fail_in_flight()

    def blocked(self, is_blocked: bool) -> None:
        self._blocked = is_blocked
        if not is_blocked:
            self._drain()

    def _fail_in_flight(self) -> None:
        unknown = [*self._in_flight.values(), *self._waiting]
        self._waiting.clear()
        self._in_flight.clear()
        self._bursts.clear()
        self._returned.clear()
        if unknown:
            log.warning("publish_outcome_unknown", messages=len(unknown))
        for _, done in unknown:
            if done is not None:
                done(False)

    def _drain(self) -> None:
        self._scheduled = False
        if not self._ready.is_set():
            self._refuse_waiting()
            return
        if self._blocked or self._frames is None or self._connection is None:
            return
        room = self._window_max - len(self._in_flight)
        count = min(room, len(self._waiting))
        if count <= 0:
            return
        now_s = int(time.time())
        frames = b"".join([self._encode(*self._waiting.popleft(), now_s) for _ in range(count)])
        if frames:
            self._bursts.append((self._tag, time.monotonic()))
            failpoint("publish.before_send")
            self._connection.send(frames)
            failpoint("publish.after_send")

    def _refuse_waiting(self) -> None:
        for _ in range(len(self._waiting)):
            _, done = self._waiting.popleft()
            if done is not None:
                done(False)

    def _encode(self, message: OutboundMessage, done: Done | None, now_s: int) -> bytes:
        assert self._frames is not None
        if self._missing and self._is_missing(message.exchange):
            if done is not None:
                done(False)
            return b""
        try:
            frames = self._frames.encode(message, now_s)
        except ValueError as error:
            # It would be as wrong the next time: the row stays and people are told.
            log.error("publish_impossible", message_id=message.message_id, **described(error))  # noqa: TRY400
            if done is not None:
                done(False)
            return b""
        self._tag += 1
        self._in_flight[self._tag] = (message, done)
        return frames

    def _is_missing(self, exchange: str) -> bool:
        """Whether publishing there would close the channel again under everybody's messages."""
        until = self._missing.get(exchange)
        if until is not None and time.monotonic() > until:
            del self._missing[exchange]
            return False
        return until is not None

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        failpoint("confirm.before_note")
        pop = self._in_flight.pop
        if not multiple:
            self._settle(pop(tag, None), ok)
        else:
            for one in range(self._oldest_tag, tag + 1):
                self._settle(pop(one, None), ok)
        while self._oldest_tag <= self._tag and self._oldest_tag not in self._in_flight:
            self._oldest_tag += 1
        while self._bursts and self._bursts[0][0] < self._oldest_tag:
            self._bursts.popleft()
        if self._waiting and len(self._in_flight) <= self._window_max // 2:
            self._drain()

    def _settle(self, entry: _Entry | None, ok: bool) -> None:
        if entry is None:
            return
        message, done = entry
        if self._returned and message.message_id in self._returned:
            self._returned.discard(message.message_id)
            ok = False
        elif not ok:
            log.error("publish_refused", message_id=message.message_id, exchange=message.exchange)
        if done is not None:
            done(ok)
        elif ok and message.outbox_id:
            self._confirmed.append(message.outbox_id)

    def _on_return(self, _channel: object, method: Any, properties: Any, _body: bytes) -> None:
        # The return comes before the confirm of the same message.
        self._returned.add(properties.message_id or "")
        log.error(
            "publish_unroutable",
            message_id=properties.message_id,
            exchange=method.exchange,
            routing_key=method.routing_key,
        )

    def _watch(self, channel: object) -> None:
        """Give up a connection on which the oldest burst has waited too long for its confirms."""
        if channel is not self._channel or not self._ready.is_set() or self._io is None:
            return
        if self._bursts and time.monotonic() - self._bursts[0][1] > self._deadline_s:
            self._io.abort("confirm deadline")
            return
        self._io.later(_WATCH_S, lambda: self._watch(channel))
