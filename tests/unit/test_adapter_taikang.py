"""What single fields of a Taikang-type answer mean, from a recorded settlement with one thing changed."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.conversation import Said, calls_of, steps_of, transcript
from adapters.insurer.taikang.client import Taikang
from adapters.insurer.taikang.dialect import Dialect
from adapters.insurer.taikang.package import read_package, trade_no
from schemas.codes import Outcome
from schemas.errors import IllegalTransition, InvalidMessage, Malformed
from schemas.payer import Decision, MessageNumbers, PartySettings, RawAnswer
from tests.support.samples import ADAPTERS, read_answer, read_settings

SAMPLES = ADAPTERS / "insurer" / "taikang" / "samples"


def recorded(name: str) -> tuple[Taikang, object, list[Said]]:
    expected, task, answer = read_answer(SAMPLES / f"{name}.expected.json")
    file: Path = SAMPLES / f"{expected['task']}.task.json"
    return Taikang(read_settings(file, "insurer.taikang")), task, calls_of(answer)


def changed(
    name: str = "settle_approved", step: str = "S291", *, code: str = "0", status: int = 200, **fields
) -> Decision:
    """The decision when one call of a recorded transcript is answered otherwise."""
    adapter, task, said = recorded(name)
    calls = []
    for call in said:
        answer = orjson.loads(call.answer)
        if call.name == step:
            answer["package"]["body"][0] |= fields
            answer["package"]["additionInfo"]["errorCode"] = code
        calls.append(
            Said(call.name, call.sent, status if call.name == step else 200, call.content_type, orjson.dumps(answer))
        )
    return adapter.decode(task, transcript(calls))


def blamed(**fields) -> list[str]:
    with pytest.raises(InvalidMessage) as error:
        changed(**fields)
    return [violation.field for violation in error.value.violations]


@pytest.mark.parametrize("code", ["0", "1", 0, 1])
def test_two_codes_are_success(code):
    assert changed(code=code).outcome is Outcome.APPROVED


@pytest.mark.parametrize("code", ["", "2", "-1", "9999", "E409", None])
def test_a_code_that_nobody_documented_decides_nothing(code):
    assert changed(code=code).outcome is Outcome.UNKNOWN


def test_a_status_other_than_200_decides_nothing():
    assert changed(status=502) == Decision(Outcome.UNKNOWN, raw_code="http.502")


@pytest.mark.parametrize("pays", ["801.2", 801.2, "801.200"])
def test_amounts_come_as_numbers_and_as_text(pays):
    assert changed(sbFundPay=pays).amount_fen == 801_20


@pytest.mark.parametrize("pays", [801.205, -1, "-1.00", "", None, "1E2", 1e22, "８０１", [], {}, True, "801,20"])
def test_what_is_no_amount_is_held(pays):
    assert blamed(sbFundPay=pays) == ["sbFundPay"]


def test_a_settlement_has_a_number_that_can_be_kept():
    assert blamed(settleSerialNum="") == ["settleSerialNum"]
    assert blamed(settleSerialNum="a b") == ["settleSerialNum"]


def test_nothing_payable_is_an_approval_of_nothing():
    assert changed(sbFundPay=0) == changed(sbFundPay="0.00")
    assert changed(sbFundPay=0).outcome is Outcome.APPROVED


def test_a_claim_without_an_answer_is_a_doubt_about_something_that_is_settled():
    decision = changed("accepted_approved", "S300", code="9999")

    assert (decision.outcome, decision.payer_reference) == (Outcome.UNKNOWN, "TKV1S202603090001")
    assert changed("accepted_approved", "S310", code="9999").outcome is Outcome.UNKNOWN


def test_a_cancel_mirrors_its_original():
    assert changed("cancel_done", "S270", sbFundPay="801.20").outcome is Outcome.CANCELLED
    assert blamed(name="cancel_done", step="S270", sbFundPay="801.21") == ["sbFundPay"]


@given(st.binary(max_size=200))
def test_rubbish_is_no_package(raw):
    with pytest.raises(Malformed):
        read_package(raw)


def test_trade_numbers_differ_within_a_request_and_wrap():
    adapter, task, _ = recorded("settle_approved")
    numbers = [orjson.loads(step.body)["package"]["head"]["sendTradeNum"] for step in steps_of(adapter.prepare(task))]

    assert numbers[:3] == [f"20260309093000-H44030000001-{serial}" for serial in ("999998", "999999", "000000")]
    assert len(set(numbers)) == len(numbers)
    with pytest.raises(IllegalTransition):
        trade_no(None, "S", 0)
    assert trade_no(MessageNumbers(task.numbers.at, 5), "HUB", 1) == "20260309093000-HUB-000006"


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"colour": "red"}},
        {"options": {"identity": "maybe"}},
        {"secrets": {"aes_key": "short"}},
        {"secrets": {"app_secret": "without a key"}},
        {"secrets": {"aes_key": "0123456789abcdef", "aes_answer_key": "short"}},
    ],
)
def test_options_and_keys_that_cannot_work_are_refused_by_name(changes):
    with pytest.raises(ValueError, match="party P") as refusal:
        Dialect.of(PartySettings("P", "insurer.taikang", **changes))

    assert "short" not in str(refusal.value)


def test_keys_are_not_shown():
    settings = PartySettings("P", "insurer.taikang", secrets={"aes_key": "0123456789abcdef", "app_secret": "hidden"})

    assert "0123456789" not in repr(Dialect.of(settings))
    assert "hidden" not in repr(Dialect.of(settings))


def test_a_transcript_with_no_answer_of_ours_is_refused():
    adapter, task, said = recorded("cancel_done")
    other, settle, _ = recorded("settle_approved")

    with pytest.raises(Malformed):
        adapter.decode(task, transcript([]))
    with pytest.raises(Malformed):
        adapter.decode(task, RawAnswer(b"{}", 200, "application/json"))
    assert other.decode(settle, transcript(said)).outcome is Outcome.UNKNOWN
