"""The floor and the other frameworks as series."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import orjson
import pika

from bench import flow, payload
from bench.driver import Conversation, Request
from bench.series import Processes, Series
from bench.servers import Servers, declare_queues

CELERY_PROCESSES = 4
FASTSTREAM_PROCESSES = 2


class PlainConversation:
    """Requests as JSON into the first hop's queue, replies told apart by their correlation id."""

    exchange = ""
    routing_key = flow.HOPS[0]
    reply_queue = flow.REPLIES

    def request(self, number: int) -> Request:
        key = payload.settlement_no(number)
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, message_id=key, correlation_id=key
        )
        return Request(key, payload.encode(payload.settle_request(number)), properties)

    def reply_key(self, properties: pika.BasicProperties, body: bytes) -> str:
        reply = orjson.loads(body)
        if reply["settlement_no"] != properties.correlation_id or not reply["reference"]:
            raise ValueError(reply)
        return str(reply["settlement_no"])


class CeleryConversation(PlainConversation):
    """The same requests wrapped as Celery wants them."""

    def request(self, number: int) -> Request:
        from bench.celery_flow import first_message

        body, properties = first_message(payload.settle_request(number))
        return Request(payload.settlement_no(number), body, pika.BasicProperties(**properties))


class Peer(Series):
    """What the peers have in common: one table, three hop queues, a reply queue."""

    _conversation: ClassVar[Conversation] = PlainConversation()
    _servers: Servers
    _broker_url: str
    _database_url: str
    _processes: Processes

    @property
    def conversation(self) -> Conversation:
        return self._conversation

    @property
    def broker_url(self) -> str:
        return self._broker_url

    @property
    def database_url(self) -> str:
        return self._database_url

    @abstractmethod
    def commands(self) -> Mapping[str, Sequence[str]]:
        """The worker processes by role: module and arguments for `python -m`."""

    def start(self, servers: Servers, scratch: Path) -> None:
        self._servers = servers
        self._processes = Processes.logging_to(scratch / f"{self.name}.log")
        self._database_url = servers.fresh_database(f"bench_{self.name}")
        self._broker_url = servers.fresh_vhost(f"bench_{self.name}")
        servers.execute(self._database_url, flow.SCHEMA)
        declare_queues(self._broker_url, [*flow.HOPS, flow.REPLIES], flow.QUORUM)
        environment = {flow.BROKER_URL: self._broker_url, flow.DATABASE_URL: self._database_url}
        for role, command in self.commands().items():
            self._processes.spawn(role, command, environment)

    def stop(self) -> None:
        self._processes.stop()

    def alive(self) -> bool:
        return self._processes.alive

    def roles(self) -> Mapping[str, Sequence[int]]:
        return self._processes.roles()

    def settled(self) -> int:
        return self._servers.fetch_count(self._database_url, "SELECT count(*) FROM flow WHERE state = 3")


class Floor(Peer):
    """The least that three such hops can cost from Python."""

    name = "floor"
    title = "plain pika + psycopg2, batched and pipelined, no safety, 3 processes"
    saturated_flows = 8000

    def commands(self) -> Mapping[str, Sequence[str]]:
        return {f"hop {hop}": ["bench.floor", str(hop)] for hop in (1, 2, 3)}


class CeleryPeer(Peer):
    """A chain of three Celery tasks."""

    name = "celery"
    title = f"Celery chain, acks late, confirmed publishes, {CELERY_PROCESSES} prefork processes"
    saturated_flows = 1200
    _conversation = CeleryConversation()

    def commands(self) -> Mapping[str, Sequence[str]]:
        worker = ["celery", "-A", "bench.celery_flow", "worker", "-Q", ",".join(flow.HOPS)]
        pool = ["-P", "prefork", "-c", str(CELERY_PROCESSES), "-l", "warning"]
        return {"worker": [*worker, *pool, "--without-gossip", "--without-mingle", "--without-heartbeat"]}


class FastStreamPeer(Peer):
    """Three FastStream subscribers."""

    name = "faststream"
    title = f"FastStream, psycopg pool, awaited confirms, {FASTSTREAM_PROCESSES} processes"
    saturated_flows = 2000

    def commands(self) -> Mapping[str, Sequence[str]]:
        return {f"worker {number + 1}": ["bench.faststream_flow"] for number in range(FASTSTREAM_PROCESSES)}
