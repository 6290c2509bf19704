"""A connection that the server has ended, or that may only read, is the database being away and no message's fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, Executable, text
from sqlalchemy.exc import DBAPIError

from store.database import database_is_away, open_engine
from store.driver import Prepared
from tests.support.eventually import eventually
from tests.support.postgres_server import database_name, maintenance, with_database

SELECT = Prepared("SELECT $1", "integer")
INSERT = Prepared("INSERT INTO payer_switch (party, stopped, reason, changed_by) VALUES ($1, true, '', '')", "text")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    found = open_engine(database_url)
    yield found
    found.dispose()


def ended_by_the_server(engine: Engine, pid: int) -> bool:
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}).first() is None


def work_until_it_ends(engine: Engine, ending: Executable) -> None:
    with engine.begin() as connection:
        SELECT.rows(connection, 1)
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        connection.execute(ending)
        eventually(lambda: ended_by_the_server(engine, pid))
        SELECT.rows(connection, 1)


@pytest.mark.parametrize(
    "ending",
    [
        text("SET idle_in_transaction_session_timeout = 1"),
        text("SELECT pg_terminate_backend(pg_backend_pid())"),
    ],
    ids=["idle for too long", "terminated"],
)
def test_a_connection_that_the_server_ended_is_the_database_being_away(engine: Engine, ending: Executable) -> None:
    with pytest.raises(DBAPIError) as raised:
        work_until_it_ends(engine, ending)

    assert database_is_away(raised.value)
    with engine.begin() as connection:
        assert SELECT.rows(connection, 1) == [(1,)]


def test_one_lost_connection_is_taken_as_a_sign_for_all(engine: Engine, database_url: str) -> None:
    """After a failover the first error must be the last."""
    connections = [engine.connect() for _ in range(5)]
    for connection in connections:
        SELECT.rows(connection, 1)
        connection.close()
    with maintenance(database_url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (database_name(database_url),),
        )

    with pytest.raises(DBAPIError), engine.begin() as connection:
        SELECT.rows(connection, 1)

    for _ in range(5):
        with engine.begin() as connection:
            assert SELECT.rows(connection, 1) == [(1,)]


def test_a_database_that_may_only_be_read_is_away(engine: Engine, database_url: str) -> None:
    """A standby behind the old name, or a server that protects its last disk space."""
    with maintenance(with_database(database_url, "postgres")) as cursor:
        cursor.execute(f'ALTER DATABASE "{database_name(database_url)}" SET default_transaction_read_only = on')

    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        INSERT.count(connection, "X")

    assert database_is_away(raised.value)
    with maintenance(with_database(database_url, "postgres")) as cursor:
        cursor.execute(f'ALTER DATABASE "{database_name(database_url)}" RESET default_transaction_read_only')
    with engine.begin() as connection:
        assert INSERT.count(connection, "X") == 1
