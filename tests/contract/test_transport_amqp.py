"""What only RabbitMQ can do to us: die, freeze, cut, refuse, and be written to by strangers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pika
import pytest
from structlog.testing import capture_logs

from hub.broker import declare
from hub.broker.amqp import AmqpTransport
from hub.broker.io_thread import ConnectionSettings, IoThread, split_urls
from hub.broker.topology import INTAKE, in_exchange
from hub.broker.transport import ACK, Delivery
from tests.contract.transports import (
    WORK,
    AmqpWorld,
    Received,
    a_message,
    dead_letters,
    outbox_ids,
    remove_confirmed,
    send,
    subscribed,
    sweep,
)
from tests.support.eventually import eventually
from tests.support.servers import RabbitServer, fresh_vhost


@pytest.fixture
def world(rabbitmq_url: str, database_url: str) -> Iterator[AmqpWorld]:
    made = AmqpWorld(rabbitmq_url, database_url)
    yield made
    made.close()


@pytest.fixture
def breakable_world(breakable_rabbitmq_url: str, database_url: str) -> Iterator[AmqpWorld]:
    made = AmqpWorld(breakable_rabbitmq_url, database_url)
    yield made
    made.close()


def a_stranger(url: str, exchange: str, routing_key: str, body: bytes, **properties: object) -> None:
    """Publish as any client would, without confirms or the mandatory flag."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties))
    connection.close()


def test_a_broker_killed_in_the_middle_of_traffic_loses_no_message(
    breakable_world: AmqpWorld, breakable_rabbitmq: RabbitServer
) -> None:
    world = breakable_world
    transport, received = world.process(), Received()
    subscribed(transport, received)
    sent = send(world, transport, *[a_message() for _ in range(200)])
    eventually(lambda: len(received.deliveries) > 50)

    breakable_rabbitmq.kill()
    sent += send(world, transport, *[a_message() for _ in range(200)])
    breakable_rabbitmq.start()

    def all_published() -> bool:
        sweep(world, transport)
        return not outbox_ids(world)

    eventually(all_published, within_s=60)
    eventually(lambda: {one.message_id for one in sent} <= set(received.ids()), within_s=90)


def test_a_frozen_broker_is_given_up_and_the_rows_are_published_again(
    breakable_world: AmqpWorld, breakable_rabbitmq: RabbitServer
) -> None:
    world = breakable_world
    transport, received = world.process(confirm_deadline_s=1.0), Received()
    subscribed(transport, received)
    eventually(transport.healthy)

    breakable_rabbitmq.pause()
    sent = send(world, transport, *[a_message() for _ in range(20)])
    try:
        eventually(lambda: not transport.healthy(), within_s=90)
    finally:
        breakable_rabbitmq.resume()

    def all_published() -> bool:
        sweep(world, transport)
        return not outbox_ids(world)

    eventually(all_published, within_s=60)
    eventually(lambda: {one.message_id for one in sent} <= set(received.ids()), within_s=90)


def test_heartbeats_survive_a_slow_handler(world: AmqpWorld) -> None:
    transport = world.process(heartbeat_s=2)
    released = threading.Event()

    def slow(batch: Sequence[Delivery]) -> None:
        released.wait(8)
        for delivery in batch:
            delivery.settle(ACK)

    received = Received(then=slow)
    subscribed(transport, received)

    send(world, transport, a_message())

    eventually(lambda: received.deliveries)
    assert transport.stop_consuming(15)
    assert [delivery.attempt for delivery in received.deliveries] == [1]
    assert transport.healthy()


def test_a_strangers_message_settles_like_any_other(world: AmqpWorld) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received, queue=INTAKE)

    a_stranger(
        world.url,
        in_exchange("H1"),
        "settlement.settle",
        b"{}",
        message_id="his-1",
        correlation_id="visit-1",
        reply_to="out.H1",
        type="settlement.settle",
        content_type="application/json",
        headers={"traceparent": "00-1", "count": 3, "nested": {"a": [1, "b"]}},
        timestamp=1,
        priority=3,
        app_id="HIS",
    )

    [delivery] = eventually(lambda: received.deliveries)
    assert (delivery.message_id, delivery.correlation_id, delivery.reply_to) == ("his-1", "visit-1", "out.H1")
    assert (delivery.type, delivery.exchange) == ("settlement.settle", "in.H1")
    assert dict(delivery.headers) == {"traceparent": "00-1"}


def test_a_message_for_no_transaction_is_recorded(world: AmqpWorld) -> None:
    transport = world.process()
    world.watch_the_dead(transport)

    a_stranger(world.url, in_exchange("H1"), "settlement.setle", b"misspelt", message_id="his-2")

    [letter] = eventually(lambda: dead_letters(world))
    assert (letter["cause"], letter["message_id"]) == ("message.unroutable", "his-2")
    assert (letter["exchange"], letter["routing_key"]) == ("in.H1", "settlement.setle")


def test_nobody_can_pretend_to_come_from_the_retry_queues(world: AmqpWorld) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(world.url))
    channel = connection.channel()
    channel.confirm_delivery()

    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="internal"):
        channel.basic_publish("back", INTAKE, b"{}", pika.BasicProperties(headers={"x-hub-exchange": "in.H1"}))
    connection.close()


