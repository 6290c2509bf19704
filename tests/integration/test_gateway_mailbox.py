"""The mailbox: an insurer without RabbitMQ fetches its tasks and answers them over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders import (
    BASIC_RULE,
    CRITICAL,
    HOSPITAL,
    OTHER_HOSPITAL,
    QUEUE_INSURER,
    QUEUE_RULE,
    as_bytes,
)
from tests.support.eventually import eventually
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TestHub, a_hub

MAILBOX = "/api/v1/mailbox"


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    with a_hub(database_url, BASIC_RULE, QUEUE_RULE) as running:
        yield running


@pytest.fixture
def insurer(world: TestHub) -> Client:
    return Client(world.hub.gateway.port, QUEUE_INSURER)


def fetch(insurer: Client, wait: int = 10) -> list[dict[str, Any]]:
    return insurer.get(f"{MAILBOX}?wait={wait}&limit=10&party={insurer.party}").json["messages"]


def acknowledge(insurer: Client, *ids: int) -> Reply:
    return insurer.request("POST", f"{MAILBOX}/ack", as_bytes({"ids": list(ids), "party": insurer.party}))


def decide(insurer: Client, request_id: str, amount: str = "10.00", **changes: Any) -> Reply:
    decision = {
        "request_id": request_id,
        "outcome": "approved",
        "amount": amount,
        "payer_reference": "Q-1",
        "decided_at": datetime.now(UTC).isoformat(),
    }
    return insurer.post("claim.answer", decision | changes, key="")


def test_a_task_is_fetched_answered_and_acknowledged(hospital, insurer):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(hospital.settle, "S-1")
        (message,) = fetch(insurer)
        reply = decide(insurer, message["body"]["request_id"])
        removed = acknowledge(insurer, message["id"])
        settled = waiting.result(20)

    assert message["type"] == "claim.settle"
    assert message["correlation_id"] == message["body"]["request_id"]
    assert (reply.status, reply.json) == (202, {"accepted": True})
    assert removed.json == {"removed": 1}
    assert [share["amount"] for share in settled.json["shares"]] == ["150.00", "10.00"]
    assert fetch(insurer, wait=0) == []


def test_a_fetched_message_is_not_fetched_twice_at_once(hospital, insurer):
    hospital.settle("S-1", Prefer="wait=0")

    assert len(fetch(insurer)) == 1
    assert fetch(insurer, wait=0) == []


def test_an_acknowledgement_may_be_repeated(hospital, insurer):
    hospital.settle("S-1", Prefer="wait=0")
    (message,) = fetch(insurer)

    assert [acknowledge(insurer, message["id"]).json["removed"] for _ in range(2)] == [1, 0]


def test_nobody_takes_anothers_message(world, hospital, insurer):
    hospital.settle("S-1", Prefer="wait=0")
    (message,) = fetch(insurer)

    assert fetch(Client(insurer.port, HOSPITAL), wait=0) == []
    assert acknowledge(Client(insurer.port, HOSPITAL), message["id"]).json == {"removed": 0}


def test_nobody_opens_anothers_mailbox(hospital):
    assert hospital.get(f"{MAILBOX}?party={QUEUE_INSURER}").status == 403
    body = as_bytes({"ids": [1], "party": QUEUE_INSURER})
    assert hospital.request("POST", f"{MAILBOX}/ack", body).status == 403


@pytest.mark.parametrize("party", [OTHER_HOSPITAL, CRITICAL])
def test_who_gets_no_messages_has_no_mailbox(world, party):
    assert Client(world.hub.gateway.port, party).get(MAILBOX).status == 404


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=x", "limit=0", "limit=1000", "limit="])
def test_a_wrong_parameter_is_named(insurer, query):
    reply = insurer.get(f"{MAILBOX}?{query}")

    assert (reply.status, reply.json["errors"][0]["field"]) == (422, query.partition("=")[0])


@pytest.mark.parametrize("ids", [None, ["x"], [0], [2**63], list(range(1, 1002)), "1"])
def test_an_acknowledgement_that_makes_no_sense_is_refused(insurer, ids):
    assert insurer.request("POST", f"{MAILBOX}/ack", as_bytes({"ids": ids})).status == 422


def test_an_answer_to_no_task_of_ours_is_refused(hospital, insurer):
    assert decide(insurer, "R-1").status == 422
    assert decide(insurer, "0" * 32 + "-1").status == 404


def test_an_answer_to_anothers_task_is_not_found(world, hospital, insurer):
    hospital.settle("S-1", Prefer="wait=0")
    (message,) = fetch(insurer)

    assert decide(Client(insurer.port, CRITICAL), message["body"]["request_id"]).status == 404


def test_a_repeated_answer_changes_nothing(hospital, insurer):
    reply = hospital.settle("S-1", Prefer="wait=0")
    (message,) = fetch(insurer)

    statuses = [decide(insurer, message["body"]["request_id"], amount).status for amount in ("10.00", "99.00")]

    assert statuses == [202, 202]
    case = eventually(lambda: (shown := hospital.get(reply.headers["location"]).json)["final"] and shown)
    assert case["shares"][1]["amount"] == "10.00"


def test_stopping_ends_the_wait_for_messages(world, insurer):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(insurer.get, f"{MAILBOX}?wait=60")
        eventually(lambda: world.hub.gateway._server.server_state.tasks)
        world.hub.gateway.stop(10.0)

        assert waiting.result(10).json == {"messages": []}
