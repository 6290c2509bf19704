"""The whole cast in one process: one event loop, one loopback port and one book per party.

`python -m sandbox.server --data DIR` runs it until a signal; `Sandbox` runs it on a thread of a test or a demo.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson
import uvloop

from sandbox import basic_soap, cast_dialects, parties
from sandbox.basic_soap import BasicSoapServer
from sandbox.book import Book
from sandbox.controls import controls
from sandbox.faults import Fault, Faults
from sandbox.insurer_queue import QueueInsurer
from sandbox.insurer_rest import RestInsurer
from sandbox.web import Listener, PartyApp

START_S_MAX = 15.0
HOST = "127.0.0.1"
FIXED_PORTS: Mapping[str, int] = {
    parties.BASIC: 18801,
    parties.CRITICAL_ILLNESS: 18802,
    parties.ANKANG: 18803,
    parties.HENGAN: 18804,
}
ALL_FIXED_PORTS: Mapping[str, int] = {**FIXED_PORTS, **cast_dialects.FIXED_PORTS}

log = logging.getLogger("sandbox")


@dataclass(frozen=True, slots=True)
class CastSettings:
    """How the cast is run. Books lie in `data`; without one, or with `volatile`, they are in memory.

    `ports` of 0 (the default) are chosen freely. HENGAN reads from `broker_url`, there from `queue`
    (out.HENGAN, where the hub's queues have no other names), else from the mailbox at `hub_url`.
    `volatile` also spares the basic system the check of its own answers: for benches. `dialects` adds the parties that
    speak dialects of their own.
    """

    data: Path | None = None
    volatile: bool = False
    host: str = HOST
    ports: Mapping[str, int] = field(default_factory=dict)
    broker_url: str | None = None
    queue: str = ""
    hub_url: str | None = None
    hub_token: str = ""
    seed: int = 1
    dialects: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Who plays."""
        return (*parties.PARTIES, *cast_dialects.CODES) if self.dialects else parties.PARTIES


class Cast:
    """The parties on the running event loop; `apps` by code."""

    def __init__(self, settings: CastSettings) -> None:
        self._settings = settings
        self.books = {code: self._open_book(code) for code in settings.codes}
        self.apps: dict[str, PartyApp] = {code: self._app(code) for code in settings.codes}
        for app in self.apps.values():
            routes, prefixes = controls(app)
            app.routes |= routes
            app.prefixes |= prefixes
        self._listeners = {
            code: Listener(app, settings.host, settings.ports.get(code, 0)) for code, app in self.apps.items()
        }

    async def open(self) -> None:
        """Listen everywhere; OSError when a port is taken."""
        for listener in self._listeners.values():
            await listener.open()
        self.queue_insurer.start()

    async def close(self) -> None:
        """Stop listening and working, and close the books."""
        for listener in self._listeners.values():
            await listener.close()
        for app in self.apps.values():
            app.forget_delayed()
        await asyncio.to_thread(self.queue_insurer.stop)
        for book in self.books.values():
            await asyncio.to_thread(book.close)

    @property
    def queue_insurer(self) -> QueueInsurer:
        app = self.apps[parties.HENGAN]
        assert isinstance(app, QueueInsurer)
        return app

    def endpoints(self) -> dict[str, str]:
        """Where each party is: what a rule book wants as `endpoint`."""
        return {code: url + path_of(code) for code, url in self.control_urls().items()}

    def control_urls(self) -> dict[str, str]:
        """The root of each party's server, for /sandbox/book, /sandbox/faults and /healthz."""
        return {code: f"http://{one.host}:{one.port}" for code, one in self._listeners.items()}

    def _open_book(self, code: str) -> Book:
        data = self._settings.data
        if self._settings.volatile or data is None:
            return Book(volatile=True)
        return Book(data / f"{code}.sqlite3")

    def _app(self, code: str) -> PartyApp:
        settings, book = self._settings, self.books[code]
        faults = Faults(code, settings.seed)
        if code in cast_dialects.ROLE_OF:
            return cast_dialects.ROLE_OF[code].make(code, book, faults)
        if code == parties.BASIC:
            return BasicSoapServer(code, book, faults, check_answers=not settings.volatile)
        if code == parties.HENGAN:
            return QueueInsurer(
                code,
                book,
                parties.DESKS[code],
                faults,
                broker_url=settings.broker_url,
                queue=settings.queue,
                hub_url=settings.hub_url,
                hub_token=settings.hub_token,
            )
        return RestInsurer(code, book, parties.DESKS[code], faults)


def path_of(code: str) -> str:
    """What a party's endpoint has after its address."""
    if code in cast_dialects.ROLE_OF:
        return cast_dialects.ROLE_OF[code].path
    return basic_soap.PATH if code == parties.BASIC else ""


class Sandbox:
    """The cast on a thread of its own, for tests, demos and benches. A context manager; thread-safe."""

    def __init__(self, settings: CastSettings | None = None) -> None:
        self._settings = settings or CastSettings()
        self._loop = uvloop.new_event_loop()
        self._cast: Cast | None = None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> Self:
        """Listen everywhere. Raises OSError when a port is taken."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(START_S_MAX)
        return self

    def stop(self) -> None:
        """Stop everything and close the books."""
        if self._cast is not None:
            asyncio.run_coroutine_threadsafe(self._cast.close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def cast(self) -> Cast:
        if self._cast is None:
            raise RuntimeError("the sandbox is not started")
        return self._cast

    @property
    def books(self) -> Mapping[str, Book]:
        """The parties' books by code: the oracle."""
        return self.cast.books

    def endpoints(self) -> dict[str, str]:
        """Where each party is, by code."""
        return self.cast.endpoints()

    def set_faults(self, code: str, script: Sequence[Fault], seed: int | None = None) -> None:
        """Switch a party to a fault script; an empty one ends all faults."""
        done = threading.Event()

        def switch() -> None:
            self.cast.apps[code].set_faults(tuple(script), seed)
            done.set()

        self._loop.call_soon_threadsafe(switch)
        done.wait(START_S_MAX)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _open(self) -> None:
        self._cast = Cast(self._settings)
        await self._cast.open()


def endpoint_map(cast: Cast) -> dict[str, object]:
    """What a driver needs to find the cast."""
    return {"pid": os.getpid(), "endpoints": cast.endpoints(), "control": cast.control_urls()}


async def serve(settings: CastSettings, ports_file: Path | None) -> None:
    """Run the cast until SIGTERM or SIGINT; the endpoint map goes to stdout and, whole, to `ports_file`."""
    cast = Cast(settings)
    await cast.open()
    told = orjson.dumps(endpoint_map(cast)).decode()
    if ports_file is not None:
        unfinished = ports_file.with_suffix(".part")
        unfinished.write_text(told, encoding="utf-8")
        unfinished.replace(ports_file)
    sys.stdout.write(told + "\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await cast.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the cast."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.server",
        description="Run all sandbox parties.",
        epilog="SANDBOX_HUB_TOKEN: HENGAN's token at the hub's HTTP address, where the hub asks for one.",
    )
    parser.add_argument("--data", type=Path, help="folder for the parties' books; in memory without it")
    parser.add_argument("--ports-file", type=Path, help="write the endpoint map here as JSON")
    parser.add_argument("--fixed-ports", action="store_true", help="ports from 18801 on instead of free ones")
    parser.add_argument("--host", default=HOST, help="address to listen on (default: loopback)")
    parser.add_argument("--broker", help="AMQP URL at which HENGAN reads its queue")
    parser.add_argument("--queue", default="", help="what the broker calls that queue: hub party show HENGAN")
    parser.add_argument("--hub", help="HTTP address of the hub whose mailbox HENGAN reads when there is no broker")
    parser.add_argument("--volatile", action="store_true", help="books in memory: answers at once, proves nothing")
    parser.add_argument("--dialects", action="store_true", help="also the parties that speak dialects of their own")
    parser.add_argument("--seed", type=int, default=1, help="seed of the fault scripts")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    settings = CastSettings(
        data=given.data,
        volatile=given.volatile,
        host=given.host,
        ports=ALL_FIXED_PORTS if given.fixed_ports else {},
        broker_url=given.broker,
        queue=given.queue,
        hub_url=given.hub,
        hub_token=os.environ.get("SANDBOX_HUB_TOKEN", ""),
        seed=given.seed,
        dialects=given.dialects,
    )
    uvloop.run(serve(settings, given.ports_file))


if __name__ == "__main__":
    main()
