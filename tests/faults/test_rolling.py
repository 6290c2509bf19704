"""Processes are replaced by new ones while callers call: nobody is refused, hung up on or left without an answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest
from sqlalchemy import text

from sandbox.day import DayCase
from tests.support.callers import Callers
from tests.support.command_line import RunningHub, running
from tests.support.eventually import eventually
from tests.support.hub_processes import PERSON_SECRET, World, world
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost

SEED = 20261123
ROLLS = 1
ROLLS_SOAK = 20
ROLL_S_MAX = 240.0
"""Eight starts of a Python process on a busy machine."""
CASES = 100
ROLES = 4


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer,
    rabbitmq_server: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        world(database_url, broker_url, tmp_path_factory.mktemp("rolling"), CASES, seed=SEED) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def bills(town: World) -> Iterator[DayCase]:
    """Each of them once, whichever test asks."""
    return town.bills()


@pytest.fixture(scope="module")
def started(town: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    settings = {
        "HUB_DATABASE_URL": town.hub.database_url,
        "HUB_BROKER_URL": town.hub.broker_url,
        "HUB_PERSON_KEY_SECRET": PERSON_SECRET,
        "HUB_TRUST_PARTY_HEADER": "true",
        "HUB_HTTP_PORT": "0",
    }
    with running(tmp_path_factory.mktemp("run"), "run", settings=settings) as hub:
        hub.wait_for("hub_ready", count=ROLES)
        yield hub


def address(started: RunningHub) -> str:
    return str(next(event["http"] for event in started.events("hub_ready") if "http" in event))


def children(started: RunningHub) -> set[int]:
    return {process.pid for process in started.family()[1:]}


def roll(started: RunningHub, times: int) -> None:
    """Every process replaced `times` times."""
    done = len(started.events("roll_done"))
    for number in range(done + 1, done + times + 1):
        before = children(started)
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda number=number: len(started.events("roll_done")) >= number, within_s=ROLL_S_MAX)
        assert not before & children(started)
    assert started.events("child_died") == []
    assert started.events("roll_failed") == []


def set_revision(town: World, revision: str) -> str:
    """Let the database say that its schema is of `revision`; what it said before."""
    with town.engine.begin() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    return str(before)


def assert_nothing_was_lost(town: World, callers: Callers) -> None:
    print(f"seed {SEED}: {len(callers.answers)} answers, {len(callers.failures)} failures")
    assert callers.failures == []
    assert {answer["status"] for answer in callers.answers} == {"settled"}
    town.assert_nothing_lies_about()
    town.assert_books_agree()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_rolls_again_and_again(town: World, started: RunningHub, bills: Iterator[DayCase]) -> None:
    callers = Callers(address(started), bills)

    with callers.calling(keeping_alive=3, reconnecting=3):
        roll(started, ROLLS_SOAK)

    assert_nothing_was_lost(town, callers)


@pytest.mark.timeout(600)
def test_a_roll_of_all_processes_is_noticed_by_no_caller(
    town: World, started: RunningHub, bills: Iterator[DayCase]
) -> None:
    callers = Callers(address(started), bills)

    with callers.calling(keeping_alive=3, reconnecting=3):
        roll(started, ROLLS)

    assert_nothing_was_lost(town, callers)


def test_a_dead_gateway_makes_callers_wait_and_refuses_nobody(
    town: World, started: RunningHub, bills: Iterator[DayCase]
) -> None:
    """The door is the supervisor's: what comes while there is no gateway is taken by the next one."""
    callers = Callers(address(started), bills)
    gateway = [event["pid"] for event in started.events("child_started") if event["child"] == "gateway"][-1]
    psutil.Process(gateway).kill()

    with callers.calling(keeping_alive=0, reconnecting=2):
        eventually(lambda: len(callers.answers) >= 10, within_s=60)

    assert started.events("child_died")[0]["child"] == "gateway"
    assert_nothing_was_lost(town, callers)


def test_a_successor_that_cannot_start_leaves_the_old_processes_at_work(town: World, started: RunningHub) -> None:
    """The database says it is of a revision of long ago: the new process refuses, the old one goes on."""
    before = children(started)
    newest = set_revision(town, "0001")
    try:
        started.process.send_signal(signal.SIGHUP)
        started.wait_for("roll_failed")
    finally:
        set_revision(town, newest)

    assert "run `hub db upgrade` first" in started.log.read_text(encoding="utf-8")
    assert children(started) == before


def test_all_of_them_stop_when_the_supervisor_is_asked_to(started: RunningHub) -> None:
    members = started.family()

    assert started.stop() == 0
    assert not psutil.wait_procs(members, timeout=60)[1]
