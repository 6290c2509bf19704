"""AMQP 0-9-1 on the hot path: publish, deliver and ack frames without pika's intermediate objects.

pika builds three objects and three system calls for a message it sends and three more objects for one it
receives; that is most of what a message costs this process. Connection set-up, channels, heartbeats and every
other method stay pika's. `FramedConnection` replaces a few of its internal hooks, which is why the project
pins pika below 1.5 and why the contract suite runs against a real broker.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pika
from pika import data as amqp_data
from pika import frame as amqp_frame
from pika.exceptions import InvalidFrameError

from hub.broker.transport import OutboundMessage

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAME_END = 0xCE
_END = b"\xce"
_PUBLISH, _DELIVER, _ACK, _NACK = 0x003C0028, 0x003C003C, 0x003C0050, 0x003C0078

_KINDS = frozenset((_METHOD, _HEADER, _BODY, _HEARTBEAT))

_frame_head = struct.Struct(">BHL")
_content_head = struct.Struct(">BHLHHQH")
_ack_frame = struct.Struct(">BHLLQBB")
_long, _longlong, _short = struct.Struct(">L"), struct.Struct(">Q"), struct.Struct(">H")

_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _MESSAGE_ID, _TIMESTAMP, _TYPE = 1 << 10, 1 << 7, 1 << 6, 1 << 5
_STRINGS_BEFORE_HEADERS = ((1 << 15, "content_type"), (1 << 14, "content_encoding"))
_STRINGS_AFTER_PRIORITY = (
    (_CORRELATION_ID, "correlation_id"),
    (1 << 9, "reply_to"),
    (1 << 8, "expiration"),
    (_MESSAGE_ID, "message_id"),
)
_STRINGS_AFTER_TIMESTAMP = ((_TYPE, "type"), (1 << 4, "user_id"), (1 << 3, "app_id"))

_PERSISTENT, _MANDATORY = b"\x02", b"\x01"
_RECEIVE_BYTES = 1 << 16
_OVERHEAD_BYTES = 8
_ROUTES_MAX = 4096


def _short_string(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError("an AMQP short string holds at most 255 bytes")
    return bytes((len(raw),)) + raw


class PublishFrames:
    """Encodes messages for one channel; the constant part of each route is made once."""

    def __init__(self, channel: int, frame_max: int) -> None:
        self._channel = channel
        self._piece = frame_max - _OVERHEAD_BYTES
        self._routes: dict[tuple[str, str], bytes] = {}

    def encode(self, message: OutboundMessage, now_s: int) -> bytes:
        """All frames of one message in one piece, to be published mandatory and persistent.

        ValueError: an identifier, header name or routing key is longer than AMQP allows.
        """
        route = self._routes.get((message.exchange, message.routing_key))
        if route is None:
            route = self._method(message.exchange, message.routing_key)
        properties = encode_properties(message, now_s)
        body = message.body
        size = len(body)
        head = _content_head.pack(
            _HEADER, self._channel, 12 + len(properties), 60, 0, size, _short.unpack_from(properties)[0]
        )
        if 0 < size <= self._piece:
            body_head = _frame_head.pack(_BODY, self._channel, size)
            return b"".join((route, head, properties[2:], _END, body_head, body, _END))
        return b"".join((route, head, properties[2:], _END, *self._pieces(body)))

    def _method(self, exchange: str, routing_key: str) -> bytes:
        if len(self._routes) >= _ROUTES_MAX:
            self._routes.clear()
        payload = _long.pack(_PUBLISH) + b"\0\0" + _short_string(exchange) + _short_string(routing_key) + _MANDATORY
        framed = _frame_head.pack(_METHOD, self._channel, len(payload)) + payload + _END
        self._routes[exchange, routing_key] = framed
        return framed

    def _pieces(self, body: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        for start in range(0, len(body), self._piece):
            piece = body[start : start + self._piece]
            pieces += (_frame_head.pack(_BODY, self._channel, len(piece)), piece, _END)
        return pieces


def encode_properties(message: OutboundMessage, now_s: int) -> bytes:
    """Property flags (two bytes) and the properties of a persistent message."""
    flags = _DELIVERY_MODE | _TIMESTAMP
    parts = [b""]
    if message.content_type:
        flags |= _CONTENT_TYPE
        parts.append(_short_string(message.content_type))
    if message.headers:
        flags |= _HEADERS
        parts.append(_encode_table(message.headers))
    parts.append(_PERSISTENT)
    if message.correlation_id:
        flags |= _CORRELATION_ID
        parts.append(_short_string(message.correlation_id))
    if message.message_id:
        flags |= _MESSAGE_ID
        parts.append(_short_string(message.message_id))
    parts.append(_longlong.pack(now_s))
    if message.type:
        flags |= _TYPE
        parts.append(_short_string(message.type))
    parts[0] = _short.pack(flags)
    return b"".join(parts)


def _encode_table(headers: Mapping[str, str]) -> bytes:
    parts: list[bytes] = []
    for key, value in headers.items():
        raw = value.encode()
        parts += (_short_string(key), b"S", _long.pack(len(raw)), raw)
    table = b"".join(parts)
    return _long.pack(len(table)) + table


def decode_properties(payload: bytes) -> dict[str, Any]:
    """Properties of a content header (its payload from the flags on) that are set; `headers` as a plain dict."""
    (flags,) = _short.unpack_from(payload)
    at = 2
    found: dict[str, Any] = {}
    at = _take_strings(payload, at, flags, _STRINGS_BEFORE_HEADERS, found)
    if flags & _HEADERS:
        found["headers"], at = amqp_data.decode_table(payload, at)
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & 1 << 11:
        at += 1
    at = _take_strings(payload, at, flags, _STRINGS_AFTER_PRIORITY, found)
    if flags & _TIMESTAMP:
        at += 8
    _take_strings(payload, at, flags, _STRINGS_AFTER_TIMESTAMP, found)
    return found


def _take_strings(
    payload: bytes, at: int, flags: int, fields: tuple[tuple[int, str], ...], found: dict[str, Any]
) -> int:
    for bit, name in fields:
        if flags & bit:
            end = at + 1 + payload[at]
            found[name] = payload[at + 1 : end].decode("utf-8", "replace")
            at = end
    return at


def encode_ack(channel: int, tag: int, multiple: bool) -> bytes:
    return _ack_frame.pack(_METHOD, channel, 13, _ACK, tag, multiple, _FRAME_END)


class ConfirmSink(Protocol):
    """Takes the broker's word on published messages."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None: ...


