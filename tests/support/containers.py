"""PostgreSQL and RabbitMQ from a Docker engine."""

from __future__ import annotations

import contextlib
import secrets
import socket

import psycopg2
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.core.container import DockerContainer

from tests.support.eventually import eventually
from tests.support.postgres_server import DRIVER, HONEST, maintenance
from tests.support.processes import free_port
from tests.support.rabbitmq_server import Management

POSTGRES_IMAGE = "postgres:18"
RABBITMQ_IMAGE = "rabbitmq:4-management"
READY_WITHIN_S = 60.0
AMQP_PORT, MANAGEMENT_PORT, POSTGRES_PORT = 5672, 15672, 5432


class _Breakable:
    """Stops and starts of a container; its ports are bound by us, so a restart keeps them."""

    is_ours = True
    _container: DockerContainer

    def stop(self) -> None:
        """A clean shutdown."""
        self._container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        """kill -9 of everything in the container."""
        self._container.get_wrapped_container().kill()

    def start(self) -> None:
        """See that it runs, awake, and answers."""
        container = self._container.get_wrapped_container()
        container.reload()
        if container.status == "paused":
            container.unpause()
        elif container.status != "running":
            container.start()
        eventually(self._answers, within_s=READY_WITHIN_S)

    def restart(self) -> None:
        """A clean stop, then a start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze everything in the container."""
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.start()

    def close(self) -> None:
        """Remove the container and its data."""
        self._container.stop()

    def _answers(self) -> bool:
        raise AssertionError("each kind of server answers in its own way")


class ContainerPostgres(_Breakable):
    """PostgreSQL with durable settings."""

    def __init__(self) -> None:
        port, password = free_port(), secrets.token_hex(8)
        options = " ".join(f"-c {name}={value}" for name, value in HONEST.items())
        container = PostgresContainer(POSTGRES_IMAGE, username="postgres", password=password, dbname="postgres")
        self._container = container.with_bind_ports(POSTGRES_PORT, port).with_command(f"postgres {options}")
        self._container.start()
        host = self._container.get_container_host_ip()
        self.url = f"{DRIVER}://postgres:{password}@{host}:{port}/postgres"
        eventually(self._answers, within_s=READY_WITHIN_S)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError), maintenance(self.url) as cursor:
            cursor.execute("SELECT 1")
            return True
        return False


class ContainerRabbit(_Breakable, Management):
    """RabbitMQ with its management plugin."""

    def __init__(self) -> None:
        port, management_port, password = free_port(), free_port(), secrets.token_hex(8)
        container = RabbitMqContainer(RABBITMQ_IMAGE, username="hub", password=password)
        self._container = container.with_bind_ports(AMQP_PORT, port).with_bind_ports(MANAGEMENT_PORT, management_port)
        self._container.start()
        self._host, self._port = self._container.get_container_host_ip(), port
        self.url = f"amqp://hub:{password}@{self._host}:{port}/%2F"
        Management.__init__(self, f"http://{self._host}:{management_port}", "hub", password)
        eventually(self._answers, within_s=READY_WITHIN_S)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self._host, self._port), timeout=2) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return client.recv(1) == b"\x01" and self.is_up()
        return False
