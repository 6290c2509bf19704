"""What only the outbox table can do: be shared by processes, be away, hold mail, keep a record of lapsed leases."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import text

from hub.broker.topology import OUT, out_queue
from hub.broker.transport import ACK, Delivery
from store import outbox
from tests.contract.transports import (
    WORK,
    EmbeddedWorld,
    Received,
    a_message,
    dead_letters,
    outbox_ids,
    send,
    subscribed,
)
from tests.support.eventually import eventually
from tests.support.servers import PostgresServer


@pytest.fixture
def world(database_url: str) -> Iterator[EmbeddedWorld]:
    made = EmbeddedWorld(database_url)
    yield made
    made.close()


def test_processes_share_the_work_and_each_message_goes_to_one(world: EmbeddedWorld) -> None:
    handlers = [Received(), Received(), Received()]
    processes = [world.process(lease_s=30.0) for _ in handlers]
    for process, received in zip(processes, handlers, strict=True):
        subscribed(process, received, prefetch=10)

    sent = send(world, processes[0], *[a_message() for _ in range(300)])

    eventually(lambda: not outbox_ids(world), within_s=90)
    ids = [id_ for received in handlers for id_ in received.ids()]
    assert sorted(ids) == sorted(one.message_id for one in sent)


def test_a_message_that_kills_its_processes_ends_among_the_dead(world: EmbeddedWorld) -> None:
    stored = send(world, world.process(), a_message(message_id="m-killer"))
    for _ in range(5):
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE outbox SET leased_until = now() - interval '1 s'"))
            outbox.lease_queues(connection, {WORK: 1}, lease_s=0.0)
    received = Received()

    subscribed(world.process(), received)

    [letter] = eventually(lambda: dead_letters(world))
    assert (letter["cause"], letter["message_id"]) == ("delivery.limit", stored[0].message_id)
    assert received.deliveries == []
    assert outbox_ids(world) == set()


def test_a_slow_handler_keeps_its_message(world: EmbeddedWorld) -> None:
    first, second = world.process(lease_s=0.3), world.process(lease_s=0.3)
    taken, go_on, rival = threading.Event(), threading.Event(), Received()

    def slow(batch: Sequence[Delivery]) -> None:
        taken.set()
        go_on.wait(1.5)
        for delivery in batch:
            delivery.settle(ACK)

    subscribed(first, slow)
    send(world, first, a_message())
    assert taken.wait(60)
    subscribed(second, rival)

    eventually(lambda: not outbox_ids(world), within_s=90)
    assert rival.deliveries == []


def test_rows_written_for_rabbitmq_are_adopted(world: EmbeddedWorld) -> None:
    with world.engine.begin() as connection:
        outbox.add(connection, [a_message(message_id="m-old")])
    received = Received()

    subscribed(world.process(), received)

    assert eventually(received.ids, within_s=90) == ["m-old"]


def test_dispatching_goes_on_after_the_database_was_away(
    breakable_database_url: str, breakable_postgres: PostgresServer
) -> None:
    world = EmbeddedWorld(breakable_database_url)
    transport, received = world.process(), Received()
    subscribed(transport, received)
    send(world, transport, a_message())
    eventually(lambda: received.deliveries)

    breakable_postgres.kill()
    eventually(lambda: not transport.healthy(), within_s=90)
    breakable_postgres.start()
    world.engine.dispose()
    send(world, transport, a_message())

    eventually(lambda: not outbox_ids(world), within_s=90)
    eventually(transport.healthy)
    world.close()


def test_a_party_fetches_its_mail_and_nobody_elses(world: EmbeddedWorld) -> None:
    transport = world.process()
    send(
        world,
        transport,
        *[a_message(exchange=OUT, routing_key=out_queue("H1"), body=b"for H1") for _ in range(3)],
        a_message(exchange=OUT, routing_key=out_queue("Q1"), body=b"for Q1"),
    )

    mail = transport.mailbox_take("H1", limit=2, lease_s=30)
    more = transport.mailbox_take("H1", limit=10, lease_s=30)

    assert [one.body for one in (*mail, *more)] == [b"for H1"] * 3
    ids = [one.outbox_id for one in (*mail, *more)]
    assert transport.mailbox_ack("Q1", ids) == 0
    assert transport.mailbox_ack("H1", ids) == 3
    assert len(outbox_ids(world)) == 1


def test_mail_that_was_not_acknowledged_comes_again(world: EmbeddedWorld) -> None:
    transport = world.process()
    send(world, transport, a_message(exchange=OUT, routing_key=out_queue("H1")))

    [first] = transport.mailbox_take("H1", limit=1, lease_s=0.0)
    [again] = transport.mailbox_take("H1", limit=1, lease_s=30)

    assert again.message_id == first.message_id
    assert again.attempt == 2
