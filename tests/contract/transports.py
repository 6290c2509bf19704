"""What a contract test needs of a transport, once on RabbitMQ and once on the outbox table."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import text

from hub.broker import declare
from hub.broker.amqp import AmqpTransport
from hub.broker.dead import COPIED_QUEUES, dead_copier
from hub.broker.embedded import EmbeddedTransport
from hub.broker.topology import COMMANDS, Party, RetryTier, Topology, payer_queue, topology
from hub.broker.transport import ACK, BatchHandler, Delivery, OutboundMessage, Subscription
from store import outbox
from store.database import open_engine

WORK = payer_queue("B1")
PARTIES = (Party("H1", "hospital", reads_out=True), Party("Q1", "queue_insurer", reads_out=True), Party("B1", "payer"))
TIERS = (RetryTier(100),)
_numbers = itertools.count(1)


def small_topology(name_secret: str = "") -> Topology:
    """The real topology with one short retry tier."""
    return topology(PARTIES, TIERS, name_secret)


def a_message(body: bytes = b"{}", **changes: Any) -> OutboundMessage:
    """A command for the payer B1 with an id of its own."""
    facts: dict[str, Any] = {"exchange": COMMANDS, "routing_key": WORK, "type": "leg", "region": "3301"}
    return OutboundMessage(**({"message_id": f"m-{next(_numbers)}", "body": body} | facts | changes))


@dataclass
class Received:
    """A handler that remembers; `then` decides what it does with a batch (by default acknowledge it)."""

    then: Callable[[Sequence[Delivery]], None] | None = None
    batches: list[list[Delivery]] = field(default_factory=list)

    def __call__(self, batch: Sequence[Delivery]) -> None:
        self.batches.append(list(batch))
        if self.then is not None:
            self.then(batch)
            return
        for delivery in batch:
            delivery.settle(ACK)

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for batch in self.batches for delivery in batch]

    def ids(self) -> list[str]:
        return [delivery.message_id for delivery in self.deliveries]


class AmqpWorld:
    """RabbitMQ carries, PostgreSQL holds the outbox and the dead letters."""

    kind = "amqp"

    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self.topology = small_topology("a secret that no party has 01234567")
        assert declare.apply(self.topology, url).ok
        self.engine = open_engine(database_url)
        self._open: list[AmqpTransport] = []

    def process(self, **options: Any) -> AmqpTransport:
        """A transport as a process of the hub would have it."""
        transport = AmqpTransport(self.topology, self.url, **options)
        self._open.append(transport)
        assert transport.start()
        return transport

    def watch_the_dead(self, transport: AmqpTransport) -> None:
        for queue in COPIED_QUEUES:
            transport.subscribe(Subscription(queue, dead_copier(self.engine, self.topology.plain)))

    def crash(self, transport: AmqpTransport) -> None:
        """Lose the connections without settling anything."""
        transport.close()
        self._open.remove(transport)

    def close(self) -> None:
        for transport in self._open:
            transport.close()
        self.engine.dispose()


class EmbeddedWorld:
    """The outbox table carries."""

    kind = "embedded"

    def __init__(self, database_url: str) -> None:
        self.topology = small_topology()
        self.engine = open_engine(database_url)
        self._open: list[EmbeddedTransport] = []

    def process(self, **options: Any) -> EmbeddedTransport:
        """A transport as a process of the hub would have it, with a short lease."""
        transport = EmbeddedTransport(self.engine, self.topology, lease_s=options.get("lease_s", 1.0), poll_s=0.02)
        self._open.append(transport)
        assert transport.start()
        return transport

    def watch_the_dead(self, transport: EmbeddedTransport) -> None:
        """Nothing: the embedded transport moves dead rows itself."""

    def crash(self, transport: EmbeddedTransport) -> None:
        """End the dispatcher without settling anything; the leases run out by themselves."""
        transport.close()
        self._open.remove(transport)

    def close(self) -> None:
        for transport in self._open:
            transport.close()
        self.engine.dispose()


World = AmqpWorld | EmbeddedWorld
Transport = AmqpTransport | EmbeddedTransport


def send(world: World, transport: Transport, *messages: OutboundMessage) -> list[OutboundMessage]:
    """Write outbox rows, commit, publish: as every effect of the hub does."""
    queue_of = world.topology.resolve if world.kind == "embedded" else None
    with world.engine.begin() as connection:
        stored = outbox.add(connection, list(messages), queue_of)
    transport.publish(stored)
    return stored


def outbox_ids(world: World) -> set[int]:
    with world.engine.connect() as connection:
        return set(connection.execute(text("SELECT id FROM outbox")).scalars())


def remove_confirmed(world: World, transport: Transport) -> None:
    """What the next batch's transaction does with confirmed rows."""
    with world.engine.begin() as connection:
        outbox.delete(connection, transport.take_confirmed())


def sweep(world: AmqpWorld, transport: AmqpTransport) -> None:
    """A turn of the relay's sweep, without its patience."""
    remove_confirmed(world, transport)
    if not transport.healthy():
        return
    with world.engine.begin() as connection:
        stale = outbox.lease_stale(connection, older_than_s=0.0, lease_s=0.5, limit=500)
    names = [one.name for one in fields(OutboundMessage)]
    transport.publish([OutboundMessage(**{name: getattr(row, name) for name in names}) for row in stale])


def dead_letters(world: World) -> list[dict[str, Any]]:
    with world.engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(text("SELECT * FROM dead_letter ORDER BY id"))]


def subscribed(transport: Transport, handle: BatchHandler, queue: str = WORK, **options: Any) -> None:
    transport.subscribe(Subscription(queue, handle, **options))


def in_another_thread(action: Callable[[], None]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()
