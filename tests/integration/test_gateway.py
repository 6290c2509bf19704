"""The gateway as a hospital meets it: real HTTP, real PostgreSQL, payers in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from hub.gateway import courier
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    OTHER_HOSPITAL,
    StubPayer,
    a_settle_request,
    declines,
    when,
)
from tests.support.eventually import eventually
from tests.support.http_client import Client
from tests.support.hub_in_process import TestHub, a_hub

PROBLEM = "application/problem+json"
SETTLE = "settlement.settle"


@contextmanager
def a_silent_payer(database_url: str, code: str = BASIC) -> Iterator[tuple[TestHub, Client, threading.Event]]:
    """A hub whose payer answers only once the event is set."""
    released = threading.Event()
    payer = StubPayer(script=[when(released)])
    with a_hub(database_url, payers={code: payer}) as running:
        try:
            yield running, Client(running.hub.gateway.port), released
        finally:
            released.set()


def test_a_settlement_is_answered_with_the_stored_bytes(world, hospital):
    reply = hospital.settle("S-1")

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json["status"] == "settled"
    assert "idempotent-replayed" not in reply.headers
    assert reply.json == world.answers(reply.json["case_id"])[0]


def test_a_repeat_gets_the_same_bytes_and_says_so(world, hospital):
    first, second = hospital.settle("S-1"), hospital.settle("S-1")

    assert second.body == first.body
    assert second.headers["idempotent-replayed"] == "true"
    assert len(world.payers[BASIC].settled) == 1


def test_a_repeat_while_the_first_is_under_way_waits_for_the_same_answer(database_url):
    with a_silent_payer(database_url) as (world, hospital, released), ThreadPoolExecutor(2) as both:
        first = both.submit(hospital.settle, "S-1")
        eventually(lambda: world.payers[BASIC].calls)
        second = both.submit(hospital.settle, "S-1")
        released.set()

        assert first.result(10).body == second.result(10).body
        assert len(world.payers[BASIC].settled) == 1


def test_other_content_under_the_same_number_is_a_conflict(hospital):
    first = hospital.settle("S-1")

    reply = hospital.post(SETTLE, a_settle_request(40_000, "S-1"), "K-2")

    assert (reply.status, reply.json["code"], reply.json["case_id"]) == (409, "case.conflict", first.json["case_id"])


def test_a_trial_has_no_effect(world, hospital):
    reply = hospital.post("settlement.trial", a_settle_request(30_000, "S-1"))

    assert (reply.status, reply.json["status"]) == (200, "trial")
    assert world.payers[BASIC].settled == []


def test_a_decline_is_an_answer(database_url):
    with a_hub(database_url, payers={BASIC: StubPayer(script=[declines])}) as world:
        reply = Client(world.hub.gateway.port).settle("S-1")

        assert (reply.status, reply.json["status"]) == (200, "declined")


def test_who_prefers_not_to_wait_is_told_where_the_answer_will_be(database_url):
    with a_silent_payer(database_url) as (_, hospital, released):
        reply = hospital.settle("S-1", Prefer="respond-async")

        assert (reply.status, reply.headers["preference-applied"]) == (202, "respond-async")
        assert (reply.json["status"], reply.json["final"]) == ("processing", False)
        released.set()
        settled = eventually(lambda: hospital.get(reply.headers["location"]).json["final"] and reply)
        assert hospital.get(settled.headers["location"]).json["status"] == "settled"


def test_a_wait_that_is_over_tells_how_the_case_stands(database_url):
    with a_silent_payer(database_url, CRITICAL) as (_, hospital, _):
        reply = hospital.settle("S-1", Prefer="wait=1")

        assert (reply.status, reply.headers["preference-applied"]) == (202, "wait=1")
        assert [share["state"] for share in reply.json["shares"]] == ["approved", "pending"]


def test_without_a_preference_the_wait_ends_with_the_case_own_deadline(database_url):
    with a_silent_payer(database_url, CRITICAL) as (world, hospital, _):
        answer_by = (world.clock.now() + timedelta(seconds=1.2)).isoformat()

        reply = hospital.post(SETTLE, a_settle_request(30_000, "S-1", answer_by=answer_by))

        assert (reply.status, reply.json["revision"]) == (200, 1)
        assert reply.json["shares"][1]["state"] in ("pending", "in_doubt", "deferred")


def test_a_cancel_waits_until_it_is_done(world, hospital):
    settled = hospital.settle("S-1")

    reply = hospital.cancel("S-1")

    assert (reply.status, reply.json["status"], reply.json["case_id"]) == (200, "cancelled", settled.json["case_id"])
    assert [payer.net_fen for payer in world.payers.values()] == [0, 0]


def test_a_repeated_cancel_is_answered_from_the_store(hospital):
    hospital.settle("S-1")

    first, second = hospital.cancel("S-1"), hospital.cancel("S-1")

    assert second.body == first.body
    assert second.headers["idempotent-replayed"] == "true"


def test_a_cancel_that_takes_too_long_is_shown_as_under_way(database_url):
    with a_silent_payer(database_url, CRITICAL) as (world, hospital, released):
        released.set()
        hospital.settle("S-1")
        released.clear()
        world.payers[CRITICAL].script.append(when(released))

        reply = hospital.cancel("S-1", Prefer="wait=0")

        assert (reply.status, reply.json["status"]) == (202, "cancelling")
        assert hospital.get(reply.headers["location"]).json["status"] == "cancelling"


def test_a_cancel_before_the_answer_ends_both_waits(database_url):
    with a_silent_payer(database_url) as (world, hospital, released), ThreadPoolExecutor(2) as both:
        settle = both.submit(hospital.settle, "S-1")
        eventually(lambda: world.payers[BASIC].calls)
        cancel = both.submit(hospital.cancel, "S-1")
        eventually(lambda: world.count("case_undo"))
        released.set()

        assert cancel.result(10).json["status"] == "cancelled"
        assert settle.result(10).json["status"] == "cancelled"
        assert world.payers[BASIC].net_fen == 0


def test_an_undo_of_what_never_was_is_not_found(hospital):
    reply = hospital.cancel("S-unknown")

    assert (reply.status, reply.headers["content-type"], reply.json["code"]) == (404, PROBLEM, "case.not_found")


def test_a_query_needs_no_key(hospital):
    settled = hospital.settle("S-1")
    message = {"institution": HOSPITAL, "settlement_no": "S-1"}

    reply = hospital.post("case.query", message, key="")

    assert (reply.status, reply.body) == (200, settled.body)
    assert "idempotent-replayed" not in reply.headers


def test_a_case_is_shown_with_its_route(hospital):
    case_id = hospital.settle("S-1").json["case_id"]

    shown = hospital.get(f"/api/v1/cases/{case_id}").json
    (found,) = hospital.get("/api/v1/cases?settlement_no=S-1").json["cases"]

    assert [(step["payer"], step["chosen"]) for step in shown["route"]] == [(BASIC, True), (CRITICAL, True)]
    assert found == shown


def test_a_case_has_a_timeline(hospital):
    case_id = hospital.settle("S-1").json["case_id"]
    hospital.cancel("S-1")

    events = hospital.get(f"/api/v1/cases/{case_id}/timeline").json["events"]

    forward = ["received", "asked", "payer_answered", "asked", "payer_answered", "answer_given"]
    backward = ["received", "asked", "payer_answered", "asked", "payer_answered", "ended", "answer_given"]
    assert [event["kind"] for event in events] == forward + backward
    assert [event.get("leg_no", 0) for event in events if event["kind"] == "asked"] == [1, 2, 2, 1]


def test_another_hospitals_case_does_not_exist(world, hospital):
    case_id = hospital.settle("S-1").json["case_id"]
    other = Client(world.hub.gateway.port, OTHER_HOSPITAL)

    assert other.get(f"/api/v1/cases/{case_id}").status == 404
    assert other.get(f"/api/v1/cases/{case_id}/timeline").status == 404
    assert other.get("/api/v1/cases?settlement_no=S-1").json == {"cases": []}


@pytest.mark.parametrize("case_id", ["1", "x" * 36, "01890000-0000-7000-8000-000000000001", "%00", "A'--"])
def test_what_is_no_case_is_not_found(hospital, case_id):
    assert hospital.get(f"/api/v1/cases/{case_id}").status == 404


@pytest.mark.parametrize("query", ["", "?settlement_no=", "?settlement_no=%27--", "?settlement_no=" + "1" * 65])
def test_a_search_without_a_number_is_refused(hospital, query):
    reply = hospital.get(f"/api/v1/cases{query}")

    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "settlement_no")


def test_many_requests_at_once_are_taken_in_batches(world, hospital):
    sizes: list[int] = []
    take = world.hub.gateway._intake._handle._take

    def counted(batch):
        sizes.append(len(batch))
        return take(batch)

    world.hub.gateway._intake._handle._take = counted
    with ThreadPoolExecutor(50) as hospitals:
        replies = list(hospitals.map(lambda number: hospital.settle(f"S-{number}"), range(150)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["case_id"] for reply in replies}) == 150
    assert sum(sizes) == 150
    assert len(sizes) < 150


def test_one_bad_message_spares_those_that_came_with_it(hospital):
    def send(number: int) -> int:
        message = a_settle_request(30_000, f"S-{number}") if number % 2 else {"institution": HOSPITAL}
        return hospital.post(SETTLE, message, f"K-{number}").status

    with ThreadPoolExecutor(20) as hospitals:
        assert list(hospitals.map(send, range(40))) == [422, 200] * 20


def test_stopping_answers_who_waits(database_url):
    with a_silent_payer(database_url) as (world, hospital, released), ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(hospital.settle, "S-1")
        eventually(lambda: world.payers[BASIC].calls)
        stopping = threads.submit(world.hub.gateway.stop, 10.0)
        eventually(lambda: world.hub.gateway._server.should_exit)
        released.set()

        assert waiting.result(10).json["status"] == "settled"
        stopping.result(10)


def test_stopping_sends_home_who_would_wait_too_long(database_url):
    with a_silent_payer(database_url) as (world, hospital, _), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(hospital.settle, "S-1", Prefer="wait=60")
        eventually(lambda: world.payers[BASIC].calls)

        world.hub.gateway.stop(courier.GRACE_S + 1.5)

        assert waiting.result(10).status == 202