def test_a_message_that_kills_its_consumers_ends_among_the_dead(world: AmqpWorld) -> None:
    send(world, world.process(), a_message(message_id="m-killer"))
    for deaths in range(1, 6):
        victim, held = world.process(), Received(then=lambda batch: None)
        subscribed(victim, held)
        [delivery] = eventually(lambda held=held: held.deliveries)
        assert delivery.attempt == deaths
        world.crash(victim)
    survivor, spared = world.process(), Received()
    world.watch_the_dead(survivor)

    subscribed(survivor, spared)

    [letter] = eventually(lambda: dead_letters(world))
    assert letter["cause"] == "delivery.limit"
    assert (letter["message_id"], letter["source_queue"], letter["attempt"]) == ("m-killer", WORK, 6)
    assert (letter["exchange"], letter["routing_key"]) == ("cmd", WORK)
    assert spared.deliveries == []


def test_an_exchange_that_is_gone_costs_only_its_own_messages(world: AmqpWorld) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)
    connection = pika.BlockingConnection(pika.URLParameters(world.url))
    connection.channel().exchange_delete("out")
    connection.close()

    [lost] = send(world, transport, a_message(exchange="out", routing_key="out.H1"))
    sent = send(world, transport, *[a_message() for _ in range(5)])

    def only_the_lost_one_is_left() -> bool:
        sweep(world, transport)
        return outbox_ids(world) == {lost.outbox_id}

    eventually(only_the_lost_one_is_left, within_s=90)
    assert {one.message_id for one in sent} <= set(received.ids())


def test_a_message_no_frame_can_hold_is_left_in_the_outbox(world: AmqpWorld) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)

    [impossible, _] = send(world, transport, a_message(correlation_id="c" * 256), a_message())

    eventually(lambda: len(received.deliveries) == 1)
    eventually(lambda: [remove_confirmed(world, transport)] and outbox_ids(world) == {impossible.outbox_id})


def test_a_consumer_comes_back_after_its_queue_was_deleted_and_declared_again(world: AmqpWorld) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)
    # Whoever deletes the queue before the consumer is there sees another refusal than the one meant here.
    [first] = send(world, transport, a_message())
    eventually(lambda: first.message_id in received.ids())
    connection = pika.BlockingConnection(pika.URLParameters(world.url))
    channel = connection.channel()
    [queue] = [one for one in world.topology.queues if one.name == WORK]
    name = world.topology.on_broker(WORK)

    with capture_logs() as events:
        channel.queue_delete(name)
        eventually(lambda: "consumer_cancelled_by_broker" in [one["event"] for one in events])
    channel.queue_declare(name, durable=True, arguments=dict(queue.arguments))
    channel.queue_bind(name, "cmd", WORK)
    connection.close()
    [second] = send(world, transport, a_message())

    eventually(lambda: second.message_id in received.ids())


def test_the_two_links_may_be_two_vhosts(world: AmqpWorld, rabbitmq_server: RabbitServer) -> None:
    with fresh_vhost(rabbitmq_server) as edge_url:
        assert declare.apply(world.topology, world.url, edge_url).ok
        transport = AmqpTransport(world.topology, world.url, edge_url)
        assert transport.start()
        received = Received()
        for queue in (WORK, "out.H1", "dead"):
            subscribed(transport, received, queue=queue)

        stored = send(world, transport, a_message(), a_message(exchange="out", routing_key="out.H1"))

        eventually(lambda: {one.message_id for one in stored} <= set(received.ids()))
        eventually(lambda: [remove_confirmed(world, transport)] and not outbox_ids(world))
        transport.close()


class FailsOnce:
    """Lives on a connection and has a bug that shows once."""

    def __init__(self) -> None:
        self.openings = 0
        self.losses = 0

    def opened(self, connection: object) -> None:
        self.openings += 1
        if self.openings == 1:
            raise KeyError("bug")

    def lost(self) -> None:
        self.losses += 1

    def blocked(self, is_blocked: bool) -> None:
        """Not of interest here."""


def test_a_bug_on_the_connections_thread_costs_one_connection(rabbitmq_url: str) -> None:
    user = FailsOnce()
    io = IoThread(ConnectionSettings(split_urls(rabbitmq_url)), [user])

    io.start()

    eventually(lambda: user.openings == 2, within_s=90)
    assert user.losses == 1
    eventually(io.is_open)
    io.close()
    assert not io.is_open()


def test_the_next_host_is_tried_when_one_is_away(rabbitmq_url: str) -> None:
    user = FailsOnce()
    user.openings = 1
    io = IoThread(ConnectionSettings(split_urls(f"amqp://127.0.0.1:1/,{rabbitmq_url}")), [user])

    io.start()

    assert io.wait_open(10)
    io.close()


def test_a_hint_reaches_another_process(world: AmqpWorld) -> None:
    speaker, listener = world.process(), world.process()
    heard: list[str] = []
    listener.on_hint("gateway.1", heard.append)

    def heard_both() -> bool:
        speaker.hint("gateway.1", "case-1")
        speaker.hint("gateway.1", "case-2")
        return {"case-1", "case-2"} <= set(heard)

    eventually(heard_both)


def test_closing_without_a_start_is_harmless(world: AmqpWorld) -> None:
    transport = AmqpTransport(world.topology, world.url)

    transport.close()

    assert not transport.healthy()
