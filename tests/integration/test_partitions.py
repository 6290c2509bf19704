"""The tables in months: the hub works on them as on whole ones, and no statement reads one from end to end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg2
import pytest

from bench.search_fill import fill_some
from hub.people.finding import Finder
from routing.schemes import Scheme
from schemas.errors import Conflict
from store import cases, hub_side, ledger, seals
from store.database import open_engine
from tests.support.builders import BASIC_RULE, COMMERCIAL_RULE, CRITICAL, CRITICAL_RULE, HOSPITAL, a_case, an_id_card
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.partitions import explained, partition
from tests.support.postgres_server import libpq_url

OLD = "01890000-0000-7000-8000-000000000001"
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
THIS_MONTH = date.today().replace(day=1)
BEFORE = (THIS_MONTH - timedelta(days=1)).replace(day=1)
ONE, ALL = 1, 6
"""Parts that a statement may look into: the month of its case, or all: the table of all before, and five months."""


@pytest.fixture
def months_url(database_url: str) -> str:
    """A database with a case of 2023 in it, then in months from the last one on, each with some hundred cases."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        cases.insert_new(connection, [a_case(case_id=OLD, settlement_no="S-OLD")])
    engine.dispose()
    partition(database_url, BEFORE.isoformat())
    filled = psycopg2.connect(libpq_url(database_url))
    with filled, filled.cursor() as cursor:
        now = int((datetime.now(UTC) - YEAR).total_seconds() // 10)
        fill_some(cursor, now - 600_000, now, 600, evidence=True)
        cursor.execute("ANALYZE")
    filled.close()
    return database_url


def lived(hub: TestHub) -> None:
    """A settlement, its repeats and its undoing, a reversal before its settlement, a sweep, searches, balances."""
    hub.cover()
    case_id = hub.settle("S-1").case_id
    hub.pump()
    again, other, old = hub.settle("S-1"), hub.settle("S-1", 40_000), hub.settle("S-OLD")
    hub.cancel("S-1")
    hub.pump()
    hub.query("S-1")
    hub.reverse("S-2")
    hub.let_pass(30)

    assert (again.case_id, again.repeated) == (case_id, True)
    assert isinstance(other.error, Conflict)
    assert (old.case_id, type(old.error)) == (OLD, Conflict)
    assert hub.answers(case_id)[-1]["status"] == "cancelled"
    assert all(payer.net_fen == 0 for payer in hub.payers.values())


def looked_for(hub: TestHub) -> None:
    finder = Finder(PERSON_SECRET.encode())
    today = date.today()
    with hub.database.connect() as connection:
        found = [finder.find(connection, key) for key in ("S-1", an_id_card())]
        ledger.of_case(connection, found[0][0].case_id)
        ledger.balances(connection, ["payer"], first=today - timedelta(days=1), last=today)
    assert [len(one) for one in found] == [1, 1]


def reconciled(hub: TestHub) -> None:
    """What reconciliation and seals read of a day."""
    today = date.today()
    schemes = [(Scheme(party=CRITICAL), "payer"), (Scheme(party=HOSPITAL), "institution")]
    schemes += [(scheme.model_copy(update={"day": "business"}), kind) for scheme, kind in schemes]
    for scheme, kind in schemes:
        side = hub_side.HubSide(scheme, kind, today)
        with hub.database.begin() as connection:
            hub_side.stage(connection, side)
            assert list(hub_side.lines(connection, side))
            seals.day_parts(connection, today)


def test_the_hub_works_in_months_as_before_and_looks_only_where_it_must(months_url):
    with explained() as plans, a_hub(months_url, BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE, running=False) as hub:
        lived(hub)
        looked_for(hub)
        reconciled(hub)

    assert len(plans.seen) > 50
    assert plans.read_whole() == []
    by_key = {
        "INSERT INTO settlement_case": ONE,
        "FOR UPDATE OF settlement_case": ONE,
        "FROM settlement_leg JOIN unnest": ONE,
        "FROM exchange JOIN unnest": ONE,
        "UPDATE settlement_leg": ONE,
        "UPDATE settlement_case": ONE,
        "FROM case_answer": ONE,
        "reply_to, correlation_id, asked_at FROM case_undo": ONE,
        "c.case_key = r.case_key": ALL,
        "WHERE watch_at": ALL,
        "WITH hit AS": ALL,
        "FROM ledger_entry WHERE case_id": ALL,
    }
    assert {words: plans.partitions(words) <= most for words, most in by_key.items()} == dict.fromkeys(by_key, True)
