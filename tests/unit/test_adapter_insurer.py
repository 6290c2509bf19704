"""Insurers' answers: only an explicit yes or no counts, and no amount that contradicts the request."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.insurer.canonical_codec import decode_decision, encode_task
from adapters.insurer.rest.codec import NOT_FOUND, REFUSED, decode_answer
from adapters.registry import ADAPTERS, consumes_from_queue, make_adapter
from schemas.base import read_message
from schemas.codes import Outcome
from schemas.errors import HubError, IllegalTransition, InvalidMessage, Malformed, OutcomeUnknown
from schemas.money import yuan_of
from schemas.payer import (
    ClaimCancel,
    ClaimTask,
    EarlierShare,
    MessageNumbers,
    Operation,
    PartySettings,
    PreparedCall,
    RawAnswer,
)
from tests.support.payer_tasks import an_insurer_task


def an_answer(**changes) -> bytes:
    values = {
        "schema_version": "1",
        "request_id": "R-0001",
        "outcome": "approved",
        "amount": "10.00",
        "payer_reference": "A-1",
        "decided_at": "2026-03-02T09:20:00+08:00",
    }
    return orjson.dumps({key: value for key, value in (values | changes).items() if value is not None})


def test_a_claim_says_what_the_task_says():
    earlier = (EarlierShare(payer="CICI", layer="critical_illness", amount_fen=123),)
    task = an_insurer_task(earlier=earlier)

    claim = read_message(ClaimTask, encode_task(task))

    assert claim.left == task.left_fen
    assert claim.total == task.request.total
    assert claim.fees == task.request.fees
    assert claim.patient == task.request.patient
    assert (claim.basic.fund_paid, claim.basic.cash) == (task.basic.fund_fen, task.basic.cash_fen)
    assert [(each.payer, each.amount) for each in claim.earlier] == [("CICI", 123)]
    assert claim.operation is Operation.SETTLE


def test_a_reversal_names_nothing_but_its_original():
    task = an_insurer_task(Operation.REVERSE, original_reference="A-1", original_amount_fen=700)

    reversal = read_message(ClaimCancel, encode_task(task))

    assert (reversal.operation, reversal.original_request_id) == (Operation.REVERSE, "R-0000")
    assert (reversal.original_reference, reversal.amount) == (None, 0)


def test_an_inquiry_is_a_path_alone():
    adapter = make_adapter(PartySettings(code="A", adapter="insurer.rest", endpoint="http://127.0.0.1:9/"))

    call = adapter.prepare(an_insurer_task(Operation.INQUIRE, original_request_id="R/../0?"))

    assert call == PreparedCall(b"", "", "/claims/R%2F..%2F0%3F", "GET")


def test_a_queue_insurer_cannot_be_inquired_of():
    adapter = make_adapter(PartySettings(code="HENGAN", adapter="insurer.queue"))

    assert not adapter.capabilities.inquiry
    assert adapter.prepare(an_insurer_task(Operation.REVERSE)).path == "claim.reverse"
    with pytest.raises(IllegalTransition):
        adapter.prepare(an_insurer_task(Operation.INQUIRE))


def test_money_leaves_as_text_in_yuan():
    task = an_insurer_task()

    assert orjson.loads(encode_task(task))["left"] == yuan_of(task.left_fen)


def test_a_cancel_names_its_original():
    task = an_insurer_task(Operation.CANCEL)

    cancel = read_message(ClaimCancel, encode_task(task))

    assert (cancel.original_request_id, cancel.original_reference) == ("R-0000", "SETL-0000")
    assert cancel.amount == task.original_amount_fen


@pytest.mark.parametrize(
    ("operation", "changes", "outcome", "amount"),
    [
        (Operation.SETTLE, {}, Outcome.APPROVED, 1000),
        (Operation.SETTLE, {"amount": "0"}, Outcome.APPROVED, 0),
        (Operation.SETTLE, {"amount": "15.00"}, Outcome.APPROVED, 1500),
        (Operation.TRIAL, {"payer_reference": None}, Outcome.APPROVED, 1000),
        (Operation.SETTLE, {"outcome": "declined", "amount": "0.00"}, Outcome.DECLINED, 0),
        (Operation.SETTLE, {"outcome": "deferred", "amount": "0.00"}, Outcome.DEFERRED, 0),
        (Operation.CANCEL, {"outcome": "cancelled", "amount": "7.50"}, Outcome.CANCELLED, 750),
        (Operation.CANCEL, {"outcome": "declined", "amount": "0"}, Outcome.DECLINED, 0),
        (Operation.REVERSE, {"outcome": "cancelled", "amount": "0"}, Outcome.CANCELLED, 0),
        # What stood may have been more than what was left: that is why it was held and is now undone.
        (Operation.REVERSE, {"outcome": "cancelled", "amount": "15.01"}, Outcome.CANCELLED, 1501),
        (Operation.REVERSE, {"outcome": "declined", "amount": "0"}, Outcome.DECLINED, 0),
        (Operation.INQUIRE, {"request_id": "R-0000"}, Outcome.APPROVED, 1000),
        (Operation.INQUIRE, {"request_id": "R-0000", "outcome": "declined", "amount": "0"}, Outcome.DECLINED, 0),
        (Operation.INQUIRE, {"request_id": "R-0000", "outcome": "deferred", "amount": "0"}, Outcome.DEFERRED, 0),
        (Operation.INQUIRE, {"request_id": "R-0000", "outcome": "cancelled", "amount": "3"}, Outcome.CANCELLED, 300),
    ],
)
def test_an_explicit_answer_is_a_decision(operation, changes, outcome, amount):
    decision = decode_decision(an_insurer_task(operation), an_answer(**changes))

    assert (decision.outcome, decision.amount_fen) == (outcome, amount)


@pytest.mark.parametrize(
    ("operation", "changes", "field"),
    [
        (Operation.SETTLE, {"amount": "15.01"}, "amount"),
        (Operation.SETTLE, {"payer_reference": None}, "payer_reference"),
        (Operation.SETTLE, {"outcome": "declined"}, "amount"),
        (Operation.SETTLE, {"outcome": "deferred"}, "amount"),
        (Operation.SETTLE, {"outcome": "cancelled"}, "outcome"),
        (Operation.SETTLE, {"outcome": "paid"}, "outcome"),
        (Operation.SETTLE, {"amount": 10}, "amount"),
        (Operation.SETTLE, {"amount": "-1"}, "amount"),
        (Operation.SETTLE, {"amount": None}, "amount"),
        (Operation.SETTLE, {"decided_at": "2026-03-02T09:20:00"}, "decided_at"),
        (Operation.SETTLE, {"extra": "1"}, "extra"),
        (Operation.CANCEL, {}, "outcome"),
        (Operation.CANCEL, {"outcome": "deferred", "amount": "0"}, "outcome"),
        (Operation.CANCEL, {"outcome": "cancelled", "amount": "7.49"}, "amount"),
        (Operation.CANCEL, {"outcome": "cancelled", "amount": "0"}, "amount"),
        (Operation.REVERSE, {}, "outcome"),
        (Operation.REVERSE, {"outcome": "deferred", "amount": "0"}, "outcome"),
        (Operation.REVERSE, {"outcome": "declined"}, "amount"),
        (Operation.INQUIRE, {"request_id": "R-0000", "amount": "15.01"}, "amount"),
        (Operation.INQUIRE, {"request_id": "R-0000", "outcome": "declined"}, "amount"),
        (Operation.INQUIRE, {"request_id": "R-0000", "payer_reference": None}, "payer_reference"),
        (Operation.INQUIRE, {"request_id": "R-0000", "outcome": "not_found", "amount": "0"}, "outcome"),
    ],
)
def test_a_contradiction_is_refused_by_its_field(operation, changes, field):
    with pytest.raises(InvalidMessage) as refusal:
        decode_decision(an_insurer_task(operation), an_answer(**changes))

    assert field in {violation.field for violation in refusal.value.violations}


def test_an_answer_to_another_request_leaves_the_outcome_unknown():
    with pytest.raises(OutcomeUnknown):
        decode_decision(an_insurer_task(), an_answer(request_id="R-2"))


@pytest.mark.parametrize("named", ["R-0001", "R-2"])
def test_an_inquiry_is_answered_in_the_name_of_the_request_it_is_about(named):
    with pytest.raises(OutcomeUnknown):
        decode_decision(an_insurer_task(Operation.INQUIRE), an_answer(request_id=named))


def a_problem(**changes) -> bytes:
    return orjson.dumps({"type": REFUSED, "request_id": "R-0001", "code": "E1", "detail": "no"} | changes)


def test_an_explicit_problem_is_a_no():
    decision = decode_answer(an_insurer_task(), RawAnswer(a_problem(status=422), 422, "application/problem+json"))

    assert (decision.outcome, decision.reason_code, decision.reason_en) == (Outcome.DECLINED, "E1", "no")


@pytest.mark.parametrize(
    "answer",
    [
        RawAnswer(a_problem(), 500, "application/problem+json"),
        RawAnswer(a_problem(), 503, "application/problem+json"),
        RawAnswer(a_problem(), 422, "application/json"),
        RawAnswer(a_problem(type="about:blank"), 422, "application/problem+json"),
        RawAnswer(a_problem(request_id="R-2"), 422, "application/problem+json"),
        RawAnswer(b"{}", 400, "application/problem+json"),
        RawAnswer(b"\xff", 400, "application/problem+json"),
        RawAnswer(an_answer(), 202, "application/json"),
        RawAnswer(an_answer(), 500, "application/json"),
        RawAnswer(b"", 204, ""),
    ],
)
def test_whatever_is_not_explicit_stays_unknown(answer):
    assert decode_answer(an_insurer_task(), answer).outcome is Outcome.UNKNOWN


def not_found(**changes) -> bytes:
    return a_problem(**{"type": NOT_FOUND, "request_id": "R-0000", "code": "not_found"} | changes)


def test_a_typed_404_says_that_the_request_is_not_known():
    answer = RawAnswer(not_found(), 404, "application/problem+json; charset=utf-8")

    assert decode_answer(an_insurer_task(Operation.INQUIRE), answer).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (Operation.INQUIRE, RawAnswer(b"Not Found", 404, "text/plain")),
        (Operation.INQUIRE, RawAnswer(b"", 404, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(), 404, "application/json")),
        (Operation.INQUIRE, RawAnswer(not_found(), 410, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(), 503, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(request_id="R-0001"), 404, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(request_id="R-2"), 404, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(type="about:blank"), 404, "application/problem+json")),
        (Operation.INQUIRE, RawAnswer(not_found(type=REFUSED), 404, "application/problem+json")),
        (Operation.SETTLE, RawAnswer(not_found(request_id="R-0001"), 404, "application/problem+json")),
        (Operation.REVERSE, RawAnswer(not_found(request_id="R-0001"), 404, "application/problem+json")),
    ],
)
def test_no_other_404_says_so(operation, answer):
    assert decode_answer(an_insurer_task(operation), answer).outcome is Outcome.UNKNOWN


@given(st.binary(max_size=1024))
def test_rubbish_is_refused_never_crashed_on(raw):
    with pytest.raises((Malformed, OutcomeUnknown)):
        decode_answer(an_insurer_task(), RawAnswer(raw, 200, "application/json"))


@given(st.integers(0, 150), st.integers(0, 12), st.text(alphabet='{}[]:,"0123456789.-ad\\u', max_size=6))
def test_a_damaged_answer_never_pays_more_than_is_left(start, length, inserted):
    task, right = an_insurer_task(), an_answer().decode()

    with suppress(HubError):
        decision = decode_decision(task, (right[:start] + inserted + right[start + length :]).encode())
        assert decision.amount_fen <= task.left_fen


def test_a_queue_insurer_is_never_called():
    adapter = make_adapter(PartySettings(code="HENGAN", adapter="insurer.queue"))
    call = adapter.prepare(an_insurer_task())

    assert consumes_from_queue("insurer.queue")
    assert call.path == "claim.settle"
    with pytest.raises(IllegalTransition):
        adapter.send(call, 1.0)
    with pytest.raises(IllegalTransition):
        adapter.send(PreparedCall(b"", ""), 1.0)


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_repeats_the_same_bytes(name):
    """A repeat under the same request id must be the same message."""
    endpoint = "" if consumes_from_queue(name) else "http://127.0.0.1:9/"
    first = make_adapter(PartySettings(code="P", adapter=name, endpoint=endpoint))
    second = make_adapter(PartySettings(code="P", adapter=name, endpoint=endpoint))

    task = an_insurer_task(numbers=MessageNumbers(datetime(2026, 3, 2, tzinfo=UTC), 7))

    assert first.prepare(task) == second.prepare(task)
