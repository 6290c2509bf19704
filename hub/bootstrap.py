"""Where the parts are put together, and the only place: engine, transport, adapters, handlers, sweeps."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Engine

from adapters.insurer.hosted.book import HostedBook
from adapters.insurer.hosted.client import InsurerHosted
from adapters.registry import HOSTED, consumes_from_queue, make_adapter
from hub import failpoints
from hub.applier import Applier
from hub.books import RuleBooks
from hub.broker.amqp import AmqpTransport
from hub.broker.dead import COPIED_QUEUES, dead_copier
from hub.broker.embedded import EmbeddedTransport
from hub.broker.topology import ANSWERS, INTAKE, Party, Topology, payer_queue, topology
from hub.broker.transport import Subscription
from hub.calls import Payer
from hub.claims import ClaimAnswers
from hub.clearing import Clearing
from hub.clock import DatabaseClock
from hub.desk import Desk, Taker
from hub.doors import KnownDoors
from hub.engine import Engine as MessageEngine
from hub.gate import Gate
from hub.hosted import HostedProducts
from hub.intake import Intake
from hub.legs import Legs
from hub.master_data import MasterData
from hub.notices import Notices
from hub.party_secrets import read_secrets
from hub.payer_control import PayerControl
from hub.ports import Clock, PayerAdapter
from hub.recon.statements_desk import Statements
from hub.settings import Settings
from hub.staging import staging_sweeps
from hub.sweeps import CaseSweep, Every, OutboxSweep
from hub.undo import Queries, Undo
from hub.visits import Visits
from hub.watch import watch_sweeps
from hub.work import WorkUnits
from routing.rulebook import Party as PayerParty
from routing.rulebook import RuleBook
from schemas.payer import PartySettings
from schemas.transactions import Group
from store.database import open_engine

if TYPE_CHECKING:
    from hub.gateway.server import GatewayServer

log = structlog.get_logger()

CASE_SWEEP_PAUSE_S = 0.2
OUTBOX_SWEEP_PAUSE_S = 1.0
RULE_BOOK_PAUSE_S = 2.0
CONFIRMED_PAUSE_S = 0.5
PAYER_CONTROL_PAUSE_S = 1.0
DOORS_PAUSE_S = 1.0
HOSTED_POOL_SIZE = 4
NOTICES_PAUSE_S = 0.5
REPORT_POOL_SIZE = 6
"""Payers that are asked side by side take their statements side by side, while others are compared."""
_UNSAFE_PERSON_SECRET = "embedded-database-only-no-real-person"

AdapterMaker = Callable[[PartySettings], PayerAdapter]
AnyTransport = AmqpTransport | EmbeddedTransport


class Role(StrEnum):
    """What a process does. All of them together are a hub."""

    GATEWAY = "gateway"
    ENGINE = "engine"
    ADAPTERS = "adapters"
    RELAY = "relay"


ALL_ROLES = frozenset(Role)


@dataclass(slots=True)
class Hub:
    """A running part of the hub: what its roles share, and how to stop it."""

    settings: Settings
    engine: Engine
    transport: AnyTransport
    work_units: WorkUnits
    books: RuleBooks
    clock: Clock
    payers: Mapping[str, Payer]
    desk: Desk
    doors: KnownDoors
    layout: Topology
    legs: Legs | None = None
    notices: Notices | None = None
    sweeps: list[Every] = field(default_factory=list)
    gateway: GatewayServer | None = None

    def start(self) -> None:
        """Begin to work; messages are taken from here on."""
        self.transport.start()
        for sweep in self.sweeps:
            sweep.start()
        if self.gateway is not None:
            self.gateway.start()

    def stop(self) -> bool:
        """Take nothing new, finish what is in hand, give the rest back; False when the time did not suffice."""
        if self.gateway is not None:
            # First, while the rest still works: whoever waits for an answer may get it.
            self.gateway.stop(self.settings.stop_timeout_s)
        clean = self.transport.stop_consuming(self.settings.stop_timeout_s)
        if self.notices is not None:
            self.notices.stop()
        if self.legs is not None:
            self.legs.stop(self.settings.stop_timeout_s)
        for sweep in self.sweeps:
            sweep.stop(5.0)
        self.work_units.flush_confirmed()
        self.transport.close()
        self.engine.dispose()
        return clean


def broker_topology(book: RuleBook, name_secret: str = "") -> Topology:
    """Exchanges and queues for the parties of a rule book; `name_secret` makes the queues' names unguessable."""
    hospitals = [Party(one.code, "hospital", reads_out=True) for one in book.institutions if one.amqp]
    return topology([*hospitals, *map(_on_the_broker, book.parties)], name_secret=name_secret)


