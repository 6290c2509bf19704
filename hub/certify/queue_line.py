"""The way to a party that consumes: its task goes into its queue, its answer comes back through its exchange.

On a test broker only: whoever else reads the answers there (a hub that runs) gets them too, and knows none of them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hub.bootstrap import broker_topology
from hub.broker.topology import in_exchange, out_queue
from routing.rulebook import RuleBook
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.payer import PreparedCall, RawAnswer
from schemas.transactions import Transaction

ANSWER = Transaction.CLAIM_ANSWER.value
_KEPT_MAX = 1000


class QueueLine:
    """Puts tasks into `out.<party>` and waits for answers on `in.<party>`. Thread-safe once it is open.

    Declares the party's exchange and queue where they are not there, as the hub would.
    """

    def __init__(self, url: str, party: str, book: RuleBook, name_secret: str = "") -> None:
        self._url = url
        self._party = party
        self._topology = broker_topology(book, name_secret)
        self._queue = self._topology.on_broker(out_queue(party))
        self._answers: dict[str, list[bytes]] = {}
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._inbox = ""

    def __enter__(self) -> Self:
        try:
            self._connection = pika.BlockingConnection(pika.URLParameters(self._url))
            self._declared()
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
            self._inbox = self._channel.queue_declare("", exclusive=True).method.queue
            self._channel.queue_bind(self._inbox, in_exchange(self._party), ANSWER)
        except (AMQPError, OSError) as error:
            self.__exit__(None, None, None)
            raise Unavailable("the broker does not let us in", error=type(error).__name__) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def __call__(self, call: PreparedCall, request_id: str, timeout_s: float) -> RawAnswer:
        """Unavailable when the broker did not take the task, OutcomeUnknown when no answer came in time."""
        properties = pika.BasicProperties(
            message_id=str(uuid4()),
            correlation_id=request_id,
            type=call.path,
            content_type=call.content_type,
            delivery_mode=2,
        )
        with self._lock:
            self._publish(call, request_id, properties)
            self._waiting[request_id] += 1
        try:
            return RawAnswer(self._awaited(request_id, timeout_s), 0, "application/json")
        finally:
            self._waiting[request_id] -= 1

    def _publish(self, call: PreparedCall, request_id: str, properties: pika.BasicProperties) -> None:
        assert self._channel is not None
        self._collect()
        if not self._waiting[request_id]:  # what an earlier sending was answered twice is no answer to this one
            self._answers.pop(request_id, None)
        try:
            self._channel.basic_publish("", self._queue, call.body, properties, mandatory=True)
        except AMQPError as error:
            raise Unavailable("the broker did not take the task", error=type(error).__name__) from error

    def _awaited(self, request_id: str, timeout_s: float) -> bytes:
        assert self._connection is not None
        ends_at = time.monotonic() + timeout_s
        while True:
            with self._lock:
                self._collect()
                if found := self._answers.get(request_id):
                    return found.pop(0)
                if time.monotonic() >= ends_at:
                    raise OutcomeUnknown("no answer came", code="answer.none", party=self._party)
                self._connection.sleep(0.002)

    def _collect(self) -> None:
        assert self._channel is not None
        while True:
            method, properties, body = self._channel.basic_get(self._inbox, auto_ack=True)
            if method is None:
                return
            self._answers.setdefault(_about(properties, body), []).append(body)
            while len(self._answers) > _KEPT_MAX:
                del self._answers[next(iter(self._answers))]

    def _declared(self) -> None:
        assert self._connection is not None
        for name, declare in self._objects():
            channel = self._connection.channel()
            try:
                declare(channel)
            except ChannelClosedByBroker as refusal:
                raise Unavailable(f"{name}: {refusal.reply_text}") from refusal
            channel.close()

    def _objects(self) -> Any:
        """The party's exchange and queue, and what they lean on."""
        exchanges = {one.name: one for one in self._topology.exchanges if one.name == in_exchange(self._party)}
        for exchange in exchanges.values():
            yield (
                f"exchange {exchange.name}",
                lambda channel, one=exchange: channel.exchange_declare(
                    one.name, one.type, durable=True, arguments=dict(one.arguments) or None
                ),
            )
        (queue,) = [one for one in self._topology.queues if one.name == out_queue(self._party)]
        yield (
            f"queue {self._queue}",
            lambda channel: channel.queue_declare(self._queue, durable=True, arguments=dict(queue.arguments)),
        )


def _about(properties: pika.BasicProperties, body: bytes) -> str:
    """The request that an answer names; bytes that name none are given to whom they correlate with."""
    try:
        named = orjson.loads(body).get("request_id")
    except (ValueError, AttributeError):
        named = None
    return str(named or properties.correlation_id or "")
