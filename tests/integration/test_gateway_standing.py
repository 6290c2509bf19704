"""Doubts, payers and incidents over HTTP: the same as at the command line."""

from __future__ import annotations

import pytest

from hub.watch import Watch
from routing.states import LegState
from tests.integration.test_gateway_operators import CASE, ROOT, Operator
from tests.support.builders import BASIC, CRITICAL, StubPayer, an_id_card, lost_after_effect
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub


@pytest.fixture
def world(database_url):
    payers = {BASIC: StubPayer(), CRITICAL: StubPayer(idempotent=False, script=[lost_after_effect])}
    with a_hub(database_url, payers=payers) as made:
        yield made


@pytest.fixture
def li(world):
    return Operator(world.hub.gateway.port)


@pytest.fixture
def in_doubt(world):
    case_id = world.settle().case_id
    eventually(lambda: world.case(case_id).leg(2).state is LegState.IN_DOUBT)
    return case_id


def test_a_doubt_is_seen_decided_and_approved(world, li, in_doubt):
    wang = Operator(world.hub.gateway.port, name="wang")
    leg = f"{ROOT}/doubts/{in_doubt}/2"

    assert [one["case_id"] for one in li.get(f"{ROOT}/doubts?payer={CRITICAL}").json["doubts"]] == [in_doubt]
    assert li.get(f"{ROOT}/doubts?payer={BASIC}").json["total"] == 0
    assert "approve" in li.get(leg).json["choices"]
    asked = li.does(f"{leg}/approve", detail={"amount": "75.00", "reference": "K-1"}, reason="their list, line 12")
    assert (asked.status, world.case(in_doubt).leg(2).state) == (202, LegState.IN_DOUBT)
    assert wang.does(f"{ROOT}/actions/{asked.json['id']}/approve").status == 200

    assert world.case(in_doubt).leg(2).amount_fen == 7_500


def test_a_payer_is_stopped_and_let_go_on(world, li):
    assert li.does(f"{ROOT}/payers/{CRITICAL}/stop", reason="they asked us to").status == 200
    stopped = {one["payer"]: one["stopped"] for one in li.get(f"{ROOT}/payers").json["payers"]}
    assert (stopped[BASIC], stopped[CRITICAL]["changed_by"]) == (None, "li")
    Watch(world.database, world.clock, pause_s=0.0)()
    assert li.get(f"{ROOT}/incidents?kind=payer.stopped").json["open"] == {"payer.stopped": 1}

    assert li.does(f"{ROOT}/payers/all/resume", reason="drill over").status == 200
    assert li.does(f"{ROOT}/payers/{CRITICAL}/resume", reason="they are back").status == 200
    assert all(one["stopped"] is None for one in li.get(f"{ROOT}/payers").json["payers"])


@pytest.mark.parametrize("path", [f"doubts/{CASE}/1", "doubts/none/1", f"doubts/{CASE}/x"])
def test_a_leg_that_is_not_there_is_not_found(li, path):
    assert li.get(f"{ROOT}/{path}").status == 404


@pytest.mark.parametrize(
    "path", [f"doubts/{CASE}/1/ask", f"doubts/{CASE}/1/guess", "payers/NOBODY/stop", "payers/all/x"]
)
def test_nothing_is_done_to_what_is_not_there(li, path):
    assert li.does(f"{ROOT}/{path}", reason="why not").status == 404


def test_a_case_is_found_by_a_number_in_the_address_and_by_a_person_only_in_the_body(world, li):
    case_id = world.settle().case_id
    person = an_id_card()

    found = li.get(f"{ROOT}/cases?q=S-1").json["cases"]
    in_the_address, in_the_body = li.get(f"{ROOT}/cases?q={person}"), li.does(f"{ROOT}/cases/find", q=person)

    assert [(one["case_id"], one["found_by"], one["total"]) for one in found] == [(case_id, ["settlement"], "300.00")]
    assert (in_the_address.status, in_the_address.json["code"]) == (422, "query.invalid")
    assert [(one["case_id"], one["found_by"]) for one in in_the_body.json["cases"]] == [(case_id, ["person"])]
    assert li.get(f"{ROOT}/cases?q=nothing").json == {"cases": []}


@pytest.mark.parametrize("query", ["", "?q=", "?q=a%00b", f"?q={'x' * 201}", "?q=S-1&limit=0"])
def test_what_is_no_key_is_refused(li, query):
    assert li.get(f"{ROOT}/cases{query}").status == 422
