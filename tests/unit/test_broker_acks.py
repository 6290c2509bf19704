"""How verdicts become acknowledgements: the unbroken run at once, the rest one by one, none twice."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from pika import frame as amqp_frame
from pika import spec

from hub.broker.consumer import AmqpDelivery, _Session
from hub.broker.transport import ACK, Subscription, Verdict, dead


class Broker:
    """Believes acknowledgements as RabbitMQ does: an unknown tag is an error."""

    channel_number = 1

    def __init__(self) -> None:
        self.unacked: set[int] = set()
        self.frames = 0

    def send(self, raw: bytes) -> None:
        while raw:
            used, value = amqp_frame.decode_frame(raw)
            self._ack(value.method.delivery_tag, value.method.multiple)
            raw = raw[used:]
            self.frames += 1

    def _ack(self, tag: int, multiple: bool) -> None:
        assert tag in self.unacked, "PRECONDITION_FAILED - unknown delivery tag"
        self.unacked -= {one for one in self.unacked if one <= tag} if multiple else {tag}


class Consumer:
    """The session's surroundings; `run` plays the connection's thread."""

    def __init__(self) -> None:
        self.subscription = Subscription("q", lambda batch: None)
        self.io = self
        self.deliveries_max = 5
        self.calls: list[Callable[[], None]] = []
        self.resent: list[tuple[AmqpDelivery, Verdict]] = []
        self.arrived_batches: list[list[AmqpDelivery]] = []

    def call(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()

    def resend(self, session: _Session, delivery: AmqpDelivery, verdict: Verdict) -> None:
        self.resent.append((delivery, verdict))

    def arrived(self, deliveries: list[AmqpDelivery]) -> None:
        self.arrived_batches.append(deliveries)


def a_session(count: int) -> tuple[_Session, Consumer, Broker, list[AmqpDelivery]]:
    consumer, broker = Consumer(), Broker()
    session = _Session(consumer, broker, broker)  # type: ignore[arg-type]
    for tag in range(1, count + 1):
        method = b"".join(spec.Basic.Deliver("c", tag, False, "x", "k").encode())
        session.on_delivery(method, b"\0\0", b"")
        broker.unacked.add(tag)
    session.on_read_end()
    return session, consumer, broker, [one for batch in consumer.arrived_batches for one in batch]


@given(order=st.permutations(range(20)), groups=st.lists(st.integers(1, 6), min_size=20, max_size=20))
def test_every_order_acknowledges_each_delivery_once(order: list[int], groups: list[int]) -> None:
    session, consumer, broker, deliveries = a_session(20)
    waiting = list(order)

    for size in groups:
        for index in waiting[:size]:
            deliveries[index].settle(ACK)
        settled = {deliveries[index].tag for index in waiting[:size]}
        waiting = waiting[size:]
        consumer.run()
        assert not settled & broker.unacked

    assert broker.unacked == set()
    assert session.idle


def test_a_batch_in_order_is_one_frame() -> None:
    _, consumer, broker, deliveries = a_session(100)

    for delivery in deliveries:
        delivery.settle(ACK)
    consumer.run()

    assert broker.frames == 1
    assert broker.unacked == set()


def test_a_dead_delivery_is_acknowledged_only_when_its_copy_is_safe() -> None:
    session, consumer, broker, [delivery] = a_session(1)

    delivery.settle(dead("bad"))
    delivery.settle(ACK)
    consumer.run()
    assert broker.unacked == {1}
    assert not session.idle

    session.moved(delivery, dead("bad"), confirmed=False)
    consumer.run()
    assert broker.unacked == {1}
    assert len(consumer.resent) == 2

    session.moved(delivery, dead("bad"), confirmed=True)
    consumer.run()
    assert broker.unacked == set()


def test_after_the_loss_of_the_connection_verdicts_are_void() -> None:
    session, consumer, broker, [delivery] = a_session(1)

    session.end()
    delivery.settle(ACK)
    session.moved(delivery, dead("bad"), confirmed=True)
    consumer.run()

    assert delivery.settled
    assert broker.frames == 0
    assert consumer.resent == []
