"""The hospital client against a stand-in hub, over HTTP and over a real RabbitMQ."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pika
import pytest

from sandbox.day import DayCase
from sandbox.his import AmqpHospital, HttpHospital, Result, cancel, settle
from sandbox.his_book import HospitalBook
from schemas.money import yuan_of
from tests.support.sandbox_builders import cases


def combined(case: dict[str, Any], *, revision: int = 1, status: str = "settled", paid_fen: int = 1) -> dict[str, Any]:
    """A combined answer in which BASIC pays `paid_fen` and the patient the rest."""
    total_fen = int(case["total"].replace(".", ""))
    return {
        "case_id": f"C-{case['settlement_no']}",
        "institution": case["institution"],
        "settlement_no": case["settlement_no"],
        "status": status,
        "revision": revision,
        "final": status == "settled",
        "total": case["total"],
        "shares": [{"payer": "BASIC", "state": "approved", "amount": yuan_of(paid_fen)}],
        "account": "0.00",
        "hospital_borne": "0.00",
        "cash": yuan_of(total_fen - paid_fen),
        "deferred": "0.00",
    }


class StandInHub(ThreadingHTTPServer):
    """Answers every third request with 202 first, every fifth with 503 first; then the combined answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.heard: list[tuple[str, str | None, str | None]] = []
        self.known: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.asked[key] += 1
            number = int(body["settlement_no"].rpartition("-")[2])
            if self.asked[key] == 1 and number % 15 in (3, 5):
                return (202, {"status": "processing"}) if number % 3 == 0 else (503, {})
            if number == 7:
                return 422, {"type": "urn:settlement-hub:problem:message.invalid"}
            if path.endswith("case.query"):
                return 200, combined(self.known[body["settlement_no"]], revision=2, paid_fen=3)
            self.known[body["settlement_no"]] = body
            return 200, combined(body, status="partly_settled" if number == 11 else "settled")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandInHub

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((self.path, self.headers["X-Party"], self.headers["Authorization"]))
        status, told = self.server.answer(self.path, self.headers["Idempotency-Key"], body)
        answer = orjson.dumps(told)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    server = StandInHub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[HospitalBook]:
    opened = HospitalBook(tmp_path / "his.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def day() -> list[DayCase]:
    return cases(40)


def test_a_day_over_http_ends_with_an_answer_to_everything(
    hub: StandInHub, book: HospitalBook, day: list[DayCase]
) -> None:
    hospital = HttpHospital(hub.url, book, concurrency=4)

    results = list(hospital.run_day(settle(case) for case in day))
    hospital.close()

    assert len(results) == 40
    refused = [result for result in results if result.error is not None]
    assert [result.request.body for result in refused] == [day[7].body]
    assert {result.attempts for result in results} == {1, 2}
    assert all(result.latency_s > 0 for result in results)
    assert book.paid_by_payer() == {"BASIC": 39}
    assert {heard[1] for heard in hub.heard} == {case.institution for case in day}


def test_open_cases_can_be_asked_about_again(hub: StandInHub, book: HospitalBook, day: list[DayCase]) -> None:
    hospital = HttpHospital(hub.url, book, concurrency=4)
    list(hospital.run_day(settle(case) for case in day))
    assert [told.settlement_no for told in book.open_cases()] == [day[11].settlement_no]

    list(hospital.refresh())
    hospital.close()

    told = book.told(day[11].institution, day[11].settlement_no)
    assert told is not None
    assert (told.revision, told.final, told.shares) == (2, True, (("BASIC", "approved", 3),))
    assert book.open_cases() == []


def test_a_token_goes_along_where_there_is_one(hub: StandInHub, book: HospitalBook, day: list[DayCase]) -> None:
    hospital = HttpHospital(hub.url, book, tokens={day[0].institution: "secret"})

    hospital.send(settle(day[0]))
    hospital.close()

    assert hub.heard[0][2] == "Bearer secret"


def test_a_hub_that_is_away_gives_an_error_in_the_end(
    hub: StandInHub, book: HospitalBook, day: list[DayCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.his.ATTEMPTS_MAX", 2)
    hub.server_close()
    hospital = HttpHospital(hub.url, book)

    result = hospital.send(settle(day[0]))

    assert result.error is not None
    assert (result.error["error"], result.attempts) == ("hub.unreachable", 2)


def test_an_older_revision_never_replaces_a_newer_one(book: HospitalBook, day: list[DayCase]) -> None:
    bill = orjson.loads(day[0].body)
    book.write([combined(bill, revision=2, paid_fen=20)])

    book.write([combined(bill, revision=1, paid_fen=10)])

    assert book.paid_by_payer() == {"BASIC": 20}


# over RabbitMQ


class QueueHub:
    """Answers what comes to `intake` on `out.<institution>`; a second revision of number 11 follows its first."""

    def __init__(self, url: str, institutions: set[str]) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.queue_declare("intake", durable=True)
        for code in institutions:
            self.channel.exchange_declare(f"in.{code}", "direct", durable=True)
            for transaction in ("settlement.settle", "settlement.cancel"):
                self.channel.queue_bind("intake", f"in.{code}", transaction)
            self.channel.queue_declare(f"out.{code}", durable=True)
        self.channel.basic_consume("intake", self._answer, auto_ack=True)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> QueueHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._connection.process_data_events(0.05)

    def _answer(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        asked = orjson.loads(body)
        out = f"out.{method.exchange.removeprefix('in.')}"
        reply = pika.BasicProperties(correlation_id=properties.message_id)
        if method.routing_key == "settlement.cancel":
            channel.basic_publish("", out, b'{"error":"case.not_found"}', reply)
            return
        channel.basic_publish("", out, orjson.dumps(combined(asked)), reply)
        if asked["settlement_no"].endswith("011"):
            channel.basic_publish("", out, orjson.dumps(combined(asked, revision=2, paid_fen=7)), reply)


def over_queue(url: str, day: list[DayCase], book: HospitalBook, requests: Iterator[Any]) -> list[Result]:
    institutions = {case.institution for case in day}
    with QueueHub(url, institutions):
        hospital = AmqpHospital(url, sorted(institutions), book, window=8)
        hospital.start()
        results = list(hospital.run_day(requests, patience_s=20))
        late = hospital.collect(0.5)
        hospital.stop()
        assert late == []
    return results


def test_a_day_over_the_queue_ends_with_an_answer_to_everything(
    rabbitmq_url: str, book: HospitalBook, day: list[DayCase]
) -> None:
    results = over_queue(rabbitmq_url, day, book, (settle(case) for case in day))

    assert sorted(result.request.key for result in results) == sorted(settle(case).key for case in day)
    assert all(result.answer is not None for result in results)
    assert book.paid_by_payer() == {"BASIC": 39 + 7}


def test_an_error_answer_is_a_result(rabbitmq_url: str, book: HospitalBook, day: list[DayCase]) -> None:
    (result,) = over_queue(rabbitmq_url, day, book, iter([cancel(day[0])]))

    assert result.error == {"error": "case.not_found"}


def test_what_the_broker_cannot_route_is_a_result(rabbitmq_url: str, book: HospitalBook, day: list[DayCase]) -> None:
    (result,) = over_queue(rabbitmq_url, day, book, iter([settle(day[0], "settlement.trial")]))

    assert result.error == {"error": "unroutable"}
