"""The lines to the broker, to the database and from the hospitals fail in every way while hospitals keep sending."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.support.eventually import eventually
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost
from tests.support.tcp_proxy import LOOPBACK, TcpProxy
from tests.support.traffic import Town, is_ready, running_town

SEED = 20261127


@dataclass
class Lines:
    """A town whose hub reaches its broker and its database through proxies, as hospitals reach the hub."""

    town: Town
    broker: TcpProxy
    database: TcpProxy
    front: TcpProxy


@pytest.fixture(scope="module")
def lines(
    postgres_server: PostgresServer,
    rabbitmq_server: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lines]:
    with (
        fresh_database(postgres_server, template=database_template) as database_url,
        fresh_vhost(rabbitmq_server) as broker_url,
        TcpProxy(end_of(broker_url)) as broker,
        TcpProxy(end_of(database_url)) as database,
        running_town(
            database_url,
            broker_url,
            tmp_path_factory.mktemp("town"),
            300,
            seed=SEED,
            hub_database_url=through(database, database_url),
            hub_broker_url=through(broker, broker_url),
        ) as town,
        TcpProxy((LOOPBACK, town.world.hub.http_port), record=True) as front,
    ):
        print(f"seed {SEED}")
        town.http_url = f"http://{front.address}"
        yield Lines(town, broker, database, front)


def end_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def through(proxy: TcpProxy, url: str) -> str:
    """The same address by way of the proxy."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@{proxy.address}").geturl()


Fault = Callable[[TcpProxy], object]
FAULTS: list[tuple[str, Fault]] = [
    ("slow", lambda line: line.delay(0.1)),
    ("reset", lambda line: line.reset()),
    ("cut in the middle of a request", lambda line: line.cut_after(1_000, "up")),
    ("cut in the middle of an answer", lambda line: line.cut_after(700, "down")),
    ("ended in the middle of an answer", lambda line: line.cut_after(700, "down", ending="end")),
    ("half closed by the server", lambda line: line.half_close("down")),
    ("half closed by the client", lambda line: line.half_close("up")),
    ("refused", lambda line: [line.refuse(), line.reset()]),
]
"""What happens to a line, and is healed when the traffic has met it."""
EVERY_DAY = {"reset", "cut in the middle of an answer", "half closed by the server", "refused"}
"""The others take their turn in the long runs."""


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=name, marks=[] if name in EVERY_DAY else [pytest.mark.soak]) for name, fault in FAULTS],
)
@pytest.mark.parametrize("line", ["broker", "database"])
def test_a_bad_line_loses_and_doubles_nothing(lines: Lines, line: str, fault: Fault) -> None:
    proxy: TcpProxy = getattr(lines, line)
    with lines.town.both(60) as (amqp, http):
        amqp.wait_for(answered=3)
        fault(proxy)
        amqp.wait_for(accepted=15)
        proxy.heal()

        lines.town.assert_all_is_well(amqp, http)


def test_confirms_that_never_come_leave_the_outcome_unknown(lines: Lines) -> None:
    town = lines.town
    unknown = town.world.hub.logged("publish_outcome_unknown")
    with town.both(30) as (amqp, http):
        amqp.wait_for(answered=3)
        # Whatever the hub publishes arrives; that it did is what the hub never hears.
        lines.broker.silence("down")
        eventually(lambda: town.world.hub.logged("publish_outcome_unknown") > unknown, within_s=90)
        lines.broker.reset()
        lines.broker.heal()

        town.assert_all_is_well(amqp, http)


def test_commits_whose_answer_never_comes_are_asked_about(lines: Lines) -> None:
    town = lines.town
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=3)
        lines.database.silence("down")
        eventually(lambda: http.ledger.told[503] >= 4, within_s=90)
        lines.database.reset()
        lines.database.heal()

        town.assert_all_is_well(amqp, http)


def test_a_line_to_the_database_that_swallows_everything_stops_nobody_for_long(lines: Lines) -> None:
    town = lines.town
    with town.both(40) as (amqp, http):
        amqp.wait_for(answered=3)
        lines.database.silence()
        eventually(lambda: http.ledger.told[503] >= 4, within_s=90)
        assert not is_ready(town.world.hub.http_url)
        lines.database.heal()

        town.assert_all_is_well(amqp, http)


def test_requests_that_a_network_repeats_have_one_effect(lines: Lines) -> None:
    town = lines.town
    lines.front.forget()
    with town.http(40) as http:
        http.wait_for(answered=20)
        town.assert_all_is_well(http)
        before = town.entries()

        answers = lines.front.repeat()

        assert len(answers) >= 20
        assert {answer.split(b" ", 2)[1] for answer in answers} == {b"200"}
        town.assert_all_is_well(http)
        assert town.entries() == before


def test_answers_lost_on_the_way_to_the_hospital_are_given_again(lines: Lines) -> None:
    town = lines.town
    with town.http(40, senders=6) as http:
        for _ in range(5):
            http.wait_for(answered=3)
            lines.front.cut_after(200, "down")
        town.assert_all_is_well(http)
        assert http.ledger.told[0] > 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_lines_that_fail_all_the_time(lines: Lines) -> None:
    chance = random.Random(SEED)
    with lines.town.both(60) as (amqp, http):
        for _ in range(100):
            proxy = chance.choice([lines.broker, lines.database])
            name, fault = chance.choice(FAULTS)
            print(f"{name}, {'broker' if proxy is lines.broker else 'database'}", flush=True)
            fault(proxy)
            told = http.ledger.told.total()
            eventually(lambda told=told: http.ledger.told.total() >= told + 30, within_s=60)
            proxy.heal()
            amqp.wait_for(answered=5, within_s=90)

        lines.town.assert_all_is_well(amqp, http)
