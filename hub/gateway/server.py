"""The gateway as a part of a running hub: one thread with an event loop, a few that talk to the database."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
import uvloop

from hub.broker.embedded import EmbeddedTransport
from hub.gateway.app import GatewayApp
from hub.gateway.batched import BatchedCalls
from hub.gateway.cases import Cases
from hub.gateway.courier import Courier
from hub.gateway.health import Health
from hub.gateway.identity import Doorkeeper, OfficeDoor
from hub.gateway.intake import SureIntake
from hub.gateway.mailbox import Mailbox
from hub.gateway.national.calls import Services
from hub.gateway.national.doors import NationalDoor
from hub.gateway.national.endpoint import NationalService
from hub.gateway.operators import Operators
from hub.gateway.protocol import BoundedHttp, Leaving
from hub.gateway.recon import ReconEndpoints
from hub.gateway.recon_desk import ReconDesk
from hub.gateway.signatures import SignedCallers, caller_keys
from hub.gateway.soap.door import SoapDoor
from hub.gateway.soap.service import SoapService
from hub.gateway.standing import Standing
from hub.gateway.statements import StatementFiles
from hub.gateway.statements_out import OwnBooks
from hub.gateway.transactions import Transactions
from hub.gateway.views import CaseView, CaseViews
from hub.gateway.waiters import AnswerWaiters
from hub.inbound import Inbound, Taken
from hub.listener import BACKLOG, listen
from hub.party_secrets import read_secrets
from hub.people.finding import Finder
from hub.people.office import Office, open_office
from hub.routes import HINT_PREFIX, new_id
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.bootstrap import Hub

log = structlog.get_logger()

KEEP_ALIVE_S = 75
INTAKE_WORKERS = 2
START_S_MAX = 10.0
_LOOK_S = 0.02
STOP_MARGIN_S = 2.0
"""Kept of the time to stop, for those who must be told that their answer will come later."""


class GatewayServer:
    """Serves HTTP from `start` until `stop`. With port 0 the system chooses; `port` is the real one once started."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._settings = settings
        self._channel = f"gateway.{new_id()}"
        self._leaving = Leaving()
        reader = CaseViews(hub.work_units, hub.books)
        self._waiters = AnswerWaiters(reader.latest)
        self._intake = BatchedCalls[Inbound, Taken](
            "gateway-intake",
            SureIntake(hub.desk.take),
            batch_max=settings.batch_max,
            workers=INTAKE_WORKERS,
            has_effects=True,
        )
        self._views = BatchedCalls[str, CaseView | None](
            "gateway-views", reader.read, batch_max=settings.batch_max, workers=1
        )
        self._calls = BatchedCalls[Callable[[], Any], Any]("gateway-calls", _call_each, batch_max=1, workers=2)
        self._checks = BatchedCalls[Callable[[], Any], Any]("gateway-checks", _call_each, batch_max=1, workers=1)
        self._statements = BatchedCalls[Callable[[], Any], Any](
            "gateway-statements", _call_each, batch_max=1, workers=2, has_effects=True
        )
        self._recon = BatchedCalls[Callable[[], Any], Any](
            "gateway-recon", _call_each, batch_max=1, workers=2, has_effects=True
        )
        self._office = BatchedCalls[Callable[[], Any], Any](
            "gateway-office", _call_each, batch_max=1, workers=1, has_effects=True
        )
        keys = caller_keys(read_secrets(settings.party_secrets))
        doorkeeper = Doorkeeper(settings.party_token_secret.get_secret_value(), settings.trust_party_header, hub.doors)
        signatures = SignedCallers(keys, doorkeeper, self._calls, hub.work_units, hub.clock)
        letterbox = hub.transport if isinstance(hub.transport, EmbeddedTransport) else None
        self._mailbox = Mailbox(doorkeeper, self._calls, hub.books, letterbox)
        courier = Courier(self._intake, self._waiters, self._views, hub.books, hub.clock, HINT_PREFIX + self._channel)
        self._app = GatewayApp(
            Transactions(doorkeeper, courier),
            Cases(doorkeeper, self._views, self._calls, reader, hub.clock),
            self._mailbox,
            Health(self._checks, hub.engine, hub.transport, hub.books, self._leaving),
            self._operators(hub, settings),
            [
                *SoapService(
                    SoapDoor(doorkeeper, hub.clock, hub.work_units, self._calls, frozenset(keys)),
                    courier,
                    address=settings.soap_address,
                    wsdl_public=settings.wsdl_public,
                ).routes(),
                *self._national(hub, settings, doorkeeper, courier).routes(),
                *StatementFiles(doorkeeper, hub.work_units, hub.books, hub.clock, self._statements).routes(),
                *OwnBooks(doorkeeper, hub.work_units, hub.books, self._statements).routes(),
                *self._reconciliation(hub, settings).routes(),
            ],
            signatures,
        )
        self.port = settings.http_port
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway-http", daemon=True)
        self._listener: socket.socket | None = None
        self._shared = False

    def _operators(self, hub: Hub, settings: Settings) -> Operators:
        from hub.bootstrap import person_secret

        office = _office_of(hub)
        standing = Standing(office, hub.work_units.read, lambda: list(hub.payers), Finder(person_secret(settings)))
        return Operators(_office_door(settings), office, self._office, hub.clock, standing)

    def _reconciliation(self, hub: Hub, settings: Settings) -> ReconEndpoints:
        desk = ReconDesk(_office_of(hub), hub.work_units, hub.books, hub.clock)
        return ReconEndpoints(_office_door(settings), desk, self._recon)

    def _national(self, hub: Hub, settings: Settings, doorkeeper: Doorkeeper, courier: Courier) -> NationalService:
        from hub.bootstrap import person_secret

        door = NationalDoor(doorkeeper, hub.books, read_secrets(settings.party_secrets), hub.work_units)
        services = Services(
            courier,
            self._calls,
            hub.work_units,
            hub.books,
            hub.clock,
            person_secret(settings),
            settings.national_sign_in_s,
        )
        return NationalService(door, services, input_max=settings.national_input_max)

    def listen_on(self, shared: socket.socket) -> None:
        """Accept from a listening socket that lives on when this gateway ends; call it before `start`."""
        self._listener, self._shared = shared, True

    def start(self) -> None:
        """Listen and serve; InvalidSettings when the address cannot be had."""
        if not self._settings.party_token_secret.get_secret_value() and not self._settings.trust_party_header:
            log.warning("gateway_lets_nobody_in", remedy="set HUB_PARTY_TOKEN_SECRET")
        if self._listener is None:
            self._listener = listen(self._settings.http_host, self._settings.http_port)
        self.port = self._listener.getsockname()[1]
        self._hub.transport.on_hint(self._channel, self._waiters.hint)
        self._thread.start()
        self._running.wait(START_S_MAX)
        log.info("gateway_listens", host=self._settings.http_host, port=self.port)

    def drain(self, within_s: float) -> None:
        """Send the callers away without hanging up on anybody: each one's next answer says that it was the last here.

        A server that closes an idle connection does not know what its client is just sending; so idle ones get
        `within_s` to speak once more. A shared socket is left to others at once, one of our own serves until the end.
        """
        if self._loop is None or self._server is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._begin_to_leave)
        until = time.monotonic() + within_s
        while time.monotonic() < until and (self._server.server_state.connections or not self._leaving.begun):
            time.sleep(_LOOK_S)

    def _begin_to_leave(self) -> None:
        assert self._server is not None
        self._leaving.begun = True
        self._mailbox.close()
        if self._shared:
            for accepting in self._server.servers:
                accepting.close()
        for connection in list(self._server.server_state.connections):
            assert isinstance(connection, BoundedHttp)
            connection.leave()

    def stop(self, timeout_s: float) -> None:
        """Take no new connection, answer what is waiting within `timeout_s`, then end."""
        if self._loop is None or self._server is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._begin_to_stop, timeout_s)
        self._thread.join(timeout_s + STOP_MARGIN_S)
        for pool in self._pools():
            pool.stop(STOP_MARGIN_S)
        self._waiters.stop(STOP_MARGIN_S)

    def _pools(self) -> tuple[BatchedCalls[Any, Any], ...]:
        return (self._intake, self._views, self._calls, self._checks, self._statements, self._recon, self._office)

    def _begin_to_stop(self, timeout_s: float) -> None:
        assert self._server is not None
        assert self._loop is not None
        self._server.config.timeout_graceful_shutdown = max(1, int(timeout_s))
        self._server.should_exit = True
        self._mailbox.close()
        self._loop.call_later(max(0.0, timeout_s - STOP_MARGIN_S), self._waiters.give_up)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        for pool in self._pools():
            pool.start(loop)
        self._waiters.start(loop)
        self._server = uvicorn.Server(_config(self._app, self._leaving))
        self._loop = loop
        self._running.set()
        await self._server.serve(sockets=[self._listener])


def _office_door(settings: Settings) -> OfficeDoor:
    return OfficeDoor(settings.operator_token_secret.get_secret_value(), settings.trust_party_header)


def _office_of(hub: Hub) -> Office:
    from hub.bootstrap import broker_topology

    return open_office(hub.work_units, hub.clock, lambda: broker_topology(hub.books.active().book), lambda: hub.payers)


def _config(app: GatewayApp, leaving: Leaving) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=partial(BoundedHttp, leaving=leaving),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _call_each(batch: Sequence[Callable[[], Any]]) -> list[Any]:
    return [call() for call in batch]
