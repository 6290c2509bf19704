"""Operators over HTTP: the same work as at the command line, and nobody else gets in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from hub.gateway.identity import operator_token, token_for
from tests.support.builders import HOSPITAL, a_settle_request, as_bytes
from tests.support.dead_letters import a_letter, a_query, buried, state_of
from tests.support.eventually import eventually
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import OPERATOR_SECRET, TOKEN_SECRET, TestHub

LETTERS, ACTIONS = "/api/v1/operators/dead-letters", "/api/v1/operators/actions"
ROOT = "/api/v1/operators"
CASE = "01890000-0000-7000-8000-000000000001"
ENDPOINTS = [
    ("GET", LETTERS),
    ("GET", f"{LETTERS}/groups"),
    ("GET", f"{LETTERS}/1"),
    ("POST", f"{LETTERS}/take"),
    ("POST", f"{LETTERS}/replay"),
    ("POST", f"{LETTERS}/discard"),
    ("POST", f"{LETTERS}/1/edit"),
    ("POST", f"{LETTERS}/1/reveal"),
    ("GET", ACTIONS),
    ("POST", ACTIONS),
    ("GET", f"{ACTIONS}/1"),
    ("POST", f"{ACTIONS}/1/approve"),
    ("POST", f"{ACTIONS}/1/reject"),
    ("GET", f"{ROOT}/doubts"),
    ("GET", f"{ROOT}/doubts/{CASE}/1"),
    ("POST", f"{ROOT}/doubts/{CASE}/1/ask"),
    ("GET", f"{ROOT}/payers"),
    ("POST", f"{ROOT}/payers/CICI/stop"),
    ("GET", f"{ROOT}/incidents"),
    ("GET", f"{ROOT}/cases"),
    ("POST", f"{ROOT}/cases/find"),
]


@dataclass
class Operator(Client):
    """An operator at the gateway."""

    name: str = "li"

    @property
    def authorization(self) -> str:
        return f"Bearer {operator_token(OPERATOR_SECRET, self.name)}"

    def does(self, path: str, **message: Any) -> Reply:
        return self.request("POST", path, json.dumps(message).encode())


@pytest.fixture
def li(world: TestHub) -> Operator:
    return Operator(world.hub.gateway.port)


@pytest.fixture
def wang(world: TestHub) -> Operator:
    return Operator(world.hub.gateway.port, name="wang")


@pytest.fixture
def nosy(shared_world: TestHub) -> Operator:
    """Someone who gets nothing done in the hub that is there for this."""
    return Operator(shared_world.hub.gateway.port)


def test_letters_are_listed_grouped_and_explained(world, li):
    first, second = buried(world, a_letter(), a_query())

    listed, grouped, shown = (
        li.get(f"{LETTERS}?limit=1"),
        li.get(f"{LETTERS}/groups?by=type"),
        li.get(f"{LETTERS}/{first}"),
    )

    assert ([one["id"] for one in listed.json["letters"]], listed.json["total"]) == ([first], 2)
    assert [one["id"] for one in li.get(f"{LETTERS}?after={first}").json["letters"]] == [second]
    assert {one["key"] for one in grouped.json["groups"]} == {"settlement.settle", "case.query"}
    assert shown.json["diagnosis"]["what_to_do"]["zh"]
    assert shown.json["forecast"]["effect"] == "work"
    assert "欧阳" not in shown.body.decode()


def test_a_replay_with_money_takes_two_operators_and_reaches_its_party(world, li, wang):
    [id_] = buried(world, a_letter())

    asked = li.does(f"{LETTERS}/replay", letters=[id_], reason="mended")
    own = li.does(f"{ACTIONS}/{asked.json['id']}/approve")
    done = wang.does(f"{ACTIONS}/{asked.json['id']}/approve")
    late = wang.does(f"{ACTIONS}/{asked.json['id']}/approve")

    assert (asked.status, asked.json["state"]) == (202, "requested")
    assert (own.status, own.json["code"]) == (403, "action.own")
    assert (done.status, done.json["outcome"], done.json["decided_by"]) == (200, "replayed 1", "wang")
    assert (late.status, late.json["code"]) == (409, "action.decided")
    eventually(lambda: any(one.get("settlement_no") == "S-1" for one in world.outbox(f"out.{HOSPITAL}")))


def test_without_money_it_is_done_at_once_and_can_be_foretold(world, li):
    [id_] = buried(world, a_query())

    told = li.does(f"{LETTERS}/replay", where={"type": "case.query"}, dry_run=True)
    done = li.does(f"{LETTERS}/replay", where={"type": "case.query"}, reason="mended")

    assert [(one["id"], one["effect"]) for one in told.json["forecasts"]] == [(id_, "nothing")]
    assert (done.status, done.json["outcome"]) == (200, "replayed 1")


def test_taking_editing_revealing_and_discarding(world, li):
    [id_] = buried(world, a_letter(b"{}", routing_key="case.query"))

    assert li.does(f"{LETTERS}/take", letters=[id_]).json == {"taken": 1}
    edited = li.does(f"{LETTERS}/{id_}/edit", body=a_query().body.decode(), reason="it was empty")
    assert '+  "settlement_no": "S-1"' in edited.json["difference"]
    assert li.does(f"{LETTERS}/{id_}/edit", body=None, reason="back").json["difference"] == ""
    assert li.does(f"{LETTERS}/{id_}/reveal", reason="to see").json["body"] == "{}"
    assert li.does(f"{LETTERS}/discard", letters=[id_], reason="for nothing").status == 200
    assert state_of(world, id_) == "discarded"
    kinds = [one["kind"] for one in li.get(f"{ACTIONS}?state=all").json["actions"]]
    assert kinds == ["dlq.discard", "dlq.reveal", "dlq.edit", "dlq.edit", "dlq.take"]


def test_a_rejection_and_a_withdrawal(world, li, wang):
    [id_] = buried(world, a_letter())
    for who, outcome in ((wang, "no"), (li, "withdrawn: no")):
        asked = li.does(f"{LETTERS}/discard", letters=[id_], reason="for nothing").json

        assert who.does(f"{ACTIONS}/{asked['id']}/reject", reason="no").json["outcome"] == outcome
        assert li.get(f"{ACTIONS}/{asked['id']}").json["state"] == "rejected"
    assert state_of(world, id_) == "open"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_no_party_and_no_stranger_gets_in(shared_world, method, path):
    someone = Client(shared_world.hub.gateway.port)
    body = b"{}" if method == "POST" else None
    for speaks in (
        {},
        {"Authorization": ""},
        {"Authorization": "", "X_Operator": "li"},
        {"Authorization": f"Bearer {token_for(TOKEN_SECRET, 'operator:li')}"},
        {"Authorization": f"Bearer {token_for(OPERATOR_SECRET, HOSPITAL)}"},
        {"Authorization": f"Bearer {token_for(OPERATOR_SECRET, 'li')}"},
        {"Authorization": f"Bearer {operator_token('', 'li')}"},
        {"Authorization": f"Bearer {operator_token(OPERATOR_SECRET, 'Li')}"},
    ):
        assert someone.request(method, path, body, **speaks).status == 401, speaks


@pytest.mark.parametrize("path", ["/api/v1/mailbox", "/api/v1/cases?settlement_no=S-1"])
def test_an_operator_is_no_party(nosy, path):
    assert nosy.get(path).status == 401
    assert nosy.post("settlement.settle", a_settle_request()).status == 401
    assert nosy.get(path, X_Party=HOSPITAL).status == 401


@pytest.mark.parametrize(
    ("path", "message", "status"),
    [
        (f"{LETTERS}/replay", {"reason": "r"}, 422),
        (f"{LETTERS}/replay", {"reason": "r", "letters": [1], "where": {}}, 422),
        (f"{LETTERS}/replay", {"reason": "r", "letters": []}, 422),
        (f"{LETTERS}/replay", {"reason": "r", "letters": [4711]}, 404),
        (f"{LETTERS}/replay", {"reason": "r", "where": {"cause": "no.such"}}, 404),
        (f"{LETTERS}/replay", {"reason": "r", "where": {"body": "x"}}, 422),
        (f"{LETTERS}/take", {"letters": [1], "owner": "Somebody Else"}, 422),
        (f"{LETTERS}/0/edit", {"body": "{}", "reason": "r"}, 404),
        (f"{LETTERS}/99999999999999999999/reveal", {"reason": "r"}, 404),
        (ACTIONS, {"kind": "no.such", "subject": "x", "reason": "r"}, 422),
        (ACTIONS, {"kind": "dlq.replay", "subject": "x", "reason": "r"}, 422),
        (ACTIONS, {"kind": "dlq.replay", "subject": "x", "reason": "r", "detail": {"letters": ["1"]}}, 422),
        (ACTIONS, {"kind": "dlq.discard", "subject": "x", "reason": "r", "detail": {"letters": [4711]}}, 404),
        (f"{ACTIONS}/4711/approve", {}, 404),
        (f"{ACTIONS}/abc/approve", {}, 404),
    ],
)
def test_wrong_requests_are_refused_with_the_reason(shared_world, nosy, path, message, status):
    reply = nosy.does(path, **message)

    assert reply.status == status, reply.body
    assert reply.json["detail_zh"]
    assert shared_world.count("operator_action") == 0


@pytest.mark.parametrize("query", ["state=dead", "limit=0", "older_than_s=x", "cause=%00"])
def test_wrong_filters_are_refused(nosy, query):
    assert nosy.get(f"{LETTERS}?{query}").status == 422


def test_a_replay_asked_for_through_the_general_door_is_bound_to_the_bytes_too(world, li, wang):
    [id_] = buried(world, a_letter())
    message = {"kind": "dlq.replay", "subject": "anything", "reason": "r", "detail": {"letters": [id_]}}

    assert li.does(ACTIONS, **message).status == 409
    assert state_of(world, id_) == "open"


def test_old_letters_can_be_asked_for(world, li):
    buried(world, a_letter(as_bytes(a_settle_request())))

    assert li.get(f"{LETTERS}?older_than_s=3600").json["total"] == 0
    world.clock.advance(7200)
    assert li.get(f"{LETTERS}?older_than_s=3600").json["total"] == 1
