"""Our frames against pika's own codec."""

from __future__ import annotations

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame as amqp_frame
from pika import spec
from pika.exceptions import InvalidFrameError

from hub.broker.transport import OutboundMessage
from hub.broker.wire import FrameReader, PublishFrames, decode_deliver, decode_properties, encode_ack

CHANNEL = 7
FRAME_MAX = 4096
short = st.text(max_size=60)
headers = st.dictionaries(st.text(min_size=1, max_size=20), short, max_size=4)


def decoded(frames: bytes) -> list[amqp_frame.Frame]:
    found = []
    while frames:
        used, value = amqp_frame.decode_frame(frames)
        assert used > 0
        found.append(value)
        frames = frames[used:]
    return found


@given(
    st.builds(
        OutboundMessage,
        message_id=short,
        exchange=short,
        routing_key=short,
        body=st.binary(max_size=9_000),
        type=short,
        correlation_id=short,
        content_type=short,
        headers=headers,
    )
)
def test_pika_reads_what_we_publish(message: OutboundMessage) -> None:
    method, header, *pieces = decoded(PublishFrames(CHANNEL, FRAME_MAX).encode(message, 1_700_000_000))

    assert (method.method.exchange, method.method.routing_key) == (message.exchange, message.routing_key)
    assert method.method.mandatory
    assert {one.channel_number for one in (method, header, *pieces)} == {CHANNEL}
    properties = header.properties
    for name in ("message_id", "type", "correlation_id", "content_type"):
        assert (getattr(properties, name) or "") == getattr(message, name)
    assert (properties.headers or {}) == message.headers
    assert (properties.delivery_mode, properties.timestamp) == (2, 1_700_000_000)
    assert header.body_size == len(message.body)
    assert b"".join(piece.fragment for piece in pieces) == message.body
    assert all(len(piece.marshal()) <= FRAME_MAX for piece in pieces)


@given(
    st.builds(
        pika.BasicProperties,
        content_type=st.none() | short,
        content_encoding=st.none() | short,
        headers=st.none() | headers,
        delivery_mode=st.none() | st.sampled_from([1, 2]),
        priority=st.none() | st.integers(0, 9),
        correlation_id=st.none() | short,
        reply_to=st.none() | short,
        expiration=st.none() | short,
        message_id=st.none() | short,
        timestamp=st.none() | st.integers(0, 2**40),
        type=st.none() | short,
        user_id=st.none() | short,
        app_id=st.none() | short,
    )
)
def test_we_read_the_properties_that_pika_writes(properties: pika.BasicProperties) -> None:
    found = decode_properties(b"".join(properties.encode()))

    for name in ("content_type", "headers", "correlation_id", "reply_to", "message_id", "type", "user_id", "app_id"):
        assert found.get(name) == getattr(properties, name), name


@given(tag=st.integers(1, 2**63 - 1), multiple=st.booleans())
def test_pika_reads_our_acknowledgement(tag: int, multiple: bool) -> None:
    [ack] = decoded(encode_ack(CHANNEL, tag, multiple))

    assert isinstance(ack.method, spec.Basic.Ack)
    assert (ack.channel_number, ack.method.delivery_tag, bool(ack.method.multiple)) == (CHANNEL, tag, multiple)


class Recorder:
    """Both sinks, and whatever else comes."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[int, bool, str, str, str, bytes]] = []
        self.confirms: list[tuple[int, bool, bool]] = []
        self.others: list[bytes] = []

    def on_delivery(self, method: bytes, properties: bytes, body: bytes) -> None:
        message_id = decode_properties(properties).get("message_id", "")
        self.deliveries.append((*decode_deliver(method), message_id, body))

    def on_read_end(self) -> None:
        """Nothing waits here."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        self.confirms.append((tag, multiple, ok))


def a_delivery(tag: int, body: bytes, channel: int = CHANNEL) -> bytes:
    method = spec.Basic.Deliver("c", tag, tag % 2 == 0, "in.H1", "settlement.settle")
    frames = amqp_frame.Method(channel, method).marshal()
    frames += amqp_frame.Header(channel, len(body), pika.BasicProperties(message_id=f"m-{tag}")).marshal()
    for start in range(0, len(body), 50):
        frames += amqp_frame.Body(channel, body[start : start + 50]).marshal()
    return frames


@given(bodies=st.lists(st.binary(max_size=200), max_size=5), cut=st.integers(1, 300))
def test_deliveries_are_read_however_the_stream_is_cut(bodies: list[bytes], cut: int) -> None:
    recorder = Recorder()
    reader = FrameReader(recorder.others.append)
    reader.sink_deliveries(CHANNEL, recorder)
    reader.sink_confirms(2, recorder)
    heartbeat = amqp_frame.Heartbeat().marshal()
    confirm = amqp_frame.Method(2, spec.Basic.Ack(9, True)).marshal()
    refusal = amqp_frame.Method(2, spec.Basic.Nack(10, False)).marshal()
    stream = b"".join(a_delivery(tag, body) + heartbeat for tag, body in enumerate(bodies)) + confirm + refusal

    for start in range(0, len(stream), cut):
        reader.feed(stream[start : start + cut])

    assert recorder.deliveries == [
        (tag, tag % 2 == 0, "in.H1", "settlement.settle", f"m-{tag}", body) for tag, body in enumerate(bodies)
    ]
    assert recorder.others == [heartbeat] * len(bodies)
    assert recorder.confirms == [(9, True, True), (10, False, False)]


def test_frames_of_other_channels_and_other_methods_stay_pikas() -> None:
    recorder = Recorder()
    reader = FrameReader(recorder.others.append)
    reader.sink_deliveries(CHANNEL, recorder)
    cancel = amqp_frame.Method(CHANNEL, spec.Basic.Cancel("c")).marshal()

    reader.feed(cancel + a_delivery(1, b"x", channel=8))

    assert len(recorder.others) == 4
    assert recorder.deliveries == []


def test_a_server_of_another_protocol_version_is_pikas_to_refuse() -> None:
    others: list[bytes] = []

    FrameReader(others.append).feed(b"AMQP\x00\x00\x09\x01")

    assert others == [b"AMQP\x00\x00\x09\x01"]


def test_a_broken_frame_is_refused() -> None:
    broken = bytearray(amqp_frame.Heartbeat().marshal())
    broken[-1] = 0

    with pytest.raises(InvalidFrameError):
        FrameReader(lambda raw: None).feed(bytes(broken))


def test_an_identifier_amqp_cannot_hold_is_refused() -> None:
    message = OutboundMessage("m", "x", "k" * 256, b"")

    with pytest.raises(ValueError, match="255 bytes"):
        PublishFrames(CHANNEL, FRAME_MAX).encode(message, 0)
