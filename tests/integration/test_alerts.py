"""People hear of an incident once when it opens and once when it ends, whatever the receiver and the hub go through."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine

from hub.alerts import SINGLE_MAX, WINDOW_S, AlertDelivery, Webhook, signature
from hub.watch import GONE_S, WATCH_PAUSE_S, Watch
from store.database import open_engine
from store.incidents import REFRESH_S
from tests.support.hub_in_process import MovableClock
from tests.support.scripted_server import Peer, free_port, http, scripted_server

SECRET = "a secret between hub and receiver"
OK = http(b"", "text/plain")
BROKEN = http(b"", "text/plain", "503 Service Unavailable")


@dataclass
class Receiver:
    """What a duty phone's gateway does: it keeps what it gets and says what the test told it to."""

    answers: list[bytes] = field(default_factory=list)
    """For the coming requests; then OK. An empty one means that the connection is cut after the alert was kept."""
    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def converse(self, peer: Peer) -> None:
        head, _, body = peer.read_request().partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
        self.requests.append(({name.lower(): value for name, value in lines}, body))
        answer = self.answers.pop(0) if self.answers else OK
        if answer:
            peer.send(answer)
        else:
            peer.reset()

    @property
    def got(self) -> list[dict[str, Any]]:
        """Every alert once, by its id, in the order in which it came first."""
        return list({told["id"]: told for told in (json.loads(body) for _, body in self.requests)}.values())

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(told["event"], told["kind"]) for told in self.got]


@contextmanager
def a_receiver(*answers: bytes) -> Iterator[Receiver]:
    receiver = Receiver(list(answers))
    with scripted_server(receiver.converse) as server:
        receiver.url = server.url
        yield receiver


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


