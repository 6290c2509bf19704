"""A synchronous standby takes over, or is gone: nothing that was accepted may stand on the lost server alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from store.database import database_is_away, open_engine, upgrade
from tests.support.eventually import eventually
from tests.support.postgres_pair import PostgresPair, postgres_pair
from tests.support.servers import RabbitServer, create_database, fresh_vhost
from tests.support.traffic import Town, running_town

SEED = 20261124


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    with postgres_pair() as found:
        yield found


@pytest.fixture
def town(pair: PostgresPair, rabbitmq_server: RabbitServer, tmp_path: Path) -> Iterator[Town]:
    database_url = create_database(pair.primary.url)
    upgrade(database_url)
    with (
        fresh_vhost(rabbitmq_server) as broker_url,
        running_town(
            database_url,
            broker_url,
            tmp_path,
            600,
            seed=SEED,
            hub_database_url=pair.url(database_url),
        ) as found,
    ):
        print(f"seed {SEED}")
        yield found


@pytest.mark.timeout(600)
def test_the_standby_goes_away_comes_back_and_takes_over(town: Town, pair: PostgresPair) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=10)
        pair.standby.kill()
        # Commits wait, callers do not; a wait that an operator cancels is not taken for a commit.
        eventually(lambda: http.ledger.told[503] >= 4, within_s=90)
        eventually(pair.waiting_commits, within_s=90)
        assert pair.cancel_waiting() > 0
        eventually(lambda: town.world.hub.logged("commit_not_replicated"), within_s=90)
        pair.standby.start()

        amqp.wait_for(answered=10, within_s=60)
        eventually(pair.is_in_step, within_s=90)
        pair.primary.kill()
        pair.promote()
        town.look_at(pair.url_of(town.world.hub.database_url, on=pair.standby))

        amqp.wait_for(answered=10, within_s=60)
        town.assert_all_is_well(amqp, http)


def test_a_primary_that_stands_still_is_left_for_the_one_that_took_over(town: Town, pair: PostgresPair) -> None:
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=10)
        pair.primary.pause()
        pair.promote()
        town.look_at(pair.url_of(town.world.hub.database_url, on=pair.standby))
        # Every pooled connection leads to the server that never answers again.
        amqp.wait_for(answered=10, within_s=60)
        http.wait_for(answered=5, within_s=60)
        assert town.world.hub.logged("database_stands_still")

        town.assert_all_is_well(amqp, http)


def test_a_commit_that_no_standby_confirmed_is_not_a_success(pair: PostgresPair) -> None:
    engine = open_engine(pair.primary.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (number integer)"))
    pair.standby.kill()

    operator = threading.Thread(target=lambda: eventually(pair.cancel_waiting, within_s=90))
    operator.start()
    with pytest.raises(OperationalError) as raised, engine.begin() as connection:
        connection.execute(text("INSERT INTO kept VALUES (1)"))
    operator.join()

    assert database_is_away(raised.value)
    engine.dispose()
