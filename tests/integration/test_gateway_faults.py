"""The gateway when something behind it is away: an answer in time, and nothing half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from hub.gateway import cases, courier, mailbox
from tests.support.builders import StubPayer, when
from tests.support.eventually import eventually
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TestHub, a_hub


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for the database here."""
    for module in (courier, cases, mailbox):
        monkeypatch.setattr(module, "IN_TIME_S", 0.3)


def told_to_come_back(reply: Reply) -> bool:
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.headers["content-type"] == "application/problem+json"
    return True


def settled(hospital: Client) -> Callable[[], bool]:
    return lambda: hospital.settle("S-1").status == 200


@pytest.mark.usefixtures("in_a_hurry")
def test_a_frozen_database_is_answered_in_time_and_the_repeat_settles_once(breakable_postgres, breakable_database_url):
    with a_hub(breakable_database_url) as world:
        hospital = Client(world.hub.gateway.port)
        case_id = hospital.settle("S-0").json["case_id"]
        breakable_postgres.pause()
        try:
            with ThreadPoolExecutor(8) as hospitals:
                replies = list(hospitals.map(lambda _: hospital.settle("S-1"), range(8)))
            assert all(told_to_come_back(reply) for reply in replies)
            assert told_to_come_back(hospital.get(f"/api/v1/cases/{case_id}"))
            assert hospital.get("/readyz").json["checks"]["database"] == "unavailable"
            assert hospital.get("/healthz").status == 200
        finally:
            breakable_postgres.resume()

        eventually(settled(hospital), 60)
        assert world.count("settlement_case") == 2


def test_a_database_that_is_gone_and_comes_back(breakable_postgres, breakable_database_url):
    with a_hub(breakable_database_url) as world:
        hospital = Client(world.hub.gateway.port)
        hospital.settle("S-0")
        breakable_postgres.stop()
        assert told_to_come_back(hospital.settle("S-1"))
        assert hospital.get("/readyz").status == 503
        breakable_postgres.start()

        eventually(settled(hospital), 60)
        world.database.dispose()
        assert world.count("settlement_case") == 2


def test_a_restart_of_the_database_is_hardly_noticed(breakable_postgres, breakable_database_url):
    with a_hub(breakable_database_url) as world:
        hospital = Client(world.hub.gateway.port)
        hospital.settle("S-0")
        breakable_postgres.restart()

        assert hospital.settle("S-1", Prefer="wait=0").status in (200, 202)


@pytest.mark.usefixtures("in_a_hurry")
def test_an_empty_pool_is_answered_in_time(database_url):
    with a_hub(database_url) as world:
        hospital = Client(world.hub.gateway.port)
        hospital.settle("S-0")
        held = _hold_all_connections(world)
        try:
            assert told_to_come_back(hospital.settle("S-1"))
        finally:
            for connection in held:
                connection.close()

        eventually(settled(hospital), 60)


def _hold_all_connections(world: TestHub) -> list[Connection]:
    return [world.hub.engine.connect() for _ in range(world.hub.engine.pool.size())]


def test_a_case_whose_answer_cannot_be_read_is_not_denied(breakable_postgres, breakable_database_url, monkeypatch):
    monkeypatch.setattr(courier, "IN_TIME_S", 1.0)
    released = threading.Event()
    with a_hub(breakable_database_url, payers={"CICI": StubPayer(script=[when(released)])}) as world:
        hospital = Client(world.hub.gateway.port)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(hospital.settle, "S-1", Prefer="wait=1")
            eventually(lambda: world.payers["CICI"].calls)
            breakable_postgres.pause()
            try:
                reply = waiting.result(10)
            finally:
                breakable_postgres.resume()
                released.set()

        assert told_to_come_back(reply)
        assert reply.json["code"] == "outcome.unknown"
        assert reply.json["case_id"]
