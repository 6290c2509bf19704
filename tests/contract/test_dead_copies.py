"""Each path on which RabbitMQ sets a message aside ends in one open letter that says where it came from, or that
nobody can know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pika
import pytest

from hub.broker.dead import SENDER_UNPROVEN, dead_copier
from hub.broker.topology import DEAD, INTAKE, UNROUTED, in_exchange
from hub.broker.transport import ACK, Delivery, retry
from tests.contract.transports import WORK, AmqpWorld, Received, a_message, dead_letters, send, subscribed
from tests.support.eventually import eventually

SETTLE = "settlement.settle"


@pytest.fixture
def world(rabbitmq_url: str, database_url: str) -> Iterator[AmqpWorld]:
    made = AmqpWorld(rabbitmq_url, database_url)
    yield made
    made.close()


@dataclass
class Copied:
    """A message in the copier's hands, with whatever headers it likes."""

    body: bytes = b"{}"
    queue: str = DEAD
    exchange: str = DEAD
    routing_key: str = SETTLE
    message_id: str = "M-1"
    type: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    user_id: str = ""
    content_type: str = "application/json"
    attempt: int = 1
    raw_headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> Mapping[str, str]:
        return {name: value for name, value in self.raw_headers.items() if isinstance(value, str)}

    def settle(self, verdict: Any) -> None:
        assert verdict is ACK


def published(world: AmqpWorld, party: str, routing_key: str = SETTLE, body: bytes = b"{}", **properties: Any) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(world.url))
    properties = {"message_id": "M-1", **properties}
    connection.channel().basic_publish(in_exchange(party), routing_key, body, pika.BasicProperties(**properties))
    connection.close()


def copied(world: AmqpWorld, *deliveries: Copied) -> list[dict[str, Any]]:
    dead_copier(world.engine)(deliveries)
    return dead_letters(world)


def a_death(queue: str, exchange: str, reason: str = "delivery_limit") -> dict[str, Any]:
    return {"x-death": [{"queue": queue, "exchange": exchange, "reason": reason, "count": 1}]}


def test_an_expired_message_is_copied_and_its_sender_is_nobodys_word(world):
    forged = {"x-death": [{"queue": INTAKE, "reason": "expired", "exchange": in_exchange("H2"), "count": 0}]}
    published(world, "H1", expiration="1", headers=forged | {"x-hub-verdict": "dead", "x-hub-source-queue": SETTLE})

    world.watch_the_dead(world.process())

    [letter] = eventually(lambda: dead_letters(world))
    assert (letter["cause"], letter["source_queue"], letter["routing_key"]) == ("broker.expired", INTAKE, SETTLE)
    assert letter["exchange"] == ""
    assert letter["detail"].startswith(SENDER_UNPROVEN)


def test_an_account_that_the_broker_checked_proves_the_sender(world):
    [letter] = copied(world, Copied(user_id="H1", raw_headers=a_death(INTAKE, "in.H1")))

    assert (letter["exchange"], letter["detail"]) == ("in.H1", "")


def test_another_partys_exchange_is_not_believed(world):
    [letter] = copied(world, Copied(user_id="H1", raw_headers=a_death(INTAKE, "in.H2")))

    assert letter["exchange"] == ""


def test_what_died_after_a_retry_keeps_its_first_exchange(world):
    ours = {"x-hub-exchange": "in.H1", "x-hub-routing_key": SETTLE, "x-hub-attempt": "3"}

    [letter] = copied(world, Copied(routing_key=INTAKE, raw_headers=a_death(INTAKE, "back") | ours))

    assert (letter["exchange"], letter["routing_key"], letter["attempt"]) == ("in.H1", SETTLE, 4)


@pytest.mark.parametrize("key", [UNROUTED, INTAKE, DEAD])
def test_nobody_gets_a_senders_name_by_the_way_of_the_unroutable(world, key):
    forged = {"x-hub-exchange": "in.H2", "x-hub-routing_key": SETTLE, "x-hub-verdict": "dead"}
    headers = a_death(UNROUTED, "back", "expired") | forged | {"x-hub-source-queue": key}

    [letter] = copied(world, Copied(routing_key=key, raw_headers=headers))

    assert (letter["exchange"], letter["source_queue"]) == ("", UNROUTED)


def test_a_copy_that_comes_again_is_one_letter(world):
    one = Copied(routing_key=WORK, raw_headers=a_death(WORK, "cmd"))

    assert len(copied(world, one, one)) == 1
    assert len(copied(world, one)) == 1


def test_two_senders_may_use_the_same_message_id_and_one_of_them_for_two_contents(world):
    first, second = (Copied(queue=UNROUTED, exchange=in_exchange(party), routing_key="x") for party in ("H1", "H2"))
    other = Copied(queue=UNROUTED, exchange=in_exchange("H1"), routing_key="x", body=b'{"other":1}')

    assert len(copied(world, first, second, other)) == 3


def test_a_message_delivered_too_often_keeps_its_sender(world):
    """Set aside by the consumer at its last delivery, before the broker would."""
    published(world, "H1", body=b"\xff\x00 kills")
    for _ in range(5):
        victim, held = world.process(), Received(then=lambda batch: None)
        subscribed(victim, held, queue=INTAKE)
        eventually(lambda held=held: held.deliveries)
        world.crash(victim)
    survivor, others = world.process(), Received()
    world.watch_the_dead(survivor)

    subscribed(survivor, others, queue=INTAKE)
    published(world, "H1", message_id="M-2")

    [letter] = eventually(lambda: dead_letters(world))
    assert (letter["cause"], letter["exchange"], letter["routing_key"]) == ("delivery.limit", "in.H1", SETTLE)
    assert (bytes(letter["body"]), letter["attempt"]) == (b"\xff\x00 kills", 6)
    eventually(lambda: others.ids() == ["M-2"])


def test_a_verdict_after_a_retry_keeps_exchange_and_attempt(world):
    def twice(batch: list[Delivery]) -> None:
        for one in batch:
            if one.attempt == 1:
                one.settle(retry(0.1, "away"))
            else:
                raise ValueError("bytes that break the handler")

    transport = world.process()
    world.watch_the_dead(transport)
    subscribed(transport, twice)
    send(world, transport, a_message(message_id="poison", content_type="text/plain"))

    [letter] = eventually(lambda: dead_letters(world))

    assert (letter["cause"], letter["exchange"], letter["attempt"]) == ("hub.bug", "cmd", 2)
    assert letter["content_type"] == "text/plain"
