"""Everything we declare on the broker, as data: exchanges, queues and bindings of the two links.

The `edge` link carries what parties see (`in.<party>`, `out.<party>`), the `core` link what only the hub sees. A
link is a URL; when both have the same one, the objects that both need are declared once.

Queues have two names. The plain one (`out.<party>`, `intake`) is what the hub's code, routing keys and stored rows say.
What the broker calls the queue is the plain name, or, with a secret, the plain name and sixteen digits that nobody can
guess: RabbitMQ tells anybody in a vhost how many messages wait in a queue whose name he knows, without any right on it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from schemas.transactions import SPECS, Channel, Sender, Transaction

Link = Literal["edge", "core"]
PartyKind = Literal["hospital", "queue_insurer", "payer", "basic"]

INTAKE, ANSWERS = "intake", "claim.answers"
OUT, COMMANDS, EVENTS = "out", "cmd", "evt"
RETRY, BACK, DEAD, UNROUTED = "retry", "back", "dead", "unrouted"
RETRY_HEADER = "hub-retry-lane"
"""Chooses the lane; not `x-...`, since a headers exchange leaves such headers out of the match."""


def _sent_by(sender: Sender) -> tuple[str, ...]:
    return tuple(name.value for name, spec in SPECS.items() if sender in spec.senders and Channel.AMQP in spec.channels)


HOSPITAL_TRANSACTIONS = _sent_by(Sender.INSTITUTION)
BASIC_TRANSACTIONS = _sent_by(Sender.BASIC)
INSURER_TRANSACTIONS = _sent_by(Sender.INSURER)

_LENGTH_MAX = 100_000
_DELIVERIES_MAX = 5
_PARTY_DELIVERIES_MAX = 20
_UNGUESSABLE = 16


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation as the broker sees it; `reads_out`: it consumes its queue `out.<code>`."""

    code: str
    kind: PartyKind
    reads_out: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: Literal["direct", "fanout", "headers"]
    link: Link
    internal: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    link: Link
    arguments: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str
    link: Link
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryTier:
    """A waiting time with its lanes; a lane is a queue whose TTL differs a little from its neighbours'."""

    delay_ms: int

    @property
    def lanes(self) -> tuple[str, str, str]:
        name = f"{self.delay_ms // 1000}s" if self.delay_ms >= 1000 else f"{self.delay_ms}ms"
        return f"{name}.a", f"{name}.b", f"{name}.c"

    @property
    def lane_delays_ms(self) -> tuple[int, int, int]:
        return self.delay_ms * 8 // 10, self.delay_ms, self.delay_ms * 13 // 10


TIERS = tuple(RetryTier(delay_ms) for delay_ms in (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000))


@dataclass(frozen=True)
class Topology:
    """What is declared, and where a message would go."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    tiers: tuple[RetryTier, ...]
    name_secret: str = field(default="", repr=False)
    """Key of the queues' names on the broker; without one they are the plain names."""

    def on_broker(self, queue: str) -> str:
        """What the broker calls this queue."""
        return queue_on_broker(queue, self.name_secret)

    def plain(self, on_broker: str) -> str:
        """The plain name of what the broker calls so; a name that is none of ours stays as it is."""
        return self._plain_names.get(on_broker, on_broker)

    def resolve(self, exchange: str, routing_key: str) -> str:
        """The queue a message of the hub reaches; `unrouted` when there is none."""
        return self._routes.get((exchange, routing_key), UNROUTED)

    def link_of_exchange(self, name: str) -> Link | None:
        """Where the hub publishes to this exchange; None when it is not declared."""
        return self._exchange_links.get(name)

    def links_of_queue(self, name: str) -> tuple[Link, ...]:
        """Where this queue is; `dead` and `unrouted` are on both links."""
        return tuple(queue.link for queue in self.queues if queue.name == name)

    def deliveries_max(self, queue: str) -> int:
        """How often the broker delivers a message of this queue again before it sets it aside; 0 when nothing says."""
        limits = [one.arguments.get("x-delivery-limit", 0) for one in self.queues if one.name == queue]
        return int(limits[0]) if limits else 0

    def tier_for(self, delay_s: float) -> RetryTier:
        """The tier nearest to the wanted delay, by ratio."""
        wanted_ms = max(delay_s * 1000, 1.0)
        return min(self.tiers, key=lambda tier: max(tier.delay_ms / wanted_ms, wanted_ms / tier.delay_ms))

    @cached_property
    def _routes(self) -> dict[tuple[str, str], str]:
        return {(one.exchange, one.routing_key): one.queue for one in self.bindings if not one.arguments}

    @cached_property
    def _plain_names(self) -> dict[str, str]:
        return {self.on_broker(one.name): one.name for one in self.queues}

    @cached_property
    def _exchange_links(self) -> dict[str, Link]:
        return {one.name: one.link for one in reversed(self.exchanges)}


