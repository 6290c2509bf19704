"""The ways into one running hub, each as a function from a message to the canonical JSON or XML of its answer."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson
import pika
from lxml import etree

from hub.bootstrap import Hub
from hub.imports.job import Importer, Order, Outcome
from hub.master_rows import ROW_KINDS, bringer_of
from hub.message_files import MessageFolder
from hub.ports import Clock
from routing.rulebook import RuleBook
from schemas.base import read_message
from schemas.soap import OPERATIONS, RESPONSE, SERVICE_NAMESPACE
from schemas.transactions import SPECS, Transaction
from schemas.wsdl import hub_xsd
from store.database import open_engine
from tests.support.every_transaction import Said
from tests.support.http_client import Client
from tests.support.soap_client import send
from tests.support.soap_messages import envelope, payload
from tests.support.staging import Table

PATIENCE_S = 20.0


class Way(Protocol):
    """Says a message and gives back the bytes of its answer; an AssertionError when it was refused."""

    def __call__(self, said: Said) -> bytes: ...


def by_http(port: int) -> Way:
    """POST /api/v1/transactions/…"""

    def say(said: Said) -> bytes:
        key = f"{said.transaction}-{said.message.get('request_no') or said.message.get('settlement_no') or 'ask'}"
        reply = Client(port, said.party).post(said.transaction.value, said.message, key)
        expected = 202 if said.transaction is Transaction.CLAIM_ANSWER else 200
        assert reply.status == expected, (said.transaction, reply.status, reply.body)
        return reply.body

    return say


def by_soap(port: int) -> Way:
    """POST /soap/settlement; the answer is checked against the service's own schema."""
    schema = etree.XMLSchema(etree.parse(str(hub_xsd())))

    def say(said: Said) -> bytes:
        operation = OPERATIONS[said.transaction]
        # The schema wants the elements in the order of the model.
        message = read_message(SPECS[said.transaction].message, orjson.dumps(said.message))
        ordered = message.model_dump(mode="json", exclude_unset=True)
        reply = send(Client(port, said.party), envelope(payload(operation, ordered)))
        assert reply.status == 200, (said.transaction, reply.body)
        (answer,) = reply.root.find("{*}Body")
        assert answer.tag == f"{{{SERVICE_NAMESPACE}}}{operation}{RESPONSE}"
        schema.assertValid(answer)
        return etree.tostring(answer)

    return say


class ByQueue:
    """Parties at RabbitMQ: publish to `in.<party>`, read `out.<party>`."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._numbers = 0

    def __call__(self, said: Said) -> bytes:
        self._numbers += 1
        message_id = f"M-{self._numbers}"
        properties = pika.BasicProperties(message_id=message_id, content_type="application/json")
        self._channel.basic_publish(
            f"in.{said.party}", said.transaction.value, orjson.dumps(said.message), properties, mandatory=True
        )
        if said.transaction is Transaction.CLAIM_ANSWER:
            return b""
        kind, body = self.read(said.party, message_id)
        assert kind != "error.answer", (said.transaction, body)
        return body

    def read(self, party: str, correlation_id: str = "") -> tuple[str, bytes]:
        """Type and body of the next message for a party; with `correlation_id` the one that answers it."""
        for method, properties, body in self._channel.consume(f"out.{party}", inactivity_timeout=PATIENCE_S):
            assert method is not None, f"nothing came for {party}"
            self._channel.basic_ack(method.delivery_tag)
            if correlation_id in ("", properties.correlation_id):
                self._channel.cancel()
                return str(properties.type), bytes(body)
        raise AssertionError("the consumer was cancelled")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def at_the_broker(url: str) -> Iterator[ByQueue]:
    """Connected for the length of the block."""
    queue = ByQueue(url)
    try:
        yield queue
    finally:
        queue.close()


def by_table(tables: Mapping[str, Table]) -> Way:
    """A row in the staging table of the party."""

    def say(said: Said) -> bytes:
        table = tables[said.party]
        key = f"{said.transaction}-{sum(1 for _ in table.ask('SELECT 1 FROM staging.staging_request'))}"
        row = table.write(said.transaction.value, said.message, key, said.party)
        return orjson.dumps(table.answer(row))

    return say


def by_message_file(hub: Hub, clock: Clock, folder: Path) -> Way:
    """A file of one line in the party's exchange folder."""

    def say(said: Said) -> bytes:
        own = folder / said.party
        (own / "inbox").mkdir(parents=True, exist_ok=True)
        name = f"{said.transaction}-{len(list(own.glob('done/*')))}"
        (own / "inbox" / f"{name}.jsonl").write_bytes(orjson.dumps(said.message) + b"\n")
        exchange = MessageFolder(own, said.party, hub.engine, hub.desk.take, clock, hub.books, hub.doors, still_for_s=0)
        list(exchange.look())
        (line,) = (own / "outbox" / f"{name}.answer.jsonl").read_bytes().splitlines()
        told = orjson.loads(line)
        assert told["state"] == "answered", told
        return orjson.dumps(told["answer"])

    return say


def by_file(database_url: str, book: RuleBook, secret: bytes, folder: Path) -> Callable[[Said], Outcome]:
    """A CSV with the rows of the message, imported."""
    kinds = {kind.transaction: kind for kind in ROW_KINDS.values()}

    def bring(said: Said) -> Outcome:
        rows: list[dict[str, Any]] = said.message["rows"]
        path = folder / f"{said.transaction}.csv"
        with path.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        engine = open_engine(database_url, application="test", by_key=False)
        try:
            bringer = bringer_of(book, said.party, said.transaction)
            return Importer(engine, secret).run(Order(path, kinds[said.transaction], bringer))
        finally:
            engine.dispose()

    return bring
