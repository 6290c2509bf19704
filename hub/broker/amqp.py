"""The transport on RabbitMQ: for each link one connection to publish and one to consume.

A publisher that the broker blocks must not keep acknowledgements from passing, hence two connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from hub.broker.consumer import QueueConsumer
from hub.broker.hints import HintReceiver, HintSender
from hub.broker.io_thread import ConnectionSettings, IoThread, split_urls
from hub.broker.publisher import Publisher
from hub.broker.topology import Link, Topology
from hub.broker.transport import OutboundMessage, Subscription

log = structlog.get_logger(__name__)

_POLL_S = 0.01
_FLUSH_S_MAX = 2.0


class _LinkConnections:
    """The two connections of one URL."""

    def __init__(self, settings: ConnectionSettings, publisher: Publisher) -> None:
        self.publishing = IoThread(replace(settings, name=f"{settings.name}-publish"))
        self.consuming = IoThread(replace(settings, name=f"{settings.name}-consume"))
        self.publisher = publisher
        publisher.bind(self.publishing)
        self.publishing.add(publisher)

    def start(self) -> None:
        self.publishing.start()
        self.consuming.start()

    def healthy(self) -> bool:
        return self.publisher.ready and self.consuming.is_open()


class AmqpTransport:
    """Transport over RabbitMQ. Nothing connects before `start`; connections are then kept up until `close`."""

    def __init__(
        self,
        topology: Topology,
        core_url: str,
        edge_url: str = "",
        *,
        name: str = "hub",
        heartbeat_s: int = 10,
        confirm_deadline_s: float = 10.0,
    ) -> None:
        """`core_url` and `edge_url` (default: the core's) are AMQP URLs, several hosts parted by commas."""
        self._topology = topology
        urls: dict[Link, str] = {"core": core_url, "edge": edge_url or core_url}
        by_url: dict[str, _LinkConnections] = {}
        for link, url in urls.items():
            if url not in by_url:
                settings = ConnectionSettings(split_urls(url), f"{name}-{link}", heartbeat_s)
                by_url[url] = _LinkConnections(settings, Publisher(confirm_deadline_s))
        self._links: dict[Link, _LinkConnections] = {link: by_url[url] for link, url in urls.items()}
        self._connections = list(by_url.values())
        self._consumers: list[QueueConsumer] = []
        core = self._links["core"]
        self._hints_out = HintSender(core.publishing)
        self._hints_in = HintReceiver(core.consuming)
        core.publishing.add(self._hints_out)
        core.consuming.add(self._hints_in)

    def start(self, timeout_s: float = 10.0) -> bool:
        """Begin to connect and wait until publishing is possible; False when that takes longer (it goes on)."""
        for connections in self._connections:
            connections.start()
        until = time.monotonic() + timeout_s
        return all(one.publisher.wait_ready(max(0.0, until - time.monotonic())) for one in self._connections)

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        if len(self._connections) == 1:
            known = [one for one in messages if self._link_of(one) is not None]
            self._connections[0].publisher.publish(known)
            return
        for link, connections in self._links.items():
            ours = [one for one in messages if self._link_of(one) == link]
            if ours:
                connections.publisher.publish(ours)

    def _link_of(self, message: OutboundMessage) -> Link | None:
        link = self._topology.link_of_exchange(message.exchange)
        if link is None:
            # Publishing to an exchange that is not there closes the channel under everybody's messages.
            log.error("publish_unknown_exchange", message_id=message.message_id, exchange=message.exchange)
        return link

    def take_confirmed(self) -> list[int]:
        return [one for connections in self._connections for one in connections.publisher.take_confirmed()]

    def subscribe(self, subscription: Subscription) -> None:
        """Consume a declared queue. ValueError: it is not in the topology."""
        links = self._topology.links_of_queue(subscription.queue)
        if not links:
            raise ValueError(f"queue {subscription.queue} is not declared")
        for connections in {id(self._links[link]): self._links[link] for link in links}.values():
            consumer = QueueConsumer(subscription, self._topology, connections.consuming, connections.publisher.send)
            self._consumers.append(consumer)
            connections.consuming.add(consumer)

    def hint(self, channel: str, payload: str) -> None:
        self._hints_out.hint(channel, payload)

    def on_hint(self, channel: str, listener: Callable[[str], None]) -> None:
        self._hints_in.listen(channel, listener)

    def healthy(self) -> bool:
        return all(connections.healthy() for connections in self._connections)

    def stop_consuming(self, timeout_s: float) -> bool:
        for consumer in self._consumers:
            consumer.stop()
        return _until(timeout_s, [consumer.idle for consumer in self._consumers])

    def close(self) -> None:
        """Wait shortly for confirms still under way, then close every connection."""
        _until(_FLUSH_S_MAX, [one.publisher.is_quiet for one in self._connections])
        for consumer in self._consumers:
            consumer.close()
        for connections in self._connections:
            connections.consuming.close()
            connections.publishing.close()


def _until(timeout_s: float, conditions: Sequence[Callable[[], bool]]) -> bool:
    until = time.monotonic() + timeout_s
    for holds in conditions:
        while not holds():
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
    return True
