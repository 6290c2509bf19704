"""The hub as a series: its roles as processes, spoken to like a hospital speaks to it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pika

from bench import payload
from bench.driver import Request
from bench.fill import fill_cases
from bench.series import PROJECT, Processes, Series, StoresCases
from bench.servers import Servers, sqlalchemy_url

HUB = "hub.cli"
ROLES = ("engine", "adapters", "relay")
SETTLED = "SELECT count(*) FROM settlement_case WHERE state = 'settled'"
PARTIES_MS = """
SELECT settlement_no, sum(took_us) / 1000.0
FROM exchange JOIN settlement_case USING (case_id)
WHERE leg_no > 0 AND direction = 'in' AND settlement_no BETWEEN %s AND %s GROUP BY settlement_no"""


class HospitalConversation:
    """One hospital over AMQP: its own exchange to write, its own queue to read."""

    exchange = f"in.{payload.INSTITUTION}"
    routing_key = "settlement.settle"
    reply_queue = f"out.{payload.INSTITUTION}"

    def request(self, number: int) -> Request:
        key = payload.settlement_no(number)
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=key,
            correlation_id=key,
            type="settlement.settle",
        )
        return Request(key, payload.encode(payload.settle_request(number)), properties)

    def reply_key(self, properties: pika.BasicProperties, body: bytes) -> str:
        answer = orjson.loads(body)
        if answer.get("status") != "settled":
            raise ValueError(answer)
        return str(answer["settlement_no"])


class HubSeries(Series, StoresCases):
    """The hub's roles with RabbitMQ; what a subclass adds is which payers there are and who plays them."""

    saturated_flows = 5000
    conversation = HospitalConversation()
    _servers: Servers
    _broker_url: str
    _database_url: str
    _processes: Processes
    _environment: Mapping[str, str]

    @abstractmethod
    def rule_book(self) -> str:
        """The rule book in YAML: parties, the institution, rules."""

    @abstractmethod
    def start_parties(self, scratch: Path) -> None:
        """Start whoever plays the payers, before the rule book is asked for."""

    def role_command(self, role: str) -> list[str]:
        """The module and arguments that run one role."""
        return [HUB, "run", "--no-apply-topology", "--role", role]

    def prepare(self) -> None:
        """What else must be stored before requests come (coverage, say); migrations and rule book are there."""

    def start(self, servers: Servers, scratch: Path) -> None:
        self._servers = servers
        self._processes = Processes.logging_to(scratch / f"{self.name}.log")
        self._database_url = servers.fresh_database(f"bench_{self.name}")
        self._broker_url = servers.fresh_vhost(f"bench_{self.name}")
        self._environment = {
            "HUB_DATABASE_URL": sqlalchemy_url(self._database_url),
            "HUB_BROKER_URL": self._broker_url,
            "HUB_PERSON_KEY_SECRET": secrets.token_hex(32),
        }
        self.start_parties(scratch)
        rules = scratch / f"{self.name}.rules.yaml"
        rules.write_text(self.rule_book(), encoding="utf-8")
        self.command("db", "upgrade")
        self.command("rules", "activate", str(rules))
        self.command("topology", "apply")
        self.prepare()
        for role in ROLES:
            self._processes.spawn(role, self.role_command(role), self._environment)

    def command(self, *arguments: str) -> None:
        """Run one command of the hub; CalledProcessError, its output in our log, when it fails."""
        subprocess.run(
            [sys.executable, "-m", HUB, *arguments],
            cwd=PROJECT,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=self._processes.log,
            stderr=self._processes.log,
            check=True,
        )

    def stop(self) -> None:
        self._processes.stop()

    def alive(self) -> bool:
        return self._processes.alive

    def roles(self) -> Mapping[str, Sequence[int]]:
        return self._processes.roles()

    def settled(self) -> int:
        return self._servers.fetch_count(self._database_url, SETTLED)

    def parties_ms(self, first: int, count: int) -> Mapping[str, float]:
        numbers = payload.settlement_no(first), payload.settlement_no(first + count - 1)
        rows = self._servers.fetch_all(self._database_url, PARTIES_MS, *numbers)
        return {settlement_no: float(waited_ms) for settlement_no, waited_ms in rows}

    def fill(self, total: int) -> None:
        fill_cases(self._database_url, total)

    @property
    def broker_url(self) -> str:
        return self._broker_url

    @property
    def database_url(self) -> str:
        return self._database_url
