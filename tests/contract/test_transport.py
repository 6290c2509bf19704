"""One contract for both transports, on real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from hub.broker.topology import INTAKE, OUT, UNROUTED, in_exchange, out_queue
from hub.broker.transport import ACK, Delivery, Subscription, Verdict, dead, retry
from schemas.errors import InvalidMessage, Unavailable
from tests.contract.transports import (
    WORK,
    AmqpWorld,
    EmbeddedWorld,
    Received,
    World,
    a_message,
    dead_letters,
    in_another_thread,
    outbox_ids,
    remove_confirmed,
    send,
    subscribed,
)
from tests.support.eventually import eventually


@pytest.fixture(params=["amqp", "embedded"])
def world(request: pytest.FixtureRequest, database_url: str) -> Iterator[World]:
    if request.param == "amqp":
        made: World = AmqpWorld(request.getfixturevalue("rabbitmq_url"), database_url)
    else:
        made = EmbeddedWorld(database_url)
    yield made
    made.close()


def test_a_message_arrives_as_it_was_written(world: World) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)

    send(
        world,
        transport,
        a_message('{"名":"值"}'.encode(), message_id="m-x", correlation_id="c-1", headers={"traceparent": "00-1"}),
    )

    [delivery] = eventually(lambda: received.deliveries)
    assert (delivery.queue, delivery.message_id, delivery.type, delivery.correlation_id) == (WORK, "m-x", "leg", "c-1")
    assert (delivery.exchange, delivery.routing_key, delivery.attempt) == ("cmd", WORK, 1)
    assert delivery.body.decode() == '{"名":"值"}'
    assert delivery.content_type == "application/json"
    assert dict(delivery.headers) == {"traceparent": "00-1"}


@pytest.mark.parametrize("body", [b"", b"\x00\xff binary", b"x" * 400_000], ids=["empty", "binary", "long"])
def test_any_body_survives(world: World, body: bytes) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)

    send(world, transport, a_message(body))

    [delivery] = eventually(lambda: received.deliveries)
    assert delivery.body == body


def test_every_row_ends_confirmed_or_handled(world: World) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received)

    send(world, transport, *[a_message() for _ in range(300)])

    eventually(lambda: len(set(received.ids())) == 300)
    eventually(lambda: [remove_confirmed(world, transport)] and not outbox_ids(world))


def test_what_waits_together_is_handled_together(world: World) -> None:
    transport = world.process()
    sent = send(world, transport, *[a_message() for _ in range(100)])
    eventually(lambda: world.kind == "embedded" or len(transport.take_confirmed()) > 0)
    received = Received()

    subscribed(transport, received, batch_max=40)

    eventually(lambda: len(received.deliveries) == len(sent))
    sizes = [len(batch) for batch in received.batches]
    assert max(sizes) <= 40
    assert len(sizes) < 50


def test_a_crash_without_a_verdict_brings_the_message_back(world: World) -> None:
    first, held = world.process(), Received(then=lambda batch: None)
    subscribed(first, held)
    send(world, first, a_message(message_id="m-crash"))
    eventually(lambda: held.deliveries)
    world.crash(first)
    received = Received()

    subscribed(world.process(), received)

    [delivery] = eventually(lambda: received.deliveries)
    assert delivery.message_id == "m-crash"
    assert delivery.attempt == 2


def test_a_retried_message_comes_back_as_it_was_with_a_higher_attempt(world: World) -> None:
    transport = world.process()

    def later_once(batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            delivery.settle(ACK if delivery.attempt > 1 else retry(0.1, "payer.busy"))

    received = Received(then=later_once)
    subscribed(transport, received)

    send(world, transport, a_message(b"once more", message_id="m-retry", headers={"traceparent": "00-2"}))

    eventually(lambda: len(received.deliveries) == 2)
    first, second = received.deliveries
    assert [first.attempt, second.attempt] == [1, 2]
    for name in ("queue", "message_id", "type", "exchange", "routing_key", "body", "headers", "content_type"):
        assert getattr(second, name) == getattr(first, name), name


def test_a_dead_message_is_recorded_with_its_cause(world: World) -> None:
    transport = world.process()
    world.watch_the_dead(transport)
    subscribed(
        transport, Received(then=lambda batch: [one.settle(dead("leg.closed", "leg_no")) for one in batch] and None)
    )

    send(world, transport, a_message(b"gone", message_id="m-dead", correlation_id="c-9"))

    [letter] = eventually(lambda: dead_letters(world))
    assert letter["source_queue"] == WORK
    assert (letter["exchange"], letter["routing_key"]) == ("cmd", WORK)
    assert (letter["message_id"], letter["correlation_id"], letter["type"]) == ("m-dead", "c-9", "leg")
    assert (letter["cause"], letter["detail"], letter["attempt"]) == ("leg.closed", "leg_no", 1)
    assert bytes(letter["body"]) == b"gone"
    assert letter["state"] == "open"


@pytest.mark.parametrize(
    ("error", "cause"),
    [(InvalidMessage("bad", code="leg.unknown"), "leg.unknown"), (KeyError("name of a patient"), "hub.bug")],
    ids=["invalid", "bug"],
)
def test_a_poison_message_spares_its_neighbours(world: World, error: Exception, cause: str) -> None:
    transport = world.process()
    world.watch_the_dead(transport)

    def all_or_nothing(batch: Sequence[Delivery]) -> None:
        if any(delivery.body == b"poison" for delivery in batch):
            raise error
        for delivery in batch:
            delivery.settle(ACK)

    received = Received(then=all_or_nothing)
    sent = send(world, transport, *[a_message(b"poison" if n == 37 else b"good") for n in range(64)])

    subscribed(transport, received)

    [letter] = eventually(lambda: dead_letters(world))
    assert letter["message_id"] == sent[37].message_id
    assert letter["cause"] == cause
    assert "patient" not in letter["detail"]
    assert transport.stop_consuming(60)
    assert {one.message_id for one in sent} <= set(received.ids())


def test_a_handler_waits_for_what_is_away(world: World) -> None:
    transport = world.process()
    calls: list[int] = []

    def away_twice(batch: Sequence[Delivery]) -> None:
        calls.append(len(batch))
        if len(calls) <= 2:
            raise Unavailable("no database")
        for delivery in batch:
            delivery.settle(ACK)

    subscribed(transport, away_twice)

    send(world, transport, a_message())

    eventually(lambda: len(calls) == 3)
    assert transport.stop_consuming(60)
    assert dead_letters(world) == []


def test_what_the_handler_settled_before_it_failed_stays_settled(world: World) -> None:
    transport = world.process()
    world.watch_the_dead(transport)

    def settles_first_then_fails(batch: Sequence[Delivery]) -> None:
        batch[0].settle(ACK)
        raise InvalidMessage("and the rest is bad")

    received = Received(then=settles_first_then_fails)
    sent = send(world, transport, *[a_message() for _ in range(10)])

    subscribed(transport, received)

    eventually(lambda: set(received.ids()) == {one.message_id for one in sent})
    assert transport.stop_consuming(60)
    assert dead_letters(world) == []


def test_the_first_verdict_counts_from_whatever_thread(world: World) -> None:
    transport = world.process()
    world.watch_the_dead(transport)
    received = Received(then=lambda batch: None)
    subscribed(transport, received)
    send(world, transport, a_message(), a_message())
    eventually(lambda: len(received.deliveries) == 2)

    for delivery in received.deliveries:
        in_another_thread(lambda one=delivery: one.settle(ACK))
        delivery.settle(dead("too.late"))

    assert transport.stop_consuming(60)
    assert dead_letters(world) == []


def test_verdicts_out_of_order_let_the_rest_flow(world: World) -> None:
    transport, received = world.process(), Received(then=lambda batch: None)
    subscribed(transport, received, prefetch=8, batch_max=1)
    send(world, transport, *[a_message() for _ in range(40)])
    eventually(lambda: len(received.deliveries) == 8)
    oldest = received.deliveries[0]

    def settle_all_but_the_oldest() -> bool:
        for delivery in reversed(received.deliveries):
            if delivery is not oldest:
                delivery.settle(ACK)
        return len(received.deliveries) == 40

    eventually(settle_all_but_the_oldest)
    oldest.settle(ACK)
    assert transport.stop_consuming(60)


def test_no_more_than_the_prefetch_is_in_hand(world: World) -> None:
    transport, received = world.process(), Received(then=lambda batch: None)

    subscribed(transport, received, prefetch=5)
    send(world, transport, *[a_message() for _ in range(20)])

    eventually(lambda: len(received.deliveries) == 5)
    for delivery in received.deliveries:
        delivery.settle(ACK)
    eventually(lambda: len(received.deliveries) == 10)


def test_a_slow_payer_holds_up_nobody_else(world: World) -> None:
    transport, go_on = world.process(), threading.Event()

    def blocks(batch: Sequence[Delivery]) -> None:
        go_on.wait(60)
        for delivery in batch:
            delivery.settle(ACK)

    subscribed(transport, blocks, prefetch=2)
    quick = Received()
    subscribed(transport, quick, queue="payer.Q1")

    send(world, transport, *[a_message() for _ in range(10)], a_message(routing_key="payer.Q1"))

    eventually(lambda: quick.deliveries)
    go_on.set()
    assert transport.stop_consuming(60)


def test_stopping_takes_nothing_new_and_waits_for_what_was_taken(world: World) -> None:
    transport, received = world.process(), Received(then=lambda batch: None)
    subscribed(transport, received, prefetch=3, batch_max=1)
    send(world, transport, *[a_message() for _ in range(6)])
    eventually(lambda: len(received.deliveries) == 3)

    assert not transport.stop_consuming(0.05)
    for delivery in received.deliveries:
        delivery.settle(ACK)
    assert transport.stop_consuming(60)

    assert len(received.deliveries) == 3
    rest = Received()
    subscribed(world.process(), rest)
    eventually(lambda: len(rest.deliveries) == 3)


def test_an_unroutable_message_is_never_lost(world: World) -> None:
    transport = world.process()
    recorder = Received()
    transport.subscribe(Subscription(UNROUTED, recorder))

    [stored] = send(world, transport, a_message(routing_key="payer.nobody"))
    send(world, transport, a_message())

    # RabbitMQ returns it and its outbox row stays for the sweep; the embedded queue of the unroutable gets it.
    if world.kind == "amqp":
        eventually(lambda: len(transport.take_confirmed()) == 1)
        assert stored.outbox_id in outbox_ids(world)
    else:
        eventually(lambda: recorder.ids() == [stored.message_id])


def test_a_hint_reaches_its_listeners(world: World) -> None:
    transport = world.process()
    heard: list[str] = []
    transport.on_hint("cases", heard.append)

    def heard_some() -> bool:
        transport.hint("cases", "case-1")
        transport.hint("other", "case-2")
        return bool(heard)

    eventually(heard_some)
    assert set(heard) == {"case-1"}


def test_a_sender_is_known_by_its_exchange_even_after_a_retry(world: World) -> None:
    transport = world.process()
    received = Received(
        then=lambda batch: [one.settle(ACK if one.attempt > 1 else retry(0.1, "later")) for one in batch] and None
    )
    subscribed(transport, received, queue=INTAKE)

    send(world, transport, a_message(exchange=in_exchange("H1"), routing_key="settlement.settle"))

    eventually(lambda: len(received.deliveries) == 2)
    assert {one.exchange for one in received.deliveries} == {"in.H1"}
    assert {one.routing_key for one in received.deliveries} == {"settlement.settle"}


def test_a_party_cannot_forge_the_hubs_own_headers(world: World) -> None:
    transport, received = world.process(), Received()
    subscribed(transport, received, queue=INTAKE)
    forged = {"x-hub-attempt": "9", "x-hub-exchange": "in.OTHER", "x-hub-user_id": "OTHER", "traceparent": "00-3"}

    send(
        world,
        transport,
        a_message(exchange=in_exchange("H1"), routing_key="settlement.settle", headers=forged),
    )

    [delivery] = eventually(lambda: received.deliveries)
    assert (delivery.attempt, delivery.exchange, delivery.user_id) == (1, "in.H1", "")
    assert dict(delivery.headers) == {"traceparent": "00-3"}


def test_answers_wait_for_the_party(world: World) -> None:
    transport, received = world.process(), Received()

    send(world, transport, a_message(exchange=OUT, routing_key=out_queue("H1")))
    subscribed(transport, received, queue=out_queue("H1"))

    eventually(lambda: received.deliveries)


def test_a_queue_that_is_not_declared_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="not declared"):
        subscribed(world.process(), Received(), queue="payer.nobody")


def test_a_transport_says_whether_it_is_healthy(world: World) -> None:
    transport: Any = world.process()
    eventually(transport.healthy)


def test_the_verdict_of_a_lost_session_changes_nothing(world: World) -> None:
    first, held = world.process(), Received(then=lambda batch: None)
    subscribed(first, held)
    send(world, first, a_message())
    [delivery] = eventually(lambda: held.deliveries)
    world.crash(first)

    delivery.settle(Verdict(ACK.kind))

    received = Received()
    subscribed(world.process(), received)
    eventually(lambda: received.deliveries)
