"""Fixtures every test may ask for: real servers, started once, and a clean database or vhost for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.support import servers, used_again
from tests.support.used_again import Shelf

# A busy machine is no defect, and whoever sees a failure must be able to see it again.
settings.register_profile("hub", deadline=None, print_blob=True)
settings.register_profile("soak", parent=settings.get_profile("hub"), max_examples=20_000)
settings.load_profile("hub")

Server = TypeVar("Server")


def pytest_collection_finish() -> None:
    """What was collected stays until the end: no search for garbage need go through it again."""
    gc.collect()
    gc.freeze()


def _running(starting: AbstractContextManager[Server]) -> Iterator[Server]:
    """A server for the session; where there is none the run ends with the reason, instead of hundreds of errors."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(starting)
        except servers.ServerUnavailable as error:
            pytest.exit(f"a server that the tests need cannot be had.\n{error}", returncode=3)
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """The session's PostgreSQL."""
    yield from _running(servers.postgres())


@pytest.fixture(scope="session")
def database_template(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """The name of a database with the hub's schema and no rows, to be copied."""
    with servers.template(postgres_server) as name:
        yield name


@pytest.fixture(scope="session")
def shelf(postgres_server: servers.PostgresServer, database_template: str) -> Iterator[Shelf]:
    """Databases that one test after the other uses."""
    with used_again.shelf(postgres_server, database_template) as found:
        yield found


@pytest.fixture
def database_url(shelf: Shelf) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    with shelf.database() as url:
        yield url


@pytest.fixture
def postgres_url(database_url: str) -> str:
    """The same as `database_url`."""
    return database_url


@pytest.fixture
def empty_database_url(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """A database of this test's own without any table, for the migrations."""
    with servers.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[servers.RabbitServer]:
    """The session's RabbitMQ."""
    yield from _running(servers.rabbitmq())


@pytest.fixture
def rabbitmq_url(rabbitmq_server: servers.RabbitServer) -> Iterator[str]:
    """A vhost of this test's own, as a user who may do everything there."""
    with servers.fresh_vhost(rabbitmq_server) as url:
        yield url


@pytest.fixture(scope="session")
def breakable_postgres(postgres_server: servers.PostgresServer) -> Iterator[servers.PostgresServer]:
    """A PostgreSQL that a test may stop, kill and freeze: the session's, or one more where that is somebody else's."""
    if postgres_server.is_ours:
        yield postgres_server
    else:
        with servers.postgres(private=True) as server:
            yield server


@pytest.fixture(scope="session")
def breakable_template(
    breakable_postgres: servers.PostgresServer, postgres_server: servers.PostgresServer, request: pytest.FixtureRequest
) -> Iterator[str]:
    """`database_template` in `breakable_postgres`."""
    if breakable_postgres is postgres_server:
        yield request.getfixturevalue("database_template")
    else:
        with servers.template(breakable_postgres) as name:
            yield name


@pytest.fixture
def breakable_database_url(breakable_postgres: servers.PostgresServer, breakable_template: str) -> Iterator[str]:
    """A migrated, empty database of this test's own in `breakable_postgres`."""
    with servers.fresh_database(breakable_postgres, breakable_template) as url:
        yield url


@pytest.fixture(scope="session")
def breakable_rabbitmq(rabbitmq_server: servers.RabbitServer) -> Iterator[servers.RabbitServer]:
    """A RabbitMQ that a test may stop, kill and freeze: the session's, or one more where that is somebody else's."""
    if rabbitmq_server.is_ours:
        yield rabbitmq_server
    else:
        with servers.rabbitmq(private=True) as server:
            yield server


@pytest.fixture
def breakable_rabbitmq_url(breakable_rabbitmq: servers.RabbitServer) -> Iterator[str]:
    """A vhost of this test's own in `breakable_rabbitmq`."""
    with servers.fresh_vhost(breakable_rabbitmq) as url:
        yield url