def topology(parties: Iterable[Party], tiers: tuple[RetryTier, ...] = TIERS, name_secret: str = "") -> Topology:
    """The declarations for these parties; with `name_secret` under queue names that cannot be guessed."""
    exchanges: list[Exchange] = []
    queues: list[Queue] = []
    bindings: list[Binding] = []
    for link in ("core", "edge"):
        common = _common(link, tiers)
        exchanges += common.exchanges
        queues += common.queues
        bindings += common.bindings
    exchanges += [Exchange(COMMANDS, "direct", "core"), Exchange(EVENTS, "direct", "core")]
    exchanges.append(Exchange(OUT, "direct", "edge"))
    for name in (INTAKE, ANSWERS):
        queues.append(Queue(name, "edge", _work_arguments()))
        bindings.append(Binding(BACK, name, name, "edge"))
    for party in parties:
        own = _of_party(party)
        exchanges += own.exchanges
        queues += own.queues
        bindings += own.bindings
    return Topology(tuple(exchanges), tuple(queues), tuple(bindings), tiers, name_secret)


def queue_on_broker(queue: str, name_secret: str) -> str:
    """What the broker calls the queue of this plain name."""
    if not name_secret:
        return queue
    return f"{queue}.{hmac.digest(name_secret.encode(), queue.encode(), 'sha256').hex()[:_UNGUESSABLE]}"


def payer_queue(code: str) -> str:
    return f"payer.{code}"


def out_queue(code: str) -> str:
    return f"out.{code}"


def in_exchange(code: str) -> str:
    return f"in.{code}"


def _common(link: Link, tiers: tuple[RetryTier, ...]) -> Topology:
    """Retrying, dying and being unroutable, which each link needs for itself."""
    exchanges = (
        Exchange(RETRY, "headers", link),
        # Internal: nobody can publish to it, so what comes from it went through our retry queues.
        Exchange(BACK, "direct", link, internal=True),
        Exchange(DEAD, "fanout", link),
        Exchange(UNROUTED, "fanout", link),
    )
    queues = [Queue(DEAD, link, _dead_arguments()), Queue(UNROUTED, link, _work_arguments())]
    bindings = [Binding(DEAD, DEAD, "", link), Binding(UNROUTED, UNROUTED, "", link)]
    bindings.append(Binding(BACK, UNROUTED, UNROUTED, link))
    for tier in tiers:
        for lane, delay_ms in zip(tier.lanes, tier.lane_delays_ms, strict=True):
            queues.append(Queue(f"{RETRY}.{lane}", link, _lane_arguments(delay_ms)))
            bindings.append(Binding(RETRY, f"{RETRY}.{lane}", "", link, {"x-match": "all", RETRY_HEADER: lane}))
    return Topology(exchanges, tuple(queues), tuple(bindings), tiers)


_SENDS: Mapping[PartyKind, tuple[str, ...]] = {
    "hospital": HOSPITAL_TRANSACTIONS,
    "basic": BASIC_TRANSACTIONS,
    "queue_insurer": INSURER_TRANSACTIONS,
}


def _of_party(party: Party) -> Topology:
    exchanges: list[Exchange] = []
    queues: list[Queue] = []
    bindings: list[Binding] = []
    if party.kind != "payer":
        source = in_exchange(party.code)
        exchanges.append(Exchange(source, "direct", "edge", arguments={"alternate-exchange": UNROUTED}))
        for transaction in _SENDS[party.kind]:
            work = ANSWERS if transaction == Transaction.CLAIM_ANSWER else INTAKE
            bindings.append(Binding(source, work, transaction, "edge"))
    if party.kind != "hospital":
        name = payer_queue(party.code)
        queues.append(Queue(name, "core", _work_arguments()))
        bindings += [Binding(COMMANDS, name, name, "core"), Binding(BACK, name, name, "core")]
    if party.reads_out:
        name = out_queue(party.code)
        queues.append(Queue(name, "edge", _work_arguments(_PARTY_DELIVERIES_MAX)))
        bindings.append(Binding(OUT, name, name, "edge"))
    return Topology(tuple(exchanges), tuple(queues), tuple(bindings), ())


def _work_arguments(deliveries_max: int = _DELIVERIES_MAX) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": deliveries_max,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        # At-least-once dead-lettering needs it; publishers get a nack and the outbox row stays.
        "x-overflow": "reject-publish",
        "x-max-length": _LENGTH_MAX,
    }


def _dead_arguments() -> dict[str, str | int]:
    # RabbitMQ 4 has a default limit of 20 and drops what exceeds it; -1 lifts it there but deletes on 3.10.
    return {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def _lane_arguments(delay_ms: int) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        # One TTL for the queue: a TTL per message would block behind the longest at the head.
        "x-message-ttl": delay_ms,
        "x-dead-letter-exchange": BACK,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length": _LENGTH_MAX,
    }
