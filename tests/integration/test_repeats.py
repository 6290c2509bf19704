"""A settlement that comes again while or after something changes: its answer, never a no to what stands."""

from __future__ import annotations

import threading

import pytest

from schemas.transactions import Transaction
from tests.support.builders import BASIC, BASIC_RULE, CRITICAL_RULE, REGION, a_party, a_rule_book_text, a_settle_request
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.rule_books import put_in_force
from tests.support.soundness import broken
from tests.support.visit_builders import (
    a_book_with_visits,
    a_discharge,
    a_fees_upload,
    a_line,
    a_stay_to_settle,
    an_admission,
)

T = Transaction


@pytest.fixture
def world(database_url):
    with a_hub(database_url, running=False, **a_book_with_visits()) as hub:
        yield hub
        assert broken(hub.database) == {}


def a_discharged_stay(world: TestHub) -> None:
    for transaction, message in (
        (T.ADMISSION_REGISTER, an_admission()),
        (T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)])),
        (T.DISCHARGE_REGISTER, a_discharge()),
    ):
        assert world.send(transaction, message).error is None


def test_a_settlement_twice_in_one_batch_is_one_and_its_repeat(world):
    a_discharged_stay(world)

    first, second = world.hub.desk.take([world.inbound(T.SETTLE, a_stay_to_settle(100)) for _ in range(2)])

    assert first.error is second.error is None
    assert second.repeated
    assert second.case_id == first.case_id


def test_a_settlement_twice_at_the_same_moment_is_one_and_its_repeat(world):
    a_discharged_stay(world)
    pair = [world.inbound(T.SETTLE, a_stay_to_settle(100)) for _ in range(2)]
    taken = []
    threads = [threading.Thread(target=lambda one=one: taken.extend(world.hub.desk.take([one]))) for one in pair]
    with world.database.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT 1 FROM visit FOR UPDATE")
        for thread in threads:
            thread.start()
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        eventually(lambda: _number(world, blocked) == 2)
    for thread in threads:
        thread.join()

    assert [one.error for one in taken] == [None, None]
    assert {one.case_id for one in taken} == {taken[0].case_id}
    assert sorted(one.repeated for one in taken) == [False, True]


def _number(world: TestHub, query: str) -> int:
    with world.database.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one()


def test_a_repeat_gets_its_answer_though_the_rules_have_changed(database_url):
    with a_hub(database_url) as world:
        first = world.settle()
        world.answered(first.case_id)
        elsewhere = BASIC_RULE | {"when": {"regions": ["440100"]}}
        put_in_force(database_url, a_rule_book_text(elsewhere, CRITICAL_RULE))
        world.hub.books.refresh()

        again = world.settle()

        assert again.error is None
        assert (again.case_id, again.repeated) == (first.case_id, True)
        assert again.answer is not None
        assert world.settle("S-2").error.code == "routing.no_basic_payer"
        assert world.settle(total_fen=20_000).error.code == "case.conflict"


def test_a_part_that_is_adjudicated_tomorrow_is_refused(database_url):
    own = {"adjudicated_by": "basic", "called": "sync"}
    basic = a_party(BASIC, "basic", region=REGION)
    with a_hub(database_url, BASIC_RULE | own, CRITICAL_RULE, parties=[basic], running=False) as world:
        share = {"layer": "basic", "payer": BASIC, "amount": "60.00", "figures": {}}
        share |= {"decided_at": "2999-01-01T00:00:00+08:00"}

        taken = world.send(T.SETTLE, a_settle_request(10_000, adjudicated=[share]), party=BASIC)

        assert [one.code for one in taken.error.violations] == ["date.future"]
