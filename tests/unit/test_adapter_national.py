"""The national client's codec without a network: what a script says, and that no answer makes it stumble."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.basic.national.client import BasicNational
from adapters.basic.national.contents import short
from adapters.basic.national.session import SignIns
from adapters.basic.national.talk import facts_in, whole_transcript
from adapters.conversation import calls_of, steps_of, transcript
from schemas.codes import Outcome, VisitKind
from schemas.errors import HubError, InvalidMessage, Malformed
from schemas.national.envelope import dump_json, read_json
from schemas.payer import Operation, PartySettings, PayerTask, RawAnswer
from tests.support.national_region import NUMBERS, PARTY, a_bill, a_claim, cancel_of, inquiry_of, reversal_of
from tests.support.payer_tasks import a_fee
from tests.support.samples import ADAPTERS, read_answer

SAMPLES = ADAPTERS / "basic/national/samples"


def a_client(**options: str) -> BasicNational:
    return BasicNational(PartySettings(PARTY, "basic.national", "http://127.0.0.1:9", region="360100", options=options))


@cache
def recorded(name: str) -> tuple[BasicNational, PayerTask, RawAnswer]:
    _, task, answer = read_answer(SAMPLES / f"{name}.expected.json")
    return a_client(fee_classes="yes"), task, answer


def with_answer(answer: RawAnswer, body: bytes) -> RawAnswer:
    """The transcript with other bytes as the answer to the last call."""
    *others, last = calls_of(answer)
    return transcript([*others, replace(last, answer=body)])


def last_answer(answer: RawAnswer) -> bytes:
    return calls_of(answer)[-1].answer


NAMES = ["settle_approved", "inquiry_settled", "cancel_done", "trial_done", "settle_lines_refused", "reverse_done"]
JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({"a": 1})


@pytest.mark.parametrize("name", NAMES[:3])
@given(cut=st.floats(0, 1), length=st.integers(0, 30), inserted=st.binary(max_size=6))
def test_a_mutated_answer_is_refused_or_stays_within_the_bill(name, cut, length, inserted):
    client, task, answer = recorded(name)
    body = last_answer(answer)
    start = int(cut * len(body))

    with suppress(HubError):
        decision = client.decode(task, with_answer(answer, body[:start] + inserted + body[start + length :]))
        assert decision.amount_fen <= task.left_fen or decision.outcome is Outcome.CANCELLED


@given(name=st.sampled_from(NAMES), place=st.integers(0, 60), junk=JUNK)
def test_an_answer_with_a_strange_value_is_refused_or_stays_within_the_bill(name, place, junk):
    client, task, answer = recorded(name)
    parsed = read_json(last_answer(answer))
    spots = list(spots_in(parsed))
    holder, key = spots[place % len(spots)]
    holder[key] = junk
    try:
        body = dump_json(parsed)
    except TypeError:
        body = json.dumps(parsed, default=str).encode()

    with suppress(HubError):
        decision = client.decode(task, with_answer(answer, body))
        assert decision.amount_fen <= task.left_fen or decision.outcome is Outcome.CANCELLED


def spots_in(node: Any):
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from spots_in(value)


@pytest.mark.parametrize("lines", [1, 100, 2000])
def test_the_largest_bill_has_numbers_enough(lines):
    fees = tuple(a_fee(number, price="1.00", quantity="1") for number in range(1, lines + 1))
    claim = a_claim(VisitKind.INPATIENT, request=a_bill(VisitKind.INPATIENT, fees=fees))
    client = a_client(fee_lines_max="20", sign_in="yes", visits="told", confirm_person="yes")

    steps = steps_of(client.prepare(claim))

    msgids = [json.loads(step.body)["msgid"] for step in steps]
    assert len(set(msgids)) == len(steps) <= client.capabilities.numbers
    assert [step.name for step in steps if step.effect] == ["2304"]
    assert msgids[-1].endswith(f"{NUMBERS.first % 10_000:04d}")


def test_message_numbers_count_through_their_range():
    claim = a_claim(numbers=replace(NUMBERS, first=19_998))

    msgids = [json.loads(step.body)["msgid"][-4:] for step in steps_of(a_client().prepare(claim))]

    assert {"9998", "9999", "0000", "0001"} <= set(msgids)
    assert len(set(msgids)) == len(msgids)


@pytest.mark.parametrize("kind", VisitKind)
def test_the_same_task_makes_the_same_script(kind):
    for task in (
        a_claim(kind),
        replace(a_claim(kind), operation=Operation.TRIAL),
        inquiry_of(a_claim(kind)),
        reversal_of(a_claim(kind)),
    ):
        assert a_client().prepare(task) == a_client().prepare(task)


def test_a_reversal_names_the_message_and_the_transaction_that_it_reverses():
    (step,) = steps_of(a_client().prepare(reversal_of(a_claim(VisitKind.INPATIENT))))

    data = json.loads(step.body)["input"]["data"]
    assert data["omsgid"] == "H36010000001" + "20260309093000" + "0000"
    assert data["oinfno"] == "2304"


def test_what_a_table_cannot_carry_is_named():
    nameless = a_bill().visit.model_copy(update={"doctor_code": None})
    claim = a_claim(request=a_bill().model_copy(update={"visit": nameless}))

    with pytest.raises(InvalidMessage) as refused:
        a_client().prepare(claim)

    assert "input.data.atddr_no" in {one.field for one in refused.value.violations}
    assert a_client(doctor_code="D1").prepare(claim).body


def test_a_cancel_without_the_regions_numbers_is_not_sent():
    claim = a_claim()
    _, _, answer = recorded("settle_approved")
    settled = a_client(fee_classes="yes").decode(read_answer(SAMPLES / "settle_approved.expected.json")[1], answer)

    with pytest.raises(InvalidMessage):
        a_client().prepare(replace(cancel_of(claim, settled), original_reference=None))


def test_a_number_that_is_too_long_becomes_the_same_short_one_each_time():
    assert short("V-1") == "V-1"
    assert short("V" * 31) == short("V" * 31) != short("V" * 32)
    assert len(short("V" * 31)) <= 30


def test_a_sign_in_is_forgotten_before_its_time_is_up():
    now = [0.0]
    sign_ins = SignIns(100, lambda: now[0])
    sign_ins.keep("H1", "S1")

    assert sign_ins.current("H1") == "S1"
    sign_ins.forget("H1", "S0")
    assert sign_ins.current("H1") == "S1"
    now[0] = timedelta(seconds=91).total_seconds()
    assert sign_ins.current("H1") == ""


@pytest.mark.parametrize("sent", [{"input": {}}, {"input": {"data": {"mdtrt_id": 5}}}])
def test_a_transcript_that_was_damaged_where_it_is_kept_gives_no_number_of_a_visit(sent):
    envelopes = [("2201", {"fixmedins_code": "H36010000001", **sent})]

    with suppress(Malformed), whole_transcript():
        assert facts_in(envelopes).mdtrt_id == ""
