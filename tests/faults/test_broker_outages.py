"""The broker is killed, stopped, frozen or full while hospitals keep sending; the parties' books are the witness."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost
from tests.support.traffic import Town, running_town

SEED = 20261122
HTTP_PER_MINUTE = 200
"""About what 12 callers get accepted in a minute when each of them waits for an answer that does not come."""
DISK_IS_LOW = "{resource_limit, disk, node()}"
"""The alarm that the broker raises below its disk_free_limit."""


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer,
    breakable_rabbitmq: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(breakable_rabbitmq) as broker_url,
        running_town(database_url, broker_url, tmp_path_factory.mktemp("town"), 300, seed=SEED) as found,
    ):
        print(f"seed {SEED}")
        yield found


def test_a_broker_killed_under_load_loses_nothing(town: Town, breakable_rabbitmq: RabbitServer) -> None:
    with town.both(50) as (amqp, http):
        amqp.wait_for(accepted=15)
        breakable_rabbitmq.kill()
        # The hub takes what comes over HTTP on its word, broker or not.
        http.wait_for(accepted=3)
        breakable_rabbitmq.start()

        town.assert_all_is_well(amqp, http)


def test_a_frozen_broker_is_given_up_and_asked_again_under_the_same_ids(
    town: Town, breakable_rabbitmq: RabbitServer
) -> None:
    given_up = town.world.hub.logged("broker_connection_given_up")
    with town.both(30) as (amqp, http):
        amqp.wait_for(accepted=10)
        breakable_rabbitmq.pause()
        try:
            http.wait_for(accepted=3)
            eventually(lambda: town.world.hub.logged("broker_connection_given_up") > given_up, within_s=90)
        finally:
            breakable_rabbitmq.resume()

        town.assert_all_is_well(amqp, http)


def test_a_broker_that_is_short_of_disk_stops_nobody_from_sending_over_http(
    town: Town, breakable_rabbitmq: RabbitServer
) -> None:
    blocked = town.world.hub.logged("broker_blocked")
    with town.both(40) as (amqp, http):
        amqp.wait_for(accepted=5)
        breakable_rabbitmq.evaluate(f"rabbit_alarm:set_alarm({{{DISK_IS_LOW}, []}})")
        try:
            eventually(lambda: town.world.hub.logged("broker_blocked") > blocked, within_s=90)
            http.wait_for(accepted=3)
        finally:
            breakable_rabbitmq.evaluate(f"rabbit_alarm:clear_alarm({DISK_IS_LOW})")

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_broker_that_is_away_for_minutes_is_caught_up_with(town: Town, breakable_rabbitmq: RabbitServer) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=100)
        breakable_rabbitmq.stop()
        http.wait_for(accepted=HTTP_PER_MINUTE * 5, within_s=900)
        breakable_rabbitmq.start()
        amqp.wait_for(answered=200, within_s=180)

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_broker_that_stands_still_for_a_minute(town: Town, breakable_rabbitmq: RabbitServer) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=100)
        breakable_rabbitmq.pause()
        try:
            http.wait_for(accepted=HTTP_PER_MINUTE, within_s=300)
        finally:
            breakable_rabbitmq.resume()
        amqp.wait_for(answered=200, within_s=180)

        town.assert_all_is_well(amqp, http)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_broker_killed_again_and_again(town: Town, breakable_rabbitmq: RabbitServer) -> None:
    with town.both(80) as (amqp, http):
        for _ in range(20):
            amqp.wait_for(answered=80, within_s=120)
            breakable_rabbitmq.kill()
            breakable_rabbitmq.start()

        town.assert_all_is_well(amqp, http)