def _on_the_broker(party: PayerParty) -> Party:
    if party.kind == "basic":
        return Party(party.code, "basic", reads_out=True) if party.amqp else Party(party.code, "payer")
    speaks = party.amqp or consumes_from_queue(party.adapter)
    return Party(party.code, "queue_insurer", reads_out=True) if speaks else Party(party.code, "payer")


def person_secret(settings: Settings) -> bytes:
    """The key under which coverage is stored and found by identity number."""
    return (settings.person_key_secret.get_secret_value() or _UNSAFE_PERSON_SECRET).encode()


def bootstrap(
    settings: Settings,
    roles: frozenset[Role] = ALL_ROLES,
    *,
    database_url: str = "",
    clock: Clock | None = None,
    make: AdapterMaker = make_adapter,
) -> Hub:
    """The hub with these roles, not started. `database_url` is the embedded server's when settings ask for one."""
    failpoints.arm(settings.failpoints)
    name = "hub-" + "-".join(sorted(roles)) if roles != ALL_ROLES else "hub"
    url = database_url or settings.database_url.get_secret_value()
    engine = open_engine(url, pool_size=settings.database_pool_size, application=name)
    shared = DatabaseClock(engine)
    clock = clock or shared
    books = RuleBooks(engine, clock)
    book = books.active().book
    layout = broker_topology(book, settings.queue_name_secret.get_secret_value())
    transport = _transport(settings, layout, engine, name)
    work_units = WorkUnits(engine, transport, layout.resolve if settings.embedded_broker else None)
    # Connections of its own: a claim that waits for another of the same person keeps none of the hub's busy.
    own = HostedProducts(
        lambda: open_engine(url, pool_size=HOSTED_POOL_SIZE, application=f"{name}-hosted"),
        books.active,
        person_secret(settings),
        clock,
    )
    secrets = read_secrets(settings.party_secrets)
    payers = {party.code: _payer(party, secrets.get(party.code, {}), make, own) for party in book.parties}
    desk = desk_of(settings, work_units, books, clock, payers)
    hub = Hub(settings, engine, transport, work_units, books, clock, payers, desk, KnownDoors(engine), layout)
    if not settings.embedded_broker:
        # Confirmed rows are removed with the next transaction of this process; when none comes, soon all the same,
        # or the relay would take them for lost and publish them once more.
        hub.sweeps.append(Every("confirmed-rows", CONFIRMED_PAUSE_S, work_units.flush_confirmed))
    hub.sweeps.append(Every("clock", settings.clock_look_s, shared.look))
    hub.sweeps.append(Every("rule-book", RULE_BOOK_PAUSE_S, lambda: books.refresh().version and 0))
    if Role.ENGINE in roles:
        _add_engine(hub)
    if Role.ADAPTERS in roles:
        _add_adapters(hub)
    if Role.RELAY in roles:
        _add_relay(hub, url)
    if Role.GATEWAY in roles:
        _add_gateway(hub)
    return hub


def desk_of(
    settings: Settings, work_units: WorkUnits, books: RuleBooks, clock: Clock, payers: Mapping[str, Payer]
) -> Desk:
    """The desk of a process; `payers` are those whose answers it takes."""
    person = person_secret(settings)
    claims = ClaimAnswers(work_units, payers, Applier(work_units, clock, payers))
    settlements = (
        Intake(work_units, books, clock, person),
        Undo(work_units, books, clock),
        Queries(work_units, books, clock),
    )
    others: dict[Group, Taker] = {
        Group.VISIT: Visits(work_units, books, clock, person),
        Group.CLEARING: Clearing(work_units, books, clock),
        Group.STATEMENT: Statements(work_units, books, clock),
        Group.MASTER: MasterData(work_units, books, clock, person),
    }
    return Desk(*settlements, claims, others)


def _payer(party: PayerParty, secrets: Mapping[str, str], make: AdapterMaker, own: HostedBook) -> Payer:
    told = party.settings(secrets)
    adapter = InsurerHosted(told, own) if party.adapter == HOSTED else make(told)
    return Payer(party, adapter, Gate(party, by_queue=adapter.capabilities.by_queue))


