"""A database that a test used before is like a new one, or is not used again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest

from tests.support.builders import a_rule_book_text
from tests.support.postgres_server import libpq_url
from tests.support.rule_books import put_in_force
from tests.support.servers import PostgresServer
from tests.support.used_again import Shelf, shelf

REVISION = "SELECT version_num FROM alembic_version"
SAME_SERVER_DATABASE = "SELECT oid::text FROM pg_database WHERE datname = current_database()"


@pytest.fixture
def own_shelf(postgres_server: PostgresServer, database_template: str) -> Iterator[Shelf]:
    with shelf(postgres_server, database_template) as found:
        yield found


def said(url: str, *statements: str) -> list[tuple[object, ...]]:
    """What the database answers to the last statement."""
    connection = psycopg2.connect(libpq_url(url))
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_rows_and_numbers_begin_anew(own_shelf: Shelf) -> None:
    with own_shelf.database() as url:
        which, revision = said(url, SAME_SERVER_DATABASE), said(url, REVISION)
        put_in_force(url, a_rule_book_text())
        first = said(url, "SELECT id, version FROM rulebook_activation")
        said(url, "DELETE FROM alembic_version")
        left_open = psycopg2.connect(libpq_url(url))

    with own_shelf.database() as again:
        assert said(again, SAME_SERVER_DATABASE) == which
        assert said(again, REVISION) == revision
        assert said(again, "SELECT version FROM rulebook_activation UNION ALL SELECT version FROM rulebook") == []
        put_in_force(again, a_rule_book_text())
        assert said(again, "SELECT id, version FROM rulebook_activation") == first
        with pytest.raises(psycopg2.Error), left_open, left_open.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            said(url, "SELECT 1")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE outbox ADD COLUMN more integer",
        "ALTER TABLE outbox ALTER COLUMN body DROP NOT NULL",
        "CREATE TABLE more (id integer)",
        "DROP INDEX outbox_by_queue",
        "CREATE OR REPLACE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER SEQUENCE outbox_id_seq INCREMENT 2",
    ],
)
def test_what_was_built_differently_is_not_used_again(own_shelf: Shelf, change: str) -> None:
    with own_shelf.database() as url:
        which = said(url, SAME_SERVER_DATABASE)
        said(url, change)

    with own_shelf.database() as url:
        assert said(url, SAME_SERVER_DATABASE) != which
