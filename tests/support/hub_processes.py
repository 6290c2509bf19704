"""A hub of real processes on real servers, with the sandbox as its parties: what the fault tests kill and look at."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import orjson
import yaml
from sqlalchemy import Engine, text

from hub.bootstrap import broker_topology
from hub.broker.declare import apply
from hub.demo.ledger import borne_by_legs
from hub.demo.rulebook import rule_book_text
from routing.rulebook_file import read_rule_book
from sandbox.day import DayCase, HospitalDay
from sandbox.parties import REGION
from sandbox.people import CoverageRow as PolicyOfDay
from sandbox.proof import borne_by_books, differences
from sandbox.server import CastSettings, Sandbox
from store import coverage
from store.coverage import CoverageRow, person_key
from store.database import open_engine
from tests.support.eventually import eventually
from tests.support.processes import free_port
from tests.support.role_process import start_role
from tests.support.rule_books import put_in_force
from tests.support.soundness import broken

PERSON_SECRET = "a synthetic secret for synthetic people"
ROLES = ("engine", "adapters", "relay")
WITH_HTTP = ("gateway", *ROLES)


@dataclass
class HubProcesses:
    """The roles as processes; each may be killed, armed and started again."""

    database_url: str
    broker_url: str
    log: Path
    running: dict[str, BaseProcess] = field(default_factory=dict)
    http_port: int = field(default_factory=free_port)
    """Where the gateway listens, also after it was started again."""

    def start(self, role: str, *, failpoints: str = "", name: str = "") -> BaseProcess:
        """Start one role, with points armed where it shall die; `name` tells a second process of a role apart."""
        settings = {
            "HUB_DATABASE_URL": self.database_url,
            "HUB_BROKER_URL": self.broker_url,
            "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
            "HUB_FAILPOINTS": failpoints,
            "HUB_HTTP_PORT": str(self.http_port),
            "HUB_TRUST_PARTY_HEADER": "true",
            "HUB_DRAIN_S": "0",
        }
        self.running[name or role] = start_role(role, settings, self.log, self._clock_of(role))
        return self.running[name or role]

    def set_clock(self, role: str, ahead_s: float) -> None:
        """Set the clocks of a role's processes forward or, below 0, back; running ones see it at once."""
        unfinished = self._clock_of(role).with_suffix(".part")
        unfinished.write_text(str(ahead_s), encoding="ascii")
        unfinished.replace(self._clock_of(role))

    def _clock_of(self, role: str) -> Path:
        return self.log.with_name(f"{role}.clock")

    @property
    def http_url(self) -> str:
        """The gateway, where it runs."""
        return f"http://127.0.0.1:{self.http_port}"

    def dead(self) -> list[str]:
        """Processes that ended by themselves."""
        return [name for name, process in self.running.items() if not process.is_alive()]

    def logged(self, event: str) -> int:
        """How often the processes have logged an event so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(f'"event":"{event}"')

    def reached(self) -> list[tuple[str, str]]:
        """(role, point) of every failpoint that was reached by a process that lived on."""
        # One that was killed while it wrote leaves half a line, and the next one goes on behind it.
        text = self.log.read_text(encoding="utf-8", errors="replace")
        events = re.findall(r'\{[^{}]*"event":"failpoint_reached"[^{}]*\}', text)
        return [(event["role"], event["point"]) for event in map(orjson.loads, events)]

    def kill(self, role: str) -> None:
        """End one role as a power cut would."""
        process = self.running.pop(role)
        process.kill()
        process.join(60)

    def stop(self, role: str) -> None:
        """End one role as an operator would."""
        process = self.running.pop(role)
        process.terminate()
        process.join(120)
        # One that has only just been started may not listen to signals yet.
        assert process.exitcode in (0, -signal.SIGTERM), f"{role} ended with {process.exitcode}"

    def stop_all(self) -> None:
        """End them as a power cut would."""
        for role in list(self.running):
            self.kill(role)


@dataclass
class World:
    """Hub, parties and a day's worth of bills."""

    hub: HubProcesses
    sandbox: Sandbox
    engine: Engine
    day: HospitalDay

    def bills(self) -> Iterator[DayCase]:
        """The bills of the day, and without end the same ones under new settlement numbers."""
        yield from self.day
        for again in count(1):
            for bill in self.day:
                number = f"{bill.settlement_no}-{again}"
                body = bill.body.replace(f'"{bill.settlement_no}"'.encode(), f'"{number}"'.encode())
                yield replace(bill, settlement_no=number, body=body)

    def unsettled(self, settlement_numbers: Sequence[str]) -> int:
        """How many of these have no final answer yet."""
        with self.engine.connect() as connection:
            done = connection.execute(
                text(
                    "SELECT count(*) FROM settlement_case WHERE settlement_no = ANY(:numbers) "
                    "AND state IN ('settled', 'declined', 'cancelled')"
                ),
                {"numbers": list(settlement_numbers)},
            ).scalar_one()
        return len(settlement_numbers) - int(done)

    def assert_books_agree(self) -> None:
        """What the hub says each payer bears stands in that payer's own book, case by case; and every view is empty."""
        sides = {"hub": borne_by_legs(self.engine), "parties": borne_by_books(self.sandbox.books)}
        assert differences(sides) == []
        assert broken(self.engine) == {}

    def assert_nothing_lies_about(self) -> None:
        """Every message found its end: nothing waits in the outbox and nothing died."""
        eventually(lambda: self.count("outbox") == 0, within_s=90)
        assert self.count("dead_letter") == 0

    def count(self, table: str) -> int:
        """How many rows a table has."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@contextmanager
def world(
    database_url: str,
    broker_url: str,
    folder: Path,
    cases: int,
    *,
    seed: int,
    hub_database_url: str = "",
    hub_broker_url: str = "",
    payer_timeout_s: float | None = None,
) -> Iterator[World]:
    """A hub with its parties, not started: rule book active, topology declared, coverage stored.

    The test looks at the database and the parties read their queues at the first two addresses; the hub's own way
    there (a proxy, several hosts) may be another. With `payer_timeout_s` payers answer within it or are in doubt, and
    what they have not heard of twice as long later they never will.
    """
    settings = CastSettings(data=folder, broker_url=broker_url)
    day = HospitalDay(cases, day=(datetime.now(UTC) - timedelta(days=1)).date(), seed=seed)
    with Sandbox(settings) as sandbox:
        content = rule_book_text(sandbox.endpoints(), day.institutions, amqp=len(day.institutions))
        if payer_timeout_s is not None:
            content = _impatient(content, payer_timeout_s)
        apply(broker_topology(read_rule_book(content)), broker_url)
        put_in_force(database_url, content)
        engine = open_engine(database_url, by_key=False)
        with engine.begin() as connection:
            coverage.add(connection, [_covered(row) for row in day.coverage()])
        hub = HubProcesses(hub_database_url or database_url, hub_broker_url or broker_url, folder / "hub.log")
        try:
            yield World(hub, sandbox, engine, day)
        finally:
            hub.stop_all()
            engine.dispose()


def _impatient(content: str, timeout_s: float) -> str:
    book = yaml.safe_load(content)
    for party in book["parties"]:
        party |= {"timeout_s": timeout_s, "settle_window_s": 2 * timeout_s}
    return yaml.safe_dump(book, allow_unicode=True, sort_keys=False)


def _covered(row: PolicyOfDay) -> CoverageRow:
    key = person_key(PERSON_SECRET.encode(), row.id_type, row.id_no)
    return CoverageRow(key, row.product, row.policy_no, REGION, row.valid_from, row.valid_to)
