"""A running process takes over another rule book, unless it was built for other parties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.books import RuleBooks
from store import rulebooks
from store.database import open_engine
from tests.support.builders import a_party, a_rule_book_text

MOMENT = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Moment:
    def now(self) -> datetime:
        return MOMENT


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def activate(engine, content: str) -> int:
    with engine.begin() as connection:
        version = rulebooks.add(connection, "a book", content)
        rulebooks.activate(connection, version, MOMENT - timedelta(seconds=1))
    return version


def test_another_version_for_the_same_parties_is_taken_over(engine):
    books = RuleBooks(engine, Moment())
    first = activate(engine, a_rule_book_text())
    assert books.active().version == first

    second = activate(engine, a_rule_book_text(title="mended"))

    assert books.refresh().version == second != first


def test_a_version_with_other_parties_waits_for_the_restart(engine):
    books = RuleBooks(engine, Moment())
    first = activate(engine, a_rule_book_text())
    books.active()

    second = activate(engine, a_rule_book_text(parties=[a_party("CICI", "insurer", timeout_s=9)]))

    assert books.refresh().version == first
    assert RuleBooks(engine, Moment()).active().version == second