class DeliverySink(Protocol):
    """Takes deliveries: the method's payload, the content header's from its flags on, the body."""

    def on_delivery(self, method: bytes, properties: bytes, body: bytes) -> None: ...

    def on_read_end(self) -> None: ...


class _Assembly:
    """The delivery of a channel whose frames are still arriving."""

    __slots__ = ("_header", "_method", "_missing", "_pieces", "sink")

    def __init__(self, sink: DeliverySink) -> None:
        self.sink = sink
        self._method: bytes | None = None
        self._header = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Whether this frame belongs to a delivery."""
        if kind == _METHOD:
            if _long.unpack_from(data, start)[0] != _DELIVER:
                return False
            self._method = data[start + 4 : end]
            return True
        if self._method is None:
            return False
        if kind == _HEADER:
            self._header = data[start + 12 : end]
            (self._missing,) = _longlong.unpack_from(data, start + 4)
        else:
            self._pieces.append(data[start:end])
            self._missing -= end - start
        if self._missing == 0:
            method, pieces = self._method, self._pieces
            self._method, self._pieces = None, []
            self.sink.on_delivery(method, self._header, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return True


class FrameReader:
    """Cuts a byte stream into frames and hands confirms and deliveries to their sinks, all others to `generic`."""

    def __init__(self, generic: Callable[[bytes], None]) -> None:
        self._generic = generic
        self._confirms: dict[int, ConfirmSink] = {}
        self._assemblies: dict[int, _Assembly] = {}
        self._rest = b""

    def sink_confirms(self, channel: int, sink: ConfirmSink) -> None:
        self._confirms[channel] = sink

    def sink_deliveries(self, channel: int, sink: DeliverySink) -> None:
        self._assemblies[channel] = _Assembly(sink)

    def forget_channel(self, channel: int) -> None:
        self._confirms.pop(channel, None)
        self._assemblies.pop(channel, None)

    def feed(self, received: bytes) -> None:
        """Take what the socket gave, however it was cut. InvalidFrameError: this is not AMQP."""
        data = self._rest + received if self._rest else received
        length, at = len(data), 0
        while length - at >= _OVERHEAD_BYTES:
            kind, channel, size = _frame_head.unpack_from(data, at)
            if kind not in _KINDS:
                # The greeting of a server that wants another protocol is no frame.
                self._generic(data[at:])
                at = length
                break
            end = at + 7 + size
            if end >= length:
                break
            if data[end] != _FRAME_END:
                raise InvalidFrameError("Invalid FRAME_END marker")
            if not self._fast(kind, channel, data, at + 7, end):
                self._generic(data[at : end + 1])
            at = end + 1
        self._rest = data[at:]
        for assembly in list(self._assemblies.values()):
            assembly.sink.on_read_end()

    def _fast(self, kind: int, channel: int, data: bytes, start: int, end: int) -> bool:
        assembly = self._assemblies.get(channel)
        if assembly is not None:
            return assembly.take(kind, data, start, end)
        sink = self._confirms.get(channel)
        if sink is None or kind != _METHOD:
            return False
        (method,) = _long.unpack_from(data, start)
        if method not in (_ACK, _NACK):
            return False
        (tag,) = _longlong.unpack_from(data, start + 4)
        sink.on_confirm(tag, bool(data[start + 12] & 1), method == _ACK)
        return True


class FramedConnection(pika.SelectConnection):  # type: ignore[misc]  # pika 1.4 tells no types
    """A SelectConnection that hands confirms and deliveries straight to sinks and sends prepared frames."""

    def __init__(self, parameters: pika.connection.Parameters, **callbacks: Any) -> None:
        self.reader = FrameReader(self._process_raw)
        super().__init__(parameters, **callbacks)

    def frame_max_bytes(self) -> int:
        """What was negotiated with the broker."""
        return int(self.params.frame_max)

    def send(self, frames: bytes) -> None:
        """Write prepared frames; ignored when the connection is not open (its loss is reported elsewhere)."""
        if frames and self.is_open:
            self.bytes_sent += len(frames)
            self._adapter_emit_data(frames)

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = _RECEIVE_BYTES
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        # The heartbeat checker looks at this counter.
        self.bytes_received += len(data_in)
        self.reader.feed(data_in)

    def _process_raw(self, raw: bytes) -> None:
        _, value = amqp_frame.decode_frame(raw)
        if value is not None:
            self._process_frame(value)


def decode_deliver(method: bytes) -> tuple[int, bool, str, str]:
    """(delivery tag, redelivered, exchange, routing key) of a Basic.Deliver payload."""
    at = 1 + method[0]
    (tag,) = _longlong.unpack_from(method, at)
    redelivered = bool(method[at + 8] & 1)
    at += 9
    end = at + 1 + method[at]
    exchange = method[at + 1 : end].decode()
    return tag, redelivered, exchange, method[end + 1 : end + 1 + method[end]].decode("utf-8", "replace")