def do(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def stop_payers(engine: Engine, count: int, first: int = 1) -> None:
    do(engine, "INSERT INTO payer_switch SELECT 'P' || n, true, 'r', 'lin' "
       f"FROM generate_series({first}, {first + count - 1}) AS n")  # fmt: skip


RELEASE = "DELETE FROM payer_switch"


@dataclass
class Relay:
    """A relay as far as people are concerned; another one on the same database is a restart, or a second machine."""

    database: Engine
    clock: MovableClock
    url: str = ""

    def __post_init__(self) -> None:
        self.watch = Watch(self.database, self.clock)
        webhook = Webhook(self.url, SECRET, timeout_s=30.0) if self.url else None
        self.deliver = AlertDelivery(self.database, self.clock, webhook, luck=lambda: 0.0)

    def work(self, seconds: float = WATCH_PAUSE_S) -> None:
        """What it does in so many seconds."""
        for _ in range(int(seconds / WATCH_PAUSE_S)):
            self.clock.advance(WATCH_PAUSE_S)
            self.watch()
            self.deliver()


OVER_S = GONE_S + REFRESH_S + 2 * WATCH_PAUSE_S


def test_one_alert_when_it_opens_and_one_when_it_ends(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relay = Relay(database, clock, receiver.url)
        stop_payers(database, 1)
        relay.work(60)
        do(database, RELEASE)
        relay.work(OVER_S + 60)

        assert receiver.events == [("opened", "payer.stopped"), ("recovered", "payer.stopped")]
        assert len(receiver.requests) == 2
        opened, recovered = receiver.got
        assert opened["incident"] == recovered["incident"]
        assert opened["summary"].startswith("P1 is stopped by lin since ")
        assert opened["command"] == "hub payer resume P1 --reason WHY --by YOU"
        assert recovered["recovered_at"] > recovered["opened_at"]


def test_an_alert_is_signed(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        stop_payers(database, 1)
        Relay(database, clock, receiver.url).work()

        ((headers, body),) = receiver.requests
        assert headers["x-hub-signature"] == signature(SECRET, headers["x-hub-timestamp"], body)
        assert headers["x-hub-signature"] != signature("another", headers["x-hub-timestamp"], body)
        assert headers["x-hub-alert-id"] == json.loads(body)["id"]
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("trouble", [BROKEN, b"", http(b"", "text/plain", "302 Found", "Location: /elsewhere\r\n")])
def test_what_did_not_arrive_is_sent_again_under_the_same_id(
    database: Engine, clock: MovableClock, trouble: bytes
) -> None:
    with a_receiver(trouble, trouble) as receiver:
        relay = Relay(database, clock, receiver.url)
        stop_payers(database, 1)
        relay.work(60)

        assert len(receiver.requests) == 3
        assert len({body for _, body in receiver.requests}) == 1


def test_a_receiver_that_was_away_gets_everything_later(database: Engine, clock: MovableClock) -> None:
    relay = Relay(database, clock, f"http://127.0.0.1:{free_port()}/")
    stop_payers(database, 1)
    relay.work(30)
    with a_receiver() as receiver:
        Relay(database, clock, receiver.url).work(600)

        assert receiver.events[0] == ("opened", "payer.stopped")
        assert len(receiver.requests) == len(receiver.got)


def test_a_restart_neither_forgets_nor_repeats(database: Engine, clock: MovableClock) -> None:
    with a_receiver(OK, BROKEN) as receiver:
        stop_payers(database, 2)
        Relay(database, clock, receiver.url).work()
        assert len(receiver.requests) == 2

        again = Relay(database, clock, receiver.url)
        again.work(60)

        assert [told["subject"] for told in receiver.got] == ["payer/P1", "payer/P2"]
        assert len(receiver.requests) == 3


def test_a_relay_that_died_before_it_delivered_is_made_good_for(database: Engine, clock: MovableClock) -> None:
    stop_payers(database, 1)
    with a_receiver() as receiver:
        Watch(database, clock)()

        Relay(database, clock, receiver.url).work(10)

        assert receiver.events == [("opened", "payer.stopped")]


def test_two_relays_tell_it_once(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relays = [Relay(database, clock, receiver.url) for _ in range(4)]
        stop_payers(database, 3)
        together = threading.Barrier(len(relays))

        def at_once(relay: Relay) -> None:
            together.wait(60)
            for _ in range(3):
                relay.watch()
                relay.deliver()

        with ThreadPoolExecutor(len(relays)) as pool:
            list(pool.map(at_once, relays))

        assert len(receiver.requests) == 3
        assert sorted(told["subject"] for told in receiver.got) == ["payer/P1", "payer/P2", "payer/P3"]


def test_many_at_once_are_one_alert(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relay = Relay(database, clock, receiver.url)
        stop_payers(database, 500)
        relay.work(30)
        do(database, RELEASE)
        relay.work(OVER_S)

        opened, recovered = receiver.got
        assert (opened["grouped"], opened["count"], opened["open_now"]) == (True, 500, 500)
        assert len(opened["subjects"]) == 5
        assert (recovered["event"], recovered["count"], recovered["open_now"]) == ("recovered", 500, 0)


def test_what_trickles_in_is_not_a_page_of_noise(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relay = Relay(database, clock, receiver.url)
        for first in range(1, 61):
            stop_payers(database, 1, first)
            relay.work(WATCH_PAUSE_S)
        relay.work(2 * WINDOW_S)

        singles = [told for told in receiver.got if not told["grouped"]]
        grouped = [told for told in receiver.got if told["grouped"]]
        assert len(singles) == SINGLE_MAX
        assert len(grouped) <= 3
        assert sum(told["count"] for told in grouped) + len(singles) == 60


def test_what_flaps_is_told_once(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relay = Relay(database, clock, receiver.url)
        for _ in range(6):
            stop_payers(database, 1)
            relay.work(15)
            do(database, RELEASE)
            relay.work(15)
        relay.work(OVER_S)

        assert receiver.events == [("opened", "payer.stopped"), ("recovered", "payer.stopped")]


def test_what_was_over_before_anybody_was_told_is_no_news_of_its_own(database: Engine, clock: MovableClock) -> None:
    with a_receiver() as receiver:
        relay = Relay(database, clock, receiver.url)
        stop_payers(database, 10)
        relay.work()
        stop_payers(database, 5, first=100)
        relay.work()
        do(database, "DELETE FROM payer_switch WHERE length(party) = 4")
        relay.work(WINDOW_S + OVER_S)

        assert next((told["event"], told["count"]) for told in receiver.got if told["grouped"]) == ("opened", 10)
        assert sum(told.get("count", 1) for told in receiver.got if told["event"] == "opened") == 15
        assert not any(told["event"] == "recovered" and told.get("count") == 10 for told in receiver.got)


def test_without_a_webhook_alerts_stand_in_the_log_once(database: Engine, clock: MovableClock) -> None:
    stop_payers(database, 1)
    with structlog.testing.capture_logs() as lines:
        Relay(database, clock).work(30)
        Relay(database, clock).work(30)

    (line,) = [line for line in lines if line["event"] == "alert"]
    assert (line["alert_event"], line["kind"], line["subject"]) == ("opened", "payer.stopped", "payer/P1")


def test_an_alert_that_nobody_takes_is_given_up_after_a_day_and_said_so(database: Engine, clock: MovableClock) -> None:
    relay = Relay(database, clock, f"http://127.0.0.1:{free_port()}/")
    stop_payers(database, 1)
    relay.work(10)
    clock.advance(90_000)
    with structlog.testing.capture_logs() as lines:
        relay.deliver()

    assert [line["event"] for line in lines] == ["alert_given_up"]