def _transport(settings: Settings, layout: Topology, engine: Engine, name: str) -> AnyTransport:
    if settings.embedded_broker:
        return EmbeddedTransport(engine, layout)
    return AmqpTransport(
        layout, settings.broker_url.get_secret_value(), settings.edge_broker_url.get_secret_value(), name=name
    )


def _add_engine(hub: Hub) -> None:
    engine = MessageEngine(hub.work_units, hub.books, hub.clock, hub.desk)
    for queue in (INTAKE, ANSWERS):
        hub.transport.subscribe(_subscription(hub, queue, engine.handle))
    secrets = read_secrets(hub.settings.party_secrets)
    hub.sweeps += staging_sweeps(hub.engine, hub.desk.take, hub.clock, hub.books, hub.doors, secrets)


def _add_adapters(hub: Hub) -> None:
    hub.legs = Legs(hub.work_units, hub.clock, hub.payers)
    hub.legs.start()
    process = f"{socket.gethostname()}/{os.getpid()}"
    control = PayerControl(hub.engine, hub.clock, hub.payers, process)
    control()  # before the first call: who is stopped stays stopped over a restart
    hub.sweeps.append(Every("payer-control", PAYER_CONTROL_PAUSE_S, control))
    for code in hub.payers:
        hub.transport.subscribe(_subscription(hub, payer_queue(code), hub.legs.handler(code)))
    if any(payer.can.notices for payer in hub.payers.values()):
        hub.notices = Notices(hub.work_units, hub.clock, hub.payers)
        hub.sweeps.append(Every("notices", NOTICES_PAUSE_S, hub.notices))


def _add_relay(hub: Hub, database_url: str) -> None:
    copy = dead_copier(hub.engine, hub.layout.plain)
    for queue in COPIED_QUEUES:
        hub.transport.subscribe(_subscription(hub, queue, copy))
    hub.sweeps.append(Every("case-sweep", CASE_SWEEP_PAUSE_S, CaseSweep(hub.work_units, hub.clock)))
    if not hub.settings.embedded_broker:
        hub.sweeps.append(Every("outbox-sweep", OUTBOX_SWEEP_PAUSE_S, OutboxSweep(hub.work_units, hub.transport)))
    hub.sweeps += watch_sweeps(hub.engine, hub.clock, hub.settings)
    if hub.settings.recon_every_s:
        hub.sweeps.append(continuous_sweep(hub, database_url))


def continuous_sweep(hub: Hub, database_url: str) -> Every:
    """Continuous reconciliation. It reads whole days, on connections of its own that leave the planner its choice."""
    # Imported here so that no other role loads what reads and writes statements.
    from hub.recon.continuous import FIRST_S, LOOK_PAUSE_S, Continuous, Means
    from hub.recon.pulling import Pulling
    from hub.recon.remedies import propose
    from hub.recon.runs import Runs

    engine = open_engine(database_url, pool_size=REPORT_POOL_SIZE, application="hub-recon", by_key=False)
    pulling = Pulling(engine, hub.books, hub.clock, hub.payers.__getitem__)
    runs = Runs(engine, hub.books, hub.clock, propose)
    every_s = hub.settings.recon_every_s
    budget_s = max(every_s / 2, LOOK_PAUSE_S)
    means = Means(
        engine, hub.work_units, hub.books, hub.clock, hub.payers, runs, pulling, pulling.glance, budget_s=budget_s
    )
    look = Continuous(means, every_s=every_s, look_pause_s=min(LOOK_PAUSE_S, every_s))
    pause_s = min(LOOK_PAUSE_S, every_s)
    return Every("recon", pause_s, look, first_s=min(FIRST_S, every_s), at_end=engine.dispose)


def _add_gateway(hub: Hub) -> None:
    # Imported here so that no other role loads a web server.
    from hub.gateway.server import GatewayServer

    hub.doors()  # before the first request: who was shut out stays so over a restart
    hub.sweeps.append(Every("party-doors", DOORS_PAUSE_S, hub.doors))
    hub.gateway = GatewayServer(hub, hub.settings)


def _subscription(hub: Hub, queue: str, handle: Callable[..., None]) -> Subscription:
    settings = hub.settings
    return Subscription(queue, handle, prefetch=settings.prefetch_max, batch_max=settings.batch_max)
