"""Real PostgreSQL and RabbitMQ for whoever needs them: tests, measurements, tools.

    with postgres() as database, rabbitmq() as broker:
        ...  # database.url, broker.url

Where they come from, in this order: the addresses HUB_TEST_DATABASE_URL and HUB_TEST_BROKER_URL; a Docker engine; the
programs of this machine, started privately. What cannot be had is an error that says how to get it, never a skip.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.postgres_server import (
    GivenPostgres,
    LocalPostgres,
    PostgresServer,
    create_database,
    database_name,
    drop_database,
    libpq_url,
    maintenance,
    with_database,
)
from tests.support.processes import ServerUnavailable
from tests.support.rabbitmq_server import (
    GivenRabbit,
    LocalRabbit,
    RabbitServer,
    vhost_of,
    with_user,
    with_vhost,
)

DOCKER_SOCKET = Path("/var/run/docker.sock")

__all__ = [
    "PostgresServer",
    "RabbitServer",
    "ServerUnavailable",
    "create_database",
    "database_name",
    "drop_database",
    "fresh_database",
    "fresh_vhost",
    "libpq_url",
    "postgres",
    "prepare_template",
    "rabbitmq",
    "template",
    "vhost_of",
    "with_database",
    "with_user",
    "with_vhost",
]


@contextlib.contextmanager
def postgres(*, private: bool = False, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A running PostgreSQL; ended and removed after the block if it was started for it.

    `private` asks for one that may be stopped and killed. `settings` (lines of postgresql.conf) reach only a server
    started here from this machine's programs, which they therefore ask for.
    """
    server = _find_postgres(private, settings)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def rabbitmq(*, private: bool = False) -> Iterator[RabbitServer]:
    """A running RabbitMQ; ended and removed after the block if it was started for it."""
    server = _find_rabbitmq(private)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def fresh_database(server: PostgresServer, template: str | None = None) -> Iterator[str]:
    """The address of a database that exists for the length of the block."""
    url = create_database(server.url, template=template)
    try:
        yield url
    finally:
        _see_that_it_runs(server)
        drop_database(url, server.url)


@contextlib.contextmanager
def fresh_vhost(server: RabbitServer) -> Iterator[str]:
    """The address of a vhost that exists for the length of the block."""
    name = f"hub_test_{secrets.token_hex(8)}"
    server.add_vhost(name)
    try:
        yield with_vhost(server.url, name)
    finally:
        _see_that_it_runs(server)
        server.delete_vhost(name)


@contextlib.contextmanager
def template(server: PostgresServer) -> Iterator[str]:
    """The name of a database with the hub's schema, to be copied by `fresh_database`."""
    with fresh_database(server) as url:
        prepare_template(url)
        _disconnect_everybody(url, server.url)
        yield database_name(url)


def prepare_template(url: str) -> None:
    """Bring an empty database to the schema that tests start from."""
    try:
        database = importlib.import_module("store.database")
    except ModuleNotFoundError as error:
        if error.name not in ("store", "store.database"):
            raise
        return
    database.upgrade(url)


def _see_that_it_runs(server: PostgresServer | RabbitServer) -> None:
    """A test that breaks a server need not mend it."""
    if server.is_ours:
        server.start()


def _disconnect_everybody(url: str, server_url: str) -> None:
    """PostgreSQL copies only a database that nobody uses."""
    with maintenance(server_url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database_name(url),)
        )


def _find_postgres(private: bool, settings: Mapping[str, str] | None) -> PostgresServer:
    given = os.environ.get("HUB_TEST_DATABASE_URL")
    if settings is None and given and not private:
        return GivenPostgres(given)
    if settings is None and docker_answers():
        from tests.support.containers import ContainerPostgres

        return ContainerPostgres()
    return LocalPostgres(settings)


def _find_rabbitmq(private: bool) -> RabbitServer:
    given = os.environ.get("HUB_TEST_BROKER_URL")
    if given and not private:
        return GivenRabbit(given, os.environ.get("HUB_TEST_BROKER_ADMIN_URL"))
    if docker_answers():
        from tests.support.containers import ContainerRabbit

        return ContainerRabbit()
    return LocalRabbit()


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker engine can be reached; HUB_TEST_DOCKER=no leaves it alone."""
    if os.environ.get("HUB_TEST_DOCKER") == "no":
        return False
    if "DOCKER_HOST" not in os.environ and not DOCKER_SOCKET.exists():
        return False
    try:
        import docker
    except ModuleNotFoundError:
        return False
    with contextlib.suppress(docker.errors.DockerException):
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False
