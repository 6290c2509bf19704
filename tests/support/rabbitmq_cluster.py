"""Several RabbitMQ nodes that form one cluster on loopback: each is killed, frozen and cut off by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.eventually import eventually
from tests.support.processes import free_port
from tests.support.rabbitmq_server import LocalRabbit, with_vhost


class Node(LocalRabbit):
    """A node that joins the first one; they share cookie, user and port mapper."""

    def __init__(self, first: Node | None = None) -> None:
        self._first = first
        super().__init__()

    @property
    def node_name(self) -> str:
        """As Erlang writes it."""
        return f"'{self._node}'"

    @property
    def host_and_port(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def close(self) -> None:
        """End the node, also when it is frozen, and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
        super().close()

    def cut_off(self, others: Sequence[Node]) -> None:
        """No more connection between this node and those, from either side; clients reach all of them.

        Each side expects a cookie of the other that it does not have, so they refuse each other from now on. All lines
        go down at once: nodes that see each other lose a third one at different times all pause.
        """
        for one, other in self._pairs(others):
            one.evaluate(f"erlang:set_cookie({other.node_name}, 'not-{one._port}')")
        self.evaluate(", ".join(f"erlang:disconnect_node({other.node_name})" for other in others))

    def rejoin(self, others: Sequence[Node]) -> None:
        """Mend what `cut_off` did."""
        for one, other in self._pairs(others):
            one.evaluate(f"erlang:set_cookie({other.node_name}, '{self._cookie}')")
        for one, other in self._pairs(others):
            one.evaluate(f"net_adm:ping({other.node_name})")

    def _pairs(self, others: Sequence[Node]) -> list[tuple[Node, Node]]:
        return [(self, other) for other in others] + [(other, self) for other in others]

    def members(self) -> int:
        """How many nodes of the cluster this one sees running."""
        return int(self.evaluate("length(rabbit_nodes:all_running())").strip().strip("{}").split(",")[-1])

    def _start_on_some_ports(self) -> None:
        if self._first is None:
            super()._start_on_some_ports()
            return
        first = self._first
        self._cookie, self._user, self._password = first._cookie, first._user, first._password
        self._mapper_port = first._mapper_port
        self._port, self._node_port = free_port(), free_port()
        self._node = f"{first._node.partition('@')[0]}_{self._port}@localhost"
        self.url = f"amqp://{self._user}:{self._password}@127.0.0.1:{self._port}/%2F"
        self._configure()
        try:
            self.start()
        except BaseException:
            self._end(signal.SIGKILL)
            raise

    def _configure(self) -> None:
        super()._configure()
        with (self.folder / "rabbitmq.conf").open("a", encoding="ascii") as settings:
            settings.write("cluster_partition_handling = pause_minority\n")
            if self._first is not None:
                settings.write(f"cluster_formation.classic_config.nodes.1 = {self._first._node}\n")


@dataclass
class RabbitCluster:
    """Nodes of one cluster; quorum queues live on all of them."""

    nodes: list[Node]

    def url(self, vhost: str) -> str:
        """All nodes, as HUB_BROKER_URL names them."""
        return ",".join(with_vhost(node.url, vhost) for node in self.nodes)

    def url_through(self, address: str, vhost: str) -> str:
        """One address (of a proxy before the nodes) for a client that knows only one."""
        parts = urlsplit(self.nodes[0].url)
        login = parts.netloc.rpartition("@")[0]
        return with_vhost(parts._replace(netloc=f"{login}@{address}").geturl(), vhost)

    def mend(self) -> None:
        """See that all nodes run, awake, and see each other."""
        starting = [threading.Thread(target=node.start) for node in self.nodes]
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        eventually(lambda: all(node.members() == len(self.nodes) for node in self.nodes), within_s=60)


@contextmanager
def rabbitmq_cluster(size: int = 3) -> Iterator[RabbitCluster]:
    """A running cluster of `size` nodes."""
    with ExitStack() as stack:
        nodes: list[Node] = []

        def add(first: Node | None) -> None:
            node = Node(first)
            stack.callback(node.close)
            nodes.append(node)

        add(None)
        joining = [threading.Thread(target=add, args=(nodes[0],)) for _ in range(size - 1)]
        for thread in joining:
            thread.start()
        for thread in joining:
            thread.join()
        assert len(nodes) == size
        cluster = RabbitCluster(nodes)
        cluster.mend()
        yield cluster
