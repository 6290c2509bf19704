"""Declaring the topology on live brokers, and comparing it with what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hub.broker.io_thread import ConnectionSettings, split_urls
from hub.broker.probe import probe
from hub.broker.topology import Binding, Exchange, Link, Queue, Topology
from schemas.errors import Unavailable

_NOT_FOUND, _PRECONDITION_FAILED = 404, 406
Action = Callable[[BlockingChannel], object]


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What was declared (all of it is there now), or why not, a line for each object refused."""

    exchanges: int
    queues: int
    bindings: int
    refused: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.refused


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Differences from the declared topology, and how the broker behaves. Bindings cannot be read over AMQP."""

    differences: tuple[str, ...]
    behaviour: Mapping[str, str]
    """What was tried -> "ok" or what happened instead."""

    @property
    def ok(self) -> bool:
        return not self.differences and all(result == "ok" for result in self.behaviour.values())


def apply(topology: Topology, core_url: str, edge_url: str = "") -> ApplyReport:
    """Declare everything; running it again changes nothing. Unavailable: a broker cannot be reached."""
    refused: list[str] = []
    for url, links in _by_url(core_url, edge_url):
        with _connected(url) as connection:
            for what, declare in _declarations(topology, links):
                refused += _refusal(connection, what, declare)
            _unbind_plain_names(connection, topology, links)
    return ApplyReport(len(topology.exchanges), len(topology.queues), len(topology.bindings), tuple(refused))


def check(topology: Topology, core_url: str, edge_url: str = "") -> CheckReport:
    """Compare each exchange and queue with the live brokers, then try the behaviour we rely on."""
    differences: list[str] = []
    behaviour: dict[str, str] = {}
    for url, links in _by_url(core_url, edge_url):
        with _connected(url) as connection:
            for exchange in _of_links(topology.exchanges, links):
                differences += _exchange_difference(connection, exchange)
            for queue in _of_links(topology.queues, links):
                differences += _queue_difference(connection, queue, topology.on_broker(queue.name))
            for tried, result in probe(connection).items():
                behaviour[f"{'+'.join(links)}: {tried}"] = result
    return CheckReport(tuple(differences), behaviour)


def _by_url(core_url: str, edge_url: str) -> list[tuple[str, tuple[Link, ...]]]:
    if edge_url in ("", core_url):
        return [(core_url, ("core", "edge"))]
    return [(core_url, ("core",)), (edge_url, ("edge",))]


def _of_links(things: tuple[Any, ...], links: tuple[Link, ...]) -> list[Any]:
    """The objects of these links, each name once."""
    return list({thing.name: thing for thing in things if thing.link in links}.values())


@contextmanager
def _connected(urls: str) -> Iterator[pika.BlockingConnection]:
    """The first host that answers."""
    settings = ConnectionSettings(split_urls(urls), "hub-topology")
    failure: Exception | None = None
    for attempt in range(len(settings.urls)):
        try:
            connection = pika.BlockingConnection(settings.parameters(attempt))
        except (AMQPError, OSError) as error:
            failure = error
            continue
        try:
            yield connection
        finally:
            if connection.is_open:
                connection.close()
        return
    raise Unavailable("no broker answers", error=type(failure).__name__) from failure


def _declarations(topology: Topology, links: tuple[Link, ...]) -> Iterator[tuple[str, Action]]:
    for exchange in _of_links(topology.exchanges, links):
        yield f"exchange {exchange.name}", partial(_declare_exchange, exchange)
    for queue in _of_links(topology.queues, links):
        yield f"queue {queue.name}", partial(_declare_queue, topology.on_broker(queue.name), queue)
    bindings = {(one.exchange, one.queue, one.routing_key): one for one in topology.bindings if one.link in links}
    for binding in bindings.values():
        on_broker = topology.on_broker(binding.queue)
        yield f"binding {binding.exchange} -> {binding.queue}", partial(_bind, binding, on_broker)


def _unbind_plain_names(connection: pika.BlockingConnection, topology: Topology, links: tuple[Link, ...]) -> None:
    """A queue left over from the time before there was a secret would fill with copies until publishers are refused."""
    for binding in topology.bindings:
        if binding.link in links and topology.name_secret:
            _attempt(connection, partial(_unbind, binding))


def _unbind(binding: Binding, channel: BlockingChannel) -> None:
    channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key, dict(binding.arguments) or None)


def _declare_exchange(exchange: Exchange, channel: BlockingChannel) -> None:
    channel.exchange_declare(
        exchange.name,
        exchange.type,
        durable=True,
        internal=exchange.internal,
        arguments=dict(exchange.arguments) or None,
    )


def _declare_queue(on_broker: str, queue: Queue, channel: BlockingChannel) -> None:
    channel.queue_declare(on_broker, durable=True, arguments=dict(queue.arguments))


def _bind(binding: Binding, on_broker: str, channel: BlockingChannel) -> None:
    channel.queue_bind(on_broker, binding.exchange, binding.routing_key, dict(binding.arguments) or None)


def _attempt(connection: pika.BlockingConnection, action: Action) -> ChannelClosedByBroker | None:
    """Do it on a channel of the connection; the broker's refusal closes the channel and is returned."""
    channel = connection.channel()
    try:
        action(channel)
    except ChannelClosedByBroker as refusal:
        return refusal
    channel.close()
    return None


def _refusal(connection: pika.BlockingConnection, what: str, action: Action) -> list[str]:
    refusal = _attempt(connection, action)
    return [f"{what}: {refusal.reply_text}"] if refusal is not None else []


def _exchange_difference(connection: pika.BlockingConnection, exchange: Exchange) -> list[str]:
    there = _attempt(connection, lambda channel: channel.exchange_declare(exchange.name, passive=True))
    return _difference(connection, f"exchange {exchange.name}", there, partial(_declare_exchange, exchange))


def _queue_difference(connection: pika.BlockingConnection, queue: Queue, on_broker: str) -> list[str]:
    there = _attempt(connection, lambda channel: channel.queue_declare(on_broker, passive=True))
    found = _difference(connection, f"queue {queue.name}", there, partial(_declare_queue, on_broker, queue))
    if on_broker != queue.name and _is_there(connection, queue.name):
        found.append(f"queue {queue.name}: is there under its plain name too; empty and delete it")
    return found


def _is_there(connection: pika.BlockingConnection, on_broker: str) -> bool:
    return _attempt(connection, lambda channel: channel.queue_declare(on_broker, passive=True)) is None


def _difference(
    connection: pika.BlockingConnection, what: str, missing: ChannelClosedByBroker | None, declare: Action
) -> list[str]:
    if missing is not None:
        return [f"{what}: {_explain(missing)}"]
    # A passive declare says only that it exists; the same declare again says whether it is the same.
    other = _attempt(connection, declare)
    return [f"{what}: {_explain(other)}"] if other is not None else []


def _explain(refusal: ChannelClosedByBroker) -> str:
    if refusal.reply_code == _NOT_FOUND:
        return "missing; `hub topology apply` declares it"
    if refusal.reply_code == _PRECONDITION_FAILED:
        return f"differs: {refusal.reply_text}"
    return str(refusal.reply_text)
