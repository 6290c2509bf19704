"""The insurers over REST, and every fault that they can be given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import urllib3
from pydantic import ValidationError

from sandbox import parties
from sandbox.server import CastSettings, Sandbox
from schemas.money import fen_of
from schemas.payer import ClaimDecision, Operation
from tests.support.eventually import eventually
from tests.support.insurer_client import Insurer
from tests.support.sandbox_builders import a_cancel, a_reversal, a_task, basic_facts

ANKANG = parties.ANKANG


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(CastSettings(data=tmp_path)) as running:
        yield running


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    pool = urllib3.PoolManager(retries=False, timeout=30.0)
    yield pool
    pool.clear()


@pytest.fixture
def insurer(sandbox: Sandbox, http: urllib3.PoolManager) -> Insurer:
    return Insurer(sandbox, http)


def test_a_claim_is_decided_and_booked(sandbox: Sandbox, insurer: Insurer) -> None:
    decision = insurer.claim(a_task())

    assert (decision.outcome, decision.amount) == ("approved", 312_000)
    assert decision.payer_reference
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_a_repeated_claim_gets_the_first_decision(sandbox: Sandbox, insurer: Insurer) -> None:
    assert insurer.claim(a_task()) == insurer.claim(a_task())
    assert sandbox.books[ANKANG].totals().entries == 1


def test_an_id_used_for_another_claim_is_a_conflict(insurer: Insurer) -> None:
    insurer.claim(a_task())

    assert insurer.post("/claims", a_task(left=1).model_dump_json().encode()).status == 409


def test_a_trial_leaves_no_trace(sandbox: Sandbox, insurer: Insurer) -> None:
    assert insurer.claim(a_task(operation=Operation.TRIAL)).amount == 312_000
    assert sandbox.books[ANKANG].totals().entries == 0


def test_a_claim_is_cancelled_once(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    first, second = insurer.cancel(a_cancel(312_000)), insurer.cancel(a_cancel(312_000, "X-2"))

    assert (first.outcome, first.amount) == (second.outcome, second.amount) == ("cancelled", 312_000)
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_cancel_before_its_claim_bars_it(insurer: Insurer) -> None:
    early = insurer.cancel(a_cancel(312_000))
    late = insurer.claim(a_task())

    assert (early.outcome, early.reason_code) == ("declined", "unknown_original")
    assert (late.outcome, late.reason_code) == ("declined", "cancelled_before")


def test_a_cancel_in_doubt_undoes_whatever_was_paid(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    undone, again = insurer.cancel(a_reversal()), insurer.cancel(a_reversal("X-2"))

    assert (undone.outcome, undone.amount) == (again.outcome, again.amount) == ("cancelled", 312_000)
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_reversal_before_its_claim_is_confirmed_and_bars_it(insurer: Insurer) -> None:
    early = insurer.cancel(a_reversal())
    late = insurer.claim(a_task())

    assert (early.outcome, early.amount) == ("cancelled", 0)
    assert (late.outcome, late.reason_code) == ("declined", "cancelled_before")


def test_a_reversed_deferral_is_not_decided_any_more(insurer: Insurer) -> None:
    insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000))

    undone = insurer.cancel(a_reversal())

    assert (undone.outcome, undone.amount) == ("cancelled", 0)
    assert insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"1.00"}').status == 409


def test_a_cancel_of_another_amount_is_refused(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.claim(a_task())

    assert insurer.cancel(a_cancel(311_999)).reason_code == "amount_differs"
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_an_inquiry_finds_the_decision_or_nothing(insurer: Insurer) -> None:
    unknown = insurer.get("/claims/R-1")

    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert orjson.loads(unknown.data)["type"] == "urn:settlement-hub:problem:claim.not_found"
    assert orjson.loads(unknown.data)["request_id"] == "R-1"

    decision = insurer.claim(a_task())

    assert ClaimDecision.model_validate_json(insurer.get("/claims/R-1").data) == decision

    insurer.cancel(a_reversal())

    fate = ClaimDecision.model_validate_json(insurer.get("/claims/R-1").data)
    assert (fate.request_id, fate.outcome, fate.amount) == ("R-1", "cancelled", 312_000)


def test_a_large_claim_is_deferred_and_decided_by_hand(sandbox: Sandbox, insurer: Insurer) -> None:
    deferred = insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000))
    reviewed = insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"12000.00"}')

    assert deferred.outcome == "deferred"
    assert ClaimDecision.model_validate_json(reviewed.data).amount == 1_200_000
    assert insurer.claim(a_task(basic=basic_facts(9_000_000, 0), left=9_000_000)).outcome == "approved"
    assert insurer.post("/sandbox/review", b'{"request_id":"R-1","amount":"1.00"}').status == 409
    assert sandbox.books[ANKANG].effective("R-1") == 1_200_000


def test_critical_illness_has_its_own_server(sandbox: Sandbox, http: urllib3.PoolManager) -> None:
    task = a_task(product=parties.CRITICAL_ILLNESS_PRODUCT, insurer=parties.CRITICAL_ILLNESS, layer="critical_illness")

    assert Insurer(sandbox, http, parties.CRITICAL_ILLNESS).claim(task).amount == 60_000


def test_rubbish_is_refused_without_an_echo(insurer: Insurer) -> None:
    answer = insurer.post("/claims", b'{"patient":"secret"}')

    assert answer.status == 422
    assert b"secret" not in answer.data


def test_the_book_can_be_read_over_http(insurer: Insurer) -> None:
    for number in range(3):
        insurer.claim(a_task(f"R-{number}"))

    page = orjson.loads(insurer.get("/sandbox/book?limit=2&offset=1").data)

    assert page["totals"]["settled"] == 3
    assert [entry["request_id"] for entry in page["entries"]] == ["R-1", "R-2"]
    assert insurer.get("/sandbox/book?limit=x").status == 400
    assert orjson.loads(insurer.get("/healthz").data) == {"status": "ok", "party": ANKANG}


def test_a_restarted_party_remembers(tmp_path: Path, http: urllib3.PoolManager) -> None:
    with Sandbox(CastSettings(data=tmp_path)) as first:
        decision = Insurer(first, http).claim(a_task())

    with Sandbox(CastSettings(data=tmp_path)) as second:
        assert Insurer(second, http).claim(a_task()) == decision


# faults


def ask_troubled(insurer: Insurer, script: str) -> Any:
    report = orjson.loads(insurer.post("/sandbox/faults?seed=5", script.encode()).data)
    assert report["seed"] == 5
    return insurer.post("/claims", a_task().model_dump_json().encode())


def test_lost_answer_pays_and_cuts_the_line(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"lost_answer","count":1}]')

    assert sandbox.books[ANKANG].effective("R-1") == 312_000
    assert insurer.claim(a_task()).amount == 312_000
    assert sandbox.books[ANKANG].totals().settled == 1


def test_silent_pays_nothing_and_never_answers(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"silent","seconds":0.05}]')

    assert sandbox.books[ANKANG].totals().entries == 0


def test_http_500_pays_nothing(sandbox: Sandbox, insurer: Insurer) -> None:
    assert ask_troubled(insurer, '[{"kind":"http_500"}]').status == 500
    assert sandbox.books[ANKANG].totals().entries == 0


def test_wrong_total_is_in_the_answer_only(sandbox: Sandbox, insurer: Insurer) -> None:
    answer = orjson.loads(ask_troubled(insurer, '[{"kind":"wrong_total"}]').data)

    assert fen_of(answer["amount"]) > 400_000
    assert sandbox.books[ANKANG].effective("R-1") == 312_000


def test_garbage_is_never_a_decision_on_this_claim(sandbox: Sandbox, insurer: Insurer) -> None:
    ask_troubled(insurer, '[{"kind":"garbage"}]')
    for _ in range(12):
        body = insurer.post("/claims", a_task().model_dump_json().encode()).data
        assert b'"request_id":"R-1"' not in body

    assert sandbox.books[ANKANG].totals().settled == 1


@pytest.mark.parametrize("kind", ["slow", "late", "duplicate_answer"])
def test_slow_late_and_doubled_answers_are_still_right(sandbox: Sandbox, insurer: Insurer, kind: str) -> None:
    answer = ask_troubled(insurer, f'[{{"kind":"{kind}","seconds":0.02}}]')

    assert orjson.loads(answer.data)["outcome"] == "approved"
    assert sandbox.books[ANKANG].totals().settled == 1


def test_a_lie_hides_what_stands_from_inquiries_alone(insurer: Insurer) -> None:
    assert ask_troubled(insurer, '[{"kind":"not_found_first","count":2}]').status == 200

    assert [insurer.get("/claims/R-1").status for _ in range(3)] == [404, 404, 200]


def test_a_refused_undo_changes_nothing_and_may_be_tried_again(sandbox: Sandbox, insurer: Insurer) -> None:
    ask_troubled(insurer, '[{"kind":"refuse_undo","count":2}]')

    told = [insurer.cancel(undo) for undo in (a_cancel(312_000), a_reversal(), a_reversal())]

    assert [(each.outcome, each.reason_code) for each in told] == [
        ("declined", "undo_refused"),
        ("declined", "undo_refused"),
        ("cancelled", ""),
    ]
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_a_delayed_effect_comes_after_the_connection_is_gone(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"delayed_effect","count":1,"seconds":0.5}]')

    assert insurer.get("/claims/R-1").status == 404
    assert orjson.loads(insurer.get("/sandbox/faults").data)["delayed"] == 1
    assert eventually(lambda: sandbox.books[ANKANG].effective("R-1") == 312_000)
    assert eventually(lambda: orjson.loads(insurer.get("/sandbox/faults").data)["delayed"] == 0)
    assert insurer.claim(a_task()).amount == 312_000
    assert sandbox.books[ANKANG].totals().settled == 1


def test_a_reversal_bars_a_request_that_is_still_lying_inside(sandbox: Sandbox, insurer: Insurer) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_troubled(insurer, '[{"kind":"delayed_effect","count":1,"seconds":0.5}]')

    undone = insurer.cancel(a_reversal())

    assert (undone.outcome, undone.amount) == ("cancelled", 0)
    assert eventually(lambda: sandbox.books[ANKANG].find("R-1") is not None)
    assert sandbox.books[ANKANG].totals().net_fen == 0


@pytest.mark.parametrize("operation", ["reverse", "inquire"])
@pytest.mark.parametrize("kind", ["lost_answer", "silent", "late", "http_500"])
def test_reversals_and_inquiries_fail_like_anything_else(
    sandbox: Sandbox, insurer: Insurer, operation: str, kind: str
) -> None:
    ask = {"reverse": lambda: insurer.cancel(a_reversal()), "inquire": lambda: insurer.get("/claims/R-1")}[operation]
    script = f'[{{"kind":"{kind}","operation":"{operation}","count":1,"seconds":0.02}}]'
    assert ask_troubled(insurer, script).status == 200

    with suppress(urllib3.exceptions.ProtocolError, ValidationError):
        ask()

    assert orjson.loads(insurer.get("/sandbox/faults").data)["struck"] == {kind: 1}
    worked = operation == "reverse" and kind in ("lost_answer", "late")
    assert sandbox.books[ANKANG].effective("R-1") == (0 if worked else 312_000)


def test_a_refused_connection_comes_back_on_the_same_port(sandbox: Sandbox, insurer: Insurer) -> None:
    insurer.post("/sandbox/faults", b'[{"kind":"refuse_connection","seconds":1.5}]')

    def refused() -> bool:
        try:
            urllib3.request("GET", f"{insurer.url}/healthz", retries=False, timeout=1.0)
        except urllib3.exceptions.NewConnectionError:
            return True
        except urllib3.exceptions.ProtocolError:
            return False
        return False

    assert eventually(refused)
    assert eventually(lambda: not refused(), within_s=60)


def test_a_wrong_script_is_refused(insurer: Insurer) -> None:
    assert insurer.post("/sandbox/faults", b'[{"kind":"explode"}]').status == 422
    assert insurer.post("/sandbox/faults", b'[{"kind":"slow","operation":"pay"}]').status == 422
    assert insurer.post("/sandbox/faults?seed=x", b"[]").status == 422
    assert orjson.loads(insurer.get("/sandbox/faults").data)["faults"] == []
