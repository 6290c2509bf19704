"""Messages that get lost, come twice, come late, cannot be read or are never acknowledged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest

from hub.broker.topology import ANSWERS, COMMANDS, HOSPITAL_TRANSACTIONS, in_exchange, payer_queue
from sandbox import parties
from tests.support.eventually import eventually
from tests.support.rabbitmq_server import LocalRabbit
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost
from tests.support.traffic import Town, running_town

SEED = 20261125
TAP = "tap"
IMPATIENT = {"consumer_timeout": 2_000, "channel_tick_interval": 500}
PATIENT = {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000}


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer,
    breakable_rabbitmq: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(breakable_rabbitmq) as broker_url,
        running_town(database_url, broker_url, tmp_path_factory.mktemp("town"), 300, seed=SEED) as found,
    ):
        print(f"seed {SEED}")
        yield found


@contextmanager
def a_channel(broker_url: str) -> Iterator[Any]:
    """A channel of somebody who may do everything."""
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def all_tapped(channel: Any) -> list[tuple[Any, Any, bytes]]:
    """What was sent to the hub and by the hub to itself since `tap`: method, properties, body. Ends it."""
    count = channel.queue_declare(TAP, passive=True).method.message_count
    found = [channel.basic_get(TAP, auto_ack=True) for _ in range(count)]
    channel.queue_delete(TAP)
    return found


def tap(channel: Any, town: Town) -> None:
    """From now on everything is copied to a queue of ours."""
    channel.queue_declare(TAP, durable=True)
    for place in town.world.day.institutions:
        for transaction in HOSPITAL_TRANSACTIONS:
            channel.queue_bind(TAP, in_exchange(place.code), transaction)
    channel.queue_bind(TAP, in_exchange(parties.HENGAN), "claim.answer")
    for code in parties.PARTIES:
        channel.queue_bind(TAP, COMMANDS, payer_queue(code))


def test_a_message_that_no_queue_takes_is_kept_and_sent_again(town: Town) -> None:
    queue = payer_queue(parties.CRITICAL_ILLNESS)
    unroutable = town.world.hub.logged("publish_unroutable")
    with town.both(40) as (amqp, http), a_channel(town.broker_url) as channel:
        amqp.wait_for(answered=5)
        channel.queue_unbind(queue, COMMANDS, queue)
        try:
            eventually(lambda: town.world.hub.logged("publish_unroutable") > unroutable, within_s=90)
        finally:
            channel.queue_bind(queue, COMMANDS, queue)

        town.assert_all_is_well(amqp, http)


def test_whatever_comes_again_in_any_order_changes_nothing(town: Town) -> None:
    with a_channel(town.broker_url) as channel:
        tap(channel, town)
        with town.both(60) as (amqp, http):
            amqp.wait_for(answered=60)
            town.assert_all_is_well(amqp, http)
        said = all_tapped(channel)
        entries = town.entries()

        with town.both(60) as (amqp, http):
            again = [*said, *said]
            random.Random(SEED).shuffle(again)
            for method, properties, body in again:
                channel.basic_publish(method.exchange, method.routing_key, body, properties)
            amqp.wait_for(answered=30)
            eventually(lambda: nothing_waits(channel), within_s=90)
            town.assert_all_is_well(amqp, http)
    print(f"{len(said)} messages repeated twice over")
    assert entries.items() <= town.entries().items()


def nothing_waits(channel: Any) -> bool:
    """Whether the hub has taken everything."""
    queues = ["intake", ANSWERS, *(payer_queue(code) for code in parties.PARTIES)]
    return all(channel.queue_declare(queue, passive=True).method.message_count == 0 for queue in queues)


POISON_FOR_PAYERS = [b"", b"\x00\xff\xfe", b"{", b"[]", b"null", b'{"case_id": "no-uuid", "leg_no": 1}']
"""Commands that no hub has written."""


def test_poison_ends_among_the_dead_and_the_rest_flows(town: Town) -> None:
    before = town.causes_of_death()
    with town.both(40) as (amqp, http), a_channel(town.broker_url) as channel:
        amqp.wait_for(accepted=5)
        for number, body in enumerate(POISON_FOR_PAYERS):
            properties = pika.BasicProperties(message_id=f"poison-{number}")
            channel.basic_publish(COMMANDS, payer_queue(parties.ANKANG), body, properties)
        amqp.wait_for(answered=10)
        eventually(lambda: len(town.causes_of_death()) == len(before) + len(POISON_FOR_PAYERS), within_s=90)
        print(town.causes_of_death())

        town.assert_all_is_well(amqp, http, dead=[*before, *["leg.command_unreadable"] * 5, "hub.bug"])


def test_a_consumer_that_forgets_to_acknowledge_is_relieved(town: Town, breakable_rabbitmq: LocalRabbit) -> None:
    hub = town.world.hub
    set_patience(breakable_rabbitmq, IMPATIENT)
    try:
        hub.stop("adapters")
        hub.start("adapters", failpoints="call.before_send=hang@3")
        closed = hub.logged("consumer_channel_closed")
        with town.both(40) as (amqp, http):
            eventually(lambda: hub.logged("consumer_channel_closed") > closed, within_s=90)
            # What it had in hand comes again and goes through; only the call that hangs still hangs.
            amqp.wait_for(answered=10)
            hub.running["adapters"].kill()
            hub.start("adapters")

            town.assert_all_is_well(amqp, http, dead=town.causes_of_death())
    finally:
        set_patience(breakable_rabbitmq, PATIENT)


def set_patience(broker: LocalRabbit, settings: dict[str, int]) -> None:
    for name, value_ms in settings.items():
        broker.evaluate(f"application:set_env(rabbit, {name}, {value_ms})")
