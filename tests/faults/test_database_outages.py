"""PostgreSQL is killed, frozen or closed to us while hospitals keep sending; the parties' books are the witness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3

from tests.support.eventually import eventually
from tests.support.postgres_server import database_name, maintenance
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost
from tests.support.traffic import Town, is_ready, running_town

SEED = 20261123


@pytest.fixture(scope="module")
def town(
    breakable_postgres: PostgresServer,
    rabbitmq_server: RabbitServer,
    breakable_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    with (
        fresh_database(breakable_postgres, template=breakable_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        running_town(database_url, broker_url, tmp_path_factory.mktemp("town"), 300, seed=SEED) as found,
    ):
        print(f"seed {SEED}")
        yield found


@contextmanager
def closed_to_all(database_url: str, server_url: str) -> Iterator[None]:
    """The database lets nobody in and throws out who is in."""
    name = database_name(database_url)
    with maintenance(server_url) as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@contextmanager
def only_to_be_read(database_url: str, server_url: str) -> Iterator[None]:
    """The database refuses to write."""
    name = database_name(database_url)
    with maintenance(server_url) as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def test_a_database_killed_under_load_loses_and_doubles_nothing(town: Town, breakable_postgres: PostgresServer) -> None:
    with town.both(50) as (amqp, http):
        for _ in range(2):
            amqp.wait_for(accepted=10, answered=10)
            breakable_postgres.kill()
            breakable_postgres.start()

        town.assert_all_is_well(amqp, http)


def test_a_frozen_database_is_answered_in_time_with_no_half_work(
    town: Town, breakable_postgres: PostgresServer
) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=5)
        breakable_postgres.pause()
        try:
            eventually(lambda: http.ledger.told[503] >= 4, within_s=90)
            assert not is_ready(town.world.hub.http_url)
            assert urllib3.request("GET", f"{town.world.hub.http_url}/healthz", timeout=3).status == 200
        finally:
            breakable_postgres.resume()

        town.assert_all_is_well(amqp, http)


def test_a_database_that_takes_no_more_connections_is_answered_in_time(
    town: Town, breakable_postgres: PostgresServer
) -> None:
    """Nobody gets in and those who were in are thrown out, as when the server runs out of connections."""
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=5)
        with closed_to_all(town.world.hub.database_url, breakable_postgres.url):
            eventually(lambda: http.ledger.told[503] >= 4, within_s=90)

        town.assert_all_is_well(amqp, http)


def test_a_database_that_may_only_be_read_takes_nothing_and_condemns_nothing(
    town: Town, breakable_postgres: PostgresServer
) -> None:
    """As behind an address that leads to a standby, or when a server protects the last of its disk."""
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=5)
        with only_to_be_read(town.world.hub.database_url, breakable_postgres.url):
            eventually(lambda: http.ledger.told[503] >= 4, within_s=90)
            amqp.wait_for(accepted=5)

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_database_killed_again_and_again(town: Town, breakable_postgres: PostgresServer) -> None:
    with town.both(80) as (amqp, http):
        for _ in range(40):
            amqp.wait_for(answered=50, within_s=120)
            breakable_postgres.kill()
            breakable_postgres.start()

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_database_that_stands_still_for_a_minute(town: Town, breakable_postgres: PostgresServer) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=100)
        breakable_postgres.pause()
        try:
            eventually(lambda: http.ledger.told[503] >= 12 * 20, within_s=300)
        finally:
            breakable_postgres.resume()
        amqp.wait_for(answered=200, within_s=180)

        town.assert_all_is_well(amqp, http)
